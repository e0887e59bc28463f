// SPDX-License-Identifier: GPL-2.0
// Slots of inodes, in groups of the node that made them: so nodes do not wait for
// each other to create files. A slot keeps its generation when it is free; the
// lowest free one is taken first, so that pages of inodes are used again.
#include "hadsm/names/slot.hh"

namespace krg::names {

int plan_slot(const Pages& pages, u32 node, Slot& slot, u64& ino) {
    if (const int rc = find_room(pages, KRG_NAMES_GROUPS, node, slot)) return rc;
    const u64 generation = u64{slot.page->place[slot.at]} + 1;  // of a page of zeros, too
    ino = ino_of(generation, static_cast<u32>(list_page(node, slot.j) * slots_per_page + slot.at));
    return 0;
}

void take_slot(const Slot& slot, u64 ino) { take(slot, slot_used | static_cast<u32>(generation_of(ino))); }

int plan_release(const Pages& pages, u64 ino, Slot& slot) {
    const u32 number = slot_of(ino) / slots_per_page, at = slot_of(ino) % slots_per_page;
    const u32 node = number % KRG_NAMES_NODES, j = number / KRG_NAMES_NODES;
    if (const int rc = find_place(pages, KRG_NAMES_GROUPS, node, j, at, slot)) return rc;
    return slot.page->place[at] == (slot_used | static_cast<u32>(generation_of(ino))) ? 0 : e_uclean;
}

void release_slot(const Slot& slot) { give_back(slot, slot.page->place[slot.at] & ~slot_used); }

}  // namespace krg::names

extern "C" int krg_names_count(const struct krg_names_io* io, u32 node, u64* inodes) {
    using namespace krg::names;
    if (!is_node(node)) return e_inval;
    const GroupPage* first;
    if (const int rc = Pages(*io).read(KRG_NAMES_GROUPS, node, first)) return rc;
    if (!is_zero(*first) && !valid_list(*first, true)) return e_uclean;
    *inodes = first->total;
    return 0;
}
