/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A restore session: the tables that an image becomes, and what its parts say to
 * each other. restore.c has the session and its operations, restore_image.c and
 * restore_record.c read the image, restore_join.c brings the threads together;
 * rebuild_*.c make of the tables what they describe. What the operations mean
 * to user space is in uapi/linux/krg_proc.h.
 */
#ifndef KRG_PROC_RESTORE_H
#define KRG_PROC_RESTORE_H

#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/signal.h>
#include <linux/task_work.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <asm/user.h>

#include "follow.h"
#include "forward.h"
#include "main.h"
#include "text.h"

#define KRG_RESTORE_OBJECTS	1048576U	/* of one image, at most */
#define KRG_RESTORE_RUNS	4194304U	/* page runs of one image, at most */
#define KRG_RESTORE_FILTER_WORDS 4194304U	/* instructions of seccomp filters of one image, at most */
#define KRG_RESTORE_CHUNK	65536U		/* bytes that are read at a time */

/* What object ids lead to; each structure below begins with one. */
struct krg_r_object {
	struct list_head link;	/* in krg_restore.all, in the image's order */
	u64 id;
	u16 type;		/* enum krg_ghost_type; KRG_R_FILE for all kinds of files */
};

#define KRG_R_FILE	0xffff

/* An open file that a mapping or an exe link needs, or the helper's stand-in for a memory object. */
struct krg_r_file {
	struct krg_r_object object;
	struct file *file;	/* krg_restore.lock; set once */
};

/* A file that another node serves, as the image names it. */
struct krg_r_forwarded {
	struct krg_r_object object;
	struct krg_forwarded at;
	u32 flags;
	char path[128];		/* to be shown */
};

struct krg_r_run {
	u64 at, count;		/* address, in memory: offset; pages */
	u64 from;		/* of the data in the image; twin: address there */
	u32 source, crc;	/* enum KRG_GHOST_SOURCE_*; of the data, as BEGIN read them */
	struct krg_r_vma *twin;
};

struct krg_r_runs {
	struct krg_r_run *at;
	u32 count, room;
};

struct krg_r_memory {
	struct krg_r_object object;
	u32 kind;
	bool reserve;		/* its mappings are accounted for */
	u64 size;
	struct krg_r_runs runs;
	struct krg_r_file stand_in;	/* registered by the helper */
	struct file *file;	/* krg_restore.memory_lock; made once */
};

/* VMA.KIND, and the bits of VMA.ADVICE that are more than advice to a restorer. */
enum {
	KRG_VMA_PRIVATE, KRG_VMA_SHARED, KRG_VMA_VDSO, KRG_VMA_VVAR, KRG_VMA_VSYSCALL, KRG_VMA_STACK, KRG_VMA_HEAP,
};

enum {
	KRG_VMA_SEQUENTIAL = 1, KRG_VMA_RANDOM = 2, KRG_VMA_DONTFORK = 4, KRG_VMA_DONTDUMP = 8, KRG_VMA_WIPEONFORK = 16,
	KRG_VMA_MERGEABLE = 32, KRG_VMA_HUGE = 64, KRG_VMA_NOHUGE = 128, KRG_VMA_NORESERVE = 256,
	KRG_VMA_ACCOUNTED = 512,
};

struct krg_r_vma {
	struct krg_r_object object;
	struct list_head link;	/* in krg_r_mm.vmas, ascending */
	struct krg_r_mm *mm;
	u64 start, end, offset;
	u32 kind, prot, advice, locked, pkey;
	u32 ceiling;		/* protection it can be raised to; 0: all */
	struct krg_r_file *file;	/* or */
	struct krg_r_memory *memory;
	struct krg_r_runs runs;
	struct xarray shared;	/* numbers of its pages that mappings of later address spaces have too */
	struct krg_r_vma *twin;	/* the last one it has pages in common with */
	bool inherited;		/* made before its process had children: rebuild_inherit.c */
	u64 kept, kept_end;	/* what was there when it was built, and stays */
};

struct krg_r_mm {
	struct krg_r_object object;
	struct list_head link;	/* in krg_restore.mms */
	struct list_head vmas;
	u32 index;		/* of address spaces, in the image's order */
	struct krg_r_task *builder;	/* the first of its tasks */
	struct mm_struct *mm;	/* krg_restore.lock: that of whoever joined; only compared */
	bool built;		/* krg_restore.lock */
	struct krg_r_file *exe;
	u64 start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
	u64 arg_start, arg_end, env_start, env_end, mmap_base, vdso;
	u32 dumpable, flags, filter, auxv_words;
	u64 auxv[128];
};

struct krg_r_sighand {
	struct krg_r_object object;
	struct k_sigaction action[_NSIG];	/* all zeros: the default */
};

struct krg_r_task {
	struct krg_r_object object;
	struct list_head link;		/* in krg_restore.tasks */
	struct list_head threads;	/* the first one is the leader */
	struct krg_r_mm *mm;
	struct krg_r_sighand *sighand;
	u32 pid, stopped, nr_threads;
	u32 filters;		/* of seccomp, that all threads have in common; the leader, before address spaces are built */
	bool inherits;		/* krg_restore.lock: it was asked for what its children inherit */
};

struct krg_r_restart {
	u32 kind;		/* 0: none; else as RESTART.KIND */
	u32 clock, flags, bitset, futex_flags;
	u64 left, address, value;
};

struct krg_r_filter {
	u32 mode, flags, length;	/* strict or filter; instructions */
	u64 number;		/* the same for the same filter */
	struct sock_filter *code;
};

struct krg_r_thread {
	struct krg_r_object object;
	struct list_head link;	/* in krg_r_task.threads */
	struct krg_restore *session;
	struct krg_r_task *of;
	struct task_struct *task;	/* krg_restore.lock: who joined, referenced */
	u32 tid, flags;
	char comm[16];
	u64 blocked, saved_blocked;
	u64 altstack, altstack_size, robust_list, clear_tid, rseq;
	u32 altstack_flags, rseq_length, rseq_signature;
	struct user_regs_struct registers;
	struct krg_r_restart restart;
	struct krg_r_filter *filters;	/* oldest first */
	u32 nr_filters;
	u8 *xstate;		/* a standard-format xsave area of xstate_size bytes, or NULL */

	/* Between JOIN and GO. */
	struct callback_head park;
	struct work_struct work;
	struct completion set;	/* the registers are in place, or error says why not */
	int error;
};

enum krg_restore_state {
	KRG_RESTORE_EMPTY,	/* no image yet, or BEGIN reads one */
	KRG_RESTORE_OPEN,	/* threads may join */
	KRG_RESTORE_FAILED,	/* whoever joined is being killed */
	KRG_RESTORE_GONE,	/* all run as the image says */
};

struct krg_restore {
	struct kref ref;	/* the open file, and each thread that is inside */
	struct mutex lock;	/* what is marked so; state and the counts; nothing is locked inside of it but siglock */
	struct mutex memory_lock;	/* shared memory objects while they are made; taken before lock */
	wait_queue_head_t wait;	/* any change of state or counts */
	enum krg_restore_state state;
	int error;		/* FAILED: why, and in words */
	struct krg_text reason;
	bool home;		/* a worker of home.c is the restorer; nobody is killed; set before anybody joins */
	const void *owner;	/* descriptor table of who called BEGIN: compared, never followed */
	struct file *image;
	const struct cred *cred;	/* who called BEGIN, if filters need rights */
	u64 number;
	struct krg_follow_origin origin;	/* of a process that comes from another node */
	u64 objects;		/* in the image */
	struct xarray table;	/* id -> struct krg_r_object */
	struct list_head all;
	struct list_head mms, tasks;
	u32 xstate_size, runs, twins;
	u32 filter_words;	/* instructions of all filters */
	u32 nr_tasks, nr_threads, nr_mms;
	u32 joined, built, ready;	/* threads inside, address spaces finished, threads with their registers */
};

/* restore.c */
__printf(3, 4) void krg_restore_fail(struct krg_restore *s, int error, const char *format, ...);
void krg_restore_get(struct krg_restore *s);
void krg_restore_put(struct krg_restore *s);
/** All go, if all are ready. 0, or -errno: nobody does. */
int krg_restore_go(struct krg_restore *s);
void krg_restore_forget(struct krg_restore *s);	/* all that was read */
void *krg_restore_find(struct krg_restore *s, u64 id, u16 type);
/* Until @condition holds. 0, or the session has failed, or the caller was killed. */
#define krg_restore_wait(s, condition)								\
({												\
	int __err = wait_event_killable((s)->wait,						\
		(condition) || READ_ONCE((s)->state) == KRG_RESTORE_FAILED);			\
	if (__err)										\
		__err = -EINTR;									\
	else if (READ_ONCE((s)->state) == KRG_RESTORE_FAILED)					\
		__err = -ECANCELED;								\
	__err;											\
})

/* restore_image.c: fills an empty session; what it made is freed with the session, also after an error. */
int krg_restore_read(struct krg_restore *s, struct krg_text *error);
int krg_restore_run_add(struct krg_restore *s, struct krg_r_runs *runs, const struct krg_r_run *run);
u32 krg_restore_crc(u32 crc, const void *at, size_t length);
struct krg_ghost_reader;
/* restore_record.c */
int krg_restore_record(struct krg_restore *s, const struct krg_ghost_reader *r, struct krg_r_run **run,
		       struct krg_text *error);
int krg_restore_judge(struct krg_restore *s, struct krg_text *error);

/* restore_join.c */
int krg_restore_join(struct krg_restore *s, struct krg_proc_file *file, const struct krg_proc_restore_join *arg);
void krg_restore_stop_all(struct krg_restore *s);

/* rebuild_mm.c: in the context of a thread of the address space, which no other uses. */
int krg_rebuild_mm(struct krg_restore *s, struct krg_r_mm *m);
/* One more mapping of what @v is, of a part of it. */
int krg_rebuild_map(struct krg_restore *s, struct krg_r_vma *v, u64 from, u64 to);
bool krg_rebuild_was_writable(const struct krg_r_vma *v);
vm_flags_t krg_rebuild_extra_flags(const struct krg_r_vma *v);
/* rebuild_inherit.c */
int krg_restore_inherit(struct krg_restore *s, u64 task);
int krg_inherit_mark(struct krg_restore *s, struct krg_r_vma *v, const struct krg_r_run *run);
void krg_inherit_keep(struct krg_r_mm *m);
int krg_inherit_drop(struct krg_restore *s, struct krg_r_mm *m);
bool krg_inherit_has(const struct krg_r_vma *v, u64 at, const u8 *bytes);
/* rebuild_pages.c */
int krg_rebuild_pages(struct krg_restore *s, struct krg_r_mm *m);
int krg_rebuild_shared(struct krg_restore *s, struct krg_r_vma *v);
struct file *krg_rebuild_memory(struct krg_restore *s, struct krg_r_memory *memory);
/* rebuild_thread.c: in the context of the thread, but for the registers, which another task sets. */
void krg_rebuild_sighand(const struct krg_r_sighand *from);
int krg_rebuild_thread(struct krg_r_thread *t);
int krg_rebuild_registers(struct krg_r_thread *t);
void krg_rebuild_last(struct krg_r_thread *t);
/* rebuild_seccomp.c: likewise, and the last of all */
int krg_rebuild_common_filters(struct krg_restore *s, struct krg_r_task *task);
int krg_rebuild_filters(struct krg_r_thread *t);
/* rebuild_restart.c */
void krg_rebuild_restart(struct krg_r_thread *t);

#endif
