// SPDX-License-Identifier: GPL-2.0
/*
 * How the threads of an image come together: each joins from a helper's thread
 * that has its id, all wait for all, address spaces are rebuilt, registers are set
 * while their thread sleeps at the border to user mode, and all go at once.
 *
 * Every wait here ends: when the session fails (the restorer gave up, or died, or
 * anybody who joined did), or with the waiter's own SIGKILL. The one exception is
 * the moment in which a worker sets a thread's registers; the worker gives up by itself.
 */
#include <linux/delay.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/jobctl.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include <kerrighed/compat.h>

#include "proc/core/ghost.h"
#include "home.h"
#include "restore.h"

#define SET_TRIES	5000	/* times 1 ms, for a thread to fall asleep */

/* ---- registers, by a worker ---- */

/* Asleep, switched out, and only our completion wakes it. */
static bool is_parked(struct task_struct *task)
{
	return READ_ONCE(task->__state) == TASK_UNINTERRUPTIBLE && krg_task_off_queue(task) &&
	       !smp_load_acquire(&task->on_cpu);
}

static unsigned long switches(const struct task_struct *task)
{
	return READ_ONCE(task->nvcsw) + READ_ONCE(task->nivcsw);
}

/*
 * The same situation as in ptrace(PTRACE_SETREGSET). Somebody may still wake it for a moment (a late futex wake-up): it
 * stays in the kernel then and goes back to sleep, but what its switch saved may be older than what was set. So once more.
 */
static void set_work(struct work_struct *work)
{
	struct krg_r_thread *t = container_of(work, struct krg_r_thread, work);
	int tries;

	t->error = -ETIMEDOUT;
	for (tries = 0; tries < SET_TRIES; tries++) {
		unsigned long before = switches(t->task);

		if (is_parked(t->task)) {
			t->error = krg_rebuild_registers(t);
			if (t->error || (is_parked(t->task) && switches(t->task) == before))
				break;
			t->error = -ETIMEDOUT;
		}
		if (tries < 100)
			cond_resched();
		else
			usleep_range(500, 1000);
	}
	complete(&t->set);
}

/* ---- at the border to user mode ---- */

static int wait_to_go(struct krg_r_thread *t)
{
	struct krg_restore *s = t->session;
	int err;

	INIT_WORK(&t->work, set_work);
	queue_work(system_unbound_wq, &t->work);
	wait_for_completion(&t->set);
	flush_work(&t->work);
	if (t->error) {
		krg_restore_fail(s, t->error, "thread %u: its registers cannot be set: error %d", t->tid, t->error);
		return t->error;
	}
	mutex_lock(&s->lock);
	WRITE_ONCE(s->ready, s->ready + 1);
	wake_up_all(&s->wait);
	mutex_unlock(&s->lock);
	err = krg_restore_wait(s, READ_ONCE(s->state) == KRG_RESTORE_GONE);
	if (err == -EINTR)
		krg_restore_fail(s, err, "thread %u: was killed", t->tid);
	return err;
}

/*
 * Runs when the thread is about to leave JOIN for user mode, with nothing of the kernel's below it on the stack; or when it
 * dies before.
 */
static void park(struct callback_head *work)
{
	struct krg_r_thread *t = container_of(work, struct krg_r_thread, park);
	struct krg_restore *s = t->session;

	if (current->flags & PF_EXITING || fatal_signal_pending(current))
		krg_restore_fail(s, -EINTR, "thread %u: was killed", t->tid);
	else if (!wait_to_go(t))
		krg_rebuild_last(t);
	else if (s->home)
		krg_home_back();	/* nobody else is: they have been killed */
	krg_restore_put(s);
	/* The last thing: who unloads the module waits until no task can be inside of it (main.c). */
	module_put(THIS_MODULE);
}

static int park_soon(struct krg_r_thread *t)
{
	int err;

	krg_restore_get(t->session);
	__module_get(THIS_MODULE);
	init_task_work(&t->park, park);
	err = task_work_add(current, &t->park, TWA_RESUME);
	if (err) {
		module_put(THIS_MODULE);
		krg_restore_put(t->session);
	}
	return err;
}

/* ---- joining ---- */

static bool is_leader(const struct krg_r_thread *t)
{
	return t == list_first_entry(&t->of->threads, struct krg_r_thread, link);
}

/* Threads of one address space must come from one, and only they. */
static bool right_memory(struct krg_restore *s, struct krg_r_mm *m)
{
	struct krg_r_mm *other;

	if (!current->mm || (m->mm && m->mm != current->mm))
		return false;
	list_for_each_entry(other, &s->mms, link)
		if (other != m && other->mm == current->mm)
			return false;
	return true;
}

static int admit(struct krg_restore *s, struct krg_r_thread *t)
{
	lockdep_assert_held(&s->lock);
	if (s->state != KRG_RESTORE_OPEN)
		return -ECANCELED;
	if (t->task)
		return -EBUSY;
	if (task_pid_vnr(current) != t->tid || task_tgid_vnr(current) != t->of->pid)
		return -ESRCH;
	if (is_leader(t) != thread_group_leader(current) || !right_memory(s, t->of->mm))
		return -EINVAL;
	t->of->mm->mm = current->mm;
	t->task = get_task_struct(current);
	WRITE_ONCE(s->joined, s->joined + 1);
	wake_up_all(&s->wait);
	return 0;
}

static int build(struct krg_restore *s, struct krg_r_thread *t)
{
	struct krg_r_mm *m = t->of->mm;
	int err = 0;

	if (is_leader(t) && m->builder == t->of) {
		err = krg_rebuild_mm(s, m);
		if (!err)
			err = krg_rebuild_common_filters(s, t->of);
		if (err)
			return err;
		mutex_lock(&s->lock);
		WRITE_ONCE(m->built, true);
		WRITE_ONCE(s->built, s->built + 1);
		wake_up_all(&s->wait);
		mutex_unlock(&s->lock);
	}
	return krg_restore_wait(s, READ_ONCE(s->built) == s->nr_mms);
}

/* Threads share descriptors: whoever is first closes it, and it is ours only if it leads to this session. */
static void close_device(const struct krg_proc_file *file, int fd)
{
	struct file *there = fd >= 0 ? fget(fd) : NULL;
	bool ours = there && there->private_data == file;

	if (there)
		fput(there);
	if (ours)
		close_fd(fd);
}

static int become(struct krg_restore *s, struct krg_proc_file *file, struct krg_r_thread *t, int fd)
{
	int err = krg_restore_wait(s, READ_ONCE(s->joined) == s->nr_threads);

	if (!err)
		err = build(s, t);
	if (err)
		return err;
	if (is_leader(t))
		krg_rebuild_sighand(t->of->sighand);
	err = krg_rebuild_thread(t);
	if (!err)
		err = krg_rebuild_filters(t);
	if (err)
		return err;
	close_device(file, fd);
	return park_soon(t);
}

int krg_restore_join(struct krg_restore *s, struct krg_proc_file *file, const struct krg_proc_restore_join *arg)
{
	struct krg_r_thread *t = krg_restore_find(s, arg->thread, KRG_GHOST_THREAD);
	int err;

	if (!t)
		return -ENOENT;
	mutex_lock(&s->lock);
	err = admit(s, t);
	mutex_unlock(&s->lock);
	if (err == -ECANCELED)
		return err;
	if (!err) {
		err = become(s, file, t, arg->fd);
		if (err == -EINTR)
			krg_restore_fail(s, err, "thread %u: was killed", t->tid);
	}
	/* Who cannot join makes the others wait for nothing. */
	if (err)
		krg_restore_fail(s, err, "thread %u: process %d with thread %d could not become it: error %d", t->tid,
				 task_tgid_vnr(current), task_pid_vnr(current), err);
	return err;
}

/* ---- stopped processes ---- */

/*
 * Puts every thread of @task into the stop that SIGSTOP would bring about, before any other signal is looked at: a stopped
 * process takes no pending ones. All its threads are parked, and none can die: that would need the session's lock first.
 */
static void stop_task(struct krg_r_task *task)
{
	struct krg_r_thread *t = list_first_entry(&task->threads, struct krg_r_thread, link);
	struct signal_struct *signal = t->task->signal;
	struct sighand_struct *sighand = rcu_dereference_protected(t->task->sighand, lockdep_is_held(&t->session->lock));

	spin_lock_irq(&sighand->siglock);
	if (!(signal->flags & SIGNAL_GROUP_EXIT)) {
		signal->group_stop_count = 0;
		list_for_each_entry(t, &task->threads, link) {
			t->task->jobctl &= ~JOBCTL_STOP_SIGMASK;
			t->task->jobctl |= task->stopped | JOBCTL_STOP_PENDING | JOBCTL_STOP_CONSUME;
			signal->group_stop_count++;
			set_tsk_thread_flag(t->task, TIF_SIGPENDING);
		}
		signal->group_exit_code = task->stopped;
	}
	spin_unlock_irq(&sighand->siglock);
}

/* Called right before all are let go. */
void krg_restore_stop_all(struct krg_restore *s)
{
	struct krg_r_task *task;

	lockdep_assert_held(&s->lock);
	list_for_each_entry(task, &s->tasks, link)
		if (task->stopped)
			stop_task(task);
}
