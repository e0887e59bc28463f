// SPDX-License-Identifier: GPL-2.0
//
// Lines of logs, and what a node does: see log.hh.
#include "log.hh"

#include "../guest.hh"

#include <algorithm>
#include <array>
#include <sstream>

namespace krg::guest {

namespace {

constexpr std::array<const char*, 5> action_names{"load", "store", "exchange", "add", "sync"};
constexpr std::uint64_t page = 4096, line = 64;

}  // namespace

Planned plan(const Setup& setup, std::uint64_t index) {
    Random random(mix(mix(setup.seed, setup.me), index));
    if (setup.sync_every && index % setup.sync_every == setup.sync_every - 1) return {Action::sync, 0, 0};
    Planned planned;
    // Some words are in great demand.
    planned.word = static_cast<std::uint32_t>(random.chance(30) ? random.below(std::min<std::uint64_t>(5, setup.words))
                                                                : random.below(setup.words));
    if (random.chance(45)) return planned;
    const std::uint32_t kind = planned.word % 5;
    planned.action = kind == 0 ? Action::add : kind == 1 ? Action::exchange : Action::store;
    if (planned.action != Action::add) planned.value = (static_cast<std::uint64_t>(setup.me) + 1) << 48 | (index + 1);
    return planned;
}

std::uint64_t place_of(const Setup& setup, std::uint32_t word) {
    const std::uint64_t in_page = word / setup.pages;
    // Cache lines first, then what is left of them.
    return word % setup.pages * page + in_page % (page / line) * line + in_page / (page / line) * 8;
}

std::string to_line(const Setup& s) {
    std::ostringstream out;
    out << "krg-linearize 1 " << s.me << ' ' << s.players << ' ' << s.seed << ' ' << s.operations << ' ' << s.words << ' '
        << s.pages << ' ' << s.sync_every << ' ' << s.batch << '\n';
    return out.str();
}

std::string to_line(const Record& r) {
    std::ostringstream out;
    out << "op " << r.index << ' ' << action_names[static_cast<std::size_t>(r.action)] << ' ' << r.done << ' ' << r.word << ' '
        << r.value << ' ' << r.seen << ' ' << r.begin << ' ' << r.end << '\n';
    return out.str();
}

std::string clock_line(std::int64_t low, std::int64_t high) {
    return "clock " + std::to_string(low) + " " + std::to_string(high) + "\n";
}

std::string end_line() { return "end\n"; }

Log parse_log(const std::string& text, std::string& error) {
    Log log;
    std::size_t number = 0;
    for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
        std::istringstream in(text.substr(begin, end - begin));
        std::string word, action;
        number++;
        in >> word;
        if (word == "krg-linearize") {
            int version = 0;
            Setup& s = log.setup;
            in >> version >> s.me >> s.players >> s.seed >> s.operations >> s.words >> s.pages >> s.sync_every >> s.batch;
        } else if (word == "op") {
            Record r;
            in >> r.index >> action >> r.done >> r.word >> r.value >> r.seen >> r.begin >> r.end;
            const auto it = std::find(action_names.begin(), action_names.end(), action);
            if (it == action_names.end() || r.index != log.records.size()) in.setstate(std::ios::failbit);
            r.action = static_cast<Action>(it - action_names.begin());
            log.records.push_back(r);
        } else if (word == "clock") {
            std::int64_t low = 0, high = 0;
            in >> low >> high;
            log.clock_low = log.has_clock ? std::min(log.clock_low, low) : low;
            log.clock_high = log.has_clock ? std::max(log.clock_high, high) : high;
            log.has_clock = true;
        } else if (word == "end") {
            log.complete = true;
        } else {
            in.setstate(std::ios::failbit);
        }
        if (in.fail()) {
            error = "line " + std::to_string(number) +
                    " cannot be read: " + text.substr(begin, std::min<std::size_t>(end - begin, 100));
            return log;
        }
    }
    if (number == 0) error = "there is nothing in it";
    return log;
}

}  // namespace krg::guest
