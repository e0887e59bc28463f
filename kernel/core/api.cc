// SPDX-License-Identifier: GPL-2.0
// The extern "C" face of the engine (membership.h). Inside, time 0 means
// "never", so the engine's clock is the caller's plus one.
#include "kernel/core/engine.hh"

namespace krg {
int witness_step(u8* state, u32* state_length, u32 room, u64 cluster_id, const u8* msg, u32 msg_length, u8* reply,
                 u32* reply_length);
#ifdef KRG_MUTANTS
Mutant active_mutant = Mutant::None;
#endif
}  // namespace krg

struct krg_mbr {
    krg::Engine engine;
    krg_mbr(krg::Arena& arena, const krg_mbr_config& cfg, krg::Ms now) : engine(arena, cfg, now) {}
};

namespace {
constexpr u64 head = (sizeof(krg_mbr) + 15) & ~15ull;
u64 outside(krg::Ms t) { return t == krg::never || t == 0 ? t : t - 1; }
}  // namespace

extern "C" {

u64 krg_mbr_size(u16 max_nodes) {
    if (!max_nodes || max_nodes > KRG_MBR_NODES_MAX) return 0;
    krg_mbr_config cfg{};
    cfg.max_nodes = max_nodes;
    krg::Arena measure(nullptr, 0);
    krg::Engine probe(measure, cfg, 0);
    return head + measure.used();
}

struct krg_mbr* krg_mbr_init(void* mem, u64 size, const struct krg_mbr_config* cfg, u64 now_ms) {
    u64 wanted = cfg ? krg_mbr_size(cfg->max_nodes) : 0;
    if (!mem || !wanted || size < wanted || !cfg->self || cfg->self > cfg->max_nodes || !cfg->incarnation ||
        !krg::params_valid(cfg->params))
        return nullptr;
    krg::Arena arena(static_cast<u8*>(mem) + head, size - head);
    return new (mem) krg_mbr(arena, *cfg, now_ms + 1);
}

void krg_mbr_step(struct krg_mbr* m, u64 now_ms, const struct krg_mbr_event* ev) { m->engine.step(now_ms + 1, *ev); }

int krg_mbr_next_action(struct krg_mbr* m, struct krg_mbr_action* act) { return m->engine.next_action(*act); }

u64 krg_mbr_deadline(const struct krg_mbr* m) { return outside(m->engine.deadline()); }

enum krg_mbr_state krg_mbr_state(const struct krg_mbr* m) { return m->engine.state(); }

u64 krg_mbr_serve_until(const struct krg_mbr* m) { return outside(m->engine.serve_until()); }

void krg_mbr_get_view(const struct krg_mbr* m, struct krg_mbr_view* view) {
    const krg::View& v = m->engine.view();
    *view = {};
    view->epoch = v.epoch;
    view->cluster_id = v.cluster_id;
    view->params = v.params;
    view->count = v.count();
    view->removed_count = v.removed_count();
    view->member = v.members();
    view->removed = v.removed();
}

int krg_mbr_peer(struct krg_mbr* m, u16 node, u64 now_ms, struct krg_mbr_peer_info* info) {
    return m->engine.peer_info(node, now_ms + 1, *info) ? 0 : -1;
}

void krg_mbr_get_stats(const struct krg_mbr* m, struct krg_mbr_stats* stats) { *stats = m->engine.stats(); }

int krg_mbr_has_quorum(struct krg_mbr* m, u64 now_ms) { return m->engine.has_quorum(now_ms + 1); }

enum krg_mbr_recovery krg_mbr_may_recover(struct krg_mbr* m, u64 now_ms) { return m->engine.may_recover(now_ms + 1); }

u64 krg_mbr_hash(const struct krg_mbr* m) { return m->engine.hash(); }

int krg_mbr_witness(u8* state, u32* state_len, u32 state_cap, u64 cluster_id, const u8* msg, u32 msg_len, u8* reply,
                    u32* reply_len) {
    return krg::witness_step(state, state_len, state_cap, cluster_id, msg, msg_len, reply, reply_len);
}

}  // extern "C"
