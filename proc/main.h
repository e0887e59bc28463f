/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of krg_proc.ko share: the open file of /dev/kerrighed, and the
 * operations behind it that main.c dispatches. Each part's own structures are
 * in its own header.
 */
#ifndef KRG_PROC_MAIN_H
#define KRG_PROC_MAIN_H

#include <linux/fs.h>
#include <uapi/linux/krg_proc.h>

struct krg_restore;

/**
 * struct krg_proc_file - an open file of /dev/kerrighed
 * @restore: the session, restore.c's; set once, from NULL, with cmpxchg()
 */
struct krg_proc_file {
	struct krg_restore *restore;
};

/* restore.c: all KRG_PROC_RESTORE_*. Called without locks, by many threads at a time. */
long krg_restore_ioctl(struct krg_proc_file *file, unsigned int cmd, void __user *arg);
/* A descriptor of @file was closed in the descriptor table @id. */
void krg_restore_flush(struct krg_proc_file *file, const void *id);
/* Nobody can use @file any more. */
void krg_restore_release(struct krg_proc_file *file);

#endif
