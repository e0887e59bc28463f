// SPDX-License-Identifier: GPL-2.0
//
// Calls the system calls that the hook self-test redirects (kernel/hook_selftest.c): `storm` has several processes ask for
// their process group as fast as they can and compares every answer; `pause` sleeps in pause() until a signal ends it.
// Knows nothing of modules: the test that runs it switches redirection on and off meanwhile.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;

// A process of the storm: 0, or 1 when an answer was wrong.
int storm_one(Clock::time_point end) {
    const pid_t expected = getpgrp();
    while (Clock::now() < end)
        for (int i = 0; i < 100; ++i)
            if (syscall(SYS_getpgid, 0) != expected) return 1;
    return 0;
}

int storm(int processes, int seconds) {
    const auto end = Clock::now() + std::chrono::seconds(seconds);
    for (int i = 0; i < processes; ++i) {
        const pid_t child = fork();
        if (child < 0) {
            std::perror("krg-hook-load: fork");
            return 1;
        }
        if (child == 0) _exit(storm_one(end));
    }
    int failed = 0, status = 0;
    while (wait(&status) > 0)
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) ++failed;
    std::printf("%d processes, %d with a wrong answer\n", processes, failed);
    return failed != 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 4 && std::strcmp(argv[1], "storm") == 0) return storm(std::atoi(argv[2]), std::atoi(argv[3]));
    if (argc == 2 && std::strcmp(argv[1], "pause") == 0) {
        std::signal(SIGUSR1, [](int) {});
        return syscall(SYS_pause) == -1 ? 0 : 1;
    }
    std::fprintf(stderr, "usage: krg-hook-load storm PROCESSES SECONDS | pause\n");
    return 2;
}
