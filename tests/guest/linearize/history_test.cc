// SPDX-License-Identifier: GPL-2.0
//
// The checker of histories: what must be right, what must be wrong, and thousands of small histories by chance against a
// program that tries every order.
#include "history.hh"

#include "../guest.hh"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>

namespace krg::guest {

namespace {

Event load(unsigned process, std::uint64_t index, std::uint32_t word, std::uint64_t value, std::int64_t begin,
           std::int64_t end) {
    return {process, index, word, value, std::nullopt, begin, end};
}

Event store(unsigned process, std::uint64_t index, std::uint32_t word, std::uint64_t value, std::int64_t begin,
            std::int64_t end) {
    return {process, index, word, std::nullopt, value, begin, end};
}

Event exchange(unsigned process, std::uint64_t index, std::uint32_t word, std::uint64_t from, std::uint64_t to,
               std::int64_t begin, std::int64_t end) {
    return {process, index, word, from, to, begin, end};
}

Outcome outcome(const History& history) { return check_history(history).outcome; }

/// Every order, one operation after the other.
bool some_order(const History& history, std::vector<bool>& done, std::map<std::uint32_t, std::uint64_t>& memory,
                std::size_t left) {
    if (left == 0) return true;
    for (std::size_t i = 0; i < history.size(); i++) {
        const Event& event = history[i];
        if (done[i] || (event.read && memory[event.word] != *event.read)) continue;
        bool first = true;
        for (std::size_t j = 0; j < history.size(); j++)
            if (!done[j] && j != i)
                first = first && history[j].end >= event.begin &&
                        !(history[j].process == event.process && history[j].index < event.index);
        if (!first) continue;
        const std::uint64_t before = memory[event.word];
        done[i] = true;
        if (event.written) memory[event.word] = *event.written;
        const bool found = some_order(history, done, memory, left - 1);
        done[i] = false;
        memory[event.word] = before;
        if (found) return true;
    }
    return false;
}

bool has_order(const History& history) {
    std::vector<bool> done(history.size());
    std::map<std::uint32_t, std::uint64_t> memory;
    return some_order(history, done, memory, history.size());
}

/// Reads get any value that is written somewhere, so most histories are wrong and many are right.
History by_chance(Random& random) {
    History history;
    const unsigned processes = 2 + static_cast<unsigned>(random.below(3)), words = 1 + static_cast<unsigned>(random.below(3));
    std::map<std::uint32_t, std::vector<std::uint64_t>> values;
    std::uint64_t fresh = 1;
    const auto width = static_cast<std::int64_t>(1 + random.below(60));
    for (unsigned p = 0; p < processes; p++) {
        std::int64_t now = static_cast<std::int64_t>(random.below(20));
        for (std::uint64_t i = 0; i < 1 + random.below(9 / processes + 1); i++) {
            const std::int64_t end = now + static_cast<std::int64_t>(random.below(10));
            Event event{p,           i,          static_cast<std::uint32_t>(random.below(words)), std::nullopt, std::nullopt,
                        now - width, end + width};
            if (random.chance(50)) values[event.word].push_back(*(event.written = fresh++));
            if (!event.written || random.chance(25)) event.read = 0;
            history.push_back(event);
            now = end + 1 + static_cast<std::int64_t>(random.below(10));
        }
    }
    for (Event& event : history) {
        const auto& known = values[event.word];
        if (event.read && !known.empty() && random.chance(80)) event.read = known[random.below(known.size())];
        if (event.read && event.written && *event.read >= *event.written) event.read = 0;
    }
    return history;
}

}  // namespace

TEST(History, TheEmptyOneIsCorrect) { EXPECT_EQ(outcome({}), Outcome::correct); }

TEST(History, AValueIsSeenByTheOthersFromThenOn) {
    EXPECT_EQ(outcome({store(0, 0, 1, 10, 0, 1), load(1, 0, 1, 10, 2, 3), load(2, 0, 1, 10, 4, 5)}), Outcome::correct);
}

TEST(History, AnOldValueAfterwardsIsWrong) {
    const Verdict verdict = check_history({store(0, 0, 1, 10, 0, 1), load(1, 0, 1, 0, 2, 3)});
    EXPECT_EQ(verdict.outcome, Outcome::violated);
    EXPECT_EQ(verdict.part.size(), 2U);
}

TEST(History, AnOldValueMeanwhileIsRight) {
    EXPECT_EQ(outcome({store(0, 0, 1, 10, 0, 5), load(1, 0, 1, 0, 2, 3)}), Outcome::correct);
}

TEST(History, NobodySeesAWordGoBack) {
    const History history{store(0, 0, 1, 10, 0, 100), load(1, 0, 1, 10, 0, 100), load(1, 1, 1, 0, 0, 100)};
    EXPECT_EQ(outcome(history), Outcome::violated);
}

TEST(History, TwoSeeTwoWritesInTheSameOrder) {
    const History history{store(0, 0, 1, 10, 0, 100), store(1, 0, 1, 20, 0, 100), load(2, 0, 1, 10, 0, 100),
                          load(2, 1, 1, 20, 0, 100),  load(3, 0, 1, 20, 0, 100),  load(3, 1, 1, 10, 0, 100)};
    EXPECT_EQ(outcome(history), Outcome::violated);
}

// Store buffers: each stores, and does not see the other's.
TEST(History, DekkersTwoWordsAreWrongWithoutAClockToo) {
    const History history{store(0, 0, 1, 10, 0, 100), load(0, 1, 2, 0, 0, 100), store(1, 0, 2, 20, 0, 100),
                          load(1, 1, 1, 0, 0, 100)};
    const Verdict verdict = check_history(history);
    EXPECT_EQ(verdict.outcome, Outcome::violated);
    EXPECT_EQ(verdict.part.size(), 4U);
}

TEST(History, IndependentReadersOfIndependentWritersAgree) {
    const History history{store(0, 0, 1, 10, 0, 100), store(1, 0, 2, 20, 0, 100), load(2, 0, 1, 10, 0, 100),
                          load(2, 1, 2, 0, 0, 100),   load(3, 0, 2, 20, 0, 100),  load(3, 1, 1, 0, 0, 100)};
    EXPECT_EQ(outcome(history), Outcome::violated);
}

TEST(History, WhatIsSeenBringsWhatWasBefore) {
    const History history{store(0, 0, 1, 10, 0, 100), store(0, 1, 2, 20, 0, 100), load(1, 0, 2, 20, 0, 100),
                          load(1, 1, 1, 0, 0, 100)};
    EXPECT_EQ(outcome(history), Outcome::violated);
}

TEST(History, ExchangesFollowEachOther) {
    EXPECT_EQ(outcome({exchange(0, 0, 1, 0, 1, 0, 100), exchange(1, 0, 1, 1, 2, 0, 100), exchange(0, 1, 1, 2, 3, 0, 100)}),
              Outcome::correct);
}

TEST(History, TwoExchangesOfOneValueLoseOne) {
    const Verdict verdict = check_history(
        {exchange(0, 0, 1, 0, 1, 0, 100), exchange(1, 0, 1, 0, 1, 0, 100), load(2, 0, 1, 0, 0, 1)});
    EXPECT_EQ(verdict.outcome, Outcome::violated);
    EXPECT_EQ(verdict.part.size(), 2U);
    EXPECT_EQ(outcome({exchange(0, 0, 1, 0, 1, 0, 100), exchange(1, 0, 1, 0, 2, 0, 100)}), Outcome::violated);
}

TEST(History, AValueFromNowhereIsWrong) {
    const Verdict verdict = check_history({store(0, 0, 1, 10, 0, 1), load(1, 0, 1, 11, 2, 3)});
    EXPECT_EQ(verdict.outcome, Outcome::violated);
    EXPECT_EQ(verdict.part.size(), 1U);
}

TEST(History, TheSmallestPartIsFoundInALongOne) {
    History history;
    for (unsigned p = 0; p < 3; p++)
        for (std::uint64_t i = 0; i < 400; i++) {
            const auto now = static_cast<std::int64_t>(10 * (3 * i + p));
            const std::uint64_t mine = 1000 * (p + 1) + i;
            history.push_back(store(p, 2 * i, p, mine, now, now + 5));
            // Each reads the word of the one before it.
            const std::uint64_t other = p == 0 ? (i == 0 ? 0 : 3000 + i - 1) : 1000 * p + i;
            history.push_back(load(p, 2 * i + 1, (p + 2) % 3, other, now + 6, now + 9));
        }
    EXPECT_EQ(outcome(history), Outcome::correct);
    history[1001].read = *history[1001].read - 1;
    const Verdict verdict = check_history(history);
    EXPECT_EQ(verdict.outcome, Outcome::violated);
    EXPECT_LE(verdict.part.size(), 3U);
}

TEST(History, EveryVerdictIsThatOfTryingAllOrders) {
    Random random(20261123);
    unsigned right = 0, wrong = 0;
    for (int i = 0; i < 30000; i++) {
        const History history = by_chance(random);
        const bool expected = has_order(history);
        const Verdict verdict = check_history(history);
        std::string text;
        for (const Event& event : history) text += to_text(event) + "\n";
        ASSERT_EQ(verdict.outcome, expected ? Outcome::correct : Outcome::violated) << text << verdict.reason;
        (expected ? right : wrong)++;
        if (expected) continue;
        ASSERT_FALSE(verdict.part.empty()) << text;
        ASSERT_FALSE(has_order(verdict.part)) << text;
    }
    EXPECT_GT(right, 3000U);
    EXPECT_GT(wrong, 3000U);
}

}  // namespace krg::guest
