// SPDX-License-Identifier: GPL-2.0
// `krgadm cluster showconf` and `krgadm cluster apply`: the configuration of this node as text that either of them and
// kerrighed.conf(5) understand.
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include <fmt/format.h>

#include "tools/krgadm/commands.hh"
#include "tools/krgadm/output.hh"

namespace krg {
namespace {

/** What the running node says goes over what the file says. */
Config running_config(Context& context) {
    Config config = read_config(context.config_path, true);
    const Picture picture = take_picture(context, false);
    const ClusterStatus& c = picture.cluster;
    if (!picture.loaded || c.name.empty()) return config;
    config.name = c.name;
    config.id = c.node_id;
    if (!c.host.empty()) config.host = c.host;
    if (c.lease_ms != 0) config.lease_ms = static_cast<std::uint32_t>(c.lease_ms);
    if (!picture.links.empty()) {
        config.links.clear();
        for (const auto& link : picture.links) config.links.push_back(link.name);
    }
    return config;
}

Json config_json(const Config& config) {
    return {{"cluster",
             {{"name", config.name},
              {"key_file", config.key_file},
              {"lease_ms", config.lease_ms},
              {"witness", config.witness},
              {"link_tolerance_ms", config.link_tolerance_ms}}},
            {"node",
             {{"id", config.id},
              {"host", config.host},
              {"links", config.links},
              {"auto_rejoin", config.auto_rejoin},
              {"bootstrap", config.bootstrap}}}};
}

std::string read_all(const std::string& file) {
    if (file == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
    std::ifstream in(file);
    if (!in)
        throw Error(errno == EACCES ? Exit::not_permitted : Exit::no_object,
                    fmt::format("cannot read {}: {}", file, std::strerror(errno)));
    return {std::istreambuf_iterator<char>(in), {}};
}

void replace_file(const std::string& path, const std::string& text) {
    const std::filesystem::path target(path);
    std::error_code ignored;
    if (target.has_parent_path()) std::filesystem::create_directories(target.parent_path(), ignored);
    const std::string fresh = path + ".new";
    {
        std::ofstream out(fresh, std::ios::trunc);
        out << text << std::flush;
        if (!out)
            throw Error(errno == EACCES ? Exit::not_permitted : Exit::failed,
                        fmt::format("cannot write {}: {}", fresh, std::strerror(errno)), "run as root");
    }
    std::error_code error;
    std::filesystem::rename(fresh, target, error);
    if (error) throw Error(Exit::failed, fmt::format("cannot replace {}: {}", path, error.message()));
}

/** What of @wanted a running node cannot change without leaving. */
std::vector<std::string> needs_rejoin(const Config& running, const Config& wanted) {
    std::vector<std::string> keys;
    if (running.name != wanted.name) keys.emplace_back("cluster.name");
    if (running.key_file != wanted.key_file) keys.emplace_back("cluster.key_file");
    if (wanted.lease_ms != 0 && running.lease_ms != wanted.lease_ms) keys.emplace_back("cluster.lease_ms");
    if (running.witness != wanted.witness) keys.emplace_back("cluster.witness");
    if (running.id != wanted.id) keys.emplace_back("node.id");
    if (!wanted.host.empty() && running.host != wanted.host) keys.emplace_back("node.host");
    if (running.links != wanted.links) keys.emplace_back("node.links");
    if (running.auto_rejoin != wanted.auto_rejoin) keys.emplace_back("node.auto_rejoin");
    return keys;
}

}  // namespace

Config effective_config(Context& context, const ConfigOverrides& overrides) {
    Config config = read_config(context.config_path, !overrides.name.empty());
    // The command line goes through the parser too: what the file may not say, it may not say either.
    std::string text = "[cluster]\n";
    const auto line = [&text](const char* key, const std::string& value) {
        if (!value.empty()) text += fmt::format("{} = {}\n", key, value);
    };
    line("name", overrides.name);
    line("key_file", overrides.key_file);
    line("witness", overrides.witness);
    if (overrides.lease_ms != 0) line("lease_ms", std::to_string(overrides.lease_ms));
    text += "[node]\n";
    line("host", overrides.host);
    if (overrides.node_id != 0) line("id", std::to_string(overrides.node_id));
    line("links", fmt::format("{}", fmt::join(overrides.links, " ")));
    const Config given = parse_config(text, "command line");

    if (!given.name.empty()) config.name = given.name;
    if (!overrides.key_file.empty()) config.key_file = given.key_file;
    if (!given.witness.empty()) config.witness = given.witness;
    if (given.lease_ms != 0) config.lease_ms = given.lease_ms;
    if (!given.host.empty()) config.host = given.host;
    if (given.id != 0) config.id = given.id;
    if (!given.links.empty()) config.links = given.links;
    check_complete(config, context.config_path);
    return config;
}

Exit cluster_showconf(Context& context) {
    const Config config = running_config(context);
    if (context.json) {
        Json json = envelope("cluster showconf");
        json["config"] = config_json(config);
        print_json(context, json);
    } else {
        context.out << write_config(config);
    }
    return Exit::done;
}

Exit cluster_apply(Context& context, const std::string& file) {
    const Config wanted = parse_config(read_all(file), file == "-" ? "standard input" : file);
    check_complete(wanted, file == "-" ? "standard input" : file);
    const Picture picture = take_picture(context, false);
    std::vector<std::string> later;
    if (picture.loaded && picture.cluster.in_cluster()) {
        later = needs_rejoin(running_config(context), wanted);
        if (!later.empty() && !context.assume_yes)
            throw Error(Exit::unsafe,
                        fmt::format("this node is in cluster {}; {} can only change by leaving it", picture.cluster.name,
                                    fmt::join(later, ", ")),
                        "krgadm cluster leave, apply, then join; or --force to write the file for the next join");
    }
    replace_file(context.config_path, write_config(wanted));
    if (context.json) {
        Json json = envelope("cluster apply");
        json["file"] = context.config_path;
        json["config"] = config_json(wanted);
        json["at_next_join"] = later;
        print_json(context, json);
    } else {
        context.out << fmt::format("wrote {}{}\n", context.config_path,
                                   later.empty() ? "" : "; it takes effect at the next join");
    }
    return Exit::done;
}

}  // namespace krg
