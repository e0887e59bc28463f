// SPDX-License-Identifier: GPL-2.0
// The pages of file locks: their bytes, and whether those make sense.
#pragma once

#include "hadsm/names/locks.h"
#include "hadsm/names/page.hh"

namespace krg::names {

inline constexpr u32 lock_magic = 0x4c47524b;  // "KRGL"
inline constexpr u32 lock_pages_max = 16;
inline constexpr u32 locks_per_page = 84;

struct [[gnu::may_alias]] LockPage {
    Head head;
    u64 ino;
    u32 pages;  // of the table; in the first
    u32 spare;
    u8 zero[40];
    krg_names_lock lock[locks_per_page];  // node 0: free
};
static_assert(sizeof(krg_names_lock) == 48 && sizeof(LockPage) == page_bytes);

[[nodiscard]] inline bool sane_lock(const krg_names_lock& l) {
    return is_node(l.node) && l.start <= l.last && l.type <= KRG_NAMES_UNLOCK &&
           (l.kind == KRG_NAMES_POSIX || l.kind == KRG_NAMES_FLOCK);
}
[[nodiscard]] inline bool valid_lock_table(const LockPage& p) {
    if (p.head.magic != lock_magic || p.head.version != format_version || p.head.zero || p.spare || !is_zero(p.zero))
        return false;
    if (p.pages > lock_pages_max) return false;
    for (const krg_names_lock& l : p.lock)
        if (l.node && (!sane_lock(l) || l.type == KRG_NAMES_UNLOCK)) return false;
    return true;
}
/// As the page @index of the container of locks.
[[nodiscard]] inline bool valid_locks(const LockPage& p, u64 index) {
    const bool first = index >> 32 == 0;
    return index >> 32 < lock_pages_max && valid_lock_table(p) && slot_of(p.ino) == static_cast<u32>(index) &&
           first == (p.pages != 0);
}

}  // namespace krg::names
