// SPDX-License-Identifier: GPL-2.0
// What operations that change names share: the inode behind an entry, and what the
// loss of a name does to it.
#pragma once

#include "hadsm/names/directory.hh"
#include "hadsm/names/inode.hh"
#include "hadsm/names/orphan.hh"

namespace krg::names {

/// The inode that an entry of @dir names, to be changed: an entry without one, or of another type, is damage.
[[nodiscard]] int write_child(const Pages& pages, const InodePage& dir, const Entry& entry, InodePage*& child);

/// One name of an inode is taken away; the last one makes it an orphan.
struct Loss {
    InodePage* inode = nullptr;
    Orphan orphan;
    [[nodiscard]] bool last() const { return inode && (inode->nlink == 1 || is_dir(*inode)); }
};
[[nodiscard]] int plan_loss(const Pages& pages, InodePage& inode, Loss& loss);
/// With last(): it becomes an orphan of @node.
void lose(const Loss& loss, u32 node, const krg_names_time& now);

/// May @dir lose (or get) a directory?
[[nodiscard]] inline int can_lose_dir(const InodePage& dir) { return dir.nlink > 2 ? 0 : e_uclean; }
[[nodiscard]] inline int can_get_dir(const InodePage& dir) { return dir.nlink < nlink_max ? 0 : e_mlink; }

}  // namespace krg::names
