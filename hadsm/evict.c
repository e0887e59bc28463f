// SPDX-License-Identifier: GPL-2.0
/*
 * Making room: copies that nobody has used for a while are given up, to other nodes
 * if they are needed. One worker for all domains, woken by the quota (room.c) and by
 * the kernel's reclaim through a shrinker, which only leaves a number and never waits.
 *
 * What goes first: pages that are only read here and came from others, who have them
 * still (PG_workingset; they cost a few small messages); copies kept for others, which no program here uses;
 * then whatever is cold, which has to be copied to a node that has room. The engine
 * and the home of the page decide; a refusal leaves everything as it is.
 *
 * Cold is what two rounds of a clock have found unused. There is no accessed bit that a
 * module may clear, so the first round unmaps the page: who needs it maps it again, a
 * minor fault. read(), write() and transactions leave PG_referenced.
 */
#include <linux/pagevec.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include <kerrighed/compat.h>
#include <kerrighed/proc.h>

#include "domain.h"

#define EVICT_WINDOW		64	/* evictions under way at once */
#define EVICT_LOOK		512	/* pages looked at to find so many */
#define EVICT_LAPS		3	/* the first begins somewhere: so every page is seen twice */
#define EVICT_PATIENCE		HZ	/* for the answers of one window; who is later keeps its place in it */
#define EVICT_PAUSE		(HZ / 5 ?: 1)	/* when most was refused, longer each time: */
#define EVICT_PAUSE_SHIFT	2
#define EVICT_BAD_WINDOWS	2	/* mostly refused: the rest of the kind will be, too */
#define EVICT_SEEKS		(4 * DEFAULT_SEEKS)	/* a page that comes back comes over the network */

enum evict_pass { PASS_CHEAP, PASS_KEPT, PASS_ANY, PASSES };

/* One eviction under way, the engine's token for it. All used by the worker only, but for what says so. */
struct evict_slot {
	struct hadsm_waiter *waiter;
	bool busy;
	u64 domain;			/* under evict_lock, with object; 0: none */
	struct krg_dsm_object object;
};

static struct evict_slot evict_slots[EVICT_WINDOW];
static DEFINE_SPINLOCK(evict_lock);
static struct krg_dsm_object evict_found[EVICT_WINDOW];
static struct proc_dir_entry *evict_proc;
static struct workqueue_struct *evict_wq;	/* its worker waits for other nodes */
static struct shrinker *evict_shrinker;
static atomic_long_t evict_pressure;		/* pages the kernel wants back */
static atomic_long_t evict_asked;		/* by the kernel, since the module was loaded */
static unsigned long evict_rest;		/* not again before this, in jiffies; 0: at once */
static unsigned int evict_rests;		/* in a row; the worker's */
static unsigned long evict_given, evict_refused, evict_late, evict_stuck;

static void evict_work(struct work_struct *work);
static void evict_tell_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(evict_worker, evict_work);
static DECLARE_WORK(evict_teller, evict_tell_work);

void hadsm_evict_soon(void)
{
	unsigned long rest = READ_ONCE(evict_rest), now = jiffies;

	if (evict_wq)
		queue_delayed_work(evict_wq, &evict_worker, rest && time_before(now, rest) ? rest - now : 0);
}

void hadsm_evict_tell(void)
{
	if (evict_wq)
		queue_work(hadsm_wq, &evict_teller);
}

/* ---- domains, one after the other ---- */

/* That with the next id after *@id, with a reference; NULL: no more. */
static struct hadsm_domain *evict_domain_next(u64 *id)
{
	struct hadsm_domain *d, *next = NULL;

	mutex_lock(&hadsm_domains_mutex);
	list_for_each_entry(d, &hadsm_domains, list)
		if (d->id > *id && (!next || d->id < next->id))
			next = d;
	if (next) {
		kref_get(&next->ref);
		*id = next->id;
	}
	mutex_unlock(&hadsm_domains_mutex);
	return next;
}

/* Engines that have not stepped since the room of this node changed. */
static void evict_tell_work(struct work_struct *work)
{
	struct hadsm_domain *d;
	u64 id = 0;

	while ((d = evict_domain_next(&id))) {
		mutex_lock(&d->lock);
		hadsm_step(d, NULL);
		mutex_unlock(&d->lock);
		hadsm_domain_put(d);
	}
}

/* ---- what is cold ---- */

/* Looks at one page of the cache, whose lock nobody waits for. */
static bool evict_page_cold(struct hadsm_store *s, struct folio *folio, enum evict_pass pass)
{
	struct address_space *mapping = s->inode->i_mapping;
	bool cold = false;

	if (!folio_trylock(folio))
		return false;
	if (folio->mapping != mapping || folio_test_mlocked(folio) || folio_maybe_dma_pinned(folio) ||
	    (pass == PASS_CHEAP && (folio_test_checked(folio) || !folio_test_workingset(folio))))
		goto unlock;
	if (folio_mapped(folio)) {
		unmap_mapping_pages(mapping, folio->index, 1, false);
		folio_clear_referenced(folio);
	} else if (folio_test_referenced(folio)) {
		folio_clear_referenced(folio);
	} else {
		cold = !hadsm_page_in_use(folio, 1);
	}
unlock:
	folio_unlock(folio);
	return cold;
}

/* The pages of one store from *@index on; how many were found. *@index is where to go on, ULONG_MAX: it is over. */
static u32 evict_scan_store(struct hadsm_store *s, pgoff_t *index, enum evict_pass pass, u32 *look, u32 found)
{
	struct folio_batch batch;
	unsigned int i;

	folio_batch_init(&batch);
	while (*look && found < EVICT_WINDOW) {
		if (!filemap_get_folios(s->inode->i_mapping, index, ULONG_MAX, &batch)) {
			*index = ULONG_MAX;
			break;
		}
		for (i = 0; i < folio_batch_count(&batch); i++) {
			struct folio *folio = batch.folios[i];

			*look -= min(*look, 1u);
			if (found < EVICT_WINDOW && evict_page_cold(s, folio, pass))
				evict_found[found++] = hadsm_object(s, folio->index);
		}
		folio_batch_release(&batch);
		cond_resched();
	}
	return found;
}

/* Goes on where it stopped; *@laps counts how often it came to the end. */
static u32 evict_scan_cache(struct hadsm_domain *d, enum evict_pass pass, unsigned int *laps)
{
	u32 look = EVICT_LOOK, found = 0;
	struct hadsm_store *s;

	while (look && found < EVICT_WINDOW) {
		unsigned long at = d->evict_container;

		s = hadsm_store_next(d, &at);
		if (!s) {
			d->evict_container = d->evict_index = 0;
			(*laps)++;
			break;
		}
		if (s->container != d->evict_container)
			d->evict_index = 0;
		d->evict_container = s->container;
		found = evict_scan_store(s, &d->evict_index, pass, &look, found);
		if (d->evict_index == ULONG_MAX) {
			d->evict_container++;
			d->evict_index = 0;
		}
		hadsm_store_put(s);
	}
	return found;
}

static u32 evict_scan_kept(struct hadsm_domain *d, u64 *looked, unsigned int *laps)
{
	u32 found = 0;

	mutex_lock(&d->lock);
	if (d->engine) {
		found = krg_dsm_cold(d->engine, EVICT_LOOK, evict_found, EVICT_WINDOW);
		*looked += EVICT_LOOK;
		*laps = div64_u64(*looked, max(krg_dsm_objects(d->engine), 1ULL));
	} else {
		*laps = EVICT_LAPS;
	}
	mutex_unlock(&d->lock);
	return found;
}

/* ---- giving up ---- */

static void evict_slot_name(struct evict_slot *slot, u64 domain, const struct krg_dsm_object *object)
{
	spin_lock(&evict_lock);
	slot->domain = domain;
	if (object)
		slot->object = *object;
	spin_unlock(&evict_lock);
}

bool hadsm_evict_busy(struct hadsm_store *s, struct folio *folio)
{
	bool ours = false;
	int i;

	spin_lock(&evict_lock);
	for (i = 0; i < EVICT_WINDOW && !ours; i++)
		ours = evict_slots[i].domain == s->domain->id && evict_slots[i].object.index == folio->index &&
		       evict_slots[i].object.container == s->container;
	spin_unlock(&evict_lock);
	return ours && hadsm_page_in_use(folio, 1);
}

/* The answer of @slot has come, or does within @wait. Returns whether its page is gone. */
static bool evict_slot_end(struct evict_slot *slot, unsigned long wait)
{
	if (!slot->busy)
		return false;
	if (!(wait ? wait_for_completion_timeout(&slot->waiter->done, wait) :
		     try_wait_for_completion(&slot->waiter->done)))
		return false;
	slot->busy = false;
	evict_slot_name(slot, 0, NULL);
	if (slot->waiter->error)
		evict_refused++;
	else
		evict_given++;
	return !slot->waiter->error;
}

static bool evict_submit(struct hadsm_domain *d, struct evict_slot *slot, const struct krg_dsm_object *object, u32 flags)
{
	struct krg_dsm_event ev = {
		.type = KRG_DSM_EV_EVICT, .object = *object, .flags = flags,
		.token = (unsigned long)slot->waiter,
	};

	mutex_lock(&d->lock);
	if (d->engine && !d->draining) {
		slot->busy = true;
		slot->waiter->answered = false;
		reinit_completion(&slot->waiter->done);
		evict_slot_name(slot, d->id, object);
		kref_get(&slot->waiter->ref);
		list_add_tail(&slot->waiter->list, &d->waiters);
		hadsm_step(d, &ev);
	}
	mutex_unlock(&d->lock);
	return slot->busy;
}

/* Gives up what was found; returns how many went. */
static unsigned long evict_window(struct hadsm_domain *d, u32 found, u32 flags)
{
	unsigned long deadline, gone = 0;
	u32 next = 0;
	int i;

	mutex_lock(&d->lock);
	hadsm_cork(d, true);	/* many small messages */
	mutex_unlock(&d->lock);
	for (i = 0; i < EVICT_WINDOW && next < found; i++) {
		gone += evict_slot_end(&evict_slots[i], 0);
		if (!evict_slots[i].busy && !evict_submit(d, &evict_slots[i], &evict_found[next++], flags))
			break;
	}
	mutex_lock(&d->lock);
	hadsm_uncork(d, true);
	mutex_unlock(&d->lock);
	deadline = jiffies + EVICT_PATIENCE;
	for (i = 0; i < EVICT_WINDOW; i++) {
		unsigned long now = jiffies;

		gone += evict_slot_end(&evict_slots[i], time_before(now, deadline) ? deadline - now : 0);
		evict_late += evict_slots[i].busy;
	}
	return gone;
}

/* Do others have room for what only this node has? */
static bool evict_somewhere(struct hadsm_domain *d)
{
	bool somewhere;

	mutex_lock(&d->lock);
	somewhere = d->engine && krg_dsm_somewhere(d->engine);
	mutex_unlock(&d->lock);
	return somewhere;
}

/* One domain, in one pass, until @wanted have gone, there is nothing cold, or hardly anything may go. */
static unsigned long evict_domain(struct hadsm_domain *d, enum evict_pass pass, unsigned long wanted)
{
	u32 flags = pass == PASS_CHEAP || !evict_somewhere(d) ? KRG_DSM_F_CHEAP : 0;
	unsigned int laps = 0, bad = 0;
	unsigned long gone = 0;
	u64 looked = 0;

	while (gone < wanted && laps < EVICT_LAPS && bad < EVICT_BAD_WINDOWS && !READ_ONCE(d->dead)) {
		unsigned long before = gone;
		u32 found = pass == PASS_KEPT ? evict_scan_kept(d, &looked, &laps) :
						evict_scan_cache(d, pass, &laps);

		found = min_t(unsigned long, found, wanted - gone);
		if (found)
			gone += evict_window(d, found, flags);
		bad += (gone - before) * 4 < found;
		cond_resched();
	}
	return gone;
}

static unsigned long evict_wanted(void)
{
	long excess = hadsm_room_short() ? hadsm_room_excess() : 0;

	return max3(excess, atomic_long_read(&evict_pressure), 0L);
}

static void evict_work(struct work_struct *work)
{
	unsigned long wanted = evict_wanted(), refused = evict_refused, gone = 0;
	struct hadsm_domain *d;
	int pass;
	u64 id;

	for (pass = 0; pass < PASSES && gone < wanted; pass++) {
		id = 0;
		while (gone < wanted && (d = evict_domain_next(&id))) {
			gone += evict_domain(d, pass, wanted - gone);
			hadsm_domain_put(d);
		}
	}
	/* What the kernel has asked for is done, or cannot be: it asks again. */
	atomic_long_set(&evict_pressure, 0);
	evict_stuck += wanted && !gone;
	if (wanted && gone <= evict_refused - refused) {
		WRITE_ONCE(evict_rest, (jiffies + (EVICT_PAUSE << min_t(unsigned int, evict_rests, EVICT_PAUSE_SHIFT))) | 1);
		evict_rests++;
	} else {
		WRITE_ONCE(evict_rest, 0);
		evict_rests = 0;
	}
	if (hadsm_room_short())
		hadsm_evict_soon();
}

/* ---- the kernel's reclaim ---- */

/* May be called under any lock that memory is asked for under: numbers only. */
static unsigned long evict_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	return hadsm_room_used();
}

static unsigned long evict_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	long most = hadsm_room_used() / 4;

	sc->nr_scanned = sc->nr_to_scan;
	atomic_long_add(sc->nr_to_scan, &evict_asked);
	if (atomic_long_read(&evict_pressure) < most)
		atomic_long_add(min_t(long, sc->nr_to_scan, most), &evict_pressure);
	hadsm_evict_soon();
	return SHRINK_STOP;	/* nothing is free yet */
}

/* ---- life ---- */

/* /proc/kerrighed/memory: one line of name=value pairs. */
static int evict_show(struct seq_file *m, void *v)
{
	hadsm_room_show(m);
	seq_printf(m, " evicted=%lu evictions_refused=%lu late=%lu stuck=%lu shrinker_asked=%ld\n",
		   READ_ONCE(evict_given), READ_ONCE(evict_refused), READ_ONCE(evict_late),
		   READ_ONCE(evict_stuck), atomic_long_read(&evict_asked));
	return 0;
}

static void evict_slots_free(void)
{
	int i;

	for (i = 0; i < EVICT_WINDOW; i++)
		if (evict_slots[i].waiter)
			kref_put(&evict_slots[i].waiter->ref, hadsm_waiter_release);
}

int hadsm_evict_init(void)
{
	int i;

	for (i = 0; i < EVICT_WINDOW; i++) {
		evict_slots[i].waiter = hadsm_waiter_new(NULL, 0, 0);
		if (!evict_slots[i].waiter)
			goto free_slots;
	}
	evict_wq = alloc_workqueue("hadsm_evict", WQ_UNBOUND | WQ_MEM_RECLAIM, 1);
	if (!evict_wq)
		goto free_slots;
	evict_shrinker = krg_shrinker_new("hadsm", EVICT_SEEKS, evict_count, evict_scan);
	if (!evict_shrinker)
		goto destroy_wq;
	evict_proc = krg_proc_add("memory", evict_show);
	if (evict_proc)
		return 0;
	krg_shrinker_free(evict_shrinker);
destroy_wq:
	cancel_delayed_work_sync(&evict_worker);
	destroy_workqueue(evict_wq);
	evict_wq = NULL;
free_slots:
	evict_slots_free();
	return -ENOMEM;
}

/* No domain is left: whatever was under way has been answered. */
void hadsm_evict_exit(void)
{
	krg_proc_remove(evict_proc);
	krg_shrinker_free(evict_shrinker);
	cancel_delayed_work_sync(&evict_worker);
	cancel_work_sync(&evict_teller);
	destroy_workqueue(evict_wq);
	evict_wq = NULL;
	evict_slots_free();
}
