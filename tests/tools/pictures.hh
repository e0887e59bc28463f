// SPDX-License-Identifier: GPL-2.0
// Recordings written by hand, for states that are hard to catch on a running cluster.
#pragma once

#include <string>

#include "tools/lib/client.hh"

namespace krg::test {

/** Adds an exchange of @operation with the attributes that @replies have. */
std::string exchange(const std::string& operation, const std::vector<Request>& replies);
/** Adds a refusal. */
std::string refusal(const std::string& operation, int error, const std::string& text);

/** A cluster-get reply. */
Request cluster_reply(const ClusterStatus& status);
/** A node-get reply. */
Request node_reply(const NodeInfo& node);
/** A link-get reply. */
Request link_reply(const LinkInfo& link);
/** An event. */
Request event_message(const Event& event);

/** Cluster blue as node 1 sees it: members 1 to @nodes, all well, epoch @epoch. */
ClusterStatus blue(NodeId nodes, std::uint64_t epoch);
/** Everything a status command asks, for blue(@nodes, @epoch). */
std::string blue_messages(NodeId nodes, std::uint64_t epoch);

}  // namespace krg::test
