/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What node.c (life), request.c (what is asked of it) and status.c (picture of it)
 * share.
 */
#ifndef KRG_NODE_PRIVATE_H
#define KRG_NODE_PRIVATE_H

#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "event.h"
#include "member.h"
#include "node.h"
#include "session.h"

/* What is remembered of a node id, also after the node has gone. */
struct krg_node_memory {
	bool member;		/* in the newest committed view */
	u8 reason;		/* why it is not any more */
	u64 incarnation;
	u64 down_ms;		/* krg_member_now_ms() when it went, 0: never was in */
	u16 flags;
	char host[KRG_HOST_NAME_MAX + 1];
};

struct krg_node {
	/* Serialises create, join, leave and tearing down. Outermost. */
	struct mutex mutex;
	struct krg_node_config cfg;
	struct krg_identity self;
	bool engine_on, links_on, peers_on;
	unsigned int rejoins;		/* attempts since the last committed view */
	u32 join_timeout_ms;		/* 0: none */
	unsigned long join_started;	/* jiffies */

	/* The rest is under this lock, never held while sleeping. */
	spinlock_t lock;
	enum krg_node_lifecycle state;
	bool leaving;			/* on purpose: do not come back */
	bool over;			/* the engine has said its last word */
	enum krg_mbr_action_type over_how;
	u8 last_reason;
	u16 last_reason_node;
	char last_error[128];
	u64 epoch;			/* of the newest committed view */
	struct krg_node_memory memory[KRG_NODE_ID_MAX + 1];

	struct workqueue_struct *wq;
	struct work_struct over_work;	/* tear down, and perhaps come back */
	struct delayed_work join_work;	/* ask to be let in (again) */
	struct work_struct joined_work;	/* welcome: start the engine */
};

extern struct krg_node krg_node;

enum krg_node_lifecycle krg_node_state(void);
/** Sets the state and tells; @fmt says why, for people. */
void krg_node_enter(enum krg_node_lifecycle state, u8 reason, const char *fmt, ...) __printf(3, 4);
void krg_node_remember_error(u8 reason, u16 by, const char *text);

/* Building up and taking down, in the order they are used; all under the mutex. */
int krg_node_set_identity(const struct krg_node_config *cfg, struct netlink_ext_ack *extack);
int krg_node_links_up(struct netlink_ext_ack *extack);
int krg_node_engine_up(void);
void krg_node_down(void);
/** krg_node_down(), and the end of this stay in a cluster. */
void krg_node_out(u8 reason, const char *text);

#endif
