// SPDX-License-Identifier: GPL-2.0
//
// test_allocfail: on the debug kernel, allocations fail on purpose while the module loads, a node joins and leaves a
// cluster, and the module unloads. Each time: an error or success, never a splat, never a leak, and everything works again
// afterwards. Loading and unloading: every allocation of the call once, from the first to the last (fail_nth.cc), shared out
// among the nodes. Joining and leaving happen in many threads: there allocations of one node fail at random. The others are two,
// so that they go on when that node stops in the middle.
#include "steps.hh"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fmt/format.h>
#include <future>
#include <sstream>

namespace krg::cluster_test {

namespace {

constexpr int nth_max = 4000;
constexpr int nth_at_once = 25;
constexpr int enomem = 12;
constexpr std::chrono::seconds say_every{10};

/// What is loaded again and again. Not from /, where the server of the file system would have its part in it.
struct Subject {
    const char* name;
    std::string file() const { return fmt::format("/run/{}.ko", name); }
};

// Faults hit the tasks that ask for them; the log of each would drown the log checker.
constexpr const char* prepare =
    "mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug; cd /sys/kernel/debug || exit 1; "
    "for kind in failslab fail_page_alloc; do cd /sys/kernel/debug/$kind || exit 1; echo 0 >verbose; echo Y >task-filter; "
    "echo 0 >ignore-gfp-wait; echo -1 >times; echo 1 >interval; echo 0 >probability; done; "
    "echo 0 >/sys/kernel/debug/fail_page_alloc/min-order";

std::string module_file(const Test& test, const char* name = "kerrighed") {
    return fmt::format("{}/build/$(uname -r)/{}.ko", test.options.top, name);
}

void require_done(Test& test, int node, const std::string& script, const std::string& sentence, double timeout_s = 60) {
    ProcessResult result = test.cluster.shell(node, script, timeout_s);
    test.report.require(result.done(), sentence, result.evidence());
}

/// What one node, or all of them, saw of a range of N.
struct Seen {
    int allocations = 0, failed = 0;
    std::string other_errors, broken;  ///< calls that failed with anything but ENOMEM; what kept the test from being done
    bool end = false;                  ///< more than there are allocations

    void add(const Seen& more) {
        allocations += more.allocations;
        failed += more.failed;
        other_errors += more.other_errors;
        broken += more.broken;
        end = end || more.end;
    }
};

Seen read_seen(const ProcessResult& result, int wanted) {
    Seen seen;
    std::istringstream lines(result.out);
    int nth = 0, error = 0, reached = 0, got = 0;
    while (lines >> nth >> error >> reached) {
        ++got;
        if (reached == 0) {
            seen.end = true;
            break;
        }
        ++seen.allocations;
        if (error != 0) ++seen.failed;
        if (error != 0 && error != enomem) seen.other_errors += fmt::format("errno {} at allocation {}\n", error, nth);
    }
    if (!result.done() || (!seen.end && got != wanted)) seen.broken = result.evidence();
    return seen;
}

/// Every N once, each by one of the nodes; they take ranges until one has seen the end.
Seen fail_each(Test& test, const std::string& verb, const Subject& subject, const NodeIds& nodes) {
    std::atomic<int> next{1}, done{0};
    std::atomic<bool> over{false};
    auto work = [&](int node) {
        Seen seen;
        while (!over && seen.broken.empty()) {
            const int from = next.fetch_add(nth_at_once);
            if (from > nth_max) break;
            const std::string script = fmt::format("krg-fail-nth {} {} {} {} {}", verb, subject.file(), subject.name, from,
                                                   from + nth_at_once - 1);
            seen.add(read_seen(test.cluster.shell(node, script, 60), nth_at_once));
            done += nth_at_once;
            if (seen.end || !seen.broken.empty()) over = true;
        }
        return seen;
    };
    std::vector<std::future<Seen>> workers;
    for (int node : nodes) workers.push_back(std::async(std::launch::async, work, node));
    Seen all;
    for (auto& worker : workers) {
        while (worker.wait_for(say_every) != std::future_status::ready)
            test.report.note(fmt::format("{}: {} allocations have failed", verb, done.load()));
        all.add(worker.get());
    }
    return all;
}

void check_seen(Test& test, const Seen& seen, const std::string& what) {
    test.report.require(seen.broken.empty(), fmt::format("{}, with every single allocation failing once, ends", what),
                        seen.broken);
    test.report.note(fmt::format("{}: {} allocations, the call failed for {}", what, seen.allocations, seen.failed));
    test.report.check(seen.end && seen.allocations > 0, fmt::format("{}: to the last allocation", what),
                      fmt::format("{} of at most {}", seen.allocations, nth_max));
    test.report.check(seen.other_errors.empty(), fmt::format("{}: the error is always ENOMEM", what), seen.other_errors);
}

void load_and_unload(Test& test, const Subject& subject) {
    const NodeIds nodes = running(test);
    for (int node : nodes)
        require_done(test, node, fmt::format("{}; cp {} {}", prepare, module_file(test, subject.name), subject.file()),
                     fmt::format("fault injection is set up on node {}", node));
    const Seen load = fail_each(test, "load", subject, nodes);
    check_seen(test, load, "loading");
    test.report.check(load.failed > 5 && load.allocations > load.failed, "some are needed to load, some are not",
                      fmt::format("{} of {}", load.failed, load.allocations));
    // Too few to share: nobody would see the end of another's range.
    const Seen unload = fail_each(test, "unload", subject, {*nodes.begin()});
    check_seen(test, unload, "unloading");
    test.report.check(unload.failed == 0, "unloading needs none of its allocations", fmt::format("{} needed", unload.failed));
    for (int node : nodes) {
        require_done(test, node, "insmod " + module_file(test, subject.name),
                     fmt::format("afterwards the module loads on node {}", node));
        require_done(test, node, fmt::format("rmmod {}", subject.name), fmt::format("and unloads on node {}", node));
    }
}

void scenario_load(Test& test) { load_and_unload(test, {"kerrighed"}); }

void scenario_load_hadsm(Test& test) {
    for (int node : running(test)) require_done(test, node, "insmod " + module_file(test), "kerrighed is there before");
    load_and_unload(test, {"hadsm"});
    for (int node : running(test)) require_done(test, node, "rmmod kerrighed", "and goes behind it");
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

// What does the work: the threads there are, and through kthreadd all that will be. Workers also start modprobe when the
// kernel asks for a module; it would inherit the mark, and a 9p client whose clunk fails leaves the server with a file number
// in use: every later open may get EINVAL. So the kernel starts none.
constexpr const char* mark_threads =
    "for comm in /proc/[0-9]*/comm; do read -r name <$comm 2>/dev/null; case $name in krg_*|kthreadd|kworker/u*) "
    "echo 1 >${comm%/comm}/make-it-fail 2>/dev/null ;; esac; done; true";

// And krgadm, only while its requests are carried out: with faults it could hardly be started.
ProcessResult marked(Test& test, int node, const std::string& command) {
    const std::string script = fmt::format("{}; exec env LD_PRELOAD={}/build/host/lib/libkrg-fail-send.so timeout 30 krgadm {}",
                                           mark_threads, test.options.top, command);
    return test.cluster.shell(node, script, 60);
}

std::string outcome(const ProcessResult& result) {
    std::string why = last_lines(result.err, 1);
    while (!why.empty() && why.back() == '\n') why.pop_back();
    return result.done() ? "worked" : fmt::format("exit status {} ({})", result.status, why);
}

void scenario_life(Test& test) {
    const NodeIds nodes = running(test);
    for (int node : nodes) {
        require_done(test, node, prepare, fmt::format("fault injection is set up on node {}", node));
        require_done(test, node, "modprobe tipc && echo >/proc/sys/kernel/modprobe && insmod " + module_file(test),
                     fmt::format("the module loads on node {}", node));
    }
    ProcessResult create = test.cluster.krgadm(1, {"cluster", "create"});
    test.report.require(create.done(), "node 1 creates a cluster", create.evidence());
    const NodeIds others = without(nodes, {2});
    for (int node : without(others, {1})) require_join(test, node, fmt::format("node {} joins it", node));
    // Once without faults: what the kernel's crypto makes once for all, it never makes again when that failed.
    require_join(test, 2, "node 2 joins it");
    (void)test.cluster.krgadm(2, {"cluster", "leave", "--wait=60"}, 100);
    int worked = 0, refused = 0;
    for (int round = 1; round <= test.options.rounds; ++round) {
        set_probability(test, {2}, 1 + round % 3);
        ProcessResult join = marked(test, 2, "cluster join --wait=20");
        ProcessResult leave = marked(test, 2, "cluster leave --wait=20");
        set_probability(test, {2}, 0);
        join.done() ? ++worked : ++refused;
        test.report.note(fmt::format("round {}: join {}, leave {}", round, outcome(join), outcome(leave)));
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
        require_view(test, nodes, fmt::format("round {}: and all have one view", round), 60);
        (void)test.cluster.krgadm(2, {"cluster", "leave", "--wait=60"}, 100);
    }
    test.report.note(fmt::format("{} joins worked under faults, {} ended with an error", worked, refused));
    for (int node : nodes) {
        (void)test.cluster.krgadm(node, {"cluster", "leave", "--wait=60"}, 100);
        require_done(test, node, "rmmod kerrighed", fmt::format("rmmod succeeds on node {}", node));
    }
}

/// The node's programs and threads lack memory, again and again. They are told, the others notice nothing.
void scenario_files(Test& test) {
    const NodeIds nodes = running(test);
    for (int node : nodes) {
        require_done(test, node, prepare, fmt::format("fault injection is set up on node {}", node));
        require_done(test, node,
                     fmt::format("modprobe tipc && echo >/proc/sys/kernel/modprobe && insmod {} && insmod {}",
                                 module_file(test), module_file(test, "hadsm")),
                     fmt::format("the modules load on node {}", node));
    }
    ProcessResult create = test.cluster.krgadm(1, {"cluster", "create"});
    test.report.require(create.done(), "node 1 creates a cluster", create.evidence());
    for (int node : without(nodes, {1})) require_join(test, node, fmt::format("node {} joins it", node));
    for (int node : nodes)
        require_done(test, node, "mkdir -p /run/files && mount -t hadsm -o name=files,replicas=2 none /run/files",
                     fmt::format("node {} mounts", node));
    for (int round = 1; round <= test.options.rounds; ++round) {
        const std::string dir = fmt::format("/run/files/{}", round), seed = std::to_string(test.random() % 1'000'000);
        require_done(test, 1, "mkdir " + dir, "node 1 makes " + dir);
        set_probability(test, {2}, 1 + round % 5);
        ProcessResult work = test.cluster.shell(2,
                                                fmt::format("{}; exec timeout 100 krg-fail-files work {} {} 150", mark_threads,
                                                            dir, seed),
                                                120);
        set_probability(test, {2}, 0);
        test.report.check(work.done(), fmt::format("round {}: each call works, or says that there is no memory", round),
                          work.evidence());
        test.report.note(work.out);
        for (int node : nodes) {
            ProcessResult look =
                test.cluster.shell(node, fmt::format("krg-fail-files look {} {} /run/files/{}.log", dir, seed, round), 120);
            test.report.check(look.done(), fmt::format("round {}: node {} finds what had worked", round, node),
                              look.evidence());
        }
    }
    for (int node : nodes) {
        require_done(test, node, "umount /run/files", fmt::format("node {} unmounts", node));
        (void)test.cluster.krgadm(node, {"cluster", "leave", "--wait=60"}, 100);
        require_done(test, node, "rmmod hadsm kerrighed", fmt::format("rmmod succeeds on node {}", node));
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
    defaults.nodes = 3;
    defaults.rounds = 10;
    // The kernel says so when pages are refused, whoever refused them. Everything else has a line of its own in front. And
    // kmemleak, when it was refused what would have told it where not to look; and the module, when it could not start.
    defaults.allowed_splats = {"out of memory", "call trace", "kmemleak scan area", "cannot start",
                               "no memory for trace events"};
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    const std::vector<Scenario> scenarios{
        {"load", "every allocation of loading and unloading fails once", scenario_load},
        {"hadsm-load", "the same with hadsm.ko", scenario_load_hadsm},
        {"hadsm-files", "allocations fail while programs use files of the cluster", scenario_files},
        {"life", "allocations fail at random while a node joins and leaves", scenario_life},
    };
    ClusterOptions cluster = cluster_for(options, "allocfail");
    cluster.load = false;
    return run_driver(options, scenarios, cluster);
}
