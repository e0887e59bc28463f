// SPDX-License-Identifier: GPL-2.0
// From the attributes of include/uapi/linux/kerrighed.h to the types of client.hh, and back.
#include "tools/lib/client.hh"

#include <algorithm>

#include "include/uapi/linux/kerrighed.h"
#include "tools/lib/names.hh"

namespace krg {
namespace {

std::vector<NodeId> node_ids(const Attributes& attributes, int type) {
    std::vector<NodeId> ids;
    for (const auto id : attributes.numbers(type)) ids.push_back(static_cast<NodeId>(id));
    return ids;
}

ClusterStatus parse_cluster(const Attributes& a) {
    ClusterStatus s;
    s.name = a.text(KRG_A_CLUSTER_NAME);
    s.id = a.number_or(KRG_A_CLUSTER_ID, 0);
    s.epoch = a.number_or(KRG_A_CLUSTER_EPOCH, 0);
    s.state = a.number_or(KRG_A_CLUSTER_STATE, KRG_NODE_STATE_OUT);
    s.node_id = static_cast<NodeId>(a.number_or(KRG_A_CLUSTER_NODE_ID, 0));
    s.host = a.text(KRG_A_CLUSTER_HOST);
    s.incarnation = a.number_or(KRG_A_CLUSTER_INCARNATION, 0);
    s.has_quorum = a.has(KRG_A_CLUSTER_HAS_QUORUM);
    s.witness = a.has(KRG_A_CLUSTER_WITNESS);
    s.lease_ms = a.number_or(KRG_A_CLUSTER_LEASE_MS, 0);
    s.drift_ms = a.number_or(KRG_A_CLUSTER_DRIFT_MS, 0);
    s.lease_left_ms = a.number_or(KRG_A_CLUSTER_LEASE_LEFT_MS, 0);
    s.quorum = a.number_or(KRG_A_CLUSTER_QUORUM, 0);
    s.votes = a.number_or(KRG_A_CLUSTER_VOTES, 0);
    s.last_reason = a.number_or(KRG_A_CLUSTER_LAST_REASON, KRG_REASON_NONE);
    s.last_reason_node = static_cast<NodeId>(a.number_or(KRG_A_CLUSTER_LAST_REASON_NODE, 0));
    s.last_error = a.text(KRG_A_CLUSTER_LAST_ERROR);
    s.members = node_ids(a, KRG_A_CLUSTER_MEMBER);
    s.module_version = a.text(KRG_A_CLUSTER_MODULE_VERSION);
    return s;
}

NodeInfo parse_node(const Attributes& a) {
    NodeInfo n;
    n.id = static_cast<NodeId>(a.number_or(KRG_A_NODE_ID, 0));
    n.host = a.text(KRG_A_NODE_HOST);
    n.draining = (a.number_or(KRG_A_NODE_FLAGS, 0) & KRG_NODE_FLAGS_DRAINING) != 0;
    n.member = a.has(KRG_A_NODE_MEMBER);
    n.reachable = a.has(KRG_A_NODE_REACHABLE);
    n.self = a.has(KRG_A_NODE_SELF);
    n.incarnation = a.number_or(KRG_A_NODE_INCARNATION, 0);
    n.reason = a.number_or(KRG_A_NODE_REASON, KRG_REASON_NONE);
    n.heard_ms_ago = a.number(KRG_A_NODE_HEARD_MS_AGO);
    n.acked_ms_ago = a.number(KRG_A_NODE_ACKED_MS_AGO);
    n.down_ms_ago = a.number(KRG_A_NODE_DOWN_MS_AGO);
    n.tipc_addr = a.number(KRG_A_NODE_TIPC_ADDR);
    return n;
}

std::string mac_text(const std::optional<Bytes>& mac) {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const auto byte : mac.value_or(Bytes{})) {
        if (!text.empty()) text += ':';
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

LinkInfo parse_link(const Attributes& a) {
    LinkInfo l;
    l.name = a.text(KRG_A_LINK_NAME);
    l.mac = mac_text(a.binary(KRG_A_LINK_MAC));
    l.mtu = a.number_or(KRG_A_LINK_MTU, 0);
    l.present = a.has(KRG_A_LINK_PRESENT);
    l.running = a.has(KRG_A_LINK_RUNNING);
    l.filtering = a.has(KRG_A_LINK_FILTERING);
    l.bearer = a.has(KRG_A_LINK_BEARER);
    l.plaintext_dropped = a.number_or(KRG_A_LINK_PLAINTEXT_DROPPED, 0);
    l.hello_rx = a.number_or(KRG_A_LINK_HELLO_RX, 0);
    l.hello_tx = a.number_or(KRG_A_LINK_HELLO_TX, 0);
    l.hello_bad = a.number_or(KRG_A_LINK_HELLO_BAD, 0);
    return l;
}

StatsEntry parse_stats(const Attributes& a) {
    StatsEntry e;
    e.name = a.text(KRG_A_STATS_NAME);
    e.message = a.text(KRG_A_STATS_MESSAGE);
    e.peer = static_cast<NodeId>(a.number_or(KRG_A_STATS_PEER, 0));
    e.value = a.number_or(KRG_A_STATS_VALUE, 0);
    e.sum_us = a.number_or(KRG_A_STATS_SUM_US, 0);
    e.buckets = a.numbers(KRG_A_STATS_BUCKET);
    return e;
}

template<typename Parse>
auto parse_all(const std::vector<Message>& replies, std::uint8_t command, Parse parse) {
    std::vector<decltype(parse(Attributes({})))> all;
    for (const auto& reply : replies)
        if (reply.command == command) all.push_back(parse(reply.attributes()));
    return all;
}

void put_config(Request& request, const NodeConfig& config) {
    request.put_string(KRG_A_CONFIG_CLUSTER, config.cluster)
        .put_string(KRG_A_CONFIG_HOST, config.host)
        .put_u16(KRG_A_CONFIG_NODE_ID, config.node_id)
        .put_binary(KRG_A_CONFIG_KEY, config.key)
        .put_u8(KRG_A_CONFIG_AUTO_REJOIN, config.auto_rejoin ? 1 : 0);
    for (const auto& link : config.links) request.put_string(KRG_A_CONFIG_LINK, link);
    if (!config.witness.empty()) request.put_string(KRG_A_CONFIG_WITNESS, config.witness);
}

}  // namespace

bool ClusterStatus::in_cluster() const {
    return state == KRG_NODE_STATE_PREPARING || state == KRG_NODE_STATE_SERVING || state == KRG_NODE_STATE_SUSPENDED ||
           state == KRG_NODE_STATE_LEAVING;
}

std::string_view NodeInfo::state() const {
    if (!member) return reason == KRG_REASON_NONE ? "seen" : reason_name(reason);
    if (draining) return "draining";
    return self || reachable ? "online" : "unreachable";
}

std::string NodeInfo::name() const { return host.empty() ? "node" + std::to_string(id) : host; }

std::uint64_t StatsEntry::percentile_us(unsigned percent) const {
    const std::uint64_t wanted = (value * percent + 99) / 100;
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets.size(); i++) {
        seen += buckets[i];
        if (seen >= wanted && seen > 0) return std::uint64_t{2} << i;
    }
    return 0;
}

ClusterStatus Client::cluster() {
    const auto all = parse_all(transport_->exchange(Request(KRG_CMD_CLUSTER_GET)), KRG_CMD_CLUSTER_GET, parse_cluster);
    if (all.empty()) throw std::runtime_error("the kernel answered cluster-get with nothing");
    return all.front();
}

std::vector<NodeInfo> Client::nodes() {
    auto all = parse_all(transport_->exchange(Request(KRG_CMD_NODE_GET, true)), KRG_CMD_NODE_GET, parse_node);
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    return all;
}

NodeInfo Client::node(NodeId id) {
    const auto all = parse_all(transport_->exchange(Request(KRG_CMD_NODE_GET).put_u16(KRG_A_NODE_ID, id)), KRG_CMD_NODE_GET,
                               parse_node);
    if (all.empty()) throw std::runtime_error("the kernel answered node-get with nothing");
    return all.front();
}

std::vector<LinkInfo> Client::links() {
    return parse_all(transport_->exchange(Request(KRG_CMD_LINK_GET, true)), KRG_CMD_LINK_GET, parse_link);
}

std::vector<StatsEntry> Client::stats() {
    return parse_all(transport_->exchange(Request(KRG_CMD_STATS_GET, true)), KRG_CMD_STATS_GET, parse_stats);
}

void Client::create(const NodeConfig& config) {
    Request request(KRG_CMD_CLUSTER_CREATE);
    put_config(request, config);
    if (config.lease_ms != 0) request.put_u32(KRG_A_CONFIG_LEASE_MS, config.lease_ms);
    if (config.force) request.put_flag(KRG_A_CONFIG_FORCE);
    transport_->exchange(request);
}

void Client::join(const NodeConfig& config) {
    Request request(KRG_CMD_CLUSTER_JOIN);
    put_config(request, config);
    if (config.timeout_ms != 0) request.put_u32(KRG_A_CONFIG_TIMEOUT_MS, config.timeout_ms);
    transport_->exchange(request);
}

void Client::leave() { transport_->exchange(Request(KRG_CMD_CLUSTER_LEAVE)); }

void Client::recover(bool force) {
    Request request(KRG_CMD_CLUSTER_RECOVER);
    if (force) request.put_flag(KRG_A_CONFIG_FORCE);
    transport_->exchange(request);
}

void Client::power(PowerAction action) {
    const auto value = action == PowerAction::poweroff ? KRG_POWER_ACTION_POWEROFF : KRG_POWER_ACTION_REBOOT;
    transport_->exchange(Request(KRG_CMD_CLUSTER_POWER).put_u32(KRG_A_POWER_ACTION, value));
}

void Client::evict(NodeId id) { transport_->exchange(Request(KRG_CMD_NODE_EVICT).put_u16(KRG_A_NODE_ID, id)); }

void Client::drain(NodeId id) { transport_->exchange(Request(KRG_CMD_NODE_DRAIN).put_u16(KRG_A_NODE_ID, id)); }

std::optional<Event> parse_event(const Message& message) {
    if (message.command != KRG_CMD_EVENT) return std::nullopt;
    const Attributes a = message.attributes();
    Event e;
    e.kind = a.number_or(KRG_A_EVENT_TYPE, 0);
    e.seq = a.number_or(KRG_A_EVENT_SEQ, 0);
    e.time_ns = a.number_or(KRG_A_EVENT_TIME_NS, 0);
    e.state = a.number_or(KRG_A_EVENT_STATE, 0);
    e.epoch = a.number_or(KRG_A_EVENT_EPOCH, 0);
    e.node = static_cast<NodeId>(a.number_or(KRG_A_EVENT_NODE, 0));
    e.reason = a.number_or(KRG_A_EVENT_REASON, 0);
    e.incarnation = a.number_or(KRG_A_EVENT_INCARNATION, 0);
    e.link = a.text(KRG_A_EVENT_LINK);
    e.host = a.text(KRG_A_EVENT_HOST);
    e.text = a.text(KRG_A_EVENT_TEXT);
    e.members = node_ids(a, KRG_A_EVENT_MEMBER);
    return e;
}

}  // namespace krg
