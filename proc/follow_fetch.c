// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that follows, the target's side: which pages are elsewhere, asking for
 * them, and those that have come and are not in the page tables yet.
 */
#include <linux/bitops.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include <kerrighed/rpc.h>

#include "follow_in.h"

#define FETCH_MS	1000		/* for one answer; a killed task waits no longer than this */
#define AGAIN_MS	50		/* between two tries */

/* ---- which pages ---- */

static const struct follow_run *first_run(const struct follow_source *source, u64 number)
{
	u32 low = 0, high = source->count;

	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (source->run[middle].first + source->run[middle].count > number)
			high = middle;
		else
			low = middle + 1;
	}
	return &source->run[low];
}

u64 krg_follow_next(const struct follow_mm *f, u64 first, u64 end)
{
	const struct follow_run *run = first_run(f->source, first), *last = f->source->run + f->source->count;

	for (; run < last && run->first < end; run++) {
		u64 low = max(first, run->first) - run->first, high = min(end, run->first + run->count) - run->first;
		u64 bit = find_next_zero_bit(f->here, run->bit + high, run->bit + low);

		if (bit < run->bit + high)
			return run->first + bit - run->bit;
	}
	return end;
}

void krg_follow_set_here(struct follow_mm *f, u64 first, u64 count)
{
	u64 number = first, end = first + count;

	/* Bit by bit: others set neighbours in the same word. */
	while ((number = krg_follow_next(f, number, end)) < end) {
		const struct follow_run *run = first_run(f->source, number);

		set_bit(run->bit + number - run->first, f->here);
		number++;
	}
}

u32 krg_follow_want(struct follow_mm *f, u64 first, u64 end, unsigned int count)
{
	u64 number = first;
	u32 want = 0;

	end = min(end, first + count);
	while ((number = krg_follow_next(f, number, end)) < end)
		want |= BIT(number++ - first);
	return want;
}

/* ---- pages that have come ---- */

struct page *krg_follow_stored(struct follow_mm *f, u64 number)
{
	struct page *page;

	xa_lock(&f->store);
	page = xa_load(&f->store, number);
	if (page)
		get_page(page);
	xa_unlock(&f->store);
	return page;
}

void krg_follow_drop_stored(struct follow_mm *f, u64 first, u64 count)
{
	unsigned long number;
	struct page *page;

	if (!count)
		return;
	xa_for_each_range(&f->store, number, page, first, first + count - 1) {
		page = xa_erase(&f->store, number);
		if (page)
			put_page(page);
	}
}

/* ---- asking ---- */

/* Bytes of the answer. It is asked again as long as the source is a member: it answers, or a view without it comes. */
static int ask_until(struct follow_source *source, u16 type, const struct krg_follow_ask *ask, struct kvec *reply, int count)
{
	struct kvec vec = { .iov_base = (void *)ask, .iov_len = sizeof(*ask) };
	int n;

	for (;;) {
		if (READ_ONCE(source->lost))
			return -EIO;
		n = krg_rpc_call(source->origin.node, type, &vec, 1, reply, count, FETCH_MS);
		if (n >= 0)
			return n;
		if (fatal_signal_pending(current))
			return -EINTR;
		if (n == -ENOENT || n == -EINVAL || n == -EFAULT || n == -EMSGSIZE)
			break;
		wait_event_killable_timeout(source->wait, READ_ONCE(source->lost), msecs_to_jiffies(AGAIN_MS));
	}
	pr_err("node %u gives no memory of what has moved here from it: error %d\n", source->origin.node, n);
	krg_follow_lose(source);
	return -EIO;
}

static int store_page(struct follow_mm *f, u64 number, struct page *page)
{
	int err = xa_insert(&f->store, number, page, GFP_KERNEL);

	if (err)
		put_page(page);
	return err == -EBUSY ? 0 : err;
}

static int take_answer(struct follow_mm *f, u64 first, u32 want, const struct krg_follow_answer *answer, int length,
		       struct page **pages)
{
	u32 have = le32_to_cpu(answer->have);
	int bit, n = 0, err = 0;

	if (length < (int)sizeof(*answer) || answer->zero || have & ~want ||
	    length != sizeof(*answer) + hweight32(have) * PAGE_SIZE)
		return -EBADMSG;
	for (bit = 0; bit < KRG_FOLLOW_PAGES; bit++) {
		if (have & BIT(bit)) {
			err = store_page(f, first + bit, pages[n]) ?: err;
			pages[n++] = NULL;
		} else if (want & BIT(bit)) {
			krg_follow_set_here(f, first + bit, 1);
		}
	}
	return err;
}

/* Of @want those that have not come yet. */
static u32 not_stored(struct follow_mm *f, u64 first, u32 want)
{
	u32 left = want;
	int bit;

	for (bit = 0; bit < KRG_FOLLOW_PAGES; bit++)
		if (want & BIT(bit) && xa_load(&f->store, first + bit))
			left &= ~BIT(bit);
	return left;
}

int krg_follow_fetch(struct follow_mm *f, u16 type, u64 first, u32 want)
{
	u32 asked = not_stored(f, first, want);
	struct krg_follow_ask ask = {
		.move = cpu_to_le64(f->source->origin.move), .space = cpu_to_le64(f->source->space),
		.first = cpu_to_le64(first), .what = cpu_to_le32(KRG_FOLLOW_GIVE), .want = cpu_to_le32(asked),
	};
	struct krg_follow_answer answer = {};
	struct page *pages[KRG_FOLLOW_PAGES] = {};
	struct kvec reply[KRG_FOLLOW_PAGES + 1] = { { .iov_base = &answer, .iov_len = sizeof(answer) } };
	int i, n = hweight32(asked), err = 0;

	if (!asked)
		return 0;
	for (i = 0; i < n && !err; i++) {
		pages[i] = alloc_page(GFP_KERNEL);
		if (pages[i])
			reply[i + 1] = krg_rpc_page(pages[i], 0, PAGE_SIZE);
		else
			err = -ENOMEM;
	}
	if (!err) {
		err = ask_until(f->source, type, &ask, reply, n + 1);
		if (err >= 0)
			err = take_answer(f, first, asked, &answer, err, pages);
	}
	for (i = 0; i < n; i++)
		if (pages[i])
			put_page(pages[i]);
	return err;
}
