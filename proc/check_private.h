/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the check share. */
#ifndef KRG_PROC_CHECK_PRIVATE_H
#define KRG_PROC_CHECK_PRIVATE_H

#include <linux/time.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct file;
struct krg_frozen;
struct krg_text;
struct task_struct;

/* POSIX timers that are in images: those of the system's clocks. */
static inline bool krg_timer_is_carried(clockid_t clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME || clock == CLOCK_TAI;
}

struct krg_check {
	struct krg_frozen *set;
	struct krg_text *text;
	bool frozen;	/* see krg_check() */
	bool refused;
	int error;
};

/** krg_check_refuse() - one line, "name: what and why" */
__printf(2, 3) void krg_check_refuse(struct krg_check *c, const char *format, ...);
/** krg_check_seccomp() - filters that cannot be read (capture_seccomp.c) */
void krg_check_seccomp(struct krg_check *c, struct task_struct *task, pid_t tid);
/**
 * struct krg_tally - what the set has, found before any of it is judged; all are counts
 * @files: how often each open file is in tables and in messages under way
 * @tables: how often in tables alone
 * @pipes: how many files each pipe has there
 * @sockets: sockets, those that wait to be accepted included
 * @away: of a set that moves, unix sockets that stay behind
 * @more: some of them were found
 */
struct krg_tally {
	struct xarray files, tables, pipes, sockets, away;
	bool more;
};

unsigned long krg_tally_get(struct xarray *of, const void *key);
/** krg_tally_add() - one more; 0 or -ENOMEM */
int krg_tally_add(struct xarray *of, const void *key);
/** krg_tally_file() - one more holder of an open file; likewise */
int krg_tally_file(struct krg_tally *tally, struct file *file);

/** krg_check_files() - descriptors of all processes, and who else has the other ends of their pipes */
void krg_check_files(struct krg_check *c);

#endif
