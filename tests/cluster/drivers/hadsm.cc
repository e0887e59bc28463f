// SPDX-License-Identifier: GPL-2.0
//
// test_hadsm: memory shared by three nodes. One file mapped on all of them is coherent for programs that know nothing of the
// cluster, with one copy of a page and with two; what survivors saw outlives a node; and everything can be taken down.
#include "steps.hh"

#include <fmt/format.h>
#include <future>

namespace krg::cluster_test {

namespace {

constexpr const char* volatile_dir = "/run/krg-one";
constexpr const char* durable_dir = "/run/krg-two";

ProcessResult mount(Test& test, int node, const std::string& dir, const std::string& options) {
    return test.cluster.shell(node, fmt::format("mkdir -p {} && mount -t hadsm -o {} none {}", dir, options, dir), 60);
}

void require_load(Test& test, int node) {
    ProcessResult load = test.cluster.shell(node, fmt::format("insmod {}/build/$(uname -r)/hadsm.ko", test.options.top));
    test.report.require(load.done(), fmt::format("hadsm.ko loads on node {}", node), load.evidence());
}

void require_mount(Test& test, int node, const std::string& dir, const std::string& options) {
    ProcessResult done = mount(test, node, dir, options);
    test.report.require(done.done(), fmt::format("node {} mounts {}", node, options), done.evidence());
}

/// The guest's program that does one check; see tests/guest/shared_memory.cc.
ProcessResult check(Test& test, int node, const std::vector<std::string>& words, double timeout_s = 100) {
    std::vector<std::string> command{test.options.top + "/build/host/bin/krg-shared-memory"};
    command.insert(command.end(), words.begin(), words.end());
    return test.cluster.exec(node, command, test.cluster.limit(timeout_s));
}

void holds(Test& test, int node, const std::vector<std::string>& words, const std::string& sentence) {
    ProcessResult result = check(test, node, words);
    test.report.check(result.done(), fmt::format("node {}: {}", node, sentence), result.evidence());
}

/// The same check on all nodes at once; `{}` in a word is the node's place among them, from 0.
void all_at_once(Test& test, const NodeIds& nodes, const std::vector<std::string>& words, const std::string& sentence) {
    std::vector<std::pair<int, std::future<ProcessResult>>> running;
    int place = 0;
    for (int node : nodes) {
        std::vector<std::string> mine = words;
        for (auto& word : mine)
            if (word == "{}") word = std::to_string(place);
        place++;
        running.emplace_back(node, std::async(std::launch::async, [&test, node, mine] { return check(test, node, mine); }));
    }
    for (auto& [node, future] : running) {
        ProcessResult result = future.get();
        test.report.check(result.done(), fmt::format("{}, as node {} sees it", sentence, node), result.evidence());
    }
}

std::string statistics(Test& test) {
    std::string text;
    for (int node : running(test)) text += test.cluster.shell(node, "cat /proc/kerrighed/containers").out;
    return text;
}

void check_coherence(Test& test, const std::string& dir) {
    const NodeIds nodes = running(test);
    const std::string players = std::to_string(nodes.size());
    const std::string a = dir + "/a1", b = dir + "/b", c = dir + "/c0ffee";
    for (int node : nodes) holds(test, node, {"zeros", a, "0", "16384"}, "nobody wrote there: zeros");
    holds(test, 1, {"write", a, "4090", "written by one"}, "write() across a page's border");
    holds(test, 2, {"expect", a, "4090", "written by one"}, "what node 1 wrote is in memory and in read()");
    holds(test, 3, {"store", a, "8192", "stored by three"}, "a store through a mapping");
    for (int node : nodes) holds(test, node, {"expect", a, "8192", "stored by three"}, "what node 3 stored is there");
    holds(test, 2, {"private", a, "8192", "stored by three"}, "a private mapping keeps its writes to itself");
    holds(test, 1, {"expect", a, "8192", "stored by three"}, "and nobody else saw them");
    all_at_once(test, nodes, {"ping-pong", b, "{}", players, "30"}, "one word goes round");
    all_at_once(test, nodes, {"side-by-side", b, "{}", players, "100"}, "words side by side in one page");
    all_at_once(test, nodes, {"add", c, "4", "50"}, "everybody adds to four pages");
    for (int node : nodes) holds(test, node, {"sums", c, "4", std::to_string(nodes.size() * 50)}, "no addition was lost");
    holds(test, 1, {"sync", c}, "fsync()");
}

void scenario_refused(Test& test) {
    require_view(test, running(test), "all serve");
    for (int node : running(test)) require_load(test, node);
    for (const char* options : {"replicas=2", "name=a/b", "name=x,replicas=0", "name=x,replicas=5", "name=x,size=1"}) {
        ProcessResult result = mount(test, 1, volatile_dir, options);
        test.report.check(!result.done(), fmt::format("mount -o {} is refused", options), result.evidence());
    }
    for (int node : running(test)) {
        require_mount(test, node, volatile_dir, "name=shm");
        require_mount(test, node, durable_dir, "name=shm,replicas=2");
    }
    const std::string dir = volatile_dir;
    for (const std::string& command :
         {"dd if=/dev/zero of=" + dir + "/d bs=4096 count=1 oflag=direct",
          "echo abc >" + dir + "/e; fallocate -c -l 4096 " + dir + "/e", "mount -o remount,replicas=3 " + dir}) {
        ProcessResult result = test.cluster.shell(1, command);
        test.report.check(!result.done() && !result.err.empty(), fmt::format("refused: {}", command), result.evidence());
    }
}

void scenario_volatile(Test& test) {
    check_coherence(test, volatile_dir);
    test.report.note(statistics(test));
}

void scenario_durable(Test& test) {
    check_coherence(test, durable_dir);
    const std::string file = std::string(durable_dir) + "/d";
    holds(test, 1, {"zeros", file, "0", "4096"}, "the same name with other options is other memory");
    test.report.note(statistics(test));
}

void scenario_crash(Test& test) {
    const std::string file = std::string(durable_dir) + "/e", counter = std::string(durable_dir) + "/b";
    const NodeIds all = running(test);
    holds(test, 3, {"store", file, "0", "the last words of three"}, "stores something");
    holds(test, 1, {"expect", file, "0", "the last words of three"}, "sees it");
    holds(test, 3, {"write", file, "40960", "and these were synced"}, "writes something else");
    holds(test, 3, {"sync", file}, "fsync()");
    test.cluster.crash(3);
    require_view(test, {1, 2}, "node 3 crashes: the others go on", 60);
    for (int node : {2, 1}) {
        holds(test, node, {"expect", file, "0", "the last words of three"}, "what a survivor saw is there");
        holds(test, node, {"expect", file, "40960", "and these were synced"}, "what was synced is there");
    }
    all_at_once(test, {1, 2}, {"ping-pong", std::string(durable_dir) + "/f", "{}", "2", "30"}, "two nodes go on sharing");
    test.cluster.boot(3);
    require_view(test, all, "node 3 boots: a member again", 90);
    require_load(test, 3);
    require_view(test, all, "with hadsm.ko", 60);
    require_mount(test, 3, durable_dir, "name=shm,replicas=2");
    require_mount(test, 3, volatile_dir, "name=shm");
    holds(test, 3, {"expect", file, "0", "the last words of three"}, "a new life of node 3 finds what the old one left");
    all_at_once(test, all, {"ping-pong", std::string(durable_dir) + "/1f", "{}", "3", "20"}, "three nodes share again");
    test.report.note(statistics(test));
}

/// Each of the others has given everything to the last one when it is gone.
void scenario_take_down(Test& test) {
    const NodeIds all = running(test);
    const std::string file = std::string(volatile_dir) + "/77";
    for (int node : all)
        holds(test, node, {"write", file, std::to_string(4096 * node), fmt::format("kept for node {}", node)},
              "writes one page");
    for (int node : {3, 2}) {
        ProcessResult gone = test.cluster.shell(node, fmt::format("umount {} && umount {}", volatile_dir, durable_dir));
        test.report.check(gone.done(), fmt::format("node {} unmounts", node), gone.evidence());
        gone = test.cluster.krgadm(node, {"cluster", "leave", "--wait=60"}, 100);
        test.report.check(gone.done(), fmt::format("node {} leaves", node), gone.evidence());
    }
    for (int node : all)
        holds(test, 1, {"expect", file, std::to_string(4096 * node), fmt::format("kept for node {}", node)},
              fmt::format("what node {} wrote last is here, though there was one copy", node));
    ProcessResult gone = test.cluster.shell(1, fmt::format("umount {} && umount {}", volatile_dir, durable_dir));
    test.report.check(gone.done(), "node 1 unmounts", gone.evidence());
    gone = test.cluster.shell(1, "rmmod hadsm");
    test.report.check(!gone.done(), "hadsm.ko stays while node 1 is a member: its copies are the only ones", gone.evidence());
    gone = test.cluster.krgadm(1, {"cluster", "leave", "--wait=60"}, 100);
    test.report.check(gone.done(), "node 1 leaves", gone.evidence());
    for (int node : all) {
        gone = test.cluster.shell(node, "rmmod hadsm && rmmod kerrighed");
        test.report.check(gone.done(), fmt::format("both modules go on node {}", node), gone.evidence());
    }
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_hadsm";
    defaults.what = "Three nodes share memory: coherence, a crash with two copies, taking down";
    defaults.nodes = 3;
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    const std::vector<Scenario> scenarios{
        {"refused", "the module loads; what is not supported is refused", scenario_refused},
        {"volatile", "one copy: coherent on all nodes", scenario_volatile},
        {"durable", "two copies: coherent on all nodes", scenario_durable},
        {"crash", "two copies: what a survivor saw outlives a node", scenario_crash},
        {"take-down", "nodes leave one by one and lose nothing; the modules go", scenario_take_down},
    };
    return run_driver(options, scenarios, cluster_for(options, "hadsm"));
}
