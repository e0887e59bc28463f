/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kernel functions that are not exported, called safely, and variables. See symbols.c.
 *
 * A function is added in one place: a row in KRG_SYMBOLS below (name, return type,
 * parameters, why). Callers say krg_sym(name)(arguments).
 */
#ifndef KRG_SYMBOLS_H
#define KRG_SYMBOLS_H

#include <linux/pid.h>
#include <linux/static_call.h>
#include <linux/types.h>

struct rusage;

/*
 * name, return type, parameter types, reason. Exported functions do not belong
 * here. The first row is how all others are found.
 */
#define KRG_SYMBOLS(X)									\
	X(kallsyms_lookup_name, unsigned long, (const char *name),			\
	  "finds every other row; not exported since 5.7")				\
	X(do_exit, void, (long code),							\
	  "the threads of a moved process end, but for the one that is its shadow")	\
	X(do_group_exit, void, (int code),						\
	  "a moved process ended: its shadow ends with the same status")		\
	X(kernel_wait4, long, (pid_t upid, int __user *stat_addr, int options, struct rusage *ru), \
	  "dead children of a moved process are waited for where it is, not by its shadow") \
	X(group_send_sig_info, int,							\
	  (int sig, struct kernel_siginfo *info, struct task_struct *task, enum pid_type type), \
	  "signals that a shadow passes on keep their sender and value")		\
	X(exit_itimers, void, (struct task_struct *task),				\
	  "the POSIX timers of a moved process run where it is, not in its shadow")	\
	X(kernel_execve, int,								\
	  (const char *file, const char *const *argv, const char *const *envp),		\
	  "a process that comes home is built in its own task, by a program that runs in it")	\
	X(__x64_sys_seccomp, long, (const struct pt_regs *regs),			\
	  "filters are given to a restored thread behind its last system call; only the call itself makes them")

/*
 * Variables that are not exported: name, type, reason. Read and written through
 * the pointer krg_var(name).
 */
#define KRG_VARIABLES(X)								\
	X(pid_max, int, "pids of the cluster: each node has its own range (proc/pids.c)")

#define KRG_VAR_DECLARE(name, type, why)	extern type *krg_var_##name;
KRG_VARIABLES(KRG_VAR_DECLARE)

/** Address of the variable, valid once the module was loaded. */
#define krg_var(name)	krg_var_##name

#define KRG_SYM_DECLARE(name, ret, args, why)	\
	ret krg_sym_missing_##name args;	\
	DECLARE_STATIC_CALL(krg_sym_##name, krg_sym_missing_##name);
KRG_SYMBOLS(KRG_SYM_DECLARE)

/** A direct call of the function, patched in when the module was loaded. */
#define krg_sym(name)	static_call(krg_sym_##name)

/** Address of any function or variable by name, 0 if there is none. For hook.c. */
unsigned long krg_symbol_address(const char *name);

#endif
