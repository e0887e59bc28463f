/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the modules above kerrighed.ko need of the kernel and cannot have by its
 * exports: done for them by the one table of such symbols, kernel/symbols.h.
 */
#ifndef KRG_SYMBOL_H
#define KRG_SYMBOL_H

#include <linux/sched.h>

struct kernel_siginfo;

/** Makes kernel.pid_max at least @least, which must not be above KRG_PID_LIMIT. Any context. */
void krg_pid_max_raise(int least);

/**
 * krg_group_exit() - ends the caller's process
 * @code: as wait(2) gives it: a status times 256, or a signal, with 128 for a core
 *
 * Context: a task on its way to user mode, without locks. Does not return. A module whose code called it must wait for
 * synchronize_rcu_tasks() before that goes.
 */
void krg_group_exit(int code);

/** Ends the calling thread alone; as above. */
void krg_thread_exit(void);

/** Sends a signal with all of its information to a process. Any context that may take siglock; 0 or -errno. */
int krg_group_signal(struct kernel_siginfo *info, struct task_struct *task);

#endif
