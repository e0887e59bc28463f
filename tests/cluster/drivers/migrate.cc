// SPDX-License-Identifier: GPL-2.0
//
// test_migrate: a process that moves keeps its id, its work and its parent. It can be signalled and waited for where it was born;
// it goes on when its home dies, and its parent hears of it when the node that runs it dies. What cannot move is refused by name.
#include "migrate_steps.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

void scenario_once(Test& test) {
    for (const char* program : {"cpu_computing", "threads_64", "file_offset", "signal_queue"}) {
        const Moving moving = start(test, program);
        move(test, moving, 1, 2);
        finish(test, moving, 1);
        require_text(test, 1, moving.folder + "/code", "0", "its parent on node 1 sees its exit status");
        test.report.check(memory_on(test, 1, moving.pid) == -1, "nothing of it is left on node 1");
    }
}

void scenario_onwards(Test& test) {
    const Moving moving = start(test, "cpu_computing");
    move(test, moving, 1, 2);
    move(test, moving, 2, 3);
    move(test, moving, 3, 2);
    finish(test, moving, 1);
    require_text(test, 1, moving.folder + "/code", "0", "its parent on node 1 sees its exit status");
}

void scenario_killed(Test& test) {
    const Moving moving = start(test, "cpu_computing");
    move(test, moving, 1, 2);
    done(test, 1, fmt::format("kill -KILL {}", moving.pid), "kill -9 of its shadow");
    require_text(test, 1, moving.folder + "/code", "137", "its parent sees that signal 9 ended it");
    test.report.check(memory_on(test, 2, moving.pid) == -1, "and it is gone from node 2");
}

void scenario_runner_dies(Test& test) {
    const Moving moving = start(test, "cpu_computing");
    move(test, moving, 1, 3);
    test.cluster.crash(3);
    require_view(test, {1, 2}, "node 3 dies", 60);
    require_text(test, 1, moving.folder + "/code", "137", "its parent sees that it was lost");
    test.cluster.boot(3);
    require_view(test, {1, 2, 3}, "node 3 is back", 120);
}

void scenario_home_dies(Test& test) {
    const Moving moving = start(test, "cpu_computing");
    move(test, moving, 1, 2);
    test.cluster.crash(1);
    require_view(test, {2, 3}, "its home dies", 60);
    test.report.check(memory_on(test, 2, moving.pid) > 0, "it goes on");
    finish(test, moving, 2);
    test.cluster.boot(1);
    require_view(test, {1, 2, 3}, "node 1 is back", 120);
}

void refused(Test& test, const std::string& words, int status, const std::string& reason, const std::string& sentence) {
    ProcessResult result = test.cluster.shell(1, "migrate " + words);
    test.report.check(result.status == status && result.err.find(reason) != std::string::npos, sentence, result.evidence());
}

void scenario_refused(Test& test) {
    const Moving moving = start(test, "cpu_computing");
    refused(test, fmt::format("{} 9", moving.pid), 8, "node 9", "a node that is no member");
    refused(test, fmt::format("{} 1", moving.pid), 8, "node 1", "the node where it is");
    refused(test, "1 2", 1, "init", "the first process of a node");
    refused(test, "99999 2", 8, "", "a process that there is not");
    refused(test, fmt::format("--check {}", moving.pid), 0, "", "nothing, when it is only asked about");
    // Its parent, the shell, has a child.
    refused(test, fmt::format("--check $(sed -n 's/^PPid:.//p' /proc/{}/status)", moving.pid), 7, "has children",
            "a process with children, when it is only asked about");
    refused(test, fmt::format("$(sed -n 's/^PPid:.//p' /proc/{}/status) 2", moving.pid), 7, "has children",
            "a process with children");
    refused(test, fmt::format("--tree --mode post $(sed -n 's/^PPid:.//p' /proc/{}/status) 2", moving.pid), 7,
            "one moves alone only", "a tree whose memory would follow");
    refused(test, fmt::format("--tree --mode pre $(sed -n 's/^PPid:.//p' /proc/{}/status) 2", moving.pid), 7,
            "one moves alone only", "a tree whose memory would go ahead");
    test.report.check(memory_on(test, 1, moving.pid) > 0, "none of it disturbed anybody");
    finish(test, moving, 1);
    require_text(test, 1, moving.folder + "/code", "0", "it ends as ever");
}

/// What nodes have in common moves with a node that leaves: also those that have just come back need the modules.
void scenario_unload(Test& test) {
    load_modules(test);
    unload_everywhere(test, {"krg_proc", "hadsm", "kerrighed"});
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_migrate";
    defaults.what = "Processes that move";
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    const std::vector<Scenario> scenarios{
        {"once", "programs move, and find everything as it was", scenario_once},
        {"onwards", "on to a third node, and back to the second", scenario_onwards},
        {"home", "back to where they were born, and away again", scenario_home},
        {"home-signals", "every signal arrives once, wherever the process is", scenario_home_signals},
        {"home-refused", "what cannot come home goes on where it is", scenario_home_refused},
        {"home-source-dies", "the node dies that a process leaves for its home", scenario_home_source_dies},
        {"home-killed", "kill -9 at home, at any step of the way there", scenario_home_killed},
        {"helper-killed", "kill -9 of who builds a process that arrives", scenario_helper_killed},
        {"stops", "a stop is a stop for the parent at home", scenario_stops},
        {"ring", "five moves around all nodes", scenario_ring},
        {"killed", "kill -9 of the shadow", scenario_killed},
        {"runner-dies", "the node it runs on dies", scenario_runner_dies},
        {"home-dies", "the node where it was born dies", scenario_home_dies},
        {"tree-pipeline", "a shell with pipes", scenario_tree_pipeline},
        {"tree-wait", "a parent that waits for its child", scenario_tree_wait},
        {"tree-group", "kill by group, from home", scenario_tree_group},
        {"tree-child-killed", "kill -9 of a child's shadow", scenario_tree_child_killed},
        {"tree-zombie", "a child that nobody waited for", scenario_tree_zombie},
        {"tree-runner-dies", "the node that a tree runs on dies", scenario_tree_runner_dies},
        {"refused", "what cannot move", scenario_refused},
        {"follow", "memory that follows is there when it is wanted", scenario_follow},
        {"follow-onwards", "it moves on before all of its memory has come", scenario_follow_onwards},
        {"follow-lost", "the node dies that memory still follows from", scenario_follow_lost},
        {"precopy", "memory that goes ahead of who writes it", scenario_ahead},
        {"precopy-onwards", "three moves, memory ahead each time, the last one home", scenario_ahead_onwards},
        {"precopy-source-dies", "the node dies that it has just left", scenario_ahead_source_dies},
        {"precopy-target-dies", "the node dies that its memory goes to", scenario_ahead_target_dies},
        {"unload", "the modules go", scenario_unload},
    };
    return run_driver(options, scenarios, cluster_for(options, "migrate"));
}
