// SPDX-License-Identifier: GPL-2.0
//
// krg-bench: what the project promises about speed, measured on a virtual cluster on this machine, each value beside a baseline
// taken in the same run. Writes build/bench.json and prints a table. Started by `make bench`.
#include "measure.hh"
#include "tests/cluster/lib/process.hh"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fmt/format.h>
#include <fnmatch.h>

int main(int argc, char** argv) {
    using namespace krg::bench;
    Options options;
    bool strict = false;
    CLI::App app{
        "Measures messages, crash detection, shared memory and the engine; each value beside a baseline of the same run"};
    app.add_option("--top", options.top, "The source tree")->required();
    app.add_option("--only", options.only, "Rows to measure, as a shell pattern: hadsm-read, '@(rpc|hadsm)-*'")
        ->capture_default_str();
    app.add_option("--kernel", options.kernel, "6.1, 6.12 or debug")->capture_default_str();
    app.add_option("--output", options.output, "JSON file (default: build/bench.json)");
    app.add_option("--round-trips", options.round_trips, "Samples of each kind")
        ->check(CLI::Range(1, 1000000))
        ->capture_default_str();
    app.add_option("--bulk-rounds", options.bulk_rounds)->check(CLI::Range(1, 10000))->capture_default_str();
    app.add_option("--bulk-messages", options.bulk_messages)->check(CLI::Range(1, 10000))->capture_default_str();
    app.add_option("--crashes", options.crashes)->check(CLI::Range(1, 100))->capture_default_str();
    app.add_option("--moves", options.moves, "Of each size and mode")->check(CLI::Range(1, 100))->capture_default_str();
    app.add_option("--fault-samples", options.fault_samples, "Samples of each kind of fault")
        ->check(CLI::Range(4, 100000))
        ->capture_default_str();
    app.add_option("--file-rounds", options.file_rounds, "How often a whole file is read")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("--file-mib", options.file_mib)->check(CLI::Range(1, 128))->capture_default_str();
    app.add_flag("--strict", strict, "Exit status 1 when a goal is missed");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    if (options.output.empty()) options.output = options.top + "/build/bench.json";
    const Wanted wanted = [&](const std::string& name) {
        return fnmatch(options.only.c_str(), name.c_str(), FNM_EXTMATCH) == 0;
    };

    Result result;
    try {
        krg::cluster_test::catch_interrupts();
        std::filesystem::create_directories(options.top + "/build/bench");
        std::filesystem::remove(options.output);  // an older result must not pass for this one's
        result.attempt("engine", [&] { measure_engine(options, wanted, result); });
        result.attempt("messages", [&] { measure_messages(options, wanted, result); });
        result.attempt("detect-and-agree", [&] { measure_detection(options, wanted, result); });
        result.attempt("hadsm", [&] { measure_memory(options, wanted, result); });
        result.attempt("migration", [&] { measure_migration(options, wanted, result); });
        if (result.rows().empty() && result.failures().empty()) {
            fmt::print(stderr, "krg-bench: nothing is called {}\n", options.only);
            return 8;
        }
        write_json(result.rows(), options.output);
    } catch (const std::exception& error) {
        fmt::print(stderr, "krg-bench: {}\n", error.what());
        return 1;
    }
    print_table(result.rows());
    fmt::print("written to {}\n", options.output);
    for (const std::string& failure : result.failures()) fmt::print("not measured: {}\n", failure);
    if (!result.failures().empty()) return 1;
    for (const Row& row : result.rows())
        if (strict && !row.reached()) return 1;
    return 0;
}
