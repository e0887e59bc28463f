// SPDX-License-Identifier: GPL-2.0
// A ghost image from a file, record by record, through the same reader as everywhere; and how values are shown.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "proc/core/ghost.h"

namespace krg::image {

using Json = nlohmann::ordered_json;

struct Value {
    u16 field = 0, kind = 0;
    std::string name;   // as in Documentation/ghost-format.md
    u64 number = 0;     // of kinds up to reference
    std::string bytes;  // of the others
};

struct Item {
    u64 index = 0, offset = 0, object = 0, owner = 0;
    u64 data_offset = 0;  // of its data in the image, known when they are shown or passed over
    u32 data = 0;
    u16 type = 0;
    bool skipped = false;
    std::string name;
    std::vector<Value> values;

    [[nodiscard]] u64 number(u16 field) const;
    [[nodiscard]] std::string text(u16 field) const;
};

struct Summary {
    u64 number = 0, features = 0, size = 0;  // size: bytes of the image
    krg_ghost_totals totals{};
};

/** A record, then its data, if it has some, in one piece. */
struct Visitor {
    std::function<void(const Item&)> record;
    std::function<void(const Item&, const std::vector<u8>&)> data;  // none: they are read and checked all the same
    std::function<bool(const Item&)> pass = {};                     // true: its data are neither read nor checked
};

/** Reads all of @path and checks all of it. Throws krg::Error: what is wrong, where, and what to do. */
Summary read(const std::string& path, const Visitor& visitor);

/** Its records from the first one on, with the number of the image, until @record throws. Data are neither read nor checked. */
void peek(const std::string& path, const std::function<void(u64 number, const Item&)>& record);

/** One value for people, and for programs: 64-bit values as hexadecimal text, smaller ones as numbers, bytes as hexadecimal text. */
std::string shown(u16 type, const Value& value);
Json json_of(u16 type, const Value& value);

}  // namespace krg::image
