// SPDX-License-Identifier: GPL-2.0
//
// Programs whose state is in descriptors: regular files, pipes, sockets, event descriptors, locks.
#include "program.hh"

#include <arpa/inet.h>
#include <csignal>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::cr {

namespace {

int made(const std::string& name, int flags = 0, const std::string& text = "0123456789") {
    const int fd = static_cast<int>(must(open(name.c_str(), O_RDWR | O_CREAT | flags, 0644), "open"));
    must(write(fd, text.data(), text.size()), "write");
    return fd;
}

std::string take(int fd, size_t most = 100) {
    std::string text(most, 0);
    text.resize(static_cast<size_t>(must(read(fd, text.data(), most), "read")));
    return text;
}

void put(int fd, const std::string& text) {
    same("bytes written", text.size(), static_cast<size_t>(must(write(fd, text.data(), text.size()), "write")));
}

struct Pair {
    int in = -1, out = -1;
};

Pair pipe_with(int flags = O_CLOEXEC) {
    int fds[2];
    must(pipe2(fds, flags), "pipe2");
    return {fds[0], fds[1]};
}

Pair unix_pair(int type) {
    int fds[2];
    must(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), "socketpair");
    return {fds[0], fds[1]};
}

sockaddr_in loopback() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

bool lock_is_taken(const std::string& name, bool bsd) {
    const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    if (child == 0) {
        const int fd = open(name.c_str(), O_RDWR | O_CLOEXEC);
        struct flock lock {};
        lock.l_type = F_WRLCK;
        _exit((bsd ? flock(fd, LOCK_EX | LOCK_NB) : fcntl(fd, F_SETLK, &lock)) == 0 ? 0 : 1);
    }
    int status = 0;
    must(waitpid(child, &status, 0), "waitpid");
    return status != 0;
}

}  // namespace

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

CR_PROGRAM(file_owner, Needs::nothing, "F_SETOWN and F_SETSIG of a descriptor stay") {
    const Pair p = pipe_with();
    must(fcntl(p.in, F_SETOWN, getpid()), "F_SETOWN");
    must(fcntl(p.in, F_SETSIG, SIGUSR2), "F_SETSIG");
    run.operation([&] { must(fcntl(p.in, F_SETOWN, 0), "F_SETOWN"); });
    same("F_GETOWN", getpid(), fcntl(p.in, F_GETOWN));
    same("F_GETSIG", SIGUSR2, fcntl(p.in, F_GETSIG));
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

CR_PROGRAM(unix_stream, Needs::nothing, "a stream socket pair keeps what is queued in both directions") {
    const Pair p = unix_pair(SOCK_STREAM);
    put(p.in, "to out");
    put(p.out, "to in");
    run.operation([&] { take(p.in, 1); });
    same("one direction", std::string("to out"), take(p.out));
    same("the other", std::string("to in"), take(p.in));
}

CR_PROGRAM(unix_dgram, Needs::nothing, "a datagram socket pair keeps queued datagrams apart") {
    const Pair p = unix_pair(SOCK_DGRAM);
    put(p.in, "one");
    put(p.in, "three");
    run.operation([&] { take(p.out); });
    same("first", std::string("one"), take(p.out));
    same("second", std::string("three"), take(p.out));
}

CR_PROGRAM(unix_half_closed, Needs::nothing, "a socket shut down for writing stays so, what was sent before arrives") {
    const Pair p = unix_pair(SOCK_STREAM);
    put(p.in, "last");
    must(shutdown(p.in, SHUT_WR), "shutdown");
    run.operation([&] { take(p.out, 1); });
    same("what was sent", std::string("last"), take(p.out));
    same("then the end", std::string(), take(p.out));
    put(p.out, "back");
    same("the other direction", std::string("back"), take(p.in));
}

CR_PROGRAM(unix_passed_descriptor, Needs::nothing, "a descriptor under way in a unix socket arrives and works") {
    const Pair p = unix_pair(SOCK_STREAM), inner = pipe_with();
    put(inner.out, "passed");
    char byte = 'd';
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    iovec vector{&byte, 1};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    *reinterpret_cast<int*>(CMSG_DATA(header)) = inner.in;
    must(sendmsg(p.in, &message, 0), "sendmsg");
    close(inner.in);
    run.operation([&] { take(p.out, 1); });
    put(p.in, "x");  // so that a lost message is found, not waited for
    must(recvmsg(p.out, &message, 0), "recvmsg");
    header = CMSG_FIRSTHDR(&message);
    holds("a descriptor came", header != nullptr && header->cmsg_type == SCM_RIGHTS);
    same("what is in it", std::string("passed"), take(*reinterpret_cast<int*>(CMSG_DATA(header))));
}

CR_PROGRAM(unix_listening, Needs::directory, "a listening unix socket is still reached by its name") {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    must(chdir(run.directory.c_str()), "chdir");
    address.sun_path[0] = 's';
    const int fd = static_cast<int>(must(socket(AF_UNIX, SOCK_STREAM, 0), "socket"));
    const auto* to = reinterpret_cast<const sockaddr*>(&address);
    must(bind(fd, to, sizeof(address)), "bind");
    must(listen(fd, 3), "listen");
    run.operation([&] { must(shutdown(fd, SHUT_RDWR), "shutdown"); });
    const int client = static_cast<int>(must(socket(AF_UNIX, SOCK_STREAM, 0), "socket"));
    must(connect(client, to, sizeof(address)), "connect");
    put(client, "hello");
    same("what arrives", std::string("hello"), take(static_cast<int>(must(accept(fd, nullptr, nullptr), "accept"))));
}

CR_PROGRAM(udp_bound, Needs::nothing, "a bound udp socket keeps its port and its options") {
    sockaddr_in address = loopback();
    socklen_t length = sizeof(address);
    const int fd = static_cast<int>(must(socket(AF_INET, SOCK_DGRAM, 0), "socket"));
    must(bind(fd, reinterpret_cast<sockaddr*>(&address), length), "bind");
    must(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
    int on = 1, found = 0;
    must(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)), "setsockopt");
    run.operation([&] { must(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &found, sizeof(found)), "setsockopt"); });
    sockaddr_in now{};
    must(getsockname(fd, reinterpret_cast<sockaddr*>(&now), &length), "getsockname");
    same("port", address.sin_port, now.sin_port);
    socklen_t size = sizeof(found);
    must(getsockopt(fd, SOL_SOCKET, SO_BROADCAST, &found, &size), "getsockopt");
    same("SO_BROADCAST", 1, found);
}

CR_PROGRAM(tcp_listening, Needs::nothing, "a listening tcp socket keeps its port and can be connected to") {
    sockaddr_in address = loopback();
    socklen_t length = sizeof(address);
    const int fd = static_cast<int>(must(socket(AF_INET, SOCK_STREAM, 0), "socket"));
    must(bind(fd, reinterpret_cast<sockaddr*>(&address), length), "bind");
    must(listen(fd, 5), "listen");
    must(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
    run.operation([&] { must(shutdown(fd, SHUT_RDWR), "shutdown"); });
    const int client = static_cast<int>(must(socket(AF_INET, SOCK_STREAM, 0), "socket"));
    must(connect(client, reinterpret_cast<sockaddr*>(&address), length), "connect");
    put(client, "hello");
    same("what arrives", std::string("hello"), take(static_cast<int>(must(accept(fd, nullptr, nullptr), "accept"))));
}

}  // namespace krg::cr
