// SPDX-License-Identifier: GPL-2.0
//
// Connections between nodes as the TIPC transport gives them: one per pair, a FIFO per direction and class while it is
// up. Nothing is lost on a live connection, only late; a reset loses everything in flight and is seen by each end in its
// own time. A blocked direction holds what was sent until it opens or the link supervision resets the connection.
// Hosts (crashed? frozen?) belong to world.hh, which calls in here and delivers what comes out.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "tests/sim/world/rng.hh"
#include "tests/sim/world/types.hh"

namespace krg::sim {

struct NetworkKnobs {
    u64 latency_us = 100;    ///< least delay of a message
    u64 jitter_us = 100;     ///< mean of what comes on top
    u64 slow_ppm = 1000;     ///< how many in a million take the long way
    u64 slow_us = 20000;     ///< mean of that way
    u64 connect_ms = 20;     ///< connect and handshake
    u64 retry_ms = 100;      ///< between a reset and the next connect
    u64 tolerance_ms = 500;  ///< silence after which the link supervision resets; 0: it is wedged and never does
    u64 duplicate_ppm = 0;   ///< messages delivered a second time a little later
    u64 garbage_ppm = 0;     ///< messages followed by a damaged copy or by noise
};

struct NetworkCounts {
    u64 messages = 0, bytes = 0, delivered = 0, lost = 0, duplicates = 0, garbage = 0, resets = 0, connects = 0;
};

/// A message on its way. Owned by the network's pool; freed after delivery.
struct Message {
    NodeId from = 0, to = 0;
    u8 cls = 0;
    bool duplicate = false;
    u32 generation = 0;
    std::vector<u8> data;
};

/// What the network asks of the world: put something on the event queue.
class NetworkEvents {
public:
    virtual ~NetworkEvents() = default;
    virtual void arrive_at(Time at, Message* message) = 0;
    virtual void arrive_now(Message* message) = 0;
    virtual void connect_at(Time at, NodeId a, NodeId b) = 0;
    virtual void up_at(Time at, NodeId node, NodeId peer, u32 generation) = 0;
    virtual void down_at(Time at, NodeId node, NodeId peer, u32 generation) = 0;
    virtual void supervise_at(Time at, NodeId from, NodeId to, u64 block_id) = 0;
    /// Runs, is not frozen, and can shake hands.
    [[nodiscard]] virtual bool can_connect(NodeId node) const = 0;
};

class Network {
public:
    enum class Fate : u8 { deliver, lost, held };

    Network(unsigned nodes, const NetworkKnobs& knobs, u64 seed, NetworkEvents& events);

    void send(Time now, NodeId from, NodeId to, u8 cls, std::span<const u8> bytes);
    /// A message's time has come. On deliver or lost the caller gives it back with release().
    Fate arrived(Message* message);
    void release(Message* message);

    /// Wants a connection between a and b as soon as both can.
    void want(Time now, NodeId a, NodeId b);
    void want_all(Time now, NodeId node);
    void connect(Time now, NodeId a, NodeId b);
    /// The end at @p node comes up: false if the connection is dead already.
    bool end_up(NodeId node, NodeId peer, u32 generation);
    /// The end at @p node goes down: false if it was not up in this generation.
    bool end_down(NodeId node, NodeId peer, u32 generation);
    [[nodiscard]] bool connected(NodeId a, NodeId b) const { return link(a, b).alive; }

    /// Breaks the connection; each end learns it within @p notice.
    void reset(Time now, NodeId a, NodeId b, Time notice);
    /// A machine stopped without a word: its peers learn it after their tolerance (or @p notice if it is sooner).
    void host_gone(Time now, NodeId node, bool silent);
    void forget_ends(NodeId node);

    void block(Time now, NodeId from, NodeId to);
    void unblock(Time now, NodeId from, NodeId to);
    void supervise(Time now, NodeId from, NodeId to, u64 block_id);
    [[nodiscard]] bool blocked(NodeId from, NodeId to) const { return lane(from, to).blocks != 0; }
    void delay(NodeId from, NodeId to, i64 change_us);
    /// Calm: nothing is duplicated or damaged and no way is long.
    void set_calm(bool calm) { calm_ = calm; }

    [[nodiscard]] const NetworkCounts& counts() const { return counts_; }
    NetworkCounts& counts() { return counts_; }
    [[nodiscard]] u64 tolerance_ms() const { return knobs_.tolerance_ms; }
    /// Should a damaged message follow this one? Draws.
    bool draw_garbage() { return !calm_ && knobs_.garbage_ppm != 0 && rng_.chance(knobs_.garbage_ppm, 1000000); }

private:
    struct Link {
        u32 generation = 0;
        bool alive = false;
        bool connecting = false;
    };
    struct Lane {
        u32 up_generation = 0;  ///< of the sender's end; 0: down
        u32 blocks = 0;
        u64 block_id = 0;
        u64 extra_us = 0;
        Time last_arrival[2] = {0, 0};
        std::vector<Message*> held;
    };

    [[nodiscard]] std::size_t at(NodeId from, NodeId to) const {
        return static_cast<std::size_t>(from - 1) * nodes_ + (to - 1);
    }
    Lane& lane(NodeId from, NodeId to) { return lanes_[at(from, to)]; }
    [[nodiscard]] const Lane& lane(NodeId from, NodeId to) const { return lanes_[at(from, to)]; }
    Link& link(NodeId a, NodeId b) { return links_[a < b ? at(a, b) : at(b, a)]; }
    [[nodiscard]] const Link& link(NodeId a, NodeId b) const { return links_[a < b ? at(a, b) : at(b, a)]; }
    Message* take();
    Time latency(const Lane& lane);
    void drop_held(Lane& lane);

    unsigned nodes_;
    NetworkKnobs knobs_;
    Rng rng_;
    NetworkEvents& events_;
    NetworkCounts counts_;
    bool calm_ = false;
    std::vector<Lane> lanes_;
    std::vector<Link> links_;
    std::vector<std::unique_ptr<Message>> pool_;
    std::vector<Message*> free_;
};

}  // namespace krg::sim
