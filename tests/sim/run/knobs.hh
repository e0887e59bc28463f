// SPDX-License-Identifier: GPL-2.0
//
// Every number a run depends on besides its seed. All are drawn from the seed (swarm testing: each run has its own mixture
// of faults, sizes and speeds), printed at the start of a single run, and can be set on the command line. A shrinker
// turns them to their calm values one by one.
#pragma once

#include <span>
#include <string>

#include "tests/sim/world/types.hh"

namespace krg::sim {

/// What goes wrong, in the order of the weights in Knobs.
enum class FaultKind : u8 {
    crash,      ///< a machine dies and boots again later as a new incarnation
    crash_two,  ///< two at the same instant
    freeze,     ///< a machine stops (its clock does not) and wakes later
    cut,        ///< one pair cannot talk: not transitive, others reach both
    cut_one_way,
    split,  ///< two sides
    split_one_way,
    isolate,  ///< one machine against all
    cuts,     ///< several random pairs
    reset,    ///< a connection breaks, what was in flight is lost
    delay,    ///< a pair or a machine becomes slow
    hint,     ///< the transport is wrong about a node's death
    leave,    ///< an operator: planned leave, join again later
    evict,    ///< an operator: evict a live node, join again later
    storage,  ///< the witness's storage is out of reach for some
    ambush,   ///< waits for the next agreement, then hits its proposer or another node
    count_,
};
inline constexpr unsigned fault_kinds = static_cast<unsigned>(FaultKind::count_);
[[nodiscard]] const char* fault_name(FaultKind kind);

/// How the liveness phase ends.
enum class FinalCut : u8 { none, pair, one_way, isolate, split, random_pairs, count_ };

struct Knobs {
    // size and time
    u64 nodes, seconds, faults, dead, intruder, even_start, spread_ms;
    // the cluster's parameters
    u64 lease_ms, drift_ms, renew_ms, suspect_ms, settle_ms, witness;
    // clocks, timers, storage
    u64 skew_ppm, offset_ms, timer_lag_us, storage_ms, wake_timer_first, freeze_resets;
    // network
    u64 latency_us, jitter_us, slow_ppm, slow_us, connect_ms, retry_ms, tolerance_ms, duplicate_ppm, garbage_ppm;
    // subscribers and the service
    u64 prepare_ms, drain_ms, rejoin_ms, op_ms;
    // faults
    u64 keep_quorum, longest_ms, final_operator, scatter, final_cut, heal_after;
    u64 weight[fault_kinds];
};

struct KnobInfo {
    const char* name;
    u64 offset;  ///< into Knobs
    u64 calm;    ///< value that disturbs nothing; ~0: leave as drawn
    const char* help;
};

/// All knobs, in the order of printing.
[[nodiscard]] std::span<const KnobInfo> knob_table();
[[nodiscard]] u64& knob(Knobs& knobs, const KnobInfo& info);

/// Draws a run's knobs; @p nodes and @p seconds of 0: drawn too.
[[nodiscard]] Knobs draw_knobs(u64 seed, u64 nodes, u64 seconds);
/// name=value. False: no such knob or no number.
[[nodiscard]] bool set_knob(Knobs& knobs, const std::string& assignment);
/// The block printed at the start of a single run.
[[nodiscard]] std::string print_knobs(u64 seed, const Knobs& knobs);

}  // namespace krg::sim
