// SPDX-License-Identifier: GPL-2.0
// What a process of the image does to itself before it joins: with libc as long as nothing has moved (TaskFiles, settle()),
// then as a list of calls for the last stage (script_of()).
#pragma once

#include <vector>

#include "tools/restart/files.hh"
#include "tools/restart/plan.hh"
#include "tools/restart/script.hh"

namespace krg::restart {

/** Puts the process's files to their numbers, with owners, watches and locks; closes all others but @keep. Throws krg::Error. */
void take_files(const Files& files, const Task& task, int keep);
/** Does this process do what one has to do once to the file? The first whose table has it. */
[[nodiscard]] bool is_keeper(const Plan& plan, const Task& task, u64 file);

/** Directories, umask, and what else has a system call or a file below /proc. Throws krg::Error. */
void settle(const Files& files, const Task& task);

/** Where a moved vvar and vdso go, and what they are called in the image: mappings of kind vdso and vvar, ascending. */
[[nodiscard]] std::vector<Range> special_mappings(const Plan& plan, u64 mm);
/** Those of this process. */
[[nodiscard]] std::vector<Range> own_special_mappings();

/** The calls of the leader, which make the other threads, whose calls are placed in the area too. */
[[nodiscard]] Script script_of(const Plan& plan, const Task& task, Area& area, LastFailure* failure, int device,
                               bool at_home = false);
/** Bytes that an area for it needs. */
[[nodiscard]] size_t area_size(const Plan& plan, const Task& task);

/** Credentials of one thread, the last rights dropped; nothing if they are what the caller has. */
void add_credentials(const Plan& plan, const Record& thread, Area& area, Calls& calls);
/** The capability sets of this process, as the kernel numbers bits. */
struct Capabilities {
    u64 effective = 0, permitted = 0, inheritable = 0, bounding = 0, ambient = 0;
};
[[nodiscard]] Capabilities own_capabilities();

}  // namespace krg::restart
