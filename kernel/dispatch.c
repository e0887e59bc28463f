// SPDX-License-Identifier: GPL-2.0
/*
 * The receiving half of rpc.h: message types, and messages on their way to
 * handlers. Calls and their answers are rpc.c's, connections conn.c's.
 *
 * Which messages are delivered: those of the committed epoch while the lease
 * runs, and those of types that are valid in any epoch. Older ones are answered
 * with ESTALE. Newer ones, and all that arrive while this node may not serve,
 * are parked, in order, up to KRG_PARKED_BYTES per connection; then the
 * connection is not read any further until the view commits.
 */
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include <kerrighed/compat.h>
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

const struct krg_rpc_type *krg_rpc_type_get(u16 number)
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

void krg_rpc_type_put(const struct krg_rpc_type *type)
{
	/* Fully ordered, as is set_current_state() of whoever waits: one sees the other. */
	if (atomic_dec_and_test(&rpc_slots[type->type].users) && waitqueue_active(&rpc_types_idle))
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

/* Sends an answer without waiting, through the queue if need be. */
static int dispatch_answer(struct krg_conn *c, const struct krg_wire_msg *request, int status,
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
	if (err == -EAGAIN || err == -EBUSY)
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
	err = krg_rpc_length(vec, nr, &len);
	if (err)
		return err;
	req->answered = true;
	/* Late: whatever the handler found is not this node's to say any more. */
	if (!(req->msg.flags & KRG_WIRE_F_ANY_EPOCH) && !krg_may_serve()) {
		status = -EHOSTDOWN;
		nr = 0;
		len = 0;
	}
	return dispatch_answer(req->conn, &req->msg, status, vec, nr, len);
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
	krg_rpc_type_put(req->type);
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
		dispatch_answer(c, &c->rx_msg, status, NULL, 0, 0);
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
	struct kvec vec[KRG_RPC_VEC_MAX] krg_uninitialized;
	int err, n = 0;
	u32 len;

	req->conn = c;
	req->msg = c->rx_msg;
	req->type = type;
	req->answered = false;
	req->data = c->rx_small.data;
	if (type->place) {
		n = type->place(req, vec, KRG_RPC_VEC_MAX);
		if (n > 0 && (krg_rpc_length(vec, n, &len) || len != c->rx_msg.length))
			n = -EMSGSIZE;
		if (n < 0) {
			krg_rpc_type_put(type);
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
		krg_rpc_type_put(type);
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
		krg_rpc_type_put(type);
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

	type = krg_rpc_type_get(m->type);
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
		krg_rpc_type_put(type);
	if (err == -EBUSY && request)
		atomic_dec(&c->serving);	/* it will be looked at again */
	return err;
}

/* A parked message: the type may have gone since. Takes @req over. */
static void rpc_deliver_parked(struct krg_rpc_req *req, enum rpc_gate gate)
{
	int status = gate == GATE_STALE ? -ESTALE : -EOPNOTSUPP;

	req->type = gate == GATE_STALE ? NULL : krg_rpc_type_get(req->msg.type);
	if (!req->type) {
		krg_stats_inc(gate == GATE_STALE ? KRG_ST_STALE : KRG_ST_REFUSED_TYPE);
		if (krg_rpc_req_wants_reply(req))
			dispatch_answer(req->conn, &req->msg, status, NULL, 0, 0);
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

int krg_dispatch_init(void)
{
	rpc_wq = alloc_workqueue("krg_rpc", WQ_UNBOUND | WQ_MEM_RECLAIM, KRG_WORKERS_MAX);
	return rpc_wq ? 0 : -ENOMEM;
}

void krg_dispatch_exit(void)
{
	destroy_workqueue(rpc_wq);
}
