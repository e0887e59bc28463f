// SPDX-License-Identifier: GPL-2.0
/*
 * Proof that redirection works on this kernel, for whoever asks: two system calls
 * are redirected to replacements that call the original and count. Nothing here
 * is switched on by itself.
 *
 *	echo on  > /sys/module/kerrighed/parameters/hook_selftest
 *	cat        /sys/module/kerrighed/parameters/hook_selftest
 *	echo off > /sys/module/kerrighed/parameters/hook_selftest
 *
 * getpgid() is short and harmless, to be called by many at once. pause() sleeps,
 * and must not be redirected by anybody who is serious: here it holds a call under
 * way for as long as a test wants, to show that unloading is refused meanwhile.
 */
#include <linux/atomic.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/string.h>

#include "hook.h"

static atomic64_t selftest_calls;	/* of both */

KRG_HOOK_ORIGINAL(getpgid, long, (const struct pt_regs *regs))
KRG_HOOK_ORIGINAL(pause, long, (const struct pt_regs *regs))

static struct krg_hook getpgid_hook, pause_hook;

static long getpgid_replacement(const struct pt_regs *regs)
{
	long ret = krg_hook_original(getpgid)(regs);

	atomic64_inc(&selftest_calls);
	krg_hook_leave(&getpgid_hook);
	return ret;
}

static long pause_replacement(const struct pt_regs *regs)
{
	long ret = krg_hook_original(pause)(regs);

	atomic64_inc(&selftest_calls);
	krg_hook_leave(&pause_hook);
	return ret;
}

static struct krg_hook getpgid_hook =
	KRG_HOOK(getpgid, "__x64_sys_getpgid", getpgid_replacement, "self-test under load");
static struct krg_hook pause_hook =
	KRG_HOOK(pause, "__x64_sys_pause", pause_replacement, "self-test of unloading");

static struct krg_hook *const selftest_table[] = { &getpgid_hook, &pause_hook, NULL };

void krg_hook_selftest_off(void)
{
	krg_hook_off_all(selftest_table);
}

static int selftest_set(const char *value, const struct kernel_param *kp)
{
	if (sysfs_streq(value, "on"))
		return krg_hook_on_all(selftest_table);
	if (!sysfs_streq(value, "off"))
		return -EINVAL;
	krg_hook_selftest_off();
	return 0;
}

static int selftest_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s calls %lld inflight %d\n",
			  READ_ONCE(getpgid_hook.active) ? "on" : "off",
			  (long long)atomic64_read(&selftest_calls),
			  krg_hook_inflight(&getpgid_hook) + krg_hook_inflight(&pause_hook));
}

static const struct kernel_param_ops selftest_ops = { .set = selftest_set, .get = selftest_get };
module_param_cb(hook_selftest, &selftest_ops, NULL, 0600);
MODULE_PARM_DESC(hook_selftest, "on | off: redirect getpgid() and pause() to prove that it works");
