// SPDX-License-Identifier: GPL-2.0
// The engine's front: layout, events, which message goes where. What a message
// means is in the file named after its purpose.
#include "kernel/core/engine.hh"

#include <initializer_list>

namespace krg {

Engine::Engine(Arena& arena, const krg_mbr_config& cfg, Ms now) : cfg_(cfg), now_(now), rng_(cfg.seed) {
    u16 max = cfg.max_nodes;
    u32 words = NodeSet::words_for(max);
    auto set = [&] { return NodeSet(arena.take<u64>(words), words); };
    for (View* v : {&view_, &accepted_value_, &value_, &incoming_}) v->place(arena, max);
    peer_ = arena.take<Peer>(max + 1u);
    row_ = arena.take<NodeSet>(max + 1u);
    for (u32 i = 0; i <= max; i++) {
        NodeSet s = set();
        if (row_) row_[i] = s;
    }
    plan_ = set();
    alive_ = set();
    scratch_ = set();
    cluster_ = set();
    clique_.place(arena, max);
    // The worst step: a decision goes to two views' members, then everybody hears a renewal and a request.
    actions_max_ = 8u * max + 64;
    action_ = arena.take<krg_mbr_action>(actions_max_);
    out_max_ = 8 * (View::encoded_max(max) + 8192) + (max + 1u) * (64 + 8 * words);
    out_ = arena.take<u8>(out_max_);
}

u64 Engine::random() {  // splitmix64 (Steele, Lea, Flood 2014)
    u64 z = rng_ += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

bool Engine::is_member(NodeId node, u64 incarnation) const {
    if (KRG_MUTANT(AdoptOldIncarnation)) return view_.find(node);
    return view_.has(node, incarnation);
}

void Engine::step(Ms now, const krg_mbr_event& ev) {
    actions_ = taken_ = 0;
    out_used_ = 0;
    now_ = later(now_, now);
    stats_.events++;
    if (state_ == KRG_MBR_FAILED) return;
    watch_quorum();  // before the event: a machine that slept must notice, even if its first message heals everything
    event(ev);
    after_event();
}

void Engine::event(const krg_mbr_event& ev) {
    switch (ev.type) {
    case KRG_MBR_EV_CREATE: create(ev.arg); break;
    case KRG_MBR_EV_JOIN: join(ev.arg); break;
    case KRG_MBR_EV_MSG: message(ev.node, ev.incarnation, ev.data, ev.len); break;
    case KRG_MBR_EV_PEER_UP: peer_up(ev.node, ev.incarnation); break;
    case KRG_MBR_EV_PEER_DOWN: peer_down(ev.node, ev.incarnation); break;
    case KRG_MBR_EV_LINK_HINT:
        if (known(ev.node) && !peer(ev.node).down_since) peer(ev.node).down_since = now_;
        break;
    case KRG_MBR_EV_TICK: break;
    case KRG_MBR_EV_PREPARED:
        if (in_view() && ev.arg == view_.epoch) prepared_ = true;
        break;
    case KRG_MBR_EV_LEAVE: request(cfg_.self, KRG_MUTANT(LeaveWithoutDrain) ? RequestKind::Leave : RequestKind::Drain); break;
    case KRG_MBR_EV_DRAINED: drained(ev.arg); break;
    case KRG_MBR_EV_EVICT: request(ev.node, RequestKind::Evict); break;
    case KRG_MBR_EV_RECOVER: recover(); break;
    default: stats_.bad_messages++;
    }
}

/// Everything that is due, whatever the event was.
void Engine::after_event() {
    if (state_ == KRG_MBR_IDLE || state_ == KRG_MBR_FAILED) return;
    if (now_ >= next_renew_) {
        next_renew_ = now_ + params().renew_ms;
        if (in_view()) {
            if (witness_new_) send(KRG_MBR_WITNESS, close(open(MsgType::WitnessNew)));
            renew_all();
            repeat_requests();
        } else {
            knock();
        }
    }
    if (state_ == KRG_MBR_JOINING) {
        join_timeout();
        return;
    }
    serve();
    review();
    propose();
    serve();  // a view of one is decided, and may serve, in one step
}

Ms Engine::deadline() const {
    if (state_ == KRG_MBR_IDLE || state_ == KRG_MBR_FAILED) return never;
    Ms at = next_renew_;
    if (state_ == KRG_MBR_JOINING) return sooner(at, join_deadline_);
    if (phase_ == Phase::Idle) at = sooner(at, next_review_);
    if (state_ == KRG_MBR_SERVING) at = sooner(at, lease_until_);
    if (state_ == KRG_MBR_PREPARING && hold_until_ > now_) at = sooner(at, hold_until_);
    if (phase_ != Phase::Idle) at = sooner(at, phase_deadline_);
    if (plan_needed_ && phase_ == Phase::Idle) {
        if (Ms due = proposal_due(); due > now_) at = sooner(at, due);
    }
    return at;
}

void Engine::create(u64 cluster_id) {
    if (over_ || state_ != KRG_MBR_IDLE || !cluster_id) return;
    value_.clear();
    value_.epoch = 1;
    value_.cluster_id = cluster_id;
    value_.params = cfg_.params;
    KRG_CHECK(value_.add(cfg_.self, cfg_.incarnation, 0));
    install(value_, now_, now_);
    witness_new_ = cfg_.params.witness;
    next_renew_ = now_;
}

void Engine::join(Ms give_up_after) {
    if (over_ || state_ != KRG_MBR_IDLE) return;
    state_ = KRG_MBR_JOINING;
    join_deadline_ = give_up_after ? now_ + give_up_after : never;
    next_renew_ = now_;
}

void Engine::peer_up(NodeId node, u64 incarnation) {
    if (!known(node) || node == cfg_.self || !incarnation) return;
    Peer& p = peer(node);
    if (p.connected && p.conn_incarnation == incarnation) return;
    if (p.conn_incarnation != incarnation) {  // a new life: nothing that was heard of the old one counts
        p.down_since = p.heard_at = p.hears_us = 0;
        p.stamp = 0;
        p.reset_seen = p.wants_epoch = false;
        p.join_incarnation = 0;
    }
    p.connected = true;
    p.conn_incarnation = incarnation;
    const krg_mbr_member* m = view_.find(node);
    if (m && m->incarnation != incarnation) plan_dirty_ = true;
    if (state_ == KRG_MBR_JOINING) {
        // Others hear of it with the next knock, which is soon: one to everybody at each connection would be N^3 messages.
        send(node, write_join_req());
        next_renew_ = sooner(next_renew_, now_ + params().renew_ms / 8);
    } else if (in_view() && is_member(node, incarnation)) {
        renew(node);
    }
}

void Engine::peer_down(NodeId node, u64 incarnation) {
    if (!known(node) || node == cfg_.self) return;
    Peer& p = peer(node);
    if (!p.connected || (incarnation && p.conn_incarnation != incarnation)) return;
    p.connected = false;
    if (!p.down_since) p.down_since = now_;
    if (in_view() && is_member(node, p.conn_incarnation) && !KRG_MUTANT(ResetIgnored)) p.reset_seen = true;
    p.join_incarnation = 0;
    plan_dirty_ = true;
}

void Engine::request(NodeId node, RequestKind kind) {
    if (!in_view()) {
        if (node == cfg_.self && state_ == KRG_MBR_JOINING) over(KRG_MBR_ACT_LEFT, KRG_MBR_R_LEFT, 0);
        return;
    }
    const krg_mbr_member* m = known(node) ? view_.find(node) : nullptr;
    if (!m || (kind == RequestKind::Evict && KRG_MUTANT(EvictIgnored))) return;
    Peer& p = peer(node);
    p.requests |= static_cast<u8>(kind);
    p.own_requests |= static_cast<u8>(kind);
    p.request_incarnation = m->incarnation;
    plan_dirty_ = true;
    repeat_requests();
}

void Engine::drained(u64 epoch) {
    if (!in_view() || !drain_asked_ || epoch > view_.epoch) return;
    drained_ = true;
    if (state_ == KRG_MBR_SERVING && !KRG_MUTANT(ServeAfterDrained)) state_ = KRG_MBR_SUSPENDED;
    request(cfg_.self, RequestKind::Leave);
}

/// This incarnation is over: nothing it hears changes anything any more.
void Engine::over(u32 action, u16 reason, NodeId by) {
    state_ = KRG_MBR_IDLE;
    over_ = true;
    phase_ = Phase::Idle;
    next_renew_ = never;
    lease_until_ = 0;
    committed_ = false;
    if (krg_mbr_action* a = act(action)) {
        a->reason = reason;
        a->node = by;
        a->epoch = view_.epoch;
    }
}

void Engine::failed(u32 line) {
    state_ = KRG_MBR_FAILED;
    lease_until_ = 0;
    if (krg_mbr_action* a = act(KRG_MBR_ACT_FAILED)) {
        a->arg = line;
        a->reason = KRG_MBR_R_INTERNAL;
    }
}

void Engine::message(NodeId from, u64 incarnation, const u8* data, u32 length) {
    stats_.messages_in++;
    Reader r(data, length);
    Header h;
    h.get(r);
    if (!r.ok()) {
        stats_.bad_messages++;
        return;
    }
    if (over_ || state_ == KRG_MBR_IDLE || from == cfg_.self) {
        stats_.stale_messages++;
        return;
    }
    if (from == KRG_MBR_WITNESS) {
        if (in_view() && h.version == KRG_MBR_VERSION && h.cluster_id == view_.cluster_id) dispatch(from, h, r);
    } else if (h.type == MsgType::JoinReq) {
        on_join_req(from, incarnation, h, r);
    } else if (h.version != KRG_MBR_VERSION && h.type != MsgType::Refuse) {
        stats_.bad_messages++;
    } else if (!known(from) || !peer(from).connected || peer(from).conn_incarnation != incarnation) {
        stats_.stale_messages++;
    } else if (!in_view() || !is_member(from, incarnation) || h.cluster_id != view_.cluster_id) {
        stranger(from, incarnation, h, r);
    } else {
        dispatch(from, h, r);
    }
    if (!r.ok()) stats_.bad_messages++;
}

/// From a member of the current view (or the witness), same cluster.
void Engine::dispatch(NodeId from, const Header& h, Reader& r) {
    if (from == KRG_MBR_WITNESS && h.type == MsgType::WitnessNew) {
        witness_new_ = false;
        return;
    }
    if (from == KRG_MBR_WITNESS && h.type != MsgType::P1b && h.type != MsgType::P2b && h.type != MsgType::Nack) return r.fail();
    switch (h.type) {
    case MsgType::Renew: on_renew(from, h, r); break;
    case MsgType::JoinWait:  // left over from when it or we joined
    case MsgType::Refuse: stats_.stale_messages++; break;
    case MsgType::NotMember: on_not_member(from, h, r); break;
    case MsgType::Behind:
        if (KRG_MUTANT(LostDecideNotRepaired)) break;
        r.complete() ? send_decide(from) : r.fail();
        break;
    case MsgType::Request: on_request(from, r); break;
    case MsgType::P1a: on_p1a(from, h, r); break;
    case MsgType::P1b: on_p1b(from, r); break;
    case MsgType::P2a: on_p2a(from, h, r); break;
    case MsgType::P2b: on_p2b(from, r); break;
    case MsgType::Nack: on_nack(from, r); break;
    case MsgType::Decide: on_decide(from, r); break;
    default: r.fail();
    }
}

/// From a connected node that is not a member of the view we know, or before we have a view.
void Engine::stranger(NodeId from, u64 incarnation, const Header& h, Reader& r) {
    if (state_ == KRG_MBR_JOINING) {
        switch (h.type) {
        case MsgType::JoinWait: on_join_wait(from, r); break;
        case MsgType::Refuse: on_refuse(from, r); break;
        case MsgType::Decide: on_decide(from, r); break;
        case MsgType::Renew:  // a member that takes us for one: we missed the decision
            peer(from).heard_at = now_;
            send(from, close(open(MsgType::Behind)));
            break;
        default: break;
        }
        return;
    }
    stats_.stale_messages++;
    if (!in_view() || h.cluster_id != view_.cluster_id) return;
    if (h.type == MsgType::NotMember) return on_not_member(from, h, r);
    if (h.type == MsgType::Decide) {  // a view whose members we do not know yet
        on_decide(from, r);
    } else if (h.epoch > view_.epoch) {
        send(from, close(open(MsgType::Behind)));
    } else if (h.type == MsgType::Renew || h.type == MsgType::Behind || h.type == MsgType::P1a || h.type == MsgType::P2a) {
        const Peer& p = peer(from);
        Writer w = open(MsgType::NotMember);
        w.put8(static_cast<u8>(p.gone_incarnation == incarnation ? p.gone_reason : u16(KRG_MBR_R_LOST)));
        send(from, close(w));
    }
}

bool Engine::peer_info(NodeId node, Ms now, krg_mbr_peer_info& info) {
    if (!known(node)) return false;
    now_ = later(now_, now);
    const Peer& p = peer(node);
    const krg_mbr_member* m = view_.find(node);
    info = {};
    info.node = node;
    info.member = m != nullptr;
    info.incarnation = m ? m->incarnation : p.conn_incarnation;
    bool self = node == cfg_.self;
    info.reachable = self ? 1 : m ? reaches(node) : p.connected && p.heard_at && now_ - p.heard_at <= params().suspect_ms;
    info.heard_ms_ago = self ? 0 : p.heard_at ? now_ - p.heard_at : never;
    info.acked_ms_ago = self ? 0 : p.acked ? now_ - p.acked : never;
    return true;
}

bool Engine::has_quorum(Ms now) {
    now_ = later(now_, now);
    return in_view() && view_.decided_by(reachable_members(), true);
}

u64 Engine::hash() const {
    u64 h = mix(state_, u64(over_) | u64(prepared_) << 1 | u64(committed_) << 2 | u64(drain_asked_) << 3 | u64(drained_) << 4 |
                            u64(fast_used_) << 5 | u64(quorum_near_) << 6 | u64(phase_) << 8 | u64(max_round_) << 16);
    h = view_.hash(h);
    for (Ms t : {lease_until_, hold_until_, hold_all_until_, next_renew_, join_deadline_, accepted_at_, plan_since_, retry_at_})
        h = mix(h, t == never ? t : t - now_);  // times relative to now: states repeat
    h = mix(h, now_ < patience_limit() ? now_ - quorum_back_ + 1 : 0);
    for (Ballot b : {promised_, accepted_, ballot_, best_}) h = mix(h, u64(b.round) << 16 | b.node);
    if (!accepted_.none()) h = accepted_value_.hash(h);
    if (phase_ != Phase::Idle) h = value_.hash(h);
    for (u32 n = 1; n <= cfg_.max_nodes; n++) {
        const Peer& p = peer_[n];
        h = mix(h, u64(p.connected) | u64(p.reset_seen) << 1 | u64(p.wants_epoch) << 2 | u64(p.returned) << 3 |
                       u64(p.ack_sent) << 4 | u64(p.has_promised) << 5 | u64(p.has_accepted) << 6 | u64(p.requests) << 8 |
                       u64(p.own_requests) << 16);
        h = mix(mix(h, p.conn_incarnation), p.join_incarnation);
        for (Ms t : {p.down_since, p.heard_at, p.hears_us, p.promised_at, p.acked, p.join_at}) h = mix(h, t ? now_ - t + 1 : 0);
        for (u32 i = 0; i < row_[n].word_count(); i++) h = mix(h, row_[n].words()[i]);
    }
    return h;
}

}  // namespace krg
