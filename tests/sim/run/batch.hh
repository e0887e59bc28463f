// SPDX-License-Identifier: GPL-2.0
//
// Many seeds on many cores: one process per core, nothing shared but a counter of seeds and a table of totals, so that a
// crash of the engine kills one worker and names its seed. What a run is, is the caller's business.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/sim/world/types.hh"

namespace krg::sim {

struct BatchOptions {
    u64 first = 1;
    u64 seeds = 1;
    unsigned jobs = 2;
    u64 stop_after = 1;         ///< failures
    unsigned run_seconds = 60;  ///< of the processor for one run: longer is a hang
    bool progress = false;
};

struct BatchFailure {
    u64 seed = 0;
    std::string rule;  ///< "crash" and "hang" too
    std::string text;
};

/// Sums over all runs; a plain array, so that it can live in shared memory. The caller names the fields.
inline constexpr unsigned batch_counters = 64;
struct BatchTotals {
    u64 sum[batch_counters] = {};
    u64 max[batch_counters] = {};
    u64 min[batch_counters] = {};
};

struct OneRun {
    bool failed = false;
    std::string rule, text;
    u64 value[batch_counters] = {};
};

/// How a run ended: the rule that was broken, or none, and what two runs of one seed must have in common.
struct Ending {
    std::string rule, text;
    u64 hash = 0, events = 0;
};

/// The verdict on a run that ended as @p first; with @p again the same seed runs once more, and must end the same.
[[nodiscard]] OneRun verdict(const Ending& first, bool twice, const std::function<Ending()>& again);

/// Runs @p one for every seed. Returns failures in order of seed; @p totals is filled.
[[nodiscard]] std::vector<BatchFailure> run_batch(const BatchOptions& options, const std::function<OneRun(u64 seed)>& one,
                                                  BatchTotals& totals);

/// Runs @p body in a child of its own and returns what it returned, or "crash"/"hang" as the rule.
[[nodiscard]] OneRun run_guarded(unsigned seconds, const std::function<OneRun()>& body);

}  // namespace krg::sim
