// SPDX-License-Identifier: GPL-2.0
/*
 * Which SysV objects belong to processes, as sysv.h says, and whether they can be
 * saved.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/nsproxy.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <asm/unistd.h>

#include <kerrighed/compat.h>

#include "check_private.h"
#include "file.h"
#include "park.h"
#include "sysv.h"
#include "text.h"
#include "vma.h"

static bool set_has_pid(struct krg_frozen *set, const struct pid *pid)
{
	struct krg_process *process;

	krg_for_each_process(set, process)
		if (pid && task_tgid(process->leader) == pid)
			return true;
	return false;
}

/* Whether a thread was in a call that waits for the object. */
static bool set_waits_in(struct krg_frozen *set, int kind, int id)
{
	struct krg_process *process;
	struct krg_thread *thread;

	krg_for_each_process(set, process)
		krg_for_each_thread(process, thread) {
			const struct user_regs_struct *regs = &thread->registers.general;
			bool of_kind = kind == KRG_SYSV_SEM ?
				       regs->orig_ax == __NR_semop || regs->orig_ax == __NR_semtimedop :
				       regs->orig_ax == __NR_msgrcv || regs->orig_ax == __NR_msgsnd;

			if (of_kind && (int)regs->di == id)
				return true;
		}
	return false;
}

static bool set_undoes(struct krg_frozen *set, const struct krg_undo_list *list)
{
	struct krg_process *process;

	krg_for_each_process(set, process)
		if (list && (const void *)process->leader->sysvsem.undo_list == list)
			return true;
	return false;
}

static bool sem_belongs(struct krg_frozen *set, struct krg_sem_array *array)
{
	struct krg_sem_undo *undo;
	bool belongs = false;
	int i;

	spin_lock(&array->perm.lock);
	for (i = 0; i < array->count && !belongs && !array->perm.deleted; i++) {
		spin_lock(&array->sems[i].lock);
		belongs = set_has_pid(set, array->sems[i].last);
		spin_unlock(&array->sems[i].lock);
	}
	if (!array->perm.deleted)
		list_for_each_entry(undo, &array->undo, of_array)
			belongs = belongs || set_undoes(set, undo->owner);
	spin_unlock(&array->perm.lock);
	return belongs || set_waits_in(set, KRG_SYSV_SEM, array->perm.id);
}

static bool object_belongs(struct krg_frozen *set, int kind, struct kern_ipc_perm *perm)
{
	struct krg_msg_queue *queue = container_of(perm, struct krg_msg_queue, perm);
	bool belongs;

	if (kind == KRG_SYSV_SEM)
		return sem_belongs(set, container_of(perm, struct krg_sem_array, perm));
	spin_lock(&perm->lock);
	if (kind == KRG_SYSV_SHM)
		belongs = set_has_pid(set, container_of(perm, struct krg_shm, perm)->creator);
	else
		belongs = set_has_pid(set, queue->last_sent) || set_has_pid(set, queue->last_received);
	belongs = belongs && !perm->deleted;
	spin_unlock(&perm->lock);
	return belongs || (kind == KRG_SYSV_MSG && set_waits_in(set, kind, perm->id));
}

struct kern_ipc_perm *krg_sysv_next(struct krg_frozen *set, int kind, int *at)
{
	struct ipc_ids *ids = krg_sysv_ids(kind);
	struct kern_ipc_perm *perm;

	lockdep_assert_held(&ids->rwsem);
	while ((perm = idr_get_next(&ids->ipcs_idr, at))) {
		++*at;
		if (object_belongs(set, kind, perm))
			return perm;
	}
	return NULL;
}

/* The id is the number of the inode. */
struct krg_shm *krg_sysv_segment(const struct file *file)
{
	struct ipc_ids *ids = krg_sysv_ids(KRG_SYSV_SHM);
	struct kern_ipc_perm *perm;
	int at = 0;

	lockdep_assert_held(&ids->rwsem);
	for (; (perm = idr_get_next(&ids->ipcs_idr, &at)); at++) {
		struct krg_shm *shm = container_of(perm, struct krg_shm, perm);

		if (!perm->deleted && perm->id == (int)file_inode(file)->i_ino && shm->file &&
		    file_inode(shm->file) == file_inode(file))
			return shm;
	}
	return NULL;
}

/* ---- the check ---- */

static const struct krg_undo_list *undo_of(const struct task_struct *task)
{
	return (const void *)task->sysvsem.undo_list;
}

/* Every process with threads has a list; it is empty unless an operation with SEM_UNDO was done. */
static bool has_undo(const struct krg_undo_list *list)
{
	return list && !list_empty(&list->list);
}

static void check_undo(struct krg_check *c, struct krg_process *process)
{
	const struct krg_undo_list *list = undo_of(process->leader);
	pid_t pid = task_tgid_vnr(process->leader);
	struct krg_thread *thread;
	unsigned int threads = 0;

	krg_for_each_thread(process, thread) {
		const struct krg_undo_list *own = undo_of(thread->task);

		threads += own == list;
		if (own != list && has_undo(own))
			krg_check_refuse(c, "SysV semaphores: thread %d has undo values of its own", task_pid_vnr(thread->task));
	}
	if (has_undo(list) && refcount_read(&list->refs) != threads)
		krg_check_refuse(c, "SysV semaphores: process %d shares its undo values with another (CLONE_SYSVSEM)", pid);
}

void krg_check_sysv(struct krg_check *c)
{
	struct krg_process *process;

	krg_for_each_process(c->set, process)
		check_undo(c, process);
}

static bool has_segment(struct krg_process *process)
{
	struct mm_struct *mm = get_task_mm(process->leader);
	struct krg_mappings list;
	unsigned int i;
	bool has = false;

	if (!mm)
		return false;
	if (!krg_mappings_get(&list, mm)) {
		for (i = 0; i < list.count; i++)
			has = has || list.at[i].backing == KRG_BACKING_SYSV;
		krg_mappings_put(&list);
	}
	mmput(mm);
	return has;
}

int krg_sysv_stays(struct krg_frozen *set, struct krg_text *text)
{
	static const char *const names[] = { "semaphores", "a message queue", "shared memory" };
	struct krg_process *process;
	int kind, at, err = 0;

	for (kind = KRG_SYSV_SEM; kind <= KRG_SYSV_SHM; kind++) {
		struct ipc_ids *ids = krg_sysv_ids(kind);
		struct kern_ipc_perm *perm;

		at = 0;
		down_read(&ids->rwsem);
		perm = krg_sysv_next(set, kind, &at);
		if (perm) {
			krg_text_add(text, "SysV: the process has %s (id %d), which cannot move", names[kind], perm->id);
			err = -EOPNOTSUPP;
		}
		up_read(&ids->rwsem);
	}
	krg_for_each_process(set, process)
		if (has_segment(process)) {
			krg_text_add(text, "SysV: process %d has attached shared memory, which cannot move",
				     task_tgid_vnr(process->leader));
			err = -EOPNOTSUPP;
		}
	return err;
}
