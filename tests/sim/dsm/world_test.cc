// SPDX-License-Identifier: GPL-2.0
//
// The small world itself, with the real engine in it: it repeats, it can be saved and restored, its oracle keeps its
// promises, and its moves can be replayed with some of them left out.
#include <algorithm>
#include <gtest/gtest.h>

#include "tests/sim/dsm/drive.hh"

using namespace krg::sim;
using namespace krg::sim::dsm;

namespace {

using RunSetup = krg::sim::dsm::Setup;  // GoogleTest's fixtures have a Setup of their own

RunSetup plain(unsigned nodes, u8 k) {
    RunSetup s;
    s.nodes = nodes;
    s.params.retry_us = 100;
    s.params.attempts = 4;
    s.params.parked_max = 1000;
    krg_dsm_object o{};
    o.container = 1;
    o.policy.cls = k == 1 ? KRG_DSM_VOLATILE : KRG_DSM_DURABLE;
    o.policy.replicas = k;
    s.objects.push_back(o);
    return s;
}

u64 hash_of(const World& world) {
    RunHash h;
    world.hash(h, true);
    return h.value();
}

Move begin(NodeId node, Op op) { return {MoveKind::begin, static_cast<u8>(node), 0, static_cast<u8>(op), 0}; }

TEST(DsmWorld, ViewComesToAll) {
    World world(plain(3, 1));
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(world.at().epoch, 1U);
    EXPECT_TRUE(world.calm());
    for (NodeId n = 1; n <= 3; n++) EXPECT_TRUE(world.at().committed[n]);
}

TEST(DsmWorld, WhatOneWritesAnotherReads) {
    World world(plain(3, 2));
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply(begin(1, Op::write)));
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply(begin(2, Op::read)));
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(world.edge(2).at().page[0].value, value_of(1, 1));
    check_idle(world);
    EXPECT_FALSE(world.broken()) << world.broken().text;
}

TEST(DsmWorld, CommitOnlyAfterAllArePrepared) {
    World world(plain(2, 1));
    ASSERT_TRUE(world.apply({MoveKind::propose}));
    ASSERT_TRUE(world.apply({MoveKind::prepare, 1}));
    EXPECT_FALSE(world.enabled({MoveKind::commit, 1}));
    ASSERT_TRUE(world.apply({MoveKind::prepare, 2}));
    EXPECT_TRUE(world.enabled({MoveKind::commit, 1}));
}

TEST(DsmWorld, ResetLosesWhatIsInFlightUntilTheNextEpoch) {
    World world(plain(2, 1));
    ASSERT_TRUE(settle(world));
    const u64 before = world.counts().lost_messages;
    ASSERT_TRUE(world.apply({MoveKind::reset, 1, 2}));
    // Whoever has to talk to the other does so in vain.
    for (NodeId n = 1; n <= 2; n++) ASSERT_TRUE(world.apply(begin(n, Op::write)));
    EXPECT_FALSE(world.in_flight());
    EXPECT_GT(world.counts().lost_messages, before);
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(world.at().epoch, 2U);
    EXPECT_EQ(world.edge(1).busy() + world.edge(2).busy(), "");
}

TEST(DsmWorld, LastMemberIsNotExpendable) {
    World world(plain(2, 1));
    EXPECT_FALSE(world.enabled({MoveKind::crash, 1})) << "nobody has recovered yet";
    ASSERT_TRUE(settle(world));
    EXPECT_TRUE(world.enabled({MoveKind::crash, 1}));
    ASSERT_TRUE(world.apply({MoveKind::crash, 2}));
    EXPECT_FALSE(world.enabled({MoveKind::crash, 1}));
}

TEST(DsmWorld, OneSeedIsOneRun) {
    for (u64 seed : {u64{3}, u64{77}}) {
        const RunSetup setup = draw_setup(seed);
        const RunOutcome a = run_seed(setup);
        const RunOutcome b = run_seed(setup);
        EXPECT_EQ(a.hash, b.hash);
        EXPECT_EQ(a.counts.events, b.counts.events);
        EXPECT_EQ(run_moves(setup, a.moves).hash, a.hash) << "the moves are the run";
    }
}

TEST(DsmWorld, SavedAndRestored) {
    RunSetup setup = plain(3, 2);
    setup.arenas = true;
    World world(setup);
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply(begin(1, Op::write)));
    const u64 before = hash_of(world);
    const auto saved = world.save(~0U);
    ASSERT_TRUE(settle(world));
    const u64 after = hash_of(world);
    EXPECT_NE(before, after);
    world.restore(*saved);
    EXPECT_EQ(hash_of(world), before);
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(hash_of(world), after) << "the same way once more";
}

TEST(DsmWorld, ForgottenMovesAreLeftOut) {
    const RunSetup setup = plain(2, 1);
    const std::vector<Move> moves = {{MoveKind::deliver, 1, 2}, {MoveKind::propose}, {MoveKind::commit, 1}};
    const RunOutcome out = run_moves(setup, moves);
    EXPECT_FALSE(out.broken) << out.broken.text;
    EXPECT_EQ(out.moves.size(), 1U) << "a message and a COMMIT that nobody sent are not possible";
}

}  // namespace
