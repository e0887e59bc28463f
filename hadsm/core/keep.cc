// SPDX-License-Identifier: GPL-2.0
// What a home keeps over a view change, and what it asks for. A home that served an epoch knows
// where every copy of its chunks was when that epoch ended, but for objects in the middle of a
// transaction. If it stays home, holders say nothing of these chunks by themselves; it keeps the
// entries that name nobody who is gone, and asks those named by the others (and nobody else) for
// what they have. A node that did not go straight from that epoch to this one reports everything,
// and who cannot keep its entries asks everybody for what was left out.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

namespace {

bool linked(const Entry& e) { return e.ready.linked(); }

/// Calls @f with every node that can have a copy of @e: named by the entry or by the transaction that was under way.
template<typename F>
void for_each_named(const Entry& e, F&& f) {
    if (e.exclusive) f(e.writer);
    for (const IdSet* set : {&e.sharers, &e.retained, &e.stale, &e.frozen})
        for (u32 i = 0; i < set->count(); i++) f(set->at(i));
    for (const NodeId n : {e.current.node, e.source, e.target})
        if (n) f(n);
    for (u32 i = 0; i < e.rset.count; i++) f(e.rset.node[i]);
}

}  // namespace

/// The home of @key is the one of the epoch before, which has been there since: it knows of copies, or asks.
bool Engine::same_home(const Key& key, const krg_dsm_policy& policy) {
    if (!base_) return false;
    const NodeId h = home(key, policy);
    Chunk* c = chunks_.find(key.chunk());
    if (c && c->same_epoch == epoch_ && c->same_affinity == policy.affinity) return c->same;
    NodeId old[KRG_DSM_REPLICAS_MAX];
    place_among(old_view_[0].member, old_view_[0].members, key.chunk(), policy, old);
    const bool same = old[0] == h && stayed(h, base_);
    if (c) {
        c->same = same;
        c->same_epoch = epoch_;
        c->same_affinity = policy.affinity;
    }
    return same;
}

/// No transaction is open: the entry says who has what.
bool Engine::closed(const Entry& e) {
    return e.phase == Phase::idle && e.frozen.empty() && e.hole == Hole::none && !e.restoring;
}

/// It names a node that is gone, or, as one that a writer commits to, one that leaves: the writer has struck it off.
bool Engine::names_lost(const Entry& e) const {
    bool lost = false;
    for_each_named(e, [&](NodeId n) { lost = lost || !stayed(n, base_); });
    for (u32 i = 0; e.exclusive && !lost && i < e.retained.count(); i++) lost = leaves(*member(e.retained.at(i)));
    return lost;
}

void Engine::erase_entry(Entry& e) {
    while (Want* w = e.queue) {
        e.queue = w->next;
        heap_.drop(w);
    }
    if (linked(e)) {
        Chunk* c = e.ask ? chunks_.find(e.key.chunk()) : nullptr;
        if (c)
            c->ask.remove(e.ready);
        else
            ready_entries_.remove(e.ready);
    }
    e.sharers.release(heap_);
    e.retained.release(heap_);
    e.stale.release(heap_);
    e.frozen.release(heap_);
    entries_.erase(heap_, &e);
}

/// The epoch is over. What this home may keep stays until the next one begins.
void Engine::abort_directory() {
    stats_.repair_total = stats_.repair_left = 0;
    for (Entry* e = entries_.first(); e;) {
        Entry* next = entries_.after(e);
        if (!kept_) {
            erase_entry(*e);
        } else {
            while (Want* w = e->queue) {
                e->queue = w->next;
                heap_.drop(w);
            }
            e->last = nullptr;
            ready_entries_.remove(e->ready);
            e->ask = !closed(*e);
            if (!e->ask) {  // what the last transaction left
                e->current = {};
                e->source = e->target = 0;
                e->rset = {};
            }
            e->phase = Phase::idle;
            e->repair = e->lacking = false;
        }
        e = next;
    }
}

/// Which entries stay, and which are asked for.
void Engine::sort_entries() {
    asked_ = 0;
    ask_chunk_ = nullptr;
    for (Entry* e = entries_.first(); e;) {
        Entry* next = entries_.after(e);
        const bool here = same_home(e->key, e->policy) && home(e->key, e->policy) == cfg_.self;
        Chunk* c = here ? chunk(e->key, e->policy) : nullptr;
        if (here && !c) {
            kept_ = spread_ = false;
            abort_directory();
            return;
        }
        if (!here) {
            erase_entry(*e);
        } else if ((e->ask && !KRG_DSM_MUTANT(OpenEntryKept)) || (names_lost(*e) && !KRG_DSM_MUTANT(LostNodesEntryKept))) {
            e->ask = true;
            c->ask.push(e->ready, e);
        } else {
            e->ask = e->restoring = false;
            e->kept = true;
        }
        e = next;
    }
    if (kept_) ask_chunk_ = chunks_.first();
}

/// Some node has to say more than what this home counted on: everything is rebuilt.
void Engine::unkeep() {
    kept_ = spread_ = false;
    for (Entry* e = entries_.first(); e;) {
        Entry* next = entries_.after(e);
        if (e->kept) erase_entry(*e);
        e = next;
    }
    for (u32 i = 0; i < members_; i++) {
        const NodeId n = member_[i].node;
        const Peer* p = peers_.find(Key{0, n});
        if (n == cfg_.self ? self_left_out_ : p && p->left_out) ask_all(n);
    }
}

/// @node has reported what this home cannot know if it served the epoch before: it must tell the rest.
void Engine::ask_all(NodeId node) {
    if (KRG_DSM_MUTANT(NotAskedAgain)) return;
    Message m;
    m.type = Type::report_ask;
    m.keep = true;
    if (send(node, m)) asked_++;
}

/// The questions about one chunk; false: that was all.
bool Engine::ask_some() {
    Chunk* c = ask_chunk_;
    if (!c) return false;
    while (c->ask.empty() && chunks_.after(c)) c = chunks_.after(c);
    questions_ = 0;
    while (Entry* e = c->ask.first()) {
        for_each_named(*e, [&](NodeId n) {
            if (stayed(n, base_)) question(*c, n, *e);
        });
        erase_entry(*e);  // it comes back with the answers
    }
    send_questions(*c);
    ask_chunk_ = chunks_.after(c);
    if (!ask_chunk_) rebuild_progress();
    return true;
}

void Engine::question(const Chunk& c, NodeId node, const Entry& e) {
    u32 i = 0;
    while (i < questions_ && question_[i].node != node) i++;
    if (i == questions_max) {
        send_questions(c);
        i = 0;
    }
    if (i == questions_) question_[questions_++] = {node, {}};
    const u64 bit = e.key.index & ((1u << KRG_DSM_CHUNK_SHIFT) - 1);
    question_[i].bits[bit / 64] |= 1ull << (bit % 64);
}

void Engine::send_questions(const Chunk& c) {
    for (u32 i = 0; i < questions_; i++) {
        Message m;
        m.type = Type::report_ask;
        m.key = Key{c.key.container, c.key.index << KRG_DSM_CHUNK_SHIFT};
        m.policy = c.policy;
        for (u32 k = 0; k < 8; k++) m.bits[k] = question_[i].bits[k];
        if (send(question_[i].node, m)) asked_++;
    }
    questions_ = 0;
}

void Engine::on_report_asked(NodeId from) {
    if (home_serving_ || !asked_) {
        impossible(from);
        return;
    }
    asked_--;
    rebuild_progress();
}

/// @node has kept the bits of @c since the epoch before, and has been told all that this home knew then.
bool Engine::knows_bits(const Chunk& c, NodeId node) {
    const Key first{c.key.container, c.key.index << KRG_DSM_CHUNK_SHIFT};
    if (!spread_ || !kept_ || c.unsure || !same_home(first, c.policy) || !stayed(node, base_)) return false;
    NodeId old[KRG_DSM_REPLICAS_MAX];
    const u32 n = keepers_in(old_view_[0], c, old);
    for (u32 i = 0; i < n; i++)
        if (old[i] == node) return true;
    return false;
}

}  // namespace krg::dsm
