// SPDX-License-Identifier: GPL-2.0
//
// What several scenarios check: equal views everywhere, repair between scenarios, clean kernel logs. See driver.hh.
#include "driver.hh"

#include "kernel_log.hh"

#include <algorithm>
#include <fmt/format.h>
#include <future>

namespace krg::cluster_test {

namespace {

// kmemleak looks at nothing younger than five seconds, and reports what two scans agree on.
constexpr const char* scan_for_leaks =
    "mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug || exit 1; cd /sys/kernel/debug; "
    "test -e kmemleak || exit 2; sleep 6; echo scan >kmemleak && sleep 1 && echo scan >kmemleak && cat kmemleak";

void check_log_of(Test& test, int node, const std::string& token) {
    std::string log;
    std::string missing = wait_until(fmt::format("the log of node {} ends with the token", node), test.cluster.limit(15), [&] {
        log = test.cluster.log(node);
        return log.find(token) == std::string::npos ? std::string("no token in the log yet") : std::string();
    });
    test.report.check(missing.empty(), fmt::format("the whole kernel log of node {} was read", node),
                      missing + "\n" + last_lines(log, 20));
    std::string evidence;
    for (const auto& finding : find_splats(log, test.options.allowed_splats))
        evidence += fmt::format("line {}, {}:\n{}\n", finding.line, finding.what, finding.text);
    test.report.check(evidence.empty(), fmt::format("the kernel of node {} had nothing to complain about", node), evidence);
}

void check_leaks(Test& test, const NodeIds& nodes) {
    std::map<int, std::future<ProcessResult>> scans;
    for (int node : nodes)
        scans.emplace(node,
                      std::async(std::launch::async, [&test, node] { return test.cluster.shell(node, scan_for_leaks, 60); }));
    for (auto& [node, scan] : scans) {
        ProcessResult result = scan.get();
        auto leaks = find_leaks(result.out);
        test.report.check(result.done() && leaks.empty(), fmt::format("kmemleak finds nothing of ours on node {}", node),
                          leaks.empty() ? result.evidence() : fmt::format("{}", fmt::join(leaks, "\n")));
    }
}

}  // namespace

std::string view_differs(const std::map<int, NodeStatus>& all, const NodeIds& wanted) {
    if (all.empty()) return "no machine runs";
    std::string text;
    const NodeStatus& first = all.begin()->second;
    bool equal = true;
    for (const auto& [node, status] : all) {
        equal = equal && status.state == "serving" && status.members == wanted && status.epoch == first.epoch &&
                status.cluster_id == first.cluster_id && status.quorum;
        text += fmt::format("{}node {}: {}", text.empty() ? "" : "\n", node, status.text());
    }
    return equal ? std::string() : text;
}

NodeStatus require_view(Test& test, const NodeIds& nodes, const std::string& sentence, double timeout_s) {
    std::map<int, NodeStatus> status;
    std::string missing = wait_until(fmt::format("members [{}] on all of them", to_text(nodes)), test.cluster.limit(timeout_s),
                                     [&] {
                                         status = test.cluster.status(nodes);
                                         return view_differs(status, nodes);
                                     });
    test.report.require(missing.empty(), sentence, missing);
    return status.begin()->second;
}

bool repair(Test& test, double timeout_s) {
    Cluster& cluster = test.cluster;
    cluster.heal();
    for (int node : cluster.machines_in_state("paused")) cluster.resume(node);
    for (const char* state : {"crashed", "off"})
        for (int node : cluster.machines_in_state(state)) cluster.boot(node);
    NodeIds nodes = cluster.machines_in_state("running");
    std::string missing = wait_until("every machine a member again", cluster.limit(timeout_s), [&] {
        auto status = cluster.status(nodes);
        std::string differs = view_differs(status, nodes);
        if (!differs.empty())
            for (const auto& [node, one] : status)
                if (one.state == "out") (void)cluster.krgadm(node, {"cluster", "join", "--wait=30"}, 60);
        return differs;
    });
    if (!missing.empty()) test.report.note(missing);
    return missing.empty();
}

void check_kernel_logs(Test& test) {
    if (!test.cluster.is_up()) return;
    const std::string token = fmt::format("krg-test: end of the run with seed {}, {:.3f}", test.options.seed, monotonic_s());
    const NodeIds nodes = test.cluster.machines_in_state("running");
    if (test.cluster.has_debug_kernel()) check_leaks(test, nodes);
    for (int node : nodes) {
        (void)test.cluster.shell(node, fmt::format("echo '<5>{}' >/dev/kmsg", token), 30);
        check_log_of(test, node, token);
    }
}

}  // namespace krg::cluster_test
