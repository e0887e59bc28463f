// SPDX-License-Identifier: GPL-2.0
//
// A measured row, the table of them, and build/bench.json. Nothing here measures.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace krg::bench {

/// Where four fifths of the samples lie.
struct Spread {
    double p10 = 0, p90 = 0;
};

/// One line of the result; `ratio` is value / baseline.
struct Row {
    std::string name;
    double value = 0;
    std::string unit;
    double baseline = 0;
    std::optional<double> goal;  ///< of the ratio; none: for information
    bool lower_is_better = true;
    std::optional<Spread> value_spread = {}, baseline_spread = {};

    [[nodiscard]] double ratio() const { return baseline != 0 ? value / baseline : 0; }
    [[nodiscard]] bool reached() const { return !goal || (lower_is_better ? ratio() <= *goal : ratio() >= *goal); }
};

/// Which rows are wanted, by name.
using Wanted = std::function<bool(const std::string& name)>;

/// What a run has found out so far: rows, and what could not be measured.
class Result {
public:
    void add(Row row) { rows_.push_back(std::move(row)); }
    /// Runs one part of the measurement; when it throws, that is noted under `name` and the run goes on. An interrupt ends it.
    void attempt(const std::string& name, const std::function<void()>& part);

    [[nodiscard]] const std::vector<Row>& rows() const { return rows_; }
    [[nodiscard]] const std::vector<std::string>& failures() const { return failures_; }

private:
    std::vector<Row> rows_;
    std::vector<std::string> failures_;
};

void print_table(const std::vector<Row>& rows);
/// Throws std::runtime_error when the file cannot be written.
void write_json(const std::vector<Row>& rows, const std::string& path);

[[nodiscard]] double median(std::vector<double> values);

}  // namespace krg::bench
