// SPDX-License-Identifier: GPL-2.0
// What every command gets: the global options, the kernel behind a client, the machine, and where to print. Tests build
// their own with recorded messages and string streams.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "tools/lib/client.hh"
#include "tools/lib/config.hh"
#include "tools/lib/containers.hh"
#include "tools/lib/system.hh"

namespace krg {

struct Context {
    // Global options.
    bool json = false;
    bool pretty = false;
    bool assume_yes = false;  // --yes, --force
    std::string config_path = default_config_path;

    // The world.
    System& system;
    std::function<Client()> client;  // throws NoFamily when the module is not loaded
    std::function<std::unique_ptr<EventSource>()> events;
    std::function<void(std::chrono::milliseconds)> sleep;
    std::function<std::chrono::steady_clock::time_point()> now;
    bool terminal = false;                                     // err is a terminal: progress may rewrite its line
    std::function<bool(const std::string& question)> confirm;  // asks on the terminal

    std::ostream& out;
    std::ostream& err;
};

/** Everything a status, list or health command looks at, taken at one time. */
struct Picture {
    bool loaded = false;
    ClusterStatus cluster;
    std::vector<NodeInfo> nodes;
    std::vector<LinkInfo> links;
    std::vector<StatsEntry> stats;
    Containers containers;
};

/** What all members know of the containers; only this node for whoever may not ask them. */
Containers take_containers(Context& context);
/** What this node knows of them. */
Containers containers_here(Context& context);

/** Takes a picture; without the module it says so and is otherwise empty. @with_stats: the counters and this node's
 *  part of the containers too. Asks nothing of other nodes. */
Picture take_picture(Context& context, bool with_stats);

/** Takes a picture and throws Error(not_running) unless this node is in a cluster. */
Picture take_cluster_picture(Context& context);

/** The exception in flight as an Error with a helpful text: a refusal while doing @what. */
[[noreturn]] void rethrow_refusal(const std::string& what);

}  // namespace krg
