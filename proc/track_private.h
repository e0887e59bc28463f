/* SPDX-License-Identifier: GPL-2.0 */
/* A track, for track.c, which decides whether it can be believed, and track_pages.c, which reads and clears the marks. */
#ifndef KRG_PROC_TRACK_PRIVATE_H
#define KRG_PROC_TRACK_PRIVATE_H

#include <linux/mmu_notifier.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include "track.h"

#define KRG_TRACK_RANGES	64

/**
 * struct krg_track - an address space whose writes are noted
 * @notifier: its kernel's side; has the address space
 * @link: in the list of all; empty: it is going
 * @open: in that of the capture at hand
 * @chain: of the last image, whose number and place there are @number and @version
 * @usable: the capture at hand adds to that image
 * @hinted: NUMA balancing was here since
 * @taken: for pages that go ahead (ahead.h), by that move alone; no image uses it; tracks_lock
 * @known: pages that the last image has, or its parents; @next: likewise, of the one that is being made
 * @lock: @lost when it is set with the ranges, @range, @nr_ranges
 * @lost: the marks mean nothing
 * @range: protected anew since the last image, which counts as written
 */
struct krg_track {
#ifdef CONFIG_MMU_NOTIFIER
	struct mmu_notifier notifier;
#endif
	struct list_head link, open;
	u64 chain, number;
	u32 version;
	bool usable, hinted, taken;
	struct xarray known, next;
	spinlock_t lock;
	bool lost;
	unsigned int nr_ranges;
	struct {
		unsigned long start, end;
	} range[KRG_TRACK_RANGES];
};

/* Sets of page numbers. What there is no memory for is not in one, and then counts as written. */
void krg_page_set_add(struct xarray *set, unsigned long page, unsigned long count);
void krg_page_set_remove(struct xarray *set, unsigned long page, unsigned long count);
/** krg_page_set_next() - the first one from *@page on, which is put there; false: there is none */
bool krg_page_set_next(struct xarray *set, unsigned long *page);
bool krg_page_set_has(struct xarray *set, unsigned long page);
void krg_page_set_free(struct xarray *set);

/** krg_track_take() - the track of @mm for a move alone, which knows no pages yet; NULL: another one has it, or no memory */
struct krg_track *krg_track_take(struct mm_struct *mm, u64 move);
void krg_track_give_back(struct krg_track *k);
/** krg_track_restart() - clears all marks of @mm, of a set that is held; if that cannot be, its track is lost */
void krg_track_restart(struct krg_track *k, struct mm_struct *mm);

#endif
