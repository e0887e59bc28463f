// SPDX-License-Identifier: GPL-2.0
// Commands that change this node's life in a cluster: create, join, leave, start, recover, poweroff, reboot. TIPC is set
// up before the kernel is asked and taken down again when it refuses.
#include <sys/stat.h>

#include <fmt/format.h>

#include "include/uapi/linux/kerrighed.h"
#include "tools/krgadm/commands.hh"
#include "tools/krgadm/output.hh"
#include "tools/krgadm/wait.hh"
#include "tools/lib/key.hh"
#include "tools/lib/names.hh"
#include "tools/lib/tipc.hh"

namespace krg {
namespace {

constexpr Seconds grace{5};  // the kernel keeps its own time of a join; this tool gives up a little later
constexpr Seconds start_discovery{15};

void need_administrator(Context& context, const std::string& what) {
    if (context.system.may_administer()) return;
    throw Error(Exit::not_permitted, fmt::format("cannot {}: Operation not permitted", what),
                "run as root: this needs CAP_SYS_ADMIN");
}

void load_kerrighed(Context& context) {
    try {
        context.client();
    } catch (const NoFamily&) {
        if (!context.system.load_module("kerrighed"))
            throw Error(Exit::not_running, "the kernel module kerrighed is not loaded and cannot be loaded",
                        "make install, or insmod kerrighed.ko; see dmesg");
    }
}

void refuse_if_in_cluster(Context& context) {
    const ClusterStatus status = context.client().cluster();
    if (status.state == KRG_NODE_STATE_OUT) return;
    throw Error(Exit::failed, fmt::format("this node is already in cluster {} ({})", status.name, state_name(status.state)),
                "krgadm cluster leave first");
}

NodeConfig to_kernel(const Config& config, Bytes key) {
    NodeConfig node;
    node.cluster = config.name;
    node.host = config.host.empty() ? host_name() : config.host;
    node.node_id = config.id;
    node.key = std::move(key);
    node.links = config.links;
    node.lease_ms = config.lease_ms;
    node.witness = config.witness;
    node.auto_rejoin = config.auto_rejoin;
    return node;
}

void configure_tipc(Context& context, const Config& config, const Bytes& key) {
    Tipc(context.system).configure({config.name, key, config.links, config.link_tolerance_ms});
}

/** Is this node in no cluster, nor on its way into one? When the kernel cannot be asked: no. */
bool surely_out(Context& context) {
    try {
        const std::uint32_t state = context.client().cluster().state;
        return state == KRG_NODE_STATE_OUT || state == KRG_NODE_STATE_FAILED;
    } catch (const NoFamily&) {
        return true;
    } catch (...) {
        return false;
    }
}

/** Runs @ask; when it throws, takes TIPC down again, unless the node is in a cluster by now: it would lose its links. */
template<typename Ask>
void with_tipc_undo(Context& context, Ask ask) {
    try {
        ask();
    } catch (...) {
        if (surely_out(context)) Tipc(context.system).unconfigure();
        throw;
    }
}

std::string advice_for_refusal(const ClusterStatus& status) {
    switch (status.last_reason) {
    case KRG_REASON_KEY: return "copy the key file of a member to this node (mode 0600)";
    case KRG_REASON_ID_TAKEN: return "give this node another id ([node] id in kerrighed.conf)";
    case KRG_REASON_ID_RANGE: return "give this node a lower id ([node] id in kerrighed.conf)";
    case KRG_REASON_VERSION: return "install the same version of Kerrighed on all nodes";
    case KRG_REASON_CLUSTER: return "check the cluster's name ([cluster] name in kerrighed.conf)";
    case KRG_REASON_UNREACHABLE: return "check the links between this node and every member";
    case KRG_REASON_TIMEOUT: return "check links and names; if there is no cluster yet: krgadm cluster create";
    case KRG_REASON_NO_QUORUM: return "repair the cluster first: krgadm health on a member";
    default: return "see dmesg here and on the members";
    }
}

Exit exit_for_refusal(const ClusterStatus& status) {
    if (status.last_reason == KRG_REASON_TIMEOUT) return Exit::timed_out;
    if (status.last_reason == KRG_REASON_NO_QUORUM) return Exit::no_quorum;
    return Exit::failed;
}

/** True when the node serves; throws when the cluster has refused it. */
bool joined(Context& context, const std::string& what) {
    const ClusterStatus status = context.client().cluster();
    if (status.state == KRG_NODE_STATE_SERVING) return true;
    if (status.state != KRG_NODE_STATE_OUT && status.state != KRG_NODE_STATE_FAILED) return false;
    std::string why = status.last_error;
    if (why.empty()) why = std::string(reason_phrase(status.last_reason));
    if (status.last_reason_node != 0) why += fmt::format(" (said by node {})", status.last_reason_node);
    throw Error(exit_for_refusal(status), fmt::format("cannot {}: {}", what, why), advice_for_refusal(status));
}

void say(Context& context, const std::string& command, const std::string& text) {
    if (!context.json) {
        context.out << text << '\n';
        return;
    }
    const ClusterStatus status = context.client().cluster();
    Json json = envelope(command);
    json["state"] = state_name(status.state);
    json["cluster"] = status.name;
    json["epoch"] = status.epoch;
    json["members"] = status.members;
    print_json(context, json);
}

Bytes read_or_create_key(Context& context, const std::string& path) {
    struct stat info {};
    if (stat(path.c_str(), &info) == 0 || errno != ENOENT) return read_key(path);
    Bytes key = create_key(path);
    context.err << fmt::format("krgadm: made a new cluster key, {}; copy it to every node of this cluster\n", path);
    return key;
}

/** Starts a join of @limit (none: for ever) without waiting for it. */
void begin_join(Context& context, const Config& config, std::optional<Seconds> limit) {
    NodeConfig node = to_kernel(config, read_key(config.key_file));
    if (limit) node.timeout_ms = static_cast<std::uint32_t>(std::chrono::milliseconds(*limit).count());
    configure_tipc(context, config, node.key);
    with_tipc_undo(context, [&] {
        try {
            context.client().join(node);
        } catch (...) {
            rethrow_refusal(fmt::format("join cluster {}", config.name));
        }
    });
}

void create_and_wait(Context& context, const Config& config, const Bytes& key, Seconds wait) {
    const std::string what = fmt::format("create cluster {}", config.name);
    NodeConfig node = to_kernel(config, key);
    node.force = context.assume_yes;
    configure_tipc(context, config, key);
    with_tipc_undo(context, [&] {
        try {
            context.client().create(node);
        } catch (...) {
            rethrow_refusal(what);
        }
        wait_until(context, "creating cluster " + config.name, wait, "krgadm cluster status",
                   [&] { return joined(context, what); });
    });
}

void join_and_wait(Context& context, const Config& config, Seconds wait) {
    begin_join(context, config, wait);
    const std::string what = fmt::format("join cluster {}", config.name);
    with_tipc_undo(context, [&] {
        try {
            wait_until(context, "joining cluster " + config.name, wait + grace, "krgadm cluster status",
                       [&] { return joined(context, what); });
        } catch (const Error& error) {
            // Left alone, the kernel would go on asking without bearers.
            if (error.code() == Exit::timed_out && context.client().cluster().state == KRG_NODE_STATE_JOINING) {
                context.client().leave();
                Tipc(context.system).unconfigure();
            }
            throw;
        }
    });
}

}  // namespace

Exit cluster_create(Context& context, const ConfigOverrides& overrides, Seconds wait) {
    need_administrator(context, "create a cluster");
    const Config config = effective_config(context, overrides);
    load_kerrighed(context);
    refuse_if_in_cluster(context);
    create_and_wait(context, config, read_or_create_key(context, config.key_file), wait);
    say(context, "cluster create", fmt::format("created cluster {}, this is node {}", config.name, config.id));
    return Exit::done;
}

Exit cluster_join(Context& context, const ConfigOverrides& overrides, std::optional<Seconds> wait) {
    need_administrator(context, "join a cluster");
    const Config config = effective_config(context, overrides);
    load_kerrighed(context);
    refuse_if_in_cluster(context);
    if (wait) {
        join_and_wait(context, config, *wait);
        const ClusterStatus status = context.client().cluster();
        say(context, "cluster join",
            fmt::format("joined cluster {} as node {}, epoch {}, members {}", status.name, status.node_id, status.epoch,
                        id_list(status.members)));
    } else {
        begin_join(context, config, std::nullopt);
        say(context, "cluster join",
            fmt::format("joining cluster {} as node {}; krgadm cluster status says how it goes", config.name, config.id));
    }
    return Exit::done;
}

Exit cluster_leave(Context& context, std::optional<Seconds> wait) {
    const std::string what = "leave the cluster";
    std::string name;
    try {
        Client client = context.client();
        const ClusterStatus status = client.cluster();
        name = status.name;
        if (status.state == KRG_NODE_STATE_OUT) {
            Tipc(context.system).unconfigure();
            throw Error(Exit::not_running, "cannot leave: this node is not in a cluster", "krgadm cluster status");
        }
        if (status.state != KRG_NODE_STATE_LEAVING) client.leave();
        if (wait)
            wait_until(context, "leaving cluster " + name, *wait,
                       "krgadm cluster status; the node goes on leaving, what still holds it is in dmesg",
                       [&] { return client.cluster().state == KRG_NODE_STATE_OUT; });
    } catch (const Error&) {
        throw;
    } catch (...) {
        rethrow_refusal(what);
    }
    if (wait) Tipc(context.system).unconfigure();
    say(context, "cluster leave", fmt::format("{} cluster {}", wait ? "left" : "leaving", name));
    return Exit::done;
}

/**
 * For boot. Joins a cluster of our name if one answers; if none does, forms it when this node may (bootstrap), else
 * leaves the kernel asking.
 */
Exit cluster_start(Context& context, Seconds wait) {
    need_administrator(context, "join a cluster");
    const Config config = effective_config(context, {});
    load_kerrighed(context);
    const ClusterStatus before = context.client().cluster();
    if (before.state != KRG_NODE_STATE_OUT) {
        say(context, "cluster start", fmt::format("already in cluster {} ({})", before.name, state_name(before.state)));
        return Exit::done;
    }
    if (config.bootstrap) {
        const Bytes key = read_or_create_key(context, config.key_file);
        try {
            join_and_wait(context, config, std::min(wait, start_discovery));
        } catch (const Error& error) {
            if (error.code() != Exit::timed_out) throw;
            create_and_wait(context, config, key, wait);
        }
    } else {
        begin_join(context, config, std::nullopt);
        const std::string what = fmt::format("join cluster {}", config.name);
        try {
            with_tipc_undo(context, [&] {
                try {
                    wait_until(context, "joining cluster " + config.name, wait, "", [&] { return joined(context, what); });
                } catch (const Error& error) {
                    if (error.code() != Exit::timed_out || context.client().cluster().state != KRG_NODE_STATE_JOINING) throw;
                }
            });
        } catch (const NetlinkError&) {
            rethrow_refusal(what);
        }
    }
    const ClusterStatus after = context.client().cluster();
    say(context, "cluster start",
        after.state == KRG_NODE_STATE_JOINING
            ? fmt::format("nobody of cluster {} has answered yet; this node keeps asking", config.name)
            : fmt::format("in cluster {} as node {}, epoch {}", after.name, after.node_id, after.epoch));
    return Exit::done;
}

Exit cluster_recover(Context& context, Seconds wait) {
    const Picture picture = take_cluster_picture(context);
    std::vector<NodeId> gone;
    for (const auto& node : picture.nodes)
        if (node.member && !node.self && !node.reachable) gone.push_back(node.id);
    if (!context.assume_yes)
        throw Error(Exit::unsafe,
                    fmt::format("recover declares the unreachable members ({}) dead; if one of them still runs, the cluster "
                                "splits in two and data is lost",
                                id_list(gone)),
                    "switch those machines off, then krgadm cluster recover --force");
    try {
        Client client = context.client();
        client.recover(true);
        wait_until(context, "recovering cluster " + picture.cluster.name, wait, "krgadm cluster status",
                   [&] { return client.cluster().state == KRG_NODE_STATE_SERVING; });
    } catch (const Error&) {
        throw;
    } catch (...) {
        rethrow_refusal("recover the cluster");
    }
    const ClusterStatus status = context.client().cluster();
    say(context, "cluster recover",
        fmt::format("cluster {} goes on without {}, epoch {}, members {}", status.name, id_list(gone), status.epoch,
                    id_list(status.members)));
    return Exit::done;
}

Exit cluster_power(Context& context, PowerAction action) {
    const char* verb = action == PowerAction::poweroff ? "switch off" : "restart";
    const Picture picture = take_cluster_picture(context);
    const std::string nodes = fmt::format("all {} nodes of cluster {}", picture.cluster.members.size(), picture.cluster.name);
    if (!context.assume_yes && context.confirm && !context.confirm(fmt::format("{} {}?", verb, nodes)))
        throw Error(Exit::unsafe, "not confirmed, nothing was done", "add --yes");
    try {
        context.client().power(action);
    } catch (...) {
        rethrow_refusal(fmt::format("{} {}", verb, nodes));
    }
    if (context.json) {
        Json json = envelope(action == PowerAction::poweroff ? "cluster poweroff" : "cluster reboot");
        json["cluster"] = picture.cluster.name;
        json["members"] = picture.cluster.members;
        print_json(context, json);
    } else {
        context.out << fmt::format("{}: every node leaves, then goes down\n",
                                   action == PowerAction::poweroff ? "powering off " + nodes : "rebooting " + nodes);
    }
    return Exit::done;
}

}  // namespace krg
