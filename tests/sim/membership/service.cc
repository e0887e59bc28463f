// SPDX-License-Identifier: GPL-2.0
//
// Operations and who accepts them. See service.hh.
#include "tests/sim/membership/service.hh"

#include <cstring>

namespace krg::sim {

namespace {

enum Token : u32 { token_begin = Client::first_token, token_effect };

}  // namespace

void Service::start() {
    if (mean_ms_ != 0) host_.after(host_.rng().exponential(mean_ms_ * ms), token_begin, 0);
}

void Service::call(u32 token, u64 arg) {
    if (token == token_begin) {
        host_.after(1 + host_.rng().exponential(mean_ms_ * ms), token_begin, 0);
        if (!membership_.may_serve()) return;
        checker_.op_started(host_.true_time(), host_.id());
        host_.after(host_.rng().exponential(500), token_effect, membership_.epoch());
        return;
    }
    const auto& members = membership_.view().members;
    if (members.empty()) return;
    const NodeId to = members[host_.rng().below(members.size())].node;
    u8 bytes[8];
    std::memcpy(bytes, &arg, sizeof bytes);
    host_.send(to, Class::data, bytes);
}

void Service::message(NodeId from, u64 incarnation, std::span<const u8> bytes) {
    u64 epoch = 0;
    if (bytes.size() != sizeof epoch) return;
    std::memcpy(&epoch, bytes.data(), sizeof epoch);
    if (!membership_.may_serve() || epoch != membership_.epoch() || !membership_.view().has(from, incarnation)) {
        checker_.op_refused();
        return;
    }
    checker_.op_accepted(host_.true_time(), host_.id(), from, incarnation, epoch);
}

}  // namespace krg::sim
