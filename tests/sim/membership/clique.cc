// SPDX-License-Identifier: GPL-2.0
//
// Every subset, tried. See clique.hh.
#include "tests/sim/membership/clique.hh"

#include <algorithm>
#include <bit>

namespace krg::sim {

std::vector<NodeId> maximum_clique(const std::vector<NodeId>& nodes, const std::function<bool(NodeId, NodeId)>& edge) {
    const auto count = static_cast<u32>(nodes.size());
    // Bit count-1-i stands for nodes[i]: among sets of one size the lexicographically lowest is the largest number.
    std::vector<u32> friends(count, 0);
    for (u32 i = 0; i < count; i++)
        for (u32 j = 0; j < count; j++)
            if (i == j || edge(nodes[i], nodes[j])) friends[i] |= u32{1} << (count - 1 - j);
    u32 best = 0;
    for (u32 set = 1; set < u32{1} << count; set++) {
        bool clique = true;
        for (u32 i = 0; i < count && clique; i++)
            if ((set >> (count - 1 - i) & 1) != 0) clique = (set & ~friends[i]) == 0;
        if (clique && std::popcount(set) >= std::popcount(best)) best = set;
    }
    std::vector<NodeId> out;
    for (u32 i = 0; i < count; i++)
        if ((best >> (count - 1 - i) & 1) != 0) out.push_back(nodes[i]);
    return out;
}

std::size_t largest_component(const std::vector<NodeId>& nodes, const std::function<bool(NodeId, NodeId)>& edge) {
    std::size_t largest = 0;
    std::vector<u8> seen(nodes.size(), 0);
    for (std::size_t start = 0; start < nodes.size(); start++) {
        if (seen[start] != 0) continue;
        std::vector<std::size_t> group{start};
        seen[start] = 1;
        for (std::size_t i = 0; i < group.size(); i++)
            for (std::size_t j = 0; j < nodes.size(); j++)
                if (seen[j] == 0 && edge(nodes[group[i]], nodes[j])) {
                    seen[j] = 1;
                    group.push_back(j);
                }
        largest = std::max(largest, group.size());
    }
    return largest;
}

}  // namespace krg::sim
