// SPDX-License-Identifier: GPL-2.0
/*
 * What surrounds the code under test: a transport in memory with TIPC's manners
 * (whole messages, order, partial reads, congestion), faults on request, and the
 * few functions of parts that are not linked in.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "fake.h"
#include "member.h"
#include "stats.h"

#define FAKE_LIMIT	64	/* messages under way in one direction */

struct fake_message {
	struct list_head list;
	u32 len, read;
	u8 data[];
};

struct krg_tconn {
	struct fake_wire *wire;
	struct krg_tconn *other;
	const struct krg_tconn_cb *cb;
	void *ctx;
	struct list_head queue;		/* what has arrived */
	unsigned int count, limit;	/* of it */
	bool starved;			/* the other end wants to send more */
	bool closed;
};

struct fake_wire {
	spinlock_t lock;
	struct krg_tconn end[2];
};

enum fake_fault fake_next_fault;
atomic_t fake_events[32];

int fake_connect(struct krg_tconn *end[2])
{
	struct fake_wire *w = kzalloc(sizeof(*w), GFP_KERNEL);
	int i;

	if (!w)
		return -ENOMEM;
	spin_lock_init(&w->lock);
	for (i = 0; i < 2; i++) {
		w->end[i].wire = w;
		w->end[i].other = &w->end[!i];
		w->end[i].limit = FAKE_LIMIT;
		INIT_LIST_HEAD(&w->end[i].queue);
		end[i] = &w->end[i];
	}
	return 0;
}

void fake_set_limit(struct krg_tconn *tc, unsigned int limit)
{
	struct krg_tconn *other = tc->other;

	spin_lock_bh(&tc->wire->lock);
	other->limit = limit;
	if (tc->cb && tc->cb->writable && other->count < limit)
		tc->cb->writable(tc->ctx);
	spin_unlock_bh(&tc->wire->lock);
}

static struct fake_message *fake_message(struct kvec *vec, size_t nr, size_t len)
{
	struct fake_message *m = kmalloc(sizeof(*m) + len, GFP_ATOMIC);
	size_t i, at = 0;

	if (!m)
		return NULL;
	m->len = len;
	m->read = 0;
	for (i = 0; i < nr; i++) {
		memcpy(m->data + at, vec[i].iov_base, vec[i].iov_len);
		at += vec[i].iov_len;
	}
	return m;
}

/* Under the lock. */
static void fake_arrive(struct krg_tconn *at, struct fake_message *m)
{
	list_add_tail(&m->list, &at->queue);
	at->count++;
	if (at->cb)
		at->cb->readable(at->ctx);
}

static int fake_send(struct krg_tconn *tc, struct kvec *vec, size_t nr, size_t len)
{
	struct krg_tconn *other = tc->other;
	struct fake_message *m, *twice = NULL;
	enum fake_fault fault;
	int err = 0;

	m = fake_message(vec, nr, len);
	if (!m)
		return -ENOMEM;
	spin_lock_bh(&tc->wire->lock);
	if (other->closed)
		err = -EPIPE;
	else if (other->count >= other->limit)
		err = -EAGAIN;
	if (err) {
		other->starved = true;
		kfree(m);
		goto unlock;
	}
	fault = fake_next_fault;
	fake_next_fault = FAKE_NO_FAULT;
	if (fault == FAKE_FLIP_HEADER)
		m->data[20] ^= 4;
	else if (fault == FAKE_TRUNCATE)
		m->len--;
	else if (fault == FAKE_DUPLICATE)
		twice = fake_message(vec, nr, len);
	if (fault == FAKE_DROP)
		kfree(m);
	else
		fake_arrive(other, m);
	if (twice)
		fake_arrive(other, twice);
unlock:
	spin_unlock_bh(&tc->wire->lock);
	return err;
}

static int fake_recv(struct krg_tconn *tc, struct kvec *vec, size_t nr, size_t len, bool drop,
		     bool *end)
{
	struct fake_message *m;
	u32 done = 0, n;
	size_t i;

	spin_lock_bh(&tc->wire->lock);
	m = list_first_entry_or_null(&tc->queue, struct fake_message, list);
	if (!m) {
		spin_unlock_bh(&tc->wire->lock);
		*end = false;
		return tc->other->closed ? 0 : -EAGAIN;
	}
	for (i = 0; i < nr && done < len; i++) {
		n = min3((u32)vec[i].iov_len, m->len - m->read, (u32)len - done);
		memcpy(vec[i].iov_base, m->data + m->read, n);
		m->read += n;
		done += n;
	}
	*end = drop || m->read == m->len;
	if (*end) {
		list_del(&m->list);
		tc->count--;
		kfree(m);
		if (tc->starved && tc->other->cb && tc->other->cb->writable) {
			tc->starved = false;
			tc->other->cb->writable(tc->other->ctx);
		}
	}
	spin_unlock_bh(&tc->wire->lock);
	return done;
}

static bool fake_readable(struct krg_tconn *tc)
{
	return READ_ONCE(tc->count) || READ_ONCE(tc->other->closed);
}

static void fake_set_callbacks(struct krg_tconn *tc, const struct krg_tconn_cb *cb, void *ctx)
{
	spin_lock_bh(&tc->wire->lock);
	tc->cb = cb;
	tc->ctx = ctx;
	spin_unlock_bh(&tc->wire->lock);
}

static void fake_close(struct krg_tconn *tc)
{
	struct fake_wire *w = tc->wire;
	struct fake_message *m, *next;
	bool last;

	spin_lock_bh(&w->lock);
	tc->closed = true;
	list_for_each_entry_safe(m, next, &tc->queue, list)
		kfree(m);
	INIT_LIST_HEAD(&tc->queue);
	last = tc->other->closed;
	if (!last && tc->other->cb)
		tc->other->cb->readable(tc->other->ctx);
	spin_unlock_bh(&w->lock);
	if (last)
		kfree(w);
}

static void fake_set_class(struct krg_tconn *tc, enum krg_class class)
{
}

static u32 fake_address(struct krg_tconn *tc)
{
	return 1;
}

/* The name the code under test knows its transport by. */
const struct krg_transport_ops krg_tipc_ops = {
	.name = "fake",
	.max_message = 66000,
	.set_class = fake_set_class,
	.set_callbacks = fake_set_callbacks,
	.send = fake_send,
	.recv = fake_recv,
	.readable = fake_readable,
	.address = fake_address,
	.close = fake_close,
};

/* ---- parts that are not linked in ---- */

static u8 *fake_buffer;

u64 krg_member_now_ms(void)
{
	return div_u64(ktime_get_boottime_ns(), NSEC_PER_MSEC);
}

int krg_member_post(const struct krg_mbr_event *ev)
{
	atomic_inc(&fake_events[ev->type]);
	return 0;
}

void krg_member_readable(struct krg_conn *c)
{
}

void krg_member_forget(struct krg_conn *c)
{
}

void *krg_member_buffer(void)
{
	return fake_buffer;
}

void krg_peer_lost(u16 node)
{
}

/* ---- two nodes ---- */

static void fake_sink_view(const struct krg_view *view, bool committed) {}
static void fake_sink_serving(bool serving) {}
static void fake_sink_draining(void) {}
static void fake_sink_over(enum krg_mbr_action_type how, u16 node, unsigned int reason, u64 arg) {}
static void fake_sink_refused(u16 node, unsigned int reason) {}

static const struct krg_member_sink fake_sink = {
	.view = fake_sink_view, .serving = fake_sink_serving, .draining = fake_sink_draining,
	.over = fake_sink_over, .peer_refused = fake_sink_refused,
};

void fake_lease(unsigned int ms)
{
	krg_view_set_serve_until(ms ? krg_member_now_ms() + ms : 0);
}

void fake_view(struct kunit *test, u64 epoch, bool commit)
{
	static const struct krg_mbr_member member[] = {
		{ .node = 1, .incarnation = 11 }, { .node = 2, .incarnation = 22 },
	};
	struct krg_mbr_view v = { .epoch = epoch, .cluster_id = 7, .count = 2, .member = member };
	unsigned long until = jiffies + 5 * HZ;
	int prepared = atomic_read(&fake_events[KRG_MBR_EV_PREPARED]);

	KUNIT_ASSERT_EQ(test, 0, krg_view_notify(KRG_MBR_ACT_PREPARE,
						 krg_view_copy(&v, 1, GFP_KERNEL), 0, 0, epoch, 0));
	while (atomic_read(&fake_events[KRG_MBR_EV_PREPARED]) == prepared &&
	       time_before(jiffies, until))
		schedule_timeout_uninterruptible(1);
	if (!commit)
		return;
	KUNIT_ASSERT_EQ(test, 0, krg_view_notify(KRG_MBR_ACT_COMMIT,
						 krg_view_copy(&v, 1, GFP_KERNEL), 0, 0, epoch, 0));
	while (krg_epoch() != epoch && time_before(jiffies, until))
		schedule_timeout_uninterruptible(1);
	KUNIT_ASSERT_EQ(test, epoch, krg_epoch());
}

static void fake_attach(struct kunit *test, struct fake_pair_of_nodes *n, enum krg_class class)
{
	struct krg_auth_keys key[2];
	struct krg_tconn *end[2];

	KUNIT_ASSERT_EQ(test, 0, fake_connect(end));
	memset(key, 0x30 + class, sizeof(key));
	memset(&key[0].tx, 0x60 + class, sizeof(key[0].tx));
	key[1].rx = key[0].tx;
	KUNIT_ASSERT_EQ(test, 0, krg_session_attach(n->to2, class, end[0], &key[0]));
	KUNIT_ASSERT_EQ(test, 0, krg_session_attach(n->to1, class, end[1], &key[1]));
}

void fake_nodes_up(struct kunit *test, struct fake_pair_of_nodes *n, u64 epoch)
{
	static const u8 machine[2][8] = { { 1 }, { 2 } };
	int i;

	fake_next_fault = FAKE_NO_FAULT;
	fake_buffer = kvmalloc(KRG_WIRE_PAYLOAD_MAX, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fake_buffer);
	krg_view_start(&fake_sink);
	fake_view(test, epoch, true);
	fake_lease(60000);
	n->to2 = krg_session_create(2, 22, 5, machine[1], "two");
	n->to1 = krg_session_create(1, 11, 5, machine[0], "one");
	KUNIT_ASSERT_FALSE(test, IS_ERR(n->to1) || IS_ERR(n->to2));
	for (i = 0; i < KRG_CLASS_NR; i++)
		fake_attach(test, n, i);
	KUNIT_ASSERT_EQ(test, 0, krg_session_establish(n->to2));
	KUNIT_ASSERT_EQ(test, 0, krg_session_establish(n->to1));
}

void fake_nodes_down(struct fake_pair_of_nodes *n)
{
	krg_session_stop_all();
	krg_session_put(n->to1);
	krg_session_put(n->to2);
	krg_view_stop();
	kvfree(fake_buffer);
	fake_buffer = NULL;
}
