/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pseudo terminals of which a set has both ends: they travel with it. Terminals that
 * stay behind are forward_tty.c's.
 */
#ifndef KRG_PROC_TTY_H
#define KRG_PROC_TTY_H

#include <linux/types.h>

struct file;
struct krg_capture;
struct krg_check;
struct krg_frozen;
struct krg_process;
struct krg_tally;

/** krg_tty_is_inside() - whether @file is of a pseudo terminal whose ends, and whose session, are all of the set */
bool krg_tty_is_inside(struct krg_frozen *set, struct file *file, struct krg_tally *tally);
/** krg_tty_check() - refuses what cannot be told of a terminal that is inside */
void krg_tty_check(struct krg_check *c, pid_t pid, unsigned int number, struct file *file);
/** krg_tty_check_controlling() - refuses a controlling terminal that is not inside; notes whether it moves */
void krg_tty_check_controlling(struct krg_check *c, struct krg_process *process, struct krg_tally *tally);

/** krg_tty_leave() - the set has moved: the ends that are closed here are no longer anybody's controlling terminal */
void krg_tty_leave(struct krg_frozen *set);

/** krg_capture_tty() - an end of a terminal that is inside, with the terminal before it */
u64 krg_capture_tty(struct krg_capture *c, struct file *file);

#endif
