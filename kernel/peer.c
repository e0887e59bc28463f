// SPDX-License-Identifier: GPL-2.0
/*
 * Connecting: who calls whom, and when again.
 *
 * The node with the lower id connects to the one with the higher: one connection
 * per class, one handshake each, all with the same attempt number, and only the
 * complete set becomes a session. Whether a node is visible comes from the
 * transport as a hint; while it is, and there is no session, we try, with pauses
 * that grow to KRG_DIAL_MAX_MS. The node with the higher id only accepts.
 *
 * Accepting costs a worker for as long as a handshake takes, so no more than
 * KRG_ACCEPT_MAX are under way at once: a flood of connections that never prove
 * anything delays joins, and touches nothing that is up.
 */
#include <linux/jiffies.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "event.h"
#include "member.h"
#include "memory.h"
#include "session.h"
#include "stats.h"

#define KRG_CONNECT_MS		2000
#define KRG_DIAL_MIN_MS		100
#define KRG_DIAL_MAX_MS		1600
#define KRG_ACCEPT_MAX		64
#define KRG_EXPIRE_MS		1000

struct krg_peer {
	u16 node;
	int visible;			/* its services seen minus withdrawn */
	unsigned int pause_ms;		/* before the next attempt */
	struct delayed_work dial;
};

struct krg_accept {
	struct work_struct work;
	struct krg_tconn *tc;
};

static struct {
	struct krg_identity self;
	bool running;
	struct krg_peer peer[KRG_NODE_ID_MAX + 1];
	struct delayed_work expire;
	atomic_t accepting;
	wait_queue_head_t accepted;	/* accepting became 0 */
	struct mutex collect;		/* connections of one attempt find each other; outermost */
	spinlock_t lock;		/* running, visible, pause_ms */
} krg_peers = {
	.collect = __MUTEX_INITIALIZER(krg_peers.collect),
	.lock = __SPIN_LOCK_UNLOCKED(krg_peers.lock),
	.accepted = __WAIT_QUEUE_HEAD_INITIALIZER(krg_peers.accepted),
};

const struct krg_identity *krg_peer_self(void)
{
	return &krg_peers.self;
}

/* Under the lock: try in @ms, unless that is not our part or not wanted. */
static void peer_schedule(struct krg_peer *p, unsigned int ms)
{
	lockdep_assert_held(&krg_peers.lock);
	if (krg_peers.running && p->visible > 0 && krg_peers.self.node < p->node)
		queue_delayed_work(krg_session_wq, &p->dial, msecs_to_jiffies(ms));
}

static void peer_seen(u16 node, bool here)
{
	struct krg_mbr_event hint = { .type = KRG_MBR_EV_LINK_HINT, .node = node };
	struct krg_peer *p;

	if (node > KRG_NODE_ID_MAX)
		return;
	p = &krg_peers.peer[node];
	spin_lock(&krg_peers.lock);
	p->visible = max(p->visible + (here ? 1 : -1), 0);
	if (here) {
		p->pause_ms = KRG_DIAL_MIN_MS;
		peer_schedule(p, 0);
	}
	here = p->visible > 0;
	spin_unlock(&krg_peers.lock);
	if (!here)
		krg_member_post(&hint);
}

void krg_peer_lost(u16 node)
{
	struct krg_peer *p = &krg_peers.peer[node];

	spin_lock(&krg_peers.lock);
	peer_schedule(p, p->pause_ms);
	spin_unlock(&krg_peers.lock);
}

static int peer_dial_class(struct krg_session **s, u16 node, enum krg_class class, u64 attempt)
{
	const struct krg_identity *self = &krg_peers.self;
	struct krg_hs_result hs = {};
	struct krg_session *new;
	unsigned int tries = 0;
	struct krg_tconn *tc;
	int err;

	do
		err = krg_transport->connect(node, KRG_CONNECT_MS, &tc);
	while (krg_memory_later(err, &tries));
	if (err)
		return err;
	err = krg_handshake_connect(tc, self, node, class, attempt, &hs);
	if (!err && *s && (*s)->incarnation != hs.peer.incarnation)
		err = -ECONNRESET;	/* it began a new life in between */
	if (err) {
		krg_transport->close(tc);
		return err;
	}
	if (!*s) {
		new = krg_session_create(node, hs.peer.incarnation, attempt, hs.peer.machine,
					 hs.peer.host);
		if (IS_ERR(new)) {
			krg_transport->close(tc);
			return PTR_ERR(new);
		}
		*s = new;
	}
	err = krg_session_attach(*s, class, tc, &hs.keys);
	memzero_explicit(&hs.keys, sizeof(hs.keys));
	return err;
}

static void peer_dial(struct work_struct *work)
{
	struct krg_peer *p = container_of(to_delayed_work(work), struct krg_peer, dial);
	struct krg_session *s = krg_session_get(p->node);
	u64 attempt = get_random_u64() | 1;
	int class, err = 0;

	krg_session_put(s);
	if (s)
		return;		/* there is one that lives */

	for (class = 0; class < KRG_CLASS_NR && !err; class++)
		err = peer_dial_class(&s, p->node, class, attempt);
	if (!err)
		err = krg_session_establish(s);
	if (err && s)
		krg_session_kill(s, "not all connections came up");
	krg_session_put(s);
	if (err)
		pr_debug("node %u: connecting failed: %d\n", p->node, err);

	spin_lock(&krg_peers.lock);
	if (err) {
		peer_schedule(p, p->pause_ms);
		if (err != -ENOMEM && err != -ENOBUFS)	/* these say nothing about the other side */
			p->pause_ms = min_t(unsigned int, p->pause_ms * 2, KRG_DIAL_MAX_MS);
	} else {
		p->pause_ms = KRG_DIAL_MIN_MS;
	}
	spin_unlock(&krg_peers.lock);
}

static void peer_accept_one(struct krg_tconn *tc)
{
	struct krg_hs_result hs = {};
	struct krg_session *s;
	int err;

	err = krg_handshake_accept(tc, &krg_peers.self, &hs);
	if (err) {
		pr_debug("handshake failed: %d\n", err);
		krg_transport->close(tc);
		return;
	}
	mutex_lock(&krg_peers.collect);
	s = krg_session_find_opening(hs.peer.node, hs.peer.incarnation, hs.peer.attempt);
	if (!s)
		s = krg_session_create(hs.peer.node, hs.peer.incarnation, hs.peer.attempt,
				       hs.peer.machine, hs.peer.host);
	if (IS_ERR(s)) {
		mutex_unlock(&krg_peers.collect);
		krg_transport->close(tc);
		return;
	}
	err = krg_session_attach(s, hs.peer.class_, tc, &hs.keys);
	memzero_explicit(&hs.keys, sizeof(hs.keys));
	if (err)
		krg_session_kill(s, "class connected twice");
	else if (s->attached == BIT(KRG_CLASS_NR) - 1)
		krg_session_establish(s);
	mutex_unlock(&krg_peers.collect);
	krg_session_put(s);
}

static void peer_accept_work(struct work_struct *work)
{
	struct krg_accept *a = container_of(work, struct krg_accept, work);

	peer_accept_one(a->tc);
	kfree(a);
	if (atomic_dec_and_test(&krg_peers.accepting))
		wake_up(&krg_peers.accepted);
}

static void peer_accepted(struct krg_tconn *tc)
{
	unsigned int tries = 0;
	struct krg_accept *a;

	if (atomic_read(&krg_peers.accepting) >= KRG_ACCEPT_MAX)
		goto refuse;
	do
		a = kmalloc(sizeof(*a), GFP_KERNEL);
	while (!a && krg_memory_later(-ENOMEM, &tries));
	if (!a)
		goto refuse;
	atomic_inc(&krg_peers.accepting);
	a->tc = tc;
	INIT_WORK(&a->work, peer_accept_work);
	queue_work(krg_session_wq, &a->work);
	return;
refuse:
	krg_stats_inc(KRG_ST_BAD_HANDSHAKE);
	krg_transport->close(tc);
}

static void peer_expire(struct work_struct *work)
{
	krg_session_expire_opening();
	queue_delayed_work(krg_session_wq, &krg_peers.expire, msecs_to_jiffies(KRG_EXPIRE_MS));
}

static const struct krg_transport_watch krg_peer_watch = {
	.accepted = peer_accepted,
	.seen = peer_seen,
};

int krg_peer_start(const struct krg_identity *self)
{
	int i, err;

	krg_peers.self = *self;
	atomic_set(&krg_peers.accepting, 0);
	for (i = 1; i <= KRG_NODE_ID_MAX; i++) {
		krg_peers.peer[i].node = i;
		krg_peers.peer[i].visible = 0;
		krg_peers.peer[i].pause_ms = KRG_DIAL_MIN_MS;
		INIT_DELAYED_WORK(&krg_peers.peer[i].dial, peer_dial);
	}
	INIT_DELAYED_WORK(&krg_peers.expire, peer_expire);
	krg_peers.running = true;
	err = krg_transport->start(self->node, &krg_peer_watch);
	if (err) {
		krg_peer_stop();
		return err;
	}
	queue_delayed_work(krg_session_wq, &krg_peers.expire, msecs_to_jiffies(KRG_EXPIRE_MS));
	return 0;
}

void krg_peer_stop(void)
{
	int i;

	spin_lock(&krg_peers.lock);
	krg_peers.running = false;
	spin_unlock(&krg_peers.lock);
	krg_transport->stop();
	for (i = 1; i <= KRG_NODE_ID_MAX; i++)
		cancel_delayed_work_sync(&krg_peers.peer[i].dial);
	cancel_delayed_work_sync(&krg_peers.expire);
	/* Every handshake has its own deadlines. */
	wait_event(krg_peers.accepted, !atomic_read(&krg_peers.accepting));
	krg_session_stop_all();
	memzero_explicit(&krg_peers.self, sizeof(krg_peers.self));
}
