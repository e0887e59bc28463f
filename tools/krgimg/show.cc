// SPDX-License-Identifier: GPL-2.0
// krgimg show and krgimg check.
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ostream.h>
#include <nlohmann/json.hpp>

#include "tools/krgimg/commands.hh"
#include "tools/lib/chain.hh"
#include "tools/lib/image.hh"

namespace krg::image {
namespace {

namespace fs = std::filesystem;

Json totals_json(const Summary& s) {
    return {{"records", s.totals.records}, {"objects", s.totals.objects}, {"tasks", s.totals.tasks},
            {"threads", s.totals.threads}, {"pages", s.totals.pages},     {"data_bytes", s.totals.data}};
}

Json head_of(const std::string& command) {
    return {{"output_version", {{"command", "krgimg " + command}, {"major", 1}, {"minor", 0}}}};
}

void print_item(std::ostream& out, const Item& item) {
    fmt::print(out, "#{:<5} {}", item.index, item.name);
    if (item.object) fmt::print(out, " @{}", item.object);
    if (item.skipped) out << " (unknown, skipped)";
    for (const Value& value : item.values) fmt::print(out, " {}={}", value.name, shown(item.type, value));
    if (item.data) fmt::print(out, " data={}", item.data);
    out << '\n';
}

Json item_json(const Item& item) {
    Json json = {{"record", item.index},
                 {"offset", item.offset},
                 {"type", item.name},
                 {"object", item.object},
                 {"skipped", item.skipped}};
    json["fields"] = Json::object();
    for (const Value& value : item.values) json["fields"][value.name] = json_of(item.type, value);
    json["data_bytes"] = item.data;
    return json;
}

/** Ids of processes and threads are there once. */
class Ids {
public:
    void see(const std::string& path, const Item& item) {
        const bool process = item.type == KRG_GHOST_ZOMBIE, thread = item.type == KRG_GHOST_THREAD;
        if (!process && !thread) return;
        const u64 id = item.number(process ? u16{KRG_GHOST_ZOMBIE_PID} : u16{KRG_GHOST_THREAD_TID});
        const auto [before, fresh] = seen_.emplace(id, item.index);
        if (!fresh)
            throw Error(Exit::failed,
                        fmt::format("{}: byte {}, record {} ({}): id {} is record {}'s already", path, item.offset, item.index,
                                    item.name, id, before->second),
                        "this image cannot be restored: use another");
    }

private:
    std::map<u64, u64> seen_;
};

Summary check_one(const std::string& path, std::vector<Item>* members) {
    Ids ids;
    return read(path, {[&](const Item& item) {
                           ids.see(path, item);
                           if (members && item.type == KRG_GHOST_MEMBER) members->push_back(item);
                       },
                       {}});
}

void check_member(const std::string& manifest, const Item& member) {
    const std::string path = (fs::path(manifest).parent_path() / member.text(KRG_GHOST_MEMBER_NAME)).string();
    const Summary s = check_one(path, nullptr);
    const auto size = fs::file_size(path);
    if (s.number == member.number(KRG_GHOST_MEMBER_NUMBER) && size == member.number(KRG_GHOST_MEMBER_SIZE) &&
        s.totals.records == member.number(KRG_GHOST_MEMBER_RECORDS) + 1)
        return;
    throw Error(Exit::failed, fmt::format("{}: not the image that record {} of {} names", path, member.index, manifest),
                "restore both from the same checkpoint");
}

/** An increment is good only with all that it adds to, if it names that; packed pages, if they unpack. How many images it needs beside itself. */
size_t check_chain(const std::string& path) {
    const Link link = link_of(path);
    if (is_whole(path) || (link.parent && link.base.empty())) return 0;
    const size_t needed = chain_of(path).size() - 1;
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0) throw Error(Exit::failed, fmt::format("/dev/null: {}", std::strerror(errno)));
    try {
        (void)rewrite(path, nowhere, Codec::plain, false);
    } catch (...) {
        close(nowhere);
        throw;
    }
    close(nowhere);
    return needed;
}

}  // namespace

Exit show(const Print& print, const std::vector<std::string>& files, const std::string& only) {
    Json images = Json::array();
    for (const auto& path : files) {
        Json records = Json::array();
        if (!print.json && files.size() > 1) fmt::print(print.out, "{}:\n", path);
        const Summary s = read(path, {[&](const Item& item) {
                                          if (!only.empty() && item.name != only) return;
                                          if (print.json)
                                              records.push_back(item_json(item));
                                          else
                                              print_item(print.out, item);
                                      },
                                      {}});
        images.push_back({{"file", path},
                          {"number", fmt::format("{:016x}", s.number)},
                          {"features", fmt::format("{:016x}", s.features)},
                          {"size_bytes", s.size},
                          {"totals", totals_json(s)},
                          {"records", records}});
    }
    if (!print.json) return Exit::done;
    Json json = head_of("show");
    json["images"] = images;
    print.out << json.dump(print.pretty ? 2 : -1, ' ', false, Json::error_handler_t::replace) << '\n';
    return Exit::done;
}

Exit check(const Print& print, const std::vector<std::string>& files) {
    Json images = Json::array();
    for (const auto& path : files) {
        std::vector<Item> members;
        const Summary s = check_one(path, &members);
        for (const Item& member : members) check_member(path, member);
        const size_t needed = check_chain(path);
        if (!print.json)
            fmt::print(print.out, "{}: ok, {} records, {} tasks, {} threads, {} pages, {} bytes of data{}{}\n", path,
                       s.totals.records, s.totals.tasks, s.totals.threads, s.totals.pages, s.totals.data,
                       members.empty() ? "" : fmt::format(", {} members ok", members.size()),
                       needed ? fmt::format(", an increment: the {} images it needs are ok", needed) : "");
        images.push_back(
            {{"file", path}, {"ok", true}, {"members", members.size()}, {"needs", needed}, {"totals", totals_json(s)}});
    }
    if (!print.json) return Exit::done;
    Json json = head_of("check");
    json["images"] = images;
    print.out << json.dump(print.pretty ? 2 : -1, ' ', false, Json::error_handler_t::replace) << '\n';
    return Exit::done;
}

}  // namespace krg::image
