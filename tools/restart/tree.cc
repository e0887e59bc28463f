// SPDX-License-Identifier: GPL-2.0
// Every process is made by its parent, with its id. Whoever leads a session or a group and is dead is stood in for by a
// process that ends as soon as its id is in use. The restorer is a subreaper meanwhile, so that nobody gets lost.
#include "tools/restart/tree.hh"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>

#include <fmt/format.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::restart {

namespace {

[[noreturn]] void fail(const std::string& what) {
    const int why = errno;
    const bool rights = why == EPERM;
    throw Error(rights ? Exit::not_permitted : Exit::failed, fmt::format("{}: {}", what, std::strerror(why)),
                rights          ? "install restart with the capability CAP_CHECKPOINT_RESTORE, or run it as root"
                : why == EEXIST ? "wait until that process, session or group has ended"
                                : "");
}

bool exists(pid_t id) {
    if (kill(id, 0) == 0 || errno != ESRCH) return true;   // a process
    if (kill(-id, 0) == 0 || errno != ESRCH) return true;  // a group
    return access(fmt::format("/proc/{}/stat", id).c_str(), F_OK) == 0;
}

bool has_ended(int handle, int timeout_ms) {
    pollfd entry{handle, POLLIN, 0};
    return poll(&entry, 1, timeout_ms) > 0;
}

}  // namespace

std::set<pid_t> needed_ids(const Plan& plan) {
    std::set<pid_t> ids;
    for (const Task& task : plan.tasks()) {
        for (const Record* thread : task.threads) ids.insert(static_cast<pid_t>(thread->number(KRG_GHOST_THREAD_TID)));
        for (const pid_t id : {task.sid, task.pgid})
            if (id) ids.insert(id);
        for (const Record* zombie : task.zombies) ids.insert(static_cast<pid_t>(zombie->number(KRG_GHOST_ZOMBIE_PID)));
    }
    return ids;
}

std::vector<pid_t> busy_ids(const Plan& plan) {
    std::vector<pid_t> busy;
    for (const pid_t id : needed_ids(plan))
        if (exists(id)) busy.push_back(id);
    return busy;
}

std::vector<std::string> impossible_sessions(const Plan& plan) {
    std::vector<std::string> lines;
    for (const Task& task : plan.tasks()) {
        if (!task.parent || task.sid == task.pid || task.sid == task.parent->sid) continue;
        // It was made before its parent began a session of its own, in that of the parent's parent.
        const Task& parent = *task.parent;
        const pid_t before = parent.parent ? parent.parent->sid : 0;
        const bool possible = parent.sid == parent.pid && before == task.sid;
        if (!possible)
            lines.push_back(fmt::format("process {}: cannot come to be in session {}, because its parent {} is in {}", task.pid,
                                        task.sid, task.parent->pid, task.parent->sid));
    }
    return lines;
}

Tree::Tree(const Plan& plan, Stages& stages, bool stays, std::function<void(const Task&)> become,
           std::function<void(const Task&)> before_children, std::function<void(const Task&, bool)> terminal)
    : plan_(plan),
      stages_(stages),
      become_(std::move(become)),
      before_children_(std::move(before_children)),
      terminal_(std::move(terminal)),
      stays_(stays),
      restorer_(getpid()) {
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

Tree::~Tree() {
    if (getpid() == restorer_ && !released_) destroy();
}

/** A child that runs @body and ends. @pid 0: any id. */
pid_t Tree::make(pid_t pid, int exit_signal, const std::function<void()>& body, bool orphan) {
    clone_args arguments{};
    arguments.exit_signal = static_cast<__u64>(exit_signal);
    arguments.set_tid = pid ? reinterpret_cast<__u64>(&pid) : 0;
    arguments.set_tid_size = pid ? 1 : 0;
    const pid_t parent = getpid();
    const long made = syscall(SYS_clone3, &arguments, sizeof(arguments));
    if (made < 0) fail(fmt::format("cannot make process {}", pid));
    if (made > 0) return static_cast<pid_t>(made);
    if (!orphan) prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!orphan && getppid() != parent) _exit(1);
    try {
        body();
    } catch (const Error& error) {
        stages_.fail(error);
        _exit(1);
    } catch (const std::exception& error) {
        stages_.fail(Error(Exit::failed, fmt::format("process {}: {}", getpid(), error.what())));
        _exit(1);
    }
    _exit(0);
}

bool Tree::leads(pid_t pid) const {
    return std::any_of(plan_.tasks().begin(), plan_.tasks().end(), [&](const Task& task) {
        return task.pid == pid || std::any_of(task.zombies.begin(), task.zombies.end(), [&](const Record* zombie) {
                   return static_cast<pid_t>(zombie->number(KRG_GHOST_ZOMBIE_PID)) == pid;
               });
    });
}

/** Is it one of the image, and not the caller's? */
bool Tree::is_group(pid_t pgid) const {
    return leads(pgid) ||
           std::any_of(plan_.tasks().begin(), plan_.tasks().end(), [&](const Task& task) { return task.pgid == pgid; });
}

/** Groups whose leader is dead and that this process is the first one of. */
std::vector<pid_t> Tree::dead_leaders(const Task& task) const {
    std::vector<pid_t> held;
    const auto first = std::find_if(plan_.tasks().begin(), plan_.tasks().end(),
                                    [&](const Task& t) { return t.pgid == task.pgid; });
    if (task.pgid && task.pgid != task.sid && !leads(task.pgid) && &*first == &task) held.push_back(task.pgid);
    return held;
}

void Tree::join_group(pid_t pid, pid_t pgid) {
    if (pgid && getpgid(0) != pgid && setpgid(0, pgid) != 0) fail(fmt::format("process {} cannot join group {}", pid, pgid));
}

void Tree::add_zombie(const Record& zombie) {
    const auto pid = static_cast<pid_t>(zombie.number(KRG_GHOST_ZOMBIE_PID));
    const auto pgid = static_cast<pid_t>(plan_.object(zombie.number(KRG_GHOST_ZOMBIE_GROUP)).number(KRG_GHOST_GROUP_PGID));
    make(pid, static_cast<int>(zombie.number(KRG_GHOST_ZOMBIE_EXIT_SIGNAL)), [&] {
        stages_.reach(Stage::born);
        if (pgid == pid) join_group(pid, pgid);
        stages_.reach(Stage::led);
        if (is_group(pgid)) join_group(pid, pgid);
        stages_.reach(Stage::grouped);
        prctl(PR_SET_NAME, zombie.text(KRG_GHOST_ZOMBIE_COMM).c_str());
        const auto uid = static_cast<uid_t>(zombie.number(KRG_GHOST_ZOMBIE_UID));
        if (uid != getuid() && setresuid(uid, uid, uid) != 0) fail(fmt::format("process {} cannot be of user {}", pid, uid));
        const u64 code = zombie.number(KRG_GHOST_ZOMBIE_EXIT_CODE);
        const int signal = static_cast<int>(code & 0x7f);
        if (!signal) _exit(static_cast<int>(code >> 8 & 0xff));
        prctl(PR_SET_DUMPABLE, 0);
        std::signal(signal, SIG_DFL);
        kill(pid, signal);
        sigset_t all;
        sigemptyset(&all);
        sigprocmask(SIG_SETMASK, &all, nullptr);
        _exit(static_cast<int>(128 + signal));
    });
}

/** Children that were made before, or after, their parent began its session. */
void Tree::born_in(const Task& parent, bool before) {
    for (const Task* child : parent.children) {
        const bool early = parent.sid == parent.pid && child->sid != parent.sid && child->sid != child->pid;
        if (early == before)
            make(child->pid, static_cast<int>(child->record->number(KRG_GHOST_TASK_EXIT_SIGNAL)), [&] { live(*child); });
    }
}

/** Processes of this session whose parents are gone: an intermediate that ends leaves them to the restorer. */
void Tree::add_orphans(const Task& leader) {
    for (const Task* root : plan_.roots()) {
        if (root == &leader || root->sid != leader.pid) continue;
        const pid_t between = make(0, SIGCHLD, [&] {
            make(
                root->pid, SIGCHLD, [&] { live(*root); }, true);
        });
        int status = 0;
        if (waitpid(between, &status, 0) != between || status != 0) fail(fmt::format("cannot make process {}", root->pid));
    }
}

void Tree::live(const Task& task) {
    if (before_children_ && !task.children.empty()) before_children_(task);
    if (task.sid == task.pid) {
        born_in(task, true);
        if (setsid() < 0) fail(fmt::format("process {} cannot begin a session", task.pid));
        if (terminal_) terminal_(task, false);
        add_orphans(task);
    }
    born_in(task, false);
    for (const Record* zombie : task.zombies) add_zombie(*zombie);
    std::vector<pid_t> held;
    for (const pid_t pgid : dead_leaders(task)) {
        make(pgid, SIGCHLD, [&] {
            join_group(pgid, pgid);
            stages_.reach(Stage::born);
            stages_.reach(Stage::led);
            stages_.reach(Stage::grouped);
        });
        held.push_back(pgid);
    }
    stages_.reach(Stage::born);
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // also of those whose first parent has ended meanwhile, as it should
    if (task.pgid == task.pid && task.sid != task.pid) join_group(task.pid, task.pgid);
    stages_.reach(Stage::led);
    join_group(task.pid, task.pgid);
    stages_.reach(Stage::grouped);
    if (terminal_ && task.sid == task.pid) terminal_(task, true);
    for (const pid_t pgid : held) waitpid(pgid, nullptr, 0);
    for (const Record* zombie : task.zombies) {
        siginfo_t info{};
        const auto pid = static_cast<id_t>(zombie->number(KRG_GHOST_ZOMBIE_PID));
        if (waitid(P_PID, pid, &info, WEXITED | WNOWAIT | __WALL) != 0) fail(fmt::format("process {} cannot end", pid));
    }
    stages_.reach(Stage::zombies);
    // What our own making and ending of processes has left.
    sigset_t all;
    sigfillset(&all);
    const timespec now{};
    while (sigtimedwait(&all, nullptr, &now) > 0) {}
    become_(task);
}

/** Has it asked for a signal when its parent dies? The end of the restorer is not what it meant. */
bool Tree::minds_its_parent(const Task& task) const {
    return !stays_ && std::any_of(task.threads.begin(), task.threads.end(),
                                  [](const Record* thread) { return thread->number(KRG_GHOST_THREAD_PDEATH_SIGNAL) != 0; });
}

/** Its parent is from the beginning who will be it when the restorer is gone. */
void Tree::make_adopted(const Task& root) {
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
    const pid_t between = make(0, SIGCHLD, [&] {
        make(
            root.pid, SIGCHLD, [&] { live(root); }, true);
    });
    int status = 0;
    const bool made = waitpid(between, &status, 0) == between && status == 0;
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    stages_.check();
    const int handle = made ? static_cast<int>(syscall(SYS_pidfd_open, root.pid, 0)) : -1;
    if (handle < 0) fail(fmt::format("cannot make process {}", root.pid));
    adopted_.push_back(handle);
}

/** A session whose leader is dead. */
void Tree::in_dead_session(pid_t sid, const std::vector<const Task*>& members) {
    children_.push_back(make(sid, SIGCHLD, [&] {
        if (setsid() < 0) fail(fmt::format("cannot begin session {}", sid));
        for (const Task* root : members) {
            const pid_t between = make(0, SIGCHLD, [&] {
                make(
                    root->pid, SIGCHLD, [&] { live(*root); }, true);
            });
            int status = 0;
            if (waitpid(between, &status, 0) != between || status != 0) fail(fmt::format("cannot make process {}", root->pid));
        }
        for (const Stage stage : {Stage::born, Stage::led, Stage::grouped}) stages_.reach(stage);
    }));
}

void Tree::build() {
    std::map<pid_t, std::vector<const Task*>> dead_sessions;
    u32 zombies = 0, held = 0;
    for (const Task& task : plan_.tasks()) {
        zombies += static_cast<u32>(task.zombies.size());
        held += static_cast<u32>(dead_leaders(task).size());
    }
    for (const Task* root : plan_.roots()) {
        const bool by_us = root->sid == 0 || root->sid == root->pid;
        if (by_us && minds_its_parent(*root))
            make_adopted(*root);
        else if (by_us)
            children_.push_back(make(root->pid, SIGCHLD, [&] { live(*root); }));
        else if (!leads(root->sid))
            dead_sessions[root->sid].push_back(root);
    }
    for (const auto& [sid, members] : dead_sessions) in_dead_session(sid, members);
    const auto looking = [this] { watch(); };
    const u32 tasks = static_cast<u32>(plan_.tasks().size());
    const u32 all = tasks + zombies + held + static_cast<u32>(dead_sessions.size());
    for (const Stage stage : {Stage::born, Stage::led, Stage::grouped}) stages_.wait(stage, all, looking);
    stages_.wait(Stage::zombies, tasks, looking);
    stages_.wait(Stage::made, tasks, looking);
}

void Tree::watch() {
    siginfo_t info{};
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) == 0 && info.si_pid != 0) {
        const bool task = std::any_of(plan_.tasks().begin(), plan_.tasks().end(),
                                      [&](const Task& t) { return t.pid == info.si_pid; });
        stages_.check();
        if (task)
            throw Error(Exit::failed, fmt::format("process {} ended while it was being made, {} {}", info.si_pid,
                                                  info.si_code == CLD_EXITED ? "with status" : "by signal", info.si_status));
        info.si_pid = 0;
    }
    for (const int handle : adopted_)
        if (has_ended(handle, 0)) {
            stages_.check();
            throw Error(Exit::failed, "a process ended while it was being made");
        }
}

void Tree::destroy() {
    // Whoever dies takes his children along (PR_SET_PDEATHSIG); those that joined are killed by the kernel's session. Whatever
    // lost its parent is ours then, and gone with the next round.
    const std::set<pid_t> needed = needed_ids(plan_);
    for (const int handle : adopted_) {
        syscall(SYS_pidfd_send_signal, handle, SIGKILL, nullptr, 0);
        has_ended(handle, -1);
        close(handle);
    }
    adopted_.clear();
    for (;;) {
        std::vector<pid_t> left;
        std::ifstream children(fmt::format("/proc/self/task/{}/children", restorer_));
        for (pid_t child; children >> child;)
            if (needed.contains(child) || std::find(children_.begin(), children_.end(), child) != children_.end())
                left.push_back(child);
        if (left.empty()) break;
        for (const pid_t child : left) kill(child, SIGKILL);
        for (const pid_t child : left)
            while (waitpid(child, nullptr, __WALL) < 0 && errno == EINTR) {}
    }
    released_ = true;
}

}  // namespace krg::restart
