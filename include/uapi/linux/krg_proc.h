/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/kerrighed: processes that are frozen, captured and restored. What the
 * operations do and refuse is in Documentation/checkpoint.md; the bytes of an
 * image are in Documentation/ghost-format.md.
 *
 * Everybody may open the device; each operation judges what its caller may do.
 * Fields called pad or reserved, and flags that are not named here, must be 0.
 * An operation that fails has changed nothing.
 */
#ifndef _UAPI_LINUX_KRG_PROC_H
#define _UAPI_LINUX_KRG_PROC_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define KRG_PROC_DEVICE	"/dev/kerrighed"

/*
 * Where text results go: lines "name: what and why\n", as many whole bytes as
 * there is room for, without a zero at the end.
 */
struct krg_proc_text {
	__u64 at;		/* of the caller's buffer; with room 0 it is not used */
	__u32 room;		/* bytes of it */
	__u32 length;		/* out: bytes of the whole text, which may be more than room */
};

/* Flags of the operations on running processes. */
#define KRG_PROC_TREE			1	/* with all descendants */
#define KRG_PROC_KILL			2	/* SIGKILL after success, before anything goes on */
#define KRG_PROC_STOP			4	/* stays frozen until KRG_PROC_UNFREEZE or this file is closed */
#define KRG_PROC_IGNORE_UNSUPPORTED	8	/* what can be left out without harm to the rest is left out */

#define KRG_PROC_POST			16	/* most of its memory follows when it runs already */
#define KRG_PROC_NO_CALLBACKS		256	/* of CAPTURE and FREEZE: what it wants to do before it is saved is not done */
#define KRG_PROC_PRE			32	/* most of its memory goes ahead while it still runs here */

/* What would be refused; 0 with length 0: nothing. The process is not disturbed. */
struct krg_proc_check {
	__s32 pid;		/* of a process, in the caller's pid namespace */
	__u32 flags;		/* KRG_PROC_TREE */
	struct krg_proc_text refusals;
};

/* Writes an image of a process. It runs on afterwards unless the flags say otherwise. */
struct krg_proc_capture {
	__s32 pid;
	__s32 fd;		/* the image is written from its position on, with the caller's rights */
	__u32 flags;		/* KRG_PROC_TREE, _KILL, _STOP, _IGNORE_UNSUPPORTED */
	__u32 timeout_ms;	/* for all threads to stop; 0: 5000 */
	__u64 chain;		/* of increments, a random number; 0: none, and writes are not noted for a next one */
	__u64 parent;		/* number of the image this one adds to, the last one of the chain; 0: a full image */
	struct krg_proc_text error;		/* what was refused, or failed; after success what was left out */
	struct krg_proc_text description;	/* in: at and length, at most 4096 bytes; room is 0 */
	__u64 number;		/* out: of the image */
	__u64 bytes;		/* out: written */
	__u64 pages;		/* out: that the image describes */
	__u32 tasks;		/* out */
	__u32 threads;		/* out */
	struct krg_proc_text base;	/* in: at and length, file name of the parent, at most 255 bytes; room is 0 */
	__u32 version;		/* out: place in the chain */
	__u32 pad;
};

/* Freezes a process; or lets one go on that was frozen through this same file. */
struct krg_proc_freeze {
	__s32 pid;
	__u32 flags;		/* FREEZE: KRG_PROC_TREE; UNFREEZE: KRG_PROC_KILL, all of it ends instead */
	__u32 timeout_ms;	/* for all threads to stop; 0: 5000 */
	__u32 signal;		/* UNFREEZE: sent to all of it before it goes on; 0: none */
	struct krg_proc_text error;
};

/*
 * Restoring, one session for each open file of the device. BEGIN reads and
 * checks a whole image; nothing of a process exists yet.
 */
struct krg_proc_restore_begin {
	__s32 fd;		/* the image, from offset 0; it must not change until the session ends */
	__u32 flags;		/* 0 */
	struct krg_proc_text error;
	__u64 number;		/* out: of the image */
	__u32 tasks;		/* out */
	__u32 threads;		/* out */
};

/* The session's file object @object is the caller's descriptor @fd. */
struct krg_proc_restore_file {
	__u64 object;		/* id of a file_* record */
	__s32 fd;
	__u32 pad;
};

/*
 * A descriptor of the session's file object @object, which another node serves. Only for images that came from another node
 * (KRG_PROC_INCOMING), and once for each object.
 */
struct krg_proc_restore_forwarded {
	__u64 object;		/* id of a file_forwarded record */
	__s32 fd;		/* out: closed on exec */
	__u32 pad;
};

/*
 * The caller becomes the thread of the image. Does not return on success: the
 * thread waits for all others and goes on as the image says.
 */
struct krg_proc_restore_join {
	__u64 thread;		/* id of its thread record */
	__s32 fd;		/* the descriptor this call came through; it is closed. -1: none */
	__u32 flags;		/* 0 */
};

/* Until all threads of the image are ready to go, or the session has failed. */
struct krg_proc_restore_wait {
	__u32 timeout_ms;	/* 0: for ever */
	__u32 pad;
	struct krg_proc_text error;
};

/* The session's memory object @object is the SysV segment that the caller has attached at @at. */
struct krg_proc_restore_segment {
	__u64 object;		/* id of a memory record */
	__u64 at;
};

/*
 * The caller, who will become the leader of a process of the image, is about to
 * make that one's children: what of its memory they have in common since fork is
 * put into its memory now, so that they inherit it. Whatever cannot be is copied
 * later. Optional; before JOIN, by a process with one thread, once.
 */
struct krg_proc_restore_inherit {
	__u64 task;		/* id of its task record */
	__u32 flags;		/* 0 */
	__u32 pad;
};

/*
 * Moves a process to another node of the cluster. It runs on until it is frozen, is on one of both nodes
 * whatever fails, and keeps its id.
 */
struct krg_proc_migrate {
	__s32 pid;
	__u32 node;		/* where to; 0: only says what would be refused wherever it goes */
	__u32 flags;		/* KRG_PROC_TREE; KRG_PROC_POST or KRG_PROC_PRE: one without descendants */
	__u32 timeout_ms;	/* for the other node to build it; 0: 60000 */
	struct krg_proc_text error;
	__u64 bytes;		/* out: sent */
	__u64 frozen_ns;	/* out: it ran nowhere for so long, at most */
	__u64 generation;	/* out: that it has there; grows with each move */
	__u64 bytes_after;	/* out: sent when it ran again (KRG_PROC_POST) */
	__u64 local_ns;		/* out: from its stop until all of its memory was there; 0: not waited for, by a signal */
	__u64 bytes_before;	/* out: sent while it still ran here (KRG_PROC_PRE) */
	__u32 rounds;		/* out: in so many */
	__u32 pad;
};

/* For the helper that the kernel starts when a process comes from another node. */
struct krg_proc_incoming {
	__u64 id;		/* that the helper was started with */
	__s32 fd;		/* out: the image, to be restored through this same open file */
	__u32 pad;
};

/* The helper could not. */
struct krg_proc_incoming_failed {
	struct krg_proc_text why;	/* in: at and length */
	__u32 error;			/* positive errno; EOPNOTSUPP: it would have to be another image, or another node */
	__u32 pad;
};

#define KRG_PROC_IOC	0xeb

#define KRG_PROC_CHECK		_IOWR(KRG_PROC_IOC, 1, struct krg_proc_check)
#define KRG_PROC_CAPTURE	_IOWR(KRG_PROC_IOC, 2, struct krg_proc_capture)
#define KRG_PROC_FREEZE		_IOWR(KRG_PROC_IOC, 3, struct krg_proc_freeze)
#define KRG_PROC_UNFREEZE	_IOWR(KRG_PROC_IOC, 4, struct krg_proc_freeze)

#define KRG_PROC_RESTORE_BEGIN	_IOWR(KRG_PROC_IOC, 16, struct krg_proc_restore_begin)
#define KRG_PROC_RESTORE_FILE	_IOW(KRG_PROC_IOC, 17, struct krg_proc_restore_file)
#define KRG_PROC_RESTORE_JOIN	_IOW(KRG_PROC_IOC, 18, struct krg_proc_restore_join)
#define KRG_PROC_RESTORE_WAIT	_IOWR(KRG_PROC_IOC, 19, struct krg_proc_restore_wait)
#define KRG_PROC_RESTORE_GO	_IO(KRG_PROC_IOC, 20)
#define KRG_PROC_RESTORE_ABORT	_IO(KRG_PROC_IOC, 21)
#define KRG_PROC_RESTORE_INHERIT _IOW(KRG_PROC_IOC, 22, struct krg_proc_restore_inherit)
#define KRG_PROC_RESTORE_SEGMENT _IOW(KRG_PROC_IOC, 23, struct krg_proc_restore_segment)
#define KRG_PROC_RESTORE_FORWARDED _IOWR(KRG_PROC_IOC, 24, struct krg_proc_restore_forwarded)

#define KRG_PROC_MIGRATE	_IOWR(KRG_PROC_IOC, 32, struct krg_proc_migrate)
#define KRG_PROC_INCOMING	_IOWR(KRG_PROC_IOC, 33, struct krg_proc_incoming)
#define KRG_PROC_INCOMING_FAILED _IOW(KRG_PROC_IOC, 34, struct krg_proc_incoming_failed)

#endif
