// SPDX-License-Identifier: GPL-2.0
//
// krg-sim mutants dsm: every seeded bug of the coherence engine must be noticed by a checker, each in seeds or in an
// exhaustive world.
#pragma once

namespace krg::sim::dsm {

/// The exit status: 0 all caught, 2 usage, 6 one survived.
[[nodiscard]] int mutants(int argc, char** argv);

}  // namespace krg::sim::dsm
