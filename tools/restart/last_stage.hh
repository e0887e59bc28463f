// SPDX-License-Identifier: GPL-2.0
// The last thing a process does before it becomes one of the image: a list of system calls, run by code that needs neither
// libc nor anything else of this program's memory, because by then the vdso has moved over whatever was in its way. Lists are
// made by script.hh; the code is in a section of its own that is copied to where the list is.
#pragma once

#include <cstdint>

#include <linux/types.h>

namespace krg::restart {

enum class Do : std::uint32_t {
    call,         // fails if the result is negative
    exactly,      // ... or is not `want`
    try_it,       // the result does not matter
    make_thread,  // clone3: a[0] its arguments, a[1] their size, a[2] the Script of the new thread
    make_timer,   // timer_create again and again until it gives `want`; a[0] clock, a[1] sigevent, a[2] room for an id
    drain,        // read from a[0] into a[1], a[2] bytes, until there is nothing
};

struct Op {
    Do what = Do::call;
    std::uint32_t pad = 0;
    const char* name = nullptr;  // what this is, in a failure
    std::int64_t number = 0, want = 0;
    std::uint64_t a[6] = {};
};

/** What went wrong where; shared by all processes. The first one holds. */
struct LastFailure {
    std::uint32_t state;   // 0 none, 1 being written, 2 there
    std::int32_t result;   // negative errno, or what came instead of what was wanted
    std::uint64_t thread;  // object id
    char name[112];
};

struct Script {
    const Op* ops = nullptr;
    std::uint64_t count = 0, thread = 0;
    LastFailure* failure = nullptr;
    std::int32_t device = -1;  // whose session is aborted after a failure
    std::uint32_t abort = 0;   // the request for it
    std::uint64_t reason = 0;  // its argument
};

/** Never returns; ends in KRG_PROC_RESTORE_JOIN, the last call of the list. */
using LastStage = void (*)(const Script* script, void* stack_end);

/** The code: to be copied anywhere and entered at its begin + last_stage_entry(). */
extern "C" const char __start_krg_last[], __stop_krg_last[];
[[nodiscard]] std::uint64_t last_stage_entry();

}  // namespace krg::restart
