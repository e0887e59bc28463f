/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A move that leaves from here, between the parts of its source's side:
 * move_out.c freezes, captures and sends, depart.c hands over. See move.h for the
 * rest.
 */
#ifndef KRG_PROC_MOVE_OUT_H
#define KRG_PROC_MOVE_OUT_H

#include <linux/ktime.h>
#include <linux/list.h>

#include "ahead.h"
#include "capture.h"
#include "directory.h"
#include "move.h"

struct krg_shadows;

/* Of one caller. */
struct krg_move_out {
	struct list_head node;		/* depart.c's */
	struct krg_sink sink;
	u64 id, offset, generation;	/* generation: of the root */
	u16 to, self;
	bool post;			/* most of the memory follows */
	bool pre;			/* most of it goes ahead */
	struct krg_ahead_out ahead;
	pid_t pid;			/* of the root */
	u32 filled;
	struct krg_text *text;
	struct krg_move_data *head;	/* and the piece that is being filled */

	struct krg_frozen *set;		/* NULL when it was let go */
	struct krg_shadows *shadows;
	u32 count;			/* processes */
	struct krg_directory_entry *before, *after;	/* in the order of the set, the root first */
	bool *said;			/* its home knows where it runs */
	int directory_error;
	ktime_t let_go;
};

/* move_out.c */
/** The target's state, or an error; its reason goes to @text, if that is not NULL. */
int krg_move_ask(struct krg_move_out *m, enum krg_move_step step, struct krg_text *text);

/* depart.c */
/** From now on the target may ask whether @m is under way. */
void krg_depart_begin(struct krg_move_out *m);
void krg_depart_end(struct krg_move_out *m);
/**
 * krg_depart() - hands over, or does not: afterwards the set is let go
 * @err: 0: the target holds all before user mode; else why it does not
 *
 * No signal ends this. Return: 0, or why the processes did not move.
 */
int krg_depart(struct krg_move_out *m, int err);

#endif
