// SPDX-License-Identifier: GPL-2.0
//
// The modes of `krg-sim handover`: seeds, one seed, every order of events in small worlds, seeded bugs. What a world is and
// what its rules are is in world.hh.
#pragma once

namespace krg::sim::handover {

/// `krg-sim handover ...`; the exit status.
[[nodiscard]] int command_line(int argc, char** argv);
/// `krg-sim mutants handover ...`, in the program that has the engine with its seeded bugs.
[[nodiscard]] int mutants(int argc, char** argv);

}  // namespace krg::sim::handover
