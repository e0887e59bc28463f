/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Processes that are held at the border to user mode: who is held, what its
 * registers were, and how it goes on. What is then done with it is elsewhere.
 */
#ifndef KRG_PROC_PARK_H
#define KRG_PROC_PARK_H

#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/task_work.h>
#include <linux/user.h>
#include <linux/wait.h>
#include <linux/xarray.h>

struct krg_forwarding;
struct krg_text;

enum krg_thread_state {
	KRG_THREAD_ASKED,	/* the work is under way to it */
	KRG_THREAD_PARKED,	/* it waits in the work, its registers are there */
	KRG_THREAD_GONE,	/* it left: ended, was killed, or was let go */
};

/**
 * struct krg_registers - what the processor has of a thread
 * @general: a system call may have been interrupted
 * @xstate: extended state in the standard format, or NULL
 * @xstate_size: bytes of it
 */
struct krg_registers {
	struct user_regs_struct general;
	void *xstate;
	int xstate_size;
};

/**
 * struct krg_thread - a thread of a frozen process
 * @node: in its process's list
 * @work: how it is reached
 * @set: who asked
 * @task: itself; a reference
 * @state: under the set's lock
 * @error: why its registers could not be read; under the set's lock
 * @was_parked: it was held once; likewise
 * @as_stopped: it is captured as it is stopped, see krg_frozen_settle()
 * @registers: as it came; under the set's lock until it is held
 */
struct krg_thread {
	struct list_head node;
	struct callback_head work;
	struct krg_frozen *set;
	struct task_struct *task;
	enum krg_thread_state state;
	int error;
	bool was_parked;
	bool as_stopped;
	struct krg_registers registers;
};

/**
 * struct krg_process - a process of the set
 * @node: in the set's list, parents before their children
 * @leader: its first thread; a reference
 * @threads: its threads, the leader first
 * @nr_threads: how many
 * @judged: the caller may have it
 * @tty_moves: its controlling terminal is in the image
 * @taken: its pending signals that are in an image: of its leader, of all of it
 */
struct krg_process {
	struct list_head node;
	struct task_struct *leader;
	struct list_head threads;
	unsigned int nr_threads;
	bool judged, tty_moves;
	u16 taken[2][_NSIG];
};

/**
 * struct krg_frozen - processes that are held together
 * @refs: one of whoever made it, one of each work that is under way
 * @node: in the list of the open file that keeps it, under that file's lock
 * @lock: protects @released and what its threads say; innermost, also taken by their works
 * @changed: the one who freezes waits here for threads
 * @release: parked threads wait here
 * @processes: changed by the one who freezes only
 * @pid: as it was asked for
 * @tree: with descendants
 * @survey: nobody is asked to park
 * @captured: an image of it was written
 * @released: nobody parks any more
 * @then: what threads do instead of going on; set before @released
 * @then_put: gives @data back at the end
 * @forward: of a move, the files that stay behind; NULL: none can
 * @called: its processes were called before it, and are when it goes on (self.h)
 * @ignore: files that cannot be carried are left out instead of refused
 * @ignored: those that are, and pipes of which one end is
 */
struct krg_frozen {
	refcount_t refs;
	struct list_head node;
	spinlock_t lock;
	wait_queue_head_t changed, release;
	struct list_head processes;
	pid_t pid;
	bool tree, survey, captured, released;
	void (*then)(struct krg_thread *thread, void *data);
	void (*then_put)(void *data);
	void *data;
	struct krg_forwarding *forward;
	bool called, ignore;
	struct xarray ignored;
};

#define krg_for_each_process(set, process) \
	list_for_each_entry(process, &(set)->processes, node)
#define krg_for_each_thread(process, thread) \
	list_for_each_entry(thread, &(process)->threads, node)

/**
 * krg_freeze() - holds a process, all its threads
 * @pid: its id, in the caller's pid namespace
 * @tree: with all descendants
 * @timeout_ms: how long it may take; 0: the usual time
 * @text: gets the reason of a failure
 *
 * Returns when all threads are held, or nobody is. May sleep; ends early by a signal to the caller. Return: the set, to be
 * given back with krg_unfreeze(), or an error pointer.
 */
struct krg_frozen *krg_freeze(pid_t pid, bool tree, u32 timeout_ms, struct krg_text *text);
/** krg_survey() - the same set, but nobody in it is held or disturbed */
struct krg_frozen *krg_survey(pid_t pid, bool tree, struct krg_text *text);
/**
 * krg_frozen_then() - says what held threads do when they are let go
 * @then: called in each of them, with nothing below it on the stack and no lock, in one that was stopped when it is told to
 *	go on; it has to call krg_frozen_leave() before it uses anything but @data, and need not return
 * @put: called once when nobody uses the set any more
 */
void krg_frozen_then(struct krg_frozen *set, void (*then)(struct krg_thread *thread, void *data), void *data,
		     void (*put)(void *data));
/** krg_frozen_leave() - the caller, a thread that was held, has nothing to do with its set any more */
void krg_frozen_leave(struct krg_thread *thread);
/** krg_unfreeze() - lets all threads of @set go on, and gives the set back */
void krg_unfreeze(struct krg_frozen *set);
/** krg_frozen_settle() - reads the registers of stopped threads, before a capture; 0, or an error with its reason in @text */
int krg_frozen_settle(struct krg_frozen *set, struct krg_text *text);
/**
 * krg_frozen_holds() - whether all threads are held as they were when the set was settled
 *
 * SIGKILL ends that, and SIGCONT where a process was stopped before.
 */
bool krg_frozen_holds(struct krg_frozen *set);
/** krg_frozen_process() - the process of @set that @task is a thread of, or NULL */
struct krg_process *krg_frozen_process(struct krg_frozen *set, const struct task_struct *task);
/** krg_frozen_has() - whether @task is a thread of a process of @set */
bool krg_frozen_has(struct krg_frozen *set, const struct task_struct *task);

/* One's own stays until one is dead. */
static inline struct sighand_struct *krg_own_sighand(void)
{
	return rcu_dereference_protected(current->sighand, true);
}

struct sighand_struct *krg_sighand_take(struct task_struct *task);

/**
 * krg_sighand_lock() - takes the siglock of @task, which may be ending
 * @task: with a reference; also one that is frozen can be killed, and gives its sighand up under this lock
 *
 * Return: what spin_unlock_irq() is to be called on the siglock of, or NULL: the thread has ended.
 */
static inline struct sighand_struct *krg_sighand_lock(struct task_struct *task)
{
	struct sighand_struct *sighand = krg_sighand_take(task);

	(void)__cond_lock(&sighand->siglock, sighand);
	return sighand;
}

/** krg_frozen_judge() - whether the caller may have all processes of @set, which somebody else has frozen; as krg_target_judge() */
int krg_frozen_judge(struct krg_frozen *set, struct krg_text *text);
/** krg_frozen_ignores() - whether @file, or its pipe, is left out */
bool krg_frozen_ignores(struct krg_frozen *set, const struct file *file);
/** krg_target_judge() - whether the caller may have @leader's process; 0, or an error and its reason in @text */
int krg_target_judge(struct task_struct *leader, struct krg_text *text);
/** krg_target_caller_is_plain() - whether the caller sees ids, names and files as the node's init does */
bool krg_target_caller_is_plain(void);
/** krg_target_get() - the leader of process @pid with a reference, or an error pointer; judges the caller's rights */
struct task_struct *krg_target_get(pid_t pid, struct krg_text *text);

#endif
