// SPDX-License-Identifier: GPL-2.0
/*
 * Forwarded files, the client: questions to the server of a file, repeated until
 * they are answered; its wake-ups; and the word that a file was closed. The file
 * that a process sees is forward_file.c's.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <kerrighed/membership.h>
#include <kerrighed/rpc.h>

#include "forward.h"

#define ASK_MS		5000	/* for one answer; then it is asked again */
#define AGAIN_MS	20	/* between two tries, when there is no connection */
#define EVERYTHING	(EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM | EPOLLERR | EPOLLHUP)

static DEFINE_XARRAY_ALLOC1(clients);	/* id -> struct krg_forward_client; its own lock */
static struct workqueue_struct *client_wq;

struct krg_forward_node krg_forward_node_of(u16 node)
{
	struct krg_forward_node found = {};
	const struct krg_mbr_member *member;
	struct krg_view *view;

	do	/* none at the moment when it is replaced by the next */
		view = krg_view_get();
	while (!view && krg_epoch());
	member = view ? krg_view_find(view, node ?: view->self) : NULL;
	if (member) {
		found.id = node ?: view->self;
		found.incarnation = member->incarnation;
	}
	krg_view_put(view);
	return found;
}

static bool is_there(const struct krg_forward_node *node)
{
	struct krg_forward_node now = krg_forward_node_of(node->id);

	return now.id && now.incarnation == node->incarnation;
}

/* ---- life ---- */

void krg_forward_client_put(struct krg_forward_client *c)
{
	if (refcount_dec_and_test(&c->refs))
		kfree_rcu(c, rcu);
}

static struct krg_forward_client *client_find(u32 id, u64 handle)
{
	struct krg_forward_client *c;

	rcu_read_lock();
	c = xa_load(&clients, id);
	if (c && (c->at.handle != handle || !refcount_inc_not_zero(&c->refs)))
		c = NULL;
	rcu_read_unlock();
	return c;
}

static void client_wake(struct krg_forward_client *c)
{
	atomic_inc(&c->news);
	wake_up_poll(&c->wait, EVERYTHING);
}

struct krg_forward_client *krg_forward_client_new(const struct krg_forwarded *at, struct krg_forward_about *about)
{
	struct krg_forward_client *c = kzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);
	struct krg_forward_call call = { .op = KRG_FORWARD_OP_CLAIM, .out = about, .out_length = sizeof(*about) };
	unsigned int i;
	s64 err;

	if (!c)
		return ERR_PTR(-ENOMEM);
	refcount_set(&c->refs, 1);
	c->at = *at;
	for (i = 0; i < KRG_FORWARD_LANES; i++)
		mutex_init(&c->lane[i].lock);
	init_waitqueue_head(&c->wait);
	err = xa_alloc(&clients, &c->id, c, xa_limit_31b, GFP_KERNEL_ACCOUNT);
	if (err) {
		kfree(c);
		return ERR_PTR(err);
	}
	/* A view that was committed before it was in the list has not looked at it. */
	if (!is_there(&at->server))
		WRITE_ONCE(c->dead, true);
	err = krg_forward_ask(c, &call);
	if (!err && call.got != sizeof(*about))
		err = -EPROTO;
	if (err) {
		krg_forward_client_close(c);
		krg_forward_client_put(c);
		return ERR_PTR(err);
	}
	return c;
}

void krg_forward_client_close(struct krg_forward_client *c)
{
	xa_erase(&clients, c->id);
	if (!READ_ONCE(c->dead))
		krg_forward_tell(&c->at.server, c->at.handle, KRG_FORWARD_OP_CLOSE);
}

/* ---- asking ---- */

static struct krg_forward_lane_client *lane_of(struct krg_forward_client *c, u32 op)
{
	switch (op) {
	case KRG_FORWARD_OP_READ:
		return &c->lane[KRG_FORWARD_IN];
	case KRG_FORWARD_OP_WRITE:
		return &c->lane[KRG_FORWARD_OUT];
	case KRG_FORWARD_OP_SEEK:
	case KRG_FORWARD_OP_IOCTL:
	case KRG_FORWARD_OP_GRANT:
		return &c->lane[KRG_FORWARD_CONTROL];
	default:
		return NULL;
	}
}

static bool may_pass(int err)
{
	switch (err) {
	case -ETIMEDOUT:
	case -ECONNRESET:
	case -ENOTCONN:
	case -EHOSTDOWN:
	case -ESTALE:
	case -EIO:
	case -EAGAIN:
	case -EBUSY:
	case -ENOMEM:
		return true;
	}
	return false;
}

/* One message and its answer; a negative errno: of the connection. */
static int ask_once(struct krg_forward_client *c, struct krg_forward_call *call, u64 number,
		    struct krg_forward_answer *answer)
{
	struct krg_forward_ask ask = {
		.handle = cpu_to_le64(c->at.handle), .client = cpu_to_le64(c->id), .number = cpu_to_le64(number),
		.pos = cpu_to_le64(call->pos), .op = cpu_to_le32(call->op), .length = cpu_to_le32(call->length),
		.flags = cpu_to_le32(call->flags), .events = cpu_to_le32(call->events),
		.pid = cpu_to_le32(task_tgid_nr(current)),
	};
	struct kvec vec[] = {
		{ .iov_base = &ask, .iov_len = sizeof(ask) },
		{ .iov_base = (void *)call->in, .iov_len = call->in_length },
	};
	struct kvec reply[] = {
		{ .iov_base = answer, .iov_len = sizeof(*answer) },
		{ .iov_base = call->out, .iov_len = call->out_length },
	};
	int n = krg_rpc_call(c->at.server.id, KRG_MSG_FORWARD, vec, call->in_length ? 2 : 1, reply, call->out_length ? 2 : 1,
			     ASK_MS);

	if (n >= 0 && n < (int)sizeof(*answer))
		return -EBADMSG;
	call->got = n < 0 ? 0 : n - sizeof(*answer);
	return min(n, 0);
}

static s64 ask_until(struct krg_forward_client *c, struct krg_forward_call *call, u64 number)
{
	struct krg_forward_answer answer;
	int err;

	for (;;) {
		if (READ_ONCE(c->dead))
			return -EIO;
		err = ask_once(c, call, number, &answer);
		if (!err)
			break;
		if (!may_pass(err)) {
			pr_warn_ratelimited("a file on node %u is lost: error %d\n", c->at.server.id, err);
			WRITE_ONCE(c->dead, true);
			return -EIO;
		}
		/* The server is there, or a view without it comes; who is killed does not wait for either. */
		if (fatal_signal_pending(current))
			return -EINTR;
		msleep(AGAIN_MS);
	}
	call->wait_ms = le32_to_cpu(answer.wait_ms);
	err = le32_to_cpu(answer.error);
	/* The server has no such grant, or another idea of it: nothing will ever be answered. */
	if (err == ENOENT || err == EPROTO)
		WRITE_ONCE(c->dead, true);
	if (READ_ONCE(c->dead) || err > MAX_ERRNO || err == EINTR)
		return -EIO;
	return err ? -err : (s64)le64_to_cpu(answer.value);
}

s64 krg_forward_ask(struct krg_forward_client *c, struct krg_forward_call *call)
{
	struct krg_forward_lane_client *lane = lane_of(c, call->op);
	s64 value;

	if (!lane)
		return ask_until(c, call, 0);
	mutex_lock(&lane->lock);
	value = lane->lost ? -EIO : ask_until(c, call, lane->number + 1);
	/* Whether it was done nobody knows, so nobody can ask for the next one. */
	if (value == -EINTR)
		lane->lost = true;
	lane->number++;
	mutex_unlock(&lane->lock);
	return value;
}

int krg_forward_again(struct krg_forward_client *c, const struct krg_forward_node *owner, u64 *handle)
{
	__le64 wire = 0;
	struct krg_forward_call call = {
		.op = KRG_FORWARD_OP_GRANT, .length = owner->id, .pos = owner->incarnation, .out = &wire, .out_length = sizeof(wire),
	};
	s64 err = krg_forward_ask(c, &call);

	if (err)
		return min_t(s64, err, 0) ?: -EPROTO;
	*handle = le64_to_cpu(wire);
	return call.got == sizeof(wire) && *handle ? 0 : -EPROTO;
}

/* ---- telling ---- */

struct word {
	struct delayed_work work;
	struct krg_forward_node server;
	u64 handle;
	enum krg_forward_op op;
};

static void tell_work(struct work_struct *work)
{
	struct word *word = container_of(to_delayed_work(work), struct word, work);
	struct krg_forward_ask ask = { .handle = cpu_to_le64(word->handle), .op = cpu_to_le32(word->op) };
	struct kvec vec = { .iov_base = &ask, .iov_len = sizeof(ask) };
	struct krg_forward_answer answer;
	struct kvec reply = { .iov_base = &answer, .iov_len = sizeof(answer) };
	int err = is_there(&word->server) ? krg_rpc_call(word->server.id, KRG_MSG_FORWARD, &vec, 1, &reply, 1, ASK_MS) : 0;

	if (err < 0 && may_pass(err)) {
		queue_delayed_work(client_wq, &word->work, msecs_to_jiffies(AGAIN_MS));
		return;
	}
	kfree(word);
	module_put(THIS_MODULE);
}

void krg_forward_tell(const struct krg_forward_node *server, u64 handle, enum krg_forward_op op)
{
	struct word *word = kzalloc(sizeof(*word), GFP_KERNEL | __GFP_NOFAIL);

	word->server = *server;
	word->handle = handle;
	word->op = op;
	INIT_DELAYED_WORK(&word->work, tell_work);
	__module_get(THIS_MODULE);
	queue_delayed_work(client_wq, &word->work, 0);
}

/* ---- being woken ---- */

/* In the receiving thread. */
static void handle_wake(struct krg_rpc_req *req)
{
	const struct krg_forward_wake *wake = krg_rpc_req_data(req);
	struct krg_forward_client *c = client_find(le64_to_cpu(wake->client), le64_to_cpu(wake->handle));

	if (!c)
		return;
	if (c->at.server.id == krg_rpc_req_node(req))
		client_wake(c);
	krg_forward_client_put(c);
}

static const struct krg_rpc_type wake_type = {
	.type = KRG_MSG_FORWARD_WAKE, .class = KRG_CLASS_MSG, .name = "forward_wake", .handle = handle_wake,
	.min_len = sizeof(struct krg_forward_wake), .max_len = sizeof(struct krg_forward_wake),
};

/* A wake-up of an older epoch is not delivered: all look again. */
void krg_forward_client_view(const struct krg_view *view)
{
	const struct krg_mbr_member *member;
	struct krg_forward_client *c;
	unsigned long id;

	xa_lock(&clients);
	xa_for_each(&clients, id, c) {
		member = view ? krg_view_find(view, c->at.server.id) : NULL;
		if (!member || member->incarnation != c->at.server.incarnation)
			WRITE_ONCE(c->dead, true);
		client_wake(c);
	}
	xa_unlock(&clients);
}

void krg_forward_client_show(struct seq_file *m)
{
	static const char *const kinds[] = { "other", "file", "pipe", "terminal", "socket", "directory" };
	struct krg_forward_client *c;
	unsigned long id;

	xa_lock(&clients);
	xa_for_each(&clients, id, c)
		seq_printf(m, "uses %s of node %u%s\n", kinds[c->at.kind], c->at.server.id,
			   READ_ONCE(c->dead) ? ", lost" : "");
	xa_unlock(&clients);
}

int krg_forward_client_init(void)
{
	int err;

	client_wq = alloc_workqueue("krg_forward", WQ_UNBOUND, 0);
	if (!client_wq)
		return -ENOMEM;
	err = krg_rpc_register(&wake_type);
	if (err)
		destroy_workqueue(client_wq);
	return err;
}

void krg_forward_client_exit(void)
{
	krg_rpc_unregister(&wake_type);
	destroy_workqueue(client_wq);
	rcu_barrier();
}
