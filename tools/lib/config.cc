// SPDX-License-Identifier: GPL-2.0
// The configuration file's parser: sections in brackets, `key = value` lines, comments after # or ; at the start of a
// line. Everything it does not know is an error, with the line.
#include "tools/lib/config.hh"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "include/uapi/linux/kerrighed.h"
#include "tools/lib/error.hh"

namespace krg {
namespace {

/** A value that cannot be; caught where file and line are known. */
struct BadValue {
    std::string why;
};

std::string_view trim(std::string_view text) {
    constexpr std::string_view blank = " \t\r";
    const auto first = text.find_first_not_of(blank);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

template<typename Number>
Number to_number(std::string_view text, std::uint64_t low, std::uint64_t high) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value < low || value > high)
        throw BadValue{fmt::format("must be a number from {} to {}", low, high)};
    return static_cast<Number>(value);
}

bool to_bool(std::string_view text) {
    if (text == "yes" || text == "true" || text == "1") return true;
    if (text == "no" || text == "false" || text == "0") return false;
    throw BadValue{"must be yes or no"};
}

std::string to_name(std::string_view text, std::size_t longest) {
    const bool harmless = std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    });
    if (text.empty() || text.size() > longest || !harmless || text.front() == '-' || text.front() == '.')
        throw BadValue{fmt::format("must have 1 to {} letters, digits, dots, dashes or underscores, and start with "
                                   "no dot or dash",
                                   longest)};
    return std::string(text);
}

std::string to_path(std::string_view text) {
    if (text.empty() || text.front() != '/' || text.size() > KRG_PATH_MAX)
        throw BadValue{fmt::format("must be an absolute path of at most {} bytes", KRG_PATH_MAX)};
    return std::string(text);
}

std::vector<std::string> to_links(std::string_view text) {
    std::vector<std::string> links;
    std::istringstream words{std::string(text)};
    for (std::string word; words >> word;) {
        if (word.size() > KRG_LINK_NAME_MAX || word.find('/') != std::string::npos || word.find(':') != std::string::npos)
            throw BadValue{fmt::format("{} is no name of a network device", word)};
        if (std::find(links.begin(), links.end(), word) != links.end()) throw BadValue{fmt::format("names {} twice", word)};
        links.push_back(word);
    }
    if (links.empty() || links.size() > KRG_LINKS_MAX)
        throw BadValue{fmt::format("must name 1 to {} network devices", KRG_LINKS_MAX)};
    return links;
}

using Setter = std::function<void(Config&, std::string_view)>;

const std::map<std::string, Setter, std::less<>>& setters() {
    static const std::map<std::string, Setter, std::less<>> table{
        {"cluster.name", [](Config& c, std::string_view v) { c.name = to_name(v, KRG_CLUSTER_NAME_MAX); }},
        {"cluster.key_file", [](Config& c, std::string_view v) { c.key_file = to_path(v); }},
        {"cluster.lease_ms",
         [](Config& c, std::string_view v) { c.lease_ms = to_number<std::uint32_t>(v, KRG_LEASE_MS_MIN, KRG_LEASE_MS_MAX); }},
        {"cluster.witness", [](Config& c, std::string_view v) { c.witness = to_path(v); }},
        {"cluster.link_tolerance_ms",
         [](Config& c, std::string_view v) { c.link_tolerance_ms = to_number<std::uint32_t>(v, 50, 30000); }},
        {"node.id", [](Config& c, std::string_view v) { c.id = to_number<std::uint16_t>(v, 1, KRG_NODE_ID_MAX); }},
        {"node.host", [](Config& c, std::string_view v) { c.host = to_name(v, KRG_HOST_NAME_MAX); }},
        {"node.links", [](Config& c, std::string_view v) { c.links = to_links(v); }},
        {"node.auto_rejoin", [](Config& c, std::string_view v) { c.auto_rejoin = to_bool(v); }},
        {"node.bootstrap", [](Config& c, std::string_view v) { c.bootstrap = to_bool(v); }},
    };
    return table;
}

class Parser {
public:
    explicit Parser(std::string origin) : origin_(std::move(origin)) {}

    void line(std::string_view text) {
        number_++;
        text = trim(text);
        if (text.empty() || text.front() == '#' || text.front() == ';') return;
        if (text.front() == '[') return section(text);
        const auto equals = text.find('=');
        if (equals == std::string_view::npos) fail("is neither a [section] nor a key = value");
        assign(trim(text.substr(0, equals)), trim(text.substr(equals + 1)));
    }

    [[nodiscard]] const Config& config() const { return config_; }

private:
    [[noreturn]] void fail(const std::string& why) const {
        throw Error(Exit::usage, fmt::format("{}:{}: {}", origin_, number_, why), "see kerrighed.conf(5)");
    }

    void section(std::string_view text) {
        if (text.back() != ']') fail("the section's name has no closing bracket");
        section_ = trim(text.substr(1, text.size() - 2));
        if (section_ != "cluster" && section_ != "node")
            fail(fmt::format("there is no section [{}]; sections are [cluster] and [node]", section_));
    }

    void assign(std::string_view key, std::string_view value) {
        if (section_.empty()) fail("a key = value stands before any section");
        const std::string full = fmt::format("{}.{}", section_, key);
        const auto setter = setters().find(full);
        if (setter == setters().end()) fail(fmt::format("section [{}] has no key {}", section_, key));
        if (!seen_.insert(full).second) fail(fmt::format("{} is set a second time", key));
        try {
            setter->second(config_, value);
        } catch (const BadValue& bad) {
            fail(fmt::format("{} {}", key, bad.why));
        }
    }

    std::string origin_, section_;
    int number_ = 0;
    std::set<std::string> seen_;
    Config config_;
};

}  // namespace

Config parse_config(std::string_view text, const std::string& origin) {
    Parser parser(origin);
    for (std::size_t start = 0; start < text.size();) {
        const auto end = std::min(text.find('\n', start), text.size());
        parser.line(text.substr(start, end - start));
        start = end + 1;
    }
    return parser.config();
}

Config read_config(const std::string& path, bool may_miss) {
    std::ifstream file(path);
    if (!file) {
        if (may_miss && errno == ENOENT) return {};
        throw Error(errno == EACCES ? Exit::not_permitted : Exit::failed,
                    fmt::format("cannot read {}: {}", path, std::strerror(errno)), "see kerrighed.conf(5) for an example");
    }
    std::stringstream text;
    text << file.rdbuf();
    return parse_config(text.str(), path);
}

std::string write_config(const Config& config) {
    const Config defaults;
    std::string text = "[cluster]\n";
    const auto line = [&text](std::string_view key, const std::string& value) { text += fmt::format("{} = {}\n", key, value); };
    if (!config.name.empty()) line("name", config.name);
    line("key_file", config.key_file);
    if (config.lease_ms != 0) line("lease_ms", std::to_string(config.lease_ms));
    if (!config.witness.empty()) line("witness", config.witness);
    if (config.link_tolerance_ms != defaults.link_tolerance_ms)
        line("link_tolerance_ms", std::to_string(config.link_tolerance_ms));

    text += "\n[node]\n";
    if (config.id != 0) line("id", std::to_string(config.id));
    if (!config.host.empty()) line("host", config.host);
    if (!config.links.empty()) line("links", fmt::format("{}", fmt::join(config.links, " ")));
    line("auto_rejoin", config.auto_rejoin ? "yes" : "no");
    line("bootstrap", config.bootstrap ? "yes" : "no");
    return text;
}

void check_complete(const Config& config, const std::string& origin) {
    const auto missing = [&origin](const char* what, const char* option) {
        throw Error(Exit::usage, fmt::format("{} says no {}", origin, what), fmt::format("add it there, or use {}", option));
    };
    if (config.name.empty()) missing("name of the cluster ([cluster] name)", "--name");
    if (config.id == 0) missing("node id ([node] id)", "--node-id");
    if (config.links.empty()) missing("network device ([node] links)", "--link");
}

}  // namespace krg
