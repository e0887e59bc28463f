/* SPDX-License-Identifier: GPL-2.0 */
/*
 * File locks of all nodes as records in pages: the second face of the name space
 * engine to C, with the rules of names.h. Whoever has to wait keeps its copy of the
 * inode's first page of locks: the coherence engine takes that away when another
 * node changes it, which is the moment to try again. Locks of nodes that are gone do
 * not count, and go with the next change.
 */
#ifndef KRG_HADSM_NAMES_LOCKS_H
#define KRG_HADSM_NAMES_LOCKS_H

#include "names.h"

#ifdef __cplusplus
extern "C" {
#endif

enum krg_names_lock_kind {
	KRG_NAMES_POSIX = 1,	/* a range of bytes (fcntl) */
	KRG_NAMES_FLOCK = 2,	/* the whole file; does not meet the other kind */
};

enum krg_names_lock_type {
	KRG_NAMES_SHARED = 0,
	KRG_NAMES_EXCLUSIVE = 1,
	KRG_NAMES_UNLOCK = 2,
};

struct krg_names_lock {
	u64 life;		/* incarnation of the node, with node and owner: who */
	u64 owner;
	u64 start, last;	/* bytes, both included; FLOCK: 0 and ~0 */
	u32 node;		/* 1..127 */
	u32 pid;		/* told to whoever asks who is in the way */
	u32 type;		/* enum krg_names_lock_type */
	u32 kind;		/* enum krg_names_lock_kind */
};

/* A node that is alive, and in which life. */
struct krg_names_life {
	u64 life;
	u32 node;
	u32 pad;
};

/**
 * The first lock of another owner that is in the way of @want: 1 and *@found; 0: none is.
 * @life: the members, @lives of them.
 */
int krg_names_testlock(const struct krg_names_io *io, u64 ino, const struct krg_names_lock *want,
		       const struct krg_names_life *life, u32 lives, struct krg_names_lock *found);
/**
 * Takes @want for its owner, or gives it up (UNLOCK): what the owner had of that kind in the range is replaced, locks of one
 * type that touch become one. -EBUSY: testlock() would have found one (UNLOCK: never); -ENOLCK: more locks than fit.
 */
int krg_names_setlock(const struct krg_names_io *io, u64 ino, const struct krg_names_lock *want,
		   const struct krg_names_life *life, u32 lives);

#ifdef __cplusplus
}
#endif
#endif
