// SPDX-License-Identifier: GPL-2.0
// The copies of recovery points. Their keeper has them beside whatever is current, and
// nobody reads them; the home of an object knows who they are (Mark), chooses them when a
// point is cut, and has new ones made when some are gone. An object that has not changed
// since the last point keeps the copies that it has.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

Kept* Engine::keep(const Key& key, const krg_dsm_policy& policy) {
    Kept* k = spare_copies_.find(key);
    // Its chunk is there when the domain goes back to this copy.
    if (!k && chunk(key, policy) && (k = spare_copies_.add(heap_, key))) k->policy = policy;
    return k;
}

void Engine::free_slot(Slot& s) {
    free_handle(s.handle);
    s = Slot{};
}

void Engine::forget_if_empty(Kept& k) {
    if (k.last.has || k.next.has || k.shot.has || k.changes || !k.shot_version.zero()) return;
    if (round_.cursor == &k) round_.cursor = spare_copies_.after(&k);
    spare_copies_.erase(heap_, &k);
}

Mark* Engine::mark(const Key& key, const krg_dsm_policy& policy) {
    Mark* k = marks_.find(key);
    if (!k && (k = marks_.add(heap_, key))) k->policy = policy;
    return k;
}

void Engine::erase(Mark& k) {
    work_.remove(k.work);
    k.keepers.release(heap_);
    k.shooters.release(heap_);
    marks_.erase(heap_, &k);
}

/// What is written where a hole was made has a version of its own, though nobody has one any more that it could count on from.
u64 Engine::last_count(const Key& key) const {
    const Mark* k = checkpointed() ? marks_.find(key) : nullptr;
    return k ? k->version.count : 0;
}

/// So many copies of each object of a point, as long as there are so many nodes.
u32 Engine::point_copies() const {
    const u32 k = KRG_DSM_MUTANT(PointOneCopy) ? 1 : cfg_.replicas, n = usable_members();
    return k < n ? k : n;
}

/// Keepers that do not leave.
u32 Engine::good_keepers(const Mark& k) const {
    u32 good = 0;
    for (u32 i = 0; i < k.keepers.count(); i++) {
        const krg_dsm_member* m = member(k.keepers.at(i));
        good += m && !leaves(*m);
    }
    return good;
}

// A point is cut: what has changed, and who has it

/// A holder has copied what is current. The last version counts: an older one is a copy that is to be dropped anyway.
void Engine::on_shot(NodeId from, const Message& m) {
    if (round_.id != m.request || round_.step > Step::shoot) return;
    Mark* k = mark(m.key, m.policy);
    if (!k || !k->shooters.reserve(heap_, 1) || !k->keepers.reserve(heap_, KRG_DSM_REPLICAS_MAX)) {
        round_.error = Errno::nomem;
        return;
    }
    if (k->has && m.version <= k->version) return;
    if (!k->changed || m.version > k->next_version) {
        k->changed = true;
        k->next_version = m.version;
        k->shooters.clear();
    }
    if (m.version == k->next_version) k->shooters.add(from);
}

void Engine::on_shot_end(NodeId from, const Message& m) {
    Message r;
    r.type = Type::shot_known;
    r.request = m.request;
    send(from, r);
}

void Engine::on_shot_known(const Message& m) {
    if (round_.id != m.request || round_.step != Step::shoot || !round_.unknown) return;
    if (--round_.unknown == 0) answer_point(Errno::none);
}

/// A node that is to have one more copy: with as much room as possible, the same for a home as long as there is room.
NodeId Engine::pick_keeper(const Mark& k, Room most) const {
    NodeId best = 0;
    Room best_room = most;
    u64 best_weight = 0;
    for (u32 i = 0; i < members_; i++) {
        const NodeId n = member_[i].node;
        if (leaves(member_[i]) || (k.changed ? k.chosen(n) : k.keepers.has(n))) continue;
        const Room room = room_of(n);
        const u64 w = mix(mix(cfg_.domain, cfg_.self), n) | 1;
        if (room > best_room || (room == best_room && w <= best_weight)) continue;
        best = n;
        best_room = room;
        best_weight = w;
    }
    return best;
}

/// @round: the point under way; 0: it is about the last one.
void Engine::tell_keep(const Mark& k, NodeId to, Keeping what, u64 round, NodeId target) {
    Message m = about(Type::keep, k);
    m.request = round;
    m.version = round ? k.next_version : k.version;
    m.keeping = what;
    m.node = target;
    send(to, m);
}

/// One object of the point that is planned or mended; false: nothing to do.
bool Engine::keep_some() {
    if (Mark* k = work_.first()) {
        if (!round_.planning && !home_serving_) return false;
        work_.remove(k->work);
        if (round_.planning)
            plan(*k);
        else
            mend(*k);
        return true;
    }
    if (!round_.planning) return false;
    round_.planning = false;
    stored();
    return true;
}

/// Who keeps what has changed: holders that do not leave, then others; and who kept what it replaces is told.
void Engine::plan(Mark& k) {
    if (round_.error != Errno::none || !(k.changed || k.gone)) return;
    if (k.changed) {
        const u32 wanted = point_copies();
        for (u32 i = 0; i < k.shooters.count() && k.nexts < wanted; i++) {
            const krg_dsm_member* m = member(k.shooters.at(i));
            if (m && !leaves(*m)) k.next[k.nexts++] = m->node;
        }
        const u32 own = k.nexts;
        while (k.nexts < wanted) {
            const NodeId n = pick_keeper(k, Room::tight);
            if (!n) {
                round_.error = Errno::nospc;
                return;
            }
            k.next[k.nexts++] = n;
        }
        for (u32 i = 0; i < k.nexts; i++) {
            if (i < own)
                tell_keep(k, k.next[i], Keeping::own, round_.id);
            else
                tell_keep(k, k.shooters.at(0), Keeping::send, round_.id, k.next[i]);
            round_.waiting++;
        }
    }
    for (u32 i = 0; i < k.keepers.count(); i++) {
        if (k.chosen(k.keepers.at(i))) continue;
        tell_keep(k, k.keepers.at(i), Keeping::drop, round_.id);
        round_.waiting++;
    }
}

/// All is planned and all have answered.
void Engine::stored() {
    if (round_.id && round_.step == Step::cut && !round_.planning && !round_.waiting)
        answer_point(round_.error, round_.objects);
}

// The last point: copies that are gone, or at nodes that leave

void Engine::mend(Mark& k) {
    if (k.waiting || !k.has || KRG_DSM_MUTANT(PointNotMended)) {
        point_quiet();
        return;
    }
    const u32 good = good_keepers(k);
    if (good < point_copies()) {
        if (!k.keepers.reserve(heap_, 1)) {
            mend_at_ = now_ + cfg_.params.retry_us;
        } else if (const NodeId n = pick_keeper(k, Room::full)) {
            k.waiting = true;
            mending_++;
            tell_keep(k, k.keepers.at(0), Keeping::send, 0, n);
        }
    } else if (good < k.keepers.count()) {
        for (u32 i = 0; i < k.keepers.count() && !k.dropping; i++) {
            const krg_dsm_member* m = member(k.keepers.at(i));
            if (m && leaves(*m)) k.dropping = m->node;
        }
        if (k.dropping) {
            k.waiting = true;
            mending_++;
            tell_keep(k, k.dropping, Keeping::drop, 0);
        }
    }
    point_quiet();
}

// The keeper

void Engine::answer_keep(const Message& m, Errno e) {
    Message r = about(Type::kept, m);
    r.request = m.request;
    r.error = e;
    send(home(m.key, m.policy), r);
}

/// With the point under way what is kept of the last one goes.
void Engine::make_way(Kept& k) {
    k.changes = true;
    if (KRG_DSM_MUTANT(PointDropsOld)) free_slot(k.last);
}

void Engine::on_keep(NodeId from, const Message& m) {
    const bool round = m.request != 0;
    if (round && m.request != round_.id) return;  // given up
    Kept* k = spare_copies_.find(m.key);
    const auto is = [&m](const Slot& s) { return s.has && s.version == m.version; };
    switch (m.keeping) {
    case Keeping::own:
        if (!round || !k || k->next.has || !is(k->shot)) break;
        make_way(*k);
        k->next = k->shot;
        k->shot = Slot{};
        answer_keep(m, Errno::none);
        return;
    case Keeping::send: {
        const Slot* s = !k ? nullptr : !round ? &k->last : is(k->shot) ? &k->shot : &k->next;
        if (!s || !is(*s) || m.node == cfg_.self || !member(m.node)) break;
        Message c = about(Type::point_copy, *k);
        c.request = m.request;
        c.version = m.version;
        c.payload = s->handle ? Payload::page : Payload::zeros;
        send(m.node, c, s->handle);
        return;
    }
    case Keeping::drop:
        if (k && round) {
            make_way(*k);
        } else if (k) {
            free_slot(k->last);
            forget_if_empty(*k);
        }
        answer_keep(m, Errno::none);
        return;
    }
    impossible(from);
}

void Engine::on_point_copy(NodeId, Message& m) {
    const bool round = m.request != 0;
    if (round && m.request != round_.id) {
        free_handle(m.handle);
        return;
    }
    Kept* k = keep(m.key, m.policy);
    if (!k) {
        free_handle(m.handle);
        answer_keep(m, Errno::nomem);
        return;
    }
    Slot& s = round ? k->next : k->last;
    if (s.has)
        free_handle(m.handle);
    else
        s = Slot{true, m.version, m.handle};
    if (round) make_way(*k);
    answer_keep(m, s.version == m.version ? Errno::none : Errno::busy);
}

void Engine::on_kept(NodeId from, const Message& m) {
    if (m.request) {
        if (m.request != round_.id || round_.step != Step::cut || !round_.waiting) return;
        if (m.error != Errno::none) round_.error = m.error;
        round_.waiting--;
        stored();
        return;
    }
    Mark* k = marks_.find(m.key);
    if (!k || !k->waiting) return;
    k->waiting = false;
    mending_--;
    if (m.error != Errno::none) {
        mend_at_ = now_ + cfg_.params.retry_us;
    } else if (k->dropping) {
        k->keepers.remove(from);
    } else {
        k->keepers.add(from);
    }
    k->dropping = 0;
    if (m.error == Errno::none) work_.push(k->work, k);
    point_quiet();
}

/// A report.
void Engine::on_mark(NodeId from, const Message& m) {
    if (home_serving_) {
        impossible(from);
        return;
    }
    Mark* k = mark(m.key, m.policy);
    if (!k || !k->keepers.reserve(heap_, KRG_DSM_REPLICAS_MAX)) {
        rebuild_short_ = true;
        return;
    }
    if (k->has && k->version != m.version) {
        impossible(from);
        return;
    }
    k->has = true;
    k->version = m.version;
    k->keepers.add(from);
}

}  // namespace krg::dsm
