/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Processes that are stopped where they run, for their parents at home. See stop.c.
 */
#ifndef KRG_PROC_STOP_H
#define KRG_PROC_STOP_H

#include <linux/types.h>

/** At home: the process was stopped by @signal where it runs, or with 0 goes on. False: there is no such shadow. */
bool krg_shadow_stopped(pid_t pid, u64 generation, int signal);
/** By a shadow's leader: if SIGCONT came after a stop, its parent is told. */
void krg_shadow_continued(void);
int krg_stop_init(void);
void krg_stop_exit(void);

#endif
