// SPDX-License-Identifier: GPL-2.0
// The proposer: one Paxos ballot for the next epoch (Lamport, "Paxos made
// simple", 2001). Round 0 belongs to the lowest id of the view, which may use it
// for one value that removes nobody without asking for promises first; every
// other ballot asks, and so finds out whether those that stay are still there.
#include "kernel/core/engine.hh"

namespace krg {

void Engine::propose() {
    if (!in_view() || over_ || state_ == KRG_MBR_FAILED) return;
    if (phase_ != Phase::Idle) {
        if (now_ >= phase_deadline_) give_up_ballot(jitter(params().settle_ms) + 1);
        return;
    }
    if (!plan_needed_ || now_ < proposal_due()) return;
    if (view_.count() == 1 && (peer(cfg_.self).requests & u8(RequestKind::Leave)))
        return over(KRG_MBR_ACT_LEFT, KRG_MBR_R_LEFT, 0);
    if (!view_.decided_by(reachable_members(), true) || plan_.empty()) return;
    plan_dirty_ = true;
    review();  // on what is known now, not at the last look
    if (!plan_needed_ || now_ < proposal_due()) return;
    stats_.proposals++;
    bool first = promised_.none() && !fast_used_ && plan_plain_ && plan_.contains_all(view_.ids());
    bool fast = cfg_.self == view_.lowest() && (first || KRG_MUTANT(ReuseFastBallot));
    has_best_ = false;
    best_ = {};
    phase_deadline_ = now_ + 2ull * params().renew_ms + jitter(params().renew_ms);
    for (u32 i = 0; i < view_.count(); i++) {
        Peer& p = peer(view_.members()[i].node);
        p.has_promised = p.has_accepted = false;
    }
    witness_promised_ = witness_accepted_ = false;
    if (!fast) return start_phase_one();
    fast_used_ = true;
    ballot_ = {0, cfg_.self};
    build_value();
    start_phase_two();
}

void Engine::start_phase_one() {
    max_round_ = (max_round_ > promised_.round ? max_round_ : promised_.round) + 1;
    ballot_ = {max_round_, cfg_.self};
    phase_ = Phase::One;
    stats_.ballots++;
    Writer w = open(MsgType::P1a);
    w.put64(view_.epoch + 1);
    put_ballot(w, ballot_);
    u32 length = close(w);
    send_to_members(length);
    ask_witness(length);
    promised_ = ballot_;
    if (!accepted_.none() && !KRG_MUTANT(IgnoreAccepted)) {
        has_best_ = true;
        best_ = accepted_;
        value_.copy(accepted_value_);
    }
    promise_from(cfg_.self);
}

void Engine::ask_witness(u32 length) {
    if (view_.witness_votes() && reachable_members() < view_.majority()) send(KRG_MBR_WITNESS, length);
}

bool Engine::tally(bool accepted) const {
    u32 votes = 0;
    for (u32 i = 0; i < view_.count(); i++) {
        const Peer& p = peer(view_.members()[i].node);
        votes += accepted ? p.has_accepted : p.has_promised;
    }
    return view_.decided_by(votes, accepted ? witness_accepted_ : witness_promised_);
}

/**
 * Did every member that the plan keeps promise? A quorum of the old view may
 * decide without them; but if they are out of reach by now, the new view would
 * be without a quorum, and there is no way back.
 */
bool Engine::stayers_promised() const {
    bool all = true;
    plan_.each([&](NodeId n) { all = all && (!view_.find(n) || peer(n).has_promised); });
    return all;
}

void Engine::promise_from(NodeId from) {
    if (from == KRG_MBR_WITNESS)
        witness_promised_ = true;
    else
        peer(from).has_promised = true;
    if (phase_ != Phase::One || !tally(false)) return;
    if (!has_best_) {
        make_plan(true);
        if (!plan_needed_ || plan_.empty()) return give_up_ballot(0);         // the reason went away meanwhile
        if (now_ < patience_end()) return give_up_ballot(params().renew_ms);  // a promise knew of a link that is still missing
        if (!stayers_promised()) return;
        build_value();
    }
    start_phase_two();
}

/// A plan with members this node does not reach is for somebody in it to propose.
bool Engine::plan_within_reach() const {
    bool within = true;
    plan_.each([&](NodeId n) { within = within && (n == cfg_.self || !view_.find(n) || reaches(n)); });
    return within;
}

/// Has every member that is to stay answered this very ballot? A quorum alone could decide a view that cannot go on.
bool Engine::kept_have_promised() const {
    bool all = true;
    plan_.each([&](NodeId n) { all = all && (!view_.find(n) || peer(n).has_promised); });
    return all;
}

void Engine::on_p1b(NodeId from, Reader& r) {
    u64 target = r.get64();
    Ballot b = get_ballot(r), was = get_ballot(r);
    bool ours = target == view_.epoch + 1 && b == ballot_ && phase_ == Phase::One;
    if (!was.none() && (!incoming_.decode(r) || incoming_.epoch != target || incoming_.cluster_id != view_.cluster_id))
        return r.fail();
    if (from == KRG_MBR_WITNESS) {
        if (r.get16()) r.fail();
    } else {
        get_set(r, scratch_);
    }
    u32 pairs = r.get16();
    if (!r.ok() || r.left() != pairs * 4) return r.fail();
    if (!ours) return;
    if (from != KRG_MBR_WITNESS) {
        scratch_.intersect(view_.ids());
        alive_.join(scratch_);
    }
    for (u32 i = 0; i < pairs; i++) {
        NodeId a = r.get16(), c = r.get16();
        clique_.conflict(a, c);
    }
    if (!was.none() && !KRG_MUTANT(IgnoreAccepted) && (!has_best_ || was > best_)) {
        has_best_ = true;
        best_ = was;
        value_.copy(incoming_);
    }
    promise_from(from);
}

/// value_ := the plan, with who is gone and why.
void Engine::build_value() {
    value_.clear();
    value_.epoch = view_.epoch + 1;
    value_.cluster_id = view_.cluster_id;
    value_.params = view_.params;
    for (u32 id = 1; id <= cfg_.max_nodes; id++) {
        NodeId n = static_cast<NodeId>(id);
        const Peer& p = peer(n);
        const krg_mbr_member* m = view_.find(n);
        bool good = true;
        if (plan_.has(n) && m) {
            bool drain = p.requests & u8(RequestKind::Drain);
            good = value_.add(n, m->incarnation, drain ? u16(m->flags | KRG_MBR_F_DRAINING) : m->flags);
        } else if (plan_.has(n)) {
            good = value_.add(n, p.join_incarnation, 0);
        } else if (m) {
            u16 reason = p.requests & u8(RequestKind::Leave)   ? KRG_MBR_R_LEFT
                         : p.requests & u8(RequestKind::Evict) ? KRG_MBR_R_EVICTED
                                                               : KRG_MBR_R_LOST;
            good = value_.add_removed(n, m->incarnation, reason);
        }
        KRG_CHECK(good);
    }
}

void Engine::start_phase_two() {
    if (state_ == KRG_MBR_FAILED) return;
    phase_ = Phase::Two;
    value_hold_ = value_hold_all_ = now_;
    promised_ = ballot_;
    Writer w = open(MsgType::P2a);
    w.put64(view_.epoch + 1);
    put_ballot(w, ballot_);
    value_.encode(w);
    u32 length = close(w);
    send_to_members(length);
    ask_witness(length);
    accept_last();
}

/**
 * The proposer is an acceptor too, but accepts only when its vote is the last
 * one missing: a ballot that reaches nobody then binds nobody, and does not
 * freeze its own proposer.
 */
void Engine::accept_last() {
    Peer& self = peer(cfg_.self);
    self.has_accepted = true;
    if (!tally(true)) {
        self.has_accepted = false;
        return;
    }
    Ms hold = 0, hold_all = 0;
    accept(ballot_, value_, hold, hold_all);
    value_hold_ = later(value_hold_, now_ + hold);
    value_hold_all_ = later(value_hold_all_, now_ + hold_all);
    decide();
}

void Engine::on_p2b(NodeId from, Reader& r) {
    u64 target = r.get64();
    Ballot b = get_ballot(r);
    Ms hold = r.get32(), hold_all = r.get32();
    if (!r.complete()) return r.fail();
    if (target == view_.epoch + 1 && b == ballot_ && phase_ == Phase::Two) accepted_by(from, hold, hold_all);
}

void Engine::accepted_by(NodeId from, Ms hold, Ms hold_all) {
    if (from == KRG_MBR_WITNESS)
        witness_accepted_ = true;
    else
        peer(from).has_accepted = true;
    value_hold_ = later(value_hold_, now_ + hold);
    value_hold_all_ = later(value_hold_all_, now_ + hold_all);
    accept_last();
}

void Engine::on_nack(NodeId from, Reader& r) {
    u64 target = r.get64();
    Ballot b = get_ballot(r);
    if (!r.complete()) return r.fail();
    if (target != view_.epoch + 1 || phase_ == Phase::Idle || b < ballot_) return;
    if (b.round > max_round_) max_round_ = b.round;
    (void)from;
    give_up_ballot(1 + jitter(2ull * params().settle_ms));
}

void Engine::give_up_ballot(Ms pause) {
    phase_ = Phase::Idle;
    retry_at_ = now_ + pause;
    plan_dirty_ = true;
    next_review_ = now_ + 1;  // what was seen during the ballot has not been looked at
}

void Engine::decide() {
    u32 length = write_decide(value_, remaining(value_hold_, now_), remaining(value_hold_all_, now_));
    send_to_members(length);
    for (u32 i = 0; i < value_.count(); i++) {
        const krg_mbr_member& m = value_.members()[i];
        if (!view_.has(m.node, m.incarnation) && m.node != cfg_.self) send(m.node, length);
    }
    if (value_.has(cfg_.self, cfg_.incarnation)) return install(value_, value_hold_, value_hold_all_);
    u16 reason = KRG_MBR_R_LOST;
    for (u32 i = 0; i < value_.removed_count(); i++)
        if (value_.removed()[i].node == cfg_.self) reason = value_.removed()[i].reason;
    over(reason == KRG_MBR_R_LEFT ? KRG_MBR_ACT_LEFT : KRG_MBR_ACT_EXPELLED, reason, 0);
}

}  // namespace krg
