// SPDX-License-Identifier: GPL-2.0
//
// Engines side by side. See fleet.hh.
#include "tests/sim/dsm/fleet.hh"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>

namespace krg::sim::dsm {

namespace {

constexpr u64 page_bytes = 4096;
constexpr unsigned type_at = 2;  ///< where a message says what it is

void* take(void* /*context*/, u64 bytes) { return std::aligned_alloc(16, (bytes + 15) & ~u64{15}); }
void give(void* /*context*/, void* memory, u64 /*bytes*/) { std::free(memory); }

}  // namespace

Traffic Traffic::since(const Traffic& before) const {
    Traffic t = *this;
    t.messages -= before.messages;
    t.pages -= before.pages;
    t.bytes -= before.bytes;
    for (std::size_t i = 0; i < by_type.size(); i++) t.by_type[i] -= before.by_type[i];
    return t;
}

Fleet::Fleet(u16 nodes, const krg_dsm_params& params) : node_(nodes + 1U) {
    krg_dsm_config cfg{};
    cfg.max_nodes = KRG_DSM_NODES_MAX;
    cfg.domain = 0x77;
    cfg.params = params;
    cfg.memory = {take, give, nullptr};
    for (NodeId n = 1; n <= nodes; n++) {
        cfg.self = n;
        cfg.seed = n;
        node_[n].engine = krg_dsm_new(&cfg, now_);
        if (!node_[n].engine) broken_ = fmt::format("no memory for the engine of node {}", n);
    }
}

Fleet::~Fleet() {
    for (NodeId n = 1; n <= nodes(); n++) crash(n);
}

void Fleet::crash(NodeId node) {
    Node& n = node_[node];
    if (!n.engine) return;
    krg_dsm_stop(n.engine);
    krg_dsm_action a{};
    while (krg_dsm_next_action(n.engine, &a) != 0) {}
    krg_dsm_delete(n.engine);
    n.engine = nullptr;
    n.events.clear();
}

void Fleet::view(const std::vector<NodeId>& without, const std::vector<NodeId>& leaving) {
    const auto in = [](const std::vector<NodeId>& list, NodeId n) {
        return std::find(list.begin(), list.end(), n) != list.end();
    };
    std::vector<krg_dsm_member> members;
    epoch_++;
    for (NodeId n = 1; n <= nodes(); n++) {
        if (!node_[n].engine || in(without, n)) continue;
        if (node_[n].since == 0) node_[n].since = epoch_;
        members.push_back({n, static_cast<u16>(in(leaving, n)), 0, node_[n].since});
    }
    krg_dsm_event ev{};
    ev.epoch = epoch_;
    ev.len = static_cast<u32>(members.size());
    ev.member = members.data();
    // All stop before the first begins; and all have begun before anybody says anything.
    for (const u32 type : {KRG_DSM_EV_PREPARE, KRG_DSM_EV_COMMIT})
        for (const krg_dsm_member& m : members) {
            ev.type = type;
            krg_dsm_step(node_[m.node].engine, now_, &ev);
            wake(m.node);
        }
    run();
}

void Fleet::wake(NodeId node) {
    if (node_[node].active) return;
    node_[node].active = true;
    active_.push_back(node);
}

void Fleet::step(NodeId node, krg_dsm_event ev) {
    krg_dsm_step(node_[node].engine, now_, &ev);
    wake(node);
}

/// Until nobody has anything to do.
void Fleet::run() {
    while (!active_.empty() && broken_.empty()) {
        std::vector<NodeId> now;
        now.swap(active_);
        for (const NodeId id : now) {
            Node& n = node_[id];
            n.active = false;
            krg_dsm_action a{};
            while (n.engine && krg_dsm_next_action(n.engine, &a) != 0) act(id, a);
            std::vector<krg_dsm_event> events;
            events.swap(n.events);
            for (const krg_dsm_event& ev : events) step(id, ev);
        }
    }
}

void Fleet::act(NodeId node, const krg_dsm_action& a) {
    krg_dsm_event ev{};
    ev.object = a.object;
    switch (a.type) {
    case KRG_DSM_ACT_SEND: return send(node, a);
    case KRG_DSM_ACT_GRANT:
        answers_[a.token] = 1;
        ev.type = KRG_DSM_EV_INSTALLED;
        break;
    case KRG_DSM_ACT_ERROR: answers_[a.token] = a.error; return;
    case KRG_DSM_ACT_DONE: answers_[a.token] = a.error != 0 ? a.error : 1; return;
    case KRG_DSM_ACT_DOWNGRADE:
    case KRG_DSM_ACT_INVALIDATE:
        ev.type = KRG_DSM_EV_EDGE_DONE;
        if (a.type == KRG_DSM_ACT_INVALIDATE && a.keep != 0) ev.handle = ++handle_;
        break;
    case KRG_DSM_ACT_SNAPSHOT: return snapshot(node);
    case KRG_DSM_ACT_DRAINED: node_[node].drained = true; return;
    case KRG_DSM_ACT_RESET: broken_ = fmt::format("node {} wants a reset, reason {}", node, a.reason); return;
    default: return;
    }
    node_[node].events.push_back(ev);
}

void Fleet::snapshot(NodeId node) {
    krg_dsm_object object{};
    for (u32 i = 0; krg_dsm_batch_object(node_[node].engine, i, &object) == 0; i++)
        krg_dsm_batch_put(node_[node].engine, i, ++handle_);
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_SNAPSHOT_DONE;
    node_[node].events.push_back(ev);
}

/// Straight into the receiver: nothing is ever on its way.
void Fleet::send(NodeId node, const krg_dsm_action& a) {
    const bool page = a.handle != 0 || a.cached != 0;
    const u8 type = a.data[type_at] % names_.size();
    if (names_[type].empty()) {
        char text[160] = "";
        krg_dsm_describe(a.data, a.len, text, sizeof text);
        const std::string words = text;
        names_[type] = words.substr(0, words.find(' '));
    }
    traffic_.messages++;
    traffic_.pages += page ? 1 : 0;
    traffic_.bytes += a.len + (page ? page_bytes : 0);
    traffic_.by_type[type]++;
    if (!node_[a.node].engine) return;
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_MSG;
    ev.node = node;
    ev.data = a.data;
    ev.len = a.len;
    ev.handle = page ? ++handle_ : 0;
    step(a.node, ev);
}

void Fleet::drain(NodeId node) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_DRAIN;
    step(node, ev);
    run();
}

bool Fleet::access(NodeId node, const krg_dsm_object& object, u8 mode) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_REQUEST;
    ev.object = object;
    ev.mode = mode;
    ev.token = ++token_;
    const u64 token = ev.token;
    step(node, ev);
    run();
    const bool granted = answers_[token] == 1;
    answers_.clear();
    return granted;
}

bool Fleet::sync(NodeId node) {
    krg_dsm_event ev{};
    ev.type = KRG_DSM_EV_SYNC;
    ev.token = ++token_;
    const u64 token = ev.token;
    step(node, ev);
    run();
    const bool done = answers_[token] == 1;
    answers_.clear();
    return done;
}

bool Fleet::rest(unsigned steps) {
    for (unsigned i = 0; i < steps && broken_.empty(); i++) {
        u64 next = ~u64{0};
        u64 degraded = 0;
        for (NodeId n = 1; n <= nodes(); n++) {
            if (!node_[n].engine) continue;
            next = std::min(next, krg_dsm_deadline(node_[n].engine));
            degraded += stats(n).degraded;
        }
        if (next == ~u64{0}) return degraded == 0;
        now_ = std::max(now_, next);
        krg_dsm_event ev{};
        ev.type = KRG_DSM_EV_TICK;
        for (NodeId n = 1; n <= nodes(); n++)
            if (node_[n].engine && krg_dsm_deadline(node_[n].engine) <= now_) step(n, ev);
        run();
    }
    return false;
}

NodeId Fleet::home(const krg_dsm_object& object) const {
    for (NodeId n = 1; n <= nodes(); n++)
        if (node_[n].engine) return krg_dsm_home(node_[n].engine, &object);
    return 0;
}

krg_dsm_stats Fleet::stats(NodeId node) const {
    krg_dsm_stats s{};
    krg_dsm_get_stats(node_[node].engine, &s);
    return s;
}

krg_dsm_copy Fleet::copy(NodeId node, const krg_dsm_object& object) const {
    krg_dsm_copy c{};
    krg_dsm_inspect(node_[node].engine, &object, &c);
    return c;
}

u64 Fleet::messages(const Traffic& traffic, const std::string& type) const {
    for (std::size_t i = 0; i < names_.size(); i++)
        if (names_[i] == type) return traffic.by_type[i];
    return 0;
}

}  // namespace krg::sim::dsm
