// SPDX-License-Identifier: GPL-2.0
// Sets up TIPC for a cluster and takes it down again, over TIPC's own netlink family.
//
// What can be set when (Linux 6.1 and 6.12): the network id and the node identity once in the life of the tipc module;
// the key only after the identity; bearers at any time, but before the key they would send in the clear. Hence the order
// net id and identity, key, bearers, and hence a change of cluster or key unloads the tipc module and starts afresh.
//
// The identity is ten random bytes and the first link's hardware address. TIPC makes AES-GCM's nonces from a counter that
// starts at 0 and the node's address (a hash of the identity), or in discovery messages the identity's first four bytes.
// An identity that stays the same over a reboot, or starts with a vendor's prefix, would repeat nonces under one key.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tools/lib/system.hh"

namespace krg {

/** What the cluster wants of TIPC. */
struct TipcPlan {
    std::string cluster;
    Bytes cluster_key;
    std::vector<std::string> links;
    std::uint32_t tolerance_ms = 500;  // silence after which TIPC calls a link dead: a hint to the cluster, no verdict
};

/** The TIPC network id of a cluster: 1..9999 from its name. */
std::uint32_t tipc_net_id(const std::string& cluster);

/** The struct tipc_aead_key for a cluster: AES-128-GCM key and salt. */
Bytes tipc_key(const Bytes& cluster_key, const std::string& cluster);

class Tipc {
public:
    explicit Tipc(System& system) : system_(system) {}

    /** Makes TIPC what @plan says; does nothing where it already is. Undoes its own steps and throws Error otherwise. */
    void configure(const TipcPlan& plan);

    /**
     * Disables the bearers configure() enabled, and unloads TIPC, with the key in it, if nobody else uses it. Otherwise
     * identity and key stay until the module is unloaded.
     */
    void unconfigure();

private:
    struct State {
        std::uint32_t net_id = 0;
        Bytes identity;  // all 0: none yet
        std::vector<std::string> bearers;
    };
    struct Note {
        std::string fingerprint, identity;
        std::vector<std::string> bearers;
    };

    void open();
    void start_afresh(const State& state, const Note& note);
    State read_state();
    Note read_note();
    void write_note(const Note& note);
    void set_identity(const TipcPlan& plan, Bytes& identity);
    void set_key(const TipcPlan& plan);
    void enable_bearer(const std::string& bearer, std::uint32_t tolerance_ms);
    void disable_bearer(const std::string& bearer);
    bool forget_key();

    System& system_;
    std::unique_ptr<Transport> transport_;
};

}  // namespace krg
