// SPDX-License-Identifier: GPL-2.0
// One page of a directory: a chain of entries, used and free, that fills it. Where
// the page stands in the trie of pages is known here only as far as it can be judged
// by the page alone; directory.hh walks the trie.
//
// An entry does not move while its name exists: readdir's cookies are places.
#pragma once

#include "hadsm/names/page.hh"

namespace krg::names {

inline constexpr u32 trie_levels = 7;  // 0..6; four bits of the hash lead from one to the next

/// A name that is looked for.
struct Name {
    const char* text = nullptr;
    u32 len = 0;
    u32 hash = 0;
};

/// Nibble of a hash that leads from a page of @level to the next.
[[nodiscard]] constexpr u32 nibble(u32 hash, u32 level) { return hash >> (28 - 4 * level) & 15; }
/// The bits of @hash that lead to @level, in front.
[[nodiscard]] constexpr u32 prefix(u32 hash, u32 level) { return level ? hash & ~0u << (32 - 4 * level) : 0; }
[[nodiscard]] u64 page_index(u32 hash, u32 level);

/// Judges all but the hashes of names.
[[nodiscard]] bool valid_dir(const DirPage& page, u64 index);
/// The hashes are those of the names, of directory @dir.
[[nodiscard]] bool valid_hashes(const DirPage& page, u64 dir);

[[nodiscard]] const Entry& entry_at(const DirPage& page, u32 offset);
[[nodiscard]] Entry& entry_at(DirPage& page, u32 offset);
[[nodiscard]] const char* text_of(const Entry& entry);

/// Offset of the name, 0: it is not here.
[[nodiscard]] u32 find_entry(const DirPage& page, const Name& name);
/// Offset of the first free entry a name of @len bytes fits into, 0: none.
[[nodiscard]] u32 find_space(const DirPage& page, u32 len);

/// Makes a directory page without names of what is there.
void start_page(DirPage& page);
void put_entry(DirPage& page, u32 offset, const Name& name, u64 ino, Type type);
void drop_entry(DirPage& page, u32 offset);

}  // namespace krg::names
