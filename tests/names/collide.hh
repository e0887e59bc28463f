// SPDX-License-Identifier: GPL-2.0
// Names made for a hash: the hash of one word run backwards.
#pragma once

#include "hadsm/names/hash.hh"

#include <cstring>
#include <string>

namespace krg::test {

/// The number that multiplies back: Newton's iteration doubles the bits that are right.
constexpr u64 inverse(u64 odd) {
    u64 x = odd;
    for (int i = 0; i < 6; i++) x *= 2 - odd * x;
    return x;
}

/// A name of eight bytes whose hash in @dir is @hash; another one for each @variant. Empty: that one cannot be a name.
inline std::string name_for_hash(u64 dir, u32 hash, u32 variant) {
    constexpr u64 a = 0x9e3779b97f4a7c15, b = 0xd6e8feb86659fd93;
    u64 h = u64{hash} << 32 | variant;
    h *= inverse(a);
    h = h ^ h >> 29 ^ h >> 58;
    h *= inverse(b);
    h = h ^ h >> 32;
    h *= inverse(b);
    h = h >> 29 | h << 35;
    const u64 word = (h ^ (dir * a + 8)) * inverse(a);
    std::string name(8, 0);
    std::memcpy(name.data(), &word, 8);
    if (name.find('/') != std::string::npos || name.find('\0') != std::string::npos) return {};
    return name;
}

/// The first @count names with this hash.
template<typename F>
void each_name_for_hash(u64 dir, u32 hash, u32 count, F each) {
    for (u32 variant = 1; count; variant++) {
        const std::string name = name_for_hash(dir, hash, variant);
        if (name.empty()) continue;
        each(name);
        count--;
    }
}

}  // namespace krg::test
