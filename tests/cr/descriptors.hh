// SPDX-License-Identifier: GPL-2.0
//
// Small steps that programs about descriptors share. What they show is in their own files.
#pragma once

#include "program.hh"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace krg::cr {

inline int made(const std::string& name, int flags = 0, const std::string& text = "0123456789") {
    const int fd = static_cast<int>(must(open(name.c_str(), O_RDWR | O_CREAT | flags, 0644), "open"));
    must(write(fd, text.data(), text.size()), "write");
    return fd;
}

/// What does not come is a failure, not a long wait.
inline void await(int fd) {
    constexpr int patience_ms = 10000;
    pollfd waits{fd, POLLIN, 0};
    if (must(poll(&waits, 1, patience_ms), "poll") == 0) fail("nothing came in time");
}

inline std::string take(int fd, size_t most = 100) {
    await(fd);
    std::string text(most, 0);
    text.resize(static_cast<size_t>(must(read(fd, text.data(), most), "read")));
    return text;
}

inline void put(int fd, const std::string& text) {
    same("bytes written", text.size(), static_cast<size_t>(must(write(fd, text.data(), text.size()), "write")));
}

struct Pair {
    int in = -1, out = -1;
};

inline Pair pipe_with(int flags = O_CLOEXEC) {
    int fds[2];
    must(pipe2(fds, flags), "pipe2");
    return {fds[0], fds[1]};
}

inline Pair unix_pair(int type) {
    int fds[2];
    must(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), "socketpair");
    return {fds[0], fds[1]};
}

inline sockaddr_in loopback() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

inline int accepted(int listener) {
    await(listener);
    return static_cast<int>(must(accept(listener, nullptr, nullptr), "accept"));
}

/// By another process: POSIX locks do not exclude their owner.
inline bool lock_is_taken(const std::string& name, bool bsd, short mode = F_WRLCK, off_t start = 0, off_t length = 0) {
    const pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    if (child == 0) {
        const int fd = open(name.c_str(), O_RDWR | O_CLOEXEC);
        struct flock lock {};
        lock.l_type = mode;
        lock.l_start = start;
        lock.l_len = length;
        _exit((bsd ? flock(fd, (mode == F_WRLCK ? LOCK_EX : LOCK_SH) | LOCK_NB) : fcntl(fd, F_SETLK, &lock)) == 0 ? 0 : 1);
    }
    int status = 0;
    must(waitpid(child, &status, 0), "waitpid");
    return status != 0;
}

}  // namespace krg::cr
