// SPDX-License-Identifier: GPL-2.0
// Reports of copies after a view change, and the directory that a home makes of them.
// The exclusive copy is the truth; without one the newest version that anybody has is.
// A frozen copy counts if it is newer than all of them: its receiver never had it, or died
// before anybody could see what it wrote.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

/// One more report; false: nothing to report now.
bool Engine::report_some() {
    switch (reporting_) {
    case Reporting::none: break;
    case Reporting::in_doubt:
        if (in_doubt()) break;
        for (Obj* o = objects_.first(); o; o = objects_.after(o)) report_.push(o->report, o);
        report_chunk_ = chunks_.first();
        report_member_ = 0;
        reporting_ = Reporting::copies;
        return true;
    case Reporting::copies:
        if (Obj* o = report_.first()) {
            report_.remove(o->report);
            if (o->state != KRG_DSM_I) report_copy(*o);
        } else {
            reporting_ = Reporting::bits;
        }
        return true;
    case Reporting::bits:
        if (const Chunk* c = report_chunk_) {
            report_chunk_ = chunks_.after(c);
            if (c->written) report_bits(*c);
        } else {
            reporting_ = Reporting::end;
        }
        return true;
    case Reporting::end:
        if (report_member_ < members_) {
            Message m;
            m.type = Type::report_end;
            m.version.epoch = last_reported_;
            m.keep = knows_chunks_;
            send(member_[report_member_++].node, m);
        } else {
            reporting_ = Reporting::none;
            last_reported_ = epoch_;
        }
        return true;
    }
    return push_bits();
}

void Engine::report_copy(const Obj& o) {
    Message m = about(Type::report, o);
    m.mode = o.state;
    m.dirty = o.dirty || o.in_batch;
    m.initialised = o.initialised && !o.version.zero();
    m.version = o.version;
    m.rset = o.rset;
    send(home(o.key, o.policy), m);
}

void Engine::send_bits(const Chunk& c, NodeId to, bool answer) {
    Message m;
    m.type = Type::bits;
    m.key = Key{c.key.container, c.key.index << KRG_DSM_CHUNK_SHIFT};
    m.policy = c.policy;
    for (u32 i = 0; i < 8; i++) m.bits[i] = c.bits[i];
    m.keep = answer;
    m.version.epoch = c.complete;
    m.version.count = promise_of(c);
    m.initialised = c.everywhere;
    if (send(to, m) && answer) pushed_++;
}

/// This node tells those who do not know which chunks were written: the first of those known to know does.
bool Engine::tells_others() const {
    if (!knows_chunks_) return false;
    for (u32 i = 0; i < members_ && member_[i].node < cfg_.self; i++)
        if (!must_tell(member_[i])) return false;
    return true;
}

bool Engine::must_tell(const krg_dsm_member& m) const {
    const Peer* p = peers_.find(Key{0, m.node});
    return m.node != cfg_.self && (!p || !p->knows);
}

void Engine::report_bits(const Chunk& c) {
    const NodeId h = home(Key{c.key.container, c.key.index << KRG_DSM_CHUNK_SHIFT}, c.policy);
    send_bits(c, h, false);
    if (!tells_others()) return;
    for (u32 i = 0; i < members_; i++)
        if (member_[i].node != h && must_tell(member_[i])) send_bits(c, member_[i].node, false);
}

/// After a rebuild: the successors of a chunk learn what was written.
bool Engine::push_bits() {
    Chunk* c = push_chunk_;
    if (!c) return false;
    push_chunk_ = chunks_.after(c);
    if (!c->written) return true;
    NodeId p[KRG_DSM_REPLICAS_MAX];
    place(Key{c->key.container, c->key.index << KRG_DSM_CHUNK_SHIFT}, c->policy, p);
    if (p[0] != cfg_.self) return true;
    const u32 n = holders_of_bits(c->policy);
    for (u32 i = 1; i < n; i++) send_bits(*c, p[i], true);
    return true;
}

void Engine::on_bits(NodeId from, const Message& m) {
    Chunk* c = chunk(m.key, m.policy);
    if (!c) {
        if (home_serving_)
            reset(from, KRG_DSM_R_MEMORY);
        else
            rebuild_short_ = true;
        return;
    }
    for (u32 i = 0; i < 8; i++) c->bits[i] |= m.bits[i];
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
    Entry* e = entry(m.key, m.policy);
    if (!e || !room_to_report(*e)) {
        rebuild_short_ = true;
        return;
    }
    if (m.mode == KRG_DSM_F) {
        e->frozen.add(from);
        add_note(from, m);
        return;
    }
    add_copy(*e, from, m);
    if (m.initialised) set_initialised(m.key, m.policy);
}

/// Room for one more copy, and for whatever becomes of those that there are when all have reported.
bool Engine::room_to_report(Entry& e) {
    const u32 all = e.sharers.count() + e.retained.count() + e.frozen.count();
    return make_room(e) && e.stale.reserve(heap_, all + 2) && e.retained.reserve(heap_, e.frozen.count() + 2) &&
           e.frozen.reserve(heap_, 1);
}

void Engine::add_copy(Entry& e, NodeId from, const Message& m) {
    const auto all_stale = [&e] {
        for (IdSet* set : {&e.sharers, &e.retained}) {
            for (u32 i = 0; i < set->count(); i++) e.stale.add(set->at(i));
            set->clear();
        }
    };
    if (m.mode == KRG_DSM_X) {
        if (e.exclusive) {
            impossible(from);
            return;
        }
        all_stale();
        e.exclusive = true;
        e.writer = from;
        e.version = m.version;
        for (u32 i = 0; i < m.rset.count; i++) {
            e.retained.add(m.rset.node[i]);
            e.stale.remove(m.rset.node[i]);
        }
        return;
    }
    if (e.exclusive) {
        if (!e.retained.has(from)) e.stale.add(from);
        return;
    }
    const bool newer = KRG_DSM_MUTANT(LowestVersionWins) ? m.version < e.version : m.version > e.version;
    if (!copies(e) || newer) {
        all_stale();
        e.version = m.version;
    }
    if (m.version != e.version)
        e.stale.add(from);
    else if (m.mode == KRG_DSM_S)
        e.sharers.add(from);
    else
        e.retained.add(from);
}

void Engine::add_note(NodeId from, const Message& m) {
    Note* n = heap_.make<Note>();
    if (!n) {
        rebuild_short_ = true;
        return;
    }
    n->key = m.key;
    n->policy = m.policy;
    n->from = from;
    n->version = m.version;
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
    if (from == cfg_.self) {
        self_reported_ = true;
        self_served_ = m.version.epoch;
    } else {
        Peer* p = peer(from);
        if (!p) {
            reset(from, KRG_DSM_R_MEMORY);
            return;
        }
        if (!p->reported) reports_++;
        p->reported = true;
        p->served = m.version.epoch;
        p->knows = m.keep;
    }
    const bool all = self_reported_ && reports_ + 1 == members_;
    if (!all && !KRG_DSM_MUTANT(ReportsTooEarly)) return;
    if (rebuild_short_) {
        // Some of it could not be kept: everything once more, when there may be memory.
        if (other_member())
            reset(0, KRG_DSM_R_MEMORY);
        else
            report_again_at_ = now_ + cfg_.params.retry_us;
        return;
    }
    finish_rebuild();
}

u64 Engine::served_of(const krg_dsm_member& m) const {
    if (m.node == cfg_.self) return self_served_;
    const Peer* p = peers_.find(Key{0, m.node});
    return p ? p->served : 0;
}

/// The last epoch in which a home may have answered anybody: all who were members in it and still are
/// reported to the end in it.
u64 Engine::last_served() const {
    u64 last = 0;
    for (u32 i = 0; i < members_; i++) {
        const u64 e = served_of(member_[i]);
        if (e <= last) continue;
        bool all = true;
        for (u32 k = 0; k < members_ && all; k++) all = member_[k].since > e || served_of(member_[k]) >= e;
        if (all) last = e;
    }
    return last;
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
        if (p[i] == cfg_.self ? knows_chunks_ : peer && peer->knows) return true;
    }
    return false;
}

/// The bits that were reported are all there are; @served is the last epoch in which anything may have been written.
bool Engine::has_all_bits(const Chunk& c, u64 served) const {
    return !served || c.complete > served || c.promised > served || keeper_left(c, served);
}

/// Written chunks of this home of which nobody is left who knows all bits: what has no copy may have been written.
void Engine::check_bits(u64 served) {
    for (Chunk* c = chunks_.first(); c; c = chunks_.after(c)) {
        const Key first{c->key.container, c->key.index << KRG_DSM_CHUNK_SHIFT};
        // A newcomer was told of all chunks written before it came: the others are new, and it has heard of every write.
        const bool young = !knows_chunks_ && !c->told && !c->complete;
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
    check_bits(last_served());
    knows_chunks_ = true;
    for (const Note* n = notes_; n; n = n->next) judge_frozen(*n);
    free_notes();
    for (Entry* e = entries_.first(); e; e = entries_.after(e)) {
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
    send(n.from, m);
}

/// Keeps a request until this home can answer.
void Engine::come_early(NodeId from, const Message& m) {
    Parked* p = heap_.make<Parked>();
    if (!p) {
        if (m.type != Type::get && m.type != Type::evict)
            reset(from, KRG_DSM_R_MEMORY);
        else
            refuse(from, m, Errno::nomem);
        return;
    }
    p->from = from;
    p->own = true;  // its place in the order was checked when it came
    p->message = m;
    (early_last_ ? early_last_->next : early_) = p;
    early_last_ = p;
}

}  // namespace krg::dsm
