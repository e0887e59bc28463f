// SPDX-License-Identifier: GPL-2.0
// Storage, lookup and encoding of views.
#include "kernel/core/view.hh"

#include "kernel/core/mutants.hh"

namespace krg {

bool params_valid(const krg_mbr_params& p) {
    constexpr u32 limit_ms = 3600u * 1000;
    return p.renew_ms >= 1 && p.suspect_ms >= 2 * p.renew_ms && p.lease_ms >= 2 * p.renew_ms && p.settle_ms >= 1 &&
           p.witness <= 1 && p.lease_ms <= limit_ms && p.suspect_ms <= limit_ms && p.renew_ms <= limit_ms &&
           p.drift_ms <= limit_ms && p.settle_ms <= limit_ms;
}

void View::place(Arena& arena, u16 max_nodes) {
    max_nodes_ = max_nodes;
    member_ = arena.take<krg_mbr_member>(max_nodes);
    removed_ = arena.take<krg_mbr_member>(max_nodes);
    u32 words = NodeSet::words_for(max_nodes);
    ids_ = NodeSet(arena.take<u64>(words), words);
}

void View::clear() {
    epoch = cluster_id = 0;
    params = {};
    count_ = removed_count_ = 0;
    ids_.clear();
}

void View::copy(const View& other) {
    epoch = other.epoch;
    cluster_id = other.cluster_id;
    params = other.params;
    count_ = other.count_;
    removed_count_ = other.removed_count_;
    for (u32 i = 0; i < count_; i++) member_[i] = other.member_[i];
    for (u32 i = 0; i < removed_count_; i++) removed_[i] = other.removed_[i];
    ids_.assign(other.ids_);
}

bool View::add(NodeId node, u64 incarnation, u16 flags) {
    if (!node || node > max_nodes_ || count_ >= max_nodes_ || !incarnation) return false;
    if (count_ && member_[count_ - 1].node >= node) return false;
    member_[count_++] = {node, flags, KRG_MBR_R_NONE, 0, incarnation};
    ids_.add(node);
    return true;
}

bool View::add_removed(NodeId node, u64 incarnation, u16 reason) {
    if (!node || node > max_nodes_ || removed_count_ >= max_nodes_ || !incarnation) return false;
    if (removed_count_ && removed_[removed_count_ - 1].node >= node) return false;
    removed_[removed_count_++] = {node, 0, reason, 0, incarnation};
    return true;
}

const krg_mbr_member* View::find(NodeId node) const {
    u32 low = 0, high = count_;
    while (low < high) {
        u32 mid = (low + high) / 2;
        if (member_[mid].node < node)
            low = mid + 1;
        else
            high = mid;
    }
    return low < count_ && member_[low].node == node ? &member_[low] : nullptr;
}

bool View::has(NodeId node, u64 incarnation) const {
    const krg_mbr_member* m = find(node);
    return m && m->incarnation == incarnation;
}

bool View::decided_by(u32 votes, bool witness) const {
    u32 needed = majority();
    if (KRG_MUTANT(DropMajority) && needed > 1) needed--;
    return votes >= needed || (witness && witness_votes() && votes >= count_ / 2u);
}

void View::encode(Writer& w) const {
    w.put64(epoch);
    w.put64(cluster_id);
    w.put32(params.lease_ms);
    w.put32(params.drift_ms);
    w.put32(params.renew_ms);
    w.put32(params.suspect_ms);
    w.put32(params.settle_ms);
    w.put32(params.witness);
    w.put16(count_);
    w.put16(removed_count_);
    for (u32 i = 0; i < u32(count_) + removed_count_; i++) {
        const krg_mbr_member& m = i < count_ ? member_[i] : removed_[i - count_];
        w.put16(m.node);
        w.put8(static_cast<u8>(m.flags));
        w.put8(static_cast<u8>(m.reason));
        w.put64(m.incarnation);
    }
}

bool View::decode(Reader& r) {
    clear();
    epoch = r.get64();
    cluster_id = r.get64();
    params.lease_ms = r.get32();
    params.drift_ms = r.get32();
    params.renew_ms = r.get32();
    params.suspect_ms = r.get32();
    params.settle_ms = r.get32();
    params.witness = r.get32();
    u32 members = r.get16(), gone = r.get16();
    bool good = r.ok() && epoch && cluster_id && params_valid(params) && members && members <= max_nodes_ &&
                gone <= max_nodes_ && r.left() >= (members + gone) * 12;
    for (u32 i = 0; good && i < members + gone; i++) {
        NodeId node = r.get16();
        u16 flags = r.get8(), reason = r.get8();
        u64 incarnation = r.get64();
        if (i < members)
            good = !(flags & ~KRG_MBR_F_DRAINING) && reason == KRG_MBR_R_NONE && add(node, incarnation, flags);
        else
            good = !flags && reason >= KRG_MBR_R_LOST && reason <= KRG_MBR_R_EVICTED && !ids_.has(node) &&
                   add_removed(node, incarnation, reason);
    }
    if (good && r.ok()) return true;
    clear();
    r.fail();
    return false;
}

u64 View::hash(u64 h) const {
    h = mix(mix(h, epoch), cluster_id);
    for (u32 i = 0; i < count_; i++) h = mix(mix(h, member_[i].node | u32(member_[i].flags) << 16), member_[i].incarnation);
    for (u32 i = 0; i < removed_count_; i++)
        h = mix(mix(h, removed_[i].node | u32(removed_[i].reason) << 16), removed_[i].incarnation);
    return h;
}

}  // namespace krg
