// SPDX-License-Identifier: GPL-2.0
/*
 * Names: lookup, creation, removal, renaming, listing of directories. The kernel's
 * dentries are a cache that every use checks against the directory's records; the
 * transaction alone decides what exists, since another node may have come first.
 */
#include <linux/cred.h>
#include <linux/namei.h>
#include <linux/slab.h>

#include "fs.h"

/* A name that points to an inode that is gone is seen only while it is being removed. */
#define LOOKUP_TRIES	16
#define READDIR_ROOM	16

/* ---- looking up ---- */

static int dir_lookup(struct inode *dir, const struct qstr *name, u64 *ino)
{
	struct hadsm_names *n = hadsm_names(dir->i_sb);
	u8 type;

	return hadsm_tx(n, krg_names_lookup(&n->io, dir->i_ino, name->name, name->len, ino, &type));
}

/* The inode @name stands for; NULL: there is no such name. */
static struct inode *dir_inode(struct inode *dir, const struct qstr *name)
{
	struct inode *inode;
	int tries, err;
	u64 ino;

	for (tries = 0; tries < LOOKUP_TRIES; tries++) {
		err = dir_lookup(dir, name, &ino);
		if (err)
			return err == -ENOENT ? NULL : ERR_PTR(err);
		inode = hadsm_iget_number(dir->i_sb, ino);
		if (inode != ERR_PTR(-ESTALE))
			return inode;
	}
	return inode;
}

static struct dentry *hadsm_lookup(struct inode *dir, struct dentry *dentry, unsigned int flags)
{
	if (dentry->d_name.len > KRG_NAMES_NAME_MAX)
		return ERR_PTR(-ENAMETOOLONG);
	return d_splice_alias(dir_inode(dir, &dentry->d_name), dentry);
}

/* Is what the kernel remembers of a name still true? */
static int hadsm_d_revalidate(struct dentry *dentry, unsigned int flags)
{
	struct dentry *parent;
	int err;
	u64 ino;

	if (flags & LOOKUP_RCU)
		return -ECHILD;
	/* Whoever opens to create wants a dentry that nobody has an opinion of. */
	if (d_is_negative(dentry) && (flags & LOOKUP_OPEN) && (flags & LOOKUP_CREATE))
		return 0;
	parent = dget_parent(dentry);
	err = dir_lookup(d_inode(parent), &dentry->d_name, &ino);
	dput(parent);
	if (err == -ENOENT)
		return d_is_negative(dentry);
	if (err)
		return err == -ESTALE || err == -ENOTDIR ? 0 : err;
	return d_is_positive(dentry) && d_inode(dentry)->i_ino == ino;
}

const struct dentry_operations hadsm_dentry_ops = {
	.d_revalidate = hadsm_d_revalidate,
};

/* ---- new inodes ---- */

static struct krg_names_attr new_attr(struct inode *dir, umode_t mode, dev_t rdev)
{
	struct krg_names_attr attr = {
		.mode = mode,
		.uid = from_kuid(&init_user_ns, current_fsuid()),
		.gid = from_kgid(&init_user_ns, current_fsgid()),
		.rdev_major = MAJOR(rdev), .rdev_minor = MINOR(rdev),
		.replicas = HADSM_I(dir)->replicas,
	};

	if (dir->i_mode & S_ISGID) {
		attr.gid = i_gid_read(dir);
		if (S_ISDIR(mode))
			attr.mode |= S_ISGID;
	}
	return attr;
}

/* A new inode with a name, or an error pointer. */
static struct inode *dir_create(struct inode *dir, const struct qstr *name, umode_t mode, dev_t rdev,
				const char *target)
{
	struct krg_names_attr attr, wanted = new_attr(dir, mode, rdev);
	struct hadsm_names *n = hadsm_names(dir->i_sb);
	struct inode *inode;
	int err;

	if (name->len > KRG_NAMES_NAME_MAX)
		return ERR_PTR(-ENAMETOOLONG);
	err = hadsm_tx(n, (attr = wanted,
			   krg_names_create(&n->io, dir->i_ino, name->name, name->len, &attr, target,
					    target ? strlen(target) : 0)));
	if (err)
		return ERR_PTR(err);
	inode = hadsm_iget(dir->i_sb, &attr);
	hadsm_refresh(dir);
	return inode;
}

/* It exists now, whatever becomes of this node's idea of it. */
static int dir_instantiate(struct dentry *dentry, struct inode *inode)
{
	if (IS_ERR(inode))
		return PTR_ERR(inode);
	d_instantiate(dentry, inode);
	return 0;
}

static int hadsm_create(struct krg_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode,
			bool excl)
{
	return dir_instantiate(dentry, dir_create(dir, &dentry->d_name, mode | S_IFREG, 0, NULL));
}

static int hadsm_mkdir(struct krg_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode)
{
	return dir_instantiate(dentry, dir_create(dir, &dentry->d_name, mode | S_IFDIR, 0, NULL));
}

static int hadsm_mknod(struct krg_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode,
		       dev_t rdev)
{
	return dir_instantiate(dentry, dir_create(dir, &dentry->d_name, mode, rdev, NULL));
}

static int hadsm_symlink(struct krg_idmap *idmap, struct inode *dir, struct dentry *dentry,
			 const char *target)
{
	return dir_instantiate(dentry, dir_create(dir, &dentry->d_name, S_IFLNK | 0777, 0, target));
}

static int hadsm_tmpfile(struct krg_idmap *idmap, struct inode *dir, struct file *file, umode_t mode)
{
	struct krg_names_attr attr, wanted = new_attr(dir, mode | S_IFREG, 0);
	struct hadsm_names *n = hadsm_names(dir->i_sb);
	struct inode *inode;
	int err;

	err = hadsm_tx(n, (attr = wanted, krg_names_tmpfile(&n->io, &attr)));
	if (err)
		return finish_open_simple(file, err);
	inode = hadsm_iget(dir->i_sb, &attr);
	if (IS_ERR(inode))
		return finish_open_simple(file, PTR_ERR(inode));
	set_nlink(inode, 1);	/* d_tmpfile() takes it away */
	d_tmpfile(file, inode);
	return finish_open_simple(file, 0);
}

/* Opening finds or creates in one go: another node may create the name, or remove it, between the two. */
static int hadsm_atomic_open(struct inode *dir, struct dentry *dentry, struct file *file,
			     unsigned int open_flag, umode_t mode)
{
	struct inode *inode;
	struct dentry *alias;
	int tries;

	if (dentry->d_name.len > KRG_NAMES_NAME_MAX)
		return -ENAMETOOLONG;
	if (!d_in_lookup(dentry))	/* known not to exist, and nothing is to be created */
		return -ENOENT;
	for (tries = 0; tries < LOOKUP_TRIES; tries++) {
		inode = dir_inode(dir, &dentry->d_name);
		if (inode || !(open_flag & O_CREAT)) {
			alias = d_splice_alias(inode, dentry);
			return IS_ERR(alias) ? PTR_ERR(alias) : finish_no_open(file, alias);
		}
		inode = dir_create(dir, &dentry->d_name, mode | S_IFREG, 0, NULL);
		if (inode != ERR_PTR(-EEXIST))
			break;
		if (open_flag & O_EXCL)
			return -EEXIST;
	}
	alias = d_splice_alias(inode, dentry);
	if (IS_ERR(alias))
		return PTR_ERR(alias);
	file->f_mode |= FMODE_CREATED;
	return finish_open(file, alias ?: dentry, NULL);
}

/* ---- links ---- */

static int hadsm_link(struct dentry *old, struct inode *dir, struct dentry *dentry)
{
	struct hadsm_names *n = hadsm_names(dir->i_sb);
	struct inode *inode = d_inode(old);
	int err = hadsm_tx(n, krg_names_link(&n->io, inode->i_ino, dir->i_ino, dentry->d_name.name,
					     dentry->d_name.len));

	if (err)
		return err;
	hadsm_refresh(inode);
	hadsm_refresh(dir);
	ihold(inode);
	d_instantiate(dentry, inode);
	return 0;
}

/* A name of @inode is gone, maybe the last. */
static void dir_removed(struct inode *dir, struct inode *inode)
{
	hadsm_refresh(dir);
	if (!inode)
		return;
	if (hadsm_refresh(inode) == -ESTALE)
		clear_nlink(inode);
	if (!inode->i_nlink)
		hadsm_reap_soon(hadsm_names(dir->i_sb));
}

static int hadsm_unlink(struct inode *dir, struct dentry *dentry)
{
	struct hadsm_names *n = hadsm_names(dir->i_sb);
	u64 ino;
	int err = hadsm_tx(n, krg_names_unlink(&n->io, dir->i_ino, dentry->d_name.name,
					       dentry->d_name.len, &ino));

	if (!err)
		dir_removed(dir, d_inode(dentry));
	return err;
}

static int hadsm_rmdir(struct inode *dir, struct dentry *dentry)
{
	struct hadsm_names *n = hadsm_names(dir->i_sb);
	u64 ino;
	int err = hadsm_tx(n, krg_names_rmdir(&n->io, dir->i_ino, dentry->d_name.name,
					      dentry->d_name.len, &ino));

	if (!err)
		dir_removed(dir, d_inode(dentry));
	return err;
}

static int hadsm_rename(struct krg_idmap *idmap, struct inode *old_dir, struct dentry *old,
			struct inode *new_dir, struct dentry *new, unsigned int flags)
{
	struct hadsm_names *n = hadsm_names(old_dir->i_sb);
	u32 how = 0;
	u64 replaced;
	int err;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (flags & RENAME_NOREPLACE)
		how |= KRG_NAMES_NOREPLACE;
	if (flags & RENAME_EXCHANGE)
		how |= KRG_NAMES_EXCHANGE;
	err = hadsm_tx(n, krg_names_rename(&n->io, old_dir->i_ino, old->d_name.name, old->d_name.len,
					   new_dir->i_ino, new->d_name.name, new->d_name.len, how,
					   &replaced));
	if (err)
		return err;
	hadsm_refresh(d_inode(old));
	dir_removed(old_dir, d_inode(new));
	hadsm_refresh(new_dir);
	return 0;
}

/* ---- symbolic links ---- */

static const char *hadsm_get_link(struct dentry *dentry, struct inode *inode, struct delayed_call *done)
{
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	char *target;
	int len;

	if (!dentry)
		return ERR_PTR(-ECHILD);
	target = kmalloc(KRG_NAMES_TARGET_MAX + 1, GFP_KERNEL);
	if (!target)
		return ERR_PTR(-ENOMEM);
	len = hadsm_tx(n, krg_names_readlink(&n->io, inode->i_ino, target, KRG_NAMES_TARGET_MAX));
	if (len < 0) {
		kfree(target);
		return ERR_PTR(len);
	}
	target[len] = 0;
	set_delayed_call(done, kfree_link, target);
	return target;
}

/* ---- listing ---- */

/* Telling may fault, on a page of ours too: under no lock but the directory's. */
static bool dir_emit_entries(struct dir_context *ctx, const struct krg_names_entry *entry, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		if (!dir_emit(ctx, entry[i].name, entry[i].len, entry[i].ino, entry[i].type))
			return false;
		ctx->pos = entry[i].next + 2;
	}
	return true;
}

static int hadsm_iterate(struct file *file, struct dir_context *ctx)
{
	struct inode *dir = file_inode(file);
	struct hadsm_names *n = hadsm_names(dir->i_sb);
	struct krg_names_entry *entry;
	u64 from, cookie;
	int count;

	if (!dir_emit_dots(file, ctx))
		return 0;
	entry = kmalloc_array(READDIR_ROOM, sizeof(*entry), GFP_KERNEL);
	if (!entry)
		return -ENOMEM;
	for (;;) {
		from = ctx->pos - 2;
		count = hadsm_tx(n, (cookie = from, krg_names_readdir(&n->io, dir->i_ino, &cookie, entry,
								      READDIR_ROOM)));
		if (count <= 0 || !dir_emit_entries(ctx, entry, count))
			break;
		ctx->pos = cookie + 2;
	}
	kfree(entry);
	return count < 0 ? count : 0;
}

const struct inode_operations hadsm_dir_iops = {
	.lookup = hadsm_lookup,
	.create = hadsm_create,
	.atomic_open = hadsm_atomic_open,
	.tmpfile = hadsm_tmpfile,
	.link = hadsm_link,
	.unlink = hadsm_unlink,
	.symlink = hadsm_symlink,
	.mkdir = hadsm_mkdir,
	.rmdir = hadsm_rmdir,
	.mknod = hadsm_mknod,
	.rename = hadsm_rename,
	.permission = hadsm_permission,
	.getattr = hadsm_getattr,
	.setattr = hadsm_setattr,
	.listxattr = hadsm_listxattr,
};

const struct inode_operations hadsm_symlink_iops = {
	.get_link = hadsm_get_link,
	.permission = hadsm_permission,
	.getattr = hadsm_getattr,
	.setattr = hadsm_setattr,
	.listxattr = hadsm_listxattr,
};

const struct file_operations hadsm_dir_ops = {
	.owner = THIS_MODULE,
	.llseek = generic_file_llseek,
	.read = generic_read_dir,
	.iterate_shared = hadsm_iterate,
	.fsync = hadsm_fsync,
};
