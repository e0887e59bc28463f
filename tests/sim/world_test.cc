// SPDX-License-Identifier: GPL-2.0
//
// The world itself, with a protocol so small that every outcome is known: each node counts and echoes numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tests/sim/run/batch.hh"
#include "tests/sim/run/knobs.hh"
#include "tests/sim/world/world.hh"

using namespace krg::sim;

namespace {

struct Log {
    std::vector<std::vector<u64>> received;
    std::vector<unsigned> ups, downs;
    std::vector<Time> ticks;
};

/// Sends 1, 2, 3... to its peer once a millisecond while connected.
class Counter final : public Process {
public:
    Counter(Host& host, Log& log) : host_(host), log_(log) {}
    void start() override {}
    void peer_up(NodeId peer, u64) override {
        log_.ups[host_.id()]++;
        peer_ = peer;
    }
    void peer_down(NodeId, u64) override {
        log_.downs[host_.id()]++;
        peer_ = 0;
    }
    void hint(NodeId) override {}
    void message(NodeId, u64, Class, std::span<const u8> bytes) override {
        u64 value = 0;
        ASSERT_EQ(bytes.size(), sizeof value);
        std::memcpy(&value, bytes.data(), sizeof value);
        log_.received[host_.id()].push_back(value);
    }
    void garbage(NodeId, u64, Class, std::span<const u8>) override {}
    void storage(std::span<const u8>) override {}
    void call(u32, u64) override {}
    void tick() override {
        log_.ticks.push_back(host_.true_time());
        due_ = host_.now_ms() + 1;
        if (peer_ == 0) return;
        next_++;
        u8 bytes[8];
        std::memcpy(bytes, &next_, sizeof bytes);
        host_.send(peer_, Class::control, bytes);
    }
    u64 deadline_ms() const override { return due_; }

private:
    Host& host_;
    Log& log_;
    NodeId peer_ = 0;
    u64 next_ = 0;
    u64 due_ = 1;
};

class Pair : public testing::Test, public ProcessFactory {
protected:
    Pair() {
        log.received.resize(3);
        log.ups.resize(3);
        log.downs.resize(3);
    }
    void build(WorldKnobs knobs, u64 seed = 1) {
        knobs.nodes = 2;
        world = std::make_unique<World>(knobs, seed, *this, nullptr);
        world->boot(1);
        world->boot(2);
    }
    std::unique_ptr<Process> boot(Host& host) override { return std::make_unique<Counter>(host, log); }
    void gone(NodeId) override {}
    bool storage(NodeId, std::span<const u8>, std::vector<u8>&) override { return false; }
    std::string describe(Class, std::span<const u8>) const override { return {}; }
    static bool ascending(const std::vector<u64>& values) { return std::is_sorted(values.begin(), values.end()); }

    Log log;
    std::unique_ptr<World> world;
};

WorldKnobs rough() {
    WorldKnobs knobs;
    knobs.skew_ppm = 10000;
    knobs.offset_ms = 100000;
    knobs.network.slow_ppm = 200000;
    knobs.network.jitter_us = 5000;
    return knobs;
}

}  // namespace

TEST_F(Pair, a_connection_is_a_fifo_however_slow_its_messages) {
    build(rough());
    world->run_until(5 * second);
    EXPECT_GT(log.received[2].size(), 3000U);
    EXPECT_TRUE(ascending(log.received[2]));
    EXPECT_EQ(log.received[2].front(), 1U);
    EXPECT_EQ(log.received[2].back(), log.received[2].size());
}

TEST_F(Pair, a_reset_loses_what_was_in_flight_and_both_ends_learn_it) {
    build(rough());
    world->run_until(2 * second);
    world->network().reset(world->now(), 1, 2, ms);
    world->run_until(4 * second);
    EXPECT_EQ(log.downs[1], 1U);
    EXPECT_EQ(log.downs[2], 1U);
    EXPECT_EQ(log.ups[1], 2U);
    EXPECT_TRUE(ascending(log.received[2]));
    EXPECT_LT(log.received[2].size(), log.received[2].back());
}

TEST_F(Pair, a_blocked_lane_holds_messages_and_keeps_their_order) {
    WorldKnobs knobs = rough();
    knobs.network.tolerance_ms = 0;
    build(knobs);
    world->run_until(second);
    world->network().block(world->now(), 1, 2);
    world->run_until(world->now() + 300 * ms);
    const std::size_t before = log.received[2].size();
    const std::size_t other_way = log.received[1].size();
    world->run_until(world->now() + 300 * ms);
    EXPECT_EQ(log.received[2].size(), before);
    EXPECT_GT(log.received[1].size(), other_way);
    world->network().unblock(world->now(), 1, 2);
    world->run_until(world->now() + second);
    EXPECT_TRUE(ascending(log.received[2]));
    EXPECT_EQ(log.received[2].back(), log.received[2].size());
}

TEST_F(Pair, the_link_supervision_resets_a_blocked_lane) {
    WorldKnobs knobs = rough();
    knobs.network.tolerance_ms = 100;
    build(knobs);
    world->run_until(second);
    world->network().block(world->now(), 1, 2);
    world->run_until(2 * second);
    EXPECT_EQ(log.downs[1], 1U);
    EXPECT_FALSE(world->network().connected(1, 2));
}

TEST_F(Pair, a_frozen_machine_gets_its_input_when_it_wakes) {
    WorldKnobs knobs = rough();
    knobs.freeze_resets = 0;
    build(knobs);
    world->run_until(second);
    world->freeze(2);
    const std::size_t before = log.received[2].size();
    world->run_until(2 * second);
    EXPECT_EQ(log.received[2].size(), before);
    world->thaw(2);
    EXPECT_GT(log.received[2].size(), before + 500);
    EXPECT_TRUE(ascending(log.received[2]));
}

TEST_F(Pair, a_crashed_machine_comes_back_as_another_incarnation) {
    build(rough());
    world->run_until(second);
    const u64 life = world->incarnation(2);
    world->crash(2, false);
    EXPECT_FALSE(world->up(2));
    world->run_until(world->now() + 100 * ms);
    EXPECT_EQ(log.downs[1], 1U);
    world->boot(2);
    world->run_until(world->now() + second);
    EXPECT_NE(world->incarnation(2), life);
    EXPECT_EQ(log.ups[1], 2U);
}

TEST_F(Pair, one_seed_is_one_run) {
    build(rough(), 5);
    world->run_until(3 * second);
    const u64 first = world->hash().value();
    build(rough(), 5);
    world->run_until(3 * second);
    EXPECT_EQ(world->hash().value(), first);
    build(rough(), 6);
    world->run_until(3 * second);
    EXPECT_NE(world->hash().value(), first);
}

TEST_F(Pair, timers_are_never_early_on_the_nodes_own_clock) {
    build(rough(), 9);
    world->run_until(second);
    EXPECT_GT(log.ticks.size(), 1000U);
}

TEST(Clock, reading_and_inverse_agree) {
    for (const i64 skew : {-50000, -1, 0, 1, 50000}) {
        const Clock clock(123456, skew);
        for (const u64 local : {u64{124}, u64{1000}, u64{77777777}}) {
            const Time at = clock.when(local);
            EXPECT_GE(clock.local_ms(at), local);
            EXPECT_LT(clock.local_ms(at - 1), local);
        }
    }
}

TEST(Knobs, setting_and_printing_know_every_knob) {
    Knobs knobs = draw_knobs(3, 0, 0);
    EXPECT_TRUE(set_knob(knobs, "lease_ms=1234"));
    EXPECT_EQ(knobs.lease_ms, 1234U);
    EXPECT_TRUE(set_knob(knobs, "fault.ambush=3"));
    EXPECT_EQ(knobs.weight[static_cast<unsigned>(FaultKind::ambush)], 3U);
    EXPECT_FALSE(set_knob(knobs, "lease_ms"));
    EXPECT_FALSE(set_knob(knobs, "lease_ms=x"));
    EXPECT_FALSE(set_knob(knobs, "nonsense=1"));
}

TEST(Knobs, giving_the_size_changes_nothing_else) {
    for (u64 seed = 1; seed < 50; seed++) {
        Knobs drawn = draw_knobs(seed, 0, 0);
        Knobs given = draw_knobs(seed, drawn.nodes, drawn.seconds);
        EXPECT_EQ(print_knobs(seed, drawn), print_knobs(seed, given));
    }
}

TEST(Batch, a_crash_and_a_hang_name_their_seed) {
    BatchOptions options;
    options.seeds = 4;
    options.stop_after = 4;
    options.run_seconds = 1;
    BatchTotals totals;
    const auto failures = run_batch(
        options,
        [](u64 seed) {
            if (seed == 2) std::_Exit(99);
            const volatile bool hangs = seed == 3;
            while (hangs) {}
            OneRun row;
            row.value[0] = 1;
            return row;
        },
        totals);
    ASSERT_EQ(failures.size(), 2U);
    EXPECT_EQ(failures[0].seed, 2U);
    EXPECT_EQ(failures[0].rule, "crash");
    EXPECT_EQ(failures[1].seed, 3U);
    EXPECT_EQ(failures[1].rule, "hang");
    EXPECT_EQ(totals.sum[0], 2U);
}

TEST(Batch, one_seed_must_end_the_same_twice) {
    const Ending first{"", "", 7, 100};
    unsigned runs = 0;
    const auto same = [&] { return runs++, first; };
    EXPECT_FALSE(verdict(first, false, same).failed);
    EXPECT_EQ(runs, 0U);
    EXPECT_FALSE(verdict(first, true, same).failed);
    EXPECT_EQ(runs, 1U);
    EXPECT_EQ(verdict(first, true, [] { return Ending{"", "", 8, 100}; }).rule, "determinism");
    EXPECT_EQ(verdict(first, true, [] { return Ending{"", "", 7, 101}; }).rule, "determinism");
    const OneRun broken = verdict({"safety", "text", 7, 100}, true, same);
    EXPECT_TRUE(broken.failed);
    EXPECT_EQ(broken.rule, "safety");
    EXPECT_EQ(runs, 1U) << "what is broken is not run again";
}
