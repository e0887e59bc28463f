// SPDX-License-Identifier: GPL-2.0
//
// Programs whose state is what the kernel lets them call: seccomp filters and strict mode.
#include "program.hh"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace krg::cr {

namespace {

/// From now on @call fails with @error.
long forbid(long call, int error, unsigned flags) {
    std::array<sock_filter, 4> code{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

int error_of(long call) {
    errno = 0;
    return syscall(call, -1, -1, -1) == -1 ? errno : 0;
}

void give_up_privileges() { must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS"); }

}  // namespace

CR_PROGRAM(seccomp_filter, Needs::nothing, "a filter stays, and is asked") {
    give_up_privileges();
    must(forbid(SYS_mincore, 77, 0), "seccomp");
    run.operation([] { must(forbid(SYS_mincore, 78, 0), "seccomp"); });
    same("what the filter says", 77, error_of(SYS_mincore));
    same("mode", std::string("2"), status_field("Seccomp"));
    same("filters", std::string("1"), status_field("Seccomp_filters"));
}

CR_PROGRAM(seccomp_filters, Needs::nothing, "several filters stay in their order; the first one forbids to add any") {
    give_up_privileges();
    must(forbid(SYS_mincore, 71, 0), "seccomp");
    must(forbid(SYS_mincore, 72, SECCOMP_FILTER_FLAG_LOG), "seccomp");
    must(forbid(SYS_ioctl, 73, 0), "seccomp");
    must(forbid(SYS_seccomp, 74, 0), "seccomp");
    run.operation();
    same("what the last one says of a call", 72, error_of(SYS_mincore));
    same("what another says", 73, error_of(SYS_ioctl));
    same("nobody adds one", 74, error_of(SYS_seccomp));
    same("filters", std::string("4"), status_field("Seccomp_filters"));
}

CR_PROGRAM(seccomp_privileged, Needs::nothing, "a filter that root has set without no_new_privs stays, without it") {
    must(forbid(SYS_mincore, 75, 0), "seccomp");
    run.operation([] { must(forbid(SYS_mincore, 76, 0), "seccomp"); });
    same("what the filter says", 75, error_of(SYS_mincore));
    same("no_new_privs", 0, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

CR_PROGRAM(seccomp_threads, Needs::nothing, "a filter is all threads', one has another; a third for all is possible") {
    static std::atomic<int> ready{0}, go{0};
    give_up_privileges();
    const auto body = [](int own) {
        if (own) must(forbid(SYS_msync, own, 0), "seccomp");
        ++ready;
        while (go == 0) usleep(20000);
        same("the common filter", 81, error_of(SYS_mincore));
        holds("its own", own ? error_of(SYS_msync) == own : error_of(SYS_msync) != 82);
        ++ready;
        while (go == 1) usleep(20000);
        if (!own) same("the later one", 83, error_of(SYS_mlock));
    };
    std::thread plain([&] { body(0); });
    while (ready < 1) usleep(1000);
    must(forbid(SYS_mincore, 81, SECCOMP_FILTER_FLAG_TSYNC), "seccomp");
    run.operation([] { must(forbid(SYS_mincore, 84, 0), "seccomp"); });
    same("a filter for all", 0L, forbid(SYS_mlock, 83, SECCOMP_FILTER_FLAG_TSYNC));
    same("the common filter", 81, error_of(SYS_mincore));
    std::thread special([&] { body(82); });
    while (ready < 2) usleep(1000);
    go = 1;
    while (ready < 4) usleep(1000);
    go = 2;
    plain.join();
    special.join();
}

CR_PROGRAM(seccomp_strict, Needs::nothing, "a child in strict mode goes on with its read, and may do no more than that") {
    int to[2] = {}, from[2] = {};
    must(pipe(to), "pipe");
    must(pipe(from), "pipe");
    const auto start = [&](bool obeys) {
        const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
        if (child != 0) return child;
        must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), "PR_SET_SECCOMP");
        char byte = 0;
        if (read(to[0], &byte, 1) == 1 && obeys && byte == 'a') (void)!write(from[1], "b", 1);
        if (!obeys) syscall(SYS_getppid);
        syscall(SYS_exit, 13);
        return child;
    };
    const pid_t good = start(true);
    must(close(from[1]), "close");  // if it dies without an answer, the read below ends
    while (status_field("Seccomp", good) != "1") usleep(1000);
    run.operation([&] { must(kill(good, SIGKILL), "kill"); });
    same("mode", std::string("1"), status_field("Seccomp", good));
    must(write(to[1], "a", 1), "write");
    char byte = 0;
    must(read(from[0], &byte, 1), "read");
    same("its answer", 'b', byte);
    int status = 0;
    must(waitpid(good, &status, 0), "waitpid");
    same("its status", 13, WEXITSTATUS(status));
    const pid_t bad = start(false);
    must(write(to[1], "a", 1), "write");
    must(waitpid(bad, &status, 0), "waitpid");
    same("what ends another that calls more", SIGKILL, WTERMSIG(status));
}

}  // namespace krg::cr
