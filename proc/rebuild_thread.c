// SPDX-License-Identifier: GPL-2.0
/*
 * What of a thread no system call sets, or not from outside: signal actions,
 * the pointers that the kernel keeps for it, its name, its registers.
 */
#include <linux/elf.h>
#include <linux/regset.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>

#include <kerrighed/compat.h>

#include "restore.h"

#define THREAD_SAVED_MASK	2	/* THREAD.FLAGS: saved_blocked is in force */

/* One's own stays until one is dead. */
static struct sighand_struct *own_sighand(void)
{
	return rcu_dereference_protected(current->sighand, true);
}

void krg_rebuild_sighand(const struct krg_r_sighand *from)
{
	struct sighand_struct *to = own_sighand();

	spin_lock_irq(&to->siglock);
	memcpy(to->action, from->action, sizeof(to->action));
	spin_unlock_irq(&to->siglock);
}

static int set_altstack(const struct krg_r_thread *t)
{
	u32 flags = t->altstack_flags & (SS_DISABLE | SS_AUTODISARM);

	/* As sigaltstack(2) judges. */
	if (t->altstack_size && !(flags & SS_DISABLE) && t->altstack_size < MINSIGSTKSZ)
		return -ENOMEM;
	if (flags & SS_DISABLE || !t->altstack_size) {
		current->sas_ss_sp = 0;
		current->sas_ss_size = 0;
		current->sas_ss_flags = SS_DISABLE;
		return 0;
	}
	current->sas_ss_sp = t->altstack;
	current->sas_ss_size = t->altstack_size;
	current->sas_ss_flags = flags;
	return 0;
}

int krg_rebuild_thread(struct krg_r_thread *t)
{
	int err = set_altstack(t);

	if (err) {
		krg_restore_fail(t->session, err, "thread %u: its alternate signal stack has only %llu bytes", t->tid,
				 t->altstack_size);
		return err;
	}
	current->robust_list = (struct robust_list_head __user *)t->robust_list;
	current->clear_child_tid = (int __user *)t->clear_tid;
	task_lock(current);
	memcpy(current->comm, t->comm, sizeof(t->comm));
	task_unlock(current);
	krg_rseq_set(current, (struct rseq __user *)t->rseq, t->rseq_length, t->rseq_signature);
	if (t->rseq) {
		/* Whatever critical section it was in, it was interrupted: the kernel looks on the way out. */
		preempt_disable();
		rseq_preempt(current);
		preempt_enable();
	}
	return 0;
}

static int set_regset(struct task_struct *task, u32 type, const void *at, u32 length)
{
	const struct user_regset_view *view = task_user_regset_view(task);
	u32 i;

	for (i = 0; i < view->n; i++) {
		const struct user_regset *set = &view->regsets[i];

		if (set->core_note_type == type)
			return set->set(task, set, 0, length, at, NULL);
	}
	return -ENODEV;
}

/* By another task, while that of @t is switched out. */
int krg_rebuild_registers(struct krg_r_thread *t)
{
	int err = 0;

	if (t->xstate)
		err = set_regset(t->task, NT_X86_XSTATE, t->xstate, t->session->xstate_size);
	if (!err)
		err = set_regset(t->task, NT_PRSTATUS, &t->registers, sizeof(t->registers));
	return err;
}

/* All go: the last step of the thread itself, at the border to user mode. */
void krg_rebuild_last(struct krg_r_thread *t)
{
	/* A sigsuspend that was interrupted runs again, and sets its own mask: as the kernel does it. */
	u64 blocked = t->flags & THREAD_SAVED_MASK ? t->saved_blocked : t->blocked;
	struct sighand_struct *sighand = own_sighand();

	krg_rebuild_restart(t);
	spin_lock_irq(&sighand->siglock);
	current->blocked.sig[0] = blocked & ~(sigmask(SIGKILL) | sigmask(SIGSTOP));
	recalc_sigpending();
	spin_unlock_irq(&sighand->siglock);
}
