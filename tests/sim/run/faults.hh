// SPDX-License-Identifier: GPL-2.0
//
// The faults of a run: a list drawn from the seed before the run begins, each fault with its own random numbers, so that
// leaving some out (as the shrinker does) changes nothing about the others. Each fault undoes itself after its time.
#pragma once

#include <array>
#include <set>
#include <vector>

#include "tests/sim/run/knobs.hh"
#include "tests/sim/world/world.hh"

namespace krg::sim {

/// What an operator and an observer of the simulated protocol can do and tell; the fault code knows no protocol.
class Cluster {
public:
    virtual ~Cluster() = default;
    /// The cluster survives the death of this node (or need not).
    virtual bool may_lose(NodeId node) = 0;
    virtual bool leave(NodeId node) = 0;
    virtual bool evict(NodeId at, NodeId victim) = 0;
    /// Back in after leave or evict.
    virtual void join_again(NodeId node) = 0;
};

class Injector {
public:
    /// @p only: indices of the faults that may happen; null: all.
    Injector(const Knobs& knobs, u64 seed, World& world, Cluster& cluster, const std::set<u64>* only);

    /// Puts the plan on the event queue, spread over @p length from @p start.
    void arm(Time start, Time length);
    /// Cues of the world that belong to faults.
    enum Cue : u32 { cue_begin = 1, cue_end, cue_ambush };
    void cue(u32 what, u64 arg);
    /// An agreement begins at this node.
    void agreement(NodeId proposer);
    /// Faults that wait for an agreement strike now, as resets.
    void wait_no_longer();
    /// The end of all faults: everything heals now, nothing new begins.
    void heal_all();

    [[nodiscard]] u64 executed() const { return executed_; }
    [[nodiscard]] const std::array<u64, fault_kinds>& counts() const { return counts_; }
    /// Indices of faults that did happen, for the shrinker.
    [[nodiscard]] const std::vector<u64>& happened() const { return happened_; }

private:
    struct Undo {
        enum class What : u8 { unblock, thaw, boot, undelay, storage, join } what;
        NodeId a = 0, b = 0;
        u64 amount = 0;
    };
    struct Fault {
        FaultKind kind;
        Time at, duration;
        u64 seed;
        std::vector<Undo> undo;
    };

    void begin(u64 index);
    bool attempt(Fault& fault, FaultKind kind, Rng& rng);
    bool crash(Fault& fault, Rng& rng, unsigned how_many);
    bool partition(Fault& fault, FaultKind kind, Rng& rng);
    bool ambush(Fault& fault);
    bool operators(Fault& fault, FaultKind kind, Rng& rng);
    void block(Fault& fault, NodeId from, NodeId to);
    void undo(Fault& fault);
    void spring(u64 index, NodeId proposer);
    NodeId pick_up(Rng& rng);
    NodeId any(Rng& rng) { return static_cast<NodeId>(1 + rng.below(nodes_)); }

    const Knobs& knobs_;
    World& world_;
    Cluster& cluster_;
    const std::set<u64>* only_;
    unsigned nodes_;
    std::vector<Fault> plan_;
    std::vector<u64> ambushes_;  ///< armed, waiting for an agreement
    std::array<u64, fault_kinds> counts_{};
    std::vector<u64> happened_;
    u64 executed_ = 0;
    bool over_ = false;
};

}  // namespace krg::sim
