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
 * as for faults), so that two nodes that want the same two pages both get on.
 */
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/random.h>
#include <linux/sched/signal.h>

#include "fs.h"

/* So many attempts in a row before the nodes that want the same pages stop running in step. */
#define TX_PATIENCE		6

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

/* The pages that were fetched may be taken away again. */
static void tx_forget(struct hadsm_tx *tx)
{
	while (tx->nr_fetched) {
		struct hadsm_store *s = tx->fetched[--tx->nr_fetched].store;

		hadsm_page_used(s, tx->fetched[tx->nr_fetched].index, tx->fetched[tx->nr_fetched].mode);
		hadsm_store_put(s);
	}
}

static int tx_fetch(struct hadsm_tx *tx, u64 container, pgoff_t index, u16 mode)
{
	struct hadsm_store *s;
	int err;

	if (++tx->attempts > TX_PATIENCE) {
		unsigned int span = 500u << min(tx->attempts - TX_PATIENCE, 6u);

		tx_forget(tx);
		if (fatal_signal_pending(current))
			return -EINTR;
		usleep_range(100, 200 + get_random_u32() % span);
	}
	s = hadsm_store_get(tx->names->records, container);
	if (IS_ERR(s))
		return PTR_ERR(s);
	if (tx->nr_fetched == HADSM_TX_FETCHED)
		tx_forget(tx);
	err = hadsm_page_fetch(s, index, mode);
	if (err) {
		hadsm_store_put(s);
		return err;
	}
	tx->fetched[tx->nr_fetched].store = s;
	tx->fetched[tx->nr_fetched].index = index;
	tx->fetched[tx->nr_fetched++].mode = mode;
	return 0;
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
	tx_forget(tx);
	if (*ret == -EUCLEAN)
		pr_warn_ratelimited("%s: a record of the name space is damaged\n", n->name);
	return false;
}
