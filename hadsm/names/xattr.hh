// SPDX-License-Identifier: GPL-2.0
// Extended attributes in the tail of an inode's page.
#pragma once

#include "hadsm/names/page.hh"

namespace krg::names {

/// The lengths fit into the tail, and the attributes fill theirs exactly.
[[nodiscard]] bool valid_xattrs(const InodePage& r);

}  // namespace krg::names
