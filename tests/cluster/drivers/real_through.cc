// SPDX-License-Identifier: GPL-2.0
//
// How a real program goes through a checkpoint or a move: see real.hh.
#include "real.hh"

#include "crsuite_operation.hh"
#include "migrate_steps.hh"

#include <fmt/format.h>
#include <unistd.h>

namespace krg::cluster_test {

namespace {

constexpr double long_s = 240;

struct Run {
    Place place;
    std::string folder;
};

std::string in_folder(const Test& test, const Run& run, const std::string& script) {
    return fmt::format("cd {} && export T={} P={} && {{ {}\n}}", run.folder, test.options.top, run.place.pid, script);
}

/// The shell that waits for it here stays here: a tree has a root with a parent outside.
Run begin(Test& test, const Work& work, int node, const std::string& how) {
    Run run{{node, 0, {}, fmt::format("real-{}-{}-{}", work.name, how, getpid())},
            fmt::format("/shared/real/{}-{}", work.name, how)};
    run.place.work = run.folder;
    if (*work.before) done(test, node, work.before, "what it needs is there");
    done(test, node,
         fmt::format("rm -rf {0}; mkdir -p {0}/tmp && cd {0} && cat >script <<'THE-END'\n"
                     "exec >log 2>&1\nexport TMPDIR=$PWD/tmp LC_ALL=C\necho $$ >pid.new; mv pid.new pid\n(\n{1}\n)\n"
                     "echo $? >code.new; mv code.new code\nTHE-END",
                     run.folder, work.script),
         "its folder is there");
    const ProcessResult started =
        done(test, node,
             in_folder(test, run,
                       fmt::format("setsid sh -c 'KRG_CRSUITE={} setsid -w sh ./script' </dev/null >outside 2>&1 & "
                                   "for i in $(seq 300); do [ -s pid ] && break; sleep 0.1; done; cat pid",
                                   run.place.token)),
             fmt::format("{} starts on node {}", work.name, node));
    run.place.pid = std::stol(started.out);
    return run;
}

void wait_for(Test& test, const Run& run, const std::string& condition, const std::string& sentence, double timeout_s) {
    const std::string missing = wait_until(sentence, test.cluster.limit(timeout_s), [&] {
        const ProcessResult asked = test.cluster.shell(run.place.node, in_folder(test, run, condition));
        return asked.done() ? std::string() : "not yet: " + asked.evidence();
    });
    const std::string log = missing.empty() ? "" : test.cluster.shell(run.place.node, "tail -n 20 " + run.folder + "/log").out;
    test.report.require(missing.empty(), sentence, missing + "\n" + log);
}

std::string outcome(Test& test, const Work& work, const Run& run, const std::string& who) {
    wait_for(test, run, "[ -s code ]", fmt::format("{} comes to its end", who), long_s);
    const ProcessResult code = done(test, run.place.node, in_folder(test, run, "cat code"), "it has written how it ended");
    const std::string log = code.out == "0\n" ? ""
                                              : test.cluster.shell(run.place.node, "tail -n 20 " + run.folder + "/log").out;
    test.report.check(code.out == "0\n", fmt::format("{} ends with exit status 0", who), code.out + log);
    return done(test, run.place.node, in_folder(test, run, work.result), "it has a result", long_s).out;
}

/// A shell that is just making a child may be refused: it is asked again.
OperationResult perform(Test& test, const Operation& operation, const Place& place) {
    OperationResult result = operation.perform(test.cluster, place);
    for (int i = 0; i < 4 && result.kind == OperationResult::Kind::refused; i++) {
        usleep(300'000);
        result = operation.perform(test.cluster, place);
    }
    return result;
}

void clean(Test& test, const Run& run, const std::string& judge) {
    for (int node : running(test)) (void)test.cluster.exec(node, {judge, "clean", "--token", run.place.token});
}

}  // namespace

void through(Test& test, const Work& work, const char* mode) {
    const std::string judge = test.options.top + "/build/host/bin/krg-cr-judge";
    require_view(test, running(test), "all serve");
    const auto operation = make_operation(mode, test.options.nodes, judge);
    operation->prepare(test.cluster);
    const Run alone = begin(test, work, test.options.nodes, "alone");
    Run run = begin(test, work, 1, mode);
    wait_for(test, run, work.middle, "it is in the middle of its work", long_s);
    test.report.check(test.cluster.shell(1, fmt::format("[ ! -e {}/code ]", run.folder)).done(), "and has not ended");
    const OperationResult operated = perform(test, *operation, run.place);
    if (operated.kind != OperationResult::Kind::done) {
        clean(test, run, judge);
        clean(test, alone, judge);
    }
    test.report.require(operated.kind == OperationResult::Kind::done, fmt::format("{} succeeds", mode), operated.reason);
    run.place = operated.place;
    if (*work.after) {
        const ProcessResult after = test.cluster.shell(run.place.node, in_folder(test, run, work.after),
                                                       test.cluster.limit(long_s));
        test.report.check(after.done(), "who asks it there gets the right answer", after.evidence());
    }
    const std::string wanted = outcome(test, work, alone, "the undisturbed one");
    const std::string got = outcome(test, work, run, "the one that was disturbed");
    test.report.check(!wanted.empty() && got == wanted, "both have the same result",
                      fmt::format("\"{}\" instead of \"{}\"", got, wanted));
    clean(test, run, judge);
    clean(test, alone, judge);
}

}  // namespace krg::cluster_test
