/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the check share. */
#ifndef KRG_PROC_CHECK_PRIVATE_H
#define KRG_PROC_CHECK_PRIVATE_H

#include <linux/time.h>
#include <linux/types.h>

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
/** krg_check_files() - descriptors of all processes, and who else has the other ends of their pipes */
void krg_check_files(struct krg_check *c);

#endif
