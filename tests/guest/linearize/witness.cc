// SPDX-License-Identifier: GPL-2.0
//
// The search for an order of all operations (as Wing and Gong, with Lowe's memory of states that were tried): see order.hh.
// A read that is right now is done at once, which never does harm; only which write comes next is a choice.
#include "order.hh"

#include "../guest.hh"

#include <algorithm>
#include <map>
#include <unordered_set>

namespace krg::guest {

namespace {

class Search {
public:
    Search(const Order& order, std::uint64_t budget);
    [[nodiscard]] Outcome run();

private:
    struct Choice {
        std::vector<int> writes;  ///< not tried yet, the best one last
        std::size_t trail;        ///< what was done before
    };
    [[nodiscard]] const Event& at(int event) const { return order_.history()[static_cast<std::size_t>(event)]; }
    [[nodiscard]] bool is_right(int event) const;
    void perform(int event);
    void undo_to(std::size_t length);
    bool perform_reads();
    [[nodiscard]] std::vector<int> possible_writes() const;

    const Order& order_;
    std::uint64_t budget_;
    std::vector<int> missing_;                    ///< of each event: how many must come first
    std::vector<int> readers_;                    ///< of each event: how many have not read its value yet
    std::map<std::uint32_t, int> last_;           ///< by word: whose value it has
    std::map<std::uint32_t, int> first_readers_;  ///< by word: how many have not read the zeros yet
    std::vector<int> ready_;
    std::vector<std::pair<int, int>> trail_;  ///< what was done, and who had written the word before
    std::uint64_t state_ = 0;                 ///< changes with what was done and with what every word has
    std::unordered_set<std::uint64_t> tried_;
};

Search::Search(const Order& order, std::uint64_t budget) : order_(order), budget_(budget) {
    const std::size_t n = order.history().size();
    missing_.assign(n, 0);
    readers_.assign(n, 0);
    for (const auto& list : order.after())
        for (int event : list) missing_[static_cast<std::size_t>(event)]++;
    for (std::size_t i = 0; i < n; i++) {
        const int event = static_cast<int>(i);
        last_.emplace(at(event).word, nobody);
        if (missing_[i] == 0) ready_.push_back(event);
        if (!at(event).read) continue;
        if (order.source(event) == nobody) {
            first_readers_[at(event).word]++;
        } else {
            readers_[static_cast<std::size_t>(order.source(event))]++;
        }
    }
}

bool Search::is_right(int event) const { return !at(event).read || last_.at(at(event).word) == order_.source(event); }

void Search::perform(int event) {
    const Event& e = at(event);
    int& last = last_.at(e.word);
    trail_.emplace_back(event, last);
    if (e.read) (last == nobody ? first_readers_.at(e.word) : readers_[static_cast<std::size_t>(last)])--;
    state_ ^= mix(static_cast<std::uint64_t>(event), 1);
    if (e.written) {
        state_ ^= mix(e.word, mix(static_cast<std::uint64_t>(last), 2)) ^
                  mix(e.word, mix(static_cast<std::uint64_t>(event), 2));
        last = event;
    }
    ready_.erase(std::find(ready_.begin(), ready_.end(), event));
    for (int next : order_.after()[static_cast<std::size_t>(event)])
        if (--missing_[static_cast<std::size_t>(next)] == 0) ready_.push_back(next);
}

void Search::undo_to(std::size_t length) {
    while (trail_.size() > length) {
        const auto [event, before] = trail_.back();
        trail_.pop_back();
        const Event& e = at(event);
        for (int next : order_.after()[static_cast<std::size_t>(event)])
            if (missing_[static_cast<std::size_t>(next)]++ == 0) ready_.erase(std::find(ready_.begin(), ready_.end(), next));
        ready_.push_back(event);
        if (e.written) {
            state_ ^= mix(e.word, mix(static_cast<std::uint64_t>(before), 2)) ^
                      mix(e.word, mix(static_cast<std::uint64_t>(event), 2));
            last_.at(e.word) = before;
        }
        state_ ^= mix(static_cast<std::uint64_t>(event), 1);
        if (e.read) (before == nobody ? first_readers_.at(e.word) : readers_[static_cast<std::size_t>(before)])++;
    }
}

// False: a read can never be right any more.
bool Search::perform_reads() {
    for (;;) {
        const auto it = std::find_if(ready_.begin(), ready_.end(), [&](int event) { return !at(event).written; });
        if (it == ready_.end()) return true;
        if (!is_right(*it)) return false;  // its source is done, and was written over
        perform(*it);
    }
}

std::vector<int> Search::possible_writes() const {
    std::vector<int> all;
    for (int event : ready_) {
        const int last = last_.at(at(event).word);
        const auto first = first_readers_.find(at(event).word);
        const int waiting = last != nobody                  ? readers_[static_cast<std::size_t>(last)]
                            : first == first_readers_.end() ? 0
                                                            : first->second;
        if (is_right(event) && waiting == (at(event).read ? 1 : 0)) all.push_back(event);
    }
    std::sort(all.begin(), all.end(), [&](int a, int b) { return std::pair(at(a).end, a) > std::pair(at(b).end, b); });
    return all;
}

Outcome Search::run() {
    std::vector<Choice> choices;
    for (;;) {
        const bool alive = perform_reads() && tried_.insert(state_).second;
        if (trail_.size() == order_.history().size()) return Outcome::correct;
        choices.push_back({alive ? possible_writes() : std::vector<int>{}, trail_.size()});
        while (!choices.empty() && choices.back().writes.empty()) choices.pop_back();
        if (choices.empty()) return Outcome::violated;
        if (budget_-- == 0) return Outcome::undecided;
        undo_to(choices.back().trail);
        perform(choices.back().writes.back());
        choices.back().writes.pop_back();
    }
}

}  // namespace

Outcome find_witness(const Order& order, std::uint64_t budget) { return Search(order, budget).run(); }

}  // namespace krg::guest
