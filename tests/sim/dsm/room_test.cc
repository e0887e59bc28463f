// SPDX-License-Identifier: GPL-2.0
//
// Evictions, and what nodes do with little room, in worlds so small that every copy is known.
#include <gtest/gtest.h>

#include "tests/sim/dsm/drive.hh"

using namespace krg::sim;
using namespace krg::sim::dsm;

namespace {

using RunSetup = krg::sim::dsm::Setup;

/// Three nodes, home node 1; node n has room for @p room pages (0: any number).
RunSetup small(u8 k, u32 objects, u32 room) {
    RunSetup s;
    s.nodes = 3;
    s.params.retry_us = 100;
    s.params.attempts = 4;
    s.params.parked_max = 1000;
    s.memory_pages = room;
    for (u32 i = 0; i < objects; i++) {
        krg_dsm_object o{};
        o.container = 1;
        o.index = i;
        o.policy.cls = k == 1 ? KRG_DSM_VOLATILE : KRG_DSM_DURABLE;
        o.policy.replicas = k;
        o.policy.affinity = 1;
        s.objects.push_back(o);
    }
    return s;
}

class DsmRoom : public testing::Test {
protected:
    void start(const RunSetup& setup) {
        world_ = std::make_unique<World>(setup);
        rest();
    }
    void rest() { ASSERT_TRUE(settle(*world_, false)) << world_->broken().text; }
    void does(NodeId node, Op op, u8 object) {
        ASSERT_TRUE(world_->apply({MoveKind::begin, static_cast<u8>(node), 0, static_cast<u8>(op), object}));
        rest();
    }
    void evict(NodeId node, u8 object, bool cheap = false) {
        ASSERT_TRUE(world_->apply({MoveKind::evict, static_cast<u8>(node), object, static_cast<u8>(cheap ? 1 : 0)}));
        rest();
    }
    krg_dsm_copy copy(NodeId node, u8 object) {
        krg_dsm_copy c{};
        krg_dsm_inspect(world_->edge(node).engine(), &world_->setup().objects[object], &c);
        return c;
    }
    unsigned holders(u8 object) {
        unsigned n = 0;
        for (NodeId node = 1; node <= 3; node++) n += copy(node, object).state != KRG_DSM_I ? 1 : 0;
        return n;
    }
    u64 pages(NodeId node) { return krg_dsm_pages(world_->edge(node).engine()); }
    krg_dsm_stats stats(NodeId node) {
        krg_dsm_stats s{};
        krg_dsm_get_stats(world_->edge(node).engine(), &s);
        return s;
    }
    std::unique_ptr<World> world_;
};

TEST_F(DsmRoom, TheOnlyCopyMoves) {
    start(small(1, 1, 0));
    does(2, Op::write, 0);
    EXPECT_EQ(pages(2), 1U);
    evict(2, 0, true);
    EXPECT_EQ(copy(2, 0).state, KRG_DSM_X) << "that would not be cheap";
    evict(2, 0);
    EXPECT_EQ(copy(2, 0).state, KRG_DSM_I);
    EXPECT_EQ(pages(2), 0U);
    EXPECT_EQ(holders(0), 1U);
    EXPECT_EQ(stats(1).injections + stats(3).injections, 1U);
    does(2, Op::read, 0);
    EXPECT_EQ(world_->edge(2).at().page[0].value, value_of(2, 1));
    evict(2, 0, true);
    EXPECT_EQ(copy(2, 0).state, KRG_DSM_I) << "another node has it";
}

TEST_F(DsmRoom, FullNodesTakeNothing) {
    start(small(1, 3, 1));
    for (NodeId n = 1; n <= 3; n++) does(n, Op::write, static_cast<u8>(n - 1));
    for (NodeId n = 1; n <= 3; n++) {
        EXPECT_EQ(world_->edge(n).at().room, KRG_DSM_FULL);
        EXPECT_EQ(stats(n).full, 3U);
    }
    evict(2, 1);
    EXPECT_EQ(holders(1), 1U);
    EXPECT_NE(copy(2, 1).state, KRG_DSM_I) << "there is no room anywhere";
    EXPECT_EQ(stats(2).evictions_refused, 1U);
    EXPECT_EQ(stats(1).injections + stats(3).injections, 0U);
}

TEST_F(DsmRoom, FirstWritesNeedRoomForTheirCopies) {
    start(small(2, 6, 2));
    const auto failed = [&] { return world_->edge(1).failed_operations(); };
    for (u8 o = 0; o < 6; o++) {
        does(1, Op::write, o);
        ASSERT_TRUE(world_->apply({MoveKind::sync, 1}));
        rest();
    }
    EXPECT_GT(failed(), 0U) << "two other nodes have room for two pages each";
    EXPECT_EQ(stats(1).writes_refused, failed());
    const u64 before = failed();
    does(2, Op::write, 0);
    does(1, Op::write, 0);
    EXPECT_EQ(failed(), before) << "what exists may be written by everybody";
    world_->heal();
    for (u8 o = 0; o < 6; o++) does(1, Op::write, o);
    EXPECT_EQ(failed(), before);
}

TEST_F(DsmRoom, ColdCopiesAreFoundOnce) {
    start(small(2, 2, 0));
    for (u8 o = 0; o < 2; o++) does(1, Op::write, o);
    ASSERT_TRUE(world_->apply({MoveKind::sync, 1}));
    rest();
    const NodeId backup = copy(2, 0).state == KRG_DSM_R ? 2 : 3;
    krg_dsm* engine = world_->edge(backup).engine();
    krg_dsm_object found[4] = {};
    EXPECT_EQ(krg_dsm_objects(engine), 2U);
    EXPECT_EQ(krg_dsm_cold(engine, 16, found, 4), 0U) << "they have just come";
    EXPECT_EQ(krg_dsm_cold(engine, 16, found, 4), 2U);
    EXPECT_NE(found[0].index, found[1].index);
    EXPECT_EQ(krg_dsm_cold(engine, 1, found, 4), 1U);
    const u64 first = found[0].index;
    EXPECT_EQ(krg_dsm_cold(engine, 1, found, 4), 1U);
    EXPECT_NE(found[0].index, first) << "it goes on where it stopped";
    EXPECT_EQ(krg_dsm_cold(world_->edge(1).engine(), 16, found, 4), 0U) << "in the page cache: the edge knows better";
    evict(backup, 0);
    EXPECT_EQ(copy(backup, 0).state, KRG_DSM_I) << "the third node keeps it now";
    EXPECT_EQ(holders(0), 2U);
}

}  // namespace
