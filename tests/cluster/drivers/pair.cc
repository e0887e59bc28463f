// SPDX-License-Identifier: GPL-2.0
//
// test_pair: two nodes on two links. A link that dies loses nothing; without a witness half a cluster refuses to guess; with
// one, one half goes on; and the cluster is switched off as a whole.
#include "scenarios.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

const NodeIds both{1, 2};

std::uint64_t counter(Test& test, int node, const std::string& name) {
    ProcessResult result = test.cluster.krgadm(node, {"--json", "stats", name});
    Json json = Json::parse(result.out, nullptr, false);
    std::uint64_t sum = 0;
    if (!result.done() || json.is_discarded()) throw ClusterError("krgadm stats: " + result.evidence());
    for (const auto& entry : json.at("stats")) sum += entry.at("value").get<std::uint64_t>();
    return sum;
}

void scenario_link_dies(Test& test) {
    NodeStatus view = require_view(test, both, "two nodes on two links serve");
    const std::uint64_t resets = counter(test, 1, "resets");
    for (int link : {1, 2}) {
        test.cluster.cut(1, 2, false, link);
        // Several times the link tolerance and the time after which a silent member is suspected.
        for (int i = 0; i < 6; ++i) {
            sleep_s(1);
            require_same_view(test, both, view, fmt::format("link {} is dead since {} s: the view stays", link, i + 1));
        }
        test.cluster.heal();
        sleep_s(test.cluster.limit(4));
        require_same_view(test, both, view, fmt::format("link {} is back: the view stays", link));
    }
    const std::uint64_t resets_now = counter(test, 1, "resets");
    test.report.check(resets_now == resets, "no connection was reset: nothing in flight was lost",
                      fmt::format("{} resets before, {} after", resets, resets_now));
}

void scenario_no_witness(Test& test) {
    NodeStatus view = require_view(test, both, "both serve");
    test.cluster.cut(1, 2);
    for (int node : both)
        require_state(test, node, {"suspended"}, fmt::format("cut in two halves, node {} suspends itself", node), 20);
    check_refused(test, 1, {"node", "evict", "2"}, 6, "quorum", "evicting needs a quorum (exit status 6)");
    sleep_s(test.cluster.limit(5));
    for (const auto& [node, status] : test.cluster.status(both))
        test.report.check(status.state == "suspended", fmt::format("node {} goes on refusing to guess", node), status.text());
    test.cluster.heal();
    NodeStatus after = require_view(test, both, "healed, both serve again");
    test.report.check(after.cluster_id == view.cluster_id, "in the same cluster");
    test.cluster.crash(2);
    require_state(test, 1, {"suspended"}, "node 2 crashes: node 1 suspends itself", 20);
    // Its vote is gone for good: only somebody who knows that it is dead can let node 1 go on.
    check_refused(test, 1, {"cluster", "recover"}, 7, "force", "going on without it needs the operator's word (exit status 7)");
    ProcessResult recover = test.cluster.krgadm(1, {"--force", "cluster", "recover", "--wait=60"}, 100);
    test.report.require(recover.done(), "krgadm --force cluster recover: node 1 goes on alone", recover.evidence());
    require_view(test, {1}, "and serves", 30);
    test.cluster.boot(2);
    require_view(test, both, "node 2 boots: a member again", 90);
}

void scenario_witness(Test& test) {
    require_view(test, both, "both serve");
    for (int node : {2, 1}) {
        ProcessResult left = test.cluster.krgadm(node, {"cluster", "leave", "--wait=60"}, 100);
        test.report.require(left.done(), fmt::format("node {} leaves", node), left.evidence());
    }
    ProcessResult create = test.cluster.krgadm(1, {"cluster", "create", "--witness", "/shared/witness"});
    test.report.require(create.done(), "a cluster with a witness file is created", create.evidence());
    ProcessResult join = test.cluster.krgadm(2, {"cluster", "join", "--witness", "/shared/witness", "--wait=60"}, 100);
    test.report.require(join.done(), "node 2 joins it", join.evidence());
    require_view(test, both, "both serve");
    test.cluster.cut(1, 2);
    std::map<int, NodeStatus> status;
    std::string missing = wait_until("exactly one of them goes on alone", test.cluster.limit(30), [&] {
        status = test.cluster.status(both);
        int alone = 0, idle = 0;
        for (const auto& [node, one] : status) {
            alone += one.state == "serving" && one.members == NodeIds{node};
            idle += one.state != "serving";
        }
        return alone == 1 && idle == 1 ? std::string() : fmt::format("1: {}\n2: {}", status[1].text(), status[2].text());
    });
    test.report.require(missing.empty(), "cut in two: exactly one goes on alone", missing);
    test.cluster.heal();
    require_view(test, both, "healed, the other one comes back", 90);
    test.cluster.crash(1);
    require_view(test, {2}, "node 1 crashes: node 2 goes on alone", 30);
    test.cluster.boot(1);
    require_view(test, both, "node 1 boots: a member again", 90);
}

int boots_of(const Json& machines, int node) {
    for (const auto& one : machines.at("nodes"))
        if (one.at("id") == node) return one.at("boots");
    return 0;
}

// The nodes go down one after the other: whoever is back first finds members of the old cluster still, or nobody.
void scenario_reboot(Test& test) {
    require_view(test, both, "both serve");
    const std::string before = test.cluster.status(1).cluster_id;
    const Json machines = test.cluster.machines();
    ProcessResult result = test.cluster.krgadm(2, {"--yes", "cluster", "reboot"});
    test.report.require(result.done(), "krgadm cluster reboot is accepted", result.evidence());
    std::string missing = wait_until("every machine started again", test.cluster.limit(60), [&] {
        const Json now = test.cluster.machines();
        for (int node : both)
            if (boots_of(now, node) != boots_of(machines, node) + 1) return fmt::format("node {} has not", node);
        return std::string();
    });
    test.report.require(missing.empty(), "every machine starts again, once", missing);
    require_view(test, both, "and they form a cluster", 90);
    test.report.check(test.cluster.status(1).cluster_id != before, "a new one");
}

void switch_off(Test& test) {
    const NodeIds nodes = running(test);
    ProcessResult result = test.cluster.krgadm(*nodes.begin(), {"--yes", "cluster", "poweroff"});
    test.report.require(result.done(), "krgadm cluster poweroff is accepted", result.evidence());
    std::string missing = wait_until("every machine off", test.cluster.limit(60), [&] {
        NodeIds still = running(test);
        return still.empty() ? std::string() : fmt::format("running: {}", to_text(still));
    });
    test.report.check(missing.empty(), "every machine is switched off", missing);
    for (int node : nodes) {
        const std::string serial = test.cluster.log(node);
        test.report.check(serial.find("Kernel panic") == std::string::npos, fmt::format("node {} went down in order", node),
                          last_lines(serial, 20));
    }
}

void scenario_poweroff(Test& test) {
    require_view(test, both, "both serve");
    check_kernel_logs(test);
    switch_off(test);
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_pair";
    defaults.what = "Two nodes, two links, with and without a witness";
    defaults.nodes = 2;
    defaults.links = 2;
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    const std::vector<Scenario> scenarios{
        {"link-dies", "one of two links dies, then the other: nothing is lost", scenario_link_dies},
        {"no-witness", "without a witness, half a cluster does not serve", scenario_no_witness},
        {"witness", "with a witness file, one half goes on", scenario_witness},
        {"reboot", "krgadm cluster reboot restarts every machine, and they form a cluster again", scenario_reboot},
        {"poweroff", "krgadm cluster poweroff switches every machine off", scenario_poweroff},
    };
    return run_driver(options, scenarios, cluster_for(options, "pair"));
}
