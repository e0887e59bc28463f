// SPDX-License-Identifier: GPL-2.0
// The print layer: tables, durations and the JSON envelope that every command shares.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tools/krgadm/context.hh"
#include "tools/lib/error.hh"

namespace krg {

using Json = nlohmann::ordered_json;

/** {"output_version": {"command": "krgadm @command", "major": 1, "minor": 0}}: major changes when a key changes meaning. */
Json envelope(const std::string& command);

void print_json(Context& context, const Json& json);

/** Prints an error as text or, with --json, as an object, on the error stream. */
void print_error(Context& context, const Error& error);

/** "450ms", "41s", "2m41s", "3h02m", "5d01h". */
std::string duration(std::uint64_t ms);

/** 16 hexadecimal digits: 64-bit numbers do not survive JSON readers as numbers. */
std::string hex64(std::uint64_t value);

/** "1,2,5-7". */
std::string id_list(const std::vector<NodeId>& ids);

/** Columns two blanks apart; columns whose title starts with '>' are aligned to the right. */
class Table {
public:
    explicit Table(std::vector<std::string> titles) : titles_(std::move(titles)) {}

    void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
    void print(std::ostream& out) const;

private:
    std::vector<std::string> titles_;
    std::vector<std::vector<std::string>> rows_;
};

}  // namespace krg
