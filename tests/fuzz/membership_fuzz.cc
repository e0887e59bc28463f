// SPDX-License-Identifier: GPL-2.0
//
// Fuzz target: the membership engine in several states, fed with events and with messages that were never sent. The first byte
// of an input chooses the state of node 1 (membership_scene.hh), then come steps:
//
//	op, node, time, [length (2), bytes]      a message carries bytes, other events do not
//
// Nothing may make the engine read or write out of bounds (the sanitizers watch), lose an action, name a node that cannot
// exist, or go back to an earlier epoch. A member that lies can do much (a cluster key is trusted), but not that.
#include "tests/fuzz/input.hh"
#include "tests/fuzz/membership_scene.hh"

#include <array>
#include <cstdlib>
#include <cstring>

namespace {

using namespace krg::fuzz;

struct Start {
    std::unique_ptr<World> world;
    std::vector<Node::Block> memory;
};

const std::array<Start, static_cast<size_t>(Scene::count)>& starts() {
    static const auto all = [] {
        std::array<Start, static_cast<size_t>(Scene::count)> made;
        for (size_t i = 0; i < made.size(); ++i) {
            made[i].world = play(static_cast<Scene>(i));
            made[i].memory = made[i].world->node(1).save();
        }
        return made;
    }();
    return all;
}

struct Watcher {
    uint64_t epoch = 0;
    uint64_t life = 0;  // cluster id the epoch belongs to
    uint64_t checksum = 0;

    void view(const krg_mbr* engine) {
        struct krg_mbr_view v {};
        krg_mbr_get_view(engine, &v);
        require(v.count <= max_nodes && v.removed_count <= max_nodes);
        for (unsigned i = 0; i < v.count; ++i) {
            require(v.member[i].node >= 1 && v.member[i].node <= max_nodes);
            require(i == 0 || v.member[i].node > v.member[i - 1].node);
        }
        if (v.cluster_id == life) require(v.epoch >= epoch || v.epoch == 0);
        life = v.cluster_id;
        epoch = v.epoch;
    }
    void actions(krg_mbr* engine) {
        krg_mbr_action act{};
        unsigned n = 0;
        while (krg_mbr_next_action(engine, &act)) {
            require(++n < 10000 && act.node <= KRG_MBR_NODES_MAX);
            for (unsigned i = 0; i < act.len; ++i) checksum += act.data[i];  // every byte must be readable
        }
    }
};

u32 event_of(uint8_t op) {
    static constexpr u32 kinds[] = {KRG_MBR_EV_MSG,      KRG_MBR_EV_MSG,   KRG_MBR_EV_MSG,       KRG_MBR_EV_MSG,
                                    KRG_MBR_EV_TICK,     KRG_MBR_EV_TICK,  KRG_MBR_EV_PEER_UP,   KRG_MBR_EV_PEER_DOWN,
                                    KRG_MBR_EV_PREPARED, KRG_MBR_EV_LEAVE, KRG_MBR_EV_DRAINED,   KRG_MBR_EV_EVICT,
                                    KRG_MBR_EV_RECOVER,  KRG_MBR_EV_JOIN,  KRG_MBR_EV_LINK_HINT, KRG_MBR_EV_CREATE};
    return kinds[op % 16];
}

void one_step(krg_mbr* engine, Input& in, u64& now, Watcher& watcher) {
    const uint8_t op = in.byte();
    krg_mbr_event ev{};
    ev.type = event_of(op);
    ev.node = in.byte();
    now += in.byte() * 8u;
    // Mostly the incarnation everybody knows; another one now and then.
    ev.incarnation = ev.node == KRG_MBR_WITNESS ? 0 : Node::incarnation(ev.node) + (op >> 7);
    Bytes data;
    if (ev.type == KRG_MBR_EV_MSG) {
        data = in.bytes<Bytes>(in.word());
        ev.data = data.data();
        ev.len = static_cast<u32>(data.size());
    } else if (ev.type == KRG_MBR_EV_PREPARED || ev.type == KRG_MBR_EV_DRAINED) {
        ev.arg = watcher.epoch;
    } else {
        ev.arg = op;
    }
    krg_mbr_step(engine, now, &ev);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input in(data, size);
    const Start& start = starts()[in.byte() % starts().size()];
    Node& node = start.world->node(1);
    node.restore(start.memory);
    krg_mbr* engine = node.engine();
    u64 now = start.world->now();
    Watcher watcher;
    watcher.view(engine);
    while (!in.empty()) {
        one_step(engine, in, now, watcher);
        watcher.actions(engine);
        watcher.view(engine);
        require(krg_mbr_state(engine) != KRG_MBR_SERVING || krg_mbr_serve_until(engine) != 0);
    }
    krg_mbr_stats stats{};
    krg_mbr_get_stats(engine, &stats);
    require(stats.actions_dropped == 0);
    return 0;
}
