// SPDX-License-Identifier: GPL-2.0
//
// A stand-in for what will run on top of membership: a node that may serve does an operation now and then, stamped with
// its epoch, and sends it to a fellow member, who accepts it only while it serves in the same epoch and knows the sender as
// a member. Between the look at the lease and the effect lies a gap, in which the machine may be frozen: the late waker.
#pragma once

#include "tests/sim/membership/process.hh"

namespace krg::sim {

class Service final : public Client {
public:
    Service(Host& host, MembershipProcess& membership, Checker& checker, u64 mean_ms)
        : host_(host),
          membership_(membership),
          checker_(checker),
          mean_ms_(mean_ms) {}

    void start() override;
    void prepare(const ViewRecord&) override {}
    void commit(u64) override {}
    void suspend() override {}
    void resume() override {}
    void over() override {}
    void message(NodeId from, u64 incarnation, std::span<const u8> bytes) override;
    void call(u32 token, u64 arg) override;

private:
    Host& host_;
    MembershipProcess& membership_;
    Checker& checker_;
    u64 mean_ms_;
};

}  // namespace krg::sim
