// SPDX-License-Identifier: GPL-2.0
//
// krg-sim: the deterministic simulator. This file is the command line: which seeds run, what is printed, the exit status.
//
//	0 done   1 a safety rule was broken   2 usage   3 a liveness rule was broken   4 crash, hang or sanitizer report
//	5 one seed gave two different runs   6 a mutant survived
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <random>
#include <unistd.h>

#include "tests/sim/dsm/suite.hh"
#include "tests/sim/handover/suite.hh"
#include "tests/sim/membership/exhaustive.hh"
#include "tests/sim/membership/scale.hh"
#include "tests/sim/membership/suite.hh"
#include "tests/sim/run/corpus.hh"

using namespace krg::sim;

namespace {

enum Exit : int { exit_ok = 0, exit_safety = 1, exit_usage = 2, exit_liveness = 3, exit_crash = 4, exit_determinism = 5 };

int exit_for(const std::string& rule) {
    if (rule == "crash" || rule == "hang") return exit_crash;
    if (rule == "determinism") return exit_determinism;
    return is_liveness(rule) ? exit_liveness : exit_safety;
}

struct Cli {
    Setup setup;
    u64 seeds = 0;
    u64 seed = 0;
    u64 first = 1;
    unsigned jobs = 2;
    std::string nodes, faults, log = "short", corpus = KRG_SIM_CORPUS;
    u64 failures = 1;
    u64 shrink_runs = 300;
    u64 tail = 12;
    bool fresh = false, verify = false, summary = false, quiet_corpus = false, no_shrink = false, no_small = false;
};

/// Prints one run in the wanted detail and what came of it.
int replay(const Cli& cli, const RunOptions& wanted) {
    RunOptions options = wanted;
    Trace trace;
    if (cli.log != "none") options.trace = &trace;
    fmt::print("{}", print_knobs(options.seed, options.knobs));
    std::fflush(stdout);
    const RunResult r = run(options);
    if (options.trace) fmt::print("{}{}", Trace::legend(), trace.all(cli.log == "full" ? Detail::full_log : Detail::short_log));
    const OneRun row = one_run(wanted, cli.verify);
    BatchTotals totals;
    for (unsigned i = 0; i < batch_counters; i++) totals.sum[i] = totals.max[i] = totals.min[i] = row.value[i];
    if (row.failed) fmt::print("FAILED {}: {}\nreplay: {}\n", row.rule, row.text, replay_command(wanted));
    fmt::print("run hash {:016x}\n{}\n", r.hash, totals_line(row.failed ? 1 : 0, totals));
    return row.failed ? exit_for(row.rule) : exit_ok;
}

/// Everything a person needs to understand one failing seed.
void explain(const Cli& cli, const RunOptions& options, const std::string& rule) {
    RunOptions small = options;
    if (!cli.no_shrink) {
        fmt::print("shrinking (at most {} runs)...\n", cli.shrink_runs);
        std::fflush(stdout);
        small = shrink(options, rule, cli.shrink_runs);
    }
    fmt::print("shortest run found: {}\n{}", replay_command(small), print_knobs(small.seed, small.knobs));
    std::fflush(stdout);
    // In a child: what fails may be a crash, and then the trace is lost but the parent is not.
    (void)run_guarded(30, [&] {
        Trace trace;
        RunOptions traced = small;
        traced.trace = &trace;
        const RunResult r = run(traced);
        fmt::print("{}last {} events of every node:\n{}", Trace::legend(), cli.tail, trace.tail(cli.tail));
        if (r.violation) fmt::print("{}: {}\n", r.violation->rule, r.violation->text);
        std::fflush(stdout);
        return OneRun{};
    });
}

/// The options that select a run: shared by the command line and the lines of the corpus.
void add_run_options(CLI::App& app, Cli& cli) {
    app.add_option("--seed", cli.seed, "replay this seed and print what happens");
    app.add_option("--nodes", cli.nodes, "N or MIN-MAX machines instead of what the seed draws");
    app.add_option("--seconds", cli.setup.seconds, "virtual seconds of the safety phase");
    app.add_option("--until", cli.setup.until, "end the safety phase after so many seconds");
    app.add_option("--faults", cli.faults, "only these faults, by number, e.g. 3,7,9; none");
    app.add_option("--set", cli.setup.sets, "NAME=VALUE: set a knob (krg-sim --seed 1 prints them all)");
}

bool finish_setup(Cli& cli, std::string& why) {
    if (!cli.nodes.empty()) {
        const auto dash = cli.nodes.find('-');
        cli.setup.nodes_min = std::strtoull(cli.nodes.c_str(), nullptr, 10);
        cli.setup.nodes_max = dash == std::string::npos ? cli.setup.nodes_min
                                                        : std::strtoull(cli.nodes.c_str() + dash + 1, nullptr, 10);
        if (cli.setup.nodes_min < 1 || cli.setup.nodes_max > 16 || cli.setup.nodes_min > cli.setup.nodes_max) {
            why = "--nodes wants N or MIN-MAX between 1 and 16 (krg-sim scale has larger ones)";
            return false;
        }
    }
    if (!cli.faults.empty()) {
        cli.setup.faults.emplace();
        if (!parse_list(cli.faults, *cli.setup.faults)) {
            why = "--faults wants numbers separated by commas, or none";
            return false;
        }
    }
    Knobs probe = draw_knobs(1, 0, 0);
    for (const std::string& assignment : cli.setup.sets)
        if (!set_knob(probe, assignment)) {
            why = fmt::format("--set {}: no such knob, or no number", assignment);
            return false;
        }
    return true;
}

/// Replays every past failure. Returns how many fail again.
u64 run_corpus(const Cli& cli, int& status, u64& count) {
    u64 failed = 0;
    for (const CorpusLine& line : read_corpus(cli.corpus, "membership.seeds")) {
        Cli past;
        CLI::App parser;
        add_run_options(parser, past);
        std::string why;
        try {
            parser.parse(line.text, false);
        } catch (const CLI::ParseError&) {
            why = "not understood";
        }
        if (!why.empty() || !finish_setup(past, why)) {
            fmt::print("corpus {}: {}: {}\n", line.file, line.text, why);
            status = exit_usage;
            failed++;
            continue;
        }
        count++;
        const RunOptions options = options_for(past.seed, past.setup);
        const OneRun row = run_guarded(60, [&] { return one_run(options, false); });
        if (!row.failed) continue;
        failed++;
        status = exit_for(row.rule);
        fmt::print("FAILED corpus {}: {} (#{}): {} {}\n  replay: {}\n", line.file, line.text, line.comment, row.rule, row.text,
                   replay_command(options));
    }
    return failed;
}

u64 run_seeds(const Cli& cli, const Setup& setup, u64 seeds, BatchTotals& totals, int& status) {
    BatchOptions batch;
    batch.first = cli.first;
    batch.seeds = seeds;
    batch.jobs = cli.jobs;
    batch.stop_after = cli.failures;
    batch.progress = isatty(STDERR_FILENO) != 0;
    const auto failures = run_batch(
        batch, [&](u64 seed) { return one_run(options_for(seed, setup), cli.verify || seed % 50 == 0); }, totals);
    for (const BatchFailure& failure : failures) {
        const RunOptions options = options_for(failure.seed, setup);
        fmt::print("FAILED seed {}: {} {}\n  replay: {}\n", failure.seed, failure.rule, failure.text, replay_command(options));
    }
    if (!failures.empty()) {
        status = exit_for(failures.front().rule);
        explain(cli, options_for(failures.front().seed, setup), failures.front().rule);
    }
    return failures.size();
}

int batch(Cli& cli) {
    const auto began = std::chrono::steady_clock::now();
    int status = exit_ok;
    u64 corpus_runs = 0;
    u64 failed = run_corpus(cli, status, corpus_runs);
    fmt::print("corpus: {} past failures replayed, {} failed\n", corpus_runs, failed);
    if (cli.fresh) cli.first = std::random_device{}();
    u64 small_runs = 0;
    if (cli.setup.nodes_min == 0 && !cli.no_small && failed == 0) {
        // Two-node clusters and witnesses have their own troubles.
        Setup small = cli.setup;
        small.nodes_min = 2;
        small.nodes_max = 4;
        BatchTotals totals;
        const u64 bad = run_seeds(cli, small, (cli.seeds + 9) / 10, totals, status);
        small_runs = runs_of(totals);
        failed += bad;
        fmt::print("small clusters: {}\n", totals_line(bad, totals));
    }
    BatchTotals totals;
    const u64 bad = failed == 0 ? run_seeds(cli, cli.setup, cli.seeds, totals, status) : 0;
    failed += bad;
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count();
    fmt::print("seeds {}-{}, {}.{:01} s of real time on {} processes\n", cli.first, cli.first + cli.seeds - 1, took / 1000,
               took % 1000 / 100, cli.jobs);
    fmt::print("{}\n", totals_line(failed, totals));
    if (cli.summary)
        fmt::print("{} passed, {} failed\n",
                   corpus_runs + small_runs + runs_of(totals) - std::min(failed, corpus_runs + small_runs + runs_of(totals)),
                   failed);
    return status;
}

/// The mutants are another build of the engine, so they live in a program of their own beside this one.
int exec_mutants(char** argv) {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    const std::string path = (self.parent_path() / "krg-sim-mutants").string();
    execv(path.c_str(), argv);
    fmt::print(stderr, "krg-sim: cannot run {}: {} (build it: make host)\n", path, std::strerror(errno));
    return exit_crash;
}

int command_line(int argc, char** argv) {
    if (argc > 1 && std::string(argv[1]) == "mutants") return exec_mutants(argv + 1);
    if (argc > 1 && std::string(argv[1]) == "dsm") return dsm::command_line(argc - 1, argv + 1);
    if (argc > 1 && std::string(argv[1]) == "handover") return handover::command_line(argc - 1, argv + 1);
    CLI::App app{"Deterministic simulation of a Kerrighed cluster. One seed is one run, bit for bit."};
    Cli cli;
    add_run_options(app, cli);
    app.add_option("--seeds", cli.seeds, "run so many seeds, after the corpus and a tenth as many small clusters");
    app.add_option("--first", cli.first, "the first of them (default 1)");
    app.add_flag("--fresh", cli.fresh, "begin at a random seed");
    app.add_option("--jobs", cli.jobs, "processes (default 2)");
    app.add_option("--failures", cli.failures, "stop after so many failures (default 1)");
    app.add_option("--log", cli.log, "short, full or none: for --seed")->check(CLI::IsMember({"short", "full", "none"}));
    app.add_option("--tail", cli.tail, "events of every node printed for a failure (default 12)");
    app.add_option("--shrink-runs", cli.shrink_runs, "runs the shrinker may try (default 300)");
    app.add_option("--corpus", cli.corpus, "folder of past failures");
    app.add_flag("--no-shrink", cli.no_shrink, "print a failing run as it is");
    app.add_flag("--no-small", cli.no_small, "leave out clusters of 2 to 4 nodes");
    app.add_flag("--verify-determinism", cli.verify, "run every seed twice and compare (one in 50 always is)");
    app.add_flag("--summary", cli.summary, "end with 'N passed, N failed'");
    auto* exhaustive = app.add_subcommand("exhaustive", "every order of events in a small world");
    ExhaustiveOptions small_world;
    add_options(*exhaustive, small_world);
    auto* scale = app.add_subcommand("scale", "3 to 1024 nodes: messages, bytes, time to detect and to agree");
    ScaleOptions large_world;
    add_options(*scale, large_world);
    app.add_subcommand("mutants", "every seeded bug of the engine must be caught (krg-sim mutants --help)");
    app.add_subcommand("dsm", "the coherence engine (krg-sim dsm --help)");
    app.add_subcommand("handover", "who runs a process that moves (krg-sim handover --help)");
    app.footer("exit status: 0 done, 1 a safety rule was broken, 2 usage, 3 a liveness rule was broken, 4 crash or hang,\n"
               "5 one seed gave two different runs, 6 a mutant survived");
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& e) {
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        app.exit(e);
        return exit_usage;
    }
    if (exhaustive->parsed()) return explore(small_world);
    if (scale->parsed()) return measure(large_world);
    std::string why;
    if (!finish_setup(cli, why) || (cli.seeds == 0 && app.count("--seed") == 0)) {
        fmt::print(stderr, "krg-sim: {}\n", why.empty() ? "say --seeds N or --seed N (--help for more)" : why);
        return exit_usage;
    }
    if (app.count("--seed") != 0) return replay(cli, options_for(cli.seed, cli.setup));
    return batch(cli);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return command_line(argc, argv);
    } catch (const std::exception& e) {
        fmt::print(stderr, "krg-sim: {}\n", e.what());
        return exit_crash;
    }
}
