// SPDX-License-Identifier: GPL-2.0
//
// Rows of numbers and lines of text. See suite.hh.
#include "tests/sim/dsm/suite.hh"

#include <fmt/format.h>

namespace krg::sim::dsm {

namespace {

struct Field {
    const char* name;
    u64 Counts::*at;
};

/// In the order of the line of totals.
constexpr Field fields[] = {
    {"events", &Counts::events},
    {"operations", &Counts::operations},
    {"refused", &Counts::failed_operations},
    {"messages", &Counts::messages},
    {"pages sent", &Counts::pages},
    {"batches", &Counts::batches},
    {"objects in them", &Counts::batch_objects},
    {"direct hand-overs", &Counts::direct},
    {"forwards", &Counts::forwards},
    {"invalidations", &Counts::invalidations},
    {"evictions", &Counts::evictions},
    {"copies moved for room", &Counts::injections},
    {"refused for lack of room", &Counts::no_room},
    {"holes", &Counts::holes},
    {"asked for ahead", &Counts::ahead_asked},
    {"got ahead", &Counts::ahead_got},
    {"skipped ahead", &Counts::ahead_skipped},
    {"copies made for safety", &Counts::copies_made},
    {"objects found lost", &Counts::lost},
    {"bitmaps lost with all who kept them", &Counts::bits_lost},
    {"recovery points", &Counts::points},
    {"recovery points that failed", &Counts::points_failed},
    {"rollbacks", &Counts::rollbacks},
    {"views", &Counts::views},
    {"view commits", &Counts::commits},
    {"recoveries", &Counts::recoveries},
};
constexpr Field faults[] = {
    {"crashes", &Counts::crashes},
    {"expulsions", &Counts::expulsions},
    {"boots", &Counts::boots},
    {"leaves", &Counts::leaves},
    {"resets", &Counts::resets},
    {"resets the engine wanted", &Counts::resets_wanted},
    {"messages lost", &Counts::lost_messages},
    {"duplicates", &Counts::duplicates},
    {"moves without memory", &Counts::starved},
    {"pinned pages", &Counts::pins},
};
constexpr unsigned c_runs = 0, c_twice = 1, c_nodes = 2, c_virtual = 3, c_first = 4;
static_assert(c_first + std::size(fields) + std::size(faults) <= batch_counters);

Ending ending_of(const RunOutcome& out) { return {out.broken.rule, out.broken.text, out.hash, out.counts.events}; }

}  // namespace

u32 overlook = 0;

Setup setup_for(u64 seed) {
    Setup setup = seed % 16 == 14 ? draw_points(seed) : draw_setup(seed);
    setup.overlook = overlook;
    return setup;
}

OneRun one_run(u64 seed, bool twice) {
    const Setup setup = setup_for(seed);
    const RunOutcome out = run_seed(setup);
    OneRun row = verdict(ending_of(out), twice, [&setup] { return ending_of(run_seed(setup)); });
    row.value[c_runs] = 1;
    row.value[c_twice] = twice ? 1 : 0;
    row.value[c_nodes] = setup.nodes;
    row.value[c_virtual] = out.virtual_us;
    unsigned i = c_first;
    for (const Field& f : fields) row.value[i++] = out.counts.*f.at;
    for (const Field& f : faults) row.value[i++] = out.counts.*f.at;
    return row;
}

u64 runs_of(const BatchTotals& totals) { return totals.sum[c_runs]; }

std::string totals_line(u64 violations, const BatchTotals& totals) {
    std::string out = fmt::format("totals: {} runs, {}-{} nodes, {} virtual ms", totals.sum[c_runs],
                                  totals.sum[c_runs] != 0 ? totals.min[c_nodes] : 0, totals.max[c_nodes],
                                  totals.sum[c_virtual] / 1000);
    unsigned i = c_first;
    for (const Field& f : fields) out += fmt::format(", {} {}", totals.sum[i++], f.name);
    out += "; faults:";
    const char* separator = " ";
    for (const Field& f : faults) {
        out += fmt::format("{}{} {}", separator, totals.sum[i++], f.name);
        separator = ", ";
    }
    return out + fmt::format("; {} runs repeated bit for bit, {} violations", totals.sum[c_twice], violations);
}

}  // namespace krg::sim::dsm
