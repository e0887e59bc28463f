// SPDX-License-Identifier: GPL-2.0
//
// Connections, lanes and what happens to messages on them. See network.hh for the model.
#include "tests/sim/world/network.hh"

#include <algorithm>

namespace krg::sim {

Network::Network(unsigned nodes, const NetworkKnobs& knobs, u64 seed, NetworkEvents& events)
    : nodes_(nodes),
      knobs_(knobs),
      rng_(seed),
      events_(events),
      lanes_(static_cast<std::size_t>(nodes) * nodes),
      links_(static_cast<std::size_t>(nodes) * nodes) {}

Message* Network::take() {
    if (free_.empty()) {
        pool_.push_back(std::make_unique<Message>());
        return pool_.back().get();
    }
    Message* message = free_.back();
    free_.pop_back();
    return message;
}

void Network::release(Message* message) { free_.push_back(message); }

Time Network::latency(const Lane& lane) {
    Time delay = knobs_.latency_us + rng_.exponential(knobs_.jitter_us) + lane.extra_us;
    if (!calm_ && knobs_.slow_ppm != 0 && rng_.chance(knobs_.slow_ppm, 1000000)) delay += rng_.exponential(knobs_.slow_us);
    return delay;
}

void Network::send(Time now, NodeId from, NodeId to, u8 cls, std::span<const u8> bytes) {
    counts_.messages++;
    counts_.bytes += bytes.size();
    Lane& out = lane(from, to);
    const Link& pair = link(from, to);
    if (out.up_generation == 0 || !pair.alive || out.up_generation != pair.generation) {
        counts_.lost++;
        return;
    }
    Message* message = take();
    message->from = from;
    message->to = to;
    message->cls = cls;
    message->duplicate = false;
    message->generation = out.up_generation;
    message->data.assign(bytes.begin(), bytes.end());
    const Time arrival = std::max(out.last_arrival[cls], now + latency(out));
    out.last_arrival[cls] = arrival;
    events_.arrive_at(arrival, message);
    if (calm_ || knobs_.duplicate_ppm == 0 || !rng_.chance(knobs_.duplicate_ppm, 1000000)) return;
    Message* copy = take();
    *copy = *message;
    copy->duplicate = true;
    counts_.duplicates++;
    events_.arrive_at(arrival + rng_.exponential(knobs_.latency_us * 4 + 1000), copy);
}

Network::Fate Network::arrived(Message* message) {
    Lane& in = lane(message->from, message->to);
    if (lane(message->to, message->from).up_generation != message->generation) {
        counts_.lost++;
        return Fate::lost;
    }
    if (in.blocks != 0) {
        in.held.push_back(message);
        return Fate::held;
    }
    counts_.delivered++;
    return Fate::deliver;
}

void Network::want(Time now, NodeId a, NodeId b) {
    Link& pair = link(a, b);
    if (pair.alive || pair.connecting) return;
    pair.connecting = true;
    events_.connect_at(now + rng_.between(knobs_.retry_ms / 2, knobs_.retry_ms) * ms + knobs_.connect_ms * ms, a, b);
}

void Network::want_all(Time now, NodeId node) {
    for (unsigned peer = 1; peer <= nodes_; peer++)
        if (peer != node) want(now, node, static_cast<NodeId>(peer));
}

void Network::connect(Time now, NodeId a, NodeId b) {
    Link& pair = link(a, b);
    pair.connecting = false;
    // Not possible now: whatever stands in the way asks again when it is gone.
    if (pair.alive || !events_.can_connect(a) || !events_.can_connect(b) || blocked(a, b) || blocked(b, a)) return;
    const u32 old = pair.generation;
    pair.generation++;
    pair.alive = true;
    counts_.connects++;
    if (rng_.chance(1, 2)) std::swap(a, b);
    const Time first = now;
    const Time other = now + latency(lane(a, b));
    // An end that has not noticed the death of the old connection learns it from the new one.
    if (lane(a, b).up_generation != 0) events_.down_at(first, a, b, old);
    if (lane(b, a).up_generation != 0) events_.down_at(other, b, a, old);
    events_.up_at(first, a, b, pair.generation);
    events_.up_at(other, b, a, pair.generation);
    for (Lane* out : {&lane(a, b), &lane(b, a)}) {
        drop_held(*out);
        std::fill(std::begin(out->last_arrival), std::end(out->last_arrival), other);
    }
}

bool Network::end_up(NodeId node, NodeId peer, u32 generation) {
    const Link& pair = link(node, peer);
    if (!pair.alive || pair.generation != generation) return false;
    lane(node, peer).up_generation = generation;
    return true;
}

bool Network::end_down(NodeId node, NodeId peer, u32 generation) {
    Lane& out = lane(node, peer);
    if (out.up_generation != generation || generation == 0) return false;
    out.up_generation = 0;
    return true;
}

void Network::drop_held(Lane& held) {
    for (Message* message : held.held) {
        counts_.lost++;
        release(message);
    }
    held.held.clear();
}

void Network::reset(Time now, NodeId a, NodeId b, Time notice) {
    Link& pair = link(a, b);
    if (!pair.alive) return;
    pair.alive = false;
    counts_.resets++;
    drop_held(lane(a, b));
    drop_held(lane(b, a));
    events_.down_at(now + rng_.below(notice + 1), a, b, pair.generation);
    events_.down_at(now + rng_.below(notice + 1), b, a, pair.generation);
    want(now + notice, a, b);
}

void Network::host_gone(Time now, NodeId node, bool silent) {
    for (unsigned i = 1; i <= nodes_; i++) {
        const auto peer = static_cast<NodeId>(i);
        if (peer == node || !link(node, peer).alive) continue;
        Link& pair = link(node, peer);
        pair.alive = false;
        drop_held(lane(node, peer));
        drop_held(lane(peer, node));
        if (silent && knobs_.tolerance_ms == 0) continue;
        const Time notice = silent ? knobs_.tolerance_ms * ms + rng_.below(knobs_.tolerance_ms * ms / 4 + 1)
                                   : rng_.below(2 * ms);
        events_.down_at(now + notice, peer, node, pair.generation);
    }
}

void Network::forget_ends(NodeId node) {
    for (unsigned peer = 1; peer <= nodes_; peer++)
        if (peer != node) lane(node, static_cast<NodeId>(peer)).up_generation = 0;
}

void Network::block(Time now, NodeId from, NodeId to) {
    Lane& out = lane(from, to);
    if (out.blocks++ != 0) return;
    out.block_id++;
    if (knobs_.tolerance_ms == 0) return;
    const Time patience = knobs_.tolerance_ms * ms + rng_.below(knobs_.tolerance_ms * ms / 4 + 1);
    events_.supervise_at(now + patience, from, to, out.block_id);
}

void Network::unblock(Time now, NodeId from, NodeId to) {
    Lane& out = lane(from, to);
    if (out.blocks == 0 || --out.blocks != 0) return;
    // All at once, before anything still on its way: the order of a lane is never broken.
    std::vector<Message*> held;
    held.swap(out.held);
    for (Message* message : held) events_.arrive_now(message);
    want(now, from, to);
}

void Network::supervise(Time now, NodeId from, NodeId to, u64 block_id) {
    const Lane& out = lane(from, to);
    if (out.blocks != 0 && out.block_id == block_id) reset(now, from, to, knobs_.tolerance_ms * ms / 4);
}

void Network::delay(NodeId from, NodeId to, i64 change_us) {
    lane(from, to).extra_us = static_cast<u64>(static_cast<i64>(lane(from, to).extra_us) + change_us);
}

}  // namespace krg::sim
