// SPDX-License-Identifier: GPL-2.0
//
// A checker that never fires is worthless: every rule is shown a history that breaks it, and one that does not.
#include <gtest/gtest.h>

#include "tests/sim/membership/checker.hh"
#include "tests/sim/membership/clique.hh"

using namespace krg::sim;

namespace {

constexpr u64 cluster_id = 7;

MemberRecord member(NodeId node, u16 reason = 0) { return {node, 0, reason, u64{100} + node}; }

ViewRecord view(u64 epoch, std::initializer_list<NodeId> members, std::vector<MemberRecord> removed = {}) {
    ViewRecord v;
    v.cluster = cluster_id;
    v.epoch = epoch;
    v.lease_ms = 2000;
    for (NodeId node : members) v.members.push_back(member(node));
    v.removed = std::move(removed);
    return v;
}

/// ACCEPTED on the wire: @p from votes for the view of @p epoch in a ballot of @p proposer.
std::vector<u8> vote(u64 epoch, NodeId proposer) {
    std::vector<u8> bytes(42, 0);
    bytes[0] = 1;
    bytes[1] = 11;
    bytes[4] = cluster_id;
    bytes[20] = static_cast<u8>(epoch);
    bytes[32] = static_cast<u8>(proposer);
    return bytes;
}

std::vector<u8> promise(u64 epoch, u8 round, NodeId proposer) {
    std::vector<u8> bytes = vote(epoch, proposer);
    bytes[1] = 9;
    bytes[28] = round;
    return bytes;
}

std::vector<u8> proposal(u64 epoch, NodeId proposer, u8 value) {
    std::vector<u8> bytes = vote(epoch, proposer);
    bytes[1] = 10;
    bytes.back() = value;
    return bytes;
}

std::vector<u8> renewal(u64 epoch, u8 acknowledged) {
    std::vector<u8> bytes(60, 0);
    bytes[0] = 1;
    bytes[1] = 1;
    bytes[4] = cluster_id;
    bytes[12] = static_cast<u8>(epoch);
    bytes[36] = acknowledged;
    return bytes;
}

/// A cluster of three that serves in view 3, told in the checker's words.
class History : public testing::Test {
protected:
    void SetUp() override {
        for (NodeId node = 1; node <= 3; node++) checker.booted(node, 100 + node);
        install(view(1, {1}), {1});
        install(view(2, {1, 2}), {1, 2});
        checker.sent(now, 2, vote(3, 1));
        install(view(3, {1, 2, 3}), {1, 2, 3});
        for (NodeId node = 1; node <= 3; node++) commit(node, 3);
        ASSERT_FALSE(checker.violation().has_value()) << checker.violation()->text;
    }

    void install(const ViewRecord& v, std::initializer_list<NodeId> nodes) {
        for (NodeId node : nodes) checker.prepare(now, node, v);
    }
    void commit(NodeId node, u64 epoch) {
        checker.prepared(node, epoch);
        checker.action(now, node, KRG_MBR_ACT_COMMIT, epoch, 0, false);
        serve(node, epoch, now + 2 * second);
    }
    void serve(NodeId node, u64 epoch, Time end) { checker.shown(now, node, {KRG_MBR_SERVING, epoch, end}, false); }
    void expect(const char* rule) {
        ASSERT_TRUE(checker.violation().has_value()) << "nothing noticed";
        EXPECT_EQ(checker.violation()->rule, rule) << checker.violation()->text;
    }
    void expect_peace() { EXPECT_FALSE(checker.violation().has_value()) << checker.violation()->text; }

    Checker checker{5};
    Time now = second;
};

}  // namespace

TEST_F(History, two_views_of_one_epoch_are_noticed) {
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2}, {member(3, KRG_MBR_R_LOST)}), {1});
    install(view(4, {2, 3}, {member(1, KRG_MBR_R_LOST)}), {2});
    expect("one-view-per-epoch");
}

TEST_F(History, a_removed_node_that_still_serves_is_noticed) {
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2}, {member(3, KRG_MBR_R_LOST)}), {1, 2});
    now += second;
    commit(1, 4);
    expect("serve-overlap");
}

TEST_F(History, serving_after_the_removed_nodes_lease_is_right) {
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2}, {member(3, KRG_MBR_R_LOST)}), {1, 2});
    now += 2 * second;
    commit(1, 4);
    commit(2, 4);
    expect_peace();
}

TEST_F(History, a_lease_extended_after_the_removal_is_noticed) {
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2}, {member(3, KRG_MBR_R_LOST)}), {1, 2});
    now += 2 * second;
    commit(1, 4);
    serve(3, 3, now + second);
    expect("serve-overlap");
}

TEST_F(History, an_epoch_that_goes_back_is_noticed) {
    install(view(2, {1, 2}), {1});
    expect("epoch-monotone");
}

TEST_F(History, a_commit_before_prepared_is_noticed) {
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2}, {member(3, KRG_MBR_R_LOST)}), {1, 2});
    checker.action(now, 1, KRG_MBR_ACT_COMMIT, 4, 0, false);
    expect("life-cycle");
}

TEST_F(History, an_expelled_node_that_serves_is_noticed) {
    checker.action(now, 3, KRG_MBR_ACT_EXPELLED, 4, KRG_MBR_R_LOST, false);
    serve(3, 3, now + second);
    expect("life-cycle");
}

TEST_F(History, a_suspended_node_that_serves_is_noticed) {
    checker.action(now, 3, KRG_MBR_ACT_SUSPEND, 3, 0, false);
    serve(3, 3, now + second);
    expect("life-cycle");
}

TEST_F(History, resuming_without_having_been_suspended_is_noticed) {
    checker.action(now, 3, KRG_MBR_ACT_RESUME, 3, 0, false);
    expect("life-cycle");
}

TEST_F(History, leaving_unasked_is_noticed) {
    checker.action(now, 3, KRG_MBR_ACT_LEFT, 4, 0, false);
    expect("life-cycle");
}

TEST_F(History, leaving_before_drained_is_noticed) {
    checker.asked_leave(3);
    checker.action(now, 3, KRG_MBR_ACT_LEFT, 4, 0, false);
    expect("life-cycle");
}

TEST_F(History, a_drained_node_that_serves_is_noticed) {
    checker.asked_leave(3);
    checker.drained(3);
    serve(3, 3, now + 3 * second);
    expect("life-cycle");
}

TEST_F(History, saying_serving_after_the_lease_is_noticed) {
    now += 3 * second;
    serve(3, 3, now - second);
    expect("lease");
}

TEST_F(History, a_lease_while_suspended_is_noticed) {
    checker.shown(now, 3, {KRG_MBR_SUSPENDED, 3, now + second}, false);
    expect("lease");
}

TEST_F(History, a_lease_longer_than_the_clusters_is_noticed) {
    checker.shown(now, 3, {KRG_MBR_SERVING, 3, now + 9 * second}, true);
    expect("lease");
}

TEST_F(History, a_view_without_its_holder_is_noticed) {
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2}, {member(3, KRG_MBR_R_LOST)}), {3});
    expect("view-form");
}

TEST_F(History, members_out_of_order_are_noticed) {
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {2, 1}, {member(3, KRG_MBR_R_LOST)}), {1});
    expect("view-form");
}

TEST_F(History, a_removal_that_is_not_named_is_noticed) {
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2}), {1});
    expect("lineage");
}

TEST_F(History, a_member_that_never_lived_is_noticed) {
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2, 3, 4}), {1});
    expect("lineage");
}

TEST_F(History, an_epoch_from_nowhere_is_noticed) {
    install(view(6, {1, 2, 3}), {1});
    expect("lineage");
}

TEST_F(History, a_view_decided_by_a_minority_is_noticed) {
    install(view(4, {1}, {member(2, KRG_MBR_R_LOST), member(3, KRG_MBR_R_LOST)}), {1});
    expect("quorum");
}

TEST_F(History, votes_of_two_ballots_are_not_added_up) {
    checker.sent(now, 2, vote(4, 3));
    checker.sent(now, 3, vote(4, 9));
    checker.sent(now, 2, vote(4, 9));
    install(view(4, {2, 3}, {member(1, KRG_MBR_R_LOST)}), {2});
    expect_peace();
    checker.sent(now, 3, vote(5, 9));
    install(view(5, {3}, {member(2, KRG_MBR_R_LOST)}), {3});
    expect("quorum");
}

TEST_F(History, a_commit_that_too_few_have_installed_is_noticed) {
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2}, {member(3, KRG_MBR_R_LOST)}), {1});
    now += 3 * second;
    commit(1, 4);
    expect("quorum");
}

TEST_F(History, a_vote_below_the_promise_is_noticed) {
    checker.sent(now, 2, promise(4, 3, 3));
    checker.sent(now, 2, vote(4, 1));
    expect("ballot");
}

TEST_F(History, a_ballot_with_two_values_is_noticed) {
    checker.sent(now, 1, proposal(4, 1, 1));
    checker.sent(now, 1, proposal(4, 1, 1));
    expect_peace();
    checker.sent(now, 1, proposal(4, 1, 2));
    expect("ballot");
}

TEST_F(History, a_lease_acknowledged_after_the_vote_is_noticed) {
    checker.sent(now, 2, renewal(3, 1));
    checker.sent(now, 2, vote(4, 1));
    checker.sent(now, 2, renewal(3, 0));
    checker.sent(now, 2, renewal(4, 1));
    expect_peace();
    checker.sent(now, 2, renewal(3, 1));
    expect("ballot");
}

TEST_F(History, an_eviction_nobody_asked_for_is_noticed) {
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2}, {member(3, KRG_MBR_R_EVICTED)}), {1});
    expect("reason");
}

TEST_F(History, an_eviction_that_was_asked_for_is_right) {
    checker.asked_evict(3, 103);
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2}, {member(3, KRG_MBR_R_EVICTED)}), {1});
    checker.action(now, 3, KRG_MBR_ACT_EXPELLED, 4, KRG_MBR_R_EVICTED, false);
    expect_peace();
}

TEST_F(History, a_refusal_that_is_not_true_is_noticed) {
    checker.booted(4, 104);
    checker.action(now, 4, KRG_MBR_ACT_REFUSED, 0, KRG_MBR_R_ID_TAKEN, false);
    expect("reason");
}

TEST_F(History, giving_up_a_join_early_is_noticed) {
    checker.booted(4, 104);
    checker.action(now, 4, KRG_MBR_ACT_REFUSED, 0, KRG_MBR_R_TIMEOUT, false);
    expect("reason");
}

TEST_F(History, an_expected_refusal_is_right) {
    checker.expect_refusal(4, KRG_MBR_R_CLUSTER);
    checker.booted(4, 104);
    checker.action(now, 4, KRG_MBR_ACT_REFUSED, 0, KRG_MBR_R_CLUSTER, false);
    expect_peace();
}

TEST_F(History, an_operation_accepted_from_an_older_epoch_is_noticed) {
    checker.op_accepted(now, 1, 2, 102, 2);
    expect("operation");
}

TEST_F(History, an_operation_of_a_stranger_is_noticed) {
    checker.op_accepted(now, 1, 2, 999, 3);
    expect("operation");
}

TEST_F(History, an_operation_of_a_fellow_member_is_right) {
    checker.op_started(now, 2);
    checker.op_accepted(now, 1, 2, 102, 3);
    expect_peace();
}

TEST_F(History, an_operation_of_a_removed_node_is_noticed) {
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2}, {member(3, KRG_MBR_R_LOST)}), {1, 2});
    now += 3 * second;
    commit(1, 4);
    expect_peace();
    checker.op_started(now, 3);
    expect("operation");
}

TEST_F(History, dropped_actions_and_failed_checks_are_noticed) {
    checker.engine_health(now, 1, 1, 0, 0);
    expect("engine");
}

TEST_F(History, good_messages_called_bad_are_noticed) {
    checker.engine_health(now, 1, 0, 3, 2);
    expect("engine");
}

TEST_F(History, a_reset_needs_a_new_epoch) {
    checker.reset(1, 2, 102);
    EXPECT_TRUE(checker.needs_epoch(1));
    EXPECT_FALSE(checker.needs_epoch(2));
    checker.reset(2, 1, 999);
    EXPECT_FALSE(checker.needs_epoch(2));
    checker.sent(now, 2, vote(4, 1));
    install(view(4, {1, 2, 3}), {1});
    EXPECT_FALSE(checker.needs_epoch(1));
}

TEST_F(History, garbage_that_changes_something_is_noticed) {
    checker.garbage(now, 1, true);
    expect("garbage");
}

TEST(Quorum, the_witness_breaks_ties_only) {
    ViewRecord even = view(5, {1, 2, 3, 4});
    EXPECT_FALSE(even.quorum(2, true));
    even.witness = true;
    EXPECT_TRUE(even.quorum(2, true));
    EXPECT_FALSE(even.quorum(2, false));
    EXPECT_FALSE(even.quorum(1, true));
    EXPECT_TRUE(even.quorum(3, false));
}

TEST(Clique, most_members_then_lowest_ids) {
    const auto without = [](std::initializer_list<std::pair<NodeId, NodeId>> cuts) {
        return maximum_clique({1, 2, 3, 4, 5}, [&](NodeId a, NodeId b) {
            for (const auto& [from, to] : cuts)
                if ((from == a && to == b) || (from == b && to == a)) return false;
            return true;
        });
    };
    EXPECT_EQ(without({}), (std::vector<NodeId>{1, 2, 3, 4, 5}));
    EXPECT_EQ(without({{1, 2}}), (std::vector<NodeId>{1, 3, 4, 5}));
    EXPECT_EQ(without({{1, 2}, {1, 3}}), (std::vector<NodeId>{2, 3, 4, 5}));
    EXPECT_EQ(without({{1, 2}, {3, 4}}), (std::vector<NodeId>{1, 3, 5}));
}
