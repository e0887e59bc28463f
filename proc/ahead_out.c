// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that go ahead, the source's side. Between rounds the process stands still
 * for as long as it takes to read and clear the marks of its pages (track_pages.c); nothing
 * is sent then. Marks are cleared before pages are read, so one that is written while
 * it is sent is sent again, or is in the image.
 */
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include <kerrighed/compat.h>
#include <kerrighed/rpc.h>

#include "ahead.h"
#include "follow.h"
#include "pages.h"
#include "park.h"
#include "text.h"
#include "track_private.h"
#include "vma.h"

#define ROUNDS_MAX	8
#define ENOUGH_PAGES	256	/* a stop may take as long as these */
#define SEND_MS		10000	/* for one piece */

/* ---- what is to be sent ---- */

/* All pages of @v that are not at the target as they are. Their number. */
static u64 collect_mapping(struct krg_tracking *t, struct mm_struct *mm, const struct krg_mapping *v, struct xarray *todo)
{
	unsigned long at = v->start;
	unsigned int n;
	bool clean;
	u64 pages = 0;

	while (at < v->end) {
		mmap_read_lock(mm);
		n = krg_pages_find(mm, &at, v->end);
		if (n)
			n = krg_track_clean(t, mm, v, at, n, &clean);
		mmap_read_unlock(mm);
		if (!n)
			break;
		if (!clean) {
			krg_page_set_add(todo, at >> PAGE_SHIFT, n);
			krg_page_set_remove(&t->at->known, at >> PAGE_SHIFT, n);
			pages += n;
		}
		at += n * PAGE_SIZE;
		cond_resched();
	}
	return pages;
}

static int collect(struct krg_ahead_out *a, struct xarray *todo, u64 *pages)
{
	struct krg_tracking t = { .at = a->track };
	struct krg_mappings list;
	unsigned int i;
	int err = krg_mappings_get(&list, a->mm);

	if (err)
		return err;
	a->track->usable = !READ_ONCE(a->track->lost);
	for (i = 0; i < list.count; i++)
		if (list.at[i].touched && krg_follow_out_may(&list.at[i], a->mm))
			*pages += collect_mapping(&t, a->mm, &list.at[i], todo);
	krg_mappings_put(&list);
	return 0;
}

/* The process stands still here, and only here. */
static int look(struct krg_ahead_out *a, pid_t pid, struct xarray *todo, u64 *pages, struct krg_text *text)
{
	struct krg_frozen *set = krg_freeze(pid, false, 0, text);
	struct mm_struct *mm;
	int err = 0;

	if (IS_ERR(set))
		return PTR_ERR(set);
	mm = get_task_mm(list_first_entry(&set->processes, struct krg_process, node)->leader);
	if (!mm) {
		err = -ESRCH;
	} else if (!a->mm) {
		a->track = krg_track_take(mm, a->move);
		err = a->track ? 0 : -EBUSY;
		if (!err) {
			mmget(mm);
			a->mm = mm;
		}
	} else if (a->mm != mm) {
		/* It has made an exec: what went ahead is of no use. */
		err = -ESTALE;
	}
	if (!err)
		err = collect(a, todo, pages);
	if (!err) {
		krg_track_restart(a->track, a->mm);
		err = READ_ONCE(a->track->lost) ? -EOPNOTSUPP : 0;
	}
	if (mm)
		mmput(mm);
	krg_unfreeze(set);
	if (err)
		krg_text_add(text, "memory: of process %d cannot be watched while it is sent ahead: error %d", pid, err);
	return err;
}

/* ---- sending ---- */

/* Of @want from @first on: those that are still there and are not zeros. */
static u32 gather(struct mm_struct *mm, u64 first, u32 want, struct page **pages, int *n)
{
	u32 have = 0;
	int bit;

	*n = 0;
	mmap_read_lock(mm);
	for (bit = 0; bit < KRG_FOLLOW_PAGES; bit++) {
		struct page *page;

		if (!(want & BIT(bit)) || krg_pages_of(mm, (first + bit) << PAGE_SHIFT, 1, FOLL_FORCE, &page) != 1)
			continue;
		if (memchr_inv(page_address(page), 0, PAGE_SIZE)) {
			have |= BIT(bit);
			pages[(*n)++] = page;
		} else {
			put_page(page);
		}
	}
	mmap_read_unlock(mm);
	return have;
}

static int send(struct krg_ahead_out *a, u64 first, u32 want)
{
	struct krg_follow_ask ask = {
		.move = cpu_to_le64(a->move), .first = cpu_to_le64(first), .what = cpu_to_le32(KRG_FOLLOW_AHEAD),
	};
	struct page *pages[KRG_FOLLOW_PAGES];
	struct kvec vec[KRG_FOLLOW_PAGES + 1];
	u32 have;
	int i, n, err = 0;

	have = gather(a->mm, first, want, pages, &n);
	ask.want = cpu_to_le32(have);
	vec[0] = (struct kvec){ .iov_base = &ask, .iov_len = sizeof(ask) };
	for (i = 0; i < n; i++)
		vec[i + 1] = krg_rpc_page(pages[i], 0, PAGE_SIZE);
	if (n)
		err = min(krg_rpc_call(a->to, KRG_MSG_FOLLOW_BULK, vec, n + 1, NULL, 0, SEND_MS), 0);
	for (i = 0; i < n; i++)
		put_page(pages[i]);
	if (err)
		return err;
	a->pages += n;
	for (i = 0; i < KRG_FOLLOW_PAGES; i++)
		if (have & BIT(i))
			krg_page_set_add(&a->track->known, first + i, 1);
	return 0;
}

static int send_all(struct krg_ahead_out *a, struct xarray *todo, struct krg_text *text)
{
	unsigned long page = 0;
	u32 want;
	int err = 0, i;

	while (!err && krg_page_set_next(todo, &page)) {
		want = 0;
		for (i = 0; i < KRG_FOLLOW_PAGES; i++)
			if (krg_page_set_has(todo, page + i))
				want |= BIT(i);
		err = signal_pending(current) ? -EINTR : send(a, page, want);
		page += KRG_FOLLOW_PAGES;
		cond_resched();
	}
	if (err)
		krg_text_add(text, "node %u: memory cannot be sent ahead to it: error %d", a->to, err);
	return err;
}

/* ---- rounds ---- */

int krg_ahead_rounds(struct krg_ahead_out *a, pid_t pid, struct krg_text *text)
{
	u64 before = U64_MAX, pages;
	struct xarray todo;
	int err = 0;

	xa_init(&todo);
	while (!err && a->rounds < ROUNDS_MAX) {
		pages = 0;
		err = look(a, pid, &todo, &pages, text);
		if (!err)
			err = send_all(a, &todo, text);
		krg_page_set_free(&todo);
		a->rounds++;
		/* It writes as fast as it is sent: another round would be as long. */
		if (pages <= ENOUGH_PAGES || pages > before / 4 * 3)
			break;
		before = pages;
	}
	return err;
}

void krg_ahead_end(struct krg_ahead_out *a, bool moved)
{
	struct krg_follow_ask ask = {
		.move = cpu_to_le64(a->move), .what = cpu_to_le32(KRG_FOLLOW_AHEAD_DROP),
	};
	struct kvec vec = { .iov_base = &ask, .iov_len = sizeof(ask) };

	/* If it does not hear of it: it forgets by itself. */
	if (!moved && a->pages)
		krg_rpc_call(a->to, KRG_MSG_FOLLOW_BULK, &vec, 1, NULL, 0, SEND_MS);
	if (!a->mm)
		return;
	krg_track_give_back(a->track);
	mmput(a->mm);
	a->mm = NULL;
}
