// SPDX-License-Identifier: GPL-2.0
/*
 * Redirecting kernel functions: one table, a reason for each row. It has no row
 * but the self-test's; what the project does today needs none.
 *
 * An ftrace handler with IPMODIFY sends a call of the hooked function to our
 * replacement, unless the call comes from this module: that is how a replacement
 * calls the original, by its own name. For this to be seen the call must be a
 * real one: this file is built with -fno-optimize-sibling-calls.
 *
 * Life of a redirection:
 *	enable	sets the filter of every row, then registers; all or nothing. A
 *		function that another user (livepatch) has redirected gives -EBUSY.
 *	call	the handler takes a module reference for each redirected call, so the
 *		module stays while a task is inside a replacement, asleep perhaps.
 *		Once the module is going, calls pass through to the original.
 *	disable	unregisters; when it returns nothing new is redirected, and
 *		synchronize_rcu_tasks() has waited for those between the handler
 *		and the replacement's first instruction, and behind its last.
 *	unload	rmmod gets EBUSY while calls are under way. Nothing ever waits for them
 *		in module exit: the task that runs rmmod may itself be one of them.
 *
 * A blocking system call must not be redirected as a whole, or unloading waits
 * for whoever sleeps in it: redirect an inner point that does not block.
 */
#include <linux/atomic.h>
#include <linux/bsearch.h>
#include <linux/ftrace.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>

#include <kerrighed/compat.h>

#include "hook.h"
#include "main.h"
#include "symbols.h"

struct krg_hook {
	const char *name;	/* of the function */
	const char *why;	/* the reason this row exists */
	void *replacement;
	unsigned long address;	/* of the function, when it is known already */
	struct ftrace_ops ops;
	bool active;
};

static DEFINE_MUTEX(hook_mutex);	/* enable, disable, self-test */
static atomic_t hook_inflight;

static void notrace hook_handler(unsigned long ip, unsigned long parent_ip,
				 struct ftrace_ops *ops, struct ftrace_regs *regs)
{
	struct krg_hook *hook = container_of(ops, struct krg_hook, ops);

	if (within_module(parent_ip, THIS_MODULE))
		return;
	if (!try_module_get(THIS_MODULE))
		return;
	atomic_inc(&hook_inflight);
	krg_ftrace_set_ip(regs, (unsigned long)hook->replacement);
}

void krg_hook_leave(struct krg_hook *hook)
{
	atomic_dec(&hook_inflight);
	module_put(THIS_MODULE);
}

/* ---- the table ---- */

static struct krg_hook hook_selftest_hook;

/*
 * The self-test's function, redirected only while the self-test runs. The kernel's
 * bsearch() calls it, because calls from this module are not redirected.
 */
static noinline int hook_selftest_target(const void *key, const void *element)
{
	return *(const int *)key - *(const int *)element;
}

static noinline int hook_selftest_replacement(const void *key, const void *element)
{
	int ret = hook_selftest_target(key, element) + 1;

	barrier();	/* the call above must not become a jump */
	krg_hook_leave(&hook_selftest_hook);
	return ret;
}

static struct krg_hook hook_selftest_hook = {
	.name = "hook_selftest_target",
	.why = "self-test",
	.replacement = hook_selftest_replacement,
	.address = (unsigned long)hook_selftest_target,
};

/* Ends with NULL. No redirection is needed today. */
static struct krg_hook *const hook_table[] = { NULL };

/* ---- switching ---- */

static int hook_on(struct krg_hook *hook)
{
	int err;

	if (!hook->address)
		hook->address = krg_symbol_address(hook->name);
	if (!hook->address) {
		pr_err("hook %s: no such function (%s)\n", hook->name, hook->why);
		return -ENOENT;
	}
	hook->ops.func = hook_handler;
	hook->ops.flags = FTRACE_OPS_FL_IPMODIFY;
	err = ftrace_set_filter_ip(&hook->ops, hook->address, 0, 0);
	if (err) {
		pr_err("hook %s: it cannot be traced: %d (%s)\n", hook->name, err, hook->why);
		return err;
	}
	err = register_ftrace_function(&hook->ops);
	if (err) {
		pr_err("hook %s: %s: %d (%s)\n", hook->name,
		       err == -EBUSY ? "somebody else has redirected it" : "cannot be redirected",
		       err, hook->why);
		ftrace_free_filter(&hook->ops);
		return err;
	}
	hook->active = true;
	return 0;
}

static void hook_off(struct krg_hook *hook)
{
	if (!hook->active)
		return;
	unregister_ftrace_function(&hook->ops);
	ftrace_free_filter(&hook->ops);
	hook->active = false;
}

int krg_hook_enable(void)
{
	unsigned int i;
	int err = 0;

	mutex_lock(&hook_mutex);
	for (i = 0; hook_table[i] && !err; i++)
		if (!hook_table[i]->active)
			err = hook_on(hook_table[i]);
	if (err)
		while (i--)
			hook_off(hook_table[i]);
	mutex_unlock(&hook_mutex);
	return err;
}

void krg_hook_disable(void)
{
	unsigned int i;

	mutex_lock(&hook_mutex);
	for (i = 0; hook_table[i]; i++)
		hook_off(hook_table[i]);
	mutex_unlock(&hook_mutex);
	if (i)
		synchronize_rcu_tasks();
}

unsigned int krg_hook_inflight(void)
{
	return atomic_read(&hook_inflight);
}

/* ---- self-test ---- */

static bool hook_selftest_finds(void)
{
	static const int array[] = { 5 };
	int key = 5;

	return bsearch(&key, array, 1, sizeof(array[0]), hook_selftest_target);
}

int krg_hook_selftest(void)
{
	bool before, during, after;
	int err;

	mutex_lock(&hook_mutex);
	before = hook_selftest_finds();
	err = hook_on(&hook_selftest_hook);
	if (err)
		goto unlock;
	during = hook_selftest_finds();
	hook_off(&hook_selftest_hook);
	synchronize_rcu_tasks();
	after = hook_selftest_finds();
	if (!before || during || !after || atomic_read(&hook_inflight)) {
		pr_err("hook self-test failed: %d %d %d, %d under way\n", before, during, after,
		       atomic_read(&hook_inflight));
		err = -ENOEXEC;
	} else {
		pr_info("hook self-test passed\n");
	}
unlock:
	mutex_unlock(&hook_mutex);
	return err;
}

/* Run by whoever writes to the parameter; it cannot go wrong silently. */
static int hook_param_set(const char *value, const struct kernel_param *kp)
{
	return krg_hook_selftest();
}

static const struct kernel_param_ops hook_param_ops = { .set = hook_param_set };
module_param_cb(hook_selftest, &hook_param_ops, NULL, 0200);
MODULE_PARM_DESC(hook_selftest, "write anything: redirect a function of our own and take it back");

int krg_hook_init(void)
{
	return krg_hook_enable();
}

void krg_hook_exit(void)
{
	krg_hook_disable();
}
