// SPDX-License-Identifier: GPL-2.0
// A restore from beginning to end.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "tools/restart/files.hh"
#include "tools/restart/plan.hh"

namespace krg::restart {

struct Restored {
    std::vector<pid_t> roots;  // processes whose parent is not of the image
    u64 number = 0;            // of the image
    u32 tasks = 0, threads = 0;
};

/**
 * Makes the processes of the image and lets them go. Throws krg::Error: what and why; nothing of them is left then. The caller
 * must have one thread.
 */
[[nodiscard]] Restored restore(const Plan& plan, const Options& options);

/**
 * The caller becomes the one process of the image, whose id, parent, group and session it has already; the kernel is the
 * restorer. Returns by krg::Error only.
 */
[[noreturn]] void come_home(const Plan& plan, const Options& options);

/** Waits for the first process and returns its exit status, 128 and the signal if one ended it; passes signals on to it. */
[[nodiscard]] int wait_for(pid_t pid);

}  // namespace krg::restart
