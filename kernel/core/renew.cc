// SPDX-License-Identifier: GPL-2.0
// Renewals: one message per ordered pair of members and interval is heartbeat,
// acknowledgement and reachability report at once. It carries three times of
// two clocks, none of which is ever compared with another node's: the sender's
// own send time (stamp), and, echoed back unread, the newest stamp of the
// receiver that it heard, and the newest it acknowledges.
#include "kernel/core/engine.hh"

namespace krg {

void Engine::renew_all() {
    for (u32 i = 0; i < view_.count(); i++)
        if (view_.members()[i].node != cfg_.self) renew(view_.members()[i].node);
    if (view_.count() == 1) recompute_lease();
    bool stuck = state_ == KRG_MBR_PREPARING && now_ >= epoch_since_ + view_.params.lease_ms;
    if (state_ == KRG_MBR_SUSPENDED || stuck) ask_strangers();
}

/// Everybody who could tell this node that it was removed may have a new incarnation by now, which it takes for a stranger.
void Engine::ask_strangers() {
    u32 length = close(open(MsgType::Behind));
    for (u32 n = 1; n <= cfg_.max_nodes; n++) {
        const Peer& p = peer_[n];
        if (p.connected && !is_member(static_cast<NodeId>(n), p.conn_incarnation)) send(static_cast<NodeId>(n), length);
    }
}

/// A value was accepted: what was acknowledged before stays all that is.
bool Engine::frozen() const { return !accepted_.none() && !KRG_MUTANT(AckAfterAccept); }

void Engine::renew(NodeId node) {
    Peer& p = peer(node);
    if (!p.connected || !is_member(node, p.conn_incarnation)) return;
    u64 ack = frozen() ? 0 : p.epoch_stamp;
    bool wants_epoch = false;
    for (u32 i = 0; i < view_.count() && !wants_epoch; i++) wants_epoch = healed_reset(view_.members()[i].node);
    Writer w = open(MsgType::Renew);
    w.put64(now_);
    w.put64(p.stamp);
    w.put64(ack);
    w.put8(wants_epoch ? renew_needs_epoch : 0);
    my_row(scratch_);
    put_set(w, scratch_);
    send(node, close(w));
    if (ack) {
        p.promised_at = later(p.promised_at, p.epoch_stamp_at);
        p.ack_sent = true;
    }
}

void Engine::on_renew(NodeId from, const Header& h, Reader& r) {
    Peer& p = peer(from);
    u64 stamp = r.get64(), heard = r.get64(), ack = r.get64();
    u8 flags = r.get8();
    get_set(r, scratch_);
    if (!r.complete() || !stamp || heard > now_ || ack > now_ || (flags & ~renew_needs_epoch)) return r.fail();
    if (KRG_MUTANT(AdoptOldIncarnation) && p.hears_us == 0) p.hears_us = now_;

    p.heard_at = now_;
    if (p.connected) p.down_since = 0;
    p.hears_us = later(p.hears_us, heard);
    p.stamp = later(p.stamp, stamp);
    if (h.epoch != view_.epoch && !KRG_MUTANT(DropEpochCheck)) {
        if (h.epoch > view_.epoch)
            send(from, close(open(MsgType::Behind)));
        else if (!KRG_MUTANT(LostDecideNotRepaired))
            send_decide(from);
        return;
    }
    for (u32 i = 0; i < scratch_.word_count(); i++) {
        if (scratch_.words()[i] == row_[from].words()[i]) continue;
        row_[from].assign(scratch_);
        plan_dirty_ = true;
        break;
    }
    if (bool wants = flags & renew_needs_epoch; wants != p.wants_epoch) {
        p.wants_epoch = wants;
        plan_dirty_ = true;
    }
    if (stamp > p.epoch_stamp) {
        p.epoch_stamp = stamp;
        p.epoch_stamp_at = now_;
    }
    // Only what was sent in this epoch can be acknowledged in it.
    if (ack >= epoch_since_ && ack) acknowledge(p, KRG_MUTANT(LeaseFromReceipt) ? now_ : ack);
    // The first renewal of an epoch is answered at once: nobody can serve before a majority has done so. Whoever is frozen has
    // nothing to say, and two of them would answer each other without an end.
    if (!p.ack_sent && !frozen()) renew(from);
}

void Engine::acknowledge(Peer& p, Ms stamp) {
    if (stamp <= p.acked) return;
    bool counts = p.acked <= lease_base_ && stamp > lease_base_;
    p.acked = stamp;
    if (!accepted_.none()) return;  // frozen: what we reported as the end of our lease stays true
    if (counts) above_base_++;
    if (above_base_ >= view_.majority() - 1 || KRG_MUTANT(LeaseMinority)) recompute_lease();
}

/// The newest send time that a majority of the view, this node included, has acknowledged.
void Engine::recompute_lease() {
    u32 needed = view_.majority() - 1;  // besides this node
    if (KRG_MUTANT(LeaseMinority) && needed) needed--;
    if (!needed) {
        if (accepted_.none()) lease_until_ = now_ + view_.params.lease_ms;  // alone: the vote is its own
        return;
    }
    // The needed-th largest: each round finds the next lower value; stamps of one round of renewals are equal, so few rounds do.
    Ms bound = never;
    u32 counted = 0;
    while (counted < needed) {
        Ms highest = 0;
        u32 equal = 0;
        for (u32 i = 0; i < view_.count(); i++) {
            Ms t = peer(view_.members()[i].node).acked;
            if (view_.members()[i].node == cfg_.self || t >= bound) continue;
            if (t > highest) {
                highest = t;
                equal = 0;
            }
            if (t == highest) equal++;
        }
        if (!highest) return;
        counted += equal;
        bound = highest;
    }
    if (bound <= lease_base_) return;
    lease_base_ = bound;
    above_base_ = 0;
    for (u32 i = 0; i < view_.count(); i++)
        if (peer(view_.members()[i].node).acked > lease_base_) above_base_++;
    lease_until_ = later(lease_until_, lease_base_ + view_.params.lease_ms);
}

}  // namespace krg
