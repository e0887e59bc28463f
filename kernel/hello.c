// SPDX-License-Identifier: GPL-2.0
/*
 * Hello: who may join, said before any TIPC connection exists.
 *
 * A node with a wrong key, another version or a taken id would meet silence:
 * its TIPC frames cannot be decrypted, or its connections are closed. So it asks
 * first, in plain Ethernet frames of our own type (wire.h, struct krg_hello_wire):
 *
 *	ASK		broadcast twice a second: cluster, node id, incarnation, nonce,
 *			and a proof of the cluster key over all of it
 *	WELCOME		from a member, with the nonce and its own proof: go on
 *	REFUSED		from a member: the reason. "No quorum" is not final: ask again
 *
 * A member answers an ASK for its own cluster. It also answers one for another
 * cluster, because a mistyped name deserves a better end than a timeout.
 *
 * What the asking node believes: a WELCOME or REFUSED with a valid proof at once.
 * A REFUSED without one (other key, other version, other cluster) only when
 * nobody has given a valid answer for KRG_HELLO_DOUBT_MS: anybody can forge such
 * a frame, and clusters may share a network. A forger on the same network can
 * therefore stop a join that no member answers, and nothing else; it learns
 * nothing and touches no member.
 *
 * Nothing is decided here about membership: WELCOME only means that it is worth
 * connecting.
 */
#include <linux/jiffies.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/random.h>
#include <linux/ratelimit.h>
#include <linux/skbuff.h>
#include <linux/etherdevice.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "core/membership.h"
#include "event.h"
#include "link.h"
#include "session.h"
#include "stats.h"

#define KRG_HELLO_EVERY_MS	300
#define KRG_HELLO_DOUBT_MS	1500
#define KRG_HELLO_QUEUE		64	/* frames that wait for the worker */
#define KRG_HELLO_SEEN		16	/* nodes whose refusal was reported lately */
#define KRG_HELLO_ANSWERS	50	/* answers per second at most */

/* For tests of the refusal: what this node says of itself, nothing else. */
static unsigned char hello_version = KRG_WIRE_VERSION;
module_param_named(test_version, hello_version, byte, 0600);
MODULE_PARM_DESC(test_version, "protocol version to claim when asking to join (for tests)");

struct hello_cb {			/* in skb->cb */
	unsigned int link;
};

static struct workqueue_struct *hello_wq;
static struct sk_buff_head hello_queue;
static DEFINE_RATELIMIT_STATE(hello_answers, HZ, KRG_HELLO_ANSWERS);

/* Everything below; never held while done or judge are called with it needed. */
static DEFINE_MUTEX(hello_mutex);
static const struct krg_identity *hello_self;	/* NULL: stopped */
static krg_hello_judge hello_judge;
static u64 hello_seen[KRG_HELLO_SEEN];
static unsigned int hello_seen_next;

static struct {
	bool active;
	krg_hello_done done;
	unsigned long started, until;	/* jiffies; until 0: for ever */
	u8 nonce[16];
	u8 doubt;			/* reason of an answer without proof, 0: none */
	u16 doubt_node;
	u16 wait_node;			/* a member that cannot let anybody in now: no quorum */
	char doubt_host[KRG_WIRE_HOST_SIZE];
	u16 welcome;			/* node id of who welcomed us */
} hello_ask;
static DECLARE_WAIT_QUEUE_HEAD(hello_answered);

/* ---- frames ---- */

static int hello_seal(struct krg_hello *h, struct krg_hello_wire *w)
{
	krg_hello_put(h, w);
	return krg_auth_mac(hello_self->auth, "krg-hello", w, KRG_HELLO_PROVED_SIZE, NULL, 0,
			    w->proof);
}

static bool hello_proved(const struct krg_hello_wire *w)
{
	return !krg_auth_check(hello_self->auth, "krg-hello", w, KRG_HELLO_PROVED_SIZE, NULL, 0,
			       w->proof);
}

static void hello_fill(struct krg_hello *h, u8 type, const u8 *nonce)
{
	memset(h, 0, sizeof(*h));
	h->version = hello_version;
	h->type = type;
	h->node = hello_self->node;
	h->max_node = KRG_NODE_ID_MAX;
	h->incarnation = hello_self->incarnation;
	memcpy(h->machine, hello_self->machine, sizeof(h->machine));
	memcpy(h->nonce, nonce, sizeof(h->nonce));
	strscpy(h->cluster, hello_self->cluster, sizeof(h->cluster));
	strscpy(h->host, hello_self->host, sizeof(h->host));
}

/* ---- answering ---- */

/* Once per life of the node that asks, however often it asks. */
static void hello_report(const struct krg_hello *h, u8 reason, const char *text)
{
	struct krg_event ev = {
		.type = KRG_EVENT_PEER_REFUSED, .node = h->node, .incarnation = h->incarnation,
		.reason = reason,
	};
	int i;

	for (i = 0; i < KRG_HELLO_SEEN; i++)
		if (hello_seen[i] == h->incarnation)
			return;
	hello_seen[hello_seen_next++ % KRG_HELLO_SEEN] = h->incarnation;
	strscpy(ev.host, h->host, sizeof(ev.host));
	strscpy(ev.text, text, sizeof(ev.text));
	krg_event_report(&ev);
}

static void hello_answer(const struct krg_hello *h, int wire_err, const struct krg_hello_wire *w,
			 const u8 *from, unsigned int link)
{
	enum krg_hello_answer answer;
	struct krg_hello reply;
	struct krg_hello_wire out;
	char text[96] = "";
	u8 reason = 0;

	/* Asked first: only a member's word counts, for any of the reasons. */
	answer = hello_judge(h->node, h->machine, h->incarnation, &reason);
	if (answer == KRG_HELLO_SILENT)
		return;
	if (strcmp(h->cluster, hello_self->cluster)) {
		reason = KRG_MBR_R_CLUSTER;
		snprintf(text, sizeof(text), "it asked for cluster %s, this is %s", h->cluster,
			 hello_self->cluster);
	} else if (wire_err == KRG_WIRE_BAD_VERSION) {
		reason = KRG_MBR_R_VERSION;
		snprintf(text, sizeof(text), "it speaks version %u, this cluster %u", h->version,
			 KRG_WIRE_VERSION);
	} else if (!hello_proved(w)) {
		reason = KRG_NODE_R_KEY;
		strscpy(text, "its cluster key is another one", sizeof(text));
	}
	if (reason && reason != KRG_MBR_R_NO_QUORUM)
		hello_report(h, reason, text);
	if (!__ratelimit(&hello_answers))
		return;
	hello_fill(&reply, reason ? KRG_HELLO_REFUSED : KRG_HELLO_WELCOME, h->nonce);
	reply.reason = reason;
	if (!hello_seal(&reply, &out))
		krg_link_send(link, from, &out, sizeof(out));
}

/* ---- asking ---- */

static void hello_work_fn(struct work_struct *work);
static DECLARE_DELAYED_WORK(hello_ask_work, hello_work_fn);

/* Under the mutex: the asking is over. Returns who to tell. */
static krg_hello_done hello_finish(void)
{
	lockdep_assert_held(&hello_mutex);
	hello_ask.active = false;
	return hello_ask.done;
}

static void hello_broadcast(void)
{
	struct krg_hello_wire out;
	struct krg_hello h;
	unsigned int i;

	hello_fill(&h, KRG_HELLO_ASK, hello_ask.nonce);
	if (hello_seal(&h, &out))
		return;
	for (i = 0; i < krg_link_count(); i++)
		krg_link_send(i, NULL, &out, sizeof(out));
}

static void hello_work_fn(struct work_struct *work)
{
	char host[KRG_WIRE_HOST_SIZE] = "";
	krg_hello_done done = NULL;
	u16 node = 0;
	u8 why = 0;

	mutex_lock(&hello_mutex);
	if (!hello_self || !hello_ask.active)
		goto unlock;
	if (hello_ask.doubt &&
	    time_after(jiffies, hello_ask.started + msecs_to_jiffies(KRG_HELLO_DOUBT_MS))) {
		why = hello_ask.doubt;
		node = hello_ask.doubt_node;
		strscpy(host, hello_ask.doubt_host, sizeof(host));
		done = hello_finish();
	} else if (hello_ask.until && time_after(jiffies, hello_ask.until)) {
		node = hello_ask.wait_node;
		why = node ? KRG_MBR_R_NO_QUORUM : KRG_MBR_R_TIMEOUT;
		done = hello_finish();
	} else {
		hello_broadcast();
		queue_delayed_work(hello_wq, &hello_ask_work,
				   msecs_to_jiffies(KRG_HELLO_EVERY_MS));
	}
unlock:
	mutex_unlock(&hello_mutex);
	if (done)
		done(node, why, host);
}

static krg_hello_done hello_take_answer(const struct krg_hello *h, const struct krg_hello_wire *w,
					u8 *why)
{
	bool ours = !strcmp(h->cluster, hello_self->cluster);

	if (!hello_ask.active || memcmp(h->nonce, hello_ask.nonce, sizeof(h->nonce)))
		return NULL;
	if (hello_proved(w) && ours) {
		*why = h->type == KRG_HELLO_WELCOME ? 0 : h->reason;
		if (h->type == KRG_HELLO_WELCOME) {
			hello_ask.welcome = h->node;
			wake_up_all(&hello_answered);
		} else if (*why == KRG_MBR_R_NO_QUORUM) {
			hello_ask.wait_node = h->node;	/* it may get it back: keep asking */
			return NULL;
		} else if (!*why) {
			return NULL;
		}
		return hello_finish();
	}
	if (h->type != KRG_HELLO_REFUSED || !h->reason)
		return NULL;
	/* A cluster of our name with another key says more than one of another name. */
	if (!hello_ask.doubt || ours) {
		hello_ask.doubt = ours ? h->reason : KRG_MBR_R_CLUSTER;
		hello_ask.doubt_node = h->node;
		snprintf(hello_ask.doubt_host, sizeof(hello_ask.doubt_host), "%s",
			 ours ? h->host : h->cluster);
	}
	return NULL;
}

/* ---- receiving ---- */

static void hello_frame(struct sk_buff *skb)
{
	unsigned int link = ((struct hello_cb *)skb->cb)->link;
	struct krg_hello_wire w;
	krg_hello_done done = NULL;
	struct krg_hello h;
	u8 from[ETH_ALEN];
	u8 why = 0;
	int err;

	err = skb_copy_bits(skb, 0, &w, sizeof(w)) ? KRG_WIRE_SHORT :
						     krg_hello_get(&w, sizeof(w), &h);
	if ((err && err != KRG_WIRE_BAD_VERSION) || !skb_mac_header_was_set(skb)) {
		krg_stats_inc(KRG_ST_BAD_HELLO);
		krg_link_count_bad(link);
		return;
	}
	ether_addr_copy(from, eth_hdr(skb)->h_source);
	mutex_lock(&hello_mutex);
	if (hello_self && h.incarnation != hello_self->incarnation) {
		if (h.type == KRG_HELLO_ASK)
			hello_answer(&h, err, &w, from, link);
		else
			done = hello_take_answer(&h, &w, &why);
	}
	mutex_unlock(&hello_mutex);
	if (done)
		done(h.node, why, h.host);
}

static void hello_rx_fn(struct work_struct *work)
{
	struct sk_buff *skb;

	while ((skb = skb_dequeue(&hello_queue))) {
		hello_frame(skb);
		kfree_skb(skb);
	}
}

static DECLARE_WORK(hello_rx_work, hello_rx_fn);

void krg_hello_receive(struct sk_buff *skb, unsigned int link)
{
	skb = skb_share_check(skb, GFP_ATOMIC);
	if (!skb)
		return;
	if (skb_queue_len_lockless(&hello_queue) >= KRG_HELLO_QUEUE) {
		krg_link_count_bad(link);
		kfree_skb(skb);
		return;
	}
	((struct hello_cb *)skb->cb)->link = link;
	skb_queue_tail(&hello_queue, skb);
	queue_work(hello_wq, &hello_rx_work);
}

/* ---- control ---- */

static void hello_ask_begin(unsigned int wait_ms, krg_hello_done done)
{
	lockdep_assert_held(&hello_mutex);
	memset(&hello_ask, 0, sizeof(hello_ask));
	hello_ask.active = true;
	hello_ask.done = done;
	hello_ask.started = jiffies;
	hello_ask.until = wait_ms ? jiffies + msecs_to_jiffies(wait_ms) : 0;
	get_random_bytes(hello_ask.nonce, sizeof(hello_ask.nonce));
}

void krg_hello_ask(unsigned int wait_ms, krg_hello_done done)
{
	mutex_lock(&hello_mutex);
	hello_ask_begin(wait_ms, done);
	mutex_unlock(&hello_mutex);
	mod_delayed_work(hello_wq, &hello_ask_work, 0);
}

u16 krg_hello_probe(unsigned int wait_ms)
{
	u16 node;

	mutex_lock(&hello_mutex);
	hello_ask_begin(0, NULL);
	mutex_unlock(&hello_mutex);
	mod_delayed_work(hello_wq, &hello_ask_work, 0);
	wait_event_timeout(hello_answered, READ_ONCE(hello_ask.welcome),
			   msecs_to_jiffies(wait_ms));
	mutex_lock(&hello_mutex);
	hello_ask.active = false;
	node = hello_ask.welcome;
	mutex_unlock(&hello_mutex);
	return node;
}

void krg_hello_start(const struct krg_identity *self, krg_hello_judge judge)
{
	mutex_lock(&hello_mutex);
	hello_judge = judge;
	hello_self = self;
	memset(hello_seen, 0, sizeof(hello_seen));
	mutex_unlock(&hello_mutex);
}

void krg_hello_stop(void)
{
	mutex_lock(&hello_mutex);
	hello_self = NULL;
	hello_ask.active = false;
	mutex_unlock(&hello_mutex);
	cancel_delayed_work_sync(&hello_ask_work);
	cancel_work_sync(&hello_rx_work);
	skb_queue_purge(&hello_queue);
}

int krg_hello_init(void)
{
	skb_queue_head_init(&hello_queue);
	hello_wq = alloc_ordered_workqueue("krg_hello", 0);
	return hello_wq ? 0 : -ENOMEM;
}

void krg_hello_exit(void)
{
	destroy_workqueue(hello_wq);
	skb_queue_purge(&hello_queue);
}
