// SPDX-License-Identifier: GPL-2.0
// `krgadm node ...`: lists and details of nodes, their removal, and Kerrighed's `nodes status|add|del`.
#include "tools/krgadm/node.hh"

#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include "include/uapi/linux/kerrighed.h"
#include "tools/krgadm/commands.hh"
#include "tools/krgadm/wait.hh"
#include "tools/lib/names.hh"

namespace krg {
namespace {

std::string ago(const std::optional<std::uint64_t>& ms) { return ms ? duration(*ms) : "-"; }

Json number_or_null(const std::optional<std::uint64_t>& value) { return value ? Json(*value) : Json(nullptr); }

/** Is @id out of the view, and that view in force? */
bool is_out(Client& client, NodeId id) {
    const ClusterStatus status = client.cluster();
    return status.state == KRG_NODE_STATE_SERVING &&
           std::find(status.members.begin(), status.members.end(), id) == status.members.end();
}

/** Kerrighed's words: online is a member, present answers but is none, possible neither. */
std::string_view old_state(const Picture& picture, NodeId id) {
    for (const auto& node : picture.nodes) {
        if (node.id != id) continue;
        if (node.member) return "online";
        if (node.reachable) return "present";
    }
    return id <= KRG_NODE_ID_MAX ? "possible" : "invalid";
}

void say_members(Context& context, const std::string& command, const std::string& text) {
    const ClusterStatus status = context.client().cluster();
    if (context.json) {
        Json json = envelope(command);
        json["epoch"] = status.epoch;
        json["members"] = status.members;
        print_json(context, json);
    } else {
        context.out << text << '\n';
    }
}

enum class Removal { evict, drain };

void ask_removal(Context& context, Removal how, NodeId id) {
    try {
        Client client = context.client();
        how == Removal::evict ? client.evict(id) : client.drain(id);
    } catch (...) {
        rethrow_refusal(fmt::format("{} node {}", how == Removal::evict ? "evict" : "drain", id));
    }
}

Exit remove_node(Context& context, Removal how, const std::string& who, std::optional<Seconds> wait) {
    const char* verb = how == Removal::evict ? "evict" : "drain";
    const Picture picture = take_cluster_picture(context);
    const NodeInfo& node = find_node(picture, who);
    if (node.self) throw Error(Exit::usage, fmt::format("cannot {} this node itself", verb), "krgadm cluster leave");
    if (!node.member)
        throw Error(Exit::no_object,
                    fmt::format("{} (node {}) is no member: {}", node.name(), node.id, reason_phrase(node.reason)),
                    "krgadm node list");
    ask_removal(context, how, node.id);
    if (wait) {
        Client client = context.client();
        wait_until(context, fmt::format("waiting for {} to be out", node.name()), *wait,
                   how == Removal::evict ? "krgadm health --detail"
                                         : fmt::format("krgadm node evict {} does not wait", node.id),
                   [&] { return is_out(client, node.id); });
    }
    const char* past = how == Removal::evict ? (wait ? "evicted" : "evicting") : (wait ? "drained" : "draining");
    say_members(context, fmt::format("node {}", verb), fmt::format("{} {} (node {})", past, node.name(), node.id));
    return Exit::done;
}

/** Exactly one of -n, -c, -t, -a. */
void check_selection(const NodeSelection& s) {
    const int given = (s.list.empty() ? 0 : 1) + (s.count > 0 ? 1 : 0) + (s.total > 0 ? 1 : 0) + (s.all ? 1 : 0);
    if (given != 1)
        throw Error(Exit::usage, "exactly one of --nodes LIST, --count N, --total N and --all is needed",
                    "krgadm nodes add --help");
}

}  // namespace

Json node_json(const NodeInfo& node) {
    return {{"id", node.id},
            {"host", node.host},
            {"state", node.state()},
            {"member", node.member},
            {"reachable", node.self || node.reachable},
            {"self", node.self},
            {"draining", node.draining},
            {"incarnation", hex64(node.incarnation)},
            {"reason", reason_name(node.reason)},
            {"heard_ms_ago", number_or_null(node.heard_ms_ago)},
            {"acked_ms_ago", number_or_null(node.acked_ms_ago)},
            {"down_ms_ago", number_or_null(node.down_ms_ago)},
            {"tipc_addr", number_or_null(node.tipc_addr)}};
}

std::vector<NodeId> parse_id_list(const std::string& text) {
    const auto bad = [&text]() -> Error {
        return {Exit::usage, fmt::format("{} is no list of node ids (1 to {})", text, KRG_NODE_ID_MAX), "for example 2,3,6-10"};
    };
    const auto number = [&bad](std::string_view part) {
        unsigned value = 0;
        const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
        if (error != std::errc{} || end != part.data() + part.size() || value < 1 || value > KRG_NODE_ID_MAX) throw bad();
        return static_cast<NodeId>(value);
    };
    std::set<NodeId> ids;
    const std::string_view all(text);
    for (std::size_t start = 0; start <= all.size();) {
        const std::size_t end = std::min(all.find(',', start), all.size());
        const std::string_view part = all.substr(start, end - start);
        const std::size_t dash = part.find('-');
        const NodeId low = number(part.substr(0, dash));
        const NodeId high = dash == std::string_view::npos ? low : number(part.substr(dash + 1));
        if (high < low) throw bad();
        for (unsigned id = low; id <= high; id++) ids.insert(static_cast<NodeId>(id));
        start = end + 1;
    }
    return {ids.begin(), ids.end()};
}

const NodeInfo& find_node(const Picture& picture, const std::string& who) {
    const auto found = std::find_if(picture.nodes.begin(), picture.nodes.end(), [&who](const NodeInfo& node) {
        return who == std::to_string(node.id) || (!node.host.empty() && who == node.host) || who == node.name();
    });
    if (found == picture.nodes.end())
        throw Error(Exit::no_object, fmt::format("this cluster has no node {}", who), "krgadm node list");
    return *found;
}

Exit node_list(Context& context) {
    const Picture picture = take_cluster_picture(context);
    if (context.json) {
        Json json = envelope("node list");
        json["epoch"] = picture.cluster.epoch;
        json["nodes"] = Json::array();
        for (const auto& node : picture.nodes) json["nodes"].push_back(node_json(node));
        print_json(context, json);
        return Exit::done;
    }
    Table table({">ID", "HOST", "STATE", ">HEARD", ">DOWN", "INCARNATION"});
    for (const auto& node : picture.nodes)
        table.row({std::to_string(node.id) + (node.self ? "*" : " "), node.name(), std::string(node.state()),
                   node.self ? "-" : ago(node.heard_ms_ago), ago(node.down_ms_ago), hex64(node.incarnation)});
    table.print(context.out);
    return Exit::done;
}

Exit node_show(Context& context, const std::string& who) {
    const Picture picture = take_cluster_picture(context);
    const NodeInfo& node = find_node(picture, who);
    if (context.json) {
        Json json = envelope("node show");
        json["epoch"] = picture.cluster.epoch;
        json["node"] = node_json(node);
        print_json(context, json);
        return Exit::done;
    }
    context.out << fmt::format("node    {} (id {}){}\n", node.name(), node.id, node.self ? "   this node" : "");
    context.out << fmt::format("state   {}   epoch {}\n", node.state(), picture.cluster.epoch);
    if (!node.member)
        context.out << fmt::format("reason  {}{}\n", reason_phrase(node.reason),
                                   node.down_ms_ago ? ", " + duration(*node.down_ms_ago) + " ago" : "");
    if (!node.self)
        context.out << fmt::format("heard   {} ago   lease acknowledged {} ago\n", ago(node.heard_ms_ago),
                                   ago(node.acked_ms_ago));
    context.out << fmt::format("life    incarnation {}", hex64(node.incarnation));
    if (node.tipc_addr) context.out << fmt::format("   tipc address {:x}", *node.tipc_addr);
    context.out << '\n';
    return Exit::done;
}

Exit node_evict(Context& context, const std::string& who, std::optional<Seconds> wait) {
    return remove_node(context, Removal::evict, who, wait);
}

Exit node_drain(Context& context, const std::string& who, std::optional<Seconds> wait) {
    return remove_node(context, Removal::drain, who, wait);
}

Exit nodes_status(Context& context, const std::string& list) {
    const Picture picture = take_cluster_picture(context);
    std::vector<NodeId> ids;
    if (list.empty())
        for (const auto& node : picture.nodes) ids.push_back(node.id);
    else
        ids = parse_id_list(list);
    Json json = envelope("nodes status");
    json["nodes"] = Json::array();
    for (const NodeId id : ids) {
        json["nodes"].push_back({{"id", id}, {"state", old_state(picture, id)}});
        if (!context.json) context.out << fmt::format("{}:{}\n", id, old_state(picture, id));
    }
    if (context.json) print_json(context, json);
    return Exit::done;
}

/**
 * Nothing of ours runs on a machine that has not joined, so nobody can reach into it: a node comes by its own
 * `krgadm cluster join`, and `nodes add` waits for it. --all waits for the nodes that were members and are missing.
 */
Exit nodes_add(Context& context, const NodeSelection& selection, Seconds wait) {
    check_selection(selection);
    const Picture before = take_cluster_picture(context);
    std::vector<NodeId> wanted;
    std::size_t total = selection.total;
    if (!selection.list.empty()) wanted = parse_id_list(selection.list);
    if (selection.count > 0) total = before.cluster.members.size() + selection.count;
    if (selection.all)
        for (const auto& node : before.nodes)
            if (!node.member) wanted.push_back(node.id);
    if (total > KRG_NODE_ID_MAX) throw Error(Exit::usage, fmt::format("a cluster has at most {} nodes", KRG_NODE_ID_MAX));

    Client client = context.client();
    std::vector<NodeId> missing;
    const auto arrived = [&] {
        const auto members = client.cluster().members;
        missing.clear();
        for (const NodeId id : wanted)
            if (std::find(members.begin(), members.end(), id) == members.end()) missing.push_back(id);
        return missing.empty() && members.size() >= total;
    };
    const std::string what = wanted.empty() ? fmt::format("waiting for {} members", total)
                                            : fmt::format("waiting for nodes {}", id_list(wanted));
    wait_until(context, what, wait, "on each machine that is to come: krgadm cluster join (or systemctl start kerrighed)",
               arrived);
    say_members(context, "nodes add", fmt::format("members {}", id_list(client.cluster().members)));
    return Exit::done;
}

/** Planned leave of others: of the list, or of the highest ids, never of this node. */
Exit nodes_del(Context& context, const NodeSelection& selection, Seconds wait) {
    check_selection(selection);
    const Picture picture = take_cluster_picture(context);
    const NodeId self = picture.cluster.node_id;
    std::vector<NodeId> others = picture.cluster.members;
    others.erase(std::remove(others.begin(), others.end(), self), others.end());

    std::vector<NodeId> leaving = others;
    if (!selection.list.empty()) {
        leaving = parse_id_list(selection.list);
        for (const NodeId id : leaving) {
            if (id == self) throw Error(Exit::usage, "cannot remove this node itself", "krgadm cluster leave");
            if (std::find(others.begin(), others.end(), id) == others.end())
                throw Error(Exit::no_object, fmt::format("node {} is no member", id), "krgadm node list");
        }
    } else if (!selection.all) {
        const std::size_t have = picture.cluster.members.size();
        const std::size_t count = selection.count > 0 ? selection.count : have - std::min<std::size_t>(selection.total, have);
        if (count > others.size())
            throw Error(Exit::usage, fmt::format("cannot remove {} of {} nodes", count, have),
                        "this node stays: krgadm cluster leave");
        leaving.erase(leaving.begin(), leaving.end() - static_cast<std::ptrdiff_t>(count));
    }

    Client client = context.client();
    for (const NodeId id : leaving) ask_removal(context, Removal::drain, id);
    wait_until(context, fmt::format("waiting for nodes {} to leave", id_list(leaving)), wait,
               "krgadm node list; krgadm node evict ID does not wait", [&] {
                   return std::all_of(leaving.begin(), leaving.end(), [&client](NodeId id) { return is_out(client, id); });
               });
    say_members(context, "nodes del", fmt::format("members {}", id_list(client.cluster().members)));
    return Exit::done;
}

}  // namespace krg
