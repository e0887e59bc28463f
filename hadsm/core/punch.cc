// SPDX-License-Identifier: GPL-2.0
// Ranges of objects that become zeros again: truncation, holes, deletion of a container.
// Every home does it for the objects it has entries of, in three steps over all of them:
// writers are made sharers, so that no commit is under way; everybody forgets that the
// objects were ever written; all copies are dropped. In this order a crash in between leaves
// each object as it was or as zeros, never without a copy and marked as written. Requests for
// these objects wait meanwhile.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

/// This node wants it: after its own earlier writes are durable, since a hole is at once.
void Engine::punch(const krg_dsm_event& ev) {
    const bool sane = ev.last >= ev.object.index;
    Punch* p = sane && !punch_ ? heap_.make<Punch>() : nullptr;
    if (!p) {
        done(ev.object, ev.token, punch_ ? Errno::busy : sane ? Errno::nomem : Errno::io);
        return;
    }
    p->token = ev.token;
    p->op = new_op();
    p->first = {ev.object.container, ev.object.index};
    p->policy = ev.object.policy;
    p->last = ev.last;
    p->request = next_request_++;
    p->upto = dirty_.empty() ? next_batch_ : next_batch_ + 1;
    punch_ = p;
    if (!dirty_.empty()) {
        batch_wanted_ = true;
        start_batch();
    }
    punch_more();
}

/// Asks every home, once what was written before is durable.
void Engine::punch_more() {
    Punch* p = punch_;
    if (!p || p->asked || !serving_ || homes_held() || transit_ || p->upto > batches_done()) return;
    p->asked = true;
    p->left = 0;
    for (Peer* peer = peers_.first(); peer; peer = peers_.after(peer)) peer->punched = false;
    for (u32 i = 0; i < members_; i++) {
        Message m;
        m.type = Type::punch;
        m.key = p->first;
        m.policy = p->policy;
        m.last = p->last;
        m.request = p->request;
        m.op = p->op;
        if (!peer(member_[i].node))
            reset(0, KRG_DSM_R_MEMORY);
        else if (send(member_[i].node, m))
            p->left++;
    }
}

/// A new epoch: from the beginning. What is done already is done quickly.
void Engine::punch_again() {
    if (!punch_) return;
    punch_->asked = false;
    punch_more();
}

void Engine::on_punched(NodeId from, const Message& m) {
    Punch* p = punch_;
    Peer* who = peer(from);
    if (!p || !p->asked || p->request != m.request || !who || who->punched) return;
    who->punched = true;
    if (--p->left) return;
    done({}, p->token, Errno::none);
    punch_ = nullptr;
    heap_.drop(p);
    point_quiet();
}

/// This home's part; one hole at a time, the others wait.
void Engine::on_punch(NodeId from, const Message& m) {
    if (!home_serving_) {
        come_early(from, m);
        return;
    }
    Punch* h = heap_.make<Punch>();
    if (!h) {
        reset(from, KRG_DSM_R_MEMORY);
        return;
    }
    h->from = from;
    h->request = m.request;
    h->first = m.key;
    h->policy = m.policy;
    h->last = m.last;
    h->op = m.op;
    (hole_last_ ? hole_last_->next : hole_) = h;
    hole_last_ = h;
    if (hole_ != h) return;
    if (round_.step == Step::shoot)
        hole_held_ = true;  // whoever wants it has heard of the cut already; release_held() begins it
    else
        begin_hole();
}

void Engine::begin_hole() {
    hole_->left = 0;
    for (Entry* e = entries_.first(); e; e = entries_.after(e)) {
        if (!hole_->covers(e->key)) continue;
        e->hole = Hole::waiting;
        hole_->left++;
        ready_entries_.push(e->ready, e);
    }
    hole_progress();
}

/// What advance() asks: has the object to wait, or to take its part in the hole?
bool Engine::held_by_hole(Entry& e) {
    if (!hole_->covers(e.key)) return false;
    if (e.hole == Hole::none) e.hole = Hole::later;  // a request that came after the hole
    if (e.hole == Hole::waiting || (e.hole == Hole::quiet && hole_->dropping)) {
        e.current = {};
        e.current.type = Type::punch;
        e.current.op = hole_->op;
        e.widened = false;
        continue_transaction(e);  // adds to no set, needs no room
    }
    return true;
}

/// First no writer, then no copy.
void Engine::hole_transaction(Entry& e) {
    if (e.exclusive) {
        if (widen_rset(e)) return;
        forward(e, e.writer, 0, KRG_DSM_READ);
        return;
    }
    if (e.hole == Hole::waiting) {
        e.hole = Hole::quiet;
        finish(e);
        hole_->left--;
        hole_progress();
        return;
    }
    if (copies(e) || e.stale.count()) {
        e.acks = 0;
        for (const IdSet* set : {&e.sharers, &e.retained, &e.stale})
            for (u32 i = 0; i < set->count(); i++) {
                if (KRG_DSM_MUTANT(HoleKeepsRetained) && set == &e.retained && e.sharers.count()) continue;
                invalidate_one(e, set->at(i), false, 0);
            }
        e.phase = Phase::invalidating;
        if (KRG_DSM_MUTANT(HoleKeepsRetained) && e.sharers.count()) e.retained.clear();
        return;
    }
    e.version = {};
    e.repair = false;
    e.hole = Hole::gone;
    stats_.punched++;
    finish(e);
    hole_->left--;
    hole_progress();
}

/// The next step when all objects, or all members, have done the last.
void Engine::hole_progress() {
    Punch* h = hole_;
    if (h->left) return;
    if (!h->clearing) {
        h->clearing = true;
        Message m;
        m.type = Type::clear;
        m.key = h->first;
        m.policy = h->policy;
        m.last = h->last;
        m.request = h->request;
        m.op = h->op;
        for (u32 i = 0; i < members_; i++)
            if (send(member_[i].node, m)) h->left++;
        return;
    }
    if (!h->dropping) {
        h->dropping = true;
        for (Entry* e = entries_.first(); e; e = entries_.after(e)) {
            if (e->hole != Hole::quiet) continue;
            h->left++;
            ready_entries_.push(e->ready, e);
        }
        if (h->left) return;
    }
    end_hole();
}

/// Of the chunks whose home says so: those of other homes may have writers still.
void Engine::clear_bits(NodeId from, const Message& m) {
    constexpr u64 per_chunk = 1ull << KRG_DSM_CHUNK_SHIFT;
    if (KRG_DSM_MUTANT(HoleKeepsBits)) return;
    for (Chunk* c = chunks_.first(); c; c = chunks_.after(c)) {
        if (c->key.container != m.key.container || !c->written) continue;
        if (home(Key{c->key.container, c->key.index << KRG_DSM_CHUNK_SHIFT}, c->policy) != from) continue;
        const u64 begin = c->key.index << KRG_DSM_CHUNK_SHIFT;
        for (u64 bit = 0; bit < per_chunk; bit++)
            if (begin + bit >= m.key.index && begin + bit <= m.last) c->bits[bit / 64] &= ~(1ull << (bit % 64));
        // Who does not keep its bits does not know what else of it was written.
        if (begin >= m.key.index && begin + per_chunk - 1 <= m.last) c->written = c->everywhere = false;
    }
    // No writer is left, so a version that still waits for its decision is of a complete batch: its
    // bit must not be set when the decision comes.
    for (Part* p = parts_.first(); p; p = parts_.after(p->link))
        for (Staged* s = p->items.first(); s; s = p->items.after(s->in_part))
            if (s->key.container == m.key.container && s->key.index >= m.key.index && s->key.index <= m.last &&
                home(s->key, s->policy) == from)
                s->initialises = false;
}

/// Not before all have reported: their bits are older.
void Engine::on_clear(NodeId from, const Message& m) {
    if (!home_serving_) {
        come_early(from, m);
        return;
    }
    clear_bits(from, m);
    Message r;
    r.type = Type::cleared;
    r.request = m.request;
    send(from, r);
}

void Engine::on_cleared(NodeId from, const Message& m) {
    if (!hole_ || !hole_->clearing || hole_->dropping || hole_->request != m.request || !hole_->left) {
        impossible(from);
        return;
    }
    hole_->left--;
    hole_progress();
}

/// Done at this home: whoever waited goes on.
void Engine::end_hole() {
    Punch* h = hole_;
    for (Entry* e = entries_.first(); e; e = entries_.after(e)) {
        if (e->hole == Hole::none) continue;
        e->hole = Hole::none;
        ready_entries_.push(e->ready, e);
    }
    Message m;
    m.type = Type::punched;
    m.request = h->request;
    m.op = h->op;
    send(h->from, m);
    hole_ = h->next;
    if (!hole_) hole_last_ = nullptr;
    heap_.drop(h);
    if (hole_) begin_hole();
}

void Engine::abort_holes() {
    while (Punch* h = hole_) {
        hole_ = h->next;
        heap_.drop(h);
    }
    hole_last_ = nullptr;
}

}  // namespace krg::dsm
