/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Coming home: a process is built in the task that was its shadow. See home.c.
 */
#ifndef KRG_PROC_HOME_H
#define KRG_PROC_HOME_H

#include <linux/types.h>

struct krg_move_in;

/** Whether the shadow of @pid is here. */
bool krg_home_is(pid_t pid);
/**
 * krg_home_bring() - builds a process in its shadow
 * @m: its image, here as a whole
 * @pid: its id
 * @token: what the helper names @m by
 * @program: the helper
 *
 * Returns when the process runs, is a shadow again, or was killed; what came of it is told to @m. May sleep for long.
 */
void krg_home_bring(struct krg_move_in *m, pid_t pid, u64 token, const char *program);
/**
 * krg_home_back() - the caller, a thread of a helper at home, cannot go on
 *
 * Before it reaches user mode again a leader becomes the shadow, and any other thread ends. Everybody who is in such a helper
 * has to come here soon.
 */
void krg_home_back(void);

#endif
