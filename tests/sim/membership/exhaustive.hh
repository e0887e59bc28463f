// SPDX-License-Identifier: GPL-2.0
//
// Every order of events in a small world, over the same engine code: three nodes that serve in one view, at most one
// crash. Time goes in steps; in each step every node gets a tick, and every message in flight, every notice of a reset
// and every answer of a subscriber may come in any order or stay in flight for a bounded number of steps.
#pragma once

#include "tests/sim/world/types.hh"

namespace CLI {
class App;
}

namespace krg::sim {

struct ExhaustiveOptions {
    u64 nodes = 3;
    u64 steps = 18;       ///< of time after the start
    u64 crash_steps = 4;  ///< the crash happens in one of the first so many, anywhere among the other events
    u64 late = 0;         ///< steps a message may stay in flight
    u64 max_states = 30000000;
    u64 seconds = 110;
};

void add_options(CLI::App& app, ExhaustiveOptions& options);
/// Explores and prints counts. Returns the exit status: 0 only if everything within the bounds was seen and is right.
[[nodiscard]] int explore(const ExhaustiveOptions& options);

}  // namespace krg::sim
