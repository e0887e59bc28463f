// SPDX-License-Identifier: GPL-2.0
// The bytes of every page the name space is made of, as structures laid over lent
// pages, and the few numbers that belong to them. Whether bytes make sense is
// judged beside the code that uses them; Documentation/hadsm-names.md has the tables.
#pragma once

#include "hadsm/names/names.h"

namespace krg::names {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are little endian and read in place");

inline constexpr u32 page_bytes = KRG_NAMES_PAGE;
inline constexpr u16 format_version = 1;

/// "KRGI", "KRGG", "KRGO", "KRGD".
enum class Magic : u32 { inode = 0x4947524b, group = 0x4747524b, orphans = 0x4f47524b, directory = 0x4447524b };

struct Head {
    u32 magic;
    u16 version;
    u16 zero;
};

[[nodiscard]] constexpr bool is(const Head& head, Magic magic) {
    return head.magic == static_cast<u32>(magic) && head.version == format_version && head.zero == 0;
}
[[nodiscard]] constexpr Head head_of(Magic magic) { return {static_cast<u32>(magic), format_version, 0}; }

// ---- inodes ----

inline constexpr u64 generation_max = 0x7fffffff;
inline constexpr u64 size_max = 1ull << 62;
inline constexpr u32 nlink_max = 0x7fffffff;
inline constexpr u32 inode_fixed = 256;

[[nodiscard]] constexpr u64 ino_of(u64 generation, u32 slot) { return generation << 32 | slot; }
[[nodiscard]] constexpr u64 generation_of(u64 ino) { return ino >> 32; }
[[nodiscard]] constexpr u32 slot_of(u64 ino) { return static_cast<u32>(ino); }
[[nodiscard]] constexpr bool is_ino(u64 ino) { return generation_of(ino) != 0 && generation_of(ino) <= generation_max; }

enum class InodeFlag : u32 { had_data = 1 };  // its size was not 0 once, or a promise was made

struct [[gnu::may_alias]] InodePage {
    Head head;
    u64 ino;
    u64 size;
    u64 promised;  // the end of what append() promised, 0: nothing
    u64 parent;
    u64 entries;
    u32 mode, uid, gid, nlink;
    u32 rdev_major, rdev_minor;
    u32 replicas, change;
    krg_names_time atime, mtime, ctime, btime;
    u64 users[2];
    u32 orphan_node, orphan_at;  // where it is listed while it has no name
    u16 target_len, xattr_len;
    u32 flags;
    u8 zero[80];
    u8 tail[page_bytes - inode_fixed];  // the target, then the extended attributes
};
static_assert(sizeof(InodePage) == page_bytes && offsetof(InodePage, tail) == inode_fixed);
static_assert(offsetof(InodePage, size) == KRG_NAMES_SIZE_OFFSET && KRG_NAMES_SIZE_OFFSET % 8 == 0);
static_assert(sizeof(InodePage::tail) == KRG_NAMES_TARGET_MAX);

inline void set_size(InodePage& r, u64 size) { __atomic_store_n(&r.size, size, __ATOMIC_RELAXED); }

/// An extended attribute in a tail: this, the name, the value. At any address.
struct XattrHead {
    u8 len;
    u8 zero;
    u16 size;
};
static_assert(sizeof(XattrHead) == 4);

// ---- lists of a node: groups of slots, orphans ----

/// Page j of node n is page n + 128 * j. What the whole list has in common stands in page 0 of the node.
template<typename T, u32 N, Magic M>
struct [[gnu::may_alias]] ListPage {
    using Value = T;
    static constexpr u32 places = N;
    static constexpr Magic magic = M;

    Head head;
    u32 used;    // places of this page
    u32 pages;   // of the list
    u32 cursor;  // no page below this has room
    u32 spare;
    u64 total;  // places in use of the list
    u8 zero[64];
    T place[N];
};
using GroupPage = ListPage<u32, 1000, Magic::group>;
using OrphanPage = ListPage<u64, 500, Magic::orphans>;
static_assert(sizeof(GroupPage) == page_bytes && sizeof(OrphanPage) == page_bytes);

inline constexpr u32 list_pages_max = 1u << 15;  // so that a page's number has 22 bits, and a slot's 32
inline constexpr u32 slots_per_page = 1024;      // in numbers; 1,000 exist
inline constexpr u32 slot_used = 1u << 31;

[[nodiscard]] constexpr u64 list_page(u32 node, u32 j) { return node + u64{KRG_NAMES_NODES} * j; }
[[nodiscard]] constexpr bool is_node(u32 node) { return node >= 1 && node < KRG_NAMES_NODES; }
[[nodiscard]] constexpr bool in_use(u32 slot) { return (slot & slot_used) != 0; }
[[nodiscard]] constexpr bool in_use(u64 orphan) { return orphan != 0; }
/// A slot whose generations are all spent is never free again.
[[nodiscard]] constexpr bool is_free(u32 slot) { return slot < generation_max; }
[[nodiscard]] constexpr bool is_free(u64 orphan) { return orphan == 0; }
[[nodiscard]] constexpr bool makes_sense(u32 slot) { return slot != slot_used; }
[[nodiscard]] constexpr bool makes_sense(u64 orphan) { return orphan == 0 || is_ino(orphan); }

// ---- directories ----

struct [[gnu::may_alias]] DirPage {
    Head head;
    u16 children;  // bit n: the page below for nibble n exists
    u16 count;     // names in this page
    u32 zero;
    u8 chain[page_bytes - 16];
};
static_assert(sizeof(DirPage) == page_bytes);

/// One link of the chain that fills a directory page; the name follows. At a multiple of 8.
struct [[gnu::may_alias]] Entry {
    u64 ino;  // 0: free
    u32 hash;
    u16 bytes;  // up to the next one, a multiple of 8
    u8 len;
    u8 type;
};
static_assert(sizeof(Entry) == 16);

inline constexpr u32 chain_start = 16;
[[nodiscard]] constexpr u32 entry_bytes(u32 len) { return (static_cast<u32>(sizeof(Entry)) + len + 7) & ~7u; }

// ---- types of inodes ----

enum class Type : u32 { fifo = 1, chr = 2, dir = 4, blk = 6, reg = 8, lnk = 10, sock = 12 };  // as DT_*

inline constexpr u32 mode_type = 0170000, mode_bits = 07777;
[[nodiscard]] constexpr Type type_of(u32 mode) { return static_cast<Type>((mode & mode_type) >> 12); }
[[nodiscard]] constexpr u32 mode_of(Type type) { return static_cast<u32>(type) << 12; }
[[nodiscard]] constexpr bool is_type(u32 dt) { return dt == 1 || (dt % 2 == 0 && dt >= 2 && dt <= 12); }
[[nodiscard]] constexpr bool is_dir(const InodePage& r) { return type_of(r.mode) == Type::dir; }

}  // namespace krg::names
