// SPDX-License-Identifier: GPL-2.0
//
// What must not be in a kernel's log: the explicit list of patterns every driver checks, and the reading of kmemleak's report.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace krg::cluster_test {

struct LogPattern {
    std::string_view regex;  ///< ECMAScript, searched in one line
    std::string_view what;
};

/// All of them, in the order they are tried.
[[nodiscard]] std::span<const LogPattern> log_patterns();

struct LogFinding {
    int line = 0;  ///< from 1
    std::string_view what;
    std::string text;  ///< the line and what follows it
};

/// Lines that match a pattern, at most `limit` of them; the first pattern that matches says what a line is. `allowed`: patterns (by
/// `what`) that do not count here.
[[nodiscard]] std::vector<LogFinding> find_splats(const std::string& log, const std::vector<std::string_view>& allowed = {},
                                                  size_t limit = 5);

/// The objects of a /sys/kernel/debug/kmemleak report allocated in a module of ours, or in one that is not loaded any more.
[[nodiscard]] std::vector<std::string> find_leaks(const std::string& report);

}  // namespace krg::cluster_test
