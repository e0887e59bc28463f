// SPDX-License-Identifier: GPL-2.0
// What the next view should be, as far as this node can see: the largest clique
// of the members that reach each other, without those that leave or are
// evicted, with joiners that reach all of them. A plan is only proposed after
// it stayed the same for a while.
#include "kernel/core/engine.hh"

namespace krg {

/// Do messages pass in both directions between this node and the member @node?
bool Engine::reaches(NodeId node) const {
    const Peer& p = peer(node);
    Ms limit = params().suspect_ms;
    if (p.returned || !p.heard_at || now_ - p.heard_at > limit) return false;
    if (now_ - p.hears_us > limit && !KRG_MUTANT(OneWayIsReachable)) return false;
    return !p.down_since || now_ < p.down_since + reconnect_ms();
}

/// The connection broke and is back: what was in flight is lost, only a new epoch can tell both sides so.
bool Engine::healed_reset(NodeId node) const {
    const Peer& p = peer(node);
    return p.reset_seen && p.connected && !p.down_since && reaches(node);
}

bool Engine::epoch_wanted() const {
    for (u32 i = 0; i < view_.count(); i++) {
        NodeId node = view_.members()[i].node;
        if (node != cfg_.self && reaches(node) && (peer(node).wants_epoch || healed_reset(node))) return true;
    }
    return false;
}

/// Something was accepted for the next epoch and nobody told us how it ended.
bool Engine::stalled() const { return !accepted_.none() && now_ >= accepted_at_ + 2ull * params().renew_ms; }

u32 Engine::reachable_members() const {
    u32 n = 0;
    for (u32 i = 0; i < view_.count(); i++) {
        NodeId node = view_.members()[i].node;
        if (node == cfg_.self || reaches(node)) n++;
    }
    return n;
}

void Engine::my_row(NodeSet& out) const {
    out.clear();
    out.add(cfg_.self);
    for (u32 i = 0; i < view_.count(); i++)
        if (NodeId n = view_.members()[i].node; n != cfg_.self && reaches(n)) out.add(n);
}

/// Adds to alive_ whom anybody we reach reaches, and to clique_ the pairs we know to be broken.
void Engine::known_conflicts() {
    my_row(row_[cfg_.self]);
    const NodeSet& mine = row_[cfg_.self];
    alive_.join(mine);
    mine.each([this](NodeId n) { alive_.join(row_[n]); });
    alive_.intersect(view_.ids());
    view_.ids().each([this](NodeId n) {
        if (peer(n).returned) alive_.remove(n);
    });
    mine.each([this](NodeId i) {
        for (u32 w = 0; w < alive_.word_count(); w++)
            for (u64 bits = alive_.words()[w] & ~row_[i].words()[w]; bits; bits &= bits - 1) {
                auto deaf = static_cast<NodeId>(w * 64 + static_cast<u32>(std::countr_zero(bits)));
                if (!KRG_MUTANT(OneWayIsReachable) || !row_[deaf].has(i)) clique_.conflict(i, deaf);
            }
    });
    plan_plain_ = mine.contains_all(alive_);
}

/// Who may stay: alive, not leaving, not evicted. Never nobody: the last one leaves by itself.
void Engine::choose_candidates(NodeSet& out) {
    out.assign(alive_);
    NodeId last = 0;
    alive_.each([&](NodeId n) {
        const Peer& p = peer(n);
        if (!(p.requests & (u8(RequestKind::Leave) | u8(RequestKind::Evict)))) return;
        out.remove(n);
        last = n;
    });
    if (out.empty() && last) out.add(last);
}

/// @with_promises: alive_ and clique_ already hold what a ballot's promises reported; keep it.
void Engine::make_plan(bool with_promises) {
    if (!with_promises) {
        clique_.reset();
        alive_.clear();
    }
    known_conflicts();
    choose_candidates(scratch_);
    clique_.solve(scratch_, plan_);
    plan_hard_ = !plan_.contains_all(scratch_) || alive_.size() != view_.count() || epoch_wanted() || stalled();
    if (plan_hard_ && plan_plain_) plan_plain_ = plan_.contains_all(scratch_);
    add_joiners();
    plan_needed_ = plan_differs() || epoch_wanted() || stalled();
}

void Engine::add_joiners() {
    for (u32 id = 1; id <= cfg_.max_nodes; id++) {
        NodeId n = static_cast<NodeId>(id);
        const Peer& p = peer(n);
        if (!p.join_incarnation || view_.find(n) || now_ - p.join_at > params().suspect_ms) continue;
        if (!KRG_MUTANT(IdTakenAdmitted) && (!p.connected || p.conn_incarnation != p.join_incarnation)) continue;
        // It must hear every member, and joiners must hear each other: a view is a clique.
        if (!row_[n].contains_all(plan_)) continue;
        bool mutual = true;
        plan_.each([&](NodeId other) { mutual = mutual && (view_.find(other) || row_[other].has(n)); });
        if (mutual) plan_.add(n);
    }
}

bool Engine::plan_differs() const {
    if (!plan_.contains_all(view_.ids()) || !view_.ids().contains_all(plan_)) return true;
    for (u32 i = 0; i < view_.count(); i++) {
        const krg_mbr_member& m = view_.members()[i];
        u8 wishes = peer(m.node).requests;
        if ((wishes & u8(RequestKind::Drain)) && !(m.flags & KRG_MBR_F_DRAINING)) return true;
        if (view_.count() == 1 && (wishes & u8(RequestKind::Leave))) return true;
    }
    return false;
}

/// Evidence whose stability is waited for: also who is alive, and that a quorum is in reach. Whoever was alone for long and
/// hears the others again must not act on what it thought of them before.
u64 Engine::plan_hash() const {
    u64 h = mix(u64(epoch_wanted()) | u64(stalled()) << 1 | u64(plan_needed_) << 2, view_.epoch);
    h = mix(h, view_.decided_by(reachable_members(), true));
    for (u32 w = 0; w < plan_.word_count(); w++) h = mix(mix(h, plan_.words()[w]), alive_.words()[w]);
    plan_.each([&](NodeId n) { h = mix(h, peer(n).requests | (view_.find(n) ? 0 : peer(n).join_incarnation << 8)); });
    return h;
}

/// How long a plan must stay the same before this node proposes it: the lowest reachable id goes first.
Ms Engine::plan_delay() const {
    Ms settle = params().settle_ms;
    u32 rank = 0;
    bool lower_lost = false;
    for (u32 i = 0; i < view_.count() && view_.members()[i].node < cfg_.self; i++) {
        if (reaches(view_.members()[i].node))
            rank++;
        else
            lower_lost = true;
    }
    Ms delay = (plan_hard_ ? settle : settle / 4) + (rank + lower_lost) * settle;
    return plan_.has(cfg_.self) ? delay : delay + 2 * settle;
}

/// Notes when a quorum comes back into reach.
void Engine::watch_quorum() {
    if (!in_view() || over_ || (!plan_dirty_ && now_ < next_review_)) return;
    bool near = view_.decided_by(reachable_members(), true);
    if (near && !quorum_near_) quorum_back_ = now_;
    quorum_near_ = near;
}

/// Does the plan leave out a member that neither asked to go nor is known to be dead?
bool Engine::plan_gives_up_on_somebody() const {
    constexpr u8 goes = u8(RequestKind::Leave) | u8(RequestKind::Evict);
    for (u32 i = 0; i < view_.count(); i++) {
        NodeId n = view_.members()[i].node;
        if (!plan_.has(n) && !peer(n).returned && !(peer(n).requests & goes)) return true;
    }
    return false;
}

/**
 * Until when this plan has to wait for members it leaves out. After a cluster
 * fell apart its links come back one by one, and the first majority must not
 * give up on those whose links are still on their way: evidence then has to be
 * stable for suspect_ms, at most three times that in all. A crash that leaves a
 * quorum in reach never waits here.
 */
Ms Engine::patience_end() const {
    Ms end = patience_limit();
    if (now_ >= end || KRG_MUTANT(ImpatientHeal) || !plan_gives_up_on_somebody()) return 0;
    return sooner(plan_since_ + params().suspect_ms, end);
}

/// When the plan may be proposed.
Ms Engine::proposal_due() const { return later(later(plan_since_ + plan_delay(), retry_at_), patience_end()); }

void Engine::review() {
    if (!in_view() || over_ || phase_ != Phase::Idle) return;
    watch_quorum();
    if (!plan_dirty_ && now_ < next_review_) return;
    plan_dirty_ = false;
    next_review_ = now_ + later(params().renew_ms / 2, 1);
    make_plan(false);
    u64 h = plan_hash();
    if (h == plan_hash_) return;
    plan_hash_ = h;
    plan_since_ = now_;
}

}  // namespace krg
