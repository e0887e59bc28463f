/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The control plane as the module's start and end see it: netlink.c, proc.c and
 * power.c. Start them last, when everything they report exists; stop them first,
 * in reverse order.
 */
#ifndef KRG_CONTROL_H
#define KRG_CONTROL_H

#include <linux/types.h>

#include "stats.h"

struct netlink_ext_ack;

int krg_power_init(void);
void krg_power_exit(void);
int krg_proc_init(void);
void krg_proc_exit(void);
int krg_netlink_init(void);
void krg_netlink_exit(void);

/**
 * krg_power_cluster() - switch off or restart every member of the cluster
 * @action: enum krg_power_action
 * @extack: says which member cannot, and why
 *
 * Returns once every member has promised; this node follows the others.
 */
int krg_power_cluster(u32 action, struct netlink_ext_ack *extack);

/* The statistics of stats.h as one flat list. */
struct krg_report_entry {
	const char *name;	/* e.g. "bad_messages", "tx", "latency" */
	const char *message;	/* message type, NULL when not per type */
	u16 peer;		/* node id, 0: all */
	bool histogram;		/* sum_us and bucket[] are valid, value is the number of samples */
	u64 value, sum_us;
	u64 bucket[KRG_STATS_BUCKETS];
};

/**
 * krg_report_get() - one entry of the list
 * @index: from 0
 * @entry: filled when 0 is returned
 *
 * Returns 0, -EAGAIN for an index without a value just now, -ENOENT past the end.
 */
int krg_report_get(unsigned long index, struct krg_report_entry *entry);

/** krg_state_name() - a node state as /proc prints it */
const char *krg_state_name(u32 state);
/** krg_reason_name() - why a node is gone, as /proc prints it */
const char *krg_reason_name(u32 reason);

#endif
