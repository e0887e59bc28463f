// SPDX-License-Identifier: GPL-2.0
// `krgadm container page`: one page as this node and its home see it, or as every member does.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <sstream>

#include <fmt/format.h>

#include "tools/krgadm/commands.hh"
#include "tools/krgadm/output.hh"

namespace krg {
namespace {

constexpr std::uint64_t page_size = 4096;

Error not_loaded() {
    return Error(Exit::not_running, "there is no shared memory: the module hadsm is not loaded", "modprobe hadsm");
}

/** What a page is called. */
struct Place {
    std::string domain;
    std::uint64_t container = 0, index = 0;
};

std::uint64_t number_of(const std::string& what, const std::string& text) {
    std::uint64_t value = 0;
    const auto end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, value);
    if (text.empty() || result.ec != std::errc() || result.ptr != end)
        throw Error(Exit::usage, fmt::format("{}: {} is not a number", what, text), "krgadm container page --help");
    return value;
}

/** The whole id of a container that is named by it, its beginning or its name. */
std::string domain_of(Context& context, const std::string& which) {
    std::vector<std::string> ids;
    const Containers found = take_containers(context);
    if (!found.loaded) throw not_loaded();
    for (const auto& c : found.list) {
        if (c.id == which) return which;
        if (c.name == which || (which.size() >= 4 && c.id.rfind(which, 0) == 0)) ids.push_back(c.id);
    }
    if (ids.size() == 1) return ids.front();
    if (ids.empty()) throw Error(Exit::no_object, fmt::format("there is no container {}", which), "krgadm container list");
    throw Error(Exit::usage, fmt::format("{} names several containers", which), "krgadm container list; use the id");
}

Place split_place(Context& context, const std::string& name) {
    const auto slash = name.find('/');
    if (slash == std::string::npos)
        throw Error(Exit::usage, fmt::format("{} names no file: ID/FILE is wanted", name),
                    "krgadm container page --file PATH OFFSET");
    return {domain_of(context, name.substr(0, slash)), number_of("FILE", name.substr(slash + 1)), 0};
}

Place place_of_file(Context& context, const std::string& path, const std::string& offset) {
    const FileText where = context.system.attribute(path, "user.hadsm.container");
    const auto slash = where.text.find('/');
    if (where.error == ENOENT) throw Error(Exit::no_object, fmt::format("{}: {}", path, std::strerror(where.error)));
    if (where.error == EACCES || where.error == EPERM)
        throw Error(Exit::not_permitted, fmt::format("{}: {}", path, std::strerror(where.error)));
    if (where.error != 0 || slash == std::string::npos)
        throw Error(Exit::no_object, fmt::format("{} is no regular file on a hadsm file system", path), "findmnt -t hadsm");
    return {where.text.substr(0, slash), number_of("the file's number", where.text.substr(slash + 1)),
            number_of("OFFSET", offset) / page_size};
}

Place place_of(Context& context, const PageName& page) {
    if (!page.file.empty()) {
        if (!page.container.empty())
            throw Error(Exit::usage, "a page is named by CONTAINER and INDEX or by --file, not by both",
                        "krgadm container page --help");
        return place_of_file(context, page.file[0], page.file[1]);
    }
    if (page.container.empty() || page.index.empty())
        throw Error(Exit::usage, "CONTAINER and INDEX are required, or --file PATH OFFSET", "krgadm container page --help");
    Place place = split_place(context, page.container);
    place.index = number_of("INDEX", page.index);
    return place;
}

std::vector<Pairs> ask(Context& context, const Place& place, bool all) {
    const std::string question = fmt::format("{} {} {} {}", all ? "page-all" : "page", place.domain, place.container,
                                             place.index);
    const FileText answer = context.system.proc("query", question);
    switch (answer.error) {
    case 0: break;
    case ENOENT:
        if (!take_containers(context).loaded) throw not_loaded();
        throw Error(Exit::no_object, fmt::format("there is no container {}", place.domain), "krgadm container list");
    case EACCES:
    case EPERM: throw Error(Exit::not_permitted, "only root may ask where pages are", "run as root");
    case ENOTCONN: throw Error(Exit::not_running, "this node is not in a cluster", "krgadm cluster join");
    default: throw Error(Exit::failed, fmt::format("cannot ask the kernel: {}", std::strerror(answer.error)), "dmesg");
    }
    std::vector<Pairs> lines;
    std::istringstream in(answer.text);
    for (std::string line; std::getline(in, line);) lines.push_back(parse_pairs(line));
    if (lines.empty()) throw Error(Exit::failed, "the kernel answered with nothing", "dmesg");
    return lines;
}

bool silent(const Pairs& line) { return !line.text("error").empty(); }

/** The line of the page's home, or nullptr: it did not answer, or nobody knows it. */
const Pairs* home_of(const std::vector<Pairs>& lines) {
    const std::string home = lines.front().text("home");
    for (const auto& line : lines)
        if (!silent(line) && line.text("node") == home) return &line;
    return nullptr;
}

/** "mapped, dirty": what of the copy is so. */
std::string flags(const Pairs& line) {
    std::string text;
    const auto add = [&](const char* pair, const char* word) {
        if (line.number(pair) != 0) text += fmt::format(", {}", word);
    };
    add("mapped", "in the page cache");
    add("dirty", "not committed yet");
    add("batch", "in the batch under way");
    add("pinned", "pinned for I/O");
    add("suspended", "suspended with its node");
    if (const auto n = line.number("staged")) text += fmt::format(", {} versions staged beside it", n);
    return text;
}

void print_copy(std::ostream& out, const Pairs& line, const std::string& title) {
    if (silent(line)) {
        out << fmt::format("{:<8} node {}   did not answer: {}\n", title, line.text("node"),
                           std::strerror(static_cast<int>(line.number("error"))));
        return;
    }
    const bool copy = line.text("state") != "none";
    out << fmt::format("{:<8} node {}   {}{}{}\n", title, line.text("node"), copy ? line.text("state") : "no copy",
                       copy ? " version " + line.text("version") : "", flags(line));
    if (line.text("backups") != "-" && !line.text("backups").empty())
        out << fmt::format("{:<8} commits to {}\n", "", line.text("backups"));
    if (line.number("waiting") != 0 || line.text("asked") != "-")
        out << fmt::format("{:<8} {} programs wait, the home is asked for {}\n", "", line.number("waiting"),
                           line.text("asked") == "-" ? "nothing" : line.text("asked"));
    if (line.text("command") != "-" || line.text("edge") != "-")
        out << fmt::format("{:<8} the home demands {} (to node {}), the page cache is busy with {}\n", "", line.text("command"),
                           line.text("command_to"), line.text("edge"));
}

/** What became of a page that nobody has. */
std::string fate(const Pairs& home) {
    return home.number("written") != 0 ? "LOST: it was written, and no copy is left" : "zeros: it was never written";
}

void print_home(std::ostream& out, const std::vector<Pairs>& lines) {
    const Pairs* home = home_of(lines);
    const std::string id = lines.front().text("home");
    if (home == nullptr) {
        out << fmt::format("home     node {}   {}\n", id, id == "0" ? "no view: nobody is home" : "did not answer");
        return;
    }
    const std::string entry = home->text("entry");
    if (entry == "none")
        out << fmt::format("home     node {}   no entry: {}\n", id, fate(*home));
    else if (entry == "exclusive")
        out << fmt::format("home     node {}   writer {}, retained {}\n", id, home->text("writer"), home->text("retained"));
    else
        out << fmt::format("home     node {}   sharers {}, retained {}\n", id, home->text("sharers"), home->text("retained"));
    if (home->text("stale") != "-" || home->text("frozen") != "-")
        if (entry != "none")
            out << fmt::format("         older copies {}, frozen {}\n", home->text("stale"), home->text("frozen"));
    if (home->text("phase") != "idle")
        out << fmt::format("         under way: {} {} for node {}, {}, {} answers missing\n", home->text("want"),
                           home->text("mode"), home->text("requester"), home->text("phase"), home->text("acks"));
    if (home->text("queue") != "-" && entry != "none") out << fmt::format("         waiting: nodes {}\n", home->text("queue"));
}

Json line_json(const Pairs& line) {
    Json json = Json::object();
    for (const auto& [name, value] : line.all) {
        if (name == "domain") continue;
        const bool nodes = name == "backups" || name == "sharers" || name == "retained" || name == "stale" ||
                           name == "frozen" || name == "queue";
        if (nodes)
            json[name] = line.list(name);
        else if (name != "version" && !value.empty() && value.find_first_not_of("0123456789") == std::string::npos)
            json[name] = line.number(name);
        else
            json[name] = value == "-" ? Json() : Json(value);
    }
    return json;
}

}  // namespace

Exit container_page(Context& context, const PageName& page) {
    const Place place = place_of(context, page);
    const auto lines = ask(context, place, page.all);
    const bool complete = std::none_of(lines.begin(), lines.end(), silent);
    if (context.json) {
        Json json = envelope("container page");
        json["container"] = fmt::format("{}/{}", place.domain, place.container);
        json["index"] = place.index;
        json["home"] = lines.front().number("home");
        json["nodes"] = Json::array();
        for (const auto& line : lines) json["nodes"].push_back(line_json(line));
        print_json(context, json);
    } else {
        context.out << fmt::format("page     {}/{} index {}\n", place.domain, place.container, place.index);
        print_copy(context.out, lines.front(), "here");
        print_home(context.out, lines);
        for (std::size_t i = 1; i < lines.size(); i++)
            if (page.all || silent(lines[i]) || lines[i].text("state") != "none") print_copy(context.out, lines[i], "there");
    }
    return complete ? Exit::done : Exit::timed_out;
}

}  // namespace krg
