// SPDX-License-Identifier: GPL-2.0
//
// krg-sim dsm --with-membership: a seed is a run of the membership simulation, faults and all, whose tenant is the coherence
// engine (client.hh). This is what the seed draws, one run as a row of numbers, and the line of totals.
#pragma once

#include "tests/sim/run/batch.hh"
#include "tests/sim/world/trace.hh"

namespace krg::sim::dsm {

/// One seed as a row of numbers. @p twice: run it again and compare.
[[nodiscard]] OneRun loop_run(u64 seed, bool twice);
/// The same, with everything that happens.
[[nodiscard]] OneRun loop_trace(u64 seed, Trace& trace);
[[nodiscard]] std::string loop_totals_line(u64 violations, const BatchTotals& totals);
[[nodiscard]] u64 loop_runs_of(const BatchTotals& totals);

}  // namespace krg::sim::dsm
