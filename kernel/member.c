// SPDX-License-Identifier: GPL-2.0
/*
 * The membership engine's edge. One real-time thread owns the engine: it takes
 * events from a ring, reads every CTL connection, keeps the engine's timer, and
 * carries its actions out. Nothing here decides anything about membership.
 *
 * The thread must never wait: its heartbeats are what keeps this node a member.
 * So it sends without waiting (a message that cannot leave is counted and lost,
 * the engine repeats what matters), allocates from the reserves, and hands
 * whatever may sleep to others: subscribers to the view worker (view.c), the
 * witness file to its worker (witness.c).
 *
 * Time is CLOCK_BOOTTIME in milliseconds: it runs on while the machine is
 * suspended, so a lease cannot be slept over.
 */
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "member.h"
#include "memory.h"
#include "node.h"
#include "session.h"
#include "stats.h"
#include "trace.h"

#define KRG_MEMBER_RING		512	/* events that wait; whoever posts more waits for room */
#define KRG_MEMBER_ROOM_TRIES	100	/* looks for room, 100 ms apart, before the engine is given up */
#define KRG_MEMBER_BUDGET	16	/* messages of one connection before others get their turn */
#define KRG_MEMBER_SLEEP_MS	1000	/* look around at least this often */
#define KRG_MEMBER_ASK_MS	3000	/* whoever asks the thread waits so long */

/* Belongs to who asks and to the thread: who asks may have given up by the time of the answer. */
struct krg_member_ask {
	struct list_head list;		/* under the lock */
	refcount_t refs;
	struct completion done;
	struct krg_member_snapshot *out;
	u16 max_node;
	int err;
};

struct krg_member_reply {
	struct list_head list;
	u32 len;
	u8 data[];
};

static struct {
	struct task_struct *task;
	struct krg_mbr *engine;		/* the thread's */
	void *memory;
	void *buffer;			/* KRG_WIRE_PAYLOAD_MAX bytes for payloads */
	const struct krg_member_sink *sink;
	u16 self;
	bool failed;			/* engine stopped itself; the thread's */

	/* Fields below: under the lock. Taken in soft interrupts, inside conn.rx_lock. */
	spinlock_t lock;
	bool running;
	bool missed;			/* an event never reached the engine */
	struct krg_mbr_event ring[KRG_MEMBER_RING];
	unsigned int head, tail;
	struct list_head ready;		/* krg_conn.rx_ready_link */
	struct krg_conn *serving;	/* taken from the list, in use by the thread */
	struct list_head asks;		/* krg_member_ask */
	struct list_head replies;	/* of the witness */
	wait_queue_head_t wait;		/* the thread */
	wait_queue_head_t room;		/* room in the ring, or a connection no longer in use */
} krg_member = {
	.lock = __SPIN_LOCK_UNLOCKED(krg_member.lock),
	.ready = LIST_HEAD_INIT(krg_member.ready),
	.asks = LIST_HEAD_INIT(krg_member.asks),
	.replies = LIST_HEAD_INIT(krg_member.replies),
	.wait = __WAIT_QUEUE_HEAD_INITIALIZER(krg_member.wait),
	.room = __WAIT_QUEUE_HEAD_INITIALIZER(krg_member.room),
};

u64 krg_member_now_ms(void)
{
	return div_u64(ktime_get_boottime_ns(), NSEC_PER_MSEC);
}

void *krg_member_buffer(void)
{
	return krg_member.buffer;
}

/* ---- actions ---- */

static void member_send(const struct krg_mbr_action *act)
{
	struct krg_wire_msg msg = {
		.flags = KRG_WIRE_F_ANY_EPOCH, .type = KRG_MSG_MBR, .length = act->len,
	};
	struct kvec vec = { .iov_base = (void *)act->data, .iov_len = act->len };
	struct krg_mbr_view view;
	struct krg_session *s;
	struct krg_conn *c;
	int err;

	if (act->node == KRG_MBR_WITNESS) {
		krg_mbr_get_view(krg_member.engine, &view);
		krg_witness_send(view.cluster_id, act->data, act->len);
		return;
	}
	s = krg_session_get(act->node);
	if (!s)
		return;
	c = &s->conn[KRG_CLASS_CTL];
	err = -ESTALE;
	if (!act->incarnation || act->incarnation == s->incarnation)
		err = krg_conn_send(c, &msg, &vec, 1, 0);
	/* Without memory for all that TIPC makes of it there may be some for this one, until there is more. */
	if (err == -EBUSY || err == -ENOMEM || err == -ENOBUFS)
		err = krg_queue_add(c, &msg, &vec, 1, false);
	if (err)
		krg_stats_inc(KRG_ST_DROPPED);
	krg_session_put(s);
}

/* The engine must not go on: what it would decide rests on a past that did not happen. */
static void member_give_up(const char *why)
{
	pr_err("%s: this node stops\n", why);
	krg_member.failed = true;
	krg_view_set_serve_until(0);
	krg_view_fail();
}

static int member_tell(const struct krg_mbr_action *act)
{
	struct krg_view *copy = NULL;
	struct krg_mbr_view view;

	if (act->type == KRG_MBR_ACT_PREPARE || act->type == KRG_MBR_ACT_COMMIT ||
	    act->type == KRG_MBR_ACT_DRAIN) {
		krg_mbr_get_view(krg_member.engine, &view);
		copy = krg_view_copy(&view, krg_member.self, GFP_ATOMIC);
		if (!copy)
			return -ENOMEM;
	}
	return krg_view_notify(act->type, copy, act->node, act->reason, act->epoch, act->arg);
}

static void member_notify(const struct krg_mbr_action *act)
{
	unsigned int tries = 0;
	int err;

	/* The only wait of this thread, much shorter than a lease: the end of the node is worse. */
	do
		err = member_tell(act);
	while (krg_memory_later(err, &tries));
	/* A view that cannot be told to the subscribers must not be acted on. */
	if (err)
		member_give_up("out of memory while the view changed");
}

static void member_act(const struct krg_mbr_action *act)
{
	trace_krg_member_action(act->type, act->node, act->reason, act->epoch, act->len);
	switch (act->type) {
	case KRG_MBR_ACT_SEND:
		member_send(act);
		break;
	case KRG_MBR_ACT_FAILED:
		krg_member.failed = true;
		krg_view_set_serve_until(0);
		fallthrough;
	default:
		member_notify(act);
	}
}

/* ---- the engine ---- */

static void member_step(const struct krg_mbr_event *ev)
{
	struct krg_mbr *m = krg_member.engine;
	struct krg_mbr_action act;
	u64 until;

	if (krg_member.failed)
		return;
	krg_mbr_step(m, krg_member_now_ms(), ev);
	/* Before anything leaves: a promise must not be out while we still serve. */
	until = krg_mbr_serve_until(m);
	krg_view_set_serve_until(until);
	trace_krg_member_step(ev->type, ev->node, ev->len, until);
	while (krg_mbr_next_action(m, &act))
		member_act(&act);
}

void krg_member_message(u16 node, u64 incarnation, const void *data, u32 len)
{
	struct krg_mbr_event ev = {
		.type = KRG_MBR_EV_MSG, .node = node, .incarnation = incarnation,
		.data = data, .len = len,
	};

	member_step(&ev);
}

static bool member_next_event(struct krg_mbr_event *ev)
{
	bool got;

	spin_lock_bh(&krg_member.lock);
	got = krg_member.head != krg_member.tail;
	if (got)
		*ev = krg_member.ring[krg_member.head++ % KRG_MEMBER_RING];
	spin_unlock_bh(&krg_member.lock);
	if (got)
		wake_up(&krg_member.room);
	return got;
}

static void member_run_replies(void)
{
	struct krg_member_reply *r;

	for (;;) {
		spin_lock_bh(&krg_member.lock);
		r = list_first_entry_or_null(&krg_member.replies, struct krg_member_reply, list);
		if (r)
			list_del(&r->list);
		spin_unlock_bh(&krg_member.lock);
		if (!r)
			return;
		krg_member_message(KRG_MBR_WITNESS, 0, r->data, r->len);
		kfree(r);
	}
}

static void member_ask_put(struct krg_member_ask *ask)
{
	if (!refcount_dec_and_test(&ask->refs))
		return;
	krg_member_snapshot_free(ask->out);
	kfree(ask);
}

static void member_answer(struct krg_member_ask *ask)
{
	struct krg_member_snapshot *s = ask->out;
	struct krg_mbr *m = krg_member.engine;
	struct krg_mbr_view view;
	u16 i;

	s->now_ms = krg_member_now_ms();
	s->state = krg_member.failed ? KRG_MBR_FAILED : krg_mbr_state(m);
	s->serve_until = krg_member.failed ? 0 : krg_mbr_serve_until(m);
	s->has_quorum = krg_mbr_has_quorum(m, s->now_ms);
	s->recovery = krg_mbr_may_recover(m, s->now_ms);
	krg_mbr_get_stats(m, &s->stats);
	krg_mbr_get_view(m, &view);
	s->view = NULL;
	if (view.epoch) {
		s->view = krg_view_copy(&view, krg_member.self, GFP_ATOMIC);
		if (!s->view)
			ask->err = -ENOMEM;
	}
	for (i = 1; i <= ask->max_node; i++)
		if (krg_mbr_peer(m, i, s->now_ms, &s->peer[i]))
			memset(&s->peer[i], 0, sizeof(s->peer[i]));
	complete(&ask->done);
	member_ask_put(ask);
}

static void member_answer_all(void)
{
	struct krg_member_ask *ask;

	for (;;) {
		spin_lock_bh(&krg_member.lock);
		ask = list_first_entry_or_null(&krg_member.asks, struct krg_member_ask, list);
		if (ask)
			list_del_init(&ask->list);
		spin_unlock_bh(&krg_member.lock);
		if (!ask)
			return;
		member_answer(ask);
	}
}

/* One connection that has something to read gets its turn; false: none has. */
static bool member_serve_one(void)
{
	struct krg_conn *c;

	spin_lock_bh(&krg_member.lock);
	c = list_first_entry_or_null(&krg_member.ready, struct krg_conn, rx_ready_link);
	if (c)
		list_del_init(&c->rx_ready_link);
	krg_member.serving = c;
	spin_unlock_bh(&krg_member.lock);
	if (!c)
		return false;

	krg_conn_service(c, KRG_MEMBER_BUDGET);

	spin_lock_bh(&krg_member.lock);
	krg_member.serving = NULL;
	spin_unlock_bh(&krg_member.lock);
	wake_up_all(&krg_member.room);
	return true;
}

/* The clock first: whatever else there is to do must not delay a heartbeat. */
static void member_tick(void)
{
	struct krg_mbr_event tick = { .type = KRG_MBR_EV_TICK };

	if (krg_member_now_ms() >= krg_mbr_deadline(krg_member.engine))
		member_step(&tick);
}

static long member_sleep(void)
{
	u64 deadline = krg_member.failed ? ~0ULL : krg_mbr_deadline(krg_member.engine);
	u64 now = krg_member_now_ms();
	u64 ms = deadline > now ? min_t(u64, deadline - now, KRG_MEMBER_SLEEP_MS) : 0;

	return msecs_to_jiffies(ms);
}

static bool member_has_work(void)
{
	return READ_ONCE(krg_member.head) != READ_ONCE(krg_member.tail) ||
	       !list_empty_careful(&krg_member.ready) || !list_empty_careful(&krg_member.asks) ||
	       !list_empty_careful(&krg_member.replies) ||
	       (READ_ONCE(krg_member.missed) && !krg_member.failed) || kthread_should_stop();
}

static int member_thread(void *arg)
{
	unsigned int flags = memalloc_noreclaim_save();
	struct krg_mbr_event ev;
	bool more;

	while (!kthread_should_stop()) {
		if (READ_ONCE(krg_member.missed) && !krg_member.failed)
			member_give_up("the membership engine missed an event");
		member_tick();
		more = member_next_event(&ev);
		if (more)
			member_step(&ev);
		member_run_replies();
		more |= member_serve_one();
		member_answer_all();
		if (!more)
			wait_event_interruptible_timeout(krg_member.wait, member_has_work(),
							 member_sleep());
		cond_resched();
	}
	memalloc_noreclaim_restore(flags);
	return 0;
}

/* ---- what others hand to the thread ---- */

/* Puts @ev into the ring; -EAGAIN: there is no room. @last: then the engine has missed it. */
static int member_try_post(const struct krg_mbr_event *ev, bool last)
{
	int err = 0;

	spin_lock_bh(&krg_member.lock);
	if (!krg_member.running) {
		err = -ESHUTDOWN;
	} else if (krg_member.missed) {
		err = -ETIMEDOUT;
	} else if (krg_member.tail - krg_member.head < KRG_MEMBER_RING) {
		krg_member.ring[krg_member.tail % KRG_MEMBER_RING] = *ev;
		WRITE_ONCE(krg_member.tail, krg_member.tail + 1);
	} else if (last) {
		WRITE_ONCE(krg_member.missed, true);
		err = -ETIMEDOUT;
	} else {
		err = -EAGAIN;
	}
	spin_unlock_bh(&krg_member.lock);
	return err;
}

int krg_member_post(const struct krg_mbr_event *ev)
{
	int err, tries;

	/*
	 * Counted, not timed: when a paused machine goes on, the clock has jumped and the
	 * thread has had no chance yet.
	 */
	for (tries = 0; ; tries++) {
		err = member_try_post(ev, tries == KRG_MEMBER_ROOM_TRIES);
		if (err != -EAGAIN)
			break;
		wait_event_timeout(krg_member.room,
				   READ_ONCE(krg_member.tail) - READ_ONCE(krg_member.head) <
				   KRG_MEMBER_RING, HZ / 10);
	}
	wake_up(&krg_member.wait);
	return err;
}

int krg_member_post_witness(const u8 *data, u32 len)
{
	struct krg_member_reply *r;
	int err = 0;

	if (!len)	/* no vote: not for the engine */
		return -EBADMSG;
	r = kmalloc(sizeof(*r) + len, GFP_KERNEL);
	if (!r)
		return -ENOMEM;
	r->len = len;
	memcpy(r->data, data, len);
	spin_lock_bh(&krg_member.lock);
	if (krg_member.running)
		list_add_tail(&r->list, &krg_member.replies);
	else
		err = -ESHUTDOWN;
	spin_unlock_bh(&krg_member.lock);
	if (err)
		kfree(r);
	else
		wake_up(&krg_member.wait);
	return err;
}

void krg_member_readable(struct krg_conn *c)
{
	spin_lock_bh(&krg_member.lock);
	if (krg_member.running && !krg_session_dead(c->session) && list_empty(&c->rx_ready_link))
		list_add_tail(&c->rx_ready_link, &krg_member.ready);
	spin_unlock_bh(&krg_member.lock);
	wake_up(&krg_member.wait);
}

void krg_member_forget(struct krg_conn *c)
{
	spin_lock_bh(&krg_member.lock);
	list_del_init(&c->rx_ready_link);
	spin_unlock_bh(&krg_member.lock);
	/* Its turn is bounded by the budget. The session is dead: it gets no other. */
	wait_event(krg_member.room, READ_ONCE(krg_member.serving) != c);
}

/* Hands @ask to the thread, with a reference. False: there is none. */
static bool member_ask(struct krg_member_ask *ask)
{
	bool running;

	spin_lock_bh(&krg_member.lock);
	running = krg_member.running;
	if (running) {
		refcount_inc(&ask->refs);
		list_add_tail(&ask->list, &krg_member.asks);
	}
	spin_unlock_bh(&krg_member.lock);
	return running;
}

/* Takes @ask back if the thread has not begun to answer; else it finishes for nobody. */
static void member_unask(struct krg_member_ask *ask)
{
	bool queued;

	spin_lock_bh(&krg_member.lock);
	queued = !list_empty(&ask->list);
	list_del_init(&ask->list);
	spin_unlock_bh(&krg_member.lock);
	if (queued)
		member_ask_put(ask);
}

struct krg_member_snapshot *krg_member_snapshot(u16 max_node)
{
	struct krg_member_ask *ask = kzalloc(sizeof(*ask), GFP_KERNEL);
	struct krg_member_snapshot *snap = NULL;

	if (!ask)
		return NULL;
	INIT_LIST_HEAD(&ask->list);
	init_completion(&ask->done);
	refcount_set(&ask->refs, 1);
	ask->max_node = max_node;
	ask->out = kvzalloc(struct_size(ask->out, peer, max_node + 1), GFP_KERNEL);
	if (!ask->out || !member_ask(ask))
		goto put;
	wake_up(&krg_member.wait);
	/* The thread answers within a few steps, also while it ends. */
	if (!wait_for_completion_timeout(&ask->done, msecs_to_jiffies(KRG_MEMBER_ASK_MS))) {
		pr_warn_ratelimited("the membership thread has not answered for %d ms\n",
				    KRG_MEMBER_ASK_MS);
		member_unask(ask);
	} else if (!ask->err) {
		snap = ask->out;
		ask->out = NULL;	/* the thread is done with it */
	}
put:
	member_ask_put(ask);
	return snap;
}

void krg_member_snapshot_free(struct krg_member_snapshot *s)
{
	if (s)
		krg_view_put(s->view);
	kvfree(s);
}

/* ---- engine messages as a message type ---- */

static void member_handle(struct krg_rpc_req *req)
{
	krg_member_message(krg_rpc_req_node(req), krg_rpc_req_incarnation(req),
			   krg_rpc_req_data(req), krg_rpc_req_len(req));
}

static const struct krg_rpc_type member_type = {
	.type = KRG_MSG_MBR, .class = KRG_CLASS_CTL, .flags = KRG_RPC_ANY_EPOCH,
	.min_len = 1, .max_len = 60000, .name = "membership", .handle = member_handle,
};

/* ---- life ---- */

static void member_free(void)
{
	kvfree(krg_member.memory);
	kvfree(krg_member.buffer);
	krg_member.memory = NULL;
	krg_member.buffer = NULL;
	krg_member.engine = NULL;
}

int krg_member_start(const struct krg_mbr_config *cfg, const char *witness,
		     const struct krg_member_sink *sink)
{
	u64 size = krg_mbr_size(cfg->max_nodes);
	struct task_struct *task;
	int err = -ENOMEM;

	if (!size)
		return -EINVAL;
	krg_member.memory = kvzalloc(size, GFP_KERNEL);
	krg_member.buffer = kvmalloc(KRG_WIRE_PAYLOAD_MAX, GFP_KERNEL);
	if (!krg_member.memory || !krg_member.buffer)
		goto free;
	err = -EINVAL;
	krg_member.engine = krg_mbr_init(krg_member.memory, size, cfg, krg_member_now_ms());
	if (!krg_member.engine)
		goto free;
	krg_member.self = cfg->self;
	krg_member.sink = sink;
	krg_member.failed = false;
	krg_member.missed = false;
	krg_member.head = krg_member.tail = 0;

	err = krg_rpc_register(&member_type);
	if (err)
		goto free;
	task = kthread_create(member_thread, NULL, "krg_member");
	if (IS_ERR(task)) {
		err = PTR_ERR(task);
		goto unregister;
	}
	sched_set_fifo_low(task);
	krg_member.task = task;
	krg_view_start(sink);
	krg_witness_start(witness);
	spin_lock_bh(&krg_member.lock);
	krg_member.running = true;
	spin_unlock_bh(&krg_member.lock);
	wake_up_process(task);
	return 0;

unregister:
	krg_rpc_unregister(&member_type);
free:
	member_free();
	return err;
}

void krg_member_stop(void)
{
	struct krg_member_reply *r, *next;

	if (!krg_member.task)
		return;
	spin_lock_bh(&krg_member.lock);
	krg_member.running = false;
	spin_unlock_bh(&krg_member.lock);
	kthread_stop(krg_member.task);
	krg_member.task = NULL;
	member_answer_all();	/* who asked in the last moment; the engine is ours now */
	krg_view_set_serve_until(0);
	krg_witness_stop();
	list_for_each_entry_safe(r, next, &krg_member.replies, list) {
		list_del(&r->list);
		kfree(r);
	}
	krg_rpc_unregister(&member_type);
	krg_view_stop();
	member_free();
}
