// SPDX-License-Identifier: GPL-2.0
//
// test_control: the control plane on a real cluster. Malformed netlink is refused and changes nothing; every TIPC frame on the
// links is encrypted from the first; configuration comes out as it goes in; events, status and /proc agree.
#include "scenarios.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

std::string guest_program(const Test& test, const char* name) { return test.options.top + "/build/host/bin/" + name; }

void scenario_malformed_netlink(Test& test) {
    const NodeIds nodes = running(test);
    const NodeStatus view = require_view(test, nodes, "all serve");
    const ProcessResult abuse = test.cluster.exec(1, {guest_program(test, "krg-netlink-abuse")});
    test.report.check(abuse.done(), "every malformed request is refused, with its reason", abuse.evidence());
    require_same_view(test, nodes, view, "and the cluster is undisturbed");
}

void scenario_encrypted(Test& test) {
    const NodeIds nodes = running(test);
    const int joiner = *nodes.rbegin();
    require_view(test, nodes, "all serve");
    ProcessResult left = test.cluster.krgadm(joiner, {"cluster", "leave", "--wait=60"}, 100);
    test.report.require(left.done(), fmt::format("node {} leaves, to join under observation", joiner), left.evidence());
    // A fresh tipc module: the very first frames count too.
    left = test.cluster.shell(joiner, "modprobe -r tipc && modprobe tipc");
    test.report.require(left.done(), "its TIPC is loaded afresh", left.evidence());
    const std::string tap = guest_program(test, "krg-wiretap");
    const ProcessResult heard =
        test.cluster.shell(joiner,
                           fmt::format("{} eth1 20 >/run/tap & sleep 1; krgadm cluster join --wait >&2 && wait && cat /run/tap",
                                       tap),
                           120);
    const Json counts = Json::parse(heard.out, nullptr, false);
    test.report.require(heard.done() && counts.is_object(), "it joins, watched on eth1", heard.evidence());
    test.report.check(counts.at("encrypted").get<int>() > 20, "encrypted TIPC frames pass the link", heard.evidence());
    test.report.check(counts.at("plaintext").get<int>() == 0, "and not one that is not encrypted", heard.evidence());
    require_view(test, nodes, "all serve again");
}

void scenario_configuration(Test& test) {
    require_view(test, running(test), "all serve");
    const ProcessResult same = test.cluster.shell(1, "krgadm cluster showconf >/run/a.conf && "
                                                     "krgadm --config /run/b.conf cluster apply /run/a.conf && "
                                                     "krgadm --config /run/b.conf cluster showconf | cmp /run/a.conf -");
    test.report.check(same.done(), "what showconf prints, apply takes, and showconf prints again", same.evidence());
    const ProcessResult other =
        test.cluster.shell(1, "sed s/^id.*/id=77/ /run/a.conf >/run/c.conf && krgadm cluster apply /run/c.conf");
    test.report.check(other.status == 7, "a member's id cannot be changed under it (exit status 7)", other.evidence());
}

void scenario_pictures_agree(Test& test) {
    const NodeIds nodes = running(test);
    const NodeStatus view = require_view(test, nodes, "all serve");
    const ProcessResult proc = test.cluster.shell(1, "cat /proc/kerrighed/view");
    test.report.check(proc.done() && proc.out.find(fmt::format("\nepoch {}\n", view.epoch)) != std::string::npos &&
                          proc.out.find("\nmembers 1 2") != std::string::npos,
                      "/proc/kerrighed/view shows the same epoch and members", proc.evidence());
    const ProcessResult lines = test.cluster.shell(1, "grep -c member /proc/kerrighed/nodes; grep -c . /proc/kerrighed/stats");
    test.report.check(lines.done() && lines.out.rfind(fmt::format("{}\n", nodes.size()), 0) == 0,
                      "/proc/kerrighed/nodes has a line for each member", lines.evidence());

    EventListener events(test, 1);
    const int leaver = *nodes.rbegin();
    const ProcessResult drained = test.cluster.krgadm(1, {"node", "drain", std::to_string(leaver), "--wait"}, 100);
    test.report.require(drained.done(), fmt::format("node {} is drained from node 1", leaver), drained.evidence());
    std::string missing = events.wait_for({{"verb", "destroy"}, {"object", "node"}, {"id", leaver}, {"reason", "left"}}, 20);
    test.report.check(missing.empty(), "krgadm monitor says that it left", missing);
    missing = events.wait_for({{"event", "view-commit"}, {"members", without(nodes, {leaver})}}, 20);
    test.report.check(missing.empty(), "and which members the new view has", missing);
    require_join(test, leaver, "it joins again");
    require_view(test, nodes, "all serve again");
}

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_control";
    defaults.what = "Netlink, krgadm and the TIPC set-up on a running cluster";
    defaults.nodes = 3;
    const DriverOptions options = read_options(argc, argv, defaults);
    return run_driver(options,
                      {{"malformed-netlink", "each malformed request is refused with its reason", scenario_malformed_netlink},
                       {"encrypted-links", "every TIPC frame is encrypted from the first", scenario_encrypted},
                       {"configuration", "showconf is apply's input", scenario_configuration},
                       {"pictures-agree", "status, /proc and events say the same", scenario_pictures_agree}},
                      cluster_for(options, "control"));
}
