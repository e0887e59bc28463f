// SPDX-License-Identifier: GPL-2.0
// Descriptors of one process.
#include <cerrno>
#include <climits>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tools/lib/error.hh"
#include "tools/restart/task.hh"

namespace krg::restart {

namespace {

constexpr u64 posix_lock = 1, flock_lock = 2, ofd_lock = 3, lease = 4, exclusive_lock = 2;

void set_owner(const Record& file, int fd) {
    const auto owner = static_cast<pid_t>(file.number(KRG_GHOST_FILE_REGULAR_OWNER));
    const int signal = static_cast<int>(file.number(KRG_GHOST_FILE_REGULAR_OWNER_SIGNAL));
    if (owner) {
        const f_owner_ex value{static_cast<__pid_type>(file.number(KRG_GHOST_FILE_REGULAR_OWNER_KIND)),
                               owner < 0 ? -owner : owner};
        if (fcntl(fd, F_SETOWN_EX, &value) != 0) fail_file(file, fmt::format("cannot make {} its owner", owner));
    }
    if (signal && fcntl(fd, F_SETSIG, signal) != 0) fail_file(file, fmt::format("cannot set its signal {}", signal));
    if (has(file, KRG_GHOST_FILE_REGULAR_FLAGS, O_ASYNC) && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC) != 0)
        fail_file(file, "cannot set O_ASYNC");
}

/** By the number the member was added with, which is that of nothing yet. */
void add_watches(const Files& files, const Record& epoll) {
    const int set = files.at(epoll.object);
    for (const Record* watch : files.plan().of(epoll.object, KRG_GHOST_EPOLL_WATCH)) {
        const int number = static_cast<int>(watch->number(KRG_GHOST_EPOLL_WATCH_NUMBER));
        const int from = files.at(watch->number(KRG_GHOST_EPOLL_WATCH_FILE));
        epoll_event event{};
        event.events = static_cast<u32>(watch->number(KRG_GHOST_EPOLL_WATCH_EVENTS));
        event.data.u64 = watch->number(KRG_GHOST_EPOLL_WATCH_VALUE);
        if (dup2(from, number) < 0 || epoll_ctl(set, EPOLL_CTL_ADD, number, &event) != 0)
            fail_file(epoll, fmt::format("cannot watch descriptor {}", number));
        close(number);
    }
}

bool try_lock(const Record& record, int fd) {
    const bool exclusive = record.number(KRG_GHOST_LOCK_MODE) == exclusive_lock;
    const u64 kind = record.number(KRG_GHOST_LOCK_KIND), end = record.number(KRG_GHOST_LOCK_END);
    const auto start = static_cast<off_t>(record.number(KRG_GHOST_LOCK_START));
    if (kind == flock_lock) return flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0;
    if (kind == lease) return fcntl(fd, F_SETLEASE, exclusive ? F_WRLCK : F_RDLCK) == 0;
    struct flock range {};
    range.l_type = exclusive ? F_WRLCK : F_RDLCK;
    range.l_whence = SEEK_SET;
    range.l_start = start;
    range.l_len = end == static_cast<u64>(KRG_S64_MAX) ? 0 : static_cast<off_t>(end) - start + 1;
    return fcntl(fd, kind == ofd_lock ? F_OFD_SETLK : F_SETLK, &range) == 0;
}

/** A file server may learn late that who had it has ended. */
void lock(const Record& record, const Record& file, int fd) {
    constexpr int tries = 200;
    constexpr useconds_t pause_us = 10'000;
    for (int i = 0; !try_lock(record, fd); i++) {
        if ((errno != EAGAIN && errno != EACCES) || i == tries) fail_file(file, "cannot lock it again");
        usleep(pause_us);
    }
}

void take_locks(const Files& files, const Task& task, const std::map<u64, int>& numbers) {
    for (const Record* record : files.plan().all(KRG_GHOST_LOCK)) {
        const Record& file = files.plan().object(record->owner);
        const bool posix = record->number(KRG_GHOST_LOCK_KIND) == posix_lock;
        if (posix ? record->number(KRG_GHOST_LOCK_FILES) != task.files : !is_keeper(files.plan(), task, file.object)) continue;
        const auto found = numbers.find(file.object);
        if (found == numbers.end())
            throw Error(Exit::unsafe, name_of(file) + ": locked by a process that has not opened it any more: not supported");
        lock(*record, file, found->second);
    }
}

/** A file of /proc about a process of the image, which is there by now; above the numbers of the image. */
int open_about_process(const Record& file, int base) {
    const int first = open(file.text(KRG_GHOST_FILE_REGULAR_PATH).c_str(), open_flags(file) | O_CLOEXEC);
    if (first < 0) fail_file(file, "cannot open it");
    const int fd = fcntl(first, F_DUPFD_CLOEXEC, base);
    close(first);
    if (fd < 0 || lseek(fd, static_cast<off_t>(file.number(KRG_GHOST_FILE_REGULAR_OFFSET)), SEEK_SET) < 0)
        fail_file(file, "cannot seek");
    return fd;
}

/** Each process that has one gets its own. */
std::map<u64, int> files_about_processes(const Files& files, const Task& task) {
    std::map<u64, int> about;
    for (const Record* fd : files.plan().of(task.files, KRG_GHOST_FD)) {
        const Record& file = files.plan().object(fd->number(KRG_GHOST_FD_FILE));
        if (files.at(file.object) < 0 && files.plan().is_about_process(file) && !about.contains(file.object))
            about[file.object] = open_about_process(file, files.base());
    }
    return about;
}

void close_range_of(const Task& task, int first, int last) {
    if (first <= last && syscall(SYS_close_range, first, last, 0) != 0)
        throw Error(Exit::failed,
                    fmt::format("cannot close what process {} does not have: {}", task.pid, std::strerror(errno)));
}

}  // namespace

bool is_keeper(const Plan& plan, const Task& task, u64 file) {
    for (const Task& other : plan.tasks()) {
        for (const Record* fd : plan.of(other.files, KRG_GHOST_FD))
            if (fd->number(KRG_GHOST_FD_FILE) == file) return &other == &task;
    }
    return &plan.tasks().front() == &task;
}

void take_files(const Files& files, const Task& task, int keep) {
    const Plan& plan = files.plan();
    for (const Record* epoll : plan.all(KRG_GHOST_FILE_EPOLL))
        if (is_keeper(plan, task, epoll->object)) add_watches(files, *epoll);
    const std::map<u64, int> about = files_about_processes(files, task);
    std::map<u64, int> numbers;
    close_range_of(task, 0, files.base() - 1);
    for (const Record* fd : plan.of(task.files, KRG_GHOST_FD)) {
        const Record& file = plan.object(fd->number(KRG_GHOST_FD_FILE));
        const int number = static_cast<int>(fd->number(KRG_GHOST_FD_NUMBER));
        const auto own = about.find(file.object);
        const int from = own == about.end() ? files.at(file.object) : own->second;
        if (from < 0)
            throw Error(Exit::unsafe,
                        fmt::format("descriptor {} of process {}: {} was not made", number, task.pid, name_of(file)));
        if (dup3(from, number, has(*fd, KRG_GHOST_FD_FLAGS, 1) ? O_CLOEXEC : 0) < 0)
            fail_file(file, fmt::format("cannot be descriptor {}", number));
        numbers.emplace(file.object, number);
        if (is_keeper(plan, task, file.object) && numbers.at(file.object) == number) set_owner(file, number);
    }
    close_range_of(task, files.base(), keep - 1);
    close_range_of(task, keep + 1, INT_MAX);
    // After all is closed: closing one descriptor of a file gives up the process's locks on it.
    take_locks(files, task, numbers);
}

}  // namespace krg::restart
