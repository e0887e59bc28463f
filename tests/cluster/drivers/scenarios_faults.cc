// SPDX-License-Identifier: GPL-2.0
//
// Scenarios with faults: a crash, pauses before and after the end of the lease, partitions of every shape. What returns after
// a fault returns as a new incarnation.
#include "scenarios.hh"

#include <algorithm>
#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

constexpr double pause_short_s = 0.5;
constexpr double leases_late = 4;  // the others have a view without it
constexpr double clock_error_s = 1;

std::string incarnation(Test& test, int node) { return test.cluster.status(node).incarnation; }

// What a node's /proc/uptime is ahead of monotonic_s(), to within clock_error_s.
double clock_offset(Test& test, int node) {
    for (int tries = 0; tries < 10; ++tries) {
        const double begin = monotonic_s();
        ProcessResult result = test.cluster.exec(node, {"cat", "/proc/uptime"});
        const double end = monotonic_s();
        if (!result.done()) throw ClusterError("cannot read a node's clock: " + result.evidence());
        if (end - begin < 2 * clock_error_s) return std::stod(result.out) - (begin + end) / 2;
    }
    throw ClusterError(fmt::format("node {} never told its time within {} s", node, 2 * clock_error_s));
}

// After a heal, nodes that had been removed come back by themselves, under a new name of their life.
void require_return(Test& test, const NodeIds& nodes, int returned, const std::string& old_life) {
    require_view(test, nodes, fmt::format("node {} comes back by itself", returned), 90);
    const std::string life = incarnation(test, returned);
    test.report.check(life != old_life, "as a new incarnation", fmt::format("{} before, {} now", old_life, life));
}

}  // namespace

void scenario_crash(Test& test) {
    const NodeIds nodes = running(test);
    const int victim = *nodes.rbegin();
    const NodeIds others = without(nodes, {victim});
    NodeStatus before = require_view(test, nodes, "all serve before");
    const std::string old_life = incarnation(test, victim);
    EventListener events(test, *others.begin());
    test.cluster.crash(victim);
    NodeStatus after = require_view(test, others, fmt::format("node {} crashes: removed, the others serve", victim), 30);
    test.report.check(after.epoch == before.epoch + 1, "in exactly one new view",
                      fmt::format("epoch {} became {}", before.epoch, after.epoch));
    std::string missing = events.wait_for({{"verb", "destroy"}, {"object", "node"}, {"id", victim}, {"reason", "lost"}});
    test.report.check(missing.empty(), "krgadm monitor says that it was lost", missing);
    ProcessResult health = test.cluster.krgadm(*others.begin(), {"--json", "health"});
    test.report.check(health.out.find(fmt::format("node{}", victim)) != std::string::npos, "krgadm health names it",
                      health.evidence());
    test.cluster.boot(victim);
    NodeStatus back = require_view(test, nodes, "booted again, it is a member again");
    test.report.check(incarnation(test, victim) != old_life, "as a new incarnation");
    test.report.check(back.epoch == after.epoch + 1, "in exactly one more view",
                      fmt::format("epoch {} became {}", after.epoch, back.epoch));
}

void scenario_pause_short(Test& test) {
    const NodeIds nodes = running(test);
    const int sleeper = *nodes.rbegin();
    NodeStatus before = require_view(test, nodes, "all serve before");
    const std::string old_life = incarnation(test, sleeper);
    test.cluster.pause(sleeper);
    sleep_s(pause_short_s);
    test.cluster.resume(sleeper);
    NodeStatus after = require_view(test, nodes, fmt::format("stopped for {} s, it is a member still", pause_short_s));
    test.report.check(incarnation(test, sleeper) == old_life, "of the same incarnation");
    test.report.note(fmt::format("epoch {} before, {} after", before.epoch, after.epoch));
}

void scenario_pause_late(Test& test) {
    const NodeIds nodes = running(test);
    const int sleeper = *nodes.rbegin();
    const NodeIds others = without(nodes, {sleeper});
    NodeStatus before = require_view(test, nodes, "all serve before");
    const std::string old_life = incarnation(test, sleeper);
    const double clock = clock_offset(test, sleeper);
    StatusPoller poller(test, sleeper);
    sleep_s(2);
    test.cluster.pause(sleeper);
    const double stopped_at = monotonic_s();
    NodeStatus after = require_view(test, others, fmt::format("node {} is stopped: removed, the others serve", sleeper), 30);
    test.report.check(after.epoch == before.epoch + 1, "in exactly one new view",
                      fmt::format("epoch {} became {}", before.epoch, after.epoch));
    sleep_s(std::max(0.0, leases_late * static_cast<double>(before.lease_ms) / 1000 - (monotonic_s() - stopped_at)));
    const double resumed_at = monotonic_s();
    test.cluster.resume(sleeper);
    // A stopped machine looks at no clock: what it dates later than the middle of its sleep, it did after it woke.
    const double asleep_at = (stopped_at + resumed_at) / 2 + clock;
    require_return(test, nodes, sleeper, old_life);

    const auto samples = poller.stop();
    int asked_before = 0, asked_after = 0, asked_krgadm = 0;
    double first_after = 0;
    std::string wrong;
    for (const auto& sample : samples) {
        if (sample.begin_s < asleep_at) {
            asked_before += sample.end_s < asleep_at && sample.state == "serving";
            continue;  // asked before the stop; the answer may have been printed after it
        }
        ++asked_after;
        asked_krgadm += sample.source == "krgadm";
        if (first_after == 0 || sample.begin_s < first_after) first_after = sample.begin_s;
        if (sample.state == "serving" && (sample.epoch <= before.epoch || sample.incarnation == old_life))
            wrong += fmt::format("{:.2f} {} said serving in epoch {} as incarnation {}\n", sample.begin_s, sample.source,
                                 sample.epoch, sample.incarnation);
    }
    test.report.check(asked_before > 0 && asked_after > 10 && asked_krgadm > 0,
                      "its status was asked before it was stopped and after it woke",
                      fmt::format("asleep at {:.2f} of its clock; {} answers before, {} after, {} of them krgadm's", asleep_at,
                                  asked_before, asked_after, asked_krgadm));
    test.report.check(wrong.empty(), "it never answered as a member of the old view", wrong);
    test.report.note(fmt::format("{} answers after it woke, {} of them krgadm's, the first asked {:.2f} s after", asked_after,
                                 asked_krgadm, first_after - resumed_at - clock));
}

void scenario_cut_one_way(Test& test) {
    const NodeIds nodes = running(test);
    const int low = *nodes.begin(), high = *nodes.rbegin();
    require_view(test, nodes, "all serve before");
    const std::string old_life = incarnation(test, high);
    test.cluster.cut(low, high, true);
    // Both reach all others: most members, and of two equal choices the lower ids.
    require_view(test, without(nodes, {high}), fmt::format("nothing passes from {} to {}: {} is removed", low, high, high), 30);
    NodeStatus out = require_state(test, high, {"out", "joining", "suspended", "preparing"},
                                   fmt::format("node {} does not serve", high), 15);
    test.report.note(fmt::format("node {}: {}", high, out.text()));
    test.cluster.heal();
    require_return(test, nodes, high, old_life);
}

void scenario_cut_full(Test& test) {
    const NodeIds nodes = running(test);
    const int alone = *nodes.begin();  // the lowest, who proposes usually
    const NodeIds others = without(nodes, {alone});
    require_view(test, nodes, "all serve before");
    const std::string old_life = incarnation(test, alone);
    test.cluster.split({alone}, others);
    require_view(test, others, fmt::format("node {} is cut off: the others serve without it", alone), 30);
    require_state(test, alone, {"suspended"}, "alone, it suspends itself", 15);
    for (const auto& verb : std::vector<std::vector<std::string>>{{"node", "evict", std::to_string(*others.begin())},
                                                                  {"node", "drain", std::to_string(*others.begin())},
                                                                  {"health"}}) {
        ProcessResult result = test.cluster.krgadm(alone, verb);
        test.report.check(result.status == 6, fmt::format("krgadm {} there ends with exit status 6", shown(verb)),
                          result.evidence());
    }
    test.cluster.heal();
    require_return(test, nodes, alone, old_life);
}

void scenario_cut_halves(Test& test) {
    const NodeIds nodes = running(test);
    if (nodes.size() % 2 != 0) {
        test.report.skip("two halves", fmt::format("{} nodes have none", nodes.size()));
        return;
    }
    NodeIds lower, upper;
    for (int node : nodes) (lower.size() < nodes.size() / 2 ? lower : upper).insert(node);
    NodeStatus before = require_view(test, nodes, "all serve before");
    std::map<int, std::string> lives;
    for (const auto& [node, status] : test.cluster.status(nodes)) lives[node] = status.incarnation;
    test.cluster.split(lower, upper);
    for (int node : nodes)
        require_state(test, node, {"suspended"}, fmt::format("no majority: node {} suspends itself", node), 20);
    test.cluster.heal();
    NodeStatus after = require_view(test, nodes, "healed, all serve again", 60);
    test.report.check(after.cluster_id == before.cluster_id && after.epoch >= before.epoch, "the same cluster");
    for (const auto& [node, status] : test.cluster.status(nodes))
        test.report.check(status.incarnation == lives[node], fmt::format("node {} is the same incarnation", node));
}

void scenario_cut_pair(Test& test) {
    const NodeIds nodes = running(test);
    // Neither of the two is an end of the list: the tie is decided by the whole clique.
    const int one = *std::next(nodes.begin()), two = *nodes.rbegin();
    require_view(test, nodes, "all serve before");
    const std::string old_life = incarnation(test, two);
    test.cluster.cut(one, two);
    require_view(test, without(nodes, {two}),
                 fmt::format("{} and {} cannot talk: most members stay, with the lowest ids", one, two), 30);
    test.cluster.heal();
    require_return(test, nodes, two, old_life);
}

}  // namespace krg::cluster_test
