/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between the files of the target's side of memory that follows: follow_in.c has
 * its life, follow_fetch.c what is asked for and comes, follow_fault.c the mappings.
 *
 * The mappings are ordinary private anonymous ones that have operations until all of
 * their pages are there: an address without a page leads to fault(). Pages are
 * never given to it as they are, only copied by a write fault: so whatever is mapped
 * is anonymous memory like any other, and without its operations the mapping is too.
 */
#ifndef KRG_PROC_FOLLOW_IN_H
#define KRG_PROC_FOLLOW_IN_H

#include <linux/mm_types.h>
#include <linux/refcount.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "follow.h"

/* A run of pages that the source has: numbers of pages, and that of its first bit. */
struct follow_run {
	u64 first, count, bit;
};

/* An address space at the source. Set before anybody uses it, but for lost. */
struct follow_source {
	refcount_t refs;		/* each struct follow_mm, until it is in no list */
	atomic_t users;			/* likewise, until it has no mapping: then it is released */
	struct krg_follow_origin origin;
	u64 space;
	bool lost;			/* set once */
	bool ahead;			/* all of its pages are here: set before anybody runs */
	bool gone;			/* ahead: the node is no member any more; set once */
	wait_queue_head_t wait;		/* for that */
	u64 pages;
	u32 count;
	struct follow_run run[];	/* ascending */
};

/*
 * One that is being filled here: that of the process, or of a child that it made since. A page that is not in @here is at the
 * source; one in @store has come, and is not in the page tables yet. What is done about both is done under the mmap lock: by
 * readers who put pages into the page tables and by a writer who gives pages up.
 */
struct follow_mm {
	struct list_head node;		/* follows_lock */
	refcount_t refs;		/* each mapping, and whoever works for it */
	struct follow_source *source;
	struct mm_struct *mm;		/* a reference of mm_count */
	unsigned long *here;
	struct xarray store;
	bool pulling, done;		/* follows_lock to change */
	struct work_struct pull, end;
	wait_queue_head_t wait;		/* for done */
};

/* follow_in.c */
void krg_follow_get(struct follow_mm *f);
void krg_follow_put(struct follow_mm *f);
/** That of @mm, made for the child of a fork if there is none; with a reference. NULL: no memory. */
struct follow_mm *krg_follow_child(struct follow_mm *f, struct mm_struct *mm);
/** Its memory will never come: who needs some of it is killed. */
void krg_follow_lose(struct follow_source *source);

/* follow_fetch.c */
/** The first page from @first on, before @end, that is not here; @end: none. */
u64 krg_follow_next(const struct follow_mm *f, u64 first, u64 end);
void krg_follow_set_here(struct follow_mm *f, u64 first, u64 count);
/** A page that has come, with a reference, or NULL. */
struct page *krg_follow_stored(struct follow_mm *f, u64 number);
void krg_follow_drop_stored(struct follow_mm *f, u64 first, u64 count);
/**
 * Gets pages of @want into the store; waits for the source as long as it is a member. @type: KRG_MSG_FOLLOW or _BULK. 0, -EINTR:
 * the caller was killed, -EIO: they are lost, -ENOMEM.
 */
int krg_follow_fetch(struct follow_mm *f, u16 type, u64 first, u32 want);
/** Pages that @f wants from @first on, before @end: of the next @count. */
u32 krg_follow_want(struct follow_mm *f, u64 first, u64 end, unsigned int count);

/* follow_fault.c; all but mark and find under the mmap lock */
/** Makes a mapping follow: that from @start to @end, or one that has it inside. For writing. */
int krg_follow_mark(struct follow_mm *f, unsigned long start, unsigned long end);
/** All mappings of @f are ordinary ones again. For writing. */
void krg_follow_unmark(struct follow_mm *f);
struct vm_area_struct *krg_follow_vma(struct follow_mm *f, unsigned long at);
/** Puts what is in the store for @count pages from @at on into the page tables. For reading. 0 or -errno */
int krg_follow_install(struct follow_mm *f, struct vm_area_struct *vma, unsigned long at, unsigned int count);
/** Number of the page at @at. */
static inline u64 krg_follow_number(const struct vm_area_struct *vma, unsigned long at)
{
	return vma->vm_pgoff + ((at - vma->vm_start) >> PAGE_SHIFT);
}
int krg_follow_fault_init(void);
void krg_follow_fault_exit(void);

#endif
