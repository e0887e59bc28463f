// SPDX-License-Identifier: GPL-2.0
// The order of things; the kernel's part is asked for through /dev/kerrighed.
#include "tools/restart/restore.hh"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/krg_proc.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/lib/error.hh"
#include "tools/restart/check.hh"
#include "tools/restart/stages.hh"
#include "tools/restart/sysv.hh"
#include "tools/restart/task.hh"
#include "tools/restart/tree.hh"

namespace krg::restart {

namespace {

constexpr s64 second = 1'000'000'000;
constexpr u32 slice_ms = 250;
constexpr u64 least_bytes_a_second = 4 << 20;
constexpr int least_patience_s = 120;

/** What the kernel does; one session. */
class Session {
public:
    Session(Files& files, int device) {
        const int fd = device >= 0 ? dup(device) : open(KRG_PROC_DEVICE, O_RDWR | O_CLOEXEC);
        if (fd < 0) {
            const int why = errno;
            throw Error(why == ENOENT || why == ENODEV ? Exit::not_running : Exit::failed,
                        fmt::format("{}: {}", KRG_PROC_DEVICE, std::strerror(why)), "load the module: modprobe krg_proc");
        }
        // Before it is a session: closing a descriptor of one ends it.
        fd_ = files.park(fd, KRG_PROC_DEVICE);
    }
    ~Session() {
        if (getpid() == owner_) close(fd_);
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    [[nodiscard]] int fd() const { return fd_; }

    void begin(const Plan& plan) {
        const int image = open(plan.path().c_str(), O_RDONLY | O_CLOEXEC);
        if (image < 0) throw Error(Exit::failed, fmt::format("{}: {}", plan.path(), std::strerror(errno)));
        krg_proc_restore_begin arg{};
        arg.fd = image;
        arg.error = text();
        const int result = ioctl(fd_, KRG_PROC_RESTORE_BEGIN, &arg);
        const int why = errno;
        close(image);
        if (result != 0) fail("cannot be restored", why, arg.error);
        if (arg.number != plan.summary().number)
            throw Error(Exit::failed, plan.path() + " was replaced while it was read", "try again when nobody writes to it");
    }

    void give(u64 object, int fd) {
        krg_proc_restore_file arg{};
        arg.object = object;
        arg.fd = fd;
        // A pipe, say, is nothing that can be mapped: only those that can be are wanted.
        if (ioctl(fd_, KRG_PROC_RESTORE_FILE, &arg) != 0 && errno != EINVAL)
            throw Error(Exit::failed, fmt::format("file @{} cannot be given to the kernel: {}", object, std::strerror(errno)));
    }

    /** True: all are ready. False: not yet. Throws why not. */
    bool ready() {
        krg_proc_restore_wait arg{};
        arg.timeout_ms = slice_ms;
        arg.error = text();
        if (ioctl(fd_, KRG_PROC_RESTORE_WAIT, &arg) == 0) return true;
        if (errno == ETIMEDOUT || errno == EINTR) return false;
        fail("cannot be restored", errno, arg.error);
    }

    void attach(u64 memory, const void* at) {
        krg_proc_restore_segment arg{};
        arg.object = memory;
        arg.at = reinterpret_cast<u64>(at);
        if (ioctl(fd_, KRG_PROC_RESTORE_SEGMENT, &arg) != 0)
            throw Error(Exit::failed, fmt::format("SysV: memory @{}: {}", memory, std::strerror(errno)));
    }

    /** What is in common since fork is had before the fork. */
    void inherit(const Task& task) {
        krg_proc_restore_inherit arg{};
        arg.task = task.record->object;
        if (ioctl(fd_, KRG_PROC_RESTORE_INHERIT, &arg) != 0)
            throw Error(Exit::failed, fmt::format("process {}: its memory cannot be made: {}", task.pid, std::strerror(errno)));
    }

    void go() {
        if (ioctl(fd_, KRG_PROC_RESTORE_GO) != 0)
            throw Error(Exit::failed, fmt::format("the processes cannot go: {}", std::strerror(errno)));
    }
    void abort() { ioctl(fd_, KRG_PROC_RESTORE_ABORT); }

private:
    krg_proc_text text() { return {reinterpret_cast<u64>(text_), sizeof(text_), 0}; }

    [[noreturn]] void fail(const std::string& what, int why, const krg_proc_text& error) {
        std::string lines(text_, std::min<size_t>(error.length, sizeof(text_)));
        while (!lines.empty() && lines.back() == '\n') lines.pop_back();
        for (size_t at = 0; (at = lines.find('\n', at)) != std::string::npos; at += 3) lines.replace(at, 1, "\n  ");
        const Exit exit = why == EOPNOTSUPP || why == ENOEXEC ? Exit::unsafe
                          : why == EPERM || why == EACCES     ? Exit::not_permitted
                                                              : Exit::failed;
        throw Error(exit, what + (lines.empty() ? std::string(": ") + std::strerror(why) : "\n  " + lines));
    }

    int fd_ = -1;
    const pid_t owner_ = getpid();
    char text_[4096] = {};
};

/** Children are born into a time namespace whose clocks are as far as the image's were. */
void keep_clocks_from_going_back(const Plan& plan) {
    const ClockShift shift = clock_shift(plan);
    if (!shift.monotonic && !shift.boottime) return;
    std::string name;
    s64 seconds = 0, rest = 0, monotonic = 0, boottime = 0;
    if (unshare(CLONE_NEWTIME) != 0)
        throw Error(Exit::not_permitted, fmt::format("clocks: cannot make a time namespace: {}", std::strerror(errno)));
    std::ifstream now("/proc/self/timens_offsets");
    while (now >> name >> seconds >> rest) (name == "monotonic" ? monotonic : boottime) = seconds * second + rest;
    now.close();
    std::ofstream file("/proc/self/timens_offsets");
    const auto write = [&](const char* clock, s64 ns) {
        // The rest is never negative.
        const s64 whole = ns >= 0 ? ns / second : (ns - second + 1) / second;
        file << fmt::format("{} {} {}\n", clock, whole, ns - whole * second);
    };
    write("monotonic", monotonic + shift.monotonic);
    write("boottime", boottime + shift.boottime);
    if (!file.flush()) throw Error(Exit::failed, "clocks: cannot set those of a time namespace");
}

/** As its children are, once it has made any. */
void join_clocks(const Plan& plan) {
    const ClockShift shift = clock_shift(plan);
    if (!shift.monotonic && !shift.boottime) return;
    keep_clocks_from_going_back(plan);
    const int clocks = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
    const bool joined = clocks >= 0 && setns(clocks, CLONE_NEWTIME) == 0;
    const int why = errno;
    close(clocks);
    if (!joined) throw Error(Exit::failed, fmt::format("clocks: cannot enter a time namespace: {}", std::strerror(why)));
}

std::vector<Range> vdso_places(const Plan& plan) {
    std::vector<Range> all;
    for (const Task& task : plan.tasks())
        for (const Range& range : special_mappings(plan, task.record->number(KRG_GHOST_TASK_MM))) all.push_back(range);
    return all;
}

void check_last(const Plan& plan, const LastFailure& failure) {
    if (__atomic_load_n(&failure.state, __ATOMIC_SEQ_CST) != 2) return;
    const std::string name(failure.name, strnlen(failure.name, sizeof(failure.name)));
    const int why = failure.result < 0 ? -failure.result : 0;
    throw Error(why == EPERM || why == EACCES ? Exit::not_permitted : Exit::failed,
                fmt::format("{}: {}",
                            name.empty() ? fmt::format("thread {}", plan.object(failure.thread).number(KRG_GHOST_THREAD_TID))
                                         : name,
                            why ? std::strerror(why) : "something else came of it"));
}

void wait_until_ready(const Plan& plan, Session& session, Stages& stages, Tree& tree) {
    const u64 patience = least_patience_s + plan.summary().size / least_bytes_a_second;
    const u64 slices = patience * 1000 / slice_ms;
    for (u64 i = 0; i < slices; i++) {
        bool ready = false;
        try {
            ready = session.ready();
        } catch (const Error&) {
            // A process that could not do its part has ended the session, and knows better why.
            check_last(plan, *stages.last());
            throw;
        }
        if (ready) return;
        check_last(plan, *stages.last());
        stages.check();
        tree.watch();
        if (i >= 8 && i % 8 == 0 && isatty(STDERR_FILENO))
            fmt::print(stderr, "restart: filling memory, {} s\n", i * slice_ms / 1000);
    }
    throw Error(Exit::timed_out, fmt::format("the processes were not ready in {} s", patience),
                "is the machine overloaded? try again");
}

void become(const Files& files, const Task& task, Stages& stages, int device) {
    settle(files, task);
    take_files(files, task, device);
    const Plan& plan = files.plan();
    Area area(special_mappings(plan, task.record->number(KRG_GHOST_TASK_MM)), area_size(plan, task));
    const Script script = script_of(plan, task, area, stages.last(), device);
    stages.reach(Stage::made);
    area.run(script);
}

}  // namespace

namespace {

void give_files(const Files& files, Session& session) {
    for (const Record& record : files.plan().records())
        if (is_file(record.type) && files.at(record.object) >= 0) session.give(record.object, files.at(record.object));
    for (const auto& [memory, fd] : files.memories()) session.give(memory, fd);
}

}  // namespace

void come_home(const Plan& plan, const Options& options) {
    prctl(PR_SET_DUMPABLE, 1);
    refuse(refusals(plan, options));
    const Task& task = plan.tasks().front();
    if (plan.tasks().size() != 1 || !task.zombies.empty())
        throw Error(Exit::unsafe, "a process comes home with others: not supported yet");
    Files files(plan, options);
    Session session(files, options.device);
    session.begin(plan);
    files.make();
    give_files(files, session);
    join_clocks(plan);
    if (task.sid == task.pid) {
        take_terminal(files, task.pid);
        set_foreground(plan, task.pid);
    }
    settle(files, task);
    take_files(files, task, session.fd());
    Area area(special_mappings(plan, task.record->number(KRG_GHOST_TASK_MM)), area_size(plan, task) + sizeof(LastFailure));
    auto* failure = static_cast<LastFailure*>(area.room(sizeof(LastFailure)));
    area.run(script_of(plan, task, area, failure, session.fd(), true));
}

Restored restore(const Plan& plan, const Options& options) {
    prctl(PR_SET_DUMPABLE, 1);  // a capability of the program's file hides /proc/self from its own user
    refuse(refusals(plan, options));
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    for (int signal = 1; signal <= SIGRTMAX; signal++) std::signal(signal, SIG_DFL);
    Files files(plan, options);
    Session session(files, options.device);
    session.begin(plan);
    files.make();
    give_files(files, session);
    Sysv sysv(plan);
    sysv.make([&](u64 memory, const void* at) { session.attach(memory, at); });
    keep_clocks_from_going_back(plan);
    Stages stages(vdso_places(plan));
    Tree tree(
        plan, stages, options.foreground, [&](const Task& task) { become(files, task, stages, session.fd()); },
        [&](const Task& task) { session.inherit(task); },
        [&](const Task& task, bool grouped) { grouped ? set_foreground(plan, task.pid) : take_terminal(files, task.pid); });
    try {
        tree.build();
        files.close_all();
        wait_until_ready(plan, session, stages, tree);
        sysv.settle();
        session.go();
        sysv.release();
    } catch (const Error&) {
        session.abort();
        tree.destroy();
        throw;
    }
    tree.release();
    Restored restored;
    for (const Task* root : plan.roots()) restored.roots.push_back(root->pid);
    restored.number = plan.summary().number;
    restored.tasks = static_cast<u32>(plan.summary().totals.tasks);
    restored.threads = static_cast<u32>(plan.summary().totals.threads);
    return restored;
}

namespace {

volatile pid_t waited_for = 0;

}  // namespace

int wait_for(pid_t pid) {
    waited_for = pid;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH})
        std::signal(signal, [](int number) { kill(waited_for, number); });
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    int status = 0;
    while (waitpid(pid, &status, __WALL) < 0)
        if (errno != EINTR) throw Error(Exit::failed, fmt::format("cannot wait for process {}: {}", pid, std::strerror(errno)));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace krg::restart
