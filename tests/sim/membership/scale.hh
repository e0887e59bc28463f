// SPDX-License-Identifier: GPL-2.0
//
// How membership grows: messages and bytes in a quiet cluster, time to detect a crash and to agree on the view without
// it, messages that one such change costs. No faults but the crashes that are measured, perfect clocks, a calm network.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/world/types.hh"

namespace CLI {
class App;
}

namespace krg::sim {

struct ScaleOptions {
    std::vector<u64> sizes{3, 16, 128, 1024};
    u64 lease_ms = 2000, drift_ms = 100, renew_ms = 200, suspect_ms = 1000, settle_ms = 400;  ///< as the edge has them
    u64 tolerance_ms = 500;
    bool json = false, markdown = false;
};

void add_options(CLI::App& app, ScaleOptions& options);
/// Measures and prints. Returns the exit status.
[[nodiscard]] int measure(const ScaleOptions& options);

}  // namespace krg::sim
