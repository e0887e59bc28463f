// SPDX-License-Identifier: GPL-2.0
//
// Scenarios without faults: forming, reading, growing, leaving, eviction, unloading.
#include "scenarios.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

// A copy outside the checkout, whose folders a stranger may not be allowed to enter.
constexpr const char* as_nobody = "install -m 755 \"$(command -v krgadm)\" /tmp/krgadm && cd / && "
                                  "exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all /tmp/krgadm ";

ProcessResult krgadm_as_nobody(Test& test, int node, const std::string& arguments) {
    return test.cluster.shell(node, as_nobody + arguments);
}

void leave_all(Test& test, const NodeIds& nodes) {
    for (int node : nodes) {
        ProcessResult result = test.cluster.krgadm(node, {"cluster", "leave", "--wait=60"}, 100);
        test.report.check(result.done(), fmt::format("node {} leaves", node), result.evidence());
    }
}

// What is left of the module after it is gone.
constexpr const char* leftovers = "grep -E '^(kerrighed|krg_)' /proc/modules; ls -d /proc/kerrighed /sys/module/kerrighed "
                                  "/sys/kernel/debug/kerrighed 2>/dev/null; "
                                  "true";

void check_unload(Test& test, int node) {
    ProcessResult result = test.cluster.exec(node, {"rmmod", "kerrighed"}, 60);
    test.report.check(result.done(), fmt::format("rmmod succeeds on node {}", node), result.evidence());
    result = test.cluster.shell(node, leftovers);
    test.report.check(result.done() && result.out.empty(), fmt::format("nothing of the module is left on node {}", node),
                      result.evidence());
    result = test.cluster.krgadm(node, {"cluster", "status"});
    test.report.check(result.status == 3, fmt::format("krgadm on node {} says that nothing runs", node), result.evidence());
}

void reload(Test& test, int node) {
    const std::string script = fmt::format("insmod {}/build/$(uname -r)/kerrighed.ko", test.options.top);
    ProcessResult result = test.cluster.shell(node, script);
    test.report.require(result.done(), fmt::format("the module loads a second time on node {}", node), result.evidence());
}

}  // namespace

void scenario_form(Test& test) {
    const NodeIds nodes = running(test);
    NodeStatus view = require_view(test, nodes, fmt::format("nodes {} serve in one view", to_text(nodes)));
    for (int node : nodes) {
        ProcessResult proc = test.cluster.shell(node, "cat /proc/kerrighed/view");
        test.report.check(proc.out.find("state serving\n") != std::string::npos &&
                              proc.out.find(fmt::format("epoch {}\n", view.epoch)) != std::string::npos,
                          fmt::format("/proc/kerrighed/view of node {} says the same", node), proc.evidence());
    }
    ProcessResult list = test.cluster.krgadm(1, {"--json", "node", "list"});
    Json json = Json::parse(list.out, nullptr, false);
    test.report.check(list.done() && json.is_object() && json.at("nodes").size() == nodes.size(),
                      "krgadm node list has them all", list.evidence());
    ProcessResult health = test.cluster.krgadm(1, {"health"});
    test.report.check(health.done(), "krgadm health finds nothing wrong", health.evidence());
}

void scenario_unprivileged(Test& test) {
    NodeStatus view = require_view(test, running(test), "all serve before");
    for (const char* verb :
         {"--json cluster status", "node list", "node show 2", "link", "stats", "monitor --limit 0 --help"}) {
        ProcessResult result = krgadm_as_nobody(test, 1, verb);
        test.report.check(result.done(), fmt::format("nobody may: krgadm {}", verb), result.evidence());
    }
    for (const char* verb : {"cluster leave", "node evict 2", "node drain 2", "--force cluster recover",
                             "--yes cluster poweroff", "--yes cluster reboot"}) {
        ProcessResult result = krgadm_as_nobody(test, 1, verb);
        test.report.check(result.status == 4 && !result.err.empty(),
                          fmt::format("nobody may not: krgadm {} (exit status 4)", verb), result.evidence());
    }
    require_same_view(test, running(test), view, "and nothing has changed");
}

void scenario_rmmod_refused(Test& test) {
    NodeStatus view = require_view(test, running(test), "all serve before");
    ProcessResult result = test.cluster.exec(2, {"rmmod", "kerrighed"});
    test.report.check(!result.done() && result.err.find("in use") != std::string::npos,
                      "rmmod on a member is refused with the reason", result.evidence());
    require_same_view(test, running(test), view, "and nothing has changed");
}

void scenario_grow(Test& test) {
    NodeIds nodes = running(test);
    NodeStatus before = require_view(test, nodes, "all serve before");
    const int added = *nodes.rbegin() + 1;
    test.cluster.boot(added);
    nodes.insert(added);
    NodeStatus after = require_view(test, nodes, fmt::format("node {} is a member on all nodes", added));
    test.report.check(after.epoch == before.epoch + 1, "it took exactly one new view",
                      fmt::format("epoch {} became {}", before.epoch, after.epoch));
    test.report.check(after.cluster_id == before.cluster_id, "of the same cluster");
}

void scenario_leave(Test& test) {
    const NodeIds nodes = running(test);
    const int leaver = *nodes.rbegin();
    NodeStatus before = require_view(test, nodes, "all serve before");
    const std::string old_life = test.cluster.status(leaver).incarnation;
    EventListener events(test, 1);
    ProcessResult result = test.cluster.krgadm(leaver, {"cluster", "leave", "--wait=60"}, 100);
    test.report.require(result.done(), fmt::format("node {} leaves as planned", leaver), result.evidence());
    NodeStatus after = require_view(test, without(nodes, {leaver}), "the others go on without it");
    test.report.check(after.epoch > before.epoch && after.cluster_id == before.cluster_id,
                      "in a later view of the same cluster");
    std::string missing = events.wait_for({{"verb", "destroy"}, {"object", "node"}, {"id", leaver}, {"reason", "left"}});
    test.report.check(missing.empty(), "krgadm monitor on a member says that it left", missing);
    NodeStatus out = test.cluster.status(leaver);
    test.report.check(out.state == "out" && out.exit_status == 3, fmt::format("node {} knows it is out", leaver), out.text());
    check_refused(test, leaver, {"cluster", "leave"}, 3, "not in a cluster", "leaving a second time is refused");
    require_join(test, leaver, fmt::format("node {} joins again", leaver));
    require_view(test, nodes, "and all have the same view");
    const NodeStatus back = test.cluster.status(leaver);
    test.report.check(back.incarnation != old_life, "it is a new incarnation", back.text());
}

void scenario_evict(Test& test) {
    const NodeIds nodes = running(test);
    const int target = *nodes.rbegin();
    require_view(test, nodes, "all serve before");
    check_refused(test, 1, {"node", "evict", "99"}, 8, "99", "evicting a node that is none is refused (exit status 8)");
    EventListener events(test, 2);
    ProcessResult result = test.cluster.krgadm(1, {"node", "evict", std::to_string(target), "--wait=60"}, 100);
    test.report.require(result.done(), fmt::format("node {} is evicted", target), result.evidence());
    NodeStatus view = require_view(test, without(nodes, {target}), "the others go on without it");
    std::string missing = events.wait_for({{"verb", "destroy"}, {"object", "node"}, {"id", target}, {"reason", "evicted"}});
    test.report.check(missing.empty(), "krgadm monitor on another member says that it was evicted", missing);
    NodeStatus out = require_state(test, target, {"out"}, fmt::format("node {} has learned it", target));
    test.report.check(out.last_reason == "evicted", "and knows why", out.text());
    sleep_s(test.cluster.limit(8));
    out = test.cluster.status(target);
    test.report.check(out.state == "out", "it does not come back by itself", out.text());
    require_same_view(test, without(nodes, {target}), view, "and the view of the others stays");
    require_join(test, target, "told to join, it does");
    require_view(test, nodes, "and all have the same view");
}

void scenario_unload(Test& test) {
    const NodeIds nodes = running(test);
    const std::string old_life = require_view(test, nodes, "all serve before").cluster_id;
    leave_all(test, nodes);
    for (int node : nodes) check_unload(test, node);
    if (test.cluster.has_debug_kernel()) check_kernel_logs(test);
    for (int node : nodes) reload(test, node);
    ProcessResult result = test.cluster.krgadm(*nodes.begin(), {"cluster", "create"});
    test.report.require(result.done(), "a new cluster is created", result.evidence());
    for (int node : without(nodes, {*nodes.begin()})) require_join(test, node, fmt::format("node {} joins it", node));
    NodeStatus view = require_view(test, nodes, "all serve in it");
    test.report.check(view.cluster_id != old_life, "it is another life of the cluster");
    leave_all(test, nodes);
    for (int node : nodes) check_unload(test, node);
}

}  // namespace krg::cluster_test
