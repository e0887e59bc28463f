// SPDX-License-Identifier: GPL-2.0
//
// As many coherence engines as wanted, nothing else: an edge that does everything at once, a network that loses nothing,
// time that passes only when nobody has anything to do. For measurements and for scenes of unit tests; no faults but the end
// of a node, no checker: what is asked for must be granted.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/dsm/types.hh"

namespace krg::sim::dsm {

/// What went over the network.
struct Traffic {
    u64 messages = 0, pages = 0, bytes = 0;  ///< bytes: pages of 4096 included
    std::array<u64, 64> by_type{};           ///< messages
    [[nodiscard]] Traffic since(const Traffic& before) const;
};

class Fleet {
public:
    Fleet(u16 nodes, const krg_dsm_params& params);
    ~Fleet();
    Fleet(const Fleet&) = delete;
    Fleet& operator=(const Fleet&) = delete;

    /// The next view: all that live, but for @p without; @p leaving are marked as leaving. Begins it at all its members.
    void view(const std::vector<NodeId>& without = {}, const std::vector<NodeId>& leaving = {});
    void crash(NodeId node);
    /// EV_DRAIN.
    void drain(NodeId node);
    [[nodiscard]] bool drained(NodeId node) const { return node_[node].drained; }
    /// A program's access; false: it was refused.
    [[nodiscard]] bool access(NodeId node, const krg_dsm_object& object, u8 mode);
    [[nodiscard]] bool sync(NodeId node);
    /// Lets time pass until nothing is degraded and no timer runs; false: not within @p steps timers.
    [[nodiscard]] bool rest(unsigned steps = 100000);

    [[nodiscard]] NodeId home(const krg_dsm_object& object) const;
    [[nodiscard]] krg_dsm_stats stats(NodeId node) const;
    [[nodiscard]] krg_dsm_copy copy(NodeId node, const krg_dsm_object& object) const;
    [[nodiscard]] const Traffic& traffic() const { return traffic_; }
    /// Messages of a type by its name (see krg_dsm_describe()) in @p traffic.
    [[nodiscard]] u64 messages(const Traffic& traffic, const std::string& type) const;
    /// What engines did that they must not, or what they wanted reset.
    [[nodiscard]] const std::string& broken() const { return broken_; }

private:
    struct Node {
        krg_dsm* engine = nullptr;
        bool active = false, drained = false;
        u64 since = 0;                      ///< 0: has not been in a view
        std::vector<krg_dsm_event> events;  ///< of its edge, after what it is at
    };
    void step(NodeId node, krg_dsm_event ev);
    void act(NodeId node, const krg_dsm_action& a);
    void send(NodeId node, const krg_dsm_action& a);
    void snapshot(NodeId node);
    void run();
    void wake(NodeId node);

    [[nodiscard]] NodeId nodes() const { return static_cast<NodeId>(node_.size() - 1); }

    std::vector<Node> node_;
    std::vector<NodeId> active_;
    u64 now_ = 1000, epoch_ = 0, token_ = 0, handle_ = 0;
    std::map<u64, s32> answers_;  ///< by token: 1 granted or done, or an error
    Traffic traffic_;
    std::array<std::string, 64> names_;
    std::string broken_;
};

}  // namespace krg::sim::dsm
