// SPDX-License-Identifier: GPL-2.0
// A handful of membership engines in one address space: virtual time, ordered
// connections that break and come back, crashes, cuts, a witness. After every
// step it checks that no two nodes contradict each other, so a test only has to
// say what should have come out. The simulator (tests/sim) is the place for
// random faults and drifting clocks; this is for scenes that read as sentences.
#pragma once

#include "kernel/core/membership.h"

#include <gtest/gtest.h>

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

namespace krg::test {

using Ids = std::vector<int>;
using Bytes = std::vector<u8>;

/// What the tests call the first bytes of a message (message.hh): the type's place and values.
enum Type : u8 {
    Renew = 1,
    JoinReq,
    JoinWait,
    Refuse,
    NotMember,
    Behind,
    Request,
    P1a,
    P1b,
    P2a,
    P2b,
    Nack,
    Decide,
    WitnessNew
};

struct Seen {
    u64 at;
    int node;
    krg_mbr_action act;
};

class World {
public:
    struct Options {
        int max_nodes = 16;
        bool witness = false;
        u64 reset_after = 600;     // a cut connection breaks after so long
        u64 reconnect_after = 50;  // and is back so long after the heal
    };
    explicit World(Options options);
    World() : World(Options()) {}

    // What happens to nodes.
    void create(int node);
    void join(int node, u64 give_up_after = 0);
    void form(const Ids& nodes);  // create the first, join the others, wait
    void crash(int node);
    void start(int node);  // a fresh incarnation, connected to everybody it reaches
    void pause(int node) { nodes_[node].paused = true; }
    void resume(int node);
    void leave(int node);
    void evict(int by, int node);
    void recover(int node);
    void event(int node, u32 type, int about = 0, u64 arg = 0);
    void deliver(int from, u64 incarnation, int to, const Bytes& data);  // at once

    // What happens between them.
    void cut(int a, int b);
    void cut_one_way(int from, int to, bool breaks = true);
    void cut(const Ids& side, const Ids& other);
    void heal(int a, int b);
    void heal();
    void reset(int a, int b);  // the connection breaks and comes back
    void cut_witness(int node, bool cut = true) { nodes_[node].sees_witness = !cut; }

    void run(u64 ms);
    /// Runs until @condition holds, at most @ms; was it reached?
    bool until(u64 ms, const std::function<bool()>& condition);

    // What is.
    u64 now() const { return now_; }
    krg_mbr* engine(int node) { return nodes_[node].engine; }
    u64 clock(int node) const { return now_ + nodes_.at(node).offset; }
    enum krg_mbr_state state(int node) { return krg_mbr_state(engine(node)); }
    u64 incarnation(int node) const { return nodes_.at(node).config.incarnation; }
    u64 epoch(int node);
    Ids members(int node);
    bool serving(int node);  // in true time, whatever the engine was last told
    krg_mbr_stats stats(int node);
    /// All of @nodes serve in the same view of exactly @nodes.
    bool agree(const Ids& nodes);
    bool agreed_within(u64 ms, const Ids& nodes) {
        return until(ms, [&] { return agree(nodes); });
    }

    const std::vector<Seen>& seen() const { return seen_; }
    int count(int node, u32 action) const;
    const Seen* last(int node, u32 action) const;
    std::string story() const;

    // Knobs.
    std::function<bool(int from, int to, const Bytes&)> drop;     // true: lose this message
    std::function<void(int from, int to, const Bytes&)> on_send;  // sees every message
    std::map<int, bool> hold_prepared, hold_drained;              // the subscribers of that node do not answer
    std::function<void(krg_mbr_config&)> configure;               // before a node starts
    Bytes witness_file;
    Options options;

private:
    struct Node {
        krg_mbr_config config{};
        std::unique_ptr<Bytes> memory;
        krg_mbr* engine = nullptr;
        bool alive = false, paused = false, sees_witness = true;
        u64 offset = 0, lives = 0;
        std::vector<std::pair<u64, krg_mbr_event>> backlog;
        std::vector<Bytes> backlog_data;
    };
    struct Pending {
        u64 at, order;
        std::function<void()> what;
        bool operator>(const Pending& o) const { return std::tie(at, order) > std::tie(o.at, o.order); }
    };
    void after(u64 ms, std::function<void()> what);
    void step(int node, const krg_mbr_event& ev);
    void actions(int node);
    void send(int from, const krg_mbr_action& act);
    void witness(int node, const Bytes& message);
    void connect(int a, int b);
    void disconnect(int a, int b);
    bool passes(int from, int to) const { return !cut_.count({from, to}); }
    void check();
    static std::pair<int, int> pair(int a, int b) { return {std::min(a, b), std::max(a, b)}; }

    u64 now_ = 1000, order_ = 0;
    std::map<int, Node> nodes_;
    std::set<std::pair<int, int>> cut_;
    std::map<std::pair<int, int>, u64> connection_;  // generation of the connection that is up
    u64 generations_ = 0;
    std::priority_queue<Pending, std::vector<Pending>, std::greater<>> pending_;
    std::vector<Seen> seen_;
    std::map<u64, std::vector<std::pair<int, u64>>> decided_;  // epoch -> members with incarnations
};

}  // namespace krg::test
