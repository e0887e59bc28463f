// SPDX-License-Identifier: GPL-2.0
//
// Runs krg-engine-bench (Google Benchmark) and turns its output into rows.
#include "measure.hh"
#include "tests/cluster/lib/process.hh"

#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace krg::bench {

void measure_engine(const Options& options, const Wanted& wanted, Result& result) {
    static const std::map<std::string, std::string> names{{"engine-step-renewal", "step_renewal"},
                                                          {"engine-step-tick", "step_tick"},
                                                          {"engine-step-refused", "step_refused"}};
    bool any = false;
    for (const auto& [name, program_name] : names) any = any || wanted(name);
    if (!any) return;

    // Repetitions in random order: whatever else the machine does meets the baseline too.
    const auto run = cluster_test::run_process({options.top + "/build/host/bin/krg-engine-bench", "--benchmark_format=json",
                                                "--benchmark_repetitions=9", "--benchmark_enable_random_interleaving=true",
                                                "--benchmark_min_time=0.02", "--benchmark_report_aggregates_only=true"},
                                               {120, {}, false});
    const auto json = nlohmann::json::parse(run.out, nullptr, false);
    if (!run.done() || json.is_discarded()) throw std::runtime_error("krg-engine-bench: " + run.evidence());
    std::map<std::string, double> median_ns;
    for (const auto& one : json.at("benchmarks"))
        if (one.at("aggregate_name") == "median") median_ns[one.at("run_name")] = one.at("cpu_time");
    for (const auto& [name, program_name] : names)
        if (wanted(name))
            result.add({name, median_ns.at(program_name), "ns", median_ns.at("baseline_copy"), std::nullopt, true});
}

}  // namespace krg::bench
