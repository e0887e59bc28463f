// SPDX-License-Identifier: GPL-2.0
//
// The two halves of checking a history: what must come before what (a cycle is a proof that no order exists), and the search
// for an order (finding one is a proof that it does). history.cc puts them together.
#pragma once

#include "history.hh"

#include <string>
#include <vector>

namespace krg::guest {

constexpr int nobody = -1;  ///< the zeros of the beginning

/// Who must come before whom. Events are numbered as in the history it was made of.
class Order {
public:
    explicit Order(const History& history);

    /// Empty: no contradiction was found. Otherwise what it is.
    [[nodiscard]] const std::string& contradiction() const { return contradiction_; }
    [[nodiscard]] const History& history() const { return history_; }
    [[nodiscard]] const std::vector<std::vector<int>>& after() const { return after_; }
    /// Whose value an event read.
    [[nodiscard]] int source(int event) const { return source_[static_cast<std::size_t>(event)]; }

private:
    struct Process {
        std::vector<int> events;               ///< by index
        std::vector<std::vector<int>> writes;  ///< by word: places in `events`
    };
    void number_words();
    bool find_sources();
    void add(int before, int after);
    void add_clock();
    bool close();
    void imply(int reader);
    [[nodiscard]] bool is_before(int a, int b) const;
    [[nodiscard]] int last_write_before(const Process& process, std::size_t p, int event, int except) const;
    [[nodiscard]] int first_write_after(const Process& process, int event, int writer, int except) const;
    [[nodiscard]] const Event& at(int event) const { return history_[static_cast<std::size_t>(event)]; }

    const History& history_;
    std::vector<Process> processes_;
    std::vector<std::size_t> process_of_, place_;  ///< of events
    std::vector<std::uint32_t> word_of_;
    std::vector<int> source_;
    std::vector<std::vector<int>> after_;
    std::vector<std::vector<int>> known_;  ///< by event and process: how many events of it come before, itself included
    std::size_t words_ = 0;
    std::string contradiction_;
    bool changed_ = false;
};

/// An order in which every read is right, if `budget` steps are enough.
[[nodiscard]] Outcome find_witness(const Order& order, std::uint64_t budget);

}  // namespace krg::guest
