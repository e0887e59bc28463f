// SPDX-License-Identifier: GPL-2.0
//
// The rules hold in every small world and for a few thousand seeds; and what a record means.
#include <gtest/gtest.h>

#include "tests/sim/handover/explore.hh"

namespace krg::sim::handover {

namespace {

TEST(Handover, EveryOrderInSmallWorlds) {
    for (const handover::Setup& setup : small_worlds()) {
        const Outcome out = every_order(setup, 1'000'000);
        EXPECT_TRUE(out.complete) << setup.name;
        EXPECT_EQ(out.rule, "") << setup.name << ": " << out.text;
        EXPECT_GT(out.ends, 0U) << setup.name;
    }
}

TEST(Handover, Seeds) {
    for (u64 seed = 1; seed <= 3000; seed++) {
        const Outcome out = run_seed(seed);
        ASSERT_EQ(out.rule, "") << "krg-sim handover --seed " << seed << ": " << out.text;
    }
}

TEST(Handover, SeedIsOneRun) { EXPECT_EQ(run_seed(7).hash, run_seed(7).hash); }

TEST(Record, DecidesByItself) {
    const krg_record own{3, 1, 0, 0, 1, 2}, nobody{3, 1, 9, 0, 1, 0};
    EXPECT_EQ(krg_record_runner(&own, nullptr, 0), 2);
    EXPECT_EQ(krg_record_runner(&nobody, nullptr, 0), 0);
}

TEST(Record, FollowsItsRoot) {
    const krg_record member{1, 5, 4, 77, 1, 2};
    const krg_record before{3, 4, 0, 0, 1, 3}, since{4, 5, 0, 0, 1, 2}, later{6, 8, 0, 0, 1, 3}, none{};
    EXPECT_EQ(krg_record_runner(&member, &before, 1), 3) << "the move did not take place: it is where the root is";
    EXPECT_EQ(krg_record_runner(&member, &since, 1), 2);
    EXPECT_EQ(krg_record_runner(&member, &later, 1), 2) << "the root has gone on without it";
    EXPECT_EQ(krg_record_runner(&member, &none, 6), 6) << "the root has never moved";
}

}  // namespace

}  // namespace krg::sim::handover
