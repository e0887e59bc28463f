// SPDX-License-Identifier: GPL-2.0
/*
 * Messages on one authenticated connection: headers, tags and sequence numbers,
 * who may send, who may read.
 *
 * Reading. A connection has a service thread (CTL: the membership thread) that
 * handles whatever arrives. A caller that waits for an answer does not want to be
 * woken by another thread: it takes the right to read, sleeps on the connection
 * itself, and receives its own answer straight into its buffers. Answers to other
 * callers it completes on the way. At the first message that is not an answer it
 * steps back and the service thread goes on: a handler never runs in the context
 * (and under the locks) of a caller. When a caller leaves, the next waiting one is
 * woken to take over; without one, the service thread.
 *
 * A message is read in two steps: the header with the first bytes of the payload,
 * then the rest to where it belongs, which is only known now. A caller that reads
 * expects its answer and offers its buffers for the first step already. What is read
 * must match the header's length exactly, or the session is over.
 *
 * Sending. Whoever holds tx_sem sends what is queued, then its own message, so
 * the order of the calls is the order on the wire.
 */
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <kerrighed/compat.h>

#include "member.h"
#include "memory.h"
#include "session.h"
#include "stats.h"
#include "trace.h"

#define KRG_CONN_BUDGET		64
/*
 * Waits look again this often, whatever happens. For answers not more often: the
 * timer of a round trip should not be the next to fire, or the processor programs it
 * each time it goes idle.
 */
#define KRG_CONN_SLICE		HZ
#define KRG_CONN_TX_SLICE	(HZ / 10)

/* ---- who reads ---- */

/* Under rx_lock: there is, or may be, work for whoever takes the right to read. */
static void conn_wake_service(struct krg_conn *c)
{
	lockdep_assert_held(&c->rx_lock);
	if (c->class == KRG_CLASS_CTL)
		krg_member_readable(c);
	else
		wake_up(&c->rx_wait);
}

void krg_conn_wake(struct krg_conn *c)
{
	spin_lock_bh(&c->rx_lock);
	WRITE_ONCE(c->rx_ready, true);
	c->rx_stalled = false;
	if (c->rx_leader)
		wake_up(&c->rx_leader->wait);
	else if (!c->rx_owned)
		conn_wake_service(c);
	/* An owner that is awake looks at rx_ready before it sleeps or leaves. */
	spin_unlock_bh(&c->rx_lock);
}

bool krg_conn_rx_own(struct krg_conn *c)
{
	bool own;

	spin_lock_bh(&c->rx_lock);
	own = !c->rx_owned;
	if (own)
		WRITE_ONCE(c->rx_owned, true);
	spin_unlock_bh(&c->rx_lock);
	return own;
}

/* Under rx_lock, nobody owns: wake the one that should. */
static void conn_pass_on(struct krg_conn *c)
{
	struct krg_call *next;

	lockdep_assert_held(&c->rx_lock);
	/* Callers never read CTL. */
	next = c->class == KRG_CLASS_CTL ? NULL :
	       list_first_entry_or_null(&c->rx_waiters, struct krg_call, waiter);
	if (c->rx_stalled && !krg_session_dead(c->session))
		return;
	/* A message whose header a caller has read, before it left: the thread's. */
	if (c->rx_pending)
		WRITE_ONCE(c->rx_service, true);
	if (c->rx_service || krg_session_dead(c->session))
		conn_wake_service(c);
	else if (next)
		wake_up(&next->wait);
	else if (c->rx_ready || krg_transport->readable(c->tc)) {
		WRITE_ONCE(c->rx_ready, true);
		conn_wake_service(c);
	}
}

void krg_conn_rx_disown(struct krg_conn *c)
{
	spin_lock_bh(&c->rx_lock);
	WRITE_ONCE(c->rx_owned, false);
	c->rx_leader = NULL;
	conn_pass_on(c);
	spin_unlock_bh(&c->rx_lock);
}

static void conn_readable(void *ctx)
{
	krg_conn_wake(ctx);
}

static void conn_writable(void *ctx)
{
	struct krg_conn *c = ctx;

	WRITE_ONCE(c->tx_writable, true);
	wake_up(&c->tx_wait);
	if (!list_empty_careful(&c->txq))
		queue_work(krg_tx_wq, &c->tx_work);
}

static const struct krg_tconn_cb conn_cb = {
	.readable = conn_readable,
	.writable = conn_writable,
};

/* ---- receiving ---- */

/*
 * Where the first bytes of the next message go: its header to rx_small; its payload
 * to where @call, whose caller reads, wants its answer, because that is what comes
 * next most of the time. What is more than an answer could be goes to rx_small, to
 * the place in it where it would be anyway. Returns the number of pieces.
 */
static size_t conn_rx_vec(struct krg_conn *c, const struct krg_call *call, u32 room,
			  struct kvec *vec)
{
	u32 left = room - sizeof(c->rx_small.hdr), at;
	size_t i, n = 0;

	vec[n].iov_base = &c->rx_small.hdr;
	vec[n++].iov_len = sizeof(c->rx_small.hdr);
	for (i = 0; call && i < call->reply_nr && left; i++) {
		vec[n].iov_base = call->reply[i].iov_base;
		vec[n].iov_len = min_t(size_t, call->reply[i].iov_len, left);
		left -= vec[n++].iov_len;
	}
	at = room - sizeof(c->rx_small.hdr) - left;
	vec[n].iov_base = c->rx_small.data + at;
	vec[n].iov_len = left;
	return left ? n + 1 : n;
}

/* It is not what @call waits for: to rx_small with it. */
static void conn_rx_move(struct krg_conn *c, const struct krg_call *call)
{
	u32 at = 0, now;
	size_t i;

	for (i = 0; i < call->reply_nr && at < c->rx_have; i++) {
		now = min_t(size_t, call->reply[i].iov_len, c->rx_have - at);
		memcpy(c->rx_small.data + at, call->reply[i].iov_base, now);
		at += now;
	}
}

static bool conn_is_answer(const struct krg_wire_msg *m, const struct krg_call *call)
{
	return m->flags & KRG_WIRE_F_REPLY && m->request == call->request &&
	       m->type == call->type && !m->status && m->length <= call->reply_max;
}

/*
 * 0: c->rx_msg is the header of the next message. -EAGAIN: there is none. @call: the
 * one whose caller reads, or NULL.
 */
static int conn_read_header(struct krg_conn *c, const struct krg_call *call)
{
	u32 room = c->class == KRG_CLASS_BULK ? KRG_RX_HEAD : sizeof(c->rx_small);
	struct kvec vec[KRG_RPC_VEC_MAX + 2] krg_uninitialized;
	struct krg_wire_msg *m = &c->rx_msg;
	bool end;
	int ret, err;

	/* Asked after every message: much cheaper than a receive that finds nothing. */
	if (!krg_transport->readable(c->tc))
		return -EAGAIN;
	ret = krg_transport->recv(c->tc, vec, conn_rx_vec(c, call, room, vec), room, false, &end);
	if (ret == -EAGAIN)
		return -EAGAIN;
	if (ret <= 0)
		return -ECONNRESET;
	err = krg_wire_get(&c->rx_small, ret, m);
	if (err)
		return -EBADMSG;
	c->rx_have = ret - sizeof(c->rx_small.hdr);
	if (end ? c->rx_have != m->length : c->rx_have >= m->length)
		return -EBADMSG;
	m->seq = c->rx_seq + 1;
	if (m->tag != krg_auth_tag(&c->rx_small.hdr, m->seq, &c->keys.rx))
		return -EBADMSG;
	c->rx_seq = m->seq;
	c->rx_ended = end;
	c->rx_placed = call && conn_is_answer(m, call);
	if (call && !c->rx_placed)
		conn_rx_move(c, call);
	c->rx_pending = true;
	krg_stats_rx(c->session->node, m->type, m->length);
	trace_krg_message(c->session->node, c->class, m, false);
	return 0;
}

int krg_conn_payload(struct krg_conn *c, const struct kvec *vec, size_t nr)
{
	struct kvec rest[KRG_RPC_VEC_MAX] krg_uninitialized;
	u32 have = c->rx_have, from = 0, left = c->rx_msg.length - c->rx_have;
	size_t i, n = 0;
	bool end;
	int ret;

	for (i = 0; i < nr; i++) {
		u32 now = min_t(size_t, have - from, vec[i].iov_len);

		if (!c->rx_placed)
			memcpy(vec[i].iov_base, c->rx_small.data + from, now);
		from += now;
		if (now == vec[i].iov_len)
			continue;
		if (WARN_ON_ONCE(n == ARRAY_SIZE(rest)))
			return -EMSGSIZE;
		rest[n].iov_base = vec[i].iov_base + now;
		rest[n++].iov_len = vec[i].iov_len - now;
	}
	c->rx_pending = false;
	if (c->rx_ended)
		return 0;
	ret = krg_transport->recv(c->tc, rest, n, left, false, &end);
	if (ret <= 0)
		return -ECONNRESET;
	return ret == left && end ? 0 : -EBADMSG;
}

int krg_conn_skip_payload(struct krg_conn *c)
{
	struct kvec vec = { .iov_base = &c->rx_small, .iov_len = sizeof(c->rx_small) };
	bool end;
	int ret;

	c->rx_pending = false;
	if (c->rx_ended)
		return 0;
	ret = krg_transport->recv(c->tc, &vec, 1, sizeof(c->rx_small), true, &end);
	return ret > 0 ? 0 : -ECONNRESET;
}

/*
 * One message. 0: done. 1: it is for the service thread (callers only). -EAGAIN:
 * there is none. -EBUSY: it cannot be taken now. Others: the session is over.
 * @caller: the call whose caller reads; NULL for the service thread.
 */
static int conn_receive(struct krg_conn *c, const struct krg_call *caller)
{
	int err;

	if (krg_session_dead(c->session))
		return -ECONNRESET;
	if (!c->rx_pending) {
		err = conn_read_header(c, caller);
		if (err)
			return err;
	}
	if (c->rx_msg.flags & KRG_WIRE_F_REPLY)
		return krg_rpc_answer(c);
	if (caller)
		return 1;
	return krg_rpc_message(c);
}

static void conn_broken(struct krg_conn *c, int err)
{
	if (krg_session_dead(c->session))
		return;
	if (err == -ECONNRESET) {
		krg_session_kill(c->session, "connection closed");
		return;
	}
	krg_stats_inc(KRG_ST_BAD_MESSAGE);
	krg_session_kill(c->session, "bad message");
}

void krg_conn_service(struct krg_conn *c, unsigned int budget)
{
	bool stalled = false;
	int ret;

	if (!krg_conn_rx_own(c))
		return;
	WRITE_ONCE(c->rx_ready, false);
	WRITE_ONCE(c->rx_service, false);
	do {
		ret = krg_session_dead(c->session) ? -ECONNRESET : krg_rpc_unpark(c);
		if (!ret)
			ret = conn_receive(c, NULL);
	} while (!ret && --budget);

	if (ret == -EBUSY)
		stalled = true;
	else if (!ret)
		WRITE_ONCE(c->rx_service, true);	/* the budget is used up */
	else if (ret != -EAGAIN)
		conn_broken(c, ret);

	spin_lock_bh(&c->rx_lock);
	/* Whoever could end the stall meanwhile has set rx_ready. */
	c->rx_stalled = stalled && !c->rx_ready;
	WRITE_ONCE(c->rx_owned, false);
	if (!krg_session_dead(c->session))
		conn_pass_on(c);
	spin_unlock_bh(&c->rx_lock);
}

static bool conn_has_work(struct krg_conn *c)
{
	return (READ_ONCE(c->rx_ready) || READ_ONCE(c->rx_service)) && !READ_ONCE(c->rx_owned) &&
	       !krg_session_dead(c->session);
}

static int conn_thread(void *arg)
{
	struct krg_conn *c = arg;
	/* Receiving and answering is what frees memory elsewhere: it may use the reserves. */
	unsigned int flags = memalloc_noreclaim_save();

	while (!kthread_should_stop()) {
		wait_event_interruptible(c->rx_wait, kthread_should_stop() || conn_has_work(c));
		if (conn_has_work(c))
			krg_conn_service(c, KRG_CONN_BUDGET);
		cond_resched();
	}
	memalloc_noreclaim_restore(flags);
	return 0;
}

/* Reads as the owner until @call is done, the deadline, or a message for the service thread. */
static void conn_lead(struct krg_conn *c, struct krg_call *call, unsigned long deadline)
{
	long left;
	int ret;

	for (;;) {
		WRITE_ONCE(c->rx_ready, false);
		ret = conn_receive(c, call);
		if (ret == 1)
			break;		/* disowning wakes the service thread for it */
		if (ret && ret != -EAGAIN) {
			conn_broken(c, ret);
			break;
		}
		if (READ_ONCE(call->done) || time_after(jiffies, deadline))
			break;
		if (!ret)
			continue;
		left = deadline - jiffies;
		if (left <= 0)
			break;
		spin_lock_bh(&c->rx_lock);
		c->rx_leader = call;
		spin_unlock_bh(&c->rx_lock);
		wait_event_timeout(call->wait, READ_ONCE(call->done) || READ_ONCE(c->rx_ready),
				   min_t(long, left, KRG_CONN_SLICE));
		spin_lock_bh(&c->rx_lock);
		c->rx_leader = NULL;
		spin_unlock_bh(&c->rx_lock);
		if (READ_ONCE(call->done))
			break;
	}
	krg_conn_rx_disown(c);
}

static bool conn_may_lead(struct krg_conn *c)
{
	return c->class != KRG_CLASS_CTL && !READ_ONCE(c->rx_owned) && !READ_ONCE(c->rx_service) &&
	       !READ_ONCE(c->rx_stalled);
}

void krg_conn_await(struct krg_conn *c, struct krg_call *call, unsigned long deadline)
{
	long left;

	spin_lock_bh(&c->rx_lock);
	list_add_tail(&call->waiter, &c->rx_waiters);
	spin_unlock_bh(&c->rx_lock);

	while (!READ_ONCE(call->done)) {
		if (conn_may_lead(c) && krg_conn_rx_own(c)) {
			conn_lead(c, call, deadline);
			if (READ_ONCE(call->done))
				break;
		}
		left = deadline - jiffies;
		if (left <= 0)
			break;
		wait_event_timeout(call->wait, READ_ONCE(call->done) || conn_may_lead(c),
				   min_t(long, left, KRG_CONN_SLICE));
	}

	spin_lock_bh(&c->rx_lock);
	list_del(&call->waiter);
	/* We may have been the one that was woken to take over. */
	if (!c->rx_owned && !krg_session_dead(c->session))
		conn_pass_on(c);
	spin_unlock_bh(&c->rx_lock);
}

/* ---- sending ---- */

int krg_conn_send_now(struct krg_conn *c, struct krg_wire_msg *msg, const struct kvec *vec,
		      size_t nr)
{
	struct kvec out[KRG_RPC_VEC_MAX + 1] krg_uninitialized;
	struct krg_wire_hdr hdr;
	unsigned int flags;
	int err;

	msg->seq = c->tx_seq + 1;
	msg->tag = 0;
	krg_wire_put(msg, &hdr);
	hdr.tag = cpu_to_le64(krg_auth_tag(&hdr, msg->seq, &c->keys.tx));
	out[0].iov_base = &hdr;
	out[0].iov_len = sizeof(hdr);
	memcpy(out + 1, vec, nr * sizeof(*vec));
	/*
	 * From the reserves, whoever sends: TIPC takes a link down, with all connections over it, when it has no memory
	 * for a copy of a message.
	 */
	flags = memalloc_noreclaim_save();
	err = krg_transport->send(c->tc, out, nr + 1, sizeof(hdr) + msg->length);
	memalloc_noreclaim_restore(flags);
	if (!err) {
		c->tx_seq++;
		krg_stats_tx(c->session->node, msg->type, msg->length);
		trace_krg_message(c->session->node, c->class, msg, true);
	} else if (err != -EAGAIN && err != -ENOMEM && err != -ENOBUFS) {
		krg_session_kill(c->session, "send failed");
		err = -ECONNRESET;
	}
	return err;
}

int krg_conn_send(struct krg_conn *c, struct krg_wire_msg *msg, const struct kvec *vec, size_t nr,
		  unsigned long deadline)
{
	long left = deadline ? (long)(deadline - jiffies) : 0;
	bool waited = false;
	int ret;

	if (left <= 0 ? down_trylock(&c->tx_sem) : down_timeout(&c->tx_sem, left))
		return deadline ? -ETIMEDOUT : -EBUSY;
	for (;;) {
		if (krg_session_dead(c->session)) {
			ret = -ECONNRESET;
			break;
		}
		WRITE_ONCE(c->tx_writable, false);
		smp_mb();	/* a wake-up after this is one for the attempt below */
		ret = krg_queue_flush(c);
		if (!ret)
			ret = krg_conn_send_now(c, msg, vec, nr);
		if (ret != -EAGAIN || !deadline)
			break;
		if (!waited)
			krg_stats_inc(KRG_ST_CONGESTED);
		waited = true;
		left = deadline - jiffies;
		if (left <= 0) {
			ret = -ETIMEDOUT;
			break;
		}
		wait_event_timeout(c->tx_wait,
				   READ_ONCE(c->tx_writable) || krg_session_dead(c->session),
				   min_t(long, left, KRG_CONN_TX_SLICE));
	}
	up(&c->tx_sem);
	return ret;
}

/* ---- life ---- */

void krg_conn_init(struct krg_conn *c, struct krg_session *s, enum krg_class class)
{
	c->session = s;
	c->class = class;
	spin_lock_init(&c->rx_lock);
	spin_lock_init(&c->txq_lock);
	INIT_LIST_HEAD(&c->rx_waiters);
	INIT_LIST_HEAD(&c->rx_ready_link);
	INIT_LIST_HEAD(&c->parked);
	INIT_LIST_HEAD(&c->txq);
	init_waitqueue_head(&c->rx_wait);
	init_waitqueue_head(&c->tx_wait);
	sema_init(&c->tx_sem, 1);
	sema_init(&c->window, KRG_RPC_WINDOW);
	INIT_WORK(&c->tx_work, krg_queue_work);
}

/* What reading needs; may be called again after -ENOMEM. */
static int conn_equip(struct krg_conn *c)
{
	static const char *const name[KRG_CLASS_NR] = { "ctl", "msg", "bulk" };
	struct task_struct *task;

	if (!c->rx_req)
		c->rx_req = kzalloc(sizeof(*c->rx_req), GFP_KERNEL);
	if (!c->rx_req)
		return -ENOMEM;
	if (c->class == KRG_CLASS_CTL) {
		c->rx_buf = krg_member_buffer();
		return 0;
	}
	if (!c->rx_buf)
		c->rx_buf = kvmalloc(KRG_WIRE_PAYLOAD_MAX, GFP_KERNEL);
	if (!c->reserve)
		c->reserve = kvzalloc(sizeof(*c->reserve) + KRG_WIRE_PAYLOAD_MAX, GFP_KERNEL);
	if (!c->rx_buf || !c->reserve)
		return -ENOMEM;
	task = kthread_create(conn_thread, c, "krg_%s/%u", name[c->class], c->session->node);
	if (IS_ERR(task))
		return PTR_ERR(task);
	c->rx_task = task;
	wake_up_process(task);
	return 0;
}

int krg_conn_start(struct krg_conn *c)
{
	unsigned int tries = 0;
	int err;

	do
		err = conn_equip(c);
	while (krg_memory_later(err, &tries));
	if (err)
		return err;
	krg_transport->set_class(c->tc, c->class);
	krg_transport->set_callbacks(c->tc, &conn_cb, c);
	krg_conn_wake(c);	/* what arrived before anybody listened */
	return 0;
}

void krg_conn_stop(struct krg_conn *c)
{
	if (c->tc)
		krg_transport->set_callbacks(c->tc, NULL, NULL);
	if (c->rx_task)
		kthread_stop(c->rx_task);
	c->rx_task = NULL;
	if (c->class == KRG_CLASS_CTL)
		krg_member_forget(c);
	/* The session is dead: owners see it and leave within a slice. */
	while (!krg_conn_rx_own(c))
		schedule_timeout_uninterruptible(1);
	down(&c->tx_sem);
	cancel_work_sync(&c->tx_work);
	krg_queue_purge(c);
	krg_rpc_drop_parked(c);
	if (c->tc)
		krg_transport->close(c->tc);
	c->tc = NULL;
	up(&c->tx_sem);	/* whoever waited sees the dead session; the right to read stays ours */
}

void krg_conn_free(struct krg_conn *c)
{
	if (c->class != KRG_CLASS_CTL)
		kvfree(c->rx_buf);
	kvfree(c->reserve);
	kfree(c->rx_req);
	memzero_explicit(&c->keys, sizeof(c->keys));
}
