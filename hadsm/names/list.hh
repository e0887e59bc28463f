// SPDX-License-Identifier: GPL-2.0
// What the two kinds of lists that each node has in pages of its own have in common:
// finding room, taking a place, giving it back. Page 0 of a list knows how many pages
// there are and below which none has room, so that an operation reads two of them.
// What stands in a place is the business of slot.cc and orphan.cc.
#pragma once

#include "hadsm/names/page.hh"

namespace krg::names {

inline constexpr u32 list_scan = 8;  // pages one operation looks at for room

/// A place that is or will be in use, with the pages to change.
template<typename Page>
struct Place {
    Page* first = nullptr;  // page 0 of the list
    Page* page = nullptr;
    u32 j = 0, at = 0;
    u32 cursor = 0;
    bool fresh = false;  // the page is not part of the list yet
};

template<typename Page>
[[nodiscard]] bool valid_list(const Page& p, bool first) {
    if (!is(p.head, Page::magic) || p.spare || !is_zero(p.zero)) return false;
    u32 used = 0;
    for (const auto value : p.place) {
        if (!makes_sense(value)) return false;
        used += in_use(value);
    }
    if (p.used != used) return false;
    if (!first) return p.pages == 0 && p.cursor == 0 && p.total == 0;
    if (p.pages < 1 || p.pages > list_pages_max || p.cursor > p.pages) return false;
    return p.total >= used && p.total <= u64{p.pages} * Page::places;
}

/// Page @j of a list with first page @first, to be changed.
template<typename Page>
[[nodiscard]] int write_list(const Pages& pages, u64 container, u32 node, u32 j, Page* first, Page*& page) {
    if (j == 0) {
        page = first;
        return 0;
    }
    if (const int rc = pages.write(container, list_page(node, j), page)) return rc;
    return valid_list(*page, false) ? 0 : e_uclean;
}

template<typename Page>
[[nodiscard]] bool find_free(const Page& p, u32& at) {
    if (p.used == Page::places) return false;
    for (at = 0; at < Page::places; at++)
        if (is_free(p.place[at])) return true;
    return false;
}

/// One more page at the end of the list.
template<typename Page>
[[nodiscard]] int extend(const Pages& pages, u64 container, u32 node, Place<Page>& place) {
    place.j = place.first->pages;
    place.at = 0;
    place.fresh = true;
    if (place.j >= list_pages_max) return e_nospc;
    if (const int rc = pages.write(container, list_page(node, place.j), place.page)) return rc;
    return is_zero(*place.page) ? 0 : e_uclean;
}

/// The lowest free place that can be had by looking at a few pages.
template<typename Page>
[[nodiscard]] int find_room(const Pages& pages, u64 container, u32 node, Place<Page>& place) {
    if (!is_node(node)) return e_inval;
    if (const int rc = pages.write(container, node, place.first)) return rc;
    if (is_zero(*place.first)) {
        place.page = place.first;
        place.fresh = true;
        return 0;
    }
    if (!valid_list(*place.first, true)) return e_uclean;
    u32 j = place.first->cursor;
    for (u32 seen = 0; j < place.first->pages && seen < list_scan; j++, seen++) {
        if (const int rc = write_list(pages, container, node, j, place.first, place.page)) return rc;
        if (!find_free(*place.page, place.at)) continue;
        place.j = place.cursor = j;
        return place.first->total < u64{place.first->pages} * Page::places ? 0 : e_uclean;
    }
    place.cursor = j;
    return extend(pages, container, node, place);
}

/// Place @at of page @j, which must exist.
template<typename Page>
[[nodiscard]] int find_place(const Pages& pages, u64 container, u32 node, u32 j, u32 at, Place<Page>& place) {
    if (!is_node(node) || at >= Page::places) return e_uclean;
    if (const int rc = pages.write(container, node, place.first)) return rc;
    if (!valid_list(*place.first, true) || j >= place.first->pages) return e_uclean;
    if (j && place.first->total == place.first->used) return e_uclean;  // then only page 0 has any
    place.j = j;
    place.at = at;
    return write_list(pages, container, node, j, place.first, place.page);
}

template<typename Page>
void take(const Place<Page>& place, typename Page::Value value) {
    Page& first = *place.first;
    if (place.fresh) {
        if (place.page == &first) clear(first);
        place.page->head = head_of(Page::magic);
        first.pages = place.j + 1;
    }
    place.page->place[place.at] = value;
    place.page->used++;
    first.total++;
    first.cursor = place.cursor;
}

/// @value is what an unused place keeps.
template<typename Page>
void give_back(const Place<Page>& place, typename Page::Value value) {
    place.page->place[place.at] = value;
    place.page->used--;
    place.first->total--;
    if (place.j < place.first->cursor) place.first->cursor = place.j;
}

}  // namespace krg::names
