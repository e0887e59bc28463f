// SPDX-License-Identifier: GPL-2.0
//
// A measured row, the table of them, and build/bench.json. Nothing here measures.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace krg::bench {

/// One line of the result; `ratio` is value / baseline.
struct Row {
    std::string name;
    double value = 0;
    std::string unit;
    double baseline = 0;
    std::optional<double> goal;  ///< of the ratio; none: for information
    bool lower_is_better = true;

    [[nodiscard]] double ratio() const { return baseline != 0 ? value / baseline : 0; }
    [[nodiscard]] bool reached() const { return !goal || (lower_is_better ? ratio() <= *goal : ratio() >= *goal); }
};

/// Which rows are wanted, by name.
using Wanted = std::function<bool(const std::string& name)>;

void print_table(const std::vector<Row>& rows);
/// Throws std::runtime_error when the file cannot be written.
void write_json(const std::vector<Row>& rows, const std::string& path);

[[nodiscard]] double median(std::vector<double> values);

}  // namespace krg::bench
