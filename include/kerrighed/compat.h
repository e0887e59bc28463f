/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference between the kernels we build for, and the only place that
 * asks for a version. Code elsewhere is written for one kernel: this one.
 */
#ifndef KRG_COMPAT_H
#define KRG_COMPAT_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "Kerrighed needs Linux 6.1 or newer"
#endif

#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/mm.h>
#include <linux/mount.h>

/*
 * Debian's kernels zero every local variable. For arrays that are filled before
 * they are read, on paths that every message takes, that is time for nothing.
 */
#if defined(__CHECKER__) || !__has_attribute(__uninitialized__)
#define krg_uninitialized
#else
#define krg_uninitialized	__attribute__((__uninitialized__))
#endif

/* 6.3 replaced the user namespace of a mount by an id map in every vfs call. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#define krg_mnt_idmap(mnt)	mnt_idmap(mnt)
#else
#define krg_mnt_idmap(mnt)	mnt_user_ns(mnt)
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#define krg_idmap	mnt_idmap	/* struct krg_idmap */
#else
#define krg_idmap	user_namespace
#endif

/* 6.6 hid the time stamps of an inode behind functions. */
static inline void krg_inode_set_times(struct inode *inode, struct timespec64 now)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	inode_set_atime_to_ts(inode, now);
	inode_set_mtime_to_ts(inode, now);
	inode_set_ctime_to_ts(inode, now);
#else
	inode->i_atime = now;
	inode->i_mtime = now;
	inode->i_ctime = now;
#endif
}

/* 6.4: a fault may hold the lock of its VMA only. The one it holds is released; VM_FAULT_RETRY must follow. */
static inline void krg_fault_release(struct vm_fault *vmf)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	release_fault_lock(vmf);
#else
	mmap_read_unlock(vmf->vma->vm_mm);
#endif
}

/* Unmaps @folio, which is locked, and removes it from @mapping; 6.7 gave the exported way to do it folios. */
static inline int krg_remove_folio(struct address_space *mapping, struct folio *folio)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	return generic_error_remove_folio(mapping, folio);
#else
	return generic_error_remove_page(mapping, &folio->page);
#endif
}

/* 6.4 renamed the setter, when ftrace_regs stopped being pt_regs. */
static inline void krg_ftrace_set_ip(struct ftrace_regs *regs, unsigned long ip)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	ftrace_regs_set_instruction_pointer(regs, ip);
#else
	ftrace_instruction_pointer_set(regs, ip);
#endif
}

#endif
