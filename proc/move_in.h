/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A move that comes here, between the parts of its target's side: move_in.c
 * receives and builds, arrive.c asks whether it may run. See move.h for the rest.
 */
#ifndef KRG_PROC_MOVE_IN_H
#define KRG_PROC_MOVE_IN_H

#include <linux/list.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "move.h"
#include "proc/core/handover.h"

/* lock: state, error, reason, bound, news, events, session. Everything else is set once, or before the helper starts. */
struct krg_move_in {
	struct list_head node;
	refcount_t refs;
	u64 id, incarnation, generation;	/* of the move at its source, of the source, of the root here */
	u64 token;			/* what the helper names it by */
	u16 from;
	pid_t pid;			/* of the root */
	struct file *image;
	atomic64_t received;
	u64 bytes;			/* START: of the whole image */
	struct krg_move_member *member;	/* START: count of them, the root first */
	u32 count;
	struct work_struct work, lost;	/* lost: asks the directory when nobody is left who waits for it */
	wait_queue_head_t wait;
	spinlock_t lock;		/* innermost */
	enum krg_move_state state;
	int error;
	u32 news;			/* counts what a waiter should look at */
	u32 events;			/* enum krg_target_news */
	bool bound;			/* a helper has it */
	bool at_home;			/* it is built in its shadow; set before the helper runs */
	struct krg_restore *session;	/* at home: a reference; set once */
	u32 seen;			/* of news; with target: whoever asks the directory, the helper or lost */
	struct krg_target target;
	char reason[KRG_MOVE_REASON];
};

/* move_in.c */
void krg_move_in_put(struct krg_move_in *m);
/** It counts as news: whoever waits looks again. */
void krg_move_in_news(struct krg_move_in *m, u32 events);
/** Its source need not find it any more. */
void krg_move_in_forget(struct krg_move_in *m);
/** Runs @work when there is a thread for it. */
void krg_move_in_queue(struct work_struct *work);

/* arrive.c */
/** All threads wait before user mode: 0: they may go. Else they may not, or the helper was killed. */
int krg_arrive(struct krg_move_in *m);
/** They were killed when they could have gone: their homes hear of it. */
void krg_arrive_lost(struct krg_move_in *m);

#endif
