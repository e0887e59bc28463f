// SPDX-License-Identifier: GPL-2.0
//
// The scenarios of test_membership and test_pair; what each is about is in the drivers' tables.
#pragma once

#include "steps.hh"

namespace krg::cluster_test {

// scenarios_life.cc: as planned
void scenario_form(Test& test);
void scenario_unprivileged(Test& test);
void scenario_rmmod_refused(Test& test);
void scenario_grow(Test& test);
void scenario_leave(Test& test);
void scenario_evict(Test& test);
void scenario_unload(Test& test);

// scenarios_refused.cc: who may not join
void scenario_refused_joins(Test& test);

// scenarios_faults.cc: crashes, pauses and partitions
void scenario_crash(Test& test);
void scenario_pause_short(Test& test);
void scenario_pause_late(Test& test);
void scenario_cut_one_way(Test& test);
void scenario_cut_full(Test& test);
void scenario_cut_halves(Test& test);
void scenario_cut_pair(Test& test);

}  // namespace krg::cluster_test
