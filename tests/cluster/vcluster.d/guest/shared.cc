// SPDX-License-Identifier: GPL-2.0
//
// /shared in a guest: the kernel's FUSE client on one side, the server on the host on the other, and a process between them
// that carries messages and understands none of them but their length.
#include "parts.h"

#include "../agent_protocol.h"

#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace krg::vcluster::guest {

namespace {

constexpr size_t message_max_bytes = 1 << 20;  // the kernel refuses to be read with less than it may want to send

int connect_to_host() {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(shared_port);
    inet_pton(AF_INET, host_address, &address.sin_addr);
    for (int attempt = 0; attempt < 50; ++attempt) {
        if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
            int one = 1;
            setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
            return fd;
        }
        usleep(200'000);
    }
    close(fd);
    return -1;
}

/// Hands whole messages from the host to the kernel; false when either is gone.
bool carry_replies(int host, int device, std::string& received) {
    char buffer[65536];
    ssize_t got = recv(host, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (got <= 0) return false;
    received.append(buffer, static_cast<size_t>(got));
    size_t at = 0;
    while (received.size() - at >= sizeof(uint32_t)) {
        uint32_t size = 0;
        std::memcpy(&size, received.data() + at, sizeof size);
        if (size < sizeof size || size > message_max_bytes) return false;
        if (received.size() - at < size) break;
        // ENOENT: the request was given up meanwhile.
        if (write(device, received.data() + at, size) < 0 && errno != ENOENT && errno != EINTR) return false;
        at += size;
    }
    received.erase(0, at);
    return true;
}

/// Takes one request from the kernel; false when the file system was unmounted.
bool take_request(int device, std::string& to_send) {
    static char buffer[message_max_bytes];
    ssize_t got = read(device, buffer, sizeof buffer);
    if (got < 0) return errno == EAGAIN || errno == EINTR || errno == ENOENT;
    to_send.assign(buffer, static_cast<size_t>(got));
    return true;
}

// Replies are always taken, so neither side can block the other for ever.
[[noreturn]] void carry(int host, int device) {
    std::string received, to_send;
    for (;;) {
        pollfd waits[2] = {{host, static_cast<short>(to_send.empty() ? POLLIN : POLLIN | POLLOUT), 0},
                           {to_send.empty() ? device : -1, POLLIN, 0}};
        if (poll(waits, 2, -1) < 0 && errno != EINTR) break;
        if ((waits[0].revents & (POLLIN | POLLHUP | POLLERR)) && !carry_replies(host, device, received)) break;
        if (waits[1].revents && !take_request(device, to_send)) break;
        if (to_send.empty()) continue;
        ssize_t put = send(host, to_send.data(), to_send.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put < 0 && errno != EAGAIN && errno != EINTR) break;
        if (put > 0) to_send.erase(0, static_cast<size_t>(put));
    }
    _exit(1);  // the device is closed: every access to /shared fails, none hangs
}

}  // namespace

bool mount_shared() {
    int host = connect_to_host();
    if (host < 0) return false;
    make_dirs("/shared");  // is there already, unless the root is one writable layer
    int device = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    std::string options = "fd=" + std::to_string(device) +
                          ",rootmode=40777,user_id=0,group_id=0,allow_other,default_permissions,max_read=131072";
    if (device < 0 || mount("shared", "/shared", "fuse.vcluster", MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
        close(host);
        return false;
    }
    pid_t child = fork();
    if (child == 0) {
        setsid();
        prctl(PR_SET_NAME, "krg-shared");
        write_file("/proc/self/oom_score_adj", "-1000");
        for (int number : {SIGTERM, SIGHUP, SIGINT}) signal(number, SIG_IGN);  // "kill everything" must not take the files away
        carry(host, device);
    }
    close(device);
    close(host);
    return child > 0;
}

}  // namespace krg::vcluster::guest
