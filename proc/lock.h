/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Locks and leases on open files of other processes: the same answer for the check
 * and for the capture.
 */
#ifndef KRG_PROC_LOCK_H
#define KRG_PROC_LOCK_H

#include <linux/fs.h>

struct krg_descriptors;

/* As LOCK_KIND of the format has it. */
enum krg_lock_kind { KRG_LOCK_POSIX = 1, KRG_LOCK_FLOCK, KRG_LOCK_OFD, KRG_LOCK_LEASE };

/**
 * struct krg_lock - a lock that a table of descriptors, or an open file in it, has
 * @file: it is of this file, or on its inode; without a reference: the list has it
 * @breaking: a lease that somebody waits for to end
 */
struct krg_lock {
	enum krg_lock_kind kind;
	bool exclusive, breaking;
	loff_t start, end;
	pid_t pid;
	struct file *file;
};

/**
 * struct krg_locks - all locks of one table
 * @hidden: of this file it cannot be told what is locked, NULL: there is none
 */
struct krg_locks {
	struct krg_lock *at;
	unsigned int count, room;
	struct file *hidden;
};

/**
 * krg_locks_get() - all locks of the table that @list is of; krg_locks_put() must follow
 * @ask: ask file servers for what they keep and the kernel does not know; the table's owners are held
 *
 * Locks of a file server that are shared with others cannot be told apart: @hidden. Whether there is a flock there is found
 * out by trying to have one, for the time of one question. Return: 0, or a negative errno. May sleep.
 */
int krg_locks_get(struct krg_locks *to, const struct krg_descriptors *list, bool ask);
void krg_locks_put(struct krg_locks *locks);

#endif
