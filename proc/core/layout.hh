// SPDX-License-Identifier: GPL-2.0
// Where the bytes of a prologue, a record's head and a field's head are. What
// they mean is in Documentation/ghost-format.md.
#pragma once

#include "proc/core/ghost.h"

namespace krg::ghost {

constexpr u64 load(const u8* at, u32 bytes) {
    u64 v = 0;
    for (u32 i = 0; i < bytes; i++) v |= static_cast<u64>(at[i]) << (8 * i);
    return v;
}
constexpr void store(u8* at, u64 v, u32 bytes) {
    for (u32 i = 0; i < bytes; i++) at[i] = static_cast<u8>(v >> (8 * i));
}

constexpr u8 magic[8] = {0x89, 'K', 'R', 'G', '\r', '\n', 0x1a, '\n'};  // damaged by whatever changes line ends or bit 7
constexpr u32 byte_order = 0x01020304;
constexpr u64 known_features = KRG_GHOST_INCREMENT | KRG_GHOST_ROUNDS;
constexpr u32 page_size = 4096;

namespace prologue {
constexpr u32 major = 8, minor = 10, order = 12, features = 16, number = 24, reserved = 32, crc = 44;
}
namespace head {
constexpr u32 type = 0, version = 2, flags = 3, sequence = 4, object = 8, fields = 16, data = 20, data_crc = 24, crc = 28;
}
constexpr u8 mandatory = 1;  // of a record or a field: who does not know it must not go on
constexpr u8 record_version = 1;

constexpr u32 field_head = 8;  // u16 id, u8 kind, u8 flags, u32 length
constexpr u32 padded(u32 length) { return (length + 7) & ~u32{7}; }

}  // namespace krg::ghost
