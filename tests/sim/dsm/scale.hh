// SPDX-License-Identifier: GPL-2.0
//
// How the coherence protocol grows with the number of nodes: real engines, as many as there is memory for, counted messages.
#pragma once

#include <vector>

#include "tests/sim/world/types.hh"

namespace CLI {
class App;
}

namespace krg::sim::dsm {

struct ScaleOptions {
    std::vector<u64> sizes = {16, 64, 256, 1024};
    bool json = false, markdown = false;
};

void add_options(CLI::App& app, ScaleOptions& options);
/// Measures and prints. Returns the exit status.
[[nodiscard]] int measure(const ScaleOptions& options);

}  // namespace krg::sim::dsm
