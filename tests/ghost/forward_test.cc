// SPDX-License-Identifier: GPL-2.0
// Forwarded files: who may use a grant, when it ends, and that a lane over a network that loses and doubles messages carries
// every operation once and in order.
#include "proc/core/forward.h"

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace {

const krg_forward_node home{7, 1}, second{9, 2}, third{11, 3}, later{12, 3};

krg_forward_grant made(const krg_forward_node& owner, const krg_forward_node& maker) {
    krg_forward_grant grant;
    krg_forward_grant_init(&grant, &owner, &maker);
    return grant;
}

krg_forward_verdict ask(krg_forward_grant& grant, krg_forward_wish wish, const krg_forward_node& from) {
    return krg_forward_grant_ask(&grant, wish, &from);
}

TEST(ForwardGrant, IsUsedByItsOwnerOnceItWasClaimed) {
    auto grant = made(third, second);
    EXPECT_EQ(ask(grant, KRG_FORWARD_USE, third), KRG_FORWARD_NO);
    EXPECT_EQ(ask(grant, KRG_FORWARD_CLAIM, second), KRG_FORWARD_NO);
    EXPECT_EQ(ask(grant, KRG_FORWARD_CLAIM, third), KRG_FORWARD_YES);
    EXPECT_EQ(ask(grant, KRG_FORWARD_CLAIM, third), KRG_FORWARD_YES);
    EXPECT_EQ(ask(grant, KRG_FORWARD_USE, third), KRG_FORWARD_YES);
    EXPECT_EQ(ask(grant, KRG_FORWARD_USE, second), KRG_FORWARD_NO);
    EXPECT_EQ(ask(grant, KRG_FORWARD_USE, later), KRG_FORWARD_NO) << "another life of the same node";
    EXPECT_EQ(ask(grant, KRG_FORWARD_CLOSE, home), KRG_FORWARD_NO);
    EXPECT_EQ(ask(grant, KRG_FORWARD_CLOSE, third), KRG_FORWARD_END);
    for (const auto wish : {KRG_FORWARD_CLAIM, KRG_FORWARD_USE, KRG_FORWARD_CLOSE})
        EXPECT_EQ(ask(grant, wish, third), KRG_FORWARD_NO);
}

TEST(ForwardGrant, EndsWithItsMoveUnlessItWasClaimed) {
    auto failed = made(third, second), done = made(third, second);
    EXPECT_EQ(ask(failed, KRG_FORWARD_DROP, third), KRG_FORWARD_NO) << "only who made it";
    EXPECT_EQ(ask(failed, KRG_FORWARD_DROP, second), KRG_FORWARD_END);
    EXPECT_EQ(ask(failed, KRG_FORWARD_CLAIM, third), KRG_FORWARD_NO);
    EXPECT_EQ(ask(done, KRG_FORWARD_CLAIM, third), KRG_FORWARD_YES);
    EXPECT_EQ(ask(done, KRG_FORWARD_DROP, second), KRG_FORWARD_NO);
    EXPECT_EQ(ask(done, KRG_FORWARD_USE, third), KRG_FORWARD_YES);
}

TEST(ForwardGrant, EndsWithItsOwnerAndUnclaimedWithItsMaker) {
    for (const bool claimed : {false, true}) {
        for (const bool owner : {false, true}) {
            for (const bool maker : {false, true}) {
                auto grant = made(third, second);
                if (claimed) ask(grant, KRG_FORWARD_CLAIM, third);
                const bool stays = owner && (claimed || maker);
                EXPECT_EQ(krg_forward_grant_view(&grant, owner, maker), stays ? KRG_FORWARD_YES : KRG_FORWARD_END);
                EXPECT_EQ(grant.ended, !stays);
            }
        }
    }
}

// Whoever ends the grant, in whatever order things happen: exactly one END, and nothing after it.
TEST(ForwardGrant, EndsOnce) {
    std::mt19937 random(1);
    for (int round = 0; round < 20000; round++) {
        auto grant = made(third, second);
        int ends = 0;
        for (int step = 0; step < 12; step++) {
            const krg_forward_node& from = *std::vector{&home, &second, &third, &later}[random() % 4];
            const auto verdict = random() % 4 == 0 ? krg_forward_grant_view(&grant, random() % 4, random() % 4)
                                                   : ask(grant, static_cast<krg_forward_wish>(random() % 4), from);
            if (ends) {
                ASSERT_EQ(verdict, KRG_FORWARD_NO);
            }
            ends += verdict == KRG_FORWARD_END;
        }
        ASSERT_LE(ends, 1);
        ASSERT_EQ(ends == 1, grant.ended == 1);
    }
}

TEST(ForwardLane, DoesEachOnceAndInOrder) {
    for (unsigned seed = 0; seed < 500; seed++) {
        std::mt19937 random(seed);
        krg_forward_lane server{};
        std::vector<u64> done;
        std::deque<u64> requests, answers;
        u64 asked = 1, answered = 0;
        u64 kept = 0;
        for (int step = 0; answered < 50 && step < 100000; step++) {
            switch (random() % 4) {
            case 0: requests.push_back(asked); break;
            case 1:  // a request comes, perhaps for the second time
                if (requests.empty()) break;
                switch (krg_forward_lane_step(&server, requests.front())) {
                case KRG_FORWARD_DO: done.push_back(kept = requests.front()); [[fallthrough]];
                case KRG_FORWARD_AGAIN:
                    ASSERT_EQ(kept, requests.front());
                    answers.push_back(kept);
                    break;
                case KRG_FORWARD_WRONG: ASSERT_LT(requests.front(), kept) << "only what is old can be wrong"; break;
                }
                requests.pop_front();
                break;
            case 2:
                if (answers.empty()) break;
                if (answers.front() == asked) {
                    answered++;
                    asked++;
                }
                answers.pop_front();
                break;
            case 3:  // the connection breaks: all that is under way is lost
                if (random() % 8) break;
                requests.clear();
                answers.clear();
            }
        }
        ASSERT_EQ(answered, 50u);
        ASSERT_GE(done.size(), 50u);
        for (u64 i = 0; i < done.size(); i++) ASSERT_EQ(done[i], i + 1);
    }
}

TEST(ForwardLane, RefusesWhatIsNotTheNext) {
    krg_forward_lane lane{};
    EXPECT_EQ(krg_forward_lane_step(&lane, 0), KRG_FORWARD_WRONG);
    EXPECT_EQ(krg_forward_lane_step(&lane, 2), KRG_FORWARD_WRONG);
    EXPECT_EQ(krg_forward_lane_step(&lane, 1), KRG_FORWARD_DO);
    EXPECT_EQ(krg_forward_lane_step(&lane, ~u64{0}), KRG_FORWARD_WRONG);
    EXPECT_EQ(krg_forward_lane_step(&lane, 1), KRG_FORWARD_AGAIN);
}

}  // namespace
