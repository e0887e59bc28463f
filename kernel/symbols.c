// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel functions and variables that are not exported: two tables, resolved as a
 * whole when the module is loaded. If one is missing, loading fails with its name in
 * the log and nothing has been changed.
 *
 * kallsyms_lookup_name() is found by placing a probe on it, never armed, and reading
 * where it landed. On kernels with IBT that is behind the ENDBR instruction, which the
 * kernel has sealed for functions whose address it never takes: a call through a
 * pointer would fault. So no pointer is ever called: each function is a static
 * call, a direct call instruction that is patched once (both facts hold on 6.1
 * and 6.12).
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <uapi/linux/wait.h>

#include <kerrighed/symbol.h>

#include "main.h"
#include "symbols.h"

#define KRG_ENDBR_SIZE	4

/* Until it is resolved a call returns 0. Never happens: loading would have failed. */
#define KRG_SYM_DEFINE(name, ret, args, why)				\
	ret krg_sym_missing_##name args { return (ret)0; }		\
	DEFINE_STATIC_CALL(krg_sym_##name, krg_sym_missing_##name);
KRG_SYMBOLS(KRG_SYM_DEFINE)

struct krg_symbol {
	const char *name, *why;
	void (*set)(unsigned long address);
};

#define KRG_SYM_SETTER(name, ret, args, why)						\
	static void krg_sym_set_##name(unsigned long address)				\
	{										\
		static_call_update(krg_sym_##name,					\
				   (typeof(&krg_sym_missing_##name))address);		\
	}
KRG_SYMBOLS(KRG_SYM_SETTER)

#define KRG_SYM_ROW(name, ret, args, why)	{ #name, why, krg_sym_set_##name },
static const struct krg_symbol krg_symbols[] = { KRG_SYMBOLS(KRG_SYM_ROW) };

#define KRG_VAR_DEFINE(name, type, why)	type *krg_var_##name;
KRG_VARIABLES(KRG_VAR_DEFINE)

struct krg_variable {
	const char *name, *why;
	void **pointer;
};

#define KRG_VAR_ROW(name, type, why)	{ #name, why, (void **)&krg_var_##name },
static const struct krg_variable krg_variables[] = { KRG_VARIABLES(KRG_VAR_ROW) };

static char *symbol_demand;
module_param(symbol_demand, charp, 0400);
MODULE_PARM_DESC(symbol_demand, "one more function that must exist, to test what happens when it does not");

unsigned long krg_symbol_address(const char *name)
{
	return krg_sym(kallsyms_lookup_name)(name);
}

static int symbols_bootstrap(unsigned long *probed)
{
	/*
	 * Disabled: it is looked up but never armed. Disarming can fail (no memory), and an
	 * armed probe would then stay behind in the kernel's table after its storage is gone.
	 */
	struct kprobe probe = {
		.symbol_name = krg_symbols[0].name, .flags = KPROBE_FLAG_DISABLED,
	};
	int err;

	err = register_kprobe(&probe);
	if (err) {
		pr_err("symbol %s cannot be found (%d): kprobes are needed\n",
		       krg_symbols[0].name, err);
		return err;
	}
	*probed = (unsigned long)probe.addr;
	unregister_kprobe(&probe);
	krg_symbols[0].set(*probed);
	return 0;
}

/* What is found must be what it claims to be. @probed: where the probe landed. */
static int symbols_selftest(unsigned long probed)
{
	unsigned long entry = krg_symbol_address(krg_symbols[0].name);

	if ((probed == entry || probed == entry + KRG_ENDBR_SIZE) &&
	    krg_symbol_address("init_task") == (unsigned long)&init_task &&
	    krg_symbol_address("register_kprobe") &&
	    !krg_symbol_address("krg there is no such symbol"))
		return 0;
	pr_err("symbols self-test failed: look-ups do not work on this kernel\n");
	return -ENOEXEC;
}

static int symbols_missing(const char *name, const char *why)
{
	pr_err("symbol %s is missing in this kernel (%s)\n", name, why);
	return -ENOENT;
}

static int symbols_find_variables(void)
{
	const struct krg_variable *v;

	for (v = krg_variables; v < krg_variables + ARRAY_SIZE(krg_variables); v++) {
		*v->pointer = (void *)krg_symbol_address(v->name);
		if (!*v->pointer)
			return symbols_missing(v->name, v->why);
	}
	return 0;
}

/* All rows or none: nothing is patched before every name has been found. */
int krg_symbols_init(void)
{
	unsigned long address[ARRAY_SIZE(krg_symbols)];
	unsigned int i;
	int err;

	err = symbols_bootstrap(&address[0]);
	if (!err)
		err = symbols_selftest(address[0]);
	if (err)
		return err;
	for (i = 1; i < ARRAY_SIZE(krg_symbols); i++) {
		address[i] = krg_symbol_address(krg_symbols[i].name);
		if (!address[i])
			return symbols_missing(krg_symbols[i].name, krg_symbols[i].why);
	}
	err = symbols_find_variables();
	if (err)
		return err;
	if (symbol_demand && !krg_symbol_address(symbol_demand))
		return symbols_missing(symbol_demand, "demanded by a parameter");
	for (i = 1; i < ARRAY_SIZE(krg_symbols); i++)
		krg_symbols[i].set(address[i]);
	return 0;
}

void krg_symbols_exit(void)
{
}

void krg_pid_max_raise(int least)
{
	if (READ_ONCE(*krg_var(pid_max)) < least)
		WRITE_ONCE(*krg_var(pid_max), least);
}
EXPORT_SYMBOL_GPL(krg_pid_max_raise);

void krg_group_exit(int code)
{
	krg_sym(do_group_exit)(code);
}
EXPORT_SYMBOL_GPL(krg_group_exit);

void krg_thread_exit(void)
{
	krg_sym(do_exit)(0);
}
EXPORT_SYMBOL_GPL(krg_thread_exit);

int krg_reap_child(void)
{
	return krg_sym(kernel_wait4)(-1, NULL, WNOHANG | __WALL, NULL);
}
EXPORT_SYMBOL_GPL(krg_reap_child);

int krg_group_signal(struct kernel_siginfo *info, struct task_struct *task)
{
	return krg_sym(group_send_sig_info)(info->si_signo, info, task, PIDTYPE_TGID);
}
EXPORT_SYMBOL_GPL(krg_group_signal);

void krg_timers_exit(void)
{
	krg_sym(exit_itimers)(current);
}
EXPORT_SYMBOL_GPL(krg_timers_exit);

int krg_exec(const char *file, const char *const *argv, const char *const *envp)
{
	return krg_sym(kernel_execve)(file, argv, envp);
}
EXPORT_SYMBOL_GPL(krg_exec);

long krg_seccomp(unsigned long operation, unsigned long flags, unsigned long at)
{
	const struct pt_regs regs = { .di = operation, .si = flags, .dx = at };

	return krg_sym(__x64_sys_seccomp)(&regs);
}
EXPORT_SYMBOL_GPL(krg_seccomp);
