// SPDX-License-Identifier: GPL-2.0
//
// Judging a history, and making a violation small enough to be read: see history.hh.
#include "history.hh"

#include "order.hh"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <set>

namespace krg::guest {

namespace {

constexpr std::uint64_t search_steps = 4'000'000, small_search_steps = 20'000;

Outcome judge(const History& history, std::uint64_t steps, std::string* reason = nullptr) {
    const Order order(history);
    if (reason) *reason = order.contradiction();
    if (!order.contradiction().empty()) return Outcome::violated;
    const Outcome outcome = find_witness(order, steps);
    if (reason && outcome == Outcome::violated) *reason = "all orders were tried; none is right";
    if (reason && outcome == Outcome::undecided) *reason = "no order was found in " + std::to_string(steps) + " steps";
    return outcome;
}

/// Without reads of values whose write is gone. Leaving those out, and writes that nobody reads, makes nothing wrong that
/// was right.
History closed(History history) {
    for (;;) {
        std::set<std::pair<std::uint32_t, std::uint64_t>> written;
        for (const Event& event : history)
            if (event.written) written.emplace(event.word, *event.written);
        const auto orphan = [&](const Event& event) {
            return event.read && *event.read != 0 && written.count({event.word, *event.read}) == 0;
        };
        if (std::erase_if(history, orphan) == 0) return history;
    }
}

/// Leaves out what can be left out, in ever smaller pieces.
History shrink(History history) {
    std::sort(history.begin(), history.end(), [](const Event& a, const Event& b) { return a.end < b.end; });
    for (std::size_t piece = history.size() / 2; piece > 0;) {
        bool smaller = false;
        for (std::size_t at = 0; at < history.size();) {
            History without(history.begin(), history.begin() + static_cast<std::ptrdiff_t>(at));
            without.insert(without.end(), history.begin() + static_cast<std::ptrdiff_t>(std::min(at + piece, history.size())),
                           history.end());
            without = closed(std::move(without));
            if (judge(without, small_search_steps) == Outcome::violated) {
                history = std::move(without);
                smaller = true;
            } else {
                at += piece;
            }
        }
        if (piece > 1 || !smaller) piece /= 2;
    }
    return history;
}

/// A read of what nobody wrote is violated by itself, and would be the first that `closed` takes away.
History alone(const History& history) {
    std::set<std::pair<std::uint32_t, std::uint64_t>> written;
    for (const Event& event : history)
        if (event.written) written.emplace(event.word, *event.written);
    for (const Event& event : history)
        if (event.read && *event.read != 0 && (written.count({event.word, *event.read}) == 0 || event.read == event.written))
            return {event};
    return {};
}

}  // namespace

Verdict check_history(const History& history) {
    Verdict verdict;
    verdict.outcome = judge(history, search_steps, &verdict.reason);
    if (verdict.outcome != Outcome::violated) return verdict;
    verdict.part = alone(history);
    if (verdict.part.empty()) verdict.part = shrink(history);
    std::sort(verdict.part.begin(), verdict.part.end(), [](const Event& a, const Event& b) { return a.begin < b.begin; });
    return verdict;
}

std::string to_text(const Event& event) {
    char text[200];
    int n = std::snprintf(text, sizeof text, "node %u, operation %" PRIu64 ", word %u:", event.process, event.index,
                          event.word);
    const auto add = [&](const char* what, std::uint64_t value) {
        n += std::snprintf(text + n, sizeof text - static_cast<std::size_t>(n), " %s %#" PRIx64, what, value);
    };
    if (event.read) add("read", *event.read);
    if (event.written) add("wrote", *event.written);
    std::snprintf(text + n, sizeof text - static_cast<std::size_t>(n), "  between %.6f and %.6f ms",
                  static_cast<double>(event.begin) / 1e6, static_cast<double>(event.end) / 1e6);
    return text;
}

}  // namespace krg::guest
