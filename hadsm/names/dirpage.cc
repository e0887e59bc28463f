// SPDX-License-Identifier: GPL-2.0
// The chain of entries of one directory page.
#include "hadsm/names/dirpage.hh"

#include "hadsm/names/hash.hh"

namespace krg::names {

namespace {

/// Number of the first page of a level: (16^level - 1) / 15; one more than there are levels.
constexpr u64 level_start[trie_levels + 1] = {0, 1, 17, 273, 4369, 69905, 1118481, 17895697};

u8* bytes_of(DirPage& page) { return reinterpret_cast<u8*>(&page); }

bool valid_text(const char* text, u32 len) {
    for (u32 i = 0; i < len; i++)
        if (!text[i] || text[i] == '/') return false;
    return len != 0;
}

/// One link, which begins at @offset; @left: bytes up to the end of the page, 16 at least.
bool valid_entry(const Entry& e, u32 left) {
    if (e.bytes < sizeof(Entry) || e.bytes % 8 || e.bytes > left) return false;
    if (!e.ino) return true;
    if (!is_ino(e.ino) || !is_type(e.type) || sizeof(Entry) + e.len > e.bytes) return false;
    return valid_text(text_of(e), e.len);
}

}  // namespace

u64 page_index(u32 hash, u32 level) { return level_start[level] + (level ? hash >> (32 - 4 * level) : 0); }

const Entry& entry_at(const DirPage& page, u32 offset) {
    return *reinterpret_cast<const Entry*>(reinterpret_cast<const u8*>(&page) + offset);
}

Entry& entry_at(DirPage& page, u32 offset) { return *reinterpret_cast<Entry*>(bytes_of(page) + offset); }

const char* text_of(const Entry& entry) { return reinterpret_cast<const char*>(&entry) + sizeof(Entry); }

bool valid_dir(const DirPage& page, u64 index) {
    if (!is(page.head, Magic::directory) || page.zero) return false;
    u32 level = 0;
    while (level <= trie_levels && level_start[level] <= index) level++;
    if (level > trie_levels) return false;
    level--;
    if (level == trie_levels - 1 && page.children) return false;
    u32 names = 0;
    for (u32 offset = chain_start; offset != page_bytes;) {
        const u32 left = page_bytes - offset;
        if (left < sizeof(Entry) || !valid_entry(entry_at(page, offset), left)) return false;
        const Entry& e = entry_at(page, offset);
        if (e.ino && page_index(e.hash, level) != index) return false;
        names += e.ino != 0;
        offset += e.bytes;
    }
    return names == page.count;
}

bool valid_hashes(const DirPage& page, u64 dir) {
    for (u32 offset = chain_start; offset != page_bytes; offset += entry_at(page, offset).bytes) {
        const Entry& e = entry_at(page, offset);
        if (e.ino && e.hash != hash_name(dir, text_of(e), e.len)) return false;
    }
    return true;
}

u32 find_entry(const DirPage& page, const Name& name) {
    if (!page.count) return 0;
    for (u32 offset = chain_start; offset != page_bytes; offset += entry_at(page, offset).bytes) {
        const Entry& e = entry_at(page, offset);
        if (e.ino && e.hash == name.hash && e.len == name.len && !__builtin_memcmp(text_of(e), name.text, name.len))
            return offset;
    }
    return 0;
}

u32 find_space(const DirPage& page, u32 len) {
    for (u32 offset = chain_start; offset != page_bytes; offset += entry_at(page, offset).bytes) {
        const Entry& e = entry_at(page, offset);
        if (!e.ino && e.bytes >= entry_bytes(len)) return offset;
    }
    return 0;
}

void start_page(DirPage& page) {
    clear(page);
    page.head = head_of(Magic::directory);
    entry_at(page, chain_start).bytes = page_bytes - chain_start;
}

void put_entry(DirPage& page, u32 offset, const Name& name, u64 ino, Type type) {
    Entry& e = entry_at(page, offset);
    const u32 need = entry_bytes(name.len), rest = e.bytes - need;
    if (rest >= sizeof(Entry)) {  // less stays with the entry, and returns with it
        Entry& next = entry_at(page, offset + need);
        next = {};
        next.bytes = static_cast<u16>(rest);
        e.bytes = static_cast<u16>(need);
    }
    e.ino = ino;
    e.hash = name.hash;
    e.len = static_cast<u8>(name.len);
    e.type = static_cast<u8>(type);
    __builtin_memcpy(bytes_of(page) + offset + sizeof(Entry), name.text, name.len);
    page.count++;
}

void drop_entry(DirPage& page, u32 offset) {
    u32 start = offset, end = offset + entry_at(page, offset).bytes;
    for (u32 at = chain_start; at < offset; at += entry_at(page, at).bytes) {
        if (entry_at(page, at).ino)
            start = offset;
        else if (start == offset)
            start = at;
    }
    if (end != page_bytes && !entry_at(page, end).ino) end += entry_at(page, end).bytes;
    const u32 bytes = end - start;
    __builtin_memset(bytes_of(page) + start, 0, bytes);
    entry_at(page, start).bytes = static_cast<u16>(bytes);
    page.count--;
}

}  // namespace krg::names
