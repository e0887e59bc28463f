// SPDX-License-Identifier: GPL-2.0
// The agreement on the next view: lost decisions, competing proposers, values
// that were accepted but not decided, and the leases that a new view waits for.
#include "tests/unit/membership_world.hh"

namespace krg::test {
namespace {

TEST(MembershipAgreement, A_missed_decision_is_repaired_by_renewals) {
    World w;
    w.form({1, 2, 3, 4});
    w.drop = [&](int, int to, const Bytes& m) { return to == 3 && m[1] == Decide; };
    u64 epoch = w.epoch(1);
    w.crash(4);
    ASSERT_TRUE(w.until(5000, [&] { return w.epoch(1) > epoch; })) << w.story();
    w.run(100);
    EXPECT_EQ(w.epoch(3), epoch);
    w.drop = nullptr;
    EXPECT_TRUE(w.agreed_within(4000, {1, 2, 3})) << w.story();
    EXPECT_EQ(w.epoch(3), epoch + 1);
}

TEST(MembershipAgreement, A_member_may_jump_over_several_epochs) {
    World w;
    w.form({1, 2, 3, 4, 5});
    u64 epoch = w.epoch(1);
    w.drop = [&](int, int to, const Bytes& m) { return to == 3 && m[1] == Decide; };
    w.reset(1, 2);
    ASSERT_TRUE(w.until(3000, [&] { return w.epoch(1) == epoch + 1; })) << w.story();
    w.reset(1, 2);
    ASSERT_TRUE(w.until(3000, [&] { return w.epoch(1) == epoch + 2; })) << w.story();
    EXPECT_EQ(w.epoch(3), epoch);
    int prepared = w.count(3, KRG_MBR_ACT_PREPARE);
    w.drop = nullptr;
    EXPECT_TRUE(w.agreed_within(4000, {1, 2, 3, 4, 5})) << w.story();
    EXPECT_EQ(w.count(3, KRG_MBR_ACT_PREPARE), prepared + 1) << "one step, not one by one\n" << w.story();
}

TEST(MembershipAgreement, A_joiner_whose_decision_is_lost_hears_of_it_from_any_member) {
    World w;
    w.form({1, 2, 3});
    bool once = true;
    w.drop = [&](int, int to, const Bytes& m) { return once && to == 4 && m[1] == Decide; };
    w.join(4);
    w.run(500);
    once = false;
    EXPECT_TRUE(w.agreed_within(3000, {1, 2, 3, 4})) << w.story();
}

TEST(MembershipAgreement, A_proposer_that_dies_after_a_minority_accepted_leaves_no_deadlock) {
    for (int accepts : {2, 3, 4}) {
        World w;
        w.form({1, 2, 3, 4, 5});
        w.drop = [&](int, int to, const Bytes& m) { return m[1] == P2a && to != accepts && w.members(1).size() == 5; };
        bool accepted = false;
        w.on_send = [&](int from, int, const Bytes& m) { accepted = accepted || (from == accepts && m[1] == P2b); };
        w.crash(5);
        ASSERT_TRUE(w.until(5000, [&] { return accepted; })) << w.story();
        w.crash(1);
        w.drop = nullptr;
        Ids rest{2, 3, 4};
        ASSERT_TRUE(w.agreed_within(12000, rest)) << "only node " << accepts << " accepted\n" << w.story();
    }
}

TEST(MembershipAgreement, A_value_accepted_by_some_but_proposed_by_nobody_any_more_is_completed) {
    // The reason for the proposal goes away (the cut heals) after one node has accepted: that node is frozen and must be freed.
    World w;
    w.options.reset_after = 100000;
    w.form({1, 2, 3, 4, 5});
    bool armed = true, accepted = false;
    w.drop = [&](int, int to, const Bytes& m) { return armed && m[1] == P2a && to != 2; };
    w.on_send = [&](int from, int, const Bytes& m) { accepted = accepted || (from == 2 && m[1] == P2b); };
    w.cut({5}, {1, 2, 3, 4});
    ASSERT_TRUE(w.until(5000, [&] { return accepted; })) << w.story();
    w.crash(1);  // the proposer
    w.heal();
    armed = false;
    EXPECT_TRUE(w.until(15000, [&] { return w.serving(2) && w.serving(3) && w.serving(4); })) << w.story();
    w.run(5000);
    EXPECT_TRUE(w.serving(2)) << w.story();
    EXPECT_EQ(w.epoch(2), w.epoch(3));
}

TEST(MembershipAgreement, Competing_proposers_agree_in_bounded_time) {
    // Every pair (1,x) is cut one way so that ranks mislead: several nodes believe they are the lowest that works.
    for (u64 seed = 0; seed < 20; seed++) {
        World w;
        w.configure = [&](krg_mbr_config& c) { c.seed = c.self * 100 + seed; };
        w.form({1, 2, 3, 4, 5, 6, 7});
        w.cut({1}, {2, 3, 4});
        w.cut(2, 5);
        ASSERT_TRUE(w.until(15000, [&] {
            int serving = 0;
            for (int i = 1; i <= 7; i++) serving += w.serving(i);
            return w.epoch(7) > 2 && serving >= 4;
        })) << w.story();
    }
}

TEST(MembershipAgreement, An_acceptor_acknowledges_nobody_until_the_next_view) {
    World w;
    w.form({1, 2, 3, 4, 5});
    w.run(3000);
    u64 accepted_at = 0, last_ack = 0;
    w.drop = [&](int, int to, const Bytes& m) {
        return (m[1] == P2a && to != 3) || m[1] == P2b || (accepted_at && (m[1] == P1a || m[1] == P2a || m[1] == Decide));
    };
    w.on_send = [&](int from, int, const Bytes& m) {
        if (from != 3) return;
        if (m[1] == P2b && !accepted_at) accepted_at = w.now();
        if (m[1] != Renew) return;
        u64 ack = 0;
        for (int i = 0; i < 8; i++) ack |= u64(m[36 + i]) << (8 * i);  // header 20, stamp 8, heard 8
        if (ack && accepted_at) last_ack = w.now();
    };
    w.crash(5);
    ASSERT_TRUE(w.until(5000, [&] { return accepted_at != 0; })) << w.story();
    w.run(3000);
    EXPECT_EQ(last_ack, 0u);
}

// The counterexample of Documentation/membership.md: A=1 B=2 x=3 C=4 y=5, joiners 6 and 7.
TEST(MembershipAgreement, A_member_of_the_accepted_view_does_not_outlive_a_later_view) {
    World w;
    w.options.reset_after = 100;
    w.form({1, 2, 3, 4, 5});
    w.run(1000);
    u64 epoch = w.epoch(1);
    // 2 leaves the plan by eviction, 6 and 7 come in; the decision reaches 4, 5, 6, 7 only.
    w.drop = [&](int, int to, const Bytes& m) {
        return (m[1] == P2a && (to == 2 || to == 3)) || (m[1] == Decide && (to == 1 || to == 2 || to == 3));
    };
    w.join(6);
    w.join(7);
    w.evict(4, 2);
    w.evict(4, 1);
    w.until(3000, [&] { return w.epoch(4) > epoch; });
    w.cut({1, 2, 3}, {4, 5, 6, 7});
    w.drop = nullptr;
    w.run(20000);  // the world checks after every step that 3 does not serve while the others do
    EXPECT_FALSE(w.serving(3)) << w.story();
    EXPECT_TRUE(w.agree({4, 5, 6, 7})) << w.story();
}

TEST(MembershipAgreement, A_late_decision_still_waits_for_the_leases_it_ends) {
    World w;
    w.form({1, 2, 3, 4});
    w.run(3000);
    u64 cut = w.now();
    w.cut({4}, {1, 2, 3});
    ASSERT_TRUE(w.until(5000, [&] { return w.epoch(1) > 2 && w.members(1) == (Ids{1, 2, 3}); })) << w.story();
    ASSERT_TRUE(w.agreed_within(5000, {1, 2, 3})) << w.story();
    EXPECT_GE(w.now(), cut + 2000 - 500);
    EXPECT_LE(w.now(), cut + 2000 + 100 + 300);
}

TEST(MembershipAgreement, Nobody_waits_for_somebody_who_left_by_its_own_word) {
    World w;
    w.form({1, 2, 3});
    w.run(3000);
    w.leave(2);
    ASSERT_TRUE(w.until(3000, [&] { return w.count(2, KRG_MBR_ACT_LEFT) == 1; }));
    EXPECT_TRUE(w.agreed_within(100, {1, 3})) << w.story();
}

TEST(MembershipAgreement, Hold_answers_of_an_acceptor_are_what_its_leases_say) {
    World w;
    w.form({1, 2, 3, 4, 5});
    w.run(3000);
    u64 crashed = w.now();
    u32 worst = 0, answers = 0;
    w.on_send = [&](int, int, const Bytes& m) {
        if (m[1] != P2b) return;
        u32 hold = 0;
        for (int i = 0; i < 4; i++) hold |= u32(m[34 + i]) << (8 * i);  // header 20, target 8, ballot 6
        worst = std::max(worst, hold);
        answers++;
        // The newest renewal of node 5 that anybody acknowledged arrived before it crashed.
        EXPECT_LE(w.now() + hold, crashed + 1 + 2000 + 100);
    };
    w.crash(5);
    ASSERT_TRUE(w.agreed_within(6000, {1, 2, 3, 4})) << w.story();
    EXPECT_GE(answers, 2u);
    EXPECT_GT(worst, 0u);
}

TEST(MembershipAgreement, A_view_is_not_decided_when_those_who_stay_are_out_of_reach) {
    // 5 is dead; the moment 1 proposes {1,2,3,4}, the network splits into {1,2,6} and {3,4}: a quorum of the old view could
    // still remove 5 and 6, but the view that is left would be without a quorum for ever.
    World w;
    w.options.reset_after = 100000;
    w.form({1, 2, 3, 4, 5, 6});
    w.cut({6}, {3, 4});
    bool split = false;
    w.on_send = [&](int from, int, const Bytes& m) {
        if (split || from != 1 || (m[1] != P1a && m[1] != P2a)) return;
        split = true;
        w.cut({1, 2, 6}, {3, 4});
        w.crash(5);
    };
    w.run(6000);
    ASSERT_TRUE(split) << w.story();
    w.heal();
    EXPECT_TRUE(w.until(10000, [&] { return w.serving(1) && w.serving(2); })) << w.story();
}

TEST(MembershipAgreement, A_node_that_was_expelled_counts_for_nothing) {
    World w;
    w.form({1, 2, 3});
    w.cut({3}, {1, 2});
    ASSERT_TRUE(w.agreed_within(6000, {1, 2}));
    w.heal();
    w.run(2000);
    ASSERT_EQ(w.count(3, KRG_MBR_ACT_EXPELLED), 1);
    w.crash(2);
    w.run(10000);
    EXPECT_EQ(w.state(1), KRG_MBR_SUSPENDED) << "the dead incarnation of 3 must not help 1";
}

TEST(MembershipAgreement, Constant_resets_do_not_make_a_storm_of_epochs) {
    World w;
    w.form({1, 2, 3});
    u64 epoch = w.epoch(1);
    for (int i = 0; i < 100; i++) {
        w.reset(1, 2);
        w.reset(2, 3);
        w.run(100);
    }
    w.run(5000);
    EXPECT_TRUE(w.agree({1, 2, 3})) << w.story();
    EXPECT_LE(w.epoch(1) - epoch, 60u);
}

}  // namespace
}  // namespace krg::test
