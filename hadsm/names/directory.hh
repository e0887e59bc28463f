// SPDX-License-Identifier: GPL-2.0
// The pages of one directory: a trie with fan-out 16 over the hashes of its names. A
// name is in one of the pages its hash leads through, from page 0 down. What changes
// is planned first, with every page lent for writing, and carried out afterwards;
// when an operation does both in one directory, it inserts before it removes.
#pragma once

#include "hadsm/names/dirpage.hh"

namespace krg::names {

/// The way a hash leads through the pages that exist, and where on it the name is.
struct Path {
    u64 dir = 0;
    Name name;
    const DirPage* page[trie_levels] = {};
    u32 depth = 0;              // pages that exist on the way
    u32 level = 0, offset = 0;  // where the name is; offset 0: nowhere
    [[nodiscard]] bool found() const { return offset != 0; }
    [[nodiscard]] const Entry& entry() const { return entry_at(*page[level], offset); }
};

/// -EINVAL, -ENAMETOOLONG: it cannot be one.
[[nodiscard]] int check_name(const char* text, u32 len);

/// Looks for a name in @dir; @mode is how page 0 is asked for. 0 whether it is found or not.
[[nodiscard]] int find_name(const Pages& pages, const InodePage& dir, const char* text, u32 len, u32 mode, Path& path);
/// How page 0 of @dir is best asked for when a name of it will change: small directories have no other page.
[[nodiscard]] u32 change_mode(const InodePage& dir);

struct Insertion {
    Name name;
    DirPage* page = nullptr;
    u32 offset = 0;             // 0: the page begins with this name
    DirPage* parent = nullptr;  // gets a child then
    u32 child = 0;
};
/// Room for the name that @path did not find. -ENOSPC: too many names with this hash.
[[nodiscard]] int plan_insertion(const Pages& pages, const Path& path, Insertion& plan);
void insert(const Insertion& plan, u64 ino, Type type);

struct Removal {
    u32 hash = 0;
    DirPage* page[trie_levels] = {};  // from the name's up to the last one that may change
    u32 level = 0, offset = 0;
};
/// Pages that lose their last name and have no children go, too.
[[nodiscard]] int plan_removal(const Pages& pages, const Path& path, Removal& plan);
void remove(const Removal& plan);

/// The page that has @path's name, to be changed.
[[nodiscard]] int plan_swap(const Pages& pages, const Path& path, Entry*& entry);

/// The first page at or behind @key in the order of readdir: a page before its children, these by nibble. A key is the
/// hash's bits that lead to a page (28 of 32, those behind are 0), and its level below. @page nullptr: there is none.
[[nodiscard]] int seek_page(const Pages& pages, u64 dir, u32& key, const DirPage*& page);

}  // namespace krg::names
