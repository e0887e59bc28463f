/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inotify instances: what they watch, by name.
 */
#ifndef KRG_PROC_INOTIFY_H
#define KRG_PROC_INOTIFY_H

#include <linux/types.h>

struct file;
struct krg_capture;
struct krg_check;

/** krg_inotify_check() - refuses one with events that were not read, or that watches what has no name that leads to it */
void krg_inotify_check(struct krg_check *c, pid_t pid, unsigned int number, struct file *file);
/** krg_capture_inotify() - an instance and its watches */
u64 krg_capture_inotify(struct krg_capture *c, struct file *file);

#endif
