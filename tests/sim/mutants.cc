// SPDX-License-Identifier: GPL-2.0
//
// krg-sim-mutants (reached as `krg-sim mutants`): the engine is built with seeded bugs, one of which is switched on at a
// time; seeds run until a checker notices. A mutant that nobody notices means that the simulator proves nothing about
// the rule it breaks. Exit status 6 if one survives.
#include <CLI/CLI.hpp>
#include <chrono>
#include <fmt/format.h>
#include <unistd.h>

#include "kernel/core/mutants.hh"
#include "tests/sim/dsm/mutants.hh"
#include "tests/sim/handover/suite.hh"
#include "tests/sim/membership/suite.hh"

using namespace krg::sim;

namespace {

struct MutantInfo {
    krg::Mutant id;
    const char* name;
    const char* what;
};

constexpr MutantInfo mutants[] = {
#define KRG_MUTANT_ROW(name, text) {krg::Mutant::name, #name, text},
    KRG_MUTANT_LIST(KRG_MUTANT_ROW)
#undef KRG_MUTANT_ROW
};

struct Verdict {
    bool caught = false;
    u64 seeds = 0, seed = 0;
    std::string rule, text;
    u64 real_ms = 0;
};

/// Seeds cycle through sizes: small clusters and even ones with a witness have failures of their own.
RunOptions options_of(u64 seed) {
    Setup setup;
    constexpr u64 sizes[] = {5, 3, 4, 5, 2, 6};
    setup.nodes_min = setup.nodes_max = sizes[seed % std::size(sizes)];
    setup.seconds = 60;
    return options_for(seed, setup);
}

Verdict hunt(const MutantInfo& mutant, u64 first, u64 budget, unsigned jobs) {
    const auto began = std::chrono::steady_clock::now();
    krg::active_mutant = mutant.id;
    BatchOptions batch;
    batch.first = first;
    batch.seeds = budget;
    batch.jobs = jobs;
    BatchTotals totals;
    const auto one = [&mutant](u64 seed) {
        OneRun row = one_run(options_of(seed), false);
        if (!row.failed) return row;
        // Only what the engine without the bug survives has been caught by it.
        krg::active_mutant = krg::Mutant::None;
        if (one_run(options_of(seed), false).failed) row.failed = false;
        krg::active_mutant = mutant.id;
        return row;
    };
    const auto failures = run_batch(batch, one, totals);
    krg::active_mutant = krg::Mutant::None;
    Verdict verdict;
    verdict.real_ms = static_cast<u64>(
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count());
    verdict.seeds = runs_of(totals);
    if (failures.empty()) return verdict;
    verdict.caught = true;
    verdict.seed = failures.front().seed;
    verdict.seeds = failures.front().seed - first + 1;
    verdict.rule = failures.front().rule;
    verdict.text = failures.front().text;
    return verdict;
}

int replay(const MutantInfo& mutant, u64 seed, bool full) {
    krg::active_mutant = mutant.id;
    RunOptions options = options_of(seed);
    Trace trace;
    options.trace = &trace;
    fmt::print("{}", print_knobs(seed, options.knobs));
    const RunResult r = run(options);
    fmt::print("{}{}", Trace::legend(), trace.all(full ? Detail::full_log : Detail::short_log));
    if (r.violation)
        fmt::print("{} caught by {}: {}\n", mutant.name, r.violation->rule, r.violation->text);
    else
        fmt::print("{} is not noticed by seed {}\n", mutant.name, seed);
    return r.violation ? 0 : 6;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1 && std::string(argv[1]) == "dsm") return dsm::mutants(argc - 1, argv + 1);
    if (argc > 1 && std::string(argv[1]) == "handover") return handover::mutants(argc - 1, argv + 1);
    CLI::App app{"Switches on seeded bugs of the engine one by one and demands that a checker notices each."};
    app.name("krg-sim mutants");
    u64 first = 1;
    u64 budget = 3000;
    unsigned jobs = 2;
    std::vector<std::string> only;
    u64 seed = 0;
    bool full = false;
    bool list = false;
    app.add_option("--first", first, "the first seed");
    app.add_option("--budget", budget, "seeds a mutant may survive (default 3000)");
    app.add_option("--jobs", jobs, "processes (default 2)");
    app.add_option("--only", only, "these mutants")->delimiter(',');
    app.add_option("--seed", seed, "replay this seed with the one mutant of --only");
    app.add_flag("--full", full, "with --seed: print every message");
    app.add_flag("--list", list, "print the mutants and stop");
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& e) {
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        app.exit(e);
        return 2;
    }
    const auto wanted = [&](const MutantInfo& m) {
        return only.empty() || std::find(only.begin(), only.end(), m.name) != only.end();
    };
    u64 count = 0;
    u64 survived = 0;
    u64 total_ms = 0;
    for (const MutantInfo& mutant : mutants) {
        if (!wanted(mutant)) continue;
        count++;
        if (list) {
            fmt::print("{:<24}{}\n", mutant.name, mutant.what);
            continue;
        }
        if (seed != 0) return replay(mutant, seed, full);
        if (count == 1)
            fmt::print("{:<24}{:<20}{:>7}{:>8}{:>8}  {}\n", "mutant", "caught by", "seeds", "seed", "ms", "what it breaks");
        const Verdict verdict = hunt(mutant, first, budget, jobs);
        total_ms += verdict.real_ms;
        survived += verdict.caught ? 0 : 1;
        fmt::print("{:<24}{:<20}{:>7}{:>8}{:>8}  {}\n", mutant.name, verdict.caught ? verdict.rule : "SURVIVED", verdict.seeds,
                   verdict.caught ? fmt::to_string(verdict.seed) : "-", verdict.real_ms, mutant.what);
        std::fflush(stdout);
    }
    if (count == 0) {
        fmt::print(stderr, "krg-sim mutants: no such mutant (--list prints them)\n");
        return 2;
    }
    if (!list)
        fmt::print("totals: {} mutants, {} caught, {} survived, {}.{} s\n", count, count - survived, survived, total_ms / 1000,
                   total_ms % 1000 / 100);
    return survived == 0 ? 0 : 6;
}
