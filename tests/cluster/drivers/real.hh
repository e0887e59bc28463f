// SPDX-License-Identifier: GPL-2.0
//
// A real program in the middle of its work: what it is, and the one way all of them go through a checkpoint or a move.
#pragma once

#include "steps.hh"

#include <string>

namespace krg::cluster_test {

/// All texts are of sh, run in a folder of its own below /shared; $T is the source tree.
struct Work {
    const char* name;
    /// What is done: the whole of it is moved or saved as a tree, whose root is the shell that runs this.
    const char* script;
    /// True once it is in the middle. `$P` is the root's id.
    const char* middle;
    /// Prints the result, when it has ended; that of an undisturbed run has to be the same.
    const char* result;
    /// Asked where it runs after the operation, by somebody who has nothing to do with it; empty: nobody asks.
    const char* after = "";
    /// Before it starts, on every node.
    const char* before = "";
};

/// Starts it twice, on node 1 and, undisturbed, on the last node; does `mode` of crsuite_operation.hh to the first in the
/// middle of its work, and requires that both end with exit status 0 and the same result.
void through(Test& test, const Work& work, const char* mode);

extern const Work python3_work, openmp_work, pthreads_work, sqlite3_work, sqlite3_dotfile_work, gcc_work, bash_work;
extern const Work redis_work, node_work, tmux_work;

}  // namespace krg::cluster_test
