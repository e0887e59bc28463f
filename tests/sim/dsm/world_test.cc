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

RunSetup plain(NodeId nodes, u8 k) {
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

/// All that can happen without time going on.
void at_once(World& world) {
    std::vector<Move> moves;
    for (int rounds = 0; rounds < 1000; rounds++) {
        moves.clear();
        fair_moves(world, moves);
        if (moves.empty()) return;
        for (const Move& m : moves)
            if (world.enabled(m)) {
                ASSERT_TRUE(world.apply(m)) << world.broken().text;
            }
    }
    FAIL() << "still at it";
}

RunSetup run_of(NodeId nodes, u8 k, unsigned objects) {
    RunSetup s = plain(nodes, k);
    s.params.ahead_max = 64;
    for (unsigned i = 1; i < objects; i++) {
        s.objects.push_back(s.objects[0]);
        s.objects[i].index = i;
    }
    return s;
}

Move of_object(NodeId node, Op op, unsigned object) {
    return {MoveKind::begin, static_cast<u8>(node), 0, static_cast<u8>(op), object};
}

krg_dsm_stats stats_of(World& world, NodeId node) {
    krg_dsm_stats s{};
    krg_dsm_get_stats(world.edge(node).engine(), &s);
    return s;
}

TEST(DsmWorld, WriterKeepsThePageForItsHoldTime) {
    RunSetup setup = plain(2, 1);
    setup.params.hold_us = 1000;
    World world(setup);
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply(begin(1, Op::write)));
    at_once(world);
    EXPECT_EQ(world.edge(1).busy(), "");
    ASSERT_TRUE(world.apply(begin(2, Op::write)));
    at_once(world);
    EXPECT_TRUE(world.edge(1).at().page[0].writable);
    ASSERT_TRUE(world.apply({MoveKind::time, 0, 0, 0, 999}));
    at_once(world);
    EXPECT_TRUE(world.edge(1).at().page[0].writable);
    ASSERT_TRUE(world.apply({MoveKind::time, 0, 0, 0, 1}));
    at_once(world);
    EXPECT_FALSE(world.edge(1).at().page[0].present);
    EXPECT_EQ(world.edge(2).at().page[0].value, value_of(2, 1));
}

TEST(DsmWorld, HoldTimeBeginsWithTheFirstUse) {
    RunSetup setup = plain(2, 1);
    setup.params.hold_us = 1000;
    World world(setup);
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply(begin(1, Op::write)));
    std::vector<Move> moves;
    while (world.edge(1).at().program[0].phase != Program::Phase::granted) {
        moves.clear();
        fair_moves(world, moves);
        ASSERT_FALSE(moves.empty());
        ASSERT_TRUE(world.apply(moves.front()));
    }
    ASSERT_TRUE(world.apply({MoveKind::time, 0, 0, 0, 5000}));
    ASSERT_TRUE(world.apply({MoveKind::use, 1, 0}));
    ASSERT_TRUE(world.apply(begin(2, Op::write)));
    at_once(world);
    EXPECT_TRUE(world.edge(1).at().page[0].writable) << "used this moment";
    ASSERT_TRUE(world.apply({MoveKind::time, 0, 0, 0, 1000}));
    at_once(world);
    EXPECT_FALSE(world.edge(1).at().page[0].present);
}

/// All want to write one page all the time: nobody waits for more than one turn of each of the others.
TEST(DsmWorld, ContendedPageGoesRound) {
    constexpr NodeId nodes = 5;
    RunSetup setup = plain(nodes, 1);
    setup.params.hold_us = 100;
    World world(setup);
    ASSERT_TRUE(settle(world));
    u64 last[nodes + 1] = {}, writes = 0;
    std::vector<Move> moves;
    while (writes < 200) {
        for (NodeId n = 1; n <= nodes; n++)
            if (const Move m = begin(n, Op::write); world.enabled(m)) {
                const bool here = world.edge(n).at().page[0].writable;
                if (!here) {
                    ASSERT_TRUE(world.apply(m)) << world.broken().text;
                }
            }
        moves.clear();
        fair_moves(world, moves);
        if (moves.empty()) moves.push_back({MoveKind::time, 0, 0, 0, 10});
        for (const Move& m : moves) {
            if (!world.enabled(m)) continue;
            ASSERT_TRUE(world.apply(m)) << world.broken().text;
            if (m.kind != MoveKind::use) continue;
            writes++;
            if (last[m.a] != 0) {
                EXPECT_LE(writes - last[m.a], 2 * nodes) << "node " << +m.a;
            }
            last[m.a] = writes;
        }
    }
    for (NodeId n = 1; n <= nodes; n++) EXPECT_GT(last[n], writes - 2 * nodes);
    EXPECT_LE(world.counts().overtakers, 2 * nodes);
}

TEST(DsmWorld, RunComesAheadInOneRequest) {
    constexpr unsigned objects = 4;
    World world(run_of(3, 1, objects));
    ASSERT_TRUE(settle(world));
    for (unsigned o = 0; o < objects; o++) {
        ASSERT_TRUE(world.apply(of_object(1, Op::write, o)));
        ASSERT_TRUE(settle(world)) << world.broken().text;
    }
    const u64 before = stats_of(world, 2).messages_out;
    ASSERT_TRUE(world.apply({MoveKind::ahead, 2, 0, 0, objects - 1}));
    // None or one message, if node 2 is home itself; the CLOSE of each object follows.
    EXPECT_LE(stats_of(world, 2).messages_out - before, objects);
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(stats_of(world, 2).ahead_asked, objects);
    EXPECT_EQ(stats_of(world, 2).ahead_got, objects);
    // Every fourth offer is not taken by the edge; the copy is there nevertheless.
    for (unsigned o = 0; o < objects; o++) {
        if (!world.edge(2).at().page[o].present) {
            const u64 messages = stats_of(world, 2).messages_out;
            ASSERT_TRUE(world.apply(of_object(2, Op::read, o)));
            EXPECT_EQ(stats_of(world, 2).messages_out, messages);
            ASSERT_TRUE(settle(world));
        }
        EXPECT_EQ(world.edge(2).at().page[o].value, value_of(1, o + 1));
    }
    check_idle(world);
    EXPECT_FALSE(world.broken()) << world.broken().text;
}

TEST(DsmWorld, WhatIsBeingWrittenDoesNotComeAhead) {
    RunSetup setup = run_of(3, 1, 2);
    setup.params.calm_us = 1000;
    World world(setup);
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply(of_object(1, Op::write, 0)));
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply({MoveKind::time, 0, 0, 0, 2000}));
    ASSERT_TRUE(world.apply(of_object(1, Op::write, 1)));
    at_once(world);
    ASSERT_TRUE(world.apply({MoveKind::ahead, 2, 0, 0, 1}));
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(stats_of(world, 2).ahead_got, 1U);
    EXPECT_TRUE(world.edge(1).at().page[1].writable);
    EXPECT_FALSE(world.edge(1).at().page[0].writable);
    EXPECT_EQ(stats_of(world, 1).ahead_skipped + stats_of(world, 2).ahead_skipped + stats_of(world, 3).ahead_skipped, 1U)
        << "the holder declines";
}

TEST(DsmWorld, ProgramThatWaitsForWhatIsSkippedGetsIt) {
    RunSetup setup = run_of(3, 2, 2);
    setup.params.calm_us = 1000000;
    World world(setup);
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply(of_object(1, Op::write, 1)));
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply({MoveKind::ahead, 2, 0, 0, 1}));
    ASSERT_TRUE(world.apply(of_object(2, Op::read, 1)));
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(world.edge(2).at().page[1].value, value_of(1, 1));
}

/// The pages of a sparse file that nobody has written need no page on the wire.
TEST(DsmWorld, ZerosDoNotTravel) {
    World world(run_of(3, 2, 4));
    ASSERT_TRUE(settle(world));
    const u64 before = world.counts().pages;
    ASSERT_TRUE(world.apply({MoveKind::ahead, 2, 0, 0, 3}));
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(stats_of(world, 2).ahead_got, 4U);
    EXPECT_EQ(world.counts().pages, before);
}

TEST(DsmWorld, NoMoreIsOnItsWayThanAllowed) {
    RunSetup setup = run_of(2, 1, 4);
    setup.params.ahead_max = 2;
    World world(setup);
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply({MoveKind::ahead, 2, 0, 0, 3}));
    EXPECT_LE(stats_of(world, 2).ahead_asked, 4U);
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(stats_of(world, 2).ahead_asked, 2U);
}

/// A run of first writes is one request, and then needs no message for any of its objects.
TEST(DsmWorld, RunToBeWrittenComesInOneRequest) {
    constexpr unsigned objects = 4;
    World world(run_of(3, 2, objects));
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply(of_object(2, Op::write, 0)));  // everybody knows of the chunk
    ASSERT_TRUE(settle(world)) << world.broken().text;
    ASSERT_TRUE(world.apply({MoveKind::ahead, 2, 0, 1, objects - 1}));
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(stats_of(world, 2).ahead_got, objects - 1);
    const u64 hits = stats_of(world, 2).hits;
    for (unsigned o = 1; o < objects; o++) {
        EXPECT_FALSE(world.edge(2).at().page[o].present) << "nothing is shown before it is asked for";
        ASSERT_TRUE(world.apply(of_object(2, Op::write, o)));
    }
    EXPECT_EQ(stats_of(world, 2).hits, hits + objects - 1);
    ASSERT_TRUE(settle(world)) << world.broken().text;
    check_idle(world);
    EXPECT_FALSE(world.broken()) << world.broken().text;
}

/// Who writes side by side with others takes nothing from them, and gives up at once what it has not used.
TEST(DsmWorld, RunToBeWrittenTakesNothingFromAnybody) {
    RunSetup setup = run_of(3, 1, 4);
    setup.params.hold_us = 1000;
    World world(setup);
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply(of_object(1, Op::write, 1)));
    ASSERT_TRUE(world.apply(of_object(3, Op::read, 2)));
    at_once(world);
    ASSERT_TRUE(world.apply({MoveKind::time, 0, 0, 0, 5000}));
    ASSERT_TRUE(world.apply({MoveKind::ahead, 2, 0, 1, 3}));
    at_once(world);
    EXPECT_EQ(stats_of(world, 2).ahead_got, 2U) << "objects 0 and 3";
    EXPECT_TRUE(world.edge(1).at().page[1].writable);
    EXPECT_TRUE(world.edge(3).at().page[2].present);
    ASSERT_TRUE(world.apply(of_object(1, Op::write, 3)));
    at_once(world);
    EXPECT_TRUE(world.edge(1).at().page[3].writable) << "no hold time for what no program has used";
}

/// What was there before it must not be lost for want of a small record: the connection would go, and with it the epoch.
TEST(DsmWorld, PageThatComesWithoutMemoryIsKept) {
    World world(plain(2, 1));
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply(begin(1, Op::write)));
    ASSERT_TRUE(settle(world));
    ASSERT_TRUE(world.apply(begin(2, Op::read)));
    std::vector<Move> moves;
    for (int i = 0; world.edge(2).at().program[0].phase != Program::Phase::granted; i++) {
        moves.clear();
        fair_moves(world, moves);
        ASSERT_TRUE(!moves.empty() && i < 100 && world.counts().resets_wanted == 0);
        Move m = moves.front();
        if (m.kind == MoveKind::deliver && m.b == 2) m.starve = 1;
        ASSERT_TRUE(world.apply(m)) << world.broken().text;
    }
    EXPECT_GT(world.counts().starved, 0U);
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(world.edge(2).at().page[0].value, value_of(1, 1));
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
