// SPDX-License-Identifier: GPL-2.0
// `krgadm container`: shared memory as all members see it. The numbers are the kernel's; only sums are made here.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "tools/krgadm/commands.hh"
#include "tools/krgadm/output.hh"
#include "tools/krgadm/replication.hh"

namespace krg {
namespace {

Containers containers_of(Context& context) {
    Containers found = take_containers(context);
    if (!found.loaded)
        throw Error(Exit::not_running, "there is no shared memory: the module hadsm is not loaded", "modprobe hadsm");
    return found;
}

/** Everything a line says, numbers as numbers. */
Json pairs_json(const Pairs& pairs) {
    Json json = Json::object();
    for (const auto& [name, value] : pairs.all) {
        if (name == "node" || name == "name" || name == "replicas") continue;
        if (name == "read_waits" || name == "write_waits")
            json[name] = pairs.list(name);
        else if (!value.empty() && value.find_first_not_of("0123456789") == std::string::npos)
            json[name] = pairs.number(name);
        else
            json[name] = value;
    }
    return json;
}

Json container_json(const Container& c) {
    const Replication r = replication(c);
    Json json{{"id", c.id},
              {"name", c.name.empty() ? Json() : Json(c.name)},
              {"replicas", c.replicas == 0 ? Json() : Json(c.replicas)},
              {"pages", c.sum("entries")},
              {"dirty", c.sum("dirty")},
              {"hits", c.sum("hits")},
              {"misses", c.sum("misses")},
              {"lost", c.sum("lost")},
              {"degraded", c.sum("degraded")},
              {"replication", {{"done", r.total - r.left}, {"total", r.total}, {"gathering", r.gathering}}},
              {"read_waits", c.sum_list("read_waits")},
              {"write_waits", c.sum_list("write_waits")}};
    json["nodes"] = Json::array();
    for (const auto& part : c.parts) {
        Json node{{"node", part.node == 0 ? Json() : Json(part.node)}};
        node.update(pairs_json(part.pairs));
        json["nodes"].push_back(std::move(node));
    }
    return json;
}

Json list_json(const std::string& command, const Containers& found, const std::vector<Container>& chosen) {
    Json json = envelope(command);
    json["cluster"] = found.cluster;
    json["containers"] = Json::array();
    for (const auto& c : chosen) json["containers"].push_back(container_json(c));
    json["silent"] = Json::array();
    for (const auto& node : found.silent) json["silent"].push_back({{"node", node.node}, {"error", std::strerror(node.error)}});
    return json;
}

/** What the numbers do not include. */
void print_gaps(std::ostream& out, const Containers& found) {
    if (!found.cluster) out << "only this node was asked: run as root, in a cluster, for all of them\n";
    for (const auto& node : found.silent)
        out << fmt::format("node {} did not answer: {}\n", node.node,
                           node.error == EOPNOTSUPP ? "hadsm is not loaded there" : std::strerror(node.error));
}

std::string name_of(const Container& c) { return c.name.empty() ? "-" : c.name; }

std::string copies_of(const Container& c) { return c.replicas == 0 ? "-" : std::to_string(c.replicas); }

/** Its id or the beginning of it, or its name. */
std::vector<Container> matching(const Containers& found, const std::string& which) {
    std::vector<Container> chosen;
    for (const auto& c : found.list)
        if (c.id == which || c.name == which) chosen.push_back(c);
    if (chosen.empty() && which.size() >= 4)
        for (const auto& c : found.list)
            if (c.id.rfind(which, 0) == 0) chosen.push_back(c);
    if (chosen.empty()) throw Error(Exit::no_object, fmt::format("there is no container {}", which), "krgadm container list");
    return chosen;
}

std::string upper_bound_us(std::size_t bucket) {
    const std::uint64_t us = std::uint64_t{2} << bucket;
    if (us < 1000) return fmt::format("<{}us", us);
    if (us < 1000000) return fmt::format("<{:.3g}ms", static_cast<double>(us) / 1e3);
    return fmt::format("<{:.3g}s", static_cast<double>(us) / 1e6);
}

void print_waits(std::ostream& out, const std::string& title, const Container& c, const std::string& what) {
    constexpr std::size_t widest = 40;
    const auto buckets = c.sum_list(what + "_waits");
    std::uint64_t count = 0, most = 0;
    for (const auto n : buckets) {
        count += n;
        most = std::max(most, n);
    }
    if (count == 0) return;
    out << fmt::format("{}  {}, mean {} us\n", title, count, c.sum(what + "_wait_us") / count);
    for (std::size_t i = 0; i < buckets.size(); i++) {
        if (buckets[i] == 0) continue;
        const std::size_t width = std::max<std::size_t>(1, buckets[i] * widest / most);
        out << fmt::format("  {:>8}  {:>8}  {}\n", i == 23 ? "more" : upper_bound_us(i), buckets[i], std::string(width, '#'));
    }
}

void print_container(std::ostream& out, const Container& c) {
    out << fmt::format("container  {}   {}   copies {}\n", c.id, name_of(c), copies_of(c));
    out << fmt::format("pages      {} held, {} not committed yet, {} lost, {} with too few copies\n", c.sum("entries"),
                       c.sum("dirty"), c.sum("lost"), c.sum("degraded"));
    out << fmt::format("copies     {} shared, {} exclusive, {} retained, {} frozen, {} staged\n", c.sum("shared"),
                       c.sum("exclusive"), c.sum("retained"), c.sum("frozen"), c.sum("staged"));
    out << fmt::format("recovery   {}\n", words_of(replication(c)));
    out << fmt::format("accesses   {} found it here, {} did not, {} refused\n", c.sum("hits"), c.sum("misses"),
                       c.sum("errors"));
    out << fmt::format("answers    {} by this very node, {} in 2 hops, {} in 3\n", c.sum("home_here"), c.sum("hops_2"),
                       c.sum("hops_3"));
    out << fmt::format("moves      {} invalidations, {} downgrades, {} hand-overs, {} ping-pongs\n", c.sum("invalidations"),
                       c.sum("downgrades"), c.sum("hand_overs"), c.sum("ping_pongs"));
    out << fmt::format("commits    {} of {} pages, {} by handing over, {} dropped\n", c.sum("commits"), c.sum("commit_objects"),
                       c.sum("commits_direct"), c.sum("commits_dropped"));
    out << fmt::format("traffic    {} messages, {} pages, {} bytes sent\n", c.sum("messages_out"), c.sum("pages_out"),
                       c.sum("bytes_out"));
    Table table({"NODE", ">SHARED", ">EXCLUSIVE", ">RETAINED", ">DIRTY", ">HOME-OF", ">HITS", ">MISSES", ">PING-PONGS", ">LOST",
                 ">BYTES-OUT", ">BYTES-IN"});
    for (const auto& part : c.parts) {
        std::vector<std::string> row{part.node == 0 ? "this" : std::to_string(part.node)};
        for (const char* pair : {"shared", "exclusive", "retained", "dirty", "entries", "hits", "misses", "ping_pongs", "lost",
                                 "bytes_out", "bytes_in"})
            row.push_back(std::to_string(part.pairs.number(pair)));
        table.row(std::move(row));
    }
    table.print(out);
    print_waits(out, "reads that waited ", c, "read");
    print_waits(out, "writes that waited", c, "write");
}

}  // namespace

Exit container_list(Context& context) {
    const Containers found = containers_of(context);
    if (context.json) {
        print_json(context, list_json("container list", found, found.list));
        return Exit::done;
    }
    Table table({"CONTAINER", "NAME", ">COPIES", ">PAGES", ">DIRTY", ">HITS", ">MISSES", ">PING-PONGS", ">LOST", "RECOVERY"});
    for (const auto& c : found.list)
        table.row({c.id, name_of(c), copies_of(c), std::to_string(c.sum("entries")), std::to_string(c.sum("dirty")),
                   std::to_string(c.sum("hits")), std::to_string(c.sum("misses")), std::to_string(c.sum("ping_pongs")),
                   std::to_string(c.sum("lost")), words_of(replication(c))});
    table.print(context.out);
    print_gaps(context.out, found);
    return Exit::done;
}

Exit container_show(Context& context, const std::string& which) {
    const Containers found = containers_of(context);
    const auto chosen = matching(found, which);
    if (context.json) {
        print_json(context, list_json("container show", found, chosen));
        return Exit::done;
    }
    for (std::size_t i = 0; i < chosen.size(); i++) {
        if (i > 0) context.out << '\n';
        print_container(context.out, chosen[i]);
    }
    print_gaps(context.out, found);
    return Exit::done;
}

}  // namespace krg
