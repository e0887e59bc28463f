// SPDX-License-Identifier: GPL-2.0
//
// The Ethernet switch between the machines of a cluster: one thread, one socket per network card, frames as QEMU's stream
// network back-end sends them (length, then the frame). It loses nothing by itself and injects what it is told to: cuts,
// one-way cuts, delay and loss per direction of a pair of nodes and link. It knows MAC addresses, no protocol.
#pragma once

#include "util.h"

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <queue>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace krg::vcluster {

/// A network card: which node, which cluster link (1 or 2).
struct PortId {
    int node = 0;
    int link = 0;
    auto operator<=>(const PortId&) const = default;
};

/// One direction between two nodes on one link.
struct PathId {
    int from = 0;
    int to = 0;
    int link = 0;
    auto operator<=>(const PathId&) const = default;
};

/// What is done to the frames of one direction.
struct Fault {
    bool cut = false;
    int delay_ms = 0;
    double loss_percent = 0;
    [[nodiscard]] bool none() const { return !cut && delay_ms == 0 && loss_percent <= 0; }
};

struct PortCounters {
    uint64_t frames_in = 0, frames_out = 0;
    uint64_t cut = 0, lost = 0;  ///< injected, counted where the frame came in
    uint64_t overflow = 0;       ///< the receiver did not read for so long that its queue was full
};

class Switch {
public:
    Switch();
    ~Switch();
    Switch(const Switch&) = delete;
    Switch& operator=(const Switch&) = delete;

    /// The MAC address of a card: 52:54:00:4b:LINK:NODE (link 0 is the management network, not ours).
    [[nodiscard]] static std::string mac(PortId port);

    /// Plugs a cable in and returns its other end, for QEMU. An earlier cable of the same card is pulled out.
    [[nodiscard]] Fd plug(PortId port);
    void unplug(int node);

    void set_fault(PathId path, Fault fault);
    [[nodiscard]] Fault fault(PathId path);
    void clear_faults();
    [[nodiscard]] std::map<PathId, Fault> faults();
    [[nodiscard]] std::map<PortId, PortCounters> counters();

private:
    using Frame = std::string;
    struct Port {
        Fd socket;
        std::string received;       // bytes of an incomplete frame
        std::deque<Frame> to_send;  // with their length in front
        size_t sent = 0;            // of the first one
        size_t queued_bytes = 0;
        PortCounters counters;
    };
    struct Delayed {
        double due_s;
        uint64_t order;
        PathId path;
        Frame frame;
        bool operator<(const Delayed& other) const { return due_s != other.due_s ? due_s > other.due_s : order > other.order; }
    };

    void loop();
    void receive(PortId id, Port& port);
    void forward(PortId from, Port& source, const Frame& frame);
    void pass(PathId path, Port& source, const Frame& frame);
    void enqueue(Port& port, Frame frame);
    void send(Port& port);
    void deliver_delayed();
    void wake();

    std::mutex mutex_;  // protects everything below; held by the loop except while it waits
    std::map<PortId, Port> ports_;
    std::map<PathId, Fault> faults_;
    std::priority_queue<Delayed> delayed_;
    uint64_t order_ = 0;
    std::mt19937 random_{std::random_device{}()};
    bool stop_ = false;
    Fd wake_read_, wake_write_;
    std::thread thread_;
};

}  // namespace krg::vcluster
