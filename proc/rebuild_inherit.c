// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that processes of an image have in common since fork are had in common
 * again by the same means: they are put into the memory of who will be the parent
 * before it makes its children. When address spaces are built, a mapping that is
 * there and is what the image asks for stays, and of its pages those that are right.
 *
 * What is kept is compared, never believed: it may be from an ancestor that wrote
 * since, or not inherited at all. So whatever a helper does, the contents are the
 * image's; only the sharing is lost.
 */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include <kerrighed/compat.h>

#include "proc/core/ghost.h"
#include "pages.h"
#include "restore.h"

#define TWINS_MAX	4194304U	/* pages of an image whose sharing is restored; more are copied */
#define KEPT_FLAGS	(VM_READ | VM_WRITE | VM_EXEC | VM_SHARED | VM_MAYSHARE | VM_GROWSDOWN | VM_SEQ_READ | VM_RAND_READ |	\
			 VM_DONTDUMP | VM_DONTCOPY | VM_WIPEONFORK | VM_HUGEPAGE | VM_NOHUGEPAGE | VM_LOCKED | VM_NORESERVE)

/* Such that fork hands on as they are. */
static bool can_be_inherited(const struct krg_r_vma *v)
{
	return (v->kind == KRG_VMA_PRIVATE || v->kind == KRG_VMA_STACK || v->kind == KRG_VMA_HEAP) && !v->memory && !v->locked &&
	       !v->pkey && !(v->advice & (KRG_VMA_DONTFORK | KRG_VMA_WIPEONFORK));
}

/* A run of @v says that its pages are those of an earlier address space. Without memory for the mark they are copied. */
int krg_inherit_mark(struct krg_restore *s, struct krg_r_vma *v, const struct krg_r_run *run)
{
	unsigned long number = run->at >> PAGE_SHIFT;
	u64 i;

	if (run->from != run->at || !can_be_inherited(v) || !can_be_inherited(run->twin))
		return 0;
	v->twin = run->twin;
	for (i = 0; i < run->count && s->twins < TWINS_MAX; i++) {
		void *old = xa_store(&run->twin->shared, number + i, xa_mk_value(1), GFP_KERNEL_ACCOUNT);

		if (xa_is_err(old))
			return 0;
		if (!old)
			s->twins++;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/* ---- what is there already ---- */

static vm_flags_t wanted_flags(const struct krg_r_vma *v)
{
	vm_flags_t flags = krg_rebuild_extra_flags(v);

	flags |= (v->prot & PROT_READ ? VM_READ : 0) | (v->prot & PROT_WRITE ? VM_WRITE : 0) | (v->prot & PROT_EXEC ? VM_EXEC : 0);
	if (v->kind == KRG_VMA_STACK)
		flags |= VM_GROWSDOWN;
	if (v->advice & KRG_VMA_NORESERVE)
		flags |= VM_NORESERVE;
	return flags & KEPT_FLAGS;
}

static bool is_what_is_wanted(const struct vm_area_struct *vma, const struct krg_r_vma *v)
{
	u64 offset = v->file ? v->offset >> PAGE_SHIFT : v->start >> PAGE_SHIFT;

	return vma->anon_vma && (vma->vm_flags & KEPT_FLAGS) == wanted_flags(v) &&
	       vma->vm_file == (v->file ? v->file->file : NULL) &&
	       vma->vm_pgoff - (vma->vm_start >> PAGE_SHIFT) == offset - (v->start >> PAGE_SHIFT);
}

static bool runs_ascend(const struct krg_r_vma *v)
{
	u32 i;

	for (i = 1; i < v->runs.count; i++)
		if (v->runs.at[i].at < v->runs.at[i - 1].at + (v->runs.at[i - 1].count << PAGE_SHIFT))
			return false;
	return true;
}

/* The part of @v that is there, as the image has it; one piece. Under the mmap lock. */
static void find_kept(struct mm_struct *mm, struct krg_r_vma *v)
{
	struct vm_area_struct *vma;

	lockdep_assert_held(&mm->mmap_lock);
	v->kept = v->kept_end = 0;
	if (!can_be_inherited(v) || !runs_ascend(v))
		return;
	for (vma = find_vma(mm, v->start); vma && vma->vm_start < v->end; vma = find_vma(mm, vma->vm_end)) {
		if (!is_what_is_wanted(vma, v))
			continue;
		v->kept = max_t(u64, vma->vm_start, v->start);
		v->kept_end = min_t(u64, vma->vm_end, v->end);
		return;
	}
}

/* Before the helper's memory goes: what of it stays. */
void krg_inherit_keep(struct krg_r_mm *m)
{
	struct krg_r_vma *v;

	if (mmap_read_lock_killable(current->mm))
		return;
	list_for_each_entry(v, &m->vmas, link)
		if (v->inherited || (v->twin && READ_ONCE(v->twin->inherited)))
			find_kept(current->mm, v);
	mmap_read_unlock(current->mm);
}

/* Whether the page at @at is @v's own, and has these bytes. */
bool krg_inherit_has(const struct krg_r_vma *v, u64 at, const u8 *bytes)
{
	struct page *page;
	bool has = false;

	if (at < v->kept || at >= v->kept_end)
		return false;
	if (mmap_read_lock_killable(current->mm))
		return false;
	if (krg_pages_of(current->mm, at, 1, FOLL_FORCE, &page) == 1) {
		has = PageAnon(page) && !memcmp(page_address(page), bytes, PAGE_SIZE);
		put_page(page);
	}
	mmap_read_unlock(current->mm);
	return has;
}

/* ---- what must not be there ---- */

static bool in_runs(const struct krg_r_vma *v, u64 at, u32 *cursor)
{
	while (*cursor < v->runs.count && v->runs.at[*cursor].at + (v->runs.at[*cursor].count << PAGE_SHIFT) <= at)
		(*cursor)++;
	return *cursor < v->runs.count && v->runs.at[*cursor].at <= at;
}

/* A page of the process's own with something in it. Under the mmap lock. */
static bool has_contents(const struct krg_r_vma *v, u64 at)
{
	struct page *page;
	bool has;

	if (krg_pages_of(current->mm, at, 1, FOLL_FORCE, &page) != 1)
		return false;
	has = PageAnon(page) && (v->file || memchr_inv(page_address(page), 0, PAGE_SIZE));
	put_page(page);
	return has;
}

/* The first page from *@at on that the image has not; false: none. */
static bool find_foreign(struct krg_r_vma *v, unsigned long *at, u32 *cursor)
{
	struct mm_struct *mm = current->mm;
	bool found = false;

	if (mmap_read_lock_killable(mm))
		return false;
	while (!found && *at < v->kept_end && !fatal_signal_pending(current)) {
		unsigned int n = krg_pages_find(mm, at, v->kept_end);

		for (; n && !found; n--) {
			found = !in_runs(v, *at, cursor) && has_contents(v, *at);
			if (!found)
				*at += PAGE_SIZE;
		}
	}
	mmap_read_unlock(mm);
	return found;
}

/* After what was there was chosen, and all else is mapped; before any page is filled. */
int krg_inherit_drop(struct krg_restore *s, struct krg_r_mm *m)
{
	struct krg_r_vma *v;

	list_for_each_entry(v, &m->vmas, link) {
		unsigned long at = v->kept;
		u32 cursor = 0;

		while (v->kept_end && find_foreign(v, &at, &cursor)) {
			int err = vm_munmap(at, PAGE_SIZE);

			if (!err)
				err = krg_rebuild_map(s, v, at, at + PAGE_SIZE);
			if (err)
				return err;
			at += PAGE_SIZE;
		}
	}
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/* ---- before a process has children ---- */

static int inherit_one(struct krg_restore *s, struct krg_r_vma *v)
{
	int err = 0;

	if (mmap_read_lock_killable(current->mm))
		return -EINTR;
	find_kept(current->mm, v);
	mmap_read_unlock(current->mm);
	/* Something of the helper's is in the way: nothing of it may be written. What was mapped meanwhile goes with the rest. */
	if (!v->kept_end) {
		if (krg_rebuild_map(s, v, v->start, v->end))
			return 0;
	} else if ((v->start < v->kept && krg_rebuild_map(s, v, v->start, v->kept)) ||
		   (v->kept_end < v->end && krg_rebuild_map(s, v, v->kept_end, v->end))) {
		return 0;
	}
	err = krg_rebuild_shared(s, v);
	v->kept = v->kept_end = 0;
	WRITE_ONCE(v->inherited, !err);
	return err;
}

int krg_restore_inherit(struct krg_restore *s, u64 id)
{
	struct krg_r_task *task = krg_restore_find(s, id, KRG_GHOST_TASK);
	struct krg_r_vma *v;
	int err = 0;

	if (!task)
		return -ENOENT;
	if (!current->mm || task_tgid_vnr(current) != task->pid || !thread_group_leader(current))
		return -ESRCH;
	if (READ_ONCE(s->state) != KRG_RESTORE_OPEN)
		return -ECANCELED;
	mutex_lock(&s->lock);
	if (task->inherits)
		err = -EBUSY;
	task->inherits = true;
	mutex_unlock(&s->lock);
	if (err || task->mm->builder != task)
		return err;
	list_for_each_entry(v, &task->mm->vmas, link) {
		if (xa_empty(&v->shared))
			continue;
		err = inherit_one(s, v);
		if (err)
			break;
	}
	if (err)
		krg_restore_fail(s, err, "process %u: its memory could not be made for its children: error %d", task->pid, err);
	return err;
}
