/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SysV objects of processes: who has which, and what ipc/ of the kernel keeps to
 * itself about them. What goes into an image is in capture_sysv.c.
 */
#ifndef KRG_PROC_SYSV_H
#define KRG_PROC_SYSV_H

#include <linux/ipc.h>
#include <linux/ipc_namespace.h>
#include <linux/list.h>
#include <linux/msg.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sem.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include <kerrighed/compat.h>

struct file;
struct krg_check;
struct krg_frozen;
struct krg_text;

/* How structures begin that no header has. What is taken from them is compared with what is known otherwise. */

struct krg_shm {
	struct kern_ipc_perm perm;
	struct file *file;
	unsigned long attached, size;
	time64_t times[3];
	struct pid *creator, *last;
};

struct krg_sem {
	int value;
	struct pid *last;
	spinlock_t lock;	/* inside of the array's */
	struct list_head pending[2];
	time64_t time;
} ____cacheline_aligned_in_smp;

struct krg_sem_array {
	struct kern_ipc_perm perm;
	time64_t time;
	struct list_head pending[2];
	struct list_head undo;	/* krg_sem_undo.of_array; under perm.lock */
	int count;
	int complex_count;
	unsigned int use_global_lock;
	struct krg_sem sems[];
};

struct krg_undo_list {
	refcount_t refs;	/* tasks that have it */
	spinlock_t lock;
	struct list_head list;
};

struct krg_sem_undo {
	struct list_head of_process;
	struct rcu_head rcu;
	struct krg_undo_list *owner;
	struct list_head of_array;
	int semid;
	krg_semadj_t adjust;	/* what krg_semadj() reads */
};

struct krg_msg_queue {
	struct kern_ipc_perm perm;
	time64_t times[3];
	unsigned long bytes, count, room;
	struct pid *last_sent, *last_received;
	struct list_head messages;
};

/* What ipc_namespace.ids are, in their order. */
enum { KRG_SYSV_SEM, KRG_SYSV_MSG, KRG_SYSV_SHM };

/**
 * krg_sysv_next() - the next object of @kind that belongs to @set, from id number *@at on, or NULL; under ids' rwsem
 *
 * To processes belongs what they have created, of shared memory; what they have used last, wait in, or would undo, of
 * semaphores and queues. Segments that they have attached belong to them too, and are found by their mappings.
 */
struct kern_ipc_perm *krg_sysv_next(struct krg_frozen *set, int kind, int *at);
/** krg_sysv_segment() - the segment that @file, of a mapping, is of, or NULL; under ids' rwsem */
struct krg_shm *krg_sysv_segment(const struct file *file);
static inline struct ipc_ids *krg_sysv_ids(int kind)
{
	return &current->nsproxy->ipc_ns->ids[kind];
}

/** krg_check_sysv() - undo values that cannot be given back */
void krg_check_sysv(struct krg_check *c);
/** krg_sysv_stays() - objects of @set are of this node only: -EOPNOTSUPP and a line in @text if it has any */
int krg_sysv_stays(struct krg_frozen *set, struct krg_text *text);

#endif
