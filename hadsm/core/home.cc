// SPDX-License-Identifier: GPL-2.0
// The home: the directory entry of an object, and its transactions, one at a time in
// the order they came. A transaction is closed by its requester; until then everything
// else waits in the queue. How copies are made, invalidated and counted: write.cc.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

Entry* Engine::entry(const Key& key, const krg_dsm_policy& policy) {
    Entry* e = entries_.find(key);
    if (!e && (e = entries_.add(heap_, key))) e->policy = policy;
    return e;
}

/// A request that cannot even be queued.
void Engine::refuse(NodeId to, const Message& m, Errno error) {
    Message r;
    r.type = m.type == Type::evict ? Type::evict_done : Type::fail;
    r.key = m.key;
    r.policy = m.policy;
    r.request = m.request;
    r.error = error;
    send(to, r);
}

void Engine::want(NodeId from, const Message& m) {
    if (!home_serving_) {
        come_early(from, m);
        return;
    }
    if (lost_ && m.type == Type::get) {
        refuse(from, m, Errno::io);
        return;
    }
    Entry* e = entry(m.key, m.policy);
    Want* w = e ? heap_.make<Want>() : nullptr;
    if (!w) {
        refuse(from, m, Errno::nomem);
        if (e) forget_if_empty(*e);
        return;
    }
    w->type = m.type;
    w->node = from;
    w->mode = m.mode;
    w->flag = m.keep;
    w->request = m.request;
    w->op = m.op;
    if (KRG_DSM_MUTANT(LastComeFirstServed) && e->queue) {
        w->next = e->queue;
        e->queue = w;
        return;
    }
    (e->last ? e->last->next : e->queue) = w;
    e->last = w;
    ready_entries_.push(e->ready, e);
}

void Engine::advance(Entry& e) {
    if (!home_serving_) return;
    if (e.phase != Phase::idle && !KRG_DSM_MUTANT(CloseNotAwaited)) return;
    if (!e.frozen.empty()) {
        if (!KRG_DSM_MUTANT(FrozenTrusted)) {
            release_frozen(e);
            return;
        }
        e.frozen.clear();
    }
    if (hole_ && held_by_hole(e)) return;
    if (homes_held()) return;  // a recovery point is about to be cut: release_held() comes back here
    Want* w = e.queue;
    if (!w) {
        if (e.repair) {
            e.repair = false;
            e.current = {};
            e.current.type = Type::set_rset;
            e.current.op = new_op();
            begin_transaction(e);
        } else {
            forget_if_empty(e);
        }
        return;
    }
    e.queue = w->next;
    if (!e.queue) e.last = nullptr;
    e.current = *w;
    heap_.drop(w);
    begin_transaction(e);
}

/// Room for whatever this transaction may add, so that nothing fails in its middle.
bool Engine::make_room(Entry& e) {
    const u32 more = KRG_DSM_REPLICAS_MAX + 2;
    return e.sharers.reserve(heap_, more) && e.retained.reserve(heap_, more) && e.frozen.reserve(heap_, 2) &&
           chunk(e.key, e.policy);
}

void Engine::begin_transaction(Entry& e) {
    e.copy_failed = e.was_pinned = e.widened = e.mended = e.others = e.answered = false;
    e.source = e.target = 0;
    e.acks = e.no_room = 0;
    e.rset = {};
    op_ = e.current.op;
    if (!make_room(e)) {
        refuse(e, Errno::nomem);
        return;
    }
    suspect_unknown(e.key);
    continue_transaction(e);
}

/// The next piece of the current transaction, when the last is done.
void Engine::continue_transaction(Entry& e) {
    e.phase = Phase::idle;
    op_ = e.current.op;
    if (e.current.ahead && !easy(e, e.current.mode)) {
        refuse(e, Errno::busy);
        return;
    }
    const bool own = e.current.type == Type::get && e.current.node == e.writer;
    if ((e.current.type == Type::get || e.current.type == Type::evict) && !own && mend(e)) return;
    switch (e.current.type) {
    case Type::get:
        if (e.current.mode == KRG_DSM_WRITE)
            write_transaction(e);
        else
            read_transaction(e);
        return;
    case Type::evict: evict_transaction(e); return;
    case Type::punch: hole_transaction(e); return;
    default: repair_transaction(e);
    }
}

void Engine::refuse(Entry& e, Errno error) {
    if (e.current.type != Type::set_rset) {
        Message r;
        r.type = e.current.type == Type::evict ? Type::evict_done : Type::fail;
        r.key = e.key;
        r.policy = e.policy;
        r.request = e.current.request;
        r.error = error;
        send(e.current.node, r);
    }
    finish(e);
}

/// The transaction is over.
void Engine::finish(Entry& e) {
    e.phase = Phase::idle;
    e.current = {};
    if (e.counted) transaction_over(e);
    check_repair(e, false);
    ready_entries_.push(e.ready, &e);
}

void Engine::forget_if_empty(Entry& e) {
    if (e.phase != Phase::idle || e.queue || e.exclusive || copies(e) || e.stale.count() || e.frozen.count() ||
        e.hole != Hole::none)
        return;
    check_repair(e, true);
    ready_entries_.remove(e.ready);
    e.sharers.release(heap_);
    e.retained.release(heap_);
    e.stale.release(heap_);
    e.frozen.release(heap_);
    entries_.erase(heap_, &e);
}

/// Who can send the page: this node if it can, otherwise any that is not @not_this.
NodeId Engine::holder_for(const Entry& e, NodeId not_this) const {
    const NodeId self = cfg_.self;
    if (self != not_this && (e.sharers.has(self) || e.retained.has(self))) return self;
    for (u32 i = 0; i < e.sharers.count(); i++)
        if (e.sharers.at(i) != not_this) return e.sharers.at(i);
    for (u32 i = 0; i < e.retained.count(); i++)
        if (e.retained.at(i) != not_this) return e.retained.at(i);
    return 0;
}

/// @node has to do something for the current transaction.
void Engine::needed(Entry& e, NodeId node) const { e.others = e.others || (node != cfg_.self && node != e.current.node); }

/// The answer that needs no page from another, and the wait for its CLOSE.
void Engine::give(Entry& e, u8 mode, Payload payload) {
    Message m = about(Type::grant, e);
    m.request = e.current.request;
    m.mode = mode;
    m.version = e.version;
    if (mode == KRG_DSM_WRITE && e.version.zero()) m.version.count = last_count(e.key);
    m.rset = e.rset;
    m.payload = payload;
    m.initialised = initialised(e.key);
    m.keep = e.others;
    m.count = e.answered ? e.acks : 0;
    m.lazy = e.current.ahead;
    e.phase = Phase::closing;
    send(e.current.node, m);
    if (KRG_DSM_MUTANT(CloseNotAwaited)) ready_entries_.push(e.ready, &e);
}

void Engine::forward(Entry& e, NodeId holder, NodeId to, u8 mode) {
    Message m = about(Type::forward, e);
    m.request = e.current.request;
    m.mode = mode;
    m.node = to;
    m.version = e.exclusive ? Version{} : e.version;
    m.rset = e.rset;
    m.ahead = m.lazy = e.current.ahead;
    e.phase = to ? Phase::closing : Phase::demoting;
    needed(e, holder);
    send(holder, m);
}

void Engine::read_transaction(Entry& e) {
    const NodeId q = e.current.node;
    if (e.exclusive) {
        if (e.writer == q)
            give(e, KRG_DSM_WRITE, Payload::have);
        else if (KRG_DSM_MUTANT(AheadFromRetained) && e.current.ahead && !e.retained.empty() && e.retained.at(0) != q)
            forward(e, e.retained.at(0), q, KRG_DSM_READ);
        else
            forward(e, e.writer, q, KRG_DSM_READ);
    } else if (e.sharers.has(q) || e.retained.has(q)) {
        give(e, KRG_DSM_READ, Payload::have);
    } else if (const NodeId p = holder_for(e, q)) {
        forward(e, p, q, KRG_DSM_READ);
    } else if (initialised(e.key) && !KRG_DSM_MUTANT(LostReadsZero)) {
        stats_.lost++;
        trace_object(KRG_DSM_T_LOST, op_, e.key, q);
        refuse(e, Errno::io);
    } else {
        e.version = {};
        give(e, KRG_DSM_READ, Payload::zeros);
    }
}

Entry* Engine::in_phase(NodeId from, const Message& m, Phase phase) {
    Entry* e = home_serving_ ? entries_.find(m.key) : nullptr;
    if (e && e->phase == phase) return e;
    impossible(from);
    return nullptr;
}

void Engine::on_close(NodeId from, const Message& m) {
    Entry* e = in_phase(from, m, Phase::closing);
    if (!e) return;
    if (e->current.node != from || e->current.request != m.request) {
        impossible(from);
        return;
    }
    const bool writer_already = e->exclusive && e->writer == from;
    e->stale.remove(from);
    if (e->current.mode == KRG_DSM_WRITE && !writer_already) {
        const NodeId old = e->exclusive ? e->writer : e->source;
        e->exclusive = true;
        e->writer = from;
        e->sharers.clear();
        e->retained.clear();
        for (u32 i = 0; i < e->rset.count; i++) e->retained.add(e->rset.node[i]);
        e->version = m.version;
        if (old && old != from && (m.dirty || !e->rset.has(old))) e->frozen.add(old);
    } else if (!writer_already) {
        if (e->exclusive) {
            e->exclusive = false;
            e->sharers.clear();
            e->sharers.add(e->writer);
            if (m.version.zero()) e->retained.clear();
        }
        e->sharers.add(from);
        e->retained.remove(from);
        e->version = m.version;
    }
    if (e->exclusive && e->retained.count() + 1 < copies_needed(e->policy)) e->repair = true;
    finish(*e);
}

/// The receiver has confirmed: frozen copies go, or are the committed version that is kept. Nobody else may see
/// what the receiver writes before they have gone: only so can a frozen copy be trusted when its receiver dies.
void Engine::release_frozen(Entry& e) {
    e.phase = Phase::releasing;
    for (u32 i = 0; i < e.frozen.count(); i++) {
        Message m = about(Type::release, e);
        m.keep = e.retained.has(e.frozen.at(i));
        send(e.frozen.at(i), m);
    }
}

void Engine::on_released(NodeId from, const Message& m) {
    Entry* e = in_phase(from, m, Phase::releasing);
    if (!e) return;
    e->frozen.remove(from);
    if (e->frozen.empty()) finish(*e);
}

void Engine::on_demoted(NodeId from, const Message& m) {
    Entry* e = in_phase(from, m, Phase::demoting);
    if (!e) return;
    if (!e->exclusive || e->writer != from) {
        impossible(from);
        return;
    }
    e->exclusive = false;
    e->sharers.clear();
    e->sharers.add(from);
    if (m.version.zero()) e->retained.clear();
    e->version = m.version;
    continue_transaction(*e);
}

/// A holder wants to be rid of its copy: not before enough others have one. Who leaves needs no room for that elsewhere.
void Engine::evict_transaction(Entry& e) {
    const NodeId n = e.current.node;
    const krg_dsm_member* who = member(n);
    const bool leaving = who && leaves(*who), cheap = e.current.flag && !leaving;
    if (e.exclusive && (e.writer == n || e.retained.has(n))) {
        if (cheap)
            refuse(e, Errno::nospc);
        else if (e.writer == n)
            forward(e, n, 0, KRG_DSM_READ);
        else
            replace_backup(e, n, leaving);
        return;
    }
    if (!e.sharers.has(n) && !e.retained.has(n)) {
        if (e.stale.has(n)) {
            invalidate_one(e, n, false, 0);
            e.phase = Phase::invalidating;
        } else {
            refuse(e, Errno::none);
        }
        return;
    }
    const u32 left = copies(e) - 1, needed = e.version.zero() || KRG_DSM_MUTANT(EvictLastCopy) ? 0 : copies_needed(e.policy);
    if (left < needed && !e.copy_failed && !cheap) {
        if (const NodeId b = pick_backup(n, &e, {}, leaving ? Room::full : Room::enough)) {
            start_copy(e, n, b, !leaving);
            return;
        }
    }
    if (left < needed && (left == 0 || !leaving) && !(e.no_room && KRG_DSM_MUTANT(RefusedInjectionDropped))) {
        refuse(e, Errno::nospc);
        return;
    }
    invalidate_one(e, n, false, 0);
    e.phase = Phase::invalidating;
}

/// Fewer copies than promised, or older ones still about: what recovery and joining leave to do.
void Engine::repair_transaction(Entry& e) {
    if (mend(e)) return;
    const u32 needed = e.version.zero() && !e.exclusive ? 0 : copies_needed(e.policy);
    if (!e.exclusive && copies(e) && copies(e) < needed && !e.copy_failed) {
        if (const NodeId b = pick_backup(0, &e, {})) {
            start_copy(e, holder_for(e, 0), b);
            return;
        }
    }
    finish(e);
}

}  // namespace krg::dsm
