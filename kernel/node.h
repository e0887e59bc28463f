/* SPDX-License-Identifier: GPL-2.0 */
/*
 * This node's life in a cluster as the control plane (netlink, /proc) sees it:
 * configure, create, join, leave, evict, status. How views are agreed on is in
 * core/, how messages travel in rpc.c and tipc.c.
 */
#ifndef KRG_NODE_H
#define KRG_NODE_H

#include <linux/if.h>
#include <linux/types.h>

struct netlink_ext_ack;
struct seq_file;

#define KRG_CLUSTER_NAME_MAX	32
#define KRG_HOST_NAME_MAX	64
#define KRG_KEY_SIZE		32	/* bytes of a cluster key */
#define KRG_LINKS_MAX		2
#define KRG_NODE_ID_MAX		126
#define KRG_WITNESS_PATH_MAX	256

struct krg_node_config {
	char cluster[KRG_CLUSTER_NAME_MAX + 1];
	char host[KRG_HOST_NAME_MAX + 1];
	u16 node_id;				/* 1..KRG_NODE_ID_MAX */
	u8 key[KRG_KEY_SIZE];
	char link[KRG_LINKS_MAX][IFNAMSIZ];	/* devices that carry the cluster's TIPC bearers */
	u32 nr_links;
	u32 lease_ms;				/* create only; 0: default */
	char witness[KRG_WITNESS_PATH_MAX];	/* create only for the policy, every node for the path; "": none */
	bool auto_rejoin;			/* after being removed as lost: come back as a new incarnation */
};

/* A reason the engine never gives: the joining node has another cluster key. Follows enum krg_mbr_reason. */
#define KRG_NODE_R_KEY		12

enum krg_node_lifecycle {	/* values are uapi: see kerrighed.yaml node-state */
	KRG_NODE_OUT,		/* not in a cluster */
	KRG_NODE_JOINING,
	KRG_NODE_PREPARING,
	KRG_NODE_SERVING,
	KRG_NODE_SUSPENDED,
	KRG_NODE_LEAVING,
	KRG_NODE_FAILED,
};

/*
 * All of these: process context, may sleep, serialised inside. They return 0 or
 * a negative errno and set an extack text that says what is wrong. create, join
 * and leave only start the work; its end is an event and a state.
 */
int krg_node_create(const struct krg_node_config *cfg, bool force, struct netlink_ext_ack *extack);
int krg_node_join(const struct krg_node_config *cfg, u32 timeout_ms, struct netlink_ext_ack *extack);
int krg_node_leave(struct netlink_ext_ack *extack);
int krg_node_evict(u16 node, struct netlink_ext_ack *extack);	/* remove a member now */
int krg_node_drain(u16 node, struct netlink_ext_ack *extack);	/* ask a remote member to leave as planned */
int krg_node_recover(struct netlink_ext_ack *extack);		/* operator's word: the unreachable are dead */

/* One consistent picture for status, list, show, /proc; free with kvfree(). */
struct krg_node_member_info {
	u16 node_id;
	u16 flags;			/* KRG_MBR_F_* */
	u8 member, reachable, self;
	u8 removed_reason;		/* enum krg_mbr_reason, for nodes that are no members any more */
	u64 incarnation;
	u64 heard_ms_ago, acked_ms_ago;	/* ~0: never */
	u64 down_ms_ago;		/* since it left the view; ~0: member or unknown */
	u32 tipc_addr;
	char host[KRG_HOST_NAME_MAX + 1];
};

struct krg_node_status {
	enum krg_node_lifecycle state;
	char cluster[KRG_CLUSTER_NAME_MAX + 1];
	char host[KRG_HOST_NAME_MAX + 1];
	u16 node_id;
	u64 incarnation, cluster_id, epoch;
	bool has_quorum, witness;
	u32 lease_ms, drift_ms;
	u64 lease_left_ms;		/* 0: may not serve */
	u32 quorum, votes;		/* needed / reachable now */
	u8 last_reason;			/* why it is out: enum krg_mbr_reason */
	u16 last_reason_node;
	char last_error[128];		/* text for people, "" if none */
	u32 nr_members;			/* entries with .member set */
	u32 nr_nodes;			/* entries in node[]: members first, then nodes known from before */
	struct krg_node_member_info node[];
};

struct krg_node_status *krg_node_get_status(void);	/* NULL: out of memory */

/* Counters and latency histograms per message type, by peer where it matters: see stats.h. */

#endif
