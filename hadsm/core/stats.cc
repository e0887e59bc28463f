// SPDX-License-Identifier: GPL-2.0
// What the engine counts that is more than one addition: where answers came from,
// pages that go back and forth, how far re-replication is, what is lost. Nothing
// here has a say in the protocol.
#include "hadsm/core/engine.hh"

namespace krg::dsm {
namespace {

u32 bits_in(u64 word) {
    u32 n = 0;
    for (; word; word &= word - 1) n++;
    return n;
}

}  // namespace

/// A GET is answered; @others: more than its home and this node took part.
void Engine::count_answer(const Obj& o, bool others) {
    const bool here = home(o.key, o.policy) == cfg_.self;
    (here && !others ? stats_.answered_here : here || !others ? stats_.hops_2 : stats_.hops_3)++;
}

/// A home has taken access to @key away from this node.
void Engine::taken_away(const Key& key) {
    Recent& r = recent_[hash_of(key) % recent_max];
    r.key = key;
    r.at = now_;
}

/// @key is asked for.
void Engine::asked_again(const Key& key) {
    Recent& r = recent_[hash_of(key) % recent_max];
    if (!r.at || !(r.key == key)) return;
    if (now_ - r.at < cfg_.params.pong_us) stats_.ping_pongs++;
    r.at = 0;
}

u32 Engine::copies_of(const Entry& e) const { return e.exclusive ? e.retained.count() + 1 : copies(e); }

/// There are fewer copies than members could hold.
bool Engine::lacks_copies(const Entry& e) const {
    const u32 have = copies_of(e);
    return have && have < copies_needed(e.policy) && (e.exclusive || !e.version.zero());
}

/// After a rebuild: what there is to do, for whoever wants to know how far it is.
void Engine::begin_repairs() {
    stats_.repair_total = stats_.repair_left = 0;
    for (Entry* e = entries_.first(); e; e = entries_.after(e)) {
        e->lacking = lacks_copies(*e);
        stats_.repair_left += e->lacking;
    }
    stats_.repair_total = stats_.repair_left;
}

/// A transaction of @e is over, or the entry itself is.
void Engine::check_repair(Entry& e, bool gone) {
    if (!e.lacking || (!gone && lacks_copies(e))) return;
    e.lacking = false;
    stats_.repair_left--;
}

/// Objects of this home that were written, or may have been, and have no copy any more.
u64 Engine::lost_objects() const {
    if (!home_serving_) return 0;
    u64 written = 0, there = 0;
    for (const Chunk* c = chunks_.first(); c; c = chunks_.after(c)) {
        NodeId p[KRG_DSM_REPLICAS_MAX];
        if (!c->written) continue;
        compute_place(c->key, c->policy, p);
        if (p[0] != cfg_.self) continue;
        for (const u64 word : c->bits) written += bits_in(word);
    }
    for (const Entry* e = entries_.first(); e; e = entries_.after(e))
        there += initialised(e->key) && (copies_of(*e) || e->frozen.count() || e->phase != Phase::idle);
    return written > there ? written - there : 0;
}

/// Walks over all records: for administrators, not for every step.
void Engine::stats(krg_dsm_stats& s) const {
    s = stats_;
    s.no_memory = heap_.failed();
    s.objects = objects_.count();
    s.dirty = dirty_.count();
    s.entries = entries_.count();
    s.memory = heap_.used();
    s.pages = pages();
    s.full = 0;
    for (u32 i = 0; i < members_; i++) s.full += room_of(member_[i].node) == Room::full;
    s.recovering = members_ && !home_serving_;
    s.degraded = 0;
    for (const Entry* e = entries_.first(); e; e = entries_.after(e))
        if (e->exclusive || !e->version.zero()) s.degraded += copies_of(*e) < replicas(e->policy);
    for (const Obj* o = objects_.first(); o; o = objects_.after(o)) {
        s.shared += o->state == KRG_DSM_S;
        s.exclusive += o->state == KRG_DSM_X;
        s.retained += o->state == KRG_DSM_R;
        s.frozen += o->state == KRG_DSM_F;
        for (const Staged* v = o->staged; v; v = v->next) s.staged++;
    }
    s.lost_objects = lost_objects();
}

}  // namespace krg::dsm
