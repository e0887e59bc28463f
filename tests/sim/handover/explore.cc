// SPDX-License-Identifier: GPL-2.0
//
// Seeds and depth-first search. See explore.hh.
#include "tests/sim/handover/explore.hh"

#include <fmt/format.h>
#include <unordered_set>

#include "tests/sim/world/rng.hh"

namespace krg::sim::handover {

namespace {

constexpr std::size_t most_moves = 5000;  // of a run; they have some fifty

bool is_fault(const World& world, const Move& m) {
    switch (m.kind) {
    case MoveKind::crash:
    case MoveKind::expel:
    case MoveKind::lose:
    case MoveKind::give_up:
    case MoveKind::helper:
    case MoveKind::end: return true;
    default: return m.variant != 0 && !world.describe(m).empty();
    }
}

class Search {
public:
    explicit Search(u64 most) : most_(most) {}

    void from(const World& world) {
        if (seen_.size() >= most_) out_.complete = false;
        if (!out_.rule.empty() || !out_.complete) return;
        World end = world;
        if (!end.check_end()) return broken(end);
        const std::vector<Move> moves = world.moves();
        if (moves.empty()) out_.ends++;
        for (const Move& m : moves) {
            World next = world;
            path_.push_back(m);
            out_.transitions++;
            out_.deepest = std::max<u64>(out_.deepest, path_.size());
            if (!next.apply(m))
                broken(next);
            else if (seen_.insert(next.hash()).second)
                from(next);
            path_.pop_back();
            if (!out_.rule.empty() || !out_.complete) return;
        }
    }

    Outcome result() {
        out_.states = seen_.size();
        return out_;
    }

private:
    void broken(const World& world) {
        out_.rule = world.rule();
        out_.text = world.text();
        out_.path = path_;
    }

    u64 most_;
    std::unordered_set<u64> seen_;
    std::vector<Move> path_;
    Outcome out_;
};

}  // namespace

const std::vector<Setup>& small_worlds() {
    static const std::vector<Setup> all = {
        {.name = "calm", .what = "one process, nothing goes wrong, it may end", .ends = 1, .early = 1},
        {.name = "crash", .what = "any node may crash at any step", .crashes = 1, .ends = 1, .early = 1},
        {.name = "expel", .what = "any node may be expelled at any step", .expels = 1, .ends = 1, .early = 1},
        {.name = "network",
         .what = "a message or its answer is lost, one comes twice, one is not waited for",
         .losses = 1,
         .repeats = 1,
         .timeouts = 1,
         .ends = 1,
         .early = 1},
        {.name = "directory", .what = "three errors of the directory", .errors = 3, .early = 1},
        {.name = "crash-directory", .what = "an error of the directory and a crash", .crashes = 1, .errors = 1, .early = 1},
        {.name = "crash-network",
         .what = "a crash and trouble with messages",
         .crashes = 1,
         .losses = 1,
         .timeouts = 1,
         .early = 1},
        {.name = "died",
         .what = "what was built dies, a crash, an answer is lost",
         .crashes = 1,
         .losses = 1,
         .deaths = 1,
         .early = 1},
        {.name = "abort-lost", .what = "the source gives up unheard, its word is lost three times", .losses = 3, .timeouts = 1},
        {.name = "ask", .what = "the target looks often before the source has written", .losses = 1, .early = 6},
        {.name = "twice",
         .what = "a second attempt after one that failed, an error of the directory, a lost message",
         .path = {1, 2},
         .losses = 1,
         .errors = 1,
         .refusals = 1,
         .early = 1},
        {.name = "onwards", .what = "to a third node, a crash", .path = {1, 2, 3}, .crashes = 1},
        {.name = "onwards-network",
         .what = "to a third node, trouble with messages",
         .path = {1, 2, 3},
         .losses = 1,
         .repeats = 1,
         .timeouts = 1},
        {.name = "stranger", .what = "its home is another node, a crash", .home = 3, .path = {1, 2}, .crashes = 1, .ends = 1},
        {.name = "back",
         .what = "there and back, its home is another node, a crash and a lost message",
         .home = 3,
         .path = {1, 2, 1},
         .crashes = 1,
         .losses = 1},
        {.name = "two-crashes", .what = "its home is another node, two crashes", .home = 3, .path = {1, 2}, .crashes = 2},
        {.name = "tree",
         .what = "with a child, a crash and an error of the directory",
         .tree = true,
         .crashes = 1,
         .errors = 1},
        {.name = "tree-errors",
         .what = "with a child, three errors of the directory, a second attempt",
         .tree = true,
         .errors = 3},
        {.name = "tree-left",
         .what = "with a child that has left when the second attempt begins, errors of the directory",
         .path = {1, 2},
         .tree = true,
         .leaves_at = 1,
         .errors = 3},
        {.name = "tree-onwards",
         .what = "with a child that stays behind when its parent goes on, a crash",
         .path = {1, 2, 3},
         .tree = true,
         .leaves_at = 1,
         .crashes = 1},
        {.name = "tree-ring",
         .what = "with a child, to a third node and on, its home is another one, a crash",
         .home = 4,
         .path = {1, 2, 3},
         .tree = true,
         .crashes = 1},
    };
    return all;
}

Outcome every_order(const Setup& setup, u64 most) {
    Search search(most);
    search.from(World(setup));
    return search.result();
}

Setup setup_for(u64 seed) {
    Rng rng(derive(seed, "handover"));
    Setup s;
    s.home = rng.chance(1, 2) ? 1 : 4;
    const std::vector<std::vector<u8>> paths = {{1, 2}, {1, 2, 3}, {1, 2, 3, 2}, {1, 2, 1}};
    s.path = paths[rng.below(s.home == 1 ? 3 : 4)];
    s.tree = rng.chance(1, 2);
    if (rng.chance(1, 3)) s.leaves_at = static_cast<u8>(rng.below(3));
    s.crashes = static_cast<u8>(rng.below(3)), s.expels = static_cast<u8>(rng.below(2));
    s.losses = static_cast<u8>(rng.below(4)), s.repeats = static_cast<u8>(rng.below(3)),
    s.timeouts = static_cast<u8>(rng.below(3));
    s.errors = static_cast<u8>(rng.below(5)), s.refusals = static_cast<u8>(rng.below(2));
    s.deaths = static_cast<u8>(rng.below(2)), s.ends = static_cast<u8>(rng.below(2)), s.early = static_cast<u8>(rng.below(6));
    return s;
}

Outcome run_seed(u64 seed) {
    const Setup setup = setup_for(seed);
    Rng rng(derive(seed, "moves"));
    const u64 calm = rng.between(2, 12);  // one move in so many may be a fault
    World world(setup);
    Outcome out;
    RunHash hash;
    for (;;) {
        std::vector<Move> all = world.moves(), wanted;
        const bool faulty = rng.below(calm) == 0;
        for (const Move& m : all)
            if (is_fault(world, m) == faulty) wanted.push_back(m);
        if (wanted.empty()) wanted = all;
        if (wanted.empty()) break;
        const Move m = wanted[rng.below(wanted.size())];
        out.path.push_back(m);
        if (out.path.size() > most_moves) {
            out.rule = "liveness";
            out.text = "it does not end";
            return out;
        }
        out.moves++;
        out.faults += is_fault(world, m);
        if (!world.apply(m)) break;
        hash.mix(world.hash());
    }
    world.check_end();
    out.rule = world.rule();
    out.text = world.text();
    out.hash = hash.value();
    return out;
}

void print_path(const Setup& setup, const std::vector<Move>& path) {
    World world(setup);
    unsigned n = 0;
    for (const Move& m : path) {
        fmt::print("{:>5} {}\n", ++n, world.describe(m));
        if (!world.apply(m)) break;
    }
}

}  // namespace krg::sim::handover
