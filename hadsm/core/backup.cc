// SPDX-License-Identifier: GPL-2.0
// The backup: versions of others' batches, kept beside the committed ones until the
// batch is decided. What it has said it keeps, it keeps; what became of a batch it can
// tell until everybody has decided.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

Part* Engine::part(NodeId writer, u64 id) const {
    for (Part* p = parts_.first(); p; p = parts_.after(p->link))
        if (p->writer == writer && p->id == id) return p;
    return nullptr;
}

void Engine::on_stage(NodeId from, Message& m) {
    Part* p = part(from, m.request);
    if (!p && (p = heap_.make<Part>())) {
        p->writer = from;
        p->id = m.request;
        p->epoch = epoch_;
        parts_.push(p->link, p);
    }
    Staged* s = p && p->fate == Fate::receiving ? heap_.make<Staged>() : nullptr;
    const bool page = m.payload != Payload::have;
    Obj* o = s && page ? obj(m.key, m.policy) : nullptr;
    const bool bits = s && (!m.initialised || chunk(m.key, m.policy));
    if (!s || !bits || (page && !o)) {
        if (p) p->failed = true;
        heap_.drop(s);
        if (o) forget_if_empty(*o);
        free_handle(m.handle);
        return;
    }
    trace_object(KRG_DSM_T_STAGE, m.op, m.key, from, 0, m.version);
    s->part = p;
    s->key = m.key;
    s->policy = m.policy;
    s->version = m.version;
    s->handle = m.handle;
    s->has_page = page;
    s->initialises = m.initialised;
    p->items.push(s->in_part, s);
    p->received++;
    if (!o) return;
    s->obj = o;
    Staged** at = &o->staged;
    while (*at) at = &(*at)->next;
    *at = s;
}

void Engine::on_stage_end(NodeId from, const Message& m) {
    Part* p = part(from, m.request);
    Message r;
    r.type = Type::staged;
    r.node = from;
    r.request = m.request;
    if (!p || p->fate != Fate::receiving || p->failed || p->received != m.count) {
        r.error = Errno::nomem;
        if (p && p->fate == Fate::receiving) {
            drop_items(*p);
            p->fate = Fate::dropped;
        }
    } else {
        p->fate = Fate::staged;
        p->list_count = m.list_count;
        for (u32 i = 0; i < m.list_count; i++) p->list[i] = m.list[i];
        if (KRG_DSM_MUTANT(StagedIsCommitted)) apply(*p);
    }
    trace_number(KRG_DSM_T_STAGED, m.op, m.count, "batch", static_cast<s32>(r.error), from);
    send(from, r);
}

void Engine::on_decide(NodeId from, const Message& m) {
    if (Part* p = part(m.node, m.request)) {
        if (m.fate == Fate::applied && p->fate == Fate::staged) apply(*p);
        if (m.fate == Fate::dropped && p->fate != Fate::applied) drop_items(*p);
        if (p->fate == Fate::staged || p->fate == Fate::receiving) p->fate = m.fate;
        if (p->fate != m.fate) impossible(from);
    }
    Message r;
    r.type = Type::decided;
    r.node = m.node;
    r.request = m.request;
    send(from, r);
}

void Engine::on_forget(NodeId from, const Message& m) {
    Part* p = part(m.node, m.request);
    if (!p) return;
    if (p->fate == Fate::staged || p->fate == Fate::receiving) {
        impossible(from);
        return;
    }
    free_part(*p);
}

/// The staged versions become the committed ones.
void Engine::apply(Part& p) {
    while (Staged* s = p.items.first()) {
        if (s->initialises) {
            Chunk* c = set_written(s->key, s->policy);  // it was made when the item came
            // Of a batch in doubt the home may have heard nothing.
            if (c && set_initialised(s->key, s->policy)) c->unsure = c->unsure || p.epoch < epoch_;
        }
        if (s->obj) take_staged(*s);
        free_staged(*s);
    }
    p.fate = Fate::applied;
}

void Engine::drop_items(Part& p) {
    while (Staged* s = p.items.first()) free_staged(*s);
}

/// Replaces what is here, unless that is newer; the record stays for its initialised bit.
void Engine::take_staged(Staged& s) {
    Obj& o = *s.obj;
    const bool replaceable = o.state == KRG_DSM_I || o.state == KRG_DSM_R || o.state == KRG_DSM_F;
    if (replaceable && s.version > o.version) {
        drop_copy(o);
        put_copy(o, s.handle, true);
        s.handle = 0;
        o.state = KRG_DSM_R;
        o.version = s.version;
        if (o.counter < s.version.count) o.counter = s.version.count;
        o.initialised = true;
    }
    detach(s);
}

/// The object and its page have no more to do with this version.
void Engine::detach(Staged& s) {
    free_handle(s.handle);
    s.handle = 0;
    if (!s.obj) return;
    Staged** at = &s.obj->staged;
    while (*at && *at != &s) at = &(*at)->next;
    if (*at) *at = s.next;
    ready(*s.obj);
    s.obj = nullptr;
}

void Engine::free_staged(Staged& s) {
    detach(s);
    s.part->items.remove(s.in_part);
    heap_.drop(&s);
}

void Engine::free_part(Part& p) {
    drop_items(p);
    parts_.remove(p.link);
    heap_.drop(&p);
}

}  // namespace krg::dsm
