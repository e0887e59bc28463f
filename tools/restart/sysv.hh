// SPDX-License-Identifier: GPL-2.0
// SysV objects of an image: made again with their ids before any process is, taken back when the restart fails. What a process
// would undo of semaphores is its own doing, in task.cc.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <unistd.h>

#include "tools/restart/plan.hh"

namespace krg::restart {

class Sysv {
public:
    explicit Sysv(const Plan& plan) : plan_(plan), maker_(::getpid()) {}
    ~Sysv();
    Sysv(const Sysv&) = delete;
    Sysv& operator=(const Sysv&) = delete;

    /** Makes and fills all; @attached is told where the segment of each memory object is. Throws krg::Error. */
    void make(const std::function<void(u64 memory, const void* at)>& attached);
    /** The processes have what they need: marks what was to be removed, and detaches. */
    void settle();
    /** They are the processes' from now on. */
    void release() { made_.clear(); }

private:
    struct Made {
        u16 type;
        int id;
    };

    int make_object(const Record& record, u16 first, const char* what, const char* next_id,
                    const std::function<int(int key, int flags)>& get);
    void make_segment(const Record& record, const std::function<void(u64, const void*)>& attached);
    void make_semaphores(const Record& record);
    void make_queue(const Record& record);
    void fill(const Record& record, char* at, u64 size);

    const Plan& plan_;
    const pid_t maker_;
    std::vector<Made> made_;
    std::vector<const void*> attached_;
    std::vector<int> removed_;  // segments that were marked
};

/** What is in the way of an object's id or key here; empty: nothing. */
[[nodiscard]] std::string sysv_in_the_way(const Record& record);
/** Fields of what all three kinds have, by the first one's number. */
[[nodiscard]] u16 sysv_first_field(u16 type);

}  // namespace krg::restart
