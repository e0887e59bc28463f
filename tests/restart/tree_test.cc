// SPDX-License-Identifier: GPL-2.0
// Processes made of an image, with their ids; and the last stage. Needs the right to choose ids (root).
#include <csignal>
#include <ctime>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/restart/saved.hh"
#include "tools/restart/task.hh"
#include "tools/restart/tree.hh"

namespace krg::restart::testing {
namespace {

struct Seen {
    pid_t pid, parent, session, group;
};

class TreeTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "not root: ids cannot be chosen";
    }
};

/** Builds the tree in a child and returns what each process saw of itself, "PID PARENT SESSION GROUP" by PID's name. */
std::string built(const std::string& path, const std::function<std::string(const std::map<pid_t, Seen>&, Tree&)>& look) {
    return in_child([&] {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, nullptr);
        const Plan plan(path);
        auto* seen = static_cast<Seen*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
        Stages stages({});
        Tree tree(plan, stages, true, [&](const Task& task) {
            size_t place = 0;
            while (&plan.tasks()[place] != &task) place++;
            seen[place] = {getpid(), getppid(), getsid(0), getpgid(0)};
            stages.reach(Stage::made);
            for (;;) pause();
        });
        tree.build();
        std::map<pid_t, Seen> by_pid;
        for (size_t i = 0; i < plan.tasks().size(); i++) by_pid[seen[i].pid] = seen[i];
        std::string why = look(by_pid, tree);
        tree.destroy();
        if (!busy_ids(plan).empty()) why += fmt::format("id {} is not free again; ", busy_ids(plan)[0]);
        return why;
    });
}

std::string expect(const std::map<pid_t, Seen>& seen, pid_t pid, pid_t parent, pid_t session, pid_t group) {
    const auto found = seen.find(pid);
    if (found == seen.end()) return fmt::format("there is no process {}; ", pid);
    const Seen& s = found->second;
    if (s.parent == parent && s.session == session && s.group == group) return "";
    return fmt::format("process {}: parent {} session {} group {}, not {} {} {}; ", pid, s.parent, s.session, s.group, parent,
                       session, group);
}

TEST_F(TreeTest, ParentsSessionsGroupsZombiesAndDeadLeaders) {
    Saved saved;
    const pid_t top = free_pid(0), child = free_pid(1), early = free_pid(2), grandchild = free_pid(3), zombie = free_pid(4),
                dead = free_pid(5), orphan = free_pid(6), lone = free_pid(7), gone_session = free_pid(8);
    const u64 session = saved.session(top), inner = saved.session(child), lost = saved.session(gone_session);
    const u64 group = saved.group(top, session), inner_group = saved.group(child, inner),
              dead_group = saved.group(dead, session), lost_group = saved.group(gone_session, lost);
    const u64 one = saved.task(top, group), two = saved.task(child, inner_group, one);
    saved.task(early, group, two);  // made before its parent began a session
    saved.task(grandchild, inner_group, two);
    saved.task(orphan, dead_group);  // of the session, but nobody's child; its group's leader is dead
    saved.task(lone, lost_group);    // of a session whose leader is dead
    saved.maker.add(KRG_GHOST_ZOMBIE, {{KRG_GHOST_ZOMBIE_PID, zombie},
                                       {KRG_GHOST_ZOMBIE_PARENT, one},
                                       {KRG_GHOST_ZOMBIE_GROUP, group},
                                       {KRG_GHOST_ZOMBIE_EXIT_CODE, 37 << 8},
                                       {KRG_GHOST_ZOMBIE_EXIT_SIGNAL, SIGCHLD}});
    EXPECT_EQ("", built(saved.write(), [&](const auto& seen, Tree& tree) {
                  const pid_t self = getpid();
                  tree.watch();
                  return expect(seen, top, self, top, top) + expect(seen, child, top, child, child) +
                         expect(seen, early, child, top, top) + expect(seen, grandchild, child, child, child) +
                         expect(seen, orphan, self, top, dead) + expect(seen, lone, self, gone_session, gone_session) +
                         (kill(zombie, 0) == 0 ? "" : "the zombie is not there; ");
              }));
}

TEST_F(TreeTest, WhoFailsTakesAllAlong) {
    Saved saved;
    const pid_t top = free_pid(0), child = free_pid(1);
    const u64 group = saved.group(top, saved.session(top));
    saved.task(child, group, saved.task(top, group));
    const std::string path = saved.write();
    EXPECT_THAT(in_child([&] {
                    const Plan plan(path);
                    Stages stages({});
                    Tree tree(plan, stages, true, [&](const Task& task) {
                        if (task.pid == child) throw Error(Exit::failed, "no room on the disk");
                        stages.reach(Stage::made);
                    });
                    std::string why = "nothing failed";
                    try {
                        tree.build();
                    } catch (const Error& error) {
                        why = error.what();
                    }
                    tree.destroy();
                    return why + (busy_ids(plan).empty() ? ", all ids are free" : ", an id is busy");
                }),
                "no room on the disk, all ids are free");
}

TEST_F(TreeTest, ABusyIdIsSaid) {
    Saved saved;
    const u64 group = saved.group(getpid(), saved.session(getpid()));
    saved.task(getpid(), group);
    const Plan plan(saved.write());
    EXPECT_THAT(busy_ids(plan), ::testing::ElementsAre(getpid()));
}

/** Runs a list in a child that ends with what the list ends with; *failure says what went wrong. */
int run_list(const std::function<void(Calls&, Area&, LastFailure*)>& fill, LastFailure* failure) {
    const pid_t child = fork();
    if (child == 0) {
        Area area({}, 1 << 20);
        Calls calls;
        fill(calls, area, failure);
        Script script = calls.place(area);
        script.failure = failure;
        area.run(script);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

LastFailure* shared_failure() {
    return static_cast<LastFailure*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

TEST(LastStage, MovesTheVdsoAndMakesThreadsAndTimers) {
    LastFailure* failure = shared_failure();
    const bool root = geteuid() == 0;
    const pid_t tid = root ? free_pid(9) : 0;
    const int status = run_list(
        [&](Calls& calls, Area& area, LastFailure*) {
            for (const Range& range : own_special_mappings()) {
                const u64 length = range.end - range.begin;
                const auto to = reinterpret_cast<u64>(map_away_from({}, length, MAP_PRIVATE | MAP_ANONYMOUS));
                calls.exactly("move", static_cast<s64>(to), SYS_mremap,
                              {range.begin, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to});
            }
            auto* said = static_cast<u64*>(area.room(8));
            Calls own;
            // Until the end of the process: its id is asked for meanwhile.
            own.call("wait", SYS_futex, {reinterpret_cast<u64>(said), FUTEX_WAIT, 0, 0, 0, 0});
            own.call("exit", SYS_exit, {0});
            Script script = own.place(area);
            script.failure = failure;
            clone_args arguments{};
            arguments.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
            arguments.stack = reinterpret_cast<u64>(area.room(8192));
            arguments.stack_size = 8192;
            if (root) {
                arguments.set_tid = area.put(tid);
                arguments.set_tid_size = 1;
            }
            Op op;
            op.what = Do::make_thread;
            op.a[0] = area.put(arguments);
            op.a[1] = sizeof(arguments);
            op.a[2] = area.put(script);
            if (root)
                calls.add(op, "thread"),
                    calls.exactly("its id", 0, SYS_tgkill, {static_cast<u64>(getpid()), static_cast<u64>(tid), 0});
            sigevent event{};
            event.sigev_notify = SIGEV_NONE;
            Op timer;
            timer.what = Do::make_timer;
            timer.want = 5;
            timer.a[0] = CLOCK_MONOTONIC;
            timer.a[1] = area.put(event);
            timer.a[2] = reinterpret_cast<u64>(area.room(8));
            calls.add(timer, "timer");
            calls.exactly("the timer is there", 0, SYS_timer_delete, {5});
            calls.call("end", SYS_exit_group, {42});
        },
        failure);
    EXPECT_EQ(42, status) << failure->name << " " << failure->result;
}

TEST(LastStage, SaysWhatFailed) {
    LastFailure* failure = shared_failure();
    const int status = run_list(
        [&](Calls& calls, Area&, LastFailure*) {
            calls.try_it("may fail", SYS_close, {999});
            calls.call("closing what is not open", SYS_close, {999});
        },
        failure);
    EXPECT_EQ(1, status);
    EXPECT_EQ(2u, failure->state);
    EXPECT_STREQ("closing what is not open", failure->name);
    EXPECT_EQ(-EBADF, failure->result);
}

}  // namespace
}  // namespace krg::restart::testing
