// SPDX-License-Identifier: GPL-2.0
//
// Makes a failing run small: leaves out faults, calms knobs, takes away nodes, as long as the same rule is still broken. Each
// attempt runs in a child of its own, because what fails may be a crash.
#include <algorithm>

#include "tests/sim/membership/suite.hh"

namespace krg::sim {

namespace {

class Shrinker {
public:
    Shrinker(const RunOptions& options, std::string rule, u64 budget)
        : best_(options),
          rule_(std::move(rule)),
          budget_(budget) {
        best_.trace = nullptr;
    }

    RunOptions smallest() {
        bool better = true;
        name_faults();
        while (better && budget_ > 0) {
            better = drop_faults();
            better |= stop_earlier();
            better |= calm_knobs();
            better |= fewer_nodes();
        }
        return best_;
    }

private:
    bool take(const RunOptions& candidate) {
        if (budget_ == 0) return false;
        budget_--;
        const OneRun row = run_guarded(20, [&] { return one_run(candidate, false); });
        if (!row.failed || row.rule != rule_) return false;
        best_ = candidate;
        return true;
    }

    /// From "all faults" to the list of those there are.
    void name_faults() {
        if (best_.only_faults) return;
        RunOptions candidate = best_;
        candidate.only_faults.emplace();
        for (u64 i = 0; i < best_.knobs.faults; i++) candidate.only_faults->insert(i);
        take(candidate);
    }

    /// Delta debugging: ever smaller pieces of the list are left out.
    bool drop_faults() {
        if (!best_.only_faults) return false;
        bool better = false;
        for (std::size_t piece = std::max<std::size_t>(best_.only_faults->size() / 2, 1); piece > 0; piece /= 2) {
            const std::vector<u64> list(best_.only_faults->begin(), best_.only_faults->end());
            for (std::size_t at = 0; at < list.size(); at += piece) {
                RunOptions candidate = best_;
                for (std::size_t i = at; i < std::min(at + piece, list.size()); i++) candidate.only_faults->erase(list[i]);
                if (candidate.only_faults->size() < best_.only_faults->size()) better |= take(candidate);
            }
        }
        return better;
    }

    bool stop_earlier() {
        bool better = false;
        u64 low = 1;
        u64 high = best_.until != 0 ? best_.until : best_.knobs.seconds;
        while (low < high) {
            RunOptions candidate = best_;
            candidate.until = (low + high) / 2;
            if (take(candidate)) {
                better = true;
                high = candidate.until;
            } else {
                low = candidate.until + 1;
            }
        }
        return better;
    }

    bool calm_knobs() {
        bool better = false;
        for (const KnobInfo& info : knob_table()) {
            if (info.calm == ~u64{0} || knob(best_.knobs, info) == info.calm) continue;
            // A weight decides which fault an index is; faults are dropped one by one instead.
            if (std::string(info.name).starts_with("fault.")) continue;
            RunOptions candidate = best_;
            knob(candidate.knobs, info) = info.calm;
            better |= take(candidate);
        }
        return better;
    }

    bool fewer_nodes() {
        bool better = false;
        while (best_.knobs.nodes > 2) {
            RunOptions candidate = best_;
            candidate.knobs.nodes--;
            if (!take(candidate)) break;
            better = true;
        }
        return better;
    }

    RunOptions best_;
    std::string rule_;
    u64 budget_;
};

}  // namespace

RunOptions shrink(const RunOptions& options, const std::string& rule, u64 budget) {
    return Shrinker(options, rule, budget).smallest();
}

}  // namespace krg::sim
