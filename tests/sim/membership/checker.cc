// SPDX-License-Identifier: GPL-2.0
//
// The rules, in the order of checker.hh.
#include "tests/sim/membership/checker.hh"

#include <algorithm>
#include <fmt/format.h>

#include "tests/sim/world/hash.hh"
#include "tests/sim/world/rng.hh"

namespace krg::sim {

void Checker::fail(Time now, NodeId node, const char* rule, std::string text) {
    // The first violation is the one to look at; what follows is its consequence.
    if (!violation_) violation_ = Violation{rule, std::move(text), now, node};
    alarm_ = true;
}

void Checker::booted(NodeId node, u64 incarnation) {
    const u32 refusal = nodes_[node].refusal;
    nodes_[node] = Node{};
    nodes_[node].alive = true;
    nodes_[node].incarnation = incarnation;
    nodes_[node].refusal = refusal;
    lives_.insert({node, incarnation});
}

void Checker::gone(NodeId node) {
    const u32 refusal = nodes_[node].refusal;
    nodes_[node] = Node{};
    nodes_[node].refusal = refusal;
}

void Checker::asked_leave(NodeId node) {
    nodes_[node].asked_leave = true;
    left_asked_.insert({node, nodes_[node].incarnation});
}

void Checker::drained(NodeId node) {
    nodes_[node].drained = true;
    drained_.insert({node, nodes_[node].incarnation});
}

const ViewRecord* Checker::latest() const {
    auto it = views_.lower_bound({latest_cluster_ + 1, 0});
    if (it == views_.begin()) return nullptr;
    --it;
    return it->first.first == latest_cluster_ ? it->second.view.get() : nullptr;
}

namespace {

// version, type, 0, cluster, epoch | body: see the engine's message.hh. Only what the rules need is read here.
enum Wire : u8 { wire_renew = 1, wire_promise = 9, wire_propose = 10, wire_vote = 11 };
constexpr std::size_t body = 20;

u64 number(std::span<const u8> bytes, std::size_t at, unsigned width) {
    u64 value = 0;
    for (unsigned i = 0; i < width; i++) value |= static_cast<u64>(bytes[at + i]) << (8 * i);
    return value;
}

}  // namespace

void Checker::sent(Time now, NodeId from, std::span<const u8> bytes) {
    if (bytes.size() < body + 14) return;
    const u8 type = bytes[1];
    const u64 cluster = number(bytes, 4, 8);
    if (type == wire_renew && bytes.size() >= body + 24) {
        const Word& word = nodes_[from].word;
        const u64 epoch = number(bytes, 12, 8);
        if (word.has_voted && word.cluster == cluster && word.target == epoch + 1 && number(bytes, body + 16, 8) != 0)
            fail(now, from, "ballot", fmt::format("acknowledges a lease of epoch {} after it voted for the next view", epoch));
        return;
    }
    if (type < wire_promise || type > wire_vote) return;
    const Key key{cluster, number(bytes, body, 8)};
    const Ballot ballot{static_cast<u32>(number(bytes, body + 8, 4)), static_cast<NodeId>(number(bytes, body + 12, 2))};
    check_word(now, from, type, key, ballot, bytes.subspan(body + 14));
    if (type == wire_vote) votes_[key][ballot].insert(from);
}

void Checker::check_word(Time now, NodeId from, u8 type, const Key& key, const Ballot& ballot, std::span<const u8> value) {
    if (type == wire_propose) {
        RunHash hash;
        hash.mix(value);
        const auto [known, fresh] = values_.try_emplace({key, ballot}, hash.value());
        if (!fresh && known->second != hash.value())
            fail(now, from, "ballot",
                 fmt::format("proposes two values for epoch {} in ballot {}.{}", key.second, ballot.first, ballot.second));
        return;
    }
    Word& word = from == KRG_MBR_WITNESS ? witness_word_ : nodes_[from].word;
    if (word.cluster != key.first || word.target < key.second) word = {key.first, key.second, {}, {}, false};
    if (word.target != key.second) return;
    if (type == wire_promise) {
        word.promised = std::max(word.promised, ballot);
        return;
    }
    if (ballot < word.promised)
        fail(now, from, "ballot",
             fmt::format("votes in ballot {}.{} for epoch {}, but promised {}.{}", ballot.first, ballot.second, key.second,
                         word.promised.first, word.promised.second));
    word.voted = ballot;
    word.has_voted = true;
}

void Checker::prepare(Time now, NodeId node, const ViewRecord& view) {
    Node& me = nodes_[node];
    if (me.ended) fail(now, node, "life-cycle", fmt::format("installs view {} after its life was over", view.text()));
    if (me.view != nullptr && view.epoch <= me.view->epoch && view.cluster == me.view->cluster)
        fail(now, node, "epoch-monotone", fmt::format("installs view {} after {}", view.text(), me.view->text()));
    if (me.view != nullptr && view.cluster != me.view->cluster)
        fail(now, node, "epoch-monotone", "moves to another cluster within one life");
    const bool sorted = std::is_sorted(view.members.begin(), view.members.end(),
                                       [](const MemberRecord& a, const MemberRecord& b) { return a.node <= b.node; });
    if (view.members.empty() || !sorted || view.epoch == 0 || view.cluster == 0)
        fail(now, node, "view-form", fmt::format("installs the malformed view {}", view.text()));
    if (!view.has(node, me.incarnation))
        fail(now, node, "view-form", fmt::format("installs view {} without itself", view.text()));
    const auto [known, fresh] = views_.try_emplace(Key{view.cluster, view.epoch});
    if (fresh) {
        known->second.view = std::make_shared<const ViewRecord>(view);
        new_view(now, node, view);
    } else if (*known->second.view != view) {
        fail(now, node, "one-view-per-epoch",
             fmt::format("installs view {} where others have {}", view.text(), known->second.view->text()));
    }
    known->second.installed.insert(node);
    me.view = known->second.view;
    me.preparing = view.epoch;
    me.suspended = false;
}

void Checker::new_view(Time now, NodeId node, const ViewRecord& view) {
    const auto first = views_.lower_bound({view.cluster, 0});
    const bool begins = std::next(first) == views_.end() || std::next(first)->first.first != view.cluster;
    if (!begins) {
        check_lineage(now, node, view);
        return;
    }
    latest_cluster_ = view.cluster;
    if (view.members.size() != 1 || !view.removed.empty())
        fail(now, node, "lineage", fmt::format("a cluster begins with view {}", view.text()));
}

void Checker::check_lineage(Time now, NodeId node, const ViewRecord& view) {
    auto before = views_.find({view.cluster, view.epoch - 1});
    if (before == views_.end() && recoveries_ > 0 && view.epoch > recover_step) {
        before = views_.find({view.cluster, view.epoch - recover_step});
    } else if (before != views_.end()) {
        check_votes(now, node, *before->second.view, view);
    }
    if (before == views_.end()) {
        fail(now, node, "lineage", fmt::format("nobody ever had the view before {}", view.text()));
        return;
    }
    const ViewRecord& old = *before->second.view;
    if (view.lease_ms != old.lease_ms || view.witness != old.witness)
        fail(now, node, "lineage", fmt::format("view {} changes the cluster's parameters", view.text()));
    for (const MemberRecord& member : view.members)
        if (!old.has(member.node, member.incarnation) && !lives_.contains({member.node, member.incarnation}))
            fail(now, node, "lineage", fmt::format("view {} has a node {} that never lived", view.text(), member.node));
    check_removed(now, node, old, view);
}

void Checker::check_votes(Time now, NodeId node, const ViewRecord& before, const ViewRecord& view) {
    std::size_t most = 0;
    for (const auto& [ballot, voters] : votes_[{view.cluster, view.epoch}]) {
        // The proposer's own vote is not on the wire.
        std::size_t members = before.find(ballot.second) != nullptr && !voters.contains(ballot.second) ? 1 : 0;
        bool witness = false;
        for (NodeId voter : voters) {
            witness |= voter == KRG_MBR_WITNESS;
            members += before.find(voter) != nullptr ? 1 : 0;
        }
        most = std::max(most, members);
        if (before.quorum(members, witness)) return;
    }
    // Decided by its proposer alone, so that nothing was on the wire.
    if (before.quorum(1, false)) return;
    fail(now, node, "quorum",
         fmt::format("view {} was decided by no more than {} votes of {}", view.text(), most, before.text()));
}

void Checker::check_removed(Time now, NodeId node, const ViewRecord& before, const ViewRecord& view) {
    std::size_t expected = 0;
    for (const MemberRecord& member : before.members) expected += view.has(member.node, member.incarnation) ? 0 : 1;
    if (expected != view.removed.size())
        fail(now, node, "lineage",
             fmt::format("view {} does not name everybody it removes from {}", view.text(), before.text()));
    for (const MemberRecord& gone : view.removed) {
        if (!before.has(gone.node, gone.incarnation) || view.has(gone.node, gone.incarnation))
            fail(now, node, "lineage", fmt::format("view {} removes node {}, which it cannot", view.text(), gone.node));
        const std::pair<NodeId, u64> life{gone.node, gone.incarnation};
        if (gone.reason == KRG_MBR_R_LEFT && !drained_.contains(life))
            fail(now, node, "reason", fmt::format("view {}: node {} has left before it was drained", view.text(), gone.node));
        const bool lie = (gone.reason == KRG_MBR_R_LEFT && !left_asked_.contains(life)) ||
                         (gone.reason == KRG_MBR_R_EVICTED && !evict_asked_.contains(life)) ||
                         (gone.reason != KRG_MBR_R_LEFT && gone.reason != KRG_MBR_R_EVICTED && gone.reason != KRG_MBR_R_LOST);
        if (lie) fail(now, node, "reason", fmt::format("view {}: nobody asked that for node {}", view.text(), gone.node));
    }
}

void Checker::check_commit(Time now, NodeId node, u64 epoch) {
    const Node& me = nodes_[node];
    const Known& known = views_.find({me.view->cluster, epoch})->second;
    if (2 * known.installed.size() <= known.view->members.size())
        fail(now, node, "quorum",
             fmt::format("serves in view {}, which only {} members have", known.view->text(), known.installed.size()));
}

void Checker::action(Time now, NodeId node, u32 type, u64 epoch, u32 reason, bool limit_passed) {
    Node& me = nodes_[node];
    const bool current = me.view != nullptr && epoch == me.view->epoch;
    switch (type) {
    case KRG_MBR_ACT_COMMIT:
        commits_++;
        if (me.ended || !current || me.prepared != epoch || me.committed == epoch)
            fail(now, node, "life-cycle", fmt::format("commits epoch {} out of turn", epoch));
        else
            check_commit(now, node, epoch);
        me.committed = epoch;
        break;
    case KRG_MBR_ACT_SUSPEND:
        if (me.ended || me.suspended || me.view == nullptr || me.committed != me.view->epoch)
            fail(now, node, "life-cycle", "is suspended while it did not serve");
        me.suspended = true;
        break;
    case KRG_MBR_ACT_RESUME:
        if (me.ended || !me.suspended || me.view == nullptr || me.committed != me.view->epoch)
            fail(now, node, "life-cycle", "resumes without having been suspended in this view");
        me.suspended = false;
        break;
    case KRG_MBR_ACT_DRAIN:
        if (me.ended || !me.asked_leave || !current || (me.view->find(node)->flags & KRG_MBR_F_DRAINING) == 0)
            fail(now, node, "life-cycle", fmt::format("is told to drain in epoch {} for no reason", epoch));
        break;
    case KRG_MBR_ACT_LEFT:
        if (me.ended || !me.asked_leave) fail(now, node, "life-cycle", "has left without being asked to");
        if (!me.drained && me.view != nullptr && me.view->members.size() > 1)
            fail(now, node, "life-cycle", "has left before it was drained");
        me.ended = true;
        break;
    case KRG_MBR_ACT_EXPELLED:
        if (me.ended) fail(now, node, "life-cycle", "is expelled after its life was over");
        if (reason == KRG_MBR_R_EVICTED && !evict_asked_.contains({node, me.incarnation}))
            fail(now, node, "reason", "is evicted though nobody asked");
        if (reason != KRG_MBR_R_EVICTED && reason != KRG_MBR_R_LOST)
            fail(now, node, "reason", fmt::format("is expelled for the reason {}", reason_name(reason)));
        me.ended = true;
        break;
    case KRG_MBR_ACT_REFUSED: {
        const bool patience = reason == KRG_MBR_R_TIMEOUT || reason == KRG_MBR_R_UNREACHABLE || reason == KRG_MBR_R_NO_QUORUM;
        if (patience ? !limit_passed : me.refusal != reason)
            fail(now, node, "reason", fmt::format("its join is refused: {}, which is not true", reason_name(reason)));
        me.ended = true;
        break;
    }
    case KRG_MBR_ACT_FAILED: fail(now, node, "engine", fmt::format("an internal check failed (line {})", epoch)); break;
    default: break;
    }
}

void Checker::shown(Time now, NodeId node, const NodeShown& shown, bool too_long) {
    Node& me = nodes_[node];
    if (me.shown.state == shown.state && me.shown.epoch == shown.epoch && me.shown.serve_end == shown.serve_end &&
        now < shown.serve_end)
        return;
    me.shown = shown;
    if (shown.state == KRG_MBR_FAILED) fail(now, node, "engine", "an internal check failed");
    if (me.view != nullptr && !me.ended && shown.epoch != me.view->epoch)
        fail(now, node, "life-cycle", fmt::format("shows epoch {} but was told of {}", shown.epoch, me.view->epoch));
    if (shown.state == KRG_MBR_SERVING) {
        if (me.ended || me.suspended || me.view == nullptr || me.committed != me.view->epoch)
            fail(now, node, "life-cycle", "says it is serving, but was not told to");
        if (now >= shown.serve_end) fail(now, node, "lease", "says it is serving after its lease ran out");
    }
    if (now >= shown.serve_end) return;
    if (shown.state != KRG_MBR_SERVING)
        fail(now, node, "lease", fmt::format("has a lease to serve in state {}", state_name(shown.state)));
    if (me.drained) fail(now, node, "life-cycle", "has a lease to serve after it was drained");
    if (too_long) fail(now, node, "lease", "has a longer lease than its cluster gives");
    check_overlap(now, node);
}

void Checker::check_overlap(Time now, NodeId node) {
    const Node& me = nodes_[node];
    if (me.view == nullptr) return;
    for (std::size_t i = 1; i < nodes_.size(); i++) {
        const Node& other = nodes_[i];
        if (i == node || now >= other.shown.serve_end || other.view == nullptr) continue;
        if (other.view->epoch == me.view->epoch || other.view->cluster != me.view->cluster) continue;
        const bool mine_later = me.view->epoch > other.view->epoch;
        const Node& late = mine_later ? me : other;
        const Node& early = mine_later ? other : me;
        const auto early_id = static_cast<NodeId>(mine_later ? i : node);
        const auto late_id = static_cast<NodeId>(mine_later ? node : i);
        if (late.view->has(early_id, early.incarnation)) continue;
        fail(now, node, "serve-overlap",
             fmt::format("node {} may serve in view {} until {}.{:06} while node {} serves in view {}", early_id,
                         early.view->text(), early.shown.serve_end / second, early.shown.serve_end % second, late_id,
                         late.view->text()));
    }
}

void Checker::reset(NodeId node, NodeId peer, u64 incarnation) {
    Node& me = nodes_[node];
    if (me.view != nullptr && me.view->has(peer, incarnation)) me.reset_epoch = me.view->epoch;
}

void Checker::garbage(Time now, NodeId node, bool changed) {
    if (changed) fail(now, node, "garbage", "damaged bytes changed its view or its state");
}

void Checker::engine_health(Time now, NodeId node, u64 dropped, u64 bad, u64 garbage_given) {
    if (dropped != 0) fail(now, node, "engine", fmt::format("dropped {} actions", dropped));
    if (bad > garbage_given)
        fail(now, node, "engine", fmt::format("calls {} messages bad, but was given {} damaged ones", bad, garbage_given));
}

void Checker::op_started(Time now, NodeId node) {
    const Node& me = nodes_[node];
    if (me.view == nullptr) {
        fail(now, node, "operation", "does an operation without a view");
        return;
    }
    const ViewRecord* newest = latest();
    if (newest->cluster != me.view->cluster || newest->has(node, me.incarnation)) return;
    for (std::size_t i = 1; i < nodes_.size(); i++) {
        const Node& other = nodes_[i];
        if (now < other.shown.serve_end && other.view != nullptr && other.view->cluster == me.view->cluster &&
            other.view->epoch > me.view->epoch && !other.view->has(node, me.incarnation))
            fail(now, node, "operation",
                 fmt::format("does an operation in view {} while node {} serves in {}", me.view->text(), i,
                             other.view->text()));
    }
}

void Checker::op_accepted(Time now, NodeId at, NodeId from, u64 incarnation, u64 epoch) {
    accepted_ops_++;
    const Node& me = nodes_[at];
    if (now >= me.shown.serve_end || me.view == nullptr || me.view->epoch != epoch || !me.view->has(from, incarnation))
        fail(now, at, "operation", fmt::format("accepts an operation of node {} from epoch {}", from, epoch));
}

u64 Checker::hash() const {
    u64 state = views_.size();
    u64 out = 0;
    const auto mix = [&](u64 value) {
        state ^= value;
        out ^= splitmix(state);
    };
    for (const auto& [key, known] : views_) {
        mix(key.second);
        for (const MemberRecord& member : known.view->members) mix(member.incarnation);
        for (NodeId node : known.installed) mix(node);
    }
    for (const auto& [key, ballots] : votes_)
        for (const auto& [ballot, voters] : ballots)
            for (NodeId voter : voters)
                mix(key.second << 48 | static_cast<u64>(ballot.first) << 32 | static_cast<u64>(ballot.second) << 16 | voter);
    for (const Node& node : nodes_)
        mix(node.prepared << 32 | node.committed << 4 | (node.ended ? 2 : 0) | (node.suspended ? 1 : 0));
    return out;
}

}  // namespace krg::sim
