// SPDX-License-Identifier: GPL-2.0
// Batches in doubt after a view change. The writer decides if it stayed; otherwise the
// first node of the batch's list that did: applied if anybody applied it or every node of
// the list that is left has it, dropped otherwise. Decided once, remembered by all until
// everybody has it, and asked again in every view until then.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

/// Who decides the fate of @p in this view.
NodeId Engine::decider(const Part& p) const {
    if (stayed(p.writer, p.epoch)) return p.writer;
    for (u32 i = 0; i < p.list_count; i++)
        if (stayed(p.list[i], p.epoch)) return p.list[i];
    return cfg_.self;
}

bool Engine::in_doubt() const {
    for (const Part* p = parts_.first(); p; p = parts_.after(p->link))
        if (p->fate == Fate::staged) return true;
    return false;
}

/// What became of @p here, and who else knows of it.
void Engine::tell_fate(const Part& p, NodeId to) {
    Message m;
    m.type = Type::batch_state;
    m.node = p.writer;
    m.request = p.id;
    m.fate = p.fate;
    m.version.epoch = p.epoch;
    m.list_count = static_cast<u8>(p.list_count);
    for (u32 i = 0; i < p.list_count; i++) m.list[i] = p.list[i];
    send(to, m);
}

void Engine::resolve_all() {
    for (Part* p = parts_.first(); p;) {
        Part* next = parts_.after(p->link);
        p->resolving = p->decided = p->saw_none = p->saw_applied = p->saw_dropped = false;
        if (p->fate == Fate::none) {
            free_part(*p);  // only known from questions of the last view
        } else {
            const NodeId d = decider(*p);
            if (d == cfg_.self) {
                resolve(*p);
            } else {
                tell_fate(*p, d);
            }
        }
        p = next;
    }
    resolve_at_ = in_doubt() ? now_ + cfg_.params.retry_us : never;
}

/// Memory may have been short where the question went: ask again.
void Engine::resolve_retry() {
    for (Part* p = parts_.first(); p; p = parts_.after(p->link)) {
        const NodeId d = decider(*p);
        if (p->fate != Fate::staged || d == cfg_.self) continue;
        tell_fate(*p, d);
    }
    resolve_at_ = in_doubt() ? now_ + cfg_.params.retry_us : never;
}

/// Begins to ask the others of the list.
void Engine::resolve(Part& p) {
    if (p.resolving) return;
    p.resolving = true;
    for (u32 i = 0; i < p.list_count; i++) {
        p.answered[i] = p.list[i] == cfg_.self || !stayed(p.list[i], p.epoch);
        if (p.answered[i]) continue;
        Message m;
        m.type = Type::batch_ask;
        m.node = p.writer;
        m.request = p.id;
        send(p.list[i], m);
    }
    part_answer(p, cfg_.self, p.fate);
}

void Engine::on_batch_state(NodeId from, const Message& m) {
    if (m.node == cfg_.self) {
        Batch* b = batch(m.request);
        if (!b && !(staging_ && staging_->id == m.request)) {
            Message f;
            f.type = Type::forget;
            f.node = cfg_.self;
            f.request = m.request;
            send(from, f);
        }
        return;  // otherwise its decision is on its way
    }
    Part* p = part(m.node, m.request);
    if (!p) {
        if (!m.list_count || m.fate == Fate::none) return;
        p = heap_.make<Part>();
        if (!p) return;
        p->writer = m.node;
        p->id = m.request;
        p->epoch = m.version.epoch;
        p->fate = Fate::none;
        p->list_count = m.list_count;
        for (u32 i = 0; i < m.list_count; i++) p->list[i] = m.list[i];
        parts_.push(p->link, p);
    }
    if (decider(*p) != cfg_.self) return;
    resolve(*p);
    if (Part* still = part(m.node, m.request)) part_answer(*still, from, m.fate);
}

void Engine::on_batch_ask(NodeId from, const Message& m) {
    const Part* p = part(m.node, m.request);
    Message r;
    r.type = Type::batch_state;
    r.node = m.node;
    r.request = m.request;
    r.fate = p ? p->fate : Fate::none;
    send(from, r);
}

/// One more node has told what it knows; when all have, the batch is decided.
void Engine::part_answer(Part& p, NodeId from, Fate fate) {
    if (p.decided) return;
    if (fate == Fate::applied) p.saw_applied = true;
    if (fate == Fate::dropped) p.saw_dropped = true;
    if (fate == Fate::none || fate == Fate::receiving) p.saw_none = true;
    for (u32 i = 0; i < p.list_count; i++)
        if (p.list[i] == from) p.answered[i] = true;
    for (u32 i = 0; i < p.list_count; i++)
        if (!p.answered[i]) return;
    bool applied = p.saw_applied || (!p.saw_dropped && !p.saw_none);
    if (KRG_DSM_MUTANT(DropUndecided)) applied = p.saw_applied;
    if (KRG_DSM_MUTANT(ApplyUndecided)) applied = true;
    p.decided = true;
    if (p.fate == Fate::staged) {
        if (applied)
            apply(p);
        else
            drop_items(p);
    }
    p.fate = applied ? Fate::applied : Fate::dropped;
    bool wait = false;
    for (u32 i = 0; i < p.list_count; i++) {
        p.answered[i] = p.list[i] == cfg_.self || !stayed(p.list[i], p.epoch);
        if (p.answered[i]) continue;
        wait = true;
        Message m;
        m.type = Type::decide;
        m.node = p.writer;
        m.request = p.id;
        m.fate = p.fate;
        send(p.list[i], m);
    }
    if (!wait) free_part(p);
}

void Engine::part_decided(Part& p, NodeId from) {
    if (!p.decided) return;
    bool wait = false;
    for (u32 i = 0; i < p.list_count; i++) {
        if (p.list[i] == from) p.answered[i] = true;
        wait = wait || !p.answered[i];
    }
    if (wait) return;
    for (u32 i = 0; i < p.list_count; i++) {
        if (p.list[i] == cfg_.self || !stayed(p.list[i], p.epoch)) continue;
        Message f;
        f.type = Type::forget;
        f.node = p.writer;
        f.request = p.id;
        send(p.list[i], f);
    }
    free_part(p);
}

}  // namespace krg::dsm
