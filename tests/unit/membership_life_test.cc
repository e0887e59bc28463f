// SPDX-License-Identifier: GPL-2.0
// How a cluster is created, grows, shrinks by word and ends.
#include "tests/unit/membership_world.hh"

namespace krg::test {
namespace {

TEST(MembershipLife, A_created_cluster_of_one_serves_at_once) {
    World w;
    w.create(1);
    EXPECT_TRUE(w.agreed_within(50, {1})) << w.story();
    EXPECT_EQ(w.count(1, KRG_MBR_ACT_PREPARE), 1);
    EXPECT_EQ(w.count(1, KRG_MBR_ACT_COMMIT), 1);
    w.run(60000);
    EXPECT_TRUE(w.serving(1)) << "alone it needs nobody's word";
    EXPECT_EQ(w.count(1, KRG_MBR_ACT_SUSPEND), 0);
}

TEST(MembershipLife, It_serves_only_when_its_subscribers_are_prepared) {
    World w;
    w.hold_prepared[1] = true;
    w.create(1);
    w.run(5000);
    EXPECT_EQ(w.state(1), KRG_MBR_PREPARING);
    w.event(1, KRG_MBR_EV_PREPARED, 0, 77);  // another epoch's answer is not this one's
    EXPECT_EQ(w.state(1), KRG_MBR_PREPARING);
    w.event(1, KRG_MBR_EV_PREPARED, 0, 1);
    EXPECT_EQ(w.state(1), KRG_MBR_SERVING);
}

TEST(MembershipLife, A_second_node_joins) {
    World w;
    w.create(1);
    w.run(100);
    w.join(2);
    EXPECT_TRUE(w.agreed_within(1500, {1, 2})) << w.story();
    EXPECT_EQ(w.epoch(2), 2u);
}

TEST(MembershipLife, A_third_and_a_fourth_join_together) {
    World w;
    w.form({1, 2});
    w.join(3);
    w.join(4);
    EXPECT_TRUE(w.agreed_within(3000, {1, 2, 3, 4})) << w.story();
}

TEST(MembershipLife, Sixteen_join_at_once_and_share_few_views) {
    World w;
    Ids all;
    w.create(1);
    for (int i = 1; i <= 16; i++) all.push_back(i);
    for (int i = 2; i <= 16; i++) w.join(i);
    EXPECT_TRUE(w.agreed_within(5000, all)) << w.story();
    EXPECT_LE(w.epoch(1), 4u);
}

TEST(MembershipLife, A_quiet_cluster_keeps_its_view) {
    World w;
    w.form({1, 2, 3});
    u64 epoch = w.epoch(1);
    w.run(120000);
    EXPECT_TRUE(w.agree({1, 2, 3}));
    EXPECT_EQ(w.epoch(1), epoch);
    EXPECT_EQ(w.count(1, KRG_MBR_ACT_SUSPEND) + w.count(2, KRG_MBR_ACT_SUSPEND) + w.count(3, KRG_MBR_ACT_SUSPEND), 0);
}

TEST(MembershipLife, A_planned_leave_drains_first_and_nobody_waits_for_a_lease) {
    World w;
    w.form({1, 2, 3});
    w.leave(3);
    ASSERT_TRUE(w.until(3000, [&] { return w.count(3, KRG_MBR_ACT_LEFT) == 1; })) << w.story();
    EXPECT_EQ(w.count(3, KRG_MBR_ACT_DRAIN), 1);
    EXPECT_LT(w.last(3, KRG_MBR_ACT_DRAIN)->at, w.last(3, KRG_MBR_ACT_LEFT)->at);
    EXPECT_EQ(w.count(3, KRG_MBR_ACT_EXPELLED), 0);
    EXPECT_TRUE(w.agreed_within(300, {1, 2})) << w.story();
}

TEST(MembershipLife, A_leave_waits_until_the_subscribers_are_empty) {
    World w;
    w.form({1, 2, 3});
    w.hold_drained[3] = true;
    w.leave(3);
    ASSERT_TRUE(w.until(3000, [&] { return w.count(3, KRG_MBR_ACT_DRAIN) == 1; }));
    u64 epoch = w.last(3, KRG_MBR_ACT_DRAIN)->act.epoch;
    w.run(20000);
    EXPECT_EQ(w.count(3, KRG_MBR_ACT_LEFT), 0);
    EXPECT_TRUE(w.agree({1, 2, 3})) << "it serves what it still has";
    w.event(3, KRG_MBR_EV_DRAINED, 0, epoch);
    EXPECT_FALSE(w.serving(3));
    EXPECT_TRUE(w.agreed_within(2000, {1, 2})) << w.story();
    EXPECT_EQ(w.count(3, KRG_MBR_ACT_LEFT), 1);
}

TEST(MembershipLife, The_lowest_node_can_leave_too) {
    World w;
    w.form({1, 2, 3});
    w.leave(1);
    EXPECT_TRUE(w.agreed_within(5000, {2, 3})) << w.story();
    EXPECT_EQ(w.count(1, KRG_MBR_ACT_LEFT), 1) << w.story();
}

TEST(MembershipLife, Two_of_four_leave_at_the_same_time) {
    World w;
    w.form({1, 2, 3, 4});
    w.leave(2);
    w.leave(3);
    EXPECT_TRUE(w.agreed_within(5000, {1, 4})) << w.story();
    EXPECT_EQ(w.count(2, KRG_MBR_ACT_LEFT), 1);
    EXPECT_EQ(w.count(3, KRG_MBR_ACT_LEFT), 1);
}

TEST(MembershipLife, All_leave_and_the_last_one_ends_the_cluster) {
    World w;
    w.form({1, 2, 3});
    for (int i : {1, 2, 3}) w.leave(i);
    EXPECT_TRUE(w.until(10000, [&] {
        return w.count(1, KRG_MBR_ACT_LEFT) && w.count(2, KRG_MBR_ACT_LEFT) && w.count(3, KRG_MBR_ACT_LEFT);
    })) << w.story();
}

TEST(MembershipLife, The_last_member_leaves_at_once) {
    World w;
    w.create(1);
    w.run(100);
    w.leave(1);
    EXPECT_TRUE(w.until(1500, [&] { return w.count(1, KRG_MBR_ACT_LEFT) == 1; })) << w.story();
    EXPECT_EQ(w.state(1), KRG_MBR_IDLE);
}

TEST(MembershipLife, A_live_node_is_evicted_and_told_so) {
    World w;
    w.form({1, 2, 3});
    w.evict(1, 3);
    EXPECT_TRUE(w.agreed_within(4000, {1, 2})) << w.story();
    ASSERT_EQ(w.count(3, KRG_MBR_ACT_EXPELLED), 1) << w.story();
    EXPECT_EQ(w.last(3, KRG_MBR_ACT_EXPELLED)->act.reason, KRG_MBR_R_EVICTED);
}

TEST(MembershipLife, The_highest_node_can_evict_the_lowest) {
    World w;
    w.form({1, 2, 3});
    w.evict(3, 1);
    EXPECT_TRUE(w.agreed_within(5000, {2, 3})) << w.story();
    EXPECT_EQ(w.count(1, KRG_MBR_ACT_EXPELLED), 1);
}

TEST(MembershipLife, A_node_may_come_back_after_it_left) {
    World w;
    w.form({1, 2, 3});
    w.leave(2);
    ASSERT_TRUE(w.agreed_within(5000, {1, 3})) << w.story();
    w.crash(2);
    w.run(1000);
    w.start(2);
    w.join(2);
    EXPECT_TRUE(w.agreed_within(3000, {1, 2, 3})) << w.story();
}

TEST(MembershipLife, A_finished_incarnation_never_starts_again) {
    World w;
    w.create(1);
    w.run(100);
    w.leave(1);
    w.run(2000);
    w.event(1, KRG_MBR_EV_CREATE, 0, 99);
    w.event(1, KRG_MBR_EV_JOIN);
    EXPECT_EQ(w.state(1), KRG_MBR_IDLE);
}

}  // namespace
}  // namespace krg::test
