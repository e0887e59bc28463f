// SPDX-License-Identifier: GPL-2.0
// One inode's record: is it there, does it make sense, a new one, what a change
// leaves in it. Its name, its slot and its extended attributes are elsewhere.
#pragma once

#include "hadsm/names/page.hh"

namespace krg::names {

[[nodiscard]] bool valid_inode(const InodePage& r, u64 index);
[[nodiscard]] inline bool valid_time(const krg_names_time& t) { return t.nsec < 1000000000; }

/// The record of @ino; -ESTALE when it is gone.
[[nodiscard]] int read_inode(const Pages& pages, u64 ino, const InodePage*& r);
[[nodiscard]] int write_inode(const Pages& pages, u64 ino, InodePage*& r);
/// The same, of a directory: else -ENOTDIR.
[[nodiscard]] int read_dir(const Pages& pages, u64 ino, const InodePage*& r);
/// The same, of a directory that takes names: else -ENOENT.
[[nodiscard]] int write_dir(const Pages& pages, u64 ino, InodePage*& r);
/// The page for a new inode: nothing is in it.
[[nodiscard]] int write_fresh(const Pages& pages, u64 ino, InodePage*& r);

/// Can an inode be made like this?
[[nodiscard]] int check_new(const Pages& pages, const krg_names_attr& attr, const char* target, u32 target_len);
/// A record in a page of zeros: without a name or a parent yet.
void fill_inode(InodePage& r, u64 ino, const krg_names_attr& attr, const krg_names_time& now);
void fill_attr(const InodePage& r, krg_names_attr& attr);

/// The record changed, its contents did not.
void changed(InodePage& r, const krg_names_time& now);
/// Names of a directory came or went.
void touch_dir(InodePage& r, const krg_names_time& now);

[[nodiscard]] bool used_by(const InodePage& r, u32 node);

}  // namespace krg::names
