// SPDX-License-Identifier: GPL-2.0
/*
 * The check of processes and threads: what they are in, have, or share with
 * others that an image cannot carry. Mappings and files are in check_files.c.
 */
#include <linux/cred.h>
#include <linux/nsproxy.h>
#include <linux/pid_namespace.h>
#include <linux/posix-timers.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/user_namespace.h>
#include <asm/desc.h>
#include <asm/mmu_context.h>

#include <kerrighed/compat.h>

#include "check.h"
#include "check_private.h"
#include "forward.h"
#include "park.h"
#include "sysv.h"
#include "text.h"
#include "vma.h"

void krg_check_refuse(struct krg_check *c, const char *format, ...)
{
	struct va_format vaf = { .fmt = format };
	va_list args;

	va_start(args, format);
	vaf.va = &args;
	krg_text_add(c->text, "%pV", &vaf);
	va_end(args);
	c->refused = true;
}

/* ---- threads ---- */

static void check_traced(struct krg_check *c, struct task_struct *task, pid_t tid)
{
	if (task->ptrace)
		krg_check_refuse(c, "ptrace: thread %d is traced", tid);
	if (!list_empty(&task->ptraced))
		krg_check_refuse(c, "ptrace: thread %d traces others", tid);
}

static void check_processor(struct krg_check *c, struct task_struct *task, pid_t tid)
{
	unsigned int i;

	if (test_tsk_thread_flag(task, TIF_ADDR32) || task_pt_regs(task)->cs != __USER_CS)
		krg_check_refuse(c, "processor: thread %d runs 32-bit code", tid);
	for (i = 0; i < GDT_ENTRY_TLS_ENTRIES; i++)
		if (!desc_empty(&task->thread.tls_array[i])) {
			krg_check_refuse(c, "processor: thread %d has segments of its own (set_thread_area)", tid);
			break;
		}
	if (task->thread.io_bitmap || task->thread.iopl_emul)
		krg_check_refuse(c, "processor: thread %d has access to ports (ioperm, iopl)", tid);
}

static void check_attached(struct krg_check *c, struct task_struct *task, pid_t tid)
{
	if (task->io_uring)
		krg_check_refuse(c, "io_uring: thread %d uses it", tid);
#ifdef CONFIG_SECCOMP
	krg_check_seccomp(c, task, tid);
#endif
#ifdef CONFIG_NUMA
	if (task->mempolicy)
		krg_check_refuse(c, "memory policy: thread %d has one (set_mempolicy)", tid);
#endif
#ifdef CONFIG_PERF_EVENTS
	if (!list_empty(&task->perf_event_list))
		krg_check_refuse(c, "perf: thread %d has events", tid);
#endif
}

static void check_thread(struct krg_check *c, struct task_struct *task)
{
	pid_t tid = task_pid_vnr(task);

	check_traced(c, task, tid);
	check_processor(c, task, tid);
	check_attached(c, task, tid);
}

/* ---- namespaces ---- */

/* A time namespace of its own is carried: the clocks are in the image. */
static void check_namespaces(struct krg_check *c, struct task_struct *leader, pid_t pid)
{
	const struct nsproxy *mine = current->nsproxy, *its;

	task_lock(leader);
	its = leader->nsproxy;
	if (its && (its->mnt_ns != mine->mnt_ns || its->net_ns != mine->net_ns || its->uts_ns != mine->uts_ns ||
		    its->ipc_ns != mine->ipc_ns || its->pid_ns_for_children != mine->pid_ns_for_children ||
		    its->cgroup_ns != mine->cgroup_ns))
		krg_check_refuse(c, "namespaces: process %d is in others than you are", pid);
	task_unlock(leader);
	if (task_active_pid_ns(leader) != task_active_pid_ns(current))
		krg_check_refuse(c, "namespaces: process %d is in another pid namespace", pid);
	rcu_read_lock();
	if (__task_cred(leader)->user_ns != current_user_ns())
		krg_check_refuse(c, "namespaces: process %d is in another user namespace", pid);
	rcu_read_unlock();
}

/* ---- what is shared with, or belongs to, processes that are not of the set ---- */

static void check_sharing(struct krg_check *c, struct task_struct *mine, struct task_struct *other)
{
	pid_t pid = task_tgid_vnr(mine), with = task_tgid_vnr(other);

	if (other->mm && other->mm == mine->mm)
		krg_check_refuse(c, other->vfork_done ? "vfork: process %d waits for its child %d" :
				 "sharing: process %d shares its memory with %d (CLONE_VM)", pid, with);
	if (other->files && other->files == mine->files)
		krg_check_refuse(c, "sharing: process %d shares its descriptors with %d (CLONE_FILES)", pid, with);
	if (other->fs && other->fs == mine->fs)
		krg_check_refuse(c, "sharing: process %d shares its directories with %d (CLONE_FS)", pid, with);
	if (other->sighand && other->sighand == mine->sighand)
		krg_check_refuse(c, "sharing: process %d shares its signal actions with %d (CLONE_SIGHAND)", pid, with);
}

static void check_child(struct krg_check *c, struct task_struct *other)
{
	pid_t pid = task_tgid_vnr(other);

	if (!krg_frozen_has(c->set, rcu_dereference(other->real_parent)))
		return;
	/* One that was born since the tree was looked at will be held with it. */
	if (!other->exit_state && (c->frozen || !c->set->tree))
		krg_check_refuse(c, "children: process %d is a child; ask for the whole tree", pid);
	else if (other->exit_state && !thread_group_empty(other))
		krg_check_refuse(c, "thread: the first one of process %d has ended", pid);
}

static void check_others(struct krg_check *c)
{
	struct krg_process *process;
	struct task_struct *other;

	rcu_read_lock();
	for_each_process(other) {
		if (krg_frozen_has(c->set, other))
			continue;
		check_child(c, other);
		krg_for_each_process(c->set, process)
			check_sharing(c, process->leader, other);
	}
	rcu_read_unlock();
}

/* ---- processes ---- */

static void check_forwarded(struct krg_check *c, pid_t pid, const struct krg_mappings *list)
{
	const char *refused = NULL;
	unsigned long at = 0;
	int err = krg_forwarding_mappings(c->set->forward, list, &at, &refused);

	if (err)
		c->error = err;
	if (refused)
		krg_check_refuse(c, "memory: process %d has %s at %#lx", pid, refused, at);
}

static void check_memory(struct krg_check *c, struct task_struct *leader, pid_t pid)
{
	struct mm_struct *mm = get_task_mm(leader);
	struct krg_mappings list;
	unsigned int i;
	int err;

	if (!mm) {
		krg_check_refuse(c, "process: %d is ending", pid);
		return;
	}
#ifdef CONFIG_MODIFY_LDT_SYSCALL
	if (mm->context.ldt)
		krg_check_refuse(c, "processor: process %d has a descriptor table of its own (modify_ldt)", pid);
#endif
	err = krg_mappings_get(&list, mm);
	if (!err && c->set->forward)
		check_forwarded(c, pid, &list);
	if (err) {
		c->error = err;
	} else {
		for (i = 0; i < list.count; i++)
			if (list.at[i].refused)
				krg_check_refuse(c, "memory: process %d has %s at %#lx", pid, list.at[i].refused,
						 list.at[i].start);
		krg_mappings_put(&list);
	}
	mmput(mm);
}

/* Those of processor time are in the scheduler's queues. */
static void check_timers(struct krg_check *c, struct task_struct *leader, pid_t pid)
{
	struct sighand_struct *sighand = krg_sighand_lock(leader);
	struct k_itimer *timer;
	int other = 0;

	if (!sighand)
		return;
	krg_for_each_posix_timer(leader->signal, timer)
		other += !krg_timer_is_carried(timer->it_clock);
	spin_unlock_irq(&sighand->siglock);
	if (other)
		krg_check_refuse(c, "timer: process %d has %d POSIX timers of processor time or that wake the machine", pid, other);
}

static void check_process(struct krg_check *c, struct krg_process *process)
{
	struct task_struct *leader = process->leader;
	pid_t pid = task_tgid_vnr(leader);
	struct krg_thread *thread;

	if (leader->exit_state || leader->flags & PF_EXITING) {
		/* A child that has just ended is none of those that will be held. */
		if (!c->frozen && !list_is_first(&process->node, &c->set->processes) && thread_group_empty(leader))
			return;
		krg_check_refuse(c, "thread: the first one of process %d has ended", pid);
		return;
	}
	check_namespaces(c, leader, pid);
	if (leader->vfork_done)
		krg_check_refuse(c, "vfork: the parent of process %d waits for it", pid);
	check_timers(c, leader, pid);
	krg_for_each_thread(process, thread)
		check_thread(c, thread->task);
	check_memory(c, leader, pid);
}

int krg_check(struct krg_frozen *set, bool frozen, struct krg_text *text)
{
	struct krg_check c = { .set = set, .frozen = frozen, .text = text };
	struct krg_process *process;

	krg_for_each_process(set, process)
		check_process(&c, process);
	check_others(&c);
	krg_check_files(&c);
	krg_check_sysv(&c);
	return c.error ?: c.refused ? -EOPNOTSUPP : 0;
}
