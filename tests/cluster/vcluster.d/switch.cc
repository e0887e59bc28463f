// SPDX-License-Identifier: GPL-2.0
//
// The user-space Ethernet switch: see switch.h.
#include "switch.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

namespace krg::vcluster {

namespace {

constexpr size_t length_bytes = 4;  // QEMU: big-endian length before each frame
constexpr size_t frame_max_bytes = 65536;
constexpr size_t address_bytes = 6;
constexpr unsigned char mac_prefix[4] = {0x52, 0x54, 0x00, 0x4b};

// A machine that is stopped reads nothing; what its neighbours send meanwhile is lost, as on a real cable, but not
// before this much is waiting.
constexpr size_t queue_max_bytes = 16 << 20;

// The port an address belongs to, {0, 0} for everything that is not one of our cards.
PortId owner(const char* address) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(address);
    if (std::memcmp(bytes, mac_prefix, sizeof mac_prefix) != 0) return {};
    return {bytes[5], bytes[4]};
}

}  // namespace

Switch::Switch() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw system_error("cannot make a pipe");
    wake_read_.reset(ends[0]);
    wake_write_.reset(ends[1]);
    thread_ = std::thread([this] { loop(); });
}

Switch::~Switch() {
    {
        std::lock_guard hold(mutex_);
        stop_ = true;
    }
    wake();
    thread_.join();
}

std::string Switch::mac(PortId port) { return fmt::format("52:54:00:4b:{:02x}:{:02x}", port.link, port.node); }

void Switch::wake() { (void)!write(wake_write_.get(), "w", 1); }

Fd Switch::plug(PortId id) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw system_error("cannot make a socket pair");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    int size = 1 << 20;
    for (int end : ends) {
        setsockopt(end, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        setsockopt(end, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    {
        std::lock_guard hold(mutex_);
        Port& port = ports_[id];
        PortCounters kept = port.counters;
        port = Port{};
        port.counters = kept;
        port.socket.reset(ends[0]);
    }
    wake();
    return Fd(ends[1]);
}

void Switch::unplug(int node) {
    std::lock_guard hold(mutex_);
    for (auto& [id, port] : ports_) {
        if (id.node != node) continue;
        PortCounters kept = port.counters;
        port = Port{};
        port.counters = kept;
    }
}

void Switch::set_fault(PathId path, Fault fault) {
    std::lock_guard hold(mutex_);
    if (fault.none())
        faults_.erase(path);
    else
        faults_[path] = fault;
}

Fault Switch::fault(PathId path) {
    std::lock_guard hold(mutex_);
    auto found = faults_.find(path);
    return found == faults_.end() ? Fault{} : found->second;
}

void Switch::clear_faults() {
    std::lock_guard hold(mutex_);
    faults_.clear();
}

std::map<PathId, Fault> Switch::faults() {
    std::lock_guard hold(mutex_);
    return faults_;
}

std::map<PortId, PortCounters> Switch::counters() {
    std::lock_guard hold(mutex_);
    std::map<PortId, PortCounters> result;
    for (const auto& [id, port] : ports_) result[id] = port.counters;
    return result;
}

void Switch::loop() {
    std::unique_lock hold(mutex_);
    while (!stop_) {
        std::vector<pollfd> waits{{wake_read_.get(), POLLIN, 0}};
        std::vector<PortId> ids;
        for (auto& [id, port] : ports_) {
            if (!port.socket) continue;
            short events = POLLIN;
            if (!port.to_send.empty()) events |= POLLOUT;
            waits.push_back({port.socket.get(), events, 0});
            ids.push_back(id);
        }
        timespec timeout{};
        if (!delayed_.empty()) {
            double left = std::max(0.0, delayed_.top().due_s - now_s());
            timeout.tv_sec = static_cast<time_t>(left);
            timeout.tv_nsec = static_cast<long>((left - std::floor(left)) * 1e9);
        }
        bool forever = delayed_.empty();
        hold.unlock();
        int ready = ppoll(waits.data(), waits.size(), forever ? nullptr : &timeout, nullptr);
        hold.lock();
        if (ready > 0 && waits[0].revents) {
            char drop[64];
            while (read(wake_read_.get(), drop, sizeof drop) > 0) {}
        }
        for (size_t i = 0; ready > 0 && i < ids.size(); ++i) {
            Port& port = ports_[ids[i]];
            // The cable may have been changed while we waited.
            if (waits[i + 1].revents == 0 || port.socket.get() != waits[i + 1].fd) continue;
            if (waits[i + 1].revents & POLLOUT) send(port);
            if (waits[i + 1].revents & (POLLIN | POLLHUP | POLLERR)) receive(ids[i], port);
        }
        deliver_delayed();
    }
}

void Switch::receive(PortId id, Port& port) {
    char buffer[65536];
    ssize_t got = recv(port.socket.get(), buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {  // the machine is gone
        port.socket.reset();
        port.received.clear();
        return;
    }
    port.received.append(buffer, static_cast<size_t>(got));
    size_t at = 0;
    while (port.received.size() - at >= length_bytes) {
        uint32_t length = 0;
        std::memcpy(&length, port.received.data() + at, sizeof length);
        length = ntohl(length);
        if (length > frame_max_bytes) {  // not a frame: QEMU never sends this
            port.socket.reset();
            port.received.clear();
            return;
        }
        if (port.received.size() - at < length_bytes + length) break;
        if (length >= 2 * address_bytes) forward(id, port, port.received.substr(at, length_bytes + length));
        at += length_bytes + length;
    }
    port.received.erase(0, at);
}

void Switch::forward(PortId from, Port& source, const Frame& frame) {
    ++source.counters.frames_in;
    const char* destination = frame.data() + length_bytes;
    PortId to = owner(destination);
    if ((destination[0] & 1) == 0 && to.link == from.link && ports_.contains(to)) {
        if (to != from) pass({from.node, to.node, from.link}, source, frame);
        return;
    }
    for (auto& [id, port] : ports_) {
        if (id.link == from.link && id != from) pass({from.node, id.node, from.link}, source, frame);
    }
}

void Switch::pass(PathId path, Port& source, const Frame& frame) {
    auto found = faults_.find(path);
    Fault fault = found == faults_.end() ? Fault{} : found->second;
    if (fault.cut) {
        ++source.counters.cut;
        return;
    }
    if (fault.loss_percent > 0 && std::uniform_real_distribution<>(0, 100)(random_) < fault.loss_percent) {
        ++source.counters.lost;
        return;
    }
    if (fault.delay_ms > 0)
        delayed_.push({now_s() + fault.delay_ms / 1000.0, order_++, path, frame});
    else
        enqueue(ports_[{path.to, path.link}], frame);
}

void Switch::deliver_delayed() {
    double now = now_s();
    while (!delayed_.empty() && delayed_.top().due_s <= now) {
        const Delayed& next = delayed_.top();
        auto found = faults_.find(next.path);
        if (found == faults_.end() || !found->second.cut) enqueue(ports_[{next.path.to, next.path.link}], next.frame);
        delayed_.pop();
    }
}

void Switch::enqueue(Port& port, Frame frame) {
    if (!port.socket) return;  // its machine is off
    if (port.queued_bytes + frame.size() > queue_max_bytes) {
        ++port.counters.overflow;
        return;
    }
    ++port.counters.frames_out;
    port.queued_bytes += frame.size();
    port.to_send.push_back(std::move(frame));
    send(port);
}

void Switch::send(Port& port) {
    while (port.socket && !port.to_send.empty()) {
        const Frame& frame = port.to_send.front();
        ssize_t put = ::send(port.socket.get(), frame.data() + port.sent, frame.size() - port.sent,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put < 0) {
            if (errno != EAGAIN && errno != EINTR) port.socket.reset();
            return;
        }
        port.sent += static_cast<size_t>(put);
        if (port.sent < frame.size()) return;
        port.queued_bytes -= frame.size();
        port.sent = 0;
        port.to_send.pop_front();
    }
}

}  // namespace krg::vcluster
