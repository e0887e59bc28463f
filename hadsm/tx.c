// SPDX-License-Identifier: GPL-2.0
/*
 * Transactions over records. An operation of the name space engine is run with
 * every page it asks for locked until it returns. A batch of the coherence engine
 * write-protects pages under the same lock before it copies any, and nothing is
 * granted for writing in between: a batch has all of an operation or nothing of
 * it, and so does every other node, also after a crash.
 *
 * An operation that misses a page changes nothing; the page is fetched without any
 * lock and the operation starts again. What was fetched stays for a moment (a pin,
 * as for faults), so that two nodes that want the same two pages both get on. Where
 * fetching takes longer than that moment they would take the pages from each other
 * for ever: after a few attempts all that was missed is fetched in one order, and held.
 */
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/random.h>
#include <linux/sched/signal.h>

#include "fs.h"

#define TX_PATIENCE		6	/* attempts before pages are held */
#define TX_PAUSE_US		32000	/* at most, so that nodes do not run in step */

void hadsm_tx_begin(struct hadsm_tx *tx)
{
	struct hadsm_names *n = tx->names;
	struct timespec64 now;

	mutex_lock(&n->lock);
	ktime_get_coarse_real_ts64(&now);
	n->io.now = hadsm_time(now);
	n->missed = false;
	n->again = tx->attempts;
}

static struct hadsm_tx_page *tx_find(struct hadsm_names *n, u64 container, pgoff_t index)
{
	unsigned int i;

	for (i = 0; i < n->nr_pages; i++)
		if (n->page[i].index == index && n->page[i].container == container)
			return &n->page[i];
	return NULL;
}

static int tx_miss(struct hadsm_names *n, u64 container, pgoff_t index, u16 mode)
{
	n->missed = true;
	n->miss_container = container;
	n->miss_index = index;
	n->miss_mode = mode;
	return -EAGAIN;
}

int hadsm_tx_page(void *context, u64 container, u64 index, u32 mode, u8 **bytes)
{
	struct hadsm_names *n = context;
	struct hadsm_tx_page *p;
	struct hadsm_store *s;
	struct folio *folio;

	lockdep_assert_held(&n->lock);
	p = tx_find(n, container, index);
	if (p) {
		if (mode == KRG_NAMES_WRITE && !folio_test_checked(p->folio))
			return tx_miss(n, container, index, mode);
		*bytes = folio_address(p->folio);
		return 0;
	}
	if (n->nr_pages == HADSM_TX_PAGES)
		return -ELOOP;
	s = hadsm_store_get(n->records, container);
	if (IS_ERR(s))
		return PTR_ERR(s);
	folio = hadsm_page_lock(s, index, mode);
	hadsm_store_put(s);	/* the domain has one, and the page is locked */
	if (!folio)
		return tx_miss(n, container, index, mode);
	if (!n->again)	/* otherwise some of it was missed a moment ago */
		hadsm_count_hit(n->records, mode == KRG_NAMES_WRITE ? KRG_DSM_WRITE : KRG_DSM_READ);
	p = &n->page[n->nr_pages++];
	p->container = container;
	p->index = index;
	p->folio = folio;
	*bytes = folio_address(folio);
	return 0;
}

static void tx_unlock_pages(struct hadsm_names *n)
{
	while (n->nr_pages) {
		struct folio *folio = n->page[--n->nr_pages].folio;

		folio_unlock(folio);
		folio_put(folio);
	}
}

/* ---- pages that were missed ---- */

static void want_release(struct hadsm_tx_want *w)
{
	if (!w->store)
		return;
	if (w->grant)
		hadsm_page_unhold(w->grant);
	else
		hadsm_page_used(w->store, w->index, w->mode);
	hadsm_store_put(w->store);
	w->store = NULL;
	w->grant = NULL;
}

/* The pages that were fetched may be taken away again. */
static void tx_release(struct hadsm_tx *tx)
{
	unsigned int i;

	for (i = 0; i < tx->nr_wanted; i++)
		want_release(&tx->want[i]);
}

/* The page among those that are wanted, with this access at least. NULL: there are too many. */
static struct hadsm_tx_want *tx_want(struct hadsm_tx *tx, u64 container, pgoff_t index, u16 mode)
{
	struct hadsm_tx_want *w;
	unsigned int at, i;

	for (at = 0; at < tx->nr_wanted; at++) {
		w = &tx->want[at];
		if (w->container == container && w->index == index) {
			w->mode = max(w->mode, mode);
			return w;
		}
		if (w->container > container || (w->container == container && w->index > index))
			break;
	}
	if (tx->nr_wanted == HADSM_TX_WANTED)
		return NULL;
	for (i = tx->nr_wanted++; i > at; i--)
		tx->want[i] = tx->want[i - 1];
	tx->want[at] = (struct hadsm_tx_want){ .container = container, .index = index, .mode = mode };
	return &tx->want[at];
}

/* Asks for it, once more if it is kept for a moment already. */
static int want_fetch(struct hadsm_tx *tx, struct hadsm_tx_want *w)
{
	struct hadsm_store *s = w->store ?: hadsm_store_get(tx->names->records, w->container);
	int err;

	if (IS_ERR(s))
		return PTR_ERR(s);
	if (tx->ordered)
		err = hadsm_page_hold(s, w->index, w->mode, &w->grant);
	else
		err = hadsm_page_fetch(s, w->index, w->mode);
	if (err && !w->store)
		hadsm_store_put(s);
	else
		w->store = s;
	return err;
}

/* The page, if it is held with this access. */
static struct hadsm_tx_want *tx_held(struct hadsm_tx *tx, u64 container, pgoff_t index, u16 mode)
{
	unsigned int i;

	for (i = 0; i < tx->nr_wanted; i++) {
		struct hadsm_tx_want *w = &tx->want[i];

		if (w->container == container && w->index == index && w->grant && w->mode >= mode)
			return w;
	}
	return NULL;
}

/*
 * Everything that was missed so far, one page after the other in their order, and held
 * until the operation is done: whoever waits so waits for a page behind all it holds,
 * so that nobody waits in a circle. What else keeps pages keeps them for a moment.
 */
static int tx_fetch_all(struct hadsm_tx *tx, u64 container, pgoff_t index, u16 mode)
{
	unsigned int i;
	int err = 0;

	tx_release(tx);
	if (!tx_want(tx, container, index, mode)) {	/* more than can be held: by chance, from the start */
		tx->nr_wanted = 0;
		tx->attempts = 0;
		tx->ordered = false;
		usleep_range(100, 200 + get_random_u32() % TX_PAUSE_US);
		return want_fetch(tx, tx_want(tx, container, index, mode));
	}
	tx->ordered = true;
	for (i = 0; i < tx->nr_wanted && !err; i++)
		err = want_fetch(tx, &tx->want[i]);
	return err;
}

static int tx_fetch(struct hadsm_tx *tx, u64 container, pgoff_t index, u16 mode)
{
	struct hadsm_tx_want *w = tx_held(tx, container, index, mode);
	int err = -EBUSY;

	if (fatal_signal_pending(current))
		return -EINTR;
	if (w)
		err = hadsm_page_hold_again(&w->grant);
	if (err != -EBUSY)
		return err;
	if (++tx->attempts <= TX_PATIENCE) {
		w = tx_want(tx, container, index, mode);
		if (w)
			return want_fetch(tx, w);
	}
	return tx_fetch_all(tx, container, index, mode);
}

bool hadsm_tx_end(struct hadsm_tx *tx, int *ret)
{
	struct hadsm_names *n = tx->names;
	u64 container = n->miss_container;
	pgoff_t index = n->miss_index;
	u16 mode = n->miss_mode;
	bool missed = n->missed && *ret == -EAGAIN;

	tx_unlock_pages(n);
	mutex_unlock(&n->lock);
	if (missed) {
		*ret = tx_fetch(tx, container, index, mode);
		if (!*ret)
			return true;
	}
	tx_release(tx);
	if (*ret == -EUCLEAN)
		pr_warn_ratelimited("%s: a record of the name space is damaged\n", n->name);
	return false;
}
