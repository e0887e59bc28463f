// SPDX-License-Identifier: GPL-2.0
//
// Every order of events in small worlds: three nodes that serve in one view, one or two objects, programs with a short
// script each, at most one crash. Messages, EDGE actions, grants in use, PREPARE and COMMIT come in any order; time passes
// only when nothing else can happen. States are told apart by their hashes.
#pragma once

#include "tests/sim/dsm/drive.hh"

namespace CLI {
class App;
}

namespace krg::sim::dsm {

struct ExhaustiveOptions {
    u64 max_states = 20000000;  ///< of one world
    u64 seconds = 100;          ///< of the processor for all worlds
    std::string only;           ///< the name of one world
    u32 overlook = 0;
    bool list = false;
};

void add_options(CLI::App& app, ExhaustiveOptions& options);
[[nodiscard]] std::vector<std::string> small_worlds();
/// What is broken in the world @p name, as far as it can be seen in so many seconds of the processor.
[[nodiscard]] Broken explore_quietly(const std::string& name, u64 max_seconds);
/// Explores and prints counts. Returns the exit status: 0 only if everything within the bounds was seen and is right.
[[nodiscard]] int explore(const ExhaustiveOptions& options);

}  // namespace krg::sim::dsm
