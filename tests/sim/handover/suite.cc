// SPDX-License-Identifier: GPL-2.0
//
// The command line of `krg-sim handover`.
#include "tests/sim/handover/suite.hh"

#include <CLI/CLI.hpp>
#include <chrono>
#include <fmt/format.h>
#include <random>

#include "tests/sim/handover/explore.hh"
#include "tests/sim/run/batch.hh"

namespace krg::sim::handover {

namespace {

enum Exit : int { exit_ok = 0, exit_safety = 1, exit_usage = 2, exit_liveness = 3, exit_crash = 4, exit_determinism = 5 };

int exit_for(const std::string& rule) {
    if (rule == "crash" || rule == "hang") return exit_crash;
    if (rule == "determinism") return exit_determinism;
    return rule == "liveness" || rule == "left-over" ? exit_liveness : exit_safety;
}

OneRun one_run(u64 seed, bool twice) {
    const auto ending = [seed] {
        const Outcome out = run_seed(seed);
        return Ending{out.rule, out.text, out.hash, out.moves};
    };
    const Outcome out = run_seed(seed);
    OneRun row = verdict({out.rule, out.text, out.hash, out.moves}, twice, ending);
    row.value[0] = 1;
    row.value[1] = out.moves;
    row.value[2] = out.faults;
    return row;
}

int replay(u64 seed) {
    const Setup setup = setup_for(seed);
    const Outcome out = run_seed(seed);
    print_path(setup, out.path);
    if (!out.rule.empty()) fmt::print("FAILED {}: {}\n", out.rule, out.text);
    fmt::print("run hash {:016x}\n{} moves, {} of them faults\n", out.hash, out.moves, out.faults);
    return out.rule.empty() ? exit_ok : exit_for(out.rule);
}

int batch(u64 first, u64 seeds, unsigned jobs, bool summary) {
    const auto began = std::chrono::steady_clock::now();
    BatchOptions options;
    options.first = first;
    options.seeds = seeds;
    options.jobs = jobs;
    options.run_seconds = 20;
    BatchTotals totals;
    int status = exit_ok;
    const auto failures = run_batch(
        options, [](u64 seed) { return one_run(seed, seed % 50 == 0); }, totals);
    for (const BatchFailure& failure : failures) {
        fmt::print("FAILED seed {}: {} {}\n  replay: krg-sim handover --seed {}\n", failure.seed, failure.rule, failure.text,
                   failure.seed);
        if (status == exit_ok) status = exit_for(failure.rule);
    }
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count();
    fmt::print("handover: {} runs, {} moves, {} faults, {} violations, {}.{} s\n", totals.sum[0], totals.sum[1], totals.sum[2],
               failures.size(), took / 1000, took % 1000 / 100);
    if (summary) fmt::print("{} passed, {} failed\n", totals.sum[0] - failures.size(), failures.size());
    return status;
}

int explore(const std::string& only, bool list, u64 most) {
    int status = exit_ok;
    bool any = false;
    for (const Setup& setup : small_worlds()) {
        if (!only.empty() && only != setup.name) continue;
        any = true;
        if (list) {
            fmt::print("{:<18}{}\n", setup.name, setup.what);
            continue;
        }
        const Outcome out = every_order(setup, most);
        const bool broken = !out.rule.empty();
        fmt::print("exhaustive {}: {}: {} states, {} transitions, {} ends, {} moves deep, {}, {} violations\n", setup.name,
                   setup.what, out.states, out.transitions, out.ends, out.deepest,
                   broken         ? "stopped"
                   : out.complete ? "complete"
                                  : "TRUNCATED",
                   broken ? 1 : 0);
        if (broken) {
            fmt::print("FAILED {}: {}\nthe order of events:\n", out.rule, out.text);
            print_path(setup, out.path);
        }
        std::fflush(stdout);
        const int now = broken ? exit_for(out.rule) : out.complete ? exit_ok : exit_safety;
        if (status == exit_ok) status = now;
    }
    if (any) return status;
    fmt::print(stderr, "krg-sim handover exhaustive: no such world (--list prints them)\n");
    return exit_usage;
}

}  // namespace

int command_line(int argc, char** argv) {
    CLI::App app{"Deterministic simulation of who runs a process that moves. One seed is one run, bit for bit."};
    app.name("krg-sim handover");
    u64 seeds = 0, seed = 0, first = 1, most = 20'000'000;
    unsigned jobs = 2;
    bool fresh = false, summary = false, list = false;
    std::string only;
    app.add_option("--seeds", seeds, "run so many seeds");
    app.add_option("--seed", seed, "replay this seed and print what happens");
    app.add_option("--first", first, "the first of them (default 1)");
    app.add_flag("--fresh", fresh, "begin at a random seed");
    app.add_option("--jobs", jobs, "processes (default 2)");
    app.add_flag("--summary", summary, "end with 'N passed, N failed'");
    auto* exhaustive = app.add_subcommand("exhaustive", "every order of events in small worlds");
    exhaustive->add_option("--only", only, "only this world");
    exhaustive->add_flag("--list", list, "print the worlds and stop");
    exhaustive->add_option("--max-states", most, "give a world up after so many");
    app.footer("exit status: 0 done, 1 a safety rule was broken, 2 usage, 3 a liveness rule was broken, 4 crash or hang,\n"
               "5 one seed gave two different runs; krg-sim mutants handover: 6 a mutant survived");
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& e) {
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        app.exit(e);
        return exit_usage;
    }
    if (exhaustive->parsed()) return explore(only, list, most);
    if (app.count("--seed") != 0) return replay(seed);
    if (seeds == 0) {
        fmt::print(stderr, "krg-sim handover: say --seeds N, --seed N or exhaustive\n");
        return exit_usage;
    }
    return batch(fresh ? std::random_device{}() : first, seeds, jobs, summary);
}

}  // namespace krg::sim::handover
