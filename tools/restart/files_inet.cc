// SPDX-License-Identifier: GPL-2.0
// Internet sockets that can be had by asking for them: unconnected, bound, listening, UDP with a peer, and TCP connections
// whose ends are both in the image: they are made again, and what was under way is sent again. Others are refused (check.cc).
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
constexpr u64 received = 0, not_sent = 2;
constexpr u64 sending = 2;

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
    Address(bool six_wanted, const std::string& bytes, u64 port, u64 scope = 0) : is_six(six_wanted) {
        const auto number = htons(static_cast<uint16_t>(port));
        six.sin6_family = AF_INET6;
        six.sin6_port = number;
        six.sin6_scope_id = static_cast<u32>(scope);
        std::memcpy(&six.sin6_addr, bytes.data(), std::min(bytes.size(), sizeof(six.sin6_addr)));
        four.sin_family = AF_INET;
        four.sin_port = number;
        std::memcpy(&four.sin_addr, bytes.data(), std::min(bytes.size(), sizeof(four.sin_addr)));
    }
    Address(const Record& file, u16 address, u16 port)
        : Address(file.number(KRG_GHOST_FILE_INET_FAMILY) == AF_INET6, file.text(address), file.number(port),
                  file.number(KRG_GHOST_FILE_INET_SCOPE)) {}
    [[nodiscard]] const sockaddr* get() const {
        return is_six ? reinterpret_cast<const sockaddr*>(&six) : reinterpret_cast<const sockaddr*>(&four);
    }
    [[nodiscard]] socklen_t length() const { return is_six ? sizeof(six) : sizeof(four); }
};

bool is_connection(const Record& file) {
    return file.number(KRG_GHOST_FILE_INET_TYPE) == SOCK_STREAM && file.number(KRG_GHOST_FILE_INET_STATE) == connected;
}

/** As IPv6 has it: the ends of a connection may be of both families. */
std::string address_of(const Record& file, u16 field) {
    const std::string bytes = file.text(field);
    return bytes.size() == 4 ? std::string(10, 0) + std::string(2, '\xff') + bytes : bytes;
}

int new_socket(const Record& file) {
    const int fd = socket(static_cast<int>(file.number(KRG_GHOST_FILE_INET_FAMILY)),
                          static_cast<int>(file.number(KRG_GHOST_FILE_INET_TYPE)) | SOCK_CLOEXEC, 0);
    if (fd < 0) fail_file(file, "socket");
    return fd;
}

int bound_socket(const Record& file) {
    const int fd = new_socket(file);
    set(file, fd, SOL_SOCKET, SO_REUSEADDR, 1);
    const Address own(file, KRG_GHOST_FILE_INET_ADDRESS, KRG_GHOST_FILE_INET_PORT);
    if (bind(fd, own.get(), own.length()) != 0)
        fail_file(file, fmt::format("cannot have port {}", file.number(KRG_GHOST_FILE_INET_PORT)));
    return fd;
}

const Record* listener_of(const Plan& plan, const Record& file) {
    for (const Record* other : plan.all(KRG_GHOST_FILE_INET)) {
        if (other->number(KRG_GHOST_FILE_INET_TYPE) != SOCK_STREAM || other->number(KRG_GHOST_FILE_INET_STATE) != listening ||
            other->number(KRG_GHOST_FILE_INET_PORT) != file.number(KRG_GHOST_FILE_INET_PORT))
            continue;
        const std::string at = address_of(*other, KRG_GHOST_FILE_INET_ADDRESS);
        if (at == address_of(file, KRG_GHOST_FILE_INET_ADDRESS) || at.find_first_not_of('\0') == std::string::npos ||
            at.compare(12, 4, std::string(4, 0)) == 0)
            return other;
    }
    return nullptr;
}

/** The port of who is at the other end. */
u64 peer_port(int fd) {
    sockaddr_in6 peer{};
    socklen_t length = sizeof(peer);
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) return 0;
    return ntohs(peer.sin6_port);  // at the same place in both families
}

void send_again(const Plan& plan, const Record& file, int fd, u64 queue, const Record& by) {
    for (const Record* data : plan.of(file.object, KRG_GHOST_INET_DATA)) {
        if (data->number(KRG_GHOST_INET_DATA_QUEUE) != queue) continue;
        if (send(fd, data->bytes.data(), data->bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) !=
            static_cast<ssize_t>(data->bytes.size()))
            fail_file(by, "cannot send again what was under way");
    }
}

class Connection {
public:
    Connection(Files& files, const Record& client, const Record& accepted)
        : files_(files),
          client_(client),
          accepted_(accepted) {}

    void make() {
        const Record* listener = listener_of(files_.plan(), accepted_);
        const bool own = listener == nullptr;
        const int at = own ? bound_socket(accepted_) : files_.at(listener->object);
        if (own && listen(at, 1) != 0) fail_file(accepted_, "cannot listen for it");
        const int out = bound_socket(client_);
        set_options(client_, out);
        const Address to(client_, KRG_GHOST_FILE_INET_PEER_ADDRESS, KRG_GHOST_FILE_INET_PEER_PORT);
        if (connect(out, to.get(), to.length()) != 0) fail_file(client_, "cannot connect it");
        const int in = accept4(at, nullptr, nullptr, SOCK_CLOEXEC);
        if (in < 0) fail_file(accepted_, "cannot accept it");
        if (peer_port(in) != client_.number(KRG_GHOST_FILE_INET_PORT))
            throw Error(Exit::failed, name_of(accepted_) + ": somebody else connected to its port first", "try again");
        if (own) close(at);
        set_options(accepted_, in);
        fill(out, in);
        finish(client_, out);
        finish(accepted_, in);
    }

private:
    void fill(int out, int in) {
        const Plan& plan = files_.plan();
        send_again(plan, accepted_, out, received, client_);
        send_again(plan, client_, out, not_sent, client_);
        send_again(plan, client_, in, received, accepted_);
        send_again(plan, accepted_, in, not_sent, accepted_);
    }

    void finish(const Record& file, int fd) {
        set_socket_options(files_.plan(), file, fd);
        set(file, fd, SOL_SOCKET, SO_REUSEADDR, static_cast<int>(file.number(KRG_GHOST_FILE_INET_OPTIONS) & 1));
        if (const u64 how = file.number(KRG_GHOST_FILE_INET_SHUTDOWN); (how & sending) && shutdown(fd, SHUT_WR) != 0)
            fail_file(file, "cannot shut it down");
        files_.made(file, fd);
    }

    Files& files_;
    const Record &client_, &accepted_;
};

bool is_any(const std::string& address) { return address.find_first_not_of('\0') == std::string::npos; }

/** A socket of the image that sends from there, or -1. */
int sender_at(const Files& files, const std::string& from, u64 port) {
    for (const Record* other : files.plan().all(KRG_GHOST_FILE_INET)) {
        const std::string own = other->text(KRG_GHOST_FILE_INET_ADDRESS);
        if (other->number(KRG_GHOST_FILE_INET_TYPE) == SOCK_DGRAM && other->number(KRG_GHOST_FILE_INET_PORT) == port &&
            own.size() == from.size() && (own == from || is_any(own)))
            return files.at(other->object);
    }
    return -1;
}

// Datagrams that were sent on this machine come from the same address again.
void send_datagrams(const Files& files, const Record& file) {
    const u64 port = file.number(KRG_GHOST_FILE_INET_PORT);
    for (const Record* data : files.plan().of(file.object, KRG_GHOST_INET_DATA)) {
        const std::string from = data->text(KRG_GHOST_INET_DATA_FROM), own = file.text(KRG_GHOST_FILE_INET_ADDRESS);
        const u64 from_port = data->number(KRG_GHOST_INET_DATA_PORT);
        const bool is_six = from.size() == 16;
        int fd = sender_at(files, from, from_port);
        const bool temporary = fd < 0;
        if (temporary) {
            const Address sender(is_six, from, from_port);
            fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
            if (fd < 0 || bind(fd, sender.get(), sender.length()) != 0)
                fail_file(file, fmt::format("cannot send again from port {} what it had not yet read", from_port));
        }
        // What is bound to all addresses, or to those of both families, is reached by the sender's own.
        const Address to(is_six, own.size() == from.size() && !is_any(own) ? own : from, port);
        if (sendto(fd, data->bytes.data(), data->bytes.size(), MSG_DONTWAIT, to.get(), to.length()) !=
            static_cast<ssize_t>(data->bytes.size()))
            fail_file(file, "cannot send again what it had not yet read");
        if (temporary) close(fd);
    }
}

}  // namespace

const Record* inet_partner(const Plan& plan, const Record& file) {
    if (!is_connection(file)) return nullptr;
    for (const Record* other : plan.all(KRG_GHOST_FILE_INET))
        if (other != &file && is_connection(*other) &&
            other->number(KRG_GHOST_FILE_INET_PORT) == file.number(KRG_GHOST_FILE_INET_PEER_PORT) &&
            other->number(KRG_GHOST_FILE_INET_PEER_PORT) == file.number(KRG_GHOST_FILE_INET_PORT) &&
            address_of(*other, KRG_GHOST_FILE_INET_ADDRESS) == address_of(file, KRG_GHOST_FILE_INET_PEER_ADDRESS) &&
            address_of(*other, KRG_GHOST_FILE_INET_PEER_ADDRESS) == address_of(file, KRG_GHOST_FILE_INET_ADDRESS))
            return other;
    return nullptr;
}

void make_connections(Files& files) {
    const Plan& plan = files.plan();
    for (const Record* file : plan.all(KRG_GHOST_FILE_INET)) {
        const Record* other = inet_partner(plan, *file);
        if (!other || files.at(file->object) >= 0 || files.at(other->object) >= 0) continue;
        if (listener_of(plan, *file))
            Connection(files, *other, *file).make();
        else
            Connection(files, *file, *other).make();
    }
    for (const Record* file : plan.all(KRG_GHOST_FILE_INET))
        if (file->number(KRG_GHOST_FILE_INET_TYPE) == SOCK_DGRAM && files.at(file->object) >= 0) send_datagrams(files, *file);
}

void make_inet(Files& files, const Record& file) {
    if (is_connection(file)) return;
    const int family = static_cast<int>(file.number(KRG_GHOST_FILE_INET_FAMILY));
    const int fd = socket(family, static_cast<int>(file.number(KRG_GHOST_FILE_INET_TYPE)) | SOCK_CLOEXEC, 0);
    if (fd < 0) fail_file(file, "socket");
    const u64 state = file.number(KRG_GHOST_FILE_INET_STATE), port = file.number(KRG_GHOST_FILE_INET_PORT);
    set_options(file, fd);
    set_socket_options(files.plan(), file, fd);
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
