// SPDX-License-Identifier: GPL-2.0
// What nobody waits for yet: a run of objects that a program will probably read soon, or write for the first time.
// One message asks for all of them, but each has a transaction of its own, like any
// read. What is busy, written at the moment or in need of repair is skipped by its
// home or declined by its holder: nobody ever waits for a request made ahead.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

// The requester

void Engine::ahead(const krg_dsm_event& ev) {
    const Key first{ev.object.container, ev.object.index}, last{ev.object.container, ev.last};
    const bool sane = ev.last >= first.index && ev.last - first.index < KRG_DSM_RANGE_MAX && first.chunk() == last.chunk() &&
                      suits(ev.object.policy);
    if (!sane) stats_.bad++;
    if (!sane || !serving_ || lost_ || draining_ || room_ != Room::enough) return;
    const u64 request = next_request_++;
    Message m;
    m.type = Type::get_range;
    m.key = first;
    m.policy = ev.object.policy;
    m.request = request;
    m.mode = ev.mode == KRG_DSM_WRITE ? static_cast<u8>(KRG_DSM_WRITE) : static_cast<u8>(KRG_DSM_READ);
    m.op = op_ = new_op();
    m.lazy = true;
    for (u64 i = 0; first.index + i <= last.index; i++)
        if (ask_ahead(Key{first.container, first.index + i}, m.policy, request, m.mode)) m.bits[0] |= 1ull << i;
    if (!m.bits[0] || send(home(first, m.policy), m)) return;
    on_skipped(m);  // the connection is broken: a new epoch comes, and what is wanted is asked for then
}

/// Counts @key to the request, if there is nothing of it here or under way.
bool Engine::ask_ahead(const Key& key, const krg_dsm_policy& policy, u64 request, u8 mode) {
    Obj* o = objects_.find(key);
    const bool write = mode == KRG_DSM_WRITE;
    if (write && o && o->state != KRG_DSM_I) return false;  // somebody has used it, so this would not be its first write
    if (o && o->state == KRG_DSM_S && !o->mapped) {
        o->offer = true;  // came before, and was not taken then
        ready(*o);
        return false;
    }
    if (o && ((o->state != KRG_DSM_I && o->state != KRG_DSM_R) || o->asked || o->waiters || o->edge || o->evicting ||
              o->evict_owed || o->command.type != Type::none))
        return false;
    if (ahead_ >= cfg_.params.ahead_max) return false;
    if (!o && !(o = obj(key, policy))) return false;
    o->asked = mode;
    o->ahead = true;
    o->request = request;
    o->op = op_;
    o->attempts = 0;
    o->granted = {};
    ahead_++;
    stats_.ahead_asked++;
    return true;
}

/// It has come, or will not. Whoever waits for it by now asks for itself.
void Engine::not_ahead(Obj& o) {
    o.ahead = false;
    o.asked = 0;
    o.request = 0;
    if (--ahead_ == 0) drain_again_ = draining_;
    if (!KRG_DSM_MUTANT(SkipForgetsWaiter)) ready(o);
}

void Engine::on_skipped(const Message& m) {
    for (u64 i = 0; i < KRG_DSM_RANGE_MAX; i++) {
        if (!(m.bits[0] >> i & 1)) continue;
        Obj* o = objects_.find(Key{m.key.container, m.key.index + i});
        if (o && o->ahead && o->request == m.request && !o->granted.grant && !o->granted.page) not_ahead(*o);
    }
}

/// What came ahead goes to the page cache, if nothing else is to happen to it.
void Engine::offer(Obj& o) {
    if (!o.offer) return;
    o.offer = false;
    if (lost_ || o.state != KRG_DSM_S || o.mapped || o.edge || o.waiters || o.evicting || o.in_batch ||
        o.command.type != Type::none)
        return;
    OutAction* a = act(KRG_DSM_ACT_OFFER);
    if (!a) return;
    a->action.object = object_of(o);
    a->action.handle = o.handle;
    push(a);
}

void Engine::offer_taken() {
    const krg_dsm_action* a = taken_ ? &taken_->action : nullptr;
    Obj* o = a && a->type == KRG_DSM_ACT_OFFER ? objects_.find(Key{a->object.container, a->object.index}) : nullptr;
    if (!o || o->mapped || o->handle != a->handle) {
        stats_.checks++;
        return;
    }
    if (KRG_DSM_MUTANT(OfferNotCounted)) return;
    if (o->handle) disown_page();
    o->handle = 0;
    o->zeros = false;
    o->mapped = true;
    mapped_++;
}

// The home

/// Nothing has to be done before the object can be read, and nobody else wants it. To be written ahead it has to be what nobody
/// has or ever wrote: such a grant takes nothing from anybody, so nodes that write side by side do not take turns.
bool Engine::easy(const Entry& e, u8 mode) const {
    if (!e.stale.empty() || e.queue || e.repair) return false;
    if (mode == KRG_DSM_WRITE && !KRG_DSM_MUTANT(RunOverWritten))
        return !e.exclusive && !copies(e) && e.frozen.empty() && !initialised(e.key);
    if (e.exclusive) return e.retained.count() + 1 >= copies_needed(e.policy);
    return copies(e) || !initialised(e.key);
}

void Engine::on_range(NodeId from, const Message& m) {
    const u64 in_chunk = m.key.index & ((1u << KRG_DSM_CHUNK_SHIFT) - 1), left = (1u << KRG_DSM_CHUNK_SHIFT) - in_chunk;
    const bool sane = m.mode == KRG_DSM_READ || m.mode == KRG_DSM_WRITE;
    if (!sane || (left < KRG_DSM_RANGE_MAX && m.bits[0] >> left)) {
        impossible(from);
        return;
    }
    Message r = about(Type::skipped, m);
    r.request = m.request;
    r.lazy = true;
    for (u64 i = 0; i < KRG_DSM_RANGE_MAX; i++)
        if (m.bits[0] >> i & 1 && !take_range(from, m, Key{m.key.container, m.key.index + i})) {
            r.bits[0] |= 1ull << i;
            stats_.ahead_skipped++;
        }
    if (r.bits[0]) send(from, r);
}

/// Begins a transaction, if it can begin at once.
bool Engine::take_range(NodeId from, const Message& m, const Key& key) {
    Entry* e = home_serving_ && !lost_ ? entry(key, m.policy) : nullptr;
    if (!e) return false;
    const bool held = e->phase != Phase::idle || e->hole != Hole::none || (hole_ && hole_->covers(key)) || !easy(*e, m.mode);
    Want* w = held ? nullptr : heap_.make<Want>();
    if (!w) {
        forget_if_empty(*e);
        return false;
    }
    w->type = Type::get;
    w->node = from;
    w->mode = m.mode;
    w->ahead = true;
    w->request = m.request;
    w->op = m.op;
    e->queue = e->last = w;
    ready_entries_.push(e->ready, e);
    return true;
}

void Engine::on_declined(NodeId from, const Message& m) {
    Entry* e = in_phase(from, m, Phase::closing);
    if (!e) return;
    if (!e->current.ahead || e->current.request != m.request) {
        impossible(from);
        return;
    }
    stats_.ahead_skipped++;
    if (!KRG_DSM_MUTANT(DeclinedStaysBusy)) refuse(*e, Errno::busy);
}

// The holder

/// The copy may be read by another without anybody here noticing more than a page that is write-protected. An exclusive
/// one has been left alone for a while, or pages would go back and forth between a writer and what others read ahead.
bool Engine::can_spare(const Obj& o) const {
    if (o.edge || o.in_batch || o.evicting || o.installing || o.waiters || (durable(o.policy) && widening_)) return false;
    return o.state != KRG_DSM_X || (!o.dirty && now_ >= o.hold_until && now_ - o.hold_until >= cfg_.params.calm_us);
}

void Engine::decline(Obj& o) {
    Message m = about(Type::declined, o);
    m.request = o.command.request;
    m.op = o.command.op;
    m.lazy = true;
    send(o.command.home, m);
    end_command(o);
}

}  // namespace krg::dsm
