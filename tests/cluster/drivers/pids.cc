// SPDX-License-Identifier: GPL-2.0
//
// test_pids: process ids are unique in the cluster: every node gives out those of its own range, also when it has used them all
// up once and begins again, and while many processes are born at the same time.
#include "steps.hh"

#include <fmt/format.h>
#include <sstream>

namespace krg::cluster_test {

namespace {

constexpr int span = 32768;

struct Born {
    int count = 0, outside = 0, least = 0, most = 0;
    std::string example;
};

/// Starts `count` processes on a node and sorts their ids.
Born fork_many(Test& test, int node, int count, int jobs) {
    const std::string script = fmt::format(
        "for j in $(seq {}); do ( i=0; while [ $i -lt {} ]; do ( : ) & echo $!; wait $!; i=$((i+1)); done ) & done; wait", jobs,
        count / jobs);
    ProcessResult result = test.cluster.shell(node, script, test.cluster.limit(120));
    test.report.require(result.done(), fmt::format("{} processes are born on node {}", count, node), result.evidence());
    Born born;
    std::istringstream lines(result.out);
    for (int pid; lines >> pid;) {
        born.least = born.count ? std::min(born.least, pid) : pid;
        born.most = std::max(born.most, pid);
        ++born.count;
        if (pid / span == node) continue;
        ++born.outside;
        born.example = std::to_string(pid);
    }
    return born;
}

void check_inside(Test& test, int node, const Born& born, int count, const std::string& when) {
    test.report.check(born.count == count && born.outside == 0,
                      fmt::format("node {}, {}: all ids are of its range", node, when),
                      fmt::format("{} ids from {} to {}, {} outside, such as {}", born.count, born.least, born.most,
                                  born.outside, born.example));
}

long shown_number(Test& test, int node, const std::string& name) {
    ProcessResult result = test.cluster.shell(node, "sed -n 's/^" + name + " //p' /proc/kerrighed/pids");
    test.report.require(result.done() && !result.out.empty(), fmt::format("node {} shows {}", node, name), result.evidence());
    return std::stol(result.out);
}

/// krg_proc.ko is there, whatever ran before.
void load(Test& test, int node) {
    ProcessResult result =
        test.cluster.shell(node, fmt::format("grep -q '^krg_proc ' /proc/modules || insmod {}/build/$(uname -r)/krg_proc.ko",
                                             test.options.top));
    test.report.require(result.done(), fmt::format("krg_proc.ko is loaded on node {}", node), result.evidence());
}

void scenario_ranges(Test& test) {
    const NodeIds nodes = running(test);
    require_view(test, nodes, "all serve");
    for (int node : nodes) load(test, node);
    for (int node : nodes) check_inside(test, node, fork_many(test, node, 40, 4), 40, "as a member");
}

void scenario_again(Test& test) {
    require_view(test, running(test), "all serve");
    load(test, 2);
    const long rounds = shown_number(test, 2, "rounds"), last = shown_number(test, 2, "last");
    // The cursor is put where a long life would have brought it, with 500 ids to go.
    ProcessResult moved = test.cluster.shell(2, fmt::format("echo {} > /proc/sys/kernel/ns_last_pid", last - 500));
    test.report.require(moved.done(), "node 2 has given out nearly all of its ids", moved.evidence());
    const Born born = fork_many(test, 2, 1200, 3);
    check_inside(test, 2, born, 1200, "past the end of its range");
    test.report.check(born.least < last - 500 && born.most > last - 500, "it began again at the start of the range",
                      fmt::format("from {} to {}", born.least, born.most));
    test.report.check(shown_number(test, 2, "rounds") == rounds + 1, "which it did once, and says so");
    test.report.check(shown_number(test, 2, "foreign") == 0, "no id of another node was given out");
}

void scenario_leave(Test& test) {
    require_view(test, running(test), "all serve");
    load(test, 3);
    ProcessResult left = test.cluster.krgadm(3, {"cluster", "leave", "--wait=60"}, 100);
    test.report.require(left.done(), "node 3 leaves", left.evidence());
    ProcessResult shown = test.cluster.shell(3, "cat /proc/kerrighed/pids");
    test.report.check(shown.done() && shown.out.find("first") == std::string::npos, "it has no range any more",
                      shown.evidence());
    require_join(test, 3, "node 3 joins again");
    check_inside(test, 3, fork_many(test, 3, 40, 4), 40, "a member again");
}

void scenario_unload(Test& test) { unload_everywhere(test, {"krg_proc", "kerrighed"}); }

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_pids";
    defaults.what = "Process ids of the cluster";
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    const std::vector<Scenario> scenarios{
        {"ranges", "every node gives out ids of its own range", scenario_ranges},
        {"again", "a range that was used up is begun again", scenario_again},
        {"leave", "a node that leaves has no range, and has it again when it joins", scenario_leave},
        {"unload", "the modules go", scenario_unload},
    };
    return run_driver(options, scenarios, cluster_for(options, "pids"));
}
