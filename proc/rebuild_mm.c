// SPDX-License-Identifier: GPL-2.0
/*
 * An address space as the image has it, in place of the helper's: everything
 * but the vdso and vvar goes, mappings are made with their final protection,
 * then come the fields that have no mapping. What is in the pages is in
 * rebuild_pages.c.
 *
 * The caller is the leader of the first process of this address space. All other
 * threads that use it wait inside the session, unless the helper kept one back: it
 * would harm its own process only, for everything here is checked as system calls
 * check it.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include <kerrighed/compat.h>

#include "proc/core/ghost.h"
#include "restore.h"

#define MM_NO_HUGE		1	/* MM.FLAGS */
#define MM_LOCK_FUTURE		2

/* ---- the helper's goes ---- */

static bool is_vvar(const struct vm_area_struct *vma)
{
	return !vma->vm_file && vma->vm_flags & (VM_PFNMAP | VM_IO | VM_MIXEDMAP);
}

/* The vdso and vvar must be where the image has them: code of the program, and its signal frames, point there. */
static int check_special(struct krg_restore *s, struct krg_r_mm *m)
{
	struct mm_struct *mm = current->mm;
	struct krg_r_vma *v;
	int err = 0;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	list_for_each_entry(v, &m->vmas, link) {
		const struct vm_area_struct *vma;

		if (v->kind != KRG_VMA_VDSO && v->kind != KRG_VMA_VVAR)
			continue;
		vma = find_vma(mm, v->start);
		if (!vma || vma->vm_start != v->start || vma->vm_end != v->end ||
		    (v->kind == KRG_VMA_VDSO ? (unsigned long)mm->context.vdso != v->start : !is_vvar(vma))) {
			err = -ENOEXEC;
			break;
		}
	}
	mmap_read_unlock(mm);
	if (err)
		krg_restore_fail(s, err, "process %u: the helper has not its %s at %#llx to %#llx", m->builder->pid,
				 v->kind == KRG_VMA_VDSO ? "vdso" : "vvar", v->start, v->end);
	return err;
}

static int unmap_gap(struct krg_restore *s, struct krg_r_mm *m, u64 from, u64 to)
{
	int err = from < to ? vm_munmap(from, to - from) : 0;

	if (err)
		krg_restore_fail(s, err, "process %u: the helper's memory cannot be unmapped: error %d", m->builder->pid, err);
	return err;
}

static int unmap_all(struct krg_restore *s, struct krg_r_mm *m)
{
	struct krg_r_vma *v;
	u64 at = 0;
	int err;

	list_for_each_entry(v, &m->vmas, link) {
		bool special = v->kind == KRG_VMA_VDSO || v->kind == KRG_VMA_VVAR;

		if (!special && !v->kept_end)
			continue;
		err = unmap_gap(s, m, at, special ? v->start : v->kept);
		if (err)
			return err;
		at = special ? v->end : v->kept_end;
	}
	return unmap_gap(s, m, at, TASK_SIZE_MAX);
}

/* ---- mappings ---- */

vm_flags_t krg_rebuild_extra_flags(const struct krg_r_vma *v)
{
	vm_flags_t flags = 0;

	if (v->advice & KRG_VMA_SEQUENTIAL)
		flags |= VM_SEQ_READ;
	if (v->advice & KRG_VMA_RANDOM)
		flags |= VM_RAND_READ;
	if (v->advice & KRG_VMA_DONTFORK)
		flags |= VM_DONTCOPY;
	if (v->advice & KRG_VMA_DONTDUMP)
		flags |= VM_DONTDUMP;
	if (v->advice & KRG_VMA_WIPEONFORK && !v->file && !v->memory)
		flags |= VM_WIPEONFORK;
	if (v->advice & KRG_VMA_HUGE)
		flags |= VM_HUGEPAGE;
	else if (v->advice & KRG_VMA_NOHUGE)
		flags |= VM_NOHUGEPAGE;
	if (v->locked == 2)
		flags |= VM_LOCKED | VM_LOCKONFAULT;
	if (v->pkey)
		flags |= (vm_flags_t)v->pkey << VM_PKEY_SHIFT;
	return flags;
}

/* As mlock2(MLOCK_ONFAULT) would judge. */
static bool may_lock(struct mm_struct *mm, u64 bytes)
{
	lockdep_assert_held_write(&mm->mmap_lock);
	return (can_do_mlock() && bytes >> PAGE_SHIFT <= rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT &&
		mm->locked_vm + (bytes >> PAGE_SHIFT) <= rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT) || capable(CAP_IPC_LOCK);
}

static int add_flags(struct krg_r_vma *v, u64 from, u64 to, vm_flags_t flags)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	int err = 0;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	vma = find_vma(mm, from);
	if (!vma || vma->vm_start != from || vma->vm_end != to) {
		err = -EINVAL;
	} else if (flags & VM_LOCKED && !may_lock(mm, to - from)) {
		err = -EPERM;
	} else {
		if (flags & VM_LOCKED && !(vma->vm_flags & VM_LOCKED))
			mm->locked_vm += vma_pages(vma);
		krg_vm_flags_set(vma, flags);
		if (v->pkey) {
			vma->vm_page_prot = vm_get_page_prot(vma->vm_flags);
			mm->context.pkey_allocation_map |= 1U << v->pkey;
		}
	}
	mmap_write_unlock(mm);
	return err;
}

/*
 * It was writable once, and memory is set aside for it since: such a mapping is made writable and is so no more before a
 * page is in it. Without that it would merge with a neighbour of the same file that never was.
 */
bool krg_rebuild_was_writable(const struct krg_r_vma *v)
{
	return v->advice & KRG_VMA_ACCOUNTED && !(v->prot & PROT_WRITE) && !v->locked &&
	       (v->kind == KRG_VMA_PRIVATE || v->kind == KRG_VMA_HEAP);
}

static int take_write(u64 from, u64 to)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	int err = 0;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	vma = find_vma(mm, from);
	if (!vma || vma->vm_start != from || vma->vm_end != to) {
		err = -EINVAL;
	} else {
		krg_vm_flags_clear(vma, VM_WRITE);
		vma->vm_page_prot = vm_get_page_prot(vma->vm_flags);
		/* Counted as data when it was made. */
		mm->data_vm -= vma_pages(vma);
		if (vma->vm_flags & VM_EXEC)
			mm->exec_vm += vma_pages(vma);
	}
	mmap_write_unlock(mm);
	return err;
}

/* A segment that was attached for reading only: the file that stands for it can be written by all. */
static int take_right_to_write(u64 from)
{
	struct vm_area_struct *vma;

	if (mmap_write_lock_killable(current->mm))
		return -EINTR;
	vma = find_vma(current->mm, from);
	if (vma && vma->vm_start <= from)
		krg_vm_flags_clear(vma, VM_MAYWRITE);
	mmap_write_unlock(current->mm);
	return 0;
}

static struct file *backing(struct krg_restore *s, struct krg_r_vma *v)
{
	if (v->memory)
		return krg_rebuild_memory(s, v->memory);
	if (!v->file)
		return NULL;
	if (!READ_ONCE(v->file->file)) {
		krg_restore_fail(s, -ENOENT, "mapping at %#llx: file object %llu was not given by the helper", v->start,
				 v->file->object.id);
		return ERR_PTR(-ENOENT);
	}
	return v->file->file;
}

static unsigned long map_flags(const struct krg_r_vma *v)
{
	/* Nothing is there but what must stay: an image whose mappings overlap it fails. */
	unsigned long flags = MAP_FIXED_NOREPLACE;

	flags |= v->kind == KRG_VMA_SHARED ? MAP_SHARED : MAP_PRIVATE;
	if (v->kind == KRG_VMA_STACK)
		flags |= MAP_GROWSDOWN;
	if (!v->file && !v->memory)
		flags |= MAP_ANONYMOUS;
	if (v->advice & KRG_VMA_NORESERVE)
		flags |= MAP_NORESERVE;
	if (v->locked == 1)
		flags |= MAP_LOCKED;
	return flags;
}

int krg_rebuild_map(struct krg_restore *s, struct krg_r_vma *v, u64 from, u64 to)
{
	bool was_writable = krg_rebuild_was_writable(v);
	unsigned long at, prot = v->prot | (was_writable ? PROT_WRITE : 0);
	vm_flags_t extra = krg_rebuild_extra_flags(v);
	struct file *file = backing(s, v);
	int err = 0;

	if (IS_ERR(file))
		return PTR_ERR(file);
	at = vm_mmap(file, from, to - from, prot, map_flags(v), file ? v->offset + (from - v->start) : 0);
	if (IS_ERR_VALUE(at))
		return (long)at;
	if (was_writable)
		err = take_write(from, to);
	if (!err && extra)
		err = add_flags(v, from, to, extra);
	if (!err && v->memory && v->ceiling && !((v->ceiling | v->prot) & PROT_WRITE))
		err = take_right_to_write(from);
	return err;
}

static int map_one(struct krg_restore *s, struct krg_r_vma *v)
{
	u64 end = v->kept_end ? v->kept : v->end;
	int err = 0;

	if (v->start < end)
		err = krg_rebuild_map(s, v, v->start, end);
	if (!err && v->kept_end && v->kept_end < v->end)
		err = krg_rebuild_map(s, v, v->kept_end, v->end);
	if (err)
		krg_restore_fail(s, err, "mapping at %#llx to %#llx (attributes %#x) cannot be made: error %d", v->start, v->end,
				 v->advice, err);
	return err;
}

/*
 * Mappings that get more than mmap gives come first: what is beside them must not merge with them before they have it. Among
 * themselves they cannot: the one that is there already has more.
 */
static int map_all(struct krg_restore *s, struct krg_r_mm *m, bool extra)
{
	struct krg_r_vma *v;

	list_for_each_entry(v, &m->vmas, link) {
		int err;

		if (v->kind >= KRG_VMA_VDSO && v->kind <= KRG_VMA_VSYSCALL)
			continue;
		if ((krg_rebuild_extra_flags(v) || krg_rebuild_was_writable(v)) != extra)
			continue;
		if (fatal_signal_pending(current))
			return -EINTR;
		err = map_one(s, v);
		if (err)
			return err;
	}
	return 0;
}

/* ---- fields ---- */

/* What PR_SET_MM_EXE_FILE asks of a file; that the helper could open it for reading is the caller's right to it. */
static int judge_exe(struct file *exe)
{
	const struct vfsmount *mnt = exe->f_path.mnt;

	if (!S_ISREG(file_inode(exe)->i_mode) || !(exe->f_mode & FMODE_READ) || mnt->mnt_flags & MNT_NOEXEC ||
	    mnt->mnt_sb->s_iflags & SB_I_NOEXEC)
		return -EACCES;
	return file_permission(exe, MAY_EXEC);
}

static int set_exe(struct krg_restore *s, struct krg_r_mm *m)
{
	struct mm_struct *mm = current->mm;
	struct file *exe, *old;
	int err;

	if (!m->exe)
		return 0;
	exe = READ_ONCE(m->exe->file);
	err = exe ? judge_exe(exe) : -ENOENT;
	if (!err)
		err = krg_exe_deny_write(exe);
	if (err) {
		krg_restore_fail(s, err, "process %u: its program, file object %llu, cannot be used: error %d", m->builder->pid,
				 m->exe->object.id, err);
		return err;
	}
	mmap_write_lock(mm);
	old = rcu_replace_pointer(mm->exe_file, get_file(exe), true);
	mmap_write_unlock(mm);
	if (old) {
		krg_exe_allow_write(old);
		fput(old);
	}
	return 0;
}

/* A core of somebody who has, or had, other rights than the user must not become readable: then what exec chose stays. */
static void set_dumpable_of(struct mm_struct *mm, u32 dumpable)
{
	const struct cred *cred = current_cred();
	bool plain = uid_eq(cred->uid, cred->euid) && uid_eq(cred->uid, cred->suid) && uid_eq(cred->uid, cred->fsuid) &&
		     gid_eq(cred->gid, cred->egid) && gid_eq(cred->gid, cred->sgid) && gid_eq(cred->gid, cred->fsgid);

	if (dumpable == SUID_DUMP_USER && plain)
		set_mask_bits(&mm->flags, MMF_DUMPABLE_MASK, SUID_DUMP_USER);
	else if (dumpable != SUID_DUMP_USER)
		set_mask_bits(&mm->flags, MMF_DUMPABLE_MASK, SUID_DUMP_DISABLE);
}

static bool data_fits(const struct krg_r_mm *m)
{
	u64 limit = rlimit(RLIMIT_DATA);

	return limit == RLIM_INFINITY || (m->brk - m->start_brk) + (m->end_data - m->start_data) <= limit;
}

static int set_fields(struct krg_restore *s, struct krg_r_mm *m)
{
	struct mm_struct *mm = current->mm;

	if (!data_fits(m)) {
		krg_restore_fail(s, -ENOSPC, "process %u: its heap is larger than its limit", m->builder->pid);
		return -ENOSPC;
	}
	if (mmap_write_lock_killable(mm))
		return -EINTR;
	spin_lock(&mm->arg_lock);
	mm->start_code = m->start_code;
	mm->end_code = m->end_code;
	mm->start_data = m->start_data;
	mm->end_data = m->end_data;
	mm->start_brk = m->start_brk;
	mm->brk = m->brk;
	mm->start_stack = m->start_stack;
	mm->arg_start = m->arg_start;
	mm->arg_end = m->arg_end;
	mm->env_start = m->env_start;
	mm->env_end = m->env_end;
	spin_unlock(&mm->arg_lock);
	if (m->mmap_base)
		mm->mmap_base = m->mmap_base;
	memset(mm->saved_auxv, 0, sizeof(mm->saved_auxv));
	memcpy(mm->saved_auxv, m->auxv, m->auxv_words * sizeof(u64));
	/* Readers look for the end. */
	mm->saved_auxv[AT_VECTOR_SIZE - 2] = AT_NULL;
	mm->saved_auxv[AT_VECTOR_SIZE - 1] = AT_NULL;
	if (m->flags & MM_LOCK_FUTURE && can_do_mlock())
		mm->def_flags |= VM_LOCKED;
	mmap_write_unlock(mm);
	if (m->flags & MM_NO_HUGE)
		set_bit(MMF_DISABLE_THP, &mm->flags);
	else
		clear_bit(MMF_DISABLE_THP, &mm->flags);
	set_mask_bits(&mm->flags, MMF_DUMP_FILTER_MASK, (unsigned long)m->filter << MMF_DUMP_FILTER_SHIFT);
	set_dumpable_of(mm, m->dumpable);
	return 0;
}

/* mlockall(MCL_FUTURE) of the helper must not lock what is mapped for the image. */
static int clear_default_flags(void)
{
	if (mmap_write_lock_killable(current->mm))
		return -EINTR;
	current->mm->def_flags &= ~(VM_LOCKED | VM_LOCKONFAULT);
	mmap_write_unlock(current->mm);
	return 0;
}

int krg_rebuild_mm(struct krg_restore *s, struct krg_r_mm *m)
{
	int err = check_special(s, m);

	if (!err) {
		krg_inherit_keep(m);
		err = unmap_all(s, m);
	}
	if (!err)
		err = clear_default_flags();
	if (!err)
		err = map_all(s, m, true);
	if (!err)
		err = map_all(s, m, false);
	if (!err)
		err = krg_inherit_drop(s, m);
	if (!err)
		err = krg_rebuild_pages(s, m);
	if (!err)
		err = set_exe(s, m);
	if (!err)
		err = set_fields(s, m);
	/* Last: from now on pages of it come from elsewhere when they are touched. */
	if (!err)
		err = krg_follow_in_attach(s, m);
	/* All others have said what it is. */
	if (err)
		krg_restore_fail(s, err, "process %u: its memory could not be made: error %d", m->builder->pid, err);
	return err;
}
