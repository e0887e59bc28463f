/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the file system share: a mounted name space, its inodes,
 * and transactions over its records. Records are pages of containers in a domain
 * of their own (names/names.h says which); the data of a file is a container of
 * the domain that has its number of replicas.
 *
 * Files: tx.c (transactions), inode.c (attributes and sizes), dir.c (names),
 * xattr.c, lock.c (flock and fcntl), reap.c (the end of files without a name),
 * file.c (open files), page.c (faults), super.c (mounting).
 *
 * Locks, outer to inner, all outside of the folio lock (domain.h):
 *	i_rwsem			the kernel's: one writer of a file or directory on this node
 *	hadsm_names.use_lock	who of this node uses which inode, against the reaper
 *	hadsm_names.lock	one transaction at a time on this node; held while it runs
 *				with all its pages locked, never while it waits for one
 * hadsm_domains_mutex (domain.h) is taken inside of i_rwsem and use_lock, since the first
 * use of a file may make the domain of its data; never inside of hadsm_names.lock.
 */
#ifndef KRG_HADSM_FS_H
#define KRG_HADSM_FS_H

#include <linux/fs.h>

#include <kerrighed/compat.h>

#include "domain.h"
#include "names/names.h"

/* Pages one transaction may need: a rename walks up to the root. */
#define HADSM_TX_PAGES		320

struct hadsm_tx_page {
	u64 container;
	pgoff_t index;
	struct folio *folio;
};

/* One mounted name space; one super block each. */
struct hadsm_names {
	struct super_block *sb;
	char name[HADSM_NAME_MAX + 1];
	u32 replicas;			/* of the mount: what new files get by default */
	struct hadsm_domain *records;
	struct hadsm_domain *data[KRG_DSM_REPLICAS_MAX];	/* by replicas - 1; NULL until used; set once */
	struct hadsm_store *inodes;	/* the container of inode records */
	bool watched;			/* futexes are */

	struct mutex lock;		/* all below */
	struct krg_names_io io;
	unsigned int nr_pages;
	struct hadsm_tx_page page[HADSM_TX_PAGES];
	bool missed;			/* a page was not here: this one */
	bool again;			/* it was begun before, and a page was missing */
	u64 miss_container;
	pgoff_t miss_index;
	u16 miss_mode;

	struct mutex use_lock;		/* hadsm_inode.opens against the reaper */
	struct delayed_work reap_work;
	unsigned int reap_rounds;	/* of that work */
};

struct hadsm_inode {
	struct hadsm_store *data;	/* of a regular file since it was first used here: its pages */
	unsigned int opens;		/* under use_lock; 0: data may be replaced */
	struct krg_names_time btime;
	u32 replicas;			/* of its pages; of a directory: what new files get */
	unsigned long flags;		/* HADSM_I_*, atomic bits */
	struct inode vfs;
};

#define HADSM_I_MTIME		0	/* written: the record does not know when yet */

/* One transaction that is repeated until its pages are here. On the stack. */
#define HADSM_TX_WANTED		16
struct hadsm_tx {
	struct hadsm_names *names;
	unsigned int attempts;
	bool ordered;		/* what is wanted is held, and was fetched in the order of the pages */
	unsigned int nr_wanted;
	struct hadsm_tx_want {
		u64 container;
		pgoff_t index;
		u16 mode;
		struct hadsm_store *store;	/* NULL: neither held nor kept here for a moment */
		struct hadsm_waiter *grant;	/* of a page that is held */
	} want[HADSM_TX_WANTED];	/* what was missed so far, in the order of the pages */
};

static inline struct hadsm_inode *HADSM_I(struct inode *inode)
{
	return container_of(inode, struct hadsm_inode, vfs);
}

static inline struct hadsm_names *hadsm_names(const struct super_block *sb)
{
	return sb->s_fs_info;
}

/* tx.c */
void hadsm_tx_begin(struct hadsm_tx *tx);
/** True: a page was missing and is here now, again from the beginning. False: over, *@ret is the result. */
bool hadsm_tx_end(struct hadsm_tx *tx, int *ret);
int hadsm_tx_page(void *context, u64 container, u64 index, u32 mode, u8 **bytes);

/**
 * hadsm_tx() - runs one operation of the name space engine
 * @names: the name space
 * @call: an expression that calls it with &(@names)->io; may be evaluated many times
 *
 * Context: process; sleeps, killable, for pages of other nodes. Not under hadsm_names.lock.
 * Return: what the operation returns; -EINTR: killed; -EIO: a record is lost, or this node's part is over.
 */
#define hadsm_tx(names_, call) ({					\
	struct hadsm_tx tx_ = { .names = (names_) };			\
	int ret_;							\
	do {								\
		hadsm_tx_begin(&tx_);					\
		ret_ = (call);						\
	} while (hadsm_tx_end(&tx_, &ret_));				\
	ret_; })

/* inode.c */
extern const struct inode_operations hadsm_file_iops, hadsm_special_iops;
int hadsm_inodes_init(void);
void hadsm_inodes_exit(void);
struct inode *hadsm_alloc_inode(struct super_block *sb);
void hadsm_free_inode(struct inode *inode);
void hadsm_evict_inode(struct inode *inode);
/** The inode of @attr, with a reference; or an error pointer. */
struct inode *hadsm_iget(struct super_block *sb, const struct krg_names_attr *attr);
/** The inode with number @ino, as its record says now; or an error pointer. */
struct inode *hadsm_iget_number(struct super_block *sb, u64 ino);
/** The record's attributes become the inode's. -ESTALE: it is gone. */
int hadsm_refresh(struct inode *inode);
void hadsm_apply(struct inode *inode, const struct krg_names_attr *attr);
/** Sets what @mask says in the record, and the inode. */
int hadsm_set(struct inode *inode, u32 mask, struct krg_names_attr *attr);
/** It was written now; the record learns of it when the file is closed, or with the next change of size. */
void hadsm_touch(struct inode *inode);
/** The time of the last write, if the record does not have it yet. */
int hadsm_flush_times(struct inode *inode);
/** The size as the record says, if that is known here without asking; under the lock of a page it is the size now. */
bool hadsm_size_peek(struct inode *inode, loff_t *size);
/** Zeros from @size, where the file ends, to @to, where somebody is about to write or end it. */
int hadsm_fill_gap(struct inode *inode, loff_t size, loff_t to);
/** Zeros in [@from, @to) of one page, if anything was ever written there. */
int hadsm_zero_range(struct inode *inode, loff_t from, loff_t to);
int hadsm_permission(struct krg_idmap *idmap, struct inode *inode, int mask);
int hadsm_getattr(struct krg_idmap *idmap, const struct path *path, struct kstat *stat, u32 mask, unsigned int flags);
int hadsm_setattr(struct krg_idmap *idmap, struct dentry *dentry, struct iattr *attr);

/* dir.c */
extern const struct inode_operations hadsm_dir_iops, hadsm_symlink_iops;
extern const struct file_operations hadsm_dir_ops;
extern const struct dentry_operations hadsm_dentry_ops;

/* file.c */
int hadsm_fsync(struct file *file, loff_t start, loff_t end, int datasync);

/* futex.c */
/** While a name space is mounted: who waits on futexes is noted. -errno: this kernel does not let us. */
int hadsm_futex_watch(void);
void hadsm_futex_unwatch(void);
void hadsm_futex_exit(void);

/* lock.c */
void hadsm_locks_init(void);
int hadsm_lock(struct file *file, int cmd, struct file_lock *fl);
int hadsm_flock(struct file *file, int cmd, struct file_lock *fl);

/* xattr.c */
extern const struct xattr_handler *hadsm_xattr_handlers[];
ssize_t hadsm_listxattr(struct dentry *dentry, char *list, size_t size);

/* reap.c */
/** @inode gets one more user on this node; -ESTALE: it is gone. */
int hadsm_use(struct inode *inode);
void hadsm_unuse(struct inode *inode);
void hadsm_reap_work(struct work_struct *work);
void hadsm_reap_soon(struct hadsm_names *n);
/** Unmounting: this node uses nothing of it any more. */
void hadsm_reap_last(struct hadsm_names *n);

/* super.c */
/** The domain of files with @replicas copies; no reference: the name space keeps it. */
struct hadsm_domain *hadsm_data_domain(struct hadsm_names *n, u32 replicas);

static inline struct krg_names_time hadsm_time(struct timespec64 t)
{
	return (struct krg_names_time){ .sec = t.tv_sec, .nsec = t.tv_nsec };
}

static inline struct timespec64 hadsm_timespec(struct krg_names_time t)
{
	return (struct timespec64){ .tv_sec = t.sec, .tv_nsec = t.nsec };
}

#endif
