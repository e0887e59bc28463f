// SPDX-License-Identifier: GPL-2.0
/*
 * Pages and their marks. The kernel sets the soft-dirty bit of a page table entry
 * when it makes it writable; clearing it takes the right to write, so that the next
 * write sets it again. Everybody may read the bits (pagemap); here they are also
 * cleared, as clear_refs does it, of an address space that nobody runs in.
 *
 * Huge pages have one mark for 512 pages: they are split before their marks are
 * cleared, which the program does not see. One that cannot be split keeps its mark.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/swap.h>
#include <asm/mmu.h>

#include <kerrighed/compat.h>

#include "track_private.h"
#include "vma.h"

#define BLOCK_PAGES	512UL
#define QUIET_TRIES	2000	/* of 50 us: until nobody runs in the address space any more */

/* ---- sets of pages ---- */

struct block {
	unsigned long bits[BLOCK_PAGES / BITS_PER_LONG];
};

static struct block *block_get(struct xarray *set, unsigned long number)
{
	struct block *block = xa_load(set, number);

	if (block)
		return block;
	block = kzalloc(sizeof(*block), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (block && xa_err(xa_store(set, number, block, GFP_KERNEL_ACCOUNT | __GFP_NOWARN))) {
		kfree(block);
		return NULL;
	}
	return block;
}

void krg_page_set_add(struct xarray *set, unsigned long page, unsigned long count)
{
	unsigned long n;

	for (; count; page += n, count -= n) {
		struct block *block = block_get(set, page / BLOCK_PAGES);

		n = min(count, BLOCK_PAGES - page % BLOCK_PAGES);
		if (block)
			bitmap_set(block->bits, page % BLOCK_PAGES, n);
	}
}

void krg_page_set_remove(struct xarray *set, unsigned long page, unsigned long count)
{
	unsigned long n;

	for (; count; page += n, count -= n) {
		struct block *block = xa_load(set, page / BLOCK_PAGES);

		n = min(count, BLOCK_PAGES - page % BLOCK_PAGES);
		if (block)
			bitmap_clear(block->bits, page % BLOCK_PAGES, n);
	}
}

bool krg_page_set_next(struct xarray *set, unsigned long *page)
{
	unsigned long number = *page / BLOCK_PAGES, bit;
	struct block *block;

	xa_for_each_start(set, number, block, *page / BLOCK_PAGES) {
		bit = find_next_bit(block->bits, BLOCK_PAGES, number == *page / BLOCK_PAGES ? *page % BLOCK_PAGES : 0);
		if (bit < BLOCK_PAGES) {
			*page = number * BLOCK_PAGES + bit;
			return true;
		}
	}
	return false;
}

bool krg_page_set_has(struct xarray *set, unsigned long page)
{
	const struct block *block = xa_load(set, page / BLOCK_PAGES);

	return block && test_bit(page % BLOCK_PAGES, block->bits);
}

void krg_page_set_free(struct xarray *set)
{
	struct block *block;
	unsigned long number;

	xa_for_each(set, number, block)
		kfree(block);
	xa_destroy(set);
}

/* ---- tables ---- */

/* The entry of the second level for @at, or none where there is nothing. Under the mmap lock. */
static pmd_t pmd_of(struct mm_struct *mm, unsigned long at)
{
	pgd_t *pgd = pgd_offset(mm, at);
	p4d_t *p4d;
	pud_t *pud;

	if (pgd_none(*pgd))
		return __pmd(0);
	p4d = p4d_offset(pgd, at);
	if (p4d_none(*p4d))
		return __pmd(0);
	pud = pud_offset(p4d, at);
	if (pud_none(*pud) || !pud_present(*pud) || pud_leaf(*pud))
		return __pmd(0);
	return READ_ONCE(*pmd_offset(pud, at));
}

/* @fn for each entry from @at to @end that is not empty. Where a table is, nobody takes it away under the mmap lock. */
static void each_entry(struct mm_struct *mm, unsigned long at, unsigned long end, pte_fn_t fn, void *data)
{
	unsigned long next;
	pmd_t pmd;

	for (; at < end; at = next) {
		next = min(end, (at & PMD_MASK) + PMD_SIZE);
		pmd = pmd_of(mm, at);
		if (pmd_present(pmd) && !pmd_leaf(pmd))
			apply_to_existing_page_range(mm, at, next - at, fn, data);
		cond_resched();
	}
}

/* ---- reading marks ---- */

struct look {
	unsigned long start;
	unsigned long clean[BITS_TO_LONGS(BLOCK_PAGES)];
};

/* What may be written without a mark has been. */
static int look_at_entry(pte_t *at, unsigned long address, void *data)
{
	struct look *look = data;
	pte_t entry = *at;
	bool clean;

	if (pte_present(entry))
		clean = !pte_soft_dirty(entry) && !pte_write(entry) && !pte_dirty(entry);
	else
		clean = !pte_swp_soft_dirty(entry);
	if (clean)
		__set_bit((address - look->start) >> PAGE_SHIFT, look->clean);
	return 0;
}

static bool protected_anew(struct krg_track *k, unsigned long at)
{
	unsigned int i;

	lockdep_assert_held(&k->lock);
	for (i = 0; i < k->nr_ranges; i++)
		if (at >= k->range[i].start && at < k->range[i].end)
			return true;
	return false;
}

unsigned int krg_track_clean(struct krg_tracking *t, struct mm_struct *mm, const struct krg_mapping *v, unsigned long at,
			     unsigned int count, bool *clean)
{
	struct look look = { .start = at };
	struct krg_track *k = t->at;
	unsigned int i;

	*clean = false;
	if (!k || !k->usable || (v->flags & VM_SOFTDIRTY && READ_ONCE(k->hinted)))
		return count;
	count = min_t(unsigned int, count, BLOCK_PAGES);
	each_entry(mm, at, at + count * PAGE_SIZE, look_at_entry, &look);
	spin_lock(&k->lock);
	for (i = 0; i < count; i++) {
		const unsigned long page = at + i * PAGE_SIZE;
		bool is = test_bit(i, look.clean) && krg_page_set_has(&k->known, page >> PAGE_SHIFT) && !protected_anew(k, page);

		if (i && is != *clean)
			break;
		*clean = is;
	}
	spin_unlock(&k->lock);
	return i;
}

/* ---- clearing them ---- */

static void split_huge(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	unsigned long at, next;
	struct page *page;
	pmd_t pmd;

	for (at = start; at < end; at = next) {
		next = (at & PMD_MASK) + PMD_SIZE;
		pmd = pmd_of(mm, at);
		if (pmd_present(pmd) && pmd_leaf(pmd) && krg_pages_of(mm, at, 1, FOLL_FORCE | FOLL_SPLIT_PMD, &page) == 1)
			put_page(page);
		cond_resched();
	}
}

/*
 * A page that a device may be writing keeps its mark. The mark of the processor goes too, into the page: one that is there
 * next time tells of a write whatever the other one says.
 */
static int clear_entry(pte_t *at, unsigned long address, void *data)
{
	struct vm_area_struct *vma = data;
	pte_t old = *at, entry;
	struct page *page;

	if (!pte_present(old)) {
		if (pte_swp_soft_dirty(old))
			set_pte_at(vma->vm_mm, address, at, pte_swp_clear_soft_dirty(old));
		return 0;
	}
	if (pte_special(old))
		return 0;
	page = pte_page(old);
	if (!PageAnon(page) || folio_maybe_dma_pinned(page_folio(page)))
		return 0;
	old = ptep_modify_prot_start(vma, address, at);
	if (pte_dirty(old))
		set_page_dirty(page);
	entry = pte_clear_soft_dirty(pte_mkclean(pte_wrprotect(old)));
	ptep_modify_prot_commit(vma, address, at, old, entry);
	return 0;
}

static bool has_marks(const struct vm_area_struct *vma)
{
	return vma->anon_vma && !(vma->vm_flags & (VM_IO | VM_PFNMAP | VM_HUGETLB));
}

static void see_whether_inside(void *data)
{
	struct {
		struct mm_struct *mm;
		bool inside;
	} *look = data;

	if (current->mm == look->mm)
		WRITE_ONCE(look->inside, true);
}

/*
 * After the generation has grown, a processor flushes what it knows of an address space before a thread of it runs there
 * again, unless one does already: so it grows until no thread is on any processor. Those of a held set sleep, or are on
 * their way to it.
 */
static bool flush_when_quiet(struct mm_struct *mm)
{
	struct {
		struct mm_struct *mm;
		bool inside;
	} look = { .mm = mm };
	unsigned int i;

	for (i = 0; i < QUIET_TRIES; i++) {
		look.inside = false;
		atomic64_inc_return(&mm->context.tlb_gen);
		on_each_cpu(see_whether_inside, &look, 1);
		if (!READ_ONCE(look.inside))
			return true;
		usleep_range(50, 100);
	}
	return false;
}

void krg_track_restart(struct krg_track *k, struct mm_struct *mm)
{
	struct vm_area_struct *vma;

	mmap_read_lock(mm);
	{
		VMA_ITERATOR(vmi, mm, 0);

		for_each_vma(vmi, vma)
			if (has_marks(vma))
				split_huge(mm, vma->vm_start, vma->vm_end);
	}
	mmap_read_unlock(mm);
	mmap_write_lock(mm);
	spin_lock(&k->lock);
	k->lost = test_bit(MMF_VM_MERGEABLE, &mm->flags);
	k->hinted = false;
	k->nr_ranges = 0;
	spin_unlock(&k->lock);
	{
		VMA_ITERATOR(vmi, mm, 0);

		for_each_vma(vmi, vma) {
			if (has_marks(vma))
				each_entry(mm, vma->vm_start, vma->vm_end, clear_entry, vma);
			/* Of shared mappings the kernel would have to change more; they are not tracked. */
			if (!(vma->vm_flags & VM_SHARED))
				krg_vm_flags_clear(vma, VM_SOFTDIRTY);
		}
	}
	mmap_write_unlock(mm);
	if (!flush_when_quiet(mm))
		WRITE_ONCE(k->lost, true);
}
