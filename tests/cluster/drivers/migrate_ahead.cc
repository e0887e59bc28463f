// SPDX-License-Identifier: GPL-2.0
//
// Memory that goes ahead of a process (migrate --mode pre): what it writes meanwhile is not lost, nothing of it is needed from
// where it was, and a node that dies meanwhile leaves it where it is.
#include "migrate_steps.hh"
#include "steps.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

void move_after(Test& test, const Moving& moving, int from, int to, bool large) {
    const ProcessResult result = done(test, from, fmt::format("migrate --json --mode pre {} {}", moving.pid, to),
                                      fmt::format("it moves from node {} to node {}, its memory ahead of it", from, to), 120);
    const Json said = Json::parse(result.out, nullptr, false);
    test.report.check(said.is_object() && said.value("rounds", 0) >= 1 && (!large || said.value("bytes_before", 0L) > 8 << 20),
                      "most of its memory went ahead", result.out);
    test.report.check(memory_on(test, to, moving.pid) > 0, fmt::format("it runs on node {}", to));
}

}  // namespace

void scenario_ahead(Test& test) {
    for (const char* program :
         {"ahead_writes", "ahead_writes_all", "ahead_maps", "follow_random", "follow_fork", "follow_remapped", "threads_64"}) {
        const Moving moving = start(test, program);
        move_after(test, moving, 1, 2, std::string(program) != "threads_64");
        finish(test, moving, 1);
        require_text(test, 1, moving.folder + "/code", "0", "its parent on node 1 sees its exit status");
    }
}

void scenario_ahead_onwards(Test& test) {
    const Moving moving = start(test, "ahead_writes");
    move_after(test, moving, 1, 2, true);
    move_after(test, moving, 2, 3, true);
    move_after(test, moving, 3, 1, true);
    finish(test, moving, 1);
    require_text(test, 1, moving.folder + "/code", "0", "its parent on node 1 sees its exit status");
}

void scenario_ahead_source_dies(Test& test) {
    const Moving moving = start(test, "ahead_writes");
    move(test, moving, 1, 2);
    move_after(test, moving, 2, 3, true);
    test.cluster.crash(2);
    require_view(test, {1, 3}, "the node dies that it has just left", 60);
    test.report.check(memory_on(test, 3, moving.pid) > 0, "it goes on on node 3");
    finish(test, moving, 1);
    require_text(test, 1, moving.folder + "/code", "0", "its parent on node 1 sees its exit status");
    test.cluster.boot(2);
    require_view(test, {1, 2, 3}, "node 2 is back", 120);
}

void scenario_ahead_target_dies(Test& test) {
    const Moving moving = start(test, "ahead_writes_all");
    done(test, 1,
         fmt::format("(migrate --mode pre {0} 3 >{1}/moved 2>&1; echo $? >{1}/status) </dev/null >/dev/null 2>&1 & sleep 0.2",
                     moving.pid, moving.folder),
         "its memory begins to go ahead to node 3");
    test.cluster.crash(3);
    require_view(test, {1, 2}, "node 3 dies", 60);
    const std::string missing = wait_until("migrate has ended", test.cluster.limit(60), [&] {
        return test.cluster.shell(1, fmt::format("cat {}/status", moving.folder)).out.empty() ? std::string("it has not")
                                                                                              : std::string();
    });
    const ProcessResult status = test.cluster.shell(1, fmt::format("cat {0}/status {0}/moved", moving.folder));
    test.report.check(missing.empty(), "migrate ends", status.out + missing);
    // It may have been there already when the node died: then it is gone with it.
    if (status.out.find('0') != 0) {
        test.report.check(memory_on(test, 1, moving.pid) > 0, "it goes on where it was", status.out);
        finish(test, moving, 1);
        require_text(test, 1, moving.folder + "/code", "0", "and finds everything in order");
    }
    test.cluster.boot(3);
    require_view(test, {1, 2, 3}, "node 3 is back", 120);
}

}  // namespace krg::cluster_test
