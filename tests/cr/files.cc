// SPDX-License-Identifier: GPL-2.0
//
// Programs whose state is in descriptors: regular files, pipes, event descriptors.
#include "descriptors.hh"

#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace krg::cr {

CR_PROGRAM(file_offset, Needs::file, "the offset of a file stays") {
    const int fd = made(run.filename);
    must(lseek(fd, 4, SEEK_SET), "lseek");
    run.operation([&] { must(lseek(fd, 5, SEEK_SET), "lseek"); });
    same("what is read next", std::string("456789"), take(fd));
}

CR_PROGRAM(file_flags, Needs::file, "O_APPEND, O_NONBLOCK and O_NOATIME of a file stay") {
    const int fd = made(run.filename, O_APPEND | O_NONBLOCK | O_NOATIME);
    const int before = fcntl(fd, F_GETFL);
    run.operation([&] { must(fcntl(fd, F_SETFL, 0), "F_SETFL"); });
    same("flags", before, fcntl(fd, F_GETFL));
    must(lseek(fd, 0, SEEK_SET), "lseek");
    put(fd, "ab");
    same("size after appending", 12, lseek(fd, 0, SEEK_END));
}

CR_PROGRAM(file_access_mode, Needs::file, "a read only and a write only descriptor of one file stay so") {
    close(made(run.filename));
    const int in = static_cast<int>(must(open(run.filename.c_str(), O_RDONLY), "open"));
    const int out = static_cast<int>(must(open(run.filename.c_str(), O_WRONLY), "open"));
    run.operation([&] { must(dup2(out, in), "dup2"); });
    same("writing to the one", -1, write(in, "x", 1));
    char byte = 0;
    same("reading from the other", -1, read(out, &byte, 1));
    put(out, "A");
    same("what is read", std::string("A12"), take(in, 3));
}

CR_PROGRAM(file_unlinked, Needs::file, "a file that has no name any more keeps its bytes and can be written") {
    const int fd = made(run.filename);
    must(unlink(run.filename.c_str()), "unlink");
    run.operation([&] { must(ftruncate(fd, 3), "ftruncate"); });
    put(fd, "abc");
    must(lseek(fd, 0, SEEK_SET), "lseek");
    same("its bytes", std::string("0123456789abc"), take(fd));
    same("its name", -1, access(run.filename.c_str(), F_OK));
}

CR_PROGRAM(file_directory, Needs::directory, "an open directory goes on being read where it was, and opens what is in it") {
    close(made(run.directory + "/name"));
    const int fd = static_cast<int>(must(open(run.directory.c_str(), O_RDONLY | O_DIRECTORY), "open"));
    run.operation([&] { must(close(fd), "close"); });
    const int file = static_cast<int>(must(openat(fd, "name", O_RDONLY), "openat"));
    same("its bytes", std::string("0123456789"), take(file));
}

CR_PROGRAM(file_offset_dup, Needs::file, "two descriptors of one open file share its offset") {
    const int fd = made(run.filename), other = static_cast<int>(must(dup(fd), "dup"));
    run.operation([&] { must(dup2(static_cast<int>(must(open(run.filename.c_str(), O_RDWR), "open")), other), "dup2"); });
    must(lseek(fd, 7, SEEK_SET), "lseek");
    same("the offset by the other", 7, lseek(other, 0, SEEK_CUR));
}

CR_PROGRAM(file_offset_child, Needs::file, "parent and child share the offset of an open file") {
    const int fd = made(run.filename);
    const pid_t child = spawn([] {}, [&] { must(lseek(fd, 3, SEEK_SET), "lseek"); });
    run.operation([&] { must(dup2(static_cast<int>(must(open(run.filename.c_str(), O_RDWR), "open")), fd), "dup2"); });
    must(lseek(fd, 9, SEEK_SET), "lseek");
    finish(child);
    same("the offset the child set", 3, lseek(fd, 0, SEEK_CUR));
}

CR_PROGRAM(file_cloexec, Needs::file, "close on exec stays, and stays off") {
    const int on = made(run.filename, O_CLOEXEC), off = static_cast<int>(must(dup(on), "dup"));
    run.operation([&] { must(fcntl(off, F_SETFD, FD_CLOEXEC), "F_SETFD"); });
    same("on", FD_CLOEXEC, fcntl(on, F_GETFD));
    same("off", 0, fcntl(off, F_GETFD));
}

CR_PROGRAM(file_high_number, Needs::file, "a descriptor with a high number, and none in between") {
    const int fd = static_cast<int>(must(fcntl(made(run.filename), F_DUPFD, 900), "F_DUPFD"));
    run.operation([&] { must(dup2(fd, 500), "dup2"); });
    same("its offset", 10, lseek(900, 0, SEEK_CUR));
    same("a number not in use", -1, fcntl(500, F_GETFD));
}

CR_PROGRAM(pipe_content, Needs::nothing, "what is in a pipe stays, in its order") {
    const Pair p = pipe_with();
    put(p.out, "first");
    put(p.out, "second");
    run.operation([&] { take(p.in, 1); });
    same("content", std::string("firstsecond"), take(p.in));
    put(p.out, "x");
    same("content later", std::string("x"), take(p.in));
}

CR_PROGRAM(pipe_full, Needs::nothing, "a full pipe of another size keeps both and takes no more") {
    const Pair p = pipe_with(O_NONBLOCK | O_CLOEXEC);
    const int size = static_cast<int>(must(fcntl(p.out, F_SETPIPE_SZ, 16384), "F_SETPIPE_SZ"));
    std::string all(static_cast<size_t>(size), 0);
    fill(all.data(), all.size(), 20);
    put(p.out, all);
    run.operation([&] { take(p.in, 8192); });
    same("its size", size, fcntl(p.out, F_GETPIPE_SZ));
    same("one byte more", -1, write(p.out, "x", 1));
    const std::string found = take(p.in, all.size());
    same("bytes in it", all.size(), found.size());
    verify("bytes in it", found.data(), found.size(), 20);
}

CR_PROGRAM(pipe_child, Needs::nothing, "a pipe from a child with content in it works on, and ends with the child") {
    const Pair p = pipe_with();
    const pid_t child = spawn([&] { put(p.out, "before "); }, [&] { put(p.out, "after"); });
    close(p.out);
    run.operation([&] { take(p.in, 1); });
    finish(child);
    same("content", std::string("before after"), take(p.in));
    same("its end", std::string(), take(p.in));
}

CR_PROGRAM(pipe_packets, Needs::nothing, "a pipe in packet mode keeps the borders of packets") {
    const Pair p = pipe_with(O_DIRECT);
    put(p.out, "one");
    put(p.out, "two");
    run.operation([&] { take(p.in); });
    same("first packet", std::string("one"), take(p.in));
    same("second packet", std::string("two"), take(p.in));
}

CR_PROGRAM(fifo_content, Needs::file, "what is in a named fifo stays") {
    must(mkfifo(run.filename.c_str(), 0600), "mkfifo");
    const int fd = static_cast<int>(must(open(run.filename.c_str(), O_RDWR), "open"));
    put(fd, "in a fifo");
    run.operation([&] { take(fd, 1); });
    same("content", std::string("in a fifo"), take(fd));
}

CR_PROGRAM(eventfd_count, Needs::nothing, "the count of an eventfd in semaphore mode stays") {
    const int fd = static_cast<int>(must(eventfd(5, EFD_SEMAPHORE | EFD_NONBLOCK), "eventfd"));
    eventfd_t value = 0;
    run.operation([&] { must(eventfd_read(fd, &value), "eventfd_read"); });
    for (int i = 0; i < 5; ++i) same("a unit", 0, eventfd_read(fd, &value));
    same("one more", -1, eventfd_read(fd, &value));
}

CR_PROGRAM(epoll_nested, Needs::nothing, "an epoll in an epoll with an event pending reports it with its data") {
    const Pair p = pipe_with();
    const int inner = static_cast<int>(must(epoll_create1(0), "epoll_create1")),
              outer = static_cast<int>(must(epoll_create1(0), "epoll_create1"));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = 0x1234567890ull;
    must(epoll_ctl(inner, EPOLL_CTL_ADD, p.in, &event), "epoll_ctl");
    event.data.u64 = 42;
    must(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event), "epoll_ctl");
    put(p.out, "x");
    run.operation([&] { must(epoll_ctl(inner, EPOLL_CTL_DEL, p.in, nullptr), "epoll_ctl"); });
    same("events of the outer", 1, epoll_wait(outer, &event, 1, 1000));
    same("its data", 42u, static_cast<unsigned long>(event.data.u64));
    same("events of the inner", 1, epoll_wait(inner, &event, 1, 1000));
    same("its data", 0x1234567890ul, static_cast<unsigned long>(event.data.u64));
}

CR_PROGRAM(epoll_edge, Needs::nothing, "an edge that was reported is not reported again, a new one is") {
    const int source = static_cast<int>(must(eventfd(1, 0), "eventfd")),
              fd = static_cast<int>(must(epoll_create1(0), "epoll_create1"));
    epoll_event event{};
    event.events = EPOLLIN | EPOLLONESHOT;
    must(epoll_ctl(fd, EPOLL_CTL_ADD, source, &event), "epoll_ctl");
    same("the first event", 1, epoll_wait(fd, &event, 1, 1000));
    run.operation([&] { must(epoll_ctl(fd, EPOLL_CTL_MOD, source, &event), "epoll_ctl"); });
    same("a one shot that is used", 0, epoll_wait(fd, &event, 1, 50));
    must(epoll_ctl(fd, EPOLL_CTL_MOD, source, &event), "epoll_ctl");
    same("armed again", 1, epoll_wait(fd, &event, 1, 1000));
}

CR_PROGRAM(timerfd_armed, Needs::nothing, "a timerfd keeps its interval, and what remains only grows less") {
    const int fd = static_cast<int>(must(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), "timerfd_create"));
    itimerspec set{{7, 0}, {5000, 0}}, now{};
    must(timerfd_settime(fd, 0, &set, nullptr), "timerfd_settime");
    run.operation([&] { must(timerfd_settime(fd, 0, &now, nullptr), "timerfd_settime"); });
    must(timerfd_gettime(fd, &now), "timerfd_gettime");
    same("interval", 7, now.it_interval.tv_sec);
    within("seconds that remain", 3000L, 5000L, static_cast<long>(now.it_value.tv_sec));
}

CR_PROGRAM(signalfd_pending, Needs::nothing, "a signalfd gives a signal that was pending, with its sender") {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    const int fd = static_cast<int>(must(signalfd(-1, &set, SFD_NONBLOCK), "signalfd"));
    must(kill(getpid(), SIGUSR1), "kill");
    signalfd_siginfo info{};
    run.operation([&] { must(read(fd, &info, sizeof(info)), "read"); });
    same("a whole record", static_cast<ssize_t>(sizeof(info)), read(fd, &info, sizeof(info)));
    same("signal", static_cast<unsigned>(SIGUSR1), info.ssi_signo);
    same("sender", static_cast<unsigned>(getpid()), info.ssi_pid);
}

CR_PROGRAM(inotify_watch, Needs::directory, "an inotify watch stays, with its number") {
    const int fd = static_cast<int>(must(inotify_init1(IN_NONBLOCK), "inotify_init1"));
    const int watch = static_cast<int>(must(inotify_add_watch(fd, run.directory.c_str(), IN_CREATE), "inotify_add_watch"));
    run.operation([&] { must(inotify_rm_watch(fd, watch), "inotify_rm_watch"); });
    close(made(run.directory + "/new"));
    alignas(inotify_event) char buffer[4096];
    ssize_t got = 0;
    got = must(read(fd, buffer, sizeof(buffer)), "read");
    const auto* event = reinterpret_cast<const inotify_event*>(buffer);
    holds("an event", got > 0);
    same("watch", watch, event->wd);
    same("mask", static_cast<unsigned>(IN_CREATE), event->mask);
    same("name", std::string("new"), std::string(event->name));
}

CR_PROGRAM(inotify_watches, Needs::directory, "several watches, of a folder and of files, with numbers that are not in a row") {
    const std::string one = run.directory + "/one", two = run.directory + "/two";
    close(made(one));
    close(made(two));
    const int fd = static_cast<int>(must(inotify_init1(IN_NONBLOCK), "inotify_init1"));
    const int first = static_cast<int>(must(inotify_add_watch(fd, one.c_str(), IN_ATTRIB), "inotify_add_watch"));
    const int folder = static_cast<int>(must(inotify_add_watch(fd, run.directory.c_str(), IN_DELETE), "inotify_add_watch"));
    must(inotify_rm_watch(fd, first), "inotify_rm_watch");
    const int again = static_cast<int>(must(inotify_add_watch(fd, two.c_str(), IN_MODIFY | IN_ONESHOT), "inotify_add_watch"));
    alignas(inotify_event) char buffer[4096];
    must(read(fd, buffer, sizeof(buffer)), "read of IN_IGNORED");
    run.operation([&] { must(inotify_rm_watch(fd, again), "inotify_rm_watch"); });
    must(truncate(two.c_str(), 100), "truncate");
    must(unlink(one.c_str()), "unlink");
    const ssize_t got = must(read(fd, buffer, sizeof(buffer)), "read");
    std::vector<std::pair<int, unsigned>> seen;
    for (ssize_t at = 0; at < got;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
        seen.emplace_back(event->wd, event->mask);
        at += static_cast<ssize_t>(sizeof(*event) + event->len);
    }
    const std::vector<std::pair<int, unsigned>> wanted{{again, IN_MODIFY}, {again, IN_IGNORED}, {folder, IN_DELETE}};
    holds("the events of both, and that one was for one event only", seen == wanted);
    same("the next number", again + 1, inotify_add_watch(fd, two.c_str(), IN_MODIFY));
}

CR_PROGRAM(file_direct, Needs::file, "a file that is open for direct input and output stays so, with its offset") {
    constexpr size_t block = 4096;
    const int fd = open(run.filename.c_str(), O_RDWR | O_CREAT | O_DIRECT, 0600);
    if (fd < 0 && errno == EINVAL) skip(run, "the file system has no O_DIRECT");
    must(fd, "open");
    void* bytes = std::aligned_alloc(block, 2 * block);
    fill(bytes, 2 * block, 3);
    same("written", static_cast<ssize_t>(2 * block), write(fd, bytes, 2 * block));
    must(lseek(fd, block, SEEK_SET), "lseek");
    run.operation([&] { must(fcntl(fd, F_SETFL, 0), "F_SETFL"); });
    holds("O_DIRECT", fcntl(fd, F_GETFL) & O_DIRECT);
    same("offset", static_cast<off_t>(block), lseek(fd, 0, SEEK_CUR));
    must(lseek(fd, 0, SEEK_SET), "lseek");
    same("read", static_cast<ssize_t>(2 * block), read(fd, bytes, 2 * block));
    verify("contents", bytes, 2 * block, 3);
    std::free(bytes);
}

}  // namespace krg::cr
