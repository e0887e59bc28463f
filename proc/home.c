// SPDX-License-Identifier: GPL-2.0
/*
 * Coming home. The image arrives as anywhere else (move_in.c). The helper that
 * makes a process of it is run by the shadow's own task, so that id, parent,
 * group, session and wait go on being the kernel's own; its leader joins the
 * restore session as any other helper's. What a restorer does elsewhere (wait for
 * all, ask the directory, say go) is done by a worker here.
 *
 * From the exec until it goes all signals are blocked in it, SIGKILL too: they
 * wait in its queues, and are seen to when it runs, or is a shadow again. It can
 * become one until the directory says that the process runs here: everybody in
 * it who cannot go on comes to krg_home_back().
 */
#include <linux/cred.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>

#include <kerrighed/membership.h>
#include <kerrighed/symbol.h>

#include "home.h"
#include "move.h"
#include "park.h"
#include "restore.h"
#include "shadow_private.h"

#define HOME_LOOK	(HZ / 50 + 1)	/* for what nobody tells */
#define HOME_ASK	(30 * HZ)	/* for the shadow to run the helper */
#define HOME_BACK	(60 * HZ)	/* for the helper to be a shadow again */
#define HOME_FILES	1048576		/* descriptors, at most, for the helper */
#define HOME_STACK	(8UL << 20)

static void set_state(struct krg_shadow *shadow, enum krg_coming state, int error)
{
	mutex_lock(&krg_shadows_lock);
	shadow->coming.error = error;
	WRITE_ONCE(shadow->coming.state, state);
	mutex_unlock(&krg_shadows_lock);
	wake_up_all(&shadow->wait);
}

/* ---- in the shadow's leader: to the helper, and back ---- */

static void remember(struct krg_home *h)
{
	h->cred = get_current_cred();
	h->exit_signal = current->exit_signal;
	task_lock(current);
	memcpy(h->limits, current->signal->rlim, sizeof(h->limits));
	memcpy(h->comm, current->comm, sizeof(h->comm));
	task_unlock(current);
}

static void restore(struct krg_home *h)
{
	if (!h->cred)
		return;
	commit_creds((struct cred *)h->cred);	/* with our reference */
	h->cred = NULL;
	current->exit_signal = h->exit_signal;
	task_lock(current);
	memcpy(current->signal->rlim, h->limits, sizeof(h->limits));
	memcpy(current->comm, h->comm, sizeof(h->comm));
	task_unlock(current);
}

void krg_home_forget(struct krg_shadow *shadow)
{
	if (shadow->coming.cred)
		put_cred(shadow->coming.cred);
	kfree(shadow->coming.program);
}

/* As a helper that the kernel starts elsewhere; whoever may signal the process may signal it still. */
static int take_rights(void)
{
	struct cred *cred = prepare_kernel_cred(&init_task);

	if (!cred)
		return -ENOMEM;
	/* Not the real id: setresuid(2) counts a process for its user only when that changes. */
	cred->suid = current_uid();
	return commit_creds(cred);
}

/* The image has those of the process. */
static void raise_limits(void)
{
	unsigned int i;

	task_lock(current);
	for (i = 0; i < RLIM_NLIMITS; i++)
		current->signal->rlim[i] = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	current->signal->rlim[RLIMIT_NOFILE] = (struct rlimit){ HOME_FILES, HOME_FILES };
	current->signal->rlim[RLIMIT_STACK].rlim_cur = HOME_STACK;
	current->signal->rlim[RLIMIT_CORE].rlim_cur = 0;
	task_unlock(current);
}

static void block(bool all)
{
	spin_lock_irq(&krg_own_sighand()->siglock);
	current->signal->flags &= ~SIGNAL_STOP_MASK;	/* it stops again, if it is to */
	if (all)
		sigfillset(&current->blocked);
	else
		sigemptyset(&current->blocked);
	recalc_sigpending();
	spin_unlock_irq(&krg_own_sighand()->siglock);
}

static int run_helper(struct krg_home *h)
{
	static const char *const envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", NULL };
	char number[24];
	const char *const argv[] = { h->program, "--home", number, NULL };
	int err;

	snprintf(number, sizeof(number), "%llu", h->token);
	remember(h);
	err = take_rights();
	if (err)
		return err;
	raise_limits();
	clear_thread_flag(TIF_NOTIFY_SIGNAL);
	err = krg_exec(h->program, argv, envp);
	if (err)
		return err;
	/* The call that was interrupted when it left is the image's. */
	task_pt_regs(current)->ax = 0;
	task_pt_regs(current)->orig_ax = -1;
	/* The first one that is made has the first id again. */
	current->signal->next_posix_timer_id = 0;
	return 0;
}

/* An exec that fails late cannot be taken back: the kernel ends the process by SIGSEGV, its action is the default again. */
static bool exec_was_fatal(void)
{
	return krg_own_sighand()->action[SIGSEGV - 1].sa.sa_handler == SIG_DFL;
}

bool krg_home_become(struct krg_shadow *shadow)
{
	bool asked;
	int err;

	mutex_lock(&krg_shadows_lock);
	asked = shadow->coming.state == KRG_COMING_ASKED;
	if (asked)
		shadow->coming.state = KRG_COMING_HELPER;
	mutex_unlock(&krg_shadows_lock);
	if (!asked)
		return false;
	block(true);
	err = run_helper(&shadow->coming);
	wake_up_all(&shadow->wait);
	if (!err || exec_was_fatal())
		return true;
	restore(&shadow->coming);
	block(false);
	set_state(shadow, KRG_AWAY, err);
	return false;
}

static void be_again(struct callback_head *work)
{
	struct krg_shadow *shadow = container_of(work, struct krg_shadow, coming.again);

	while (!thread_group_empty(current) && !fatal_signal_pending(current))
		schedule_timeout_killable(1);
	if (current->flags & PF_EXITING || fatal_signal_pending(current)) {
		krg_shadow_put(shadow);
		module_put(THIS_MODULE);
		return;
	}
	krg_shadow_arm_self(shadow);
	restore(&shadow->coming);
	set_state(shadow, KRG_AWAY, 0);
	krg_shadow_be(shadow);
}

static void end_thread(struct callback_head *work)
{
	bool exiting = current->flags & PF_EXITING;

	kfree(work);
	current->clear_child_tid = NULL;
	current->robust_list = NULL;
	module_put(THIS_MODULE);
	if (!exiting)
		krg_thread_exit();
}

/* As a work: here the caller may hold references, as every system call does on its file. */
void krg_home_back(void)
{
	struct callback_head *work = NULL;
	struct krg_shadow *shadow = NULL;

	__module_get(THIS_MODULE);
	if (!thread_group_leader(current)) {
		work = kmalloc(sizeof(*work), GFP_KERNEL | __GFP_NOFAIL);
		init_task_work(work, end_thread);
		if (!task_work_add(current, work, TWA_RESUME))
			return;
		kfree(work);
		module_put(THIS_MODULE);
		return;
	}
	mutex_lock(&krg_shadows_lock);
	shadow = krg_shadow_find(task_tgid_nr(current));
	if (shadow)
		refcount_inc(&shadow->refs);
	mutex_unlock(&krg_shadows_lock);
	if (!shadow || shadow->coming.state != KRG_COMING_HELPER) {
		WARN_ON_ONCE(1);
		goto put;
	}
	init_task_work(&shadow->coming.again, be_again);
	if (!task_work_add(current, &shadow->coming.again, TWA_RESUME))
		return;
put:
	if (shadow)
		krg_shadow_put(shadow);
	module_put(THIS_MODULE);
}

/* ---- in a worker: the restorer ---- */

bool krg_home_is(pid_t pid)
{
	bool is;

	mutex_lock(&krg_shadows_lock);
	is = krg_shadow_find(pid);
	mutex_unlock(&krg_shadows_lock);
	return is;
}

static struct krg_shadow *ask(pid_t pid, u64 token, const char *program)
{
	char *copy = kstrdup(program, GFP_KERNEL);
	struct krg_shadow *shadow;

	if (!copy)
		return NULL;
	mutex_lock(&krg_shadows_lock);
	shadow = krg_shadow_find(pid);
	if (shadow && !shadow->ended && shadow->coming.state == KRG_AWAY) {
		swap(shadow->coming.program, copy);
		shadow->coming.token = token;
		shadow->coming.error = 0;
		refcount_inc(&shadow->refs);
		WRITE_ONCE(shadow->coming.state, KRG_COMING_ASKED);
		wake_up_all(&shadow->wait);
	} else {
		shadow = NULL;
	}
	mutex_unlock(&krg_shadows_lock);
	kfree(copy);
	return shadow;
}

static bool is_away(struct krg_shadow *shadow)
{
	return READ_ONCE(shadow->coming.state) == KRG_AWAY;
}

static bool has_died(struct task_struct *task)
{
	return READ_ONCE(task->exit_state) || task->flags & PF_EXITING || READ_ONCE(task->signal->flags) & SIGNAL_GROUP_EXIT;
}

/* 0: the helper runs. */
static int wait_helper(struct krg_shadow *shadow)
{
	int err;

	wait_event_timeout(shadow->wait, READ_ONCE(shadow->coming.state) != KRG_COMING_ASKED || READ_ONCE(shadow->ended),
			   HOME_ASK);
	mutex_lock(&krg_shadows_lock);
	err = shadow->coming.error;
	if (shadow->coming.state == KRG_COMING_ASKED) {
		WRITE_ONCE(shadow->coming.state, KRG_AWAY);
		err = shadow->ended ? -ECANCELED : -ETIMEDOUT;
	}
	mutex_unlock(&krg_shadows_lock);
	return err;
}

static bool is_ready(const struct krg_restore *s)
{
	return READ_ONCE(s->ready) == s->nr_threads;
}

static bool is_over(struct krg_move_in *m, struct krg_shadow *shadow, struct task_struct *task)
{
	return krg_move_in_failed(m) || READ_ONCE(shadow->ended) || is_away(shadow) || has_died(task);
}

static struct krg_restore *wait_ready(struct krg_move_in *m, struct krg_shadow *shadow, struct task_struct *task)
{
	struct krg_restore *s;

	while (!is_over(m, shadow, task)) {
		s = krg_move_in_session(m);
		if (!s) {
			wait_event_timeout(shadow->wait, is_over(m, shadow, task), HOME_LOOK / 10 + 1);
			continue;
		}
		wait_event_timeout(s->wait, is_ready(s) || READ_ONCE(s->state) == KRG_RESTORE_FAILED, HOME_LOOK);
		if (READ_ONCE(s->state) == KRG_RESTORE_FAILED) {
			krg_move_in_fail(m, s->error, "home: %.400s", s->reason.at ?: "cannot be built");
			break;
		}
		if (is_ready(s))
			return s;
	}
	return NULL;
}

/* Blocked or not. */
static void kill_helper(struct task_struct *task)
{
	struct sighand_struct *sighand = krg_sighand_lock(task);

	if (sighand) {
		sigdelset(&task->blocked, SIGKILL);
		spin_unlock_irq(&sighand->siglock);
	}
	send_sig(SIGKILL, task, 1);
}

/* It was killed while it was no shadow: so is the process, where it runs. */
static void end_process(struct krg_shadow *shadow)
{
	kernel_siginfo_t info;

	pr_notice("process %d was killed while it came home from node %u: it ends there\n", shadow->pid, shadow->at.runner);
	clear_siginfo(&info);
	info.si_signo = SIGKILL;
	info.si_code = SI_KERNEL;
	krg_shadow_pass_on(shadow, &info);
}

/* Until it is a shadow again, or dead. */
static void bring_back(struct krg_move_in *m, struct krg_shadow *shadow, struct task_struct *task)
{
	unsigned long end = jiffies + HOME_BACK;
	struct krg_restore *s;
	struct krg_view *view;

	while (!is_away(shadow) && !has_died(task)) {
		s = krg_move_in_session(m);
		if (s)
			krg_restore_fail(s, -ECANCELED, "session: the process stays where it is");
		wait_event_timeout(shadow->wait, is_away(shadow) || has_died(task), HOME_LOOK);
		if (time_after(jiffies, end)) {
			pr_warn("the helper of process %d does not end: it is killed\n", shadow->pid);
			kill_helper(task);
			end = jiffies + HOME_BACK;
		}
	}
	if (is_away(shadow)) {
		/* Views that came meanwhile did not look at it. */
		view = krg_view_get();
		krg_shadow_view(view);
		krg_view_put(view);
		return;
	}
	krg_shadow_unlist(shadow);
	end_process(shadow);
}

/* The directory says that it runs here: it goes, or nobody does. */
static void let_go(struct krg_move_in *m, struct krg_shadow *shadow, struct task_struct *task, struct krg_restore *s)
{
	task->exit_signal = shadow->coming.exit_signal;
	krg_shadow_unlist(shadow);
	if (krg_restore_go(s)) {
		pr_notice("process %d was killed when it had come home\n", shadow->pid);
		kill_helper(task);
		krg_guest_forget(shadow->pid);
		krg_move_in_fail(m, -ESRCH, "home: it was killed");
		return;
	}
	krg_move_in_runs(m);
}

static void bring(struct krg_move_in *m, struct krg_shadow *shadow, struct task_struct *task)
{
	struct krg_restore *s;
	int err = wait_helper(shadow);

	if (err) {
		krg_move_in_fail(m, err, "home: the helper %s cannot be run in the shadow: error %d", shadow->coming.program, err);
		return;
	}
	s = wait_ready(m, shadow, task);
	err = s ? krg_move_in_decide(m) : -ECANCELED;
	if (!err) {
		let_go(m, shadow, task, s);
		return;
	}
	krg_move_in_fail(m, err, "home: %s", has_died(task) ? "it was killed" : "it does not run here");
	bring_back(m, shadow, task);
}

void krg_home_bring(struct krg_move_in *m, pid_t pid, u64 token, const char *program)
{
	struct krg_shadow *shadow = ask(pid, token, program);
	struct pid *id = find_get_pid(pid);
	struct task_struct *task = get_pid_task(id, PIDTYPE_TGID);

	put_pid(id);
	if (shadow && task)
		bring(m, shadow, task);
	else
		krg_move_in_fail(m, -ESRCH, "home: its shadow has ended, or is busy");
	if (task)
		put_task_struct(task);
	if (shadow)
		krg_shadow_put(shadow);
}
