// SPDX-License-Identifier: GPL-2.0
//
// What the engine counts, in worlds so small that every number is known.
#include <gtest/gtest.h>

#include "tests/sim/dsm/drive.hh"

using namespace krg::sim;
using namespace krg::sim::dsm;

namespace {

constexpr u16 home = 1;

/// @p nodes nodes, one object whose home is node 1.
krg::sim::dsm::Setup with_home(NodeId nodes, u8 k, u32 objects = 1) {
    krg::sim::dsm::Setup s;
    s.nodes = nodes;
    s.params.retry_us = 100;
    s.params.attempts = 4;
    s.params.parked_max = 1000;
    s.params.pong_us = 1000000;
    for (u32 i = 0; i < objects; i++) {
        krg_dsm_object o{};
        o.container = 1;
        o.index = i;
        o.policy.cls = k == 1 ? KRG_DSM_VOLATILE : KRG_DSM_DURABLE;
        o.policy.replicas = k;
        o.policy.affinity = home;
        s.objects.push_back(o);
    }
    return s;
}

krg_dsm_stats stats_of(const World& world, NodeId node) {
    krg_dsm_stats s{};
    krg_dsm_get_stats(world.edge(node).engine(), &s);
    return s;
}

void does(World& world, NodeId node, Op op, u8 object = 0) {
    ASSERT_TRUE(world.apply({MoveKind::begin, static_cast<u8>(node), 0, static_cast<u8>(op), object}));
    ASSERT_TRUE(settle(world)) << world.broken().text;
}

TEST(DsmStats, AnswersByHops) {
    World world(with_home(3, 1));
    ASSERT_TRUE(settle(world));
    does(world, home, Op::write);
    EXPECT_EQ(stats_of(world, home).answered_here, 1U);
    does(world, 2, Op::read);  // the home has the page
    EXPECT_EQ(stats_of(world, 2).hops_2, 1U);
    does(world, 3, Op::write);  // the home invalidates itself and another
    EXPECT_EQ(stats_of(world, 3).hops_3, 1U);
    does(world, 2, Op::read);  // requester, home, holder
    EXPECT_EQ(stats_of(world, 2).hops_3, 1U);
    does(world, home, Op::read);
    EXPECT_EQ(stats_of(world, home).hops_2 + stats_of(world, home).answered_here, 2U);
    for (NodeId n = 1; n <= 3; n++) {
        const krg_dsm_stats s = stats_of(world, n);
        EXPECT_EQ(s.requests, s.hits + s.misses + s.errors) << n;
        EXPECT_EQ(s.misses, s.answered_here + s.hops_2 + s.hops_3) << n;
    }
}

TEST(DsmStats, WhatIsHereIsNoMiss) {
    World world(with_home(2, 1));
    ASSERT_TRUE(settle(world));
    does(world, 2, Op::write);
    const u64 misses = stats_of(world, 2).misses;
    EXPECT_GE(misses, 1U);
    does(world, 2, Op::read);
    does(world, 2, Op::write);
    EXPECT_EQ(stats_of(world, 2).misses, misses);
}

TEST(DsmStats, BytesAndPagesComeAndGo) {
    World world(with_home(2, 1));
    ASSERT_TRUE(settle(world));
    does(world, 2, Op::write);
    does(world, home, Op::read);
    const krg_dsm_stats a = stats_of(world, home), b = stats_of(world, 2);
    EXPECT_EQ(a.pages_in, 1U);
    EXPECT_EQ(b.pages_out, 1U);
    EXPECT_EQ(a.bytes_in, b.bytes_out);
    EXPECT_EQ(b.bytes_in, a.bytes_out);
    EXPECT_EQ(a.messages_in, b.messages_out);
    EXPECT_EQ(b.downgrades, 1U);
}

TEST(DsmStats, APageThatGoesBackAndForth) {
    World world(with_home(2, 1));
    ASSERT_TRUE(settle(world));
    does(world, home, Op::write);
    does(world, 2, Op::write);
    EXPECT_EQ(stats_of(world, home).ping_pongs + stats_of(world, 2).ping_pongs, 0U);
    does(world, home, Op::write);
    EXPECT_EQ(stats_of(world, home).ping_pongs, 1U);
    does(world, 2, Op::write);
    EXPECT_EQ(stats_of(world, 2).ping_pongs, 1U);
}

TEST(DsmStats, CopiesByState) {
    World world(with_home(3, 2));
    ASSERT_TRUE(settle(world));
    does(world, 2, Op::write);
    does(world, 3, Op::read);  // commits first
    krg_dsm_stats all{};
    for (NodeId n = 1; n <= 3; n++) {
        const krg_dsm_stats s = stats_of(world, n);
        all.shared += s.shared;
        all.exclusive += s.exclusive;
        all.retained += s.retained;
        all.frozen += s.frozen;
        all.staged += s.staged;
        all.batches += s.batches;
    }
    EXPECT_EQ(all.exclusive, 0U);
    EXPECT_EQ(all.shared, 2U) << "writer and reader";
    EXPECT_EQ(all.frozen + all.staged, 0U);
    EXPECT_EQ(all.batches, 1U);
}

TEST(DsmStats, LostWithItsOnlyHolder) {
    World world(with_home(3, 1, 3));
    ASSERT_TRUE(settle(world));
    does(world, 2, Op::write, 0);
    does(world, 2, Op::write, 1);
    does(world, 3, Op::write, 2);
    EXPECT_EQ(stats_of(world, home).lost_objects, 0U);
    ASSERT_TRUE(world.apply({MoveKind::crash, 2}));
    ASSERT_TRUE(world.apply({MoveKind::propose}));
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(stats_of(world, home).lost_objects, 2U);
    EXPECT_EQ(stats_of(world, 3).lost_objects, 0U) << "its home knows";
    does(world, 3, Op::read, 0);
    EXPECT_EQ(stats_of(world, home).lost, 1U);
    EXPECT_EQ(stats_of(world, home).lost_objects, 2U) << "asking for it does not change it";
}

TEST(DsmStats, ReplicationIsCountedDown) {
    World world(with_home(4, 2, 3));
    ASSERT_TRUE(settle(world));
    for (u8 i = 0; i < 3; i++) {
        does(world, 2, Op::write, i);
        does(world, 3, Op::read, i);
    }
    krg_dsm_stats before = stats_of(world, home);
    EXPECT_EQ(before.repair_total, 0U);
    // Whoever of the others holds copies: one crash leaves every object with at least one, and some with only one.
    ASSERT_TRUE(world.apply({MoveKind::crash, 3}));
    ASSERT_TRUE(world.apply({MoveKind::propose}));
    ASSERT_TRUE(settle(world)) << world.broken().text;
    ASSERT_TRUE(world.apply({MoveKind::crash, 2}));
    ASSERT_TRUE(world.apply({MoveKind::propose}));
    ASSERT_TRUE(settle(world)) << world.broken().text;
    const krg_dsm_stats after = stats_of(world, home);
    EXPECT_EQ(after.repair_left, 0U);
    EXPECT_GT(after.repair_total, 0U);
    EXPECT_EQ(after.degraded, 0U);
    EXPECT_EQ(after.lost_objects, 0U);
}

}  // namespace
