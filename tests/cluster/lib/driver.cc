// SPDX-License-Identifier: GPL-2.0
//
// The frame of a driver: see driver.hh.
#include "driver.hh"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fmt/format.h>
#include <fnmatch.h>
#include <sstream>
#include <unistd.h>

namespace krg::cluster_test {

namespace fs = std::filesystem;

namespace {

constexpr int tail_lines = 40;
constexpr double debug_patience = 4;  // KASAN and lockdep under emulation

std::string environment(const char* name, const std::string& otherwise) {
    const char* value = std::getenv(name);
    return value != nullptr && *value != 0 && std::string(value) != "-" ? value : otherwise;
}

std::string repeat_command(const DriverOptions& options, const std::string& only) {
    std::string text = fmt::format("{} --kernel {} --seed {}", options.program, options.kernel, options.seed);
    if (options.rounds > 0)
        text += fmt::format(" --rounds {} --nodes {}", options.rounds, options.nodes);
    else
        text += fmt::format(" --only '{}'", only);
    return text;
}

// What somebody who was not there needs: each node's state and the end of its log.
void print_evidence(Test& test, const std::string& scenario) {
    if (test.cluster.is_up()) {
        Json machines = test.cluster.machines();
        for (const auto& node : machines.at("nodes")) {
            int id = node.at("id");
            std::string state = node.at("state");
            std::string status = state == "running" ? test.cluster.status(id).text() : "";
            fmt::print("  --- node {}: machine {} {}\n{}", id, state, status,
                       indented(last_lines(test.cluster.log(id), tail_lines), "  | "));
        }
        if (!machines.at("cuts").empty()) fmt::print("  --- cuts: {}\n", machines.at("cuts").dump());
    }
    fmt::print("  --- again: {}\n", repeat_command(test.options, scenario));
    std::fflush(stdout);
}

void explain(Test& test, const std::string& scenario) {
    try {
        print_evidence(test, scenario);
    } catch (const ClusterError& error) {
        fmt::print("  --- no evidence: {}\n", error.what());
    }
}

void run_scenario(Test& test, const Scenario& scenario) {
    test.report.note(fmt::format("{}: {}", scenario.name, scenario.what));
    const double begin = monotonic_s();
    const int failed_before = test.report.failed();
    try {
        scenario.run(test);
    } catch (const ScenarioFailed&) {
        // counted where it was found
    } catch (const ClusterError& error) {
        test.report.check(false, fmt::format("{}: every step could be done", scenario.name), error.what());
    }
    if (test.report.failed() != failed_before) explain(test, scenario.name);
    test.report.note(fmt::format("{}: {:.1f} s", scenario.name, monotonic_s() - begin));
}

// A scenario that failed leaves the cluster in any state; the next one is to be judged by what it does itself.
bool ready_for_next(Test& test) {
    if (!test.cluster.options().load) return true;
    try {
        if (repair(test)) return true;
    } catch (const ClusterError& error) {
        test.report.note(error.what());
    }
    test.report.note("the cluster could not be repaired: a new one");
    try {
        test.cluster.down();
        test.cluster.up();
        return true;
    } catch (const ClusterError& error) {
        test.report.check(false, "a cluster comes up again", error.what());
        return false;
    }
}

void run_all(Test& test, const std::vector<const Scenario*>& scenarios) {
    try {
        test.cluster.up();
    } catch (const ClusterError& error) {
        test.report.check(false, fmt::format("{} nodes come up on {}", test.cluster.options().nodes, test.options.kernel),
                          error.what());
        explain(test, "*");
        return;
    }
    int failed = 0;
    for (const Scenario* scenario : scenarios) {
        if (test.report.failed() != failed && !ready_for_next(test)) return;
        failed = test.report.failed();
        run_scenario(test, *scenario);
    }
    check_kernel_logs(test);
}

}  // namespace

DriverOptions read_options(int argc, char** argv, DriverOptions defaults) {
    DriverOptions options = std::move(defaults);
    CLI::App app(options.what);
    app.name(options.program);
    options.kernel = environment("KRG_KERNEL", options.kernel);
    options.folder = environment("KRG_SUITE_DIR", "");
    app.add_option("--top", options.top)->group("")->required();
    app.add_option("--kernel", options.kernel, "6.1, 6.12 or debug")->capture_default_str();
    app.add_option("--only", options.only, "Only scenarios that match this glob, or one of several with commas between them")
        ->capture_default_str();
    app.add_option("--seed", options.seed, "Repeat a run; the program prints it");
    app.add_option("--patience", options.patience, "Multiply every time limit (default: 1, debug kernel 4)");
    if (options.rounds > 0) {
        app.add_option("--rounds", options.rounds, "How many rounds")->capture_default_str();
        app.add_option("--nodes", options.nodes, "How many machines")->capture_default_str();
    }
    app.add_flag("--keep", options.keep, "Leave the virtual cluster up when something failed");
    app.add_flag("--no-build", options.no_build, "Use what is built now");
    app.add_flag("--list", options.list, "Print the scenarios and end");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error) == 0 ? 0 : 2);
    }
    if (options.seed == 0) options.seed = std::random_device{}() % 1'000'000 + 1;
    if (options.patience <= 0) options.patience = options.kernel == "debug" ? debug_patience : 1;
    options.own_folder = options.folder.empty();
    if (options.own_folder) options.folder = fmt::format("{}/krg-test.{}", fs::temp_directory_path().string(), getpid());
    fs::create_directories(options.folder);
    return options;
}

ClusterOptions cluster_for(const DriverOptions& options, const std::string& name) {
    ClusterOptions cluster;
    cluster.top = options.top;
    cluster.name = fmt::format("{}-{}", name, getpid());
    cluster.kernel = options.kernel;
    cluster.nodes = options.nodes;
    cluster.links = options.links;
    cluster.build = !options.no_build;
    cluster.patience = options.patience;
    cluster.folder = options.folder;
    return cluster;
}

/** Any of some globs with commas between them. */
static bool matches(const std::string& globs, const char* name) {
    std::istringstream list(globs);
    for (std::string glob; std::getline(list, glob, ',');)
        if (fnmatch(glob.c_str(), name, 0) == 0) return true;
    return false;
}

int run_driver(const DriverOptions& options, const std::vector<Scenario>& scenarios, ClusterOptions wanted) {
    std::vector<const Scenario*> chosen;
    for (const auto& scenario : scenarios) {
        if (matches(options.only, scenario.name)) chosen.push_back(&scenario);
        if (options.list) fmt::print("{:<20} {}\n", scenario.name, scenario.what);
    }
    if (options.list) return 0;
    if (chosen.empty()) {
        fmt::print(stderr, "{}: no scenario matches '{}'; --list shows them\n", options.program, options.only);
        return 2;
    }
    catch_interrupts();
    Report report;
    std::mt19937_64 random(options.seed);
    Cluster cluster(std::move(wanted));
    Test test{report, cluster, random, options};
    report.note(fmt::format("{} on {}, seed {}", options.program, options.kernel, options.seed));
    try {
        run_all(test, chosen);
    } catch (const Interrupted&) {
        report.check(false, "the run came to its end", "interrupted");
    } catch (const std::exception& error) {
        report.check(false, "the run came to its end", error.what());
    }
    if (options.keep && report.failed() > 0) {
        report.note(fmt::format("kept: tests/cluster/vcluster --name {} status", cluster.options().name));
        report.finish();
        std::fflush(nullptr);
        _exit(1);
    }
    try {
        cluster.down();
    } catch (const std::exception& error) {
        report.check(false, "the virtual cluster goes down", error.what());
    }
    if (options.own_folder && report.failed() == 0) fs::remove_all(options.folder);
    return report.finish();
}

}  // namespace krg::cluster_test
