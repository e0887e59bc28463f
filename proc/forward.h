/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Forwarded files: a process that has moved goes on using files that stay where
 * they are. What source, server and client say to each other, and who does what:
 *
 *	forward_move.c		both ends of a move: a grant for each file, a file for each grant
 *	forward_look.c		source and target: is it the same file there?
 *	forward_serve.c		the server: grants, who may use them, their end
 *	forward_io.c		the server: operations on the files
 *	forward_tty.c		the server: what only terminals have
 *	forward_client.c	the client: asking, waking up, closing
 *	forward_file.c		the client: the file that the process sees
 *	forward_map.c		the client: its mappings
 *
 * The server is the node that has the file. It stays the server when the process
 * moves on. No operation waits there: what cannot be done at once is answered
 * with -EAGAIN, and a wake-up follows when it may be tried again.
 */
#ifndef KRG_PROC_FORWARD_H
#define KRG_PROC_FORWARD_H

#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "file.h"
#include "proc/core/forward.h"

struct krg_frozen;
struct krg_mappings;
struct krg_proc_restore_forwarded;
struct krg_restore;
struct krg_text;
struct krg_view;
struct seq_file;

/* ---- between nodes ---- */

#define KRG_FORWARD_CHUNK	(60 * 1024)	/* bytes of one read or write, at most */
#define KRG_FORWARD_HERE	(1LL << 62)	/* for a position: the open file's own */

enum krg_forward_op {
	KRG_FORWARD_OP_CLAIM = 1,	/* answer: struct krg_forward_about */
	KRG_FORWARD_OP_CLOSE,
	KRG_FORWARD_OP_DROP,		/* of whoever made the grant: its move is over */
	KRG_FORWARD_OP_GRANT,		/* lane control; one more, for node @length with incarnation @pos; answer: its handle */
	KRG_FORWARD_OP_READ,		/* lane in; answer: bytes */
	KRG_FORWARD_OP_WRITE,		/* lane out; data follow; answer: how many were taken */
	KRG_FORWARD_OP_POLL,		/* answer: events */
	KRG_FORWARD_OP_SEEK,		/* lane control; @length: whence */
	KRG_FORWARD_OP_ABOUT,		/* answer: struct krg_forward_about, as it is now */
	KRG_FORWARD_OP_TRUNCATE,
	KRG_FORWARD_OP_SYNC,		/* @length: data only */
	KRG_FORWARD_OP_IOCTL,		/* lane control; @length: command; data follow; answer: data */
	KRG_FORWARD_OP_LOOK,		/* of no grant: what is at a path there? answer: enum krg_forward_same */
};

#define KRG_FORWARD_ARM		1	/* a wake-up is wanted, for @events */
#define KRG_FORWARD_APPEND	2	/* WRITE: at the end */

struct krg_forward_ask {
	__le64 handle;
	__le64 client;		/* comes back in wake-ups */
	__le64 number;		/* in its lane */
	__le64 pos;		/* READ, WRITE: where, or KRG_FORWARD_HERE */
	__le32 op;		/* enum krg_forward_op */
	__le32 length;		/* READ: bytes wanted */
	__le32 flags;		/* KRG_FORWARD_* */
	__le32 events;
	__le32 pid;		/* whose process it is: of terminals */
	__le32 pad;
};

struct krg_forward_answer {
	__le64 value;
	__le32 error;		/* a positive errno, of the file */
	__le32 wait_ms;		/* with EAGAIN: it is over after that time (VTIME); 0: no such limit */
};

struct krg_forward_about {
	__le32 mode;
	__le32 rdev;		/* of a socket: its type */
	__le32 uid, gid, nlink, blksize;
	__le64 size, blocks, ino;
	__le64 atime, mtime, ctime;	/* ns */
};

struct krg_forward_wake {
	__le64 client;
	__le64 handle;
};

enum { KRG_FORWARD_IN, KRG_FORWARD_OUT, KRG_FORWARD_CONTROL, KRG_FORWARD_LANES };

/* FILE_FORWARDED.KIND */
enum krg_forward_kind {
	KRG_FORWARD_OTHER, KRG_FORWARD_REGULAR, KRG_FORWARD_PIPE, KRG_FORWARD_TTY, KRG_FORWARD_UNIX,
	KRG_FORWARD_DIRECTORY,
};

enum krg_forward_same {
	KRG_FORWARD_ANOTHER,	/* or none */
	KRG_FORWARD_ALIKE,	/* of another file system, with the same size and time of change */
	KRG_FORWARD_SAME,
};

/* ---- the source ---- */

/* What stays behind in one move. Used by one task. */
struct krg_forwarding {
	struct krg_forward_node to;	/* id 0: nobody moves, it is only asked about */
	struct xarray chosen;		/* open file, or pipe -> true */
	struct xarray looked;		/* inode, which is held -> what the target has; forward_look.c's */
	struct list_head made;		/* grants, to be dropped at the end unless they were claimed */
};

/** krg_forwarding_init() - for a move to @node, or 0; krg_forwarding_exit() must follow when the move is over */
void krg_forwarding_init(struct krg_forwarding *f, u16 node);
/** krg_forwarding_restart() - what was chosen may be other files by now */
void krg_forwarding_restart(struct krg_forwarding *f);
void krg_forwarding_exit(struct krg_forwarding *f);
/** krg_forwarding_why_not() - why @file, of @kind, cannot be served from here; NULL: it can */
const char *krg_forwarding_why_not(struct file *file, enum krg_file_kind kind);
/** krg_forwarding_stays() - 1: the regular file @file is another one at the target, 0: it is there, or -errno */
int krg_forwarding_stays(struct krg_forwarding *f, struct file *file);
/** krg_forwarding_mappings() - chooses mapped files. 0 or -errno; *@refused: why the mapping at *@at cannot be had there */
int krg_forwarding_mappings(struct krg_forwarding *f, const struct krg_mappings *list, unsigned long *at, const char **refused);
void krg_forwarding_forget(struct krg_forwarding *f);
/** krg_forwarding_is_own() - its file system is one that no other node has, whatever its id says */
bool krg_forwarding_is_own(const struct inode *inode);
/** krg_forwarding_choose() - @file, or the pipe it is an end of, stays behind; 0 or -ENOMEM. Nothing when @f is NULL */
int krg_forwarding_choose(struct krg_forwarding *f, struct file *file);
/** krg_forwarding_has() - was it chosen? @f may be NULL */
bool krg_forwarding_has(struct krg_forwarding *f, struct file *file);

/* How the image names a forwarded file. */
struct krg_forwarded {
	struct krg_forward_node server;
	u64 handle;
	enum krg_forward_kind kind;
};
/** krg_forwarding_grant() - makes a grant for the target; 0, or an error with its reason in @text */
int krg_forwarding_grant(struct krg_forwarding *f, struct file *file, struct krg_forwarded *to, struct krg_text *text);

/* ---- the server ---- */

/** krg_forward_look() - the target's answer to LOOK: enum krg_forward_same, or -EINVAL */
int krg_forward_look(const void *data, u32 length);
/** krg_forward_serve() - a grant of @file for @owner; its handle, or 0 and *@err */
u64 krg_forward_serve(struct file *file, enum krg_forward_kind kind, const struct krg_forward_node *owner,
		      const struct krg_forward_node *maker, int *err);
/** krg_forward_take() - this node claims its own grant: the file itself, with a reference, or NULL; the grant ends */
struct file *krg_forward_take(u64 handle);
/** krg_forward_drop() - the move of this node's own grant is over */
void krg_forward_drop(u64 handle);
/** krg_forward_serve_view() - a view was committed, or this node is out (NULL) */
void krg_forward_serve_view(const struct krg_view *view);
/** krg_forward_grants() - how many */
unsigned int krg_forward_grants(void);
void krg_forward_serve_show(struct seq_file *m);
int krg_forward_serve_init(void);
void krg_forward_serve_exit(void);

/* forward_io.c: none of these waits for what others do with the file */
struct file *krg_forward_io_open(struct file *file, enum krg_forward_kind kind);
ssize_t krg_forward_io_read(struct file *io, enum krg_forward_kind kind, void *at, size_t length, loff_t pos);
ssize_t krg_forward_io_write(struct file *io, enum krg_forward_kind kind, const void *at, size_t length, loff_t pos,
			     bool append);
loff_t krg_forward_io_seek(struct file *file, loff_t pos, int whence);
int krg_forward_io_about(struct file *file, struct krg_forward_about *to);
/** bytes that can be read, of a pipe or socket; or -ENOTTY */
int krg_forward_io_left(struct file *file, enum krg_forward_kind kind);

/* forward_tty.c */
bool krg_forward_tty_is_master(struct file *file);
/** krg_forward_tty_open() - another open file of the same terminal, that never waits; or an error pointer */
struct file *krg_forward_tty_open(struct file *file);
/** krg_forward_tty_ioctl() - with its argument at @data, and its answer there; the bytes of that, or -errno */
int krg_forward_tty_ioctl(struct file *file, pid_t pid, unsigned int command, void *data, u32 length);
/** krg_forward_tty_wait_ms() - a read of nothing ends after this time; 0: it does not */
u32 krg_forward_tty_wait_ms(struct file *file);
/** krg_forward_tty_job() - 0, or -EAGAIN: process @pid is in the background, and would be stopped by @signal */
int krg_forward_tty_job(struct file *file, pid_t pid, int signal);

/* An operation on a terminal that is served. */
struct krg_forward_tty_op {
	unsigned int command;
	u8 in, out;		/* bytes of its argument, and of its answer */
	bool value;		/* the argument is no address but a number */
};
/** krg_forward_tty_find() - NULL: it is not served */
const struct krg_forward_tty_op *krg_forward_tty_find(unsigned int command);

/* ---- the client ---- */

struct krg_forward_lane_client {
	struct mutex lock;	/* outermost: held while an operation is asked for */
	u64 number;
	bool lost;		/* who asked was killed before there was an answer */
};

/**
 * struct krg_forward_client - a file of this node that stands for one of another
 * @refs: of its inode, and of what is under way
 * @id: in wake-ups, and in the list of all
 * @rcu: until nobody finds it any more
 * @at: server, handle, kind
 * @lane: of operations that must be done once
 * @wait: who waits for the file; woken by the server
 * @news: counts wake-ups
 * @dead: the server is out of the view
 * @packets: each read and write is a message
 */
struct krg_forward_client {
	refcount_t refs;
	u32 id;
	struct rcu_head rcu;
	struct krg_forwarded at;
	struct krg_forward_lane_client lane[KRG_FORWARD_LANES];
	wait_queue_head_t wait;
	atomic_t news;
	bool dead;
	bool packets;
};

/** krg_forward_client_new() - claims the grant; the file's @about. An error pointer: it cannot be had */
struct krg_forward_client *krg_forward_client_new(const struct krg_forwarded *at, struct krg_forward_about *about);
/** krg_forward_client_close() - the open file is gone: the server will be told */
void krg_forward_client_close(struct krg_forward_client *c);
void krg_forward_client_put(struct krg_forward_client *c);

/**
 * struct krg_forward_call - one question
 * @op: and its arguments
 * @in: data that follow
 * @out: where data of the answer go
 * @got: bytes of them
 * @wait_ms: as in the answer
 */
struct krg_forward_call {
	u32 op, length, flags, events;
	u64 pos;
	const void *in;
	u32 in_length;
	void *out;
	u32 out_length;
	u32 got, wait_ms;
};
/**
 * krg_forward_ask() - asks the server until it has answered
 *
 * A server in the view answers or leaves it. Only SIGKILL ends this before: what was asked may have been done already.
 * Return: the answer's value, -errno of the file, -EIO: the server is gone, -EINTR: the caller was killed.
 */
s64 krg_forward_ask(struct krg_forward_client *c, struct krg_forward_call *call);
/** krg_forward_tell() - CLOSE or DROP, later, until it is heard or nobody is there to hear it */
void krg_forward_tell(const struct krg_forward_node *server, u64 handle, enum krg_forward_op op);
/** krg_forward_again() - one more grant of the file of @c, for @owner; 0 or -errno */
int krg_forward_again(struct krg_forward_client *c, const struct krg_forward_node *owner, u64 *handle);
void krg_forward_client_view(const struct krg_view *view);
void krg_forward_client_show(struct seq_file *m);
int krg_forward_client_init(void);
void krg_forward_client_exit(void);

/* ---- the file ---- */

extern const struct address_space_operations krg_forward_aops;
int krg_forward_mmap(struct file *file, struct vm_area_struct *vma);

/** krg_forward_file() - an open file for @at with @flags, or an error pointer; @path to be shown */
struct file *krg_forward_file(const struct krg_forwarded *at, unsigned int flags, const char *path);
/** krg_forward_node_of() - that member's life in the view; id 0: it is none. @node 0: this node */
struct krg_forward_node krg_forward_node_of(u16 node);
/** krg_forward_of() - the client, if @file is a forwarded one; else NULL */
struct krg_forward_client *krg_forward_of(struct file *file);

/* ---- all of it, for the rest of the module ---- */

/** krg_forward_ioctl() - the restorer wants a descriptor of a forwarded file of its session */
long krg_forward_ioctl(struct krg_restore *s, bool incoming, struct krg_proc_restore_forwarded __user *at);
void krg_forward_view(const struct krg_view *view);
int krg_forward_init(void);
void krg_forward_exit(void);

#endif
