// SPDX-License-Identifier: GPL-2.0
//
// Programs whose state is the task itself: who it is, its limits, signals, timers, threads and children.
#include "program.hh"

#include <atomic>
#include <csignal>
#include <ctime>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace krg::cr {

namespace {

sigset_t blocked(int signal) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    return set;
}

void itimer(Run& run, __itimer_which which) {
    itimerval set{}, now{};
    set.it_value.tv_sec = 50000;
    set.it_interval.tv_sec = 9;
    must(setitimer(which, &set, nullptr), "setitimer");
    run.operation([&] { must(setitimer(which, &now, nullptr), "setitimer"); });
    must(getitimer(which, &now), "getitimer");
    same("interval", 9, now.it_interval.tv_sec);
    within("seconds that remain", 40000L, 50001L, static_cast<long>(now.it_value.tv_sec));
}

void never_back(Run& run, clockid_t clock) {
    double before = clock_s(clock);
    run.operation([&] { before += 100000; });
    within("the clock", before, before + 86400, clock_s(clock));
}

}  // namespace

CR_PROGRAM(task_umask, Needs::nothing, "the umask stays") {
    umask(0135);
    run.ready();
    await_term();
    run.disturb([] { umask(022); });
    same("umask", 0135u, umask(0));
}

CR_PROGRAM(task_cwd, Needs::directory, "the working directory stays") {
    must(chdir(run.directory.c_str()), "chdir");
    run.operation([] { must(chdir("/"), "chdir"); });
    char now[4096] = {};
    holds("getcwd", getcwd(now, sizeof(now)) != nullptr);
    same("working directory", run.directory, std::string(now));
}

CR_PROGRAM(task_ids, Needs::nothing, "real, effective, saved and file system ids stay") {
    must(setresgid(101, 102, 103), "setresgid");
    must(setresuid(201, 0, 203), "setresuid");
    run.operation([] { must(setresuid(201, 0, 204), "setresuid"); });
    same("Uid", std::string("201\t0\t203\t0"), status_field("Uid"));
    same("Gid", std::string("101\t102\t103\t102"), status_field("Gid"));
}

CR_PROGRAM(task_groups, Needs::nothing, "supplementary groups stay") {
    const gid_t groups[] = {11, 22, 70000};
    must(setgroups(3, groups), "setgroups");
    run.operation([&] { must(setgroups(2, groups), "setgroups"); });
    holds("Groups", status_field("Groups").rfind("11 22 70000", 0) == 0);
}

CR_PROGRAM(task_capabilities, Needs::nothing, "a capability dropped from the bounding set stays away") {
    must(prctl(PR_CAPBSET_DROP, 30), "PR_CAPBSET_DROP");
    const std::string before = status_field("CapBnd");
    run.operation([] { must(prctl(PR_CAPBSET_DROP, 29), "PR_CAPBSET_DROP"); });
    same("CapBnd", before, status_field("CapBnd"));
}

CR_PROGRAM(task_securebits, Needs::nothing, "securebits stay") {
    must(prctl(PR_SET_SECUREBITS, 0x3), "PR_SET_SECUREBITS");
    run.operation([] { must(prctl(PR_SET_SECUREBITS, 0x7), "PR_SET_SECUREBITS"); });
    same("PR_GET_SECUREBITS", 0x3, prctl(PR_GET_SECUREBITS));
}

CR_PROGRAM(task_no_new_privs, Needs::nothing, "no_new_privs stays") {
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
    run.operation();
    same("PR_GET_NO_NEW_PRIVS", 1, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

CR_PROGRAM(task_rlimits, Needs::nothing, "resource limits stay, soft and hard") {
    rlimit limit{100, 200};
    must(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    run.operation([&] {
        limit.rlim_cur = 99;
        must(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    });
    must(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    same("soft limit", 100u, limit.rlim_cur);
    same("hard limit", 200u, limit.rlim_max);
}

CR_PROGRAM(task_nice, Needs::nothing, "niceness stays") {
    must(setpriority(PRIO_PROCESS, 0, 7), "setpriority");
    run.operation([] { must(setpriority(PRIO_PROCESS, 0, 9), "setpriority"); });
    same("niceness", 7, getpriority(PRIO_PROCESS, 0));
}

CR_PROGRAM(task_policy, Needs::nothing, "the scheduling policy stays") {
    const sched_param none{};
    must(sched_setscheduler(0, SCHED_BATCH, &none), "sched_setscheduler");
    run.operation([&] { must(sched_setscheduler(0, SCHED_OTHER, &none), "sched_setscheduler"); });
    same("policy", SCHED_BATCH, sched_getscheduler(0));
}

CR_PROGRAM(task_oom_score, Needs::nothing, "the out of memory score adjustment stays") {
    const int fd = static_cast<int>(must(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC), "open"));
    must(write(fd, "321", 3), "write");
    run.operation([&] { must(write(fd, "322", 3), "write"); });
    same("oom_score_adj", std::string("321\n"), contents("/proc/self/oom_score_adj"));
}

CR_PROGRAM(task_personality, Needs::nothing, "the personality stays") {
    must(personality(ADDR_NO_RANDOMIZE), "personality");
    run.operation([] { must(personality(0), "personality"); });
    same("personality", static_cast<int>(ADDR_NO_RANDOMIZE), personality(0xffffffff));
}

CR_PROGRAM(task_dumpable, Needs::nothing, "dumpable stays off") {
    must(prctl(PR_SET_DUMPABLE, 0), "PR_SET_DUMPABLE");
    run.operation([] { must(prctl(PR_SET_DUMPABLE, 1), "PR_SET_DUMPABLE"); });
    same("PR_GET_DUMPABLE", 0, prctl(PR_GET_DUMPABLE));
}

CR_PROGRAM(task_subreaper, Needs::nothing, "being a subreaper stays") {
    must(prctl(PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
    run.operation([] { must(prctl(PR_SET_CHILD_SUBREAPER, 0), "PR_SET_CHILD_SUBREAPER"); });
    int found = 0;
    must(prctl(PR_GET_CHILD_SUBREAPER, &found), "PR_GET_CHILD_SUBREAPER");
    same("PR_GET_CHILD_SUBREAPER", 1, found);
}

CR_PROGRAM(task_pdeath_signal, Needs::nothing, "the signal for a parent's death stays") {
    blocked(SIGUSR2);  // who started it has ended by then, or will
    must(prctl(PR_SET_PDEATHSIG, SIGUSR2), "PR_SET_PDEATHSIG");
    run.operation([] { must(prctl(PR_SET_PDEATHSIG, 0), "PR_SET_PDEATHSIG"); });
    int found = 0;
    must(prctl(PR_GET_PDEATHSIG, &found), "PR_GET_PDEATHSIG");
    same("PR_GET_PDEATHSIG", SIGUSR2, found);
}

CR_PROGRAM(task_name, Needs::nothing, "the name of the task stays") {
    must(prctl(PR_SET_NAME, "krg name"), "PR_SET_NAME");
    run.operation([] { must(prctl(PR_SET_NAME, "other"), "PR_SET_NAME"); });
    same("Name", std::string("krg name"), status_field("Name"));
}

CR_PROGRAM(task_pids, Needs::nothing, "pid, session and group stay") {
    const pid_t pid = getpid(), session = getsid(0), group = getpgrp();
    run.operation();
    same("pid", pid, static_cast<pid_t>(syscall(SYS_getpid)));
    same("session", session, getsid(0));
    same("group", group, getpgrp());
}

CR_PROGRAM(timer_real, Needs::nothing, "ITIMER_REAL: interval and what remains") { itimer(run, ITIMER_REAL); }
CR_PROGRAM(timer_virtual, Needs::nothing, "ITIMER_VIRTUAL: interval and what remains") { itimer(run, ITIMER_VIRTUAL); }
CR_PROGRAM(timer_prof, Needs::nothing, "ITIMER_PROF: interval and what remains") { itimer(run, ITIMER_PROF); }
CR_PROGRAM(clock_monotonic, Needs::nothing, "CLOCK_MONOTONIC never goes back") { never_back(run, CLOCK_MONOTONIC); }
CR_PROGRAM(clock_boottime, Needs::nothing, "CLOCK_BOOTTIME never goes back") { never_back(run, CLOCK_BOOTTIME); }

CR_PROGRAM(timer_posix, Needs::nothing, "a POSIX timer keeps its id, interval and what remains") {
    sigevent event{};
    event.sigev_notify = SIGEV_NONE;
    timer_t timer{};
    must(timer_create(CLOCK_MONOTONIC, &event, &timer), "timer_create");
    itimerspec set{{3, 0}, {50000, 0}}, now{};
    must(timer_settime(timer, 0, &set, nullptr), "timer_settime");
    run.operation([&] { must(timer_delete(timer), "timer_delete"); });
    must(timer_gettime(timer, &now), "timer_gettime");
    same("interval", 3, now.it_interval.tv_sec);
    within("seconds that remain", 40000L, 50000L, static_cast<long>(now.it_value.tv_sec));
}

CR_PROGRAM(signal_queue, Needs::nothing, "queued real time signals keep their order and values") {
    const sigset_t set = blocked(SIGRTMIN + 1);
    for (int i = 1; i <= 5; ++i) {
        sigval value{};
        value.sival_int = i * 11;
        must(sigqueue(getpid(), SIGRTMIN + 1, value), "sigqueue");
    }
    const timespec none{};
    siginfo_t info;
    run.operation([&] { must(sigtimedwait(&set, &info, &none), "sigtimedwait"); });
    for (int i = 1; i <= 5; ++i) {
        must(sigtimedwait(&set, &info, &none), "sigtimedwait");
        same("value", i * 11, info.si_value.sival_int);
        same("code", SI_QUEUE, info.si_code);
        same("sender", getpid(), info.si_pid);
    }
    same("one more", -1, sigtimedwait(&set, &info, &none));
}

CR_PROGRAM(signal_mask, Needs::nothing, "the signal mask stays") {
    blocked(SIGUSR2);
    const std::string before = status_field("SigBlk");
    run.operation([] { blocked(SIGUSR1); });
    same("SigBlk", before, status_field("SigBlk"));
}

CR_PROGRAM(signal_actions, Needs::nothing, "handlers, their masks and flags, and ignored signals stay") {
    struct sigaction set {
    }, now{};
    set.sa_handler = SIG_IGN;
    must(sigaction(SIGHUP, &set, nullptr), "sigaction");
    set.sa_sigaction = [](int, siginfo_t*, void*) {};
    set.sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER;
    sigaddset(&set.sa_mask, SIGCHLD);
    must(sigaction(SIGUSR1, &set, nullptr), "sigaction");
    run.operation([] { (void)signal(SIGUSR1, SIG_DFL); });
    must(sigaction(SIGUSR1, nullptr, &now), "sigaction");
    holds("the handler", now.sa_sigaction == set.sa_sigaction);
    same("its flags", set.sa_flags, now.sa_flags & ~0x04000000);
    same("its mask", 1, sigismember(&now.sa_mask, SIGCHLD));
    must(sigaction(SIGHUP, nullptr, &now), "sigaction");
    holds("an ignored signal", now.sa_handler == SIG_IGN);
}

CR_PROGRAM(signal_altstack, Needs::nothing, "the alternate stack stays") {
    static char memory[65536];
    stack_t set{}, now{};
    set.ss_sp = memory;
    set.ss_size = sizeof(memory);
    must(sigaltstack(&set, nullptr), "sigaltstack");
    run.operation([&] {
        set.ss_size = 32768;
        must(sigaltstack(&set, nullptr), "sigaltstack");
    });
    must(sigaltstack(nullptr, &now), "sigaltstack");
    same("its address", static_cast<void*>(memory), now.ss_sp);
    same("its size", sizeof(memory), now.ss_size);
}

CR_PROGRAM(threads_64, Needs::nothing, "64 threads keep their ids and their own data") {
    static std::atomic<int> ready{0}, go{0}, broken{-1};
    std::vector<std::thread> threads;
    for (int i = 0; i < 64; ++i)
        threads.emplace_back([i] {
            static thread_local int own = 0;
            own = i;
            const long id = syscall(SYS_gettid);
            ++ready;
            while (go == 0) usleep(20000);
            if (broken == i) own = -1;
            same("data of thread " + std::to_string(i), i, own);
            same("id of thread " + std::to_string(i), id, syscall(SYS_gettid));
        });
    while (ready < 64) usleep(1000);
    run.operation([] { broken = 17; });
    go = 1;
    for (auto& thread : threads) thread.join();
}

CR_PROGRAM(child_zombie, Needs::nothing, "a child that has ended can be waited for, with its exit status") {
    const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    if (child == 0) _exit(37);
    siginfo_t info{};
    must(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), "waitid");
    int status = 0;
    run.operation([&] { must(waitpid(child, &status, 0), "waitpid"); });
    same("waitpid", child, must(waitpid(child, &status, 0), "waitpid"));
    same("exit status", 37, WEXITSTATUS(status));
}

CR_PROGRAM(child_stopped, Needs::nothing, "a stopped child stays stopped, and goes on when it is told to") {
    const pid_t child = spawn([] {}, [] {});
    int status = 0;
    must(kill(child, SIGSTOP), "kill");
    must(waitpid(child, &status, WUNTRACED), "waitpid");
    run.operation([&] {
        must(kill(child, SIGCONT), "kill");
        usleep(200000);
    });
    same("its state", 'T', status_field("State", child)[0]);
    must(kill(child, SIGCONT), "kill");
    finish(child);
}

CR_PROGRAM(child_tree, Needs::nothing, "children and grandchildren keep their parents, and are waited for") {
    const pid_t self = getpid();
    pid_t grandchild = 0;
    const pid_t child = spawn([&] { grandchild = spawn([] {}, [] {}); },
                              [&] {
                                  same("parent of the child", self, getppid());
                                  same("parent of the grandchild", std::to_string(getpid()), status_field("PPid", grandchild));
                                  finish(grandchild);
                              });
    run.operation([&] { must(kill(child, SIGKILL), "kill"); });
    finish(child);
}

}  // namespace krg::cr
