// SPDX-License-Identifier: GPL-2.0
// CRC-32C (Castagnoli, reflected), eight bytes at a time by tables that are made
// at compile time. The kernel's own is faster where the processor has one.
#include "proc/core/layout.hh"

namespace krg::ghost {
namespace {

struct Tables {
    u32 at[8][256];
};

constexpr Tables made() {
    Tables t{};
    for (u32 i = 0; i < 256; i++) {
        u32 crc = i;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
        t.at[0][i] = crc;
    }
    for (u32 i = 0; i < 256; i++)
        for (u32 n = 1; n < 8; n++) t.at[n][i] = t.at[n - 1][i] >> 8 ^ t.at[0][t.at[n - 1][i] & 0xff];
    return t;
}
constexpr Tables tables = made();

}  // namespace
}  // namespace krg::ghost

extern "C" u32 krg_ghost_crc32c(u32 crc, const void* at, size_t length) {
    using krg::ghost::tables;
    const u8* p = static_cast<const u8*>(at);
    crc = ~crc;
    for (; length >= 8; p += 8, length -= 8) {
        const u64 word = krg::ghost::load(p, 8) ^ crc;
        crc = 0;
        for (u32 n = 0; n < 8; n++) crc ^= tables.at[7 - n][word >> (8 * n) & 0xff];
    }
    for (; length > 0; p++, length--) crc = crc >> 8 ^ tables.at[0][(crc ^ *p) & 0xff];
    return ~crc;
}
