// SPDX-License-Identifier: GPL-2.0
// Inodes without a name, from the operation that took the last one until no node
// uses them and their container is empty: the end of an inode. Any node can finish
// what another began; each step is one operation and can be done twice.
#include "hadsm/names/orphan.hh"

#include "hadsm/names/inode.hh"
#include "hadsm/names/slot.hh"

namespace krg::names {

int plan_orphan(const Pages& pages, Orphan& orphan) { return find_room(pages, KRG_NAMES_ORPHANS, pages.self(), orphan); }

void make_orphan(const Orphan& orphan, u32 node, InodePage& r) {
    take(orphan, r.ino);
    r.nlink = 0;
    r.orphan_node = node;
    r.orphan_at = orphan.j * OrphanPage::places + orphan.at;
}

int plan_adoption(const Pages& pages, const InodePage& r, Orphan& orphan) {
    const u32 j = r.orphan_at / OrphanPage::places, at = r.orphan_at % OrphanPage::places;
    if (const int rc = find_place(pages, KRG_NAMES_ORPHANS, r.orphan_node, j, at, orphan)) return rc;
    return orphan.page->place[at] == r.ino ? 0 : e_uclean;
}

void leave_list(const Orphan& orphan) {
    give_back(orphan, 0);
    // The last page of the list goes when it is empty, so that nobody searches it; it may come back.
    OrphanPage& first = *orphan.first;
    if (!orphan.j || orphan.page->used || orphan.j + 1 != first.pages) return;
    first.pages--;
    clear(*orphan.page);
}

namespace {

/// Page @j of the list of @node, nullptr: the list has no such page.
int read_list(const Pages& pages, u32 node, u32 j, const OrphanPage*& page) {
    const OrphanPage* first;
    if (const int rc = pages.read(KRG_NAMES_ORPHANS, node, first)) return rc;
    page = nullptr;
    if (is_zero(*first)) return 0;
    if (!valid_list(*first, true)) return e_uclean;
    if (j >= first->pages) return 0;
    page = first;
    if (!j) return 0;
    if (const int rc = pages.read(KRG_NAMES_ORPHANS, list_page(node, j), page)) return rc;
    return valid_list(*page, false) ? 0 : e_uclean;
}

/// Takes @ino off the list of @node wherever it is in it: its record does not say so.
int forget(const Pages& pages, u32 node, u64 ino) {
    const OrphanPage* page = nullptr;
    for (u32 j = 0;; j++) {
        if (const int rc = read_list(pages, node, j, page)) return rc;
        if (!page) return 0;
        for (u32 at = 0; at < OrphanPage::places; at++) {
            if (page->place[at] != ino) continue;
            Orphan orphan;
            if (const int rc = find_place(pages, KRG_NAMES_ORPHANS, node, j, at, orphan)) return rc;
            leave_list(orphan);
            return 0;
        }
    }
}

int free_inode(const Pages& pages, u32 node, u64 ino) {
    if (!is_node(node) || !is_ino(ino) || ino == KRG_NAMES_ROOT) return e_inval;
    InodePage* r;
    const int rc = write_inode(pages, ino, r);
    if (rc == e_stale) return forget(pages, node, ino);
    if (rc) return rc;
    if (r->nlink || r->orphan_node != node) return forget(pages, node, ino);
    Orphan orphan;
    Slot slot;
    if (const int err = plan_adoption(pages, *r, orphan)) return err;
    if (const int err = plan_release(pages, ino, slot)) return err;
    leave_list(orphan);
    release_slot(slot);
    clear(*r);
    return 0;
}

int orphan_at(const Pages& pages, u32 node, u32 at, u64& ino) {
    if (!is_node(node)) return e_inval;
    const OrphanPage* page;
    if (const int rc = read_list(pages, node, at / OrphanPage::places, page)) return rc;
    if (!page) return 0;
    ino = page->place[at % OrphanPage::places];
    return 1;
}

}  // namespace
}  // namespace krg::names

using namespace krg::names;

extern "C" {

int krg_names_orphan(const struct krg_names_io* io, u32 node, u32 at, u64* ino) {
    return orphan_at(Pages(*io), node, at, *ino);
}

int krg_names_unused(const struct krg_names_io* io, u64 ino, const u64 live[2], struct krg_names_attr* attr) {
    const InodePage* r;
    if (const int rc = read_inode(Pages(*io), ino, r)) return rc;
    if (r->nlink) return e_inval;
    fill_attr(*r, *attr);
    return !(r->users[0] & live[0]) && !(r->users[1] & live[1]);
}

int krg_names_free(const struct krg_names_io* io, u32 node, u64 ino) { return free_inode(Pages(*io), node, ino); }
}
