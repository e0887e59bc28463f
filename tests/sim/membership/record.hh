// SPDX-License-Identifier: GPL-2.0
//
// What the checkers know of the membership protocol: views and states as plain values, copied out of the engine's C
// interface. Kept apart from the engine's own types so that hand-made histories can be checked too.
#pragma once

#include <string>
#include <vector>

#include "kernel/core/membership.h"
#include "tests/sim/world/types.hh"

namespace krg::sim {

struct MemberRecord {
    NodeId node = 0;
    u16 flags = 0;
    u16 reason = 0;
    u64 incarnation = 0;
    bool operator==(const MemberRecord&) const = default;
};

struct ViewRecord {
    u64 cluster = 0;
    u64 epoch = 0;
    bool witness = false;
    u32 lease_ms = 0;
    std::vector<MemberRecord> members;
    std::vector<MemberRecord> removed;
    bool operator==(const ViewRecord&) const = default;

    [[nodiscard]] const MemberRecord* find(NodeId node) const;
    [[nodiscard]] bool has(NodeId node, u64 incarnation) const;
    /// Are @p votes of its members enough to decide the next view? (@p with_witness: and the witness)
    [[nodiscard]] bool quorum(std::size_t votes, bool with_witness) const;
    [[nodiscard]] std::string text() const;
};

[[nodiscard]] ViewRecord record(const struct krg_mbr_view& view);
[[nodiscard]] const char* state_name(u32 state);
[[nodiscard]] const char* reason_name(u32 reason);

/// Epochs of a view formed by an operator's word start this far above.
inline constexpr u64 recover_step = u64{1} << 32;

}  // namespace krg::sim
