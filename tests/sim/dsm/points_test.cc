// SPDX-License-Identifier: GPL-2.0
//
// Recovery points in worlds so small that every page is known; their messages; and the rules that judge them, each with a
// history that breaks it.
#include <cerrno>
#include <cstring>
#include <gtest/gtest.h>

#include "hadsm/core/message.hh"
#include "tests/sim/dsm/drive.hh"

using namespace krg::sim;
using namespace krg::sim::dsm;

namespace {

krg::sim::dsm::Setup checkpointed(NodeId nodes, u8 k, u32 objects = 1) {
    krg::sim::dsm::Setup s;
    s.nodes = nodes;
    s.point_copies = k;
    s.params.retry_us = 100;
    s.params.attempts = 4;
    s.params.parked_max = 1000;
    for (u32 i = 0; i < objects; i++) {
        krg_dsm_object o{};
        o.container = 1;
        o.index = i;
        o.policy.cls = KRG_DSM_CHECKPOINTED;
        o.policy.replicas = k;
        o.policy.affinity = 3;
        s.objects.push_back(o);
    }
    return s;
}

void does(World& world, NodeId node, Op op, u32 object = 0) {
    ASSERT_TRUE(world.apply({MoveKind::begin, static_cast<u8>(node), 0, static_cast<u8>(op), object}));
    ASSERT_TRUE(settle(world)) << world.broken().text;
}

void does(World& world, MoveKind kind, NodeId node) {
    ASSERT_TRUE(world.enabled({kind, static_cast<u8>(node)}));
    ASSERT_TRUE(world.apply({kind, static_cast<u8>(node)})) << world.broken().text;
    ASSERT_TRUE(settle(world)) << world.broken().text;
}

Value value_at(World& world, NodeId node, u32 object = 0) {
    does(world, node, Op::read, object);
    return world.edge(node).at().page[object].value;
}

krg_dsm_point point_of(World& world, NodeId node) {
    krg_dsm_point p{};
    krg_dsm_get_point(world.edge(node).engine(), &p);
    return p;
}

/// Pages sent for a point that node @p node takes.
u64 cost(World& world, NodeId node) {
    const u64 before = world.counts().pages, taken = world.counts().points;
    does(world, MoveKind::point, node);
    EXPECT_EQ(world.counts().points, taken + 1);
    return world.counts().pages - before;
}

TEST(DsmPoints, TheWholeDomainGoesBack) {
    World world(checkpointed(3, 2, 3));
    ASSERT_TRUE(settle(world));
    does(world, 1, Op::write, 0);
    does(world, 2, Op::write, 1);
    const Value first = value_at(world, 1, 0), second = value_at(world, 3, 1);
    does(world, MoveKind::point, 2);
    for (NodeId n = 1; n <= 3; n++) {
        EXPECT_NE(point_of(world, n).id, 0U);
        EXPECT_EQ(point_of(world, n).id, point_of(world, 1).id);
        EXPECT_EQ(point_of(world, n).objects, 2U);
    }
    EXPECT_EQ(point_of(world, 1).copies + point_of(world, 2).copies + point_of(world, 3).copies, 4U) << "two of each object";
    does(world, 3, Op::write, 0);
    does(world, 1, Op::write, 1);
    does(world, 1, Op::write, 2);
    does(world, MoveKind::rollback, 3);
    EXPECT_EQ(world.counts().rollbacks, 1U);
    EXPECT_EQ(value_at(world, 2, 0), first);
    EXPECT_EQ(value_at(world, 2, 1), second);
    EXPECT_EQ(value_at(world, 2, 2), zeros) << "written after the point only";
    for (NodeId n = 1; n <= 3; n++) EXPECT_EQ(point_of(world, n).rollbacks, 1U);
}

TEST(DsmPoints, OnlyWhatChangedAndIsNotSharedCosts) {
    World world(checkpointed(3, 2, 4));
    ASSERT_TRUE(settle(world));
    for (u32 o = 0; o < 4; o++) does(world, 1, Op::write, o);
    EXPECT_EQ(cost(world, 1), 4U) << "the writer keeps one copy, and sends one, of each";
    EXPECT_EQ(cost(world, 1), 0U) << "nothing has changed";
    does(world, 1, Op::write, 0);
    EXPECT_EQ(cost(world, 2), 1U);
    does(world, 1, Op::write, 1);
    (void)value_at(world, 2, 1);
    EXPECT_EQ(cost(world, 3), 0U) << "two nodes share it already";
    (void)value_at(world, 3, 2);
    EXPECT_EQ(cost(world, 3), 0U) << "who reads changes nothing";
}

TEST(DsmPoints, FaultsAreThoseOfTheVolatileClass) {
    World world(checkpointed(3, 3));
    ASSERT_TRUE(settle(world));
    does(world, MoveKind::point, 1);
    for (int i = 0; i < 4; i++)
        for (NodeId n = 1; n <= 3; n++) does(world, n, Op::update);
    EXPECT_EQ(world.counts().batches, 0U);
    EXPECT_EQ(world.counts().copies_made, 0U);
}

TEST(DsmPoints, WhatIsLostTakesAllBack) {
    World world(checkpointed(3, 2, 2));
    ASSERT_TRUE(settle(world));
    does(world, 1, Op::write, 0);
    does(world, 2, Op::write, 1);
    const Value first = value_at(world, 3, 0);
    does(world, MoveKind::point, 3);
    does(world, 3, Op::write, 0);
    does(world, 1, Op::write, 1);
    does(world, MoveKind::crash, 1);
    EXPECT_EQ(world.counts().rollbacks, 1U) << "only node 1 had object 1";
    EXPECT_EQ(value_at(world, 3, 0), first) << "though nothing of object 0 was lost";
    EXPECT_EQ(point_of(world, 2).lacking + point_of(world, 3).lacking, 0U) << "there are two copies again";
}

TEST(DsmPoints, ACrashThatLosesNothingIsNoReasonUnlessTheDomainSaysSo) {
    for (const bool always : {false, true}) {
        krg::sim::dsm::Setup setup = checkpointed(4, 2);
        setup.crash_rolls_back = always;
        World world(setup);
        ASSERT_TRUE(settle(world));
        does(world, 1, Op::write);
        does(world, MoveKind::point, 1);
        does(world, 1, Op::write);
        const Value newest = value_at(world, 2);
        does(world, MoveKind::crash, 4);
        EXPECT_EQ(world.counts().rollbacks, always ? 1U : 0U);
        EXPECT_EQ(value_at(world, 2) == newest, !always);
    }
}

TEST(DsmPoints, ASecondCrashFindsTheCopiesMended) {
    World world(checkpointed(4, 2, 2));
    ASSERT_TRUE(settle(world));
    does(world, 1, Op::write, 0);
    does(world, 2, Op::write, 1);
    const Value first = value_at(world, 1, 0);
    does(world, MoveKind::point, 1);
    does(world, 1, Op::write, 0);
    does(world, MoveKind::crash, 1);
    EXPECT_EQ(value_at(world, 2, 0), first);
    does(world, 2, Op::write, 0);
    does(world, MoveKind::crash, 2);
    EXPECT_EQ(value_at(world, 4, 0), first);
}

TEST(DsmPoints, MoreCrashesThanCopiesAreSaid) {
    World world(checkpointed(4, 2, 2));
    ASSERT_TRUE(settle(world));
    for (u32 o = 0; o < 2; o++) does(world, 1, Op::write, o);
    does(world, MoveKind::point, 1);
    NodeId other = 0;
    for (NodeId n = 2; n <= 4; n++)
        if (point_of(world, n).copies != 0) other = n;
    ASSERT_NE(other, 0);
    ASSERT_TRUE(world.apply({MoveKind::crash, 1}) && world.apply({MoveKind::crash, static_cast<u8>(other)}));
    ASSERT_TRUE(settle(world)) << world.broken().text;
    for (NodeId n = 2; n <= 4; n++) {
        if (n == other) continue;
        EXPECT_EQ(point_of(world, n).lost, 1U);
        const u64 refused = world.counts().failed_operations;
        does(world, n, Op::read, 1);
        EXPECT_EQ(world.counts().failed_operations, refused + 1);
    }
    EXPECT_FALSE(world.broken()) << world.broken().text;
}

TEST(DsmPoints, BeforeTheFirstPointItIsVolatile) {
    World world(checkpointed(3, 2, 2));
    ASSERT_TRUE(settle(world));
    does(world, 1, Op::write, 0);
    does(world, 2, Op::write, 1);
    const Value other = value_at(world, 2, 1);
    does(world, MoveKind::crash, 1);
    const u64 refused = world.counts().failed_operations;
    does(world, 2, Op::read, 0);
    EXPECT_EQ(world.counts().failed_operations, refused + 1) << "-EIO";
    EXPECT_EQ(value_at(world, 3, 1), other);
    does(world, MoveKind::point, 2);
    EXPECT_EQ(world.counts().points_failed, 1U) << "it would not have what was lost";
    does(world, MoveKind::rollback, 2);
    EXPECT_EQ(world.counts().rollbacks, 0U) << "there is nothing to go back to";
}

TEST(DsmPoints, WhoLeavesHandsItsCopiesOver) {
    World world(checkpointed(4, 3, 2));
    ASSERT_TRUE(settle(world));
    for (u32 o = 0; o < 2; o++) does(world, 1, Op::write, o);
    const Value first = value_at(world, 2, 0);
    does(world, MoveKind::point, 1);
    does(world, MoveKind::leave, 1);
    EXPECT_FALSE(world.edge(1).running());
    EXPECT_EQ(point_of(world, 2).copies + point_of(world, 3).copies + point_of(world, 4).copies, 6U);
    EXPECT_EQ(world.counts().rollbacks, 0U);
    EXPECT_EQ(value_at(world, 4, 0), first);
}

TEST(DsmPoints, ACoordinatorThatDiesLeavesTheLastOrTheNext) {
    // After each number of deliveries; whatever comes of it, it is the same for everybody: the checker looks.
    for (unsigned deliveries = 0; deliveries < 40; deliveries++) {
        World world(checkpointed(3, 2));
        ASSERT_TRUE(settle(world));
        does(world, 2, Op::write);
        does(world, MoveKind::point, 1);
        does(world, 2, Op::write);
        ASSERT_TRUE(world.apply({MoveKind::point, 1}));
        std::vector<Move> moves;
        for (unsigned i = 0; i < deliveries; i++) {
            moves.clear();
            fair_moves(world, moves);
            if (moves.empty() || !world.apply(moves.front())) break;
        }
        ASSERT_TRUE(world.apply({MoveKind::crash, 1})) << world.broken().text;
        ASSERT_TRUE(settle(world)) << world.broken().text;
        check_idle(world);
        EXPECT_FALSE(world.broken()) << world.broken().text;
        EXPECT_EQ(point_of(world, 2).id, point_of(world, 3).id);
    }
}

TEST(DsmPoints, APointThatTakesTooLongIsGivenUp) {
    krg::sim::dsm::Setup setup = checkpointed(3, 2);
    setup.params.point_us = 1000;
    World world(setup);
    ASSERT_TRUE(settle(world));
    does(world, 1, Op::write);
    ASSERT_TRUE(world.apply({MoveKind::begin, 2, 0, static_cast<u8>(Op::write), 0}));
    const auto deliver = [&world] {
        for (bool any = true; any;) {
            any = false;
            for (u8 a = 1; a <= 3; a++)
                for (u8 b = 1; b <= 3; b++)
                    if (a != b && world.enabled({MoveKind::deliver, a, b})) any = world.apply({MoveKind::deliver, a, b});
        }
    };
    deliver();
    ASSERT_TRUE(world.edge(1).can_complete(0)) << "the page is on its way out, and stays there";
    ASSERT_TRUE(world.apply({MoveKind::point, 3}));
    deliver();
    EXPECT_NE(world.edge(3).at().point, 0U);
    ASSERT_TRUE(world.apply({MoveKind::point, 1}));
    EXPECT_EQ(world.counts().points_failed, 1U) << "-EBUSY: one is under way";
    ASSERT_TRUE(world.apply({MoveKind::time, 0, 0, 0, 1000}));
    ASSERT_TRUE(world.apply({MoveKind::tick, 3}));
    EXPECT_EQ(world.edge(3).at().point, 0U) << "-ETIMEDOUT";
    ASSERT_TRUE(settle(world)) << world.broken().text;
    EXPECT_EQ(world.counts().points_failed, 2U);
    EXPECT_EQ(cost(world, 3), 1U);
}

TEST(DsmPoints, WhatMakesNoSenseIsRefused) {
    krg::sim::dsm::Setup setup = checkpointed(2, 2);
    Memory memory(false);
    krg_dsm_config cfg{};
    cfg.self = 1;
    cfg.max_nodes = 4;
    cfg.cls = KRG_DSM_CHECKPOINTED;
    cfg.params = setup.params;
    cfg.memory = memory.face();
    EXPECT_EQ(krg_dsm_new(&cfg, 0), nullptr) << "no copies";
    cfg.replicas = KRG_DSM_REPLICAS_MAX + 1;
    EXPECT_EQ(krg_dsm_new(&cfg, 0), nullptr);
    cfg.cls = KRG_DSM_DURABLE;
    cfg.replicas = 2;
    EXPECT_EQ(krg_dsm_new(&cfg, 0), nullptr) << "that is said by each container";
    const auto answer = [](krg_dsm* d, u32 type, const krg_dsm_object& object) {
        krg_dsm_event ev{};
        ev.type = type;
        ev.mode = KRG_DSM_READ;
        ev.object = object;
        ev.token = 7;
        krg_dsm_step(d, 1, &ev);
        krg_dsm_action a{};
        s32 error = 1;
        while (krg_dsm_next_action(d, &a) != 0)
            if (a.token == 7) error = a.error;
        return error;
    };
    krg_dsm_object durable{};
    durable.policy = {KRG_DSM_DURABLE, 2, 0};
    for (const bool is : {false, true}) {
        cfg.cls = is ? KRG_DSM_CHECKPOINTED : 0;
        cfg.replicas = is ? 2 : 0;
        krg_dsm* d = krg_dsm_new(&cfg, 0);
        ASSERT_NE(d, nullptr);
        EXPECT_EQ(answer(d, KRG_DSM_EV_POINT, {}), is ? -EAGAIN : -EINVAL);
        EXPECT_EQ(answer(d, KRG_DSM_EV_ROLLBACK, {}), is ? -ENOENT : -EINVAL);
        EXPECT_EQ(answer(d, KRG_DSM_EV_REQUEST, is ? durable : setup.objects[0]), -EIO) << "of another class than the domain";
        krg_dsm_stop(d);
        krg_dsm_delete(d);
    }
    EXPECT_EQ(memory.used(), 0U);
}

TEST(DsmPoints, MessagesComeBackFromTheirBytes) {
    using namespace krg::dsm;
    for (auto t = static_cast<unsigned>(Type::point); t < static_cast<unsigned>(Type::count_); t++) {
        Message m;
        m.type = static_cast<Type>(t);
        m.epoch = 9;
        m.seq = 4;
        m.key = {7, 8};
        m.policy = {KRG_DSM_CHECKPOINTED, 3, 2};
        m.request = 5ull << 40 | 3;
        m.version = {6, 11};
        m.last = 12;
        m.node = 2;
        m.step = Step::cut;
        m.keeping = Keeping::send;
        m.payload = Payload::page;
        m.error = Errno::timedout;
        m.keep = m.dirty = m.initialised = true;
        u8 bytes[256], again[256];
        const u32 length = encode(m, bytes, sizeof bytes);
        ASSERT_NE(length, 0U) << name_of(m.type);
        Message back;
        ASSERT_TRUE(decode(back, bytes, length)) << name_of(m.type);
        ASSERT_EQ(encode(back, again, sizeof again), length);
        EXPECT_EQ(std::memcmp(bytes, again, length), 0) << name_of(m.type);
        for (u32 n = 0; n < length; n++) EXPECT_FALSE(decode(back, bytes, n)) << name_of(m.type) << " cut to " << n;
    }
    Message m;
    m.type = Type::point;
    u8 bytes[256];
    const u32 length = encode(m, bytes, sizeof bytes);
    bytes[length - 9] = static_cast<u8>(Step::last_) + 1;
    EXPECT_FALSE(decode(m, bytes, length)) << "no such step";
}

// The rules

constexpr Promise object{false, 1, 0, 2};

std::string rule_of(const Checker& checker) { return checker.broken().rule; }

/// Three nodes, one object, a point that is taken.
Checker with_point() {
    Checker c(3, {object});
    for (NodeId n = 1; n <= 3; n++) c.boot(n);
    c.wants_write(0);
    c.state(1, 0, KRG_DSM_X, 1);
    c.page(1, 0, {true, true, zeros});
    c.wrote(1, 0, value_of(1, 1));
    c.point_cut(5);
    c.point_decided(5);
    c.point_taken(5);
    c.wrote(1, 0, value_of(1, 2));
    return c;
}

TEST(DsmPointRules, BackToThePoint) {
    Checker c = with_point();
    c.wants_rollback();
    c.rolls(1, 5);
    c.page(1, 0, {});
    c.rolled(1, 5, false);
    c.page(2, 0, {true, false, value_of(1, 1)});
    EXPECT_EQ(rule_of(c), "");
    c.page(3, 0, {true, false, value_of(1, 2)});
    EXPECT_NE(rule_of(c), "") << "written after the point";
}

TEST(DsmPointRules, NotWithoutAReason) {
    Checker c = with_point();
    c.rolls(1, 5);
    EXPECT_EQ(rule_of(c), "point");
}

TEST(DsmPointRules, NotToAnOlderOne) {
    Checker c = with_point();
    c.point_cut(6);
    c.point_decided(6);
    c.point_taken(6);
    c.wants_rollback();
    c.rolls(1, 5);
    EXPECT_EQ(rule_of(c), "point");
}

TEST(DsmPointRules, NotToOneThatWasNotDecided) {
    Checker c = with_point();
    c.point_cut(6);
    c.wants_rollback();
    c.rolls(1, 6);
    EXPECT_EQ(rule_of(c), "point");
}

TEST(DsmPointRules, NotWhileSomebodyHasAPage) {
    Checker c = with_point();
    c.wants_rollback();
    c.rolls(2, 5);
    c.rolled(2, 5, false);
    EXPECT_EQ(rule_of(c), "point");
}

TEST(DsmPointRules, NoErrorWhereThereIsAPoint) {
    Checker c = with_point();
    c.crash(1, 0);
    c.error(2, 0, -EIO);
    EXPECT_EQ(rule_of(c), "point");
}

TEST(DsmPointRules, LostOnlyToAsManyCrashesAsThereAreCopies) {
    for (const bool enough : {false, true}) {
        Checker c = with_point();
        c.crash(1, 0);
        if (enough) c.crash(2, 0);
        c.rolls(3, 5);
        c.rolled(3, 5, true);
        EXPECT_EQ(rule_of(c), enough ? "" : "point");
        c.error(3, 0, -EIO);
        EXPECT_EQ(rule_of(c), enough ? "" : "point");
    }
}

TEST(DsmPointRules, AtEveryCrashIfTheDomainSaysSo) {
    Checker c = with_point();
    c.crash(3, 0);
    c.must_roll();
    c.calm();
    EXPECT_EQ(rule_of(c), "point");
}

}  // namespace
