// SPDX-License-Identifier: GPL-2.0
/*
 * Inodes of the file system: what the kernel knows of a record, refreshed from it
 * whenever somebody asks; attributes and sizes. What is here is a copy: the record
 * decides. Reading it costs a message only when another node has changed it.
 *
 * A file grows after its new bytes are there, and shrinks before the old ones go:
 * first the size, then a hole to the end. Bytes beyond the end are zeros, unless a
 * node died while it made a file longer: the record knows how far that was going
 * (krg_names_append()), and whoever makes the file longer next clears it.
 */
#include <linux/cred.h>
#include <linux/highmem.h>
#include <linux/slab.h>

#include "fs.h"

static struct kmem_cache *inode_cache;

#define LAST_INDEX(inode)	((inode)->i_sb->s_maxbytes >> PAGE_SHIFT)

/* ---- memory ---- */

static void inode_construct(void *memory)
{
	struct hadsm_inode *hi = memory;

	inode_init_once(&hi->vfs);
}

int hadsm_inodes_init(void)
{
	inode_cache = kmem_cache_create("hadsm_inode", sizeof(struct hadsm_inode), 0,
					SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT, inode_construct);
	return inode_cache ? 0 : -ENOMEM;
}

void hadsm_inodes_exit(void)
{
	kmem_cache_destroy(inode_cache);	/* after an RCU period: hadsm_exit() */
}

struct inode *hadsm_alloc_inode(struct super_block *sb)
{
	struct hadsm_inode *hi = alloc_inode_sb(sb, inode_cache, GFP_KERNEL);

	if (!hi)
		return NULL;
	hi->data = NULL;
	hi->opens = 0;
	hi->flags = 0;
	memset(&hi->btime, 0, sizeof(hi->btime));
	return &hi->vfs;
}

void hadsm_free_inode(struct inode *inode)
{
	kmem_cache_free(inode_cache, HADSM_I(inode));
}

void hadsm_evict_inode(struct inode *inode)
{
	struct hadsm_store *s = HADSM_I(inode)->data;

	/* Its own page cache is empty: i_mapping is the store's. */
	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	inode->i_mapping = &inode->i_data;
	if (s) {
		hadsm_store_forget(s);
		hadsm_store_put(s);
	}
}

/* ---- the record and the inode ---- */

void hadsm_apply(struct inode *inode, const struct krg_names_attr *attr)
{
	struct hadsm_inode *hi = HADSM_I(inode);

	spin_lock(&inode->i_lock);
	inode->i_mode = attr->mode;
	i_uid_write(inode, attr->uid);
	i_gid_write(inode, attr->gid);
	set_nlink(inode, attr->nlink);
	inode->i_blocks = DIV_ROUND_UP_ULL(attr->size, 512);
	krg_inode_set_atime(inode, hadsm_timespec(attr->atime));
	if (!test_bit(HADSM_I_MTIME, &hi->flags)) {
		krg_inode_set_mtime(inode, hadsm_timespec(attr->mtime));
		krg_inode_set_ctime(inode, hadsm_timespec(attr->ctime));
	}
	hi->btime = attr->btime;
	hi->replicas = attr->replicas;
	i_size_write(inode, attr->size);
	/* The kernel's own functions for pages and offsets ask the mapping's inode. */
	if (hi->data)
		i_size_write(hi->data->inode, attr->size);
	spin_unlock(&inode->i_lock);
}

static void inode_begin(struct inode *inode, const struct krg_names_attr *attr)
{
	hadsm_apply(inode, attr);
	switch (attr->mode & S_IFMT) {
	case S_IFDIR:
		inode->i_op = &hadsm_dir_iops;
		inode->i_fop = &hadsm_dir_ops;
		break;
	case S_IFREG:
		inode->i_op = &hadsm_file_iops;
		inode->i_fop = &hadsm_file_ops;
		break;
	case S_IFLNK:
		inode->i_op = &hadsm_symlink_iops;
		break;
	default:
		inode->i_op = &hadsm_special_iops;
		init_special_inode(inode, attr->mode, MKDEV(attr->rdev_major, attr->rdev_minor));
	}
}

struct inode *hadsm_iget(struct super_block *sb, const struct krg_names_attr *attr)
{
	struct inode *inode = iget_locked(sb, attr->ino);

	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (!(inode->i_state & I_NEW)) {
		hadsm_apply(inode, attr);
		return inode;
	}
	inode_begin(inode, attr);
	unlock_new_inode(inode);
	return inode;
}

struct inode *hadsm_iget_number(struct super_block *sb, u64 ino)
{
	struct hadsm_names *n = hadsm_names(sb);
	struct krg_names_attr attr;
	int err = hadsm_tx(n, krg_names_getattr(&n->io, ino, &attr));

	return err ? ERR_PTR(err) : hadsm_iget(sb, &attr);
}

int hadsm_refresh(struct inode *inode)
{
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	struct krg_names_attr attr;
	int err = hadsm_tx(n, krg_names_getattr(&n->io, inode->i_ino, &attr));

	if (!err)
		hadsm_apply(inode, &attr);
	return err;
}

int hadsm_set(struct inode *inode, u32 mask, struct krg_names_attr *attr)
{
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	struct krg_names_attr set, *a = attr;
	int err;

	/* May be called again: what is to be set must not be overwritten. */
	set = *a;
	err = hadsm_tx(n, (*a = set, krg_names_setattr(&n->io, inode->i_ino, mask, a)));
	if (!err)
		hadsm_apply(inode, a);
	return err;
}

int hadsm_flush_times(struct inode *inode)
{
	struct krg_names_attr attr = { };
	int err;

	if (!test_and_clear_bit(HADSM_I_MTIME, &HADSM_I(inode)->flags))
		return 0;
	attr.mtime = hadsm_time(krg_inode_mtime(inode));
	attr.ctime = hadsm_time(krg_inode_ctime(inode));
	err = hadsm_set(inode, KRG_NAMES_SET_MTIME | KRG_NAMES_SET_CTIME, &attr);
	return err == -ESTALE ? 0 : err;
}

void hadsm_touch(struct inode *inode)
{
	struct timespec64 now = current_time(inode);

	spin_lock(&inode->i_lock);
	krg_inode_set_mtime(inode, now);
	krg_inode_set_ctime(inode, now);
	set_bit(HADSM_I_MTIME, &HADSM_I(inode)->flags);
	spin_unlock(&inode->i_lock);
}

bool hadsm_size_peek(struct inode *inode, loff_t *size)
{
	struct address_space *mapping = hadsm_names(inode->i_sb)->inodes->inode->i_mapping;
	struct folio *folio = filemap_get_folio(mapping, (u32)inode->i_ino);
	bool known;

	if (IS_ERR_OR_NULL(folio))
		return false;
	*size = le64_to_cpu(READ_ONCE(*(__le64 *)(folio_address(folio) + KRG_NAMES_SIZE_OFFSET)));
	smp_rmb();
	/* Another node changes it after it was taken away here: if it still is here, it was current. */
	known = READ_ONCE(folio->mapping) == mapping && folio_test_uptodate(folio);
	folio_put(folio);
	return known;
}

/* ---- sizes ---- */

int hadsm_zero_range(struct inode *inode, loff_t from, loff_t to)
{
	struct folio *folio;

	if (from >= to)
		return 0;
	folio = hadsm_page_get(HADSM_I(inode)->data, from >> PAGE_SHIFT, KRG_DSM_WRITE);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	memset(folio_address(folio) + offset_in_page(from), 0, to - from);
	folio_unlock(folio);
	folio_put(folio);
	return 0;
}

int hadsm_fill_gap(struct inode *inode, loff_t size, loff_t to)
{
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	loff_t end = round_up(size, PAGE_SIZE);
	u64 promised;
	int err = hadsm_tx(n, krg_names_append(&n->io, inode->i_ino, 0, &promised));

	/* A program may have stored behind the end, within the page it has mapped. */
	if (!err)
		err = hadsm_zero_range(inode, size, end);
	if (!err && promised > end)
		err = hadsm_punch(HADSM_I(inode)->data, end >> PAGE_SHIFT,
				  (promised - 1) >> PAGE_SHIFT);
	return err;
}

/* Somebody else may change the size meanwhile: then one of the two came first. */
static int size_set(struct inode *inode, loff_t to)
{
	struct timespec64 now = current_time(inode);
	struct krg_names_attr attr = { .size = to, .mtime = hadsm_time(now), .ctime = hadsm_time(now) };
	struct hadsm_store *s = HADSM_I(inode)->data;
	loff_t end = round_up(to, PAGE_SIZE), size;
	int err = hadsm_refresh(inode);

	size = i_size_read(inode);
	if (!err && to > size)
		err = hadsm_fill_gap(inode, size, to);
	clear_bit(HADSM_I_MTIME, &HADSM_I(inode)->flags);
	if (!err)
		err = hadsm_set(inode, KRG_NAMES_SET_SIZE | KRG_NAMES_SET_MTIME | KRG_NAMES_SET_CTIME,
				&attr);
	if (!err && to < size)
		err = hadsm_zero_range(inode, to, end);
	if (!err && end < size)
		err = hadsm_punch(s, end >> PAGE_SHIFT, LAST_INDEX(inode));
	return err;
}

static int setattr_size(struct inode *inode, loff_t to)
{
	int err = hadsm_use(inode);	/* its pages */

	if (err)
		return err;
	err = size_set(inode, to);
	hadsm_unuse(inode);
	return err;
}

/* ---- inode operations ---- */

int hadsm_permission(struct krg_idmap *idmap, struct inode *inode, int mask)
{
	int err;

	if (mask & MAY_NOT_BLOCK)
		return -ECHILD;
	err = hadsm_refresh(inode);
	return err ?: generic_permission(idmap, inode, mask);
}

int hadsm_getattr(struct krg_idmap *idmap, const struct path *path, struct kstat *stat, u32 mask,
		  unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);
	int err = hadsm_refresh(inode);

	if (err)
		return err;
	krg_fillattr(idmap, mask, inode, stat);
	stat->btime = hadsm_timespec(HADSM_I(inode)->btime);
	stat->result_mask |= STATX_BTIME;
	return 0;
}

/* What setattr_copy() made of it: it knows about capabilities and groups. */
static u32 setattr_mask(struct inode *inode, const struct iattr *iattr, struct krg_names_attr *attr)
{
	u32 mask = KRG_NAMES_SET_CTIME;

	attr->mode = inode->i_mode;
	attr->uid = i_uid_read(inode);
	attr->gid = i_gid_read(inode);
	attr->atime = hadsm_time(krg_inode_atime(inode));
	attr->mtime = hadsm_time(krg_inode_mtime(inode));
	attr->ctime = hadsm_time(current_time(inode));
	if (iattr->ia_valid & ATTR_MODE)
		mask |= KRG_NAMES_SET_MODE;
	if (iattr->ia_valid & ATTR_UID)
		mask |= KRG_NAMES_SET_UID;
	if (iattr->ia_valid & ATTR_GID)
		mask |= KRG_NAMES_SET_GID;
	if (iattr->ia_valid & ATTR_ATIME)
		mask |= KRG_NAMES_SET_ATIME;
	if (iattr->ia_valid & ATTR_MTIME) {
		mask |= KRG_NAMES_SET_MTIME;
		clear_bit(HADSM_I_MTIME, &HADSM_I(inode)->flags);
	}
	return mask;
}

int hadsm_setattr(struct krg_idmap *idmap, struct dentry *dentry, struct iattr *iattr)
{
	struct inode *inode = d_inode(dentry);
	struct krg_names_attr attr = { };
	int err = hadsm_refresh(inode);

	if (!err)
		err = setattr_prepare(idmap, dentry, iattr);
	if (!err && (iattr->ia_valid & ATTR_SIZE))
		err = setattr_size(inode, iattr->ia_size);
	if (err || !(iattr->ia_valid & (ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_ATIME | ATTR_MTIME)))
		return err;
	setattr_copy(idmap, inode, iattr);
	err = hadsm_set(inode, setattr_mask(inode, iattr, &attr), &attr);
	if (err)
		hadsm_refresh(inode);
	return err;
}

const struct inode_operations hadsm_file_iops = {
	.permission = hadsm_permission,
	.getattr = hadsm_getattr,
	.setattr = hadsm_setattr,
	.listxattr = hadsm_listxattr,
};

/* Devices, fifos, sockets: names of things that are each node's own. */
const struct inode_operations hadsm_special_iops = {
	.permission = hadsm_permission,
	.getattr = hadsm_getattr,
	.setattr = hadsm_setattr,
	.listxattr = hadsm_listxattr,
};
