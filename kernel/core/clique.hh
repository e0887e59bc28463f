// SPDX-License-Identifier: GPL-2.0
// The largest set of nodes that all reach each other, ties broken towards the
// lowest ids. Works on the conflicts (pairs that do not reach each other), of
// which there are few. Exact while at most 64 nodes have conflicts and the
// search stays within its step limit; beyond that the node with the most
// conflicts (the highest id among equals) is given up first. Deterministic.
#pragma once

#include "kernel/core/nodeset.hh"

namespace krg {

class Clique {
public:
    void place(Arena& arena, u16 max_nodes);
    /// Starts a problem: no conflicts yet.
    void reset();
    void conflict(NodeId a, NodeId b);
    [[nodiscard]] bool conflicting(NodeId a, NodeId b) const { return row_[a].has(b); }
    /// @out: the best clique within @candidates.
    void solve(const NodeSet& candidates, NodeSet& out);

    static constexpr u32 exact_max = 64;
    static constexpr u32 steps_max = 200000;

private:
    struct Frame {
        u64 available;
        u64 chosen;
    };
    u64 search(u32 count);

    u16 max_nodes_ = 0;
    u64* words_ = nullptr;
    NodeSet* row_ = nullptr;
    NodeSet touched_;  // nodes with a conflict
    NodeId* id_ = nullptr;
    u64* against_ = nullptr;
    Frame* stack_ = nullptr;
};

}  // namespace krg
