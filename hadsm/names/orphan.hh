// SPDX-License-Identifier: GPL-2.0
// The lists of inodes without a name. The record of an orphan says where it is
// listed, so that one operation can take it off again.
#pragma once

#include "hadsm/names/list.hh"

namespace krg::names {

using Orphan = Place<OrphanPage>;

/// A place in the list of this node.
[[nodiscard]] int plan_orphan(const Pages& pages, Orphan& orphan);
/// @r has lost its last name.
void make_orphan(const Orphan& orphan, u32 node, InodePage& r);
/// The place that the orphan @r is in.
[[nodiscard]] int plan_adoption(const Pages& pages, const InodePage& r, Orphan& orphan);
/// Empties the place; the record is the caller's.
void leave_list(const Orphan& orphan);

}  // namespace krg::names
