// SPDX-License-Identifier: GPL-2.0
//
// How worlds are driven: by a seed, or in every order of moves.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/handover/world.hh"

namespace krg::sim::handover {

struct Outcome {
    std::string rule, text;  ///< rule: empty if none was broken
    std::vector<Move> path;  ///< up to there
    u64 hash = 0, moves = 0, faults = 0;
    u64 states = 0, transitions = 0, ends = 0, deepest = 0;  ///< of every_order
    bool complete = true;
};

/// What a seed stands for.
[[nodiscard]] Setup setup_for(u64 seed);
/// One run, to its end.
[[nodiscard]] Outcome run_seed(u64 seed);

/// The small worlds.
[[nodiscard]] const std::vector<Setup>& small_worlds();
/// Every order of moves; @p most states, then it is not complete.
[[nodiscard]] Outcome every_order(const Setup& setup, u64 most);

/// Prints @p path, a line a move.
void print_path(const Setup& setup, const std::vector<Move>& path);

}  // namespace krg::sim::handover
