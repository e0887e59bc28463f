// SPDX-License-Identifier: GPL-2.0
// One process: what it sets up with libc, and the list of calls that ends in joining.
#include "tools/restart/task.hh"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/krg_proc.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "tools/lib/error.hh"

namespace krg::restart {

namespace {

constexpr u64 second = 1'000'000'000, subreaper = 1;
constexpr size_t thread_stack = 8192, page = 4096;
constexpr u64 vdso_kind = 2, vvar_kind = 3;
constexpr u64 no_new_privs = 1;

struct KernelSchedAttr {
    u32 size, policy;
    u64 flags;
    s32 nice;
    u32 priority;
    u64 runtime, deadline, period;
};

[[noreturn]] void fail(const Task& task, const std::string& what) {
    const int why = errno;
    throw Error(why == EPERM || why == EACCES ? Exit::not_permitted : Exit::failed,
                fmt::format("process {}: {}: {}", task.pid, what, std::strerror(why)));
}

u64 address_of(const void* at) { return reinterpret_cast<u64>(at); }

void set_oom_score(const Task& task) {
    const auto wanted = static_cast<s64>(task.record->number(KRG_GHOST_TASK_OOM_SCORE_ADJ));
    s64 now = 0;
    std::ifstream("/proc/self/oom_score_adj") >> now;
    if (now == wanted) return;
    std::ofstream file("/proc/self/oom_score_adj");
    file << wanted;
    if (!file.flush()) fail(task, fmt::format("cannot set oom_score_adj to {}", wanted));
}

}  // namespace

void settle(const Files& files, const Task& task) {
    const Record& fs = files.plan().object(task.fs);
    if (const u64 cwd = fs.number(KRG_GHOST_FS_CWD); cwd && fchdir(files.at(cwd)) != 0)
        fail(task, "cannot change its directory");
    umask(static_cast<mode_t>(fs.number(KRG_GHOST_FS_UMASK)));
    set_oom_score(task);
    const bool reaps = has(*task.record, KRG_GHOST_TASK_FLAGS, subreaper);
    if (prctl(PR_SET_CHILD_SUBREAPER, reaps ? 1 : 0, 0, 0, 0) != 0) fail(task, "PR_SET_CHILD_SUBREAPER");
}

std::vector<Range> special_mappings(const Plan& plan, u64 mm) {
    std::vector<Range> found;
    for (const Record* vma : plan.of(mm, KRG_GHOST_VMA)) {
        const u64 kind = vma->number(KRG_GHOST_VMA_KIND);
        if (kind == vdso_kind || kind == vvar_kind)
            found.push_back({vma->number(KRG_GHOST_VMA_START), vma->number(KRG_GHOST_VMA_END)});
    }
    return found;
}

std::vector<Range> own_special_mappings() {
    std::vector<Range> found;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        unsigned long begin = 0, end = 0;
        if (line.find("[vdso]") == std::string::npos && line.find("[vvar") == std::string::npos) continue;
        if (std::sscanf(line.c_str(), "%lx-%lx", &begin, &end) == 2) found.push_back({begin, end});
    }
    return found;
}

namespace {

class Writer {
public:
    Writer(const Plan& plan, const Task& task, Area& area, LastFailure* failure, int device, bool at_home)
        : plan_(plan),
          task_(task),
          area_(area),
          failure_(failure),
          device_(device),
          at_home_(at_home) {}

    Script leader() {
        Calls calls;
        move_vdso(calls);
        for (size_t i = 1; i < task_.threads.size(); i++) add_thread(calls, *task_.threads[i]);
        add_timers(calls);
        add_membarrier(calls);
        add_limits(calls);
        add_root(calls);
        add_signals(calls, *task_.record, 0);
        add_undo(calls);
        add_itimers(calls);
        drain_watchers(calls);
        return finished(calls, *task_.threads[0]);
    }

private:
    static std::string text(const Record& thread, const std::string& what) {
        return fmt::format("thread {}: {}", thread.number(KRG_GHOST_THREAD_TID), what);
    }

    /** Piece by piece, over a place where nothing is: where they are and where they go may overlap. */
    void move_vdso(Calls& calls) {
        const std::vector<Range> to = special_mappings(plan_, task_.record->number(KRG_GHOST_TASK_MM)),
                                 from = own_special_mappings();
        if (to.empty()) return;
        bool same = to.size() == from.size(), there = same;
        for (size_t i = 0; same && i < to.size(); i++) {
            same = to[i].end - to[i].begin == from[i].end - from[i].begin;
            there = there && to[i].begin == from[i].begin;
        }
        if (!same)
            throw Error(Exit::unsafe, "the vdso of this kernel has another size", "restart it on the kernel it was saved on");
        if (there) return;
        u64 total = 0;
        for (const Range& range : from) total += range.end - range.begin;
        void* between = map_away_from(to, total, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
        std::vector<u64> at;
        u64 next = address_of(between);
        const auto move = [&](u64 begin, u64 length, u64 target) {
            calls.exactly("cannot move the vdso", static_cast<s64>(target), SYS_mremap,
                          {begin, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, target});
        };
        for (const Range& range : from) {
            at.push_back(next);
            move(range.begin, range.end - range.begin, next);
            next += range.end - range.begin;
        }
        for (size_t i = 0; i < to.size(); i++) move(at[i], to[i].end - to[i].begin, to[i].begin);
    }

    void add_thread(Calls& calls, const Record& thread) {
        Calls own;
        const auto script = finished(own, thread);
        const auto tid = static_cast<pid_t>(thread.number(KRG_GHOST_THREAD_TID));
        clone_args arguments{};
        arguments.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
        arguments.stack = address_of(area_.room(thread_stack));
        arguments.stack_size = thread_stack;
        arguments.set_tid = area_.put(tid);
        arguments.set_tid_size = 1;
        Op op;
        op.what = Do::make_thread;
        op.a[0] = area_.put(arguments);
        op.a[1] = sizeof(arguments);
        op.a[2] = area_.put(script);
        calls.add(op, text(thread, "cannot be made with its id"));
    }

    /** What every thread does for itself, and joining. */
    Script finished(Calls& calls, const Record& thread) {
        add_scheduling(calls, thread);
        add_signals(calls, thread, thread.number(KRG_GHOST_THREAD_TID));
        if (const u64 slack = thread.number(KRG_GHOST_THREAD_TIMER_SLACK))
            calls.call(text(thread, "cannot set its timer slack"), SYS_prctl, {PR_SET_TIMERSLACK, slack});
        calls.call(text(thread, "cannot set its personality"), SYS_personality, {thread.number(KRG_GHOST_THREAD_PERSONALITY)});
        add_credentials(plan_, thread, area_, calls);
        if (has(thread, KRG_GHOST_THREAD_FLAGS, no_new_privs))
            calls.call(text(thread, "cannot set no_new_privs"), SYS_prctl, {PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0});
        calls.call(text(thread, "cannot set the signal for its parent's death"), SYS_prctl,
                   {PR_SET_PDEATHSIG, thread.number(KRG_GHOST_THREAD_PDEATH_SIGNAL)});
        krg_proc_restore_join join{};
        join.thread = thread.object;
        join.fd = device_;
        calls.call(text(thread, "cannot join"), SYS_ioctl, {static_cast<u64>(device_), KRG_PROC_RESTORE_JOIN, area_.put(join)});
        Script script = calls.place(area_);
        script.thread = thread.object;
        script.failure = failure_;
        script.device = device_;
        script.abort = KRG_PROC_RESTORE_ABORT;
        if (at_home_) {
            // Nobody else looks at the failure: it goes to the kernel, which keeps the process from going on.
            krg_proc_incoming_failed arg{};
            arg.why = {address_of(failure_->name), 0, sizeof(failure_->name)};
            arg.error = EIO;
            script.abort = KRG_PROC_INCOMING_FAILED;
            script.reason = area_.put(arg);
        }
        return script;
    }

    void add_scheduling(Calls& calls, const Record& thread) {
        const auto records = plan_.of(thread.object, KRG_GHOST_SCHEDULING);
        if (records.empty()) return;
        const Record& record = *records[0];
        const std::string affinity = record.text(KRG_GHOST_SCHEDULING_AFFINITY);
        // Processors that are not here are left out; if none is left, the thread may run on all.
        if (!affinity.empty())
            calls.try_it("", SYS_sched_setaffinity, {0, affinity.size(), area_.put(affinity.data(), affinity.size())});
        KernelSchedAttr attr{};
        attr.size = sizeof(attr);
        attr.policy = static_cast<u32>(record.number(KRG_GHOST_SCHEDULING_POLICY));
        attr.flags = record.number(KRG_GHOST_SCHEDULING_FLAGS) & 1;  // reset on fork; others say what a call is to leave alone
        attr.nice = static_cast<s32>(record.number(KRG_GHOST_SCHEDULING_NICE));
        attr.priority = static_cast<u32>(record.number(KRG_GHOST_SCHEDULING_PRIORITY));
        attr.runtime = record.number(KRG_GHOST_SCHEDULING_RUNTIME);
        attr.deadline = record.number(KRG_GHOST_SCHEDULING_DEADLINE);
        attr.period = record.number(KRG_GHOST_SCHEDULING_PERIOD);
        calls.call(text(thread, "cannot be scheduled as before"), SYS_sched_setattr, {0, area_.put(attr), 0});
        if (const u64 io = record.number(KRG_GHOST_SCHEDULING_IO_PRIORITY))
            calls.call(text(thread, "cannot have its I/O priority"), SYS_ioprio_set, {1, 0, io});
    }

    /** They stay pending: everything is blocked until the kernel sets the thread's mask. @tid 0: of the process. */
    void add_signals(Calls& calls, const Record& owner, u64 tid) {
        for (const Record* record : plan_.of(owner.object, KRG_GHOST_SIGNAL)) {
            const u64 number = record->number(KRG_GHOST_SIGNAL_NUMBER), pid = static_cast<u64>(task_.pid);
            const std::string what = fmt::format("process {}: cannot queue signal {}", pid, number);
            if (has(*record, KRG_GHOST_SIGNAL_BARE, 1)) {
                if (tid)
                    calls.call(what, SYS_tgkill, {pid, tid, number});
                else
                    calls.call(what, SYS_kill, {pid, number});
                continue;
            }
            char info[128] = {};
            const int head[3] = {static_cast<int>(number), static_cast<int>(record->number(KRG_GHOST_SIGNAL_ERROR)),
                                 static_cast<int>(record->number(KRG_GHOST_SIGNAL_CODE))};
            std::memcpy(info, head, sizeof(head));
            const std::string rest = record->text(KRG_GHOST_SIGNAL_INFO);
            rest.copy(info + 16, sizeof(info) - 16);
            const u64 at = area_.put(info, sizeof(info));
            if (tid)
                calls.call(what, SYS_rt_tgsigqueueinfo, {pid, tid, number, at});
            else
                calls.call(what, SYS_rt_sigqueueinfo, {pid, number, at});
        }
    }

    /** Its directory is set already; from here on no path of this machine means anything to it. */
    void add_root(Calls& calls) {
        const std::string root = plan_.root_of(plan_.object(task_.fs));
        if (!root.empty())
            calls.call(fmt::format("process {}: cannot have {} as its root directory", task_.pid, root), SYS_chroot,
                       {area_.put(root.c_str(), root.size() + 1)});
    }

    /** What is undone at the end is recorded when it is done: something and its opposite, and only one of it is remembered. */
    void add_undo(Calls& calls) {
        for (const Record* record : plan_.all(KRG_GHOST_SYSV_UNDO)) {
            if (record->number(KRG_GHOST_SYSV_UNDO_TASK) != task_.record->object) continue;
            const Record& set = plan_.object(record->owner);
            const auto number = static_cast<unsigned short>(record->number(KRG_GHOST_SYSV_UNDO_SEMAPHORE));
            const auto adjust = static_cast<short>(record->number(KRG_GHOST_SYSV_UNDO_ADJUST));
            const auto other = static_cast<short>(-adjust);
            // The one that adds comes first: the semaphore may be 0.
            const sembuf undone{number, other, SEM_UNDO}, plain{number, adjust, 0};
            const sembuf both[2] = {adjust > 0 ? plain : undone, adjust > 0 ? undone : plain};
            calls.call(fmt::format("process {}: cannot have what it undoes of semaphore {}", task_.pid, number), SYS_semop,
                       {set.number(KRG_GHOST_SYSV_SEM_ID), area_.put(both, sizeof(both)), 2});
        }
    }

    void add_itimers(Calls& calls) {
        for (const Record* record : plan_.of(task_.record->object, KRG_GHOST_ITIMER)) {
            const auto time = [](u64 ns) {
                return timeval{static_cast<time_t>(ns / second), static_cast<suseconds_t>(ns % second / 1000)};
            };
            itimerval value{time(record->number(KRG_GHOST_ITIMER_INTERVAL)), time(record->number(KRG_GHOST_ITIMER_LEFT))};
            if (!value.it_value.tv_sec && !value.it_value.tv_usec) value.it_value.tv_usec = 1;  // 0 would stop it
            calls.call(fmt::format("process {}: cannot set an interval timer", task_.pid), SYS_setitimer,
                       {record->number(KRG_GHOST_ITIMER_WHICH), area_.put(value), 0});
        }
    }

    void add_timers(Calls& calls) {
        for (const Record* record : plan_.of(task_.record->object, KRG_GHOST_POSIX_TIMER)) {
            const auto id = static_cast<s64>(record->number(KRG_GHOST_POSIX_TIMER_ID));
            sigevent event{};
            event.sigev_notify = static_cast<int>(record->number(KRG_GHOST_POSIX_TIMER_NOTIFY));
            event.sigev_signo = static_cast<int>(record->number(KRG_GHOST_POSIX_TIMER_SIGNAL));
            event.sigev_value.sival_ptr = reinterpret_cast<void*>(record->number(KRG_GHOST_POSIX_TIMER_VALUE));
            event._sigev_un._tid = static_cast<pid_t>(record->number(KRG_GHOST_POSIX_TIMER_TID));
            const u64 clock = static_cast<u64>(static_cast<s64>(record->number(KRG_GHOST_POSIX_TIMER_CLOCK)));
            Op op;
            op.what = Do::make_timer;
            op.want = id;
            op.a[0] = clock;
            op.a[1] = area_.put(event);
            op.a[2] = address_of(area_.room(sizeof(int)));
            calls.add(op, fmt::format("process {}: cannot have timer {}", task_.pid, id));
            if (!has(*record, KRG_GHOST_POSIX_TIMER_FLAGS, 1)) continue;
            // An absolute end is as far away as it was: the clock may be another one.
            const auto time = [](u64 ns) { return timespec{static_cast<time_t>(ns / second), static_cast<long>(ns % second)}; };
            itimerspec value{time(record->number(KRG_GHOST_POSIX_TIMER_INTERVAL)),
                             time(record->number(KRG_GHOST_POSIX_TIMER_LEFT))};
            if (!value.it_value.tv_sec && !value.it_value.tv_nsec) value.it_value.tv_nsec = 1;
            calls.call(fmt::format("process {}: cannot set timer {}", task_.pid, id), SYS_timer_settime,
                       {static_cast<u64>(id), 0, area_.put(value), 0});
        }
    }

    void add_membarrier(Calls& calls) {
        const u64 registered = plan_.object(task_.record->number(KRG_GHOST_TASK_MM)).number(KRG_GHOST_MM_MEMBARRIER);
        for (int bit = 0; bit < 32; bit++)
            if (registered >> bit & 1)
                calls.call(fmt::format("process {}: cannot register for membarrier", task_.pid), SYS_membarrier,
                           {u64{1} << bit, 0, 0});
    }

    void add_limits(Calls& calls) {
        for (const Record* record : plan_.of(task_.record->object, KRG_GHOST_RLIMIT)) {
            const rlimit64 limit{record->number(KRG_GHOST_RLIMIT_SOFT), record->number(KRG_GHOST_RLIMIT_HARD)};
            const u64 resource = record->number(KRG_GHOST_RLIMIT_RESOURCE);
            calls.call(fmt::format("process {}: cannot set resource limit {}", task_.pid, resource), SYS_prlimit64,
                       {0, resource, area_.put(limit), 0});
        }
    }

    /** What was seen of our own opening and closing of files is not for the program. */
    void drain_watchers(Calls& calls) {
        for (const Record* fd : plan_.of(task_.files, KRG_GHOST_FD)) {
            const Record& file = plan_.object(fd->number(KRG_GHOST_FD_FILE));
            if (file.type != KRG_GHOST_FILE_INOTIFY || !is_keeper(plan_, task_, file.object)) continue;
            const u64 number = fd->number(KRG_GHOST_FD_NUMBER), flags = file.number(KRG_GHOST_FILE_INOTIFY_FLAGS);
            const std::string what = name_of(file) + ": cannot change its flags";
            calls.call(what, SYS_fcntl, {number, F_SETFL, flags | O_NONBLOCK});
            Op op;
            op.what = Do::drain;
            op.a[0] = number;
            op.a[1] = address_of(area_.room(page));
            op.a[2] = page;
            calls.add(op, "");
            calls.call(what, SYS_fcntl, {number, F_SETFL, flags});
        }
    }

    const Plan& plan_;
    const Task& task_;
    Area& area_;
    LastFailure* failure_;
    int device_;
    bool at_home_;
};

}  // namespace

size_t area_size(const Plan& plan, const Task& task) {
    size_t records = plan.of(task.record->object).size() + plan.of(task.files).size();
    for (const Record* thread : task.threads) records += plan.of(thread->object).size();
    records += plan.all(KRG_GHOST_SYSV_UNDO).size();
    // Generous: it is only touched as far as it is used.
    return 64 * page + task.threads.size() * (thread_stack + 4 * page) + records * 512 + plan.of(task.files).size() * page;
}

Script script_of(const Plan& plan, const Task& task, Area& area, LastFailure* failure, int device, bool at_home) {
    return Writer(plan, task, area, failure, device, at_home).leader();
}

}  // namespace krg::restart
