// SPDX-License-Identifier: GPL-2.0
/*
 * Life and death of sessions, and the table in which the rest finds them.
 *
 *	OPENING --establish--> UP --kill--> DEAD --reap--> freed with its last reference
 *	   \-------------kill----------------^
 *
 * kill() may come from anywhere: it marks the session, cancels its calls and
 * queues the reaper, which stops the threads and closes the connections where
 * waiting is allowed.
 */
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "event.h"
#include "member.h"
#include "memory.h"
#include "session.h"
#include "stats.h"
#include "trace.h"

#define KRG_SESSION_OPEN_MS	5000	/* all connections of an attempt must be there by then */

const struct krg_transport_ops *krg_transport = &krg_tipc_ops;
struct workqueue_struct *krg_tx_wq;
struct workqueue_struct *krg_session_wq;

/* The table, the list of all sessions, and the step from opening to up. */
static DEFINE_MUTEX(krg_session_mutex);
static LIST_HEAD(krg_session_all);
static struct krg_session __rcu *krg_session_up[KRG_NODE_ID_MAX + 1];
static atomic_t krg_session_count;	/* entries of the list */
static DECLARE_WAIT_QUEUE_HEAD(krg_session_gone);

static void session_free(struct kref *ref)
{
	struct krg_session *s = container_of(ref, struct krg_session, ref);
	int i;

	for (i = 0; i < KRG_CLASS_NR; i++)
		krg_conn_free(&s->conn[i]);
	kfree_rcu(s, rcu);
	module_put(THIS_MODULE);
}

void krg_session_put(struct krg_session *s)
{
	if (s)
		kref_put(&s->ref, session_free);
}

struct krg_session *krg_session_get(u16 node)
{
	struct krg_session *s = NULL;

	if (!node || node > KRG_NODE_ID_MAX)
		return NULL;
	rcu_read_lock();
	s = rcu_dereference(krg_session_up[node]);
	if (s && (krg_session_dead(s) || !kref_get_unless_zero(&s->ref)))
		s = NULL;
	rcu_read_unlock();
	return s;
}

static void session_tell_down(struct krg_session *s)
{
	struct krg_event ev = {
		.type = KRG_EVENT_LINK_DOWN, .node = s->node, .incarnation = s->incarnation,
	};
	struct krg_mbr_event down = {
		.type = KRG_MBR_EV_PEER_DOWN, .node = s->node, .incarnation = s->incarnation,
	};

	lockdep_assert_held(&krg_session_mutex);
	if (!s->was_up)
		return;
	s->was_up = false;
	krg_member_post(&down);
	krg_stats_reset_of(s->node);
	strscpy(ev.host, s->host, sizeof(ev.host));
	krg_event_report(&ev);
}

static void session_reap(struct work_struct *work)
{
	struct krg_session *s = container_of(work, struct krg_session, reap_work);
	u16 node = s->node;
	int i;

	/* Nobody finds it in the table any more, and establish() is not halfway. */
	mutex_lock(&krg_session_mutex);
	session_tell_down(s);	/* before establish() can tell of a successor */
	if (rcu_access_pointer(krg_session_up[node]) == s)
		RCU_INIT_POINTER(krg_session_up[node], NULL);
	mutex_unlock(&krg_session_mutex);

	for (i = 0; i < KRG_CLASS_NR; i++)
		krg_conn_stop(&s->conn[i]);

	mutex_lock(&krg_session_mutex);
	list_del(&s->list);
	mutex_unlock(&krg_session_mutex);
	krg_peer_lost(node);
	krg_session_put(s);	/* the list's */
	if (atomic_dec_and_test(&krg_session_count))
		wake_up_all(&krg_session_gone);
}

void krg_session_kill(struct krg_session *s, const char *why)
{
	int i;

	if (atomic_xchg(&s->state, KRG_SESSION_DEAD) == KRG_SESSION_DEAD)
		return;
	trace_krg_session(s->node, s->incarnation, false);
	pr_debug("node %u: session ends: %s\n", s->node, why);
	krg_rpc_cancel_calls(s, -ECONNRESET);
	for (i = 0; i < KRG_CLASS_NR; i++) {
		wake_up_all(&s->conn[i].tx_wait);
		up(&s->conn[i].window);	/* each that waited lets the next one see the end */
	}
	queue_work(krg_session_wq, &s->reap_work);
}

struct krg_session *krg_session_create(u16 node, u64 incarnation, u64 attempt, const u8 *machine,
				       const char *host)
{
	struct krg_session *s;
	unsigned int tries = 0;
	int i;

	if (!node || node > KRG_NODE_ID_MAX)
		return ERR_PTR(-EINVAL);
	do
		s = kzalloc(sizeof(*s), GFP_KERNEL);
	while (!s && krg_memory_later(-ENOMEM, &tries));
	if (!s)
		return ERR_PTR(-ENOMEM);
	__module_get(THIS_MODULE);
	kref_init(&s->ref);
	atomic_set(&s->state, KRG_SESSION_OPENING);
	s->node = node;
	s->incarnation = incarnation;
	s->attempt = attempt;
	memcpy(s->machine, machine, sizeof(s->machine));
	strscpy(s->host, host, sizeof(s->host));
	s->opened = jiffies;
	spin_lock_init(&s->calls_lock);
	INIT_WORK(&s->reap_work, session_reap);
	for (i = 0; i < KRG_CLASS_NR; i++)
		krg_conn_init(&s->conn[i], s, i);

	mutex_lock(&krg_session_mutex);
	kref_get(&s->ref);
	list_add_tail(&s->list, &krg_session_all);
	atomic_inc(&krg_session_count);
	mutex_unlock(&krg_session_mutex);
	return s;
}

int krg_session_attach(struct krg_session *s, enum krg_class class, struct krg_tconn *tc,
		       const struct krg_auth_keys *keys)
{
	int err = 0;

	mutex_lock(&krg_session_mutex);
	if (krg_session_dead(s) || (s->attached & BIT(class))) {
		err = -ECONNRESET;
	} else {
		s->conn[class].tc = tc;
		s->conn[class].keys = *keys;
		s->attached |= BIT(class);
	}
	mutex_unlock(&krg_session_mutex);
	if (err)
		krg_transport->close(tc);
	return err;
}

/* Under the mutex: is there somebody else we must not push aside? */
static bool session_in_the_way(struct krg_session *old, const u8 *machine, u64 incarnation)
{
	lockdep_assert_held(&krg_session_mutex);
	return old && !krg_session_dead(old) && old->incarnation != incarnation &&
	       memcmp(old->machine, machine, sizeof(old->machine));
}

static struct krg_session *session_up(u16 node)
{
	return rcu_dereference_protected(krg_session_up[node],
					 lockdep_is_held(&krg_session_mutex));
}

bool krg_session_taken(u16 node, const u8 *machine, u64 incarnation)
{
	bool taken;

	if (!node || node > KRG_NODE_ID_MAX)
		return false;
	mutex_lock(&krg_session_mutex);
	taken = session_in_the_way(session_up(node), machine, incarnation);
	mutex_unlock(&krg_session_mutex);
	return taken;
}

static void session_tell_up(struct krg_session *s)
{
	struct krg_event ev = {
		.type = KRG_EVENT_LINK_UP, .node = s->node, .incarnation = s->incarnation,
	};

	krg_stats_inc(KRG_ST_SESSIONS);
	trace_krg_session(s->node, s->incarnation, true);
	strscpy(ev.host, s->host, sizeof(ev.host));
	krg_event_report(&ev);
}

int krg_session_establish(struct krg_session *s)
{
	struct krg_mbr_event up = {
		.type = KRG_MBR_EV_PEER_UP, .node = s->node, .incarnation = s->incarnation,
	};
	struct krg_session *old;
	int i, err = 0;

	mutex_lock(&krg_session_mutex);
	old = session_up(s->node);
	if (s->attached != BIT(KRG_CLASS_NR) - 1 || krg_session_dead(s)) {
		err = -ECONNRESET;
		goto unlock;
	}
	if (session_in_the_way(old, s->machine, s->incarnation)) {
		err = -EADDRINUSE;
		goto unlock;
	}
	s->address = krg_transport->address(s->conn[KRG_CLASS_CTL].tc);
	if (old) {
		/* The engine must hear of the end before it hears of the new life. */
		krg_session_kill(old, "replaced");
		RCU_INIT_POINTER(krg_session_up[s->node], NULL);
		session_tell_down(old);
	}
	if (atomic_cmpxchg(&s->state, KRG_SESSION_OPENING, KRG_SESSION_UP) != KRG_SESSION_OPENING) {
		err = -ECONNRESET;
		goto unlock;
	}
	s->was_up = true;
	rcu_assign_pointer(krg_session_up[s->node], s);
	krg_member_post(&up);	/* before its first message can be read */
	for (i = 0; i < KRG_CLASS_NR && !err; i++)
		err = krg_conn_start(&s->conn[i]);
unlock:
	mutex_unlock(&krg_session_mutex);
	if (err)
		krg_session_kill(s, "cannot be established");
	else
		session_tell_up(s);
	return err;
}

struct krg_session *krg_session_find_opening(u16 node, u64 incarnation, u64 attempt)
{
	struct krg_session *s, *found = NULL;

	mutex_lock(&krg_session_mutex);
	list_for_each_entry(s, &krg_session_all, list) {
		if (s->node == node && s->incarnation == incarnation && s->attempt == attempt &&
		    atomic_read(&s->state) == KRG_SESSION_OPENING) {
			kref_get(&s->ref);
			found = s;
			break;
		}
	}
	mutex_unlock(&krg_session_mutex);
	return found;
}

void krg_session_expire_opening(void)
{
	unsigned long limit = msecs_to_jiffies(KRG_SESSION_OPEN_MS);
	struct krg_session *s;

	mutex_lock(&krg_session_mutex);
	list_for_each_entry(s, &krg_session_all, list)
		if (atomic_read(&s->state) == KRG_SESSION_OPENING &&
		    time_after(jiffies, s->opened + limit))
			krg_session_kill(s, "some connections never came");
	mutex_unlock(&krg_session_mutex);
}

void krg_session_kick_all(void)
{
	struct krg_session *s;
	int i;

	mutex_lock(&krg_session_mutex);
	list_for_each_entry(s, &krg_session_all, list)
		if (atomic_read(&s->state) == KRG_SESSION_UP)
			for (i = 0; i < KRG_CLASS_NR; i++)
				krg_conn_wake(&s->conn[i]);
	mutex_unlock(&krg_session_mutex);
}

void krg_session_stop_all(void)
{
	struct krg_session *s;

	mutex_lock(&krg_session_mutex);
	list_for_each_entry(s, &krg_session_all, list)
		krg_session_kill(s, "leaving");
	mutex_unlock(&krg_session_mutex);
	/* Closing a congested connection takes TIPC up to 8 s; none waits longer. */
	while (!wait_event_timeout(krg_session_gone, !atomic_read(&krg_session_count), 10 * HZ))
		pr_notice("still closing connections\n");
}

int krg_session_init(void)
{
	krg_tx_wq = alloc_workqueue("krg_tx", WQ_UNBOUND | WQ_HIGHPRI | WQ_MEM_RECLAIM, 0);
	if (!krg_tx_wq)
		return -ENOMEM;
	krg_session_wq = alloc_workqueue("krg_session", WQ_UNBOUND, 0);
	if (!krg_session_wq) {
		destroy_workqueue(krg_tx_wq);
		return -ENOMEM;
	}
	return 0;
}

void krg_session_exit(void)
{
	destroy_workqueue(krg_session_wq);
	destroy_workqueue(krg_tx_wq);
	rcu_barrier();	/* sessions are freed through RCU */
}
