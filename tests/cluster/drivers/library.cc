// SPDX-License-Identifier: GPL-2.0
//
// test_library: a C program calls every function of libkerrighed on a real cluster. What a process wants of who saves it is
// done: not now, not this memory, tell me before and after.
#include "migrate_steps.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

std::string program(const Test& test) { return test.options.top + "/build/host/bin/krg-library"; }

ProcessResult call(Test& test, int node, const std::string& words, double timeout_s = 90) {
    return test.cluster.shell(node, program(test) + " " + words, timeout_s);
}

void calls(Test& test, int node, const std::string& words, const std::string& sentence) {
    const ProcessResult result = call(test, node, words);
    test.report.require(result.done(), sentence, result.evidence());
}

void refused(Test& test, const std::string& words, int error, const std::string& reason, const std::string& sentence) {
    const ProcessResult result = call(test, 1, words);
    test.report.check(result.status == 1 && result.err.find(fmt::format("error {}:", error)) != std::string::npos &&
                          result.err.find(reason) != std::string::npos,
                      sentence, result.evidence());
}

Moving wanting(Test& test, const std::string& name, const std::string& what) {
    return start_command(test, name, fmt::format("{} wants @ {}", program(test), what));
}

void ends_with(Test& test, const Moving& moving, int node, const std::string& wanted, const std::string& sentence) {
    done(test, node, fmt::format("kill -TERM {}", moving.pid), "it is asked to end");
    require_text(test, node, moving.folder + "/out", wanted, sentence);
}

void scenario_nodes(Test& test) {
    require_view(test, running(test), "all serve");
    const ProcessResult result = call(test, 1, "nodes");
    test.report.check(result.done() && result.out == "node 1 of 2: 1 2, 1, 0\n", "a program asks for the nodes",
                      result.evidence());
}

void scenario_callbacks(Test& test) {
    const Moving moving = wanting(test, "callbacks", "callbacks,exclude");
    const std::string image = moving.folder + "/image";
    calls(test, 1, fmt::format("checkpoint-check {}", moving.pid), "it can be saved");
    calls(test, 1, fmt::format("checkpoint {} {}", moving.pid, image), "it is saved, and goes on");
    calls(test, 1, fmt::format("checkpoint {} {} kill", moving.pid, image), "it is saved again, and killed");
    // The shell that started it has said in the log how it ended.
    calls(test, 1, fmt::format("restart {} changed", image), "it is restarted");
    ends_with(test, moving, 1, "before 2 continue 1 restart 1 pages 1 0 0 4 order 1",
              "callbacks came once each, and excluded pages are zeros");
}

void scenario_quiet(Test& test) {
    const Moving moving = wanting(test, "quiet", "callbacks,exclude");
    calls(test, 1, fmt::format("checkpoint {} {}/image quiet", moving.pid, moving.folder), "it is saved without callbacks");
    calls(test, 1, fmt::format("migrate-check {}", moving.pid), "it can move");
    calls(test, 1, fmt::format("migrate {} 2", moving.pid), "it moves");
    ends_with(test, moving, 1, "before 0 continue 0 restart 0 pages 1 2 3 4 order 1",
              "nobody was called, all memory moved with it");
}

void scenario_slow(Test& test) {
    const Moving moving = wanting(test, "slow", "callbacks,slow");
    refused(test, fmt::format("checkpoint {} {}/image", moving.pid, moving.folder), 110,
            "callbacks: ", "callbacks that do not end make it fail");
    done(test, 1, fmt::format("test ! -e {}/image && kill -KILL {}", moving.folder, moving.pid), "and there is no image");
}

void scenario_disable(Test& test) {
    const Moving moving = wanting(test, "disable", "disable");
    refused(test, fmt::format("checkpoint {} {}/image", moving.pid, moving.folder), 110,
            "disabled: ", "it does not want to be saved");
    refused(test, fmt::format("migrate {} 2", moving.pid), 110, "disabled: ", "nor moved");
    refused(test, fmt::format("freeze {}", moving.pid), 110, "disabled: ", "nor frozen");
    done(test, 1,
         fmt::format("(sleep 1; kill -USR1 {0}) & {1} checkpoint {0} {2}/image && wait", moving.pid, program(test),
                     moving.folder),
         "who comes a little early waits for it");
    ends_with(test, moving, 1, "before 0 continue 0 restart 0 pages 1 2 3 4 order 1", "it goes on");
}

void scenario_freeze(Test& test) {
    const Moving moving = wanting(test, "freeze", "callbacks");
    calls(test, 1, fmt::format("freeze {}", moving.pid), "it is frozen");
    refused(test, fmt::format("freeze {}", moving.pid), 17, "frozen already", "once only");
    done(test, 1, fmt::format("kill -TERM {}; sleep 1; test ! -e {}/out", moving.pid, moving.folder), "it does nothing");
    calls(test, 1, fmt::format("unfreeze {}", moving.pid), "it goes on");
    require_text(test, 1, moving.folder + "/out", "before 1 continue 1 restart 0 pages 1 2 3 4 order 1",
                 "it was told before and after");
    const Moving other = wanting(test, "freeze-signal", "nothing");
    calls(test, 1, fmt::format("freeze {}", other.pid), "another one is frozen");
    calls(test, 1, fmt::format("unfreeze {} 15", other.pid), "and goes on with a signal");
    require_text(test, 1, other.folder + "/out", "before 0 continue 0 restart 0 pages 1 2 3 4 order 1", "which it gets");
}

void scenario_self(Test& test) {
    done(test, 1, "mkdir -p /shared/migrate && rm -f /shared/migrate/self*", "a folder is there");
    ProcessResult result = call(test, 1, "migrate-self /shared/migrate/self 2 1 2 </dev/null >/shared/migrate/self.log 2>&1",
                                120);
    test.report.check(result.done(), "a program moves itself to node 2, home, and to node 2", result.evidence());
    result = test.cluster.shell(1, "cat /shared/migrate/self");
    test.report.check(result.out == "2\n1\n2\n", "and knows each time where it is", result.evidence());
    refused(test, "migrate-self /shared/migrate/self 9", 113, "node 9", "it does not go where there is no node");
    refused(test, "migrate-self /shared/migrate/self 1", 113, "already", "nor where it is");
    // Its standard files are not the pipes of whoever started it.
    result =
        call(test, 1,
             "checkpoint-self /shared/migrate/self.image /shared/migrate/self.made </dev/null >/shared/migrate/self.log 2>&1",
             120);
    test.report.check(result.done(), "a program saves itself", result.evidence());
    calls(test, 1, "restart /shared/migrate/self.image changed", "it is restarted");
    result =
        test.cluster.shell(1, "for i in $(seq 100); do [ $(wc -l </shared/migrate/self.made) = 2 ] && break; sleep 0.1; done; "
                              "cat /shared/migrate/self.made");
    test.report.check(result.out == "0\n1\n", "and knows what it is", result.evidence());
}

/// The tools, on a program that the library knows nothing of.
void scenario_tools(Test& test) {
    const std::string folder = "/shared/migrate/tools";
    const std::string start =
        fmt::format("for m in hadsm krg_proc; do grep -q \"^$m \" /proc/modules || insmod {1}/build/$(uname -r)/$m.ko; done; "
                    "rm -rf {0}; mkdir -p {0}; cd {0}; krgcr-run -b -o {0}/log -- sh -c 'trap \"echo asked; exit 3\" TERM; "
                    "while sleep 3; do :; done' >{0}/pid; sleep 1; cat {0}/pid",
                    folder, test.options.top);
    std::string pid = done(test, 1, start, "krgcr-run starts a program").out;
    pid.resize(pid.find('\n'));
    const auto tool = [&](const std::string& words, int status, const std::string& says, const std::string& sentence) {
        const ProcessResult result = test.cluster.shell(1, fmt::format("cd {}; checkpoint {}", folder, words));
        test.report.check(result.status == status && (result.out + result.err).find(says) != std::string::npos, sentence,
                          result.evidence());
    };
    tool(pid + " --ckpt-only --tree a", 1, "is not frozen", "what is not frozen is not saved as such");
    tool("--freeze " + pid, 0, "", "it is frozen, and stays so when the tool has ended");
    tool("--freeze " + pid, 1, "frozen already", "once");
    tool(pid + " --ckpt-only --tree a", 0, "2 processes", "it is saved");
    tool(pid + " --ckpt-only --tree --description again b", 0, "2 processes", "twice");
    done(test, 1, fmt::format("grep -q 'state frozen' /proc/kerrighed/{}/status", pid), "and is frozen still");
    done(test, 1, fmt::format("krgimg show --json {}/b | grep -q again", folder), "the second image has a description");
    tool("--unfreeze " + pid, 0, "", "it goes on");
    tool("--unfreeze " + pid, 8, "not frozen", "once");
    tool(fmt::format("--kill=TERM --tree {} c", pid), 0, "2 processes", "it is saved, and asked to end");
    require_text(test, 1, folder + "/log", "asked", "which it does");
    done(test, 1,
         fmt::format("cd {0}; restart --accept-changed --foreground b & sleep 2; kill -TERM {1}; wait $! ; test $? = 3", folder,
                     pid),
         "it is restarted in the foreground, with its status");
    done(test, 1,
         fmt::format("cd {0}; sh -c 'echo $$ >{0}/pid2; exec sleep 1000' </dev/null 2>&1 | cat >/dev/null & sleep 1", folder),
         "a program writes into somebody else's pipe");
    tool("$(cat pid2) d", 7, "pipe: descriptor", "it is refused");
    tool("--ignore-unsupported --kill $(cat pid2) d", 0, "left out: pipe: descriptor 1", "unless the pipe is left out");
    done(test, 1,
         fmt::format("cd {}; restart d && readlink /proc/$(cat pid2)/fd/1 | grep -qx /dev/null && kill $(cat pid2)", folder),
         "then it is /dev/null");
}

void scenario_errors(Test& test) {
    refused(test, "checkpoint 4194000 /shared/x", 3, "no process", "a process that there is not");
    refused(test, "freeze 4194000", 3, "no process", "nor to freeze");
    refused(test, "migrate 4194000 2", 3, "no process", "nor to move");
    refused(test, "restart /shared/there-is-none", 2, "", "an image that there is not");
    refused(test, "unfreeze 1", 22, "", "the system's init");
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_library";
    defaults.what = "A C program and libkerrighed";
    defaults.nodes = 2;
    const DriverOptions options = read_options(argc, argv, defaults);
    return run_driver(options,
                      {{"nodes", "who is there", scenario_nodes},
                       {"callbacks", "told before and after, memory left out", scenario_callbacks},
                       {"quiet", "without callbacks, and moved", scenario_quiet},
                       {"slow", "callbacks that do not end", scenario_slow},
                       {"disable", "not now", scenario_disable},
                       {"freeze", "frozen, and let go", scenario_freeze},
                       {"self", "a program moves and saves itself", scenario_self},
                       {"tools", "freeze, save, signal, leave out", scenario_tools},
                       {"errors", "what cannot be", scenario_errors}},
                      cluster_for(options, "library"));
}
