// SPDX-License-Identifier: GPL-2.0
//
// Random numbers of a run: a tree of seeds (splitmix64) whose leaves are xoshiro256** generators, one per component, so
// that one more draw in one place does not reshuffle all others. Integers only: no decision depends on floating point.
#pragma once

#include <bit>
#include <string_view>

#include "tests/sim/world/types.hh"

namespace krg::sim {

/// One step of splitmix64; @p state moves on.
constexpr u64 splitmix(u64& state) {
    state += 0x9e3779b97f4a7c15;
    u64 z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/// The seed of the child @p label (number @p index) of @p seed.
constexpr u64 derive(u64 seed, std::string_view label, u64 index = 0) {
    u64 state = seed;
    u64 out = splitmix(state);
    for (char c : label) {
        state ^= static_cast<u8>(c);
        out ^= splitmix(state);
    }
    state ^= index;
    return out ^ splitmix(state);
}

/// xoshiro256**.
class Rng {
public:
    explicit Rng(u64 seed) {
        for (u64& word : state_) word = splitmix(seed);
    }

    u64 next() {
        const u64 result = std::rotl(state_[1] * 5, 7) * 9;
        const u64 t = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= t;
        state_[3] = std::rotl(state_[3], 45);
        return result;
    }

    /// Uniform in [0, n); 0 for n = 0.
    u64 below(u64 n) { return static_cast<u64>((static_cast<unsigned __int128>(next()) * n) >> 64); }

    /// Uniform in [lo, hi].
    u64 between(u64 lo, u64 hi) { return lo + below(hi - lo + 1); }

    /// True num times in den.
    bool chance(u64 num, u64 den) { return below(den) < num; }

    /// About exponential with this mean: a geometric number of halvings, linear in between.
    u64 exponential(u64 mean) {
        const u64 r = next();
        const auto halvings = static_cast<u64>(std::countl_zero(r | 1));
        const u64 part = r & 0xffff;
        const u64 scaled = halvings * 65536 + part;
        return static_cast<u64>((static_cast<unsigned __int128>(mean) * scaled * 45426) >> 32);
    }

    /// Each power of two between lo and hi is equally likely: short and long durations alike. lo > 0.
    u64 log_uniform(u64 lo, u64 hi) {
        const auto octaves = static_cast<u64>(std::bit_width(hi / lo));
        const u64 base = lo << below(octaves);
        const u64 value = base + below(base);
        return value > hi ? hi : value;
    }

private:
    u64 state_[4];
};

}  // namespace krg::sim
