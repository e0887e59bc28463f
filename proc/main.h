/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of krg_proc.ko share: the open file of /dev/kerrighed, and the
 * operations behind it that main.c dispatches. Each part's own structures are
 * in its own header.
 */
#ifndef KRG_PROC_MAIN_H
#define KRG_PROC_MAIN_H

#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <uapi/linux/krg_proc.h>

struct krg_move_in;
struct krg_restore;

/**
 * struct krg_proc_file - an open file of /dev/kerrighed
 * @lock: protects @frozen; taken before anything else, and held while a capture runs
 * @frozen: sets of processes that are held until they are let go, or the file is closed
 * @move: the image from another node that is restored through it, move_in.c's; set once likewise
 * @restore: the session, restore.c's; set once, from NULL, with cmpxchg()
 */
struct krg_proc_file {
	struct mutex lock;
	struct list_head frozen;
	struct krg_restore *restore;
	struct krg_move_in *move;
};

/* capture.c: KRG_PROC_CHECK, _CAPTURE, _FREEZE, _UNFREEZE. */
long krg_capture_ioctl(struct krg_proc_file *file, unsigned int cmd, void __user *at);
/* Nobody can use @file any more: whom it holds goes on. */
void krg_capture_release(struct krg_proc_file *file);

/* restore.c: all KRG_PROC_RESTORE_*. Called without locks, by many threads at a time. */
long krg_restore_ioctl(struct krg_proc_file *file, unsigned int cmd, void __user *arg);
/* A descriptor of @file was closed in the descriptor table @id. */
void krg_restore_flush(struct krg_proc_file *file, const void *id);
/* Nobody can use @file any more. */
void krg_restore_release(struct krg_proc_file *file);

#endif
