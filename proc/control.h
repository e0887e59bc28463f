/* SPDX-License-Identifier: GPL-2.0 */
/* /proc/kerrighed/PID: control.c; images that get their name when they are whole: control_save.c. */
#ifndef KRG_PROC_CONTROL_H
#define KRG_PROC_CONTROL_H

#include <linux/types.h>

struct krg_frozen;
struct krg_text;

/**
 * krg_control_borrow() - the processes that /proc/kerrighed/PID/control has frozen, which nobody else can use until
 * krg_control_give_back() or krg_unfreeze(); NULL: there are none. The caller judges whether he may have them.
 */
struct krg_frozen *krg_control_borrow(pid_t pid);
void krg_control_give_back(pid_t pid, struct krg_frozen *set);

int krg_control_init(void);
void krg_control_exit(void);
/** krg_control_survey() - what would be refused of a process with its descendants: 0, or an error with reasons in @text */
int krg_control_survey(pid_t pid, struct krg_text *text);
/** krg_control_save() - an image of @set at @path, with the caller's rights; one that was there stays until this one is whole */
int krg_control_save(struct krg_frozen *set, const char *path, struct krg_text *text);

#endif
