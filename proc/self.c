// SPDX-License-Identifier: GPL-2.0
/*
 * What a process asks for itself, in a table in its own memory: not to be
 * disturbed now, to be called before it is saved and when it goes on, to have
 * some of its memory left out. Nothing of it is kept here. What is read is what
 * a program wrote: it is believed as far as it concerns that program alone.
 */
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <uapi/linux/krg_self.h>

#include "file.h"
#include "park.h"
#include "self.h"
#include "text.h"

#define WILLING_MS	5000	/* when no time was given */
#define LOOK_MS		10	/* between looks at who is not willing */

/* What is looked at all the time: the words before the regions. */
struct wishes {
	u32 phase, disabled;
	s32 caller;
};

/* ---- the table ---- */

static bool is_table(struct vm_area_struct *vma)
{
	return vma->vm_file && !(vma->vm_flags & VM_MAYSHARE) && vma->vm_flags & VM_WRITE && !vma->vm_pgoff &&
	       vma->vm_end - vma->vm_start >= sizeof(struct krg_self) && krg_file_kind(vma->vm_file) == KRG_FILE_MEMFD &&
	       !strcmp(vma->vm_file->f_path.dentry->d_name.name, "memfd:" KRG_SELF_NAME);
}

/* 0: there is none. */
static unsigned long table_find(struct mm_struct *mm)
{
	struct vm_area_struct *vma;
	unsigned long at = 0;
	VMA_ITERATOR(vmi, mm, 0);

	mmap_read_lock(mm);
	for_each_vma(vmi, vma) {
		if (is_table(vma)) {
			at = vma->vm_start;
			break;
		}
	}
	mmap_read_unlock(mm);
	return at;
}

static bool table_read(struct task_struct *task, unsigned long at, void *to, int length)
{
	return access_process_vm(task, at, to, length, FOLL_FORCE) == length;
}

static void phase_write(struct task_struct *task, unsigned long at, u32 phase)
{
	/* One that cannot be written is that of a process that has just been killed. */
	access_process_vm(task, at + offsetof(struct krg_self, phase), &phase, sizeof(phase), FOLL_FORCE | FOLL_WRITE);
}

/* Return: where the table is; 0: there is none, or it is not in order. */
static unsigned long wishes_of(struct task_struct *leader, struct wishes *to)
{
	struct mm_struct *mm = get_task_mm(leader);
	unsigned long at;
	u64 magic;

	memset(to, 0, sizeof(*to));
	if (!mm)
		return 0;
	at = table_find(mm);
	mmput(mm);
	if (!at)
		return 0;
	if (!table_read(leader, at + offsetof(struct krg_self, magic), &magic, sizeof(magic)) || magic != KRG_SELF_MAGIC ||
	    !table_read(leader, at + offsetof(struct krg_self, phase), &to->phase, sizeof(to->phase)) ||
	    !table_read(leader, at + offsetof(struct krg_self, disabled), &to->disabled, sizeof(to->disabled)) ||
	    !table_read(leader, at + offsetof(struct krg_self, caller), &to->caller, sizeof(to->caller)))
		return 0;
	return at;
}

/* A child made by fork has the table, and not the thread. */
static bool has_caller(struct task_struct *leader, s32 caller)
{
	struct task_struct *task;
	bool found = false;

	if (caller <= 0)
		return false;
	rcu_read_lock();
	for_each_thread(leader, task)
		if (task_pid_nr_ns(task, task_active_pid_ns(leader)) == caller)
			found = true;
	rcu_read_unlock();
	return found;
}

/* ---- willing ---- */

static bool is_willing(struct task_struct *leader, const struct wishes *wishes, bool call)
{
	return !wishes->disabled && !(call && has_caller(leader, wishes->caller) && wishes->phase != KRG_SELF_READY);
}

/* Somebody of @set, which is held, who is not willing; with a reference. All of them are asked. */
static struct task_struct *find_unwilling(struct krg_frozen *set, bool call)
{
	struct task_struct *found = NULL;
	struct krg_process *process;
	struct wishes wishes;
	unsigned long at;

	krg_for_each_process(set, process) {
		at = wishes_of(process->leader, &wishes);
		if (!at || is_willing(process->leader, &wishes, call))
			continue;
		/* Its thread looks at the word again when it goes on. */
		if (call && !wishes.disabled && wishes.phase == KRG_SELF_IDLE)
			phase_write(process->leader, at, KRG_SELF_CALL);
		if (!found)
			found = get_task_struct(process->leader);
	}
	return found;
}

/* Until it is worth asking again. */
static int wait_for_willing(struct task_struct *leader, bool call, unsigned long deadline, struct krg_text *text)
{
	struct wishes wishes;

	for (;;) {
		if (!wishes_of(leader, &wishes) || is_willing(leader, &wishes, call))
			return 0;
		if (time_after(jiffies, deadline))
			break;
		/* It is to be called again; a program that lies here does it until the time is over. */
		if (!wishes.disabled && wishes.phase == KRG_SELF_IDLE)
			return 0;
		if (schedule_timeout_interruptible(msecs_to_jiffies(LOOK_MS)))
			return -EINTR;
		if (signal_pending(current))
			return -EINTR;
	}
	if (wishes.disabled)
		krg_text_add(text, "disabled: process %d asks not to be saved or moved now", task_tgid_vnr(leader));
	else
		krg_text_add(text, "callbacks: what process %d does before it is saved took too long", task_tgid_vnr(leader));
	return -ETIMEDOUT;
}

void krg_self_continue(struct krg_frozen *set)
{
	struct krg_process *process;
	struct wishes wishes;
	unsigned long at;

	krg_for_each_process(set, process) {
		at = wishes_of(process->leader, &wishes);
		if (at && (wishes.phase == KRG_SELF_READY || wishes.phase == KRG_SELF_CALL))
			phase_write(process->leader, at, KRG_SELF_CONTINUE);
	}
}

/* Those who were called already go on; who is called looks at the word from time to time. */
static void give_up(pid_t pid, bool tree)
{
	struct krg_frozen *set = krg_survey(pid, tree, NULL);

	if (IS_ERR(set))
		return;
	krg_self_continue(set);
	krg_unfreeze(set);
}

struct krg_frozen *krg_freeze_willing(pid_t pid, bool tree, u32 timeout_ms, bool call, struct krg_text *text)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(timeout_ms ?: WILLING_MS);
	struct task_struct *unwilling;
	struct krg_frozen *set;
	bool called = false;
	int err;

	for (;;) {
		set = krg_freeze(pid, tree, timeout_ms, text);
		if (IS_ERR(set)) {
			err = PTR_ERR(set);
			break;
		}
		unwilling = find_unwilling(set, call);
		if (!unwilling) {
			set->called = call;
			return set;
		}
		called = call;
		krg_unfreeze(set);
		err = wait_for_willing(unwilling, call, deadline, text);
		put_task_struct(unwilling);
		if (err)
			break;
	}
	if (called)
		give_up(pid, tree);
	return ERR_PTR(err);
}

/* ---- what is left out ---- */

static void excluded_add(struct krg_excluded *list, u64 start, u64 end)
{
	if (start < end && end <= TASK_SIZE_MAX)
		list->at[list->count++] = (struct krg_excluded_range){ .start = start, .end = end };
}

int krg_excluded_get(struct krg_excluded *list, struct task_struct *task, struct mm_struct *mm)
{
	unsigned long at = table_find(mm);
	struct krg_self *self;
	unsigned int i;

	memset(list, 0, sizeof(*list));
	if (!at)
		return 0;
	self = kvmalloc(sizeof(*self), GFP_KERNEL_ACCOUNT);
	list->at = kvcalloc(KRG_SELF_REGIONS + 1, sizeof(*list->at), GFP_KERNEL_ACCOUNT);
	if (!self || !list->at) {
		kvfree(self);
		krg_excluded_put(list);
		return -ENOMEM;
	}
	if (table_read(task, at, self, sizeof(*self)) && self->magic == KRG_SELF_MAGIC && self->count <= KRG_SELF_REGIONS) {
		excluded_add(list, at, at + PAGE_SIZE);
		for (i = 0; i < self->count; i++) {
			const struct krg_self_region *region = &self->region[i];

			if (region->at < TASK_SIZE_MAX && region->length <= TASK_SIZE_MAX)
				excluded_add(list, round_up(region->at, PAGE_SIZE),
					     round_down(region->at + region->length, PAGE_SIZE));
		}
	}
	kvfree(self);
	return 0;
}

void krg_excluded_put(struct krg_excluded *list)
{
	kvfree(list->at);
	memset(list, 0, sizeof(*list));
}

bool krg_excluded_has(const struct krg_excluded *list, unsigned long at)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (at >= list->at[i].start && at < list->at[i].end)
			return true;
	return false;
}
