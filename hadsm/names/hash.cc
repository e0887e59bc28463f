// SPDX-License-Identifier: GPL-2.0
// A multiply-and-rotate hash over words of eight bytes, little endian, the last one
// filled up with zeros; the length keeps names apart that differ in trailing zeros.
#include "hadsm/names/hash.hh"

namespace krg::names {

namespace {

constexpr u64 odd_a = 0x9e3779b97f4a7c15, odd_b = 0xd6e8feb86659fd93;

constexpr u64 rotate(u64 v, u32 by) { return v << by | v >> (64 - by); }

}  // namespace

u32 hash_name(u64 dir, const char* name, u32 len) {
    u64 h = dir * odd_a + len;
    for (u32 at = 0; at < len; at += 8) {
        u64 word = 0;
        __builtin_memcpy(&word, name + at, len - at < 8 ? len - at : 8);
        h = rotate(h ^ (word * odd_a), 29) * odd_b;
    }
    h = (h ^ h >> 32) * odd_b;
    h = (h ^ h >> 29) * odd_a;
    return static_cast<u32>(h >> 32);
}

}  // namespace krg::names
