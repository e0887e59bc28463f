// SPDX-License-Identifier: GPL-2.0
//
// A small cluster for the coherence engine: edges, one ordered queue for each directed pair, and an oracle in the place of
// membership that hands out views. Whatever may happen next is a Move; who chooses among them (a seed, an exhaustive
// search, a shrinker) is not decided here. A run is its setup and its moves, nothing else.
//
// The oracle: a view is proposed, PREPARE comes to each member at its own moment, COMMIT after all of them are prepared. A
// new proposal may come at any time and overtakes the old one. A connection that was reset carries nothing until both ends
// have prepared a later epoch. A crashed node's last messages may still arrive until the receiver prepares a view without
// it. A node that is expelled goes on until the first COMMIT of a view without it: its lease has run out by then.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "tests/sim/dsm/edge.hh"
#include "tests/sim/world/trace.hh"

namespace krg::sim::dsm {

enum class MoveKind : u8 {
    deliver,    // a -> b: the oldest message
    duplicate,  // a -> b: the oldest message is put in again x places later
    complete,   // a: the EDGE action on object b
    refuse,     // a: the page b is pinned; c: no, there is no memory to begin
    snapshot,   // a: protects or copies one more page
    snapshot_fail,
    begin,     // a: program b begins operation c on object x
    use,       // a: program b uses its grant
    orphan,    // a: a grant nobody wants any more is given back
    abandon,   // a: program b goes away
    evict,     // a: object b
    sync,      // a
    point,     // a: takes a recovery point
    rollback,  // a: wants the domain to go back
    punch,     // a: objects from b to x become zeros again; c: and all that follow
    ahead,     // a: objects from b to x are wanted soon
    tick,      // a
    time,      // x microseconds pass
    propose,
    prepare,  // a
    commit,   // a
    crash,    // a
    expel,    // a
    boot,     // a
    reset,    // a - b
    leave,    // a: shall leave
    drain,    // a: EV_DRAIN
    count_,
};

struct Move {
    MoveKind kind = MoveKind::time;
    u8 a = 0, b = 0, c = 0;
    u32 x = 0;
    u8 starve = 0;  ///< the engine finds no memory from this call of its allocator on, for this move
};

[[nodiscard]] std::string describe(const Move& move, const Setup& setup);

/// What was counted.
struct Counts {
    u64 events = 0, messages = 0, pages = 0, views = 0, commits = 0, recoveries = 0, lost_messages = 0;
    u64 holes = 0;
    u64 ahead_asked = 0, ahead_got = 0, ahead_skipped = 0, overtakers = 0;
    u64 crashes = 0, expulsions = 0, boots = 0, resets = 0, resets_wanted = 0, leaves = 0, duplicates = 0, starved = 0,
        pins = 0;
    u64 operations = 0, failed_operations = 0;
    u64 batches = 0, batch_objects = 0, direct = 0, forwards = 0, invalidations = 0, evictions = 0, copies_made = 0, lost = 0;
    u64 bits_lost = 0;
    u64 injections = 0, no_room = 0;
    u64 points = 0, points_failed = 0, rollbacks = 0;
};

/// All of a world but engines and edges; copied as a whole.
struct WorldState {
    u64 now = 1000;
    u64 next_life = 1;
    // The oracle.
    u64 epoch = 0;  ///< newest proposed
    std::vector<krg_dsm_member> members;
    bool wanted = true;  ///< a new view is due
    std::array<bool, nodes_max + 1> prepared{}, committed{}, doomed{}, leaving{}, drained{}, joining{};
    std::array<u64, nodes_max + 1> since{}, anchored{};  ///< anchored: epoch of its last recovery
    // The network.
    std::array<std::array<std::deque<std::shared_ptr<const Packet>>, nodes_max + 1>, nodes_max + 1> queue;
    std::array<std::array<u64, nodes_max + 1>, nodes_max + 1> carries{};  ///< messages of this epoch and later pass
    u32 crashes = 0, resets = 0, leaves = 0;
    /// Holes whose initiator died: homes may be at them until a view without it begins.
    struct Orphan {
        Objects objects;
        u64 epoch;
    };
    std::vector<Orphan> holes;
    /// Of a request that waits at its home: how many nodes got the page to write it since; -1: none waits.
    std::array<std::array<int, objects_max>, nodes_max + 1> overtaken;
    WorldState() { forget_overtaken(); }
    void forget_overtaken() {
        for (auto& row : overtaken) row.fill(-1);
    }
};

class World final : public EdgeWorld {
public:
    explicit World(const Setup& setup, Trace* trace = nullptr);

    /// Is it possible now?
    [[nodiscard]] bool enabled(const Move& move) const;
    /// Does it; what follows is checked. False: something is broken.
    bool apply(const Move& move);
    [[nodiscard]] const Broken& broken() const { return broken_; }
    void fail(std::string rule, std::string text);

    [[nodiscard]] const Setup& setup() const { return setup_; }
    [[nodiscard]] const WorldState& at() const { return s_; }
    [[nodiscard]] Edge& edge(NodeId node) { return *edge_[node]; }
    [[nodiscard]] const Edge& edge(NodeId node) const { return *edge_[node]; }
    [[nodiscard]] Checker& checker() { return checker_; }
    [[nodiscard]] bool member(NodeId node) const;
    /// May it die without taking the last member with it?
    [[nodiscard]] bool expendable(NodeId node) const;
    /// All members serve in the newest view, and nothing is on the way.
    [[nodiscard]] bool calm() const;
    [[nodiscard]] bool in_flight() const;
    [[nodiscard]] Counts counts() const;
    /// Engine memory does not fail, pages are not pinned any more, and every node has room.
    void heal();
    void hash(RunHash& h, bool time) const;

    struct Saved;
    [[nodiscard]] std::unique_ptr<Saved> save(u32 nodes) const;
    void restore(const Saved& saved);

    // EdgeWorld
    void send(NodeId from, NodeId to, std::shared_ptr<const Packet> packet) override;
    void reset_wanted(NodeId from, NodeId to, u16 reason) override;
    void prepared(NodeId node, u64 epoch) override;
    void drained(NodeId node) override;
    void recovered(NodeId node, u64 epoch) override;
    void answered(NodeId node, unsigned object, bool moved) override;
    [[nodiscard]] bool tracing() const override { return trace_ != nullptr; }
    void say(NodeId node, std::string line) override;

private:
    void perform(const Move& move);
    void propose();
    void end_of(NodeId node);
    void kill(NodeId node, bool over);
    void orphan_holes(bool all);
    [[nodiscard]] Objects range_of(const Move& move) const;
    [[nodiscard]] bool adjacent(const Move& move) const;
    void comes_home(NodeId from, const Packet& packet);
    [[nodiscard]] Objects holes() const;
    void remove(NodeId node);
    void boot(NodeId node);
    void reset(NodeId a, NodeId b);
    void drop(NodeId from, NodeId to);
    void commit(NodeId node);
    void count_copies();
    void add_stats(NodeId node);
    [[nodiscard]] bool proposable() const;

    Setup setup_;
    Trace* trace_;
    Checker checker_;
    std::vector<std::unique_ptr<Edge>> edge_;
    WorldState s_;
    Broken broken_;
    Counts counts_;
    unsigned able_ = 0;
};

struct World::Saved {
    WorldState world;
    Checker checker;
    Counts counts;
    struct Node {
        bool saved = false;
        EdgeState state;
        krg_dsm* engine;
        std::vector<u8> memory;
    };
    std::array<Node, nodes_max + 1> node;
};

}  // namespace krg::sim::dsm
