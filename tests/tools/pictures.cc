// SPDX-License-Identifier: GPL-2.0
// From the client's types to recordings: the opposite direction of tools/lib/client.cc.
#include "tests/tools/pictures.hh"

#include "include/uapi/linux/kerrighed.h"
#include "tests/tools/replay.hh"
#include "tools/lib/key.hh"

namespace krg::test {
namespace {

void put_text(Request& request, int type, const std::string& text) {
    if (!text.empty()) request.put_string(type, text);
}

void put_flag(Request& request, int type, bool set) {
    if (set) request.put_flag(type);
}

void put_number(Request& request, int type, const std::optional<std::uint64_t>& value) {
    if (value) request.put_u64(type, *value);
}

}  // namespace

std::string exchange(const std::string& operation, const std::vector<Request>& replies) {
    std::string text = "> " + operation + "\n";
    for (const auto& reply : replies) text += to_hex(Bytes(reply.attributes().begin(), reply.attributes().end())) + "\n";
    return text;
}

std::string refusal(const std::string& operation, int error, const std::string& text) {
    return "> " + operation + "\nerror " + std::to_string(error) + " " + text + "\n";
}

Request cluster_reply(const ClusterStatus& s) {
    Request r(KRG_CMD_CLUSTER_GET);
    put_text(r, KRG_A_CLUSTER_NAME, s.name);
    r.put_u64(KRG_A_CLUSTER_ID, s.id)
        .put_u64(KRG_A_CLUSTER_EPOCH, s.epoch)
        .put_u32(KRG_A_CLUSTER_STATE, static_cast<std::uint32_t>(s.state))
        .put_u16(KRG_A_CLUSTER_NODE_ID, s.node_id);
    put_text(r, KRG_A_CLUSTER_HOST, s.host);
    r.put_u64(KRG_A_CLUSTER_INCARNATION, s.incarnation);
    put_flag(r, KRG_A_CLUSTER_HAS_QUORUM, s.has_quorum);
    put_flag(r, KRG_A_CLUSTER_WITNESS, s.witness);
    r.put_u32(KRG_A_CLUSTER_LEASE_MS, static_cast<std::uint32_t>(s.lease_ms))
        .put_u64(KRG_A_CLUSTER_LEASE_LEFT_MS, s.lease_left_ms)
        .put_u32(KRG_A_CLUSTER_QUORUM, static_cast<std::uint32_t>(s.quorum))
        .put_u32(KRG_A_CLUSTER_VOTES, static_cast<std::uint32_t>(s.votes))
        .put_u32(KRG_A_CLUSTER_LAST_REASON, static_cast<std::uint32_t>(s.last_reason))
        .put_u16(KRG_A_CLUSTER_LAST_REASON_NODE, s.last_reason_node);
    put_text(r, KRG_A_CLUSTER_LAST_ERROR, s.last_error);
    for (const NodeId id : s.members) r.put_u16(KRG_A_CLUSTER_MEMBER, id);
    put_text(r, KRG_A_CLUSTER_MODULE_VERSION, s.module_version);
    return r;
}

Request node_reply(const NodeInfo& n) {
    Request r(KRG_CMD_NODE_GET);
    r.put_u16(KRG_A_NODE_ID, n.id);
    put_text(r, KRG_A_NODE_HOST, n.host);
    r.put_u32(KRG_A_NODE_FLAGS, n.draining ? KRG_NODE_FLAGS_DRAINING : 0);
    put_flag(r, KRG_A_NODE_MEMBER, n.member);
    put_flag(r, KRG_A_NODE_REACHABLE, n.reachable);
    put_flag(r, KRG_A_NODE_SELF, n.self);
    r.put_u64(KRG_A_NODE_INCARNATION, n.incarnation).put_u32(KRG_A_NODE_REASON, static_cast<std::uint32_t>(n.reason));
    put_number(r, KRG_A_NODE_HEARD_MS_AGO, n.heard_ms_ago);
    put_number(r, KRG_A_NODE_ACKED_MS_AGO, n.acked_ms_ago);
    put_number(r, KRG_A_NODE_DOWN_MS_AGO, n.down_ms_ago);
    return r;
}

Request link_reply(const LinkInfo& l) {
    Request r(KRG_CMD_LINK_GET);
    r.put_string(KRG_A_LINK_NAME, l.name).put_binary(KRG_A_LINK_MAC, Bytes{0x52, 0x54, 0, 0, 0, 1});
    r.put_u32(KRG_A_LINK_MTU, static_cast<std::uint32_t>(l.mtu));
    put_flag(r, KRG_A_LINK_PRESENT, l.present);
    put_flag(r, KRG_A_LINK_RUNNING, l.running);
    put_flag(r, KRG_A_LINK_FILTERING, l.filtering);
    put_flag(r, KRG_A_LINK_BEARER, l.bearer);
    r.put_u64(KRG_A_LINK_PLAINTEXT_DROPPED, l.plaintext_dropped).put_u64(KRG_A_LINK_HELLO_BAD, l.hello_bad);
    return r;
}

Request event_message(const Event& e) {
    Request r(KRG_CMD_EVENT);
    r.put_u32(KRG_A_EVENT_TYPE, static_cast<std::uint32_t>(e.kind))
        .put_u64(KRG_A_EVENT_SEQ, e.seq)
        .put_u64(KRG_A_EVENT_TIME_NS, e.time_ns)
        .put_u32(KRG_A_EVENT_STATE, static_cast<std::uint32_t>(e.state))
        .put_u64(KRG_A_EVENT_EPOCH, e.epoch);
    if (e.node != 0) r.put_u16(KRG_A_EVENT_NODE, e.node);
    r.put_u32(KRG_A_EVENT_REASON, static_cast<std::uint32_t>(e.reason)).put_u64(KRG_A_EVENT_INCARNATION, e.incarnation);
    put_text(r, KRG_A_EVENT_LINK, e.link);
    put_text(r, KRG_A_EVENT_HOST, e.host);
    put_text(r, KRG_A_EVENT_TEXT, e.text);
    for (const NodeId id : e.members) r.put_u16(KRG_A_EVENT_MEMBER, id);
    return r;
}

ClusterStatus blue(NodeId nodes, std::uint64_t epoch) {
    ClusterStatus s;
    s.name = "blue";
    s.host = "node1";
    s.id = 0xb10e;
    s.epoch = epoch;
    s.state = KRG_NODE_STATE_SERVING;
    s.node_id = 1;
    s.incarnation = 0x101;
    s.has_quorum = true;
    s.lease_ms = 2000;
    s.lease_left_ms = 1900;
    s.votes = nodes;
    s.quorum = nodes / 2U + 1;
    for (NodeId id = 1; id <= nodes; id++) s.members.push_back(id);
    return s;
}

std::string blue_messages(NodeId nodes, std::uint64_t epoch) {
    std::vector<Request> replies;
    for (NodeId id = 1; id <= nodes; id++) {
        NodeInfo node;
        node.id = id;
        node.host = "node" + std::to_string(id);
        node.member = node.reachable = true;
        node.self = id == 1;
        node.incarnation = 0x100U + id;
        if (!node.self) node.heard_ms_ago = 120;
        replies.push_back(node_reply(node));
    }
    LinkInfo link;
    link.name = "eth1";
    link.mtu = 1500;
    link.present = link.running = link.filtering = link.bearer = true;
    std::vector<Request> cluster;
    cluster.push_back(cluster_reply(blue(nodes, epoch)));
    std::vector<Request> links;
    links.push_back(link_reply(link));
    return exchange("cluster-get", cluster) + exchange("node-get", replies) + exchange("link-get", links) +
           exchange("stats-get", {});
}

}  // namespace krg::test
