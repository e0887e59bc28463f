// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings whose pages are elsewhere still. follow_in.h says how they work.
 *
 * A page belongs to its number, which is vm_pgoff and so stays when the mapping is
 * split or moved; one that is to grow is made ordinary before (follow_in.c). VM_SYNC,
 * which means nothing without a file, keeps such mappings from being merged with others: a
 * neighbour would take pages over, and not know.
 */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/string.h>

#include <kerrighed/compat.h>
#include <kerrighed/wire.h>

#include "follow_in.h"

#define FAULT_PAGES	4	/* asked for together when one is touched */

static struct page *zero_page;	/* to be copied, not to be mapped */

static const struct vm_operations_struct follow_ops, lost_ops;

/* ---- putting pages there ---- */

struct vm_area_struct *krg_follow_vma(struct follow_mm *f, unsigned long at)
{
	struct vm_area_struct *vma = find_vma(f->mm, at);

	return vma && vma->vm_start <= at && vma->vm_ops == &follow_ops && vma->vm_private_data == f ? vma : NULL;
}

/* Has the kernel make a page of its own there: a write fault, which comes to fault() and copies what that gives. */
static int install_one(struct follow_mm *f, u64 number, unsigned long at)
{
	struct page *page;
	long n = krg_pages_of(f->mm, at, 1, FOLL_WRITE | FOLL_FORCE, &page);

	if (n != 1)
		return n < 0 ? n : -EFAULT;
	put_page(page);
	krg_follow_set_here(f, number, 1);
	krg_follow_drop_stored(f, number, 1);
	return 0;
}

int krg_follow_install(struct follow_mm *f, struct vm_area_struct *vma, unsigned long at, unsigned int count)
{
	u64 number = krg_follow_number(vma, at), end = number + count;
	int err = 0;

	lockdep_assert_held(&f->mm->mmap_lock);
	for (; number < end && at < vma->vm_end && !err; number++, at += PAGE_SIZE) {
		struct page *page = krg_follow_next(f, number, number + 1) == number ? krg_follow_stored(f, number) : NULL;

		if (!page)
			continue;
		err = install_one(f, number, at);
		put_page(page);
	}
	return err;
}

/* ---- faults ---- */

static vm_fault_t fault_error(int err)
{
	switch (err) {
	case 0:
	case -EINTR:
	case -EAGAIN:
		return VM_FAULT_NOPAGE;	/* looked at again, or killed */
	case -ENOMEM:
		return VM_FAULT_OOM;
	default:
		return VM_FAULT_SIGBUS;
	}
}

/* Nothing is waited for under the mmap lock. @f: with a reference, since the mapping may go meanwhile. */
static vm_fault_t fetch_unlocked(struct vm_fault *vmf, struct follow_mm *f)
{
	unsigned long at = vmf->address & PAGE_MASK;
	u64 number = vmf->pgoff, end = number + ((vmf->vma->vm_end - at) >> PAGE_SHIFT);
	int err;

	krg_follow_get(f);
	krg_fault_release(vmf);
	err = krg_follow_fetch(f, KRG_MSG_FOLLOW, number, krg_follow_want(f, number, end, FAULT_PAGES));
	if (!err && !mmap_read_lock_killable(f->mm)) {
		struct vm_area_struct *vma = krg_follow_vma(f, at);

		/* What does not succeed here is seen when the fault is tried again. */
		if (vma && krg_follow_number(vma, at) == number)
			krg_follow_install(f, vma, at, FAULT_PAGES);
		mmap_read_unlock(f->mm);
	}
	krg_follow_put(f);
	return VM_FAULT_RETRY;
}

/* A read: the page is made by a write fault below this one. */
static vm_fault_t fault_read(struct vm_fault *vmf, struct follow_mm *f)
{
	return fault_error(install_one(f, vmf->pgoff, vmf->address & PAGE_MASK));
}

static vm_fault_t follow_fault(struct vm_fault *vmf)
{
	struct follow_mm *f = vmf->vma->vm_private_data;
	u64 number = vmf->pgoff;
	struct page *page = NULL;
	int err;

	if (READ_ONCE(f->source->lost)) {
		/* No handler of a SIGBUS may run on what is left. */
		if (current->mm == f->mm)
			send_sig(SIGKILL, current, 1);
		return VM_FAULT_SIGBUS;
	}
	while (krg_follow_next(f, number, number + 1) == number) {
		page = krg_follow_stored(f, number);
		if (page)
			break;
		if (vmf->flags & FAULT_FLAG_ALLOW_RETRY)
			return vmf->flags & FAULT_FLAG_RETRY_NOWAIT ? VM_FAULT_RETRY : fetch_unlocked(vmf, f);
		/* Who reads another's memory with its lock held; the source waits for nobody who could want that lock. */
		err = krg_follow_fetch(f, KRG_MSG_FOLLOW, number, 1);
		if (err)
			return fault_error(err);
	}
	if (!(vmf->flags & FAULT_FLAG_WRITE)) {
		if (page)
			put_page(page);
		return fault_read(vmf, f);
	}
	if (!page) {
		page = zero_page;
		get_page(page);
	}
	vmf->page = page;
	return 0;
}

static vm_fault_t lost_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

/* ---- life of mappings: the address space is locked for writing ---- */

static void make_ordinary(struct vm_area_struct *vma)
{
	/* First: this waits for faults that hold the mapping only. */
	krg_vm_flags_clear(vma, VM_SYNC);
	vma->vm_ops = NULL;
	vma->vm_private_data = NULL;
}

/* Split, moved, or the child's of a fork. */
static void follow_open(struct vm_area_struct *vma)
{
	struct follow_mm *f = vma->vm_private_data, *child;

	if (vma->vm_mm == f->mm) {
		krg_follow_get(f);
		return;
	}
	if (vma->vm_flags & VM_WIPEONFORK) {
		make_ordinary(vma);
		return;
	}
	child = krg_follow_child(f, vma->vm_mm);
	vma->vm_private_data = child;
	if (!child)
		vma->vm_ops = &lost_ops;
}

static void follow_close(struct vm_area_struct *vma)
{
	krg_follow_put(vma->vm_private_data);
}

static const struct vm_operations_struct follow_ops = {
	.open = follow_open,
	.close = follow_close,
	.fault = follow_fault,
};

/* There was no memory to let a child share what follows: it sees SIGBUS, not zeros. */
static const struct vm_operations_struct lost_ops = {
	.fault = lost_fault,
};

int krg_follow_mark(struct follow_mm *f, unsigned long start, unsigned long end)
{
	struct vm_area_struct *vma;

	lockdep_assert_held_write(&f->mm->mmap_lock);
	vma = find_vma(f->mm, start);
	/* It may have been merged with a neighbour. */
	if (!vma || vma->vm_start > start || vma->vm_end < end || vma->vm_file || vma->vm_flags & VM_SHARED ||
	    krg_follow_number(vma, start) != start >> PAGE_SHIFT)
		return -EINVAL;
	if (vma->vm_ops)
		return vma->vm_ops == &follow_ops && vma->vm_private_data == f ? 0 : -EINVAL;
	krg_vm_flags_set(vma, VM_SYNC);
	vma->vm_private_data = f;
	krg_follow_get(f);
	vma->vm_ops = &follow_ops;
	return 0;
}

void krg_follow_unmark(struct follow_mm *f)
{
	struct vm_area_struct *vma;
	unsigned long at = 0;

	lockdep_assert_held_write(&f->mm->mmap_lock);
	while ((vma = find_vma(f->mm, at))) {
		at = vma->vm_end;
		if (vma->vm_ops != &follow_ops || vma->vm_private_data != f)
			continue;
		make_ordinary(vma);
		krg_follow_put(f);
	}
}

int krg_follow_fault_init(void)
{
	zero_page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	return zero_page ? 0 : -ENOMEM;
}

void krg_follow_fault_exit(void)
{
	put_page(zero_page);
}
