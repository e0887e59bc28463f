// SPDX-License-Identifier: GPL-2.0
/*
 * Taking access away: pages are write-protected, taken out of the page cache, copied
 * for a batch. Whoever stepped the engine does it for a page whose lock is free:
 * one wake-up less between two nodes. Otherwise, and for batches, the worker does. It
 * may wait for a page lock, which a fault holds until its page table entry is in
 * place, and never for the network.
 *
 * PG_checked on a page of a store means: the engine has said that it may be
 * written, and knows that it is. It is set when a grant arrives and cleared here,
 * under the page lock, before the page is write-protected.
 *
 * PG_mappedtodisk means: it was mapped for writing since then, so that a device may have
 * been told to write it. Nobody else uses that flag in a store.
 */
#include <linux/highmem.h>
#include <linux/rmap.h>
#include <linux/slab.h>

#include <kerrighed/compat.h>

#include "domain.h"
#include "names/names.h"

/* The page of @object with its lock and its store with a reference, or NULL. */
static struct folio *edge_folio(struct hadsm_domain *d, const struct krg_dsm_object *object,
				struct hadsm_store **store)
{
	struct hadsm_store *s;
	struct folio *folio;

	mutex_lock(&d->lock);
	s = hadsm_store_find(d, object->container);
	if (s)
		kref_get(&s->ref);
	mutex_unlock(&d->lock);
	if (!s)
		return NULL;
	folio = filemap_lock_folio(s->inode->i_mapping, object->index);
	if (IS_ERR_OR_NULL(folio)) {
		hadsm_store_put(s);
		return NULL;
	}
	*store = s;
	return folio;
}

static void edge_folio_put(struct folio *folio, struct hadsm_store *s)
{
	folio_unlock(folio);
	folio_put(folio);
	hadsm_store_put(s);
}

/* ---- devices ---- */

bool hadsm_page_in_use(struct folio *folio, int mine)
{
	int known = 1 + mine + atomic_read(&folio->_mapcount) + 1;

	/* What is on its way to a list of the kernel's, or locked in memory, has one more reference for that. */
	if (!folio_test_lru(folio) || folio_test_mlocked(folio))
		known++;
	return folio_maybe_dma_pinned(folio) || folio_ref_count(folio) > known;
}

/*
 * A device that writes into memory does not ask through page tables, but who told it to
 * needed an entry to write through. Such entries must be gone already. Pages that were
 * never mapped are left alone: who waits for their lock has a reference, too.
 */
static bool page_device(struct folio *folio)
{
	return folio_test_mappedtodisk(folio) && hadsm_page_in_use(folio, 1);
}

static void page_writable_end(struct folio *folio)
{
	folio_clear_checked(folio);
	folio_clear_mappedtodisk(folio);
}

/* ---- one page ---- */

/* So that another node can read it, too. -EBUSY: a device may write it. */
static int page_downgrade(struct folio *folio)
{
	folio_mkclean(folio);
	if (page_device(folio))
		return -EBUSY;
	page_writable_end(folio);
	folio_set_workingset(folio);	/* for evict.c */
	return 0;
}

/* -EBUSY: it is in use for I/O, and stays as it is. */
static int page_take(struct hadsm_store *s, struct folio *folio, u64 *handle)
{
	unmap_mapping_pages(s->inode->i_mapping, folio->index, 1, false);
	if (folio_maybe_dma_pinned(folio) || page_device(folio) || hadsm_evict_busy(s, folio))
		return -EBUSY;
	page_writable_end(folio);
	folio_clear_readahead(folio);
	if (krg_remove_folio(s->inode->i_mapping, folio))
		return -EBUSY;
	folio_get(folio);	/* the handle's */
	/* Nobody writes it any more, also not through the page cache: grants make copies of it. */
	set_page_private(&folio->page, HADSM_PAGE_USED);
	*handle = hadsm_handle(&folio->page);
	return 0;
}

static int edge_downgrade(struct hadsm_domain *d, const struct krg_dsm_object *object)
{
	struct hadsm_store *s;
	struct folio *folio = edge_folio(d, object, &s);
	int err;

	if (!folio)
		return -EIO;
	err = page_downgrade(folio);
	edge_folio_put(folio, s);
	return err;
}

static int edge_invalidate(struct hadsm_domain *d, const struct krg_dsm_object *object, u64 *handle)
{
	struct hadsm_store *s;
	struct folio *folio = edge_folio(d, object, &s);
	int err;

	if (!folio)
		return -EIO;
	err = page_take(s, folio, handle);
	edge_folio_put(folio, s);
	return err;
}

/* Who waits for a page of @object, or for a lock in it, looks again: it has left. */
static void edge_left(struct hadsm_domain *d, u32 type, const struct krg_dsm_object *object, int err)
{
	if (type == KRG_DSM_ACT_INVALIDATE && !err)
		hadsm_futex_look(object->container, object->index);
	if (object->container == KRG_NAMES_LOCKS)
		hadsm_locks_changed(d);
}

bool hadsm_edge_now(struct hadsm_domain *d, u32 type, struct krg_dsm_event *done)
{
	struct hadsm_store *s;
	struct folio *folio;

	lockdep_assert_held(&d->lock);
	if (d->edge_busy || !list_empty(&d->tasks))
		return false;
	s = hadsm_store_find(d, done->object.container);
	folio = s ? filemap_get_folio(s->inode->i_mapping, done->object.index) : NULL;
	if (IS_ERR_OR_NULL(folio))
		return false;
	if (!folio_trylock(folio)) {
		folio_put(folio);
		return false;
	}
	/* Only under domain.lock does a page come into a store or leave it, and without a worker at work nobody else takes any. */
	if (type == KRG_DSM_ACT_DOWNGRADE)
		done->error = page_downgrade(folio);
	else
		done->error = page_take(s, folio, &done->handle);
	folio_unlock(folio);
	folio_put(folio);
	edge_left(d, type, &done->object, done->error);
	return true;
}

static void edge_take_away(struct hadsm_domain *d, const struct hadsm_task *task)
{
	struct krg_dsm_event ev = { .type = KRG_DSM_EV_EDGE_DONE, .object = task->object };

	if (task->type == KRG_DSM_ACT_DOWNGRADE)
		ev.error = edge_downgrade(d, &task->object);
	else
		ev.error = edge_invalidate(d, &task->object, &ev.handle);
	if (ev.error == -EIO)
		pr_warn_ratelimited("domain %016llx: %llx/%llu is not in the page cache\n", d->id,
				    task->object.container, task->object.index);
	mutex_lock(&d->lock);
	if (d->engine)
		hadsm_step(d, &ev);
	else if (ev.handle)
		put_page(hadsm_page(ev.handle));
	mutex_unlock(&d->lock);
	edge_left(d, task->type, &task->object, ev.error);
}

/* ---- batches ---- */

static bool edge_batch_object(struct hadsm_domain *d, u32 i, struct krg_dsm_object *object)
{
	bool more;

	mutex_lock(&d->lock);
	more = d->engine && !krg_dsm_batch_object(d->engine, i, object);
	mutex_unlock(&d->lock);
	return more;
}

static int edge_protect(struct hadsm_domain *d, const struct krg_dsm_object *object)
{
	struct hadsm_store *s;
	struct folio *folio = edge_folio(d, object, &s);

	if (!folio)
		return -EIO;
	folio_clear_checked(folio);
	folio_mkclean(folio);
	edge_folio_put(folio, s);
	return 0;
}

/* What a device still writes is copied as it is, and once more by the next batch. */
static int edge_copy(struct hadsm_domain *d, u32 i, const struct krg_dsm_object *object)
{
	struct hadsm_store *s;
	struct folio *folio = edge_folio(d, object, &s);
	struct page *copy;
	bool device;

	if (!folio)
		return -EIO;
	device = page_device(folio);
	if (!device)
		folio_clear_mappedtodisk(folio);
	copy = alloc_page(GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN);
	if (copy)
		copy_highpage(copy, &folio->page);
	edge_folio_put(folio, s);
	if (!copy)
		return -ENOMEM;
	mutex_lock(&d->lock);
	if (d->engine) {
		krg_dsm_batch_put(d->engine, i, hadsm_handle(copy));
		if (device)
			krg_dsm_batch_again(d->engine, i);
	} else {
		put_page(copy);
	}
	mutex_unlock(&d->lock);
	return 0;
}

/* All are protected before the first is copied: the batch is a point in this node's history. */
static void edge_snapshot(struct hadsm_domain *d)
{
	struct krg_dsm_event ev = { .type = KRG_DSM_EV_SNAPSHOT_DONE };
	struct krg_dsm_object object;
	u32 i;

	mutex_lock(&d->lock);
	hadsm_packet_flush(d);		/* this may take long */
	mutex_unlock(&d->lock);
	for (i = 0; !ev.error && edge_batch_object(d, i, &object); i++)
		ev.error = edge_protect(d, &object);
	for (i = 0; !ev.error && edge_batch_object(d, i, &object); i++)
		ev.error = edge_copy(d, i, &object);
	mutex_lock(&d->lock);
	hadsm_step(d, &ev);
	mutex_unlock(&d->lock);
}

/* ---- the worker ---- */

static void edge_grant(struct hadsm_domain *d, struct hadsm_waiter *w)
{
	struct krg_dsm_event ev = { .type = KRG_DSM_EV_INSTALLED };
	int err;

	lockdep_assert_held(&d->lock);
	err = hadsm_grant(d, w, GFP_NOIO | __GFP_NOFAIL);
	if (!err) {
		hadsm_waiter_answer(d, w, 0);
		return;
	}
	pr_warn_ratelimited("domain %016llx: granted page %lu is not there: %d\n", d->id, w->index,
			    err);
	if (w->handle)
		put_page(hadsm_page(w->handle));
	w->handle = 0;
	ev.object = hadsm_object(w->store, w->index);
	hadsm_waiter_answer(d, w, -EIO);
	hadsm_step(d, &ev);
}

/* The next task that needs more than domain.lock; grants on the way are done under it. */
static struct hadsm_task *edge_next(struct hadsm_domain *d)
{
	struct hadsm_task *task;

	mutex_lock(&d->lock);
	d->edge_busy = false;
	while ((task = list_first_entry_or_null(&d->tasks, struct hadsm_task, list))) {
		list_del_init(&task->list);
		if (task->type != KRG_DSM_ACT_GRANT)
			break;
		/* Its waiter lives until it is answered, which ending the domain does too. */
		edge_grant(d, container_of(task, struct hadsm_waiter, task));
	}
	d->edge_busy = task;
	mutex_unlock(&d->lock);
	return task;
}

void hadsm_edge_work(struct work_struct *work)
{
	struct hadsm_domain *d = container_of(work, struct hadsm_domain, edge_work);
	struct hadsm_task *task;

	mutex_lock(&d->lock);
	hadsm_cork(d, false);
	mutex_unlock(&d->lock);
	while ((task = edge_next(d))) {
		if (task->type == KRG_DSM_ACT_SNAPSHOT) {
			edge_snapshot(d);
		} else {
			edge_take_away(d, task);
			kfree(task);
		}
		cond_resched();
	}
	mutex_lock(&d->lock);
	hadsm_uncork(d, false);
	mutex_unlock(&d->lock);
}

void hadsm_edge_drop(struct hadsm_domain *d)
{
	struct hadsm_task *task, *next;
	struct hadsm_waiter *w;

	lockdep_assert_held(&d->lock);
	list_for_each_entry_safe(task, next, &d->tasks, list) {
		list_del_init(&task->list);
		if (task->type == KRG_DSM_ACT_GRANT) {
			w = container_of(task, struct hadsm_waiter, task);
			if (w->handle)
				put_page(hadsm_page(w->handle));
			w->handle = 0;
		} else if (task->type != KRG_DSM_ACT_SNAPSHOT) {
			kfree(task);
		}
	}
}
