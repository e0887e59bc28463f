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

#include <linux/fdtable.h>
#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#include <linux/rseq.h>	/* split off */
#endif

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

/* 6.6 and 6.7 hid the time stamps of an inode behind functions. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#define krg_inode_atime(inode)		inode_get_atime(inode)
#define krg_inode_mtime(inode)		inode_get_mtime(inode)
#define krg_inode_ctime(inode)		inode_get_ctime(inode)
#define krg_inode_set_atime(inode, ts)	inode_set_atime_to_ts(inode, ts)
#define krg_inode_set_mtime(inode, ts)	inode_set_mtime_to_ts(inode, ts)
#define krg_inode_set_ctime(inode, ts)	inode_set_ctime_to_ts(inode, ts)
#else
#define krg_inode_atime(inode)		((inode)->i_atime)
#define krg_inode_mtime(inode)		((inode)->i_mtime)
#define krg_inode_ctime(inode)		((inode)->i_ctime)
#define krg_inode_set_atime(inode, ts)	((void)((inode)->i_atime = (ts)))
#define krg_inode_set_mtime(inode, ts)	((void)((inode)->i_mtime = (ts)))
#define krg_inode_set_ctime(inode, ts)	((void)((inode)->i_ctime = (ts)))
#endif

/* Before 6.10 the marks of an object hang on a pointer in it; since then on the object. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define krg_mark_inode(connector)	((struct inode *)(connector)->obj)
#else
#define krg_mark_inode(connector)	container_of((connector)->obj, struct inode, i_fsnotify_marks)
#endif

/* 6.6 asks which attributes are wanted. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define krg_fillattr(idmap, mask, inode, stat)	generic_fillattr(idmap, mask, inode, stat)
#else
#define krg_fillattr(idmap, mask, inode, stat)	generic_fillattr(idmap, inode, stat)
#endif

/* 6.5: a read through a pipe that copies; before, it lent pages, and read_iter did the work. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define krg_splice_read		copy_splice_read
#else
#define krg_splice_read		generic_file_splice_read
#endif

/* 6.3 gave file locks a header, 6.9 a structure inside of them. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#include <linux/filelock.h>
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#define krg_fl_type(fl)		((fl)->c.flc_type)
#define krg_fl_owner(fl)	((fl)->c.flc_owner)
#define krg_fl_flags(fl)	((fl)->c.flc_flags)
#define krg_fl_pid(fl)		((fl)->c.flc_pid)
#define krg_fl_file(fl)		((fl)->c.flc_file)
#define krg_for_each_lock(list, fl)	list_for_each_entry(fl, list, c.flc_list)
#else
#define krg_fl_type(fl)		((fl)->fl_type)
#define krg_fl_owner(fl)	((fl)->fl_owner)
#define krg_fl_flags(fl)	((fl)->fl_flags)
#define krg_fl_pid(fl)		((fl)->fl_pid)
#define krg_fl_file(fl)		((fl)->fl_file)
#define krg_for_each_lock(list, fl)	list_for_each_entry(fl, list, fl_list)
#endif

/* 6.9: a lease is another structure, that begins as a lock does. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#define krg_lease			struct file_lease
#define krg_for_each_lease(list, lease)	list_for_each_entry(lease, list, c.flc_list)
#else
#define krg_lease			struct file_lock
#define krg_for_each_lease(list, lease)	list_for_each_entry(lease, list, fl_list)
#endif

/* The answer to who has a lock; a negative @pid is one of another node. */
static inline void krg_fl_set(struct file_lock *fl, int type, int pid)
{
	krg_fl_type(fl) = type;
	krg_fl_pid(fl) = pid;
}

/* The flags of futex_wait(): 6.7 put the size of the word where the mark of shared ones was. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#define krg_futex_shared(flags)	((flags) & 0x10)
#else
#define krg_futex_shared(flags)	((flags) & 0x01)
#endif

/* What the kernel itself stores for a futex wait that goes on after a signal; those of 6.7 say the size of the word too. */
static inline u32 krg_futex_restart_flags(bool shared, bool realtime, bool has_end)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	return 0x02 | (shared ? 0x10 : 0) | (realtime ? 0x20 : 0) | (has_end ? 0x40 : 0);
#else
	return (shared ? 0x01 : 0) | (realtime ? 0x02 : 0) | (has_end ? 0x04 : 0);
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

/* 6.3: flags of a mapping are set through functions, which lock it. The address space is locked for writing. */
static inline void krg_vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

static inline void krg_vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_clear(vma, flags);
#else
	vma->vm_flags &= ~flags;
#endif
}

/* A program that runs is not written to; 6.12 excepts files that are watched before they are read. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define krg_exe_deny_write(file)	exe_file_deny_write_access(file)
#define krg_exe_allow_write(file)	exe_file_allow_write_access(file)
#else
#define krg_exe_deny_write(file)	deny_write_access(file)
#define krg_exe_allow_write(file)	allow_write_access(file)
#endif

/* A sleeping task is on no run queue; 6.12 may leave it there until the scheduler comes by. */
static inline bool krg_task_off_queue(struct task_struct *task)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	return !READ_ONCE(task->on_rq) || READ_ONCE(task->se.sched_delayed);
#else
	return !READ_ONCE(task->on_rq);
#endif
}

/* 6.3: the area of restartable sequences has a length of its own. */
static inline void krg_rseq_set(struct task_struct *task, struct rseq __user *at, u32 length, u32 signature)
{
	task->rseq = at;
	task->rseq_sig = signature;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	task->rseq_len = length;
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

/* 6.7 allocates shrinkers itself. NULL: no memory. */
static inline struct shrinker *
krg_shrinker_new(const char *name, int seeks,
		 unsigned long (*count)(struct shrinker *, struct shrink_control *),
		 unsigned long (*scan)(struct shrinker *, struct shrink_control *))
{
	struct shrinker *shrinker;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	shrinker = shrinker_alloc(0, "%s", name);
#else
	shrinker = kzalloc(sizeof(*shrinker), GFP_KERNEL);
#endif
	if (!shrinker)
		return NULL;
	shrinker->count_objects = count;
	shrinker->scan_objects = scan;
	shrinker->seeks = seeks;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	shrinker_register(shrinker);
#else
	if (register_shrinker(shrinker, "%s", name)) {
		kfree(shrinker);
		return NULL;
	}
#endif
	return shrinker;
}

static inline void krg_shrinker_free(struct shrinker *shrinker)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	shrinker_free(shrinker);
#else
	unregister_shrinker(shrinker);
	kfree(shrinker);
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

/* Of the flags of futex_wait(): its end is of CLOCK_REALTIME. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#define krg_futex_realtime(flags)	((flags) & 0x20)
#else
#define krg_futex_realtime(flags)	((flags) & 0x02)
#endif

/* 6.5 gives no mappings with the pages of another address space. */
static inline long krg_pages_of(struct mm_struct *mm, unsigned long at, unsigned long count, unsigned int flags,
				struct page **pages)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
	return get_user_pages_remote(mm, at, count, flags, pages, NULL);
#else
	return get_user_pages_remote(mm, at, count, flags, pages, NULL, NULL);
#endif
}

/* 6.6: what a process would undo of a set of semaphores is behind the structure, before it was pointed to. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
typedef short krg_semadj_t[];
#else
typedef short *krg_semadj_t;
#endif
#define krg_semadj(adjust)	((const short *)(adjust))

/* A new name in the same folder, whose lock is held; what had it is gone then. */
static inline int krg_rename_within(struct vfsmount *mnt, struct inode *dir, struct dentry *from, struct dentry *to)
{
	struct renamedata data = {
		.old_dir = dir, .old_dentry = from, .new_dir = dir, .new_dentry = to,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
		.old_mnt_idmap = mnt_idmap(mnt), .new_mnt_idmap = mnt_idmap(mnt),
#else
		.old_mnt_userns = mnt_user_ns(mnt), .new_mnt_userns = mnt_user_ns(mnt),
#endif
	};

	return vfs_rename(&data);
}

/*
 * Whether a page of memory of no file may be mapped more than once. 6.11 counts for large folios as a whole only: of them
 * it may say yes too often.
 */
static inline bool krg_page_maybe_shared(struct page *page)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	return folio_mapcount(page_folio(page)) > 1;
#else
	return page_mapcount(page) > 1;
#endif
}

/* 6.12 looks for the table itself. Under RCU. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define krg_close_on_exec(fd, files)	close_on_exec(fd, files)
#else
#define krg_close_on_exec(fd, files)	close_on_exec(fd, files_fdtable(files))
#endif

/* 6.12 allocates the owner of a file when there is one. */
static inline struct fown_struct *krg_file_owner(struct file *file)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	return file_f_owner(file);
#else
	return &file->f_owner;
#endif
}

/* 6.3: the area of restartable sequences has a length; before, it was always the first one's. */
static inline u32 krg_rseq_length(const struct task_struct *task)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	return task->rseq_len;
#else
	return 32;
#endif
}

/* 6.12 made a hash list of it. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define krg_for_each_posix_timer(signal, timer)	hlist_for_each_entry(timer, &(signal)->posix_timers, list)
#define krg_posix_timers_empty(signal)		hlist_empty(&(signal)->posix_timers)
#else
#define krg_for_each_posix_timer(signal, timer)	list_for_each_entry(timer, &(signal)->posix_timers, list)
#define krg_posix_timers_empty(signal)		list_empty(&(signal)->posix_timers)
#endif

/* 6.6: the processor's own stack of return addresses. */
#ifdef VM_SHADOW_STACK
#define KRG_VM_SHADOW_STACK	VM_SHADOW_STACK
#else
#define KRG_VM_SHADOW_STACK	0UL
#endif

/* 6.7 made one word of the options of internet sockets. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#define krg_inet_pktinfo(sk)	(inet_cmsg_flags(inet_sk(sk)) & IP_CMSG_PKTINFO)
#else
#define krg_inet_pktinfo(sk)	(inet_sk(sk)->cmsg_flags & IP_CMSG_PKTINFO)
#endif

/* 6.12: only of the caller. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define krg_dequeue_signal(mask, info, type)	dequeue_signal(mask, info, type)
#else
#define krg_dequeue_signal(mask, info, type)	dequeue_signal(current, mask, info, type)
#endif

#endif
