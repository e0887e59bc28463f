// SPDX-License-Identifier: GPL-2.0
//
// What happened in one run, for people: one line per event, kept in order, printed short (faults, views, changes of
// state) or in full (every message), or as the last lines of every node. Off in batch runs: a failing seed is run again with it.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/world/types.hh"

namespace krg::sim {

enum class Detail : u8 {
    short_log,  ///< faults, views, states, violations
    full_log,   ///< also messages, timers, connections
};

class Trace {
public:
    struct Line {
        Time at;
        NodeId node;  ///< 0: the world
        Detail detail;
        char glyph;
        std::string text;
    };

    void add(Time at, NodeId node, Detail detail, char glyph, std::string text) {
        lines_.push_back({at, node, detail, glyph, std::move(text)});
    }

    [[nodiscard]] const std::vector<Line>& lines() const { return lines_; }

    /// All lines up to this detail, oldest first, as text.
    [[nodiscard]] std::string all(Detail detail) const;
    /// The last @p count lines of every node and of the world, merged in order of time.
    [[nodiscard]] std::string tail(std::size_t count) const;
    /// What the glyphs mean, one line.
    [[nodiscard]] static std::string legend();

private:
    std::vector<Line> lines_;
};

}  // namespace krg::sim
