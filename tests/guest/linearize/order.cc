// SPDX-License-Identifier: GPL-2.0
//
// What must come before what: see order.hh. Known at first: the order of each process, that a value is written before it is
// read, and what the clocks tell. From that follows more, until nothing new does: with r reading what w wrote, another write
// of the same word that is before r is before w, and one that is after w is after r.
#include "order.hh"

#include <algorithm>
#include <map>

namespace krg::guest {

Order::Order(const History& history) : history_(history) {
    std::map<unsigned, std::size_t> numbers;
    for (const Event& event : history_) numbers.emplace(event.process, 0);
    std::size_t count = 0;
    for (auto& [process, number] : numbers) number = count++;
    processes_.resize(count);
    const std::size_t n = history_.size();
    process_of_.resize(n);
    place_.resize(n);
    after_.resize(n);
    for (std::size_t i = 0; i < n; i++) {
        process_of_[i] = numbers.at(history_[i].process);
        processes_[process_of_[i]].events.push_back(static_cast<int>(i));
    }
    number_words();
    for (Process& process : processes_) {
        std::sort(process.events.begin(), process.events.end(), [&](int a, int b) { return at(a).index < at(b).index; });
        process.writes.resize(words_);
        for (std::size_t i = 0; i < process.events.size(); i++) {
            const auto event = static_cast<std::size_t>(process.events[i]);
            place_[event] = i;
            if (i > 0) add(process.events[i - 1], process.events[i]);
            if (history_[event].written) process.writes[word_of_[event]].push_back(static_cast<int>(i));
        }
    }
    if (!find_sources()) return;
    add_clock();
    do {
        changed_ = false;
        if (!close()) return;
        for (std::size_t i = 0; i < n; i++)
            if (history_[i].read) imply(static_cast<int>(i));
    } while (changed_);
}

void Order::number_words() {
    std::map<std::uint32_t, std::uint32_t> numbers;
    for (const Event& event : history_) numbers.emplace(event.word, static_cast<std::uint32_t>(numbers.size()));
    words_ = numbers.size();
    for (const Event& event : history_) word_of_.push_back(numbers.at(event.word));
}

bool Order::find_sources() {
    std::map<std::pair<std::uint32_t, std::uint64_t>, int> writers;
    for (std::size_t i = 0; i < history_.size(); i++) {
        const Event& event = history_[i];
        if (!event.written) continue;
        const auto [it, fresh] = writers.emplace(std::pair(event.word, *event.written), static_cast<int>(i));
        if (!fresh || *event.written == 0) {
            contradiction_ = "a value was written twice: an update was lost";
            return false;
        }
    }
    source_.assign(history_.size(), nobody);
    for (std::size_t i = 0; i < history_.size(); i++) {
        const Event& event = history_[i];
        if (!event.read || *event.read == 0) continue;
        const auto it = writers.find({event.word, *event.read});
        if (it == writers.end() || it->second == static_cast<int>(i)) {
            contradiction_ = "a value was read that nobody wrote";
            return false;
        }
        source_[i] = it->second;
        add(it->second, static_cast<int>(i));
    }
    return true;
}

void Order::add(int before, int after) {
    after_[static_cast<std::size_t>(before)].push_back(after);
    changed_ = true;
}

// The last of another process that had ended when this one began; the earlier ones follow.
void Order::add_clock() {
    for (std::size_t p = 0; p < processes_.size(); p++) {
        const auto& theirs = processes_[p].events;
        // Ends rise with the index, except where the errors of clocks were put in: the smallest end from here on counts.
        std::vector<std::int64_t> ends(theirs.size());
        for (std::size_t i = theirs.size(); i-- > 0;)
            ends[i] = std::min(at(theirs[i]).end, i + 1 < theirs.size() ? ends[i + 1] : at(theirs[i]).end);
        for (std::size_t i = 0; i < history_.size(); i++) {
            if (process_of_[i] == p) continue;
            const auto it = std::lower_bound(ends.begin(), ends.end(), history_[i].begin);
            if (it != ends.begin()) add(theirs[static_cast<std::size_t>(it - ends.begin()) - 1], static_cast<int>(i));
        }
    }
}

// How much of every process comes before each event; false: a cycle.
bool Order::close() {
    const std::size_t n = history_.size();
    std::vector<int> missing(n, 0), ready;
    for (const auto& list : after_)
        for (int event : list) missing[static_cast<std::size_t>(event)]++;
    for (std::size_t i = 0; i < n; i++)
        if (missing[i] == 0) ready.push_back(static_cast<int>(i));
    known_.assign(n, std::vector<int>(processes_.size(), 0));
    std::size_t done = 0;
    while (!ready.empty()) {
        const auto event = static_cast<std::size_t>(ready.back());
        ready.pop_back();
        done++;
        auto& mine = known_[event];
        mine[process_of_[event]] = std::max(mine[process_of_[event]], static_cast<int>(place_[event]) + 1);
        for (int next : after_[event]) {
            auto& theirs = known_[static_cast<std::size_t>(next)];
            for (std::size_t p = 0; p < theirs.size(); p++) theirs[p] = std::max(theirs[p], mine[p]);
            if (--missing[static_cast<std::size_t>(next)] == 0) ready.push_back(next);
        }
    }
    if (done == n) return true;
    contradiction_ = "no order agrees with the processes, the clock and what was read";
    return false;
}

bool Order::is_before(int a, int b) const {
    const auto x = static_cast<std::size_t>(a), y = static_cast<std::size_t>(b);
    return a != b && known_[y][process_of_[x]] > static_cast<int>(place_[x]);
}

int Order::last_write_before(const Process& process, std::size_t p, int event, int except) const {
    const auto e = static_cast<std::size_t>(event);
    const auto& writes = process.writes[word_of_[e]];
    auto it = std::lower_bound(writes.begin(), writes.end(), known_[e][p]);
    while (it != writes.begin()) {
        const int write = process.events[static_cast<std::size_t>(*--it)];
        if (write != event && write != except) return write;
        if (write == except) return nobody;  // what is before the source is no news
    }
    return nobody;
}

int Order::first_write_after(const Process& process, int event, int writer, int except) const {
    const auto& writes = process.writes[word_of_[static_cast<std::size_t>(event)]];
    auto it = writer == nobody ? writes.begin() : std::partition_point(writes.begin(), writes.end(), [&](int place) {
        const int write = process.events[static_cast<std::size_t>(place)];
        return write == writer || !is_before(writer, write);
    });
    for (; it != writes.end(); ++it)
        if (const int write = process.events[static_cast<std::size_t>(*it)]; write != except) return write;
    return nobody;
}

void Order::imply(int reader) {
    const int writer = source(reader);
    for (std::size_t p = 0; p < processes_.size(); p++) {
        const int earlier = last_write_before(processes_[p], p, reader, writer);
        if (earlier != nobody && writer != nobody && !is_before(earlier, writer)) add(earlier, writer);
        const int later = first_write_after(processes_[p], reader, writer, reader);
        if (later != nobody && !is_before(reader, later)) add(reader, later);
    }
}

}  // namespace krg::guest
