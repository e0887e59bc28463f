// SPDX-License-Identifier: GPL-2.0
// This node and the members of its cluster, as /proc/kerrighed/view has them.
#pragma once

namespace krg::library {

/** Without memory to be had: 0: in no cluster. */
int own_node() noexcept;

}  // namespace krg::library
