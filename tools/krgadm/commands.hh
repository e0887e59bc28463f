// SPDX-License-Identifier: GPL-2.0
// Every command of krgadm as a function: arguments in, exit code out. The grammar is in cli.cc.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tools/krgadm/context.hh"
#include "tools/lib/error.hh"

namespace krg {

using Seconds = std::chrono::seconds;

/** What the command line says of this node, over the configuration file. */
struct ConfigOverrides {
    std::string name, host, key_file, witness;
    std::uint16_t node_id = 0;
    std::uint32_t lease_ms = 0;
    std::vector<std::string> links;
};

/** Kerrighed's -n, -c, -t, -a: which nodes. */
struct NodeSelection {
    std::string list;
    unsigned count = 0, total = 0;
    bool all = false;
};

// status.cc
Exit cluster_status(Context& context);
Exit health_show(Context& context, bool detail);

// cluster.cc
Exit cluster_create(Context& context, const ConfigOverrides& overrides, Seconds wait);
Exit cluster_join(Context& context, const ConfigOverrides& overrides, std::optional<Seconds> wait);
Exit cluster_leave(Context& context, std::optional<Seconds> wait);
Exit cluster_start(Context& context, Seconds wait);
Exit cluster_recover(Context& context, Seconds wait);
Exit cluster_power(Context& context, PowerAction action);

// conf.cc
Exit cluster_showconf(Context& context);
Exit cluster_apply(Context& context, const std::string& file);
/** The configuration file with what the command line overrides, checked to be complete. */
Config effective_config(Context& context, const ConfigOverrides& overrides);

// node.cc
Exit node_list(Context& context);
Exit node_show(Context& context, const std::string& who);
Exit node_evict(Context& context, const std::string& who, std::optional<Seconds> wait);
Exit node_drain(Context& context, const std::string& who, std::optional<Seconds> wait);
Exit nodes_status(Context& context, const std::string& list);
Exit nodes_add(Context& context, const NodeSelection& selection, Seconds wait);
Exit nodes_del(Context& context, const NodeSelection& selection, Seconds wait);

// link.cc
Exit link_list(Context& context);
Exit link_show(Context& context, const std::string& name);
Exit stats_show(Context& context, const std::string& name, std::optional<NodeId> peer, bool all);

// container.cc
Exit container_list(Context& context);
/** @which: id, the beginning of one, or a name (all containers of that file system). */
Exit container_show(Context& context, const std::string& which);

// page.cc
/** A page as ID/CONTAINER and INDEX, or as the file it is of and an offset in it. */
struct PageName {
    std::string container, index;
    std::vector<std::string> file;  // path and offset, or nothing
    bool all = false;               // ask every member
};
Exit container_page(Context& context, const PageName& page);

// monitor.cc
/** @limit: end after so many events, 0 never. */
Exit monitor(Context& context, bool timestamps, unsigned limit);

}  // namespace krg
