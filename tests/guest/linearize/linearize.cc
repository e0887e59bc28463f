// SPDX-License-Identifier: GPL-2.0
//
// krg-linearize: `record` does loads, stores, exchanges and additions to words of a mapped file, as one of several nodes, and
// logs them; `check` reads all logs and says whether one memory could have answered so, crashes included. Exit status 0, 1
// (it could not, or that was not found out), 2 (usage), 5 (not in time).
#include "../guest.hh"
#include "history.hh"
#include "log.hh"
#include "record.hh"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace krg::guest {

namespace {

struct CheckOptions {
    std::vector<std::string> logs;
    std::vector<unsigned> crashed;
    std::uint64_t least_shared = 1;
};

int check(const CheckOptions& options) {
    std::vector<Log> logs;
    std::int64_t width = 0;
    for (const std::string& path : options.logs) {
        std::string error;
        logs.push_back(parse_log(read_text(path), error));
        if (!error.empty()) fail(path + ": " + error);
        width = std::max(width, logs.back().clock_high - logs.back().clock_low);
    }
    const Assembled all = assemble(logs, {options.crashed.begin(), options.crashed.end()});
    if (!all.error.empty()) fail(all.error);
    if (all.from_others < options.least_shared)
        fail("only " + std::to_string(all.from_others) + " reads saw what another node wrote: that shows nothing");
    const Verdict verdict = check_history(all.history);
    if (verdict.outcome == Outcome::correct) {
        std::printf("an order of all %zu operations exists; %llu reads saw another node's write; clocks known to %.3f ms; %llu "
                    "operations "
                    "of crashed nodes left out\n",
                    all.history.size(), static_cast<unsigned long long>(all.from_others), static_cast<double>(width) / 1e6,
                    static_cast<unsigned long long>(all.dropped));
        return done;
    }
    std::string text = (verdict.outcome == Outcome::violated ? "violated: " : "undecided: ") + verdict.reason;
    const std::int64_t zero = verdict.part.empty() ? 0 : verdict.part.front().begin;
    for (Event event : verdict.part) {
        event.begin -= zero;
        event.end -= zero;
        text += "\n  " + to_text(event);
    }
    fail(text);
}

void add_record(CLI::App& app, RecordOptions& options) {
    Setup& setup = options.setup;
    app.add_option("FILE", options.file, "What all map")->required();
    app.add_option("LOG", options.log, "Where this node writes down what it did")->required();
    app.add_option("--me", setup.me, "Which player, from 0")->required();
    app.add_option("--players", setup.players, "How many")->required();
    app.add_option("--seed", setup.seed, "Which run")->capture_default_str();
    app.add_option("--ops", setup.operations, "Operations of this node")->capture_default_str();
    app.add_option("--words", setup.words, "In the file")->capture_default_str()->check(CLI::Range(1U, 65536U));
    app.add_option("--pages", setup.pages, "They are spread over")->capture_default_str()->check(CLI::Range(1U, 65536U));
    app.add_option("--sync-every", setup.sync_every, "msync() as every n-th operation")->capture_default_str();
    app.add_option("--batch", setup.batch, "Operations per write to the log")
        ->capture_default_str()
        ->check(CLI::Range(1U, 1000U));
    app.add_option("--meet", options.meet, "Directory where the players meet before they begin");
    app.add_option("--clock", options.clock,
                   "Directory whose files have one clock's times on all nodes; none: the nodes have one clock");
    app.add_option("--tick-us", options.tick_us, "By how much those times may be behind")->capture_default_str();
    app.add_option("--pause-us", options.pause_us, "Longest pause between operations")->capture_default_str();
    app.add_option("--patience", options.patience_s, "Seconds")->capture_default_str();
    app.add_flag("--no-truncate", options.no_truncate, "Do not set the file's size");
}

int run(int argc, char** argv) {
    RecordOptions recorder;
    CheckOptions checker;
    CLI::App app("Histories of shared memory");
    app.name("krg-linearize");
    app.require_subcommand(1);
    CLI::App* to_record = app.add_subcommand("record", "Be one of the players");
    add_record(*to_record, recorder);
    CLI::App* to_check = app.add_subcommand("check", "Judge what all players logged");
    to_check->add_option("LOG", checker.logs, "One a player")->required();
    to_check->add_option("--crashed", checker.crashed, "Players whose machine died")->allow_extra_args(false)->delimiter(',');
    to_check->add_option("--least-shared", checker.least_shared, "So many reads at least must have seen another's write")
        ->capture_default_str();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? done : usage;
    }
    if (recorder.setup.words > recorder.setup.pages * 512ULL) fail("more words than the pages have", usage);
    if (to_check->parsed()) return check(checker);
    set_context("seed " + std::to_string(recorder.setup.seed) + ", player " + std::to_string(recorder.setup.me));
    record(recorder);
    return done;
}

}  // namespace

}  // namespace krg::guest

int main(int argc, char** argv) {
    krg::guest::set_program("krg-linearize");
    return krg::guest::run(argc, argv);
}
