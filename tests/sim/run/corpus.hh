// SPDX-License-Identifier: GPL-2.0
//
// Past failures, one a line: the options that repeat the run, then `#` and what it found. What a line means is the caller's
// business; every batch replays its file before anything random.
#pragma once

#include <string>
#include <vector>

namespace krg::sim {

struct CorpusLine {
    std::string file, text, comment;
};

/// The lines of @p folder/@p file; none if there is no such file.
[[nodiscard]] std::vector<CorpusLine> read_corpus(const std::string& folder, const std::string& file);

}  // namespace krg::sim
