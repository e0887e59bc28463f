// SPDX-License-Identifier: GPL-2.0
/*
 * Forwarded files, the server: grants, each the right of one node to one open
 * file of this one, known by a random number; messages about them; wake-ups. The
 * rules of a grant's life are core/forward.h's, what is done to files forward_io.c's
 * and forward_tty.c's.
 *
 * A grant keeps its file open. When it ends, the file is closed here as it is
 * where its process runs: a reader at home sees the end of a pipe when the last
 * process that had the other end has closed it, wherever that was.
 */
#include <linux/capability.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/random.h>
#include <linux/refcount.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/workqueue.h>
#include <asm/ioctls.h>

#include <kerrighed/compat.h>
#include <kerrighed/membership.h>
#include <kerrighed/rpc.h>

#include "forward.h"
#include "member.h"

#define GRANTS_MAX	65536
#define WAITS_MAX	4	/* wait queues that one file's poll may use */
#define IOCTL_ROOM	64	/* bytes of an operation's argument, at most */
#define WAKE_AGAIN_MS	20	/* when a wake-up found no room */

/* What was answered last in a lane, for whoever did not hear it. */
struct lane {
	struct mutex lock;		/* one operation at a time; protects the lane */
	struct krg_forward_lane state;
	s64 value;
	void *data;
	u32 length;
};

struct krg_forward_served {
	struct hlist_node node;		/* grants_lock */
	refcount_t refs;
	u64 handle;
	enum krg_forward_kind kind;
	struct krg_forward_grant grant;	/* grants_lock */
	struct file *file, *io;		/* io: for reading, writing and waiting */
	struct lane lane[KRG_FORWARD_LANES];

	struct mutex poll_lock;		/* waits, while they are added */
	unsigned int nr_waits;
	struct {
		wait_queue_head_t *head;
		wait_queue_entry_t entry;
	} waits[WAITS_MAX];
	spinlock_t wake_lock;		/* wanted, client; inside of the wait queues' locks */
	__poll_t wanted;
	u64 client;
	struct delayed_work wake;
};

/* Protects the table and the grants' state. Nothing is locked inside of it. */
static DEFINE_MUTEX(grants_lock);
static DEFINE_HASHTABLE(grants, 8);
static unsigned int grants_count;

static struct workqueue_struct *serve_wq;	/* wake-ups */

/* ---- life ---- */

static void served_free(struct krg_forward_served *g)
{
	unsigned int i;

	for (i = 0; i < g->nr_waits; i++)
		remove_wait_queue(g->waits[i].head, &g->waits[i].entry);
	cancel_delayed_work_sync(&g->wake);
	for (i = 0; i < KRG_FORWARD_LANES; i++)
		kvfree(g->lane[i].data);
	if (!IS_ERR_OR_NULL(g->io))
		fput(g->io);
	fput(g->file);
	kfree(g);
	module_put(THIS_MODULE);
}

static void served_put(struct krg_forward_served *g)
{
	if (refcount_dec_and_test(&g->refs))
		served_free(g);
}

/* Out of the table; the caller gives the table's reference back, without the lock. */
static void unlist(struct krg_forward_served *g)
{
	lockdep_assert_held(&grants_lock);
	hash_del(&g->node);
	WRITE_ONCE(grants_count, grants_count - 1);
}

static struct krg_forward_served *find(u64 handle)
{
	struct krg_forward_served *g;

	lockdep_assert_held(&grants_lock);
	hash_for_each_possible(grants, g, node, handle)
		if (g->handle == handle)
			return g;
	return NULL;
}

/* The grant with a reference if @from may, else NULL. *@ended: it was its end, and the file is closed by the last put. */
static struct krg_forward_served *ask(u64 handle, enum krg_forward_wish wish, const struct krg_forward_node *from,
				      bool *ended)
{
	enum krg_forward_verdict verdict = KRG_FORWARD_NO;
	struct krg_forward_served *g;

	mutex_lock(&grants_lock);
	g = find(handle);
	if (g)
		verdict = krg_forward_grant_ask(&g->grant, wish, from);
	if (verdict == KRG_FORWARD_END)
		unlist(g);	/* and the table's reference is the caller's */
	else if (verdict == KRG_FORWARD_YES)
		refcount_inc(&g->refs);
	mutex_unlock(&grants_lock);
	*ended = verdict == KRG_FORWARD_END;
	if (*ended)
		krg_member_changed();
	return verdict == KRG_FORWARD_NO ? NULL : g;
}

static void wake_work(struct work_struct *work);

static struct krg_forward_served *served_new(struct file *file, enum krg_forward_kind kind)
{
	struct krg_forward_served *g = kzalloc(sizeof(*g), GFP_KERNEL);
	unsigned int i;

	if (!g)
		return ERR_PTR(-ENOMEM);
	refcount_set(&g->refs, 1);
	g->kind = kind;
	for (i = 0; i < KRG_FORWARD_LANES; i++)
		mutex_init(&g->lane[i].lock);
	mutex_init(&g->poll_lock);
	spin_lock_init(&g->wake_lock);
	INIT_DELAYED_WORK(&g->wake, wake_work);
	g->io = krg_forward_io_open(file, kind);
	if (IS_ERR(g->io)) {
		int err = PTR_ERR(g->io);

		kfree(g);
		return ERR_PTR(err);
	}
	g->file = get_file(file);
	__module_get(THIS_MODULE);
	return g;
}

u64 krg_forward_serve(struct file *file, enum krg_forward_kind kind, const struct krg_forward_node *owner,
		      const struct krg_forward_node *maker, int *err)
{
	struct krg_forward_served *g = served_new(file, kind);
	u64 handle;

	*err = PTR_ERR_OR_ZERO(g);
	if (*err)
		return 0;
	krg_forward_grant_init(&g->grant, owner, maker);
	mutex_lock(&grants_lock);
	if (grants_count >= GRANTS_MAX) {
		*err = -ENFILE;
	} else {
		do
			g->handle = get_random_u64();
		while (!g->handle || find(g->handle));
		hash_add(grants, &g->node, g->handle);
		WRITE_ONCE(grants_count, grants_count + 1);
	}
	handle = g->handle;
	mutex_unlock(&grants_lock);
	if (*err)
		served_put(g);
	return *err ? 0 : handle;
}

struct file *krg_forward_take(u64 handle)
{
	struct krg_forward_node self = krg_forward_node_of(0);
	struct krg_forward_served *g;
	struct file *file;
	bool ended;

	g = ask(handle, KRG_FORWARD_CLOSE, &self, &ended);
	if (!g)
		return NULL;
	file = get_file(g->file);
	served_put(g);
	return file;
}

void krg_forward_drop(u64 handle)
{
	struct krg_forward_node self = krg_forward_node_of(0);
	struct krg_forward_served *g;
	bool ended;

	g = ask(handle, KRG_FORWARD_DROP, &self, &ended);
	if (g)
		served_put(g);
}

/* ---- waking up ---- */

static void wake_work(struct work_struct *work)
{
	struct krg_forward_served *g = container_of(to_delayed_work(work), struct krg_forward_served, wake);
	struct krg_forward_wake wake = { .handle = cpu_to_le64(g->handle) };
	struct kvec vec = { .iov_base = &wake, .iov_len = sizeof(wake) };
	int err;

	spin_lock_irq(&g->wake_lock);
	wake.client = cpu_to_le64(g->client);
	spin_unlock_irq(&g->wake_lock);
	err = krg_rpc_post(g->grant.owner.id, KRG_MSG_FORWARD_WAKE, &vec, 1);
	/* Anything else: the client asks again when its connection or its view is another one. */
	if (err == -EAGAIN || err == -ENOMEM)
		queue_delayed_work(serve_wq, &g->wake, msecs_to_jiffies(WAKE_AGAIN_MS));
}

/* Of one of the file's wait queues, under its lock: in any context. */
static int on_wake(wait_queue_entry_t *entry, unsigned int mode, int sync, void *key)
{
	struct krg_forward_served *g = entry->private;
	__poll_t events = key_to_poll(key);
	unsigned long flags;
	bool wanted;

	spin_lock_irqsave(&g->wake_lock, flags);
	wanted = g->wanted && (!events || events & (g->wanted | EPOLLERR | EPOLLHUP));
	if (wanted)
		g->wanted = 0;
	spin_unlock_irqrestore(&g->wake_lock, flags);
	if (wanted)
		queue_delayed_work(serve_wq, &g->wake, 0);
	return 0;
}

struct wait_adder {
	poll_table table;
	struct krg_forward_served *of;
};

static void add_wait(struct file *file, wait_queue_head_t *head, poll_table *table)
{
	struct krg_forward_served *g = container_of(table, struct wait_adder, table)->of;
	unsigned int n = g->nr_waits;

	if (n == WAITS_MAX)
		return;
	g->waits[n].head = head;
	init_waitqueue_func_entry(&g->waits[n].entry, on_wake);
	g->waits[n].entry.private = g;
	g->nr_waits++;
	add_wait_queue(head, &g->waits[n].entry);
}

static __poll_t served_poll(struct krg_forward_served *g)
{
	struct wait_adder adder = { .of = g };
	__poll_t events;

	mutex_lock(&g->poll_lock);
	init_poll_funcptr(&adder.table, g->nr_waits ? NULL : add_wait);
	events = vfs_poll(g->io, &adder.table);
	mutex_unlock(&g->poll_lock);
	return events;
}

/* Before it is tried, so that nothing that happens meanwhile is missed. */
static void served_arm(struct krg_forward_served *g, u64 client, __poll_t events)
{
	if (!READ_ONCE(g->nr_waits))
		served_poll(g);
	spin_lock_irq(&g->wake_lock);
	g->client = client;
	g->wanted |= events;
	spin_unlock_irq(&g->wake_lock);
}

/* ---- operations ---- */

static void op_read(struct krg_forward_served *g, const struct krg_forward_ask *ask, struct lane *lane)
{
	u32 length = min_t(u32, le32_to_cpu(ask->length), KRG_FORWARD_CHUNK);

	lane->value = g->kind == KRG_FORWARD_TTY ? krg_forward_tty_job(g->io, le32_to_cpu(ask->pid), SIGTTIN) : 0;
	if (lane->value)
		return;
	lane->data = kvmalloc(length ?: 1, GFP_KERNEL);
	if (!lane->data) {
		lane->value = -ENOMEM;
		return;
	}
	lane->value = krg_forward_io_read(g->io, g->kind, lane->data, length, le64_to_cpu(ask->pos));
	lane->length = max_t(s64, lane->value, 0);
}

static void op_write(struct krg_forward_served *g, const struct krg_forward_ask *ask, u32 length, struct lane *lane)
{
	bool append = le32_to_cpu(ask->flags) & KRG_FORWARD_APPEND;

	lane->value = g->kind == KRG_FORWARD_TTY ? krg_forward_tty_job(g->io, le32_to_cpu(ask->pid), SIGTTOU) : 0;
	if (!lane->value)
		lane->value = krg_forward_io_write(g->io, g->kind, ask + 1, length, le64_to_cpu(ask->pos), append);
}

static void op_ioctl(struct krg_forward_served *g, const struct krg_forward_ask *ask, u32 length, struct lane *lane)
{
	unsigned int command = le32_to_cpu(ask->length);
	u8 room[IOCTL_ROOM] __aligned(8) = {};
	s64 n = -ENOTTY;

	if (length > sizeof(room)) {
		lane->value = -EINVAL;
		return;
	}
	memcpy(room, ask + 1, length);
	if (command == FIONREAD && g->kind != KRG_FORWARD_TTY) {
		n = krg_forward_io_left(g->file, g->kind);
		if (n >= 0) {
			*(s32 *)room = n;
			n = sizeof(s32);
		}
	} else if (g->kind == KRG_FORWARD_TTY) {
		n = krg_forward_tty_ioctl(g->io, le32_to_cpu(ask->pid), command, room, length);
	}
	if (n > 0) {
		lane->data = kvmalloc(n, GFP_KERNEL);
		if (lane->data)
			memcpy(lane->data, room, n);
		lane->length = n;
		n = lane->data ? 0 : -ENOMEM;
	}
	lane->value = n;
}

static void op_grant(struct krg_forward_served *g, const struct krg_forward_ask *ask, struct lane *lane)
{
	struct krg_forward_node owner = { .id = le32_to_cpu(ask->length), .incarnation = le64_to_cpu(ask->pos) };
	__le64 *to = kvmalloc(sizeof(*to), GFP_KERNEL);
	int err = -ENOMEM;

	if (to)
		*to = cpu_to_le64(krg_forward_serve(g->file, g->kind, &owner, &g->grant.owner, &err));
	lane->data = to;
	lane->length = sizeof(*to);
	lane->value = err;
}

static enum krg_forward_step lane_do(struct krg_forward_served *g, const struct krg_forward_ask *ask, u32 length,
				     struct lane *lane)
{
	enum krg_forward_step step = krg_forward_lane_step(&lane->state, le64_to_cpu(ask->number));

	if (step != KRG_FORWARD_DO)
		return step;
	kvfree(lane->data);
	lane->data = NULL;
	lane->length = 0;
	switch (le32_to_cpu(ask->op)) {
	case KRG_FORWARD_OP_READ:
		op_read(g, ask, lane);
		break;
	case KRG_FORWARD_OP_WRITE:
		op_write(g, ask, length, lane);
		break;
	case KRG_FORWARD_OP_SEEK:
		lane->value = krg_forward_io_seek(g->file, le64_to_cpu(ask->pos), le32_to_cpu(ask->length));
		break;
	case KRG_FORWARD_OP_IOCTL:
		op_ioctl(g, ask, length, lane);
		break;
	case KRG_FORWARD_OP_GRANT:
		op_grant(g, ask, lane);
		break;
	}
	if (lane->value < 0) {
		kvfree(lane->data);
		lane->data = NULL;
		lane->length = 0;
	}
	return step;
}

static int reply(struct krg_rpc_req *req, s64 value, u32 wait_ms, const void *data, u32 length)
{
	struct krg_forward_answer head = {
		.value = cpu_to_le64(max_t(s64, value, 0)), .error = cpu_to_le32(value < 0 ? -value : 0),
		.wait_ms = cpu_to_le32(wait_ms),
	};
	struct kvec vec[] = {
		{ .iov_base = &head, .iov_len = sizeof(head) },
		{ .iov_base = (void *)data, .iov_len = length },
	};

	return krg_rpc_reply(req, 0, vec, length ? 2 : 1);
}

static void serve_lane(struct krg_rpc_req *req, struct krg_forward_served *g, const struct krg_forward_ask *ask, u32 length,
		       unsigned int number)
{
	struct lane *lane = &g->lane[number];
	u32 wait_ms = 0;

	mutex_lock(&lane->lock);
	if (lane_do(g, ask, length, lane) == KRG_FORWARD_WRONG) {
		reply(req, -EPROTO, 0, NULL, 0);
	} else {
		if (lane->value == -EAGAIN && g->kind == KRG_FORWARD_TTY && number == KRG_FORWARD_IN)
			wait_ms = krg_forward_tty_wait_ms(g->io);
		reply(req, lane->value, wait_ms, lane->data, lane->length);
	}
	mutex_unlock(&lane->lock);
}

static void serve_about(struct krg_rpc_req *req, struct krg_forward_served *g)
{
	struct krg_forward_about about;
	int err = krg_forward_io_about(g->file, &about);

	reply(req, err, 0, &about, err ? 0 : sizeof(about));
}

static int serve_truncate(struct krg_forward_served *g, loff_t size)
{
	if (g->kind != KRG_FORWARD_REGULAR || !(g->file->f_mode & FMODE_WRITE) || size < 0)
		return -EINVAL;
	return vfs_truncate(&g->file->f_path, size);
}

static void serve(struct krg_rpc_req *req, struct krg_forward_served *g, const struct krg_forward_ask *ask, u32 length)
{
	if (le32_to_cpu(ask->flags) & KRG_FORWARD_ARM)
		served_arm(g, le64_to_cpu(ask->client), (__force __poll_t)le32_to_cpu(ask->events));
	switch (le32_to_cpu(ask->op)) {
	case KRG_FORWARD_OP_CLAIM:
	case KRG_FORWARD_OP_ABOUT:
		serve_about(req, g);
		return;
	case KRG_FORWARD_OP_READ:
		serve_lane(req, g, ask, length, KRG_FORWARD_IN);
		return;
	case KRG_FORWARD_OP_WRITE:
		serve_lane(req, g, ask, length, KRG_FORWARD_OUT);
		return;
	case KRG_FORWARD_OP_SEEK:
	case KRG_FORWARD_OP_IOCTL:
	case KRG_FORWARD_OP_GRANT:
		serve_lane(req, g, ask, length, KRG_FORWARD_CONTROL);
		return;
	case KRG_FORWARD_OP_POLL:
		reply(req, (__force u32)served_poll(g), 0, NULL, 0);
		return;
	case KRG_FORWARD_OP_TRUNCATE:
		reply(req, serve_truncate(g, le64_to_cpu(ask->pos)), 0, NULL, 0);
		return;
	case KRG_FORWARD_OP_SYNC:
		reply(req, vfs_fsync(g->file, le32_to_cpu(ask->length)), 0, NULL, 0);
		return;
	}
	reply(req, -EINVAL, 0, NULL, 0);
}

static enum krg_forward_wish wish_of(u32 op)
{
	switch (op) {
	case KRG_FORWARD_OP_CLAIM:
		return KRG_FORWARD_CLAIM;
	case KRG_FORWARD_OP_CLOSE:
		return KRG_FORWARD_CLOSE;
	case KRG_FORWARD_OP_DROP:
		return KRG_FORWARD_DROP;
	default:
		return KRG_FORWARD_USE;
	}
}

static void handle_forward(struct krg_rpc_req *req)
{
	const struct krg_forward_ask *asked = krg_rpc_req_data(req);
	struct krg_forward_node from = { .id = krg_rpc_req_node(req), .incarnation = krg_rpc_req_incarnation(req) };
	enum krg_forward_wish wish = wish_of(le32_to_cpu(asked->op));
	u32 length = krg_rpc_req_len(req) - sizeof(*asked);
	struct krg_forward_served *g;
	bool ended;

	if (le32_to_cpu(asked->op) == KRG_FORWARD_OP_LOOK) {
		reply(req, krg_forward_look(asked + 1, length), 0, NULL, 0);
		return;
	}
	g = ask(le64_to_cpu(asked->handle), wish, &from, &ended);
	if (!g)
		reply(req, -ENOENT, 0, NULL, 0);
	else if (ended)
		reply(req, 0, 0, NULL, 0);
	else
		serve(req, g, asked, length);
	if (g)
		served_put(g);
}

static const struct krg_rpc_type forward_type = {
	.type = KRG_MSG_FORWARD, .class = KRG_CLASS_MSG, .flags = KRG_RPC_QUEUED, .name = "forward", .handle = handle_forward,
	.min_len = sizeof(struct krg_forward_ask), .max_len = sizeof(struct krg_forward_ask) + KRG_FORWARD_CHUNK,
};

/* ---- views ---- */

static bool is_there(const struct krg_view *view, const struct krg_forward_node *node)
{
	const struct krg_mbr_member *member = view ? krg_view_find(view, node->id) : NULL;

	return member && member->incarnation == node->incarnation;
}

void krg_forward_serve_view(const struct krg_view *view)
{
	struct krg_forward_served *g;
	struct hlist_node *next;
	HLIST_HEAD(ended);
	int bucket;

	mutex_lock(&grants_lock);
	hash_for_each_safe(grants, bucket, next, g, node)
		if (krg_forward_grant_view(&g->grant, is_there(view, &g->grant.owner), is_there(view, &g->grant.maker)) ==
		    KRG_FORWARD_END) {
			unlist(g);
			hlist_add_head(&g->node, &ended);
		}
	mutex_unlock(&grants_lock);
	hlist_for_each_entry_safe(g, next, &ended, node) {
		hlist_del_init(&g->node);
		served_put(g);
	}
}

unsigned int krg_forward_grants(void)
{
	return READ_ONCE(grants_count);
}

void krg_forward_serve_show(struct seq_file *m)
{
	static const char *const kinds[] = { "other", "file", "pipe", "terminal", "socket", "directory" };
	bool names = file_ns_capable(m->file, &init_user_ns, CAP_SYS_ADMIN);
	struct krg_forward_served *g;
	int bucket;

	mutex_lock(&grants_lock);
	hash_for_each(grants, bucket, g, node) {
		seq_printf(m, "serves %s to node %u%s", kinds[g->kind], g->grant.owner.id,
			   g->grant.claimed ? "" : ", not claimed");
		if (names) {
			seq_puts(m, ": ");
			seq_file_path(m, g->file, "\n\t");
		}
		seq_putc(m, '\n');
	}
	mutex_unlock(&grants_lock);
}

int krg_forward_serve_init(void)
{
	int err;

	serve_wq = alloc_workqueue("krg_forward_wake", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!serve_wq)
		return -ENOMEM;
	err = krg_rpc_register(&forward_type);
	if (err)
		destroy_workqueue(serve_wq);
	return err;
}

void krg_forward_serve_exit(void)
{
	krg_rpc_unregister(&forward_type);
	krg_forward_serve_view(NULL);
	destroy_workqueue(serve_wq);
}
