// SPDX-License-Identifier: GPL-2.0
/*
 * Guests: processes of other nodes that run here. Their end is told to their home,
 * where a shadow ends with the same status, and signals that the shadow passes on
 * are delivered. The shadow's side is shadow.c.
 */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <kerrighed/membership.h>
#include <kerrighed/rpc.h>
#include <kerrighed/symbol.h>

#include "directory.h"
#include "member.h"
#include "park.h"
#include "shadow_private.h"
#include "stop.h"

#define GUEST_ASK_MS	5000
#define GUEST_AGAIN_MS	500	/* between two tries to tell the home */
#define GUEST_REAPED_MS	200	/* between two looks whether its parent has waited for it */

struct krg_guest {
	pid_t pid;
	struct krg_record record;
	struct krg_guest_news news;
	u32 code;
	bool own;		/* it has come home: listed for the signals that follow it, nobody is told of its end */
	bool waited_for;	/* its parent came with it */
	struct pid *tgid;	/* once it has ended, if that parent may still wait for it */
	struct delayed_work work;
};

static DEFINE_XARRAY(guests);		/* pid -> struct krg_guest; its own lock */
static struct workqueue_struct *guest_wq;
static struct tracepoint *guest_point;

static bool is_self(u16 node)
{
	struct krg_view *view = krg_view_get();
	bool is = view && view->self == node;

	krg_view_put(view);
	return is;
}

/* ---- its end ---- */

/* The directory first: if the home dies now, whoever takes over finds that nobody runs it. */
static int guest_write(struct krg_guest *guest)
{
	struct krg_directory_entry entry = {
		.pid = guest->pid,
		.record = {
			.generation = guest->record.generation, .move = guest->record.move,
			.decision = guest->code, .home = guest->record.home,
		},
	};

	return krg_directory_write(&entry, 1);
}

static int guest_tell(struct krg_guest *guest)
{
	struct krg_shadow_msg msg = {
		.what = cpu_to_le32(KRG_SHADOW_ENDED), .pid = cpu_to_le32(guest->pid),
		.generation = cpu_to_le64(guest->record.generation), .code = cpu_to_le32(guest->code),
	};
	struct kvec vec = { .iov_base = &msg, .iov_len = sizeof(msg) };

	return min(krg_rpc_call(guest->record.home, KRG_MSG_SHADOW, &vec, 1, NULL, 0, GUEST_ASK_MS), 0);
}

static bool guest_wanted(const struct krg_guest *guest)
{
	struct krg_view *view = krg_view_get();
	bool there = view && krg_view_find(view, guest->record.home);

	krg_view_put(view);
	return there && krg_epoch();
}

static bool guest_is_zombie(const struct krg_guest *guest)
{
	bool zombie;

	if (!guest->tgid)
		return false;
	rcu_read_lock();
	zombie = pid_task(guest->tgid, PIDTYPE_TGID);
	rcu_read_unlock();
	return zombie;
}

static void guest_free(struct krg_guest *guest)
{
	if (!guest)
		return;
	put_pid(guest->tgid);
	kfree(guest);
}

static void guest_work(struct work_struct *work)
{
	struct krg_guest *guest = container_of(to_delayed_work(work), struct krg_guest, work);
	enum krg_guest_do todo;
	int err = 0;

	if (guest_is_zombie(guest) && guest_wanted(guest)) {
		queue_delayed_work(guest_wq, &guest->work, msecs_to_jiffies(GUEST_REAPED_MS));
		return;
	}
	for (;;) {
		todo = krg_guest_step(&guest->news, guest_wanted(guest), true, err);
		if (todo == KRG_GUEST_WRITE)
			err = guest_write(guest);
		else if (todo == KRG_GUEST_TELL)
			err = guest_tell(guest);
		else
			break;
	}
	if (todo == KRG_GUEST_PAUSE) {
		queue_delayed_work(guest_wq, &guest->work, msecs_to_jiffies(GUEST_AGAIN_MS));
		return;
	}
	guest_free(guest);
	krg_member_changed();
	module_put(THIS_MODULE);
}

/* tracepoint sched_process_exit, in the task that ends: the last thread of a guest tells how. */
static void guest_exits(void *data, struct task_struct *task)
{
	struct krg_guest *guest;

	if (atomic_read(&task->signal->live) || xa_empty(&guests))
		return;
	guest = xa_erase(&guests, task->tgid);
	if (!guest)
		return;
	if (guest->own) {
		guest_free(guest);
		return;
	}
	__module_get(THIS_MODULE);	/* until its home was told */
	guest->code = task->signal->flags & SIGNAL_GROUP_EXIT ? task->signal->group_exit_code : task->exit_code;
	if (guest->waited_for)
		guest->tgid = get_pid(task_tgid(task));
	queue_delayed_work(guest_wq, &guest->work, 0);
}

int krg_guest_add(pid_t pid, const struct krg_record *record, bool waited_for)
{
	struct krg_guest *guest = kzalloc(sizeof(*guest), GFP_KERNEL), *before;

	if (!guest)
		return -ENOMEM;
	guest->pid = pid;
	guest->record = *record;
	guest->waited_for = waited_for;
	guest->own = is_self(record->home);
	krg_guest_begin(&guest->news);
	INIT_DELAYED_WORK(&guest->work, guest_work);
	before = xa_store(&guests, pid, guest, GFP_KERNEL);
	if (xa_is_err(before)) {
		kfree(guest);
		return xa_err(before);
	}
	guest_free(before);
	return 0;
}

void krg_guest_forget(pid_t pid)
{
	guest_free(xa_erase(&guests, pid));
}

void krg_guest_lost(pid_t pid)
{
	struct krg_guest *guest = xa_erase(&guests, pid);

	if (!guest || guest->own) {
		guest_free(guest);
		return;
	}
	guest->code = SIGKILL;
	__module_get(THIS_MODULE);
	queue_delayed_work(guest_wq, &guest->work, 0);
}

unsigned int krg_guests(void)
{
	struct krg_guest *guest;
	unsigned long pid;
	unsigned int n = 0;

	xa_for_each(&guests, pid, guest)
		n += !guest->own;
	return n;
}

bool krg_guests_any(void)
{
	return !xa_empty(&guests);
}

u16 krg_guest_home(pid_t pid, u64 *generation)
{
	struct krg_guest *guest;
	u16 home = 0;

	xa_lock(&guests);
	guest = xa_load(&guests, pid);
	if (guest && !guest->own) {
		home = guest->record.home;
		*generation = guest->record.generation;
	}
	xa_unlock(&guests);
	return home;
}

/* ---- signals for it ---- */

/*
 * Its group here is an orphaned one, which the terminal's signals do not stop. At home it may be another: what is passed on is
 * to stop it, where it would by default.
 */
static void stop_all_the_same(struct task_struct *task, kernel_siginfo_t *info)
{
	struct sighand_struct *sighand;
	int signal = info->si_signo;

	if (!sig_kernel_stop(signal) || signal == SIGSTOP)
		return;
	sighand = krg_sighand_lock(task);
	if (!sighand)
		return;
	if (sighand->action[signal - 1].sa.sa_handler == SIG_DFL && !sigismember(&task->blocked, signal))
		info->si_signo = SIGSTOP;
	spin_unlock_irq(&sighand->siglock);
}

static int guest_signal(const struct krg_shadow_msg *msg)
{
	pid_t pid = le32_to_cpu(msg->pid);
	struct task_struct *task = NULL;
	struct krg_guest *guest;
	kernel_siginfo_t info;
	struct pid *id;
	int err = -ESRCH;

	memcpy(&info, msg->info, sizeof(info));
	if (!valid_signal(info.si_signo) || !info.si_signo)
		return -EINVAL;
	xa_lock(&guests);
	guest = xa_load(&guests, pid);
	if (guest && guest->record.generation == le64_to_cpu(msg->generation))
		err = 0;
	xa_unlock(&guests);
	if (err)
		return err;
	id = find_get_pid(pid);
	task = get_pid_task(id, PIDTYPE_TGID);
	put_pid(id);
	if (!task)
		return -ESRCH;
	stop_all_the_same(task, &info);
	err = krg_group_signal(&info, task);
	put_task_struct(task);
	return err;
}

static void handle_shadow(struct krg_rpc_req *req)
{
	const struct krg_shadow_msg *msg = krg_rpc_req_data(req);
	int err = -EINVAL;

	if (le32_to_cpu(msg->what) == KRG_SHADOW_SIGNAL)
		err = guest_signal(msg);
	else if (le32_to_cpu(msg->what) == KRG_SHADOW_MOVED)
		err = krg_shadow_moved(le32_to_cpu(msg->pid), le64_to_cpu(msg->generation), le32_to_cpu(msg->code)) ?
		      0 : -ESRCH;
	else if (le32_to_cpu(msg->what) == KRG_SHADOW_STOPPED && le32_to_cpu(msg->code) <= _NSIG)
		err = krg_shadow_stopped(le32_to_cpu(msg->pid), le64_to_cpu(msg->generation),
					 le32_to_cpu(msg->code)) ? 0 : -ESRCH;
	else if (le32_to_cpu(msg->what) == KRG_SHADOW_ENDED)
		err = krg_shadow_ended(le32_to_cpu(msg->pid), le64_to_cpu(msg->generation),
				       le32_to_cpu(msg->code)) ? 0 : -ESRCH;
	krg_rpc_reply(req, err, NULL, 0);
}

static const struct krg_rpc_type shadow_type = {
	.type = KRG_MSG_SHADOW, .class = KRG_CLASS_MSG, .flags = KRG_RPC_QUEUED, .name = "shadow",
	.handle = handle_shadow,
	.min_len = sizeof(struct krg_shadow_msg), .max_len = sizeof(struct krg_shadow_msg),
};

/* ---- views ---- */

/* This node is out: what it runs for others ends, before anybody may run it elsewhere. */
static void kill_all(void)
{
	struct krg_guest *guest;
	unsigned long at;

	xa_lock(&guests);
	xa_for_each(&guests, at, guest) {
		if (guest->own)
			continue;
		struct pid *id = find_get_pid(at);
		struct task_struct *task = get_pid_task(id, PIDTYPE_TGID);

		put_pid(id);
		if (!task)
			continue;
		pr_notice("process %lu of node %u ends: this node is out of the cluster\n", at, guest->record.home);
		send_sig(SIGKILL, task, 1);
		put_task_struct(task);
	}
	xa_unlock(&guests);
}

void krg_guest_view(const struct krg_view *view)
{
	struct krg_guest *guest;
	unsigned long at;

	if (!view) {
		kill_all();
		return;
	}
	/* Nobody is left who waits for its end; it goes on as a process of this node. */
	xa_lock(&guests);
	xa_for_each(&guests, at, guest)
		if (!krg_view_find(view, guest->record.home))
			guest_free(__xa_erase(&guests, at));
	xa_unlock(&guests);
}

/* ---- life ---- */

static void guest_match(struct tracepoint *point, void *found)
{
	if (!strcmp(point->name, "sched_process_exit"))
		*(struct tracepoint **)found = point;
}

int krg_guest_init(void)
{
	int err;

	for_each_kernel_tracepoint(guest_match, &guest_point);
	if (!guest_point) {
		pr_err("tracepoint sched_process_exit is missing in this kernel\n");
		return -ENOENT;
	}
	guest_wq = alloc_workqueue("krg_guest", WQ_UNBOUND, 0);
	if (!guest_wq)
		return -ENOMEM;
	err = tracepoint_probe_register(guest_point, guest_exits, NULL);
	if (err)
		goto destroy;
	err = krg_rpc_register(&shadow_type);
	if (!err)
		return 0;
	tracepoint_probe_unregister(guest_point, guest_exits, NULL);
	tracepoint_synchronize_unregister();
destroy:
	destroy_workqueue(guest_wq);
	return err;
}

void krg_guest_exit(void)
{
	struct krg_guest *guest;
	unsigned long at;

	krg_rpc_unregister(&shadow_type);
	tracepoint_probe_unregister(guest_point, guest_exits, NULL);
	tracepoint_synchronize_unregister();
	xa_for_each(&guests, at, guest)
		krg_guest_forget(at);
	destroy_workqueue(guest_wq);
}
