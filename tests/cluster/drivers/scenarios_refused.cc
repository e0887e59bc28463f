// SPDX-License-Identifier: GPL-2.0
//
// Who may not join: each refusal with its reason on both sides, and the running cluster undisturbed.
#include "scenarios.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

struct Refusal {
    const char* sentence;
    std::vector<std::string> join;   ///< arguments of krgadm
    const char* said_to_joiner;      ///< in krgadm's error
    const char* reason_for_members;  ///< of the peer-refused event on a member; nullptr: members cannot know
    const char* in_member_log;       ///< in the kernel log of a member
};

void check_refusal(Test& test, int joiner, const NodeIds& members, const NodeStatus& view, const Refusal& refusal) {
    EventListener events(test, *members.begin());
    std::vector<std::string> arguments{"cluster", "join", "--wait=30"};
    arguments.insert(arguments.end(), refusal.join.begin(), refusal.join.end());
    const size_t log_before = test.cluster.log(*members.begin()).size();
    check_refused(test, joiner, arguments, 1, refusal.said_to_joiner,
                  fmt::format("{}: refused, and the joiner is told why", refusal.sentence));
    if (refusal.reason_for_members != nullptr) {
        std::string missing = events.wait_for({{"event", "peer-refused"}, {"reason", refusal.reason_for_members}}, 10);
        test.report.check(missing.empty(), fmt::format("{}: krgadm monitor on a member says so", refusal.sentence), missing);
        std::string log;
        missing = wait_until("the member's kernel log says so", test.cluster.limit(10), [&] {
            log = test.cluster.log(*members.begin()).substr(log_before);
            return log.find(refusal.in_member_log) == std::string::npos ? "only:\n" + last_lines(log, 20) : std::string();
        });
        test.report.check(missing.empty(), fmt::format("{}: and its kernel log", refusal.sentence), missing);
    }
    NodeStatus joiner_now = test.cluster.status(joiner);
    test.report.check(joiner_now.state == "out", fmt::format("{}: the joiner is out", refusal.sentence), joiner_now.text());
    require_same_view(test, members, view, fmt::format("{}: the running cluster is undisturbed", refusal.sentence));
}

}  // namespace

void scenario_refused_joins(Test& test) {
    const NodeIds nodes = running(test);
    const int joiner = *nodes.rbegin();
    const NodeIds members = without(nodes, {joiner});
    require_view(test, nodes, "all serve before");
    ProcessResult left = test.cluster.krgadm(joiner, {"cluster", "leave", "--wait=60"}, 100);
    test.report.require(left.done(), fmt::format("node {} leaves, to be the one who asks", joiner), left.evidence());
    NodeStatus view = require_view(test, members, "the others go on");

    ProcessResult key = test.cluster.shell(joiner, "umask 077; head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n' "
                                                   ">/etc/kerrighed/other-key; echo >>/etc/kerrighed/other-key");
    test.report.require(key.done(), "another key is made", key.evidence());
    check_refusal(test, joiner, members, view,
                  {"wrong key", {"--key-file", "/etc/kerrighed/other-key"}, "cluster key", "key", "another cluster key"});
    check_refusal(test, joiner, members, view,
                  {"taken id", {"--node-id", std::to_string(*members.begin())}, "node id", "id-taken", "node id is taken"});
    check_refusal(test, joiner, members, view,
                  {"other cluster name", {"--name", "elsewhere"}, "only cluster", "cluster", "another cluster"});

    const std::string parameter = "/sys/module/kerrighed/parameters/test_version";
    ProcessResult version = test.cluster.shell(joiner, fmt::format("cat {0} >/run/version && echo 99 >{0}", parameter));
    test.report.require(version.done(), "a node of another protocol version is at hand", version.evidence());
    check_refusal(test, joiner, members, view,
                  {"other version", {}, "another protocol version", "version", "another protocol version"});
    version = test.cluster.shell(joiner, fmt::format("cat /run/version >{}", parameter));
    test.report.check(version.done(), "it gets its own version back", version.evidence());

    check_refused(test, joiner, {"cluster", "join", "--node-id", "127"}, 2, "127", "an id out of range is refused by krgadm");
    ProcessResult create = test.cluster.krgadm(joiner, {"cluster", "create"}, 60);
    test.report.check(create.status == 7, "creating a second cluster of the same name is refused (exit status 7)",
                      create.evidence());
    require_same_view(test, members, view, "the running cluster is undisturbed");
    require_join(test, joiner, "and with everything right, the same node joins");
    require_view(test, nodes, "all have the same view");
}

}  // namespace krg::cluster_test
