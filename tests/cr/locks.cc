// SPDX-License-Identifier: GPL-2.0
//
// Programs with locks, leases and owners of files.
#include "descriptors.hh"

#include <csignal>

namespace krg::cr {

namespace {

struct flock range_of(short mode, off_t start, off_t length) {
    struct flock lock {};
    lock.l_type = mode;
    lock.l_start = start;
    lock.l_len = length;
    return lock;
}

}  // namespace

CR_PROGRAM(lock_posix, Needs::file, "a POSIX lock on a range stays") {
    const int fd = made(run.filename);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    must(fcntl(fd, F_SETLK, &lock), "F_SETLK");
    run.operation([&] {
        lock.l_type = F_UNLCK;
        must(fcntl(fd, F_SETLK, &lock), "F_SETLK");
    });
    holds("the lock", lock_is_taken(run.filename, false));
}

CR_PROGRAM(lock_ofd, Needs::file, "a lock of an open file description stays") {
    const int fd = made(run.filename);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    must(fcntl(fd, F_OFD_SETLK, &lock), "F_OFD_SETLK");
    run.operation([&] {
        lock.l_type = F_UNLCK;
        must(fcntl(fd, F_OFD_SETLK, &lock), "F_OFD_SETLK");
    });
    holds("the lock", lock_is_taken(run.filename, false));
}

CR_PROGRAM(lock_flock, Needs::file, "a flock stays") {
    const int fd = made(run.filename);
    must(flock(fd, LOCK_EX), "flock");
    run.operation([&] { must(flock(fd, LOCK_UN), "flock"); });
    holds("the lock", lock_is_taken(run.filename, true));
}

CR_PROGRAM(lock_posix_ranges, Needs::file, "a shared and an exclusive POSIX lock on parts of a file stay where they are") {
    const int fd = made(run.filename, 0, std::string(100, 'x'));
    struct flock shared = range_of(F_RDLCK, 10, 10), exclusive = range_of(F_WRLCK, 50, 0);
    must(fcntl(fd, F_SETLK, &shared), "F_SETLK");
    must(fcntl(fd, F_SETLK, &exclusive), "F_SETLK");
    run.operation([&] {
        shared.l_type = F_WRLCK;
        must(fcntl(fd, F_SETLK, &shared), "F_SETLK");
    });
    holds("nothing before", !lock_is_taken(run.filename, false, F_WRLCK, 0, 10));
    holds("readers of the shared part", !lock_is_taken(run.filename, false, F_RDLCK, 10, 10));
    holds("no writer of the shared part", lock_is_taken(run.filename, false, F_WRLCK, 19, 1));
    holds("nothing between", !lock_is_taken(run.filename, false, F_WRLCK, 20, 30));
    holds("no reader far behind", lock_is_taken(run.filename, false, F_RDLCK, 100000, 1));
}

CR_PROGRAM(lock_posix_child, Needs::file, "a child that is not its owner does not get a POSIX lock of its parent") {
    const int fd = made(run.filename);
    struct flock lock = range_of(F_WRLCK, 0, 0);
    must(fcntl(fd, F_SETLK, &lock), "F_SETLK");
    const pid_t child = spawn([] {},
                              [&] {
                                  struct flock other = range_of(F_WRLCK, 0, 0);
                                  must(fcntl(fd, F_GETLK, &other), "F_GETLK");
                                  same("what the child finds", F_WRLCK, other.l_type);
                                  same("whose it is", getppid(), other.l_pid);
                              });
    run.operation([&] {
        lock.l_type = F_UNLCK;
        must(fcntl(fd, F_SETLK, &lock), "F_SETLK");
    });
    finish(child);
    holds("the lock", lock_is_taken(run.filename, false));
}

CR_PROGRAM(lock_flock_shared, Needs::file, "a shared flock lets readers in and keeps writers out") {
    const int fd = made(run.filename);
    must(flock(fd, LOCK_SH), "flock");
    run.operation([&] { must(flock(fd, LOCK_EX), "flock"); });
    holds("a reader may have it", !lock_is_taken(run.filename, true, F_RDLCK));
    holds("a writer may not", lock_is_taken(run.filename, true));
}

CR_PROGRAM(lock_flock_child, Needs::file, "a flock that parent and child share is given back by either") {
    const int fd = made(run.filename);
    must(flock(fd, LOCK_EX), "flock");
    const pid_t child = spawn([] {}, [&] { must(flock(fd, LOCK_UN), "flock"); });
    run.operation([&] { must(flock(fd, LOCK_UN), "flock"); });
    holds("the lock", lock_is_taken(run.filename, true));
    finish(child);
    holds("no lock any more", !lock_is_taken(run.filename, true));
}

CR_PROGRAM(lock_ofd_two, Needs::file, "locks of two open file descriptions of one process exclude each other") {
    const int one = made(run.filename), two = static_cast<int>(must(open(run.filename.c_str(), O_RDWR), "open"));
    struct flock first = range_of(F_WRLCK, 0, 5), second = range_of(F_WRLCK, 5, 5);
    must(fcntl(one, F_OFD_SETLK, &first), "F_OFD_SETLK");
    must(fcntl(two, F_OFD_SETLK, &second), "F_OFD_SETLK");
    run.operation([&] {
        second.l_type = F_UNLCK;
        must(fcntl(two, F_OFD_SETLK, &second), "F_OFD_SETLK");
    });
    first = range_of(F_WRLCK, 0, 0);
    same("all of it by the one", -1, fcntl(one, F_OFD_SETLK, &first));
    first = range_of(F_WRLCK, 0, 0);
    same("all of it by the other", -1, fcntl(two, F_OFD_SETLK, &first));
    first = range_of(F_WRLCK, 0, 5);
    must(fcntl(one, F_OFD_SETLK, &first), "its own part again");
}

CR_PROGRAM(lock_local, Needs::nothing, "locks of all three kinds on a local file stay") {
    const int fd = static_cast<int>(must(open("/tmp", O_RDWR | O_TMPFILE, 0600), "open"));
    const std::string name = "/proc/self/fd/" + std::to_string(fd);
    struct flock posix = range_of(F_WRLCK, 0, 10), description = range_of(F_WRLCK, 20, 10);
    must(fcntl(fd, F_SETLK, &posix), "F_SETLK");
    must(fcntl(fd, F_OFD_SETLK, &description), "F_OFD_SETLK");
    must(flock(fd, LOCK_EX), "flock");
    run.operation([&] {
        posix.l_type = F_UNLCK;
        must(fcntl(fd, F_SETLK, &posix), "F_SETLK");
    });
    holds("the POSIX lock", lock_is_taken(name, false, F_WRLCK, 0, 10));
    holds("nothing between", !lock_is_taken(name, false, F_WRLCK, 10, 10));
    holds("the description's lock", lock_is_taken(name, false, F_WRLCK, 20, 10));
    holds("the flock", lock_is_taken(name, true));
}

CR_PROGRAM(lease_read, Needs::file, "a read lease stays, and is broken with the signal that was asked for") {
    close(made(run.filename));
    const int fd = static_cast<int>(must(open(run.filename.c_str(), O_RDONLY), "open"));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    must(fcntl(fd, F_SETSIG, SIGUSR2), "F_SETSIG");
    if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0) skip(run, "this file system has no leases");
    run.operation([&] { must(fcntl(fd, F_SETLEASE, F_UNLCK), "F_SETLEASE"); });
    same("F_GETLEASE", F_RDLCK, fcntl(fd, F_GETLEASE));
    same("opening it to write", -1, open(run.filename.c_str(), O_WRONLY | O_NONBLOCK));
    siginfo_t info{};
    const timespec patience{2, 0};
    same("the signal", SIGUSR2, sigtimedwait(&set, &info, &patience));
    same("its descriptor", fd, info.si_fd);
}

CR_PROGRAM(lease_write, Needs::file, "a write lease stays") {
    const int fd = made(run.filename);
    if (fcntl(fd, F_SETLEASE, F_WRLCK) != 0) skip(run, "this file system has no leases");
    run.operation([&] { must(fcntl(fd, F_SETLEASE, F_UNLCK), "F_SETLEASE"); });
    same("F_GETLEASE", F_WRLCK, fcntl(fd, F_GETLEASE));
    must(fcntl(fd, F_SETLEASE, F_UNLCK), "F_SETLEASE");
}

CR_PROGRAM(file_owner, Needs::nothing, "F_SETOWN and F_SETSIG of a descriptor stay") {
    const Pair p = pipe_with();
    must(fcntl(p.in, F_SETOWN, getpid()), "F_SETOWN");
    must(fcntl(p.in, F_SETSIG, SIGUSR2), "F_SETSIG");
    run.operation([&] { must(fcntl(p.in, F_SETOWN, 0), "F_SETOWN"); });
    same("F_GETOWN", getpid(), fcntl(p.in, F_GETOWN));
    same("F_GETSIG", SIGUSR2, fcntl(p.in, F_GETSIG));
}

CR_PROGRAM(file_owner_group, Needs::nothing, "a process group as owner of a descriptor stays, and gets the signal") {
    const Pair p = unix_pair(SOCK_STREAM);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    must(fcntl(p.in, F_SETOWN, -getpgrp()), "F_SETOWN");
    must(fcntl(p.in, F_SETSIG, SIGRTMIN), "F_SETSIG");
    must(fcntl(p.in, F_SETFL, O_ASYNC | O_NONBLOCK), "F_SETFL");
    run.operation([&] { must(fcntl(p.in, F_SETOWN, 0), "F_SETOWN"); });
    same("F_GETOWN", -getpgrp(), fcntl(p.in, F_GETOWN));
    put(p.out, "x");
    siginfo_t info{};
    const timespec patience{2, 0};
    same("the signal", SIGRTMIN, sigtimedwait(&set, &info, &patience));
    same("its descriptor", p.in, info.si_fd);
}

}  // namespace krg::cr
