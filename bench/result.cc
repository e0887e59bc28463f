// SPDX-License-Identifier: GPL-2.0
//
// Table and JSON: see result.hh.
#include "result.hh"
#include "tests/cluster/lib/process.hh"

#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace krg::bench {

namespace {

std::string goal_text(const Row& row) {
    return row.goal ? fmt::format("{} {:.4g}", row.lower_is_better ? "<=" : ">=", *row.goal) : "-";
}

std::string spread_text(const std::optional<Spread>& spread) {
    return spread ? fmt::format("{:.0f}-{:.0f}", spread->p10, spread->p90) : "-";
}

nlohmann::ordered_json spread_json(const Spread& spread) { return {{"p10", spread.p10}, {"p90", spread.p90}}; }

}  // namespace

void Result::attempt(const std::string& name, const std::function<void()>& part) {
    try {
        part();
    } catch (const cluster_test::Interrupted&) {
        throw;
    } catch (const std::exception& error) {
        failures_.push_back(name + ": " + error.what());
        fmt::print(stderr, "krg-bench: {}\n", failures_.back());
    }
}

void print_table(const std::vector<Row>& rows) {
    size_t width = 24;
    for (const Row& row : rows) width = std::max(width, row.name.size());
    fmt::print("{:<{}} {:>16} {:>16} {:<8} {:>7} {:>9} {:>8}  {}\n", "name", width, "value", "baseline", "unit", "ratio",
               "goal", "", "p10-p90 of value, of baseline");
    for (const Row& row : rows)
        fmt::print("{:<{}} {:>16.1f} {:>16.1f} {:<8} {:>7.3f} {:>9} {:>8}  {}\n", row.name, width, row.value, row.baseline,
                   row.unit, row.ratio(), goal_text(row),
                   !row.goal       ? ""
                   : row.reached() ? "reached"
                                   : "MISSED",
                   row.value_spread ? spread_text(row.value_spread) + ", " + spread_text(row.baseline_spread) : "");
}

void write_json(const std::vector<Row>& rows, const std::string& path) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Row& row : rows) {
        nlohmann::ordered_json one{{"name", row.name},
                                   {"value", row.value},
                                   {"unit", row.unit},
                                   {"baseline", row.baseline},
                                   {"ratio", row.ratio()},
                                   {"goal", nullptr},
                                   {"lower_is_better", row.lower_is_better}};
        if (row.goal) one["goal"] = *row.goal;
        if (row.value_spread) one["value_spread"] = spread_json(*row.value_spread);
        if (row.baseline_spread) one["baseline_spread"] = spread_json(*row.baseline_spread);
        list.push_back(std::move(one));
    }
    std::ofstream file(path);
    file << list.dump(2) << '\n';
    file.close();
    if (!file) throw std::runtime_error("cannot write " + path);
}

double median(std::vector<double> values) {
    if (values.empty()) throw std::runtime_error("nothing was measured");
    std::sort(values.begin(), values.end());
    const size_t middle = values.size() / 2;
    return values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace krg::bench
