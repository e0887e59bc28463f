// SPDX-License-Identifier: GPL-2.0
//
// Options, counters and lines of text. See suite.hh.
#include "tests/sim/membership/suite.hh"

#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace krg::sim {

namespace {

enum Counter : unsigned {
    c_runs,
    c_nodes,
    c_virtual_ms,
    c_events,
    c_messages,
    c_bytes,
    c_lost,
    c_resets,
    c_duplicates,
    c_garbage,
    c_views,
    c_commits,
    c_operations,
    c_refused,
    c_suspends,
    c_proposals,
    c_ballots,
    c_recoveries,
    c_converge_ms,
    c_faults,
    c_safety_s,
    c_twice,
    c_kind,
};
static_assert(c_kind + fault_kinds <= batch_counters);

}  // namespace

RunOptions options_for(u64 seed, const Setup& setup) {
    RunOptions options;
    options.seed = seed;
    u64 nodes = setup.nodes_min;
    if (setup.nodes_max > setup.nodes_min) nodes += derive(seed, "nodes") % (setup.nodes_max - setup.nodes_min + 1);
    options.knobs = draw_knobs(seed, nodes, setup.seconds);
    for (const std::string& assignment : setup.sets) (void)set_knob(options.knobs, assignment);
    options.only_faults = setup.faults;
    options.until = setup.until;
    return options;
}

Ending ending_of(const RunResult& result) {
    Ending end;
    end.hash = result.hash;
    end.events = result.events;
    if (!result.violation) return end;
    const Violation& v = *result.violation;
    end.rule = v.rule;
    end.text = fmt::format("at {}.{:06} s, node {}: {}", v.at / second, v.at % second, v.node, v.text);
    return end;
}

OneRun one_run(const RunOptions& options, bool twice) {
    const RunResult r = run(options);
    OneRun row = verdict(ending_of(r), twice, [&options] { return ending_of(run(options)); });
    row.value[c_runs] = 1;
    row.value[c_nodes] = options.knobs.nodes;
    row.value[c_virtual_ms] = r.virtual_time / ms;
    row.value[c_events] = r.events;
    row.value[c_messages] = r.network.messages;
    row.value[c_bytes] = r.network.bytes;
    row.value[c_lost] = r.network.lost;
    row.value[c_resets] = r.network.resets;
    row.value[c_duplicates] = r.network.duplicates;
    row.value[c_garbage] = r.network.garbage;
    row.value[c_views] = r.views;
    row.value[c_commits] = r.commits;
    row.value[c_operations] = r.operations;
    row.value[c_refused] = r.refused_operations;
    row.value[c_suspends] = r.suspends;
    row.value[c_proposals] = r.proposals;
    row.value[c_ballots] = r.ballots;
    row.value[c_recoveries] = r.recoveries;
    row.value[c_converge_ms] = r.converge_ms;
    row.value[c_faults] = r.faults;
    row.value[c_safety_s] = options.knobs.seconds;
    row.value[c_twice] = twice ? 1 : 0;
    for (unsigned kind = 0; kind < fault_kinds; kind++) row.value[c_kind + kind] = r.by_kind[kind];
    return row;
}

u64 runs_of(const BatchTotals& totals) { return totals.sum[c_runs]; }

std::string totals_line(u64 violations, const BatchTotals& totals) {
    const auto& sum = totals.sum;
    const auto& low = totals.min;
    const auto& high = totals.max;
    std::string kinds;
    for (unsigned kind = 0; kind < fault_kinds; kind++)
        kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", fault_name(static_cast<FaultKind>(kind)),
                             sum[c_kind + kind]);
    const u64 runs = sum[c_runs];
    return fmt::format(
        "totals: {} runs, {}-{} nodes, {} virtual s (>= {} s of faults a run), {} events, {} messages, {} views, {} commits, "
        "{} operations "
        "({} refused), {} suspensions, {} ballots in {} proposals, {} recoveries, slowest convergence {} ms, {} runs repeated "
        "bit for bit, "
        "{} faults (>= {} a run: {}; duplicates {}, damaged {}, resets in all {}, lost messages {}), {} violations",
        runs, runs != 0 ? low[c_nodes] : 0, high[c_nodes], sum[c_virtual_ms] / 1000, runs != 0 ? low[c_safety_s] : 0,
        sum[c_events], sum[c_messages], sum[c_views], sum[c_commits], sum[c_operations], sum[c_refused], sum[c_suspends],
        sum[c_ballots], sum[c_proposals], sum[c_recoveries], high[c_converge_ms], sum[c_twice], sum[c_faults],
        runs != 0 ? low[c_faults] : 0, kinds, sum[c_duplicates], sum[c_garbage], sum[c_resets], sum[c_lost], violations);
}

std::string replay_command(const RunOptions& options) {
    std::string out = fmt::format("krg-sim --seed {}", options.seed);
    Knobs drawn = draw_knobs(options.seed, options.knobs.nodes, options.knobs.seconds);
    const Knobs plain = draw_knobs(options.seed, 0, 0);
    if (plain.nodes != options.knobs.nodes) out += fmt::format(" --nodes {}", options.knobs.nodes);
    if (plain.seconds != options.knobs.seconds) out += fmt::format(" --seconds {}", options.knobs.seconds);
    if (options.until != 0) out += fmt::format(" --until {}", options.until);
    if (options.only_faults)
        out += options.only_faults->empty() ? " --faults none"
                                            : fmt::format(" --faults {}", fmt::join(*options.only_faults, ","));
    Knobs wanted = options.knobs;
    for (const KnobInfo& info : knob_table())
        if (knob(drawn, info) != knob(wanted, info)) out += fmt::format(" --set {}={}", info.name, knob(wanted, info));
    return out;
}

bool parse_list(const std::string& text, std::set<u64>& out) {
    if (text == "none") return true;
    const char* at = text.data();
    const char* end = at + text.size();
    while (at < end) {
        u64 value = 0;
        const auto parsed = std::from_chars(at, end, value);
        if (parsed.ec != std::errc{} || (parsed.ptr != end && *parsed.ptr != ',')) return false;
        out.insert(value);
        at = parsed.ptr == end ? end : parsed.ptr + 1;
    }
    return !text.empty();
}

}  // namespace krg::sim
