// SPDX-License-Identifier: GPL-2.0
// `krgadm cluster status` (and krgadm alone) and `krgadm health`: answer, evidence, next step.
#include <fmt/format.h>

#include "include/uapi/linux/kerrighed.h"
#include "tools/krgadm/commands.hh"
#include "tools/krgadm/health.hh"
#include "tools/krgadm/node.hh"
#include "tools/lib/names.hh"

namespace krg {
namespace {

Json finding_json(const Finding& finding) {
    return {{"code", finding.code},
            {"severity", finding.severity == Severity::error ? "error" : "warning"},
            {"summary", finding.summary},
            {"evidence", finding.evidence},
            {"action", finding.action}};
}

Json status_json(const Picture& p, const Health& health) {
    const ClusterStatus& c = p.cluster;
    Json json = envelope("cluster status");
    json["state"] = p.loaded ? state_name(c.state) : "not-loaded";
    json["cluster"] = c.name;
    json["cluster_id"] = hex64(c.id);
    json["epoch"] = c.epoch;
    json["members"] = c.members;
    json["node"] = c.node_id;
    json["host"] = c.host;
    json["incarnation"] = hex64(c.incarnation);
    json["quorum"] = c.has_quorum;
    json["votes"] = c.votes;
    json["votes_needed"] = c.quorum;
    json["witness"] = c.witness;
    json["lease_ms"] = c.lease_ms;
    json["lease_left_ms"] = c.lease_left_ms;
    json["last_reason"] = reason_name(c.last_reason);
    json["last_error"] = c.last_error;
    json["health"] = health.status();
    json["checks"] = Json::array();
    for (const auto& finding : health.findings) json["checks"].push_back(finding_json(finding));
    json["nodes"] = Json::array();
    for (const auto& node : p.nodes) json["nodes"].push_back(node_json(node));
    json["version"] = c.module_version;
    return json;
}

std::string health_words(const Health& health) {
    std::string text(health.status());
    for (std::size_t i = 0; i < health.findings.size(); i++) {
        const std::string& code = health.findings[i].code;
        if (text.find(code) == std::string::npos) text += " " + code;
    }
    return text;
}

/** "7 up, 1 down (node5, 2m41s)". */
std::string node_words(const Picture& p) {
    std::size_t up = 0;
    std::string down;
    std::size_t down_count = 0;
    for (const auto& node : p.nodes) {
        if (node.member && (node.self || node.reachable)) up++;
        const bool missing = node.member ? !node.self && !node.reachable : node.reason == KRG_REASON_LOST;
        if (!missing) continue;
        down_count++;
        const auto since = node.member ? node.heard_ms_ago : node.down_ms_ago;
        down += fmt::format("{}{}{}", down.empty() ? "" : "; ", node.name(), since ? ", " + duration(*since) : "");
    }
    std::string text = fmt::format("{} up", up);
    if (down_count > 0) text += fmt::format(", {} down ({})", down_count, down);
    return text;
}

void print_status(std::ostream& out, const Picture& p, const Health& health) {
    const ClusterStatus& c = p.cluster;
    if (!p.loaded) {
        out << fmt::format("cluster -   not running   health {}\n", health_words(health));
    } else if (!c.in_cluster()) {
        out << fmt::format("cluster {}   {}   health {}\n", c.name.empty() ? "-" : c.name, state_name(c.state),
                           health_words(health));
        if (!c.last_error.empty()) out << fmt::format("reason  {}\n", c.last_error);
    } else {
        out << fmt::format("cluster {}   epoch {}   health {}\n", c.name, c.epoch, health_words(health));
        out << fmt::format("nodes   {}   quorum {} ({}/{})   members {}\n", node_words(p), c.has_quorum ? "yes" : "no", c.votes,
                           c.members.size() + (c.witness && c.members.size() % 2 == 0 ? 1 : 0), id_list(c.members));
        out << fmt::format("this    {} (node {})   {}   lease {}\n", c.host, c.node_id, state_name(c.state),
                           c.lease_left_ms > 0 ? fmt::format("{} ms of {} left", c.lease_left_ms, c.lease_ms) : "out");
    }
    if (!health.findings.empty())
        out << fmt::format("action  {}   (man krg-health, {})\n", health.findings.front().action, health.findings.front().code);
}

Exit exit_of(const Picture& p) { return p.loaded && p.cluster.state != KRG_NODE_STATE_OUT ? Exit::done : Exit::not_running; }

}  // namespace

Exit cluster_status(Context& context) {
    const Picture picture = take_picture(context, true);
    const Health health = judge(picture);
    if (context.json)
        print_json(context, status_json(picture, health));
    else
        print_status(context.out, picture, health);
    return exit_of(picture);
}

Exit health_show(Context& context, bool detail) {
    Picture picture = take_picture(context, true);
    if (picture.cluster.in_cluster()) picture.containers = take_containers(context);  // status must not wait for others
    const Health health = judge(picture);
    if (context.json) {
        Json json = envelope("health");
        json["health"] = health.status();
        json["checks"] = Json::array();
        for (const auto& finding : health.findings) json["checks"].push_back(finding_json(finding));
        print_json(context, json);
    } else {
        context.out << fmt::format("health {}\n", health_words(health));
        for (const auto& finding : health.findings) {
            context.out << fmt::format("{:<5} {}: {}\n", finding.severity == Severity::error ? "ERR" : "WARN", finding.code,
                                       finding.summary);
            if (!detail) continue;
            for (const auto& line : finding.evidence) context.out << fmt::format("      seen    {}\n", line);
            context.out << fmt::format("      action  {}\n", finding.action);
        }
    }
    if (exit_of(picture) == Exit::not_running) return Exit::not_running;
    if (picture.cluster.in_cluster() && !picture.cluster.has_quorum) return Exit::no_quorum;
    return health.findings.empty() ? Exit::done : Exit::failed;
}

}  // namespace krg
