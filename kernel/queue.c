// SPDX-License-Identifier: GPL-2.0
/*
 * What waits in front of a connection: messages that could not leave yet, in
 * their order, and memory for messages that arrive.
 *
 * Posts are bounded by KRG_QUEUE_POST_BYTES per connection; beyond that they are
 * refused, which is the back-pressure of the asynchronous path. Answers are not:
 * a peer cannot have more than KRG_RPC_WINDOW requests unanswered, and refusing
 * an answer would only block the thread that must keep reading so that the other
 * side can send (two nodes that wait for each other to read would wait for ever).
 *
 * A message for a worker is read into memory allocated without waiting. When
 * there is none, the connection's own reserve is used; while that is busy too,
 * the message stays in TIPC's socket, whose flow control holds the sender back.
 */
#include <linux/slab.h>

#include "session.h"
#include "stats.h"

#define KRG_QUEUE_POST_BYTES	(1024 * 1024)

struct krg_queued {
	struct list_head list;
	struct krg_wire_msg msg;
	bool answer;
	u8 payload[];
};

static void queue_kick(struct krg_conn *c)
{
	queue_work(krg_tx_wq, &c->tx_work);
}

int krg_queue_add(struct krg_conn *c, const struct krg_wire_msg *msg, const struct kvec *vec,
		  size_t nr, bool answer)
{
	u32 size = sizeof(struct krg_queued) + msg->length;
	struct krg_queued *q;
	size_t i, at = 0;

	if (!answer && READ_ONCE(c->txq_bytes) + size > KRG_QUEUE_POST_BYTES) {
		krg_stats_inc(KRG_ST_QUEUE_FULL);
		return -EAGAIN;
	}
	q = kmalloc(size, GFP_NOWAIT | __GFP_NOWARN);
	if (!q)
		return -ENOMEM;
	q->msg = *msg;
	q->answer = answer;
	for (i = 0; i < nr; i++) {
		memcpy(q->payload + at, vec[i].iov_base, vec[i].iov_len);
		at += vec[i].iov_len;
	}
	spin_lock_bh(&c->txq_lock);
	if (c->txq_closed) {
		spin_unlock_bh(&c->txq_lock);
		kfree(q);
		return -ECONNRESET;
	}
	list_add_tail(&q->list, &c->txq);
	c->txq_bytes += size;
	spin_unlock_bh(&c->txq_lock);
	queue_kick(c);
	return 0;
}

int krg_queue_flush(struct krg_conn *c)
{
	struct krg_queued *q;
	struct kvec vec;
	int err;

	/* Whoever adds to it later has it sent by krg_queue_work(). */
	if (list_empty_careful(&c->txq))
		return 0;
	for (;;) {
		spin_lock_bh(&c->txq_lock);
		q = list_first_entry_or_null(&c->txq, struct krg_queued, list);
		spin_unlock_bh(&c->txq_lock);
		if (!q)
			return 0;
		vec.iov_base = q->payload;
		vec.iov_len = q->msg.length;
		err = krg_conn_send_now(c, &q->msg, &vec, q->msg.length ? 1 : 0);
		if (err)
			return err;
		/* Only the holder of tx_sem takes from the head. */
		spin_lock_bh(&c->txq_lock);
		list_del(&q->list);
		c->txq_bytes -= sizeof(*q) + q->msg.length;
		spin_unlock_bh(&c->txq_lock);
		kfree(q);
	}
}

void krg_queue_work(struct work_struct *work)
{
	struct krg_conn *c = container_of(work, struct krg_conn, tx_work);
	int ret;

	/* Whoever has the right to send flushes the queue itself, or fails and wakes us later. */
	if (down_timeout(&c->tx_sem, HZ / 10)) {
		if (!krg_session_dead(c->session))
			queue_kick(c);
		return;
	}
	do {
		WRITE_ONCE(c->tx_writable, false);
		smp_mb();	/* a wake-up after this is one for the attempt below */
		ret = krg_session_dead(c->session) ? -ECONNRESET : krg_queue_flush(c);
	} while (ret == -EAGAIN && READ_ONCE(c->tx_writable));
	up(&c->tx_sem);
	if (ret == -ENOMEM || ret == -ENOBUFS) {
		schedule_timeout_uninterruptible(1);
		queue_kick(c);
	}
}

void krg_queue_purge(struct krg_conn *c)
{
	struct krg_queued *q, *next;
	LIST_HEAD(rest);

	spin_lock_bh(&c->txq_lock);
	c->txq_closed = true;
	list_splice_init(&c->txq, &rest);
	c->txq_bytes = 0;
	spin_unlock_bh(&c->txq_lock);
	list_for_each_entry_safe(q, next, &rest, list)
		kfree(q);
}

struct krg_rpc_req *krg_req_alloc(struct krg_conn *c, u32 len)
{
	struct krg_rpc_req *req = kmalloc(sizeof(*req) + len, GFP_NOWAIT | __GFP_NOWARN);

	if (req) {
		req->reserve = false;
	} else {
		if (!c->reserve || test_and_set_bit(0, &c->reserve_busy))
			return NULL;
		krg_stats_inc(KRG_ST_RESERVE);
		req = c->reserve;
		req->reserve = true;
	}
	req->conn = c;
	req->msg = c->rx_msg;
	req->data = req->payload;
	req->type = NULL;
	req->answered = false;
	kref_get(&c->session->ref);
	return req;
}

void krg_req_free(struct krg_rpc_req *req)
{
	struct krg_conn *c = req->conn;

	if (req->reserve) {
		clear_bit_unlock(0, &c->reserve_busy);
		krg_conn_wake(c);	/* it may have stalled for it */
	} else {
		kfree(req);
	}
	krg_session_put(c->session);
}
