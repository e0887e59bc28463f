// SPDX-License-Identifier: GPL-2.0
/*
 * Membership, for all domains of this node: views, the lease, the planned leave,
 * and the end of this node's life in the cluster. The callbacks run in one thread,
 * in the order of the views.
 *
 * The engine wants to know since when a member has been one without a break.
 * Membership names incarnations; the first epoch of one is remembered here from the
 * view in which it first appeared. For members that were there before this node,
 * this node's own first epoch stands: it has no business from before.
 */
#include <linux/delay.h>
#include <linux/slab.h>

#include <kerrighed/membership.h>
#include <kerrighed/rpc.h>

#include "domain.h"
#include "names/locks.h"

/* How long suspension may be late costs consistency, so it goes before everybody else. */
#define HADSM_PRIORITY		100

/* An engine without memory for the members of a view tries again so often, so many milliseconds apart. */
#define HADSM_PREPARE_TRIES	50
#define HADSM_PREPARE_PAUSE	10

/* All under hadsm_domains_mutex. */
static struct {
	u16 self;
	u64 epoch;			/* of the last PREPARE; 0: none */
	bool committed, suspended, draining;
	u32 count;
	struct krg_dsm_member *member;	/* count entries */
	u64 *incarnation;		/* likewise */
} view;

static struct krg_subscriber view_subscriber;

u16 hadsm_view_self(void)
{
	lockdep_assert_held(&hadsm_domains_mutex);
	return view.self;
}

u16 hadsm_view_live(u64 live[2])
{
	u16 self;
	u32 i;

	live[0] = live[1] = 0;
	mutex_lock(&hadsm_domains_mutex);
	for (i = 0; i < view.count; i++)
		if (view.member[i].node < 128)
			live[view.member[i].node / 64] |= 1ULL << view.member[i].node % 64;
	self = view.self;
	mutex_unlock(&hadsm_domains_mutex);
	return self;
}

u32 hadsm_view_lives(struct krg_names_life *life, u32 room)
{
	u32 i;

	mutex_lock(&hadsm_domains_mutex);
	for (i = 0; i < view.count && i < room; i++) {
		life[i].node = view.member[i].node;
		life[i].life = view.incarnation[i];
	}
	mutex_unlock(&hadsm_domains_mutex);
	return i;
}

/* ---- telling engines ---- */

static void view_step_prepare(struct hadsm_domain *d)
{
	struct krg_dsm_event ev = {
		.type = KRG_DSM_EV_PREPARE, .epoch = view.epoch, .len = view.count,
		.member = view.member,
	};

	lockdep_assert_held(&d->lock);
	hadsm_letters_drop(d);	/* of an epoch that is over */
	hadsm_step(d, &ev);
}

/*
 * Without memory for the list of members an engine stays in the epoch before, and
 * everybody would wait for it until some other view came. -ENOMEM: it still has none.
 */
static int view_prepare_domain(struct hadsm_domain *d)
{
	bool prepared;
	int i;

	for (i = 0; i < HADSM_PREPARE_TRIES; i++) {
		if (i)
			msleep(HADSM_PREPARE_PAUSE);
		mutex_lock(&d->lock);
		view_step_prepare(d);
		prepared = !d->engine || d->prepared == view.epoch;
		mutex_unlock(&d->lock);
		if (prepared)
			return 0;
	}
	pr_warn_ratelimited("domain %016llx: no memory for the members of view %llu\n", d->id, view.epoch);
	return -ENOMEM;
}

static void view_step_commit(struct hadsm_domain *d)
{
	struct krg_dsm_event ev = { .type = KRG_DSM_EV_COMMIT, .epoch = view.epoch };

	lockdep_assert_held(&d->lock);
	hadsm_step(d, &ev);
}

static void view_step_drain(struct hadsm_domain *d)
{
	struct krg_dsm_event ev = { .type = KRG_DSM_EV_DRAIN };

	lockdep_assert_held(&d->lock);
	d->draining = true;
	hadsm_step(d, &ev);
}

int hadsm_view_introduce(struct hadsm_domain *d)
{
	int err;

	lockdep_assert_held(&hadsm_domains_mutex);
	if (!view.epoch)
		return 0;
	err = view_prepare_domain(d);
	if (err)
		return err;
	mutex_lock(&d->lock);
	if (view.committed)
		view_step_commit(d);
	WRITE_ONCE(d->suspended, view.suspended);
	if (view.draining)
		view_step_drain(d);
	mutex_unlock(&d->lock);
	return 0;
}

/* A new epoch, because this node could not follow into the one that begins, or was not heard in it. */
static void view_again(const char *why)
{
	u16 other = 0;
	u32 i;

	mutex_lock(&hadsm_domains_mutex);
	for (i = 0; i < view.count && !other; i++)
		if (view.member[i].node != view.self)
			other = view.member[i].node;
	mutex_unlock(&hadsm_domains_mutex);
	if (other)
		krg_rpc_reset(other, why);
}

/* ---- views ---- */

/* Since when: as before for a life that was there before. */
static u64 view_since(const struct krg_mbr_member *m, u64 epoch)
{
	u32 i;

	for (i = 0; i < view.count; i++)
		if (view.member[i].node == m->node && view.incarnation[i] == m->incarnation)
			return view.member[i].since;
	return epoch;
}

static void view_learn(const struct krg_view *v)
{
	struct krg_dsm_member *member = kcalloc(v->count, sizeof(*member), GFP_KERNEL | __GFP_NOFAIL);
	u64 *incarnation = kcalloc(v->count, sizeof(*incarnation), GFP_KERNEL | __GFP_NOFAIL);
	u32 i;

	for (i = 0; i < v->count; i++) {
		member[i].node = v->member[i].node;
		member[i].draining = !!(v->member[i].flags & KRG_MBR_F_DRAINING);
		member[i].since = view_since(&v->member[i], v->epoch);
		incarnation[i] = v->member[i].incarnation;
	}
	kfree(view.member);
	kfree(view.incarnation);
	view.member = member;
	view.incarnation = incarnation;
	view.count = v->count;
	view.epoch = v->epoch;
	view.self = v->self;
	view.committed = false;
}

static void view_prepare(struct krg_subscriber *s, const struct krg_view *v)
{
	struct hadsm_domain *d;
	int err = 0;

	mutex_lock(&hadsm_domains_mutex);
	view_learn(v);
	list_for_each_entry(d, &hadsm_domains, list)
		err = view_prepare_domain(d) ?: err;
	mutex_unlock(&hadsm_domains_mutex);
	if (err)
		view_again("no memory for a view");
}

static void view_set_suspended(struct hadsm_domain *d, bool suspended)
{
	mutex_lock(&d->lock);
	WRITE_ONCE(d->suspended, suspended);
	mutex_unlock(&d->lock);
	if (!suspended)
		wake_up_all(&d->wait);
}

static void view_commit(struct krg_subscriber *s, const struct krg_view *v)
{
	struct hadsm_domain *d;

	mutex_lock(&hadsm_domains_mutex);
	view.committed = true;
	view.suspended = false;
	list_for_each_entry(d, &hadsm_domains, list) {
		mutex_lock(&d->lock);
		view_step_commit(d);
		mutex_unlock(&d->lock);
		view_set_suspended(d, false);
		hadsm_locks_changed(d);
	}
	mutex_unlock(&hadsm_domains_mutex);
}

/* ---- the lease ---- */

static void view_suspend(struct krg_subscriber *s)
{
	struct hadsm_domain *d;
	struct hadsm_store *store;
	unsigned long at;

	mutex_lock(&hadsm_domains_mutex);
	view.suspended = true;
	list_for_each_entry(d, &hadsm_domains, list)
		view_set_suspended(d, true);
	synchronize_rcu();	/* hadsm_map_pages() */
	list_for_each_entry(d, &hadsm_domains, list)
		for (at = 0; (store = hadsm_store_next(d, &at));) {
			hadsm_store_unmap(store);
			hadsm_store_put(store);
		}
	mutex_unlock(&hadsm_domains_mutex);
}

static void view_resume(struct krg_subscriber *s)
{
	struct hadsm_domain *d;

	mutex_lock(&hadsm_domains_mutex);
	view.suspended = false;
	list_for_each_entry(d, &hadsm_domains, list) {
		view_set_suspended(d, false);
		mod_delayed_work(hadsm_wq, &d->letter_work, 0);
	}
	mutex_unlock(&hadsm_domains_mutex);
}

/* ---- leaving ---- */

/* Under hadsm_domains_mutex: is every domain empty? */
static bool view_empty(void)
{
	struct hadsm_domain *d;

	list_for_each_entry(d, &hadsm_domains, list)
		if (!READ_ONCE(d->drained))
			return false;
	return true;
}

static void view_drained_work(struct work_struct *work)
{
	bool empty;

	mutex_lock(&hadsm_domains_mutex);
	empty = view.draining && view_empty();
	mutex_unlock(&hadsm_domains_mutex);
	if (empty)
		krg_subscriber_drained(&view_subscriber);
}

static DECLARE_WORK(drained_work, view_drained_work);

void hadsm_view_drained(void)
{
	queue_work(hadsm_wq, &drained_work);
}

static bool view_drain(struct krg_subscriber *s, const struct krg_view *v)
{
	struct hadsm_domain *d;
	bool empty;

	mutex_lock(&hadsm_domains_mutex);
	view.draining = true;
	list_for_each_entry(d, &hadsm_domains, list) {
		mutex_lock(&d->lock);
		view_step_drain(d);
		mutex_unlock(&d->lock);
	}
	empty = view_empty();
	mutex_unlock(&hadsm_domains_mutex);
	if (!empty)
		krg_subscriber_holding(s, "shared memory moves to other nodes");
	return empty;
}

/* Everything of this life ends; a later one begins with nothing. */
static void view_forget(void)
{
	struct hadsm_domain *d, *next;

	mutex_lock(&hadsm_domains_mutex);
	list_for_each_entry_safe(d, next, &hadsm_domains, list)
		hadsm_domain_stop(d);
	kfree(view.member);
	kfree(view.incarnation);
	memset(&view, 0, sizeof(view));
	mutex_unlock(&hadsm_domains_mutex);
}

static void view_expelled(struct krg_subscriber *s, unsigned int reason)
{
	view_forget();
}

static void view_left(struct krg_subscriber *s)
{
	view_forget();
}

static const struct krg_subscriber_ops view_ops = {
	.prepare = view_prepare,
	.commit = view_commit,
	.suspend = view_suspend,
	.resume = view_resume,
	.drain = view_drain,
	.expelled = view_expelled,
	.left = view_left,
};

static struct krg_subscriber view_subscriber = {
	.name = "hadsm", .priority = HADSM_PRIORITY, .ops = &view_ops,
};

/* ---- life ---- */

int hadsm_view_init(void)
{
	return krg_subscriber_register(&view_subscriber);
}

/*
 * What other members' engines said to this node before the module was here is
 * lost. A new epoch has everything said again.
 */
void hadsm_view_announce(void)
{
	view_again("hadsm was loaded");
}

void hadsm_view_exit(void)
{
	krg_subscriber_unregister(&view_subscriber);
	cancel_work_sync(&drained_work);
	view_forget();	/* domains keep the module loaded: there is none */
}
