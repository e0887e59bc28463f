// SPDX-License-Identifier: GPL-2.0
//
// Reads lines of past failures. See corpus.hh.
#include "tests/sim/run/corpus.hh"

#include <fstream>

namespace krg::sim {

std::vector<CorpusLine> read_corpus(const std::string& folder, const std::string& file) {
    std::vector<CorpusLine> lines;
    std::ifstream in(folder + "/" + file);
    for (std::string line; std::getline(in, line);) {
        const auto hash = line.find('#');
        std::string text = line.substr(0, hash);
        text.erase(text.find_last_not_of(" \t") + 1);
        if (!text.empty()) lines.push_back({file, text, hash == std::string::npos ? "" : line.substr(hash + 1)});
    }
    return lines;
}

}  // namespace krg::sim
