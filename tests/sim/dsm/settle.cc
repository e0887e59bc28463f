// SPDX-License-Identifier: GPL-2.0
//
// The end of a run: fair delivery until nothing is left to do, and what an idle cluster must look like. See drive.hh.
#include <algorithm>
#include <fmt/format.h>

#include "tests/sim/dsm/drive.hh"

namespace krg::sim::dsm {

namespace {

constexpr u64 settle_moves = 60000;
constexpr u64 settle_us = 60000000;

bool has_view(const World& world, NodeId n) { return world.edge(n).running() && world.member(n); }

std::string who_is_busy(const World& world) {
    for (NodeId n = 1; n <= world.setup().nodes; n++)
        if (world.edge(n).running())
            if (std::string busy = world.edge(n).busy(); !busy.empty()) return fmt::format("node {}: {}", n, busy);
    return "nobody waits";
}

struct Actual {
    u32 sharers = 0, retained = 0;
    NodeId writer = 0;
};

/// The entry at the home says what is.
void check_object(World& world, unsigned o) {
    const krg_dsm_object& object = world.setup().objects[o];
    Actual is;
    krg_dsm_copy entry{};
    NodeId home = 0;
    for (NodeId n = 1; n <= world.setup().nodes; n++) {
        if (!has_view(world, n)) continue;
        krg_dsm_copy copy{};
        krg_dsm_inspect(world.edge(n).engine(), &object, &copy);
        const bool present = world.edge(n).at().page[o].present;
        if (copy.state == KRG_DSM_F) world.fail("leak", fmt::format("idle, and node {} keeps object {} frozen", n, o));
        if (copy.staged != 0) world.fail("leak", fmt::format("idle, and node {} keeps a staged copy of object {}", n, o));
        if ((copy.mapped != 0) != present)
            world.fail("leak",
                       fmt::format("object {} at node {}: the engine says {}, the page cache {}", o, n,
                                   copy.mapped != 0 ? "mapped" : "not mapped", present ? "has it" : "does not have it"));
        is.sharers += copy.state == KRG_DSM_S ? 1 : 0;
        is.retained += copy.state == KRG_DSM_R ? 1 : 0;
        if (copy.state == KRG_DSM_X) is.writer = n;
        if (home == 0) home = copy.home;
        if (copy.home != home)
            world.fail("directory", fmt::format("nodes take {} and {} for the home of object {}", home, copy.home, o));
        if (copy.home == n) entry = copy;
        if (copy.queued != 0 || copy.transaction != 0)
            world.fail("leak", fmt::format("idle, and object {} has a transaction or {} requests in a queue at node {}", o,
                                           copy.queued, n));
    }
    // Version 0 is everywhere: nodes may be named as its keepers without having anything.
    if (world.checker().floor(o) == zeros) is.retained = entry.retained;
    if (entry.entry == 0 ? is.sharers + is.retained != 0 || is.writer != 0
                         : entry.sharers != is.sharers || entry.retained != is.retained ||
                               (entry.entry == 2 ? entry.writer : 0) != is.writer)
        world.fail("directory",
                   fmt::format("object {}: home n{} says {} with {} sharers, {} retained, writer n{}; there are {} sharers, {} "
                               "retained, writer n{}",
                               o, home,
                               entry.entry == 0   ? "nothing"
                               : entry.entry == 1 ? "shared"
                                                  : "exclusive",
                               entry.sharers, entry.retained, entry.entry == 2 ? entry.writer : 0, is.sharers, is.retained,
                               is.writer));
}

}  // namespace

void fair_moves(const World& world, std::vector<Move>& out) {
    const NodeId nodes = world.setup().nodes;
    const auto add = [&](MoveKind kind, unsigned a, unsigned b = 0) {
        Move m{kind, static_cast<u8>(a), static_cast<u8>(b)};
        if (world.enabled(m)) out.push_back(m);
    };
    for (NodeId a = 1; a <= nodes; a++) {
        for (NodeId b = 1; b <= nodes; b++)
            if (!world.at().queue[a][b].empty()) add(MoveKind::deliver, a, b);
        if (!world.edge(a).running()) continue;
        const EdgeState& s = world.edge(a).at();
        for (unsigned o = 0; o < world.setup().objects.size(); o++)
            if (s.edge[o] != 0) add(MoveKind::complete, a, o);
        for (unsigned p = 0; p < world.setup().programs; p++)
            if (s.program[p].phase == Program::Phase::granted) add(MoveKind::use, a, p);
        if (!s.orphan_grants.empty()) add(MoveKind::orphan, a);
        if (s.snapshot) add(MoveKind::snapshot, a);
        add(MoveKind::tick, a);
        add(MoveKind::prepare, a);
        add(MoveKind::commit, a);
        add(MoveKind::drain, a);
    }
    add(MoveKind::propose, 0);
}

bool settle(World& world, bool heal) {
    if (heal) world.heal();
    std::vector<Move> moves;
    const u64 end = world.at().now + settle_us;
    u64 turn = 0;
    for (u64 count = 0; count < settle_moves;) {
        moves.clear();
        fair_moves(world, moves);
        if (moves.empty()) {
            u64 next = never;
            for (NodeId n = 1; n <= world.setup().nodes; n++)
                if (world.edge(n).running()) next = std::min(next, world.edge(n).deadline());
            if (next == never) break;
            if (next > end) {
                world.fail("liveness", fmt::format("a timer far in the future keeps the cluster busy; {}", who_is_busy(world)));
                return false;
            }
            if (!world.apply({MoveKind::time, 0, 0, 0, static_cast<u32>(std::max<u64>(next - world.at().now, 1))}))
                return false;
            count++;
            continue;
        }
        // All that was possible at the beginning of a round has its turn, from another place in each round.
        turn++;
        for (std::size_t i = 0; i < moves.size(); i++) {
            const Move& m = moves[(i + turn) % moves.size()];
            if (!world.enabled(m)) continue;
            count++;
            if (!world.apply(m)) return false;
        }
    }
    moves.clear();
    fair_moves(world, moves);
    if (!moves.empty()) {
        world.fail("liveness", fmt::format("still at it after {} fair moves, next: {}; {}", settle_moves,
                                           describe(moves.front(), world.setup()), who_is_busy(world)));
        return false;
    }
    for (NodeId n = 1; n <= world.setup().nodes; n++)
        if (world.edge(n).running() && !world.edge(n).quiet())
            world.fail("liveness", fmt::format("nothing is on the way any more, and node {}: {}", n, world.edge(n).busy()));
    return !world.broken();
}

void check_idle(World& world) {
    // With fewer members than copies promised, degraded is the truth.
    u32 able = 0;
    for (const krg_dsm_member& m : world.at().members) able += m.draining != 0 ? 0 : 1;
    const bool enough = std::all_of(world.setup().objects.begin(), world.setup().objects.end(),
                                    [&](const krg_dsm_object& o) { return o.policy.replicas <= able; });
    for (NodeId n = 1; n <= world.setup().nodes; n++) {
        if (!has_view(world, n)) continue;
        krg_dsm_stats stats{};
        krg_dsm_get_stats(world.edge(n).engine(), &stats);
        if (stats.recovering != 0) world.fail("liveness", fmt::format("node {} never recovered", n));
        krg_dsm_point point{};
        krg_dsm_get_point(world.edge(n).engine(), &point);
        if (point.lacking != 0 || point.under_way != 0 || point.rolling != 0 || point.copies_next != 0)
            world.fail("liveness",
                       fmt::format("idle, and node {}: {} objects of the recovery point lack copies, {}, {} copies of "
                                   "another",
                                   n, point.lacking,
                                   point.rolling != 0     ? "it goes back"
                                   : point.under_way != 0 ? "one is under way"
                                                          : "none is under way",
                                   point.copies_next));
        if (stats.degraded != 0 && enough)
            world.fail("liveness", fmt::format("idle, and node {} calls {} entries degraded", n, stats.degraded));
    }
    for (unsigned o = 0; o < world.setup().objects.size(); o++) check_object(world, o);
    if (!world.broken()) world.checker().judge_repaired();
    if (world.checker().broken()) world.fail(world.checker().broken().rule, world.checker().broken().text);
}

}  // namespace krg::sim::dsm
