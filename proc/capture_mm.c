// SPDX-License-Identifier: GPL-2.0
/*
 * Address spaces in the image: where everything is, the mappings, and the pages
 * of private ones. What is behind shared mappings is in capture_memory.c.
 *
 * Pages that nobody touched are not looked up, since that would make them: the
 * page table says first whether there is something at an address. It is only a hint:
 * the page itself is then asked for as debuggers do, which also brings it back from swap.
 */
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pgtable.h>
#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <uapi/linux/membarrier.h>

#include <kerrighed/compat.h>

#include "capture.h"
#include "follow.h"
#include "pages.h"
#include "park.h"
#include "vma.h"

#define RUN_PAGES	(KRG_GHOST_DATA_MAX / PAGE_SIZE)
#define AHEAD_PAGES	4	/* of a mapping that follows: those with which it begins come in the image */

#define KRG_VM_PKEY	(VM_PKEY_BIT0 | VM_PKEY_BIT1 | VM_PKEY_BIT2 | VM_PKEY_BIT3)

enum { MM_NO_THP = 1, MM_LOCK_FUTURE = 2 };

/* ---- the whole ---- */

static u64 membarrier_commands(struct mm_struct *mm)
{
	int state = atomic_read(&mm->membarrier_state);

	return (state & MEMBARRIER_STATE_GLOBAL_EXPEDITED ? MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED : 0) |
	       (state & MEMBARRIER_STATE_PRIVATE_EXPEDITED ? MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED : 0) |
	       (state & MEMBARRIER_STATE_PRIVATE_EXPEDITED_SYNC_CORE ?
		MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE : 0) |
	       (state & MEMBARRIER_STATE_PRIVATE_EXPEDITED_RSEQ ? MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ : 0);
}

static u64 capture_exe(struct krg_capture *c, struct mm_struct *mm)
{
	struct file *exe;
	u64 id;

	rcu_read_lock();
	exe = rcu_dereference(mm->exe_file);
	if (exe)
		get_file(exe);
	rcu_read_unlock();
	if (!exe)
		return 0;
	id = krg_capture_file(c, exe);
	fput(exe);
	return id;
}

static u64 capture_layout(struct krg_capture *c, struct mm_struct *mm, u64 exe, u64 key)
{
	u64 id = krg_capture_begin(c, KRG_GHOST_MM);

	krg_capture_put(c, KRG_GHOST_MM_KEY, key);
	krg_capture_put(c, KRG_GHOST_MM_EXE, exe);
	krg_capture_put(c, KRG_GHOST_MM_START_CODE, mm->start_code);
	krg_capture_put(c, KRG_GHOST_MM_END_CODE, mm->end_code);
	krg_capture_put(c, KRG_GHOST_MM_START_DATA, mm->start_data);
	krg_capture_put(c, KRG_GHOST_MM_END_DATA, mm->end_data);
	krg_capture_put(c, KRG_GHOST_MM_START_BRK, mm->start_brk);
	krg_capture_put(c, KRG_GHOST_MM_BRK, mm->brk);
	krg_capture_put(c, KRG_GHOST_MM_START_STACK, mm->start_stack);
	krg_capture_put(c, KRG_GHOST_MM_ARG_START, mm->arg_start);
	krg_capture_put(c, KRG_GHOST_MM_ARG_END, mm->arg_end);
	krg_capture_put(c, KRG_GHOST_MM_ENV_START, mm->env_start);
	krg_capture_put(c, KRG_GHOST_MM_ENV_END, mm->env_end);
	krg_capture_put(c, KRG_GHOST_MM_MMAP_BASE, mm->mmap_base);
	krg_capture_put(c, KRG_GHOST_MM_VDSO, (unsigned long)mm->context.vdso);
	krg_capture_put_bytes(c, KRG_GHOST_MM_AUXV, mm->saved_auxv, sizeof(mm->saved_auxv));
	krg_capture_put(c, KRG_GHOST_MM_DUMPABLE, get_dumpable(mm));
	krg_capture_put(c, KRG_GHOST_MM_FLAGS, (test_bit(MMF_DISABLE_THP, &mm->flags) ? MM_NO_THP : 0) |
					       (mm->def_flags & VM_LOCKED ? MM_LOCK_FUTURE : 0));
	krg_capture_put(c, KRG_GHOST_MM_DUMP_FILTER, (mm->flags & MMF_DUMP_FILTER_MASK) >> MMF_DUMP_FILTER_SHIFT);
	krg_capture_put(c, KRG_GHOST_MM_MEMBARRIER, membarrier_commands(mm));
	krg_capture_end(c);
	return id;
}

/* ---- one mapping ---- */

static u64 mapping_advice(vm_flags_t flags)
{
	static const struct {
		vm_flags_t flag;
		u32 advice;
	} map[] = {
		{ VM_SEQ_READ, 1 }, { VM_RAND_READ, 2 }, { VM_DONTCOPY, 4 }, { VM_DONTDUMP, 8 }, { VM_WIPEONFORK, 16 },
		{ VM_MERGEABLE, 32 }, { VM_HUGEPAGE, 64 }, { VM_NOHUGEPAGE, 128 }, { VM_NORESERVE, 256 },
		{ VM_ACCOUNT, 512 },
	};
	u64 advice = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(map); i++)
		if (flags & map[i].flag)
			advice |= map[i].advice;
	return advice;
}

static u64 capture_backing(struct krg_capture *c, const struct krg_mapping *v)
{
	switch (v->backing) {
	case KRG_BACKING_FILE:
		return krg_capture_file(c, v->file);
	case KRG_BACKING_SHARED:
		return krg_capture_memory(c, v->file, KRG_MEMORY_SHARED);
	case KRG_BACKING_SYSV:
		return krg_capture_segment(c, v->file);
	default:
		return 0;
	}
}

static u64 capture_mapping(struct krg_capture *c, const struct krg_mapping *v, u64 mm)
{
	u64 backing = capture_backing(c, v), ceiling = v->flags >> 4 & 7;
	u64 id = krg_capture_begin(c, KRG_GHOST_VMA);

	krg_capture_put(c, KRG_GHOST_VMA_MM, mm);
	krg_capture_put(c, KRG_GHOST_VMA_START, v->start);
	krg_capture_put(c, KRG_GHOST_VMA_END, v->end);
	krg_capture_put(c, KRG_GHOST_VMA_PROTECTION, v->flags & (VM_READ | VM_WRITE | VM_EXEC));
	krg_capture_put(c, KRG_GHOST_VMA_KIND, v->kind);
	if (backing) {
		krg_capture_put(c, KRG_GHOST_VMA_BACKING, backing);
		krg_capture_put(c, KRG_GHOST_VMA_OFFSET, v->offset);
	}
	krg_capture_put(c, KRG_GHOST_VMA_LOCKED, !(v->flags & VM_LOCKED) ? 0 : v->flags & VM_LOCKONFAULT ? 2 : 1);
	krg_capture_put(c, KRG_GHOST_VMA_ADVICE, mapping_advice(v->flags));
#ifdef CONFIG_X86_INTEL_MEMORY_PROTECTION_KEYS
	krg_capture_put(c, KRG_GHOST_VMA_PKEY, (v->flags & KRG_VM_PKEY) >> VM_PKEY_SHIFT);
#endif
	krg_capture_put(c, KRG_GHOST_VMA_CEILING, ceiling == 7 ? 0 : ceiling);
	krg_capture_end(c);
	return id;
}

/* ---- private pages ---- */

/* Whether there may be a page at @at; *@next: the next address worth a look. Under the mmap lock, and RCU. */
static bool page_peek(struct mm_struct *mm, unsigned long at, unsigned long *next)
{
	pgd_t *pgd = pgd_offset(mm, at);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd_at, pmd;
	pte_t pte;

	*next = (at & PGDIR_MASK) + PGDIR_SIZE;
	if (pgd_none(*pgd))
		return false;
	*next = (at & P4D_MASK) + P4D_SIZE;
	p4d = p4d_offset(pgd, at);
	if (p4d_none(*p4d))
		return false;
	*next = (at & PUD_MASK) + PUD_SIZE;
	pud = pud_offset(p4d, at);
	if (pud_none(*pud))
		return false;
	*next = at + PAGE_SIZE;
	if (!pud_present(*pud) || pud_leaf(*pud))
		return true;
	pmd_at = pmd_offset(pud, at);
	pmd = READ_ONCE(*pmd_at);
	if (pmd_none(pmd)) {
		*next = (at & PMD_MASK) + PMD_SIZE;
		return false;
	}
	if (!pmd_present(pmd) || pmd_leaf(pmd))
		return true;
	pte = READ_ONCE(((pte_t *)pmd_page_vaddr(pmd))[pte_index(at)]);
	/* An entry is empty for a moment while its page goes to swap or to another place. */
	if (pte_none(pte)) {
		spinlock_t *lock = pte_lockptr(mm, pmd_at);

		spin_lock(lock);
		pte = READ_ONCE(((pte_t *)pmd_page_vaddr(pmd))[pte_index(at)]);
		spin_unlock(lock);
	}
	return !pte_none(pte) && !(pte_present(pte) && is_zero_pfn(pte_pfn(pte)));
}

/* From *@at on: where something may be, and how much in a row, at most RUN_PAGES. Under the mmap lock. */
unsigned int krg_pages_find(struct mm_struct *mm, unsigned long *at, unsigned long end)
{
	unsigned long next;
	unsigned int n = 0;

	rcu_read_lock();
	while (*at < end && !page_peek(mm, *at, &next))
		*at = next;
	while (*at + n * PAGE_SIZE < end && n < RUN_PAGES && page_peek(mm, *at + n * PAGE_SIZE, &next))
		n++;
	rcu_read_unlock();
	if (*at > end)
		*at = end;
	return n;
}

static void put_pages(struct krg_capture *c, u64 owner, unsigned long at, unsigned int first, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		c->piece[i].at = page_address(c->pages[first + i]);
		c->piece[i].length = PAGE_SIZE;
	}
	krg_capture_begin(c, KRG_GHOST_PAGES);
	krg_capture_put(c, KRG_GHOST_PAGES_OWNER, owner);
	krg_capture_put(c, KRG_GHOST_PAGES_AT, at + first * PAGE_SIZE);
	krg_capture_put(c, KRG_GHOST_PAGES_COUNT, count);
	krg_capture_end_data(c, c->piece, count);
}

static void put_parents(struct krg_capture *c, u64 owner, unsigned long at, unsigned int count)
{
	krg_capture_begin(c, KRG_GHOST_PAGES);
	krg_capture_put(c, KRG_GHOST_PAGES_OWNER, owner);
	krg_capture_put(c, KRG_GHOST_PAGES_AT, at);
	krg_capture_put(c, KRG_GHOST_PAGES_COUNT, count);
	krg_capture_put(c, KRG_GHOST_PAGES_SOURCE, c->sink->ahead ? KRG_GHOST_SOURCE_FOLLOWS : KRG_GHOST_SOURCE_PARENT);
	krg_capture_end(c);
	krg_track_note(&c->tracking, at, count);
}

static void put_twins(struct krg_capture *c, u64 owner, unsigned long at, unsigned int count, u64 twin)
{
	krg_capture_begin(c, KRG_GHOST_PAGES);
	krg_capture_put(c, KRG_GHOST_PAGES_OWNER, owner);
	krg_capture_put(c, KRG_GHOST_PAGES_AT, at);
	krg_capture_put(c, KRG_GHOST_PAGES_COUNT, count);
	krg_capture_put(c, KRG_GHOST_PAGES_SOURCE, KRG_GHOST_SOURCE_TWIN);
	krg_capture_put(c, KRG_GHOST_PAGES_TWIN, twin);
	krg_capture_put(c, KRG_GHOST_PAGES_TWIN_AT, at);
	krg_capture_end(c);
}

/* What the mapping has of its own: of a file, pages that were written; of others, all that are not zeros anyway. */
static bool page_counts(struct krg_capture *c, const struct krg_mapping *v, struct page *page, unsigned long at)
{
	if (krg_excluded_has(&c->excluded, at))
		return false;
	if (v->backing == KRG_BACKING_FILE)
		return PageAnon(page);
	return memchr_inv(page_address(page), 0, PAGE_SIZE);
}

/* Instead of a twin: the page does not count; it is as in the parent image. */
#define NOTHING	U64_MAX
#define PARENT	(U64_MAX - 1)

static void put_run(struct krg_capture *c, u64 owner, unsigned long at, long first, long count, u64 twin)
{
	if (twin == NOTHING)
		return;
	if (twin == PARENT) {
		put_parents(c, owner, at + first * PAGE_SIZE, count);
		return;
	}
	krg_track_note(&c->tracking, at + first * PAGE_SIZE, count);
	if (twin)
		put_twins(c, owner, at + first * PAGE_SIZE, count, twin);
	else
		put_pages(c, owner, at, first, count);
}

static void capture_run(struct krg_capture *c, const struct krg_mapping *v, u64 owner, unsigned long at, long count, bool clean)
{
	long i, first = 0;
	u64 twin, before = NOTHING;

	for (i = 0; i <= count; i++) {
		twin = NOTHING;
		if (i < count && page_counts(c, v, c->pages[i], at + i * PAGE_SIZE))
			twin = krg_capture_twin(c, c->pages[i], at + i * PAGE_SIZE, owner) ?: (clean ? PARENT : 0);
		if (i && twin != before) {
			put_run(c, owner, at, first, i - first, before);
			first = i;
		}
		before = twin;
	}
	for (i = 0; i < count; i++)
		put_page(c->pages[i]);
}

static void capture_private(struct krg_capture *c, struct mm_struct *mm, const struct krg_mapping *v, u64 owner)
{
	unsigned long at = v->start;
	bool clean, alone = list_is_singular(&c->set->processes);
	long n;

	while (at < v->end && !c->error) {
		mmap_read_lock(mm);
		clean = false;
		n = krg_pages_find(mm, &at, v->end);
		if (n)
			n = krg_track_clean(&c->tracking, mm, v, at, n, &clean);
		if (clean && alone && !c->excluded.count) {
			mmap_read_unlock(mm);
			put_parents(c, owner, at, n);
			at += n * PAGE_SIZE;
			cond_resched();
			continue;
		}
		if (n)
			n = krg_pages_of(mm, at, n, FOLL_FORCE, c->pages);
		mmap_read_unlock(mm);
		if (at >= v->end)
			return;
		if (n > 0) {
			capture_run(c, v, owner, at, n, clean);
			at += n * PAGE_SIZE;
		} else if (n == -EFAULT && v->backing == KRG_BACKING_FILE) {
			/* Behind the end of the file: nothing of its own can be there. */
			at += PAGE_SIZE;
		} else if (n < 0) {
			krg_capture_fail(c, n, "memory: the page at %#lx cannot be read (%ld)", at, n);
		}
		cond_resched();
	}
}

/* Pages that went ahead, and were not written since, are only named; but, as with those that follow, the first ones come. */
static void capture_ahead(struct krg_capture *c, struct mm_struct *mm, const struct krg_mapping *v, u64 owner)
{
	struct krg_track *track = c->tracking.at;
	struct krg_mapping part = *v;
	unsigned long at = v->start;

	mmap_read_lock(mm);
	krg_pages_find(mm, &at, v->end);
	mmap_read_unlock(mm);
	part.end = min(at + AHEAD_PAGES * PAGE_SIZE, v->end);
	c->tracking.at = NULL;
	capture_private(c, mm, &part, owner);
	if (krg_follow_out_may(v, mm))
		c->tracking.at = track;
	part.start = part.end;
	part.end = v->end;
	capture_private(c, mm, &part, owner);
	c->tracking.at = track;
}

/* Where there are pages, for a target that asks for them. The first ones come in the image: the mapping has some then. */
static void capture_following(struct krg_capture *c, struct mm_struct *mm, const struct krg_mapping *v, u64 owner, u64 space)
{
	struct krg_mapping ahead = *v;
	unsigned long at = v->start;
	unsigned int n;
	u64 pages = 0;
	int err;

	mmap_read_lock(mm);
	krg_pages_find(mm, &at, v->end);
	mmap_read_unlock(mm);
	ahead.end = min(at + AHEAD_PAGES * PAGE_SIZE, v->end);
	capture_private(c, mm, &ahead, owner);
	for (at = ahead.end; at < v->end && !c->error; at += n * PAGE_SIZE) {
		mmap_read_lock(mm);
		n = krg_pages_find(mm, &at, v->end);
		mmap_read_unlock(mm);
		if (!n)
			break;
		krg_capture_begin(c, KRG_GHOST_PAGES);
		krg_capture_put(c, KRG_GHOST_PAGES_OWNER, owner);
		krg_capture_put(c, KRG_GHOST_PAGES_AT, at);
		krg_capture_put(c, KRG_GHOST_PAGES_COUNT, n);
		krg_capture_put(c, KRG_GHOST_PAGES_SOURCE, KRG_GHOST_SOURCE_FOLLOWS);
		krg_capture_end(c);
		pages += n;
		cond_resched();
	}
	err = pages ? krg_follow_out_add(c->sink->follow, mm, space, pages) : 0;
	if (err)
		krg_capture_fail(c, err, "memory: what follows cannot be kept (%d)", err);
}

static bool has_private_pages(const struct krg_mapping *v)
{
	switch (v->kind) {
	case KRG_VMA_PRIVATE:
	case KRG_VMA_STACK:
	case KRG_VMA_HEAP:
		return v->touched;
	default:
		return false;
	}
}

u64 krg_capture_mm(struct krg_capture *c, struct krg_process *process)
{
	struct mm_struct *mm = get_task_mm(process->leader);
	struct krg_mappings list;
	u64 id, exe, vma;
	unsigned int i;
	int err;

	if (!mm) {
		krg_capture_fail(c, -ESRCH, "process: %d has no memory any more", task_tgid_vnr(process->leader));
		return 0;
	}
	id = krg_capture_id(c, mm);
	if (id)
		goto put;
	err = krg_follow_in_settle(mm);
	if (err) {
		krg_capture_fail(c, err, "memory: what follows from another node does not come (%d)", err);
		goto put;
	}
	err = krg_mappings_get(&list, mm);
	if (err) {
		krg_capture_fail(c, err, "memory: the list of mappings cannot be read (%d)", err);
		goto put;
	}
	/* A move leaves nothing out. */
	err = c->set->forward ? 0 : krg_excluded_get(&c->excluded, process->leader, mm);
	if (err)
		krg_capture_fail(c, err, "memory: what is to be left out cannot be read (%d)", err);
	exe = capture_exe(c, mm);
	id = capture_layout(c, mm, exe, process->leader->start_boottime * 64 + (process->leader->self_exec_id & 63) + 1);
	krg_capture_set_id(c, mm, id);
	krg_track_mm(&c->tracking, mm);
	for (i = 0; i < list.count && !c->error; i++) {
		vma = capture_mapping(c, &list.at[i], id);
		if (!has_private_pages(&list.at[i]))
			continue;
		if (c->sink->follow && krg_follow_out_may(&list.at[i], mm))
			capture_following(c, mm, &list.at[i], vma, id);
		else if (c->sink->ahead)
			capture_ahead(c, mm, &list.at[i], vma);
		else
			capture_private(c, mm, &list.at[i], vma);
	}
	krg_excluded_put(&c->excluded);
	krg_mappings_put(&list);
put:
	mmput(mm);
	return id;
}
