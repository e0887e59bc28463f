// SPDX-License-Identifier: GPL-2.0
//
// The simulation of the coherence engine as a program: its command line, one run as a row of numbers, the line of totals.
#pragma once

#include "tests/sim/dsm/drive.hh"
#include "tests/sim/run/batch.hh"

namespace krg::sim::dsm {

/// Set by the command line for all runs: see Setup::overlook.
extern u32 overlook;
[[nodiscard]] Setup setup_for(u64 seed);
/// One seed as a row of numbers. @p twice: run it again and compare.
[[nodiscard]] OneRun one_run(u64 seed, bool twice);
[[nodiscard]] std::string totals_line(u64 violations, const BatchTotals& totals);
[[nodiscard]] u64 runs_of(const BatchTotals& totals);
/// krg-sim dsm ...: the exit status.
[[nodiscard]] int command_line(int argc, char** argv);

}  // namespace krg::sim::dsm
