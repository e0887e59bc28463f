// SPDX-License-Identifier: GPL-2.0
//
// From the logs of all nodes to one history: see log.hh. The work is in what a crashed node did. What it wrote last may be
// gone, as a suffix; so only what must be there is kept: up to its last write that somebody else saw, or its last sync. Writes that
// it had no time to log are known from the seed; additions that it had no time to log from the numbers that are missing.
#include "log.hh"

#include <algorithm>
#include <limits>
#include <map>

namespace krg::guest {

namespace {

constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max() / 2;
constexpr unsigned unlogged_processes = 1000;  ///< additions that nobody logged are processes of their own from here on

using Key = std::pair<std::uint32_t, std::uint64_t>;  ///< word and value

/// What is known of one node, and how much of it is part of the history.
struct Node {
    const Log* log = nullptr;
    std::uint64_t kept = 0;                 ///< operations below
    std::map<std::uint64_t, Planned> late;  ///< writes it did not log, by index
    std::set<std::uint64_t> late_seen;
};

class Assembly {
public:
    Assembly(const std::vector<Log>& logs, const std::set<unsigned>& crashed) : crashed_(crashed) {
        for (const Log& log : logs) nodes_[log.setup.me].log = &log;
    }
    [[nodiscard]] Assembled run();

private:
    [[nodiscard]] Event event(const Log& log, const Record& record) const;
    [[nodiscard]] bool is_sound(std::string& error) const;
    void start(Node& node, bool crashed);
    void settle();
    bool keep_source(const Key& key);
    void add_unlogged(History& history);

    const std::set<unsigned>& crashed_;
    std::map<unsigned, Node> nodes_;
    std::map<std::uint32_t, std::set<std::uint64_t>> unlogged_;  ///< values of additions that nobody logged
};

Event Assembly::event(const Log& log, const Record& record) const {
    Event event{log.setup.me,
                record.index,
                record.word,
                std::nullopt,
                std::nullopt,
                record.begin + log.clock_low,
                record.end + log.clock_high};
    if (record.action != Action::store) event.read = record.seen;
    if (record.action == Action::store || (record.action == Action::exchange && record.done)) event.written = record.value;
    if (record.action == Action::add) event.written = record.seen + 1;
    return event;
}

bool Assembly::is_sound(std::string& error) const {
    const Setup& first = nodes_.begin()->second.log->setup;
    bool clocks = true, no_clocks = true;
    for (const auto& [id, node] : nodes_) {
        const Setup& s = node.log->setup;
        const std::string name = "node " + std::to_string(id);
        (node.log->has_clock ? no_clocks : clocks) = false;
        if (s.seed != first.seed || s.words != first.words || s.pages != first.pages || s.players != first.players)
            error = name + " was started with other numbers than node " + std::to_string(first.me);
        if (crashed_.count(id) == 0 && (!node.log->complete || node.log->records.size() != s.operations))
            error = name + " logged " + std::to_string(node.log->records.size()) + " of " + std::to_string(s.operations) +
                    " operations, and is not said to have crashed";
    }
    if (!clocks && !no_clocks) error = "some logs say what the clock was, some do not";
    if (nodes_.size() != first.players)
        error = std::to_string(nodes_.size()) + " logs of " + std::to_string(first.players) + " players";
    return error.empty();
}

void Assembly::start(Node& node, bool crashed) {
    const auto& records = node.log->records;
    node.kept = crashed ? 0 : records.size();
    if (!crashed) return;
    for (const Record& record : records)
        if (record.action == Action::sync) node.kept = record.index + 1;
    for (std::uint64_t i = records.size(); i < records.size() + node.log->setup.batch + 1; i++)
        if (const Planned planned = plan(node.log->setup, i); planned.value) node.late.emplace(i, planned);
}

/// Makes the write of a value part of the history, if a crashed node did it. True when that was news.
bool Assembly::keep_source(const Key& key) {
    const auto& [word, value] = key;
    Node* best = nullptr;
    std::uint64_t place = 0;
    for (const unsigned id : crashed_) {
        Node& node = nodes_.at(id);
        for (const Record& record : node.log->records) {
            const Event e = event(*node.log, record);
            if (record.action == Action::sync || record.word != word || e.written != value) continue;
            if (best && e.end < event(*best->log, best->log->records[place]).end) continue;
            best = &node;
            place = record.index;
        }
        for (const auto& [index, planned] : node.late)
            if (planned.word == word && planned.value == value) {
                const bool news = node.kept < index + 1 || node.late_seen.count(index) == 0;
                node.late_seen.insert(index);
                node.kept = std::max(node.kept, index + 1);
                return news;
            }
    }
    if (best) {
        const bool news = best->kept < place + 1;
        best->kept = std::max(best->kept, place + 1);
        return news;
    }
    if (word % 5 != 0 || crashed_.empty() || !unlogged_[word].insert(value).second) return false;
    // One node crashed: it is that one's, after all that it logged.
    if (crashed_.size() == 1) {
        Node& node = nodes_.at(*crashed_.begin());
        node.kept = std::max<std::uint64_t>(node.kept, node.log->records.size());
    }
    return true;
}

void Assembly::settle() {
    for (bool news = true; news;) {
        news = false;
        std::set<Key> wanted, written;
        for (const auto& [id, node] : nodes_)
            for (const Record& record : node.log->records) {
                if (record.index >= node.kept || record.action == Action::sync) continue;
                const Event e = event(*node.log, record);
                if (e.read && *e.read) wanted.insert({e.word, *e.read});
                if (e.written && crashed_.count(id) == 0) written.insert({e.word, *e.written});
            }
        for (const auto& [word, values] : unlogged_)
            for (const std::uint64_t value : values)
                if (value > 1) wanted.insert({word, value - 1});
        for (const Key& key : wanted)
            if (written.count(key) == 0 && keep_source(key)) news = true;
    }
}

// As many as the crashed nodes can have done; what is more stays unexplained, and is found wrong.
void Assembly::add_unlogged(History& history) {
    unsigned process = unlogged_processes;
    for (const auto& [word, values] : unlogged_) {
        std::size_t possible = 0;
        std::int64_t begin = never;
        for (const unsigned id : crashed_) {
            const Log& log = *nodes_.at(id).log;
            for (std::uint64_t i = log.records.size(); i < log.records.size() + log.setup.batch + 1; i++) {
                const Planned planned = plan(log.setup, i);
                possible += planned.action == Action::add && planned.word == word;
            }
            begin = std::min(begin, log.records.empty() ? -never : log.records.back().end + log.clock_low);
        }
        for (const std::uint64_t value : values)
            if (possible-- > 0)
                history.push_back({process++, 0, word, value - 1, value, begin, never});
            else
                return;
    }
}

Assembled Assembly::run() {
    Assembled result;
    if (nodes_.empty()) result.error = "no logs";
    if (!result.error.empty() || !is_sound(result.error)) return result;
    for (const unsigned id : crashed_)
        if (nodes_.count(id) == 0) result.error = "no log of the crashed node " + std::to_string(id);
    if (!result.error.empty()) return result;
    for (auto& [id, node] : nodes_) start(node, crashed_.count(id) != 0);
    settle();
    std::map<Key, unsigned> writers;
    for (const auto& [id, node] : nodes_) {
        for (const Record& record : node.log->records) {
            result.dropped += record.index >= node.kept;
            if (record.index >= node.kept || record.action == Action::sync) continue;
            result.history.push_back(event(*node.log, record));
        }
        const std::int64_t begin = node.log->records.empty() ? -never : node.log->records.back().end + node.log->clock_low;
        for (const std::uint64_t index : node.late_seen)
            result.history.push_back(
                {id, index, node.late.at(index).word, std::nullopt, node.late.at(index).value, begin, never});
    }
    add_unlogged(result.history);
    for (const Event& e : result.history)
        if (e.written) writers[{e.word, *e.written}] = e.process;
    for (const Event& e : result.history)
        if (e.read && *e.read) {
            const auto it = writers.find({e.word, *e.read});
            result.from_others += it != writers.end() && it->second != e.process;
        }
    return result;
}

}  // namespace

Assembled assemble(const std::vector<Log>& logs, const std::set<unsigned>& crashed) { return Assembly(logs, crashed).run(); }

}  // namespace krg::guest
