// SPDX-License-Identifier: GPL-2.0
/*
 * Stops: a process that is stopped where it runs is a stopped one for its parent
 * at home, and a continued one when it goes on. Its shadow does not stop: only
 * what wait(2) looks at says so, and the parent is told as the kernel does it.
 *
 * Where it runs: a tracepoint sees that a signal which stops is about to be taken;
 * a worker looks whether the process did stop (it may be in an orphaned group),
 * and tells the home. That it was continued is seen at home, where SIGCONT comes.
 */
#include <linux/delay.h>
#include <linux/llist.h>
#include <linux/module.h>
#include <linux/sched/cputime.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <linux/workqueue.h>

#include <kerrighed/rpc.h>
#include <kerrighed/symbol.h>

#include "park.h"
#include "shadow_private.h"
#include "stop.h"

#define STOP_TRIES	50	/* 2 ms each, for the process to have stopped */
#define STOP_ASK_MS	5000

/* ---- at home ---- */

/* As the kernel's do_notify_parent_cldstop(). */
static void tell_parent(struct task_struct *task, int code, int status)
{
	struct task_struct *parent;
	struct sighand_struct *sighand;
	kernel_siginfo_t info;
	bool wanted = false;

	rcu_read_lock();
	parent = rcu_dereference(task->real_parent);
	get_task_struct(parent);
	rcu_read_unlock();
	clear_siginfo(&info);
	info.si_signo = SIGCHLD;
	info.si_code = code;
	info.si_status = status;
	info.si_pid = task_tgid_nr(task);
	info.si_uid = from_kuid_munged(&init_user_ns, task_uid(task));
	sighand = krg_sighand_lock(parent);
	if (sighand) {
		wanted = sighand->action[SIGCHLD - 1].sa.sa_handler != SIG_IGN &&
			 !(sighand->action[SIGCHLD - 1].sa.sa_flags & SA_NOCLDSTOP);
		spin_unlock_irq(&sighand->siglock);
	}
	if (wanted)
		krg_group_signal(&info, parent);
	__wake_up_sync_key(&parent->signal->wait_chldexit, TASK_INTERRUPTIBLE, task);
	put_task_struct(parent);
}

/* @signal 0: it goes on. True: that is news. */
static bool mark(struct task_struct *task, int signal)
{
	struct sighand_struct *sighand = krg_sighand_lock(task);
	bool news = false;

	if (!sighand)
		return false;
	if (!(task->signal->flags & SIGNAL_GROUP_EXIT))
		news = !(task->signal->flags & SIGNAL_STOP_STOPPED) == !!signal;
	if (news) {
		signal_set_stop_flags(task->signal, signal ? SIGNAL_STOP_STOPPED : SIGNAL_STOP_CONTINUED);
		task->signal->group_exit_code = signal;
	}
	spin_unlock_irq(&sighand->siglock);
	return news;
}

bool krg_shadow_stopped(pid_t pid, u64 generation, int signal)
{
	struct krg_shadow *shadow;
	struct task_struct *task;
	struct pid *id;
	bool is;

	mutex_lock(&krg_shadows_lock);
	shadow = krg_shadow_find(pid);
	is = shadow && shadow->at.generation <= generation && shadow->coming.state == KRG_AWAY && !shadow->ended;
	mutex_unlock(&krg_shadows_lock);
	if (!is)
		return false;
	id = find_get_pid(pid);
	task = get_pid_task(id, PIDTYPE_TGID);
	put_pid(id);
	if (!task)
		return false;
	if (mark(task, signal))
		tell_parent(task, signal ? CLD_STOPPED : CLD_CONTINUED, signal ?: SIGCONT);
	put_task_struct(task);
	return true;
}

void krg_shadow_continued(void)
{
	struct signal_struct *signal = current->signal;
	bool news;

	spin_lock_irq(&krg_own_sighand()->siglock);
	news = signal->flags & SIGNAL_CLD_MASK;
	signal->flags &= ~SIGNAL_CLD_MASK;
	spin_unlock_irq(&krg_own_sighand()->siglock);
	if (news)
		tell_parent(current, CLD_CONTINUED, SIGCONT);
}

/* ---- where it runs ---- */

struct stop {
	struct llist_node node;
	pid_t pid;
	int signal;
};

static LLIST_HEAD(stops);
static struct tracepoint *stop_point;

static void tell_home(pid_t pid, u16 home, u64 generation, int signal)
{
	struct krg_shadow_msg msg = {
		.what = cpu_to_le32(KRG_SHADOW_STOPPED), .pid = cpu_to_le32(pid),
		.generation = cpu_to_le64(generation), .code = cpu_to_le32(signal),
	};
	struct kvec vec = { .iov_base = &msg, .iov_len = sizeof(msg) };
	int err = krg_rpc_call(home, KRG_MSG_SHADOW, &vec, 1, NULL, 0, STOP_ASK_MS);

	if (err < 0 && err != -ESRCH)
		pr_warn_ratelimited("node %u was not told that its process %d is stopped: error %d\n", home, pid, err);
}

static bool is_stopped(struct task_struct *task)
{
	return READ_ONCE(task->signal->flags) & SIGNAL_STOP_STOPPED;
}

static void stop_tell(const struct stop *stop)
{
	struct pid *id = find_get_pid(stop->pid);
	struct task_struct *task = get_pid_task(id, PIDTYPE_TGID);
	u64 generation;
	int tries;
	u16 home;

	put_pid(id);
	if (!task)
		return;
	for (tries = 0; tries < STOP_TRIES && !is_stopped(task); tries++)
		fsleep(2000);
	home = krg_guest_home(stop->pid, &generation);
	if (home && is_stopped(task)) {
		tell_home(stop->pid, home, generation, stop->signal);
		/* Had it been continued before its home knew, nobody would say so. */
		if (!is_stopped(task))
			tell_home(stop->pid, home, generation, 0);
	}
	put_task_struct(task);
}

static void stop_work_do(struct work_struct *work)
{
	struct llist_node *list = llist_reverse_order(llist_del_all(&stops));
	struct stop *stop, *next;

	llist_for_each_entry_safe(stop, next, list, node) {
		stop_tell(stop);
		kfree(stop);
	}
}

static DECLARE_WORK(stop_work, stop_work_do);

/* tracepoint signal_deliver, in the thread that takes it, under its siglock. */
static void stop_seen(void *data, int signal, struct kernel_siginfo *info, struct k_sigaction *action)
{
	struct stop *stop;

	if (!sig_kernel_stop(signal) || action->sa.sa_handler != SIG_DFL || !krg_guests_any())
		return;
	stop = kmalloc(sizeof(*stop), GFP_ATOMIC | __GFP_NOWARN);
	if (!stop)
		return;
	stop->pid = task_tgid_nr(current);
	stop->signal = signal;
	llist_add(&stop->node, &stops);
	schedule_work(&stop_work);
}

/* ---- life ---- */

static void stop_match(struct tracepoint *point, void *found)
{
	if (!strcmp(point->name, "signal_deliver"))
		*(struct tracepoint **)found = point;
}

int krg_stop_init(void)
{
	for_each_kernel_tracepoint(stop_match, &stop_point);
	if (!stop_point) {
		pr_err("tracepoint signal_deliver is missing in this kernel\n");
		return -ENOENT;
	}
	return tracepoint_probe_register(stop_point, stop_seen, NULL);
}

void krg_stop_exit(void)
{
	tracepoint_probe_unregister(stop_point, stop_seen, NULL);
	tracepoint_synchronize_unregister();
	flush_work(&stop_work);
}
