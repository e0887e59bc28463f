/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of a capture share: the image that is being written, the sink
 * its bytes go to, and who writes which records. What is refused is said by
 * check.h before anything here runs.
 */
#ifndef KRG_PROC_CAPTURE_H
#define KRG_PROC_CAPTURE_H

#include <linux/mm_types.h>
#include <linux/path.h>
#include <linux/uio.h>
#include <linux/user.h>
#include <linux/xarray.h>
#include "proc/core/ghost.h"
#include "self.h"

#include "track.h"

struct krg_ahead_out;
struct krg_follow_out;
struct krg_frozen;
struct krg_process;
struct krg_text;
struct krg_thread;
struct pid;
struct sock;

/**
 * struct krg_sink - where an image goes
 * @write: takes all of it, in order, or returns a negative errno; may sleep
 * @bytes: taken so far; whoever calls @write counts
 * @follow: of a migration after which private memory may follow; or NULL: all of it is in the image
 * @ahead: of one before which private memory went; or NULL
 */
struct krg_sink {
	int (*write)(struct krg_sink *sink, const struct krg_ghost_piece *piece, u32 count);
	u64 bytes;
	struct krg_follow_out *follow;
	struct krg_ahead_out *ahead;
};

/* A sink that writes an open file, from its position on, with the rights of the caller. */
struct krg_file_sink {
	struct krg_sink sink;
	struct file *file;
	struct kvec vec[KRG_GHOST_PIECES_MAX + 2];
};
/** krg_file_sink_init() - 0, or -EBADF; krg_file_sink_exit() must follow */
int krg_file_sink_init(struct krg_file_sink *to, int fd);
int krg_file_sink_use(struct krg_file_sink *to, struct file *file);
void krg_file_sink_exit(struct krg_file_sink *to);

/**
 * struct krg_capture - an image that is being written
 * @set: who is in it
 * @sink: where it goes
 * @text: reasons of a failure
 * @writer: the ghost writer, in memory of its own
 * @number: of the image
 * @error: the first error; everything after it does nothing
 * @ids: kernel object -> id in the image, of all that can be shared
 * @twins: number of a page that may come again -> where it came first; the page is held
 * @filters: seccomp filters so far, each once
 * @tracking: what it has to do with increments
 * @out: what the writer gives
 * @page: a page for bytes and paths
 * @pages: pages of a run
 * @piece: their pieces
 * @buffer: KRG_CAPTURE_BUFFER bytes, for contents that must be copied first
 * @excluded: of the address space that is being written
 */
struct krg_capture {
	struct krg_frozen *set;
	struct krg_sink *sink;
	struct krg_text *text;
	struct krg_ghost_writer *writer;
	void *memory;
	u64 number;
	int error;
	struct xarray ids, twins;
	u64 filters;
	struct krg_tracking tracking;
	struct krg_ghost_piece out[KRG_GHOST_PIECES_MAX + 2];
	char *page;
	struct page *pages[KRG_GHOST_DATA_MAX / PAGE_SIZE];
	struct krg_ghost_piece piece[KRG_GHOST_DATA_MAX / PAGE_SIZE];
	char *buffer;
	struct krg_excluded excluded;
};

#define KRG_CAPTURE_BUFFER	(256 * 1024)

/* ---- records; errors are kept, and said once at the end ---- */

/** krg_capture_begin() - begins a record; the id of the object it defines, or 0 */
u64 krg_capture_begin(struct krg_capture *c, u16 type);
void krg_capture_put(struct krg_capture *c, u16 field, u64 value);
void krg_capture_put_bytes(struct krg_capture *c, u16 field, const void *at, u32 length);
void krg_capture_put_text(struct krg_capture *c, u16 field, const char *text);
void krg_capture_end(struct krg_capture *c);
void krg_capture_end_data(struct krg_capture *c, const struct krg_ghost_piece *piece, u32 count);
/** krg_capture_fail() - makes the capture fail with @error, which is negative; the reason, "name: what", goes to the text */
__printf(3, 4) void krg_capture_fail(struct krg_capture *c, int error, const char *format, ...);

/** krg_capture_id() - the id that @object has in the image, or 0: it is not there yet */
u64 krg_capture_id(struct krg_capture *c, const void *object);
void krg_capture_set_id(struct krg_capture *c, const void *object, u64 id);
/** krg_capture_path() - the path as the caller sees it, in the capture's page; NULL: it failed. *@deleted: it has no name */
char *krg_capture_path(struct krg_capture *c, const struct path *path, bool *deleted);

/* ---- who writes what; each adds what it needs, and returns its object's id ---- */

/** krg_capture_to() - a whole image of @set, which krg_check() found nothing against, into @sink; 0 or an error and its reason */
int krg_capture_to(struct krg_frozen *set, struct krg_sink *sink, struct krg_text *text);
/** krg_capture_image() - the whole image of @c->set, but its end; processes in order */
void krg_capture_image(struct krg_capture *c, const char *description, u32 length);
u64 krg_capture_file(struct krg_capture *c, struct file *file);
u64 krg_capture_files(struct krg_capture *c, struct task_struct *task);
/** krg_capture_each_table() - calls @visit with one thread of each table of descriptors, until the capture fails */
void krg_capture_each_table(struct krg_capture *c, void (*visit)(struct krg_capture *c, struct task_struct *task));
/** krg_capture_watches() - what epoll sets watch, when all files are there */
void krg_capture_watches(struct krg_capture *c);
/** krg_capture_locks() - locks and leases on files, when all files are there */
void krg_capture_locks(struct krg_capture *c);
/** krg_capture_unix() - a unix socket, without its peer and what is under way to it */
u64 krg_capture_unix(struct krg_capture *c, struct file *file);
/** krg_capture_unix_queues() - peers and messages of unix sockets, when all files are there */
void krg_capture_unix_queues(struct krg_capture *c);
/** krg_capture_inet() - an internet socket, and what is under way to it */
u64 krg_capture_inet(struct krg_capture *c, struct file *file);
/** krg_capture_options() - options that sockets of all families have; krg_capture_option() - one, as setsockopt(2) takes it */
void krg_capture_options(struct krg_capture *c, u64 id, struct sock *sk);
void krg_capture_option(struct krg_capture *c, u64 id, int level, int name, s64 value);
/** krg_capture_owner() - what all files begin with: flags, F_SETOWN, F_SETSIG */
void krg_capture_owner(struct krg_capture *c, struct file *file);
u64 krg_capture_fs(struct krg_capture *c, struct task_struct *task);
u64 krg_capture_mm(struct krg_capture *c, struct krg_process *process);
/* capture_twin.c: pages in common since fork */
u64 krg_capture_twin(struct krg_capture *c, struct page *page, unsigned long at, u64 vma);
void krg_capture_twins_free(struct krg_capture *c);
/** krg_capture_memory() - the contents of a file without a name, of @kind as MEMORY_KIND says */
u64 krg_capture_memory(struct krg_capture *c, struct file *file, u64 kind);
/* capture_sysv.c: objects of the set; the segment of a mapping; what processes, which are there already, would undo */
void krg_capture_sysv(struct krg_capture *c);
u64 krg_capture_segment(struct krg_capture *c, struct file *mapped);
void krg_capture_undo(struct krg_capture *c);
/** krg_capture_session(), krg_capture_group() - once each; @session: the group's */
u64 krg_capture_session(struct krg_capture *c, struct pid *pid);
u64 krg_capture_group(struct krg_capture *c, struct pid *group, struct pid *session);
u64 krg_capture_creds(struct krg_capture *c, struct task_struct *task);
u64 krg_capture_sighand(struct krg_capture *c, struct task_struct *task);
void krg_capture_signals(struct krg_capture *c, struct task_struct *task, u64 owner, bool shared);
void krg_capture_seccomp(struct krg_capture *c, struct task_struct *task, u64 thread);
void krg_capture_timers(struct krg_capture *c, struct task_struct *leader, u64 task);
void krg_capture_registers(struct krg_capture *c, struct krg_thread *thread, u64 id);

/**
 * struct krg_interrupted - what becomes of a system call that was interrupted
 * @regs: as the thread goes on
 * @blocked: its signal mask
 * @saved: the mask it goes back to when a handler has run
 * @saved_in_force: whether there is one
 * @restarts: it goes on by restart_syscall(2), with what its restart block says
 */
struct krg_interrupted {
	struct user_regs_struct regs;
	u64 blocked, saved;
	bool saved_in_force, restarts;
};
/** krg_interrupted_resolve() - does to a copy what the kernel would do to the thread */
void krg_interrupted_resolve(struct krg_thread *thread, struct krg_interrupted *to);
/** krg_xfeatures() - components of the extended state that are not as they were at its beginning */
u64 krg_xfeatures(const struct krg_thread *thread);

#endif
