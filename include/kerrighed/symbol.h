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

/** Deletes the POSIX timers of the caller's process. */
void krg_timers_exit(void);

/**
 * krg_exec() - the caller runs another program
 * @file: its path
 * @argv: its arguments, the first one is its name; NULL ends them
 * @envp: its environment, likewise
 *
 * Context: a task on its way to user mode, without locks and with all signals blocked. Return: 0, the caller has to return to
 * user mode, which is that program's; or -errno: as before, or if it was too late for that SIGSEGV ends it there.
 */
int krg_exec(const char *file, const char *const *argv, const char *const *envp);
/**
 * krg_reap_child() - waits for a child of the caller's process that has ended, without waiting
 *
 * Context: a task on its way to user mode, without locks. Return: its id, or 0 or a negative errno: there is none.
 */
int krg_reap_child(void);

/** Sends a signal with all of its information to a process. Any context that may take siglock; 0 or -errno. */
int krg_group_signal(struct kernel_siginfo *info, struct task_struct *task);

/** krg_seccomp() - seccomp(2), by the calling thread; @at is an address of its own */
long krg_seccomp(unsigned long operation, unsigned long flags, unsigned long at);

#endif
