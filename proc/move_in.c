// SPDX-License-Identifier: GPL-2.0
/*
 * Migration, the target's side: images that come from other nodes, and the helper
 * that builds the processes of each. Whether they may run is arrive.c's question.
 * How a process is built is in restore*.c; the helper, a program that this module
 * starts, is tools/restart.
 *
 * An image is kept in a file without a name until its processes run. Its source
 * polls.
 */
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kmod.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/umh.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <kerrighed/membership.h>
#include <kerrighed/pid.h>
#include <kerrighed/rpc.h>

#include "follow.h"
#include "home.h"
#include "main.h"
#include "move_in.h"
#include "restore.h"

#define MOVES_MAX		64		/* images that are on their way here at a time */
#define MOVE_BYTES_MAX		(1ULL << 40)	/* of an image */
#define MOVE_RESERVE		(64UL << 20)	/* bytes of memory that images leave free */
#define MOVE_ID_WAIT		(10 * HZ)	/* for the id of a process that comes to be free */

static char *helper = "/usr/bin/restart";
module_param(helper, charp, 0600);
MODULE_PARM_DESC(helper, "the program that builds a process which comes from another node");

/* Protects the list. Nothing is locked inside of it. */
static DEFINE_MUTEX(moves_lock);
static LIST_HEAD(moves);
static unsigned int moves_count;
static u64 moves_token;

static struct workqueue_struct *moves_wq;	/* starts helpers */

/* ---- life ---- */

void krg_move_in_put(struct krg_move_in *m)
{
	if (!refcount_dec_and_test(&m->refs))
		return;
	if (m->session)
		krg_restore_put(m->session);
	fput(m->image);
	kvfree(m->member);
	kfree(m);
}

void krg_move_in_queue(struct work_struct *work)
{
	queue_work(moves_wq, work);
}

void krg_move_in_news(struct krg_move_in *m, u32 events)
{
	spin_lock(&m->lock);
	WRITE_ONCE(m->events, m->events | events);
	WRITE_ONCE(m->news, m->news + 1);
	spin_unlock(&m->lock);
	wake_up_all(&m->wait);
}

static void move_set(struct krg_move_in *m, enum krg_move_state state)
{
	spin_lock(&m->lock);
	if (m->state != KRG_MOVE_FAILED)
		WRITE_ONCE(m->state, state);
	spin_unlock(&m->lock);
	krg_move_in_news(m, 0);
}

/* The first reason counts; what runs does not fail any more. */
__printf(3, 4) static void move_fail(struct krg_move_in *m, int error, const char *format, ...)
{
	va_list args;

	spin_lock(&m->lock);
	if (m->state != KRG_MOVE_FAILED && m->state != KRG_MOVE_RUNS) {
		va_start(args, format);
		vscnprintf(m->reason, sizeof(m->reason), format, args);
		va_end(args);
		m->error = error;
		WRITE_ONCE(m->state, KRG_MOVE_FAILED);
	}
	spin_unlock(&m->lock);
	krg_move_in_news(m, 0);
}

void krg_move_in_forget(struct krg_move_in *m)
{
	bool listed;

	mutex_lock(&moves_lock);
	listed = !list_empty(&m->node);
	if (listed) {
		list_del_init(&m->node);
		moves_count--;
	}
	mutex_unlock(&moves_lock);
	if (listed)
		krg_move_in_put(m);
}

/* With a reference, or NULL: a move of a source, or with @from 0 the one that has @id as its token. */
static struct krg_move_in *move_find(u16 from, u64 incarnation, u64 id)
{
	struct krg_move_in *m, *found = NULL;

	mutex_lock(&moves_lock);
	list_for_each_entry(m, &moves, node)
		if (from ? m->from == from && m->incarnation == incarnation && m->id == id : m->token == id) {
			refcount_inc(&m->refs);
			found = m;
			break;
		}
	mutex_unlock(&moves_lock);
	return found;
}

static int move_add(struct krg_move_in *m)
{
	int err = 0;

	mutex_lock(&moves_lock);
	if (moves_count >= MOVES_MAX) {
		err = -EBUSY;
	} else {
		list_add_tail(&m->node, &moves);
		moves_count++;
		m->token = ++moves_token;
	}
	mutex_unlock(&moves_lock);
	return err;
}

/* ---- the helper ---- */

static void start_helper(struct krg_move_in *m, char *program)
{
	char number[24];
	char *argv[] = { program, "--incoming", number, NULL };
	char *envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", NULL };
	int err;

	snprintf(number, sizeof(number), "%llu", m->token);
	err = call_usermodehelper(argv[0], argv, envp, UMH_WAIT_EXEC);
	if (err)
		move_fail(m, -ENOEXEC, "helper: %s cannot be started: error %d", argv[0], err);
}

/* It may have been here before, and what is left of it pass on its last signals still. */
static void wait_for_id(struct krg_move_in *m, pid_t pid)
{
	unsigned long end = jiffies + MOVE_ID_WAIT;
	struct task_struct *task;
	struct pid *id;

	do {
		id = find_get_pid(pid);
		task = get_pid_task(id, PIDTYPE_PID);
		put_pid(id);
		if (!task)
			return;
		put_task_struct(task);
		fsleep(5000);
	} while (time_before(jiffies, end) && READ_ONCE(m->state) == KRG_MOVE_BUILDING);
}

static void build(struct krg_move_in *m)
{
	char *program;
	u32 i;

	kernel_param_lock(THIS_MODULE);
	program = kstrdup(helper, GFP_KERNEL);
	kernel_param_unlock(THIS_MODULE);
	m->at_home = krg_home_is(m->pid);
	for (i = 0; i < m->count && !m->at_home; i++)
		wait_for_id(m, le32_to_cpu(m->member[i].pid));
	if (!program)
		move_fail(m, -ENOMEM, "helper: no memory");
	else if (m->at_home)
		krg_home_bring(m, m->pid, m->token, strim(program));
	else
		start_helper(m, strim(program));
	kfree(program);
}

static bool all_here(struct krg_move_in *m)
{
	return atomic64_read(&m->received) >= m->bytes || READ_ONCE(m->state) == KRG_MOVE_FAILED;
}

/* All pieces were sent before START; the last ones may be in other workers still. */
static void start_work(struct work_struct *work)
{
	struct krg_move_in *m = container_of(work, struct krg_move_in, work);

	if (!wait_event_timeout(m->wait, all_here(m), 30 * HZ))
		move_fail(m, -EIO, "image: %lld of %llu bytes have come", (s64)atomic64_read(&m->received), m->bytes);
	if (READ_ONCE(m->state) == KRG_MOVE_BUILDING)
		build(m);
	krg_move_in_put(m);
}

/* ---- messages ---- */

static struct krg_move_in *move_new(struct krg_rpc_req *req, const struct krg_move_ask *ask)
{
	struct krg_move_in *m = kzalloc(sizeof(*m), GFP_KERNEL);
	struct file *image = shmem_file_setup("krg-image", MAX_LFS_FILESIZE, VM_NORESERVE);

	if (!m || IS_ERR(image)) {
		kfree(m);
		if (!IS_ERR(image))
			fput(image);
		return NULL;
	}
	refcount_set(&m->refs, 1);
	m->image = image;
	m->from = krg_rpc_req_node(req);
	m->incarnation = krg_rpc_req_incarnation(req);
	m->id = le64_to_cpu(ask->move);
	m->generation = le64_to_cpu(ask->generation);
	m->pid = le32_to_cpu(ask->pid);
	m->state = KRG_MOVE_RECEIVING;
	INIT_WORK(&m->work, start_work);
	init_waitqueue_head(&m->wait);
	spin_lock_init(&m->lock);
	return m;
}

static int step_open(struct krg_rpc_req *req, const struct krg_move_ask *ask)
{
	struct krg_move_in *m;
	int err;

	if (!ask->move || le32_to_cpu(ask->pid) >= KRG_PID_LIMIT)
		return -EINVAL;
	m = move_new(req, ask);
	if (!m)
		return -ENOMEM;
	err = move_add(m);
	if (err)
		krg_move_in_put(m);
	return err;
}

/* Who comes: the root first. NULL: not what a source sends. */
static struct krg_move_member *step_members(struct krg_move_in *m, const struct krg_move_ask *ask, size_t length, u32 *count)
{
	const struct krg_move_member *at = (const void *)(ask + 1);
	struct krg_move_member *copy;
	u32 i, n = length / sizeof(*at);

	if (!n || length % sizeof(*at) || le32_to_cpu(at[0].pid) != m->pid)
		return NULL;
	for (i = 0; i < n; i++)
		if (!le32_to_cpu(at[i].pid) || le32_to_cpu(at[i].pid) >= KRG_PID_LIMIT || !le16_to_cpu(at[i].home))
			return NULL;
	*count = n;
	copy = kvmalloc(length, GFP_KERNEL);
	if (copy)
		memcpy(copy, at, length);
	return copy;
}

static int step_start(struct krg_move_in *m, const struct krg_move_ask *ask, size_t length)
{
	struct krg_move_member *member;
	int err = -EINVAL;
	u32 count = 0;

	member = step_members(m, ask, length, &count);
	if (!member)
		return count ? -ENOMEM : -EINVAL;
	spin_lock(&m->lock);
	if (m->state == KRG_MOVE_RECEIVING && le64_to_cpu(ask->bytes) <= MOVE_BYTES_MAX) {
		swap(m->member, member);
		m->count = count;
		m->bytes = le64_to_cpu(ask->bytes);
		WRITE_ONCE(m->state, KRG_MOVE_BUILDING);
		err = 0;
	}
	spin_unlock(&m->lock);
	kvfree(member);
	if (err)
		return err;
	refcount_inc(&m->refs);
	queue_work(moves_wq, &m->work);
	return 0;
}

static int move_step(struct krg_move_in *m, const struct krg_move_ask *ask, size_t length)
{
	switch (le32_to_cpu(ask->step)) {
	case KRG_MOVE_START:
		return step_start(m, ask, length);
	case KRG_MOVE_POLL:
		return 0;
	case KRG_MOVE_GO:
		krg_move_in_news(m, 0);	/* who waits reads the directory */
		return 0;
	case KRG_MOVE_ABORT:
		krg_move_in_news(m, KRG_TARGET_ABORTED);
		move_fail(m, -ECANCELED, "the source gave up");
		krg_move_in_forget(m);
		return 0;
	}
	return -EINVAL;
}

static void move_answer(struct krg_rpc_req *req, struct krg_move_in *m)
{
	struct krg_move_answer answer;
	char reason[KRG_MOVE_REASON];
	struct kvec vec[] = {
		{ .iov_base = &answer, .iov_len = sizeof(answer) },
		{ .iov_base = reason },
	};

	spin_lock(&m->lock);
	answer.state = cpu_to_le32(m->state);
	answer.error = cpu_to_le32(-m->error);
	vec[1].iov_len = strscpy(reason, m->reason, sizeof(reason));
	spin_unlock(&m->lock);
	krg_rpc_reply(req, 0, vec, vec[1].iov_len ? 2 : 1);
}

static void handle_move(struct krg_rpc_req *req)
{
	const struct krg_move_ask *ask = krg_rpc_req_data(req);
	size_t rest = krg_rpc_req_len(req) - sizeof(*ask);
	struct krg_move_in *m;
	int err = 0;

	if (le32_to_cpu(ask->step) == KRG_MOVE_ASK) {
		krg_rpc_reply(req, krg_move_out_has(krg_rpc_req_node(req), le64_to_cpu(ask->move)) ? 0 : -ENOENT, NULL, 0);
		return;
	}
	if (le32_to_cpu(ask->step) == KRG_MOVE_OPEN)
		err = step_open(req, ask);
	m = err ? NULL : move_find(krg_rpc_req_node(req), krg_rpc_req_incarnation(req), le64_to_cpu(ask->move));
	if (!m) {
		krg_rpc_reply(req, err ?: -ENOENT, NULL, 0);
		return;
	}
	if (le32_to_cpu(ask->step) != KRG_MOVE_OPEN)
		err = move_step(m, ask, rest);
	if (err)
		krg_rpc_reply(req, err, NULL, 0);
	else
		move_answer(req, m);
	krg_move_in_put(m);
}

static int store_piece(struct krg_move_in *m, u64 offset, const void *at, u32 length)
{
	enum krg_move_state state = READ_ONCE(m->state);
	loff_t pos = offset;
	ssize_t n;

	if (offset > MOVE_BYTES_MAX || (state != KRG_MOVE_RECEIVING && state != KRG_MOVE_BUILDING))
		return -EINVAL;
	if ((u64)si_mem_available() << PAGE_SHIFT < MOVE_RESERVE + length)
		return -ENOMEM;
	n = kernel_write(m->image, at, length, &pos);
	return n == length ? 0 : n < 0 ? n : -ENOSPC;
}

static void handle_data(struct krg_rpc_req *req)
{
	const struct krg_move_data *head = krg_rpc_req_data(req);
	u32 length = krg_rpc_req_len(req) - sizeof(*head);
	struct krg_move_in *m;
	int err;

	m = move_find(krg_rpc_req_node(req), krg_rpc_req_incarnation(req), le64_to_cpu(head->move));
	if (!m)
		return;
	err = store_piece(m, le64_to_cpu(head->offset), head + 1, length);
	if (err) {
		move_fail(m, err, "image: %u bytes at %llu cannot be kept: error %d", length,
			  le64_to_cpu(head->offset), err);
	} else {
		atomic64_add(length, &m->received);
		wake_up_all(&m->wait);
	}
	krg_move_in_put(m);
}

static const struct krg_rpc_type move_type = {
	.type = KRG_MSG_MOVE, .class = KRG_CLASS_MSG, .flags = KRG_RPC_QUEUED, .name = "move", .handle = handle_move,
	.min_len = sizeof(struct krg_move_ask),
	.max_len = sizeof(struct krg_move_ask) + KRG_MOVE_MEMBERS * sizeof(struct krg_move_member),
};

static const struct krg_rpc_type move_data_type = {
	.type = KRG_MSG_MOVE_DATA, .class = KRG_CLASS_BULK, .flags = KRG_RPC_QUEUED, .name = "move_data",
	.handle = handle_data,
	.min_len = sizeof(struct krg_move_data) + 1, .max_len = sizeof(struct krg_move_data) + KRG_MOVE_PIECE,
};

/* ---- what the helper asks ---- */

long krg_move_in_ioctl(struct krg_proc_file *file, void __user *at)
{
	struct krg_proc_incoming arg;
	struct krg_move_in *m;
	struct file *image;
	int fd;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	m = arg.pad || !arg.id ? NULL : move_find(0, 0, arg.id);
	if (!m)
		return -ENOENT;
	spin_lock(&m->lock);
	fd = m->bound || m->state != KRG_MOVE_BUILDING ? -EBUSY : 0;
	if (!fd)
		m->bound = true;
	spin_unlock(&m->lock);
	if (!fd)
		fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		krg_move_in_put(m);
		return fd;
	}
	arg.fd = fd;
	if (copy_to_user(at, &arg, sizeof(arg)) || cmpxchg(&file->move, NULL, m)) {
		put_unused_fd(fd);
		move_fail(m, -EFAULT, "helper: asked in a wrong way");
		krg_move_in_put(m);
		return -EFAULT;
	}
	image = get_file(m->image);
	fd_install(fd, image);
	return 0;
}

long krg_move_in_failed_ioctl(struct krg_proc_file *file, void __user *at)
{
	struct krg_move_in *m = READ_ONCE(file->move);
	char reason[KRG_MOVE_REASON / 2];
	struct krg_proc_incoming_failed arg;

	if (!m)
		return -EINVAL;
	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	if (arg.pad || arg.error >= MAX_ERRNO)
		return -EINVAL;
	arg.why.length = min_t(u32, arg.why.length, sizeof(reason) - 1);
	if (copy_from_user(reason, (void __user *)arg.why.at, arg.why.length))
		return -EFAULT;
	reason[arg.why.length] = 0;
	move_fail(m, -(int)arg.error ?: -EIO, "%s", reason);
	if (m->at_home)
		krg_home_back();
	return 0;
}

int krg_move_in_decide(struct krg_move_in *m)
{
	move_set(m, KRG_MOVE_READY);
	return READ_ONCE(m->state) == KRG_MOVE_READY ? krg_arrive(m) : -ECANCELED;
}

int krg_move_in_ready(struct krg_proc_file *file)
{
	struct krg_move_in *m = READ_ONCE(file->move);

	return m ? krg_move_in_decide(m) : 0;
}

bool krg_move_in_begin(struct krg_proc_file *file, struct krg_restore *s)
{
	struct krg_move_in *m = READ_ONCE(file->move);

	if (!m || !m->at_home)
		return false;
	krg_restore_get(s);
	spin_lock(&m->lock);
	if (!m->session)
		swap(m->session, s);
	spin_unlock(&m->lock);
	if (s)
		krg_restore_put(s);
	return true;
}

struct krg_restore *krg_move_in_session(struct krg_move_in *m)
{
	struct krg_restore *s;

	spin_lock(&m->lock);
	s = m->session;
	spin_unlock(&m->lock);
	return s;
}

void krg_move_in_fail(struct krg_move_in *m, int error, const char *format, ...)
{
	char reason[KRG_MOVE_REASON / 2];
	va_list args;

	va_start(args, format);
	vscnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	move_fail(m, error, "%s", reason);
}

bool krg_move_in_failed(struct krg_move_in *m)
{
	return READ_ONCE(m->state) == KRG_MOVE_FAILED;
}

void krg_move_in_runs(struct krg_move_in *m)
{
	move_set(m, KRG_MOVE_RUNS);
	krg_move_in_forget(m);
}

void krg_move_in_gone(struct krg_proc_file *file, int err)
{
	struct krg_move_in *m = READ_ONCE(file->move);

	if (!m)
		return;
	if (err)
		krg_arrive_lost(m);
	else
		move_set(m, KRG_MOVE_RUNS);
}

void krg_move_in_origin(struct krg_proc_file *file, struct krg_follow_origin *to)
{
	struct krg_move_in *m = READ_ONCE(file->move);

	if (m)
		*to = (struct krg_follow_origin){ .node = m->from, .incarnation = m->incarnation, .move = m->id };
}

void krg_move_in_release(struct krg_proc_file *file)
{
	struct krg_move_in *m = file->move;

	if (!m)
		return;
	if (!m->at_home)
		move_fail(m, -EIO, "helper: it ended before the process was there");
	if (READ_ONCE(m->state) == KRG_MOVE_RUNS)
		krg_move_in_forget(m);
	krg_move_in_put(m);
}

/* ---- views ---- */

static bool is_member(const struct krg_view *view, const struct krg_move_in *m)
{
	const struct krg_mbr_member *member = view ? krg_view_find(view, m->from) : NULL;

	return member && member->incarnation == m->incarnation;
}

void krg_move_in_view(const struct krg_view *view)
{
	struct krg_move_in *m, *next;
	LIST_HEAD(ended);

	mutex_lock(&moves_lock);
	list_for_each_entry_safe(m, next, &moves, node) {
		if (is_member(view, m))
			continue;
		list_move(&m->node, &ended);
		moves_count--;
	}
	mutex_unlock(&moves_lock);
	list_for_each_entry_safe(m, next, &ended, node) {
		list_del_init(&m->node);
		/* What is ready asks the directory; what is not never will be. */
		if (READ_ONCE(m->state) != KRG_MOVE_READY)
			move_fail(m, -EHOSTDOWN, "node %u, where it comes from, is out", m->from);
		krg_move_in_news(m, KRG_TARGET_ALONE);
		krg_move_in_put(m);
	}
}

int krg_move_in_init(void)
{
	int err;

	moves_wq = alloc_workqueue("krg_move", WQ_UNBOUND, MOVES_MAX);
	if (!moves_wq)
		return -ENOMEM;
	err = krg_rpc_register(&move_type);
	if (err)
		goto destroy;
	err = krg_rpc_register(&move_data_type);
	if (!err)
		return 0;
	krg_rpc_unregister(&move_type);
destroy:
	destroy_workqueue(moves_wq);
	return err;
}

void krg_move_in_exit(void)
{
	krg_rpc_unregister(&move_data_type);
	krg_rpc_unregister(&move_type);
	krg_move_in_view(NULL);
	destroy_workqueue(moves_wq);
}
