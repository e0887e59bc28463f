// SPDX-License-Identifier: GPL-2.0
// The directory that a home makes of what is reported to it after a view change (report.cc).
// The exclusive copy is the truth; without one the newest version that anybody has is.
// A frozen copy counts if it is newer than all of them: its receiver never had it, or died
// before anybody could see what it wrote.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

void Engine::on_bits(NodeId from, const Message& m) {
    Chunk* c = chunk(m.key, m.policy);
    if (!c) {
        if (home_serving_)
            reset(from, KRG_DSM_R_MEMORY);
        else
            rebuild_short_ = true;
        return;
    }
    for (u32 i = 0; i < 8; i++) {
        c->unsure = c->unsure || (m.bits[i] & ~c->bits[i]);
        c->bits[i] |= m.bits[i];
    }
    c->written = true;
    c->everywhere = c->everywhere || m.initialised;
    NodeId old[KRG_DSM_REPLICAS_MAX];
    const u32 keepers = home_serving_ ? 0 : keepers_in(old_view_[0], *c, old);
    for (u32 i = 0; i < keepers; i++)
        if (old[i] == from) c->keepers_heard |= 1u << i;
    // What the sender hears from now on only keepers of the bits hear too.
    const u64 complete = m.keep || m.version.epoch < epoch_ ? m.version.epoch : epoch_;
    if (c->complete < complete) c->complete = complete;
    if (!home_serving_ && c->promised < m.version.count) c->promised = m.version.count;
    c->told = true;
    if (!m.keep) return;
    Message r;
    r.type = Type::bits_known;
    send(from, r);
}

void Engine::on_bits_known() {
    if (pushed_) pushed_--;
}

void Engine::on_report(NodeId from, const Message& m) {
    if (home_serving_) {
        impossible(from);
        return;
    }
    for (u32 i = 0; i < m.list_count; i++) {
        const Reported& c = m.copy[i];
        const Key key{m.key.container, m.key.index + c.at};
        Entry* e = entry(key, m.policy);
        if (e && e->kept) {
            unkeep();
            e = entry(key, m.policy);
        }
        if (!e || !room_to_report(*e)) {
            rebuild_short_ = true;
            return;
        }
        if (c.mode != KRG_DSM_F) {
            add_copy(*e, from, c);
        } else if (!e->frozen.has(from)) {
            e->frozen.add(from);
            add_note(*e, from, c);
            continue;
        }
        Chunk* in = c.initialised && !initialised(key) ? chunk(key, m.policy) : nullptr;
        if (in && set_initialised(key, m.policy)) in->unsure = true;
    }
}

/// Room for one more copy, and for whatever becomes of those that there are when all have reported.
bool Engine::room_to_report(Entry& e) {
    const u32 all = e.sharers.count() + e.retained.count() + e.frozen.count();
    return make_room(e) && e.stale.reserve(heap_, all + 2) && e.retained.reserve(heap_, e.frozen.count() + 2) &&
           e.frozen.reserve(heap_, 1);
}

void Engine::add_copy(Entry& e, NodeId from, const Reported& c) {
    const auto all_stale = [&e] {
        for (IdSet* set : {&e.sharers, &e.retained}) {
            for (u32 i = 0; i < set->count(); i++) e.stale.add(set->at(i));
            set->clear();
        }
    };
    if (c.mode == KRG_DSM_X) {
        if (e.exclusive) {
            if (e.writer != from) impossible(from);  // asked for twice, it says it twice
            return;
        }
        all_stale();
        e.exclusive = true;
        e.writer = from;
        e.version = c.version();
        for (u32 i = 0; i < c.nodes; i++) {
            e.retained.add(c.node[i]);
            e.stale.remove(c.node[i]);
        }
        return;
    }
    if (e.exclusive) {
        if (!e.retained.has(from)) e.stale.add(from);
        return;
    }
    const bool newer = KRG_DSM_MUTANT(LowestVersionWins) ? c.version() < e.version : c.version() > e.version;
    if (!copies(e) || newer) {
        all_stale();
        e.version = c.version();
    }
    if (c.version() != e.version)
        e.stale.add(from);
    else if (c.mode == KRG_DSM_S)
        e.sharers.add(from);
    else
        e.retained.add(from);
}

void Engine::add_note(const Entry& e, NodeId from, const Reported& c) {
    Note* n = heap_.make<Note>();
    if (!n) {
        rebuild_short_ = true;
        return;
    }
    n->key = e.key;
    n->policy = e.policy;
    n->from = from;
    n->orphan = c.nodes != 0;
    n->version = c.version();
    n->next = notes_;
    notes_ = n;
}

void Engine::free_notes() {
    while (Note* n = notes_) {
        notes_ = n->next;
        heap_.drop(n);
    }
}

void Engine::on_report_end(NodeId from, const Message& m) {
    if (home_serving_) {
        impossible(from);
        return;
    }
    Peer* p = from == cfg_.self ? nullptr : peer(from);
    if (!p && from != cfg_.self) {
        reset(from, KRG_DSM_R_MEMORY);
        return;
    }
    // What it left out is known here, if it speaks of the epoch that this home served. To a newcomer everybody says all.
    const bool left_out = m.version.count && stayed(cfg_.self, m.version.count),
               known = left_out && kept_ && m.version.count == base_;
    if (!p) {
        self_reported_ = true;
        self_served_ = m.version.epoch;
        self_left_out_ = known;
    } else {
        if (!p->reported) reports_++;
        p->reported = true;
        p->left_out = known;
        p->served = m.version.epoch;
        p->spoke = true;
        p->knows = m.knows;
    }
    if (left_out && !known) ask_all(from);
    rebuild_progress();
}

/// Whatever was missing may have been the last.
void Engine::rebuild_progress() {
    const bool all = self_reported_ && reports_ + 1 == members_ && !ask_chunk_ &&
                     (!asked_ || KRG_DSM_MUTANT(AnswersNotAwaited));
    if (home_serving_ || (!all && !KRG_DSM_MUTANT(ReportsTooEarly))) return;
    if (rebuild_short_) {
        // Some of it could not be kept: everything once more, when there may be memory.
        if (other_member())
            reset(0, KRG_DSM_R_MEMORY);
        else
            report_again_at_ = now_ + cfg_.params.retry_us;
        return;
    }
    if (!waits_for_verdict()) finish_rebuild();
}

u64 Engine::served_of(const krg_dsm_member& m) const {
    if (m.node == cfg_.self) return self_served_;
    const Peer* p = peers_.find(Key{0, m.node});
    return p ? p->served : 0;
}

/// The last epoch in which a home may have answered anybody: all who were members in it and still are
/// reported to the end in it, or in a later one. 0: nobody is left who was in any.
u64 Engine::last_served() const {
    u64 last = never, newest = 0;
    for (u32 i = 0; i < members_; i++) {
        const u64 e = served_of(member_[i]), before = member_[i].since ? member_[i].since - 1 : 0,
                  most = e > before ? e : before;
        if (e > newest) newest = e;
        if (most < last) last = most;
    }
    return last < newest ? last : newest;
}

/// Who had all bits of a chunk at the end of the last epoch that began here has them until this one: in between nobody
/// can have written. If it is to keep them in this epoch, it hears of every first write.
void Engine::keep_bits() {
    for (Chunk* c = chunks_.first(); c; c = chunks_.after(c)) {
        c->keepers_heard = 0;
        c->promised = 0;
        const Key first{c->key.container, c->key.index << KRG_DSM_CHUNK_SHIFT};
        if (begun_ && c->complete > begun_) c->complete = keeps_bits(first, c->policy, cfg_.self) ? epoch_ + 1 : epoch_;
    }
    begun_ = epoch_;
}

/// Who was to keep the bits of @c in epoch @v: how many, home first.
u32 Engine::keepers_in(const OldView& v, const Chunk& c, NodeId out[KRG_DSM_REPLICAS_MAX]) const {
    place_among(v.member, v.members, c.key, c.policy, out);
    const u32 n = replicas(c.policy) < 2 ? 2 : replicas(c.policy);
    return n < v.members ? n : v.members;
}

/// One of them is still a member, and reports all that was announced in that epoch: it had to answer.
bool Engine::keeper_stayed(const Chunk& c, const OldView& v) const {
    NodeId p[KRG_DSM_REPLICAS_MAX];
    const u32 n = keepers_in(v, c, p);
    for (u32 i = 0; i < n; i++)
        if (stayed(p[i], v.epoch)) return true;
    return false;
}

/// Up to which epoch the bits that are here, together with what those who stayed report, are complete. Nothing was
/// announced in an epoch of this life that did not begin here.
u64 Engine::promise_of(const Chunk& c) const {
    u64 complete = c.complete;
    if (!complete || forgotten_epoch_ >= complete || !stayed(cfg_.self, complete)) return complete;
    for (u32 i = old_views_max; i-- > 0;) {
        const OldView& v = old_view_[i];
        if (!v.epoch || v.epoch < complete) continue;
        if (!keeper_stayed(c, v)) break;
        complete = v.epoch + 1;
    }
    return complete;
}

/// One of those who were to keep the bits of @c in epoch @served is still here, knows every chunk that was written, and has
/// not reported this one: nothing of it was written that others have not reported.
bool Engine::keeper_left(const Chunk& c, u64 served) const {
    const OldView& v = old_view_[0];
    if (!served || served != v.epoch) return false;
    NodeId p[KRG_DSM_REPLICAS_MAX];
    const u32 n = keepers_in(v, c, p);
    for (u32 i = 0; i < n; i++) {
        if (!stayed(p[i], served) || (c.keepers_heard >> i & 1)) continue;
        const Peer* peer = peers_.find(Key{0, p[i]});
        if (p[i] == cfg_.self ? knows_chunks() : peer && peer->knows == Knows::all) return true;
    }
    return false;
}

/// The bits that were reported are all there are; @served is the last epoch in which anything may have been written.
bool Engine::has_all_bits(const Chunk& c, u64 served) const {
    return !served || c.complete > served || c.promised > served || keeper_left(c, served);
}

/// What this node knows of the chunks that were written, now that all have reported: it was told, if anybody knew. Nobody does
/// where nothing was ever written: those who are here have then been together since before anything was, or those who are
/// not have said that they knew of nothing.
Knows Engine::known_together() const {
    bool all = knows_chunks() || rolled_ || KRG_DSM_MUTANT(UnknownIsZeros), gone = knows_ == Knows::no_more;
    for (u32 i = 0; i < members_ && !all; i++) {
        const Peer* p = member_[i].node == cfg_.self ? nullptr : peers_.find(Key{0, member_[i].node});
        all = p && p->knows == Knows::all;
        gone = gone || (p && p->knows == Knows::no_more);
    }
    return all || !gone ? Knows::all : Knows::no_more;
}

/// Where nobody knows which chunks were written, any that nobody has told of may have been: what has no copy is lost.
void Engine::suspect_unknown(const Key& key) {
    Chunk* c = knows_chunks() ? nullptr : chunks_.find(key.chunk());
    if (!c || c->written) return;
    for (u64& b : c->bits) b = ~0ull;
    c->written = true;
    c->complete = epoch_ + 1;
}

/// Written chunks of this home of which nobody is left who knows all bits: what has no copy may have been written.
void Engine::check_bits(u64 served, Knows now) {
    for (Chunk* c = chunks_.first(); c; c = chunks_.after(c)) {
        const Key first{c->key.container, c->key.index << KRG_DSM_CHUNK_SHIFT};
        // A newcomer was told of all chunks written before it came: the others are new, and it has heard of every write.
        const bool young = !knows_chunks() && now == Knows::all && !c->told && !c->complete;
        if (young) c->complete = keeps_bits(first, c->policy, cfg_.self) ? epoch_ + 1 : epoch_;
        if (!c->written || home(first, c->policy) != cfg_.self) continue;
        if (!has_all_bits(*c, served) && !KRG_DSM_MUTANT(LostReadsZero))
            for (u64& b : c->bits) b = ~0ull;
        c->complete = epoch_ + 1;
    }
}

/// All have reported: this home answers again.
void Engine::finish_rebuild() {
    home_serving_ = true;
    const Knows now = known_together();
    check_bits(rolled_ ? 0 : last_served(), now);  // what a recovery point has says which objects there are
    knows_ = now;
    if (point_needed()) {
        home_serving_ = false;
        want_rollback();
        return;
    }
    for (const Note* n = notes_; n; n = n->next) judge_frozen(*n);
    free_notes();
    for (Entry* e = entries_.first(); e; e = entries_.after(e)) {
        e->kept = false;
        if (lacks_copies(*e) || e->stale.count()) e->repair = true;
        ready_entries_.push(e->ready, e);
    }
    begin_repairs();
    trace_number(KRG_DSM_T_RECOVER, 0, stats_.repair_total, "home");
    push_chunk_ = chunks_.first();
    while (Parked* p = early_) {
        early_ = p->next;
        p->next = nullptr;
        (own_last_ ? own_last_->next : own_) = p;
        own_last_ = p;
    }
    early_last_ = nullptr;
    start_batch();
    points_rebuilt();
    OutAction* a = act(KRG_DSM_ACT_RECOVERED);
    if (!a) return;
    a->action.epoch = epoch_;
    push(a);
}

void Engine::judge_frozen(const Note& n) {
    Entry* e = entries_.find(n.key);
    if (!e) return;
    Message m = about(Type::restore, n);
    const u32 have = e->exclusive ? e->retained.count() + 1 : copies(*e);
    if (!e->exclusive && (!have || n.version > e->version)) {
        for (u32 i = 0; i < e->sharers.count(); i++) e->stale.add(e->sharers.at(i));
        e->sharers.clear();
        e->exclusive = true;
        e->writer = n.from;
        e->version = n.version;
        for (u32 i = 0; i < e->retained.count() && m.rset.count < Rset::max; i++) m.rset.add(e->retained.at(i));
    } else if (!e->exclusive && n.version == e->version && have < copies_needed(e->policy)) {
        e->retained.add(n.from);  // a copy like the others, and needed
        m.keep = true;
    } else if (e->exclusive && have < copies_needed(e->policy) && !e->retained.has(n.from)) {
        e->stale.add(n.from);  // better than nothing until there are enough others
        m.keep = true;
    } else {
        return;
    }
    e->frozen.remove(n.from);
    e->restoring = true;  // until the next view change there is no telling whether it has come
    send(n.from, m);
}

/// Keeps a request until this home can answer.
void Engine::come_early(NodeId from, const Message& m) {
    // Who can be refused needs nothing in reserve.
    const bool refusable = m.type == Type::get || m.type == Type::evict;
    Parked* p = refusable ? heap_.make<Parked>() : make_parked(false);
    if (!p) {
        if (refusable)
            refuse(from, m, Errno::nomem);
        else
            reset(from, KRG_DSM_R_MEMORY);
        return;
    }
    p->from = from;
    p->own = true;  // its place in the order was checked when it came
    p->message = m;
    (early_last_ ? early_last_->next : early_) = p;
    early_last_ = p;
}

}  // namespace krg::dsm
