// SPDX-License-Identifier: GPL-2.0
// A view: what the members of one epoch agreed on. Here are its storage, its
// encoding and its quorum; how it comes about is in paxos.hh and engine.hh.
#pragma once

#include "kernel/core/arena.hh"
#include "kernel/core/codec.hh"
#include "kernel/core/nodeset.hh"

namespace krg {

[[nodiscard]] bool params_valid(const krg_mbr_params& p);

class View {
public:
    void place(Arena& arena, u16 max_nodes);
    void clear();
    void copy(const View& other);

    u64 epoch = 0;
    u64 cluster_id = 0;
    krg_mbr_params params{};

    [[nodiscard]] u16 count() const { return count_; }
    [[nodiscard]] u16 removed_count() const { return removed_count_; }
    [[nodiscard]] const krg_mbr_member* members() const { return member_; }
    [[nodiscard]] const krg_mbr_member* removed() const { return removed_; }
    [[nodiscard]] const NodeSet& ids() const { return ids_; }

    /// Members are added by ascending id; false when that is violated or there is no room.
    [[nodiscard]] bool add(NodeId node, u64 incarnation, u16 flags);
    [[nodiscard]] bool add_removed(NodeId node, u64 incarnation, u16 reason);
    [[nodiscard]] const krg_mbr_member* find(NodeId node) const;
    [[nodiscard]] bool has(NodeId node, u64 incarnation) const;
    [[nodiscard]] NodeId lowest() const { return count_ ? member_[0].node : 0; }

    /// Members needed to decide the next view, the witness's vote not counted.
    [[nodiscard]] u32 majority() const { return count_ / 2u + 1; }
    /// May half of the members and the witness decide?
    [[nodiscard]] bool witness_votes() const { return params.witness && count_ % 2 == 0; }
    [[nodiscard]] bool decided_by(u32 members, bool witness) const;

    void encode(Writer& w) const;
    /// False: malformed; the view is then cleared.
    [[nodiscard]] bool decode(Reader& r);
    [[nodiscard]] static u32 encoded_max(u16 max_nodes) { return 48 + 24u * max_nodes; }
    [[nodiscard]] u64 hash(u64 h) const;

private:
    u16 max_nodes_ = 0;
    u16 count_ = 0;
    u16 removed_count_ = 0;
    krg_mbr_member* member_ = nullptr;
    krg_mbr_member* removed_ = nullptr;
    NodeSet ids_;
};

[[nodiscard]] constexpr u64 mix(u64 h, u64 v) {
    h ^= v + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
    h *= 0xff51afd7ed558ccdull;
    return h ^ (h >> 32);
}

}  // namespace krg
