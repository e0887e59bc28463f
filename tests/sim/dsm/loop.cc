// SPDX-License-Identifier: GPL-2.0
//
// What a seed with membership stands for. See loop.hh.
#include "tests/sim/dsm/loop.hh"

#include <fmt/format.h>

#include "tests/sim/dsm/client.hh"
#include "tests/sim/dsm/drive.hh"
#include "tests/sim/membership/suite.hh"

namespace krg::sim::dsm {

namespace {

constexpr unsigned c_runs = 0, c_twice = 1, c_nodes = 2, c_virtual = 3, c_first = 4;
constexpr const char* names[] = {"events",
                                 "views",
                                 "suspensions",
                                 "operations",
                                 "refused",
                                 "messages",
                                 "pages sent",
                                 "messages lost",
                                 "recoveries",
                                 "calm moments",
                                 "lives that drained",
                                 "operators' recoveries",
                                 "of them to an older memory",
                                 "reset connections",
                                 "faults"};

/// The membership simulation as it is, but for what would only repeat it: strangers, and its own last acts.
RunOptions options_of(u64 seed) {
    sim::Setup setup;
    setup.nodes_min = 3;
    setup.nodes_max = nodes_max;
    setup.seconds = 20;
    RunOptions options = options_for(seed, setup);
    options.knobs.intruder = options.knobs.scatter = options.knobs.final_cut = options.knobs.final_operator = 0;
    return options;
}

/// Objects and classes as without membership; times that fit to milliseconds, and no faults of the edge.
Setup setup_of(u64 seed, const RunOptions& options) {
    Setup s = draw_setup(seed);
    Rng rng(derive(seed, "loop"));
    s.nodes = static_cast<unsigned>(options.knobs.nodes);
    s.no_memory_ppm = s.pinned_pct = s.edge_memory_pct = s.punch_weight = s.memory_pages = 0;
    s.params.retry_us = 2000;
    s.params.attempts = 8;
    s.params.commit_us = rng.chance(1, 2) ? 20000 : 0;
    s.params.parked_max = 100000;
    return s;
}

OneRun one(u64 seed, bool twice, Trace* trace) {
    RunOptions options = options_of(seed);
    options.trace = trace;
    const Setup setup = setup_of(seed, options);
    const u64 mean_us = Rng(derive(seed, "operations")).log_uniform(2000, 100000);
    Fabric fabric(setup, mean_us, trace != nullptr);
    options.tenant = &fabric;
    const RunResult r = run(options);
    OneRun row = verdict(ending_of(r), twice, [&] {
        Fabric again(setup, mean_us, false);
        options.tenant = &again;
        return ending_of(run(options));
    });
    row.value[c_runs] = 1;
    row.value[c_twice] = twice ? 1 : 0;
    row.value[c_nodes] = setup.nodes;
    row.value[c_virtual] = r.virtual_time;
    const u64 values[] = {r.events,
                          r.views,
                          r.suspends,
                          fabric.operations(),
                          fabric.failed_operations(),
                          fabric.messages(),
                          fabric.pages(),
                          r.network.lost,
                          fabric.recoveries(),
                          fabric.calms(),
                          fabric.drained_lives(),
                          r.recoveries,
                          fabric.went_back() ? 1U : 0U,
                          r.network.resets,
                          r.faults};
    static_assert(std::size(values) == std::size(names) && c_first + std::size(values) <= batch_counters);
    for (std::size_t i = 0; i < std::size(values); i++) row.value[c_first + i] = values[i];
    return row;
}

}  // namespace

OneRun loop_run(u64 seed, bool twice) { return one(seed, twice, nullptr); }
OneRun loop_trace(u64 seed, Trace& trace) { return one(seed, false, &trace); }

u64 loop_runs_of(const BatchTotals& totals) { return totals.sum[c_runs]; }

std::string loop_totals_line(u64 violations, const BatchTotals& totals) {
    std::string out = fmt::format("totals: {} runs, {}-{} nodes, {} virtual s", totals.sum[c_runs],
                                  totals.sum[c_runs] != 0 ? totals.min[c_nodes] : 0, totals.max[c_nodes],
                                  totals.sum[c_virtual] / second);
    for (std::size_t i = 0; i < std::size(names); i++) out += fmt::format(", {} {}", totals.sum[c_first + i], names[i]);
    return out + fmt::format("; {} runs repeated bit for bit, {} violations", totals.sum[c_twice], violations);
}

}  // namespace krg::sim::dsm
