// SPDX-License-Identifier: GPL-2.0
// Pictures of the node, and the kernel's refusals as errors for people.
#include "tools/krgadm/context.hh"

#include <cerrno>

#include <fmt/format.h>

#include "include/uapi/linux/kerrighed.h"
#include "tools/lib/error.hh"
#include "tools/lib/names.hh"

namespace krg {

Containers containers_here(Context& context) {
    const FileText here = context.system.proc("containers", "");
    return here.error == 0 ? parse_containers(here.text) : Containers{};
}

Containers take_containers(Context& context) {
    const FileText all = context.system.proc("query", "containers");
    if (all.error != 0) return containers_here(context);
    Containers found = parse_containers(all.text);
    found.cluster = true;
    return found;
}

Picture take_picture(Context& context, bool with_stats) {
    Picture picture;
    try {
        Client client = context.client();
        picture.loaded = true;
        picture.cluster = client.cluster();
        picture.nodes = client.nodes();
        picture.links = client.links();
        if (with_stats) {
            picture.stats = client.stats();
            picture.containers = containers_here(context);
        }
    } catch (const NoFamily&) {
        return {};
    }
    return picture;
}

Picture take_cluster_picture(Context& context) {
    Picture picture = take_picture(context, false);
    if (!picture.loaded)
        throw Error(Exit::not_running, "Kerrighed is not running: its module is not loaded", "krgadm cluster start");
    if (!picture.cluster.in_cluster())
        throw Error(Exit::not_running,
                    fmt::format("this node is not in a cluster (state {})", state_name(picture.cluster.state)),
                    picture.cluster.state == KRG_NODE_STATE_JOINING ? "krgadm cluster status" : "krgadm cluster join");
    return picture;
}

namespace {

Exit exit_of(int error) {
    switch (error) {
    case EPERM:
    case EACCES: return Exit::not_permitted;
    case ENOTCONN: return Exit::not_running;
    case ENOENT: return Exit::no_object;
    case ETIMEDOUT: return Exit::timed_out;
    case EHOSTUNREACH: return Exit::no_quorum;
    case EEXIST: return Exit::unsafe;
    default: return Exit::failed;
    }
}

std::string advice_for(Exit code) {
    switch (code) {
    case Exit::not_permitted: return "run as root: this needs CAP_SYS_ADMIN";
    case Exit::not_running: return "krgadm cluster join, or krgadm cluster create";
    case Exit::no_object: return "krgadm node list shows the nodes";
    case Exit::no_quorum: return "krgadm health --detail (man krg-health, KRG_NO_QUORUM)";
    case Exit::unsafe: return "add --force if you are sure";
    default: return "krgadm health --detail, and dmesg";
    }
}

}  // namespace

void rethrow_refusal(const std::string& what) {
    try {
        throw;
    } catch (const NetlinkError& error) {
        const Exit code = exit_of(error.error());
        throw Error(code, fmt::format("cannot {}: {}", what, error.what()), advice_for(code));
    } catch (const NoFamily&) {
        throw Error(Exit::not_running, fmt::format("cannot {}: the kernel module kerrighed is not loaded", what),
                    "modprobe kerrighed, or krgadm cluster start");
    }
}

}  // namespace krg
