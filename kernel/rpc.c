// SPDX-License-Identifier: GPL-2.0
/*
 * The calling half of rpc.h: calls, one-way messages, and answers on their way
 * back to callers. Message types and handlers are dispatch.c's, connections
 * conn.c's.
 *
 * A call lives on its caller's stack and in its session's hash. Whoever receives
 * the answer takes it out of the hash and marks it busy, fills the caller's
 * buffers, and completes it under the lock; a caller whose deadline passes takes
 * it out itself, or waits the moment until the busy one is done.
 */
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include <kerrighed/compat.h>
#include <kerrighed/membership.h>
#include <kerrighed/rpc.h>

#include "session.h"
#include "stats.h"

int krg_rpc_length(const struct kvec *vec, size_t nr, u32 *len)
{
	size_t sum = 0, i;

	if (nr > KRG_RPC_VEC_MAX)
		return -EMSGSIZE;
	for (i = 0; i < nr; i++) {
		sum += vec[i].iov_len;
		if (vec[i].iov_len > KRG_WIRE_PAYLOAD_MAX || sum > KRG_WIRE_PAYLOAD_MAX)
			return -EMSGSIZE;
	}
	*len = sum;
	return 0;
}

/* ---- receiving answers ---- */

static struct hlist_head *call_bucket(struct krg_session *s, u64 request)
{
	return &s->calls[request % KRG_CALL_BUCKETS];
}

static struct krg_call *call_take(struct krg_session *s, u64 request, u16 type)
{
	struct krg_call *call;

	spin_lock(&s->calls_lock);
	hlist_for_each_entry(call, call_bucket(s, request), hash) {
		if (call->request == request && call->type == type) {
			hlist_del_init(&call->hash);
			call->busy = true;
			spin_unlock(&s->calls_lock);
			return call;
		}
	}
	spin_unlock(&s->calls_lock);
	return NULL;
}

/* Under the lock: the caller may be gone the moment it is released. */
static void call_complete(struct krg_session *s, struct krg_call *call, int result)
{
	lockdep_assert_held(&s->calls_lock);
	call->result = result;
	call->busy = false;
	WRITE_ONCE(call->done, true);
	wake_up(&call->wait);
}

static int call_fill(struct krg_conn *c, struct krg_call *call)
{
	struct kvec vec[KRG_RPC_VEC_MAX] krg_uninitialized;
	u32 left = c->rx_msg.length;
	size_t n;

	for (n = 0; n < call->reply_nr && left; n++) {
		vec[n] = call->reply[n];
		vec[n].iov_len = min_t(size_t, vec[n].iov_len, left);
		left -= vec[n].iov_len;
	}
	return krg_conn_payload(c, vec, n);
}

int krg_rpc_answer(struct krg_conn *c)
{
	const struct krg_wire_msg *m = &c->rx_msg;
	struct krg_session *s = c->session;
	struct krg_call *call = call_take(s, m->request, m->type);
	int result, err;

	/* Every request is answered once, given up or not: its place in the window is free. */
	up(&c->window);
	if (!call) {
		krg_stats_inc(KRG_ST_LATE);
		return krg_conn_skip_payload(c);
	}
	if (m->status || m->length > call->reply_max) {
		result = m->status ? -m->status : -EMSGSIZE;
		err = krg_conn_skip_payload(c);
	} else {
		result = m->length;
		err = call_fill(c, call);
		if (err)
			result = -ECONNRESET;
	}
	spin_lock(&s->calls_lock);
	call_complete(s, call, result);
	spin_unlock(&s->calls_lock);
	return err;
}

void krg_rpc_cancel_calls(struct krg_session *s, int err)
{
	struct hlist_node *next;
	struct krg_call *call;
	int i;

	spin_lock(&s->calls_lock);
	for (i = 0; i < KRG_CALL_BUCKETS; i++) {
		hlist_for_each_entry_safe(call, next, &s->calls[i], hash) {
			hlist_del_init(&call->hash);
			call_complete(s, call, err);
		}
	}
	spin_unlock(&s->calls_lock);
}

/* ---- calling ---- */

/* 0, or -ECONNRESET when the session died before the call was in its hash. */
static int call_start(struct krg_session *s, struct krg_call *call)
{
	int err = 0;

	spin_lock(&s->calls_lock);
	if (krg_session_dead(s)) {
		err = -ECONNRESET;
	} else {
		call->request = ++s->next_request;
		hlist_add_head(&call->hash, call_bucket(s, call->request));
	}
	spin_unlock(&s->calls_lock);
	return err;
}

/* Nobody knows of @call any more when this returns. */
static int call_finish(struct krg_session *s, struct krg_call *call, int otherwise)
{
	int result;

	spin_lock(&s->calls_lock);
	while (call->busy) {	/* somebody fills it this very moment */
		spin_unlock(&s->calls_lock);
		schedule_timeout_uninterruptible(1);
		spin_lock(&s->calls_lock);
	}
	if (!call->done) {
		hlist_del_init(&call->hash);
		call->result = otherwise;
	}
	result = call->result;
	spin_unlock(&s->calls_lock);
	return result;
}

static int rpc_call(struct krg_session *s, const struct krg_rpc_type *type, const struct kvec *vec,
		    size_t nr, u32 len, struct krg_call *call, unsigned long deadline)
{
	struct krg_conn *c = &s->conn[type->class];
	struct krg_wire_msg msg = {
		.flags = KRG_WIRE_F_REQUEST |
			 (type->flags & KRG_RPC_ANY_EPOCH ? KRG_WIRE_F_ANY_EPOCH : 0),
		.type = type->type,
		.length = len,
		.epoch = krg_epoch(),
	};
	long left = deadline - jiffies;
	int err;

	if (left <= 0 || down_timeout(&c->window, left))
		return krg_session_dead(s) ? -ECONNRESET : -ETIMEDOUT;
	err = call_start(s, call);
	if (err) {
		up(&c->window);
		return err;
	}
	msg.request = call->request;
	err = krg_conn_send(c, &msg, vec, nr, deadline);
	if (err)
		up(&c->window);	/* it was never sent; otherwise the answer does this */
	else
		krg_conn_await(c, call, deadline);
	return call_finish(s, call, err ?: -ETIMEDOUT);
}

int krg_rpc_call(u16 node, u16 number, const struct kvec *vec, size_t nr, const struct kvec *reply,
		 size_t reply_nr, unsigned int timeout_ms)
{
	struct krg_call call = { .type = number, .reply = reply, .reply_nr = reply_nr };
	unsigned long deadline = jiffies + msecs_to_jiffies(timeout_ms);
	const struct krg_rpc_type *type;
	struct krg_session *s;
	ktime_t start = ktime_get();
	u32 len;
	int ret;

	might_sleep();
	ret = krg_rpc_length(vec, nr, &len) ?: krg_rpc_length(reply, reply_nr, &call.reply_max);
	if (ret)
		return ret;
	type = krg_rpc_type_get(number);
	if (!type)
		return -EOPNOTSUPP;
	ret = -EHOSTDOWN;
	if (!(type->flags & KRG_RPC_ANY_EPOCH) && !krg_may_serve())
		goto put_type;
	ret = -ENOTCONN;
	s = krg_session_get(node);
	if (!s)
		goto put_type;
	init_waitqueue_head(&call.wait);
	INIT_LIST_HEAD(&call.waiter);
	INIT_HLIST_NODE(&call.hash);
	ret = rpc_call(s, type, vec, nr, len, &call, deadline);
	if (ret >= 0)
		krg_stats_latency(node, number, ktime_to_ns(ktime_sub(ktime_get(), start)));
	else
		krg_stats_type_inc(number, ret == -ETIMEDOUT ? KRG_ST_TIMEOUTS : KRG_ST_ERRORS);
	krg_session_put(s);
put_type:
	krg_rpc_type_put(type);
	return ret;
}
EXPORT_SYMBOL_GPL(krg_rpc_call);

/* What one-way messages have in common; @timeout_ms 0: do not wait. */
static int rpc_oneway(u16 node, u16 number, const struct kvec *vec, size_t nr,
		      unsigned int timeout_ms, bool post)
{
	struct krg_wire_msg msg = { .type = number };
	const struct krg_rpc_type *type;
	struct krg_session *s;
	struct krg_conn *c;
	int err = krg_rpc_length(vec, nr, &msg.length);

	if (err)
		return err;
	type = krg_rpc_type_get(number);
	if (!type)
		return -EOPNOTSUPP;
	if (type->flags & KRG_RPC_ANY_EPOCH)
		msg.flags = KRG_WIRE_F_ANY_EPOCH;
	err = -EHOSTDOWN;
	msg.epoch = krg_epoch();
	if (!msg.flags && !krg_may_serve())
		goto put_type;
	err = -ENOTCONN;
	s = krg_session_get(node);
	if (!s)
		goto put_type;
	c = &s->conn[type->class];
	if (post) {
		err = krg_conn_send(c, &msg, vec, nr, 0);
		if (err == -EAGAIN || err == -EBUSY)
			err = krg_queue_add(c, &msg, vec, nr, false);
	} else {
		err = krg_conn_send(c, &msg, vec, nr, jiffies + msecs_to_jiffies(timeout_ms));
	}
	if (err)
		krg_stats_type_inc(number, err == -ETIMEDOUT ? KRG_ST_TIMEOUTS : KRG_ST_ERRORS);
	krg_session_put(s);
put_type:
	krg_rpc_type_put(type);
	return err;
}

int krg_rpc_send(u16 node, u16 number, const struct kvec *vec, size_t nr, unsigned int timeout_ms)
{
	might_sleep();
	return rpc_oneway(node, number, vec, nr, timeout_ms, false);
}
EXPORT_SYMBOL_GPL(krg_rpc_send);

int krg_rpc_post(u16 node, u16 number, const struct kvec *vec, size_t nr)
{
	return rpc_oneway(node, number, vec, nr, 0, true);
}
EXPORT_SYMBOL_GPL(krg_rpc_post);

void krg_rpc_reset(u16 node, const char *why)
{
	struct krg_session *s = krg_session_get(node);

	if (!s)
		return;
	krg_session_kill(s, why);
	krg_session_put(s);
}
EXPORT_SYMBOL_GPL(krg_rpc_reset);

/* ---- echo, for `krgadm link` and tests ---- */

static void rpc_ping(struct krg_rpc_req *req)
{
	struct kvec vec = {
		.iov_base = (void *)krg_rpc_req_data(req), .iov_len = krg_rpc_req_len(req),
	};

	krg_rpc_reply(req, 0, &vec, vec.iov_len ? 1 : 0);
}

static const struct krg_rpc_type rpc_ping_type = {
	.type = KRG_MSG_PING, .class = KRG_CLASS_MSG, .flags = KRG_RPC_ANY_EPOCH,
	.max_len = PAGE_SIZE, .name = "ping", .handle = rpc_ping,
};

/* ---- views ---- */

static void rpc_prepare(struct krg_subscriber *sub, const struct krg_view *view)
{
	struct krg_session *s;
	int i;

	for (i = 0; i < view->removed_count; i++) {
		s = krg_session_get(view->removed[i].node);
		if (s && s->incarnation == view->removed[i].incarnation)
			krg_rpc_cancel_calls(s, -ECONNRESET);
		krg_session_put(s);
	}
}

static void rpc_commit(struct krg_subscriber *sub, const struct krg_view *view)
{
	krg_session_kick_all();
}

static void rpc_resume(struct krg_subscriber *sub)
{
	krg_session_kick_all();
}

static const struct krg_subscriber_ops rpc_subscriber_ops = {
	.prepare = rpc_prepare,
	.commit = rpc_commit,
	.resume = rpc_resume,
};

/* Everything is built on messages: stops last, starts first. */
static struct krg_subscriber rpc_subscriber = {
	.name = "rpc", .priority = INT_MIN, .ops = &rpc_subscriber_ops,
};

int krg_rpc_init(void)
{
	int err;

	err = krg_rpc_register(&rpc_ping_type);
	if (err)
		return err;
	err = krg_subscriber_register(&rpc_subscriber);
	if (err)
		krg_rpc_unregister(&rpc_ping_type);
	return err;
}

void krg_rpc_exit(void)
{
	krg_subscriber_unregister(&rpc_subscriber);
	krg_rpc_unregister(&rpc_ping_type);
}
