// SPDX-License-Identifier: GPL-2.0
//
// krg-sim dsm: which seeds run, what is printed, the exit status (as of krg-sim itself).
#include <CLI/CLI.hpp>
#include <chrono>
#include <fmt/format.h>
#include <random>
#include <string_view>
#include <unistd.h>

#include "tests/sim/dsm/exhaustive.hh"
#include "tests/sim/dsm/loop.hh"
#include "tests/sim/dsm/scale.hh"
#include "tests/sim/dsm/suite.hh"
#include "tests/sim/run/corpus.hh"

namespace krg::sim::dsm {

namespace {

enum Exit : int { exit_ok = 0, exit_safety = 1, exit_usage = 2, exit_liveness = 3, exit_crash = 4, exit_determinism = 5 };

int exit_for(const std::string& rule) {
    if (rule == "crash" || rule == "hang") return exit_crash;
    if (rule == "determinism") return exit_determinism;
    return rule == "liveness" || rule == "leak" ? exit_liveness : exit_safety;
}

struct Cli {
    u64 seeds = 0, seed = 0, first = 1, failures = 1, shrink_runs = 2000;
    unsigned jobs = 2;
    std::string corpus = KRG_SIM_CORPUS;
    bool fresh = false, verify = false, summary = false, no_shrink = false, quiet = false, shorten = false, membership = false;
};

OneRun run_of(const Cli& cli, u64 seed, bool twice) { return cli.membership ? loop_run(seed, twice) : one_run(seed, twice); }
const char* command_of(const Cli& cli) { return cli.membership ? "krg-sim dsm --with-membership" : "krg-sim dsm"; }

/// The first and the last of it, when there is more.
void print_trace(const Trace& trace, std::size_t most) {
    const auto& lines = trace.lines();
    for (std::size_t i = 0; i < lines.size(); i++) {
        if (lines.size() > most && i >= most / 2 && i < lines.size() - most / 2) {
            if (i == most / 2) fmt::print("      ... {} lines ...\n", lines.size() - most);
            continue;
        }
        fmt::print("{:>9} {:<3} {}\n", lines[i].at, lines[i].node != 0 ? fmt::format("n{}", lines[i].node) : "", lines[i].text);
    }
}

void print_moves(const Setup& setup, const std::vector<Move>& moves) {
    fmt::print("{}", describe(setup));
    Trace trace;
    const RunOutcome out = run_moves(setup, moves, &trace);
    print_trace(trace, 400);
    if (out.broken) fmt::print("{}: {}\n", out.broken.rule, out.broken.text);
    std::fflush(stdout);
}

/// Everything a person needs to understand one failing seed.
void explain(const Cli& cli, u64 seed, const std::string& rule) {
    // In a child: what fails may be a crash, and then the trace is lost but the parent is not.
    (void)run_guarded(300, [&] {
        const Setup setup = setup_for(seed);
        std::vector<Move> moves = run_seed(setup).moves;
        const std::size_t all = moves.size();
        if (!cli.no_shrink) moves = shorten(setup, std::move(moves), rule, cli.shrink_runs);
        fmt::print("{} of {} moves are needed:\n", moves.size(), all);
        print_moves(setup, moves);
        return OneRun{};
    });
}

/// With membership: the trace of the run.
int replay_loop(const Cli& cli) {
    Trace trace;
    const OneRun row = cli.quiet ? loop_run(cli.seed, cli.verify) : loop_trace(cli.seed, trace);
    if (!cli.quiet) fmt::print("{}{}", Trace::legend(), trace.all(Detail::full_log));
    if (row.failed) fmt::print("FAILED {}: {}\n", row.rule, row.text);
    BatchTotals totals;
    for (unsigned i = 0; i < batch_counters; i++) totals.sum[i] = totals.max[i] = totals.min[i] = row.value[i];
    fmt::print("{}\n", loop_totals_line(row.failed ? 1 : 0, totals));
    return row.failed ? exit_for(row.rule) : exit_ok;
}

int replay(const Cli& cli) {
    if (cli.membership) return replay_loop(cli);
    const Setup setup = setup_for(cli.seed);
    if (cli.shorten) {
        const OneRun row = run_guarded(60, [&] { return one_run(cli.seed, cli.verify); });
        if (row.failed) explain(cli, cli.seed, row.rule);
        return row.failed ? exit_for(row.rule) : exit_ok;
    }
    fmt::print("seed {}: {}", cli.seed, describe(setup));
    std::fflush(stdout);
    Trace trace;
    const RunOutcome out = run_seed(setup, cli.quiet ? nullptr : &trace);
    print_trace(trace, trace.lines().size());
    const OneRun row = one_run(cli.seed, cli.verify);
    BatchTotals totals;
    for (unsigned i = 0; i < batch_counters; i++) totals.sum[i] = totals.max[i] = totals.min[i] = row.value[i];
    if (row.failed) fmt::print("FAILED {}: {}\n", row.rule, row.text);
    fmt::print("run hash {:016x}\n{}\n", out.hash, totals_line(row.failed ? 1 : 0, totals));
    return row.failed ? exit_for(row.rule) : exit_ok;
}

/// Replays every past failure. Returns how many fail again.
u64 run_corpus(const Cli& cli, int& status, u64& count) {
    u64 failed = 0;
    for (const CorpusLine& line : read_corpus(cli.corpus, cli.membership ? "dsm-membership.seeds" : "dsm.seeds")) {
        constexpr std::string_view option = "--seed ";
        const u64 seed = line.text.starts_with(option) ? std::strtoull(line.text.c_str() + option.size(), nullptr, 10) : 0;
        if (seed == 0) {
            fmt::print("corpus {}: {}: not understood\n", line.file, line.text);
            status = exit_usage;
            failed++;
            continue;
        }
        count++;
        const OneRun row = run_guarded(60, [&] { return run_of(cli, seed, false); });
        if (!row.failed) continue;
        failed++;
        status = exit_for(row.rule);
        fmt::print("FAILED corpus {}: {} (#{}): {} {}\n  replay: {} --seed {}\n", line.file, line.text, line.comment, row.rule,
                   row.text, command_of(cli), seed);
    }
    return failed;
}

int batch(Cli& cli) {
    const auto began = std::chrono::steady_clock::now();
    int status = exit_ok;
    u64 corpus_runs = 0;
    const u64 corpus_failed = run_corpus(cli, status, corpus_runs);
    fmt::print("corpus: {} past failures replayed, {} failed\n", corpus_runs, corpus_failed);
    if (cli.fresh) cli.first = std::random_device{}();
    BatchOptions options;
    options.first = cli.first;
    options.seeds = cli.seeds;
    options.jobs = cli.jobs;
    options.stop_after = cli.failures;
    options.run_seconds = 20;
    options.progress = isatty(STDERR_FILENO) != 0;
    BatchTotals totals;
    const auto failures = run_batch(
        options, [&](u64 seed) { return run_of(cli, seed, cli.verify || seed % 50 == 0); }, totals);
    for (const BatchFailure& failure : failures) {
        fmt::print("FAILED seed {}: {} {}\n  replay: {} --seed {}\n", failure.seed, failure.rule, failure.text, command_of(cli),
                   failure.seed);
        std::fflush(stdout);
        if (status == exit_ok) {
            status = exit_for(failure.rule);
            if (!cli.membership) explain(cli, failure.seed, failure.rule);
        }
    }
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count();
    fmt::print("seeds {}-{}, {}.{:01} s of real time on {} processes\n{}\n", cli.first, cli.first + cli.seeds - 1, took / 1000,
               took % 1000 / 100, cli.jobs,
               cli.membership ? loop_totals_line(failures.size(), totals) : totals_line(failures.size(), totals));
    const u64 runs = cli.membership ? loop_runs_of(totals) : runs_of(totals);
    const u64 failed = corpus_failed + failures.size();
    if (cli.summary) fmt::print("{} passed, {} failed\n", corpus_runs + runs - std::min(failed, corpus_runs + runs), failed);
    return status;
}

}  // namespace

int command_line(int argc, char** argv) {
    CLI::App app{"Deterministic simulation of the coherence engine in a small world. One seed is one run, bit for bit."};
    app.name("krg-sim dsm");
    Cli cli;
    app.add_option("--seeds", cli.seeds, "run so many seeds, after the past failures");
    app.add_option("--seed", cli.seed, "replay this seed and print what happens");
    app.add_option("--first", cli.first, "the first of them (default 1)");
    app.add_flag("--fresh", cli.fresh, "begin at a random seed");
    app.add_option("--jobs", cli.jobs, "processes (default 2)");
    app.add_option("--failures", cli.failures, "stop after so many failures (default 1)");
    app.add_option("--shrink-runs", cli.shrink_runs, "runs the shrinker may try (default 2000)");
    app.add_option("--corpus", cli.corpus, "folder of past failures");
    app.add_flag("--with-membership", cli.membership, "views come from the membership engine, in its simulated world");
    app.add_flag("--no-shrink", cli.no_shrink, "print a failing run as it is");
    app.add_flag("--shorten", cli.shorten, "with --seed: print the shortest run found that breaks the same rule");
    app.add_flag("--quiet", cli.quiet, "with --seed: only the totals");
    app.add_flag("--verify-determinism", cli.verify, "run every seed twice and compare (one in 50 always is)");
    app.add_option("--overlook", overlook, "copies fewer than promised, to look past what the durability rule finds");
    app.add_flag("--summary", cli.summary, "end with 'N passed, N failed'");
    auto* exhaustive = app.add_subcommand("exhaustive", "every order of events in small worlds");
    ExhaustiveOptions small;
    add_options(*exhaustive, small);
    auto* scale = app.add_subcommand("scale", "messages, bytes and memory from 16 nodes to thousands");
    ScaleOptions sizes;
    add_options(*scale, sizes);
    app.footer("exit status: 0 done, 1 a safety rule was broken, 2 usage, 3 a liveness rule was broken, 4 crash or hang,\n"
               "5 one seed gave two different runs; krg-sim mutants dsm: 6 a mutant survived");
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& e) {
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        app.exit(e);
        return exit_usage;
    }
    if (exhaustive->parsed()) return explore(small);
    if (scale->parsed()) return measure(sizes);
    if (cli.seeds == 0 && app.count("--seed") == 0) {
        fmt::print(stderr, "krg-sim dsm: say --seeds N or --seed N (--help for more)\n");
        return exit_usage;
    }
    return app.count("--seed") != 0 ? replay(cli) : batch(cli);
}

}  // namespace krg::sim::dsm
