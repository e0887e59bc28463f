// SPDX-License-Identifier: GPL-2.0
// Nodes as text and JSON, and lists of node ids as people write them.
#pragma once

#include "tools/krgadm/output.hh"

namespace krg {

/** A node as JSON, the same wherever nodes appear. */
Json node_json(const NodeInfo& node);

/** Reads "2,3,6-10". Throws Error(usage). */
std::vector<NodeId> parse_id_list(const std::string& text);

/** A node by id or host name. Throws Error(no_object). */
const NodeInfo& find_node(const Picture& picture, const std::string& who);

}  // namespace krg
