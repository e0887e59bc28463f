/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Rules of forwarded files, without files: who may do what with a grant, when a
 * grant ends, and how an operation is done once although its message may come
 * twice. What is granted, and every message, is the C edge's (proc/forward*.c).
 *
 * A grant is the right of one node to one open file of the node that serves it. It is
 * made for a move, by whoever captures the process: this node, or the one that has a
 * grant for the same file. It is claimed when the process has been built. A grant that
 * was not claimed ends with its move, or with the node that made it; a claimed one when
 * its owner closes the file, or leaves the view.
 */
#ifndef KRG_PROC_CORE_FORWARD_H
#define KRG_PROC_CORE_FORWARD_H

#include <kerrighed/ctypes.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A node and which of its lives. */
struct krg_forward_node {
	u64 incarnation;
	u16 id;
};

struct krg_forward_grant {
	struct krg_forward_node owner, maker;
	u8 claimed, ended;
};

enum krg_forward_verdict {
	KRG_FORWARD_YES,	/* it may */
	KRG_FORWARD_NO,		/* it may not, or there is nothing: both look the same from outside */
	KRG_FORWARD_END,	/* it may, and that is the end of the grant */
};

enum krg_forward_wish {
	KRG_FORWARD_CLAIM,	/* by the owner; again is allowed: the answer may have been lost */
	KRG_FORWARD_USE,	/* by the owner: any operation on the file, and making another grant */
	KRG_FORWARD_CLOSE,	/* by the owner */
	KRG_FORWARD_DROP,	/* by the maker, when its move is over, however that ended */
};

/** krg_forward_grant_init() - a new grant for @owner, made by @maker */
void krg_forward_grant_init(struct krg_forward_grant *grant, const struct krg_forward_node *owner,
			    const struct krg_forward_node *maker);
/** krg_forward_grant_ask() - what @from wants to do with it */
enum krg_forward_verdict krg_forward_grant_ask(struct krg_forward_grant *grant, enum krg_forward_wish wish,
					       const struct krg_forward_node *from);
/** krg_forward_grant_view() - a new view; whether those two nodes are in it, in that life */
enum krg_forward_verdict krg_forward_grant_view(struct krg_forward_grant *grant, bool owner_there, bool maker_there);

/*
 * A lane: operations that follow one another, each with the next number. Whoever
 * asks sends an operation again until it has an answer, and only then the next one.
 * Whoever serves does each once, and keeps the answer until the next one is asked for.
 */
struct krg_forward_lane {
	u64 done;		/* number of the last one */
};

enum krg_forward_step {
	KRG_FORWARD_DO,		/* the next one: do it, keep the answer */
	KRG_FORWARD_AGAIN,	/* the last one: its answer once more */
	KRG_FORWARD_WRONG,	/* none of them */
};

/** krg_forward_lane_step() - operation @number was asked for; DO counts it as done */
enum krg_forward_step krg_forward_lane_step(struct krg_forward_lane *lane, u64 number);

#ifdef __cplusplus
}
#endif
#endif
