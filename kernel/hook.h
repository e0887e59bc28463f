/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Redirection of kernel functions. See hook.c. Prefer none: a row of the table
 * needs a reason that no exported function, tracepoint or vm_ops could serve.
 */
#ifndef KRG_HOOK_H
#define KRG_HOOK_H

#include <linux/types.h>

struct krg_hook;

/*
 * Every replacement function ends with krg_hook_leave(); before that it may call
 * the original by its name.
 */
void krg_hook_leave(struct krg_hook *hook);

/** Redirects all rows of the table, or none: -errno, with the row's name in the log. */
int krg_hook_enable(void);
/** No new call is redirected when this returns; calls under way go on. */
void krg_hook_disable(void);
/** Calls of replacements still under way; the module cannot be unloaded before it is 0. */
unsigned int krg_hook_inflight(void);
/** Redirects a function of our own, calls it, takes it back. 0, or -errno: it does not work. */
int krg_hook_selftest(void);

#endif
