// SPDX-License-Identifier: GPL-2.0
// Files that have no bytes: eventfd, timerfd, signalfd, epoll sets (their members: task_files.cc), inotify; and pipes.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tools/lib/error.hh"
#include "tools/restart/files.hh"
#include "tools/restart/rights.hh"

// As <linux/timerfd.h> and <linux/inotify.h> have them, which cannot be included beside those of libc.
#define KRG_TFD_SET_TICKS _IOW('T', 0, __u64)
#define KRG_INOTIFY_SETNEXTWD _IOW('I', 0, __s32)

namespace krg::restart {

namespace {

constexpr u64 second = 1'000'000'000;

timespec time_of(u64 ns) { return {static_cast<time_t>(ns / second), static_cast<long>(ns % second)}; }

int make_eventfd(const Record& file) {
    const int semaphore = has(file, KRG_GHOST_FILE_EVENTFD_SEMAPHORE, 1) ? EFD_SEMAPHORE : 0;
    const int fd = eventfd(0, EFD_CLOEXEC | semaphore);
    if (fd < 0) fail_file(file, "eventfd");
    const u64 count = file.number(KRG_GHOST_FILE_EVENTFD_COUNT);
    if (count && write(fd, &count, sizeof(count)) != sizeof(count)) fail_file(file, "cannot set its counter");
    return fd;
}

int make_timerfd(const Record& file) {
    const int clock = static_cast<int>(file.number(KRG_GHOST_FILE_TIMERFD_CLOCK));
    const int fd = timerfd_create(clock, TFD_CLOEXEC);
    if (fd < 0) fail_file(file, "timerfd_create");
    u64 left = file.number(KRG_GHOST_FILE_TIMERFD_LEFT);
    const u64 mode = file.number(KRG_GHOST_FILE_TIMERFD_MODE), ticks = file.number(KRG_GHOST_FILE_TIMERFD_TICKS);
    if (left) {
        if (mode & TFD_TIMER_ABSTIME) {
            timespec now{};
            clock_gettime(clock == CLOCK_REALTIME_ALARM   ? CLOCK_REALTIME
                          : clock == CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME
                                                          : clock,
                          &now);
            left += static_cast<u64>(now.tv_sec) * second + static_cast<u64>(now.tv_nsec);
        }
        const itimerspec set{time_of(file.number(KRG_GHOST_FILE_TIMERFD_INTERVAL)), time_of(left)};
        if (timerfd_settime(fd, static_cast<int>(mode), &set, nullptr) != 0) fail_file(file, "timerfd_settime");
    }
    if (ticks && ioctl(fd, KRG_TFD_SET_TICKS, &ticks) != 0) fail_file(file, "cannot set what was not yet read");
    return fd;
}

int make_signalfd(const Record& file) {
    const u64 mask = file.number(KRG_GHOST_FILE_SIGNALFD_MASK);
    const int fd = static_cast<int>(syscall(SYS_signalfd4, -1, &mask, sizeof(mask), O_CLOEXEC));
    if (fd < 0) fail_file(file, "signalfd");
    return fd;
}

// ---- pipes ----

struct Ends {
    int in = -1, out = -1;
};

void write_all(const Record& pipe, int fd, const char* at, size_t length) {
    if (write(fd, at, length) != static_cast<ssize_t>(length))
        throw Error(Exit::failed,
                    fmt::format("pipe @{}: cannot put back what was in it: {}", pipe.object, std::strerror(errno)));
}

// Bytes are joined: what were partly read pages must fit into as many buffers as there are. A packet keeps its borders.
void put_back(const Plan& plan, const Record& pipe, int fd) {
    constexpr size_t page = 4096;
    std::string bytes;
    const auto flush = [&] {
        for (size_t at = 0; at < bytes.size(); at += page)
            write_all(pipe, fd, bytes.data() + at, std::min(page, bytes.size() - at));
        bytes.clear();
    };
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (const Record* data : plan.of(pipe.object, KRG_GHOST_PIPE_DATA)) {
        if (!has(*data, KRG_GHOST_PIPE_DATA_PACKET, 1)) {
            bytes += data->bytes;
            continue;
        }
        flush();
        fcntl(fd, F_SETFL, O_NONBLOCK | O_DIRECT);
        write_all(pipe, fd, data->bytes.data(), data->bytes.size());
        fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    flush();
    fcntl(fd, F_SETFL, 0);
}

Ends open_pipe(const Files& files, const Record& pipe, const std::string& path) {
    Ends ends;
    if (path.empty()) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) != 0)
            throw Error(Exit::failed, fmt::format("pipe @{}: {}", pipe.object, std::strerror(errno)));
        ends = {fds[0], fds[1]};
    } else {
        // Both ends at once never waits for the other one.
        ends.in = open_named(files, pipe, path, O_RDWR | O_NONBLOCK);
        struct stat st {};
        if (ends.in < 0 || fstat(ends.in, &st) != 0 || !S_ISFIFO(st.st_mode))
            throw Error(Exit::failed, fmt::format("{}: cannot open it as a fifo: {}", path, std::strerror(errno)),
                        "put it back with mkfifo(1)");
        ends.out = dup(ends.in);
    }
    const int room = static_cast<int>(pipe.number(KRG_GHOST_PIPE_ROOM));
    if (fcntl(ends.out, F_GETPIPE_SZ) != room && fcntl(ends.out, F_SETPIPE_SZ, room) < 0)
        throw Error(errno == EPERM ? Exit::not_permitted : Exit::failed,
                    fmt::format("pipe @{}: cannot give it {} bytes: {}", pipe.object, room, std::strerror(errno)),
                    "see /proc/sys/fs/pipe-max-size");
    return ends;
}

}  // namespace

void make_event(Files& files, const Record& file) {
    int fd = -1;
    switch (file.type) {
    case KRG_GHOST_FILE_EVENTFD: fd = make_eventfd(file); break;
    case KRG_GHOST_FILE_TIMERFD: fd = make_timerfd(file); break;
    case KRG_GHOST_FILE_SIGNALFD: fd = make_signalfd(file); break;
    default:
        fd = epoll_create1(EPOLL_CLOEXEC);
        if (fd < 0) fail_file(file, "epoll_create1");
    }
    files.made(file, fd);
}

void make_inotify(Files& files, const Record& file) {
    const int fd = inotify_init1(IN_CLOEXEC);
    if (fd < 0) fail_file(file, "inotify_init1");
    for (const Record* watch : files.plan().of(file.object, KRG_GHOST_INOTIFY_WATCH)) {
        const std::string path = watch->text(KRG_GHOST_INOTIFY_WATCH_PATH);
        const auto number = static_cast<__s32>(watch->number(KRG_GHOST_INOTIFY_WATCH_NUMBER));
        if (ioctl(fd, KRG_INOTIFY_SETNEXTWD, number) != 0) fail_file(file, fmt::format("cannot choose watch {}", number));
        const int got = inotify_add_watch(fd, path.c_str(), static_cast<u32>(watch->number(KRG_GHOST_INOTIFY_WATCH_EVENTS)));
        if (got < 0) fail_file(file, "cannot watch " + path);
        if (got != number)
            throw Error(Exit::failed,
                        fmt::format("{}: the watch on {} got number {}, not {}", name_of(file), path, got, number));
    }
    files.made(file, fd);
}

void make_pipes(Files& files) {
    const Plan& plan = files.plan();
    for (const Record* pipe : plan.all(KRG_GHOST_PIPE)) {
        std::vector<const Record*> of_it;
        std::string path;
        for (const Record* file : plan.all(KRG_GHOST_FILE_PIPE)) {
            if (file->number(KRG_GHOST_FILE_PIPE_PIPE) != pipe->object || files.substitute(*file) >= 0) continue;
            of_it.push_back(file);
            if (path.empty()) path = file->text(KRG_GHOST_FILE_PIPE_PATH);
        }
        if (of_it.empty()) continue;
        const Ends ends = open_pipe(files, *pipe, path);
        put_back(plan, *pipe, ends.out);
        const bool named = !path.empty();
        bool in_used = named, out_used = named;
        for (const Record* file : of_it) {
            const int mode = open_flags(*file) & O_ACCMODE;
            bool& used = mode == O_RDONLY ? in_used : out_used;
            if (mode != O_RDWR && !used) {
                used = true;
                files.made(*file, dup(mode == O_RDONLY ? ends.in : ends.out));
            } else {
                // Without O_NONBLOCK a second open of one end would wait for another one.
                files.made(*file, files.again(*file, ends.in, static_cast<u64>(mode | O_NONBLOCK)));
            }
        }
        close(ends.in);
        close(ends.out);
    }
}

}  // namespace krg::restart
