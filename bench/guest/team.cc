// SPDX-License-Identifier: GPL-2.0
//
// See team.hh. Answers end with a newline: "ok NANOSECONDS" or "error WHAT".
#include "team.hh"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sstream>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

namespace krg::bench {

namespace {

using guest::fail;
using guest::fail_errno;
using guest::Fd;

constexpr std::size_t line_max = 4096;

void load(const Memory& memory, const Order& order) {
    for (std::uint64_t page = order.first; page < order.first + order.count; page++) {
        const std::uint64_t word = *memory.at(page);
        if (order.round && word != stamp(order.round, page))
            throw std::runtime_error("page " + std::to_string(page) + " has " + std::to_string(word) + ", not " +
                                     std::to_string(stamp(order.round, page)));
    }
}

void store(const Memory& memory, std::uint64_t first, std::uint64_t count, std::uint64_t round) {
    for (std::uint64_t page = first; page < first + count; page++) *memory.at(page) = stamp(round, page);
}

struct Buffer {
    std::uint64_t word[page_bytes / sizeof(std::uint64_t)];
    void fill(std::uint64_t value) {
        for (auto& one : word) one = value;
    }
};

void copy_out(const Memory& memory, const Order& order) {
    Buffer buffer;
    for (std::uint64_t page = order.first; page < order.first + order.count; page++) {
        const volatile std::uint64_t* from = memory.at(page);
        for (auto& one : buffer.word) one = *from++;
        for (auto one : buffer.word)
            if (order.round && one != stamp(order.round, page))
                throw std::runtime_error("page " + std::to_string(page) + " is not what was written");
    }
}

void copy_in(const Memory& memory, const Order& order) {
    for (std::uint64_t page = order.first; page < order.first + order.count; page++) {
        volatile std::uint64_t* to = memory.at(page);
        for (std::size_t i = 0; i < page_bytes / sizeof(*to); i++) to[i] = stamp(order.round, page);
    }
}

void write_pages(const Memory& memory, const Order& order) {
    Buffer buffer;
    for (std::uint64_t page = order.first; page < order.first + order.count; page++) {
        buffer.fill(stamp(order.round, page));
        if (pwrite(memory.fd(), &buffer, sizeof(buffer), static_cast<off_t>(page * page_bytes)) != sizeof(buffer))
            throw std::runtime_error(std::string("write: ") + std::strerror(errno));
    }
}

void punch(const Memory& memory, const Order& order) {
    if (fallocate(memory.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(order.first * page_bytes),
                  static_cast<off_t>(order.count * page_bytes)) != 0)
        throw std::runtime_error(std::string("fallocate: ") + std::strerror(errno));
}

void do_order(const Memory& memory, const Order& order) {
    switch (order.verb) {
    case Verb::load: load(memory, order); break;
    case Verb::store: store(memory, order.first, order.count, order.round); break;
    case Verb::copy_out: copy_out(memory, order); break;
    case Verb::copy_in: copy_in(memory, order); break;
    case Verb::write: write_pages(memory, order); break;
    case Verb::punch: punch(memory, order); break;
    case Verb::sync:
        if (fsync(memory.fd()) != 0) throw std::runtime_error(std::string("fsync: ") + std::strerror(errno));
        break;
    case Verb::hop: store(memory, order.first, 1, order.round); break;
    case Verb::open: throw std::runtime_error("not for a file");
    }
}

void set_no_delay(int fd) {
    const int one = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0) fail_errno("TCP_NODELAY");
}

/// Without its newline; false at the end of the connection. There is never more than one line under way.
bool read_line(int fd, std::string& line) {
    line.clear();
    char piece[line_max];
    while (line.empty() || line.back() != '\n') {
        const ssize_t n = read(fd, piece, sizeof(piece));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0 || line.size() + static_cast<std::size_t>(n) > line_max) return false;
        line.append(piece, static_cast<std::size_t>(n));
    }
    line.pop_back();
    return true;
}

bool write_line(int fd, const std::string& line) {
    const std::string text = line + "\n";
    return send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

std::string to_line(const Order& order) {
    std::ostringstream text;
    text << static_cast<int>(order.verb) << ' ' << order.file << ' ' << order.first << ' ' << order.count << ' ' << order.round
         << ' ' << order.other << ' ' << (order.path.empty() ? "-" : order.path);
    return text.str();
}

bool from_line(const std::string& line, Order& order) {
    std::istringstream text(line);
    int verb = 0;
    text >> verb >> order.file >> order.first >> order.count >> order.round >> order.other >> order.path;
    order.verb = static_cast<Verb>(verb);
    return !text.fail() && verb >= 0 && verb <= static_cast<int>(Verb::hop);
}

std::string answer(Here& here, const std::string& line) {
    Order order;
    if (!from_line(line, order)) return "error not an order: " + line;
    try {
        return "ok " + std::to_string(here.carry_out(order));
    } catch (const std::exception& error) {
        return std::string("error ") + error.what();
    }
}

}  // namespace

std::uint64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

const Memory& Here::file(unsigned number) const {
    if (number >= files_.size()) throw std::runtime_error("no such file");
    return *files_[number];
}

std::uint64_t Here::carry_out(const Order& order) {
    if (order.verb == Verb::open) {
        files_.push_back(std::make_unique<Memory>(order.path, order.count));
        return 0;
    }
    const Memory& memory = file(order.file);
    if (order.first + order.count > memory.pages() || order.other + order.count > memory.pages())
        throw std::runtime_error("behind the end of the file");
    const std::uint64_t begin = now_ns();
    do_order(memory, order);
    const std::uint64_t end = now_ns();
    if (order.verb == Verb::hop && order.count > 0) store(memory, order.other, order.count, order.round);
    return end - begin;
}

There::There(unsigned node, const std::string& address, unsigned port)
    : node_(node),
      socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    if (inet_pton(AF_INET, address.c_str(), &to.sin_addr) != 1) fail("not an address: " + address, guest::usage);
    if (connect(socket_.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0)
        fail_errno("node " + std::to_string(node) + " at " + address);
    set_no_delay(socket_.get());
}

std::uint64_t There::carry_out(const Order& order) {
    const std::string who = "node " + std::to_string(node_);
    std::string line;
    if (!write_line(socket_.get(), to_line(order)) || !read_line(socket_.get(), line)) fail(who + " hung up");
    if (line.rfind("ok ", 0) != 0) fail(who + ": " + line);
    return std::stoull(line.substr(3));
}

void serve(unsigned port) {
    const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int one = 1;
    sockaddr_in me{};
    me.sin_family = AF_INET;
    me.sin_port = htons(static_cast<uint16_t>(port));
    me.sin_addr.s_addr = htonl(INADDR_ANY);
    setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener.get(), reinterpret_cast<sockaddr*>(&me), sizeof(me)) != 0 || ::listen(listener.get(), 1) != 0)
        fail_errno("cannot listen on port " + std::to_string(port));
    for (;;) {
        const Fd connection(accept(listener.get(), nullptr, nullptr));
        if (!connection) fail_errno("accept");
        set_no_delay(connection.get());
        Here here;
        for (std::string line; read_line(connection.get(), line);)
            if (!write_line(connection.get(), answer(here, line))) break;
    }
}

}  // namespace krg::bench
