/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that follows a moved process (post-copy): what source and target say to
 * each other about it, and the life of both sides. The source, follow_out.c, keeps
 * address spaces of processes that have left and gives their pages; the target,
 * follow_in.c and follow_fault.c, asks for them when they are touched and one
 * after the other until all are there.
 */
#ifndef KRG_PROC_FOLLOW_H
#define KRG_PROC_FOLLOW_H

#include <linux/types.h>

#define KRG_FOLLOW_PAGES	16	/* pages of one answer, at most */

enum krg_follow_what {
	KRG_FOLLOW_GIVE = 1,	/* pages */
	KRG_FOLLOW_RELEASE,	/* nobody here wants any more of them */
	KRG_FOLLOW_AHEAD,	/* from the source, by _BULK: pages, before the process comes; they follow this, ascending */
	KRG_FOLLOW_AHEAD_DROP,	/* likewise: it does not come */
};

/* KRG_MSG_FOLLOW, KRG_MSG_FOLLOW_BULK */
struct krg_follow_ask {
	__le64 move;		/* as in struct krg_move_ask */
	__le64 space;		/* the address space: id of its record in the image */
	__le64 first;		/* number of a page: its address at the source / 4096 */
	__le32 what;		/* enum krg_follow_what */
	__le32 want;		/* bit n: page @first + n */
};

/* The pages that @have says follow, ascending. Those that were wanted and are not there are zeros. */
struct krg_follow_answer {
	__le32 have;
	__le32 zero;
};

struct krg_capture;
struct krg_follow_out;
struct krg_mapping;
struct krg_proc_file;
struct krg_r_mm;
struct krg_restore;
struct krg_view;
struct mm_struct;

/* ---- the source ---- */

/**
 * struct krg_follow_stats - what became of the memory of one move
 * @pages: that were left to follow
 * @given: of them, were asked for and are not zeros
 * @spaces: address spaces that are still wanted
 */
struct krg_follow_stats {
	u64 pages, given;
	u32 spaces;
};

/** A move to @to whose memory may follow. NULL: no memory, or @to is not a member. krg_follow_out_end() must come. */
struct krg_follow_out *krg_follow_out_new(u64 move, u16 to);
/** Whether the pages of @v may be sent later. Everything about it stays as it is until they are. */
bool krg_follow_out_may(const struct krg_mapping *v, const struct mm_struct *mm);
/** @pages of @mm, whose record in the image is @space, will be asked for. 0 or -ENOMEM. */
int krg_follow_out_add(struct krg_follow_out *out, struct mm_struct *mm, u64 space, u64 pages);
/** The process is elsewhere now: what was its memory here goes when all of it was fetched. */
void krg_follow_out_moved(struct krg_follow_out *out);
/** Until nothing of it is wanted any more. 0, -EINTR, or -EHOSTDOWN: the target has gone before. */
int krg_follow_out_wait(struct krg_follow_out *out);
void krg_follow_out_stats(const struct krg_follow_out *out, struct krg_follow_stats *to);
/** The caller forgets it. A move that did not take place: nobody gets pages any more. */
void krg_follow_out_end(struct krg_follow_out *out);
/** Whether somebody else needs what is mapped in @mm, and will unmap it. */
bool krg_follow_out_keeps(const struct mm_struct *mm);
/** Moves whose memory is still here. */
unsigned int krg_follow_outs(void);
/** A view was committed (NULL: this node is out): who is no member wants nothing. */
void krg_follow_out_view(const struct krg_view *view);
int krg_follow_out_init(void);
void krg_follow_out_exit(void);

/* ---- the target ---- */

/* Where pages come from; all zeros: nowhere. */
struct krg_follow_origin {
	u16 node;
	u64 incarnation, move;
};

/** Makes what @m has of pages that follow come when it is touched. In a thread of that address space. 0 or -errno. */
int krg_follow_in_attach(struct krg_restore *s, struct krg_r_mm *m);
/** The processes of this move run: all other pages are fetched from now on. */
void krg_follow_in_go(const struct krg_follow_origin *origin);
/** Until nothing of @mm is elsewhere any more. 0 at once for nearly everybody; -EINTR, -EIO: it never will be. */
int krg_follow_in_settle(struct mm_struct *mm);
/** A view was committed (NULL: this node is out): processes whose memory was lost are killed. May sleep. */
void krg_follow_in_view(const struct krg_view *view);
/** Address spaces here that are not complete. */
unsigned int krg_follow_ins(void);
int krg_follow_in_init(void);
void krg_follow_in_exit(void);

#endif
