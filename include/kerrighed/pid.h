/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Process ids of the cluster: which node's range an id is from. What keeps a node
 * in its range is proc/pids.c.
 */
#ifndef KRG_PID_H
#define KRG_PID_H

#include <linux/types.h>

/*
 * Node n has the ids from n * KRG_PID_SPAN on. Those below the first range are of
 * processes that are older than their node's membership, and of none else. With
 * 126 nodes the last range ends where the kernel's own limit of ids is.
 */
#define KRG_PID_SPAN	32768
#define KRG_PID_LIMIT	(4 * 1024 * 1024)

/** The node whose range @pid is from, 0: of no node's. */
static inline u16 krg_pid_node(pid_t pid)
{
	return pid > 0 && pid < KRG_PID_LIMIT ? pid / KRG_PID_SPAN : 0;
}

#endif
