// SPDX-License-Identifier: GPL-2.0
/*
 * Read-ahead: who reads a file from one page to the next, through a mapping or with
 * read(), and what should therefore come before it is asked for; and who writes one in
 * that way, where nobody has written before. Only guesses are made here: which of the pages can come without making anybody wait is for the
 * engines to say.
 *
 * What is known of a reader is in the open file, in the kernel's own record for that:
 * f_ra.start is the page behind the last that was asked for, f_ra.size how far ahead of
 * the reader that shall be (0: it does not read in order), f_ra.prev_pos the last page
 * that was not here. Readers that share an open file may disturb each other: they get
 * less ahead, or too much, and nothing else happens.
 *
 * A reader that finds everything here is not heard of, since the kernel maps pages around
 * a fault by itself. So every HADSM_AHEAD_MARK-th page that came ahead is marked: such a
 * page is not mapped in passing, its first use comes here.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "domain.h"

#define HADSM_AHEAD_FIRST	16	/* pages, when a second one has been read behind the first */
#define HADSM_AHEAD_WRITE_MAX	64u	/* pages a writer may have that it has not written */
#define HADSM_AHEAD_MARK	32
#define HADSM_SPARES_KEPT	64	/* when nothing is on its way: skipped pages leave theirs behind */

unsigned int hadsm_ahead_pages = 256;

bool hadsm_ahead_mark(pgoff_t index)
{
	return index % HADSM_AHEAD_MARK == 0;
}

/* From what was asked for last to @distance pages behind @index, within the file. */
static struct hadsm_ahead ahead_range(struct file *file, pgoff_t index, pgoff_t from, pgoff_t distance)
{
	struct file_ra_state *ra = &file->f_ra;
	struct hadsm_ahead a = { .first = 1, .last = 0 };
	pgoff_t end = DIV_ROUND_UP_ULL(i_size_read(file_inode(file)), PAGE_SIZE);

	end = min(end, index + 1 + distance);
	if (from >= end)
		return a;
	a.first = from;
	a.last = end - 1;
	ra->start = end;
	return a;
}

struct hadsm_ahead hadsm_ahead_miss(struct file *file, pgoff_t index, pgoff_t more, bool sequential, bool random)
{
	struct file_ra_state *ra = &file->f_ra;
	unsigned int max = READ_ONCE(hadsm_ahead_pages), distance = ra->size;
	loff_t last = ra->prev_pos;
	pgoff_t from = index + 1;

	if (!max || random) {
		distance = 0;
		more = 0;
	} else if (distance && index <= ra->start && index >= last) {
		/* It goes on reading in order: what is missing was in use elsewhere, or is still on its way. */
		if (index == ra->start)
			distance = min(2 * distance, max);
		from = max(from, ra->start);
	} else if (sequential || (last >= 0 && (index == last + 1 || index == ra->start))) {
		distance = min_t(unsigned int, HADSM_AHEAD_FIRST, max);
	} else {
		distance = 0;
	}
	ra->size = distance;
	ra->prev_pos = index;
	return ahead_range(file, index, from, max_t(pgoff_t, distance, min_t(pgoff_t, more, max)));
}

struct hadsm_ahead hadsm_ahead_write(struct file *file, pgoff_t index, bool sequential, bool random)
{
	struct file_ra_state *ra = &file->f_ra;
	unsigned int max = min(READ_ONCE(hadsm_ahead_pages), HADSM_AHEAD_WRITE_MAX), distance = ra->size;
	struct hadsm_ahead a = { .first = 1, .last = 0 };
	loff_t last = ra->prev_pos;
	pgoff_t from = index + 1;

	if (!max || random) {
		distance = 0;
	} else if (distance && index >= last && index <= ra->start) {
		ra->prev_pos = index;
		if (index + distance / 2 < ra->start)
			return a;	/* every fault of a writer comes here: it asks when half of what it has is used */
		distance = min(2 * distance, max);
		from = max(from, ra->start);
	} else if (sequential || (last >= 0 && index == last + 1)) {
		distance = min_t(unsigned int, HADSM_AHEAD_FIRST, max);
	} else {
		distance = 0;
	}
	ra->size = distance;
	ra->prev_pos = index;
	a = ahead_range(file, index, from, distance);
	a.write = true;
	return a;
}

void hadsm_ahead_hit(struct file *file, struct hadsm_store *s, struct folio *folio)
{
	struct file_ra_state *ra = &file->f_ra;
	pgoff_t index = folio->index;
	struct hadsm_ahead a;

	if (!folio_test_readahead(folio) || !ra->size || index >= ra->start)
		return;
	folio_clear_readahead(folio);
	ra->size = min(2 * ra->size, READ_ONCE(hadsm_ahead_pages));
	ra->prev_pos = index;
	a = ahead_range(file, index, max(ra->start, index + 1), ra->size);
	if (a.first > a.last)
		return;
	mutex_lock(&s->domain->lock);
	hadsm_ahead_ask(s, &a);
	mutex_unlock(&s->domain->lock);
}

/* ---- memory for what comes ---- */

struct page *hadsm_spare_take(struct hadsm_domain *d, gfp_t gfp)
{
	struct page *page = list_first_entry_or_null(&d->spares, struct page, lru);

	lockdep_assert_held(&d->lock);
	if (!page)
		return alloc_page(gfp);
	list_del(&page->lru);
	d->nr_spares--;
	return page;
}

void hadsm_spares_trim(struct hadsm_domain *d)
{
	unsigned int keep = d->engine ? krg_dsm_ahead(d->engine) + HADSM_SPARES_KEPT : 0;

	lockdep_assert_held(&d->lock);
	while (d->nr_spares > keep)
		put_page(hadsm_spare_take(d, 0));
}

/* How many of @count pages may be asked for: without waiting, and without the reserves of those who cannot wait. */
static unsigned int ahead_memory(struct hadsm_domain *d, unsigned int count)
{
	unsigned int promised = krg_dsm_ahead(d->engine), wanted = promised + count;
	LIST_HEAD(fresh);

	if (d->nr_spares < wanted) {
		d->nr_spares += alloc_pages_bulk_list(GFP_NOWAIT | __GFP_NOMEMALLOC | __GFP_NOWARN,
						      wanted - d->nr_spares, &fresh);
		list_splice(&fresh, &d->spares);
	}
	return d->nr_spares > promised ? min(d->nr_spares - promised, count) : 0;
}

void hadsm_ahead_ask(struct hadsm_store *s, const struct hadsm_ahead *a)
{
	struct krg_dsm_event ev = {
		.type = KRG_DSM_EV_AHEAD, .mode = a->write ? KRG_DSM_WRITE : KRG_DSM_READ,
	};
	struct hadsm_domain *d = s->domain;
	pgoff_t first = a->first, chunk = 1 << KRG_DSM_CHUNK_SHIFT;
	unsigned int count, got;

	lockdep_assert_held(&d->lock);
	if (!d->engine || d->draining || d->suspended)
		return;
	hadsm_cork(d, false);
	for (; first <= a->last; first += count) {
		count = min3(a->last - first + 1, chunk - first % chunk, (pgoff_t)KRG_DSM_RANGE_MAX);
		got = a->write ? count : ahead_memory(d, count);	/* of what is to be written no page comes */
		if (!got)
			break;
		ev.object = hadsm_object(s, first);
		ev.last = first + got - 1;
		hadsm_step(d, &ev);
		if (got < count)
			break;
	}
	hadsm_uncork(d, false);
}
