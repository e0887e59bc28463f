// SPDX-License-Identifier: GPL-2.0
//
// From command line to runs of the membership simulation and back to lines of text: which options a seed gets, what is
// counted over many runs, the line of totals, the command that replays a run.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/membership/run.hh"
#include "tests/sim/run/batch.hh"

namespace krg::sim {

/// What the command line says; everything else comes from the seed.
struct Setup {
    u64 nodes_min = 0, nodes_max = 0;  ///< 0: drawn
    u64 seconds = 0;                   ///< 0: drawn
    u64 until = 0;
    std::vector<std::string> sets;  ///< name=value
    std::optional<std::set<u64>> faults;
};

[[nodiscard]] RunOptions options_for(u64 seed, const Setup& setup);
[[nodiscard]] Ending ending_of(const RunResult& result);
/// One run as a row of numbers. @p twice: run it again and compare.
[[nodiscard]] OneRun one_run(const RunOptions& options, bool twice);
/// The one line that ends a batch.
[[nodiscard]] std::string totals_line(u64 violations, const BatchTotals& totals);
[[nodiscard]] u64 runs_of(const BatchTotals& totals);
/// `krg-sim --seed ...` for exactly this run.
[[nodiscard]] std::string replay_command(const RunOptions& options);
/// Parses `3,7,9`. False: not a list of numbers.
[[nodiscard]] bool parse_list(const std::string& text, std::set<u64>& out);

/// The smallest run found that breaks the same rule. @p budget: how many runs it may try. @p say: progress lines.
[[nodiscard]] RunOptions shrink(const RunOptions& options, const std::string& rule, u64 budget);

}  // namespace krg::sim
