/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What opens a connection tries again when there is no memory: a node that stays
 * without one of its connections for longer than a lease is expelled, and so may be
 * the other end of it. Only for threads that may wait.
 */
#ifndef KRG_MEMORY_H
#define KRG_MEMORY_H

#include <linux/errno.h>
#include <linux/sched.h>

#define KRG_MEMORY_TRIES	50	/* a jiffy apart */

/* After a moment: is @err, of attempt number *@tries, worth another one? */
static inline bool krg_memory_later(int err, unsigned int *tries)
{
	if ((err != -ENOMEM && err != -ENOBUFS) || (*tries)++ >= KRG_MEMORY_TRIES)
		return false;
	schedule_timeout_uninterruptible(1);
	return true;
}

#endif
