// SPDX-License-Identifier: GPL-2.0
//
// A checker that never fires is worthless: every rule is shown a history that breaks it, and one beside it that does not.
#include <cerrno>
#include <gtest/gtest.h>

#include "tests/sim/dsm/checker.hh"

using namespace krg::sim;
using namespace krg::sim::dsm;

namespace {

constexpr Promise volatile_object{false, 1, 0};
constexpr Promise durable_object{true, 2, 0};

/// A cluster of three nodes that does what a test says.
class History {
public:
    explicit History(const std::vector<Promise>& objects, NodeId nodes = 3) : checker_(nodes, objects) {
        for (NodeId n = 1; n <= nodes; n++) checker_.boot(n);
    }
    /// @p node gets the page for writing, writes it and keeps it writable.
    Value write(NodeId node, unsigned object, Value over = zeros) {
        checker_.wants_write(object);
        checker_.page(node, object, {true, true, over});
        const Value v = value_of(node, ++writes_[node]);
        checker_.wrote(node, object, v);
        return v;
    }
    void sees(NodeId node, unsigned object, Value v) { checker_.page(node, object, {true, false, v}); }
    void unmaps(NodeId node, unsigned object) { checker_.page(node, object, {}); }
    void keeps(NodeId node, unsigned object, std::vector<Value> values) { checker_.kept(node, object, values); }
    void judge() { checker_.judge(); }
    Checker& operator*() { return checker_; }
    [[nodiscard]] std::string rule() {
        checker_.judge();
        return checker_.broken().rule;
    }

private:
    Checker checker_;
    u32 writes_[nodes_max + 1] = {};
};

TEST(DsmChecker, TwoWriters) {
    History h({volatile_object});
    const Value v = h.write(1, 0);
    EXPECT_EQ(h.rule(), "");
    (*h).page(2, 0, {true, true, v});
    EXPECT_EQ(h.rule(), "single-writer");
}

TEST(DsmChecker, ReaderBesideWriter) {
    History h({volatile_object});
    const Value v = h.write(1, 0);
    h.sees(2, 0, v);
    EXPECT_EQ(h.rule(), "single-writer");
}

TEST(DsmChecker, ReadersAfterTheWriterIsProtected) {
    History h({volatile_object});
    const Value v = h.write(1, 0);
    h.sees(1, 0, v);
    h.sees(2, 0, v);
    h.sees(3, 0, v);
    EXPECT_EQ(h.rule(), "");
}

TEST(DsmChecker, ExclusiveBesideSharedInOneEpoch) {
    History h({volatile_object});
    (*h).state(1, 0, KRG_DSM_X, 4);
    (*h).state(2, 0, KRG_DSM_S, 3);
    EXPECT_EQ(h.rule(), "");
    (*h).state(2, 0, KRG_DSM_S, 4);
    EXPECT_EQ(h.rule(), "single-writer");
}

TEST(DsmChecker, StaleRead) {
    History h({volatile_object});
    const Value first = h.write(1, 0);
    h.unmaps(1, 0);
    h.write(2, 0, first);
    h.unmaps(2, 0);
    h.sees(3, 0, first);
    EXPECT_EQ(h.rule(), "data-value");
}

TEST(DsmChecker, ForeignPage) {
    History h({volatile_object, volatile_object});
    const Value v = h.write(1, 0);
    h.sees(2, 1, v);
    EXPECT_EQ(h.rule(), "silent-loss") << "a value of another object is no value of this one";
}

TEST(DsmChecker, SeenBeforeItIsOnKNodes) {
    History h({durable_object});
    const Value v = h.write(1, 0);
    h.unmaps(1, 0);
    h.judge();
    h.sees(2, 0, v);
    EXPECT_EQ(h.rule(), "durability");
}

TEST(DsmChecker, SeenAfterItIsOnKNodes) {
    History h({durable_object});
    const Value v = h.write(1, 0);
    h.keeps(1, 0, {v});
    h.unmaps(1, 0);
    h.sees(2, 0, v);
    EXPECT_EQ(h.rule(), "");
    h.keeps(1, 0, {});
    EXPECT_EQ(h.rule(), "durability") << "a copy was dropped without a crash";
}

TEST(DsmChecker, CrashesAreDeductedAndRepairsDemandedAgain) {
    History h({durable_object});
    const Value v = h.write(1, 0);
    h.keeps(1, 0, {v});
    h.unmaps(1, 0);
    h.sees(2, 0, v);
    h.judge();
    (*h).crash(1, 0);
    EXPECT_EQ(h.rule(), "");
    h.keeps(3, 0, {v});
    (*h).state(2, 0, KRG_DSM_S, 2);
    (*h).state(3, 0, KRG_DSM_R, 2);
    (*h).calm();
    h.judge();
    h.keeps(3, 0, {});
    EXPECT_EQ(h.rule(), "durability");
}

TEST(DsmChecker, CopiesThatDiedBeforeTheValueWasSeenCount) {
    History h({durable_object});
    const Value v = h.write(1, 0);
    h.keeps(3, 0, {v});
    h.judge();
    (*h).crash(3, 0);
    h.unmaps(1, 0);
    h.sees(2, 0, v);
    EXPECT_EQ(h.rule(), "");
}

TEST(DsmChecker, EarlierWriteOfTheDomainIsNotDurable) {
    History h({durable_object, durable_object});
    const Value first = h.write(1, 0);
    const Value second = h.write(1, 1);
    h.sees(1, 1, second);
    h.sees(2, 1, second);
    EXPECT_EQ(h.rule(), "durability") << name_of(first) << " is on one node, and what came after it was seen";
}

TEST(DsmChecker, WholeDirtySetIsDurable) {
    History h({durable_object, durable_object});
    const Value first = h.write(1, 0);
    const Value second = h.write(1, 1);
    h.keeps(3, 0, {first});
    h.sees(1, 1, second);
    h.sees(2, 1, second);
    EXPECT_EQ(h.rule(), "");
}

TEST(DsmChecker, SyncPromisesWithoutAnotherReader) {
    History h({durable_object});
    const Value v = h.write(1, 0);
    const u32 mark = (*h).sync_mark(1);
    (*h).synced(1, mark);
    EXPECT_EQ(h.rule(), "durability");
    History good({durable_object});
    const Value w = good.write(1, 0);
    good.keeps(2, 0, {w});
    (*good).synced(1, (*good).sync_mark(1));
    EXPECT_EQ(good.rule(), "");
    EXPECT_EQ(v, w);
}

TEST(DsmChecker, LaterWriteSurvivesEarlierIsLost) {
    History h({durable_object, durable_object});
    h.write(1, 0);
    const Value second = h.write(1, 1);
    h.keeps(2, 1, {second});
    h.judge();
    (*h).crash(1, 0);
    h.sees(3, 0, zeros);
    EXPECT_EQ(h.rule(), "");
    h.sees(3, 1, second);
    EXPECT_EQ(h.rule(), "causal-cut");
}

TEST(DsmChecker, EarlierIsLostAfterLaterWasSeen) {
    History h({durable_object, durable_object});
    h.write(1, 0);
    const Value second = h.write(1, 1);
    h.keeps(2, 1, {second});
    h.judge();
    (*h).crash(1, 0);
    h.sees(3, 1, second);
    h.sees(3, 0, zeros);
    EXPECT_EQ(h.rule(), "silent-loss");
}

TEST(DsmChecker, OnlyASuffixIsLost) {
    History h({durable_object, durable_object});
    const Value first = h.write(1, 0);
    h.write(1, 1);
    h.keeps(2, 0, {first});
    h.judge();
    (*h).crash(1, 0);
    h.sees(3, 0, first);
    h.sees(3, 1, zeros);
    EXPECT_EQ(h.rule(), "");
}

TEST(DsmChecker, SuffixAcrossTwoWritesOfOneObject) {
    // n1 wrote a, b, a again. a's first write back beside b's is no prefix when b is gone and a's second is there.
    History h({durable_object, durable_object});
    const Value first = h.write(1, 0);
    h.write(1, 1);
    const Value third = h.write(1, 0, first);
    h.keeps(2, 0, {third});
    (*h).crash(1, 0);
    h.sees(3, 1, zeros);
    EXPECT_EQ(h.rule(), "");
    h.sees(3, 0, third);
    EXPECT_EQ(h.rule(), "causal-cut");
}

TEST(DsmChecker, SeenValueMustComeBack) {
    History h({durable_object});
    const Value v = h.write(1, 0);
    h.keeps(3, 0, {v});
    h.sees(1, 0, v);
    h.sees(2, 0, v);
    h.unmaps(2, 0);
    (*h).crash(1, 0);
    h.judge();
    h.sees(2, 0, zeros);
    EXPECT_EQ(h.rule(), "data-value");
}

TEST(DsmChecker, LostReadsZeros) {
    History h({volatile_object});
    h.write(1, 0);
    h.unmaps(1, 0);
    (*h).crash(1, 0);
    h.sees(2, 0, zeros);
    EXPECT_EQ(h.rule(), "silent-loss");
}

TEST(DsmChecker, LostDurableReadsZeros) {
    History h({durable_object});
    const Value v = h.write(1, 0);
    h.keeps(1, 0, {v});
    h.unmaps(1, 0);
    h.sees(2, 0, v);
    (*h).crash(1, 0);
    (*h).crash(2, 0);
    h.sees(3, 0, zeros);
    EXPECT_EQ(h.rule(), "silent-loss");
}

TEST(DsmChecker, LostSaysSo) {
    History h({volatile_object});
    h.write(1, 0);
    (*h).crash(1, 0);
    (*h).error(2, 0, -EIO);
    EXPECT_EQ(h.rule(), "");
    h.sees(3, 0, zeros);
    EXPECT_EQ(h.rule(), "silent-loss") << "after -EIO nothing may come back";
}

TEST(DsmChecker, HandOverMayBeUndone) {
    // n2 keeps its copy frozen until n1 has confirmed; n1 wrote and died before it did.
    History h({volatile_object});
    const Value old = h.write(2, 0);
    h.keeps(2, 0, {old});
    h.unmaps(2, 0);
    h.write(1, 0, old);
    (*h).crash(1, 1);
    h.sees(3, 0, old);
    EXPECT_EQ(h.rule(), "");
    History bad({volatile_object});
    const Value gone = bad.write(2, 0);
    bad.keeps(2, 0, {gone});
    bad.unmaps(2, 0);
    bad.write(1, 0, gone);
    (*bad).crash(1, 0);
    bad.sees(3, 0, gone);
    EXPECT_EQ(bad.rule(), "silent-loss") << "nobody had it frozen";
}

TEST(DsmChecker, ErrorThoughCopiesAreLeft) {
    History h({durable_object});
    const Value v = h.write(1, 0);
    h.keeps(3, 0, {v});
    h.sees(1, 0, v);
    h.sees(2, 0, v);
    (*h).crash(1, 0);
    (*h).error(2, 0, -EIO);
    EXPECT_EQ(h.rule(), "false-loss");
}

TEST(DsmChecker, ErrorForWhatWasNeverWritten) {
    History h({durable_object});
    (*h).error(2, 0, -EIO);
    EXPECT_EQ(h.rule(), "false-loss");
}

TEST(DsmChecker, ErrorForTheNeverWrittenIsForgivenWhenAllWhoKnewDiedAtOnce) {
    History h({volatile_object, volatile_object});
    h.write(1, 0);
    (*h).crash(1, 0);
    (*h).crash(2, 0);
    (*h).error(3, 1, -EIO);
    EXPECT_EQ(h.rule(), "");
    EXPECT_EQ((*h).bits_lost(), 1U);
    History one({volatile_object, volatile_object});
    one.write(1, 0);
    (*one).crash(1, 0);
    (*one).error(3, 1, -EIO);
    EXPECT_EQ(one.rule(), "false-loss") << "one crash leaves somebody who knows";
    History other({volatile_object, {false, 1, 9}});
    other.write(1, 0);
    (*other).crash(1, 0);
    (*other).crash(2, 0);
    (*other).error(3, 1, -EIO);
    EXPECT_EQ(other.rule(), "false-loss") << "nothing of that chunk was ever written";
}

TEST(DsmChecker, WhatAllItsNodesTookWithThemIsNoHoleInThePrefix) {
    // A batch of two objects, with a backup each. The writer and one backup die: two crashes with two copies.
    History h({durable_object, durable_object});
    const Value first = h.write(1, 0);
    const Value second = h.write(1, 1);
    h.keeps(2, 0, {first});
    h.keeps(3, 1, {second});
    (*h).crash(1, 0);
    (*h).crash(2, 0);
    h.sees(3, 0, zeros);
    h.sees(3, 1, second);
    EXPECT_EQ(h.rule(), "");
    History one({durable_object, durable_object});
    const Value before = one.write(1, 0);
    const Value after = one.write(1, 1);
    one.keeps(2, 0, {before});
    one.keeps(3, 1, {after});
    (*one).crash(1, 0);
    one.sees(3, 0, zeros);
    one.sees(3, 1, after);
    EXPECT_EQ(one.rule(), "causal-cut") << "one crash, and n2 lives";
}

TEST(DsmChecker, ANewMemoryMayBeRefusedByWhoKnowsTheOld) {
    for (const bool known : {true, false}) {
        History h({volatile_object, volatile_object});
        h.write(1, 0);
        (*h).start_over(known);
        (*h).boot(3);
        (*h).error(3, 1, -EIO);
        EXPECT_EQ(h.rule(), known ? "" : "false-loss");
    }
    History h({volatile_object});
    h.write(1, 0);
    (*h).start_over(false);
    (*h).boot(2);
    h.sees(2, 0, zeros);
    EXPECT_EQ(h.rule(), "");
}

TEST(DsmChecker, RepairIsDemandedOfAnIdleCluster) {
    History h({durable_object});
    const Value v = h.write(1, 0);
    h.keeps(1, 0, {v});
    h.unmaps(1, 0);
    h.sees(2, 0, v);
    (*h).crash(1, 0);
    EXPECT_EQ(h.rule(), "");
    (*h).judge_repaired();
    EXPECT_EQ(h.rule(), "durability");
}

}  // namespace
