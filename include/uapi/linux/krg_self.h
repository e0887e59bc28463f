/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What a program asks of those who freeze it, save it or move it: a table in its
 * own memory, which the kernel reads when all its threads are held. There is no
 * call to make and nothing to be left over in the kernel; the table is copied by
 * fork, saved and moved with the program, and gone after exec.
 *
 * It is a private, writable mapping of a memfd with the name KRG_SELF_NAME that
 * nothing was ever written to; struct krg_self is at its beginning. libkerrighed
 * makes and keeps it. A process that lies in it harms itself alone.
 */
#ifndef _UAPI_LINUX_KRG_SELF_H
#define _UAPI_LINUX_KRG_SELF_H

#include <linux/types.h>

#define KRG_SELF_NAME		"libkerrighed"
#define KRG_SELF_MAGIC		0x31666c6573677262ULL
#define KRG_SELF_REGIONS	254

/* What krg_self.phase says. The thread "caller" waits for it to change, as futex(2) does. */
enum krg_self_phase {
	KRG_SELF_IDLE,		/* also after a restart */
	KRG_SELF_CALL,		/* by the kernel: it is to be saved, call those who want to know first */
	KRG_SELF_READY,		/* by the program: they have been called */
	KRG_SELF_CONTINUE,	/* by the kernel: it goes on, here, saved or not */
};

struct krg_self_region {
	__u64 at, length;
};

struct krg_self {
	/* This page is not in a checkpoint: it is all zeros after a restart. It is moved like any other. */
	__u32 phase;		/* enum krg_self_phase */
	__u32 mark;		/* the program's own */
	__u8 rest[4088];
	/* The second page. */
	__u64 magic;		/* KRG_SELF_MAGIC */
	__u32 disabled;		/* not 0: it must not be frozen, saved or moved now */
	__s32 caller;		/* id of the thread that waits for the phase, as the process sees it; 0: none */
	__u32 count;		/* of regions, at most KRG_SELF_REGIONS */
	__u32 reserved;
	struct krg_self_region region[KRG_SELF_REGIONS];	/* whole private pages in them are not in a checkpoint */
};

#endif
