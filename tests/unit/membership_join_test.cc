// SPDX-License-Identifier: GPL-2.0
// Who gets in, who is turned away, and what both sides are told.
#include "tests/unit/membership_world.hh"

namespace krg::test {
namespace {

/// Node @who asks to join and is refused for @reason, by somebody who says so too; {1,2} go on undisturbed.
void expect_refused(World& w, int who, u16 reason) {
    u64 epoch = w.epoch(1);
    ASSERT_TRUE(w.until(5000, [&] { return w.count(who, KRG_MBR_ACT_REFUSED) == 1; })) << w.story();
    const Seen* told = w.last(who, KRG_MBR_ACT_REFUSED);
    EXPECT_EQ(told->act.reason, reason);
    ASSERT_NE(told->act.node, 0);
    const Seen* said = w.last(told->act.node, KRG_MBR_ACT_PEER_REFUSED);
    ASSERT_TRUE(said) << w.story();
    EXPECT_EQ(said->act.node, who);
    EXPECT_EQ(said->act.reason, reason);
    w.run(3000);
    EXPECT_EQ(w.state(who), KRG_MBR_IDLE);
    EXPECT_EQ(w.epoch(1), epoch);
    EXPECT_TRUE(w.agree({1, 2}));
}

TEST(MembershipJoin, Another_cluster_name_is_refused) {
    World w;
    w.form({1, 2});
    w.configure = [](krg_mbr_config& c) { c.cluster_hash = 0xbad; };
    w.join(3);
    expect_refused(w, 3, KRG_MBR_R_CLUSTER);
}

TEST(MembershipJoin, Another_protocol_version_is_refused) {
    World w;
    w.form({1, 2});
    w.start(3);
    Bytes request(24);
    request[0] = KRG_MBR_VERSION + 1;
    request[1] = JoinReq;
    w.deliver(3, w.incarnation(3), 1, request);
    ASSERT_EQ(w.count(1, KRG_MBR_ACT_PEER_REFUSED), 1);
    EXPECT_EQ(w.last(1, KRG_MBR_ACT_PEER_REFUSED)->act.reason, KRG_MBR_R_VERSION);
    EXPECT_TRUE(w.agree({1, 2}));
}

TEST(MembershipJoin, A_joiner_understands_a_refusal_from_another_protocol_version) {
    World w;
    w.join(3);
    w.start(1);
    Bytes refusal(21);
    refusal[0] = KRG_MBR_VERSION + 1;
    refusal[1] = Refuse;
    refusal[20] = KRG_MBR_R_VERSION;
    w.deliver(1, w.incarnation(1), 3, refusal);
    ASSERT_EQ(w.count(3, KRG_MBR_ACT_REFUSED), 1);
    EXPECT_EQ(w.last(3, KRG_MBR_ACT_REFUSED)->act.reason, KRG_MBR_R_VERSION);
}

TEST(MembershipJoin, A_second_machine_with_a_live_members_id_is_refused) {
    World w;
    w.form({1, 2});
    w.run(1000);
    Bytes request;
    {
        World other;
        other.on_send = [&](int, int, const Bytes& m) {
            if (m[1] == JoinReq) request = m;
        };
        other.start(1);
        other.join(2);
        other.run(300);
    }
    ASSERT_FALSE(request.empty());
    w.deliver(2, 4711, 1, request);
    ASSERT_EQ(w.count(1, KRG_MBR_ACT_PEER_REFUSED), 1);
    EXPECT_EQ(w.last(1, KRG_MBR_ACT_PEER_REFUSED)->act.reason, KRG_MBR_R_ID_TAKEN);
    EXPECT_EQ(w.last(1, KRG_MBR_ACT_PEER_REFUSED)->act.incarnation, 4711u);
    w.run(5000);
    EXPECT_TRUE(w.agree({1, 2}));
}

TEST(MembershipJoin, A_node_id_above_the_clusters_highest_is_refused) {
    World w;
    w.form({1, 2});
    w.deliver(17, 1, 1, [] {
        Bytes request(24);
        request[0] = KRG_MBR_VERSION;
        request[1] = JoinReq;
        return request;
    }());
    ASSERT_EQ(w.count(1, KRG_MBR_ACT_PEER_REFUSED), 1);
    EXPECT_EQ(w.last(1, KRG_MBR_ACT_PEER_REFUSED)->act.reason, KRG_MBR_R_ID_RANGE);
}

TEST(MembershipJoin, A_joiner_that_cannot_reach_every_member_gives_up_with_that_reason) {
    World w;
    w.form({1, 2, 3});
    w.start(4);
    w.cut(4, 3);
    w.run(2000);
    w.join(4, 5000);
    ASSERT_TRUE(w.until(8000, [&] { return w.count(4, KRG_MBR_ACT_REFUSED) == 1; })) << w.story();
    EXPECT_EQ(w.last(4, KRG_MBR_ACT_REFUSED)->act.reason, KRG_MBR_R_UNREACHABLE);
    EXPECT_EQ(w.last(4, KRG_MBR_ACT_REFUSED)->act.node, 3) << "it names whom it cannot reach";
    EXPECT_TRUE(w.agree({1, 2, 3}));
}

TEST(MembershipJoin, A_joiner_waits_until_the_way_to_every_member_is_open) {
    World w;
    w.form({1, 2, 3});
    w.start(4);
    w.cut(4, 3);
    w.run(2000);
    w.join(4);
    w.run(5000);
    EXPECT_EQ(w.state(4), KRG_MBR_JOINING);
    w.heal();
    EXPECT_TRUE(w.agreed_within(3000, {1, 2, 3, 4})) << w.story();
}

TEST(MembershipJoin, Nobody_answers_in_time) {
    World w;
    w.join(1, 3000);
    w.run(2990);
    EXPECT_EQ(w.state(1), KRG_MBR_JOINING);
    w.run(20);
    ASSERT_EQ(w.count(1, KRG_MBR_ACT_REFUSED), 1);
    EXPECT_EQ(w.last(1, KRG_MBR_ACT_REFUSED)->act.reason, KRG_MBR_R_TIMEOUT);
    EXPECT_EQ(w.last(1, KRG_MBR_ACT_REFUSED)->act.node, 0);
}

TEST(MembershipJoin, A_cluster_without_quorum_admits_nobody) {
    World w;
    w.form({1, 2, 3});
    w.crash(1);
    w.crash(2);
    w.run(5000);
    w.join(4, 5000);
    ASSERT_TRUE(w.until(8000, [&] { return w.count(4, KRG_MBR_ACT_REFUSED) == 1; })) << w.story();
    EXPECT_EQ(w.last(4, KRG_MBR_ACT_REFUSED)->act.reason, KRG_MBR_R_NO_QUORUM) << w.story();
}

TEST(MembershipJoin, A_crashed_node_returns_before_anybody_missed_it) {
    for (u64 gap : {0, 100, 500, 900}) {
        World w;
        w.form({1, 2, 3});
        u64 old = w.incarnation(3);
        w.crash(3);
        w.run(gap);
        w.start(3);
        w.join(3);
        ASSERT_TRUE(w.agreed_within(8000, {1, 2, 3})) << "back after " << gap << "\n" << w.story();
        EXPECT_NE(w.incarnation(3), old);
        for (int i : {1, 2}) EXPECT_EQ(w.count(i, KRG_MBR_ACT_PEER_REFUSED), 0);
    }
}

TEST(MembershipJoin, A_returned_node_does_not_shorten_the_wait_for_its_old_lease) {
    World w;
    w.form({1, 2, 3});
    w.run(5000);
    u64 crashed = w.now();
    w.crash(3);
    w.start(3);
    w.join(3);
    u64 before = w.epoch(1);
    ASSERT_TRUE(w.until(8000, [&] { return w.epoch(1) > before && w.serving(1); })) << w.story();
    EXPECT_GE(w.now(), crashed + 2000 - 250);
}

TEST(MembershipJoin, The_lowest_node_returns) {
    World w;
    w.form({1, 2, 3});
    w.crash(1);
    w.run(100);
    w.start(1);
    w.join(1);
    EXPECT_TRUE(w.agreed_within(10000, {1, 2, 3})) << w.story();
}

TEST(MembershipJoin, A_joiner_that_crashes_right_after_its_admission_is_removed) {
    for (u64 when = 0; when < 700; when += 20) {
        World w;
        w.form({1, 2, 3});
        w.join(4);
        w.run(when);
        w.crash(4);
        w.run(1000);
        ASSERT_TRUE(w.agreed_within(9000, {1, 2, 3})) << "crash after " << when << "\n" << w.story();
    }
}

TEST(MembershipJoin, A_second_node_that_crashes_right_after_its_admission_stops_the_first) {
    World w;
    w.create(1);
    w.run(100);
    w.join(2);
    w.until(3000, [&] { return w.epoch(1) == 2; });
    w.crash(2);
    w.run(10000);
    EXPECT_FALSE(w.serving(1)) << "two without a witness do not guess";
}

TEST(MembershipJoin, A_joiner_takes_the_clusters_parameters) {
    World w;
    w.form({1, 2});
    w.configure = [](krg_mbr_config& c) { c.params = {9000, 50, 500, 3000, 700, 1}; };
    w.join(3);
    ASSERT_TRUE(w.agreed_within(5000, {1, 2, 3})) << w.story();
    krg_mbr_view view;
    krg_mbr_get_view(w.engine(3), &view);
    EXPECT_EQ(view.params.lease_ms, 2000u);
    EXPECT_EQ(view.params.witness, 0u);
}

TEST(MembershipJoin, A_node_that_leaves_while_it_joins_is_out_at_once) {
    World w;
    w.join(1);
    w.run(500);
    w.leave(1);
    EXPECT_EQ(w.count(1, KRG_MBR_ACT_LEFT), 1);
    EXPECT_EQ(w.state(1), KRG_MBR_IDLE);
}

TEST(MembershipJoin, A_join_during_a_crash_ends_with_both) {
    for (u64 when = 0; when < 2600; when += 100) {
        World w;
        w.form({1, 2, 3});
        w.crash(2);
        w.run(when);
        w.join(4);
        ASSERT_TRUE(w.agreed_within(8000, {1, 3, 4})) << "join after " << when << "\n" << w.story();
    }
}

}  // namespace
}  // namespace krg::test
