// SPDX-License-Identifier: GPL-2.0
//
// Words of the simulation of the coherence engine: what a page contains, what an object promises, how a run is set up.
// No behaviour lives here.
#pragma once

#include <string>
#include <vector>

#include "hadsm/core/dsm.h"
#include "tests/sim/world/types.hh"

namespace krg::sim::dsm {

inline constexpr unsigned nodes_max = 5;
inline constexpr unsigned objects_max = 8;
inline constexpr unsigned programs_max = 2;

/// What a page contains: zeros, or one write of a whole page, named by who wrote it and how many writes it had done.
/// Nobody writes the same value twice.
using Value = u32;
inline constexpr Value zeros = 0;
constexpr Value value_of(NodeId writer, u32 nth) { return static_cast<u32>(writer) << 24 | nth; }
constexpr NodeId writer_of(Value v) { return static_cast<NodeId>(v >> 24); }
constexpr u32 nth_of(Value v) { return v & 0xffffff; }
[[nodiscard]] std::string name_of(Value v);

/// Class, k and chunk of an object, as the checkers need them.
struct Promise {
    bool durable = false;
    unsigned replicas = 1;
    u64 chunk = 0;
    unsigned point_copies = 0;  ///< of each recovery point; 0: not a checkpointed domain
};

struct Broken {
    std::string rule, text;
    explicit operator bool() const { return !rule.empty(); }
};

/// A page as programs of one node see it.
struct Page {
    bool present = false, writable = false;
    Value value = zeros;
    bool operator==(const Page&) const = default;
};

enum class Op : u8 {
    read,
    write,
    update,
    count_,
    punch = count_,
    ahead,
    ahead_write,
    evict,
    sync,
    point,
    rollback
};  ///< from punch on: in scripts only

/// A set of objects.
using Objects = u32;

/// Everything about a run that is not one of its moves.
struct Setup {
    u64 seed = 1;
    NodeId nodes = 3;
    std::vector<krg_dsm_object> objects;
    unsigned point_copies = 0;      ///< k of a checkpointed domain; 0: it is none
    bool crash_rolls_back = false;  ///< whenever a member dies
    unsigned programs = 1;
    krg_dsm_params params{};

    // Random runs: how much of what.
    u32 moves = 600;
    u32 crashes = 0, resets = 0, drains = 0;
    u32 writes_pct = 40, updates_pct = 20, hot_pct = 0;
    u32 evict_weight = 0, sync_weight = 0, abandon_weight = 0, punch_weight = 0, ahead_weight = 0;
    u32 point_weight = 0, rollback_weight = 0;
    bool crashes_after_point = false;  ///< not before a recovery point is taken
    u32 duplicate_ppm = 0, no_memory_ppm = 0, pinned_pct = 0, edge_memory_pct = 0;
    u32 deliver_weight = 8, edge_weight = 4, view_weight = 1, program_weight = 4, time_weight = 1;
    u32 memory_pages = 0;  ///< that a node has room for; 0: any number
    u32 slow_pair = 0;     ///< one directed pair in so many is slow; 0: none
    u32 time_step = 20;

    // Exhaustive worlds: what each program does, one after the other.
    struct Step {
        Op op;
        u8 object;
    };
    std::vector<Step> script[nodes_max + 1][programs_max];
    bool scripted = false;
    bool all_may_die = false;  ///< that ever answered anything, as long as somebody has had a view
    u32 overlook = 0;          ///< copies fewer than promised, to look past what the durability rule finds
    bool arenas = false;       ///< engines live in memory that can be saved and restored
};

[[nodiscard]] Promise promise_of(const krg_dsm_object& object);
[[nodiscard]] std::string describe(const Setup& setup);

}  // namespace krg::sim::dsm
