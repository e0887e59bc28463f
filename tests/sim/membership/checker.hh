// SPDX-License-Identifier: GPL-2.0
//
// What must never happen in a cluster, checked after every step of every node, in true time, from nothing but what nodes
// show at their C interface. It shares no code with the engine. Each rule has a name that is printed when it is broken:
//
//	one-view-per-epoch  two nodes installed different views under one epoch of one cluster
//	serve-overlap       a node served while another served a later view that does not contain it
//	epoch-monotone      a node's epoch went back within one life
//	life-cycle          PREPARE, PREPARED, COMMIT, SUSPEND, RESUME, EXPELLED, LEFT out of order, or an ended life acted
//	lease               serving past the lease, or a lease longer than the cluster's
//	view-form           a view that is not well formed, or that its own holder is not in
//	lineage             a view whose members do not follow from the view before
//	quorum              a view decided or committed without the votes it needs
//	reason              a removal or a refusal for a reason that is not true
//	ballot              an acceptor or a proposer breaks its word: votes below its promise, two values in one ballot, a lease
//	                    acknowledged after the vote for the next view
//	operation           an operation done or accepted by a node that may not
//	engine              the engine failed an internal check or dropped an action
//	garbage             damaged bytes changed something
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "tests/sim/membership/record.hh"

namespace krg::sim {

struct Violation {
    std::string rule;
    std::string text;
    Time at = 0;
    NodeId node = 0;
};

/// What a node shows after a step.
struct NodeShown {
    u32 state = KRG_MBR_IDLE;
    u64 epoch = 0;
    Time serve_end = 0;  ///< first true time at which it may not serve any more
};

class Checker {
public:
    explicit Checker(unsigned nodes) : nodes_(nodes + 1) {}
    /// Set at the first violation; the world looks at it after every event.
    [[nodiscard]] const bool* alarm() const { return &alarm_; }

    // What operators and the world did
    void booted(NodeId node, u64 incarnation);
    void gone(NodeId node);
    void asked_leave(NodeId node);
    /// Its subscribers are empty: it has stopped serving for good.
    void drained(NodeId node);
    void asked_evict(NodeId node, u64 incarnation) { evict_asked_.insert({node, incarnation}); }
    void asked_recover() { recoveries_++; }
    /// This node may not be let in, and this is why.
    void expect_refusal(NodeId node, u32 reason) { nodes_[node].refusal = reason; }

    // What the engine did
    /// A control message leaves a node (0: the witness): votes are counted from what is on the wire.
    void sent(Time now, NodeId from, std::span<const u8> bytes);
    void prepare(Time now, NodeId node, const ViewRecord& view);
    void prepared(NodeId node, u64 epoch) { nodes_[node].prepared = std::max(nodes_[node].prepared, epoch); }
    /// @p limit_passed: the time the join was given is over.
    void action(Time now, NodeId node, u32 type, u64 epoch, u32 reason, bool limit_passed);
    /// @p too_long: the lease ends later than a renewal sent now could give.
    void shown(Time now, NodeId node, const NodeShown& shown, bool too_long);
    /// The connection to a node broke: what was in flight is lost, so the pair needs a new epoch.
    void reset(NodeId node, NodeId peer, u64 incarnation);
    void garbage(Time now, NodeId node, bool changed);
    void engine_health(Time now, NodeId node, u64 dropped, u64 bad, u64 garbage_given);
    void op_started(Time now, NodeId node);
    void op_accepted(Time now, NodeId at, NodeId from, u64 incarnation, u64 epoch);

    [[nodiscard]] const std::optional<Violation>& violation() const { return violation_; }
    void fail(Time now, NodeId node, const char* rule, std::string text);

    /// The highest view anybody installed in this cluster; null: none.
    [[nodiscard]] const ViewRecord* latest() const;
    [[nodiscard]] const ViewRecord* view_of(NodeId node) const { return nodes_[node].view.get(); }
    [[nodiscard]] u32 state_of(NodeId node) const { return nodes_[node].shown.state; }
    [[nodiscard]] u64 views() const { return views_.size(); }
    [[nodiscard]] u64 commits() const { return commits_; }
    [[nodiscard]] u64 refused_ops() const { return refused_ops_; }
    [[nodiscard]] u64 accepted_ops() const { return accepted_ops_; }
    [[nodiscard]] bool serving(NodeId node, Time now) const {
        return nodes_[node].shown.state == KRG_MBR_SERVING && now < nodes_[node].shown.serve_end;
    }
    /// This node lost messages of a fellow member in the very epoch it is in.
    [[nodiscard]] bool needs_epoch(NodeId node) const {
        return nodes_[node].view && nodes_[node].reset_epoch == nodes_[node].view->epoch;
    }
    void op_refused() { refused_ops_++; }
    /// Of what it remembers: two equal worlds with different pasts are different to the explorer.
    [[nodiscard]] u64 hash() const;

private:
    using Key = std::pair<u64, u64>;  ///< cluster, epoch
    using Ballot = std::pair<u32, NodeId>;
    /// What a node said about the next epoch in this life.
    struct Word {
        u64 cluster = 0, target = 0;
        Ballot promised{}, voted{};
        bool has_voted = false;
    };
    struct Node {
        bool alive = false;
        bool asked_leave = false;
        bool drained = false;
        bool ended = false;  ///< EXPELLED, LEFT, REFUSED or FAILED in this life
        bool suspended = false;
        u64 incarnation = 0;
        u64 prepared = 0;
        u64 preparing = 0;    ///< epoch of the last PREPARE
        u64 reset_epoch = 0;  ///< in which it last lost a connection to a fellow member
        u64 committed = 0;
        u32 refusal = KRG_MBR_R_NONE;
        std::shared_ptr<const ViewRecord> view;
        Word word;
        NodeShown shown;
    };
    struct Known {
        std::shared_ptr<const ViewRecord> view;
        std::set<NodeId> installed;  ///< members that installed it
    };
    void new_view(Time now, NodeId node, const ViewRecord& view);
    void check_lineage(Time now, NodeId node, const ViewRecord& view);
    void check_removed(Time now, NodeId node, const ViewRecord& before, const ViewRecord& view);
    void check_overlap(Time now, NodeId node);
    void check_word(Time now, NodeId from, u8 type, const Key& key, const Ballot& ballot, std::span<const u8> value);
    void check_votes(Time now, NodeId node, const ViewRecord& before, const ViewRecord& view);
    void check_commit(Time now, NodeId node, u64 epoch);

    std::vector<Node> nodes_;
    std::map<Key, Known> views_;
    std::map<Key, std::map<Ballot, std::set<NodeId>>> votes_;  ///< for the view of an epoch
    std::map<std::pair<Key, Ballot>, u64> values_;             ///< hash of what a ballot proposed
    Word witness_word_;
    std::set<std::pair<NodeId, u64>> evict_asked_, left_asked_, drained_, lives_;
    u64 recoveries_ = 0;
    u64 commits_ = 0;
    u64 latest_cluster_ = 0;
    u64 refused_ops_ = 0;
    u64 accepted_ops_ = 0;
    std::optional<Violation> violation_;
    bool alarm_ = false;
};

}  // namespace krg::sim
