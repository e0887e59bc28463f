// SPDX-License-Identifier: GPL-2.0
// The checks behind `krgadm health`. Each looks for one thing and adds a finding, or nothing.
#include "tools/krgadm/health.hh"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "include/uapi/linux/kerrighed.h"
#include "tools/krgadm/output.hh"
#include "tools/krgadm/replication.hh"
#include "tools/lib/names.hh"

namespace krg {
namespace {

using Findings = std::vector<Finding>;

bool is_refusal(std::uint64_t reason) { return reason >= KRG_REASON_VERSION; }

void check_running(const Picture& p, Findings& found) {
    if (!p.loaded) {
        found.push_back({"KRG_NOT_LOADED",
                         Severity::error,
                         "the kernel module is not loaded",
                         {"no netlink family " KRG_GENL_NAME},
                         "modprobe kerrighed, or krgadm cluster start"});
        return;
    }
    const ClusterStatus& c = p.cluster;
    const std::string who = c.last_reason_node != 0 ? fmt::format("said by node {}", c.last_reason_node) : "";
    std::vector<std::string> evidence;
    if (!c.last_error.empty()) evidence.push_back(c.last_error);
    if (!who.empty()) evidence.push_back(who);
    switch (c.state) {
    case KRG_NODE_STATE_OUT:
        if (is_refusal(c.last_reason))
            found.push_back({"KRG_JOIN_REFUSED", Severity::error,
                             fmt::format("the last join was refused: {}", reason_phrase(c.last_reason)), evidence,
                             "remove the cause, then krgadm cluster join --wait"});
        else if (c.last_reason == KRG_REASON_LOST || c.last_reason == KRG_REASON_EVICTED)
            found.push_back({"KRG_EXPELLED", Severity::error,
                             fmt::format("this node was removed: {}", reason_phrase(c.last_reason)), evidence,
                             "krgadm cluster join --wait"});
        else
            found.push_back({"KRG_NOT_IN_CLUSTER",
                             Severity::error,
                             "this node is not in a cluster",
                             {},
                             "krgadm cluster join, or krgadm cluster create"});
        break;
    case KRG_NODE_STATE_JOINING:
        found.push_back({"KRG_JOINING", Severity::warning, fmt::format("still asking to be let into {}", c.name), evidence,
                         "wait, or krgadm cluster leave to give up"});
        break;
    case KRG_NODE_STATE_SUSPENDED:
        found.push_back({"KRG_SUSPENDED",
                         Severity::error,
                         "this node's lease ran out: it is frozen",
                         {fmt::format("{} of {} votes within reach", c.votes, c.quorum)},
                         "repair the links to the other members; it goes on by itself"});
        break;
    case KRG_NODE_STATE_FAILED:
        found.push_back({"KRG_FAILED", Severity::error, "an internal check failed: this node has fenced itself", evidence,
                         "save dmesg, then reboot this node"});
        break;
    default: break;
    }
}

void check_quorum(const Picture& p, Findings& found) {
    const ClusterStatus& c = p.cluster;
    if (!c.in_cluster()) return;
    if (!c.has_quorum)
        found.push_back(
            {"KRG_NO_QUORUM",
             Severity::error,
             "no majority of the view is within reach",
             {fmt::format("{} of {} votes within reach", c.votes, c.quorum), fmt::format("members {}", id_list(c.members))},
             "repair links or boot the missing nodes; if they are dead for good: krgadm cluster recover"});
}

void check_tie_break(const Picture& p, Findings& found) {
    const ClusterStatus& c = p.cluster;
    if (!c.in_cluster()) return;
    if (c.members.size() == 2 && !c.witness)
        found.push_back({"KRG_TWO_NODES_NO_WITNESS",
                         Severity::warning,
                         "two nodes and no witness: if either fails, the other stops too",
                         {fmt::format("members {}, no tie-break vote", id_list(c.members))},
                         "add a third node, or create the cluster with a witness file (kerrighed.conf, witness)"});
}

void check_nodes(const Picture& p, Findings& found) {
    if (!p.cluster.in_cluster()) return;
    for (const auto& node : p.nodes) {
        const std::string show = fmt::format("krgadm node show {}", node.id);
        if (node.member && !node.self && !node.reachable) {
            const std::string ago = node.heard_ms_ago ? duration(*node.heard_ms_ago) + " ago" : "never";
            found.push_back({"KRG_NODE_UNREACHABLE",
                             Severity::warning,
                             fmt::format("{} does not answer", node.name()),
                             {fmt::format("node {}: last heard {}", node.id, ago)},
                             show});
        }
        if (node.member && node.draining)
            found.push_back({"KRG_NODE_DRAINING",
                             Severity::warning,
                             fmt::format("{} is leaving", node.name()),
                             {fmt::format("node {}: gets nothing new", node.id)},
                             show});
        if (!node.member && node.reason == KRG_REASON_LOST) {
            const std::string since = node.down_ms_ago ? fmt::format(" for {}", duration(*node.down_ms_ago)) : "";
            found.push_back({"KRG_NODE_DOWN",
                             Severity::warning,
                             fmt::format("{} is down{}", node.name(), since),
                             {fmt::format("node {}: {}", node.id, reason_phrase(node.reason))},
                             show});
        }
    }
}

void check_links(const Picture& p, Findings& found) {
    if (!p.cluster.in_cluster()) return;
    for (const auto& link : p.links) {
        if (!link.present || !link.running) {
            found.push_back({"KRG_LINK_DOWN",
                             Severity::warning,
                             fmt::format("link {} is down", link.name),
                             {link.present ? fmt::format("{}: no carrier, or switched off", link.name)
                                           : fmt::format("{}: no such device", link.name)},
                             fmt::format("ip link show {}", link.name)});
            continue;
        }
        if (!link.bearer)
            found.push_back({"KRG_LINK_NO_BEARER",
                             Severity::warning,
                             fmt::format("no TIPC bearer on {}", link.name),
                             {fmt::format("{}: running, but carries nothing", link.name)},
                             "krgadm cluster leave, then krgadm cluster join --wait"});
        if (!link.filtering)
            found.push_back({"KRG_LINK_UNPROTECTED",
                             Severity::error,
                             fmt::format("unencrypted frames are not dropped on {}", link.name),
                             {fmt::format("{}: no ingress filter", link.name)},
                             "krgadm cluster leave, then krgadm cluster join --wait; see dmesg"});
        if (link.plaintext_dropped != 0)
            found.push_back({"KRG_PLAINTEXT_DROPPED",
                             Severity::warning,
                             fmt::format("unencrypted TIPC frames arrive on {}", link.name),
                             {fmt::format("{}: {} frames dropped", link.name, link.plaintext_dropped)},
                             fmt::format("find out who sends them: tcpdump -e -i {} ether proto 0x88ca", link.name)});
        if (link.hello_bad != 0)
            found.push_back({"KRG_BAD_HELLO",
                             Severity::warning,
                             fmt::format("hello frames with a wrong key or format arrive on {}", link.name),
                             {fmt::format("{}: {} frames refused", link.name, link.hello_bad)},
                             "dmesg names the sender; another key, or another cluster's node on this network"});
    }
}

void check_messages(const Picture& p, Findings& found) {
    for (const auto& entry : p.stats) {
        if (entry.name != "bad_messages" || entry.value == 0) continue;
        found.push_back({"KRG_BAD_MESSAGES",
                         Severity::warning,
                         "malformed or forged messages arrived",
                         {fmt::format("{} messages refused", entry.value)},
                         "krgadm stats; dmesg names the peers"});
    }
}

std::string title_of(const Container& c) {
    return c.name.empty() ? "container " + c.id : fmt::format("container {} ({})", c.id, c.name);
}

/** "node 2: 3 pages": of every node that has a number for @pair. */
std::vector<std::string> by_home(const Container& c, const std::string& pair, const std::string& words) {
    std::vector<std::string> lines;
    for (const auto& part : c.parts)
        if (const auto n = part.pairs.number(pair); n != 0)
            lines.push_back(
                fmt::format("{}: {} {}", part.node == 0 ? "this node" : fmt::format("node {}", part.node), n, words));
    return lines;
}

void check_container(const Picture& p, const Container& c, Findings& found) {
    const std::string show = fmt::format("krgadm container show {}", c.id);
    if (const auto lost = c.sum("lost"); lost != 0)
        found.push_back({"KRG_PAGES_LOST", Severity::error, fmt::format("{} has lost {} pages", title_of(c), lost),
                         by_home(c, "lost", "pages of which nobody has a copy"),
                         "reading them is EIO or SIGBUS; restore the files, or remove them; " + show});
    const Replication r = replication(c);
    if (r.gathering != 0)
        found.push_back({"KRG_RECOVERING", Severity::warning, fmt::format("{}: {}", title_of(c), words_of(r)),
                         by_home(c, "recovering", "has not heard all holders of its pages"), "wait; " + show});
    if (r.left != 0)
        found.push_back({"KRG_REPLICATING", Severity::warning,
                         fmt::format("{}: {} have all their copies again", title_of(c), words_of(r)),
                         by_home(c, "repair_left", "pages still lack copies"), "wait; " + show});
    const auto degraded = c.sum("degraded");
    if (c.replicas > p.cluster.members.size() && degraded != 0)
        found.push_back({"KRG_TOO_FEW_NODES",
                         Severity::warning,
                         fmt::format("{}: {} pages have fewer than {} copies", title_of(c), degraded, c.replicas),
                         {fmt::format("{} members, and no two copies of a page are on one node", p.cluster.members.size())},
                         "add nodes: krgadm cluster join there"});
}

void check_containers(const Picture& p, Findings& found) {
    if (!p.cluster.in_cluster() || p.containers.list.empty()) return;
    for (const auto& c : p.containers.list) check_container(p, c, found);
    for (const auto& node : p.containers.silent)
        if (node.error == EOPNOTSUPP)
            found.push_back(
                {"KRG_NO_HADSM",
                 Severity::warning,
                 fmt::format("node {} has no shared memory", node.node),
                 {fmt::format("node {}: the module hadsm is not loaded; what it should be home of waits", node.node)},
                 fmt::format("on node {}: modprobe hadsm", node.node)});
}

}  // namespace

std::string_view Health::status() const {
    if (findings.empty()) return "OK";
    return findings.front().severity == Severity::error ? "ERR" : "WARN";
}

Health judge(const Picture& picture) {
    Health health;
    check_running(picture, health.findings);
    check_quorum(picture, health.findings);
    check_nodes(picture, health.findings);
    check_links(picture, health.findings);
    check_messages(picture, health.findings);
    check_containers(picture, health.findings);
    check_tie_break(picture, health.findings);
    std::stable_sort(health.findings.begin(), health.findings.end(),
                     [](const auto& a, const auto& b) { return a.severity > b.severity; });
    return health;
}

}  // namespace krg
