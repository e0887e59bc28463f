// SPDX-License-Identifier: GPL-2.0
#include "migrate_steps.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

ProcessResult done(Test& test, int node, const std::string& script, const std::string& sentence, double timeout_s) {
    ProcessResult result = test.cluster.shell(node, script, test.cluster.limit(timeout_s));
    test.report.require(result.done(), sentence, result.evidence());
    return result;
}

namespace {

const std::string work = "/shared/migrate";

}  // namespace

void load_modules(Test& test) {
    for (int node : running(test))
        done(test, node,
             fmt::format(
                 "for m in hadsm krg_proc; do grep -q \"^$m \" /proc/modules || insmod {0}/build/$(uname -r)/$m.ko; done; "
                 "echo {0}/build/host/bin/restart >/sys/module/krg_proc/parameters/helper",
                 test.options.top),
             fmt::format("the modules are loaded on node {}", node));
}

Moving start_command(Test& test, const std::string& name, const std::string& command) {
    require_view(test, running(test), "all serve");
    load_modules(test);
    Moving moving{0, work + "/" + name};
    std::string words = command;
    for (size_t at = 0; (at = words.find('@')) != std::string::npos;) words.replace(at, 1, moving.folder);
    const ProcessResult started = done(
        test, 1,
        fmt::format("rm -rf {0}; mkdir -p {0}/d && cd {0} && "
                    "setsid sh -c '{1}; echo $? >{0}/code' "
                    "</dev/null >{0}/log 2>&1 & for i in $(seq 300); do [ -s {0}/pid ] && break; sleep 0.1; done; cat {0}/pid",
                    moving.folder, words),
        fmt::format("{} starts on node 1", name));
    moving.pid = std::stol(started.out);
    return moving;
}

Moving start(Test& test, const std::string& program) {
    return start_command(test, program,
                         fmt::format("{}/build/host/cr/{} --pidfile=@/pid --outfile=@/out --filename=@/file", test.options.top,
                                     program));
}

long memory_on(Test& test, int node, long pid) {
    ProcessResult result = test.cluster.shell(
        node,
        fmt::format(
            "[ -d /proc/{0} ] || {{ echo -1; exit; }}; awk '/^VmSize:/ {{ n = $2 }} END {{ print n + 0 }}' /proc/{0}/status",
            pid));
    return result.done() ? std::stol(result.out) : -2;
}

void move(Test& test, const Moving& moving, int from, int to) {
    done(test, from, fmt::format("migrate --json {} {}", moving.pid, to), fmt::format("it moves from node {} to {}", from, to),
         120);
    test.report.check(memory_on(test, to, moving.pid) > 0, fmt::format("it runs on node {}, with its id", to));
    test.report.check(memory_on(test, from, moving.pid) <= 0, fmt::format("and has no memory on node {}", from),
                      fmt::format("VmSize {} kB", memory_on(test, from, moving.pid)));
}

void require_text(Test& test, int node, const std::string& file, const std::string& wanted, const std::string& sentence) {
    std::string text;
    std::string missing = wait_until(sentence, test.cluster.limit(30), [&] {
        text = test.cluster.shell(node, "tail -n 1 " + file + " 2>/dev/null").out;
        while (!text.empty() && text.back() == '\n') text.pop_back();
        return text.empty() ? file + " is empty" : std::string();
    });
    test.report.check(missing.empty() && text == wanted, sentence,
                      fmt::format("\"{}\" instead of \"{}\" {}", text, wanted, missing));
}

void finish(Test& test, const Moving& moving, int node) {
    done(test, node, fmt::format("kill -TERM {}", moving.pid), fmt::format("it is asked to end on node {}", node));
    require_text(test, node, moving.folder + "/out", "PASS", "it found everything as it had left it");
}

}  // namespace krg::cluster_test
