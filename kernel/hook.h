/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Redirection of kernel functions: what a row of the table is made of. The table
 * and the protocol are in hook.c. Prefer none: a row needs a reason that no
 * exported function, tracepoint or vm_ops could serve.
 *
 * A row is written in three parts:
 *
 *	KRG_HOOK_ORIGINAL(getpgid, long, (const struct pt_regs *regs));
 *
 *	static long getpgid_replacement(const struct pt_regs *regs)
 *	{
 *		long ret = krg_hook_original(getpgid)(regs);
 *
 *		krg_hook_leave(&getpgid_hook);
 *		return ret;
 *	}
 *
 *	struct krg_hook getpgid_hook = KRG_HOOK(getpgid, "__x64_sys_getpgid",
 *						getpgid_replacement, "why");
 *
 * The file is built with -fno-optimize-sibling-calls: see Kbuild and hook.c.
 */
#ifndef KRG_HOOK_H
#define KRG_HOOK_H

#include <linux/atomic.h>
#include <linux/ftrace.h>
#include <linux/static_call.h>
#include <linux/types.h>

struct krg_hook {
	const char *function;	/* what is redirected */
	const char *why;	/* the reason this row exists */
	void *replacement;
	void (*bind)(unsigned long original);	/* patches krg_hook_original() */

	/* private to hook.c */
	unsigned long address;
	struct ftrace_ops ops;
	atomic_t inflight;	/* calls of the replacement under way */
	bool active;
};

/*
 * The original is a static call, a direct call instruction patched when the row
 * is switched on. A function pointer would fault on processors with IBT.
 */
#define KRG_HOOK_ORIGINAL(name, ret, args)						\
	static ret krg_hook_unbound_##name args { return (ret)0; }			\
	DEFINE_STATIC_CALL(krg_hook_orig_##name, krg_hook_unbound_##name);		\
	static void krg_hook_bind_##name(unsigned long original)			\
	{										\
		static_call_update(krg_hook_orig_##name,				\
				   (typeof(&krg_hook_unbound_##name))original);		\
	}

#define krg_hook_original(name)	static_call(krg_hook_orig_##name)

#define KRG_HOOK(name, symbol, replace, reason)		\
	{						\
		.function = (symbol),			\
		.why = (reason),			\
		.replacement = (replace),		\
		.bind = krg_hook_bind_##name,		\
	}

/** Every replacement ends with this, behind its call of the original. */
void krg_hook_leave(struct krg_hook *hook);

/**
 * krg_hook_on_all() - redirect several functions
 * @table: ends with NULL
 *
 * All of them or none. Context: process context, may sleep.
 * Return: 0, or -errno with the row's function and reason in the log: -ENOENT no
 * such function, -EBUSY somebody else (livepatch) has redirected it, -EINVAL it
 * cannot be redirected.
 */
int __must_check krg_hook_on_all(struct krg_hook *const *table);
/** No new call is redirected when this returns; calls under way go on. May sleep. */
void krg_hook_off_all(struct krg_hook *const *table);
/** Calls of the replacement under way; the module cannot be unloaded before all are 0. */
static inline int krg_hook_inflight(const struct krg_hook *hook)
{
	return atomic_read(&hook->inflight);
}

/* hook_selftest.c: rows that are only ever switched on by somebody who asks. */
void krg_hook_selftest_off(void);

#endif
