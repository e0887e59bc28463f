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
    return row.goal ? fmt::format("{} {:.2f}", row.lower_is_better ? "<=" : ">=", *row.goal) : "-";
}

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
    fmt::print("{:<24} {:>16} {:>16} {:<8} {:>7} {:>9}\n", "name", "value", "baseline", "unit", "ratio", "goal");
    for (const Row& row : rows)
        fmt::print("{:<24} {:>16.1f} {:>16.1f} {:<8} {:>7.3f} {:>9}  {}\n", row.name, row.value, row.baseline, row.unit,
                   row.ratio(), goal_text(row),
                   !row.goal       ? ""
                   : row.reached() ? "reached"
                                   : "MISSED");
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
