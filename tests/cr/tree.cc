// SPDX-License-Identifier: GPL-2.0
//
// Programs whose state is how processes belong together: sessions, groups, those that have ended, who looks after orphans.
#include "program.hh"

#include <csignal>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::cr {

namespace {

void await_end(pid_t child) {
    siginfo_t info{};
    must(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), "waitid");
}

pid_t ended_by_signal(int signal) {
    const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    if (child != 0) return child;
    sigset_t all;
    sigemptyset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    std::signal(signal, SIG_DFL);
    raise(signal);
    _exit(1);
}

}  // namespace

CR_PROGRAM(child_zombies, Needs::nothing, "several children that have ended, by status and by signal, are waited for in turn") {
    pid_t children[3] = {};
    for (int i = 0; i < 2; ++i) {
        children[i] = static_cast<pid_t>(must(fork(), "fork"));
        if (children[i] == 0) _exit(40 + i);
    }
    children[2] = ended_by_signal(SIGUSR1);
    for (const pid_t child : children) await_end(child);
    int status = 0;
    run.operation([&] { must(waitpid(children[1], &status, 0), "waitpid"); });
    for (int i = 0; i < 2; ++i) {
        same("waitpid", children[i], must(waitpid(children[i], &status, 0), "waitpid"));
        same("exit status", 40 + i, WEXITSTATUS(status));
    }
    same("waitpid", children[2], must(waitpid(-1, &status, 0), "waitpid"));
    same("ended by signal", SIGUSR1, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    same("no more", -1, waitpid(-1, &status, 0));
}

CR_PROGRAM(child_session, Needs::nothing, "a child leads a session, its children are in groups of it") {
    pid_t grandchild = 0, other = 0;
    const pid_t child = spawn(
        [&] {
            must(setsid(), "setsid");
            grandchild = spawn([] { must(setpgid(0, 0), "setpgid"); }, [] {});
            other = spawn([&] { must(setpgid(0, grandchild), "setpgid"); }, [] {});
        },
        [&] {
            same("its session", getpid(), getsid(0));
            same("its group", getpid(), getpgrp());
            same("session of a grandchild", getpid(), getsid(grandchild));
            same("group of a grandchild", grandchild, getpgid(grandchild));
            same("group of the other", grandchild, getpgid(other));
            finish(other);
            finish(grandchild);
        });
    run.operation([&] { must(kill(child, SIGKILL), "kill"); });
    same("session of the child", child, getsid(child));
    finish(child);
}

CR_PROGRAM(child_subreaper, Needs::nothing, "an orphan of a grandchild stays with who looks after orphans") {
    must(prctl(PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
    int ends[2] = {};
    must(pipe(ends), "pipe");
    const pid_t between = static_cast<pid_t>(must(fork(), "fork"));
    if (between == 0) {
        const pid_t orphan = spawn([] {}, [] {});
        (void)!write(ends[1], &orphan, sizeof(orphan));
        _exit(0);
    }
    pid_t orphan = 0;
    must(read(ends[0], &orphan, sizeof(orphan)), "read");
    int status = 0;
    must(waitpid(between, &status, 0), "waitpid");
    while (status_field("PPid", orphan) != std::to_string(getpid())) usleep(1000);
    run.operation([&] { must(kill(orphan, SIGKILL), "kill"); });
    same("parent of the orphan", std::to_string(getpid()), status_field("PPid", orphan));
    finish(orphan);
}

CR_PROGRAM(child_pdeath, Needs::nothing, "a child that asked for a signal at its parent's death gets it then") {
    int ends[2] = {};
    must(pipe(ends), "pipe");
    pid_t grandchild = 0;
    must(prctl(PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
    const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    if (child == 0) {
        grandchild = static_cast<pid_t>(must(fork(), "fork"));
        if (grandchild == 0) {
            must(prctl(PR_SET_PDEATHSIG, SIGTERM), "PR_SET_PDEATHSIG");
            const pid_t self = getpid();
            (void)!write(ends[1], &self, sizeof(self));
            await_term();
            _exit(44);
        }
        pause();
    }
    must(read(ends[0], &grandchild, sizeof(grandchild)), "read");
    run.operation([&] { must(kill(grandchild, SIGKILL), "kill"); });
    int status = 0;
    same("the grandchild waits", 0, waitpid(grandchild, &status, WNOHANG) > 0);
    must(kill(child, SIGKILL), "kill");
    same("the child", child, must(waitpid(child, &status, 0), "waitpid"));
    same("the grandchild", grandchild, must(waitpid(grandchild, &status, 0), "waitpid"));
    same("its status", 44, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

CR_PROGRAM(child_stopped_job, Needs::nothing, "a stopped group of two children goes on as one") {
    pid_t second = 0;
    const pid_t first = spawn([] { must(setpgid(0, 0), "setpgid"); }, [] {});
    second = spawn([&] { must(setpgid(0, first), "setpgid"); }, [] {});
    int status = 0;
    must(kill(-first, SIGSTOP), "kill");
    must(waitpid(first, &status, WUNTRACED), "waitpid");
    must(waitpid(second, &status, WUNTRACED), "waitpid");
    run.operation([&] { must(kill(second, SIGKILL), "kill"); });
    same("state of the first", 'T', status_field("State", first)[0]);
    same("state of the second", 'T', status_field("State", second)[0]);
    same("its group", first, getpgid(second));
    must(kill(-first, SIGCONT), "kill");
    finish(second);
    finish(first);
}

CR_PROGRAM(task_chroot, Needs::directory, "a child below another root directory stays there") {
    must(mkdir((run.directory + "/inside").c_str(), 0755), "mkdir");
    const pid_t child = spawn(
        [&] {
            must(chroot(run.directory.c_str()), "chroot");
            must(chdir("/inside"), "chdir");
        },
        [] {
            char now[256] = {};
            if (getcwd(now, sizeof(now)) == nullptr || std::string(now) != "/inside") _exit(51);
            if (access("/inside", F_OK) != 0 || access("/proc/self", F_OK) == 0) _exit(52);
        });
    run.operation([&] { must(kill(child, SIGKILL), "kill"); });
    char root[4096] = {};
    must(readlink(("/proc/" + std::to_string(child) + "/root").c_str(), root, sizeof(root) - 1), "readlink");
    same("its root", run.directory, std::string(root));
    finish(child);
}

}  // namespace krg::cr
