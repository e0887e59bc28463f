// SPDX-License-Identifier: GPL-2.0
//
// libkrg-fail-send.so, preloaded into krgadm by test_allocfail: while a netlink request of this thread is carried out, its
// allocations may fail (/proc/thread-self/make-it-fail). Starting the program and reading answers go undisturbed.
#include <cerrno>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

void mark(const char* value) {
    const int fd = open("/proc/thread-self/make-it-fail", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    (void)!write(fd, value, 1);
    close(fd);
}

bool is_netlink(int fd) {
    int domain = 0;
    socklen_t size = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_NETLINK;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) ssize_t sendmsg(int fd, const msghdr* message, int flags) {
    using Function = ssize_t (*)(int, const msghdr*, int);
    static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "sendmsg"));
    if (!is_netlink(fd)) return real(fd, message, flags);
    mark("1");
    const ssize_t sent = real(fd, message, flags);
    const int error = errno;
    mark("0");
    errno = error;
    return sent;
}
