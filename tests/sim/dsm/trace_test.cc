// SPDX-License-Identifier: GPL-2.0
//
// What a tracer hears: every step, and the id of its operation on every node it touches.
#include <algorithm>
#include <gtest/gtest.h>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/dsm/drive.hh"

using namespace krg::sim;
using namespace krg::sim::dsm;

namespace {

struct Heard {
    NodeId at = 0;  ///< the node whose engine said it
    krg_dsm_trace step{};
    std::string what;
};

/// A world whose engines are listened to.
class Traced {
public:
    Traced(NodeId nodes, u8 k) : world(setup(nodes, k)) {
        for (NodeId n = 1; n <= nodes; n++) ears_.push_back({this, n});
        for (auto& ear : ears_) krg_dsm_set_trace(world.edge(ear.node).engine(), hear, &ear);
    }

    void does(NodeId node, Op op) {
        ASSERT_TRUE(world.apply({MoveKind::begin, static_cast<u8>(node), 0, static_cast<u8>(op), 0}));
        ASSERT_TRUE(settle(world)) << world.broken().text;
    }

    /// The steps of one kind.
    [[nodiscard]] std::vector<Heard> of(u32 step) const {
        std::vector<Heard> found;
        std::copy_if(heard.begin(), heard.end(), std::back_inserter(found),
                     [&](const Heard& h) { return h.step.step == step; });
        return found;
    }

    World world;
    std::vector<Heard> heard;

private:
    struct Ear {
        Traced* traced;
        NodeId node;
    };

    static krg::sim::dsm::Setup setup(NodeId nodes, u8 k) {
        krg::sim::dsm::Setup s;
        s.nodes = nodes;
        s.params.retry_us = 100;
        s.params.attempts = 4;
        s.params.parked_max = 1000;
        krg_dsm_object o{};
        o.container = 1;
        o.policy.cls = k == 1 ? KRG_DSM_VOLATILE : KRG_DSM_DURABLE;
        o.policy.replicas = k;
        o.policy.affinity = 1;
        s.objects.push_back(o);
        return s;
    }

    static void hear(void* context, const krg_dsm_trace* t) {
        const Ear* ear = static_cast<const Ear*>(context);
        ear->traced->heard.push_back({ear->node, *t, t->what});
    }

    std::vector<Ear> ears_;
};

unsigned node_of(u64 op) { return static_cast<unsigned>(op >> 48); }

TEST(DsmTrace, OneIdOnAllNodesOfARequest) {
    Traced t(3, 1);
    ASSERT_TRUE(settle(t.world));
    t.does(2, Op::write);
    t.heard.clear();
    t.does(3, Op::write);  // requester 3, home 1, holder 2
    const auto asked = t.of(KRG_DSM_T_REQUEST);
    ASSERT_FALSE(asked.empty());
    const u64 op = asked.front().step.op;
    EXPECT_EQ(node_of(op), 3U);
    std::set<NodeId> nodes;
    std::set<std::string> sent;
    for (const Heard& h : t.heard) {
        if (h.step.op != op) continue;
        nodes.insert(h.at);
        if (h.step.step == KRG_DSM_T_SEND) sent.insert(h.what);
    }
    EXPECT_EQ(nodes, (std::set<NodeId>{1, 2, 3}));
    for (const char* what : {"GET", "FORWARD", "DATA", "CLOSE"}) EXPECT_EQ(sent.count(what), 1U) << what;
    const auto granted = t.of(KRG_DSM_T_GRANT);
    ASSERT_FALSE(granted.empty());
    EXPECT_EQ(granted.front().step.op, op);
    EXPECT_EQ(granted.front().at, 3U);
    const auto gone = t.of(KRG_DSM_T_INVALIDATE);
    ASSERT_EQ(gone.size(), 1U);
    EXPECT_EQ(gone.front().at, 2U);
    EXPECT_EQ(gone.front().step.op, op);
}

TEST(DsmTrace, EveryMessageThatLeavesArrivesWithTheSameId) {
    Traced t(3, 2);
    ASSERT_TRUE(settle(t.world));
    t.does(2, Op::write);
    t.does(3, Op::read);
    t.does(3, Op::write);
    std::multiset<std::pair<u64, std::string>> sent, received;
    for (const Heard& h : t.heard) {
        if (h.step.step == KRG_DSM_T_SEND) sent.insert({h.step.op, h.what});
        if (h.step.step == KRG_DSM_T_RECEIVE) received.insert({h.step.op, h.what});
    }
    EXPECT_FALSE(sent.empty());
    EXPECT_EQ(sent, received);
}

TEST(DsmTrace, ACommitIsOneOperation) {
    Traced t(3, 2);
    ASSERT_TRUE(settle(t.world));
    t.does(2, Op::write);
    t.does(1, Op::read);  // not before it is committed
    const auto begun = t.of(KRG_DSM_T_SNAPSHOT);
    ASSERT_EQ(begun.size(), 1U);
    EXPECT_EQ(begun[0].at, 2U);
    EXPECT_EQ(begun[0].step.number, 1U);
    const u64 op = begun[0].step.op;
    EXPECT_EQ(node_of(op), 2U);
    for (const u32 step : {KRG_DSM_T_STAGE, KRG_DSM_T_STAGED, KRG_DSM_T_DECIDE}) {
        const auto found = t.of(step);
        ASSERT_FALSE(found.empty()) << step;
        for (const Heard& h : found) EXPECT_EQ(h.step.op, op) << step;
    }
    EXPECT_EQ(t.of(KRG_DSM_T_DECIDE)[0].what, "apply");
}

TEST(DsmTrace, ViewsAndLosses) {
    Traced t(3, 1);
    ASSERT_TRUE(settle(t.world));
    EXPECT_EQ(t.of(KRG_DSM_T_VIEW).size(), 6U) << "prepared and committed on three nodes";
    EXPECT_EQ(t.of(KRG_DSM_T_RECOVER).size(), 3U);
    t.does(2, Op::write);
    ASSERT_TRUE(t.world.apply({MoveKind::crash, 2}));
    ASSERT_TRUE(t.world.apply({MoveKind::propose}));
    ASSERT_TRUE(settle(t.world)) << t.world.broken().text;
    t.does(3, Op::read);
    const auto lost = t.of(KRG_DSM_T_LOST);
    ASSERT_EQ(lost.size(), 1U);
    EXPECT_EQ(lost[0].at, 1U);
    EXPECT_EQ(lost[0].step.node, 3U);
    EXPECT_EQ(node_of(lost[0].step.op), 3U);
}

TEST(DsmTrace, NobodyListens) {
    Traced t(2, 1);
    ASSERT_TRUE(settle(t.world));
    t.heard.clear();
    for (NodeId n = 1; n <= 2; n++) krg_dsm_set_trace(t.world.edge(n).engine(), nullptr, nullptr);
    t.does(2, Op::write);
    EXPECT_TRUE(t.heard.empty());
}

}  // namespace
