// SPDX-License-Identifier: GPL-2.0
// Internet sockets that can be had by asking for them: unconnected, bound, listening, and UDP with a peer. Established TCP
// connections are refused (check.cc).
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/lib/error.hh"
#include "tools/restart/files.hh"

namespace krg::restart {

namespace {

constexpr u64 listening = 1, connected = 2;

struct Option {
    u64 bit;
    int level, name;
};

constexpr Option options[] = {{2, SOL_SOCKET, SO_REUSEPORT},   {4, SOL_SOCKET, SO_KEEPALIVE},  {8, SOL_SOCKET, SO_BROADCAST},
                              {16, IPPROTO_IPV6, IPV6_V6ONLY}, {32, IPPROTO_TCP, TCP_NODELAY}, {64, IPPROTO_TCP, TCP_CORK},
                              {128, SOL_SOCKET, SO_OOBINLINE}};

void set(const Record& file, int fd, int level, int name, int value) {
    int now = 0;
    socklen_t length = sizeof(now);
    if (getsockopt(fd, level, name, &now, &length) == 0 && now == value) return;
    if (setsockopt(fd, level, name, &value, sizeof(value)) != 0)
        fail_file(file, fmt::format("cannot set option {} of level {}", name, level));
}

void set_options(const Record& file, int fd) {
    const u64 wanted = file.number(KRG_GHOST_FILE_INET_OPTIONS);
    for (const Option& option : options) {
        if (option.level == IPPROTO_IPV6 && file.number(KRG_GHOST_FILE_INET_FAMILY) != AF_INET6) continue;
        if (option.level == IPPROTO_TCP && file.number(KRG_GHOST_FILE_INET_TYPE) != SOCK_STREAM) continue;
        set(file, fd, option.level, option.name, (wanted & option.bit) != 0);
    }
    for (const auto& [field, name] :
         {std::pair{KRG_GHOST_FILE_INET_SEND_ROOM, SO_SNDBUF}, std::pair{KRG_GHOST_FILE_INET_RECEIVE_ROOM, SO_RCVBUF}}) {
        const int room = static_cast<int>(file.number(field));
        int now = 0;
        socklen_t length = sizeof(now);
        if (!room || (getsockopt(fd, SOL_SOCKET, name, &now, &length) == 0 && now == room)) continue;
        const int half = room / 2;  // the kernel doubles it
        if (setsockopt(fd, SOL_SOCKET, name, &half, sizeof(half)) != 0) fail_file(file, "cannot set the size of its buffers");
    }
    if (const s64 seconds = static_cast<s64>(file.number(KRG_GHOST_FILE_INET_LINGER)); seconds != 0) {
        const linger value{1, seconds < 0 ? 0 : static_cast<int>(seconds)};
        if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof(value)) != 0) fail_file(file, "cannot set SO_LINGER");
    }
}

struct Address {
    sockaddr_in6 six{};
    sockaddr_in four{};
    bool is_six;
    Address(const Record& file, u16 address, u16 port) : is_six(file.number(KRG_GHOST_FILE_INET_FAMILY) == AF_INET6) {
        const std::string bytes = file.text(address);
        const auto number = htons(static_cast<uint16_t>(file.number(port)));
        six.sin6_family = AF_INET6;
        six.sin6_port = number;
        six.sin6_scope_id = static_cast<u32>(file.number(KRG_GHOST_FILE_INET_SCOPE));
        std::memcpy(&six.sin6_addr, bytes.data(), std::min(bytes.size(), sizeof(six.sin6_addr)));
        four.sin_family = AF_INET;
        four.sin_port = number;
        std::memcpy(&four.sin_addr, bytes.data(), std::min(bytes.size(), sizeof(four.sin_addr)));
    }
    [[nodiscard]] const sockaddr* get() const {
        return is_six ? reinterpret_cast<const sockaddr*>(&six) : reinterpret_cast<const sockaddr*>(&four);
    }
    [[nodiscard]] socklen_t length() const { return is_six ? sizeof(six) : sizeof(four); }
};

}  // namespace

void make_inet(Files& files, const Record& file) {
    const int family = static_cast<int>(file.number(KRG_GHOST_FILE_INET_FAMILY));
    const int fd = socket(family, static_cast<int>(file.number(KRG_GHOST_FILE_INET_TYPE)) | SOCK_CLOEXEC, 0);
    if (fd < 0) fail_file(file, "socket");
    const u64 state = file.number(KRG_GHOST_FILE_INET_STATE), port = file.number(KRG_GHOST_FILE_INET_PORT);
    set_options(file, fd);
    if (port) {
        // Connections that were accepted from it may still be on their way out.
        if (state == listening)
            set(file, fd, SOL_SOCKET, SO_REUSEADDR, 1);
        else
            set(file, fd, SOL_SOCKET, SO_REUSEADDR, static_cast<int>(file.number(KRG_GHOST_FILE_INET_OPTIONS) & 1));
        const Address own(file, KRG_GHOST_FILE_INET_ADDRESS, KRG_GHOST_FILE_INET_PORT);
        if (bind(fd, own.get(), own.length()) != 0) fail_file(file, fmt::format("cannot have port {}", port));
    }
    if (state == listening && listen(fd, static_cast<int>(file.number(KRG_GHOST_FILE_INET_BACKLOG))) != 0)
        fail_file(file, "cannot listen");
    if (state == connected) {
        const Address peer(file, KRG_GHOST_FILE_INET_PEER_ADDRESS, KRG_GHOST_FILE_INET_PEER_PORT);
        if (connect(fd, peer.get(), peer.length()) != 0) fail_file(file, "cannot connect it");
    }
    set(file, fd, SOL_SOCKET, SO_REUSEADDR, static_cast<int>(file.number(KRG_GHOST_FILE_INET_OPTIONS) & 1));
    if (const u64 how = file.number(KRG_GHOST_FILE_INET_SHUTDOWN); how && state) {
        if (shutdown(fd, static_cast<int>(how) - 1) != 0 && errno != ENOTCONN) fail_file(file, "cannot shut it down");
    }
    files.made(file, fd);
}

}  // namespace krg::restart
