// SPDX-License-Identifier: GPL-2.0
//
// Scenarios of coming home: the process goes on in the task that was its shadow; nothing is lost on the way, and what cannot come
// home goes on where it is.
#include "migrate_steps.hh"

#include <chrono>
#include <fmt/format.h>
#include <thread>

namespace krg::cluster_test {

namespace {

std::string parent_of(Test& test, long pid) {
    return test.cluster.shell(1, fmt::format("sed -n 's/^PPid:.//p' /proc/{}/status", pid)).out;
}

std::string tool(const Test& test) { return test.options.top + "/build/host/bin/krg-signal-count"; }

/// Sends signals on node 1 while something else happens.
void send_on(Test& test, const Moving& moving, int first, int count, int gap_ms) {
    done(test, 1,
         fmt::format("setsid {} send {} {} {} {} </dev/null >{}/send 2>&1 & :", tool(test), moving.pid, first, count, gap_ms,
                     moving.folder),
         fmt::format("signals {} to {} are being sent to it on node 1", first, first + count - 1));
}

/// Every value from 0 on was written down once.
void require_signals(Test& test, const Moving& moving, int count) {
    const std::string list = moving.folder + "/list";
    std::string missing = wait_until("all signals have arrived", test.cluster.limit(60), [&] {
        const ProcessResult result = test.cluster.shell(1, fmt::format("wc -l <{0}; cat {1}/send", list, moving.folder));
        return result.done() && std::atoi(result.out.c_str()) >= count ? std::string() : result.evidence();
    });
    const ProcessResult result = test.cluster.shell(
        1, fmt::format(
               "sort -n {0} | uniq -d | head -n 5; seq 0 {1} | sort >/tmp/want; sort {0} | comm -3 /tmp/want - | head -n 5",
               list, count - 1));
    test.report.check(missing.empty() && result.done() && result.out.empty(),
                      fmt::format("each of {} signals arrived once", count), missing + result.out);
}

}  // namespace

void scenario_home(Test& test) {
    for (const char* program : {"cpu_computing", "threads_64", "file_offset", "signal_queue", "timer_posix"}) {
        const Moving moving = start(test, program);
        const std::string parent = parent_of(test, moving.pid);
        for (int i = 0; i < 2; i++) {
            move(test, moving, 1, 2);
            move(test, moving, 2, 1);
            test.report.check(parent_of(test, moving.pid) == parent, "its parent is the one it had");
        }
        finish(test, moving, 1);
        require_text(test, 1, moving.folder + "/code", "0", "its parent sees its exit status");
        test.report.check(memory_on(test, 1, moving.pid) == -1, "nothing of it is left on node 1");
    }
}

void scenario_home_signals(Test& test) {
    const Moving moving = start_command(test, "signals", tool(test) + " take @/pid @/out @/list");
    constexpr int count = 1500;
    send_on(test, moving, 0, count, 5);
    for (int i = 0; i < 3; i++) {
        move(test, moving, 1, 2);
        move(test, moving, 2, 1);
    }
    move(test, moving, 1, 2);
    move(test, moving, 2, 3);
    move(test, moving, 3, 1);
    require_signals(test, moving, count);
    finish(test, moving, 1);
    require_text(test, 1, moving.folder + "/code", "0", "its parent sees its exit status");
}

void scenario_home_refused(Test& test) {
    for (int node : running(test)) done(test, node, "mkdir /tmp/krg-held", fmt::format("a directory is on node {}", node));
    const Moving moving = start_command(test, "refused", "env -C /tmp/krg-held " + tool(test) + " take @/pid @/out @/list");
    move(test, moving, 1, 2);
    done(test, 1, "mv /tmp/krg-held /tmp/krg-moved", "the directory that it works in is not at its home any more");
    for (int i = 0; i < 2; i++) {
        const ProcessResult result = test.cluster.shell(2, fmt::format("migrate {} 1", moving.pid));
        test.report.check(result.status != 0 && result.err.find("krg-held") != std::string::npos,
                          "it cannot come home, and is told why", result.evidence());
        test.report.check(memory_on(test, 2, moving.pid) > 0, "it goes on on node 2");
        test.report.check(memory_on(test, 1, moving.pid) == 0, "its shadow is a shadow again",
                          fmt::format("VmSize {}", memory_on(test, 1, moving.pid)));
        send_on(test, moving, i * 10, 10, 5);
        require_signals(test, moving, (i + 1) * 10);
    }
    done(test, 1, "mv /tmp/krg-moved /tmp/krg-held", "the directory is there again");
    move(test, moving, 2, 1);
    finish(test, moving, 1);
    require_text(test, 1, moving.folder + "/code", "0", "its parent sees its exit status");
}

/// One copy or, if the node that held it died, none; and its parent knows.
void scenario_home_source_dies(Test& test) {
    for (const int delay_ms : {100, 500, 1000}) {
        const Moving moving = start(test, "cpu_computing");
        move(test, moving, 1, 2);
        done(test, 2, fmt::format("(setsid migrate {} 1 </dev/null >/dev/null 2>&1 &)", moving.pid), "it is on its way home");
        std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
        test.cluster.crash(2);
        require_view(test, {1, 3}, "node 2 is out", 60);
        long memory = 0;
        (void)wait_until("its fate is decided", test.cluster.limit(30), [&] {
            memory = memory_on(test, 1, moving.pid);
            return memory != 0 ? std::string() : "a shadow still";
        });
        if (memory > 0) {
            finish(test, moving, 1);
            require_text(test, 1, moving.folder + "/code", "0", "it had come home: it ends as ever");
        } else {
            require_text(test, 1, moving.folder + "/code", "137", "it was lost: its parent sees it");
        }
        test.report.check(memory_on(test, 1, moving.pid) == -1, "nothing of it is left on node 1");
        test.cluster.boot(2);
        require_view(test, {1, 2, 3}, "node 2 is back", 120);
    }
}

/// It is killed by its id at home while it may be anything there: a shadow, the helper, itself.
void scenario_home_killed(Test& test) {
    for (const char* delay : {"0.02", "0.1", "0.2", "0.3", "0.5"}) {
        const Moving moving = start(test, "cpu_computing");
        move(test, moving, 1, 2);
        done(test, 1, fmt::format("(setsid sh -c 'sleep {}; kill -KILL {}' </dev/null >/dev/null 2>&1 &)", delay, moving.pid),
             fmt::format("it will be killed on node 1 after {} s", delay));
        const ProcessResult result = test.cluster.shell(2, fmt::format("migrate {} 1", moving.pid), test.cluster.limit(60));
        test.report.check(!result.timed_out, "its move home ends", result.evidence());
        require_text(test, 1, moving.folder + "/code", "137", "its parent sees that signal 9 ended it");
        for (int node : {1, 2}) {
            const std::string missing = wait_until("it is gone", test.cluster.limit(20), [&] {
                return memory_on(test, node, moving.pid) == -1 ? std::string() : fmt::format("pid {} is there", moving.pid);
            });
            test.report.check(missing.empty(), fmt::format("nothing of it is left on node {}", node), missing);
        }
    }
}

/// Whoever builds it on node 2 is killed at some step: it goes on at home, runs there, or its parent hears that it was lost.
void scenario_helper_killed(Test& test) {
    for (const char* delay : {"0", "0.05", "0.1", "0.15", "0.2", "0.3"}) {
        const Moving moving = start(test, "cpu_computing");
        done(test, 2,
             fmt::format("(setsid sh -c 'for i in $(seq 2000); do p=$(pidof restart) && break; done; sleep {}; kill -KILL $p' "
                         "</dev/null >/dev/null 2>&1 &)",
                         delay),
             fmt::format("the helper on node 2 will be killed {} s after its start", delay));
        const ProcessResult result = test.cluster.shell(1, fmt::format("migrate {} 2", moving.pid), test.cluster.limit(60));
        test.report.check(!result.timed_out, "the move ends", result.evidence());
        std::string fate;
        (void)wait_until("its fate is decided", test.cluster.limit(30), [&] {
            if (memory_on(test, 1, moving.pid) > 0) fate = "it goes on on node 1";
            if (memory_on(test, 2, moving.pid) > 0) fate = "it runs on node 2";
            if (memory_on(test, 1, moving.pid) < 0) fate = "it was lost";
            return fate.empty() ? std::string("a shadow, and nothing on node 2") : std::string();
        });
        test.report.check(!fate.empty(), "one copy, or its parent knows that there is none: " + fate);
        if (fate == "it was lost") {
            require_text(test, 1, moving.folder + "/code", "137", "its parent sees it");
            continue;
        }
        finish(test, moving, 1);
        require_text(test, 1, moving.folder + "/code", "0", "its parent sees its exit status");
    }
}

void scenario_stops(Test& test) {
    const Moving moving = start_command(test, "stops",
                                        fmt::format("{0} watch @/states {0} take @/pid @/out @/list", tool(test)));
    const std::string states = moving.folder + "/states";
    const auto signal = [&](const std::string& name, const std::string& wanted, const std::string& sentence) {
        done(test, 1, fmt::format(": >{}; kill -{} {}", states, name, moving.pid), "SIG" + name + " at home");
        require_text(test, 1, states, wanted, sentence);
    };
    move(test, moving, 1, 2);
    for (int i = 0; i < 2; i++) {
        signal(i ? "TSTP" : "STOP", "stopped 19", "its parent at home hears that it is stopped");
        const ProcessResult state = test.cluster.shell(2, fmt::format("sed -n 's/^State:.//p' /proc/{}/status", moving.pid));
        test.report.check(!state.out.empty() && state.out.front() == 'T', "it is stopped on node 2", state.out);
        signal("CONT", "continued", "its parent hears that it goes on");
    }
    move(test, moving, 2, 1);
    signal("STOP", "stopped 19", "at home again it stops as ever");
    signal("CONT", "continued", "and goes on");
    finish(test, moving, 1);
    require_text(test, 1, states, "ended 0", "its parent sees its exit status");
}

void scenario_ring(Test& test) {
    const Moving moving = start(test, "threads_64");
    int at = 1;
    for (int next : {2, 3, 1, 2, 3, 1}) {
        move(test, moving, at, next);
        at = next;
    }
    finish(test, moving, 1);
    require_text(test, 1, moving.folder + "/code", "0", "its parent sees its exit status");
}

}  // namespace krg::cluster_test
