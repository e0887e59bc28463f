// SPDX-License-Identifier: GPL-2.0
/*
 * Signals in the image: actions that are not the default, and what is pending.
 */
#include <linux/sched/signal.h>
#include <linux/signal.h>
#include <linux/slab.h>

#include "capture.h"
#include "park.h"

#define KRG_PENDING_MAX	4096	/* of one queue; RLIMIT_SIGPENDING is in this order */
#define KRG_INFO_HEAD	16	/* bytes of siginfo before what depends on the signal: number, error, code, padding */
#define KRG_INFO_SIZE	112	/* bytes of the rest */

struct krg_pending {
	int number, code, error;
	bool bare;
	u8 info[KRG_INFO_SIZE];
};

/* ---- actions ---- */

static void capture_action(struct krg_capture *c, u64 owner, int signal, const struct sigaction *action)
{
	if (action->sa_handler == SIG_DFL && !action->sa_flags && !action->sa_mask.sig[0])
		return;
	krg_capture_begin(c, KRG_GHOST_SIGACTION);
	krg_capture_put(c, KRG_GHOST_SIGACTION_SIGHAND, owner);
	krg_capture_put(c, KRG_GHOST_SIGACTION_SIGNAL, signal);
	krg_capture_put(c, KRG_GHOST_SIGACTION_HANDLER, (unsigned long)action->sa_handler);
	krg_capture_put(c, KRG_GHOST_SIGACTION_FLAGS, action->sa_flags & U32_MAX);
	krg_capture_put(c, KRG_GHOST_SIGACTION_RESTORER, (unsigned long)action->sa_restorer);
	krg_capture_put(c, KRG_GHOST_SIGACTION_MASK, action->sa_mask.sig[0]);
	krg_capture_end(c);
}

u64 krg_capture_sighand(struct krg_capture *c, struct task_struct *task)
{
	struct sigaction *actions = kcalloc(_NSIG, sizeof(*actions), GFP_KERNEL);
	struct sighand_struct *sighand = actions ? krg_sighand_lock(task) : NULL;
	u64 id = 0;
	int i;

	if (!sighand) {
		krg_capture_fail(c, actions ? -ESRCH : -ENOMEM, "capture: %s",
				 actions ? "the process was killed" : "no memory");
		kfree(actions);
		return 0;
	}
	for (i = 0; i < _NSIG; i++)
		actions[i] = sighand->action[i].sa;
	spin_unlock_irq(&sighand->siglock);
	id = krg_capture_id(c, sighand);
	if (!id) {
		id = krg_capture_begin(c, KRG_GHOST_SIGHAND);
		krg_capture_end(c);
		krg_capture_set_id(c, sighand, id);
		for (i = 0; i < _NSIG; i++)
			capture_action(c, id, i + 1, &actions[i]);
	}
	kfree(actions);
	return id;
}

/* ---- pending ---- */

/* As copy_siginfo_to_user() gives it: the kernel's and the user's structure have the same layout. */
static void pending_take(struct krg_pending *to, const struct kernel_siginfo *info)
{
	BUILD_BUG_ON(offsetof(struct kernel_siginfo, _sifields) != KRG_INFO_HEAD);
	to->number = info->si_signo;
	to->code = info->si_code;
	to->error = info->si_errno;
	memset(to->info, 0, sizeof(to->info));
	memcpy(to->info, &info->_sifields, min(sizeof(to->info), sizeof(*info) - KRG_INFO_HEAD));
}

/* Those that were queued with a siginfo, in order, and then those that found no memory for one. Under the lock. */
static u32 pending_list(const struct sigpending *pending, struct krg_pending *to, u32 room)
{
	const struct sigqueue *q;
	sigset_t queued;
	u32 n = 0;
	int i;

	sigemptyset(&queued);
	list_for_each_entry(q, &pending->list, list) {
		if (n == room)
			return room;
		sigaddset(&queued, q->info.si_signo);
		pending_take(&to[n++], &q->info);
	}
	for (i = 1; i <= _NSIG && n < room; i++) {
		if (!sigismember((sigset_t *)&pending->signal, i) || sigismember(&queued, i))
			continue;
		memset(&to[n], 0, sizeof(*to));
		to[n].number = i;
		to[n++].bare = true;
	}
	return n;
}

static u32 pending_of(struct task_struct *task, bool shared, struct krg_pending *list)
{
	struct sighand_struct *sighand = krg_sighand_lock(task);
	u32 n;

	if (!sighand)
		return 0;
	n = pending_list(shared ? &task->signal->shared_pending : &task->pending, list, KRG_PENDING_MAX);
	spin_unlock_irq(&sighand->siglock);
	return n;
}

void krg_capture_signals(struct krg_capture *c, struct task_struct *task, u64 owner, bool shared)
{
	struct krg_pending *list = kvmalloc_array(KRG_PENDING_MAX, sizeof(*list), GFP_KERNEL);
	struct krg_process *process = krg_frozen_process(c->set, task);
	u32 i, n;

	if (!list) {
		krg_capture_fail(c, -ENOMEM, "capture: no memory");
		return;
	}
	n = pending_of(task, shared, list);
	for (i = 0; i < n && (shared || thread_group_leader(task)); i++)
		process->taken[shared][list[i].number - 1]++;
	if (n == KRG_PENDING_MAX)
		krg_capture_fail(c, -EOPNOTSUPP, "signals: more than %d are pending", KRG_PENDING_MAX - 1);
	for (i = 0; i < n; i++) {
		krg_capture_begin(c, KRG_GHOST_SIGNAL);
		krg_capture_put(c, KRG_GHOST_SIGNAL_OWNER, owner);
		krg_capture_put(c, KRG_GHOST_SIGNAL_NUMBER, list[i].number);
		krg_capture_put(c, KRG_GHOST_SIGNAL_CODE, (s64)list[i].code);
		krg_capture_put(c, KRG_GHOST_SIGNAL_ERROR, (s64)list[i].error);
		if (!list[i].bare)
			krg_capture_put_bytes(c, KRG_GHOST_SIGNAL_INFO, list[i].info, sizeof(list[i].info));
		krg_capture_put(c, KRG_GHOST_SIGNAL_BARE, list[i].bare);
		krg_capture_end(c);
	}
	kvfree(list);
}
