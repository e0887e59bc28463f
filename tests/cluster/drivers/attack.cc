// SPDX-License-Identifier: GPL-2.0
//
// test_attack: a machine on the wire that is not in the cluster and has no key sends garbage, plaintext TIPC, forged hellos and
// recorded frames (tests/guest/attack.cc). The cluster must go on as if nothing were there, and count it.
#include "steps.hh"
#include "tests/cluster/lib/driver.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

const NodeIds members{1, 2, 3};
constexpr int intruder = 4;

std::uint64_t counter(Test& test, int node, const std::string& name) {
    const ProcessResult result = test.cluster.krgadm(node, {"--json", "stats", name});
    const Json json = Json::parse(result.out, nullptr, false);
    if (!result.done() || json.is_discarded()) throw ClusterError("krgadm stats: " + result.evidence());
    std::uint64_t sum = 0;
    for (const auto& entry : json.at("stats")) sum += entry.at("value").get<std::uint64_t>();
    return sum;
}

void scenario_raw_frames(Test& test) {
    require_view(test, {1, 2, 3, intruder}, "four nodes serve", 120);
    ProcessResult left = test.cluster.krgadm(intruder, {"cluster", "leave", "--wait"}, 90);
    test.report.require(left.done(), "node 4 leaves, and is a stranger on the wire from here on", left.evidence());
    left = test.cluster.shell(intruder, "rmmod kerrighed && rmmod tipc; ip link set eth1 up", 30);
    const NodeStatus before = require_view(test, members, "three nodes serve without it");
    // Should the view change after all, the kernel's log says which session ended and why.
    for (int node : members)
        (void)test.cluster.shell(node, "mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug; "
                                       "echo 'module kerrighed +p' >/sys/kernel/debug/dynamic_debug/control");
    const std::uint64_t plaintext = counter(test, 1, "plaintext_dropped"), hellos = counter(test, 1, "bad_hellos");

    const std::string program = test.options.top + "/build/host/bin/krg-attack";
    const ProcessResult sent = test.cluster.exec(intruder, {program, "eth1", test.cluster.options().name, "300"}, 120);
    test.report.require(sent.done(), "the attack is sent", sent.evidence());
    test.report.note(sent.out);

    const NodeStatus after = require_view(test, members, "the three nodes serve still");
    test.report.check(after.epoch == before.epoch && after.cluster_id == before.cluster_id, "in the same view",
                      before.text() + "\n" + after.text());
    for (int node : members) {
        const NodeStatus status = test.cluster.status(node);
        test.report.check(!status.incarnation.empty() && status.members == members,
                          fmt::format("node {} kept its members", node), status.text());
    }
    const std::uint64_t plaintext_now = counter(test, 1, "plaintext_dropped"), hellos_now = counter(test, 1, "bad_hellos");
    test.report.check(plaintext_now >= plaintext + 300, "plaintext TIPC frames were dropped and counted",
                      fmt::format("{} before, {} after", plaintext, plaintext_now));
    test.report.check(hellos_now > hellos, "bad hello frames were counted",
                      fmt::format("{} before, {} after", hellos, hellos_now));
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_attack";
    defaults.what = "A machine without the key attacks a running cluster";
    defaults.nodes = 4;
    const DriverOptions options = read_options(argc, argv, defaults);
    return run_driver(options, {{"raw-frames", "garbage, plaintext TIPC, forged hellos, recorded frames", scenario_raw_frames}},
                      cluster_for(options, "attack"));
}
