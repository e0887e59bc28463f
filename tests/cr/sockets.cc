// SPDX-License-Identifier: GPL-2.0
//
// Programs with sockets whose both ends are theirs.
#include "descriptors.hh"

#include <cstddef>
#include <cstring>
#include <netinet/tcp.h>
#include <poll.h>

namespace krg::cr {

namespace {

int new_socket(int family, int type) { return static_cast<int>(must(socket(family, type | SOCK_CLOEXEC, 0), "socket")); }

/// An abstract name, of this process alone.
struct Name {
    sockaddr_un at{};
    socklen_t length;
    explicit Name(const std::string& suffix) {
        const std::string name = "krg-cr-" + std::to_string(getpid()) + suffix;
        at.sun_family = AF_UNIX;
        std::memcpy(at.sun_path + 1, name.data(), name.size());
        length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    }
    [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&at); }
};

int unix_named(int type, const Name& name) {
    const int fd = new_socket(AF_UNIX, type);
    must(bind(fd, name.get(), name.length), "bind");
    return fd;
}

template<typename Address>
int inet_bound(int type, Address& address) {
    socklen_t length = sizeof(address);
    const int fd = new_socket(reinterpret_cast<sockaddr*>(&address)->sa_family, type);
    must(bind(fd, reinterpret_cast<sockaddr*>(&address), length), "bind");
    must(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
    return fd;
}

/// In: the accepted end, out: the client's.
Pair tcp_pair(int* listener = nullptr) {
    sockaddr_in address = loopback();
    const int at = inet_bound(SOCK_STREAM, address), out = new_socket(AF_INET, SOCK_STREAM);
    must(listen(at, 5), "listen");
    must(connect(out, reinterpret_cast<sockaddr*>(&address), sizeof(address)), "connect");
    const int in = accepted(at);
    if (listener)
        *listener = at;
    else
        close(at);
    return {in, out};
}

int option(int fd, int level, int name) {
    int value = -1;
    socklen_t length = sizeof(value);
    must(getsockopt(fd, level, name, &value, &length), "getsockopt");
    return value;
}

void set_option(int fd, int level, int name, int value) {
    must(setsockopt(fd, level, name, &value, sizeof(value)), "setsockopt");
}

unsigned port_of(int fd, bool peer) {
    sockaddr_in address{};
    socklen_t length = sizeof(address);
    auto* to = reinterpret_cast<sockaddr*>(&address);
    must(peer ? getpeername(fd, to, &length) : getsockname(fd, to, &length), "getsockname");
    return ntohs(address.sin_port);
}

}  // namespace

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
    same("what arrives", std::string("hello"), take(accepted(fd)));
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
    same("what arrives", std::string("hello"), take(accepted(fd)));
}

CR_PROGRAM(unix_seqpacket, Needs::nothing,
           "a seqpacket socket pair keeps the borders of queued packets, one without bytes too") {
    const Pair p = unix_pair(SOCK_SEQPACKET);
    put(p.in, "one");
    put(p.in, "");
    put(p.in, "three");
    run.operation([&] { take(p.out); });
    same("first", std::string("one"), take(p.out));
    same("second", std::string(), take(p.out));
    same("third", std::string("three"), take(p.out));
}

CR_PROGRAM(unix_partly_read, Needs::nothing, "a stream of which a part was read goes on behind it") {
    const Pair p = unix_pair(SOCK_STREAM);
    put(p.in, "0123456789");
    put(p.in, "abc");
    same("the beginning", std::string("0123"), take(p.out, 4));
    run.operation([&] { take(p.out, 1); });
    same("the rest", std::string("456789abc"), take(p.out));
}

CR_PROGRAM(unix_abstract, Needs::nothing,
           "a connection by an abstract name stays, its ends have their names, the listener works on") {
    const Name name("");
    const int at = unix_named(SOCK_STREAM, name), client = new_socket(AF_UNIX, SOCK_STREAM);
    must(listen(at, 3), "listen");
    must(connect(client, name.get(), name.length), "connect");
    const int in = accepted(at);
    put(client, "queued");
    run.operation([&] { take(in, 1); });
    same("what was queued", std::string("queued"), take(in));
    put(in, "back");
    same("the other direction", std::string("back"), take(client));
    sockaddr_un found{};
    socklen_t length = sizeof(found);
    must(getpeername(client, reinterpret_cast<sockaddr*>(&found), &length), "getpeername");
    same("length of the peer's name", name.length, length);
    same("the peer's name", std::string(name.at.sun_path + 1), std::string(found.sun_path + 1));
    const int other = new_socket(AF_UNIX, SOCK_STREAM);
    must(connect(other, name.get(), name.length), "connect");
    must(accept(at, nullptr, nullptr), "accept");
}

CR_PROGRAM(unix_backlog, Needs::nothing,
           "connections that wait to be accepted are accepted in their order, with what they sent") {
    const Name name("");
    const int at = unix_named(SOCK_STREAM, name), first = new_socket(AF_UNIX, SOCK_STREAM),
              second = new_socket(AF_UNIX, SOCK_STREAM);
    must(listen(at, 3), "listen");
    must(connect(first, name.get(), name.length), "connect");
    must(connect(second, name.get(), name.length), "connect");
    put(second, "from the second");
    put(first, "from the first");
    run.operation([&] { must(accept(at, nullptr, nullptr), "accept"); });
    const int one = accepted(at);
    const int two = accepted(at);
    same("of the first", std::string("from the first"), take(one));
    same("of the second", std::string("from the second"), take(two));
    put(two, "answer");
    same("the answer", std::string("answer"), take(second));
}

CR_PROGRAM(unix_dgram_named, Needs::nothing, "datagrams in a named socket keep their senders") {
    const Name to("-to"), from("-from");
    const int receiver = unix_named(SOCK_DGRAM, to), sender = unix_named(SOCK_DGRAM, from);
    must(connect(sender, to.get(), to.length), "connect");
    put(sender, "one");
    put(sender, "two");
    run.operation([&] { take(receiver); });
    sockaddr_un found{};
    socklen_t length = sizeof(found);
    char text[10];
    await(receiver);
    same("the first", 3, recvfrom(receiver, text, sizeof(text), 0, reinterpret_cast<sockaddr*>(&found), &length));
    same("its sender", std::string(from.at.sun_path + 1), std::string(found.sun_path + 1));
    same("the second", std::string("two"), take(receiver));
    put(sender, "three");
    same("one more", std::string("three"), take(receiver));
}

CR_PROGRAM(unix_peer_closed, Needs::nothing, "what a closed peer had sent arrives, and then the end") {
    const Pair p = unix_pair(SOCK_STREAM);
    put(p.in, "last words");
    close(p.in);
    run.operation([&] { take(p.out, 1); });
    same("what it had sent", std::string("last words"), take(p.out));
    same("the end", std::string(), take(p.out));
    same("sending to it", -1, send(p.out, "x", 1, MSG_NOSIGNAL));
}

CR_PROGRAM(unix_child, Needs::nothing, "a socket pair between parent and child with data in both directions works on") {
    const Pair p = unix_pair(SOCK_STREAM);
    const pid_t child = spawn([&] { put(p.out, "to the parent "); },
                              [&] {
                                  same("in the child", std::string("to the child"), take(p.out));
                                  put(p.out, "later");
                              });
    put(p.in, "to the child");
    close(p.out);
    run.operation([&] { take(p.in, 1); });
    finish(child);
    same("in the parent", std::string("to the parent later"), take(p.in));
    same("its end", std::string(), take(p.in));
}

CR_PROGRAM(unix_options, Needs::nothing, "options of a unix socket stay: timeouts, low mark, buffers, SO_PASSCRED") {
    const Pair p = unix_pair(SOCK_STREAM);
    const timeval wanted{12, 340000};
    must(setsockopt(p.in, SOL_SOCKET, SO_RCVTIMEO, &wanted, sizeof(wanted)), "SO_RCVTIMEO");
    set_option(p.in, SOL_SOCKET, SO_PASSCRED, 1);
    set_option(p.in, SOL_SOCKET, SO_SNDBUF, 20000);
    run.operation([&] { set_option(p.in, SOL_SOCKET, SO_PASSCRED, 0); });
    timeval found{};
    socklen_t length = sizeof(found);
    must(getsockopt(p.in, SOL_SOCKET, SO_RCVTIMEO, &found, &length), "getsockopt");
    same("SO_RCVTIMEO, seconds", wanted.tv_sec, found.tv_sec);
    same("SO_RCVTIMEO, microseconds", wanted.tv_usec, found.tv_usec);
    same("SO_PASSCRED", 1, option(p.in, SOL_SOCKET, SO_PASSCRED));
    same("SO_SNDBUF", 40000, option(p.in, SOL_SOCKET, SO_SNDBUF));
    same("SO_PASSCRED of the peer", 0, option(p.out, SOL_SOCKET, SO_PASSCRED));
}

CR_PROGRAM(udp_connected, Needs::nothing,
           "two connected udp sockets keep their ports, and datagrams that were not read their senders") {
    sockaddr_in one = loopback(), two = loopback();
    const int in = inet_bound(SOCK_DGRAM, one), out = inet_bound(SOCK_DGRAM, two);
    must(connect(out, reinterpret_cast<sockaddr*>(&one), sizeof(one)), "connect");
    put(out, "first");
    put(out, "second");
    run.operation([&] { take(in); });
    sockaddr_in from{};
    socklen_t length = sizeof(from);
    char text[100];
    await(in);
    same("the first", 5, recvfrom(in, text, sizeof(text), 0, reinterpret_cast<sockaddr*>(&from), &length));
    same("its sender", two.sin_port, from.sin_port);
    same("the second", std::string("second"), take(in));
    same("port of the peer", ntohs(one.sin_port), port_of(out, true));
    put(out, "third");
    same("one more", std::string("third"), take(in));
}

CR_PROGRAM(udp6_bound, Needs::nothing, "an IPv6 udp socket keeps its port and what was sent to it by a socket that is closed") {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    const int fd = new_socket(AF_INET6, SOCK_DGRAM);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) skip(run, "there is no IPv6 here");
    socklen_t length = sizeof(address);
    must(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
    const int sender = new_socket(AF_INET6, SOCK_DGRAM);
    must(sendto(sender, "data", 4, 0, reinterpret_cast<sockaddr*>(&address), length), "sendto");
    close(sender);
    run.operation([&] { take(fd); });
    same("what was sent", std::string("data"), take(fd));
    sockaddr_in6 now{};
    must(getsockname(fd, reinterpret_cast<sockaddr*>(&now), &length), "getsockname");
    same("port", address.sin6_port, now.sin6_port);
}

CR_PROGRAM(tcp_listening_options, Needs::nothing, "options of a listening tcp socket stay") {
    sockaddr_in address = loopback();
    const int fd = new_socket(AF_INET, SOCK_STREAM);
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 77);
    must(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), "bind");
    must(listen(fd, 9), "listen");
    run.operation([&] { set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 78); });
    same("SO_REUSEADDR", 1, option(fd, SOL_SOCKET, SO_REUSEADDR));
    same("SO_KEEPALIVE", 1, option(fd, SOL_SOCKET, SO_KEEPALIVE));
    same("TCP_NODELAY", 1, option(fd, IPPROTO_TCP, TCP_NODELAY));
    same("TCP_KEEPIDLE", 77, option(fd, IPPROTO_TCP, TCP_KEEPIDLE));
    same("SO_ACCEPTCONN", 1, option(fd, SOL_SOCKET, SO_ACCEPTCONN));
}

CR_PROGRAM(tcp6_listening, Needs::nothing, "an IPv6 only listening tcp socket keeps its port") {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    const int fd = new_socket(AF_INET6, SOCK_STREAM);
    set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    socklen_t length = sizeof(address);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0) skip(run, "there is no IPv6 here");
    must(listen(fd, 1), "listen");
    must(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
    run.operation([&] { must(close(fd), "close"); });
    same("IPV6_V6ONLY", 1, option(fd, IPPROTO_IPV6, IPV6_V6ONLY));
    address.sin6_addr = in6addr_loopback;
    const int client = new_socket(AF_INET6, SOCK_STREAM);
    must(connect(client, reinterpret_cast<sockaddr*>(&address), length), "connect");
    put(client, "hello");
    same("what arrives", std::string("hello"), take(accepted(fd)));
}

CR_PROGRAM(tcp_connection, Needs::nothing,
           "a tcp connection inside of a process keeps its ports and what is under way in both directions") {
    const Pair p = tcp_pair();
    const unsigned in_port = port_of(p.in, false), out_port = port_of(p.out, false);
    put(p.out, "to the server");
    put(p.in, "to the client");
    run.operation([&] { take(p.in, 1); });
    same("at the server", std::string("to the server"), take(p.in));
    same("at the client", std::string("to the client"), take(p.out));
    same("the server's port", in_port, port_of(p.in, false));
    same("the client's port", out_port, port_of(p.in, true));
    put(p.in, "again");
    same("later", std::string("again"), take(p.out));
    close(p.out);
    same("the end", std::string(), take(p.in));
}

CR_PROGRAM(tcp_connection_child, Needs::nothing, "a tcp connection between parent and child beside its listener works on") {
    int listener = -1;
    const Pair p = tcp_pair(&listener);
    const pid_t child = spawn([] {},
                              [&] {
                                  same("in the child", std::string("request"), take(p.in));
                                  put(p.in, "answer");
                              });
    put(p.out, "request");
    run.operation([&] { must(shutdown(p.out, SHUT_RDWR), "shutdown"); });
    finish(child);
    same("the answer", std::string("answer"), take(p.out));
    sockaddr_in address = loopback();
    address.sin_port = htons(static_cast<uint16_t>(port_of(listener, false)));
    const int other = new_socket(AF_INET, SOCK_STREAM);
    must(connect(other, reinterpret_cast<sockaddr*>(&address), sizeof(address)), "connect");
    must(accept(listener, nullptr, nullptr), "accept");
}

CR_PROGRAM(tcp_half_closed, Needs::nothing, "a tcp connection shut down for writing stays so, the other direction works on") {
    const Pair p = tcp_pair();
    put(p.out, "last");
    must(shutdown(p.out, SHUT_WR), "shutdown");
    run.operation([&] { take(p.in, 1); });
    same("what was sent", std::string("last"), take(p.in));
    same("the end", std::string(), take(p.in));
    put(p.in, "back");
    same("the other direction", std::string("back"), take(p.out));
}

CR_PROGRAM(tcp_full, Needs::nothing, "a tcp connection whose receiver does not read keeps every byte") {
    const Pair p = tcp_pair();
    set_option(p.out, SOL_SOCKET, SO_SNDBUF, 100000);
    std::string all(150000, 0);
    fill(all.data(), all.size(), 31);
    same("bytes sent", all.size(), static_cast<size_t>(must(send(p.out, all.data(), all.size(), MSG_DONTWAIT), "send")));
    run.operation([&] { take(p.in, 1000); });
    std::string found;
    while (found.size() < all.size()) found += take(p.in, all.size());
    verify("bytes received", found.data(), all.size(), 31);
}

}  // namespace krg::cr
