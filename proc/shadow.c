// SPDX-License-Identifier: GPL-2.0
/*
 * Shadows. When a process moves away from the node where it was born, the task
 * itself stays there, parked on its way to user mode, without memory and files:
 * parents, groups, sessions, wait and kill go on finding it, by the kernel's own
 * code. It passes on every signal to where the process runs, and ends as the
 * process does. On any other node the old threads simply end.
 *
 * Every action is set to a handler that is never called, also that of SIGKILL: so
 * the kernel ends, stops and ignores nothing by itself, and all signals are queued.
 */
#include <linux/delay.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include <kerrighed/compat.h>
#include <kerrighed/membership.h>
#include <kerrighed/pid.h>
#include <kerrighed/rpc.h>
#include <kerrighed/symbol.h>

#include "directory.h"
#include "follow.h"
#include "member.h"
#include "park.h"
#include "shadow_private.h"
#include "stop.h"

#define SHADOW_ASK_MS	5000
#define SHADOW_TRIES	100
#define SHADOW_AGAIN_MS	50
#define SHADOW_LOOK_MS	100	/* between two looks into a directory that cannot be read */
#define SHADOW_HANDLER	((__sighandler_t)0x1000UL)	/* anything but default and ignore */

/* Of a whole set, in its order. */
struct krg_shadows {
	unsigned int count;
	struct krg_shadow *at[];
};

DEFINE_MUTEX(krg_shadows_lock);
static LIST_HEAD(shadows_list);
static unsigned int shadows_count;

void krg_shadow_put(struct krg_shadow *shadow)
{
	if (!refcount_dec_and_test(&shadow->refs))
		return;
	krg_home_forget(shadow);
	kfree(shadow);
}

struct krg_shadow *krg_shadow_find(pid_t pid)
{
	struct krg_shadow *shadow;

	lockdep_assert_held(&krg_shadows_lock);
	list_for_each_entry(shadow, &shadows_list, node)
		if (shadow->pid == pid)
			return shadow;
	return NULL;
}

/* ---- in its leader ---- */

static void drop_descriptors(void)
{
	unsigned int fd, count;

	rcu_read_lock();
	count = files_fdtable(current->files)->max_fds;
	rcu_read_unlock();
	for (fd = 0; fd < count; fd++)
		close_fd(fd);
}

/* Nothing of the thread is to happen in memory that is no longer its own. */
static void forget_user_memory(void)
{
	current->clear_child_tid = NULL;
	current->robust_list = NULL;
	current->rseq = NULL;
}

/*
 * Whose parent moved, too, is waited for where both are. Here it must go without a word: the shadow of its parent passes on
 * what comes from elsewhere, not what its own shadow children make (take_actions(), take_signal()).
 */
static void forget_parent(void)
{
	current->exit_signal = SIGCHLD;
	current->pdeath_signal = 0;
}

/* They moved with their parent, and are waited for there. */
static void forget_zombies(void)
{
	while (krg_reap_child() > 0)
		;
}

static bool is_member(u16 node)
{
	struct krg_view *view = krg_view_get();
	bool member = view && krg_view_find(view, node);

	krg_view_put(view);
	return member;
}

static void shadow_step(struct krg_shadow *shadow, enum krg_away_event event, u64 generation, u16 runner, u32 code, int error);

/* A node was lost: who runs the process now? */
static void look(struct krg_shadow *shadow)
{
	struct krg_record record;
	int err = krg_directory_where(shadow->pid, &record);
	u32 code;

	if (err) {
		code = is_member(READ_ONCE(shadow->at.runner));
		if (err != -EIO && err != -ENOTCONN)
			schedule_timeout_interruptible(msecs_to_jiffies(SHADOW_LOOK_MS));
	} else {
		code = record.runner ? is_member(record.runner) : (u32)record.decision;
	}
	mutex_lock(&krg_shadows_lock);
	shadow_step(shadow, KRG_AWAY_READ, err ? 0 : record.generation, err ? 0 : record.runner, code, err);
	mutex_unlock(&krg_shadows_lock);
}

void krg_shadow_pass_on(struct krg_shadow *shadow, const kernel_siginfo_t *info)
{
	struct krg_shadow_msg msg = { .what = cpu_to_le32(KRG_SHADOW_SIGNAL), .pid = cpu_to_le32(shadow->pid) };
	struct kvec vec = { .iov_base = &msg, .iov_len = sizeof(msg) };
	int err = -ESRCH, tries;
	u16 runner = 0;

	BUILD_BUG_ON(sizeof(*info) > sizeof(msg.info));
	memcpy(msg.info, info, sizeof(*info));
	/* It may be on its way from one node to the next, or have ended: one of both is heard of soon. */
	for (tries = 0; tries < SHADOW_TRIES && err < 0 && !READ_ONCE(shadow->ended); tries++) {
		if (tries)
			msleep(SHADOW_AGAIN_MS);
		if (READ_ONCE(shadow->look))
			look(shadow);
		mutex_lock(&krg_shadows_lock);
		runner = shadow->at.runner;
		msg.generation = cpu_to_le64(shadow->at.generation);
		mutex_unlock(&krg_shadows_lock);
		err = krg_rpc_call(runner, KRG_MSG_SHADOW, &vec, 1, NULL, 0, SHADOW_ASK_MS);
	}
	if (err < 0 && !READ_ONCE(shadow->ended))
		pr_warn_ratelimited("signal %d for process %d on node %u is lost: error %d\n", info->si_signo,
				    shadow->pid, runner, err);
}

/* Its timers have travelled, with the time that was left: what they do here is done there too. */
static bool of_timer(const kernel_siginfo_t *info)
{
	int signal = info->si_signo;

	return info->si_code == SI_TIMER ||
	       (info->si_code == SI_KERNEL && (signal == SIGALRM || signal == SIGVTALRM || signal == SIGPROF));
}

static void forget_timers(void)
{
	struct signal_struct *signal = current->signal;

	krg_timers_exit();
	hrtimer_cancel(&signal->real_timer);
	spin_lock_irq(&krg_own_sighand()->siglock);
	signal->it_real_incr = 0;
	memset(signal->it, 0, sizeof(signal->it));
	spin_unlock_irq(&krg_own_sighand()->siglock);
}

/* All children here are shadows, or were dead before: their parent hears of them where it is. */
static bool of_child(const kernel_siginfo_t *info)
{
	return info->si_signo == SIGCHLD && info->si_code > 0 && info->si_code <= NSIGCHLD;
}

/* The next one that did not travel with the process. */
static bool take_signal(struct krg_shadow *shadow, kernel_siginfo_t *info)
{
	sigset_t none = {};
	enum pid_type type;
	u16 *taken;
	int signal;

	do {
		spin_lock_irq(&krg_own_sighand()->siglock);
		signal = krg_dequeue_signal(&none, info, &type);
		spin_unlock_irq(&krg_own_sighand()->siglock);
		taken = signal ? &shadow->taken[type != PIDTYPE_PID][signal - 1] : NULL;
	} while (signal && ((*taken && (*taken)--) || of_timer(info) || of_child(info)));
	return signal;
}

static bool is_asked(struct krg_shadow *shadow)
{
	return READ_ONCE(shadow->coming.state) == KRG_COMING_ASKED;
}

/* Those that are left when it is asked home wait for the process there. */
static void pass_on_all(struct krg_shadow *shadow)
{
	kernel_siginfo_t info;

	while (!READ_ONCE(shadow->ended) && !is_asked(shadow) && take_signal(shadow, &info))
		krg_shadow_pass_on(shadow, &info);
}

/* Until the process has ended. True: it comes home instead. */
static bool be_shadow(struct krg_shadow *shadow)
{
	while (!READ_ONCE(shadow->ended)) {
		wait_event_interruptible(shadow->wait, READ_ONCE(shadow->ended) || READ_ONCE(shadow->look) || is_asked(shadow));
		if (is_asked(shadow) && krg_home_become(shadow))
			return true;
		krg_shadow_continued();
		pass_on_all(shadow);
		if (READ_ONCE(shadow->look))
			look(shadow);
		/* What woke it may have been something else that counts as a signal. */
		clear_thread_flag(TIF_NOTIFY_SIGNAL);
	}
	return false;
}

/* What the process had blocked wakes its shadow too: whether it is delivered is decided where it runs. */
static void hear_all(void)
{
	spin_lock_irq(&krg_own_sighand()->siglock);
	sigemptyset(&current->blocked);
	recalc_sigpending();
	spin_unlock_irq(&krg_own_sighand()->siglock);
}

void krg_shadow_unlist(struct krg_shadow *shadow)
{
	mutex_lock(&krg_shadows_lock);
	if (!list_empty(&shadow->node)) {
		list_del_init(&shadow->node);
		shadows_count--;
	}
	mutex_unlock(&krg_shadows_lock);
	krg_member_changed();
}

void krg_shadow_be(struct krg_shadow *shadow)
{
	bool comes;
	int code;

	if (shadow->inner)
		forget_parent();
	hear_all();
	/* What follows from here is unmapped when it has been fetched. */
	if (!krg_follow_out_keeps(current->mm))
		vm_munmap(0, TASK_SIZE_MAX);
	drop_descriptors();
	forget_user_memory();
	forget_timers();
	if (shadow->home)
		forget_zombies();
	pass_on_all(shadow);	/* what came while it was none */
	comes = shadow->home && be_shadow(shadow);
	if (!comes)
		krg_shadow_unlist(shadow);
	code = shadow->home ? shadow->at.code : 0;
	krg_shadow_put(shadow);
	module_put(THIS_MODULE);
	if (!comes)
		krg_group_exit(code);
}

static struct krg_shadow *shadow_of(struct krg_shadows *shadows, pid_t pid)
{
	unsigned int i;

	for (i = 0; i < shadows->count; i++)
		if (shadows->at[i]->pid == pid)
			return shadows->at[i];
	return NULL;
}

/* Runs in every thread when it is let go; what it was has been moved. */
static void shadow_thread(struct krg_thread *thread, void *data)
{
	struct krg_shadow *shadow = shadow_of(data, current->tgid);

	refcount_inc(&shadow->refs);
	__module_get(THIS_MODULE);
	krg_frozen_leave(thread);
	if (thread_group_leader(current)) {
		krg_shadow_be(shadow);
		return;
	}
	forget_user_memory();
	krg_shadow_put(shadow);
	module_put(THIS_MODULE);
	/* Not as a group: the leader would take its SIGKILL for one to be passed on. */
	krg_thread_exit();
}

/* ---- signals ---- */

static void put_actions(struct krg_shadow *shadow, struct sighand_struct *sighand)
{
	lockdep_assert_held(&sighand->siglock);
	memcpy(sighand->action, shadow->action, sizeof(shadow->action));
	shadow->armed = false;
}

static void take_actions(struct krg_shadow *shadow, struct sighand_struct *sighand)
{
	unsigned int i;

	lockdep_assert_held(&sighand->siglock);
	memcpy(shadow->action, sighand->action, sizeof(shadow->action));
	memset(sighand->action, 0, sizeof(sighand->action));
	for (i = 0; i < _NSIG; i++)
		sighand->action[i].sa.sa_handler = SHADOW_HANDLER;
	/* Shadow children leave no zombies. */
	sighand->action[SIGCHLD - 1].sa.sa_flags = SA_NOCLDWAIT | SA_NOCLDSTOP;
	shadow->armed = true;
}

void krg_shadow_arm_self(struct krg_shadow *shadow)
{
	struct sighand_struct *sighand = krg_own_sighand();

	spin_lock_irq(&sighand->siglock);
	take_actions(shadow, sighand);
	spin_unlock_irq(&sighand->siglock);
}

static int shadow_arm(struct krg_shadow *shadow, struct task_struct *leader)
{
	struct sighand_struct *sighand = krg_sighand_lock(leader);	/* held threads can still be killed */
	int err = -ESRCH;

	if (!sighand)
		return -ESRCH;
	if (!(leader->signal->flags & SIGNAL_GROUP_EXIT) && !fatal_signal_pending(leader)) {
		take_actions(shadow, sighand);
		err = 0;
	}
	spin_unlock_irq(&sighand->siglock);
	/* Before the directory says anything: the process may have run and ended before its threads here are let go. */
	if (!err && shadow->home) {
		mutex_lock(&krg_shadows_lock);
		list_add_tail(&shadow->node, &shadows_list);
		shadows_count++;
		mutex_unlock(&krg_shadows_lock);
	}
	return err;
}

int krg_shadows_arm(struct krg_shadows *shadows, struct krg_frozen *set)
{
	struct krg_process *process;
	unsigned int i = 0;
	int err = 0;

	krg_for_each_process(set, process)
		err = err ?: shadow_arm(shadows->at[i++], process->leader);
	return err;
}

/* ---- life ---- */

static struct krg_shadow *shadow_new(const struct krg_directory_entry *entry, u16 self)
{
	struct krg_shadow *shadow = kzalloc(sizeof(*shadow), GFP_KERNEL_ACCOUNT);

	if (!shadow)
		return NULL;
	INIT_LIST_HEAD(&shadow->node);
	refcount_set(&shadow->refs, 1);
	shadow->pid = entry->pid;
	shadow->home = krg_pid_node(entry->pid) == self;
	shadow->inner = entry->record.root;
	krg_away_init(&shadow->at, entry->record.generation, entry->record.runner);
	init_waitqueue_head(&shadow->wait);
	return shadow;
}

static void shadows_release(void *data)
{
	struct krg_shadows *shadows = data;
	unsigned int i;

	for (i = 0; i < shadows->count; i++)
		krg_shadow_put(shadows->at[i]);
	kvfree(shadows);
}

struct krg_shadows *krg_shadows_new(struct krg_frozen *set, const struct krg_directory_entry *entry)
{
	struct krg_view *view = krg_view_get();
	u16 self = view ? view->self : 0;
	struct krg_process *process;
	struct krg_shadows *shadows;
	unsigned int n = 0;

	krg_view_put(view);
	krg_for_each_process(set, process)
		n++;
	shadows = kvzalloc(struct_size(shadows, at, n), GFP_KERNEL_ACCOUNT);
	if (!shadows)
		return NULL;
	while (shadows->count < n) {
		struct krg_shadow *shadow = shadow_new(&entry[shadows->count], self);

		if (!shadow) {
			shadows_release(shadows);
			return NULL;
		}
		shadows->at[shadows->count++] = shadow;
	}
	return shadows;
}

void krg_shadows_start(struct krg_shadows *shadows, struct krg_frozen *set)
{
	struct krg_process *process;
	struct krg_view *view;
	unsigned int i = 0;

	krg_for_each_process(set, process) {
		/* The end of its threads here is not the end of the process. */
		krg_guest_forget(shadows->at[i]->pid);
		memcpy(shadows->at[i++]->taken, process->taken, sizeof(process->taken));
	}
	/* A view that was committed before the shadows were in the list has not looked at them. */
	view = krg_view_get();
	krg_shadow_view(view);
	krg_view_put(view);
	krg_frozen_then(set, shadow_thread, shadows, shadows_release);
}

static void shadow_drop(struct krg_shadow *shadow, struct task_struct *leader)
{
	struct sighand_struct *sighand = shadow->armed ? krg_sighand_lock(leader) : NULL;

	if (sighand) {
		bool killed = sigismember(&leader->signal->shared_pending.signal, SIGKILL);

		put_actions(shadow, sighand);
		spin_unlock_irq(&sighand->siglock);
		/* It was only queued while nothing was to end the process. */
		if (killed)
			send_sig(SIGKILL, leader, 1);
	}
	krg_shadow_unlist(shadow);
}

void krg_shadows_drop(struct krg_shadows *shadows, struct krg_frozen *set)
{
	struct krg_process *process;
	unsigned int i = 0;

	krg_for_each_process(set, process)
		shadow_drop(shadows->at[i++], process->leader);
	shadows_release(shadows);
}

/* ---- what becomes of it ---- */

static void shadow_step(struct krg_shadow *shadow, enum krg_away_event event, u64 generation, u16 runner, u32 code, int error)
{
	enum krg_away_do todo;

	lockdep_assert_held(&krg_shadows_lock);
	if (shadow->ended)
		return;
	todo = krg_away_step(&shadow->at, event, generation, runner, code, error);
	WRITE_ONCE(shadow->look, todo == KRG_AWAY_LOOK);
	if (todo == KRG_AWAY_END) {
		if (event == KRG_AWAY_READ)
			pr_notice("process %d was lost with node %u\n", shadow->pid, shadow->at.runner);
		smp_wmb();	/* with whoever sees ended, and then reads at.code */
		WRITE_ONCE(shadow->ended, true);
	}
	wake_up_all(&shadow->wait);
}

bool krg_shadow_ended(pid_t pid, u64 generation, u32 code)
{
	struct krg_shadow *shadow;
	bool found = false;

	mutex_lock(&krg_shadows_lock);
	list_for_each_entry(shadow, &shadows_list, node)
		if (shadow->pid == pid) {
			shadow_step(shadow, KRG_AWAY_ENDED, generation, 0, code, 0);
			found = true;
		}
	mutex_unlock(&krg_shadows_lock);
	return found;
}

bool krg_shadow_moved(pid_t pid, u64 generation, u16 runner)
{
	struct krg_shadow *shadow;
	bool found = false;

	mutex_lock(&krg_shadows_lock);
	list_for_each_entry(shadow, &shadows_list, node)
		if (shadow->pid == pid) {
			found = true;
			shadow_step(shadow, KRG_AWAY_MOVED, generation, runner, is_member(runner), 0);
		}
	mutex_unlock(&krg_shadows_lock);
	return found;
}

void krg_shadow_view(const struct krg_view *view)
{
	struct krg_shadow *shadow;

	mutex_lock(&krg_shadows_lock);
	list_for_each_entry(shadow, &shadows_list, node) {
		/* Where one runs that is coming home is not known yet; who brings it looks again. */
		if (READ_ONCE(shadow->coming.state) != KRG_AWAY)
			continue;
		if (!view)
			shadow_step(shadow, KRG_AWAY_OUT, 0, 0, 0, 0);
		else if (!krg_view_find(view, shadow->at.runner))
			shadow_step(shadow, KRG_AWAY_LOST, 0, 0, 0, 0);
	}
	mutex_unlock(&krg_shadows_lock);
}

u16 krg_shadow_runner(pid_t pid)
{
	struct krg_shadow *shadow;
	u16 runner;

	mutex_lock(&krg_shadows_lock);
	shadow = krg_shadow_find(pid);
	runner = shadow ? shadow->at.runner : 0;
	mutex_unlock(&krg_shadows_lock);
	return runner;
}

unsigned int krg_shadows_count(void)
{
	return READ_ONCE(shadows_count);
}
