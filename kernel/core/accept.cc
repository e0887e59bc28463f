// SPDX-License-Identifier: GPL-2.0
// The acceptor of the next epoch, and the leases it answers for. Its state lives
// in memory only: a node that loses it is a new incarnation and no acceptor.
#include "kernel/core/engine.hh"

namespace krg {

/// Is this about the epoch after mine? If not, whoever is behind gets told.
bool Engine::same_target(NodeId from, const Header& h, u64 target) {
    if (target == view_.epoch + 1 && h.epoch == view_.epoch) return true;
    stats_.stale_messages++;
    if (target <= view_.epoch)
        send_decide(from);
    else
        send(from, close(open(MsgType::Behind)));
    return false;
}

void Engine::nack(NodeId to, u64 target) {
    Writer w = open(MsgType::Nack);
    w.put64(target);
    put_ballot(w, promised_);
    send(to, close(w));
}

void Engine::on_p1a(NodeId from, const Header& h, Reader& r) {
    u64 target = r.get64();
    Ballot b = get_ballot(r);
    if (!r.complete() || b.node != from) return r.fail();
    if (!same_target(from, h, target)) return;
    if (b < promised_) return nack(from, target);
    if (phase_ != Phase::Idle && b > ballot_) give_up_ballot(params().settle_ms + jitter(2ull * params().settle_ms));
    promised_ = b;
    if (b.round > max_round_) max_round_ = b.round;
    Writer w = open(MsgType::P1b);
    w.put64(target);
    put_ballot(w, b);
    put_ballot(w, accepted_);
    if (!accepted_.none()) accepted_value_.encode(w);
    my_row(row_[cfg_.self]);
    put_set(w, row_[cfg_.self]);
    put_broken_pairs(w);
    send(from, close(w));
}

/// Pairs of live members that do not reach each other, as far as this node knows: its proposer may see less.
void Engine::put_broken_pairs(Writer& w) {
    constexpr u32 pairs_max = 1024;
    NodeSet& alive = scratch_;
    const NodeSet& mine = row_[cfg_.self];
    alive.assign(mine);
    mine.each([&](NodeId n) { alive.join(row_[n]); });
    alive.intersect(view_.ids());
    auto each_pair = [&](auto&& f) {
        mine.each([&](NodeId i) {
            for (u32 word = 0; word < alive.word_count(); word++)
                for (u64 bits = alive.words()[word] & ~row_[i].words()[word]; bits; bits &= bits - 1) {
                    auto j = static_cast<NodeId>(word * 64 + static_cast<u32>(std::countr_zero(bits)));
                    if (j != i) f(i, j);
                }
        });
    };
    u32 count = 0;
    each_pair([&](NodeId, NodeId) { count++; });
    if (count > pairs_max) count = pairs_max;
    w.put16(static_cast<u16>(count));
    each_pair([&](NodeId i, NodeId j) {
        if (!count) return;
        count--;
        w.put16(i);
        w.put16(j);
    });
}

void Engine::on_p2a(NodeId from, const Header& h, Reader& r) {
    u64 target = r.get64();
    Ballot b = get_ballot(r);
    if (!incoming_.decode(r) || !r.complete() || b.node != from || incoming_.epoch != target ||
        incoming_.cluster_id != view_.cluster_id)
        return r.fail();
    if (!same_target(from, h, target)) return;
    if (b < promised_ && !KRG_MUTANT(AcceptLowerBallot)) return nack(from, target);
    if (phase_ != Phase::Idle && b > ballot_) give_up_ballot(params().settle_ms + jitter(2ull * params().settle_ms));
    if (b.round > max_round_) max_round_ = b.round;
    Ms hold = 0, hold_all = 0;
    accept(b, incoming_, hold, hold_all);
    Writer w = open(MsgType::P2b);
    w.put64(target);
    put_ballot(w, b);
    put_hold(w, hold);
    put_hold(w, hold_all);
    send(from, close(w));
}

/**
 * Accepts @value, and says for how long leases can still run that this node
 * acknowledged: @hold those of the removed, @hold_all everybody's. From here on
 * it acknowledges nobody of this epoch (renew.cc looks at accepted_).
 */
void Engine::accept(Ballot b, const View& value, Ms& hold, Ms& hold_all) {
    bool alone = view_.count() == 1;  // decides at once, and stops serving this epoch with that
    promised_ = b;
    if (accepted_.none() || !alone) accepted_at_ = now_;
    accepted_ = b;
    accepted_value_.copy(value);
    if (alone) lease_until_ = now_;

    Ms drift = KRG_MUTANT(DriftIgnored) ? 0 : view_.params.drift_ms;
    hold = remaining(hold_until_, now_);
    hold_all = remaining(hold_all_until_, now_);
    Ms earlier = KRG_MUTANT(HoldNotCarried) ? 0 : hold_all;
    for (u32 i = 0, gone = 0; i < view_.count(); i++) {
        const krg_mbr_member& m = view_.members()[i];
        const Peer& p = peer(m.node);
        Ms lease_end = m.node == cfg_.self ? (drained_ ? 0 : lease_until_ + drift)
                       : p.promised_at     ? p.promised_at + view_.params.lease_ms + drift
                                           : 0;
        Ms left = remaining(lease_end, now_);
        hold_all = later(hold_all, left);
        if (value.has(m.node, m.incarnation)) continue;
        while (gone < value.removed_count() && value.removed()[gone].node < m.node) gone++;
        bool by_its_word = gone < value.removed_count() && value.removed()[gone].node == m.node &&
                           value.removed()[gone].reason == KRG_MBR_R_LEFT;
        if (!by_its_word) hold = later(hold, later(left, earlier));
    }
}

}  // namespace krg
