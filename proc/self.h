/* SPDX-License-Identifier: GPL-2.0 */
/* What processes ask of those who save or move them (krg_self.h of the user interface), and how they are told. */
#ifndef KRG_PROC_SELF_H
#define KRG_PROC_SELF_H

#include <linux/types.h>

struct krg_frozen;
struct krg_text;
struct mm_struct;
struct task_struct;

/**
 * krg_freeze_willing() - krg_freeze() of processes that want it
 * @call: they are to be saved: their callbacks before it are done when this returns, those after it are called by krg_unfreeze()
 *
 * Who must not be disturbed now is waited for, until the time is over: -ETIMEDOUT, and @text names it.
 */
struct krg_frozen *krg_freeze_willing(pid_t pid, bool tree, u32 timeout_ms, bool call, struct krg_text *text);
/** krg_self_continue() - those of @set, which is held, whose callbacks before it were called are told that they go on */
void krg_self_continue(struct krg_frozen *set);

struct krg_excluded_range {
	unsigned long start, end;
};

/* Pages of an address space that are not saved. All zeros: none. */
struct krg_excluded {
	struct krg_excluded_range *at;
	unsigned int count;
};

/** krg_excluded_get() - of @task, whose memory @mm is: 0, or -ENOMEM; krg_excluded_put() gives it back */
int krg_excluded_get(struct krg_excluded *list, struct task_struct *task, struct mm_struct *mm);
void krg_excluded_put(struct krg_excluded *list);
bool krg_excluded_has(const struct krg_excluded *list, unsigned long at);

#endif
