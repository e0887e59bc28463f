// SPDX-License-Identifier: GPL-2.0
//
// Modification times for /shared: see shared_clock.h.
#include "shared_clock.h"

namespace krg::vcluster {

namespace {

// Entries matter only within a tick of the clock; there are never this many files written in one.
constexpr size_t entries_max = 4096;
constexpr long tick_max_s = 2;

bool same(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

}  // namespace

void SharedClock::changed(FileId file, timespec mtime) {
    std::lock_guard hold(mutex_);
    if (last_.size() > entries_max) {
        std::erase_if(last_, [&](const auto& entry) { return entry.second.mtime.tv_sec + tick_max_s < mtime.tv_sec; });
    }
    Last& last = last_[file];
    last.more_ns = same(last.mtime, mtime) ? last.more_ns + 1 : 0;
    last.mtime = mtime;
}

timespec SharedClock::reported(FileId file, timespec mtime) {
    std::lock_guard hold(mutex_);
    auto found = last_.find(file);
    if (found == last_.end() || !same(found->second.mtime, mtime)) return mtime;
    mtime.tv_nsec += found->second.more_ns;
    mtime.tv_sec += mtime.tv_nsec / 1'000'000'000;
    mtime.tv_nsec %= 1'000'000'000;
    return mtime;
}

}  // namespace krg::vcluster
