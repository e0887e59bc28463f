// SPDX-License-Identifier: GPL-2.0
// Walking and changing the trie of a directory's pages.
#include "hadsm/names/directory.hh"

#include "hadsm/names/hash.hh"

namespace krg::names {

namespace {

constexpr u64 names_of_one_page = 64;  // fewer are hardly ever in more than one page

int read_page(const Pages& pages, u64 dir, u32 hash, u32 level, u32 mode, const DirPage*& page) {
    const u64 index = page_index(hash, level);
    DirPage* lent = nullptr;
    const int rc = mode == KRG_NAMES_WRITE ? pages.write(dir, index, lent) : pages.read(dir, index, page);
    if (rc) return rc;
    if (lent) page = lent;
    if (valid_dir(*page, index)) return 0;
    // A child that its parent knows of has been written.
    return level == 0 && is_zero(*page) ? 0 : e_uclean;
}

[[nodiscard]] bool exists(const DirPage& page) { return page.head.magic != 0; }

[[nodiscard]] bool has_child(const DirPage& page, u32 hash, u32 level) {
    return level + 1 < trie_levels && (page.children >> nibble(hash, level) & 1);
}

}  // namespace

int check_name(const char* text, u32 len) {
    if (len > KRG_NAMES_NAME_MAX) return e_nametoolong;
    if (!len || (text[0] == '.' && (len == 1 || (len == 2 && text[1] == '.')))) return e_inval;
    for (u32 i = 0; i < len; i++)
        if (!text[i] || text[i] == '/') return e_inval;
    return 0;
}

u32 change_mode(const InodePage& dir) { return dir.entries < names_of_one_page ? KRG_NAMES_WRITE : KRG_NAMES_READ; }

int find_name(const Pages& pages, const InodePage& dir, const char* text, u32 len, u32 mode, Path& path) {
    path.dir = dir.ino;
    path.name = {text, len, hash_name(dir.ino, text, len)};
    for (u32 level = 0; level < trie_levels; level++) {
        const DirPage*& page = path.page[level];
        if (const int rc = read_page(pages, dir.ino, path.name.hash, level, level ? u32{KRG_NAMES_READ} : mode, page))
            return rc;
        if (!exists(*page)) return dir.entries ? e_uclean : 0;
        path.depth = level + 1;
        path.level = level;
        path.offset = find_entry(*page, path.name);
        if (path.offset) return dir.entries ? 0 : e_uclean;
        if (!has_child(*page, path.name.hash, level)) break;
    }
    return 0;
}

int plan_insertion(const Pages& pages, const Path& path, Insertion& plan) {
    plan.name = path.name;
    const u32 hash = path.name.hash;
    for (u32 level = 0; level < path.depth; level++) {
        plan.offset = find_space(*path.page[level], path.name.len);
        if (plan.offset) return pages.write(path.dir, page_index(hash, level), plan.page);
    }
    if (path.depth == trie_levels) return e_nospc;
    if (path.depth) {
        if (const int rc = pages.write(path.dir, page_index(hash, path.depth - 1), plan.parent)) return rc;
        plan.child = nibble(hash, path.depth - 1);
    }
    if (const int rc = pages.write(path.dir, page_index(hash, path.depth), plan.page)) return rc;
    return is_zero(*plan.page) ? 0 : e_uclean;
}

void insert(const Insertion& plan, u64 ino, Type type) {
    if (plan.parent) plan.parent->children = static_cast<u16>(plan.parent->children | 1u << plan.child);
    if (!plan.offset) start_page(*plan.page);
    put_entry(*plan.page, plan.offset ? plan.offset : chain_start, plan.name, ino, type);
}

int plan_removal(const Pages& pages, const Path& path, Removal& plan) {
    const u32 hash = path.name.hash;
    plan.hash = hash;
    plan.level = path.level;
    plan.offset = path.offset;
    u32 names = 1, children = 0;  // of the page, that will go
    for (u32 level = path.level;; level--) {
        if (const int rc = pages.write(path.dir, page_index(hash, level), plan.page[level])) return rc;
        const DirPage& page = *plan.page[level];
        if (level == 0 || page.count != names || page.children != children) return 0;
        names = 0;
        children = 1u << nibble(hash, level - 1);
    }
}

void remove(const Removal& plan) {
    drop_entry(*plan.page[plan.level], plan.offset);
    for (u32 level = plan.level; level; level--) {
        DirPage& page = *plan.page[level];
        if (page.count || page.children || !plan.page[level - 1]) return;
        clear(page);
        DirPage& parent = *plan.page[level - 1];
        parent.children = static_cast<u16>(parent.children & ~(1u << nibble(plan.hash, level - 1)));
    }
}

int plan_swap(const Pages& pages, const Path& path, Entry*& entry) {
    DirPage* page;
    if (const int rc = pages.write(path.dir, page_index(path.name.hash, path.level), page)) return rc;
    entry = &entry_at(*page, path.offset);
    return 0;
}

namespace {

[[nodiscard]] constexpr u32 key_of(u32 hash, u32 level) { return prefix(hash, level) | level; }

/// The child of @page (of @level, on the way of @hash) with the smallest nibble above that of @hash: the hash that leads there.
bool next_child(const DirPage& page, u32 level, u32& hash) {
    if (level + 1 == trie_levels) return false;
    for (u32 n = nibble(hash, level) + 1; n < 16; n++) {
        if (!(page.children >> n & 1)) continue;
        hash = prefix(hash, level) | n << (28 - 4 * level);
        return true;
    }
    return false;
}

}  // namespace

int seek_page(const Pages& pages, u64 dir, u32& key, const DirPage*& page) {
    u32 hash = key & ~15u;
    const u32 wanted = key & 15;
    const DirPage* way[trie_levels] = {};
    u32 level = 0;
    for (;; level++) {
        if (const int rc = read_page(pages, dir, hash, level, KRG_NAMES_READ, way[level])) return rc;
        page = exists(*way[level]) ? way[level] : nullptr;
        if (!page || level == wanted) {
            key = key_of(hash, level);
            return 0;
        }
        if (!has_child(*page, hash, level)) break;
    }
    while (!next_child(*way[level], level, hash)) {
        page = nullptr;
        if (level-- == 0) return 0;
    }
    key = key_of(hash, level + 1);
    return read_page(pages, dir, hash, level + 1, KRG_NAMES_READ, page);
}

}  // namespace krg::names
