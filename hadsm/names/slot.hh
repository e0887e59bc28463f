// SPDX-License-Identifier: GPL-2.0
// Numbers of inodes: which slots are free, and the generation that makes a number
// of a slot unique for ever.
#pragma once

#include "hadsm/names/list.hh"

namespace krg::names {

using Slot = Place<GroupPage>;

/// A free slot of @node and the number its next inode has.
[[nodiscard]] int plan_slot(const Pages& pages, u32 node, Slot& slot, u64& ino);
void take_slot(const Slot& slot, u64 ino);
/// The slot that @ino is in now.
[[nodiscard]] int plan_release(const Pages& pages, u64 ino, Slot& slot);
void release_slot(const Slot& slot);

}  // namespace krg::names
