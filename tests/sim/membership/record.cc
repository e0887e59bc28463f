// SPDX-License-Identifier: GPL-2.0
//
// Views as values, and their names in print. See record.hh.
#include "tests/sim/membership/record.hh"

#include <fmt/format.h>

namespace krg::sim {

const MemberRecord* ViewRecord::find(NodeId node) const {
    for (const MemberRecord& member : members)
        if (member.node == node) return &member;
    return nullptr;
}

bool ViewRecord::has(NodeId node, u64 incarnation) const {
    const MemberRecord* member = find(node);
    return member != nullptr && member->incarnation == incarnation;
}

bool ViewRecord::quorum(std::size_t votes, bool with_witness) const {
    if (2 * votes > members.size()) return true;
    return with_witness && witness && 2 * votes == members.size();
}

std::string ViewRecord::text() const {
    std::string out = fmt::format("{}{{", epoch);
    if (epoch >= recover_step) out = fmt::format("{}*2^32+{}{{", epoch / recover_step, epoch % recover_step);
    for (const MemberRecord& member : members)
        out += fmt::format("{}{}{}", out.back() == '{' ? "" : " ", member.node,
                           (member.flags & KRG_MBR_F_DRAINING) != 0 ? "d" : "");
    out += '}';
    for (const MemberRecord& gone : removed) out += fmt::format(" -{} {}", gone.node, reason_name(gone.reason));
    return out;
}

ViewRecord record(const struct krg_mbr_view& view) {
    ViewRecord out;
    out.cluster = view.cluster_id;
    out.epoch = view.epoch;
    out.witness = view.params.witness != 0;
    out.lease_ms = view.params.lease_ms;
    for (unsigned i = 0; i < view.count; i++)
        out.members.push_back({view.member[i].node, view.member[i].flags, view.member[i].reason, view.member[i].incarnation});
    for (unsigned i = 0; i < view.removed_count; i++)
        out.removed.push_back(
            {view.removed[i].node, view.removed[i].flags, view.removed[i].reason, view.removed[i].incarnation});
    return out;
}

const char* state_name(u32 state) {
    static constexpr const char* names[] = {"IDLE", "JOINING", "PREPARING", "SERVING", "SUSPENDED", "FAILED"};
    return state < std::size(names) ? names[state] : "?";
}

const char* reason_name(u32 reason) {
    static constexpr const char* names[] = {"NONE",     "LOST",     "LEFT",        "EVICTED", "VERSION",   "CLUSTER",
                                            "ID_TAKEN", "ID_RANGE", "UNREACHABLE", "TIMEOUT", "NO_QUORUM", "INTERNAL"};
    return reason < std::size(names) ? names[reason] : "?";
}

}  // namespace krg::sim
