// SPDX-License-Identifier: GPL-2.0
/*
 * Who is tracked: an address space that was captured into a chain has a track, from
 * its first image in it until it ends. A track knows which pages the last image has,
 * and whether the marks of the kernel (soft-dirty, track_pages.c) still mean what
 * they meant when that image was made. If they may not, there is no increment.
 *
 * An mmu notifier says so: clear_refs(5) announces MMU_NOTIFY_SOFT_DIRTY before it
 * clears the marks for somebody else; pages that KSM merges lose their marks, and
 * merging is announced too; a change of protection can let a page be written without
 * a mark in a mapping that has grown, so what was protected anew counts as written.
 */
#include <linux/ksm.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "park.h"
#include "text.h"
#include "track_private.h"

static DEFINE_SPINLOCK(tracks_lock);	/* the list, and who may put a track: who took it from there; innermost */
static LIST_HEAD(tracks);

/* ---- what the notifier says ---- */

/* The last reference that a track has is the list's. */
static void track_drop(struct krg_track *k)
{
	bool ours;

	spin_lock(&tracks_lock);
	ours = !list_empty(&k->link);
	list_del_init(&k->link);
	spin_unlock(&tracks_lock);
	if (ours)
		mmu_notifier_put(&k->notifier);
}

static void track_release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	track_drop(container_of(notifier, struct krg_track, notifier));
}

/* One more range, joined with one that it touches; without room nothing is known any more. */
static void protect_range(struct krg_track *k, unsigned long start, unsigned long end)
{
	unsigned int i;

	spin_lock(&k->lock);
	for (i = 0; i < k->nr_ranges; i++)
		if (start <= k->range[i].end && end >= k->range[i].start)
			break;
	if (i < k->nr_ranges) {
		k->range[i].start = min(k->range[i].start, start);
		k->range[i].end = max(k->range[i].end, end);
	} else if (i < KRG_TRACK_RANGES) {
		k->range[i].start = start;
		k->range[i].end = end;
		k->nr_ranges++;
	} else {
		k->lost = true;
	}
	spin_unlock(&k->lock);
}

/*
 * Automatic NUMA balancing changes protections too, of whole address spaces again and again, with the lock held by readers:
 * of it only the kernel's own rule is left, that a mapping which is marked counts as written.
 */
static void protected_anew(struct krg_track *k, const struct mmu_notifier_range *range)
{
	if (mmap_read_trylock(range->mm)) {
		mmap_read_unlock(range->mm);
		WRITE_ONCE(k->hinted, true);
		return;
	}
	protect_range(k, range->start, range->end);
}

static int track_invalidate(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct krg_track *k = container_of(notifier, struct krg_track, notifier);

	if (range->event == MMU_NOTIFY_SOFT_DIRTY || test_bit(MMF_VM_MERGEABLE, &range->mm->flags))
		WRITE_ONCE(k->lost, true);
	else if (range->event == MMU_NOTIFY_PROTECTION_VMA)
		protected_anew(k, range);
	return 0;
}

static struct mmu_notifier *track_alloc(struct mm_struct *mm)
{
	struct krg_track *k = kzalloc(sizeof(*k), GFP_KERNEL_ACCOUNT);

	if (!k)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&k->link);
	INIT_LIST_HEAD(&k->open);
	spin_lock_init(&k->lock);
	xa_init(&k->known);
	xa_init(&k->next);
	return &k->notifier;
}

static void track_free(struct mmu_notifier *notifier)
{
	struct krg_track *k = container_of(notifier, struct krg_track, notifier);

	krg_page_set_free(&k->known);
	krg_page_set_free(&k->next);
	kfree(k);
}

static const struct mmu_notifier_ops track_ops = {
	.release		= track_release,
	.invalidate_range_start	= track_invalidate,
	.alloc_notifier		= track_alloc,
	.free_notifier		= track_free,
};

/* ---- tracks ---- */

static struct krg_track *track_find(struct mm_struct *mm)
{
	struct krg_track *k, *found = NULL;

	spin_lock(&tracks_lock);
	list_for_each_entry(k, &tracks, link)
		if (k->notifier.mm == mm)
			found = k;
	spin_unlock(&tracks_lock);
	return found;
}

/* That of @mm, which the caller keeps from ending; NULL: no memory. The set it belongs to is held by one capture only. */
static struct krg_track *track_get(struct mm_struct *mm)
{
	struct krg_track *k = track_find(mm);
	struct mmu_notifier *notifier;

	if (k)
		return k;
	notifier = mmu_notifier_get(&track_ops, mm);
	if (IS_ERR(notifier))
		return NULL;
	k = container_of(notifier, struct krg_track, notifier);
	k->lost = true;	/* until its first image is whole */
	spin_lock(&tracks_lock);
	list_add(&k->link, &tracks);
	spin_unlock(&tracks_lock);
	return k;
}

/* ---- a capture ---- */

static bool track_knows(const struct krg_track *k, const struct krg_tracking *t)
{
	return k->chain == t->chain && k->number == t->parent && !READ_ONCE(k->lost);
}

static int track_why(const struct krg_track *k, const struct krg_tracking *t, struct krg_text *text)
{
	if (!k || k->chain != t->chain)
		krg_text_add(text, "increment: what the process wrote since image %#llx was not noted", t->parent);
	else if (k->number != t->parent)
		krg_text_add(text, "increment: the last image was %#llx, not %#llx", k->number, t->parent);
	else
		krg_text_add(text, "increment: something else cleared the marks of written pages, or merged pages (KSM)");
	return -ESTALE;
}

int krg_track_open(struct krg_tracking *t, struct krg_frozen *set, struct krg_text *text)
{
	struct krg_process *first = list_first_entry(&set->processes, struct krg_process, node);
	struct krg_track *k;
	struct mm_struct *mm;
	int err = 0;

	if (!t->parent)
		return 0;
	mm = get_task_mm(first->leader);
	if (!mm)
		return -ESRCH;
	k = track_find(mm);
	if (!k || !track_knows(k, t))
		err = track_why(k, t, text);
	else
		t->version = k->version + 1;
	mmput(mm);
	return err;
}

void krg_track_mm(struct krg_tracking *t, struct mm_struct *mm)
{
	struct krg_track *k;

	t->at = NULL;
	if (!t->chain)
		return;
	k = track_get(mm);
	/* That of a move knows what is at its target, and no image else. */
	if (!k || (k->taken && k->chain != t->chain))
		return;
	mmget(mm);
	k->usable = t->parent && track_knows(k, t);
	krg_page_set_free(&k->next);
	list_add(&k->open, &t->open);
	t->at = k;
}

void krg_track_note(struct krg_tracking *t, unsigned long at, unsigned long count)
{
	if (t->at)
		krg_page_set_add(&t->at->next, at >> PAGE_SHIFT, count);
}

bool krg_track_holds(const struct krg_tracking *t)
{
	struct krg_track *k;

	list_for_each_entry(k, &t->open, open)
		if (k->usable && READ_ONCE(k->lost))
			return false;
	return true;
}

static void track_commit(struct krg_track *k, const struct krg_tracking *t, u64 number)
{
	swap(k->known, k->next);
	k->chain = t->chain;
	k->number = number;
	k->version = t->version;
	krg_track_restart(k, k->notifier.mm);
}

void krg_track_close(struct krg_tracking *t, u64 number)
{
	struct krg_track *k, *next;
	struct mm_struct *mm;

	list_for_each_entry_safe(k, next, &t->open, open) {
		mm = k->notifier.mm;
		list_del_init(&k->open);
		if (number)
			track_commit(k, t, number);
		krg_page_set_free(&k->next);
		mmput(mm);
	}
	t->at = NULL;
}

struct krg_track *krg_track_take(struct mm_struct *mm, u64 move)
{
	struct krg_track *k = track_get(mm);
	bool taken = true;

	if (!k)
		return NULL;
	spin_lock(&tracks_lock);
	swap(k->taken, taken);
	spin_unlock(&tracks_lock);
	if (taken)
		return NULL;
	krg_page_set_free(&k->known);
	k->chain = move;
	k->number = move;
	return k;
}

void krg_track_give_back(struct krg_track *k)
{
	krg_page_set_free(&k->known);
	WRITE_ONCE(k->lost, true);
	spin_lock(&tracks_lock);
	k->taken = false;
	spin_unlock(&tracks_lock);
}

int krg_track_init(void)
{
	return 0;
}

/* No capture is under way: who made one has the device, or a file of ours, open. */
void krg_track_exit(void)
{
	struct krg_track *k;

	for (;;) {
		spin_lock(&tracks_lock);
		k = list_first_entry_or_null(&tracks, struct krg_track, link);
		if (k)
			list_del_init(&k->link);
		spin_unlock(&tracks_lock);
		if (!k)
			break;
		mmu_notifier_put(&k->notifier);
	}
	mmu_notifier_synchronize();
}
