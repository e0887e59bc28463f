// SPDX-License-Identifier: GPL-2.0
//
// Programs with a thread inside of a system call that sleeps: it must end as if nothing had happened, with the time that was
// left or with what it waited for, and never with EINTR.
#include "program.hh"

#include <cerrno>
#include <csignal>
#include <ctime>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

using namespace krg::cr;

namespace {

constexpr double seconds = 2;
constexpr timespec interval = {static_cast<time_t>(seconds), 0};

struct Ended {
    long result;
    int error;
    double took;
};

/// A thread in `call` when the operation comes; `after` it, `wake` is called. What is disturbed: a signal interrupts the call.
Ended asleep(const Run& run, const std::function<long()>& call, const std::function<void()>& wake = {}) {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    must(sigaction(SIGUSR2, &action, nullptr), "sigaction");
    Ended ended{};
    std::thread sleeper([&] {
        const double start = clock_s(CLOCK_MONOTONIC);
        errno = 0;
        ended.result = call();
        ended.error = errno;
        ended.took = clock_s(CLOCK_MONOTONIC) - start;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    run.operation([&] { pthread_kill(sleeper.native_handle(), SIGUSR2); });
    if (wake) wake();
    sleeper.join();
    return ended;
}

/// It slept until its end: `result`, with `error`, not before the time.
void slept(const Ended& ended, long result, int error) {
    same("the result", result, ended.result);
    same("the error", error, ended.error);
    holds("all of the time", ended.took > seconds - 0.01);
}

}  // namespace

CR_PROGRAM(call_nanosleep, Needs::nothing, "a nanosleep goes on with the time that is left") {
    slept(asleep(run, [] { return nanosleep(&interval, nullptr); }), 0, 0);
}

CR_PROGRAM(call_clock_nanosleep, Needs::nothing, "a sleep until a point in time ends then") {
    timespec end{};
    must(clock_gettime(CLOCK_MONOTONIC, &end), "clock_gettime");
    end.tv_sec += interval.tv_sec;
    const Ended ended = asleep(run, [&] { return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr); });
    same("the result", 0, ended.result);
}

CR_PROGRAM(call_futex, Needs::nothing, "a futex wait with a limit goes on with the time that is left") {
    static int word = 0;
    slept(asleep(run, [] { return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &interval, nullptr, 0); }), -1, ETIMEDOUT);
}

CR_PROGRAM(call_futex_wake, Needs::nothing, "a futex wait without a limit is woken") {
    static int word = 0;
    const Ended ended = asleep(
        run, [] { return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0); },
        [] {
            for (int tries = 0; tries < 100; tries++) {
                if (syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0) == 1) return;
                std::this_thread::sleep_for(std::chrono::milliseconds(10));
            }
        });
    same("the result", 0, ended.result);
}

CR_PROGRAM(call_poll, Needs::nothing, "a poll with a limit goes on with the time that is left") {
    int ends[2];
    must(pipe(ends), "pipe");
    pollfd wanted = {ends[0], POLLIN, 0};
    slept(asleep(run, [&] { return poll(&wanted, 1, static_cast<int>(seconds * 1000)); }), 0, 0);
}

CR_PROGRAM(call_read, Needs::nothing, "a read from an empty pipe gets what is written later") {
    int ends[2];
    must(pipe(ends), "pipe");
    char got = 0;
    const Ended ended = asleep(
        run, [&] { return read(ends[0], &got, 1); }, [&] { must(write(ends[1], "x", 1), "write"); });
    same("the result", 1, ended.result);
    same("what was read", 'x', got);
}

CR_PROGRAM(call_epoll_wait, Needs::nothing, "an epoll_wait without a limit gets an event that comes later") {
    int ends[2];
    must(pipe(ends), "pipe");
    const int set = static_cast<int>(must(epoll_create1(0), "epoll_create1"));
    epoll_event event = {EPOLLIN, {}};
    must(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event), "epoll_ctl");
    const Ended ended = asleep(
        run, [&] { return epoll_wait(set, &event, 1, -1); }, [&] { must(write(ends[1], "x", 1), "write"); });
    same("the result", 1, ended.result);
    same("the error", 0, ended.error);
}

CR_PROGRAM(call_sigtimedwait, Needs::nothing, "a sigwaitinfo without a limit gets a signal that comes later") {
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR1);
    must(pthread_sigmask(SIG_BLOCK, &wanted, nullptr), "pthread_sigmask");
    const Ended ended = asleep(
        run, [&] { return sigwaitinfo(&wanted, nullptr); }, [] { kill(getpid(), SIGUSR1); });
    same("the result", static_cast<long>(SIGUSR1), ended.result);
}
