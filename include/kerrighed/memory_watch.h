/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Being asked before madvise(2) and mremap(2) do anything. For memory that is
 * elsewhere still: what a program gives up must not come back from there, and what
 * grows must not be taken for something that is there.
 */
#ifndef KRG_MEMORY_WATCH_H
#define KRG_MEMORY_WATCH_H

#include <linux/types.h>

struct mm_struct;

/**
 * struct krg_memory_watch - who is asked; both may sleep, and end the system call with a negative errno
 * @advise: before the kernel's do_madvise(); @mm, which is not locked, need not be the caller's (process_madvise). Nothing was
 *	checked
 * @remap: before mremap(2) of the caller; nothing was checked
 */
struct krg_memory_watch {
	int (*advise)(struct mm_struct *mm, unsigned long start, size_t length, int advice);
	int (*remap)(unsigned long start, unsigned long old_length, unsigned long new_length, unsigned long flags);
};

/** From now on @watch is asked; there is one at most. 0, -EBUSY, or why a function cannot be redirected. May sleep. */
int __must_check krg_memory_watch(const struct krg_memory_watch *watch);
/** Nobody is inside of it when this returns. May sleep. */
void krg_memory_unwatch(void);

#endif
