// SPDX-License-Identifier: GPL-2.0
// Memory of nodes: giving copies up, which copies are worth it, and what nodes know of
// each other's room. What a home does about an eviction: home.cc; who takes what others
// give up: pick_backup() in place.cc and take_in() in holder.cc.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

void Engine::evict(const krg_dsm_event& ev) {
    Obj* o = objects_.find(Key{ev.object.container, ev.object.index});
    const bool nothing = !o || o->state == KRG_DSM_I;
    if (nothing || o->state == KRG_DSM_F || o->evicting || o->evict_owed || o->waiters || o->asked || o->installing ||
        o->unused || !serving_) {
        done(ev.object, ev.token, nothing ? Errno::none : Errno::busy);
        return;
    }
    o->evicting = true;
    o->evict_asked = false;
    o->evict_cheap = ev.flags & KRG_DSM_F_CHEAP;
    o->evict_waited = true;
    o->evict_token = ev.token;
    ready(*o);
}

/// The end of an eviction, for whoever wanted it.
void Engine::evict_done(Obj& o, Errno e) {
    if (!o.evicting) return;
    o.evicting = o.evict_asked = false;
    if (e == Errno::none)
        stats_.evictions++;
    else
        stats_.evictions_refused++, o.recent = true;
    ready(o);
    if (!o.evict_waited) return;
    o.evict_waited = false;
    o.evict_owed = true;
    o.evict_error = e;
}

void Engine::evict_answer(Obj& o) {
    if (!o.evict_owed) return;
    if (answer(KRG_DSM_ACT_DONE, object_of(o), o.evict_token, o.evict_error))
        o.evict_owed = false;
    else
        ready(o);
}

void Engine::on_evict_done(const Message& m) {
    if (Obj* o = objects_.find(m.key)) {
        evict_done(*o, m.error);
        if (draining_ && o->state != KRG_DSM_I) arm(*o, now_ + cfg_.params.retry_us);
    }
}

/// Without the copies of a batch under way: they go with it.
u64 Engine::pages() const {
    const u64 all = mapped_ + handles_, batch = (snapshot_ ? snapshot_->copied : 0) + (staging_ ? staging_->copied : 0) +
                                                (shoot_.active ? shoot_.copied : 0);
    return all > batch ? all - batch : 0;
}

/// A copy that enough others have may go at any time; the last ones only where somebody else has room for them.
bool Engine::somewhere() const {
    for (u32 i = 0; i < members_; i++)
        if (member_[i].node != cfg_.self && room_of(member_[i].node) == Room::enough) return true;
    return false;
}

/// A clock over all records: copies outside of the page cache that nobody is about to use or to change.
u32 Engine::cold(u32 look, krg_dsm_object* object, u32 max) {
    u32 found = 0;
    const u64 all = objects_.count();
    for (u64 i = 0; i < look && i < all && found < max; i++) {
        Obj* o = objects_.first();
        objects_.to_back(o);
        const bool idle = !o->mapped && o->handle && o->state != KRG_DSM_F && !o->evicting && !o->evict_owed && !o->waiters &&
                          !o->asked && !o->unused && !o->staged && !o->in_batch && o->command.type == Type::none;
        if (idle && !o->recent) object[found++] = object_of(*o);
        o->recent = false;
    }
    return found;
}

/// This node has more or less room than before: whoever chooses nodes for copies knows it.
void Engine::room(const krg_dsm_event& ev) {
    if (ev.mode > KRG_DSM_FULL) {
        stats_.bad++;
        return;
    }
    const Room now = static_cast<Room>(ev.mode);
    if (now == room_) return;
    room_ = now;
    if (serving_) tell_room();
}

void Engine::tell_room() {
    for (u32 i = 0; i < members_; i++) {
        if (member_[i].node == cfg_.self) continue;
        Message m;
        m.type = Type::room;
        m.room = room_;
        send(member_[i].node, m);
    }
}

void Engine::on_room(NodeId from, const Message& m) {
    if (Peer* p = peer(from)) p->room = m.room;
}

Room Engine::room_of(NodeId node) const {
    if (node == cfg_.self) return room_;
    const Peer* p = peers_.find(Key{0, node});
    return p ? p->room : Room::enough;
}

}  // namespace krg::dsm
