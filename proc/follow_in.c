// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that follows, the target's side: from the moment an address space is built
 * until all of it is here, or was lost and its processes are killed. Asking for pages is in
 * follow_fetch.c, the mappings themselves in follow_fault.c.
 */
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <kerrighed/membership.h>
#include <kerrighed/memory_watch.h>
#include <kerrighed/rpc.h>

#include "proc/core/ghost.h"
#include "ahead.h"
#include "follow_in.h"
#include "member.h"
#include "restore.h"

#define RELEASE_MS	1000		/* for one answer */
#define AGAIN_MS	50		/* between two tries */
#define FOLLOW_RESERVE	(32UL << 20)	/* bytes of memory that are left free */

/* Protects the list, and what follow_in.h says. Inside of the mmap lock; nothing is locked inside of it but siglock. */
static DEFINE_MUTEX(follows_lock);
static LIST_HEAD(follows);
static unsigned int follows_count;

static struct workqueue_struct *follows_wq;
static int watch_error;	/* why madvise() and mremap() cannot be watched */

/* ---- life ---- */

static struct follow_mm *follow_new(struct follow_source *source, struct mm_struct *mm)
{
	struct follow_mm *f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);

	if (!f)
		return NULL;
	f->here = kvcalloc(BITS_TO_LONGS(source->pages), sizeof(long), GFP_KERNEL_ACCOUNT);
	if (!f->here) {
		kfree(f);
		return NULL;
	}
	refcount_set(&f->refs, 1);
	refcount_inc(&source->refs);
	atomic_inc(&source->users);
	f->source = source;
	mmgrab(mm);
	f->mm = mm;
	xa_init(&f->store);
	init_waitqueue_head(&f->wait);
	__module_get(THIS_MODULE);
	return f;
}

void krg_follow_get(struct follow_mm *f)
{
	refcount_inc(&f->refs);
}

/* The last one may be a mapping's, under locks: what takes long is done in a worker. */
void krg_follow_put(struct follow_mm *f)
{
	if (refcount_dec_and_test(&f->refs))
		queue_work(follows_wq, &f->end);
}

static void source_put(struct follow_source *source)
{
	if (refcount_dec_and_test(&source->refs))
		kvfree(source);
}

static void source_release(struct follow_source *source)
{
	struct krg_follow_ask ask = {
		.move = cpu_to_le64(source->origin.move), .space = cpu_to_le64(source->space),
		.what = cpu_to_le32(KRG_FOLLOW_RELEASE),
	};
	struct kvec vec = { .iov_base = &ask, .iov_len = sizeof(ask) };

	while (!READ_ONCE(source->lost) && !READ_ONCE(source->gone) &&
	       krg_rpc_call(source->origin.node, KRG_MSG_FOLLOW, &vec, 1, NULL, 0, RELEASE_MS) < 0)
		msleep(AGAIN_MS);
}

static void end_work(struct work_struct *work)
{
	struct follow_mm *f = container_of(work, struct follow_mm, end);

	krg_follow_drop_stored(f, 0, ULONG_MAX);
	xa_destroy(&f->store);
	/* Still in the list: a view that the source is not in ends this wait. */
	if (atomic_dec_and_test(&f->source->users))
		source_release(f->source);
	mutex_lock(&follows_lock);
	list_del(&f->node);
	follows_count--;
	mutex_unlock(&follows_lock);
	krg_member_changed();
	source_put(f->source);
	mmdrop(f->mm);
	kvfree(f->here);
	kfree(f);
	/* The last thing: who unloads the module waits for this queue. */
	module_put(THIS_MODULE);
}

static void pull_work(struct work_struct *work);

static void follow_add(struct follow_mm *f)
{
	lockdep_assert_held(&follows_lock);
	INIT_WORK(&f->pull, pull_work);
	INIT_WORK(&f->end, end_work);
	list_add_tail(&f->node, &follows);
	follows_count++;
}

static void follow_start(struct follow_mm *f)
{
	lockdep_assert_held(&follows_lock);
	if (f->pulling)
		return;
	f->pulling = true;
	krg_follow_get(f);
	queue_work(follows_wq, &f->pull);
}

/* With a reference. */
static struct follow_mm *follow_find(const struct mm_struct *mm)
{
	struct follow_mm *f;

	lockdep_assert_held(&follows_lock);
	list_for_each_entry(f, &follows, node)
		if (f->mm == mm && refcount_inc_not_zero(&f->refs))
			return f;
	return NULL;
}

/* What has come for the parent has come for the child. False: no memory. */
static bool share_stored(struct follow_mm *child, struct follow_mm *f)
{
	unsigned long number;
	struct page *page;

	xa_for_each(&f->store, number, page) {
		if (xa_err(xa_store(&child->store, number, page, GFP_KERNEL_ACCOUNT)))
			return false;
		get_page(page);
	}
	return true;
}

/* Nothing of @child was used yet. */
static void follow_free(struct follow_mm *child)
{
	krg_follow_drop_stored(child, 0, ULONG_MAX);
	xa_destroy(&child->store);
	atomic_dec(&child->source->users);
	refcount_dec(&child->source->refs);
	mmdrop(child->mm);
	kvfree(child->here);
	kfree(child);
	module_put(THIS_MODULE);
}

/* The parent's address space is locked for writing: nothing is put into its page tables. */
struct follow_mm *krg_follow_child(struct follow_mm *f, struct mm_struct *mm)
{
	struct follow_mm *child;

	mutex_lock(&follows_lock);
	child = follow_find(mm);
	if (!child) {
		child = follow_new(f->source, mm);
		/* Of a source that may be gone there is no second chance. */
		if (child && f->source->ahead && !share_stored(child, f)) {
			follow_free(child);
			child = NULL;
		}
		if (child) {
			bitmap_copy(child->here, f->here, f->source->pages);
			follow_add(child);
			follow_start(child);
		}
	}
	mutex_unlock(&follows_lock);
	return child;
}

/* ---- loss ---- */

static void kill_users(const struct follow_mm *f)
{
	struct task_struct *process, *thread;

	rcu_read_lock();
	for_each_process(process) {
		for_each_thread(process, thread) {
			if (READ_ONCE(thread->mm) != f->mm)
				continue;
			pr_notice("process %d is killed: memory that followed it was lost with node %u\n",
				  task_tgid_nr(process), f->source->origin.node);
			send_sig(SIGKILL, thread, 1);
			break;
		}
	}
	rcu_read_unlock();
}

static void source_lose(struct follow_source *source)
{
	struct follow_mm *f;

	lockdep_assert_held(&follows_lock);
	if (source->lost)
		return;
	WRITE_ONCE(source->lost, true);
	list_for_each_entry(f, &follows, node) {
		if (f->source != source)
			continue;
		/* Who has all of it needs the source no more. */
		if (!READ_ONCE(f->done))
			kill_users(f);
		wake_up_all(&f->wait);
	}
	wake_up_all(&source->wait);
}

void krg_follow_lose(struct follow_source *source)
{
	mutex_lock(&follows_lock);
	source_lose(source);
	mutex_unlock(&follows_lock);
}

static bool is_member(const struct krg_view *view, const struct krg_follow_origin *origin)
{
	const struct krg_mbr_member *member = view ? krg_view_find(view, origin->node) : NULL;

	return member && member->incarnation == origin->incarnation;
}

void krg_follow_in_view(const struct krg_view *view)
{
	struct follow_mm *f;

	mutex_lock(&follows_lock);
	list_for_each_entry(f, &follows, node) {
		if (is_member(view, &f->source->origin))
			continue;
		if (f->source->ahead)
			WRITE_ONCE(f->source->gone, true);
		else
			source_lose(f->source);
	}
	mutex_unlock(&follows_lock);
}

unsigned int krg_follow_ins(void)
{
	return READ_ONCE(follows_count);
}

/* ---- pulling ---- */

/* From *@at on: the next page that is not here. 0: there is none. Under the mmap lock. */
static u32 find_wanted(struct follow_mm *f, unsigned long *at, u64 *number)
{
	struct vm_area_struct *vma;

	for (vma = find_vma(f->mm, *at); vma; vma = find_vma(f->mm, vma->vm_end)) {
		unsigned long from = max(*at, vma->vm_start);
		u64 first = krg_follow_number(vma, from), end = first + ((vma->vm_end - from) >> PAGE_SHIFT);

		if (!krg_follow_vma(f, vma->vm_start))
			continue;
		*number = krg_follow_next(f, first, end);
		if (*number == end)
			continue;
		*at = from + ((*number - first) << PAGE_SHIFT);
		return krg_follow_want(f, *number, end, KRG_FOLLOW_PAGES);
	}
	return 0;
}

/* 1: there may be more, 0: nothing is elsewhere, or -errno. */
static int pull_some(struct follow_mm *f, unsigned long *at)
{
	bool all = !*at;
	struct vm_area_struct *vma;
	u64 number;
	u32 want;
	int err;

	mmap_read_lock(f->mm);
	want = find_wanted(f, at, &number);
	mmap_read_unlock(f->mm);
	if (!want) {
		*at = 0;
		return !all;
	}
	err = krg_follow_fetch(f, KRG_MSG_FOLLOW_BULK, number, want);
	if (err)
		return err;
	mmap_read_lock(f->mm);
	vma = krg_follow_vma(f, *at);
	if (vma && krg_follow_number(vma, *at) == number)
		err = krg_follow_install(f, vma, *at, KRG_FOLLOW_PAGES);
	mmap_read_unlock(f->mm);
	if (!err)
		*at += KRG_FOLLOW_PAGES * PAGE_SIZE;
	return err ?: 1;
}

static void pull_end(struct follow_mm *f)
{
	mutex_lock(&follows_lock);
	WRITE_ONCE(f->done, true);
	mutex_unlock(&follows_lock);
	wake_up_all(&f->wait);
}

static void pull_work(struct work_struct *work)
{
	struct follow_mm *f = container_of(work, struct follow_mm, pull);
	unsigned long at = 0;
	int err = 1;

	while (err && mmget_not_zero(f->mm)) {
		err = pull_some(f, &at);
		if (!err) {
			mmap_write_lock(f->mm);
			krg_follow_unmark(f);
			mmap_write_unlock(f->mm);
		}
		mmput(f->mm);
		if (READ_ONCE(f->source->lost))
			break;
		/* No memory, or a limit of the process's: it may get some. */
		if (err < 0)
			msleep(AGAIN_MS);
		cond_resched();
	}
	pull_end(f);
	krg_follow_put(f);
}

void krg_follow_in_go(const struct krg_follow_origin *origin)
{
	struct follow_mm *f;

	if (!origin->node)
		return;
	mutex_lock(&follows_lock);
	list_for_each_entry(f, &follows, node)
		if (f->source->origin.node == origin->node && f->source->origin.incarnation == origin->incarnation &&
		    f->source->origin.move == origin->move && refcount_inc_not_zero(&f->refs)) {
			follow_start(f);
			krg_follow_put(f);
		}
	mutex_unlock(&follows_lock);
}

int krg_follow_in_settle(struct mm_struct *mm)
{
	struct follow_mm *f;
	int err;

	if (!READ_ONCE(follows_count))
		return 0;
	mutex_lock(&follows_lock);
	f = follow_find(mm);
	if (f)
		follow_start(f);
	mutex_unlock(&follows_lock);
	if (!f)
		return 0;
	err = wait_event_killable(f->wait, READ_ONCE(f->done)) ? -EINTR : 0;
	if (!err && READ_ONCE(f->source->lost))
		err = -EIO;
	krg_follow_put(f);
	return err;
}

/* ---- what the program gives up ---- */

/* What the kernel will empty: it stops at a mapping that must not be. */
static int give_up(struct follow_mm *f, unsigned long start, size_t length, bool locked)
{
	static const vm_flags_t never = VM_PFNMAP | VM_HUGETLB;
	unsigned long end = start + PAGE_ALIGN(length);
	struct vm_area_struct *vma;

	if (!PAGE_ALIGNED(start) || end <= start)
		return 0;
	if (mmap_write_lock_killable(f->mm))
		return -EINTR;
	for (vma = find_vma(f->mm, start); vma && vma->vm_start < end; vma = find_vma(f->mm, vma->vm_end)) {
		unsigned long from = max(start, vma->vm_start), to = min(end, vma->vm_end);
		u64 number = krg_follow_number(vma, from), count = (to - from) >> PAGE_SHIFT;

		if (vma->vm_flags & never || (vma->vm_flags & VM_LOCKED && !locked))
			break;
		if (!krg_follow_vma(f, vma->vm_start))
			continue;
		krg_follow_set_here(f, number, count);
		krg_follow_drop_stored(f, number, count);
	}
	mmap_write_unlock(f->mm);
	return 0;
}

static int advised(struct mm_struct *mm, unsigned long start, size_t length, int advice)
{
	struct follow_mm *f;
	int err = 0;

	if (!READ_ONCE(follows_count))
		return 0;
	switch (advice) {
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
		mutex_lock(&follows_lock);
		f = follow_find(mm);
		mutex_unlock(&follows_lock);
		if (f) {
			err = give_up(f, start, length, advice == MADV_DONTNEED_LOCKED);
			krg_follow_put(f);
		}
		return err;
	case MADV_FREE:
	case MADV_COLLAPSE:
	case MADV_MERGEABLE:
		/* Of ordinary memory only. If it is lost the caller is about to be killed. */
		return krg_follow_in_settle(mm) == -EINTR ? -EINTR : 0;
	}
	return 0;
}

/* What grows would reach pages that are another mapping's; what is moved and left where it is would be there twice. */
static int remapped(unsigned long start, unsigned long old_length, unsigned long new_length, unsigned long flags)
{
	struct follow_mm *f;
	bool follows;

	if (!READ_ONCE(follows_count) || (new_length <= old_length && !(flags & MREMAP_DONTUNMAP)))
		return 0;
	mutex_lock(&follows_lock);
	f = follow_find(current->mm);
	mutex_unlock(&follows_lock);
	if (!f)
		return 0;
	mmap_read_lock(f->mm);
	follows = krg_follow_vma(f, start);
	mmap_read_unlock(f->mm);
	krg_follow_put(f);
	return follows && krg_follow_in_settle(current->mm) == -EINTR ? -EINTR : 0;
}

static const struct krg_memory_watch watch = { .advise = advised, .remap = remapped };

/* ---- building ---- */

static struct follow_source *source_new(struct krg_restore *s, struct krg_r_mm *m, u32 count)
{
	struct follow_source *source = kvzalloc(struct_size(source, run, count), GFP_KERNEL_ACCOUNT);
	struct krg_r_vma *v;
	u32 i;

	if (!source)
		return NULL;
	refcount_set(&source->refs, 1);
	init_waitqueue_head(&source->wait);
	source->origin = s->origin;
	source->space = m->object.id;
	list_for_each_entry(v, &m->vmas, link)
		for (i = 0; i < v->runs.count; i++) {
			const struct krg_r_run *run = &v->runs.at[i];

			if (run->source != KRG_GHOST_SOURCE_FOLLOWS)
				continue;
			source->run[source->count++] = (struct follow_run) {
				.first = run->at >> PAGE_SHIFT, .count = run->count, .bit = source->pages,
			};
			source->pages += run->count;
		}
	return source;
}

static u32 runs_of(const struct krg_r_vma *v)
{
	u32 i, n = 0;

	for (i = 0; i < v->runs.count; i++)
		n += v->runs.at[i].source == KRG_GHOST_SOURCE_FOLLOWS;
	return n;
}

static int mark_all(struct follow_mm *f, struct krg_r_mm *m)
{
	struct krg_r_vma *v;
	int err = 0;

	if (mmap_write_lock_killable(f->mm))
		return -EINTR;
	list_for_each_entry(v, &m->vmas, link) {
		if (!err && runs_of(v))
			err = krg_follow_mark(f, v->start, v->end);
	}
	mmap_write_unlock(f->mm);
	return err;
}

static int attach(struct krg_r_mm *m, struct follow_source *source)
{
	struct follow_mm *f = follow_new(source, current->mm);
	struct krg_view *view;
	int err;

	if (!f)
		return -ENOMEM;
	mutex_lock(&follows_lock);
	follow_add(f);
	mutex_unlock(&follows_lock);
	/* A view without the source that came before has not found it. */
	view = krg_view_get();
	err = is_member(view, &source->origin) ? krg_ahead_give(&source->origin, f, &source->ahead) : -EHOSTDOWN;
	if (!err)
		err = mark_all(f, m);
	krg_view_put(view);
	krg_follow_put(f);
	return err;
}

int krg_follow_in_attach(struct krg_restore *s, struct krg_r_mm *m)
{
	struct follow_source *source;
	struct krg_r_vma *v;
	u32 count = 0;
	int err;

	list_for_each_entry(v, &m->vmas, link)
		count += runs_of(v);
	if (!count)
		return 0;
	if (watch_error) {
		krg_restore_fail(s, -EOPNOTSUPP, "memory: cannot follow here, since madvise() and mremap() cannot be watched: error %d",
				 watch_error);
		return -EOPNOTSUPP;
	}
	source = source_new(s, m, count);
	if (!source)
		return -ENOMEM;
	if (source->pages + (FOLLOW_RESERVE >> PAGE_SHIFT) > si_mem_available()) {
		krg_restore_fail(s, -ENOMEM, "memory: there is no room for %llu pages that would follow", source->pages);
		err = -ENOMEM;
	} else {
		err = attach(m, source);
	}
	source_put(source);
	return err;
}

int krg_follow_in_init(void)
{
	int err = krg_follow_fault_init();

	if (err)
		return err;
	follows_wq = alloc_workqueue("krg_follow", WQ_UNBOUND, 0);
	if (!follows_wq) {
		krg_follow_fault_exit();
		return -ENOMEM;
	}
	watch_error = krg_memory_watch(&watch);
	return 0;
}

void krg_follow_in_exit(void)
{
	if (!watch_error)
		krg_memory_unwatch();
	destroy_workqueue(follows_wq);
	krg_follow_fault_exit();
}
