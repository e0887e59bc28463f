// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that address spaces of a set have in common since fork: the first one that
 * is captured has their bytes, the others say that theirs are the same. What is
 * read, and when, is in capture_mm.c.
 *
 * A page is known by its number as long as nobody can free or move it, so each one
 * that may come again is held until the capture ends.
 */
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/page-flags.h>

#include <kerrighed/compat.h>

#include "capture.h"
#include "park.h"

#define TWIN_ID_BITS	27	/* of a mapping's id; the rest of a value is the number of a user's page */

/* Whether somebody else may have it too. Pages that KSM has merged are at other addresses, and unshared at the next chance. */
static bool may_be_shared(struct krg_capture *c, struct page *page)
{
	return !list_is_singular(&c->set->processes) && PageAnon(page) && !PageKsm(page) && krg_page_maybe_shared(page);
}

/*
 * The mapping, of an address space captured before, that has @page at the same address; 0: none has, and from now on @vma is
 * it.
 */
u64 krg_capture_twin(struct krg_capture *c, struct page *page, unsigned long at, u64 vma)
{
	unsigned long number = page_to_pfn(page), value;
	void *entry;

	if (!may_be_shared(c, page))
		return 0;
	entry = xa_load(&c->twins, number);
	if (entry) {
		value = xa_to_value(entry);
		return value >> TWIN_ID_BITS == at >> PAGE_SHIFT ? value & (BIT(TWIN_ID_BITS) - 1) : 0;
	}
	if (vma >> TWIN_ID_BITS)
		return 0;
	entry = xa_mk_value((at >> PAGE_SHIFT) << TWIN_ID_BITS | vma);
	/* Without memory for it the page is copied, as if it were not shared. */
	if (!xa_err(xa_store(&c->twins, number, entry, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)))
		get_page(page);
	return 0;
}

void krg_capture_twins_free(struct krg_capture *c)
{
	unsigned long number;
	void *entry;

	xa_for_each(&c->twins, number, entry) {
		put_page(pfn_to_page(number));
		cond_resched();
	}
	xa_destroy(&c->twins);
}
