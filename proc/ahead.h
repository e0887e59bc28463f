/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that goes ahead of a process which is to move (pre-copy): pages are sent
 * while it runs, those it writes meanwhile again, and what is left when it stops is in its
 * image. The source is ahead_out.c; the target, ahead_in.c, keeps pages until the
 * process is built, and puts them into it as memory that follows (follow.h).
 */
#ifndef KRG_PROC_AHEAD_H
#define KRG_PROC_AHEAD_H

#include <linux/types.h>

struct follow_mm;
struct krg_follow_ask;
struct krg_follow_origin;
struct krg_rpc_req;
struct krg_text;
struct krg_track;
struct krg_view;
struct mm_struct;

/**
 * struct krg_ahead_out - pages that went ahead of one move
 * @move: its id; also that of what its track knows
 * @to: where they are
 * @track: which ones, and which were written since; NULL: none went
 * @mm: whose, with a reference of mm_users
 * @pages: sent, each time
 * @rounds: in so many
 */
struct krg_ahead_out {
	u64 move;
	u16 to;
	struct krg_track *track;
	struct mm_struct *mm;
	u64 pages;
	u32 rounds;
};

/** The process @pid runs, but for moments, and its pages go ahead. 0, or -errno and why; krg_ahead_end() must come. */
int krg_ahead_rounds(struct krg_ahead_out *a, pid_t pid, struct krg_text *text);
/** @moved: it is there; otherwise the target forgets what went ahead. */
void krg_ahead_end(struct krg_ahead_out *a, bool moved);

/** Pages that go ahead have come, or are to be forgotten. In a worker. */
void krg_ahead_take(struct krg_rpc_req *req, const struct krg_follow_ask *ask);
/** What went ahead of @origin becomes what has come for @f. -ENODATA: a page is missing; 0 also if nothing went ahead. */
int krg_ahead_give(const struct krg_follow_origin *origin, struct follow_mm *f, bool *ahead);
/** A view was committed: what went ahead from who is no member is forgotten. */
void krg_ahead_view(const struct krg_view *view);
int krg_ahead_init(void);
void krg_ahead_exit(void);

#endif
