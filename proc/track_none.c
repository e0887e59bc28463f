// SPDX-License-Identifier: GPL-2.0
/*
 * In place of track.c for kernels without soft-dirty marks or mmu notifiers, which
 * are none of Debian's: no writes are noted, so there are full images only.
 */
#include <linux/errno.h>
#include <linux/list.h>

#include "text.h"
#include "track_private.h"

int krg_track_open(struct krg_tracking *t, struct krg_frozen *set, struct krg_text *text)
{
	if (!t->parent)
		return 0;
	krg_text_add(text, "increment: this kernel does not note writes (CONFIG_MEM_SOFT_DIRTY, CONFIG_MMU_NOTIFIER)");
	return -ESTALE;
}

void krg_track_mm(struct krg_tracking *t, struct mm_struct *mm)
{
	t->at = NULL;
}

void krg_track_note(struct krg_tracking *t, unsigned long at, unsigned long count)
{
}

bool krg_track_holds(const struct krg_tracking *t)
{
	return true;
}

void krg_track_close(struct krg_tracking *t, u64 number)
{
}

struct krg_track *krg_track_take(struct mm_struct *mm, u64 move)
{
	return NULL;
}

void krg_track_give_back(struct krg_track *k)
{
}

int krg_track_init(void)
{
	return 0;
}

void krg_track_exit(void)
{
}
