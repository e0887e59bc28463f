// SPDX-License-Identifier: GPL-2.0
// The caller's own process is moved or saved by a helper: a process that is none of its children, and has none of its files.
// Between fork and its end the helper uses system calls alone, since other threads may have had any lock.
//
// How it ends is told through memory that both share. A process that has moved, or was made of an image, has a copy of that
// which nobody writes any more: it knows by the node it is on, or by a word that is zero after a restart.
#include <csignal>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/krg_proc.h>
#include <mutex>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "tools/libkerrighed/internal.hh"
#include "tools/libkerrighed/nodes.hh"

using namespace krg::library;

namespace {

constexpr timespec moment{0, 5'000'000};

enum State : std::uint32_t { waiting, may_begin, ended };

/** What the helper is to do, and how it went. */
struct Job {
    std::uint32_t state;
    pid_t helper;
    int error;
    char why[4000];
    krg_proc_migrate migrate;
    krg_proc_capture capture;
    char temporary[4200], path[4200], folder[4200];  // of an image
};

std::mutex one_at_a_time;

class SharedJob {
public:
    SharedJob() {
        void* at = mmap(nullptr, sizeof(Job), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) throw Failure(errno, "no memory");
        job_ = static_cast<Job*>(at);
    }
    ~SharedJob() { munmap(job_, sizeof(Job)); }
    SharedJob(const SharedJob&) = delete;
    SharedJob& operator=(const SharedJob&) = delete;
    Job* operator->() const { return job_; }
    Job& operator*() const { return *job_; }

private:
    Job* job_;
};

std::uint32_t state_of(const Job& job) { return __atomic_load_n(&job.state, __ATOMIC_SEQ_CST); }
void set_state(Job& job, State state) { __atomic_store_n(&job.state, static_cast<std::uint32_t>(state), __ATOMIC_SEQ_CST); }

// No signal tells of its end; nothing of libc's is done.
pid_t bare_fork() { return static_cast<pid_t>(syscall(SYS_clone, 0, nullptr, nullptr, nullptr, 0)); }

int open_device() { return open(KRG_PROC_DEVICE, O_RDWR | O_CLOEXEC); }

krg_proc_text where(Job& job) { return {reinterpret_cast<std::uintptr_t>(job.why), sizeof(job.why) - 1, 0}; }

int do_migrate(Job& job) {
    const int device = open_device();
    if (device < 0) return errno;
    job.migrate.error = where(job);
    return ioctl(device, KRG_PROC_MIGRATE, &job.migrate) == 0 ? 0 : errno;
}

int do_save(Job& job) {
    const int device = open_device();
    const int file = device < 0 ? -1 : open(job.temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) return errno;
    job.capture.error = where(job);
    job.capture.fd = file;
    int error = ioctl(device, KRG_PROC_CAPTURE, &job.capture) == 0 && fsync(file) == 0 ? 0 : errno;
    if (!error && rename(job.temporary, job.path) != 0) error = errno;
    if (error) {
        unlink(job.temporary);
        return error;
    }
    const int folder = open(job.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || (fsync(folder) != 0 && errno != EINVAL)) return errno;
    return 0;
}

[[noreturn]] void be_helper(Job& job, int (*work)(Job&)) {
    // The files of the process are its own again, also the ends of its pipes.
    syscall(SYS_close_range, 0U, ~0U, 0U);
    while (state_of(job) == waiting) nanosleep(&moment, nullptr);
    job.error = work(job);
    set_state(job, ended);
    for (;;) syscall(SYS_exit_group, 0);
}

/** Returns when it is on its way, and no child of ours. */
void start_helper(Job& job, int (*work)(Job&)) {
    const pid_t child = bare_fork();
    if (child < 0) throw Failure(errno, "fork");
    if (child == 0) {
        const pid_t helper = bare_fork();
        if (helper == 0) be_helper(job, work);
        job.helper = helper;
        job.error = helper < 0 ? errno : 0;
        for (;;) syscall(SYS_exit_group, 0);
    }
    while (waitpid(child, nullptr, __WALL) < 0 && errno == EINTR) {}
    if (job.helper <= 0) throw Failure(job.error ? job.error : EIO, "fork");
    set_state(job, may_begin);
}

bool helper_is_there(const Job& job) { return kill(job.helper, 0) == 0 || errno == EPERM; }

/** Its end, as the one who asked sees it. */
void require_success(const Job& job) {
    if (state_of(job) != ended) throw Failure(EIO, "the helper was killed");
    if (job.error) throw Failure(job.error, *job.why ? job.why : std::strerror(job.error));
}

void copy_path(char (&to)[4200], const std::string& from) {
    if (from.size() >= sizeof(to)) throw Failure(ENAMETOOLONG, "the path is too long");
    std::memcpy(to, from.c_str(), from.size() + 1);
}

std::uint32_t random_number() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint32_t>(now.tv_nsec ^ getpid() << 12) | 1;
}

}  // namespace

extern "C" int krg_migrate_self(int node, unsigned flags) {
    return at_border([&] {
        only_flags(flags, KRG_TREE | KRG_POST_COPY);
        if (node <= 0) throw Failure(EINVAL, "no such node");
        const std::lock_guard lock(one_at_a_time);
        const SharedJob job;
        job->migrate.pid = getpid();
        job->migrate.node = static_cast<std::uint32_t>(node);
        job->migrate.flags = (flags & KRG_TREE ? KRG_PROC_TREE : 0) | (flags & KRG_POST_COPY ? KRG_PROC_POST : 0);
        if (own_node() == node) throw Failure(EHOSTUNREACH, "the process is on that node already");
        start_helper(*job, do_migrate);
        for (;;) {
            if (own_node() == node) return 0;
            if (state_of(*job) == ended || !helper_is_there(*job)) break;
            nanosleep(&moment, nullptr);
        }
        // It may have moved between the two looks.
        if (own_node() == node) return 0;
        require_success(*job);
        throw Failure(EIO, "the process has moved, and is not there");
    });
}

extern "C" int krg_checkpoint_self(const char* path, unsigned flags) {
    return at_border([&] {
        only_flags(flags, KRG_TREE | KRG_NO_CALLBACKS);
        if (!path || !*path) throw Failure(EINVAL, "no path");
        krg_self& self = table();
        const std::lock_guard lock(one_at_a_time);
        const SharedJob job;
        const std::string name = path;
        const size_t slash = name.rfind('/');
        copy_path(job->path, name);
        copy_path(job->temporary, fmt::format("{}.{:08x}", name, random_number()));
        copy_path(job->folder, slash == std::string::npos ? "." : slash == 0 ? "/" : name.substr(0, slash));
        job->capture.pid = getpid();
        job->capture.flags = (flags & KRG_TREE ? KRG_PROC_TREE : 0) | (flags & KRG_NO_CALLBACKS ? KRG_PROC_NO_CALLBACKS : 0);
        volatile std::uint32_t* mark = &self.mark;
        *mark = 1;
        start_helper(*job, do_save);
        while (*mark && state_of(*job) != ended && helper_is_there(*job)) nanosleep(&moment, nullptr);
        if (!*mark) return 1;
        *mark = 0;
        require_success(*job);
        return 0;
    });
}
