// SPDX-License-Identifier: GPL-2.0
//
// Prints a trace. See trace.hh.
#include "tests/sim/world/trace.hh"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>
#include <map>

namespace krg::sim {

namespace {

void print(std::string& out, const Trace::Line& line) {
    const std::string who = line.node != 0 ? fmt::format("n{}", line.node) : "-";
    fmt::format_to(std::back_inserter(out), "{:>6}.{:06}  {:<5} {} {}\n", line.at / second, line.at % second, who, line.glyph,
                   line.text);
}

}  // namespace

std::string Trace::all(Detail detail) const {
    std::string out;
    for (const Line& line : lines_)
        if (line.detail <= detail) print(out, line);
    return out;
}

std::string Trace::tail(std::size_t count) const {
    std::map<NodeId, std::size_t> seen;
    std::vector<const Line*> kept;
    for (auto line = lines_.rbegin(); line != lines_.rend(); ++line)
        if (seen[line->node]++ < count) kept.push_back(&*line);
    std::reverse(kept.begin(), kept.end());
    std::string out;
    for (const Line* line : kept) print(out, *line);
    return out;
}

std::string Trace::legend() {
    return "glyphs: ! fault  ~ heal  # view or state  > sent  < received  x lost  + connected  - disconnected  . timer  * "
           "operator\n";
}

}  // namespace krg::sim
