// SPDX-License-Identifier: GPL-2.0
//
// A run of the small world: its moves are drawn from a seed, or given; then faults end, everything is delivered fairly, and
// what liveness and an idle system owe is checked. Also how a failing list of moves is made shorter.
#pragma once

#include "tests/sim/dsm/world.hh"

namespace krg::sim::dsm {

struct RunOutcome {
    Broken broken;
    Counts counts;
    u64 hash = 0;
    u64 virtual_us = 0;
    std::vector<Move> moves;  ///< of the part with faults
};

/// What a seed stands for.
[[nodiscard]] Setup draw_setup(u64 seed);
/// A checkpointed domain.
[[nodiscard]] Setup draw_points(u64 seed);
/// Runs @p setup with moves drawn from its seed.
[[nodiscard]] RunOutcome run_seed(const Setup& setup, Trace* trace = nullptr);
/// Runs @p setup with these moves; those that are not possible when it is their turn are left out.
[[nodiscard]] RunOutcome run_moves(const Setup& setup, const std::vector<Move>& moves, Trace* trace = nullptr);
/// The shortest list found that breaks the same rule. @p budget: runs.
[[nodiscard]] std::vector<Move> shorten(const Setup& setup, std::vector<Move> moves, const std::string& rule, u64 budget);

/// What can happen next without a fault or a new operation: messages, edge work, grants in use, views, due timers.
void fair_moves(const World& world, std::vector<Move>& out);
/// Fair delivery until nothing is left to do, with @p heal without faults; false: something broke, also the rule "liveness".
bool settle(World& world, bool heal = true);
/// What an idle cluster must look like.
void check_idle(World& world);

}  // namespace krg::sim::dsm
