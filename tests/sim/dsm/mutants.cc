// SPDX-License-Identifier: GPL-2.0
//
// Switches the engine's deliberate bugs on, one at a time, and runs seeds until a checker notices; what no seed shows must
// show in one of the exhaustive small worlds. A mutant that nobody notices means that the simulator proves nothing about
// the rule it breaks.
#include "tests/sim/dsm/mutants.hh"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fmt/format.h>

#include "hadsm/core/mutants.hh"
#include "tests/sim/dsm/exhaustive.hh"
#include "tests/sim/dsm/suite.hh"

namespace krg::sim::dsm {

namespace {

struct MutantInfo {
    krg::dsm::Mutant id;
    const char* name;
    const char* what;
};

constexpr MutantInfo all_mutants[] = {
#define KRG_SIM_ROW(name, text) {krg::dsm::Mutant::name, #name, text},
    KRG_DSM_MUTANT_LIST(KRG_SIM_ROW)
#undef KRG_SIM_ROW
};

struct Verdict {
    bool caught = false;
    u64 seeds = 0, real_ms = 0;
    std::string rule, where;  ///< where: the seed, or the small world
};

/// The exhaustive worlds, one by one, each in a child: an engine with a bug may not come back.
void hunt_in_worlds(const MutantInfo& mutant, Verdict& v) {
    constexpr u64 seconds = 20;
    const auto explore = [](const std::string& world) {
        return run_guarded(2 * seconds, [&world] {
            const Broken broken = explore_quietly(world, seconds);
            OneRun row;
            row.failed = static_cast<bool>(broken);
            row.rule = broken.rule;
            return row;
        });
    };
    for (const std::string& world : small_worlds()) {
        krg::dsm::active_mutant = mutant.id;
        const OneRun with = explore(world);
        krg::dsm::active_mutant = krg::dsm::Mutant::None;
        if (!with.failed || explore(world).failed) continue;
        v.caught = true;
        v.rule = with.rule;
        v.where = world;
        return;
    }
}

Verdict hunt(const MutantInfo& mutant, u64 first, u64 budget, unsigned jobs) {
    const auto began = std::chrono::steady_clock::now();
    krg::dsm::active_mutant = mutant.id;
    BatchOptions batch;
    batch.first = first;
    batch.seeds = budget;
    batch.jobs = jobs;
    batch.run_seconds = 20;
    BatchTotals totals;
    const auto one = [&mutant](u64 seed) {
        OneRun row = one_run(seed, false);
        if (!row.failed) return row;
        // Only what the engine without the bug survives has been caught by it.
        krg::dsm::active_mutant = krg::dsm::Mutant::None;
        if (one_run(seed, false).failed) row.failed = false;
        krg::dsm::active_mutant = mutant.id;
        return row;
    };
    const auto failures = run_batch(batch, one, totals);
    krg::dsm::active_mutant = krg::dsm::Mutant::None;
    Verdict v;
    v.seeds = runs_of(totals);
    if (failures.empty()) {
        hunt_in_worlds(mutant, v);
    } else {
        v.caught = true;
        v.seeds = failures.front().seed - first + 1;
        v.where = fmt::to_string(failures.front().seed);
        v.rule = failures.front().rule;
    }
    v.real_ms = static_cast<u64>(
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count());
    return v;
}

int replay(const MutantInfo& mutant, u64 seed) {
    const Setup setup = setup_for(seed);
    krg::dsm::active_mutant = mutant.id;
    const RunOutcome out = run_seed(setup);
    fmt::print("{}", describe(setup));
    if (!out.broken) {
        fmt::print("{} is not noticed by seed {}\n", mutant.name, seed);
        return 6;
    }
    const std::vector<Move> moves = shorten(setup, out.moves, out.broken.rule, 2000);
    Trace trace;
    const RunOutcome shorter = run_moves(setup, moves, &trace);
    for (const auto& line : trace.lines())
        fmt::print("{:>9} {:<3} {}\n", line.at, line.node != 0 ? fmt::format("n{}", line.node) : "", line.text);
    fmt::print("{} caught by {}: {}\n", mutant.name, shorter.broken.rule, shorter.broken.text);
    return 0;
}

}  // namespace

int mutants(int argc, char** argv) {
    CLI::App app{"Switches on seeded bugs of the coherence engine one by one and demands that a checker notices each."};
    app.name("krg-sim mutants dsm");
    u64 first = 1;
    u64 budget = 2000;
    unsigned jobs = 2;
    std::vector<std::string> only;
    u64 seed = 0;
    bool list = false;
    app.add_option("--first", first, "the first seed");
    app.add_option("--budget", budget, "seeds a mutant may survive (default 2000), before the small worlds are explored");
    app.add_option("--jobs", jobs, "processes (default 2)");
    app.add_option("--only", only, "these mutants")->delimiter(',');
    app.add_option("--seed", seed, "replay this seed, shortened, with the one mutant of --only");
    app.add_flag("--list", list, "print the mutants and stop");
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& e) {
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        app.exit(e);
        return 2;
    }
    u64 count = 0;
    u64 survived = 0;
    u64 total_ms = 0;
    for (const MutantInfo& mutant : all_mutants) {
        if (!only.empty() && std::find(only.begin(), only.end(), mutant.name) == only.end()) continue;
        count++;
        if (list) {
            fmt::print("{:<24}{}\n", mutant.name, mutant.what);
            continue;
        }
        if (seed != 0) return replay(mutant, seed);
        if (count == 1)
            fmt::print("{:<24}{:<16}{:>7}{:>18}{:>8}  {}\n", "mutant", "caught by", "seeds", "seed or world", "ms",
                       "what it breaks");
        const Verdict v = hunt(mutant, first, budget, jobs);
        total_ms += v.real_ms;
        survived += v.caught ? 0 : 1;
        fmt::print("{:<24}{:<16}{:>7}{:>18}{:>8}  {}\n", mutant.name, v.caught ? v.rule : "SURVIVED", v.seeds,
                   v.caught ? v.where : "-", v.real_ms, mutant.what);
        std::fflush(stdout);
    }
    if (count == 0) {
        fmt::print(stderr, "krg-sim mutants dsm: no such mutant (--list prints them)\n");
        return 2;
    }
    if (!list)
        fmt::print("totals: {} mutants, {} caught, {} survived, {}.{} s\n", count, count - survived, survived, total_ms / 1000,
                   total_ms % 1000 / 100);
    return survived == 0 ? 0 : 6;
}

}  // namespace krg::sim::dsm
