// SPDX-License-Identifier: GPL-2.0
// The vocabulary of the membership engine: ids, ballots, and the check that
// turns an impossible state into a stopped node. No behaviour lives here.
#pragma once

#include "kernel/core/membership.h"

#include <compare>

namespace krg {

/// Milliseconds on this node's own monotonic clock.
using Ms = u64;
inline constexpr Ms never = ~0ull;

/// A node id as an index: 1..max_nodes; 0 is the witness.
using NodeId = u16;

/// Paxos ballot: higher round wins, the node id breaks ties. {0,0} is "none".
struct Ballot {
    u32 round = 0;
    NodeId node = 0;
    constexpr auto operator<=>(const Ballot&) const = default;
    [[nodiscard]] constexpr bool none() const { return round == 0 && node == 0; }
};

constexpr Ms later(Ms a, Ms b) { return a > b ? a : b; }
constexpr Ms sooner(Ms a, Ms b) { return a < b ? a : b; }
/// Time from @now until @t, 0 if it has passed.
constexpr Ms remaining(Ms t, Ms now) { return t > now ? t - now : 0; }

}  // namespace krg
