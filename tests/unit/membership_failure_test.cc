// SPDX-License-Identifier: GPL-2.0
// What happens when nodes die, fall silent, sleep, or cannot reach each other.
#include "tests/unit/membership_world.hh"

namespace krg::test {
namespace {

constexpr u64 lease = 2000, drift = 100, suspect = 1000;

TEST(MembershipFailure, A_crashed_node_is_removed_after_suspicion_and_its_lease_is_waited_for) {
    World w;
    w.options.reset_after = 100000;  // no hint from the transport
    w.form({1, 2, 3});
    w.run(10000);
    u64 crashed = w.now(), before = w.epoch(1);
    w.crash(3);
    ASSERT_TRUE(w.until(5000, [&] { return w.epoch(1) > before; }));
    EXPECT_GE(w.now(), crashed + suspect - 250);
    EXPECT_FALSE(w.serving(1)) << "node 3 may still believe in its lease";
    ASSERT_TRUE(w.agreed_within(5000, {1, 2})) << w.story();
    EXPECT_GE(w.now(), crashed + lease - 250);
    EXPECT_LE(w.now(), crashed + lease + drift + 300);
}

TEST(MembershipFailure, A_reset_of_the_connection_shortens_the_suspicion) {
    World w;
    w.options.reset_after = 50;
    w.form({1, 2, 3});
    w.run(10000);
    u64 crashed = w.now(), before = w.epoch(1);
    w.crash(3);
    ASSERT_TRUE(w.until(5000, [&] { return w.epoch(1) > before; }));
    EXPECT_LE(w.now(), crashed + 1200);
}

TEST(MembershipFailure, The_lowest_node_crashes_and_the_next_one_proposes) {
    World w;
    w.form({1, 2, 3});
    w.crash(1);
    EXPECT_TRUE(w.agreed_within(6000, {2, 3})) << w.story();
}

TEST(MembershipFailure, Two_of_five_crash_at_once) {
    World w;
    w.form({1, 2, 3, 4, 5});
    w.crash(1);
    w.crash(4);
    EXPECT_TRUE(w.agreed_within(6000, {2, 3, 5})) << w.story();
    EXPECT_LE(w.count(2, KRG_MBR_ACT_PREPARE), 6) << w.story();
}

TEST(MembershipFailure, Crash_after_crash_down_to_one_node) {
    World w;
    w.form({1, 2, 3, 4, 5});
    w.crash(1);
    ASSERT_TRUE(w.agreed_within(6000, {2, 3, 4, 5})) << w.story();
    w.crash(2);
    ASSERT_TRUE(w.agreed_within(6000, {3, 4, 5})) << w.story();
    w.crash(3);
    ASSERT_TRUE(w.agreed_within(6000, {4, 5})) << w.story();
    w.leave(4);
    EXPECT_TRUE(w.agreed_within(6000, {5})) << w.story();
}

TEST(MembershipFailure, Without_a_quorum_the_lease_runs_out_and_the_node_suspends) {
    World w;
    w.form({1, 2, 3});
    w.run(5000);
    u64 cut = w.now();
    w.cut({3}, {1, 2});
    w.run(lease - 510);  // the newest acknowledged renewal is at most two intervals old
    EXPECT_TRUE(w.serving(3)) << "its lease still runs";
    ASSERT_TRUE(w.until(1000, [&] { return !w.serving(3); }));
    EXPECT_LE(w.now(), cut + lease + 5);
    EXPECT_EQ(w.state(3), KRG_MBR_SUSPENDED);
    EXPECT_EQ(w.count(3, KRG_MBR_ACT_SUSPEND), 1);
}

TEST(MembershipFailure, All_three_apart_suspend_and_resume_in_the_same_view) {
    World w;
    w.options.reset_after = 100000;
    w.form({1, 2, 3});
    u64 epoch = w.epoch(1);
    w.cut({1}, {2, 3});
    w.cut(2, 3);
    w.run(10000);
    for (int i : {1, 2, 3}) EXPECT_EQ(w.state(i), KRG_MBR_SUSPENDED);
    w.heal();
    EXPECT_TRUE(w.agreed_within(1000, {1, 2, 3})) << w.story();
    EXPECT_EQ(w.epoch(1), epoch);
    for (int i : {1, 2, 3}) EXPECT_EQ(w.count(i, KRG_MBR_ACT_RESUME), 1);
}

TEST(MembershipFailure, Resets_during_a_total_cut_make_a_new_epoch_of_the_same_members) {
    World w;
    w.form({1, 2, 3});
    u64 epoch = w.epoch(1);
    w.cut({1}, {2, 3});
    w.cut(2, 3);
    w.run(10000);
    w.heal();
    ASSERT_TRUE(w.until(8000, [&] { return w.agree({1, 2, 3}) && w.epoch(1) > epoch; })) << w.story();
    w.run(10000);
    EXPECT_LE(w.epoch(1), epoch + 2) << "no storm of epochs\n" << w.story();
}

void all_apart(World& w, const Ids& nodes) {
    for (int a : nodes)
        for (int b : nodes)
            if (a < b) w.cut(a, b);
    w.run(10000);
}

TEST(MembershipFailure, A_majority_that_meets_again_waits_for_the_links_of_the_others) {
    World w;
    w.form({1, 2, 3, 4, 5});
    all_apart(w, {1, 2, 3, 4, 5});
    for (auto [a, b] : {std::pair(1, 2), std::pair(1, 3), std::pair(2, 3)}) w.heal(a, b);
    w.run(suspect - 150);
    for (int i : {1, 2, 3}) w.heal(i, 4);
    w.run(suspect - 150);
    w.heal();
    ASSERT_TRUE(w.agreed_within(6000, {1, 2, 3, 4, 5})) << w.story();
    for (int i : {1, 2, 3, 4, 5}) EXPECT_EQ(w.count(i, KRG_MBR_ACT_EXPELLED), 0) << w.story();
}

TEST(MembershipFailure, A_majority_that_meets_again_does_not_wait_for_the_dead) {
    World w;
    w.form({1, 2, 3, 4, 5});
    all_apart(w, {1, 2, 3, 4, 5});
    w.crash(5);
    u64 healed = w.now();
    w.heal();
    ASSERT_TRUE(w.agreed_within(6000, {1, 2, 3, 4})) << w.story();
    EXPECT_LE(w.now(), healed + suspect + 1000);
}

TEST(MembershipFailure, Links_that_come_and_go_after_a_heal_do_not_hold_up_the_removal_of_the_dead) {
    World w;
    w.options.reset_after = 50;
    w.form({1, 2, 3, 4, 5});
    all_apart(w, {1, 2, 3, 4, 5});
    w.crash(5);
    for (auto [a, b] : {std::pair(1, 2), std::pair(1, 3), std::pair(2, 3)}) w.heal(a, b);
    u64 met = w.now();
    bool linked = false;
    while (w.members(1).size() == 5 && w.now() < met + 20 * suspect) {
        linked = !linked;
        for (int i : {1, 2, 3}) linked ? w.heal(i, 4) : w.cut(i, 4);
        w.run(800);
    }
    EXPECT_LE(w.now(), met + 3 * suspect + 2000) << w.story();
}

TEST(MembershipFailure, The_minority_of_a_partition_suspends_and_is_expelled_when_it_heals) {
    World w;
    w.form({1, 2, 3, 4, 5});
    w.cut({1, 2}, {3, 4, 5});
    EXPECT_TRUE(w.agreed_within(6000, {3, 4, 5})) << w.story();
    EXPECT_EQ(w.state(1), KRG_MBR_SUSPENDED);
    EXPECT_EQ(w.state(2), KRG_MBR_SUSPENDED);
    w.heal();
    w.run(3000);
    EXPECT_EQ(w.count(1, KRG_MBR_ACT_EXPELLED), 1) << w.story();
    EXPECT_EQ(w.count(2, KRG_MBR_ACT_EXPELLED), 1) << w.story();
    EXPECT_EQ(w.last(1, KRG_MBR_ACT_EXPELLED)->act.reason, KRG_MBR_R_LOST);
    EXPECT_TRUE(w.agree({3, 4, 5}));
}

TEST(MembershipFailure, Expelled_nodes_join_again_as_new_incarnations) {
    World w;
    w.form({1, 2, 3, 4, 5});
    w.cut({1, 2}, {3, 4, 5});
    ASSERT_TRUE(w.agreed_within(6000, {3, 4, 5})) << w.story();
    w.heal();
    w.run(3000);
    for (int i : {1, 2}) {
        w.crash(i);
        w.run(1000);
        w.start(i);
        w.join(i);
    }
    EXPECT_TRUE(w.agreed_within(5000, {1, 2, 3, 4, 5})) << w.story();
}

TEST(MembershipFailure, A_node_that_hears_nobody_but_is_heard_is_removed) {
    World w;
    w.form({1, 2, 3});
    w.cut_one_way(1, 3, false);
    w.cut_one_way(2, 3, false);
    EXPECT_TRUE(w.agreed_within(6000, {1, 2})) << w.story();
    EXPECT_FALSE(w.serving(3));
}

TEST(MembershipFailure, A_one_way_cut_between_two_of_three_removes_the_higher) {
    World w;
    w.form({1, 2, 3});
    w.cut_one_way(2, 3, false);
    EXPECT_TRUE(w.agreed_within(8000, {1, 2})) << w.story();
    w.run(3000);
    EXPECT_EQ(w.count(3, KRG_MBR_ACT_EXPELLED), 1) << w.story();
}

TEST(MembershipFailure, A_non_transitive_cut_keeps_the_lowest_of_two_equal_cliques) {
    World w;
    w.form({1, 2, 3});
    w.cut(1, 2);  // 3 sees both
    EXPECT_TRUE(w.agreed_within(8000, {1, 3})) << w.story();
    w.run(2000);
    EXPECT_EQ(w.count(2, KRG_MBR_ACT_EXPELLED), 1);
}

TEST(MembershipFailure, A_non_transitive_cut_keeps_most_members) {
    World w;
    w.form({1, 2, 3, 4, 5});
    for (int other : {2, 3}) w.cut(1, other);  // 4 and 5 see everybody
    EXPECT_TRUE(w.agreed_within(8000, {2, 3, 4, 5})) << w.story();
}

TEST(MembershipFailure, A_broken_ring_of_five_keeps_its_lowest_clique) {
    World w;
    w.form({1, 2, 3, 4, 5});
    w.cut(1, 2);
    w.cut(2, 3);
    w.cut(4, 5);
    // Left: 1-3 1-4 1-5 2-4 2-5 3-4 3-5; cliques of three: {1,3,4} {1,3,5}.
    EXPECT_TRUE(w.agreed_within(10000, {1, 3, 4})) << w.story();
}

TEST(MembershipFailure, A_reset_makes_a_new_epoch_with_the_same_members) {
    World w;
    w.form({1, 2, 3});
    u64 epoch = w.epoch(1);
    w.reset(2, 3);
    ASSERT_TRUE(w.until(3000, [&] { return w.epoch(1) > epoch; })) << w.story();
    EXPECT_TRUE(w.agreed_within(1000, {1, 2, 3})) << w.story();
    EXPECT_EQ(w.epoch(1), epoch + 1);
    w.run(20000);
    EXPECT_EQ(w.epoch(1), epoch + 1) << "one reset, one epoch";
}

TEST(MembershipFailure, A_hint_about_a_live_node_changes_nothing) {
    World w;
    w.form({1, 2, 3});
    u64 epoch = w.epoch(1);
    for (int i = 0; i < 20; i++) {
        w.event(1, KRG_MBR_EV_LINK_HINT, 2);
        w.run(100);
    }
    w.run(3000);
    EXPECT_EQ(w.epoch(1), epoch);
    EXPECT_TRUE(w.agree({1, 2, 3}));
}

TEST(MembershipFailure, A_paused_node_wakes_too_late_and_never_serves_again) {
    World w;
    w.options.reset_after = 100000;
    w.form({1, 2, 3});
    w.pause(3);
    ASSERT_TRUE(w.agreed_within(6000, {1, 2})) << w.story();
    w.run(5000);
    EXPECT_FALSE(w.serving(3));
    w.resume(3);
    w.run(2000);
    EXPECT_EQ(w.count(3, KRG_MBR_ACT_EXPELLED), 1) << w.story();
    EXPECT_EQ(w.count(3, KRG_MBR_ACT_RESUME), 0) << w.story();
    EXPECT_TRUE(w.agree({1, 2}));
}

TEST(MembershipFailure, A_short_pause_goes_unnoticed) {
    World w;
    w.options.reset_after = 100000;
    w.form({1, 2, 3});
    u64 epoch = w.epoch(1);
    w.pause(1);
    w.run(600);
    w.resume(1);
    w.run(5000);
    EXPECT_TRUE(w.agree({1, 2, 3}));
    EXPECT_EQ(w.epoch(1), epoch);
}

TEST(MembershipFailure, A_crash_during_the_agreement_about_another) {
    for (u64 when = 0; when < 2500; when += 50) {
        World w;
        w.form({1, 2, 3, 4, 5});
        w.crash(5);
        w.run(when);
        w.crash(1);
        ASSERT_TRUE(w.agreed_within(10000, {2, 3, 4})) << "second crash after " << when << "\n" << w.story();
    }
}

TEST(MembershipFailure, Two_nodes_without_a_witness_refuse_to_guess) {
    World w;
    w.form({1, 2});
    w.crash(2);
    w.run(20000);
    EXPECT_EQ(w.state(1), KRG_MBR_SUSPENDED);
    EXPECT_EQ(w.members(1), (Ids{1, 2}));
    EXPECT_FALSE(krg_mbr_has_quorum(w.engine(1), w.clock(1)));
}

TEST(MembershipFailure, Two_nodes_that_find_each_other_again_go_on) {
    World w;
    w.form({1, 2});
    w.cut(1, 2);
    w.run(20000);
    EXPECT_EQ(w.state(1), KRG_MBR_SUSPENDED);
    EXPECT_EQ(w.state(2), KRG_MBR_SUSPENDED);
    w.heal();
    EXPECT_TRUE(w.agreed_within(4000, {1, 2})) << w.story();
}

TEST(MembershipFailure, A_survivor_of_two_admits_the_crashed_one_back) {
    World w;
    w.form({1, 2});
    w.crash(2);
    w.run(5000);
    EXPECT_EQ(w.state(1), KRG_MBR_SUSPENDED);
    w.start(2);
    w.join(2);
    w.run(20000);
    EXPECT_NE(w.state(2), KRG_MBR_SERVING) << "the old node 2 is needed for a decision, and it is gone";
    w.recover(1);
    EXPECT_TRUE(w.agreed_within(10000, {1, 2})) << w.story();
}

World::Options with_witness() {
    World::Options o;
    o.witness = true;
    return o;
}

TEST(MembershipFailure, With_a_witness_the_survivor_of_two_goes_on) {
    for (int victim : {1, 2}) {
        World w(with_witness());
        w.form({1, 2});
        w.crash(victim);
        EXPECT_TRUE(w.agreed_within(8000, {3 - victim})) << w.story();
    }
}

TEST(MembershipFailure, With_a_witness_exactly_one_of_two_separated_nodes_goes_on) {
    for (u64 phase = 0; phase < 500; phase += 10) {
        World w(with_witness());
        w.form({1, 2});
        w.run(phase);
        w.cut(1, 2);
        w.run(10000);
        EXPECT_EQ(w.serving(1) + w.serving(2), 1) << w.story();
        int stays = w.serving(1) ? 1 : 2;
        w.heal();
        w.run(3000);
        EXPECT_TRUE(w.agree({stays})) << w.story();
        EXPECT_EQ(w.count(3 - stays, KRG_MBR_ACT_EXPELLED), 1) << w.story();
    }
}

TEST(MembershipFailure, The_node_that_sees_the_witness_goes_on) {
    World w(with_witness());
    w.form({1, 2});
    w.cut_witness(1);
    w.cut(1, 2);
    EXPECT_TRUE(w.agreed_within(8000, {2})) << w.story();
    EXPECT_EQ(w.state(1), KRG_MBR_SUSPENDED);
}

TEST(MembershipFailure, Without_sight_of_the_witness_two_nodes_suspend) {
    World w(with_witness());
    w.form({1, 2});
    w.cut_witness(1);
    w.cut_witness(2);
    w.cut(1, 2);
    w.run(10000);
    EXPECT_EQ(w.state(1), KRG_MBR_SUSPENDED);
    EXPECT_EQ(w.state(2), KRG_MBR_SUSPENDED);
    w.heal();
    EXPECT_TRUE(w.agreed_within(5000, {1, 2})) << w.story();
}

TEST(MembershipFailure, With_a_witness_half_of_four_goes_on) {
    World w(with_witness());
    w.form({1, 2, 3, 4});
    w.cut({1, 2}, {3, 4});
    w.run(10000);
    EXPECT_TRUE(w.agree({1, 2}) != w.agree({3, 4})) << w.story();
}

TEST(MembershipFailure, The_witness_is_asked_again_for_each_epoch) {
    World w(with_witness());
    w.form({1, 2, 3, 4});
    w.cut({1, 2}, {3, 4});
    w.run(10000);
    Ids stay = w.serving(1) ? Ids{1, 2} : Ids{3, 4};
    ASSERT_TRUE(w.agree(stay)) << w.story();
    w.crash(stay[1]);
    EXPECT_TRUE(w.agreed_within(8000, {stay[0]})) << w.story();
}

TEST(MembershipFailure, The_operators_word_forms_a_view_without_quorum) {
    World w;
    w.form({1, 2, 3});
    u64 epoch = w.epoch(1);
    w.crash(1);
    w.crash(2);
    w.run(6000);
    EXPECT_EQ(w.state(3), KRG_MBR_SUSPENDED);
    w.recover(3);
    EXPECT_TRUE(w.agreed_within(5000, {3})) << w.story();
    EXPECT_EQ(w.epoch(3), epoch + (1ull << 32));
}

TEST(MembershipFailure, The_operators_word_is_not_taken_while_there_is_a_quorum) {
    World w;
    w.form({1, 2, 3});
    u64 epoch = w.epoch(1);
    w.recover(1);
    w.run(1000);
    EXPECT_EQ(w.epoch(1), epoch);
}

krg_mbr_recovery may_recover(World& w, int node) { return krg_mbr_may_recover(w.engine(node), w.clock(node)); }

TEST(MembershipFailure, A_node_that_is_to_be_evicted_says_that_it_cannot_recover) {
    World w;
    w.form({1, 2, 3, 4, 5});
    for (int i : {3, 4, 5}) w.crash(i);
    w.run(3000);
    EXPECT_EQ(may_recover(w, 1), KRG_MBR_RECOVERY_OK);
    w.evict(2, 1);
    w.run(500);
    u64 epoch = w.epoch(1);
    EXPECT_EQ(may_recover(w, 1), KRG_MBR_RECOVERY_GOING);
    w.recover(1);
    w.run(500);
    EXPECT_EQ(w.epoch(1), epoch) << "as it said";
    EXPECT_EQ(may_recover(w, 2), KRG_MBR_RECOVERY_OK);
    w.recover(2);
    EXPECT_TRUE(w.agreed_within(5000, {2})) << w.story();
}

TEST(MembershipFailure, Why_there_is_nothing_to_recover) {
    World w;
    w.start(8);
    EXPECT_EQ(may_recover(w, 8), KRG_MBR_RECOVERY_NO_VIEW);
    w.form({1, 2, 3, 4, 5, 6, 7});
    EXPECT_EQ(may_recover(w, 1), KRG_MBR_RECOVERY_QUORUM);
    for (int i : {4, 5, 6, 7}) w.crash(i);
    w.cut(2, 3);
    w.run(5000);
    EXPECT_EQ(may_recover(w, 1), KRG_MBR_RECOVERY_OK);
    EXPECT_EQ(may_recover(w, 3), KRG_MBR_RECOVERY_OUTSIDE) << "1 and 2 reach each other";
}

TEST(MembershipFailure, Recovered_nodes_expel_those_who_were_not_dead) {
    World w;
    w.form({1, 2, 3, 4});
    w.cut({1, 2}, {3, 4});
    w.run(6000);
    w.recover(3);
    EXPECT_TRUE(w.agreed_within(5000, {3, 4})) << w.story();
    EXPECT_FALSE(w.serving(1) || w.serving(2));
    w.heal();
    w.run(3000);
    EXPECT_EQ(w.count(1, KRG_MBR_ACT_EXPELLED), 1) << w.story();
    EXPECT_EQ(w.count(2, KRG_MBR_ACT_EXPELLED), 1) << w.story();
}

}  // namespace
}  // namespace krg::test
