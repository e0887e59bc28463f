// SPDX-License-Identifier: GPL-2.0
/*
 * What a fault, a read or a write waits for: a page of the store, with the access
 * that is needed. What is here already costs no message and no lock but the page's
 * own. What is not is asked from the engine, and whoever asked sleeps, killable,
 * without mmap_lock where the kernel lets us.
 *
 * A fault that has released mmap_lock can only ask to be repeated. So that its
 * page is not taken away in between, the grant is kept as a pin: INSTALLED is said
 * when the fault comes back and holds the page's lock, or a moment later if it
 * does not. Errors and wishes are kept for the same task in the same way.
 */
#include <linux/file.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <kerrighed/compat.h>

#include "fs.h"

#define HADSM_PIN_TIME		(HZ / 50 ?: 1)	/* the fault is on its way back: it takes microseconds */
#define HADSM_NOTE_TIME		HZ
#define HADSM_MKWRITE_TIME	(HZ / 10 ?: 1)	/* a first write waits so long with mmap_lock, rather than faulting twice more */

/* ---- what is here ---- */

struct folio *hadsm_page_lock(struct hadsm_store *s, pgoff_t index, u16 mode)
{
	struct address_space *mapping = s->inode->i_mapping;
	struct folio *folio = filemap_lock_folio(mapping, index);

	if (IS_ERR_OR_NULL(folio))
		return NULL;
	/* Under the page lock: whoever ends our access first says so, then takes this lock. */
	if (!READ_ONCE(s->domain->suspended) && !READ_ONCE(s->domain->dead) &&
	    (mode == KRG_DSM_READ || folio_test_checked(folio))) {
		if (!folio_test_referenced(folio))
			folio_set_referenced(folio);	/* for evict.c */
		return folio;
	}
	folio_unlock(folio);
	folio_put(folio);
	return NULL;
}

/* ---- waiting ---- */

struct hadsm_waiter *hadsm_waiter_new(struct hadsm_store *s, pgoff_t index, u16 mode)
{
	struct hadsm_waiter *w = kzalloc(sizeof(*w), GFP_KERNEL);

	if (!w)
		return NULL;
	kref_init(&w->ref);
	INIT_LIST_HEAD(&w->list);
	INIT_LIST_HEAD(&w->task.list);
	init_completion(&w->done);
	w->who = current;
	if (s) {
		w->spare = alloc_page(GFP_KERNEL);
		if (!w->spare) {
			kfree(w);
			return NULL;
		}
		kref_get(&s->ref);
		w->store = s;
		w->index = index;
		w->mode = mode;
	}
	return w;
}

/*
 * Hands @w to the engine with @ev, has @a come as well, if that is not NULL, and waits for the answer to the first, at most
 * @timeout jiffies: then -ETIMEDOUT.
 */
static int waiter_wait(struct hadsm_domain *d, struct hadsm_waiter *w, struct krg_dsm_event *ev,
		       const struct hadsm_ahead *a, long timeout)
{
	long left;
	int err = 0;

	ev->token = (unsigned long)w;
	mutex_lock(&d->lock);
	if (!d->engine || d->draining)
		err = -EIO;
	if (!err) {
		kref_get(&w->ref);
		list_add_tail(&w->list, &d->waiters);
		hadsm_step(d, ev);
		if (a && a->first <= a->last)
			hadsm_ahead_ask(w->store, a);
	}
	mutex_unlock(&d->lock);
	if (err)
		return err;
	left = wait_for_completion_killable_timeout(&w->done, timeout);
	if (left > 0)
		return w->error;
	mutex_lock(&d->lock);
	w->abandoned = true;
	hadsm_installed(d, w);	/* if the answer came this moment */
	mutex_unlock(&d->lock);
	return left ? -EINTR : -ETIMEDOUT;
}

static bool page_cached(struct hadsm_store *s, pgoff_t index)
{
	struct folio *folio = filemap_get_folio(s->inode->i_mapping, index);

	if (IS_ERR_OR_NULL(folio))
		return false;
	folio_put(folio);
	return true;
}

static int page_ask(struct hadsm_store *s, pgoff_t index, u16 mode, u32 flags, const struct hadsm_ahead *a,
		    long timeout, struct hadsm_waiter **out)
{
	struct krg_dsm_event ev = { .type = KRG_DSM_EV_REQUEST, .mode = mode };
	struct hadsm_domain *d = s->domain;
	struct hadsm_waiter *w;
	u64 begin = ktime_get_ns();
	int err;

	if (timeout != MAX_SCHEDULE_TIMEOUT && READ_ONCE(d->suspended))
		return -ETIMEDOUT;
	if (wait_event_killable(d->wait, !READ_ONCE(d->suspended) || READ_ONCE(d->dead)))
		return -EINTR;
	w = hadsm_waiter_new(s, index, mode);
	if (!w)
		return -ENOMEM;
	ev.object = hadsm_object(s, index);
	ev.flags = flags;
	if (s->container < HADSM_CONTAINER_FILES)
		ev.flags |= KRG_DSM_F_URGENT;
	err = waiter_wait(d, w, &ev, a, timeout);
	if (err) {
		kref_put(&w->ref, hadsm_waiter_release);
	} else {
		hadsm_count_wait(d, mode, ktime_get_ns() - begin);
		*out = w;
	}
	return err;
}

/*
 * Asks for the page, when there is room for it, and for @a. On success INSTALLED is owed for *@out, which is the caller's; NULL
 * otherwise. Without records nothing can be removed, and what is read is easily dropped again: for these there is more.
 */
static int page_request(struct hadsm_store *s, pgoff_t index, u16 mode, const struct hadsm_ahead *a,
			struct hadsm_waiter **out)
{
	bool reserve = mode == KRG_DSM_READ || s->container < HADSM_CONTAINER_FILES;
	unsigned long deadline = hadsm_room_deadline();
	int err;

	*out = NULL;
	do {
		err = page_cached(s, index) ? 0 : hadsm_room_wait(reserve, deadline);
		if (err)
			return err;
		err = page_ask(s, index, mode, 0, a, MAX_SCHEDULE_TIMEOUT, out);
	} while (err == -ENOSPC && !(err = hadsm_room_retry(deadline)));
	return err;
}

/* The grant of @w was used, or will not be. */
static void page_installed(struct hadsm_waiter *w)
{
	struct hadsm_domain *d = w->store->domain;

	mutex_lock(&d->lock);
	hadsm_installed(d, w);
	mutex_unlock(&d->lock);
	kref_put(&w->ref, hadsm_waiter_release);
}

static struct folio *page_get(struct hadsm_store *s, pgoff_t index, u16 mode, const struct hadsm_ahead *a)
{
	struct hadsm_waiter *w;
	struct folio *folio;
	int err;

	folio = hadsm_page_lock(s, index, mode);
	if (folio) {
		hadsm_count_hit(s->domain, mode);
		return folio;
	}
	for (;;) {
		err = page_request(s, index, mode, a, &w);
		if (err)
			return ERR_PTR(err);
		folio = hadsm_page_lock(s, index, mode);
		page_installed(w);
		if (folio)
			return folio;
		/* A batch or a suspension came first: ask again. */
		if (fatal_signal_pending(current))
			return ERR_PTR(-EINTR);
		cond_resched();
	}
}

struct folio *hadsm_page_get(struct hadsm_store *s, pgoff_t index, u16 mode)
{
	return page_get(s, index, mode, NULL);
}

struct folio *hadsm_page_read(struct file *file, struct hadsm_store *s, pgoff_t index, pgoff_t more)
{
	struct folio *folio = hadsm_page_lock(s, index, KRG_DSM_READ);
	struct hadsm_ahead a;

	if (folio) {
		hadsm_count_hit(s->domain, KRG_DSM_READ);
		hadsm_ahead_hit(file, s, folio);
		return folio;
	}
	a = hadsm_ahead_miss(file, index, more, false, file->f_mode & FMODE_RANDOM);
	return page_get(s, index, KRG_DSM_READ, &a);
}

/* So many pages of a write are asked for together. */
#define HADSM_WANT_MAX		16

static bool page_here(struct hadsm_store *s, pgoff_t index)
{
	struct folio *folio = filemap_get_folio(s->inode->i_mapping, index);
	bool here;

	if (IS_ERR_OR_NULL(folio))
		return false;
	here = folio_test_checked(folio);
	folio_put(folio);
	return here;
}

/*
 * A first write of a page costs one or two round trips, and write() knows which pages it
 * is about to write. Nobody waits for these grants: they are used the moment they come,
 * and who wants a page that was taken away again in between asks once more.
 */
void hadsm_page_want(struct hadsm_store *s, pgoff_t first, pgoff_t last, pgoff_t upto)
{
	struct krg_dsm_event ev = { .type = KRG_DSM_EV_REQUEST, .mode = KRG_DSM_WRITE };
	struct hadsm_ahead a = { .first = first, .last = upto, .write = true };
	struct hadsm_waiter *w[HADSM_WANT_MAX];
	struct hadsm_domain *d = s->domain;
	unsigned int count = 0, i;

	if (!hadsm_room_plenty())
		return;
	for (; first <= last && count < HADSM_WANT_MAX; first++) {
		if (page_here(s, first))
			continue;
		w[count] = hadsm_waiter_new(s, first, KRG_DSM_WRITE);
		if (!w[count])
			break;
		w[count++]->abandoned = true;
	}
	if (!count)
		return;
	mutex_lock(&d->lock);
	hadsm_cork(d, true);
	hadsm_ahead_ask(s, &a);		/* one message for all of them, then the requests need none */
	for (i = 0; i < count; i++) {
		if (!d->engine || d->draining || d->suspended) {
			kref_put(&w[i]->ref, hadsm_waiter_release);
			continue;
		}
		list_add_tail(&w[i]->list, &d->waiters);	/* the engine has the only reference */
		ev.object = hadsm_object(s, w[i]->index);
		ev.token = (unsigned long)w[i];
		hadsm_step(d, &ev);
	}
	hadsm_uncork(d, true);
	mutex_unlock(&d->lock);
}

/* What has an end but no page. */
static int domain_wait(struct hadsm_domain *d, struct krg_dsm_event *ev)
{
	struct hadsm_waiter *w = hadsm_waiter_new(NULL, 0, 0);
	int err;

	if (!w)
		return -ENOMEM;
	err = waiter_wait(d, w, ev, NULL, MAX_SCHEDULE_TIMEOUT);
	kref_put(&w->ref, hadsm_waiter_release);
	return err;
}

int hadsm_sync(struct hadsm_domain *d)
{
	struct krg_dsm_event ev = { .type = KRG_DSM_EV_SYNC };

	return domain_wait(d, &ev);
}

int hadsm_punch(struct hadsm_store *s, pgoff_t first, pgoff_t last)
{
	struct krg_dsm_event ev = {
		.type = KRG_DSM_EV_PUNCH, .object = hadsm_object(s, first), .last = last,
	};
	struct hadsm_domain *d = s->domain;
	int err;

	/* The engine knows one at a time. One whose caller was killed goes on without it. */
	if (mutex_lock_killable(&d->punch_lock))
		return -EINTR;
	while ((err = domain_wait(d, &ev)) == -EBUSY) {
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			break;
		}
		schedule_timeout_uninterruptible(HZ / 100 ?: 1);
	}
	mutex_unlock(&d->punch_lock);
	return err;
}

/* ---- pins ---- */

static void pin_keep(struct hadsm_domain *d, struct hadsm_waiter *w, unsigned long time)
{
	w->expires = jiffies + time;
	mutex_lock(&d->lock);
	if (!d->engine) {
		kref_put(&w->ref, hadsm_waiter_release);
	} else {
		list_add_tail(&w->list, &d->pins);
		WRITE_ONCE(d->nr_pins, d->nr_pins + 1);
		mod_delayed_work(hadsm_wq, &d->pin_work, HADSM_PIN_TIME);
	}
	mutex_unlock(&d->lock);
}

/* Something this task shall find when its fault comes back: an error, or (0) the wish to write. */
static bool pin_note(struct hadsm_store *s, pgoff_t index, int error)
{
	struct hadsm_waiter *w = hadsm_waiter_new(NULL, 0, 0);

	if (!w)
		return false;
	kref_get(&s->ref);
	w->store = s;
	w->index = index;
	w->error = error;
	w->wish = !error;
	pin_keep(s->domain, w, HADSM_NOTE_TIME);
	return true;
}

/* Is @w what @what asks for: a mode, the grants that this access uses; 0: this task's notes? */
static bool pin_matches(const struct hadsm_waiter *w, u16 what)
{
	if (w->error || w->wish)
		return !what && w->who == current;
	return what >= w->mode;
}

/*
 * Takes pins of a page. With a mode the page is locked, has that access and is
 * about to be mapped: the grants were used. With 0: an error that is kept for this
 * task, 1 if it wished to write, or 0.
 */
static int pin_take(struct hadsm_store *s, pgoff_t index, u16 what)
{
	struct hadsm_domain *d = s->domain;
	struct hadsm_waiter *w, *next;
	LIST_HEAD(taken);
	int found = 0;

	if (!READ_ONCE(d->nr_pins))
		return 0;
	mutex_lock(&d->lock);
	list_for_each_entry_safe(w, next, &d->pins, list) {
		if (w->store != s || w->index != index || !pin_matches(w, what))
			continue;
		list_move(&w->list, &taken);
		WRITE_ONCE(d->nr_pins, d->nr_pins - 1);
		found = w->error ?: found ?: w->wish;
	}
	list_for_each_entry_safe(w, next, &taken, list) {
		list_del_init(&w->list);
		hadsm_installed(d, w);
		kref_put(&w->ref, hadsm_waiter_release);
	}
	mutex_unlock(&d->lock);
	return found;
}

static int page_fetch(struct hadsm_store *s, pgoff_t index, u16 mode, const struct hadsm_ahead *a)
{
	struct hadsm_waiter *w;
	int err = page_request(s, index, mode, a, &w);

	if (!err)
		pin_keep(s->domain, w, HADSM_PIN_TIME);
	return err;
}

int hadsm_page_fetch(struct hadsm_store *s, pgoff_t index, u16 mode)
{
	return page_fetch(s, index, mode, NULL);
}

int hadsm_page_hold(struct hadsm_store *s, pgoff_t index, u16 mode, struct hadsm_waiter **out)
{
	return page_request(s, index, mode, NULL, out);
}

int hadsm_page_hold_again(struct hadsm_waiter **held)
{
	struct hadsm_waiter *w;
	int err = page_ask((*held)->store, (*held)->index, (*held)->mode, KRG_DSM_F_AGAIN, NULL,
			   MAX_SCHEDULE_TIMEOUT, &w);

	if (err)
		return err;
	page_installed(*held);
	*held = w;
	return 0;
}

void hadsm_page_unhold(struct hadsm_waiter *w)
{
	page_installed(w);
}

void hadsm_page_used(struct hadsm_store *s, pgoff_t index, u16 mode)
{
	pin_take(s, index, mode);
}

/* ---- faults ---- */

static vm_fault_t fault_error(int err)
{
	return err == -ENOMEM ? VM_FAULT_OOM : err == -EINTR ? VM_FAULT_RETRY : VM_FAULT_SIGBUS;
}

/* A page that changes hands all the time is looked at so often before its fault takes what it has. */
#define FAULT_TRIES		8

static bool within(loff_t size, pgoff_t index)
{
	return index < DIV_ROUND_UP_ULL(size, PAGE_SIZE);
}

/* Under the lock of the page: is it a page of the file, now? False also when that is not known here. */
static bool fault_within(struct inode *inode, pgoff_t index)
{
	loff_t size;

	return hadsm_size_peek(inode, &size) && within(size, index);
}

/* -EFAULT: behind the end of the file. */
static int fault_check_size(struct inode *inode, pgoff_t index)
{
	int err;

	/* Usually the record is here, and says so without a transaction. */
	if (fault_within(inode, index))
		return 0;
	err = hadsm_refresh(inode);
	if (!err && !within(i_size_read(inode), index))
		err = -EFAULT;
	return err;
}

/* With the locks of the fault: where the kernel cannot repeat it. */
static vm_fault_t fault_wait(struct vm_fault *vmf, struct hadsm_store *s, u16 mode)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	struct folio *folio;
	int tries, err;

	for (tries = 0;; tries++) {
		err = fault_check_size(inode, vmf->pgoff);
		folio = err ? ERR_PTR(err) : hadsm_page_get(s, vmf->pgoff, mode);
		if (IS_ERR(folio))	/* killed: the signal comes before the access is tried again */
			return folio == ERR_PTR(-EINTR) ? VM_FAULT_NOPAGE : fault_error(PTR_ERR(folio));
		if (tries == FAULT_TRIES || fault_within(inode, vmf->pgoff))
			break;
		folio_unlock(folio);
		folio_put(folio);
	}
	vmf->page = &folio->page;
	return VM_FAULT_LOCKED;
}

/* Without them: the VMA may be gone afterwards, the file is held. */
static vm_fault_t fault_repeat(struct vm_fault *vmf, struct hadsm_store *s, u16 mode)
{
	struct file *file = get_file(vmf->vma->vm_file);
	unsigned long flags = vmf->vma->vm_flags;
	struct hadsm_ahead a = { .first = 1, .last = 0 };
	pgoff_t index = vmf->pgoff;
	int err;

	krg_fault_release(vmf);
	err = fault_check_size(file_inode(file), index);
	if (!err && mode == KRG_DSM_READ)
		a = hadsm_ahead_miss(file, index, 0, flags & VM_SEQ_READ, flags & VM_RAND_READ);
	else if (!err)
		a = hadsm_ahead_write(file, index, flags & VM_SEQ_READ, flags & VM_RAND_READ);
	if (!err)
		err = page_fetch(s, index, mode, &a);
	if (err && err != -EINTR)
		pin_note(s, index, err);	/* without memory for it: the fault asks again */
	fput(file);
	return VM_FAULT_RETRY;
}

static vm_fault_t hadsm_fault(struct vm_fault *vmf)
{
	struct hadsm_store *s = hadsm_file_store(vmf->vma->vm_file);
	bool write = (vmf->flags & FAULT_FLAG_WRITE) && (vmf->vma->vm_flags & VM_SHARED);
	u16 mode = write ? KRG_DSM_WRITE : KRG_DSM_READ;
	struct folio *folio;
	int note;

	if (READ_ONCE(s->domain->dead))
		return VM_FAULT_SIGBUS;
	note = pin_take(s, vmf->pgoff, 0);
	if (note < 0)
		return fault_error(note);
	if (note && (vmf->vma->vm_flags & VM_SHARED))
		mode = KRG_DSM_WRITE;
	folio = hadsm_page_lock(s, vmf->pgoff, mode);
	if (folio && !fault_within(file_inode(vmf->vma->vm_file), vmf->pgoff)) {
		folio_unlock(folio);
		folio_put(folio);
		folio = NULL;
	}
	if (folio) {
		hadsm_ahead_hit(vmf->vma->vm_file, s, folio);
		if (!(vmf->flags & FAULT_FLAG_TRIED))	/* otherwise it was a miss a moment ago */
			hadsm_count_hit(s->domain, mode);
		if (mode == KRG_DSM_READ)
			pin_take(s, vmf->pgoff, mode);	/* of a write: when page_mkwrite follows */
		vmf->page = &folio->page;
		return VM_FAULT_LOCKED;
	}
	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY))
		return fault_wait(vmf, s, mode);
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	return fault_repeat(vmf, s, mode);
}

/* @folio, locked, may be written through a mapping. */
static bool mkwrite_allowed(struct hadsm_store *s, struct folio *folio)
{
	return folio->mapping == s->inode->i_mapping && folio_test_checked(folio) &&
	       !READ_ONCE(s->domain->suspended) && !READ_ONCE(s->domain->dead);
}

/* Asks for write access to @folio, which is mapped, and waits a moment. True: it may be written, and is locked. */
static bool mkwrite_ask(struct hadsm_store *s, struct folio *folio, pgoff_t index)
{
	struct hadsm_waiter *w;
	bool allowed;

	if (page_ask(s, index, KRG_DSM_WRITE, 0, NULL, HADSM_MKWRITE_TIME, &w))
		return false;
	folio_lock(folio);
	allowed = mkwrite_allowed(s, folio);
	page_installed(w);
	if (!allowed)
		folio_unlock(folio);
	return allowed;
}

/*
 * The first write to a page that may be read, or that was write-protected. Flags
 * that say whether we may wait without mmap_lock are not given here, so we wait a
 * moment with it: usually the answer is here sooner than two more faults would be. After
 * that, or after an error, the page is unmapped, so that the fault comes back through ->fault. It
 * may come as a read first (instructions that read and write do on some machines),
 * so ->fault is left a note that a write is what is wanted.
 */
static vm_fault_t hadsm_page_mkwrite(struct vm_fault *vmf)
{
	struct hadsm_store *s = hadsm_file_store(vmf->vma->vm_file);
	struct folio *folio = page_folio(vmf->page);

	folio_lock(folio);
	if (mkwrite_allowed(s, folio)) {
		pin_take(s, vmf->pgoff, KRG_DSM_WRITE);
	} else {
		folio_unlock(folio);
		if (!mkwrite_ask(s, folio, vmf->pgoff)) {
			if (!pin_note(s, vmf->pgoff, 0))
				return VM_FAULT_OOM;
			unmap_mapping_pages(s->inode->i_mapping, vmf->pgoff, 1, false);
			return VM_FAULT_NOPAGE;
		}
	}
	folio_set_mappedtodisk(folio);	/* for edge.c */
	hadsm_touch(file_inode(vmf->vma->vm_file));
	return VM_FAULT_LOCKED;
}

/*
 * Pages around a read fault that are here; not while a fault is expected back, which
 * must come to ->fault. Suspension waits for an RCU period before it unmaps.
 */
static vm_fault_t hadsm_map_pages(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	struct hadsm_store *s = hadsm_file_store(vmf->vma->vm_file);
	vm_fault_t ret = 0;

	rcu_read_lock();
	if (!READ_ONCE(s->domain->suspended) && !READ_ONCE(s->domain->dead) &&
	    !READ_ONCE(s->domain->nr_pins))
		ret = filemap_map_pages(vmf, start, end);
	rcu_read_unlock();
	return ret;
}

const struct vm_operations_struct hadsm_vm_ops = {
	.fault = hadsm_fault,
	.page_mkwrite = hadsm_page_mkwrite,
	.map_pages = hadsm_map_pages,
};
