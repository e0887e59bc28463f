// SPDX-License-Identifier: GPL-2.0
//
// Switches the deliberate bugs of the handover engine on, one at a time: seeds run until a rule is broken, and then the small
// worlds. It counts only if the same seed, or world, passes without the bug.
#include "tests/sim/handover/suite.hh"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>

#include "proc/core/handover.hh"
#include "tests/sim/handover/explore.hh"

namespace krg::handover {
Mutant active_mutant = Mutant::None;
}

namespace krg::sim::handover {

namespace {

using krg::handover::active_mutant;
using krg::handover::Mutant;

struct MutantInfo {
    Mutant id;
    const char* name;
    const char* what;
};

constexpr MutantInfo all_mutants[] = {
#define KRG_SIM_ROW(name, text) {Mutant::name, #name, text},
    KRG_HANDOVER_MUTANT_LIST(KRG_SIM_ROW)
#undef KRG_SIM_ROW
};

constexpr u64 most_states = 300'000;  // a bug that needs more is not looked for

struct Verdict {
    std::string rule, where;
};

template<typename Run>
std::string caught_by(const MutantInfo& mutant, Run run) {
    active_mutant = mutant.id;
    const Outcome with = run();
    active_mutant = Mutant::None;
    return with.rule.empty() || !run().rule.empty() ? std::string() : with.rule;
}

Verdict hunt(const MutantInfo& mutant, u64 budget) {
    for (u64 seed = 1; seed <= budget; seed++)
        if (const std::string rule = caught_by(mutant, [&] { return run_seed(seed); }); !rule.empty())
            return {rule, fmt::format("seed {}", seed)};
    for (const Setup& setup : small_worlds())
        if (const std::string rule = caught_by(mutant, [&] { return every_order(setup, most_states); }); !rule.empty())
            return {rule, setup.name};
    return {};
}

}  // namespace

int mutants(int argc, char** argv) {
    CLI::App app{"Switches on seeded bugs of the handover engine one by one and demands that a rule notices each."};
    app.name("krg-sim mutants handover");
    u64 budget = 20'000;
    std::vector<std::string> only;
    bool list = false;
    app.add_option("--budget", budget, "seeds a mutant may survive (default 20000)");
    app.add_option("--only", only, "these mutants")->delimiter(',');
    app.add_flag("--list", list, "print the mutants and stop");
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& e) {
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        app.exit(e);
        return 2;
    }
    u64 count = 0, survived = 0;
    for (const MutantInfo& mutant : all_mutants) {
        if (!only.empty() && std::find(only.begin(), only.end(), mutant.name) == only.end()) continue;
        count++;
        if (list) {
            fmt::print("{:<24}{}\n", mutant.name, mutant.what);
            continue;
        }
        const Verdict v = hunt(mutant, budget);
        survived += v.rule.empty();
        fmt::print("{:<24}{:<16}{:<18}{}\n", mutant.name, v.rule.empty() ? "SURVIVED" : v.rule, v.where, mutant.what);
        std::fflush(stdout);
    }
    if (count == 0) {
        fmt::print(stderr, "krg-sim mutants handover: no such mutant (--list prints them)\n");
        return 2;
    }
    if (!list) fmt::print("totals: {} mutants, {} caught, {} survived\n", count, count - survived, survived);
    return survived == 0 ? 0 : 6;
}

}  // namespace krg::sim::handover
