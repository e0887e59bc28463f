// SPDX-License-Identifier: GPL-2.0
//
// The coherence engine on top of the membership engine, in the world of the membership simulation: real views, leases,
// connections and clocks instead of the oracle of world.hh. Every life of a node has a Client, which does what hadsm/view.c
// does in the kernel: it turns PREPARE, COMMIT and DRAIN into events of the coherence engine, learns since when a member
// has been one, carries messages, and lets programs use pages only while the node may serve.
//
// The promises are judged by the same checker. A node counts as dead for it when its machine dies, or when the first
// member begins to serve in a view without it; a program that uses a page after that breaks the rule "contract".
#pragma once

#include "tests/sim/dsm/edge.hh"
#include "tests/sim/membership/run.hh"

namespace krg::sim::dsm {

class Fabric final : public Tenant, public EdgeWorld {
public:
    /// @p mean_us: between two operations of a program.
    Fabric(const Setup& setup, u64 mean_us, bool trace);
    ~Fabric() override;

    // Tenant
    void begin(sim::World& world, sim::Checker& judge) override;
    [[nodiscard]] std::unique_ptr<Client> client(Host& host, MembershipProcess& process) override;
    [[nodiscard]] std::string end() override;
    void hash(RunHash& hash) override;

    // EdgeWorld
    void send(NodeId from, NodeId to, std::shared_ptr<const Packet> packet) override;
    void reset_wanted(NodeId from, NodeId to, u16 reason) override;
    void prepared(NodeId, u64) override {}
    void drained(NodeId node) override;
    void recovered(NodeId node, u64 epoch) override;
    [[nodiscard]] bool tracing() const override { return trace_; }
    void say(NodeId node, std::string line) override;

    [[nodiscard]] u64 operations() const;
    [[nodiscard]] u64 failed_operations() const;
    [[nodiscard]] u64 pages() const { return pages_; }
    [[nodiscard]] u64 messages() const { return messages_; }
    [[nodiscard]] u64 recoveries() const { return recoveries_; }
    [[nodiscard]] u64 calms() const { return calms_; }
    [[nodiscard]] u64 drained_lives() const { return drained_lives_; }
    /// An operator took the cluster up at a node that others had gone on without: from then on values are not judged.
    [[nodiscard]] bool went_back() const { return went_back_; }

private:
    class Life;
    friend class Life;

    /// What is known of a node, of its present life if it has one.
    struct Node {
        Life* life = nullptr;
        bool dead = true;   ///< as far as the checker is concerned
        u64 committed = 0;  ///< epoch
        bool drained = false;
        bool served = false;  ///< it has been a home
    };

    void view(const ViewRecord& view);
    void committed(NodeId node, const ViewRecord& view);
    void count_copies(bool all);
    void forget_all(bool known);
    [[nodiscard]] bool anybody_lives() const;
    [[nodiscard]] bool has_something(NodeId node) const;
    void dies(NodeId node, bool in_order);
    void judge();
    void look_for_calm();
    [[nodiscard]] std::string why_busy() const;
    [[nodiscard]] bool enough() const;

    Setup setup_;
    u64 mean_us_;
    bool trace_;
    Checker checker_;
    std::vector<std::unique_ptr<Edge>> edge_;
    std::array<Node, nodes_max + 1> node_{};
    sim::World* world_ = nullptr;
    sim::Checker* judge_ = nullptr;
    ViewRecord newest_;
    std::set<std::pair<NodeId, u64>> met_;  ///< members of this cluster's views, by incarnation
    Time quiet_since_ = 0;
    u64 begun_ = 0;  ///< the last epoch in which anybody served
    unsigned able_ = 0;
    bool ending_ = false, went_back_ = false;
    std::array<unsigned, nodes_max + 1> read_{};  ///< at the end: objects that the node has read
    u64 messages_ = 0, pages_ = 0, recoveries_ = 0, calms_ = 0, drained_lives_ = 0;
};

}  // namespace krg::sim::dsm
