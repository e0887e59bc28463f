// SPDX-License-Identifier: GPL-2.0
// Decisions: how they are told, and what a node does that hears of one.
#include "kernel/core/engine.hh"

namespace krg {

u32 Engine::write_decide(const View& v, Ms hold, Ms hold_all) {
    Writer w = open(MsgType::Decide);
    put_hold(w, hold);
    put_hold(w, hold_all);
    v.encode(w);
    return close(w);
}

void Engine::send_decide(NodeId to) {
    send(to, write_decide(view_, remaining(hold_until_, now_), remaining(hold_all_until_, now_)));
}

void Engine::on_decide(NodeId from, Reader& r) {
    Ms hold = r.get32(), hold_all = r.get32();
    if (!incoming_.decode(r) || !r.complete()) return r.fail();
    if (!incoming_.find(from) && !view_.find(from)) return;
    bool with_us = incoming_.has(cfg_.self, cfg_.incarnation) || (KRG_MUTANT(AdoptOldIncarnation) && incoming_.find(cfg_.self));
    if (in_view()) {
        if (incoming_.cluster_id != view_.cluster_id || incoming_.epoch <= view_.epoch) return;
    } else if (!with_us) {
        return;
    }
    if (KRG_MUTANT(HoldForgotten)) hold = 0;
    if (with_us) return install(incoming_, now_ + hold, now_ + hold_all);
    if (KRG_MUTANT(ExpelledStays)) return;
    u16 reason = KRG_MBR_R_LOST;
    for (u32 i = 0; i < incoming_.removed_count(); i++) {
        const krg_mbr_member& m = incoming_.removed()[i];
        if (m.node == cfg_.self && m.incarnation == cfg_.incarnation) reason = m.reason;
    }
    over(reason == KRG_MBR_R_LEFT ? KRG_MBR_ACT_LEFT : KRG_MBR_ACT_EXPELLED, reason, from);
}

void Engine::on_not_member(NodeId from, const Header& h, Reader& r) {
    u16 reason = r.get8();
    if (!r.complete() || reason < KRG_MBR_R_LOST || reason > KRG_MBR_R_EVICTED) return r.fail();
    if (h.epoch <= view_.epoch || KRG_MUTANT(ExpelledStays)) return;
    over(reason == KRG_MBR_R_LEFT ? KRG_MBR_ACT_LEFT : KRG_MBR_ACT_EXPELLED, reason, from);
}

void Engine::remember_gone(const View& next) {
    for (u32 i = 0; i < view_.count(); i++) {
        const krg_mbr_member& m = view_.members()[i];
        if (next.has(m.node, m.incarnation)) continue;
        Peer& p = peer(m.node);
        p.gone_incarnation = m.incarnation;
        p.gone_reason = KRG_MBR_R_LOST;
        for (u32 k = 0; k < next.removed_count(); k++)
            if (next.removed()[k].node == m.node && next.removed()[k].incarnation == m.incarnation)
                p.gone_reason = next.removed()[k].reason;
        p.requests = p.own_requests = 0;
        p.returned = false;
    }
}

void Engine::install(const View& v, Ms hold_until, Ms hold_all_until) {
    KRG_CHECK(v.epoch > view_.epoch && v.has(cfg_.self, cfg_.incarnation));
    remember_gone(v);
    for (u32 i = 0; i < v.count(); i++) {
        const krg_mbr_member& m = v.members()[i];
        Peer& p = peer(m.node);
        if (!view_.has(m.node, m.incarnation)) {
            // New to us: it has suspect_ms to be heard, and nothing is held against it.
            p.heard_at = p.hears_us = now_;
            p.down_since = 0;
            p.stamp = 0;
            p.returned = false;
            p.requests = p.own_requests = 0;
            row_[m.node].assign(v.ids());
        }
        p.join_incarnation = 0;
        p.reset_seen = p.wants_epoch = false;
        if (!p.connected && m.node != cfg_.self && p.down_since) p.down_since = now_;
        p.epoch_stamp = 0;
        p.epoch_stamp_at = p.promised_at = p.acked = 0;
        p.ack_sent = p.has_promised = p.has_accepted = false;
        if (m.flags & KRG_MBR_F_DRAINING) {
            p.requests &= static_cast<u8>(~u8(RequestKind::Drain));
            p.own_requests &= static_cast<u8>(~u8(RequestKind::Drain));
        }
    }
    view_.copy(v);
    stats_.views++;
    promised_ = accepted_ = ballot_ = best_ = {};
    phase_ = Phase::Idle;
    fast_used_ = false;
    max_round_ = 0;
    retry_at_ = 0;
    plan_dirty_ = true;
    plan_needed_ = false;
    plan_hash_ = 0;
    hold_until_ = KRG_MUTANT(NoHold) ? now_ : hold_until;
    hold_all_until_ = hold_all_until;
    lease_base_ = 0;
    above_base_ = 0;
    lease_until_ = 0;
    epoch_since_ = now_;
    prepared_ = committed_ = false;
    state_ = KRG_MBR_PREPARING;
    act(KRG_MBR_ACT_PREPARE);
    next_renew_ = now_ + params().renew_ms;
    renew_all();
}

/// Answers from the plan of the last review, which is at most a renewal old: a question must not change a running ballot's plan.
enum krg_mbr_recovery Engine::may_recover(Ms now) {
    now_ = later(now_, now);
    if (!in_view() || over_ || state_ == KRG_MBR_FAILED) return KRG_MBR_RECOVERY_NO_VIEW;
    if (view_.decided_by(reachable_members(), true)) return KRG_MBR_RECOVERY_QUORUM;
    if (plan_.has(cfg_.self)) return KRG_MBR_RECOVERY_OK;
    constexpr u8 goes = u8(RequestKind::Leave) | u8(RequestKind::Evict);
    return peer(cfg_.self).requests & goes ? KRG_MBR_RECOVERY_GOING : KRG_MBR_RECOVERY_OUTSIDE;
}

/**
 * The operator vouches that every member this node does not reach is dead. The
 * epoch jumps so far that no view decided by votes can ever have the same one.
 */
void Engine::recover() {
    if (!in_view() || view_.decided_by(reachable_members(), true)) return;
    make_plan(false);
    if (!plan_.has(cfg_.self)) return;
    build_value();
    if (state_ == KRG_MBR_FAILED) return;
    value_.epoch = view_.epoch + (1ull << 32);
    Ms until = now_ + view_.params.lease_ms + view_.params.drift_ms;
    value_hold_ = value_hold_all_ = later(until, later(hold_until_, hold_all_until_));
    decide();
}

}  // namespace krg
