// SPDX-License-Identifier: GPL-2.0
#include "tools/checkpoint/sysv.hh"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <set>
#include <vector>

#include <fmt/format.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "tools/lib/image.hh"

namespace krg::checkpoint {

namespace {

constexpr int tries = 200;  // times 10 ms, for killed processes to let go of a segment

using image::Item;

struct Objects {
    std::set<u64> pids;  // of the processes
    std::vector<Item> all;
};

Objects objects_of(const std::string& path) {
    Objects found;
    const auto record = [&](const Item& item) {
        if (item.type == KRG_GHOST_TASK) found.pids.insert(item.number(KRG_GHOST_TASK_PID));
        if (item.type == KRG_GHOST_SYSV_SHM || item.type == KRG_GHOST_SYSV_SEM || item.type == KRG_GHOST_SYSV_QUEUE)
            found.all.push_back(item);
    };
    image::read(path, {record, {}, [](const Item&) { return true; }});
    return found;
}

bool is_of(const Objects& objects, int pid) { return pid <= 0 || objects.pids.contains(static_cast<u64>(pid)); }

/** False: somebody else has it attached. */
bool remove_segment(int id) {
    shmid_ds status{};
    for (int i = 0; i < tries; i++) {
        if (shmctl(id, IPC_STAT, &status) != 0) return errno == EINVAL || errno == EIDRM;
        if (!status.shm_nattch) return shmctl(id, IPC_RMID, nullptr) == 0;
        const timespec wait{0, 10'000'000};
        nanosleep(&wait, nullptr);
    }
    return false;
}

bool remove_semaphores(const Objects& objects, const Item& item, int id) {
    const int count = static_cast<int>(item.number(KRG_GHOST_SYSV_SEM_COUNT));
    for (int i = 0; i < count; i++)
        if (const int pid = semctl(id, i, GETPID); pid < 0 || !is_of(objects, pid))
            return pid < 0 && (errno == EINVAL || errno == EIDRM);
    return semctl(id, 0, IPC_RMID) == 0;
}

bool remove_queue(const Objects& objects, int id) {
    msqid_ds status{};
    if (msgctl(id, IPC_STAT, &status) != 0) return errno == EINVAL || errno == EIDRM;
    return is_of(objects, status.msg_lspid) && is_of(objects, status.msg_lrpid) && msgctl(id, IPC_RMID, nullptr) == 0;
}

}  // namespace

std::string remove_objects(const std::string& path) {
    const Objects objects = objects_of(path);
    std::string left;
    for (const Item& item : objects.all) {
        int id = 0;
        bool gone = false;
        if (item.type == KRG_GHOST_SYSV_SHM) {
            id = static_cast<int>(item.number(KRG_GHOST_SYSV_SHM_ID));
            gone = remove_segment(id);
        } else if (item.type == KRG_GHOST_SYSV_SEM) {
            id = static_cast<int>(item.number(KRG_GHOST_SYSV_SEM_ID));
            gone = remove_semaphores(objects, item, id);
        } else {
            id = static_cast<int>(item.number(KRG_GHOST_SYSV_QUEUE_ID));
            gone = remove_queue(objects, id);
        }
        if (!gone)
            left += fmt::format("SysV {}: id {} stays, because others use it; restart needs that id\n",
                                item.type == KRG_GHOST_SYSV_SHM   ? "shared memory"
                                : item.type == KRG_GHOST_SYSV_SEM ? "semaphores"
                                                                  : "message queue",
                                id);
    }
    return left;
}

}  // namespace krg::checkpoint
