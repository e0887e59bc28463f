// SPDX-License-Identifier: GPL-2.0
// Reading a directory. A cookie is a place: which page in the order of the trie
// (seek_page), and the offset in it. An entry stays where it is while its name exists
// and pages keep their order whatever comes and goes, so a reader meets it once.
#include "hadsm/names/directory.hh"
#include "hadsm/names/inode.hh"

namespace krg::names {

namespace {

constexpr u32 offset_bits = 12;
constexpr u64 cookie_end = 1ull << (32 + offset_bits);

/// Entries of one page from @offset on; @base is the cookie of the page.
u32 copy_entries(const DirPage& page, u64 base, u32 offset, krg_names_entry* out, u32 room) {
    u32 n = 0;
    for (u32 at = chain_start; at != page_bytes && n < room; at += entry_at(page, at).bytes) {
        const Entry& e = entry_at(page, at);
        if (at < offset || !e.ino) continue;
        out[n].ino = e.ino;
        out[n].next = base + at + e.bytes;  // behind the last one: the next key
        out[n].type = e.type;
        out[n].len = e.len;
        __builtin_memcpy(out[n].name, text_of(e), e.len);
        n++;
    }
    return n;
}

int readdir(const Pages& pages, u64 ino, u64& cookie, krg_names_entry* out, u32 room) {
    const InodePage* dir;
    if (const int rc = read_dir(pages, ino, dir)) return rc;
    if (!room || !dir->entries) return 0;
    u64 at = cookie;
    while (at < cookie_end) {
        const u32 asked = static_cast<u32>(at >> offset_bits);
        u32 key = asked;
        const DirPage* page = nullptr;
        if (const int rc = seek_page(pages, ino, key, page)) return rc;
        if (!page) return 0;
        const u64 base = u64{key} << offset_bits;
        const u32 offset = key == asked ? static_cast<u32>(at & (page_bytes - 1)) : 0;
        const u32 n = copy_entries(*page, base, offset, out, room);
        if (n) {
            cookie = out[n - 1].next;
            return static_cast<int>(n);
        }
        at = base + page_bytes;
    }
    return 0;
}

}  // namespace
}  // namespace krg::names

extern "C" int krg_names_readdir(const struct krg_names_io* io, u64 dir, u64* cookie, struct krg_names_entry* entry, u32 room) {
    return krg::names::readdir(krg::names::Pages(*io), dir, *cookie, entry, room);
}
