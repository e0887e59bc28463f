// SPDX-License-Identifier: GPL-2.0
//
// Logs of nodes that lived and nodes that crashed: which histories come of them, and what the checker says of those.
#include "log.hh"

#include <gtest/gtest.h>

namespace krg::guest {

namespace {

Setup setup(unsigned me, std::uint64_t operations = 0) {
    Setup s;
    s.me = me;
    s.players = 2;
    s.operations = operations;
    s.batch = 4;
    return s;
}

/// A log as a node would have written it; indices and times are made here.
class Writer {
public:
    explicit Writer(unsigned me) { log_.setup = setup(me); }
    Writer& at(std::int64_t time) {
        time_ = time;
        return *this;
    }
    Writer& load(std::uint32_t word, std::uint64_t seen) { return add({0, Action::load, true, word, 0, seen, 0, 0}); }
    Writer& store(std::uint32_t word, std::uint64_t value) { return add({0, Action::store, true, word, value, 0, 0, 0}); }
    Writer& add_one(std::uint32_t word, std::uint64_t seen) { return add({0, Action::add, true, word, 0, seen, 0, 0}); }
    Writer& sync() { return add({0, Action::sync, true, 0, 0, 0, 0, 0}); }
    [[nodiscard]] Log whole() {
        log_.setup.operations = log_.records.size();
        log_.complete = true;
        return log_;
    }
    [[nodiscard]] Log cut_off() const { return log_; }

private:
    Writer& add(Record record) {
        record.index = log_.records.size();
        record.begin = time_++;
        record.end = time_++;
        log_.records.push_back(record);
        return *this;
    }
    Log log_;
    std::int64_t time_ = 0;
};

Outcome judge(const std::vector<Log>& logs, const std::set<unsigned>& crashed) {
    const Assembled all = assemble(logs, crashed);
    EXPECT_EQ(all.error, "");
    return check_history(all.history).outcome;
}

}  // namespace

TEST(Log, LinesComeBack) {
    std::string error;
    const Record r{0, Action::exchange, false, 7, 8, 9, -10, 11};
    const Log log = parse_log(to_line(setup(1, 1)) + clock_line(-5, 6) + to_line(r) + clock_line(-4, 8) + end_line(), error);
    EXPECT_EQ(error, "");
    EXPECT_TRUE(log.complete);
    EXPECT_EQ(log.clock_low, -5);
    EXPECT_EQ(log.clock_high, 8);
    ASSERT_EQ(log.records.size(), 1U);
    EXPECT_EQ(to_line(log.records[0]), to_line(r));
    EXPECT_EQ(to_line(log.setup), to_line(setup(1, 1)));
}

TEST(Log, ALineWithoutItsEndDoesNotCountAndAWrongOneIsAnError) {
    std::string error;
    EXPECT_EQ(parse_log(to_line(setup(0)) + "op 0 load 1 2", error).records.size(), 0U);
    EXPECT_EQ(error, "");
    const Log wrong = parse_log(to_line(setup(0)) + "op 0 load 1 two\n", error);
    EXPECT_NE(error, "");
}

TEST(Log, WordsDoNotOverlap) {
    auto s = setup(0);
    s.words = 2048;
    s.pages = 4;
    std::set<std::uint64_t> places;
    for (std::uint32_t word = 0; word < s.words; word++) {
        EXPECT_TRUE(places.insert(place_of(s, word)).second);
        EXPECT_LT(place_of(s, word), 4U * 4096);
    }
}

TEST(Assemble, ANodeThatStoppedWithoutACrashIsAnError) {
    EXPECT_NE(assemble({Writer(0).store(2, 5).whole(), Writer(1).load(2, 5).cut_off()}, {}).error, "");
    EXPECT_NE(assemble({Writer(0).store(2, 5).whole()}, {}).error, "");
}

TEST(Assemble, WhatNobodySawMayBeGone) {
    const Log dead = Writer(0).store(2, 5).store(3, 6).cut_off();
    EXPECT_EQ(judge({dead, Writer(1).at(100).load(2, 0).load(3, 0).whole()}, {0}), Outcome::correct);
}

TEST(Assemble, WhatASurvivorSawMayNot) {
    const Log dead = Writer(0).store(2, 5).store(3, 6).cut_off();
    EXPECT_EQ(judge({dead, Writer(1).at(100).load(2, 5).at(200).load(2, 0).whole()}, {0}), Outcome::violated);
    EXPECT_EQ(judge({dead, Writer(1).at(100).load(2, 5).at(200).load(3, 0).whole()}, {0}), Outcome::correct);
}

TEST(Assemble, WhatWasBeforeSomethingSeenMayNot) {
    const Log dead = Writer(0).store(2, 5).store(3, 6).cut_off();
    EXPECT_EQ(judge({dead, Writer(1).at(100).load(3, 6).at(200).load(2, 0).whole()}, {0}), Outcome::violated);
}

TEST(Assemble, WhatWasSyncedMayNot) {
    const Log dead = Writer(0).store(2, 5).sync().store(3, 6).cut_off();
    EXPECT_EQ(judge({dead, Writer(1).at(100).load(3, 0).load(2, 5).whole()}, {0}), Outcome::correct);
    EXPECT_EQ(judge({dead, Writer(1).at(100).load(2, 0).whole()}, {0}), Outcome::violated);
}

TEST(Assemble, AnAdditionThatWasLostIsDoneAgain) {
    const Log dead = Writer(0).add_one(0, 0).add_one(0, 1).cut_off();
    EXPECT_EQ(judge({dead, Writer(1).at(100).add_one(0, 1).whole()}, {0}), Outcome::correct);
    EXPECT_EQ(judge({dead, Writer(1).at(100).add_one(0, 2).at(200).add_one(0, 2).whole()}, {0}), Outcome::violated);
}

// The dead node's next operations are those of its plan.
TEST(Assemble, AWriteThatWasNotLoggedIsKnownFromThePlan) {
    const Log dead = Writer(0).cut_off();
    std::uint64_t index = 0;
    while (index < 4 && plan(dead.setup, index).value == 0) index++;
    const Planned next = plan(dead.setup, index);
    ASSERT_NE(next.value, 0U) << "another seed is needed";
    EXPECT_EQ(judge({dead, Writer(1).at(100).load(next.word, next.value).whole()}, {0}), Outcome::correct);
    EXPECT_EQ(judge({dead, Writer(1).at(100).load(next.word, next.value).at(200).load(next.word, 0).whole()}, {0}),
              Outcome::violated);
    EXPECT_EQ(judge({dead, Writer(1).at(100).load(next.word, next.value + 1000).whole()}, {0}), Outcome::violated);
}

TEST(Assemble, MoreAdditionsThanTheDeadNodeCanHaveDoneAreWrong) {
    const Log dead = Writer(0).cut_off();
    EXPECT_EQ(judge({dead, Writer(1).at(100).add_one(0, 50).whole()}, {0}), Outcome::violated);
}

}  // namespace krg::guest
