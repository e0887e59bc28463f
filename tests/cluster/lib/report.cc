// SPDX-License-Identifier: GPL-2.0
//
// Lines and counts: see report.hh.
#include "report.hh"

#include <cstdio>
#include <fmt/format.h>

namespace krg::cluster_test {

std::string indented(const std::string& text, const std::string& by) {
    std::string result;
    for (size_t at = 0; at < text.size();) {
        size_t end = std::min(text.find('\n', at), text.size());
        result += by + text.substr(at, end - at) + "\n";
        at = end + 1;
    }
    return result;
}

bool Report::check(bool holds, const std::string& sentence, const std::string& evidence) {
    holds ? ++passed_ : ++failed_;
    fmt::print("{} {}\n", holds ? "ok    " : "not ok", sentence);
    if (!holds && !evidence.empty()) fmt::print("{}", indented(evidence));
    std::fflush(stdout);
    return holds;
}

void Report::require(bool holds, const std::string& sentence, const std::string& evidence) {
    if (!check(holds, sentence, evidence)) throw ScenarioFailed(sentence);
}

void Report::skip(const std::string& sentence, const std::string& reason) {
    ++skipped_;
    fmt::print("skip   {}: {}\n", sentence, reason);
    std::fflush(stdout);
}

void Report::note(const std::string& text) const {
    fmt::print("{}", indented(text, "# "));
    std::fflush(stdout);
}

int Report::finish() const {
    fmt::print("{} passed, {} failed{}\n", passed_, failed_, skipped_ > 0 ? fmt::format(", {} skipped", skipped_) : "");
    std::fflush(stdout);
    return failed_ == 0 && passed_ > 0 ? 0 : 1;
}

}  // namespace krg::cluster_test
