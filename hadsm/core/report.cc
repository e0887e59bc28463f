// SPDX-License-Identifier: GPL-2.0
// What a node tells homes after a view change: its copies, many of a chunk in one
// message, and what of the chunk was ever written. What homes make of it: rebuild.cc.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

/// One more message of what has to be reported; false: nothing to report now.
bool Engine::report_some() {
    switch (reporting_) {
    case Reporting::none: break;
    case Reporting::in_doubt:
        if (in_doubt() || !settled_) break;
        report_kept_ = spare_copies_.first();
        reporting_ = Reporting::marks;
        return true;
    case Reporting::marks: report_marks(); return true;
    case Reporting::chunks:
        if (!report_next(0)) {
            report_member_ = 0;
            reporting_ = Reporting::end;
        }
        return true;
    case Reporting::end:
        if (report_member_ < members_) {
            Message m;
            m.type = Type::report_end;
            m.version = {last_reported_, base_};
            m.knows = knows_;
            send(member_[report_member_++].node, m);
        } else {
            reporting_ = Reporting::none;
            last_reported_ = epoch_;
        }
        return true;
    }
    if (reporting_ == Reporting::none && answer_some()) return true;
    return ask_some() || push_bits();
}

/// Puts all copies to be reported into the lists of their chunks: without @asker what a home that served the epoch before
/// cannot know, with it the rest of what it is the home of.
void Engine::gather(NodeId asker) {
    for (Obj* o = objects_.first(); o; o = objects_.after(o)) {
        if (o->state == KRG_DSM_I) continue;
        const bool known = same_home(o->key, o->policy);
        if (asker ? !known || home(o->key, o->policy) != asker : known) continue;
        Chunk* c = chunk(o->key, o->policy);
        if (!c) {
            reset(0, KRG_DSM_R_MEMORY);
            break;
        }
        c->report.push(o->report, o);
    }
    report_chunk_ = chunks_.first();
}

/// The next message of what was gathered; false: that was all.
bool Engine::report_next(NodeId asker) {
    Chunk* c = report_chunk_;
    if (!c) return false;
    if (!c->report.empty()) {
        report_copies(*c);
        return true;
    }
    report_chunk_ = chunks_.after(c);
    if (c->written) report_bits(*c, asker);
    return true;
}

/// As many copies of a chunk as go into one message. Other policies come with the next one: their home may be another.
void Engine::report_copies(Chunk& c) {
    Message m = about(Type::report, *c.report.first());
    m.key.index = c.key.index << KRG_DSM_CHUNK_SHIFT;
    for (Obj* o = c.report.first(); o && m.list_count < report_max;) {
        Obj* next = c.report.after(o->report);
        const krg_dsm_policy& p = o->policy;
        if (p.cls == m.policy.cls && p.replicas == m.policy.replicas && p.affinity == m.policy.affinity) {
            c.report.remove(o->report);
            if (o->state != KRG_DSM_I) name_copy(m, *o);
        }
        o = next;
    }
    if (m.list_count) send(home(m.key, m.policy), m);
}

void Engine::name_copy(Message& m, const Obj& o) const {
    Reported& c = m.copy[m.list_count++];
    c.at = static_cast<u16>(o.key.index - m.key.index);
    c.mode = o.state;
    c.initialised = o.initialised && !o.version.zero();
    c.version_epoch = o.version.epoch;
    c.version_count = o.version.count;
    c.nodes = o.rset.count;
    for (u32 i = 0; i < o.rset.count; i++) c.node[i] = o.rset.node[i];
    // Of a frozen one: who was to have it, and is gone.
    if (o.state != KRG_DSM_F) return;
    c.nodes = !stayed(o.handed_to, o.handed_in);
    c.node[0] = o.handed_to;
}

/// Keeps a home's question until this node has reported.
void Engine::on_report_ask(NodeId from, const Message& m) {
    Parked* p = make_parked(false);
    if (!p) {
        reset(from, KRG_DSM_R_MEMORY);
        return;
    }
    p->from = from;
    p->message = m;
    (asks_last_ ? asks_last_->next : asks_) = p;
    asks_last_ = p;
}

/// The next message of the answer to the first question; false: none is left.
bool Engine::answer_some() {
    Parked* p = asks_;
    if (!p) return false;
    const NodeId to = p->from;
    const Message& m = p->message;
    Chunk* c = chunks_.find(m.key.chunk());
    if (!answering_) {
        answering_ = true;
        if (m.keep)
            gather(to);
        else if (c)
            gather_asked(*c, m);
        return true;
    }
    if (m.keep && report_next(to)) return true;
    if (!m.keep && c && !c->report.empty()) {
        report_copies(*c);
        return true;
    }
    answering_ = false;
    asks_ = p->next;
    if (!asks_) asks_last_ = nullptr;
    heap_.drop(p);
    Message r;
    r.type = Type::report_asked;
    send(to, r);
    return true;
}

void Engine::gather_asked(Chunk& c, const Message& m) {
    for (u32 i = 0; i < 1u << KRG_DSM_CHUNK_SHIFT; i++) {
        if (!(m.bits[i / 64] >> (i % 64) & 1)) continue;
        Obj* o = objects_.find(Key{c.key.container, (c.key.index << KRG_DSM_CHUNK_SHIFT) + i});
        if (o && o->state != KRG_DSM_I) c.report.push(o->report, o);
    }
}

void Engine::not_reported(Obj& o) {
    if (Chunk* c = o.report.linked() ? chunks_.find(o.key.chunk()) : nullptr) c->report.remove(o.report);
}

void Engine::forget_reports() {
    for (Chunk* c = chunks_.first(); c; c = chunks_.after(c))
        while (Obj* o = c->report.first()) c->report.remove(o->report);
    report_chunk_ = nullptr;
    while (Parked* p = asks_) {
        asks_ = p->next;
        heap_.drop(p);
    }
    asks_last_ = nullptr;
    answering_ = false;
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
    if (!knows_chunks()) return false;
    for (u32 i = 0; i < members_ && member_[i].node < cfg_.self; i++)
        if (!must_tell(member_[i])) return false;
    return true;
}

bool Engine::must_tell(const krg_dsm_member& m) const {
    const Peer* p = peers_.find(Key{0, m.node});
    return m.node != cfg_.self && (!p || p->knows != Knows::all);
}

void Engine::report_bits(Chunk& c, NodeId asker) {
    const Key first{c.key.container, c.key.index << KRG_DSM_CHUNK_SHIFT};
    const NodeId h = home(first, c.policy);
    const bool known = same_home(first, c.policy);
    if (asker) {
        if (known && h == asker) send_bits(c, h, false);
        return;
    }
    // What was announced here may not have come there.
    if (!known || (c.unsure && h != cfg_.self)) send_bits(c, h, false);
    if (h != cfg_.self) c.unsure = false;
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
    for (u32 i = 1; i < n; i++)
        if (!knows_bits(*c, p[i])) send_bits(*c, p[i], true);
    c->unsure = false;
    return true;
}

}  // namespace krg::dsm
