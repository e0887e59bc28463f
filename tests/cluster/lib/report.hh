// SPDX-License-Identifier: GPL-2.0
//
// What a driver says: `ok` and `not ok` lines with evidence, remarks, and the last line that tests/run counts.
#pragma once

#include <stdexcept>
#include <string>

namespace krg::cluster_test {

/// Ends a scenario whose later steps make no sense any more; the failure is counted already.
class ScenarioFailed : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class Report {
public:
    /// One fact. Returns what it was given.
    bool check(bool holds, const std::string& sentence, const std::string& evidence = {});
    /// A fact without which the rest of the scenario cannot run.
    void require(bool holds, const std::string& sentence, const std::string& evidence = {});
    void skip(const std::string& sentence, const std::string& reason);
    /// A remark for whoever reads along.
    void note(const std::string& text) const;

    [[nodiscard]] int failed() const { return failed_; }
    /// Prints `N passed, N failed[, N skipped]`; the driver's exit status.
    int finish() const;

private:
    int passed_ = 0, failed_ = 0, skipped_ = 0;
};

/// A text with every line set in.
[[nodiscard]] std::string indented(const std::string& text, const std::string& by = "    ");

}  // namespace krg::cluster_test
