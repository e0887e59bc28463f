// SPDX-License-Identifier: GPL-2.0
/*
 * Calls and handlers: the bookkeeping of rpc.h between callers, message types and
 * connections. Reading and writing connections is conn.c's.
 *
 * A call lives on its caller's stack and in its session's hash. Whoever receives
 * the answer takes it out of the hash and marks it busy, fills the caller's
 * buffers, and completes it under the lock; a caller whose deadline passes takes
 * it out itself, or waits the moment until the busy one is done.
 *
 * Which messages are delivered: those of the committed epoch while the lease
 * runs, and those of types that are valid in any epoch. Older ones are answered
 * with ESTALE. Newer ones, and all that arrive while this node may not serve,
 * are parked, in order, up to KRG_PARKED_BYTES per connection; then the
 * connection is not read any further until the view commits.
 */
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include <kerrighed/membership.h>
#include <kerrighed/rpc.h>

#include "session.h"
#include "stats.h"

#define KRG_PARKED_BYTES	(256 * 1024)
#define KRG_WORKERS_MAX		64

struct rpc_slot {
	const struct krg_rpc_type __rcu *type;
	atomic_t users;			/* handlers running or queued */
};

static struct rpc_slot rpc_slots[KRG_MSG_TYPE_MAX + 1];
static DEFINE_MUTEX(rpc_types_mutex);	/* registering and unregistering */
static DECLARE_WAIT_QUEUE_HEAD(rpc_types_idle);
static struct workqueue_struct *rpc_wq;

/* ---- types ---- */

static const struct krg_rpc_type *type_get(u16 number)
{
	const struct krg_rpc_type *type;

	if (number > KRG_MSG_TYPE_MAX)
		return NULL;
	rcu_read_lock();
	type = rcu_dereference(rpc_slots[number].type);
	if (type)
		atomic_inc(&rpc_slots[number].users);
	rcu_read_unlock();
	return type;
}

static void type_put(const struct krg_rpc_type *type)
{
	if (atomic_dec_and_test(&rpc_slots[type->type].users))
		wake_up_all(&rpc_types_idle);
}

int krg_rpc_register(const struct krg_rpc_type *type)
{
	int err = 0;

	if (!type->type || type->type > KRG_MSG_TYPE_MAX || type->class >= KRG_CLASS_NR ||
	    type->max_len > KRG_WIRE_PAYLOAD_MAX || type->min_len > type->max_len ||
	    !type->handle || !type->name)
		return -EINVAL;
	/* The membership thread serves CTL and has no reserve: nothing may wait there. */
	if (type->class == KRG_CLASS_CTL && (type->flags & KRG_RPC_QUEUED))
		return -EINVAL;

	mutex_lock(&rpc_types_mutex);
	if (rcu_access_pointer(rpc_slots[type->type].type))
		err = -EEXIST;
	else
		err = krg_stats_type_add(type->type, type->name);
	if (!err)
		rcu_assign_pointer(rpc_slots[type->type].type, type);
	mutex_unlock(&rpc_types_mutex);
	return err;
}
EXPORT_SYMBOL_GPL(krg_rpc_register);

void krg_rpc_unregister(const struct krg_rpc_type *type)
{
	struct rpc_slot *slot = &rpc_slots[type->type];

	mutex_lock(&rpc_types_mutex);
	if (rcu_access_pointer(slot->type) == type) {
		RCU_INIT_POINTER(slot->type, NULL);
		krg_stats_type_remove(type->type);
		synchronize_rcu();
		/* Handlers are bounded in time: that is their contract. */
		wait_event(rpc_types_idle, !atomic_read(&slot->users));
	}
	mutex_unlock(&rpc_types_mutex);
}
EXPORT_SYMBOL_GPL(krg_rpc_unregister);

/* ---- what a handler sees ---- */

u16 krg_rpc_req_node(const struct krg_rpc_req *req)
{
	return req->conn->session->node;
}
EXPORT_SYMBOL_GPL(krg_rpc_req_node);

u64 krg_rpc_req_incarnation(const struct krg_rpc_req *req)
{
	return req->conn->session->incarnation;
}
EXPORT_SYMBOL_GPL(krg_rpc_req_incarnation);

u64 krg_rpc_req_epoch(const struct krg_rpc_req *req)
{
	return req->msg.epoch;
}
EXPORT_SYMBOL_GPL(krg_rpc_req_epoch);

u32 krg_rpc_req_len(const struct krg_rpc_req *req)
{
	return req->msg.length;
}
EXPORT_SYMBOL_GPL(krg_rpc_req_len);

const void *krg_rpc_req_data(const struct krg_rpc_req *req)
{
	return req->data;
}
EXPORT_SYMBOL_GPL(krg_rpc_req_data);

bool krg_rpc_req_wants_reply(const struct krg_rpc_req *req)
{
	return req->msg.flags & KRG_WIRE_F_REQUEST;
}
EXPORT_SYMBOL_GPL(krg_rpc_req_wants_reply);

/* ---- answering ---- */

static int vec_length(const struct kvec *vec, size_t nr, u32 *len)
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

/* Sends an answer without waiting, through the queue if need be. */
static int rpc_answer_send(struct krg_conn *c, const struct krg_wire_msg *request, int status,
			   const struct kvec *vec, size_t nr, u32 len)
{
	struct krg_wire_msg msg = {
		.flags = KRG_WIRE_F_REPLY | (request->flags & KRG_WIRE_F_ANY_EPOCH),
		.type = request->type,
		.status = -status,
		.length = len,
		.epoch = request->epoch,
		.request = request->request,
	};
	int err;

	atomic_dec(&c->serving);
	err = krg_conn_send(c, &msg, vec, nr, 0);
	if (err == -EAGAIN)
		err = krg_queue_add(c, &msg, vec, nr, true);
	/* An answer that got lost would leave its caller waiting and the order broken. */
	if (err && err != -ECONNRESET)
		krg_session_kill(c->session, "no memory for an answer");
	return err;
}

int krg_rpc_reply(struct krg_rpc_req *req, int status, const struct kvec *vec, size_t nr)
{
	u32 len;
	int err;

	if (!krg_rpc_req_wants_reply(req) || req->answered || status > 0 || status < -MAX_ERRNO)
		return -EINVAL;
	if (status)
		nr = 0;
	err = vec_length(vec, nr, &len);
	if (err)
		return err;
	req->answered = true;
	/* Late: whatever the handler found is not this node's to say any more. */
	if (!(req->msg.flags & KRG_WIRE_F_ANY_EPOCH) && !krg_may_serve()) {
		status = -EHOSTDOWN;
		nr = 0;
		len = 0;
	}
	return rpc_answer_send(req->conn, &req->msg, status, vec, nr, len);
}
EXPORT_SYMBOL_GPL(krg_rpc_reply);

/* ---- receiving messages ---- */

enum rpc_gate { GATE_DELIVER, GATE_PARK, GATE_STALE };

static enum rpc_gate rpc_gate(const struct krg_wire_msg *m)
{
	u64 epoch;

	if (m->flags & KRG_WIRE_F_ANY_EPOCH)
		return GATE_DELIVER;
	epoch = krg_epoch();
	if (m->epoch < epoch)
		return GATE_STALE;
	return m->epoch > epoch || !krg_may_serve() ? GATE_PARK : GATE_DELIVER;
}

static void rpc_handle(struct krg_rpc_req *req)
{
	req->type->handle(req);
	if (krg_rpc_req_wants_reply(req) && !req->answered)
		krg_rpc_reply(req, -EIO, NULL, 0);
	type_put(req->type);
}

static void rpc_work(struct work_struct *work)
{
	struct krg_rpc_req *req = container_of(work, struct krg_rpc_req, work);

	rpc_handle(req);
	krg_req_free(req);
}

static void rpc_queue(struct krg_rpc_req *req)
{
	INIT_WORK(&req->work, rpc_work);
	queue_work(rpc_wq, &req->work);
}

/* Not delivered: says why, if somebody asked, and drops it. */
static int rpc_refuse(struct krg_conn *c, int status, enum krg_stats_counter counter)
{
	krg_stats_inc(counter);
	krg_stats_type_inc(c->rx_msg.type, KRG_ST_ERRORS);
	if (c->rx_msg.flags & KRG_WIRE_F_REQUEST)
		rpc_answer_send(c, &c->rx_msg, status, NULL, 0, 0);
	return krg_conn_skip_payload(c);
}

/* The whole message into memory of its own: parked, or for a worker. */
static int rpc_copy(struct krg_conn *c, bool park, struct krg_rpc_req **out)
{
	u32 len = c->rx_msg.length;
	struct krg_rpc_req *req;
	struct kvec vec;
	int err;

	if (park && c->parked_bytes + len > KRG_PARKED_BYTES)
		return -EBUSY;
	req = krg_req_alloc(c, len);
	if (!req)
		return -EBUSY;
	vec.iov_base = req->payload;
	vec.iov_len = len;
	err = krg_conn_payload(c, &vec, len ? 1 : 0);
	if (err) {
		krg_req_free(req);
		return err;
	}
	*out = req;
	return 0;
}

/* Runs the handler here; the payload goes where the type wants it. */
static int rpc_inline(struct krg_conn *c, const struct krg_rpc_type *type)
{
	struct krg_rpc_req *req = c->rx_req;
	struct kvec vec[KRG_RPC_VEC_MAX];
	int err, n = 0;
	u32 len;

	req->conn = c;
	req->msg = c->rx_msg;
	req->type = type;
	req->answered = false;
	req->data = c->rx_small.data;
	if (type->place) {
		n = type->place(req, vec, KRG_RPC_VEC_MAX);
		if (n > 0 && (vec_length(vec, n, &len) || len != c->rx_msg.length))
			n = -EMSGSIZE;
		if (n < 0) {
			type_put(type);
			return rpc_refuse(c, n, KRG_ST_REFUSED_TYPE);
		}
	}
	if (n > 0) {
		req->data = NULL;
		err = krg_conn_payload(c, vec, n);
	} else if (c->rx_ended) {
		c->rx_pending = false;
		err = 0;
	} else {
		req->data = c->rx_buf;
		vec[0].iov_base = c->rx_buf;
		vec[0].iov_len = c->rx_msg.length;
		err = krg_conn_payload(c, vec, 1);
	}
	if (err) {
		type_put(type);
		return err;
	}
	rpc_handle(req);
	return 0;
}

static int rpc_park(struct krg_conn *c)
{
	struct krg_rpc_req *req;
	int err = rpc_copy(c, true, &req);

	if (err)
		return err;
	krg_stats_inc(KRG_ST_PARKED);
	c->parked_bytes += req->msg.length;
	list_add_tail(&req->list, &c->parked);
	return 0;
}

/* Length and type are right: to whom? */
static int rpc_deliver(struct krg_conn *c, const struct krg_rpc_type *type)
{
	struct krg_rpc_req *req;
	int err;

	if (!(type->flags & KRG_RPC_QUEUED))
		return rpc_inline(c, type);
	err = rpc_copy(c, false, &req);
	if (err) {
		type_put(type);
		return err;
	}
	req->type = type;
	rpc_queue(req);
	return 0;
}

int krg_rpc_message(struct krg_conn *c)
{
	const struct krg_wire_msg *m = &c->rx_msg;
	bool request = m->flags & KRG_WIRE_F_REQUEST;
	const struct krg_rpc_type *type;
	enum rpc_gate gate = rpc_gate(m);
	int err;

	/* Honest peers keep within the window, which is what bounds our queue of answers. */
	if (request && atomic_inc_return(&c->serving) > KRG_RPC_WINDOW)
		return -EBADMSG;
	if (gate == GATE_DELIVER && !(m->flags & KRG_WIRE_F_ANY_EPOCH) && !list_empty(&c->parked))
		gate = GATE_PARK;
	if (gate == GATE_STALE)
		return rpc_refuse(c, -ESTALE, KRG_ST_STALE);

	type = type_get(m->type);
	if (!type)
		return rpc_refuse(c, -EOPNOTSUPP, KRG_ST_REFUSED_TYPE);
	if (type->class != c->class ||
	    !(type->flags & KRG_RPC_ANY_EPOCH) != !(m->flags & KRG_WIRE_F_ANY_EPOCH))
		err = rpc_refuse(c, -EPROTO, KRG_ST_REFUSED_TYPE);
	else if (m->length < type->min_len || m->length > type->max_len)
		err = rpc_refuse(c, m->length < type->min_len ? -EBADMSG : -EMSGSIZE,
				 KRG_ST_REFUSED_TYPE);
	else if (gate == GATE_PARK)
		err = rpc_park(c);
	else {
		err = rpc_deliver(c, type);
		type = NULL;	/* the reference went with it */
	}
	if (type)
		type_put(type);
	if (err == -EBUSY && request)
		atomic_dec(&c->serving);	/* it will be looked at again */
	return err;
}

/* A parked message: the type may have gone since. Takes @req over. */
static void rpc_deliver_parked(struct krg_rpc_req *req, enum rpc_gate gate)
{
	int status = gate == GATE_STALE ? -ESTALE : -EOPNOTSUPP;

	req->type = gate == GATE_STALE ? NULL : type_get(req->msg.type);
	if (!req->type) {
		krg_stats_inc(gate == GATE_STALE ? KRG_ST_STALE : KRG_ST_REFUSED_TYPE);
		if (krg_rpc_req_wants_reply(req))
			rpc_answer_send(req->conn, &req->msg, status, NULL, 0, 0);
		krg_req_free(req);
	} else if (req->type->flags & KRG_RPC_QUEUED) {
		rpc_queue(req);
	} else {
		rpc_handle(req);
		krg_req_free(req);
	}
}

int krg_rpc_unpark(struct krg_conn *c)
{
	struct krg_rpc_req *req;
	enum rpc_gate gate;

	while ((req = list_first_entry_or_null(&c->parked, struct krg_rpc_req, list))) {
		gate = rpc_gate(&req->msg);
		if (gate == GATE_PARK)
			break;
		list_del(&req->list);
		c->parked_bytes -= req->msg.length;
		rpc_deliver_parked(req, gate);
	}
	return 0;
}

void krg_rpc_drop_parked(struct krg_conn *c)
{
	struct krg_rpc_req *req, *next;

	list_for_each_entry_safe(req, next, &c->parked, list) {
		list_del(&req->list);
		krg_req_free(req);
	}
	c->parked_bytes = 0;
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
	struct kvec vec[KRG_RPC_VEC_MAX];
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
	ret = vec_length(vec, nr, &len) ?: vec_length(reply, reply_nr, &call.reply_max);
	if (ret)
		return ret;
	type = type_get(number);
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
	type_put(type);
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
	int err = vec_length(vec, nr, &msg.length);

	if (err)
		return err;
	type = type_get(number);
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
		if (err == -EAGAIN)
			err = krg_queue_add(c, &msg, vec, nr, false);
	} else {
		err = krg_conn_send(c, &msg, vec, nr, jiffies + msecs_to_jiffies(timeout_ms));
	}
	if (err)
		krg_stats_type_inc(number, err == -ETIMEDOUT ? KRG_ST_TIMEOUTS : KRG_ST_ERRORS);
	krg_session_put(s);
put_type:
	type_put(type);
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

	rpc_wq = alloc_workqueue("krg_rpc", WQ_UNBOUND | WQ_MEM_RECLAIM, KRG_WORKERS_MAX);
	if (!rpc_wq)
		return -ENOMEM;
	err = krg_rpc_register(&rpc_ping_type);
	if (err)
		goto destroy;
	err = krg_subscriber_register(&rpc_subscriber);
	if (err)
		goto unregister;
	return 0;

unregister:
	krg_rpc_unregister(&rpc_ping_type);
destroy:
	destroy_workqueue(rpc_wq);
	return err;
}

void krg_rpc_exit(void)
{
	krg_subscriber_unregister(&rpc_subscriber);
	krg_rpc_unregister(&rpc_ping_type);
	destroy_workqueue(rpc_wq);
}
