// SPDX-License-Identifier: GPL-2.0
// Events and messages in, time, and the work that follows from them.
#include "hadsm/core/engine.hh"

namespace krg::dsm {

Engine::Engine(const krg_dsm_config& cfg, Us now) : cfg_(cfg), heap_(cfg.memory), now_(now), rng_(mix(cfg.seed, cfg.self)) {}

bool Engine::begin() {
    fill_spares();
    return spares_ != 0;
}

void Engine::step(Us now, const krg_dsm_event& ev) {
    if (now > now_) now_ = now;
    fill_spares();
    op_ = 0;
    if (!stopped_) event(ev);
    drain_again_ = draining_;  // whatever happened may have been the last that was here
}

void Engine::event(const krg_dsm_event& ev) {
    switch (ev.type) {
    case KRG_DSM_EV_PREPARE: prepare(ev); return;
    case KRG_DSM_EV_COMMIT: commit_view(ev); return;
    case KRG_DSM_EV_MSG: receive(ev.node, ev); return;
    case KRG_DSM_EV_REQUEST: request(ev); return;
    case KRG_DSM_EV_INSTALLED: installed(ev); return;
    case KRG_DSM_EV_EDGE_DONE: edge_done(ev); return;
    case KRG_DSM_EV_SNAPSHOT_DONE: snapshot_done(ev); return;
    case KRG_DSM_EV_SYNC: sync(ev); return;
    case KRG_DSM_EV_EVICT: evict(ev); return;
    case KRG_DSM_EV_DRAIN: draining_ = true; return;
    case KRG_DSM_EV_PUNCH: punch(ev); return;
    case KRG_DSM_EV_AHEAD: ahead(ev); return;
    case KRG_DSM_EV_TICK: tick(); return;
    case KRG_DSM_EV_ROOM: room(ev); return;
    case KRG_DSM_EV_POINT: take_point(ev); return;
    case KRG_DSM_EV_ROLLBACK: roll_back(ev); return;
    default: stats_.bad++;
    }
}

void Engine::receive(NodeId from, const krg_dsm_event& ev) {
    stats_.messages_in++;
    stats_.bytes_in += ev.len;
    stats_.pages_in += ev.handle != 0;
    Message m;
    if (ev.handle && !own_page()) {
        refused_handle_ = ev.handle;
        reset(from, KRG_DSM_R_MEMORY);
        return;
    }
    const bool decoded = ev.data && decode(m, ev.data, ev.len);
    const bool takes_page = m.type == Type::data || m.type == Type::stage || m.type == Type::retain ||
                            m.type == Type::point_copy;
    if (!decoded || (ev.handle && !takes_page)) {
        stats_.bad++;
        free_handle(ev.handle);
        return;
    }
    m.handle = ev.handle;
    const bool stale = m.epoch < epoch_ && !KRG_DSM_MUTANT(IgnoreEpoch);
    if (stale || !from || from == cfg_.self) {
        stats_.stale++;
        free_handle(m.handle);
        return;
    }
    if (m.epoch > epoch_ || !serving_) {
        if (parked_count_ >= cfg_.params.parked_max) {
            reset(from, KRG_DSM_R_MEMORY);
            free_handle(m.handle);
            return;
        }
        park(from, m, false);
        return;
    }
    if (in_order(from, m))
        dispatch(from, m);
    else
        free_handle(m.handle);
}

/// Once, and none missing before it.
bool Engine::in_order(NodeId from, const Message& m) {
    Peer* p = peer(from);
    if (!p) {
        reset(from, KRG_DSM_R_MEMORY);
        return false;
    }
    if (m.seq <= p->in && !KRG_DSM_MUTANT(DuplicateAccepted)) {
        stats_.duplicates++;
        return false;
    }
    if (m.seq > p->in + 1 && m.epoch == epoch_) {
        stats_.stale++;  // the connection was reset in between: a new epoch is on its way, and this one is over for the pair
        return false;
    }
    p->in = m.seq;
    if (member(from)) return true;
    stats_.stale++;
    return false;
}

/// The peer's view of the world and ours do not fit: a new epoch puts them together again.
void Engine::impossible(NodeId peer) {
    stats_.checks++;
    reset(peer, KRG_DSM_R_PROTOCOL);
}

void Engine::dispatch(NodeId from, Message& m) {
    op_ = m.op;
    trace_message(KRG_DSM_T_RECEIVE, from, m);
    if (comes_unsettled(from, m)) return;
    switch (m.type) {
    case Type::get:
    case Type::evict: want(from, m); return;
    case Type::forward:
    case Type::invalidate:
    case Type::copy:
    case Type::set_rset: on_command(from, m); return;
    case Type::data: on_data(from, m); return;
    case Type::grant: on_grant(from, m); return;
    case Type::close: on_close(from, m); return;
    case Type::fail: on_fail(m); return;
    case Type::invalidated: m.answer ? on_answer(from, m) : on_invalidated(from, m); return;
    case Type::bits_known: on_bits_known(); return;
    case Type::pinned: m.answer ? on_answer(from, m) : on_pinned(from, m); return;
    case Type::demoted: on_demoted(from, m); return;
    case Type::release: on_release(from, m); return;
    case Type::released: on_released(from, m); return;
    case Type::restore: on_restore(m); return;
    case Type::retain: on_retain(from, m); return;
    case Type::retained: on_retained(from, m); return;
    case Type::evict_done: on_evict_done(m); return;
    case Type::rset_set: on_rset_set(from, m); return;
    case Type::init: on_init(from, m); return;
    case Type::init_done: on_init_done(m); return;
    case Type::stage: on_stage(from, m); return;
    case Type::stage_end: on_stage_end(from, m); return;
    case Type::staged: on_staged(from, m); return;
    case Type::decide: on_decide(from, m); return;
    case Type::decided: on_decided(from, m); return;
    case Type::forget: on_forget(from, m); return;
    case Type::batch_state: on_batch_state(from, m); return;
    case Type::batch_ask: on_batch_ask(from, m); return;
    case Type::report: on_report(from, m); return;
    case Type::bits: on_bits(from, m); return;
    case Type::report_end: on_report_end(from, m); return;
    case Type::punch: on_punch(from, m); return;
    case Type::punched: on_punched(from, m); return;
    case Type::clear: on_clear(from, m); return;
    case Type::cleared: on_cleared(from, m); return;
    case Type::get_range: on_range(from, m); return;
    case Type::skipped: on_skipped(m); return;
    case Type::declined: on_declined(from, m); return;
    case Type::room: on_room(from, m); return;
    case Type::report_ask: on_report_ask(from, m); return;
    case Type::report_asked: on_report_asked(from); return;
    case Type::point:
    case Type::point_done:
    case Type::shot:
    case Type::shot_end:
    case Type::shot_known:
    case Type::keep:
    case Type::point_copy:
    case Type::kept:
    case Type::point_state:
    case Type::settle:
    case Type::mark:
    case Type::counted:
    case Type::verdict: dispatch_point(from, m); return;
    case Type::none:
    case Type::count_: break;
    }
    stats_.bad++;
}

/// One bounded piece of what is left to do; false: nothing is.
bool Engine::pump() {
    if (tell_points()) return true;
    if (Parked* p = own_) {
        own_ = p->next;
        if (!own_) own_last_ = nullptr;
        Message m = p->message;
        const NodeId from = p->from;
        const bool own = p->own;
        heap_.drop(p);
        if (own || in_order(from, m))
            dispatch(from, m);
        else
            free_handle(m.handle);
        return true;
    }
    op_ = 0;
    if (Obj* o = ready_.first()) {
        ready_.remove(o->ready);
        run(*o);
        return true;
    }
    if (Entry* e = ready_entries_.first()) {
        ready_entries_.remove(e->ready);
        advance(*e);
        return true;
    }
    if (!serving_) return false;
    if (stage_some() || roll_some() || report_some() || tell_shots() || keep_some()) return true;
    if (!drain_again_) return false;
    drain_again_ = false;
    drain();
    return true;
}

/// Looks at @o again at @at, or earlier.
void Engine::arm(Obj& o, Us at) {
    if (!o.timed.linked()) o.due = never;
    if (at < o.due) o.due = at;
    timed_.push(o.timed, &o);
}

Us Engine::deadline() const {
    Us d = never;
    const auto sooner = [&d](Us t) { d = t < d ? t : d; };
    for (const Obj* o = timed_.first(); o; o = timed_.after(o->timed)) sooner(o->due);
    // While a batch is under way or something is in transit, its end is the next chance, not time.
    if (home_serving_ && !dirty_.empty() && !snapshot_ && !staging_ && !transit_)
        sooner(batch_wanted_ ? batch_retry_at_ : commit_at_);
    sooner(resolve_at_);
    sooner(report_again_at_);
    sooner(reset_at_);
    sooner(point_at_);
    sooner(mend_at_);
    sooner(restore_at_);
    return d;
}

void Engine::tick() {
    for (Obj* o = timed_.first(); o;) {
        Obj* next = timed_.after(o->timed);
        if (o->due <= now_) {
            timed_.remove(o->timed);
            o->due = never;
            ready(*o);
        }
        o = next;
    }
    if (now_ >= reset_at_) {
        reset_at_ = never;
        if (other_member())
            reset(0, KRG_DSM_R_MEMORY);
        else if (serving_)
            start_over();
    }
    point_tick();
    if (now_ >= commit_at_) batch_wanted_ = true;
    start_batch();
    if (now_ >= resolve_at_) resolve_retry();
    if (now_ >= report_again_at_) {
        report_again_at_ = never;
        start_over();
    }
}

}  // namespace krg::dsm
