// SPDX-License-Identifier: GPL-2.0
// The netlink family "kerrighed" as C++ types: what this node reports and what it can be told. Nothing here prints,
// waits or decides.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/lib/netlink.hh"

namespace krg {

using NodeId = std::uint16_t;

/** cluster-get. */
struct ClusterStatus {
    std::string name, host, last_error, module_version;
    std::uint64_t id = 0, epoch = 0, incarnation = 0, lease_left_ms = 0;
    std::uint64_t state = 0;  // KRG_NODE_STATE_*
    std::uint64_t lease_ms = 0, drift_ms = 0, quorum = 0, votes = 0;
    std::uint64_t last_reason = 0;  // KRG_REASON_*
    NodeId node_id = 0, last_reason_node = 0;
    bool has_quorum = false, witness = false;
    std::vector<NodeId> members;

    [[nodiscard]] bool in_cluster() const;
};

/** node-get. */
struct NodeInfo {
    NodeId id = 0;
    std::string host;
    bool member = false, reachable = false, self = false, draining = false;
    std::uint64_t incarnation = 0, reason = 0;
    std::optional<std::uint64_t> heard_ms_ago, acked_ms_ago, down_ms_ago, tipc_addr;

    /** "online", "unreachable" or "draining" for members; else "lost", "left", "evicted", or "seen". */
    [[nodiscard]] std::string_view state() const;
    /** Host name, or nodeN. */
    [[nodiscard]] std::string name() const;
};

/** link-get. */
struct LinkInfo {
    std::string name, mac;
    std::uint64_t mtu = 0, plaintext_dropped = 0, hello_rx = 0, hello_tx = 0, hello_bad = 0;
    bool present = false, running = false, filtering = false, bearer = false;
};

/** stats-get. */
struct StatsEntry {
    std::string name, message;
    NodeId peer = 0;
    std::uint64_t value = 0, sum_us = 0;
    std::vector<std::uint64_t> buckets;  // empty: a counter

    /** An upper bound of the @percent-th percentile, in microseconds. */
    [[nodiscard]] std::uint64_t percentile_us(unsigned percent) const;
};

/** event. */
struct Event {
    std::uint64_t kind = 0, seq = 0, time_ns = 0, state = 0, epoch = 0, reason = 0, incarnation = 0;
    NodeId node = 0;
    std::string link, host, text;
    std::vector<NodeId> members;
};

/** cluster-create and cluster-join. */
struct NodeConfig {
    std::string cluster, host, witness;
    NodeId node_id = 0;
    Bytes key;
    std::vector<std::string> links;
    std::uint32_t lease_ms = 0, timeout_ms = 0;
    bool auto_rejoin = true, force = false;
};

enum class PowerAction { poweroff, reboot };

/** Requests to this node's kernel. Every function throws NetlinkError when it is refused. */
class Client {
public:
    explicit Client(std::unique_ptr<Transport> transport) : transport_(std::move(transport)) {}

    ClusterStatus cluster();
    std::vector<NodeInfo> nodes();
    NodeInfo node(NodeId id);
    std::vector<LinkInfo> links();
    std::vector<StatsEntry> stats();

    void create(const NodeConfig& config);
    void join(const NodeConfig& config);
    void leave();
    void recover(bool force);
    void power(PowerAction action);
    void evict(NodeId id);
    void drain(NodeId id);

private:
    std::unique_ptr<Transport> transport_;
};

/** Reads one event message; nothing if @message is none. */
std::optional<Event> parse_event(const Message& message);

}  // namespace krg
