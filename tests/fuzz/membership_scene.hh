// SPDX-License-Identifier: GPL-2.0
//
// Three membership engines on a perfect network, to bring one of them into a state worth attacking. Used by the fuzz target,
// which keeps the memory of node 1 in each scene and starts every input from a copy, and by the maker of its first inputs,
// which wants the messages that really travel. No faults, no clocks that drift: tests/sim does that.
#pragma once

#include "kernel/core/membership.h"

#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

namespace krg::fuzz {

using Bytes = std::vector<std::uint8_t>;

/// States node 1 can be in when the first byte from outside arrives.
enum class Scene : std::uint8_t { idle, joining, alone, three_serving, preparing, suspended, draining, witness_pair, count };

inline constexpr u16 max_nodes = 16;
inline constexpr u64 cluster_id = 0x5eed'0000'0000'0001;

class Node {
public:
    explicit Node(u16 id, bool witness) : id_(id), size_(krg_mbr_size(max_nodes)), memory_(size_ / 16 + 1) {
        krg_mbr_config config{};
        config.self = id;
        config.max_nodes = max_nodes;
        config.cluster_hash = 0xc1;
        config.incarnation = incarnation(id);
        config.seed = id;
        config.params = {2000, 100, 250, 1000, 300, witness ? 1u : 0u};
        engine_ = krg_mbr_init(memory_.data(), size_, &config, 1000);
        if (!engine_) std::abort();
    }
    static u64 incarnation(u16 id) { return 1000u + id; }
    [[nodiscard]] u16 id() const { return id_; }
    [[nodiscard]] krg_mbr* engine() const { return engine_; }

    struct Block {
        alignas(16) std::uint8_t bytes[16];
    };
    /// The engine is its memory: a copy put back at the same place is the engine of that moment.
    [[nodiscard]] std::vector<Block> save() const { return memory_; }
    void restore(const std::vector<Block>& saved) { std::copy(saved.begin(), saved.end(), memory_.begin()); }

private:
    u16 id_;
    u64 size_;
    std::vector<Block> memory_;
    krg_mbr* engine_ = nullptr;
};

class World {
public:
    using Watch = std::function<void(u16 from, u16 to, const Bytes&)>;

    explicit World(bool witness, Watch watch = {}) : watch_(std::move(watch)) {
        for (u16 id = 1; id <= 3; ++id) nodes_.push_back(std::make_unique<Node>(id, witness));
    }
    [[nodiscard]] Node& node(u16 id) { return *nodes_[id - 1u]; }
    [[nodiscard]] u64 now() const { return now_; }

    void event(u16 id, u32 type, u16 about = 0, u64 arg = 0) {
        krg_mbr_event ev{};
        ev.type = type;
        ev.node = about;
        ev.incarnation = about ? Node::incarnation(about) : 0;
        ev.arg = arg;
        step(id, ev);
    }
    void connect(u16 a, u16 b) {
        event(a, KRG_MBR_EV_PEER_UP, b);
        event(b, KRG_MBR_EV_PEER_UP, a);
    }
    void mute(u16 id) { muted_ = id; }  // nothing reaches it any more
    void hold_prepared(bool hold) { hold_prepared_ = hold; }
    void run(u64 ms) {
        for (const u64 end = now_ + ms; now_ < end; now_ += 10) {
            settle();
            for (const auto& n : nodes_)
                if (krg_mbr_deadline(n->engine()) <= now_) event(n->id(), KRG_MBR_EV_TICK);
        }
        settle();
    }

private:
    struct Letter {
        u16 from, to;
        Bytes data;
    };

    void step(u16 id, const krg_mbr_event& ev) {
        krg_mbr_step(node(id).engine(), now_, &ev);
        krg_mbr_action act{};
        std::vector<krg_mbr_event> answers;
        while (krg_mbr_next_action(node(id).engine(), &act)) {
            if (act.type == KRG_MBR_ACT_SEND) send(id, act);
            if (act.type == KRG_MBR_ACT_PREPARE && !hold_prepared_) {
                krg_mbr_event done{};
                done.type = KRG_MBR_EV_PREPARED;
                done.arg = act.epoch;
                answers.push_back(done);
            }
        }
        for (const auto& answer : answers) step(id, answer);
    }
    void send(u16 from, const krg_mbr_action& act) {
        Bytes data(act.data, act.data + act.len);
        if (watch_) watch_(from, act.node, data);
        if (act.node == KRG_MBR_WITNESS) {
            Bytes reply(4096);
            auto length = static_cast<u32>(reply.size());
            if (krg_mbr_witness(witness_.data(), &witness_length_, static_cast<u32>(witness_.size()), cluster_id, data.data(),
                                static_cast<u32>(data.size()), reply.data(), &length) < 0)
                return;
            reply.resize(length);
            if (watch_) watch_(KRG_MBR_WITNESS, from, reply);
            letters_.push_back({KRG_MBR_WITNESS, from, std::move(reply)});
        } else if (act.node <= 3) {
            letters_.push_back({from, act.node, std::move(data)});
        }
    }
    void settle() {
        while (!letters_.empty()) {
            Letter letter = std::move(letters_.front());
            letters_.pop_front();
            if (letter.to == muted_) continue;
            krg_mbr_event ev{};
            ev.type = KRG_MBR_EV_MSG;
            ev.node = letter.from;
            ev.incarnation = letter.from ? Node::incarnation(letter.from) : 0;
            ev.data = letter.data.data();
            ev.len = static_cast<u32>(letter.data.size());
            step(letter.to, ev);
        }
    }

    std::vector<std::unique_ptr<Node>> nodes_;
    std::deque<Letter> letters_;
    Bytes witness_ = Bytes(KRG_MBR_WITNESS_STATE_MAX);
    u32 witness_length_ = 0;
    Watch watch_;
    u64 now_ = 1000;
    u16 muted_ = 0;
    bool hold_prepared_ = false;
};

/// Plays until node 1 is in the scene.
inline std::unique_ptr<World> play(Scene scene, World::Watch watch = {}) {
    auto world = std::make_unique<World>(scene == Scene::witness_pair, std::move(watch));
    if (scene == Scene::idle) return world;
    if (scene == Scene::joining) {
        world->event(1, KRG_MBR_EV_JOIN, 0, 60000);
        world->run(100);
        return world;
    }
    world->event(1, KRG_MBR_EV_CREATE, 0, cluster_id);
    world->run(1000);
    if (scene == Scene::alone) return world;
    const u16 last = scene == Scene::witness_pair ? 2 : 3;
    for (u16 id = 2; id <= last; ++id) {
        for (u16 other = 1; other < id; ++other) world->connect(id, other);
        world->event(id, KRG_MBR_EV_JOIN, 0, 60000);
        if (id == last && scene == Scene::preparing) world->hold_prepared(true);
        world->run(3000);
    }
    if (scene == Scene::suspended) {
        world->mute(1);
        world->run(5000);
    }
    if (scene == Scene::draining) {
        world->event(1, KRG_MBR_EV_LEAVE);
        world->run(3000);
    }
    return world;
}

}  // namespace krg::fuzz
