// SPDX-License-Identifier: GPL-2.0
//
// Scenes of many engines, or of all leaving, that neither the small world nor a seed shows at once.
#include <gtest/gtest.h>

#include "tests/sim/dsm/fleet.hh"

using namespace krg::sim;
using namespace krg::sim::dsm;

namespace {

krg_dsm_params params() {
    krg_dsm_params p{};
    p.retry_us = 100;
    p.attempts = 4;
    p.parked_max = 10000;
    return p;
}

krg_dsm_object object_of(u64 index, bool durable) {
    krg_dsm_object o{};
    o.container = 1;
    o.index = index;
    o.policy.cls = durable ? KRG_DSM_DURABLE : KRG_DSM_VOLATILE;
    o.policy.replicas = durable ? 2 : 1;
    return o;
}

TEST(DsmFleet, FirstCommitAmongMoreNodesThanABatchCanName) {
    Fleet fleet(200, params());
    fleet.view();
    const krg_dsm_object o = object_of(0, true);
    ASSERT_TRUE(fleet.access(7, o, KRG_DSM_WRITE));
    EXPECT_TRUE(fleet.sync(7));
    EXPECT_TRUE(fleet.access(150, o, KRG_DSM_READ));
    EXPECT_TRUE(fleet.rest());
    EXPECT_EQ(fleet.broken(), "");
}

TEST(DsmFleet, WhenAllLeaveTheFirstTakesWhatTheOthersHave) {
    Fleet fleet(3, params());
    fleet.view();
    for (NodeId n = 1; n <= 3; n++) ASSERT_TRUE(fleet.access(n, object_of(n * 512U, false), KRG_DSM_WRITE));
    fleet.view({}, {1, 2, 3});
    for (NodeId n = 1; n <= 3; n++) fleet.drain(n);
    (void)fleet.rest();
    EXPECT_FALSE(fleet.drained(1)) << "it has what the others had";
    EXPECT_TRUE(fleet.drained(2));
    EXPECT_TRUE(fleet.drained(3));
    for (NodeId n = 1; n <= 3; n++) EXPECT_NE(fleet.copy(1, object_of(n * 512U, false)).state, KRG_DSM_I);
    fleet.crash(2);
    fleet.crash(3);
    fleet.view({}, {1});
    (void)fleet.rest();
    EXPECT_TRUE(fleet.drained(1)) << "alone, and the memory ends with it";
    EXPECT_EQ(fleet.broken(), "");
}

TEST(DsmFleet, WhoLeavesHandsOverToWhoStays) {
    Fleet fleet(3, params());
    fleet.view();
    for (NodeId n = 1; n <= 3; n++) ASSERT_TRUE(fleet.access(n, object_of(n * 512U, n == 2), KRG_DSM_WRITE));
    fleet.view({}, {1, 2});
    fleet.drain(1);
    fleet.drain(2);
    (void)fleet.rest();
    EXPECT_TRUE(fleet.drained(1) && fleet.drained(2));
    for (NodeId n = 1; n <= 3; n++) EXPECT_NE(fleet.copy(3, object_of(n * 512U, n == 2)).state, KRG_DSM_I);
}

}  // namespace
