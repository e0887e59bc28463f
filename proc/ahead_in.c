// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that went ahead, the target's side: kept by the move they belong to, until
 * its process is built, or nobody has sent any for a while.
 */
#include <linux/bitops.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <kerrighed/membership.h>
#include <kerrighed/rpc.h>

#include "ahead.h"
#include "follow_in.h"

#define AHEAD_RESERVE	(32UL << 20)		/* bytes of memory that are left free */
#define AHEAD_IDLE	(120 * HZ)
#define AHEAD_STORES	64			/* moves at a time */

struct store {
	struct list_head node;
	struct krg_follow_origin origin;
	unsigned long used;		/* jiffies */
	struct xarray pages;		/* by number; each with a reference */
};

static DEFINE_MUTEX(stores_lock);	/* the list, and all that is in it; nothing is locked inside of it but xa_lock */
static LIST_HEAD(stores);
static unsigned int stores_count;

static void sweep(struct work_struct *work);
static DECLARE_DELAYED_WORK(sweep_work, sweep);

static void store_free(struct store *store)
{
	unsigned long number;
	struct page *page;

	lockdep_assert_held(&stores_lock);
	list_del(&store->node);
	stores_count--;
	xa_for_each(&store->pages, number, page)
		put_page(page);
	xa_destroy(&store->pages);
	kfree(store);
}

static bool same_origin(const struct krg_follow_origin *a, const struct krg_follow_origin *b)
{
	return a->node == b->node && a->incarnation == b->incarnation && a->move == b->move;
}

static struct store *store_find(const struct krg_follow_origin *origin)
{
	struct store *store;

	lockdep_assert_held(&stores_lock);
	list_for_each_entry(store, &stores, node)
		if (same_origin(&store->origin, origin))
			return store;
	return NULL;
}

static struct store *store_get(const struct krg_follow_origin *origin)
{
	struct store *store = store_find(origin);

	if (store || stores_count == AHEAD_STORES)
		return store;
	store = kzalloc(sizeof(*store), GFP_KERNEL);
	if (!store)
		return NULL;
	store->origin = *origin;
	xa_init(&store->pages);
	list_add_tail(&store->node, &stores);
	stores_count++;
	schedule_delayed_work(&sweep_work, AHEAD_IDLE);
	return store;
}

/* A later one replaces what came before. */
static int store_page(struct store *store, u64 number, const u8 *bytes)
{
	struct page *page = alloc_page(GFP_KERNEL), *old;

	if (!page)
		return -ENOMEM;
	memcpy(page_address(page), bytes, PAGE_SIZE);
	old = xa_store(&store->pages, number, page, GFP_KERNEL);
	if (xa_is_err(old)) {
		put_page(page);
		return xa_err(old);
	}
	if (old)
		put_page(old);
	return 0;
}

static int take(const struct krg_follow_origin *origin, u64 first, u32 want, const u8 *bytes)
{
	struct store *store = store_get(origin);
	int bit, err = store ? 0 : -ENOMEM;

	if (si_mem_available() < (long)(AHEAD_RESERVE >> PAGE_SHIFT))
		err = -ENOMEM;
	for (bit = 0; bit < KRG_FOLLOW_PAGES && !err; bit++)
		if (want & BIT(bit)) {
			err = store_page(store, first + bit, bytes);
			bytes += PAGE_SIZE;
		}
	if (store)
		store->used = jiffies;
	return err;
}

void krg_ahead_take(struct krg_rpc_req *req, const struct krg_follow_ask *ask)
{
	const struct krg_follow_origin origin = {
		.node = krg_rpc_req_node(req), .incarnation = krg_rpc_req_incarnation(req), .move = le64_to_cpu(ask->move),
	};
	u64 first = le64_to_cpu(ask->first);
	u32 want = le32_to_cpu(ask->want);
	struct store *store;
	int err = 0;

	mutex_lock(&stores_lock);
	if (le32_to_cpu(ask->what) == KRG_FOLLOW_AHEAD_DROP) {
		store = store_find(&origin);
		if (store)
			store_free(store);
	} else if (!want || want >> KRG_FOLLOW_PAGES || first > (TASK_SIZE_MAX >> PAGE_SHIFT) - KRG_FOLLOW_PAGES ||
		   krg_rpc_req_len(req) != sizeof(*ask) + hweight32(want) * PAGE_SIZE) {
		err = -EINVAL;
	} else {
		err = take(&origin, first, want, (const u8 *)(ask + 1));
	}
	mutex_unlock(&stores_lock);
	krg_rpc_reply(req, err, NULL, 0);
}

/* What is wanted and has come is given; what was written again later is in the image, and not wanted. */
static int give(struct store *store, struct follow_mm *f)
{
	unsigned long number;
	struct page *page;
	u64 given = 0;
	int err;

	xa_for_each(&store->pages, number, page) {
		if (krg_follow_next(f, number, number + 1) != number)
			continue;
		err = xa_insert(&f->store, number, page, GFP_KERNEL);
		if (err)
			return err;
		xa_erase(&store->pages, number);
		given++;
	}
	return given == f->source->pages ? 0 : -ENODATA;
}

int krg_ahead_give(const struct krg_follow_origin *origin, struct follow_mm *f, bool *ahead)
{
	struct store *store;
	int err = 0;

	mutex_lock(&stores_lock);
	store = store_find(origin);
	*ahead = store;
	if (store) {
		err = give(store, f);
		store_free(store);
	}
	mutex_unlock(&stores_lock);
	return err;
}

void krg_ahead_view(const struct krg_view *view)
{
	struct store *store, *next;

	mutex_lock(&stores_lock);
	list_for_each_entry_safe(store, next, &stores, node) {
		const struct krg_mbr_member *member = view ? krg_view_find(view, store->origin.node) : NULL;

		if (!member || member->incarnation != store->origin.incarnation)
			store_free(store);
	}
	mutex_unlock(&stores_lock);
}

static void sweep(struct work_struct *work)
{
	struct store *store, *next;

	mutex_lock(&stores_lock);
	list_for_each_entry_safe(store, next, &stores, node)
		if (time_after(jiffies, store->used + AHEAD_IDLE))
			store_free(store);
	if (stores_count)
		schedule_delayed_work(&sweep_work, AHEAD_IDLE);
	mutex_unlock(&stores_lock);
}

int krg_ahead_init(void)
{
	return 0;
}

void krg_ahead_exit(void)
{
	krg_ahead_view(NULL);
	cancel_delayed_work_sync(&sweep_work);
}
