// SPDX-License-Identifier: GPL-2.0
/*
 * Holding processes at the border to user mode. A work is queued to every thread;
 * it interrupts sleeping system calls as a signal would, and runs before any
 * signal is taken from the queues. The thread waits in it, and can be killed.
 *
 * A thread that was stopped by a signal is not woken by it. It is held as it is:
 * when it is told to go on, it meets the work before it reaches user mode.
 *
 * Who clones while it is asked parks after its clone is in the list of threads;
 * so the lists are read until nobody new is found.
 */
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/regset.h>
#include <linux/sched/jobctl.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <asm/syscall.h>
#include <asm/unistd.h>
#include <uapi/linux/elf.h>

#include "park.h"
#include "self.h"
#include "text.h"

#define KRG_FREEZE_MS		5000	/* when no time was given */
#define SURVEY_PATIENCE	(HZ / 2)	/* for a child to have memory of its own */
#define KRG_FREEZE_LOOK		(HZ / 100 + 1)	/* how often is looked for threads that do not say so themselves */
#define KRG_XSTATE_MAX		65536	/* bytes */
#define KRG_THREADS_MAX		65536	/* of a set */

/* ---- interrupted system calls ---- */

/* System calls that end with -EINTR whatever woke them, and can be called again without harm. */
static bool park_repeats(long nr)
{
	switch (nr) {
	case __NR_epoll_wait:
	case __NR_epoll_pwait:
	case __NR_epoll_pwait2:
	case __NR_rt_sigtimedwait:
	case __NR_semop:
	case __NR_semtimedop:
	case __NR_io_getevents:
	case __NR_read:
	case __NR_readv:
	case __NR_recvfrom:
	case __NR_recvmsg:
	case __NR_accept:
	case __NR_accept4:
	case __NR_connect:
		return true;
	}
	return false;
}

static bool park_signalled(void)
{
	sigset_t set;

	spin_lock_irq(&krg_own_sighand()->siglock);
	sigorsets(&set, &current->pending.signal, &current->signal->shared_pending.signal);
	sigandnsets(&set, &set, &current->blocked);
	spin_unlock_irq(&krg_own_sighand()->siglock);
	return !sigisemptyset(&set);
}

/* The program must not see the interruption that the work was. */
static void park_hide_interruption(struct pt_regs *regs)
{
	if (syscall_get_nr(current, regs) != -1 && (long)regs->ax == -EINTR &&
	    park_repeats(syscall_get_nr(current, regs)) && !park_signalled())
		regs->ax = -ERESTARTNOHAND;
}

/* ---- registers ---- */

static const struct user_regset *find_regset(struct task_struct *task, unsigned int type)
{
	const struct user_regset_view *view = task_user_regset_view(task);
	unsigned int i;

	for (i = 0; i < view->n; i++)
		if (view->regsets[i].core_note_type == type)
			return &view->regsets[i];
	return NULL;
}

/* Of the caller, or of a task that is off the processor. @to: all zeros before. */
static int registers_read(struct task_struct *task, struct krg_registers *to)
{
	const struct user_regset *general = find_regset(task, NT_PRSTATUS), *extended = find_regset(task, NT_X86_XSTATE);
	int size;

	/* 32-bit code has other sets; it is refused later, by name. */
	if (!general || !extended || !user_64bit_mode(task_pt_regs(task)))
		return 0;
	size = regset_get(task, general, sizeof(to->general), &to->general);
	if (size < 0)
		return size;
	size = regset_get_alloc(task, extended, KRG_XSTATE_MAX, &to->xstate);
	if (size < 0)
		return size;
	to->xstate_size = size;
	return 0;
}

/* ---- in the thread that is asked ---- */

static void frozen_put(struct krg_frozen *set);

/* @registers: taken when it parks; what was there comes back in it. */
static void thread_set_state(struct krg_thread *thread, enum krg_thread_state state, struct krg_registers *registers, int error)
{
	struct krg_frozen *set = thread->set;

	spin_lock(&set->lock);
	thread->state = state;
	if (state == KRG_THREAD_PARKED) {
		thread->was_parked = true;
		thread->error = error;
		swap(thread->registers, *registers);
	}
	spin_unlock(&set->lock);
	wake_up_all(&set->changed);
}

static void park_work(struct callback_head *work)
{
	struct krg_thread *thread = container_of(work, struct krg_thread, work);
	struct krg_frozen *set = thread->set;
	struct krg_registers registers = {};
	int err;

	if (!(current->flags & PF_EXITING) && !READ_ONCE(set->released)) {
		park_hide_interruption(task_pt_regs(current));
		err = registers_read(current, &registers);
		thread_set_state(thread, KRG_THREAD_PARKED, &registers, err);
		kvfree(registers.xstate);
		wait_event_killable(set->release, READ_ONCE(set->released));
	}
	/* Also who was stopped all the time, and comes here when it is told to go on: its process may run elsewhere by now. */
	if (!(current->flags & PF_EXITING) && smp_load_acquire(&set->released) && set->then)
		set->then(thread, set->data);
	else
		krg_frozen_leave(thread);
}

void krg_frozen_leave(struct krg_thread *thread)
{
	struct krg_frozen *set = thread->set;

	thread_set_state(thread, KRG_THREAD_GONE, NULL, 0);
	frozen_put(set);
}

void krg_frozen_then(struct krg_frozen *set, void (*then)(struct krg_thread *thread, void *data), void *data,
		     void (*put)(void *data))
{
	set->then = then;
	set->then_put = put;
	set->data = data;
}

/* ---- sets ---- */

static void process_free(struct krg_process *process)
{
	struct krg_thread *thread, *next;

	list_for_each_entry_safe(thread, next, &process->threads, node) {
		kvfree(thread->registers.xstate);
		put_task_struct(thread->task);
		kfree(thread);
	}
	put_task_struct(process->leader);
	kfree(process);
}

static void frozen_put(struct krg_frozen *set)
{
	struct krg_process *process, *next;

	if (!refcount_dec_and_test(&set->refs))
		return;
	list_for_each_entry_safe(process, next, &set->processes, node)
		process_free(process);
	xa_destroy(&set->ignored);
	if (set->then_put)
		set->then_put(set->data);
	kfree(set);
	module_put(THIS_MODULE);
}

static struct krg_frozen *frozen_new(pid_t pid, bool tree)
{
	struct krg_frozen *set = kzalloc(sizeof(*set), GFP_KERNEL_ACCOUNT);

	if (!set)
		return NULL;
	refcount_set(&set->refs, 1);
	INIT_LIST_HEAD(&set->node);
	spin_lock_init(&set->lock);
	init_waitqueue_head(&set->changed);
	init_waitqueue_head(&set->release);
	xa_init(&set->ignored);
	INIT_LIST_HEAD(&set->processes);
	set->pid = pid;
	set->tree = tree;
	__module_get(THIS_MODULE);
	return set;
}

void krg_unfreeze(struct krg_frozen *set)
{
	if (set->called)
		krg_self_continue(set);
	smp_store_release(&set->released, true);
	wake_up_all(&set->release);
	frozen_put(set);
}

struct krg_process *krg_frozen_process(struct krg_frozen *set, const struct task_struct *task)
{
	struct krg_process *process;

	krg_for_each_process(set, process)
		if (same_thread_group(process->leader, (struct task_struct *)task))
			return process;
	return NULL;
}

bool krg_frozen_has(struct krg_frozen *set, const struct task_struct *task)
{
	return krg_frozen_process(set, task);
}

/* ---- finding threads ---- */

static bool process_has(struct krg_process *process, struct task_struct *task)
{
	struct krg_thread *thread;

	krg_for_each_thread(process, thread)
		if (thread->task == task)
			return true;
	return false;
}

/* Under RCU. */
static int process_add(struct krg_process *process, struct krg_frozen *set, struct task_struct *task)
{
	struct krg_thread *thread;

	if (process->nr_threads >= KRG_THREADS_MAX)
		return -E2BIG;
	thread = kzalloc(sizeof(*thread), GFP_ATOMIC | __GFP_NOWARN);
	if (!thread)
		return -ENOMEM;
	thread->set = set;
	thread->task = get_task_struct(task);
	init_task_work(&thread->work, park_work);
	list_add_tail(&thread->node, &process->threads);
	process->nr_threads++;
	if (set->survey)
		return 0;
	refcount_inc(&set->refs);
	if (task_work_add(task, &thread->work, TWA_SIGNAL)) {
		/* It ends, and takes no work any more. */
		refcount_dec(&set->refs);
		thread->state = KRG_THREAD_GONE;
	}
	return 0;
}

/* Return: how many threads were new, or an error. */
static int process_gather(struct krg_process *process, struct krg_frozen *set)
{
	struct task_struct *task;
	int added = 0, err = 0;

	rcu_read_lock();
	for_each_thread(process->leader, task) {
		if ((task->flags & PF_EXITING) || process_has(process, task))
			continue;
		err = process_add(process, set, task);
		if (err)
			break;
		added++;
	}
	rcu_read_unlock();
	return err ?: added;
}

/* Takes over the reference on @leader. */
static int frozen_add(struct krg_frozen *set, struct task_struct *leader)
{
	struct krg_process *process = kzalloc(sizeof(*process), GFP_ATOMIC | __GFP_NOWARN);

	if (!process) {
		put_task_struct(leader);
		return -ENOMEM;
	}
	process->leader = leader;
	INIT_LIST_HEAD(&process->threads);
	list_add_tail(&process->node, &set->processes);
	return 0;
}

/* Children of the set that live and are not in it yet. Return: how many, or an error. */
static int frozen_add_children(struct krg_frozen *set)
{
	struct task_struct *task;
	int added = 0, err = 0;

	rcu_read_lock();
	for_each_process(task) {
		if (task->exit_state || !krg_frozen_process(set, rcu_dereference(task->real_parent)) || krg_frozen_process(set, task))
			continue;
		err = frozen_add(set, get_task_struct(task));
		if (err)
			break;
		added++;
	}
	rcu_read_unlock();
	return err ?: added;
}

/*
 * Its parent waits in vfork(2) until it has memory of its own, and cannot be held before: nor is it, until then. That is
 * soon; of one that makes a habit of it the time runs out.
 */
static bool process_borrows(struct krg_frozen *set, struct krg_process *process)
{
	bool borrows;

	rcu_read_lock();
	borrows = READ_ONCE(process->leader->vfork_done) &&
		  krg_frozen_process(set, rcu_dereference(process->leader->real_parent));
	rcu_read_unlock();
	return borrows;
}

static bool frozen_borrows(struct krg_frozen *set)
{
	struct krg_process *process;

	krg_for_each_process(set, process)
		if (process_borrows(set, process))
			return true;
	return false;
}

/* Nobody is asked whom the caller may not have. */
static int frozen_gather(struct krg_frozen *set, struct krg_text *text)
{
	struct krg_process *process;
	int added = 0, n;

	krg_for_each_process(set, process) {
		n = process->judged ? 0 : krg_target_judge(process->leader, text);
		if (n)
			return n;
		process->judged = true;
		n = process_borrows(set, process) ? 0 : process_gather(process, set);
		if (n < 0)
			return n;
		added += n;
	}
	if (!set->tree)
		return added;
	n = frozen_add_children(set);
	return n < 0 ? n : added + n;
}

int krg_frozen_judge(struct krg_frozen *set, struct krg_text *text)
{
	struct krg_process *process;
	int err;

	krg_for_each_process(set, process) {
		err = krg_target_judge(process->leader, text);
		if (err)
			return err;
	}
	return 0;
}

/* ---- waiting for them ---- */

/* Stopped, and off the processor: it stays there until somebody wakes it, and then meets the work. */
static bool thread_is_stopped(struct krg_thread *thread)
{
	return task_is_stopped(thread->task) && !READ_ONCE(thread->task->on_cpu);
}

static bool thread_is_held(struct krg_thread *thread)
{
	return thread->state == KRG_THREAD_PARKED || (thread->state == KRG_THREAD_ASKED && thread_is_stopped(thread));
}

/* It ended by itself before it could be held: no thread of the process any more. */
static bool thread_has_ended(struct krg_thread *thread)
{
	return thread->state == KRG_THREAD_GONE && !thread->was_parked;
}

static struct krg_thread *frozen_missing(struct krg_frozen *set)
{
	struct krg_process *process;
	struct krg_thread *thread, *missing = NULL;

	spin_lock(&set->lock);
	krg_for_each_process(set, process)
		krg_for_each_thread(process, thread)
			if (!thread_is_held(thread) && !thread_has_ended(thread))
				missing = missing ?: thread;
	spin_unlock(&set->lock);
	return missing;
}

bool krg_frozen_holds(struct krg_frozen *set)
{
	struct krg_process *process;
	struct krg_thread *thread;
	bool holds = !frozen_missing(set);

	spin_lock(&set->lock);
	krg_for_each_process(set, process)
		krg_for_each_thread(process, thread)
			if (thread->as_stopped && thread->state != KRG_THREAD_ASKED)
				holds = false;
	spin_unlock(&set->lock);
	return holds;
}

static void frozen_explain(struct krg_thread *thread, struct krg_text *text)
{
	struct task_struct *task = thread->task;
	unsigned int state = READ_ONCE(task->__state);

	if (state & TASK_UNINTERRUPTIBLE)
		krg_text_add(text, "timeout: thread %d waits where it cannot be interrupted (state %s)", task_pid_vnr(task),
			     state & TASK_WAKEKILL ? "D, killable: a parent after vfork, or one that is frozen already" : "D");
	else
		krg_text_add(text, "timeout: thread %d did not reach the border to user mode", task_pid_vnr(task));
}

static int frozen_wait(struct krg_frozen *set, unsigned long deadline, struct krg_text *text)
{
	struct krg_thread *missing;

	while ((missing = frozen_missing(set))) {
		if (missing->was_parked) {
			krg_text_add(text, "process: %d was killed", task_tgid_vnr(missing->task));
			return -ESRCH;
		}
		if (signal_pending(current))
			return -EINTR;
		if (time_after(jiffies, deadline)) {
			frozen_explain(missing, text);
			return -ETIMEDOUT;
		}
		wait_event_interruptible_timeout(set->changed, !frozen_missing(set), KRG_FREEZE_LOOK);
	}
	return 0;
}

static void process_forget_ended(struct krg_process *process)
{
	struct krg_thread *thread, *next;

	list_for_each_entry_safe(thread, next, &process->threads, node) {
		if (!thread_has_ended(thread))
			continue;
		list_del(&thread->node);
		process->nr_threads--;
		put_task_struct(thread->task);
		kvfree(thread->registers.xstate);
		kfree(thread);
	}
}

/*
 * Threads that ended in the meantime leave the lists, and so do children: they are
 * zombies then. Return: whether one is still on its way to be one.
 */
static bool frozen_forget_ended(struct krg_frozen *set)
{
	struct krg_process *process, *next;
	bool ending = false;

	list_for_each_entry_safe(process, next, &set->processes, node) {
		process_forget_ended(process);
		if (process->nr_threads || list_is_first(&process->node, &set->processes))
			continue;
		if (!READ_ONCE(process->leader->exit_state)) {
			ending = true;
			continue;
		}
		list_del(&process->node);
		process_free(process);
	}
	return ending;
}

/* Its own work does it for everybody else. Return: 0 too when it has just been told to go on: then it parks. */
static int thread_read_stopped(struct krg_thread *thread)
{
	struct krg_registers registers = {};
	int err;

	if (!thread_is_stopped(thread))
		return 0;
	err = registers_read(thread->task, &registers);
	spin_lock(&thread->set->lock);
	if (!err && thread->state == KRG_THREAD_ASKED && thread_is_stopped(thread))
		swap(thread->registers, registers);
	spin_unlock(&thread->set->lock);
	kvfree(registers.xstate);
	return err;
}

int krg_frozen_settle(struct krg_frozen *set, struct krg_text *text)
{
	struct krg_process *process;
	struct krg_thread *thread;
	int err;

	krg_for_each_process(set, process) {
		krg_for_each_thread(process, thread) {
			thread->as_stopped = READ_ONCE(thread->state) == KRG_THREAD_ASKED;
			err = thread->as_stopped ? thread_read_stopped(thread) : 0;
			if (!err)
				continue;
			krg_text_add(text, "registers: those of thread %d cannot be read (%d)", task_pid_vnr(thread->task), err);
			return err;
		}
	}
	return 0;
}

static int frozen_judge(struct krg_frozen *set, struct krg_text *text)
{
	struct krg_process *process;
	struct krg_thread *thread;

	krg_for_each_process(set, process) {
		pid_t pid = task_pid_vnr(process->leader);

		if (!process->nr_threads && process_borrows(set, process)) {
			krg_text_add(text, "vfork: the parent of process %d waits for it", pid);
			return -ETIMEDOUT;
		}
		if (!process->nr_threads) {
			krg_text_add(text, "process: %d has ended", pid);
			return -ESRCH;
		}
		krg_for_each_thread(process, thread) {
			if (!thread->error)
				continue;
			krg_text_add(text, "registers: those of thread %d cannot be read (%d)",
				     task_pid_vnr(thread->task), thread->error);
			return thread->error;
		}
	}
	return 0;
}

static int frozen_converge(struct krg_frozen *set, unsigned long deadline, struct krg_text *text)
{
	bool ending;
	int added, err;

	do {
		added = frozen_gather(set, text);
		if (added < 0)
			return added;
		err = frozen_wait(set, deadline, text);
		if (err)
			return err;
		ending = frozen_forget_ended(set);
		if (ending && schedule_timeout_interruptible(1))
			return -EINTR;
	} while (added || (ending && time_before(jiffies, deadline)));
	return frozen_judge(set, text);
}

static int frozen_survey(struct krg_frozen *set, struct krg_text *text)
{
	unsigned long deadline = jiffies + SURVEY_PATIENCE;
	bool borrows;
	int added;

	do {
		added = frozen_gather(set, text);
		borrows = added >= 0 && frozen_borrows(set) && time_before(jiffies, deadline);
		if (borrows)
			schedule_timeout_interruptible(1);
	} while ((added > 0 || borrows) && !signal_pending(current));
	return added < 0 ? added : added || borrows ? -EINTR : 0;
}

static struct krg_frozen *frozen_make(pid_t pid, bool tree, bool survey, u32 timeout_ms, struct krg_text *text)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(timeout_ms ?: KRG_FREEZE_MS);
	struct task_struct *leader = krg_target_get(pid, text);
	struct krg_frozen *set;
	int err;

	if (IS_ERR(leader))
		return ERR_CAST(leader);
	set = frozen_new(pid, tree);
	if (!set) {
		put_task_struct(leader);
		return ERR_PTR(-ENOMEM);
	}
	set->survey = survey;
	err = frozen_add(set, leader);
	if (!err)
		err = survey ? frozen_survey(set, text) : frozen_converge(set, deadline, text);
	if (!err)
		return set;
	krg_unfreeze(set);
	return ERR_PTR(err);
}

struct krg_frozen *krg_freeze(pid_t pid, bool tree, u32 timeout_ms, struct krg_text *text)
{
	return frozen_make(pid, tree, false, timeout_ms, text);
}

struct krg_frozen *krg_survey(pid_t pid, bool tree, struct krg_text *text)
{
	return frozen_make(pid, tree, true, 0, text);
}
