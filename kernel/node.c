// SPDX-License-Identifier: GPL-2.0
/*
 * This node's life in a cluster:
 *
 *	OUT --create--> PREPARING --> SERVING <--> SUSPENDED
 *	OUT --join----> JOINING ---> PREPARING
 *	SERVING --leave--> LEAVING --> OUT
 *	anything --lost--> JOINING (a new incarnation, if auto_rejoin) or OUT
 *	anything --evicted, refused--> OUT
 *	anything --internal error--> FAILED --leave--> OUT
 *
 * A cluster is built up in this order and taken down in the reverse: links
 * (filter, hello), for a join the question whether we would be let in, engine,
 * transport. While any of it is there the module holds a reference on itself:
 * rmmod gets EBUSY.
 *
 * Requests (request.c) only start things. What comes of them arrives from the view worker
 * (the sink below), which never waits for this file's mutex: ends are handled by
 * a work of their own.
 */
#include <linux/device.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/netlink.h>
#include <linux/random.h>

#include "link.h"
#include "main.h"
#include "node_private.h"
#include "stats.h"

#define KRG_LEASE_MS		2000
#define KRG_REJOIN_MIN_MS	500
#define KRG_REJOIN_MAX_MS	8000

struct krg_node krg_node = {
	.mutex = __MUTEX_INITIALIZER(krg_node.mutex),
	.lock = __SPIN_LOCK_UNLOCKED(krg_node.lock),
};

/* ---- state ---- */

enum krg_node_lifecycle krg_node_state(void)
{
	return READ_ONCE(krg_node.state);
}

void krg_node_enter(enum krg_node_lifecycle state, u8 reason, const char *fmt, ...)
{
	struct krg_event ev = { .type = KRG_EVENT_STATE, .state = state, .reason = reason };
	bool same;
	va_list args;

	va_start(args, fmt);
	vsnprintf(ev.text, sizeof(ev.text), fmt, args);
	va_end(args);
	spin_lock(&krg_node.lock);
	same = krg_node.state == state && !ev.text[0];
	krg_node.state = state;
	ev.epoch = krg_node.epoch;
	ev.node = krg_node.self.node;
	ev.incarnation = krg_node.self.incarnation;
	spin_unlock(&krg_node.lock);
	if (!same)
		krg_event_report(&ev);
}

void krg_node_remember_error(u8 reason, u16 by, const char *text)
{
	spin_lock(&krg_node.lock);
	krg_node.last_reason = reason;
	krg_node.last_reason_node = by;
	strscpy(krg_node.last_error, text, sizeof(krg_node.last_error));
	spin_unlock(&krg_node.lock);
}

static void node_forget_members(void)
{
	int i;

	spin_lock(&krg_node.lock);
	krg_node.epoch = 0;
	krg_node.over = false;
	for (i = 0; i <= KRG_NODE_ID_MAX; i++)
		krg_node.memory[i].member = false;
	spin_unlock(&krg_node.lock);
}

/* ---- what the engine says: in the view worker ---- */

static void node_host_of(u16 node, char *host)
{
	struct krg_session *s;

	if (node == krg_node.self.node) {
		strscpy(host, krg_node.self.host, KRG_HOST_NAME_MAX + 1);
		return;
	}
	s = krg_session_get(node);
	if (s && s->host[0])
		strscpy(host, s->host, KRG_HOST_NAME_MAX + 1);
	krg_session_put(s);
}

static u8 node_reason_of(const struct krg_view *view, u16 node, u64 incarnation)
{
	int i;

	for (i = 0; i < view->removed_count; i++)
		if (view->removed[i].node == node && view->removed[i].incarnation == incarnation)
			return view->removed[i].reason;
	return KRG_MBR_R_LOST;	/* in a view we never saw */
}

/* One node id: does the new view change what we knew of it? Fills up to two events. */
static int node_compare(const struct krg_view *view, u16 node, struct krg_event *ev)
{
	const struct krg_mbr_member *m = krg_view_find(view, node);
	struct krg_node_memory *mem = &krg_node.memory[node];
	char host[KRG_HOST_NAME_MAX + 1] = "";
	int n = 0;

	if (m)
		node_host_of(node, host);
	spin_lock(&krg_node.lock);
	if (mem->member && (!m || m->incarnation != mem->incarnation)) {
		mem->member = false;
		mem->reason = node_reason_of(view, node, mem->incarnation);
		mem->down_ms = krg_member_now_ms();
		ev[n] = (struct krg_event){
			.type = KRG_EVENT_NODE_DOWN, .node = node, .reason = mem->reason,
			.incarnation = mem->incarnation, .epoch = view->epoch,
			.nr_members = view->count,
		};
		strscpy(ev[n++].host, mem->host, sizeof(ev->host));
	}
	if (m && !mem->member) {
		mem->member = true;
		mem->incarnation = m->incarnation;
		mem->reason = KRG_MBR_R_NONE;
		if (host[0])
			strscpy(mem->host, host, sizeof(mem->host));
		ev[n] = (struct krg_event){
			.type = KRG_EVENT_NODE_UP, .node = node, .incarnation = m->incarnation,
			.epoch = view->epoch, .nr_members = view->count,
		};
		strscpy(ev[n++].host, mem->host, sizeof(ev->host));
	}
	mem->flags = m ? m->flags : 0;
	spin_unlock(&krg_node.lock);
	return n;
}

static void node_view(const struct krg_view *view, bool committed)
{
	struct krg_event ev = {
		.type = committed ? KRG_EVENT_VIEW_COMMIT : KRG_EVENT_VIEW_PREPARE,
		.epoch = view->epoch, .nr_members = view->count,
		.node = view->self, .state = krg_node_state(),
	};
	u16 members[KRG_NODE_ID_MAX];
	struct krg_event change[2];
	bool leaving;
	int i, j, n;

	for (i = 0; i < view->count; i++)
		members[i] = view->member[i].node;
	ev.members = members;
	spin_lock(&krg_node.lock);
	leaving = krg_node.leaving;
	if (committed) {
		krg_node.epoch = view->epoch;
		krg_node.rejoins = 0;
	}
	spin_unlock(&krg_node.lock);

	krg_event_report(&ev);
	if (committed)
		for (i = 1; i <= KRG_NODE_ID_MAX; i++)
			for (n = node_compare(view, i, change), j = 0; j < n; j++)
				krg_event_report(&change[j]);
	if (!leaving)
		krg_node_enter(committed ? KRG_NODE_SERVING : KRG_NODE_PREPARING, 0, "%s", "");
}

static void node_serving(bool serving)
{
	bool leaving = READ_ONCE(krg_node.leaving);

	if (serving)
		krg_node_enter(leaving ? KRG_NODE_LEAVING : KRG_NODE_SERVING, 0, "lease renewed");
	else
		krg_node_enter(KRG_NODE_SUSPENDED, KRG_MBR_R_NO_QUORUM,
			   "lease ran out: no majority of epoch %llu answers", krg_node.epoch);
}

static void node_draining(void)
{
	struct krg_event ev = { .type = KRG_EVENT_DRAIN, .node = krg_node.self.node };

	spin_lock(&krg_node.lock);
	krg_node.leaving = true;
	ev.epoch = krg_node.epoch;
	spin_unlock(&krg_node.lock);
	krg_node_enter(KRG_NODE_LEAVING, 0, "%s", "");
	krg_event_report(&ev);
}

static void node_over(enum krg_mbr_action_type how, u16 node, unsigned int reason, u64 arg)
{
	spin_lock(&krg_node.lock);
	krg_node.over = true;
	krg_node.over_how = how;
	krg_node.last_reason_node = node;
	krg_node.last_reason = how == KRG_MBR_ACT_LEFT ? KRG_MBR_R_LEFT :
			       how == KRG_MBR_ACT_FAILED ? KRG_MBR_R_INTERNAL : reason;
	if (how == KRG_MBR_ACT_FAILED)
		snprintf(krg_node.last_error, sizeof(krg_node.last_error),
			 "internal check %llu of the membership engine failed", arg);
	else if (how == KRG_MBR_ACT_LEFT)
		krg_node.last_error[0] = 0;
	else
		snprintf(krg_node.last_error, sizeof(krg_node.last_error), "%s: %s",
			 how == KRG_MBR_ACT_REFUSED ? "join refused" : "removed from the cluster",
			 krg_event_reason(reason));
	spin_unlock(&krg_node.lock);
	queue_work(krg_node.wq, &krg_node.over_work);
}

static void node_peer_refused(u16 node, unsigned int reason)
{
	struct krg_event ev = {
		.type = KRG_EVENT_PEER_REFUSED, .node = node, .reason = reason,
	};

	node_host_of(node, ev.host);
	krg_event_report(&ev);
}

static const struct krg_member_sink node_sink = {
	.view = node_view,
	.serving = node_serving,
	.draining = node_draining,
	.over = node_over,
	.peer_refused = node_peer_refused,
};

/* ---- may somebody join us? ---- */

static enum krg_hello_answer node_judge(u16 node, const u8 *machine, u64 incarnation, u8 *reason)
{
	struct krg_member_snapshot *snap = krg_member_snapshot(KRG_NODE_ID_MAX);
	enum krg_hello_answer answer = KRG_HELLO_SILENT;
	const struct krg_mbr_member *m;

	if (!snap)
		return KRG_HELLO_SILENT;
	if (!snap->view || snap->state == KRG_MBR_FAILED)
		goto out;
	if (snap->state == KRG_MBR_SUSPENDED || !snap->has_quorum) {
		*reason = KRG_MBR_R_NO_QUORUM;
		answer = KRG_HELLO_NO;
		goto out;
	}
	answer = KRG_HELLO_YES;
	if (node > KRG_NODE_ID_MAX) {
		*reason = KRG_MBR_R_ID_RANGE;
		answer = KRG_HELLO_NO;
		goto out;
	}
	m = krg_view_find(snap->view, node);
	/* The same machine in a new life replaces itself; another one must not. */
	if (m && m->incarnation != incarnation &&
	    (node == krg_node.self.node || krg_session_taken(node, machine, incarnation))) {
		*reason = KRG_MBR_R_ID_TAKEN;
		answer = KRG_HELLO_NO;
	}
out:
	krg_member_snapshot_free(snap);
	return answer;
}

/* ---- building up and taking down; under the mutex ---- */

static void node_new_life(void)
{
	u64 incarnation;

	do
		incarnation = get_random_u64();
	while (!incarnation);
	spin_lock(&krg_node.lock);
	krg_node.self.incarnation = incarnation;
	spin_unlock(&krg_node.lock);
}

int krg_node_set_identity(const struct krg_node_config *cfg, struct netlink_ext_ack *extack)
{
	struct krg_identity *self = &krg_node.self;
	struct krg_auth *auth = krg_auth_create(cfg->key);

	if (IS_ERR(auth)) {
		NL_SET_ERR_MSG(extack, "the kernel has no hmac(sha256)");
		return PTR_ERR(auth);
	}
	krg_node.cfg = *cfg;
	self->node = cfg->node_id;
	self->cluster_hash = krg_wire_name_hash(cfg->cluster);
	strscpy(self->cluster, cfg->cluster, sizeof(self->cluster));
	strscpy(self->host, cfg->host, sizeof(self->host));
	self->auth = auth;
	node_new_life();
	return 0;
}

int krg_node_links_up(struct netlink_ext_ack *extack)
{
	const char *missing = "";
	int err;

	err = krg_link_start(krg_node.cfg.link, krg_node.cfg.nr_links, &missing,
			     krg_node.self.machine);
	if (err) {
		if (err == -ENODEV)
			NL_SET_ERR_MSG(extack, "a link does not exist or is no Ethernet device");
		else
			NL_SET_ERR_MSG(extack, "a link cannot be filtered");
		pr_err("link %s cannot be used: %d\n", missing, err);
		return err;
	}
	krg_node.links_on = true;
	krg_hello_start(&krg_node.self, node_judge);
	return 0;
}

int krg_node_engine_up(void)
{
	struct krg_mbr_config cfg = {
		.self = krg_node.self.node,
		.max_nodes = KRG_NODE_ID_MAX,
		.cluster_hash = krg_node.self.cluster_hash,
		.incarnation = krg_node.self.incarnation,
		.seed = get_random_u64(),
	};
	u32 lease = krg_node.cfg.lease_ms ?: KRG_LEASE_MS;
	int err;

	cfg.params.lease_ms = lease;
	cfg.params.drift_ms = max(lease / 20, 20u);
	cfg.params.renew_ms = max(lease / 10, 50u);
	cfg.params.suspect_ms = max(lease / 2, 250u);
	cfg.params.settle_ms = max(lease / 5, 100u);	/* the spread of suspicion: two renewals */
	cfg.params.witness = krg_node.cfg.witness[0] ? 1 : 0;
	node_forget_members();
	err = krg_member_start(&cfg, krg_node.cfg.witness, &node_sink);
	if (err)
		return err;
	krg_node.engine_on = true;
	err = krg_peer_start(&krg_node.self);
	if (err) {
		krg_member_stop();
		krg_node.engine_on = false;
		return err;
	}
	krg_node.peers_on = true;
	return 0;
}

static void node_engine_down(void)
{
	if (krg_node.peers_on)
		krg_peer_stop();
	krg_node.peers_on = false;
	if (krg_node.engine_on)
		krg_member_stop();
	krg_node.engine_on = false;
	node_forget_members();
}

void krg_node_down(void)
{
	lockdep_assert_held(&krg_node.mutex);
	node_engine_down();
	if (krg_node.links_on) {
		krg_hello_stop();
		krg_link_stop();
	}
	krg_node.links_on = false;
	krg_auth_destroy(krg_node.self.auth);
	krg_node.self.auth = NULL;
	memzero_explicit(krg_node.cfg.key, sizeof(krg_node.cfg.key));
}

void krg_node_out(u8 reason, const char *text)
{
	krg_node_down();
	krg_node_enter(KRG_NODE_OUT, reason, "%s", text);
	module_put(THIS_MODULE);
}

/* ---- joining ---- */

static void node_refused(u16 by, u8 reason, const char *text)
{
	struct krg_event ev = {
		.type = KRG_EVENT_JOIN_REFUSED, .node = by, .reason = reason,
		.state = KRG_NODE_OUT,
	};

	strscpy(ev.text, text, sizeof(ev.text));
	krg_event_report(&ev);
}

/* A refusal that may be different in a minute, for a node that wants to come back by itself. */
static bool node_worth_retrying(u8 reason)
{
	return krg_node.rejoins && (reason == KRG_MBR_R_TIMEOUT || reason == KRG_MBR_R_NO_QUORUM ||
				    reason == KRG_MBR_R_UNREACHABLE);
}

static void node_join_later(void)
{
	unsigned int shift = min(krg_node.rejoins, 4u);
	unsigned int ms = min_t(unsigned int, KRG_REJOIN_MIN_MS << shift, KRG_REJOIN_MAX_MS);

	krg_node.rejoins++;
	ms += get_random_u32() % (ms / 2);
	krg_node_enter(KRG_NODE_JOINING, krg_node.last_reason, "coming back in %u ms, attempt %u", ms,
		   krg_node.rejoins);
	queue_delayed_work(krg_node.wq, &krg_node.join_work, msecs_to_jiffies(ms));
}

static void node_hello_done(u16 node, u8 why, const char *host)
{
	char text[128] = "";

	if (!why) {
		queue_work(krg_node.wq, &krg_node.joined_work);
		return;
	}
	if (why == KRG_MBR_R_CLUSTER)
		snprintf(text, sizeof(text), "only cluster %s answers here", host);
	else if (why == KRG_MBR_R_TIMEOUT)
		strscpy(text, "no member of this cluster answers on the links", sizeof(text));
	else if (why == KRG_MBR_R_NO_QUORUM)
		strscpy(text, "the members that answer have no quorum", sizeof(text));
	spin_lock(&krg_node.lock);
	krg_node.over = true;
	krg_node.over_how = KRG_MBR_ACT_REFUSED;
	krg_node.last_reason = why;
	krg_node.last_reason_node = node;
	strscpy(krg_node.last_error, text, sizeof(krg_node.last_error));
	spin_unlock(&krg_node.lock);
	queue_work(krg_node.wq, &krg_node.over_work);
}

static void node_join_fn(struct work_struct *work)
{
	mutex_lock(&krg_node.mutex);
	if (krg_node_state() == KRG_NODE_JOINING && !krg_node.engine_on)
		krg_hello_ask(krg_node.join_timeout_ms, node_hello_done);
	mutex_unlock(&krg_node.mutex);
}

static void node_joined_fn(struct work_struct *work)
{
	struct krg_mbr_event join = { .type = KRG_MBR_EV_JOIN };
	u32 spent;
	int err;

	mutex_lock(&krg_node.mutex);
	if (krg_node_state() != KRG_NODE_JOINING || krg_node.engine_on)
		goto unlock;
	spent = jiffies_to_msecs(jiffies - krg_node.join_started);
	if (krg_node.join_timeout_ms)
		join.arg = krg_node.join_timeout_ms > spent + 1000 ? krg_node.join_timeout_ms - spent : 1000;
	err = krg_node_engine_up();
	if (!err) {
		krg_member_post(&join);
		goto unlock;
	}
	krg_node_remember_error(KRG_MBR_R_INTERNAL, 0, "the transport cannot be started: is TIPC set up?");
	pr_err("cannot start the transport: %d\n", err);
	node_refused(0, KRG_MBR_R_INTERNAL, krg_node.last_error);
	krg_node_out(KRG_MBR_R_INTERNAL, krg_node.last_error);
unlock:
	mutex_unlock(&krg_node.mutex);
}

/* ---- the end, and a new beginning ---- */

static void node_over_fn(struct work_struct *work)
{
	enum krg_mbr_action_type how;
	bool back, over;
	char text[128];
	u16 by;
	u8 reason;

	mutex_lock(&krg_node.mutex);
	spin_lock(&krg_node.lock);
	over = krg_node.over;
	how = krg_node.over_how;
	reason = krg_node.last_reason;
	by = krg_node.last_reason_node;
	strscpy(text, krg_node.last_error, sizeof(text));
	spin_unlock(&krg_node.lock);
	if (!over || krg_node_state() == KRG_NODE_OUT)
		goto unlock;

	if (how == KRG_MBR_ACT_FAILED) {
		node_engine_down();
		krg_node_enter(KRG_NODE_FAILED, reason, "%s", text);
		goto unlock;
	}
	back = !krg_node.leaving && krg_node.cfg.auto_rejoin &&
	       ((how == KRG_MBR_ACT_EXPELLED && reason == KRG_MBR_R_LOST) ||
		(how == KRG_MBR_ACT_REFUSED && node_worth_retrying(reason)));
	if (how == KRG_MBR_ACT_REFUSED && !krg_node.rejoins)
		node_refused(by, reason, text);
	if (back) {
		node_engine_down();
		node_new_life();
		krg_node.join_timeout_ms = KRG_REJOIN_MAX_MS;
		krg_node.join_started = jiffies;
		node_join_later();
	} else {
		krg_node_out(reason, text);
	}
unlock:
	mutex_unlock(&krg_node.mutex);
}

/* ---- another node asks us to leave ---- */

static void node_leave_fn(struct work_struct *work)
{
	krg_node_leave(NULL);
}

static DECLARE_WORK(node_leave_work, node_leave_fn);

static void node_handle_leave(struct krg_rpc_req *req)
{
	queue_work(krg_node.wq, &node_leave_work);
	krg_rpc_reply(req, 0, NULL, 0);
}

static const struct krg_rpc_type node_leave_type = {
	.type = KRG_MSG_LEAVE, .class = KRG_CLASS_CTL, .flags = KRG_RPC_ANY_EPOCH,
	.max_len = 0, .name = "leave", .handle = node_handle_leave,
};

int krg_node_init(void)
{
	int err;

	krg_node.wq = alloc_ordered_workqueue("krg_node", 0);
	if (!krg_node.wq)
		return -ENOMEM;
	INIT_WORK(&krg_node.over_work, node_over_fn);
	INIT_DELAYED_WORK(&krg_node.join_work, node_join_fn);
	INIT_WORK(&krg_node.joined_work, node_joined_fn);
	err = krg_rpc_register(&node_leave_type);
	if (err)
		destroy_workqueue(krg_node.wq);
	return err;
}

void krg_node_exit(void)
{
	krg_rpc_unregister(&node_leave_type);
	cancel_delayed_work_sync(&krg_node.join_work);
	destroy_workqueue(krg_node.wq);
}
