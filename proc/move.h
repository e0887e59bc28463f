/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Migration: what source and target say to each other, and the life of both
 * sides. The steps, and what happens when a node dies at any of them, are in
 * Documentation/decisions/0003-who-runs.md.
 */
#ifndef KRG_PROC_MOVE_H
#define KRG_PROC_MOVE_H

#include <linux/types.h>

#include <kerrighed/wire.h>

/* Steps: KRG_MSG_MOVE asks, in this order; any may be refused. */
enum krg_move_step {
	KRG_MOVE_OPEN = 1,	/* an image is about to come */
	KRG_MOVE_START,		/* all of it was sent: build */
	KRG_MOVE_POLL,		/* how far is it? */
	KRG_MOVE_GO,		/* the directory was written: read it, and go if it says so */
	KRG_MOVE_ABORT,		/* forget it, kill what was built */
	KRG_MOVE_ASK,		/* to the source: is it under way? -ENOENT: not, or not any more */
};

enum krg_move_state {
	KRG_MOVE_RECEIVING = 1,
	KRG_MOVE_BUILDING,
	KRG_MOVE_READY,		/* waits for the directory's word */
	KRG_MOVE_RUNS,
	KRG_MOVE_FAILED,
};

struct krg_move_ask {
	__le64 move;		/* chosen by the source at random, not 0 */
	__le32 step;		/* enum krg_move_step */
	__le32 pid;		/* OPEN */
	__le64 bytes;		/* START: of the image */
	__le64 generation;	/* OPEN: the one the process gets by this move */
};

/* START: who is in the image, the root first. */
struct krg_move_member {
	__le32 pid;
	__le16 home;
	__le16 zero;
	__le64 generation;
};

#define KRG_MOVE_MEMBERS	1024	/* processes in one move, at most */
#define KRG_MOVE_REASON		1024	/* bytes, at most */

struct krg_move_answer {
	__le32 state;		/* enum krg_move_state */
	__le32 error;		/* FAILED: a positive errno; the reason follows as text */
};

#define KRG_MOVE_PIECE		65536	/* bytes of an image in one message, at most */

struct krg_move_data {
	__le64 move;
	__le64 offset;		/* in the image */
};

struct krg_follow_origin;
struct krg_move_in;
struct krg_proc_file;
struct krg_restore;
struct krg_text;
struct krg_view;

/* move_out.c: the source */
long krg_move_ioctl(void __user *at);
/** Is this move, which went to @to, under way here? */
bool krg_move_out_has(u16 to, u64 id);

/* move_in.c: the target */
/** Binds @file, opened by a helper that this module started, to the image @id; fills in a descriptor of it. */
long krg_move_in_ioctl(struct krg_proc_file *file, void __user *at);
/** The helper could not build; its reason is in @at. */
long krg_move_in_failed_ioctl(struct krg_proc_file *file, void __user *at);
/**
 * All threads wait before user mode: may they go? Returns when the directory has said so.
 * 0: go. -ECANCELED: the process runs elsewhere, or nowhere. -EINTR: the helper was killed. 0 at once for a session that
 * is no migration.
 */
int krg_move_in_ready(struct krg_proc_file *file);
/** The processes of @file's session run, or with @err they were killed when they could have. Nothing for other sessions. */
void krg_move_in_gone(struct krg_proc_file *file, int err);
/** Where the process of @file's session comes from; unchanged if that is no migration. */
void krg_move_in_origin(struct krg_proc_file *file, struct krg_follow_origin *to);
/** The helper's last descriptor is closed. */
void krg_move_in_release(struct krg_proc_file *file);
/** The helper's session @s for @file's image. True: a worker of home.c is its restorer. */
bool krg_move_in_begin(struct krg_proc_file *file, struct krg_restore *s);
/* For home.c, which does what a restorer does elsewhere. */
bool krg_move_in_failed(struct krg_move_in *m);
__printf(3, 4) void krg_move_in_fail(struct krg_move_in *m, int error, const char *format, ...);
/** What was begun for it; lives as long as @m. NULL: nothing yet. */
struct krg_restore *krg_move_in_session(struct krg_move_in *m);
/** As krg_move_in_ready(). */
int krg_move_in_decide(struct krg_move_in *m);
/** It runs, and nobody asks for @m any more. */
void krg_move_in_runs(struct krg_move_in *m);
/** A view was committed, or this node is out (NULL). */
void krg_move_in_view(const struct krg_view *view);
int krg_move_in_init(void);
void krg_move_in_exit(void);

#endif
