// SPDX-License-Identifier: GPL-2.0
//
// test_allocfail: on the debug kernel, allocations fail on purpose while the module loads, a node creates, joins and leaves a
// cluster, and the module unloads. Each time: an error or success, never a splat, never a leak, and everything works again
// afterwards.
#include "steps.hh"

#include <algorithm>
#include <fmt/format.h>
#include <sstream>

namespace krg::cluster_test {

namespace {

constexpr int nth_max = 4000;
constexpr int enomem = 12;

// Faults hit the tasks that ask for them; the log of each would drown the log checker.
constexpr const char* prepare =
    "mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug; cd /sys/kernel/debug || exit 1; "
    "for kind in failslab fail_page_alloc; do cd /sys/kernel/debug/$kind || exit 1; echo 0 >verbose; echo Y >task-filter; "
    "echo 0 >ignore-gfp-wait; echo -1 >times; echo 1 >interval; echo 0 >probability; done; "
    "echo 0 >/sys/kernel/debug/fail_page_alloc/min-order";

std::string module_file(const Test& test) { return fmt::format("{}/build/$(uname -r)/kerrighed.ko", test.options.top); }

void require_done(Test& test, int node, const std::string& script, const std::string& sentence, double timeout_s = 60) {
    ProcessResult result = test.cluster.shell(node, script, timeout_s);
    test.report.require(result.done(), sentence, result.evidence());
}

// One shell loop in the guest: N = 1, 2, 3... until N is more than there are allocations. Prints `N ERRNO INJECTED` lines.
void scenario_load(Test& test) {
    require_done(test, 1, prepare, "fault injection is set up");
    const std::string script = fmt::format(R"(
n=1; failed=0
cp {1} /run/kerrighed.ko || exit 9
while [ $n -le {0} ]; do
	set -- $(krg-fail-nth load /run/kerrighed.ko $n) || exit 9
	[ $# = 2 ] || exit 9
	if [ $1 = 0 ]; then rmmod kerrighed || exit 8; else failed=$((failed + 1)); [ $1 = {2} ] || echo "errno $1 at $n"; fi
	[ $2 = 1 ] || break
	n=$((n + 1))
done
echo "total $n $failed"
)",
                                           nth_max, module_file(test), enomem);
    ProcessResult result = test.cluster.shell(1, script, 400);
    test.report.require(result.done(), "loading, with every single allocation failing once, ends with an error or works",
                        result.evidence());
    test.report.note("allocations, of them such that loading failed: " + result.out);
    std::istringstream last(result.out.substr(std::min(result.out.size(), result.out.find("total") + 5)));
    int allocations = 0, failed = 0;
    last >> allocations >> failed;
    test.report.check(last && failed > 5 && allocations > failed && allocations < nth_max,
                      "and allocations really failed, to the last one", result.out);
    test.report.check(result.out.find("errno") == std::string::npos, "the error is always ENOMEM", result.out);
    require_done(test, 1, "insmod " + module_file(test), "afterwards the module loads");
    require_done(test, 1, "rmmod kerrighed", "and unloads");
}

void set_probability(Test& test, const NodeIds& nodes, int percent) {
    for (int node : nodes)
        require_done(
            test, node,
            fmt::format(
                "echo {0} >/sys/kernel/debug/failslab/probability && echo {0} >/sys/kernel/debug/fail_page_alloc/probability",
                percent),
            fmt::format("node {}: {} % of the allocations of marked tasks fail", node, percent));
}

// The kernel threads do most of the work of a join: they are marked too, as often as new ones appear.
constexpr const char* mark_threads = "for comm in /proc/[0-9]*/comm; do case $(cat $comm 2>/dev/null) in krg*|kworker/*krg*) "
                                     "echo 1 >${comm%/comm}/make-it-fail 2>/dev/null ;; esac; "
                                     "done; true";

ProcessResult marked(Test& test, int node, const std::string& command) {
    const std::string script = fmt::format("{}; sh -c 'echo 1 >/proc/self/make-it-fail; exec timeout 30 krgadm {}'",
                                           mark_threads, command);
    return test.cluster.shell(node, script, 60);
}

void scenario_life(Test& test) {
    const NodeIds nodes = running(test);
    for (int node : nodes) {
        require_done(test, node, prepare, fmt::format("fault injection is set up on node {}", node));
        require_done(test, node, "modprobe tipc && insmod " + module_file(test),
                     fmt::format("the module loads on node {}", node));
    }
    ProcessResult create = test.cluster.krgadm(1, {"cluster", "create"});
    test.report.require(create.done(), "node 1 creates a cluster", create.evidence());
    int worked = 0, refused = 0;
    for (int round = 1; round <= test.options.rounds; ++round) {
        set_probability(test, nodes, 3);
        ProcessResult join = marked(test, 2, "cluster join --wait=20");
        ProcessResult leave = marked(test, 2, "cluster leave --wait=20");
        set_probability(test, nodes, 0);
        join.done() ? ++worked : ++refused;
        test.report.check(!join.timed_out && !leave.timed_out, fmt::format("round {}: join and leave end under faults", round),
                          join.evidence() + leave.evidence());
        std::string missing = wait_until("node 2 can be brought in", test.cluster.limit(60), [&] {
            NodeStatus status = test.cluster.status(2);
            if (status.state == "serving") return std::string();
            if (status.state == "out") (void)test.cluster.krgadm(2, {"cluster", "join", "--wait=20"}, 40);
            if (status.state == "failed") (void)test.cluster.krgadm(2, {"cluster", "leave", "--wait=20"}, 40);
            return status.text();
        });
        test.report.require(missing.empty(), fmt::format("round {}: without faults node 2 joins", round), missing);
        NodeStatus one = test.cluster.status(1);
        test.report.check(one.state == "serving", fmt::format("round {}: node 1 serves", round), one.text());
        (void)test.cluster.krgadm(2, {"cluster", "leave", "--wait=60"}, 100);
    }
    test.report.note(fmt::format("{} joins worked under faults, {} ended with an error", worked, refused));
    for (int node : {2, 1}) {
        (void)test.cluster.krgadm(node, {"cluster", "leave", "--wait=60"}, 100);
        require_done(test, node, "rmmod kerrighed", fmt::format("rmmod succeeds on node {}", node));
    }
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_allocfail";
    defaults.what = "Allocations that fail while a node loads, joins, leaves and unloads (debug kernel)";
    defaults.kernel = "debug";
    defaults.nodes = 2;
    defaults.rounds = 10;
    // The kernel says so when pages are refused, whoever refused them. Everything else has a line of its own in front.
    defaults.allowed_splats = {"out of memory", "call trace"};
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    const std::vector<Scenario> scenarios{
        {"load", "every allocation of loading fails once", scenario_load},
        {"life", "allocations fail at random while a node joins and leaves", scenario_life},
    };
    ClusterOptions cluster = cluster_for(options, "allocfail");
    cluster.load = false;
    return run_driver(options, scenarios, cluster);
}
