// SPDX-License-Identifier: GPL-2.0
/*
 * What the engine wants done, in its order. Nothing here waits: messages leave
 * or are queued, answers wake whoever asked, and whatever has to wait for a page lock
 * goes to the worker (edge.c). A granted page is put into the page cache right here,
 * by whoever received it, if memory allows: one wake-up less between the network
 * and the program.
 */
#include <linux/highmem.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/slab.h>

#include <kerrighed/rpc.h>

#include "domain.h"

/* However soon the engine wants to look again: others have work to do too, on this processor. */
#define HADSM_TICK_MIN_US	500

static u64 now_us(void)
{
	return div_u64(ktime_get_ns(), NSEC_PER_USEC);
}

/* ---- answers ---- */

void hadsm_waiter_release(struct kref *ref)
{
	struct hadsm_waiter *w = container_of(ref, struct hadsm_waiter, ref);

	if (w->spare)
		put_page(w->spare);
	hadsm_store_put(w->store);
	kfree(w);
}

void hadsm_installed(struct hadsm_domain *d, struct hadsm_waiter *w)
{
	struct krg_dsm_event ev = { .type = KRG_DSM_EV_INSTALLED };

	lockdep_assert_held(&d->lock);
	if (!w->granted)
		return;
	w->granted = false;
	if (!d->engine)
		return;
	ev.object = hadsm_object(w->store, w->index);
	hadsm_step(d, &ev);
}

/*
 * INSTALLED of a waiter that has gone is not sent from here, inside a step: it
 * becomes a pin that is due at once.
 */
static void waiter_forget(struct hadsm_domain *d, struct hadsm_waiter *w)
{
	if (!w->granted || !d->engine) {
		kref_put(&w->ref, hadsm_waiter_release);
		return;
	}
	w->expires = jiffies;
	list_add_tail(&w->list, &d->pins);
	WRITE_ONCE(d->nr_pins, d->nr_pins + 1);
	mod_delayed_work(hadsm_wq, &d->pin_work, 0);
}

void hadsm_waiter_answer(struct hadsm_domain *d, struct hadsm_waiter *w, int error)
{
	lockdep_assert_held(&d->lock);
	list_del_init(&w->list);
	w->error = error;
	w->granted = !error && w->store;
	w->answered = true;
	if (w->abandoned) {
		waiter_forget(d, w);
		return;
	}
	/* Who reads in order goes on when all of a packet is here, and does not have to wait for its next page too. */
	list_add_tail(&w->list, &d->answered);
	if (!d->held)
		hadsm_waiters_wake(d);
}

void hadsm_waiters_wake(struct hadsm_domain *d)
{
	struct hadsm_waiter *w, *next;

	lockdep_assert_held(&d->lock);
	list_for_each_entry_safe(w, next, &d->answered, list) {
		list_del_init(&w->list);
		complete(&w->done);
		kref_put(&w->ref, hadsm_waiter_release);
	}
}

void hadsm_pins_flush(struct hadsm_domain *d, bool all)
{
	unsigned long now = jiffies, next = 0;
	struct hadsm_waiter *w;
	bool again;

	lockdep_assert_held(&d->lock);
	do {	/* a step may change the list */
		again = false;
		list_for_each_entry(w, &d->pins, list) {
			if (!all && time_before(now, w->expires)) {
				if (!next || time_before(w->expires, next))
					next = w->expires;
				continue;
			}
			list_del_init(&w->list);
			WRITE_ONCE(d->nr_pins, d->nr_pins - 1);
			hadsm_installed(d, w);
			kref_put(&w->ref, hadsm_waiter_release);
			again = true;
			break;
		}
	} while (again);
	if (next && !all)
		mod_delayed_work(hadsm_wq, &d->pin_work, next - now);
}

/* ---- grants ---- */

/* The page for the page cache: what came, a copy of what came, or zeros. */
static struct folio *grant_folio(struct hadsm_waiter *w)
{
	struct page *page = hadsm_page(w->handle);

	if (page && page_private(page) != HADSM_PAGE_USED) {
		w->handle = 0;
		return page_folio(page);
	}
	if (page) {
		copy_highpage(w->spare, page);
		w->handle = 0;
		put_page(page);
	} else {
		clear_highpage(w->spare);
	}
	page = w->spare;
	w->spare = NULL;
	return page_folio(page);
}

int hadsm_grant(struct hadsm_domain *d, struct hadsm_waiter *w, gfp_t gfp)
{
	struct address_space *mapping = w->store->inode->i_mapping;
	struct folio *folio = filemap_get_folio(mapping, w->index);
	int err;

	lockdep_assert_held(&d->lock);
	if (IS_ERR_OR_NULL(folio)) {
		if (!w->fresh)
			return -ENOENT;
		folio = grant_folio(w);
		folio_mark_uptodate(folio);
		err = filemap_add_folio(mapping, folio, w->index, gfp);
		if (err) {	/* the worker has another try */
			w->handle = hadsm_handle(&folio->page);
			return err;
		}
		/* Before anybody else can have the lock. */
		if (w->mode == KRG_DSM_WRITE)
			folio_set_checked(folio);
		if (w->extra)
			folio_set_workingset(folio);	/* for evict.c */
		folio_unlock(folio);
	} else if (w->mode == KRG_DSM_WRITE) {
		folio_set_checked(folio);
	}
	folio_put(folio);
	return 0;
}

static void act_grant(struct hadsm_domain *d, const struct krg_dsm_action *act)
{
	struct hadsm_waiter *w = (struct hadsm_waiter *)(unsigned long)act->token;
	int err;

	w->fresh = act->fresh;
	w->handle = act->handle;
	w->mode = act->mode;
	w->extra = act->spare;
	err = hadsm_grant(d, w, GFP_ATOMIC | __GFP_NOMEMALLOC | __GFP_NOWARN);
	if (!err) {
		hadsm_waiter_answer(d, w, 0);
		return;
	}
	w->task.type = KRG_DSM_ACT_GRANT;
	list_add_tail(&w->task.list, &d->tasks);
	queue_work(hadsm_wq, &d->edge_work);
}

/* ---- offers ---- */

/* The page of an offer as one that may be put into a page cache; NULL: no memory without waiting for it. */
static struct page *offer_page(struct hadsm_domain *d, struct page *page, gfp_t gfp)
{
	struct page *copy;

	if (page && page_private(page) != HADSM_PAGE_USED) {
		get_page(page);
		return page;
	}
	copy = hadsm_spare_take(d, gfp);
	if (copy && page)
		copy_highpage(copy, page);
	else if (copy)
		clear_highpage(copy);
	return copy;
}

/* Nobody waits for it: what does not succeed at once is left to the engine. */
static void act_offer(struct hadsm_domain *d, const struct krg_dsm_action *act)
{
	gfp_t gfp = GFP_NOWAIT | __GFP_NOMEMALLOC | __GFP_NOWARN;
	struct hadsm_store *s = hadsm_store_find(d, act->object.container);
	struct page *page = s ? offer_page(d, hadsm_page(act->handle), gfp) : NULL;
	struct folio *folio;

	if (!page)
		return;
	folio = page_folio(page);
	folio_mark_uptodate(folio);
	if (!filemap_add_folio(s->inode->i_mapping, folio, act->object.index, gfp)) {
		folio_set_workingset(folio);
		if (hadsm_ahead_mark(act->object.index))
			folio_set_readahead(folio);
		folio_unlock(folio);
		krg_dsm_offer_taken(d->engine);
		if (act->handle)	/* ours now, and not needed: the page cache has a reference */
			put_page(hadsm_page(act->handle));
	}
	folio_put(folio);
}

/* ---- the rest ---- */

static void act_edge(struct hadsm_domain *d, const struct krg_dsm_action *act)
{
	struct krg_dsm_event ev = { .type = KRG_DSM_EV_EDGE_DONE, .object = act->object };
	struct hadsm_task *task;

	if (hadsm_edge_now(d, act->type, &ev)) {
		krg_dsm_step(d->engine, now_us(), &ev);
		return;
	}
	task = kmalloc(sizeof(*task), GFP_ATOMIC | __GFP_NOMEMALLOC | __GFP_NOWARN);
	if (!task) {
		ev.error = -ENOMEM;	/* the engine asks again later, and does not take it for a pin */
		krg_dsm_step(d->engine, now_us(), &ev);
		return;
	}
	task->type = act->type;
	task->object = act->object;
	list_add_tail(&task->list, &d->tasks);
	queue_work(hadsm_wq, &d->edge_work);
}

static void act_reset(struct hadsm_domain *d, const struct krg_dsm_action *act)
{
	d->resets++;
	pr_warn_ratelimited("domain %016llx: connection with node %u is reset: %s\n", d->id,
			    act->node, act->reason == KRG_DSM_R_MEMORY ? "no memory" :
			    "it said what cannot be");
	krg_rpc_reset(act->node, "coherence");
}

static void carry_out(struct hadsm_domain *d, const struct krg_dsm_action *a)
{
	switch (a->type) {
	case KRG_DSM_ACT_SEND:
		hadsm_send(d, a);
		break;
	case KRG_DSM_ACT_GRANT:
		act_grant(d, a);
		break;
	case KRG_DSM_ACT_ERROR:
	case KRG_DSM_ACT_DONE:
		hadsm_waiter_answer(d, (struct hadsm_waiter *)(unsigned long)a->token, a->error);
		break;
	case KRG_DSM_ACT_DOWNGRADE:
	case KRG_DSM_ACT_INVALIDATE:
		act_edge(d, a);
		break;
	case KRG_DSM_ACT_SNAPSHOT:
		d->snapshot.type = a->type;
		list_add_tail(&d->snapshot.list, &d->tasks);
		queue_work(hadsm_wq, &d->edge_work);
		break;
	case KRG_DSM_ACT_FREE:
		put_page(hadsm_page(a->handle));
		break;
	case KRG_DSM_ACT_OFFER:
		act_offer(d, a);
		break;
	case KRG_DSM_ACT_DRAINED:
		WRITE_ONCE(d->drained, true);
		hadsm_view_drained();
		break;
	case KRG_DSM_ACT_RESET:
		act_reset(d, a);
		break;
	case KRG_DSM_ACT_PREPARED:	/* it has: nothing of the old epoch waits outside of the engine */
		d->prepared = a->epoch;
		hadsm_recovering(d, true);
		break;
	case KRG_DSM_ACT_RECOVERED:
		hadsm_recovering(d, false);
		break;
	default:
		pr_warn_once("engine action %u is not known here\n", a->type);
	}
}

/*
 * To set a timer anew is dear on some machines, and steps are many: one that goes off
 * too early only makes a step that changes nothing and sets the next.
 */
static void timer_set(struct hadsm_domain *d, u64 deadline_us)
{
	ktime_t at;

	if (deadline_us == ~0ULL)
		return;
	at = ns_to_ktime(max(deadline_us, now_us() + HADSM_TICK_MIN_US) * NSEC_PER_USEC);
	if (!hrtimer_is_queued(&d->timer) || ktime_before(at, hrtimer_get_expires(&d->timer)))
		hrtimer_start(&d->timer, at, HRTIMER_MODE_ABS);
}

void hadsm_step(struct hadsm_domain *d, const struct krg_dsm_event *ev)
{
	struct krg_dsm_event room;

	lockdep_assert_held(&d->lock);
	if (!d->engine)
		return;
	hadsm_trace_check(d);
	do {
		if (ev)
			krg_dsm_step(d->engine, now_us(), ev);
		while (krg_dsm_next_action(d->engine, &d->act))
			carry_out(d, &d->act);
		ev = &room;
	} while (hadsm_room_count(d, &room));
	if (!d->corked || (d->hurry && !d->held))
		hadsm_packet_flush(d);
	timer_set(d, krg_dsm_deadline(d->engine));
}
