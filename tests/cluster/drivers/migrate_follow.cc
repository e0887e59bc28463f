// SPDX-License-Identifier: GPL-2.0
//
// Memory that follows a process which has moved (migrate --mode post): it is there when it is wanted, whatever the program
// does to it before, and when the process moves on; if it is lost, the process is killed.
#include "migrate_steps.hh"
#include "steps.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

/// Starts a move whose memory follows, and returns when the process runs at the other node: most of it is elsewhere then.
void move_ahead(Test& test, const Moving& moving, int from, int to) {
    // At home a shadow is left, which catches all signals; elsewhere the process goes.
    done(test, from,
         fmt::format("setsid migrate --json --mode post {0} {1} </dev/null >{2}/moved 2>&1 & "
                     "for i in $(seq 600); do [ -d /proc/{0} ] || exit 0; sleep 0.05; "
                     "grep -qs '^SigCgt:.*fff$' /proc/{0}/status && sleep 0.2 && exit 0; done; exit 1",
                     moving.pid, to, moving.folder),
         fmt::format("it leaves node {} for node {}, and its memory begins to follow", from, to), 120);
}

void require_followed(Test& test, int node, const Moving& moving) {
    std::string text;
    const std::string missing = wait_until("its memory has followed", test.cluster.limit(60), [&] {
        text = test.cluster.shell(node, fmt::format("cat {}/moved", moving.folder)).out;
        return text.empty() ? std::string("migrate has not said so") : std::string();
    });
    const Json said = Json::parse(text, nullptr, false);
    test.report.check(missing.empty() && said.is_object() && said.value("bytes_after", 0L) > 16 << 20 &&
                          said.value("bytes", 1L << 40) < 4 << 20 && said.value("local_ms", 0.0) > said.value("frozen_ms", 1e9),
                      "most of its memory came after it", text + missing);
}

}  // namespace

void scenario_follow(Test& test) {
    for (const char* program : {"follow_random", "follow_write_first", "follow_fork", "follow_given_up", "follow_remapped"}) {
        const Moving moving = start(test, program);
        move_ahead(test, moving, 1, 2);
        finish(test, moving, 1);
        require_text(test, 1, moving.folder + "/code", "0", "its parent on node 1 sees its exit status");
        if (std::string(program) == "follow_random") require_followed(test, 1, moving);
    }
}

void scenario_follow_onwards(Test& test) {
    const Moving moving = start(test, "follow_random");
    move_ahead(test, moving, 1, 2);
    move_ahead(test, moving, 2, 3);
    finish(test, moving, 1);
    require_text(test, 1, moving.folder + "/code", "0", "its parent on node 1 sees its exit status");
}

void scenario_follow_lost(Test& test) {
    const Moving moving = start(test, "follow_random");
    move(test, moving, 1, 2);
    move_ahead(test, moving, 2, 3);
    test.cluster.crash(2);
    require_view(test, {1, 3}, "the node dies that still has most of its memory", 60);
    require_text(test, 1, moving.folder + "/code", "137", "its parent sees that it was killed");
    test.report.check(memory_on(test, 3, moving.pid) == -1, "and it is gone from node 3");
    done(test, 3, "dmesg | grep 'memory that followed it was lost with node 2'", "the log of node 3 says why");
    test.cluster.boot(2);
    require_view(test, {1, 2, 3}, "node 2 is back", 120);
}

}  // namespace krg::cluster_test
