/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What happens to this node and its cluster, told to whoever listens: the
 * control plane (netlink multicast) registers one function, everybody else
 * calls krg_event_*(). Nothing here depends on netlink being there.
 */
#ifndef KRG_EVENT_H
#define KRG_EVENT_H

#include <linux/if.h>
#include <linux/types.h>

#include "node.h"

enum krg_event_type {	/* values are uapi: see kerrighed.yaml event-kind */
	KRG_EVENT_STATE = 1,	/* this node's life-cycle changed: state, reason, text */
	KRG_EVENT_VIEW_PREPARE,	/* epoch, nr_members: agreed on, not serving yet */
	KRG_EVENT_VIEW_COMMIT,	/* epoch, nr_members: serving */
	KRG_EVENT_NODE_UP,	/* node, incarnation, host: is in the new view */
	KRG_EVENT_NODE_DOWN,	/* node, incarnation, reason: was in the view before */
	KRG_EVENT_JOIN_REFUSED,	/* our own join: node = who refused (0: nobody answered), reason, text */
	KRG_EVENT_PEER_REFUSED,	/* we refused node's join: reason, host, text */
	KRG_EVENT_LINK_UP,	/* authenticated connection to node (link: "") or device link (node: 0) */
	KRG_EVENT_LINK_DOWN,
	KRG_EVENT_DRAIN,	/* planned leave: text says what still holds it, "" when it starts */
	KRG_EVENT_POWER,	/* the whole cluster goes down or restarts: text */
};

struct krg_event {
	enum krg_event_type type;
	enum krg_node_lifecycle state;	/* of this node when it happened */
	u16 node;
	u8 reason;			/* enum krg_mbr_reason */
	u64 epoch;
	u64 incarnation;
	u32 nr_members;
	const u16 *members;		/* VIEW_*: nr_members node ids, ascending; valid during the call */
	char host[KRG_HOST_NAME_MAX + 1];
	char link[IFNAMSIZ];
	char text[128];			/* for people, "" if there is nothing to add */
};

/*
 * The one listener. Called in process context and may sleep (GFP_KERNEL), from
 * one thread at a time for the events of views and states, in their order.
 * krg_event_unlisten() returns when no call is running any more.
 */
typedef void (*krg_event_fn)(const struct krg_event *ev);
void krg_event_listen(krg_event_fn fn);
void krg_event_unlisten(void);

/** Tells the listener, if there is one, and the kernel log where it is worth a line. */
void krg_event_report(const struct krg_event *ev);

/** Text of an enum krg_mbr_reason for people, e.g. "evicted". */
const char *krg_event_reason(u8 reason);

#endif
