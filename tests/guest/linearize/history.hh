// SPDX-License-Identifier: GPL-2.0
//
// What several nodes did to words of shared memory, and whether one memory could have answered them so. Where histories come
// from (logs, crashes) is in log.hh; here every value that was written to a word is another one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace krg::guest {

/// One operation on one word: a load reads, a store writes, an exchange does both at once.
struct Event {
    unsigned process = 0;
    std::uint64_t index = 0;  ///< place in its process
    std::uint32_t word = 0;
    std::optional<std::uint64_t> read, written;
    std::int64_t begin = 0, end = 0;  ///< it took effect in between: nanoseconds of one clock, with the clocks' errors
};

/// In any order; those of a process by their index.
using History = std::vector<Event>;

enum class Outcome {
    correct,    ///< an order of all operations was found
    violated,   ///< there is none
    undecided,  ///< the search was given up
};

struct Verdict {
    Outcome outcome = Outcome::correct;
    std::string reason;
    History part;  ///< of a violation: a sub-history that is violated still, and none of whose operations can be left out
};

/// Is there one order of all operations that each process and the clock agree with (what ended before another began comes
/// first), in which every read gets what was written last? Words are 0 in the beginning. That is linearizability of the
/// memory as a whole, as far as the clocks can tell; with wide intervals it becomes sequential consistency.
[[nodiscard]] Verdict check_history(const History& history);

/// One line for people.
[[nodiscard]] std::string to_text(const Event& event);

}  // namespace krg::guest
