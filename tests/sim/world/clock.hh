// SPDX-License-Identifier: GPL-2.0
//
// A node's own monotonic clock: it started at some offset and runs a little fast or slow. It runs on while the node is
// frozen. The engine is given whole milliseconds of it, rounded down, as the kernel edge does.
#pragma once

#include "tests/sim/world/types.hh"

namespace krg::sim {

class Clock {
public:
    Clock() = default;
    /// @p skew_ppm: microseconds gained per second of true time, may be negative (above -1000000).
    Clock(u64 offset_us, i64 skew_ppm) : offset_us_(offset_us), skew_ppm_(skew_ppm) {}

    [[nodiscard]] u64 local_us(Time at) const {
        const auto gained = static_cast<i64>(at) * skew_ppm_ / 1000000;
        return offset_us_ + at + static_cast<u64>(gained);
    }
    [[nodiscard]] u64 local_ms(Time at) const { return local_us(at) / 1000; }

    /// The first true time at which this clock reads @p local_ms or more; never for ~0.
    [[nodiscard]] Time when(u64 local_ms) const {
        if (local_ms >= never / 2000) return never;
        const u64 want = local_ms * 1000;
        if (local_us(0) >= want) return 0;
        Time at = (want - offset_us_) * 1000000 / static_cast<u64>(1000000 + skew_ppm_);
        while (local_us(at) < want) ++at;
        while (at > 0 && local_us(at - 1) >= want) --at;
        return at;
    }

private:
    u64 offset_us_ = 0;
    i64 skew_ppm_ = 0;
};

}  // namespace krg::sim
