// SPDX-License-Identifier: GPL-2.0
//
// The reference for who should survive a partition: the largest set of nodes that all reach each other, found by trying
// every set. Slow and obviously right; shares nothing with the engine's search. Up to 16 nodes.
#pragma once

#include <functional>
#include <vector>

#include "tests/sim/world/types.hh"

namespace krg::sim {

/// Most nodes; among equals the lexicographically lowest ids. @p nodes ascending, at most 16.
[[nodiscard]] std::vector<NodeId> maximum_clique(const std::vector<NodeId>& nodes,
                                                 const std::function<bool(NodeId, NodeId)>& edge);

/// The largest number of nodes connected directly or through others.
[[nodiscard]] std::size_t largest_component(const std::vector<NodeId>& nodes, const std::function<bool(NodeId, NodeId)>& edge);

}  // namespace krg::sim
