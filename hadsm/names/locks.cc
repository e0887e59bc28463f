// SPDX-License-Identifier: GPL-2.0
// File locks: an unordered table of records for each inode, one page and more when it
// gets full. A table left over from an earlier inode in the same slot counts as empty.
// Splitting and joining of ranges is that of fcntl(2).
#include "hadsm/names/locks.hh"

#include <type_traits>

namespace krg::names {

namespace {

constexpr int e_nolck = -37;
[[nodiscard]] u64 lock_page(u64 ino, u32 j) { return slot_of(ino) | u64{j} << 32; }

[[nodiscard]] bool same_owner(const krg_names_lock& a, const krg_names_lock& b) {
    return a.node == b.node && a.life == b.life && a.owner == b.owner;
}
[[nodiscard]] bool overlap(const krg_names_lock& a, const krg_names_lock& b) { return a.start <= b.last && b.start <= a.last; }
/// Overlapping, or side by side.
[[nodiscard]] bool touch(const krg_names_lock& a, const krg_names_lock& b) {
    return overlap(a, b) || (a.last != ~0ull && a.last + 1 == b.start) || (b.last != ~0ull && b.last + 1 == a.start);
}
[[nodiscard]] bool in_the_way(const krg_names_lock& a, const krg_names_lock& want) {
    return a.kind == want.kind && overlap(a, want) && !same_owner(a, want) &&
           (a.type == KRG_NAMES_EXCLUSIVE || want.type == KRG_NAMES_EXCLUSIVE);
}
struct Lives {
    const krg_names_life* life;
    u32 count;
    [[nodiscard]] bool has(const krg_names_lock& l) const {
        for (u32 i = 0; i < count; i++)
            if (life[i].node == l.node && life[i].life == l.life) return true;
        return false;
    }
};

/// The pages of a table; P is LockPage or const LockPage.
template<typename P>
struct Table {
    P* page[lock_pages_max] = {};
    u32 pages = 0;
    bool fresh = false;  // to be begun: nothing of this inode is in it

    template<typename F>
    void each(F f) const {
        for (u32 j = 0; j < pages; j++)
            for (auto& l : page[j]->lock)
                if (l.node) f(l);
    }
};

template<typename P>
int load(const Pages& pages, u64 ino, Table<P>& t) {
    const auto get = [&](u32 j) {
        if constexpr (std::is_const_v<P>)
            return pages.read(KRG_NAMES_LOCKS, lock_page(ino, j), t.page[j]);
        else
            return pages.write(KRG_NAMES_LOCKS, lock_page(ino, j), t.page[j]);
    };
    if (!is_ino(ino)) return e_inval;
    if (const int rc = get(0)) return rc;
    t.fresh = is_zero(*t.page[0]);
    if (t.fresh) return 0;
    if (!valid_lock_table(*t.page[0]) || !t.page[0]->pages) return e_uclean;
    t.fresh = t.page[0]->ino != ino;
    if (t.fresh) return 0;
    for (u32 j = 1; j < t.page[0]->pages; j++) {
        if (const int rc = get(j)) return rc;
        if (!valid_lock_table(*t.page[j]) || t.page[j]->ino != ino) return e_uclean;
    }
    t.pages = t.page[0]->pages;
    return 0;
}

template<typename P>
const krg_names_lock* conflict(const Table<P>& t, const krg_names_lock& want, const Lives& lives) {
    const krg_names_lock* found = nullptr;
    t.each([&](const krg_names_lock& l) {
        if (!found && in_the_way(l, want) && lives.has(l)) found = &l;
    });
    return found;
}

/// Room for what a split and a new lock need; the page that is to be begun for it, if any.
int make_room(const Pages& pages, u64 ino, const Table<LockPage>& t, const Lives& lives, u32 need, LockPage*& more) {
    u32 room = t.pages * locks_per_page;
    t.each([&](const krg_names_lock& l) { room -= lives.has(l); });
    more = nullptr;
    if (room >= need) return 0;
    if (t.fresh) {
        more = t.page[0];
        return 0;
    }
    if (t.pages == lock_pages_max) return e_nolck;
    return pages.write(KRG_NAMES_LOCKS, lock_page(ino, t.pages), more);
}

void begin_page(Table<LockPage>& t, LockPage* page, u64 ino) {
    clear(*page);
    page->head = {lock_magic, format_version, 0};
    page->ino = ino;
    t.page[t.pages++] = page;
    t.page[0]->pages = t.pages;
}

void put(const Table<LockPage>& t, const krg_names_lock& lock) {
    for (u32 j = 0; j < t.pages; j++)
        for (krg_names_lock& l : t.page[j]->lock)
            if (!l.node) {
                l = lock;
                return;
            }
}

/// What the owner has of this kind makes way for @want, or becomes part of it; a rest behind it is put back last.
void replace(const Table<LockPage>& t, krg_names_lock want) {
    krg_names_lock rest{};
    t.each([&](krg_names_lock& l) {
        if (l.kind != want.kind || !same_owner(l, want)) return;
        if (l.type == want.type && touch(l, want)) {
            if (l.start < want.start) want.start = l.start;
            if (l.last > want.last) want.last = l.last;
            l = {};
            return;
        }
        if (!overlap(l, want)) return;
        if (l.last > want.last) {
            rest = l;
            rest.start = want.last + 1;
        }
        if (l.start < want.start)
            l.last = want.start - 1;
        else
            l = {};
    });
    if (want.type != KRG_NAMES_UNLOCK) put(t, want);
    if (rest.node) put(t, rest);
}

int set_lock(const Pages& pages, u64 ino, const krg_names_lock& want, const Lives& lives) {
    if (!sane_lock(want)) return e_inval;
    Table<LockPage> t;
    if (const int rc = load(pages, ino, t)) return rc;
    if (want.type == KRG_NAMES_UNLOCK && t.fresh) return 0;
    if (want.type != KRG_NAMES_UNLOCK && conflict(t, want, lives)) return e_busy;
    LockPage* more;
    // Giving up a part in the middle leaves two; taking one in the middle leaves three.
    if (const int rc = make_room(pages, ino, t, lives, want.type == KRG_NAMES_UNLOCK ? 1 : 2, more)) return rc;
    if (more) begin_page(t, more, ino);
    t.each([&](krg_names_lock& l) {
        if (!lives.has(l)) l = {};
    });
    replace(t, want);
    return 0;
}

}  // namespace

}  // namespace krg::names

using namespace krg::names;

int krg_names_testlock(const krg_names_io* io, u64 ino, const krg_names_lock* want, const krg_names_life* life, u32 lives,
                       krg_names_lock* found) {
    if (!sane_lock(*want)) return e_inval;
    Table<const LockPage> t;
    if (const int rc = load(Pages(*io), ino, t)) return rc;
    const krg_names_lock* l = conflict(t, *want, Lives{life, lives});
    if (l) *found = *l;
    return l ? 1 : 0;
}

int krg_names_setlock(const krg_names_io* io, u64 ino, const krg_names_lock* want, const krg_names_life* life, u32 lives) {
    return set_lock(Pages(*io), ino, *want, Lives{life, lives});
}
