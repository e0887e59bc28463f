// SPDX-License-Identifier: GPL-2.0
// /etc/kerrighed/kerrighed.conf: reading, checking and writing it. The format is described in kerrighed.conf(5).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace krg {

inline constexpr const char* default_config_path = "/etc/kerrighed/kerrighed.conf";
inline constexpr const char* default_key_path = "/etc/kerrighed/key";

struct Config {
    // [cluster]
    std::string name;
    std::string key_file = default_key_path;
    std::uint32_t lease_ms = 0;  // 0: the kernel's default
    std::string witness;
    std::uint32_t link_tolerance_ms = 500;
    // [node]
    std::uint16_t id = 0;
    std::string host;  // "": the machine's own name
    std::vector<std::string> links;
    bool auto_rejoin = true;
    bool bootstrap = false;

    bool operator==(const Config&) const = default;
};

/** Parses the text of a file; @origin names it in errors. Throws Error with file and line. */
Config parse_config(std::string_view text, const std::string& origin);

/** Reads @path. A missing file is an empty configuration if @may_miss, else an Error. */
Config read_config(const std::string& path, bool may_miss);

/** The text that parses to @config. */
std::string write_config(const Config& config);

/** Refuses a configuration that cannot be joined with (no name, no id, no link). Throws Error. */
void check_complete(const Config& config, const std::string& origin);

}  // namespace krg
