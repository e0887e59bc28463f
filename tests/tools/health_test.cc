// SPDX-License-Identifier: GPL-2.0
// The health checks: each code has a picture that shows it, and a well cluster has none.
#include "tools/krgadm/health.hh"

#include <gtest/gtest.h>

#include "include/uapi/linux/kerrighed.h"
#include "tests/tools/pictures.hh"

namespace krg::test {
namespace {

LinkInfo good_link(const std::string& name) {
    LinkInfo link;
    link.name = name;
    link.present = link.running = link.filtering = link.bearer = true;
    return link;
}

Picture well(NodeId nodes) {
    Picture picture;
    picture.loaded = true;
    picture.cluster = blue(nodes, 5);
    for (NodeId id = 1; id <= nodes; id++) {
        NodeInfo node;
        node.id = id;
        node.member = node.reachable = true;
        node.self = id == 1;
        picture.nodes.push_back(node);
    }
    picture.links = {good_link("eth1")};
    return picture;
}

std::vector<std::string> codes(const Picture& picture) {
    std::vector<std::string> all;
    for (const auto& finding : judge(picture).findings) {
        EXPECT_FALSE(finding.summary.empty());
        EXPECT_FALSE(finding.action.empty()) << finding.code;
        all.push_back(finding.code);
    }
    return all;
}

using Codes = std::vector<std::string>;

const std::string container = "00000000000000aa name=two replicas=2";

TEST(Health, a_well_cluster_has_nothing_to_say) {
    EXPECT_EQ(codes(well(1)), Codes{});
    EXPECT_EQ(codes(well(3)), Codes{});
    EXPECT_EQ(judge(well(3)).status(), "OK");
}

TEST(Health, says_that_nothing_runs) { EXPECT_EQ(codes(Picture{}), Codes{"KRG_NOT_LOADED"}); }

TEST(Health, says_why_a_node_is_out) {
    Picture p;
    p.loaded = true;
    EXPECT_EQ(codes(p), Codes{"KRG_NOT_IN_CLUSTER"});
    p.cluster.last_reason = KRG_REASON_LEFT;
    EXPECT_EQ(codes(p), Codes{"KRG_NOT_IN_CLUSTER"});
    p.cluster.last_reason = KRG_REASON_LOST;
    EXPECT_EQ(codes(p), Codes{"KRG_EXPELLED"});
    p.cluster.last_reason = KRG_REASON_EVICTED;
    EXPECT_EQ(codes(p), Codes{"KRG_EXPELLED"});
    for (const auto reason : {KRG_REASON_VERSION, KRG_REASON_ID_TAKEN, KRG_REASON_TIMEOUT, KRG_REASON_KEY}) {
        p.cluster.last_reason = reason;
        EXPECT_EQ(codes(p), Codes{"KRG_JOIN_REFUSED"});
    }
    p.cluster.state = KRG_NODE_STATE_JOINING;
    EXPECT_EQ(codes(p), Codes{"KRG_JOINING"});
    p.cluster.state = KRG_NODE_STATE_FAILED;
    EXPECT_EQ(codes(p), Codes{"KRG_FAILED"});
}

TEST(Health, a_suspended_node_without_quorum_says_both_first) {
    Picture p = well(3);
    p.cluster.state = KRG_NODE_STATE_SUSPENDED;
    p.cluster.has_quorum = false;
    p.cluster.votes = 1;
    p.nodes[1].reachable = p.nodes[2].reachable = false;
    EXPECT_EQ(codes(p), (Codes{"KRG_SUSPENDED", "KRG_NO_QUORUM", "KRG_NODE_UNREACHABLE", "KRG_NODE_UNREACHABLE"}));
    EXPECT_EQ(judge(p).status(), "ERR");
}

TEST(Health, two_nodes_need_a_witness) {
    Picture p = well(2);
    EXPECT_EQ(codes(p), Codes{"KRG_TWO_NODES_NO_WITNESS"});
    EXPECT_EQ(judge(p).status(), "WARN");
    p.cluster.witness = true;
    EXPECT_EQ(codes(p), Codes{});
}

TEST(Health, a_lost_node_is_down_and_one_that_left_is_not) {
    Picture p = well(3);
    NodeInfo gone;
    gone.id = 4;
    gone.reason = KRG_REASON_LOST;
    gone.down_ms_ago = 161000;
    p.nodes.push_back(gone);
    EXPECT_EQ(codes(p), Codes{"KRG_NODE_DOWN"});
    EXPECT_EQ(judge(p).findings[0].summary, "node4 is down for 2m41s");
    p.nodes[3].reason = KRG_REASON_LEFT;
    EXPECT_EQ(codes(p), Codes{});
    p.nodes[3].reason = KRG_REASON_EVICTED;
    EXPECT_EQ(codes(p), Codes{});
    p.nodes[2].draining = true;
    EXPECT_EQ(codes(p), Codes{"KRG_NODE_DRAINING"});
}

TEST(Health, looks_at_every_link) {
    Picture p = well(3);
    p.links.push_back(good_link("eth2"));
    p.links[1].running = false;
    EXPECT_EQ(codes(p), Codes{"KRG_LINK_DOWN"});
    p.links[1].present = false;
    EXPECT_EQ(codes(p), Codes{"KRG_LINK_DOWN"});
    p.links[1] = good_link("eth2");
    p.links[1].bearer = false;
    EXPECT_EQ(codes(p), Codes{"KRG_LINK_NO_BEARER"});
    p.links[1] = good_link("eth2");
    p.links[1].filtering = false;
    p.links[1].plaintext_dropped = 3;
    p.links[0].hello_bad = 1;
    EXPECT_EQ(codes(p), (Codes{"KRG_LINK_UNPROTECTED", "KRG_BAD_HELLO", "KRG_PLAINTEXT_DROPPED"}));
}

TEST(Health, counts_bad_messages) {
    Picture p = well(3);
    StatsEntry entry;
    entry.name = "bad_messages";
    p.stats.push_back(entry);
    EXPECT_EQ(codes(p), Codes{});
    p.stats[0].value = 2;
    EXPECT_EQ(codes(p), Codes{"KRG_BAD_MESSAGES"});
}

TEST(Health, says_which_container_lost_how_many_pages) {
    Picture p = well(3);
    p.containers = parse_containers("node=1 " + container + " lost=0 degraded=0\nnode=2 " + container +
                                    " lost=3\nnode=3 00000000000000ab name=one replicas=1 lost=0\n");
    EXPECT_EQ(codes(p), Codes{"KRG_PAGES_LOST"});
    const Health health = judge(p);
    EXPECT_EQ(health.status(), "ERR");
    EXPECT_EQ(health.findings[0].summary, "container 00000000000000aa (two) has lost 3 pages");
    EXPECT_EQ(health.findings[0].evidence, (std::vector<std::string>{"node 2: 3 pages of which nobody has a copy"}));
}

TEST(Health, says_how_far_replication_is) {
    Picture p = well(3);
    p.containers = parse_containers("node=1 " + container + " repair_total=10 repair_left=4\nnode=2 " + container +
                                    " repair_total=20 repair_left=0\n");
    EXPECT_EQ(codes(p), Codes{"KRG_REPLICATING"});
    EXPECT_EQ(judge(p).findings[0].summary, "container 00000000000000aa (two): 26 of 30 pages have all their copies again");
    p.containers = parse_containers("node=1 " + container + " recovering=1\n");
    EXPECT_EQ(codes(p), Codes{"KRG_RECOVERING"});
}

TEST(Health, knows_that_copies_need_nodes) {
    Picture p = well(3);
    p.containers = parse_containers("node=1 " + container + " degraded=5\n");
    EXPECT_EQ(codes(p), Codes{}) << "a page on its way from one node to another";
    p.containers = parse_containers("node=1 00000000000000aa name=four replicas=4 degraded=5\n");
    EXPECT_EQ(codes(p), Codes{"KRG_TOO_FEW_NODES"});
}

TEST(Health, misses_the_module_on_a_member) {
    Picture p = well(3);
    p.containers = parse_containers("node=1 " + container + "\nnode=2 error=95\nnode=3 error=110\n");
    EXPECT_EQ(codes(p), Codes{"KRG_NO_HADSM"});
}

}  // namespace
}  // namespace krg::test
