// SPDX-License-Identifier: GPL-2.0
/*
 * The first messages on a fresh connection: both sides say who they are and
 * prove the cluster key. What is proved, and why, is in auth.c; this file only
 * moves the messages and decides when to give up.
 */
#include <linux/jiffies.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "core/membership.h"
#include "memory.h"
#include "session.h"
#include "stats.h"

#define KRG_HS_TIMEOUT		(3 * HZ)	/* for each message that is waited for */
#define KRG_HS_SLICE		(HZ / 5)

/* The two messages everything is proved over, as they were on the wire. */
struct hs_talk {
	wait_queue_head_t wait;
	bool ready;
	struct krg_tconn *tc;
	const struct krg_identity *self;
	struct krg_hs_wire init, reply, last;
};

static void hs_wake(void *ctx)
{
	struct hs_talk *t = ctx;

	WRITE_ONCE(t->ready, true);
	wake_up(&t->wait);
}

static const struct krg_tconn_cb hs_cb = { .readable = hs_wake, .writable = hs_wake };

static struct hs_talk *hs_begin(struct krg_tconn *tc, const struct krg_identity *self)
{
	unsigned int tries = 0;
	struct hs_talk *t;

	do
		t = kzalloc(sizeof(*t), GFP_KERNEL);
	while (!t && krg_memory_later(-ENOMEM, &tries));
	if (!t)
		return NULL;
	init_waitqueue_head(&t->wait);
	t->tc = tc;
	t->self = self;
	krg_transport->set_callbacks(tc, &hs_cb, t);
	return t;
}

static void hs_end(struct hs_talk *t)
{
	krg_transport->set_callbacks(t->tc, NULL, NULL);
	kfree_sensitive(t);
}

static int hs_send(struct hs_talk *t, struct krg_hs_wire *w)
{
	unsigned long deadline = jiffies + KRG_HS_TIMEOUT;
	unsigned int tries = 0;
	struct kvec vec;
	int err;

	for (;;) {
		WRITE_ONCE(t->ready, false);
		vec.iov_base = w;
		vec.iov_len = sizeof(*w);
		err = krg_transport->send(t->tc, &vec, 1, sizeof(*w));
		if (krg_memory_later(err, &tries))
			continue;
		if (err != -EAGAIN)
			return err;
		if (time_after(jiffies, deadline))
			return -ETIMEDOUT;
		wait_event_timeout(t->wait, READ_ONCE(t->ready), KRG_HS_SLICE);
	}
}

/* The next message into @w and @hs; it must be of @type. */
static int hs_recv(struct hs_talk *t, enum krg_hs_type type, struct krg_hs_wire *w,
		   struct krg_hs *hs)
{
	unsigned long deadline = jiffies + KRG_HS_TIMEOUT;
	struct kvec vec;
	bool end;
	int ret;

	for (;;) {
		WRITE_ONCE(t->ready, false);
		vec.iov_base = w;
		vec.iov_len = sizeof(*w);
		ret = krg_transport->recv(t->tc, &vec, 1, sizeof(*w), false, &end);
		if (ret != -EAGAIN)
			break;
		if (time_after(jiffies, deadline))
			return -ETIMEDOUT;
		wait_event_timeout(t->wait, READ_ONCE(t->ready), KRG_HS_SLICE);
	}
	if (ret <= 0)
		return -ECONNRESET;
	ret = krg_hs_get(w, ret, hs);
	if (ret || !end) {
		krg_stats_inc(KRG_ST_BAD_HANDSHAKE);
		return ret == KRG_WIRE_BAD_VERSION ? -EPROTONOSUPPORT : -EPROTO;
	}
	if (hs->type == KRG_HS_REFUSE)
		return -ECONNREFUSED;
	if (hs->type != type) {
		krg_stats_inc(KRG_ST_BAD_HANDSHAKE);
		return -EPROTO;
	}
	return 0;
}

static void hs_fill(const struct krg_identity *self, enum krg_hs_type type, u16 to,
		    enum krg_class class, u64 attempt, struct krg_hs *hs)
{
	memset(hs, 0, sizeof(*hs));
	hs->type = type;
	hs->class_ = class;
	hs->node = self->node;
	hs->to = to;
	hs->cluster_hash = self->cluster_hash;
	hs->incarnation = self->incarnation;
	hs->attempt = attempt;
	memcpy(hs->machine, self->machine, sizeof(hs->machine));
	strscpy(hs->host, self->host, sizeof(hs->host));
	get_random_bytes(hs->nonce, sizeof(hs->nonce));
}

/* Tells the other side why; it may not hear it. */
static void hs_refuse(struct hs_talk *t, const struct krg_hs *peer, u8 reason)
{
	struct krg_hs hs;

	hs_fill(t->self, KRG_HS_REFUSE, peer->node, peer->class_, peer->attempt, &hs);
	hs.reason = reason;
	krg_hs_put(&hs, &t->last);
	hs_send(t, &t->last);
}

static int hs_check(struct hs_talk *t, const char *label, const u8 *proof)
{
	int err = krg_auth_check(t->self->auth, label, &t->init, KRG_HS_PROVED_SIZE, &t->reply,
				 KRG_HS_PROVED_SIZE, proof);

	if (err == -EKEYREJECTED)
		krg_stats_inc(KRG_ST_BAD_HANDSHAKE);
	return err;
}

static int hs_prove(struct hs_talk *t, const char *label, u8 *proof)
{
	return krg_auth_mac(t->self->auth, label, &t->init, KRG_HS_PROVED_SIZE, &t->reply,
			    KRG_HS_PROVED_SIZE, proof);
}

int krg_handshake_connect(struct krg_tconn *tc, const struct krg_identity *self, u16 node,
			  enum krg_class class, u64 attempt, struct krg_hs_result *result)
{
	struct hs_talk *t = hs_begin(tc, self);
	struct krg_hs *peer = &result->peer;
	struct krg_hs me;
	int err;

	if (!t)
		return -ENOMEM;
	hs_fill(self, KRG_HS_INIT, node, class, attempt, &me);
	krg_hs_put(&me, &t->init);
	err = hs_send(t, &t->init);
	if (!err)
		err = hs_recv(t, KRG_HS_REPLY, &t->reply, peer);
	if (err)
		goto out;
	err = hs_check(t, "krg-r", peer->proof);
	if (err)
		goto out;
	err = -EPROTO;
	if (peer->node != node || peer->to != self->node || peer->class_ != class ||
	    peer->attempt != attempt || peer->cluster_hash != self->cluster_hash)
		goto out;

	me.type = KRG_HS_FINAL;
	err = hs_prove(t, "krg-i", me.proof);
	if (!err)
		err = krg_auth_derive(self->auth, &t->init, &t->reply, true, &result->keys);
	if (err)
		goto out;
	krg_hs_put(&me, &t->last);
	err = hs_send(t, &t->last);
out:
	memzero_explicit(&me, sizeof(me));
	hs_end(t);
	return err;
}

/* Before anything is proved: is it worth going on? enum krg_mbr_reason. */
static u8 hs_judge(const struct krg_identity *self, const struct krg_hs *peer)
{
	if (peer->cluster_hash != self->cluster_hash)
		return KRG_MBR_R_CLUSTER;
	if (peer->node > KRG_NODE_ID_MAX)
		return KRG_MBR_R_ID_RANGE;
	if (peer->node == self->node)
		return KRG_MBR_R_ID_TAKEN;
	return KRG_MBR_R_NONE;
}

int krg_handshake_accept(struct krg_tconn *tc, const struct krg_identity *self,
			 struct krg_hs_result *result)
{
	struct hs_talk *t = hs_begin(tc, self);
	struct krg_hs *peer = &result->peer;
	struct krg_hs me, final;
	u8 reason;
	int err;

	if (!t)
		return -ENOMEM;
	err = hs_recv(t, KRG_HS_INIT, &t->init, peer);
	if (err)
		goto out;
	reason = peer->to == self->node ? hs_judge(self, peer) : KRG_MBR_R_INTERNAL;
	if (reason) {
		krg_stats_inc(KRG_ST_BAD_HANDSHAKE);
		hs_refuse(t, peer, reason);
		err = -ECONNREFUSED;
		goto out;
	}

	hs_fill(self, KRG_HS_REPLY, peer->node, peer->class_, peer->attempt, &me);
	krg_hs_put(&me, &t->reply);
	err = hs_prove(t, "krg-r", t->reply.proof);
	if (!err)
		err = hs_send(t, &t->reply);
	if (!err)
		err = hs_recv(t, KRG_HS_FINAL, &t->last, &final);
	if (!err)
		err = hs_check(t, "krg-i", final.proof);
	/* Proved: now it may learn that another machine has its id. */
	if (!err && krg_session_taken(peer->node, peer->machine, peer->incarnation)) {
		hs_refuse(t, peer, KRG_MBR_R_ID_TAKEN);
		peer->reason = KRG_MBR_R_ID_TAKEN;
		err = -EADDRINUSE;
	}
	if (!err)
		err = krg_auth_derive(self->auth, &t->init, &t->reply, false, &result->keys);
out:
	hs_end(t);
	return err;
}
