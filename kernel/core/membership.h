/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The membership engine's only face to C: what the kernel edge, the simulator,
 * the fuzzer and the unit tests include. The protocol itself is described and
 * implemented in the C++ files beside this one; nothing here does I/O, reads a
 * clock, allocates memory or takes a lock.
 *
 * Use: give krg_mbr_init() a block of krg_mbr_size() bytes, feed it events with
 * krg_mbr_step(), and after each step take actions with krg_mbr_next_action()
 * until it returns 0. One engine is one node; calls must be serialised by the
 * caller. Times are milliseconds of one monotonic clock of this node, which
 * runs on while the machine is suspended.
 */
#ifndef KRG_CORE_MEMBERSHIP_H
#define KRG_CORE_MEMBERSHIP_H

#include <kerrighed/ctypes.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KRG_MBR_VERSION		1	/* version of the messages between engines */
#define KRG_MBR_NODES_MAX	4096	/* node ids are 1..4096 as far as the engine cares */
#define KRG_MBR_WITNESS		0	/* the node id of the witness in events and actions */

/* Times that all members share; they travel in the view. */
struct krg_mbr_params {
	u32 lease_ms;	/* how long an acknowledged renewal lets a node serve */
	u32 drift_ms;	/* added by whoever waits for somebody else's lease */
	u32 renew_ms;	/* interval between renewals */
	u32 suspect_ms;	/* silence after which a member counts as unreachable */
	u32 settle_ms;	/* how long evidence must be stable before a proposal */
	u32 witness;	/* 1: views of even size have a tie-break vote */
};

struct krg_mbr_config {
	u16 self;		/* this node's id, 1..max_nodes */
	u16 max_nodes;		/* the highest id of this cluster */
	u32 cluster_hash;	/* of the cluster's name: others are refused */
	u64 incarnation;	/* unique for every life of this node, never 0 */
	u64 seed;		/* of the engine's own random numbers (jitter) */
	struct krg_mbr_params params;	/* used by CREATE; a joiner takes the cluster's */
};

enum krg_mbr_state {
	KRG_MBR_IDLE,		/* nothing started, or over: see the last reason */
	KRG_MBR_JOINING,	/* asking members to be let in */
	KRG_MBR_PREPARING,	/* in a view that does not serve yet */
	KRG_MBR_SERVING,	/* in a view, lease running */
	KRG_MBR_SUSPENDED,	/* in a view, lease out: frozen, may resume in this view */
	KRG_MBR_FAILED,		/* an internal check failed: this node has stopped */
};

/* Why a node is not, or no longer, a member. Travels in views. */
enum krg_mbr_reason {
	KRG_MBR_R_NONE,
	KRG_MBR_R_LOST,			/* crashed, or out of reach */
	KRG_MBR_R_LEFT,			/* planned leave */
	KRG_MBR_R_EVICTED,		/* by an administrator */
	/* refusals of a join */
	KRG_MBR_R_VERSION,		/* another protocol version */
	KRG_MBR_R_CLUSTER,		/* another cluster name */
	KRG_MBR_R_ID_TAKEN,		/* a live member has this node id */
	KRG_MBR_R_ID_RANGE,		/* node id above the cluster's max_nodes */
	KRG_MBR_R_UNREACHABLE,		/* cannot reach every member (a view is a clique) */
	KRG_MBR_R_TIMEOUT,		/* no member answered in time */
	KRG_MBR_R_NO_QUORUM,
	KRG_MBR_R_INTERNAL,
};

enum krg_mbr_event_type {
	KRG_MBR_EV_CREATE = 1,	/* form a cluster of one; arg: random cluster id, not 0 */
	KRG_MBR_EV_JOIN,	/* join whoever is reachable; arg: give up after so many ms, 0: never */
	KRG_MBR_EV_MSG,		/* data/len from node with incarnation (authenticated by the edge) */
	KRG_MBR_EV_PEER_UP,	/* a connection to node with incarnation is ready for messages */
	KRG_MBR_EV_PEER_DOWN,	/* the connection is gone: a reset, what was in flight is lost */
	KRG_MBR_EV_LINK_HINT,	/* the transport believes node is dead: hint only */
	KRG_MBR_EV_TICK,	/* time passed (at or after the armed deadline) */
	KRG_MBR_EV_PREPARED,	/* arg: epoch; this node's subscribers have finished PREPARE */
	KRG_MBR_EV_LEAVE,	/* planned leave of this node: drain first, then go */
	KRG_MBR_EV_DRAINED,	/* arg: epoch of the DRAIN action; subscribers are empty */
	KRG_MBR_EV_EVICT,	/* node: remove this member now */
	KRG_MBR_EV_RECOVER,	/* operator's word that all unreachable members are dead:
				 * form a view without quorum. Unsafe if the word is wrong. */
};

struct krg_mbr_event {
	u32 type;		/* enum krg_mbr_event_type */
	u16 node;
	u16 pad;
	u64 incarnation;
	u64 arg;
	const u8 *data;
	u32 len;
	u32 pad2;
};

enum krg_mbr_action_type {
	KRG_MBR_ACT_SEND = 1,	/* data/len to node (KRG_MBR_WITNESS: run the witness on it) */
	KRG_MBR_ACT_PREPARE,	/* view of epoch installed, not serving: stop the old epoch's work,
				 * then answer EV_PREPARED. krg_mbr_get_view() is the new view. */
	KRG_MBR_ACT_COMMIT,	/* serve in view epoch */
	KRG_MBR_ACT_SUSPEND,	/* lease out: stop serving at once, freeze */
	KRG_MBR_ACT_RESUME,	/* lease is back in the same view: go on */
	KRG_MBR_ACT_DRAIN,	/* epoch: others treat this node as leaving; empty it, then EV_DRAINED */
	KRG_MBR_ACT_EXPELLED,	/* reason: this incarnation is over (LOST, EVICTED): kill, reset */
	KRG_MBR_ACT_LEFT,	/* the planned leave is complete */
	KRG_MBR_ACT_REFUSED,	/* reason, node = who refused (0: nobody answered): join is over */
	KRG_MBR_ACT_PEER_REFUSED, /* reason: this node refused node's join (for the log) */
	KRG_MBR_ACT_FAILED,	/* internal check failed; arg: line. Fence this node. */
};

struct krg_mbr_action {
	u32 type;		/* enum krg_mbr_action_type */
	u16 node;
	u16 reason;		/* enum krg_mbr_reason */
	u64 epoch;
	u64 incarnation;	/* of node, 0: any */
	u64 arg;
	const u8 *data;		/* valid until the next krg_mbr_step() */
	u32 len;
	u32 pad;
};

#define KRG_MBR_F_DRAINING	1	/* leaving: give it nothing new */

struct krg_mbr_member {
	u16 node;
	u16 flags;		/* KRG_MBR_F_* */
	u16 reason;		/* in the list of removed nodes: enum krg_mbr_reason */
	u16 pad;
	u64 incarnation;
};

struct krg_mbr_view {
	u64 epoch;		/* 0: none */
	u64 cluster_id;		/* of this life of the cluster */
	struct krg_mbr_params params;
	u16 count;
	u16 removed_count;	/* who was in the view before and is not now */
	u32 pad;
	const struct krg_mbr_member *member;	/* count entries by ascending node id */
	const struct krg_mbr_member *removed;
};

/* What an administrator wants to know of one node, as seen from here. */
struct krg_mbr_peer_info {
	u16 node;
	u8 member;		/* in the current view */
	u8 reachable;		/* heard lately, and it hears us */
	u64 incarnation;
	u64 heard_ms_ago;	/* ~0: never */
	u64 acked_ms_ago;	/* since the send time of our last renewal it acknowledged */
};

struct krg_mbr_stats {
	u64 events, messages_in, messages_out, bytes_out;
	u64 bad_messages;	/* malformed, truncated, unknown type or version */
	u64 stale_messages;	/* of lower epochs or other incarnations */
	u64 proposals, ballots, views, suspends, resumes;
	u64 actions_dropped;	/* must stay 0: the queue is sized for the worst step */
};

struct krg_mbr;

/** Bytes of memory an engine for node ids up to @max_nodes needs; 0: out of range. */
u64 krg_mbr_size(u16 max_nodes);
/** Builds an engine in @mem (aligned to 16). Returns NULL if @cfg makes no sense. */
struct krg_mbr *krg_mbr_init(void *mem, u64 size, const struct krg_mbr_config *cfg, u64 now_ms);
/** One event. Any input is survived; bad ones are counted. @now_ms must not go back. */
void krg_mbr_step(struct krg_mbr *m, u64 now_ms, const struct krg_mbr_event *ev);
/** Takes the next action of the last step: 1 filled, 0 none left. */
int krg_mbr_next_action(struct krg_mbr *m, struct krg_mbr_action *act);
/** When EV_TICK is wanted at the latest; ~0: never. */
u64 krg_mbr_deadline(const struct krg_mbr *m);

enum krg_mbr_state krg_mbr_state(const struct krg_mbr *m);
/** This node may serve strictly before this time; 0: not at all. Copy it after each step. */
u64 krg_mbr_serve_until(const struct krg_mbr *m);
/** The current view, valid until the next step. */
void krg_mbr_get_view(const struct krg_mbr *m, struct krg_mbr_view *view);
/** 0 and filled, or -1 for a node id out of range. */
int krg_mbr_peer(struct krg_mbr *m, u16 node, u64 now_ms, struct krg_mbr_peer_info *info);
void krg_mbr_get_stats(const struct krg_mbr *m, struct krg_mbr_stats *stats);
/** Does this node, as far as it knows, reach a quorum of its view? */
int krg_mbr_has_quorum(struct krg_mbr *m, u64 now_ms);
/* Would EV_RECOVER do anything at this node? */
enum krg_mbr_recovery {
	KRG_MBR_RECOVERY_OK,
	KRG_MBR_RECOVERY_NO_VIEW,	/* in no cluster: nothing to recover */
	KRG_MBR_RECOVERY_QUORUM,	/* there is a quorum: votes decide */
	KRG_MBR_RECOVERY_GOING,		/* this node is to be evicted or leaves: it would be left out itself */
	KRG_MBR_RECOVERY_OUTSIDE,	/* it does not reach all of those that reach each other */
};

enum krg_mbr_recovery krg_mbr_may_recover(struct krg_mbr *m, u64 now_ms);
/** A hash of the whole state, for the exhaustive explorer and determinism checks. */
u64 krg_mbr_hash(const struct krg_mbr *m);

/*
 * The witness: an acceptor without a lease whose state is a small file. The
 * edge reads the file (empty on first use), calls this with the message of an
 * ACT_SEND to KRG_MBR_WITNESS, writes the file durably *before* it feeds the
 * reply back as EV_MSG from node KRG_MBR_WITNESS, all under a lock that
 * excludes every other node.
 */
#define KRG_MBR_WITNESS_STATE_MAX	65536
/*
 * @state/@state_len: the file; updated in place. @state_cap: room behind @state.
 * @reply: filled, *@reply_len holds its room and then its length.
 * Returns 1: write @state, then use the reply; 0: reply only; -1: refused (bad state or
 * message, no room), no reply and @state as it was. A reply is never empty.
 */
int krg_mbr_witness(u8 *state, u32 *state_len, u32 state_cap, u64 cluster_id,
		    const u8 *msg, u32 msg_len, u8 *reply, u32 *reply_len);

#ifdef __cplusplus
}
#endif
#endif
