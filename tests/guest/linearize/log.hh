// SPDX-License-Identifier: GPL-2.0
//
// What a node writes down of what it does, what it will do next (a pure function of the seed, so that the operations a
// crashed node had no time to write down are known nevertheless), and the history that the logs of all nodes make.
#pragma once

#include "history.hh"

#include <set>
#include <string>
#include <vector>

namespace krg::guest {

enum class Action { load, store, exchange, add, sync };

/// How a run was started; the first line of a log.
struct Setup {
    unsigned me = 0, players = 1;
    std::uint64_t seed = 1, operations = 1000;
    std::uint32_t words = 24, pages = 4;
    std::uint32_t sync_every = 0;  ///< msync() as every n-th operation; 0: never
    std::uint32_t batch = 16;      ///< so many operations at most are not in the log yet
};

struct Planned {
    Action action = Action::load;
    std::uint32_t word = 0;
    std::uint64_t value = 0;  ///< to be written, if it is known; every one is another one
};

/// The operation `index` of a node. Every fifth word is for adding, every fifth for exchanges, the others for stores.
[[nodiscard]] Planned plan(const Setup& setup, std::uint64_t index);
/// Where a word is, in bytes: neighbours are in different pages, and every page has words of all kinds.
[[nodiscard]] std::uint64_t place_of(const Setup& setup, std::uint32_t word);

struct Record {
    std::uint64_t index = 0;
    Action action = Action::load;
    bool done = true;  ///< false: an exchange that found another value
    std::uint32_t word = 0;
    std::uint64_t value = 0, seen = 0;
    std::int64_t begin = 0, end = 0;  ///< of the node's own clock
};

struct Log {
    Setup setup;
    std::vector<Record> records;
    std::int64_t clock_low = 0, clock_high = 0;  ///< to be added to the node's clock to get everybody's: in between
    bool has_clock = false, complete = false;
};

[[nodiscard]] std::string to_line(const Setup& setup);
[[nodiscard]] std::string to_line(const Record& record);
[[nodiscard]] std::string clock_line(std::int64_t low, std::int64_t high);
[[nodiscard]] std::string end_line();
/// A line without an end is as if it were not there. Empty error: all is well.
[[nodiscard]] Log parse_log(const std::string& text, std::string& error);

struct Assembled {
    History history;
    std::string error;              ///< logs that cannot belong together
    std::uint64_t from_others = 0;  ///< reads of what another node wrote
    std::uint64_t dropped = 0;      ///< operations of crashed nodes that nobody needs to have happened
};

/// Of crashed nodes only what somebody else saw, what they synced, and everything they did before that has to be there.
[[nodiscard]] Assembled assemble(const std::vector<Log>& logs, const std::set<unsigned>& crashed);

}  // namespace krg::guest
