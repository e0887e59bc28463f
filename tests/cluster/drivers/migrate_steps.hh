// SPDX-License-Identifier: GPL-2.0
//
// Steps of the scenarios about processes that move: a program starts on node 1, moves, ends, and is looked for.
#pragma once

#include "steps.hh"

#include <string>

namespace krg::cluster_test {

/// A process of node 1, whose parent, a shell, writes down how it ended.
struct Moving {
    long pid = 0;
    std::string folder;  ///< below /shared: pid, out, code, log
};

ProcessResult done(Test& test, int node, const std::string& script, const std::string& sentence, double timeout_s = 60);

/// On every node that runs: hadsm and krg_proc of this tree, with the restart of this tree as the helper.
void load_modules(Test& test);
/// Starts a command that writes its id to pid in its folder; `@` stands for the folder.
Moving start_command(Test& test, const std::string& name, const std::string& command);
/// A program of tests/cr.
Moving start(Test& test, const std::string& program);

/// VmSize there in kB; 0: a shadow, -1: no such process.
long memory_on(Test& test, int node, long pid);
void move(Test& test, const Moving& moving, int from, int to);
void require_text(Test& test, int node, const std::string& file, const std::string& wanted, const std::string& sentence);
/// Asks it to end, and requires that it found everything in order.
void finish(Test& test, const Moving& moving, int node);

/// migrate_home.cc
void scenario_home(Test& test);
void scenario_home_signals(Test& test);
void scenario_home_refused(Test& test);
void scenario_home_source_dies(Test& test);
void scenario_home_killed(Test& test);
void scenario_helper_killed(Test& test);
void scenario_stops(Test& test);
void scenario_ring(Test& test);

/// migrate_tree.cc
void scenario_tree_pipeline(Test& test);
void scenario_tree_wait(Test& test);
void scenario_tree_group(Test& test);
void scenario_tree_child_killed(Test& test);
void scenario_tree_zombie(Test& test);
void scenario_tree_runner_dies(Test& test);

/// migrate_follow.cc
void scenario_follow(Test& test);
void scenario_follow_onwards(Test& test);
void scenario_follow_lost(Test& test);

/// migrate_ahead.cc
void scenario_ahead(Test& test);
void scenario_ahead_onwards(Test& test);
void scenario_ahead_source_dies(Test& test);
void scenario_ahead_target_dies(Test& test);

}  // namespace krg::cluster_test
