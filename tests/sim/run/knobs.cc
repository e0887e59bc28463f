// SPDX-License-Identifier: GPL-2.0
//
// The table of knobs and how they are drawn. See knobs.hh.
#include "tests/sim/run/knobs.hh"

#include <charconv>
#include <cstddef>
#include <fmt/format.h>
#include <iterator>

#include "tests/sim/world/rng.hh"

namespace krg::sim {

namespace {

constexpr u64 keep = ~u64{0};

constexpr const char* names[fault_kinds] = {"crash",         "crash-two", "freeze",  "cut",   "cut-one-way", "split",
                                            "split-one-way", "isolate",   "cuts",    "reset", "delay",       "hint",
                                            "leave",         "evict",     "storage", "ambush"};

#define KNOB(field, calm, help)                                                                                                \
    { #field, offsetof(Knobs, field), calm, help }
#define WEIGHT(kind, name, help)                                                                                               \
    { "fault." name, offsetof(Knobs, weight) + sizeof(u64) * static_cast<u64>(FaultKind::kind), 0, help }

const KnobInfo table[] = {
    KNOB(nodes, keep, "machines"),
    KNOB(seconds, keep, "virtual seconds of the safety phase"),
    KNOB(faults, keep, "faults in the safety phase"),
    KNOB(dead, 0, "machines that stay dead in the liveness phase"),
    KNOB(intruder, 0, "one machine may not join: 1 other cluster, 2 node id out of range, 3 the id of another"),
    KNOB(even_start, 0, "faults begin only when all have joined"),
    KNOB(spread_ms, keep, "machines boot within this time; 0: up to 3 s, drawn"),
    KNOB(lease_ms, keep, "lease"),
    KNOB(drift_ms, keep, "added by whoever waits for a lease"),
    KNOB(renew_ms, keep, "between renewals"),
    KNOB(suspect_ms, keep, "silence until a member counts as unreachable"),
    KNOB(settle_ms, keep, "evidence must be stable for this long"),
    KNOB(witness, 0, "tie-break vote on shared storage"),
    KNOB(skew_ppm, 0, "clocks run up to this much fast or slow"),
    KNOB(offset_ms, 0, "clocks start up to this far from zero"),
    KNOB(timer_lag_us, 0, "mean lateness of timers"),
    KNOB(storage_ms, 1, "mean time of one access to the storage"),
    KNOB(wake_timer_first, 0, "a machine that wakes runs its timer before its input"),
    KNOB(freeze_resets, 0, "the link supervision notices a frozen machine"),
    KNOB(latency_us, 100, "least delay of a message"),
    KNOB(jitter_us, 0, "mean of what comes on top"),
    KNOB(slow_ppm, 0, "messages in a million that take the long way"),
    KNOB(slow_us, 0, "mean of that way"),
    KNOB(connect_ms, keep, "connect and handshake"),
    KNOB(retry_ms, keep, "between a reset and the next connect"),
    KNOB(tolerance_ms, 0, "silence until the link supervision resets; 0: never"),
    KNOB(duplicate_ppm, 0, "messages delivered twice"),
    KNOB(garbage_ppm, 0, "messages followed by damaged bytes"),
    KNOB(prepare_ms, 0, "mean time subscribers take to prepare"),
    KNOB(drain_ms, 0, "mean time subscribers take to drain"),
    KNOB(rejoin_ms, keep, "mean back-off before an expelled node joins again"),
    KNOB(op_ms, 0, "mean time between operations of a serving node; 0: none"),
    KNOB(keep_quorum, keep, "crashes leave the cluster a quorum"),
    KNOB(longest_ms, keep, "longest duration of a fault"),
    KNOB(final_operator, 0, "in the liveness phase: 1 a node is asked to leave, 2 one is evicted"),
    KNOB(scatter, 0, "in the liveness phase: all are cut off from all, and the links come back one by one"),
    KNOB(final_cut, 0, "how the liveness phase ends: 0 whole, 1 pair, 2 one way, 3 isolate, 4 split, 5 random pairs"),
    KNOB(heal_after, 0, "after the final cut everything heals again"),
    WEIGHT(crash, "crash", "a machine dies, boots again later"),
    WEIGHT(crash_two, "crash-two", "two die at the same instant"),
    WEIGHT(freeze, "freeze", "a machine stops and wakes later"),
    WEIGHT(cut, "cut", "one pair cannot talk"),
    WEIGHT(cut_one_way, "cut-one-way", "one direction of a pair"),
    WEIGHT(split, "split", "two sides"),
    WEIGHT(split_one_way, "split-one-way", "two sides, one direction"),
    WEIGHT(isolate, "isolate", "one against all"),
    WEIGHT(cuts, "cuts", "several random pairs"),
    WEIGHT(reset, "reset", "connections break"),
    WEIGHT(delay, "delay", "slow pair or machine"),
    WEIGHT(hint, "hint", "wrong report of a death"),
    WEIGHT(leave, "leave", "planned leave"),
    WEIGHT(evict, "evict", "eviction of a live node"),
    WEIGHT(storage, "storage", "witness out of reach"),
    WEIGHT(ambush, "ambush", "hits the next agreement"),
};
static_assert(std::size(table) == sizeof(Knobs) / sizeof(u64), "every knob stands in the table");

#undef KNOB
#undef WEIGHT

void draw_cluster(Rng& rng, Knobs& k) {
    // Most runs have times near the defaults, some are very tight or very lax.
    k.renew_ms = rng.chance(1, 8) ? rng.between(60, 200) : rng.between(200, 600);
    k.suspect_ms = k.renew_ms * rng.between(5, 10) / 2;
    k.lease_ms = k.suspect_ms + k.renew_ms * rng.between(1, 4);
    k.settle_ms = rng.chance(1, 3) ? k.renew_ms / 4 + rng.below(k.renew_ms) : 2 * k.renew_ms + 10 + rng.below(k.renew_ms / 2);
    k.drift_ms = rng.between(10, 20 + k.lease_ms / 10);
    k.witness = rng.chance(3, 10) ? 1 : 0;
    // A drift allowance covers a lease on the fastest and the slowest clock, and the milliseconds lost to rounding at
    // each of the places that hand a remaining time on.
    const u64 cover = k.drift_ms > 8 ? k.drift_ms - 8 : 0;
    k.skew_ppm = rng.chance(1, 5) ? 0 : rng.below(cover * 1000000 / (2 * k.lease_ms + k.drift_ms) + 1);
    k.offset_ms = rng.chance(1, 2) ? 0 : rng.below(100000000);
}

void draw_network(Rng& rng, Knobs& k) {
    k.timer_lag_us = rng.log_uniform(10, 4000);
    k.storage_ms = rng.log_uniform(1, 100);
    k.wake_timer_first = rng.below(2);
    k.freeze_resets = rng.below(2);
    k.latency_us = rng.log_uniform(50, 5000);
    k.jitter_us = rng.log_uniform(10, 5000);
    k.slow_ppm = rng.chance(1, 3) ? 0 : rng.log_uniform(100, 20000);
    k.slow_us = rng.log_uniform(1000, 200000);
    k.connect_ms = rng.between(1, 60);
    k.retry_ms = rng.between(2, 400);
    k.tolerance_ms = rng.chance(1, 5) ? 0 : rng.between(100, 1500);
    k.duplicate_ppm = rng.chance(2, 3) ? 0 : rng.log_uniform(100, 30000);
    k.garbage_ppm = rng.chance(2, 3) ? 0 : rng.log_uniform(100, 10000);
}

}  // namespace

const char* fault_name(FaultKind kind) { return names[static_cast<unsigned>(kind)]; }

std::span<const KnobInfo> knob_table() { return table; }

u64& knob(Knobs& knobs, const KnobInfo& info) { return *reinterpret_cast<u64*>(reinterpret_cast<char*>(&knobs) + info.offset); }

Knobs draw_knobs(u64 seed, u64 nodes, u64 seconds) {
    Rng rng(derive(seed, "knobs"));
    Knobs k{};
    // Drawn whether or not they are given, so that giving them changes nothing else.
    constexpr u8 sizes[] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7, 7, 8, 9};
    const u64 size = sizes[rng.below(std::size(sizes))];
    const u64 length = rng.chance(1, 20) ? 120 : rng.between(60, 70);
    k.nodes = nodes != 0 ? nodes : size;
    k.seconds = seconds != 0 ? seconds : length;
    k.faults = rng.between(6, rng.chance(1, 3) ? 60 : 20);
    k.dead = rng.chance(1, 4) ? rng.between(1, (k.nodes - 1) / 2 + 1) - 1 : 0;
    k.intruder = rng.chance(1, 8) ? rng.between(1, 3) : 0;
    k.even_start = rng.below(2);
    draw_cluster(rng, k);
    draw_network(rng, k);
    k.prepare_ms = rng.chance(1, 4) ? 0 : rng.log_uniform(1, 400);
    k.drain_ms = rng.log_uniform(1, 4000);
    k.rejoin_ms = rng.log_uniform(10, 3000);
    k.op_ms = rng.between(300, 2000);
    k.keep_quorum = rng.chance(9, 10) ? 1 : 0;
    k.longest_ms = rng.log_uniform(1000, 20000);
    k.final_operator = rng.chance(1, 2) ? 0 : rng.between(1, 2);
    constexpr FinalCut cuts[] = {FinalCut::none,    FinalCut::none,    FinalCut::pair,
                                 FinalCut::pair,    FinalCut::one_way, FinalCut::one_way,
                                 FinalCut::isolate, FinalCut::split,   FinalCut::random_pairs};
    k.final_cut = static_cast<u64>(cuts[rng.below(std::size(cuts))]);
    k.heal_after = rng.chance(1, 3) ? 1 : 0;
    for (u64& weight : k.weight) weight = rng.chance(1, 3) ? 0 : rng.between(1, 10);
    k.scatter = rng.chance(1, 3) ? 1 : 0;
    return k;
}

bool set_knob(Knobs& knobs, const std::string& assignment) {
    const auto equals = assignment.find('=');
    if (equals == std::string::npos) return false;
    const std::string name = assignment.substr(0, equals);
    const char* end = assignment.data() + assignment.size();
    u64 value = 0;
    const auto parsed = std::from_chars(assignment.data() + equals + 1, end, value);
    if (parsed.ec != std::errc{} || parsed.ptr != end) return false;
    for (const KnobInfo& info : table) {
        if (name != info.name) continue;
        knob(knobs, info) = value;
        return true;
    }
    return false;
}

std::string print_knobs(u64 seed, const Knobs& knobs) {
    std::string out = fmt::format("seed {}\n", seed);
    Knobs copy = knobs;
    unsigned column = 0;
    for (const KnobInfo& info : table) {
        out += fmt::format("  {:<18}{:>9}", info.name, knob(copy, info));
        if (++column % 4 == 0) out += '\n';
    }
    if (column % 4 != 0) out += '\n';
    return out;
}

}  // namespace krg::sim
