// SPDX-License-Identifier: GPL-2.0
// Is a page well formed, whoever asks.
#include "hadsm/names/directory.hh"
#include "hadsm/names/inode.hh"
#include "hadsm/names/list.hh"
#include "hadsm/names/locks.hh"

namespace krg::names {

namespace {

template<typename Page>
bool valid_list_page(const u8* bytes, u64 index) {
    if (index % KRG_NAMES_NODES == 0 || index / KRG_NAMES_NODES >= list_pages_max) return false;
    return valid_list(*reinterpret_cast<const Page*>(bytes), index < KRG_NAMES_NODES);
}

bool valid(u64 container, u64 index, const u8* bytes) {
    switch (container) {
    case KRG_NAMES_INODES: return index <= ~0u && valid_inode(*reinterpret_cast<const InodePage*>(bytes), index);
    case KRG_NAMES_GROUPS: return valid_list_page<GroupPage>(bytes, index);
    case KRG_NAMES_ORPHANS: return valid_list_page<OrphanPage>(bytes, index);
    case KRG_NAMES_LOCKS: return valid_locks(*reinterpret_cast<const LockPage*>(bytes), index);
    default:
        const DirPage& page = *reinterpret_cast<const DirPage*>(bytes);
        return is_ino(container) && valid_dir(page, index) && valid_hashes(page, container);
    }
}

}  // namespace
}  // namespace krg::names

extern "C" int krg_names_valid(u64 container, u64 index, const u8* bytes) {
    const auto& page = *reinterpret_cast<const krg::names::DirPage*>(bytes);
    return krg::names::is_zero(page) || krg::names::valid(container, index, bytes);
}
