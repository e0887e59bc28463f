// SPDX-License-Identifier: GPL-2.0
//
// Depth-first search over moves, with a set of hashes of states already seen. See exhaustive.hh.
#include "tests/sim/dsm/exhaustive.hh"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <ctime>
#include <fmt/format.h>
#include <unistd.h>

namespace krg::sim::dsm {

namespace {

/// Hashes seen, open addressing; 0 is free.
class Seen {
public:
    bool insert(u64 hash) {
        hash |= hash == 0 ? 1 : 0;
        if (2 * (count_ + 1) > slots_.size()) grow();
        if (!put(slots_, hash)) return false;
        count_++;
        return true;
    }
    [[nodiscard]] u64 count() const { return count_; }

private:
    static bool put(std::vector<u64>& slots, u64 hash) {
        std::size_t at = hash & (slots.size() - 1);
        while (slots[at] != 0) {
            if (slots[at] == hash) return false;
            at = (at + 1) & (slots.size() - 1);
        }
        slots[at] = hash;
        return true;
    }
    void grow() {
        std::vector<u64> bigger(slots_.size() * 2, 0);
        for (u64 hash : slots_)
            if (hash != 0) put(bigger, hash);
        slots_.swap(bigger);
    }
    std::vector<u64> slots_ = std::vector<u64>(1 << 16, 0);
    u64 count_ = 0;
};

struct Scenario {
    const char* name;
    const char* what;
    unsigned objects;
    u8 replicas;  ///< 1: volatile
    unsigned crashes;
    std::vector<std::vector<Setup::Step>> script;  ///< of the program of n1, n2, n3, as many as there are
    unsigned resets = 0;                           ///< of the connection of n1 and n2: a view change in which nobody is lost
    unsigned point_copies = 0;                     ///< a checkpointed domain
    unsigned boots = 0;                            ///< of nodes that crashed; then all who knew anything may die, too
};

constexpr Op R = Op::read, U = Op::update, P = Op::punch, A = Op::ahead, W = Op::ahead_write, E = Op::evict, Y = Op::sync,
             C = Op::point, B = Op::rollback;

const std::vector<Scenario>& scenarios() {
    static const std::vector<Scenario> all = {
        {"volatile",
         "two operations a node on one volatile object, no crash",
         1,
         1,
         0,
         {{{U, 0}, {R, 0}}, {{U, 0}, {R, 0}}, {{R, 0}}}},
        {"durable", "the same with k = 2", 1, 2, 0, {{{U, 0}, {R, 0}}, {{U, 0}}, {{R, 0}}}},
        {"volatile-crash", "a write and two reads, any node may crash at any moment", 1, 1, 1, {{{U, 0}}, {{R, 0}}, {{R, 0}}}},
        {"durable-crash", "the same with k = 2", 1, 2, 1, {{{U, 0}}, {{R, 0}}, {}}},
        {"hand-over-crash", "two writers of one object, k = 2, any node may crash", 1, 2, 1, {{{U, 0}}, {{U, 0}}, {}}},
        {"upgrade-crash",
         "a writer, two readers, one of which writes then, k = 2, any node may crash",
         1,
         2,
         1,
         {{{U, 0}}, {{R, 0}, {U, 0}}, {{R, 0}}}},
        {"cut-crash",
         "one writer of two objects, k = 2, a reader, any node may crash",
         2,
         2,
         1,
         {{{U, 0}, {U, 1}}, {{R, 1}}, {}}},
        {"backup-moves-crash",
         "a writer that syncs twice, k = 2, both others give up what they keep, any node may crash",
         1,
         2,
         1,
         {{{U, 0}, {Y, 0}, {U, 0}, {Y, 0}}, {{E, 0}}, {{E, 0}}}},
        {"hole", "a writer, a hole by another node, a reader, k = 2, no crash", 1, 2, 0, {{{U, 0}}, {{P, 0}}, {{R, 0}}}},
        {"hole-crash", "a writer, a hole by another node, k = 2, any node may crash", 1, 2, 1, {{{U, 0}}, {{P, 0}}, {}}},
        {"ahead",
         "a run of two volatile objects is asked for ahead, while one of them is written, and read",
         2,
         1,
         0,
         {{{U, 1}}, {{A, 0}, {R, 1}}, {{R, 0}}}},
        {"ahead-durable", "the same with k = 2", 2, 2, 0, {{{U, 1}}, {{A, 0}, {R, 1}}, {}}},
        {"ahead-crash", "a run of two objects ahead, k = 2, any node may crash", 2, 2, 1, {{{U, 1}}, {{A, 0}}, {}}},
        {"run",
         "a run of two volatile objects is asked for to be written, while one of them is, and one of them is read",
         2,
         1,
         0,
         {{{U, 1}}, {{W, 0}, {U, 0}}, {{R, 0}}}},
        {"run-durable", "the same with k = 2, two nodes", 2, 2, 0, {{{U, 1}}, {{W, 0}, {U, 0}}}},
        {"run-crash",
         "a run to be written and a write, volatile, any node may crash",
         2,
         1,
         1,
         {{{R, 0}}, {{W, 0}, {U, 0}}, {}}},
        {"run-durable-crash",
         "a run to be written, k = 2, a read, any node may crash",
         2,
         2,
         1,
         {{{R, 0}}, {{W, 0}, {U, 0}}, {}}},
        {"hole-volatile-crash", "the same, volatile, the hole's node reads", 1, 1, 1, {{{U, 0}}, {{P, 0}, {R, 0}}, {}}},
        {"volatile-reset", "a writer and a reader, a view change without a loss", 1, 1, 0, {{{U, 0}}, {{R, 0}}, {}}, 1},
        {"durable-reset",
         "two writers on two nodes, k = 2, a view change without a loss",
         1,
         2,
         0,
         {{{U, 0}, {R, 0}}, {{U, 0}}},
         1},
        {"evict-reset",
         "a writer that syncs and a node that gives up what it keeps, k = 2, a view change without a loss",
         1,
         2,
         0,
         {{{U, 0}, {Y, 0}}, {{E, 0}}},
         1},
        {"reset-crash",
         "two writers on two nodes, volatile, a view change without a loss, any node may crash",
         1,
         1,
         1,
         {{{U, 0}}, {{U, 0}, {R, 0}}},
         1},
        {"newcomer-alone",
         "a write and two reads on two nodes, volatile, both may crash, and one comes back: it may be all that is left",
         1,
         1,
         2,
         {{{U, 0}}, {{R, 0}}},
         0,
         0,
         1},
        {"point",
         "a write, a recovery point by another node, a write, and back to the point, no crash",
         1,
         2,
         0,
         {{{U, 0}, {U, 0}}, {{C, 0}, {B, 0}}, {}},
         0,
         2},
        {"point-crash",
         "a write, a recovery point with two copies by the writer, a write, any node may crash",
         1,
         2,
         1,
         {{{U, 0}, {C, 0}, {U, 0}}, {}, {}},
         0,
         2},
        {"points-crash",
         "two recovery points with two copies, a write between them, any node may crash",
         1,
         2,
         1,
         {{{U, 0}, {C, 0}, {U, 0}, {C, 0}}, {}, {}},
         0,
         2},
    };
    return all;
}

Setup setup_of(const Scenario& sc, u32 overlook) {
    Setup s;
    s.overlook = overlook;
    s.nodes = static_cast<u16>(sc.script.size());
    s.programs = 1;
    s.scripted = s.arenas = true;
    s.params.retry_us = 100;
    s.params.attempts = 4;
    s.params.parked_max = 1000;
    s.params.ahead_max = 8;
    s.point_copies = sc.point_copies;
    s.all_may_die = sc.boots != 0;
    for (unsigned i = 0; i < sc.objects; i++) {
        krg_dsm_object o{};
        o.container = 1;
        o.index = i;
        o.policy.cls = sc.point_copies != 0 ? KRG_DSM_CHECKPOINTED : sc.replicas == 1 ? KRG_DSM_VOLATILE : KRG_DSM_DURABLE;
        o.policy.replicas = sc.replicas;
        s.objects.push_back(o);
    }
    for (std::size_t n = 0; n < sc.script.size(); n++) s.script[n + 1][0] = sc.script[n];
    return s;
}

class Explorer {
public:
    Explorer(const ExhaustiveOptions& options, const Scenario& scenario, std::clock_t end)
        : options_(options),
          scenario_(scenario),
          setup_(setup_of(scenario, options.overlook)),
          world_(setup_),
          end_(end) {}
    [[nodiscard]] int run(bool print);
    [[nodiscard]] const Broken& broken() const { return broken_; }

private:
    [[nodiscard]] Move step_of(NodeId node) const;
    void search();
    void branch(const Move& m);
    void leaf();
    [[nodiscard]] bool out_of_budget();
    [[nodiscard]] u64 hash() const {
        RunHash h;
        world_.hash(h, false);
        return h.value();
    }
    void print_path();

    const ExhaustiveOptions& options_;
    const Scenario& scenario_;
    Setup setup_;
    World world_;
    std::clock_t end_;  ///< of the processor time of this process
    Seen seen_;
    std::vector<Move> path_, bad_;
    Broken broken_;
    u64 transitions_ = 0, merged_ = 0, leaves_ = 0, deepest_ = 0;
    bool truncated_ = false;
};

bool Explorer::out_of_budget() {
    if (!truncated_ && (transitions_ & 1023) == 0 && std::clock() > end_) truncated_ = true;
    if (seen_.count() >= options_.max_states) truncated_ = true;
    return truncated_;
}

/// Does @p m, goes on from there, and takes it back.
void Explorer::branch(const Move& m) {
    if (broken_ || out_of_budget()) return;
    // Only one node's engine changes with a move, but for a crash and for the end of who was expelled.
    u32 touched = m.kind == MoveKind::deliver ? 1U << m.b : 1U << m.a;
    if (m.kind == MoveKind::crash || m.kind == MoveKind::boot || m.kind == MoveKind::commit) touched = ~0U;
    if (m.kind == MoveKind::time || m.kind == MoveKind::propose || m.kind == MoveKind::reset) touched = 0;
    const auto saved = world_.save(touched);
    path_.push_back(m);
    deepest_ = std::max<u64>(deepest_, path_.size());
    transitions_++;
    if (!world_.apply(m)) {
        broken_ = world_.broken();
        bad_ = path_;
    } else if (seen_.insert(hash())) {
        search();
    } else {
        merged_++;
    }
    path_.pop_back();
    world_.restore(*saved);
}

/// What the program of @p node does next, once it has its last answer.
Move Explorer::step_of(NodeId node) const {
    const EdgeState& s = world_.edge(node).at();
    const auto& script = setup_.script[node][0];
    if (s.program[0].script_at >= script.size() || !s.syncs.empty() || !s.evictions.empty() || s.point != 0 || s.rollback != 0)
        return {};
    const auto [op, object] = script[s.program[0].script_at];
    const auto n = static_cast<u8>(node);
    switch (op) {
    case Op::punch: return {MoveKind::punch, n, object, 0, object};
    case Op::ahead: return {MoveKind::ahead, n, object, 0, object + 1U};
    case Op::ahead_write: return {MoveKind::ahead, n, object, 1, object + 1U};
    case Op::evict: return {MoveKind::evict, n, object};
    case Op::sync: return {MoveKind::sync, n};
    case Op::point: return {MoveKind::point, n};
    case Op::rollback: return {MoveKind::rollback, n};
    default: return {MoveKind::begin, n, 0, static_cast<u8>(op), object};
    }
}

void Explorer::search() {
    std::vector<Move> moves;
    fair_moves(world_, moves);
    for (NodeId n = 1; n <= setup_.nodes; n++)
        if (world_.edge(n).running())
            if (const Move m = step_of(n); m.a != 0 && world_.enabled(m)) moves.push_back(m);
    const bool stuck = moves.empty();
    if (world_.at().crashes < scenario_.crashes)
        for (NodeId n = 1; n <= setup_.nodes; n++)
            if (const Move m{MoveKind::crash, static_cast<u8>(n)}; world_.enabled(m)) moves.push_back(m);
    if (world_.at().next_life <= setup_.nodes + scenario_.boots)
        for (NodeId n = 1; n <= setup_.nodes; n++)
            if (const Move m{MoveKind::boot, static_cast<u8>(n)}; world_.enabled(m)) moves.push_back(m);
    if (const Move m{MoveKind::reset, 1, 2}; world_.at().resets < scenario_.resets && world_.enabled(m)) moves.push_back(m);
    for (const Move& m : moves) branch(m);
    if (!stuck || broken_ || truncated_) return;
    u64 next = never;
    for (NodeId n = 1; n <= setup_.nodes; n++)
        if (world_.edge(n).running()) next = std::min(next, world_.edge(n).deadline());
    if (next == never)
        leaf();
    else
        branch({MoveKind::time, 0, 0, 0, static_cast<u32>(std::max<u64>(next - world_.at().now, 1))});
}

/// Nothing can happen any more: everybody has an answer, and nothing is left over.
void Explorer::leaf() {
    leaves_++;
    for (NodeId n = 1; n <= setup_.nodes; n++)
        if (world_.edge(n).running() && !world_.edge(n).quiet())
            world_.fail("liveness", fmt::format("nothing is on the way any more, and node {}: {}", n, world_.edge(n).busy()));
    check_idle(world_);
    if (!world_.broken()) return;
    broken_ = world_.broken();
    bad_ = path_;
}

/// The order of events that breaks the rule, replayed with its trace.
void Explorer::print_path() {
    Setup setup = setup_;
    setup.arenas = false;
    Trace trace;
    World again(setup, &trace);
    std::vector<Move> forming;
    settle(again);
    for (const Move& m : bad_)
        if (!again.apply(m)) break;
    for (const auto& line : trace.lines())
        fmt::print("{:>9} {:<3} {}\n", line.at, line.node != 0 ? fmt::format("n{}", line.node) : "", line.text);
}

int Explorer::run(bool print) {
    const auto began = std::chrono::steady_clock::now();
    if (!settle(world_)) {
        broken_ = world_.broken();
    } else {
        seen_.insert(hash());
        search();
    }
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count();
    if (broken_ && print) {
        fmt::print("FAILED {}: {}\nthe order of events:\n", broken_.rule, broken_.text);
        print_path();
    }
    if (print)
        fmt::print(
            "exhaustive {}: {}: {} states, {} transitions ({} met a known state), {} ends, {} events deep, {}.{} s, {}, {} "
            "violations\n",
            scenario_.name, scenario_.what, seen_.count(), transitions_, merged_, leaves_, deepest_, took / 1000,
            took % 1000 / 100,
            truncated_ ? "TRUNCATED"
            : broken_  ? "stopped"
                       : "complete",
            broken_ ? 1 : 0);
    std::fflush(stdout);
    if (broken_) return broken_.rule == "liveness" || broken_.rule == "leak" ? 3 : 1;
    return truncated_ ? 1 : 0;
}

}  // namespace

void add_options(CLI::App& app, ExhaustiveOptions& options) {
    app.add_option("--only", options.only, "only this world");
    app.add_flag("--list", options.list, "print the worlds and stop");
    app.add_option("--overlook", options.overlook, "copies fewer than promised, to look past what the durability rule finds");
    app.add_option("--max-states", options.max_states, "give a world up after so many");
    app.add_option("--max-seconds", options.seconds, "give up after so many seconds of the processor");
}

namespace {
std::clock_t end_after(u64 seconds) { return std::clock() + static_cast<std::clock_t>(seconds) * CLOCKS_PER_SEC; }
}  // namespace

std::vector<std::string> small_worlds() {
    std::vector<std::string> names;
    for (const Scenario& scenario : scenarios()) names.emplace_back(scenario.name);
    return names;
}

Broken explore_quietly(const std::string& name, u64 max_seconds) {
    ExhaustiveOptions options;
    for (const Scenario& scenario : scenarios()) {
        if (name != scenario.name) continue;
        Explorer explorer(options, scenario, end_after(max_seconds));
        (void)explorer.run(false);
        return explorer.broken();
    }
    return {};
}

int explore(const ExhaustiveOptions& options) {
    const std::clock_t end = end_after(options.seconds);
    int status = 0;
    bool any = false;
    for (const Scenario& scenario : scenarios()) {
        if (!options.only.empty() && options.only != scenario.name) continue;
        any = true;
        if (options.list) {
            fmt::print("{:<18}{}\n", scenario.name, scenario.what);
            continue;
        }
        Explorer explorer(options, scenario, end);
        if (const int now = explorer.run(true); now != 0 && status == 0) status = now;
    }
    if (!any) {
        fmt::print(stderr, "krg-sim dsm exhaustive: no such world (--list prints them)\n");
        return 2;
    }
    return status;
}

}  // namespace krg::sim::dsm
