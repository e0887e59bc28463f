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
