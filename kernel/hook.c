// SPDX-License-Identifier: GPL-2.0
/*
 * Redirecting kernel functions: the table and how it is switched. The table has
 * no row: nothing this project does today needs one. The rows that prove that
 * the facility works are in hook_selftest.c and are off unless somebody asks.
 *
 * An ftrace handler with IPMODIFY sends a call of the hooked function to our
 * replacement, unless the call comes from this module: that is how a replacement
 * calls the original without meeting itself. For this to be seen the call must
 * leave a return address of ours behind, so files with replacements are built with
 * -fno-optimize-sibling-calls: a call in tail position would become a jump, and the
 * original's caller would seem to be somebody else, again and again.
 *
 * Life of a redirection:
 *	on	sets the filter of every row, then registers; all rows or none. The
 *		filter's result is checked first: registered with an empty filter, a
 *		handler would be called for every function of the kernel.
 *	call	the handler takes a module reference and counts the row's calls, so
 *		the module stays while a task is inside a replacement, asleep perhaps.
 *		Once the module is going, calls pass through to the original.
 *	off	unregisters; when it returns nothing new is redirected, and
 *		synchronize_rcu_tasks() has waited for those between the handler
 *		and the replacement's first instruction, and behind its last.
 *	drain	calls under way end by themselves. Nobody waits for them.
 *	unload	rmmod gets EBUSY while calls are under way. Nothing ever waits for them
 *		in module exit: the task that runs rmmod may itself be one of them.
 *
 * A blocking system call must not be redirected as a whole, or unloading waits
 * for whoever sleeps in it: redirect an inner point that does not block.
 *
 * The handler may run wherever the hooked function does. It must not be one that is
 * called from non-maskable interrupts or by ftrace itself.
 */
#include <linux/atomic.h>
#include <linux/ftrace.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/string.h>

#include <kerrighed/compat.h>

#include "hook.h"
#include "main.h"
#include "symbols.h"

/* Ends with NULL. */
static struct krg_hook *const hook_table[] = { NULL };

static DEFINE_MUTEX(hook_mutex);	/* active of every row, and switching */

static void notrace hook_handler(unsigned long ip, unsigned long parent_ip,
				 struct ftrace_ops *ops, struct ftrace_regs *regs)
{
	struct krg_hook *hook = container_of(ops, struct krg_hook, ops);

	if (within_module(parent_ip, THIS_MODULE))
		return;
	if (!try_module_get(THIS_MODULE))
		return;
	atomic_inc(&hook->inflight);
	krg_ftrace_set_ip(regs, (unsigned long)hook->replacement);
}

void krg_hook_leave(struct krg_hook *hook)
{
	atomic_dec(&hook->inflight);
	module_put(THIS_MODULE);
}

static int hook_failed(const struct krg_hook *hook, const char *what, int err)
{
	pr_err("hook %s: %s: %d (it is there for: %s)\n", hook->function, what, err, hook->why);
	return err;
}

static int hook_on(struct krg_hook *hook)
{
	int err;

	lockdep_assert_held(&hook_mutex);
	if (!hook->address) {
		hook->address = krg_symbol_address(hook->function);
		if (!hook->address)
			return hook_failed(hook, "this kernel has no such function", -ENOENT);
		hook->bind(hook->address);
	}
	/* After an earlier use: ftrace_free_filter() leaves pointers to what it frees behind. */
	memset(&hook->ops, 0, sizeof(hook->ops));
	hook->ops.func = hook_handler;
	/* PERMANENT: whoever sets kernel.ftrace_enabled to 0 gets an error, not a torn system. */
	hook->ops.flags = FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_RECURSION | FTRACE_OPS_FL_PERMANENT;
	err = ftrace_set_filter_ip(&hook->ops, hook->address, 0, 0);
	if (err)
		return hook_failed(hook, "it cannot be traced", err);
	err = register_ftrace_function(&hook->ops);
	if (err) {
		ftrace_free_filter(&hook->ops);
		return hook_failed(hook, err == -EBUSY ?
				   "somebody else has redirected it, or tracing is switched off" :
				   "it cannot be redirected", err);
	}
	hook->active = true;
	return 0;
}

static void hook_off(struct krg_hook *hook)
{
	int err;

	lockdep_assert_held(&hook_mutex);
	err = unregister_ftrace_function(&hook->ops);
	if (err) {	/* ftrace has killed itself after an error of its own */
		hook_failed(hook, "cannot be taken back", err);
		return;
	}
	ftrace_free_filter(&hook->ops);
	hook->active = false;
}

static bool hook_off_all(struct krg_hook *const *table)
{
	bool any = false;

	for (; *table; table++) {
		if ((*table)->active) {
			hook_off(*table);
			any = true;
		}
	}
	return any;
}

int krg_hook_on_all(struct krg_hook *const *table)
{
	struct krg_hook *const *row;
	bool undone = false;
	int err = 0;

	mutex_lock(&hook_mutex);
	for (row = table; *row && !err; row++)
		if (!(*row)->active)
			err = hook_on(*row);
	if (err)
		undone = hook_off_all(table);
	mutex_unlock(&hook_mutex);
	if (undone)
		synchronize_rcu_tasks();
	return err;
}

void krg_hook_off_all(struct krg_hook *const *table)
{
	bool any;

	mutex_lock(&hook_mutex);
	any = hook_off_all(table);
	mutex_unlock(&hook_mutex);
	if (any)
		synchronize_rcu_tasks();
}

int krg_hook_init(void)
{
	return krg_hook_on_all(hook_table);
}

void krg_hook_exit(void)
{
	krg_hook_selftest_off();
	krg_hook_off_all(hook_table);
	/* Rows that were switched off before may have had their last call end just now. */
	synchronize_rcu_tasks();
}
