// SPDX-License-Identifier: GPL-2.0
// Everything that can be known to go wrong before anything is made.
#pragma once

#include <string>
#include <vector>

#include "tools/restart/files.hh"
#include "tools/restart/plan.hh"

namespace krg::restart {

struct Refusal {
    enum class Kind { cannot, changed, busy, rights } kind;
    std::string what;  // "name: what and why"
};

/** All that stands in the way, by name. */
[[nodiscard]] std::vector<Refusal> refusals(const Plan& plan, const Options& options);
/** Throws krg::Error with all of them, if there are any. */
void refuse(const std::vector<Refusal>& refusals);

/** How far the clocks of a time namespace must be set forward so that none goes back; 0: not at all. */
struct ClockShift {
    s64 monotonic = 0, boottime = 0;
};
[[nodiscard]] ClockShift clock_shift(const Plan& plan);

}  // namespace krg::restart
