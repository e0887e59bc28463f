// SPDX-License-Identifier: GPL-2.0
// The home's side of everything that changes who holds an object: write grants with
// their invalidations, copies for safety, the set of nodes a writer commits to, and
// the bits of what was ever written.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

/// Who keeps the committed version while @writer writes: those that keep it already, then sharers; @source,
/// which sends the page and freezes its own copy, only if there is nobody else.
/// Of what was never written: nodes with at least @most room.
Rset Engine::choose_rset(const Entry& e, NodeId writer, NodeId source, Room most) const {
    Rset r;
    const u32 wanted = copies_needed(e.policy) - 1;
    if (e.version.zero()) {
        while (r.count < wanted) {
            const NodeId b = pick_backup(writer, nullptr, r, most);
            if (!b) break;
            r.add(b);
        }
        return r;
    }
    for (int leaving = 0; leaving < 2; leaving++)
        for (const IdSet* set : {&e.retained, &e.sharers})
            for (u32 i = 0; i < set->count() && r.count < wanted; i++) {
                const NodeId n = set->at(i);
                const krg_dsm_member* m = member(n);
                if (n != writer && n != source && m && leaves(*m) == (leaving != 0)) r.add(n);
            }
    if (source && r.count < wanted) r.add(source);
    return r;
}

void Engine::write_transaction(Entry& e) {
    const NodeId q = e.current.node;
    const u32 wanted = copies_needed(e.policy) - 1;
    if (e.exclusive) {
        if (e.writer == q) {
            give(e, KRG_DSM_WRITE, Payload::have);
            return;
        }
        for (u32 i = 0; i < e.retained.count(); i++) e.rset.add(e.retained.at(i));
        const krg_dsm_member* old = member(e.writer);
        const bool was_backup = e.rset.has(q);
        e.rset.remove(q);
        if (was_backup || (e.rset.count < wanted && old && !leaves(*old))) e.rset.add(e.writer);
        forward(e, e.writer, q, KRG_DSM_WRITE);
        return;
    }
    const bool ahead = e.current.ahead;
    if (!copies(e) || (ahead && KRG_DSM_MUTANT(RunOverWritten))) {
        if (!copies(e) && initialised(e.key) && !KRG_DSM_MUTANT(LostReadsZero)) {
            stats_.lost++;
            trace_object(KRG_DSM_T_LOST, op_, e.key, q);
            refuse(e, Errno::io);
            return;
        }
        e.version = {};
    }
    const bool holds = e.sharers.has(q) || e.retained.has(q);
    // Until the requester has confirmed, its copy does not count: the source's frozen one does.
    if (!e.version.zero() && copies(e) < wanted + 1 && !e.copy_failed) {
        if (const NodeId b = pick_backup(q, &e, {})) {
            start_copy(e, holder_for(e, 0), b);
            return;
        }
    }
    e.source = holds || e.version.zero() ? 0 : holder_for(e, q);
    // What is there may always be written; something new only where its copies have room.
    const bool fresh = e.version.zero() && durable(e.policy) && !e.current.flag;
    e.rset = choose_rset(e, q, e.source, !fresh ? Room::full : ahead ? Room::enough : Room::tight);
    if (fresh && e.rset.count < wanted) {
        if (!ahead) stats_.writes_refused++;
        refuse(e, Errno::nospc);
        return;
    }
    e.phase = Phase::invalidating;
    e.answered = answers_directly(e);
    invalidate_others(e);
    if (!e.acks || e.answered || KRG_DSM_MUTANT(GrantBeforeAcks)) grant_write(e);
}

/// Has the holder at place @i of @set to do anything before the requester writes? Who retains the version goes on doing so.
bool Engine::must_invalidate(const Entry& e, const IdSet& set, u32 i) const {
    const NodeId n = set.at(i);
    if (n == e.current.node) return false;
    if (&set == &e.retained && e.rset.has(n) && !e.version.zero() && n != e.source) return false;
    return !(KRG_DSM_MUTANT(SkipInvalidation) && &set == &e.sharers && n != e.source && i + 1 == set.count());
}

/// The holders tell the requester themselves that their copies are gone: one message less in the row. Not if all of them
/// are this node, which has to say GRANT anyway, nor if there are old copies, which only this node knows.
bool Engine::answers_directly(const Entry& e) const {
    if (e.current.node == cfg_.self || !e.stale.empty() || KRG_DSM_MUTANT(GrantBeforeAcks)) return false;
    u32 answers = 0;
    bool others = false;
    for (const IdSet* set : {&e.sharers, &e.retained})
        for (u32 i = 0; i < set->count(); i++)
            if (must_invalidate(e, *set, i)) {
                answers++;
                others = others || set->at(i) != cfg_.self;
            }
    return others && answers <= answers_max;
}

void Engine::invalidate_others(Entry& e) {
    for (const IdSet* set : {&e.sharers, &e.retained, &e.stale})
        for (u32 i = 0; i < set->count(); i++) {
            if (!must_invalidate(e, *set, i)) continue;
            const NodeId n = set->at(i);
            const bool keep = set != &e.stale && e.rset.has(n) && !e.version.zero();
            invalidate_one(e, n, keep, n == e.source ? e.current.node : static_cast<NodeId>(0));
        }
}

void Engine::invalidate_one(Entry& e, NodeId node, bool keep, NodeId data_to) {
    Message m = about(Type::invalidate, e);
    m.request = e.current.request;
    m.node = data_to;
    m.answer = e.answered ? e.current.node : static_cast<NodeId>(0);
    m.version = e.version;
    m.keep = keep;
    e.acks++;
    needed(e, node);
    send(node, m);
}

void Engine::on_invalidated(NodeId from, const Message& m) {
    Entry* e = in_phase(from, m, Phase::invalidating);
    if (!e || !e->acks) return;
    e->stale.remove(from);
    invalidated(*e, from, m.keep);
    if (--e->acks == 0) invalidations_over(*e);
}

void Engine::invalidated(Entry& e, NodeId node, bool keep) {
    e.sharers.remove(node);
    if (keep)
        e.retained.add(node);
    else
        e.retained.remove(node);
}

/// Everybody has answered.
void Engine::invalidations_over(Entry& e) {
    if (e.mending) {
        e.mending = e.was_pinned = false;
        continue_transaction(e);
    } else if (e.current.type == Type::punch) {
        e.was_pinned = false;
        continue_transaction(e);  // asks those again who could not
    } else if (e.was_pinned) {
        if (e.source && !e.sharers.has(e.source) && !e.retained.has(e.source)) {
            e.frozen.add(e.source);
            // Others have dropped theirs already; nobody writes, so its copy is as good as any.
            if (copies(e) < copies_needed(e.policy)) e.retained.add(e.source);
        }
        need_repair(e);
        refuse(e, Errno::busy);
    } else if (e.current.type == Type::get) {
        grant_write(e);
    } else {
        refuse(e, Errno::none);
    }
}

/// A holder cannot let go of its page: the requester learns it, and everything else stays.
void Engine::on_pinned(NodeId from, const Message& m) {
    Entry* e = home_serving_ ? entries_.find(m.key) : nullptr;
    if (e && e->phase == Phase::closing && e->exclusive && e->writer == from && e->current.request == m.request) {
        refuse(*e, Errno::busy);
        return;
    }
    if (e && e->phase == Phase::closing && e->answered && e->current.node == from && e->current.request == m.request) {
        on_requester_pinned(*e, m);
        return;
    }
    if (!e || e->phase != Phase::invalidating || !e->acks) {
        impossible(from);
        return;
    }
    e->was_pinned = true;
    if (--e->acks == 0) invalidations_over(*e);
}

/// All holders have answered the requester of a write: those in the list could not let go, the others have done as told.
void Engine::on_requester_pinned(Entry& e, const Message& m) {
    NodeId done[answers_max];
    u32 count = 0;
    for (const IdSet* set : {&e.sharers, &e.retained})
        for (u32 i = 0; i < set->count() && count < answers_max; i++) {
            bool pinned = !must_invalidate(e, *set, i);
            for (u32 k = 0; k < m.list_count; k++) pinned = pinned || m.list[k] == set->at(i);
            if (!pinned) done[count++] = set->at(i);
        }
    for (u32 i = 0; i < count; i++) invalidated(e, done[i], e.rset.has(done[i]) && !e.version.zero());
    e.was_pinned = true;
    invalidations_over(e);
}

void Engine::grant_write(Entry& e) {
    const NodeId q = e.current.node;
    const bool holds = e.sharers.has(q) || e.retained.has(q);
    give(e, KRG_DSM_WRITE, holds ? Payload::have : e.version.zero() ? Payload::zeros : Payload::follows);
    e.acks = 0;
}

/// One more copy of a shared object, at @target; @if_room: which may refuse it.
void Engine::start_copy(Entry& e, NodeId source, NodeId target, bool if_room) {
    Message m = about(Type::copy, e);
    m.node = target;
    m.keep = if_room;
    m.version = e.version;
    e.phase = Phase::copying;
    e.target = target;
    needed(e, target);
    send(source, m);
}

void Engine::on_retained(NodeId from, const Message& m) {
    Entry* e = in_phase(from, m, Phase::copying);
    if (!e) return;
    if (e->target != from) {
        impossible(from);
        return;
    }
    if (m.error == Errno::none && !make_room(*e)) {
        reset(from, KRG_DSM_R_MEMORY);  // it has a copy that could not be named
        return;
    }
    if (m.error == Errno::none) {
        e->stale.remove(from);
        e->retained.add(from);
    } else if (m.error == Errno::nospc && e->no_room++ < KRG_DSM_REPLICAS_MAX) {
        if (Peer* p = from == cfg_.self ? nullptr : peer(from)) p->room = Room::full;  // until it says otherwise
    } else {
        e->copy_failed = true;  // no memory there: go on with the copies there are
    }
    continue_transaction(*e);
}

/// Tells a writer to commit to @rset from now on.
void Engine::set_rset(Entry& e, const Rset& rset) {
    Message m = about(Type::set_rset, e);
    m.rset = rset;
    e.rset = rset;
    e.phase = Phase::setting;
    needed(e, e.writer);
    send(e.writer, m);
}

void Engine::on_rset_set(NodeId from, const Message& m) {
    Entry* e = in_phase(from, m, Phase::setting);
    if (!e) return;
    if (!e->exclusive || e->writer != from) {
        impossible(from);
        return;
    }
    e->retained.clear();
    for (u32 i = 0; i < m.rset.count; i++) {
        e->retained.add(m.rset.node[i]);
        e->stale.remove(m.rset.node[i]);  // it has the newest now
    }
    e->version = m.version;
    if (!e->target) {
        e->widened = true;  // once a transaction is enough
        e->rset = {};
        continue_transaction(*e);
        return;
    }
    invalidate_one(*e, e->target, false, 0);
    e->phase = Phase::invalidating;
}

/// A node that holds the committed version of what another writes wants to be rid of it.
void Engine::replace_backup(Entry& e, NodeId node, bool leaving) {
    Rset r;
    for (u32 i = 0; i < e.retained.count(); i++)
        if (e.retained.at(i) != node) r.add(e.retained.at(i));
    if (r.count + 1u < copies_needed(e.policy)) {
        if (const NodeId b = pick_backup(e.writer, &e, r, leaving ? Room::full : Room::enough)) {
            r.add(b);
        } else if (!leaving) {
            refuse(e, Errno::nospc);
            return;
        }
    }
    e.target = node;
    set_rset(e, r);
}

/// The writer has fewer backups than there could be: it gets them before anything else, since nothing it has
/// written may be seen before. True: that is under way.
bool Engine::widen_rset(Entry& e) {
    if (!e.exclusive || e.widened) return false;
    const u32 needed = copies_needed(e.policy);
    Rset wider;
    for (u32 i = 0; i < e.retained.count(); i++) wider.add(e.retained.at(i));
    const u32 had = wider.count;
    while (wider.count + 1u < needed) {
        const NodeId b = pick_backup(e.writer, &e, wider);
        if (!b) break;
        wider.add(b);
    }
    if (wider.count == had) return false;
    set_rset(e, wider);
    return true;
}

/// What recovery has left to do before others may use the object: a writer's backups, and no older copies, which
/// could be taken for the newest one day. True: something of it is under way.
bool Engine::mend(Entry& e) {
    if (widen_rset(e)) return true;
    if (e.stale.empty() || e.mended) return false;
    if (!e.exclusive && copies(e) < copies_needed(e.policy) && !e.copy_failed) {
        NodeId b = 0;
        for (u32 i = 0; i < e.stale.count() && !b; i++)
            if (const krg_dsm_member* m = member(e.stale.at(i)); m && !leaves(*m)) b = e.stale.at(i);
        if (!b) b = pick_backup(0, &e, {});
        if (b) {
            start_copy(e, holder_for(e, 0), b);
            return true;
        }
    }
    e.mended = true;
    for (u32 i = 0; i < e.stale.count(); i++) invalidate_one(e, e.stale.at(i), false, 0);
    e.phase = Phase::invalidating;
    e.mending = true;
    return true;
}

void Engine::need_repair(Entry& e) {
    e.repair = true;
    ready_entries_.push(e.ready, &e);
}

/// An object of this chunk (keep: a durable one) is about to be written for the first time. Not before all have reported: only so can the next
/// rebuild tell in which epochs anything may have been written.
void Engine::on_init(NodeId from, const Message& m) {
    if (!home_serving_) {
        come_early(from, m);
        return;
    }
    Chunk* c = set_written(m.key, m.policy);
    if (!c) {
        reset(from, KRG_DSM_R_MEMORY);
        return;
    }
    // Who does not keep the bits needs to know of the chunk only. Whether all the others have heard, nobody here knows.
    if (!m.keep && keeps_bits(m.key, m.policy, cfg_.self)) c->unsure = set_initialised(m.key, m.policy);
    Message r = about(Type::init_done, m);
    r.request = m.request;
    send(from, r);
}

}  // namespace krg::dsm
