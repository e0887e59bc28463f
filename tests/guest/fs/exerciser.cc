// SPDX-License-Identifier: GPL-2.0
//
// krg-fs-exerciser: a file system against a model of one. `single` is one player in an empty directory; `shared` is one of
// several, on one machine or on many, each with a directory of its own and all with common files. Says what differs and how
// to repeat it. Exit status 0, 1 (differs), 2 (usage), 5 (another player does not come).
#include "../guest.hh"
#include "shared.hh"
#include "single.hh"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace krg::guest {

namespace {

struct Options {
    SingleOptions single;
    Table table;
    std::uint64_t steps = 2000;
    std::vector<std::string> without;
    bool quiet = false;
};

void make_directory(const std::string& path) {
    if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) fail_errno("mkdir " + path);
}

void finish_single(const Options& options, Single& single) {
    single.verify();
    if (!options.quiet)
        std::printf("seed %llu, %llu steps: %s\n", static_cast<unsigned long long>(options.single.seed),
                    static_cast<unsigned long long>(options.steps), single.summary().c_str());
}

int run_single(Options options) {
    const std::string missing = options.single.dir + "/seed" + std::to_string(options.single.seed);
    if (mkdir(missing.c_str(), 0755) != 0) fail_errno("cannot make the directory " + missing);
    options.single.dir = missing;
    Single single(options.single);
    single.run(options.steps);
    finish_single(options, single);
    return done;
}

struct Totals {
    std::uint64_t turns = 0, moves = 0, made = 0;
};

/// What everybody did, once everybody has said it.
Totals sum(const Table& table, const Totals& mine) {
    publish_text(table.dir + "/total." + std::to_string(table.me),
                 std::string(reinterpret_cast<const char*>(&mine), sizeof mine));
    meet(table.dir, "done", table.me, table.players, table.patience_s);
    Totals all;
    for (unsigned i = 0; i < table.players; i++) {
        const std::string bytes = read_text(table.dir + "/total." + std::to_string(i));
        Totals one;
        if (bytes.size() != sizeof one) fail("the totals of player " + std::to_string(i) + " are not whole");
        std::memcpy(&one, bytes.data(), sizeof one);
        all.turns += one.turns;
        all.moves += one.moves;
        all.made += one.made;
    }
    return all;
}

int run_shared(Options options) {
    Table& table = options.table;
    table.dir = options.single.dir + "/seed" + std::to_string(options.single.seed);
    table.seed = options.single.seed;
    make_directory(table.dir);
    Tokens tokens(table);
    Chain chain(table);
    options.single.dir = table.dir + "/own" + std::to_string(table.me);
    options.single.seed = mix(table.seed, table.me);
    make_directory(options.single.dir);
    Single single(options.single);
    meet(table.dir, "start", table.me, table.players, table.patience_s);
    Random random(mix(table.seed, 3000 + table.me));
    for (std::uint64_t at = 0; at < options.steps;) {
        const std::uint64_t n = std::min<std::uint64_t>(options.steps - at, 1 + random.below(10));
        single.run(n);
        at += n;
        if (random.chance(60)) chain.turn();
        if (random.chance(60)) tokens.move();
        if (random.chance(20)) tokens.make_once();
    }
    const Totals all = sum(table, {chain.turns(), tokens.moves(), tokens.made()});
    chain.finish(all.turns);
    tokens.finish(all.moves, all.made);
    finish_single(options, single);
    if (!options.quiet)
        std::printf("player %u: %llu turns of the chain, %llu tokens taken, %llu times alone; everybody: %llu, %llu, %llu\n",
                    table.me, static_cast<unsigned long long>(chain.turns()), static_cast<unsigned long long>(tokens.moves()),
                    static_cast<unsigned long long>(tokens.made()), static_cast<unsigned long long>(all.turns),
                    static_cast<unsigned long long>(all.moves), static_cast<unsigned long long>(all.made));
    return done;
}

void add_common(CLI::App& app, Options& options) {
    app.add_option("DIR", options.single.dir, "Where; a directory seedN is made there")->required();
    app.add_option("--seed", options.single.seed, "Which run")->capture_default_str();
    app.add_option("--steps", options.steps, "How many")->capture_default_str();
    app.add_option("--without", options.without,
                   "Steps that the file system does not have: " + CLI::detail::join(Single::step_names()))
        ->delimiter(',');
    app.add_option("--xattr-prefix", options.single.xattr_prefix, "Name space of extended attributes")->capture_default_str();
    app.add_option("--far", options.single.far, "Offsets are below this")->capture_default_str();
    app.add_flag("--quiet", options.quiet, "Say nothing when all is well");
}

int run(int argc, char** argv) {
    Options options;
    CLI::App app("A file system against a model of one");
    app.name("krg-fs-exerciser");
    app.require_subcommand(1);
    CLI::App* single = app.add_subcommand("single", "One player in an empty directory");
    add_common(*single, options);
    CLI::App* shared = app.add_subcommand("shared", "One of several players");
    add_common(*shared, options);
    shared->add_option("--players", options.table.players, "How many")->required()->check(CLI::Range(1U, 1000U));
    shared->add_option("--me", options.table.me, "Which one, from 0")->required();
    shared->add_option("--patience", options.table.patience_s, "Seconds to wait for the others")->capture_default_str();
    shared->add_flag("--flock", options.table.flock, "Take turns with flock() instead of fcntl()");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? done : usage;
    }
    const std::vector<std::string> known = Single::step_names();
    for (const std::string& name : options.without)
        if (std::find(known.begin(), known.end(), name) == known.end() && name != "noreplace")
            fail("no such step: " + name, usage);
    options.single.without = {options.without.begin(), options.without.end()};
    set_context("again with --seed " + std::to_string(options.single.seed) + " --steps " + std::to_string(options.steps));
    return single->parsed() ? run_single(options) : run_shared(options);
}

}  // namespace

}  // namespace krg::guest

int main(int argc, char** argv) {
    krg::guest::set_program("krg-fs-exerciser");
    return krg::guest::run(argc, argv);
}
