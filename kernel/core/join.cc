// SPDX-License-Identifier: GPL-2.0
// Getting in, and asking others for something: join requests and their
// refusals, and the requests (drain, leave, evict) that are repeated to all
// members until a view grants them.
#include "kernel/core/engine.hh"

namespace krg {

/// That this node wants in, and whom it hears.
u32 Engine::write_join_req() {
    Writer w = open(MsgType::JoinReq);
    w.put32(cfg_.cluster_hash);
    scratch_.clear();
    scratch_.add(cfg_.self);
    for (u32 n = 1; n <= cfg_.max_nodes; n++) {
        const Peer& p = peer_[n];
        if (p.connected && p.heard_at && now_ - p.heard_at <= params().suspect_ms) scratch_.add(static_cast<NodeId>(n));
    }
    put_set(w, scratch_);
    return close(w);
}

/// Tells everybody connected.
void Engine::knock() {
    if (state_ != KRG_MBR_JOINING) return;
    u32 length = write_join_req();
    for (u32 n = 1; n <= cfg_.max_nodes; n++) send(static_cast<NodeId>(n), length);
}

void Engine::refuse(NodeId node, u64 incarnation, u16 reason) {
    Writer w = open(MsgType::Refuse);
    w.put8(static_cast<u8>(reason));
    u32 length = close(w);
    // Also to ids we do not keep, and to a second machine with a known id: the edge knows whom it heard.
    if (krg_mbr_action* a = length ? act(KRG_MBR_ACT_SEND) : nullptr) {
        a->node = node;
        a->incarnation = incarnation;
        a->data = out_ + out_last_;
        a->len = length;
        stats_.messages_out++;
    }
    if (krg_mbr_action* a = act(KRG_MBR_ACT_PEER_REFUSED)) {
        a->node = node;
        a->incarnation = incarnation;
        a->reason = reason;
    }
}

void Engine::on_join_req(NodeId from, u64 incarnation, const Header& h, Reader& r) {
    if (h.version != KRG_MBR_VERSION) {
        if (in_view()) refuse(from, incarnation, KRG_MBR_R_VERSION);
        return;
    }
    if (!known(from)) {
        if (in_view()) refuse(from, incarnation, KRG_MBR_R_ID_RANGE);
        return;
    }
    u32 cluster_hash = r.get32();
    get_set(r, scratch_);
    if (!r.complete() || !incarnation) return r.fail();
    if (in_view() && cluster_hash != cfg_.cluster_hash) return refuse(from, incarnation, KRG_MBR_R_CLUSTER);
    if (in_view() && is_member(from, incarnation)) return send_decide(from);
    Peer& p = peer(from);
    bool other_machine = !p.connected || p.conn_incarnation != incarnation;
    if (other_machine && !KRG_MUTANT(IdTakenAdmitted)) {
        if (in_view() && view_.find(from)) refuse(from, incarnation, KRG_MBR_R_ID_TAKEN);
        return;
    }
    if (const krg_mbr_member* m = view_.find(from); m && m->incarnation != incarnation && !p.returned) {
        p.returned = true;  // its old life is over; the view has yet to say so
        plan_dirty_ = true;
    }
    if (!in_view()) p.heard_at = now_;
    if (p.join_incarnation != incarnation) plan_dirty_ = true;
    p.join_incarnation = incarnation;
    p.join_at = now_;
    for (u32 i = 0; i < scratch_.word_count(); i++)
        if (scratch_.words()[i] != row_[from].words()[i] && !view_.find(from)) {
            row_[from].assign(scratch_);
            plan_dirty_ = true;
        }

    Writer w = open(MsgType::JoinWait);
    w.put8(!in_view() ? wait_not_member : view_.decided_by(reachable_members(), true) ? 0 : wait_no_quorum);
    put_set(w, view_.ids());
    send(from, close(w));
}

void Engine::on_join_wait(NodeId from, Reader& r) {
    u8 flags = r.get8();
    get_set(r, scratch_);
    if (!r.complete()) return r.fail();
    peer(from).heard_at = now_;
    if (flags & wait_not_member) return;
    heard_members_ = true;
    if (flags & wait_no_quorum) return;
    heard_quorum_ = true;
    cluster_.assign(scratch_);
}

void Engine::on_refuse(NodeId from, Reader& r) {
    u16 reason = r.get8();
    if (!r.complete() || reason < KRG_MBR_R_VERSION || reason > KRG_MBR_R_ID_RANGE) return r.fail();
    over(KRG_MBR_ACT_REFUSED, reason, from);
}

void Engine::join_timeout() {
    if (now_ < join_deadline_) return;
    NodeId missing = 0;
    cluster_.each([&](NodeId n) {
        if (!missing && n != cfg_.self && known(n) &&
            (!peer(n).connected || !peer(n).heard_at || now_ - peer(n).heard_at > params().suspect_ms))
            missing = n;
    });
    u16 reason = missing          ? KRG_MBR_R_UNREACHABLE
                 : heard_quorum_  ? KRG_MBR_R_TIMEOUT
                 : heard_members_ ? KRG_MBR_R_NO_QUORUM
                                  : KRG_MBR_R_TIMEOUT;
    over(KRG_MBR_ACT_REFUSED, reason, missing);
}

void Engine::repeat_requests() {
    for (u32 i = 0; i < view_.count(); i++) {
        const krg_mbr_member& m = view_.members()[i];
        Peer& p = peer(m.node);
        if (!p.own_requests || p.request_incarnation != m.incarnation) continue;
        Writer w = open(MsgType::Request);
        w.put8(p.own_requests);
        w.put16(m.node);
        w.put64(m.incarnation);
        send_to_members(close(w));
    }
}

void Engine::on_request(NodeId from, Reader& r) {
    u8 kinds = r.get8();
    NodeId node = r.get16();
    u64 incarnation = r.get64();
    constexpr u8 all = u8(RequestKind::Drain) | u8(RequestKind::Leave) | u8(RequestKind::Evict);
    if (!r.complete() || !known(node) || !kinds || (kinds & ~all)) return r.fail();
    // That a node has stopped serving, only it can say.
    if ((kinds & u8(RequestKind::Leave)) && node != from) return r.fail();
    if (!view_.has(node, incarnation)) return;
    Peer& p = peer(node);
    if (p.request_incarnation != incarnation) p.requests = 0;
    p.request_incarnation = incarnation;
    if ((p.requests | kinds) == p.requests) return;
    p.requests |= kinds;
    plan_dirty_ = true;
}

}  // namespace krg
