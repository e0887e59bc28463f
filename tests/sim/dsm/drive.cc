// SPDX-License-Identifier: GPL-2.0
//
// Moves from a seed. See drive.hh.
#include "tests/sim/dsm/drive.hh"

#include <algorithm>
#include <fmt/format.h>

#include "tests/sim/world/rng.hh"

namespace krg::sim::dsm {

namespace {

/// Picks moves by weight; its state is the seed's.
class Driver {
public:
    Driver(World& world, u64 seed)
        : world_(world),
          setup_(world.setup()),
          rng_(derive(seed, "moves")),
          runs_(derive(seed, "runs to be written")) {
        for (auto& row : slow_)
            for (bool& slow : row) slow = setup_.slow_pair != 0 && rng_.chance(1, setup_.slow_pair);
    }
    [[nodiscard]] Move next();

private:
    struct Choice {
        Move move;
        u32 weight;
    };
    void add(u32 weight, MoveKind kind, unsigned a = 0, unsigned b = 0) {
        if (weight == 0) return;
        const Move m{kind, static_cast<u8>(a), static_cast<u8>(b)};
        Move probe = m;
        probe.x = kind == MoveKind::punch || kind == MoveKind::ahead ? b : 1;
        if (kind == MoveKind::begin) probe.x = 0;
        if (!world_.enabled(probe)) return;
        choices_.push_back({m, weight});
        total_ += weight;
    }
    void node_choices(NodeId n);
    void faults(NodeId n);
    void fill(Move& m);

    World& world_;
    const Setup& setup_;
    Rng rng_;
    Rng runs_;  ///< to be read, or to be written: of its own, so that older seeds still begin as they did
    bool slow_[nodes_max + 1][nodes_max + 1] = {};
    std::vector<Choice> choices_;
    u64 total_ = 0;
};

void Driver::node_choices(NodeId n) {
    const u32 unit = 16;
    for (NodeId to = 1; to <= setup_.nodes; to++) {
        if (world_.at().queue[n][to].empty()) continue;
        const u32 weight = slow_[n][to] ? 1 : setup_.deliver_weight * unit;
        add(weight, MoveKind::deliver, n, to);
        add(static_cast<u32>(u64{weight} * setup_.duplicate_ppm / 1000000), MoveKind::duplicate, n, to);
    }
    if (!world_.edge(n).running()) return;
    const EdgeState& s = world_.edge(n).at();
    for (unsigned o = 0; o < setup_.objects.size(); o++)
        if (s.edge[o] != 0) add(setup_.edge_weight * unit, MoveKind::complete, n, o);
    for (unsigned p = 0; p < setup_.programs; p++) {
        if (s.program[p].phase == Program::Phase::granted) add(setup_.edge_weight * unit, MoveKind::use, n, p);
        if (s.program[p].phase == Program::Phase::idle) add(setup_.program_weight * unit / 4, MoveKind::begin, n, p);
        if (s.program[p].phase == Program::Phase::waiting) add(setup_.abandon_weight, MoveKind::abandon, n, p);
    }
    add(setup_.edge_weight * unit, MoveKind::orphan, n);
    if (s.snapshot) add(setup_.edge_weight * unit, MoveKind::snapshot, n);
    if (s.snapshot && setup_.no_memory_ppm != 0) add(1, MoveKind::snapshot_fail, n);
    add(setup_.time_weight * unit, MoveKind::tick, n);
    add(setup_.view_weight * unit, MoveKind::prepare, n);
    add(setup_.view_weight * unit, MoveKind::commit, n);
    add(setup_.view_weight * unit, MoveKind::drain, n);
    if (setup_.evict_weight != 0)
        add(setup_.evict_weight, MoveKind::evict, n, static_cast<unsigned>(rng_.below(setup_.objects.size())));
    add(setup_.sync_weight, MoveKind::sync, n);
    add(setup_.point_weight, MoveKind::point, n);
    add(setup_.rollback_weight, MoveKind::rollback, n);
    if (setup_.punch_weight != 0)
        add(setup_.punch_weight, MoveKind::punch, n, static_cast<unsigned>(rng_.below(setup_.objects.size())));
    if (setup_.ahead_weight != 0)
        add(setup_.ahead_weight, MoveKind::ahead, n, static_cast<unsigned>(rng_.below(setup_.objects.size())));
}

void Driver::faults(NodeId n) {
    const WorldState& w = world_.at();
    // The budget is spent evenly over the run.
    const u32 every = std::max<u32>(1, setup_.moves / 64);
    if (rng_.below(every) != 0) return;
    if (w.crashes < setup_.crashes && (!setup_.crashes_after_point || world_.checker().has_point())) {
        add(24, MoveKind::crash, n);
        add(12, MoveKind::expel, n);
    }
    if (w.leaves < setup_.drains) add(24, MoveKind::leave, n);
    if (w.resets < setup_.resets) add(24, MoveKind::reset, n, static_cast<unsigned>(1 + rng_.below(setup_.nodes)));
    add(24, MoveKind::boot, n);
}

void Driver::fill(Move& m) {
    switch (m.kind) {
    case MoveKind::begin: {
        const u64 kind = rng_.below(100);
        m.c = static_cast<u8>(kind < setup_.writes_pct                        ? Op::write
                              : kind < setup_.writes_pct + setup_.updates_pct ? Op::update
                                                                              : Op::read);
        m.x = rng_.below(100) < setup_.hot_pct ? 0 : static_cast<u32>(rng_.below(setup_.objects.size()));
        if (!world_.enabled(m)) m.c = static_cast<u8>(Op::read);  // nobody writes where a hole is made
        break;
    }
    case MoveKind::complete:
        if (rng_.below(100) < setup_.pinned_pct) {
            Move pinned = m;
            pinned.kind = MoveKind::refuse;
            if (world_.enabled(pinned)) m = pinned;
        } else if (setup_.edge_memory_pct != 0 && rng_.below(100) < setup_.edge_memory_pct) {
            Move failed = m;
            failed.kind = MoveKind::refuse;
            failed.c = 1;
            if (world_.enabled(failed)) m = failed;
        }
        break;
    case MoveKind::punch: {
        Move wider = m;
        wider.x = static_cast<u32>(rng_.below(setup_.objects.size()));
        wider.c = rng_.chance(1, 4) ? 1 : 0;
        m.x = m.b;
        if (world_.enabled(wider)) m = wider;
        break;
    }
    case MoveKind::ahead: {
        Move more = m;
        for (m.x = more.x = m.b; world_.enabled(more); more.x++) m.x = more.x;  // as far as it goes
        m.c = runs_.chance(1, 2) ? 1 : 0;
        break;
    }
    case MoveKind::evict: m.c = setup_.memory_pages != 0 && rng_.chance(1, 3) ? 1 : 0; break;
    case MoveKind::duplicate: m.x = static_cast<u32>(rng_.below(4)); break;
    case MoveKind::time: m.x = static_cast<u32>(1 + rng_.below(setup_.time_step)); break;
    default: break;
    }
    if (setup_.no_memory_ppm != 0 && m.kind != MoveKind::boot && rng_.below(1000000) < setup_.no_memory_ppm)
        m.starve = static_cast<u8>(1 + rng_.below(6));
}

Move Driver::next() {
    choices_.clear();
    total_ = 0;
    for (NodeId n = 1; n <= setup_.nodes; n++) {
        node_choices(n);
        faults(n);
    }
    add(setup_.view_weight * 16, MoveKind::propose);
    add(setup_.time_weight * 16, MoveKind::time);
    u64 at = rng_.below(total_);
    for (const Choice& c : choices_) {
        if (at < c.weight) {
            Move m = c.move;
            fill(m);
            return m;
        }
        at -= c.weight;
    }
    return {};
}

/// After the faults: settle, look at everything, leave nothing behind.
void finish(World& world) {
    if (world.broken() || !settle(world)) return;
    check_idle(world);
    if (world.broken()) return;
    // Every member reads every object: what was lost must say so, what was seen must be there.
    for (NodeId n = 1; n <= world.setup().nodes; n++) {
        if (!world.edge(n).running() || !world.member(n) || world.edge(n).at().draining) continue;
        for (unsigned o = 0; o < world.setup().objects.size(); o++)
            if (!world.apply({MoveKind::begin, static_cast<u8>(n), 0, static_cast<u8>(Op::read), o}) || !settle(world)) return;
    }
    check_idle(world);
}

RunOutcome close(World& world) {
    finish(world);
    RunOutcome out;
    out.counts = world.counts();
    RunHash h;
    world.hash(h, true);
    out.hash = h.value();
    out.virtual_us = world.at().now;
    // Every handle and every byte comes back.
    for (NodeId n = 1; n <= world.setup().nodes && !world.broken(); n++)
        if (world.edge(n).running()) {
            world.edge(n).stop(world.at().now);
            if (world.edge(n).broken()) world.fail("leak", world.edge(n).broken().text);
        }
    out.broken = world.broken();
    return out;
}

}  // namespace

RunOutcome run_seed(const Setup& setup, Trace* trace) {
    World world(setup, trace);
    Driver driver(world, setup.seed);
    std::vector<Move> moves;
    for (u32 i = 0; i < setup.moves && !world.broken(); i++) {
        const Move m = driver.next();
        moves.push_back(m);
        world.apply(m);
    }
    RunOutcome out = close(world);
    out.moves = std::move(moves);
    return out;
}

RunOutcome run_moves(const Setup& setup, const std::vector<Move>& moves, Trace* trace) {
    World world(setup, trace);
    std::vector<Move> done;
    for (const Move& m : moves) {
        if (world.broken()) break;
        if (!world.enabled(m)) continue;
        done.push_back(m);
        world.apply(m);
    }
    RunOutcome out = close(world);
    out.moves = std::move(done);
    return out;
}

std::vector<Move> shorten(const Setup& setup, std::vector<Move> moves, const std::string& rule, u64 budget) {
    const auto breaks = [&](const std::vector<Move>& tried, std::vector<Move>& kept) {
        if (budget == 0) return false;
        budget--;
        RunOutcome out = run_moves(setup, tried);
        if (out.broken.rule != rule) return false;
        kept = std::move(out.moves);
        return true;
    };
    std::vector<Move> best;
    if (!breaks(moves, best)) return moves;
    // Leave out ever smaller pieces, last ones first.
    for (std::size_t piece = std::max<std::size_t>(best.size() / 2, 1); budget != 0;) {
        bool shorter = false;
        for (std::size_t end = best.size(); end > 0 && budget != 0;) {
            const std::size_t begin = end > piece ? end - piece : 0;
            std::vector<Move> tried(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(begin));
            tried.insert(tried.end(), best.begin() + static_cast<std::ptrdiff_t>(end), best.end());
            if (breaks(tried, best)) {
                shorter = true;
                end = std::min(begin, best.size());
            } else {
                end = begin;
            }
        }
        if (piece == 1 && !shorter) break;
        piece = std::max<std::size_t>(piece / 2, 1);
    }
    return best;
}

}  // namespace krg::sim::dsm
