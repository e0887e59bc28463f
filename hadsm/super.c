// SPDX-License-Identifier: GPL-2.0
/*
 * mount -t hadsm -o name=NAME[,replicas=K] none DIR: the same NAME and K on every
 * node is the same memory. The name space of this version has no records of its
 * own: a file is named by the number of its container, 1 to 16 hexadecimal digits,
 * lower case, without leading zeros, and every such file exists, full of zeros
 * until somebody writes. Whatever would need a record is refused: mkdir, rename,
 * link, unlink, truncation, permissions other than those of the mount.
 */
#include <linux/cred.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/kstrtox.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>

#include <kerrighed/compat.h>

#include "domain.h"

#define HADSM_ROOT_INO		(~0UL)	/* no file has this number */

struct hadsm_options {
	char name[HADSM_NAME_MAX + 1];
	u32 replicas;
};

/* ---- names ---- */

/* The container @name stands for; 0: none. One name each: no upper case, no leading zeros. */
static u64 name_container(const struct qstr *name)
{
	u64 container = 0;
	unsigned int i;

	if (!name->len || name->len > 16 || name->name[0] == '0')
		return 0;
	for (i = 0; i < name->len; i++) {
		int digit = hex_to_bin(name->name[i]);

		if (digit < 0 || (name->name[i] >= 'A' && name->name[i] <= 'F'))
			return 0;
		container = container << 4 | digit;
	}
	return container == HADSM_ROOT_INO ? 0 : container;
}

/* Names of mounts appear in messages and in /proc: no surprises in them. */
static bool name_valid(const char *name)
{
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return len && len <= HADSM_NAME_MAX && !name[len];
}

/* ---- files ---- */

static int hadsm_setattr(struct krg_idmap *idmap, struct dentry *dentry, struct iattr *attr)
{
	/* Nobody else would learn of a size or of permissions; times are this node's. */
	if (attr->ia_valid & (ATTR_SIZE | ATTR_MODE | ATTR_UID | ATTR_GID))
		return -EOPNOTSUPP;
	return simple_setattr(idmap, dentry, attr);
}

static const struct inode_operations hadsm_file_iops = {
	.setattr = hadsm_setattr,
};

static void inode_times(struct inode *inode)
{
	krg_inode_set_times(inode, current_time(inode));
}

static struct inode *hadsm_file_inode(struct super_block *sb, u64 container)
{
	struct inode *root = d_inode(sb->s_root);
	struct hadsm_store *s;
	struct inode *inode = iget_locked(sb, container);

	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (!(inode->i_state & I_NEW))
		return inode;
	s = hadsm_store_get(sb->s_fs_info, container);
	if (IS_ERR(s)) {
		iget_failed(inode);
		return ERR_CAST(s);
	}
	inode->i_private = s;
	inode->i_mapping = s->inode->i_mapping;
	inode->i_mode = S_IFREG | (root->i_mode & 0666);
	inode->i_uid = root->i_uid;
	inode->i_gid = root->i_gid;
	inode_times(inode);
	i_size_write(inode, HADSM_SIZE);
	inode->i_op = &hadsm_file_iops;
	inode->i_fop = &hadsm_file_ops;
	unlock_new_inode(inode);
	return inode;
}

static void hadsm_evict_inode(struct inode *inode)
{
	struct hadsm_store *s = inode->i_private;

	/* Its own page cache is empty: i_mapping is the store's. */
	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	inode->i_mapping = &inode->i_data;
	hadsm_store_put(s);
}

/* ---- the directory ---- */

static struct dentry *hadsm_lookup(struct inode *dir, struct dentry *dentry, unsigned int flags)
{
	u64 container = name_container(&dentry->d_name);

	if (!container)
		return d_splice_alias(NULL, dentry);
	return d_splice_alias(hadsm_file_inode(dir->i_sb, container), dentry);
}

/* The container of the entry @n of the directory, in the order of their numbers; 0: there are fewer. */
static u64 dir_container(struct hadsm_domain *d, loff_t n)
{
	struct hadsm_store *s;
	u64 container = 0;
	unsigned long i;

	mutex_lock(&d->lock);
	xa_for_each(&d->stores, i, s)
		if (!n--) {
			container = s->container;
			break;
		}
	mutex_unlock(&d->lock);
	return container;
}

/* The files somebody has opened on this node. Telling may fault, on a page of ours too: under no lock. */
static int hadsm_iterate(struct file *file, struct dir_context *ctx)
{
	struct hadsm_domain *d = file_inode(file)->i_sb->s_fs_info;
	u64 container;
	char name[17];
	int len;

	if (!dir_emit_dots(file, ctx))
		return 0;
	while ((container = dir_container(d, ctx->pos - 2))) {
		len = snprintf(name, sizeof(name), "%llx", container);
		if (!dir_emit(ctx, name, len, container, DT_REG))
			break;
		ctx->pos++;
	}
	return 0;
}

static const struct inode_operations hadsm_dir_iops = {
	.lookup = hadsm_lookup,
	.setattr = hadsm_setattr,
};

static const struct file_operations hadsm_dir_ops = {
	.owner = THIS_MODULE,
	.llseek = generic_file_llseek,
	.read = generic_read_dir,
	.iterate_shared = hadsm_iterate,
	.fsync = noop_fsync,
};

/* ---- super block ---- */

static int hadsm_show_options(struct seq_file *m, struct dentry *root)
{
	struct hadsm_domain *d = root->d_sb->s_fs_info;

	seq_printf(m, ",name=%s,replicas=%u", d->name, d->replicas);
	return 0;
}

static const struct super_operations hadsm_super_ops = {
	.statfs = simple_statfs,
	.evict_inode = hadsm_evict_inode,
	.show_options = hadsm_show_options,
};

static int hadsm_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct inode *root;

	sb->s_magic = HADSM_MAGIC;
	sb->s_op = &hadsm_super_ops;
	sb->s_maxbytes = MAX_LFS_FILESIZE;
	sb->s_blocksize = PAGE_SIZE;
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_time_gran = 1;
	root = new_inode(sb);
	if (!root)
		return -ENOMEM;
	root->i_ino = HADSM_ROOT_INO;
	root->i_mode = S_IFDIR | 0700;
	root->i_uid = current_fsuid();
	root->i_gid = current_fsgid();
	inode_times(root);
	root->i_op = &hadsm_dir_iops;
	root->i_fop = &hadsm_dir_ops;
	set_nlink(root, 2);
	sb->s_root = d_make_root(root);
	return sb->s_root ? 0 : -ENOMEM;
}

static int hadsm_get_tree(struct fs_context *fc)
{
	struct hadsm_options *opt = fc->fs_private;
	struct hadsm_domain *d;
	int err;

	if (!*opt->name)
		return invalf(fc, "hadsm: the option name= is missing");
	d = hadsm_domain_get(hadsm_domain_id(opt->name, opt->replicas));
	if (d == ERR_PTR(-ENOTCONN)) {
		errorf(fc, "hadsm: this node is in no cluster: join one first");
		return -ENOTCONN;
	}
	if (IS_ERR(d))
		return PTR_ERR(d);
	mutex_lock(&d->lock);
	err = *d->name && strcmp(d->name, opt->name) ? -EEXIST : 0;
	if (!err && !d->replicas) {
		strscpy(d->name, opt->name, sizeof(d->name));
		d->replicas = opt->replicas;
	}
	mutex_unlock(&d->lock);
	if (err) {
		errorf(fc, "hadsm: the name %s collides with %s: choose another", opt->name, d->name);
		hadsm_domain_put(d);
		return err;
	}
	fc->s_fs_info = d;
	err = get_tree_nodev(fc, hadsm_fill_super);
	return err;
}

enum { OPT_NAME, OPT_REPLICAS };

static const struct fs_parameter_spec hadsm_parameters[] = {
	fsparam_string("name", OPT_NAME),
	fsparam_u32("replicas", OPT_REPLICAS),
	{}
};

static int hadsm_parse_param(struct fs_context *fc, struct fs_parameter *param)
{
	struct hadsm_options *opt = fc->fs_private;
	struct fs_parse_result result;
	int which = fs_parse(fc, hadsm_parameters, param, &result);

	switch (which) {
	case OPT_NAME:
		if (!name_valid(param->string))
			return invalf(fc, "hadsm: name= takes 1 to %d of the characters A-Z a-z 0-9 . _ -",
				      HADSM_NAME_MAX);
		strscpy(opt->name, param->string, sizeof(opt->name));
		return 0;
	case OPT_REPLICAS:
		if (!result.uint_32 || result.uint_32 > KRG_DSM_REPLICAS_MAX)
			return invalf(fc, "hadsm: replicas= takes 1 to %d", KRG_DSM_REPLICAS_MAX);
		opt->replicas = result.uint_32;
		return 0;
	default:
		return which;
	}
}

static void hadsm_free_context(struct fs_context *fc)
{
	hadsm_domain_put(fc->s_fs_info);	/* no super block took it over */
	kfree(fc->fs_private);
}

static int hadsm_reconfigure(struct fs_context *fc)
{
	return invalf(fc, "hadsm: options cannot change while it is mounted");
}

static const struct fs_context_operations hadsm_context_ops = {
	.parse_param = hadsm_parse_param,
	.get_tree = hadsm_get_tree,
	.reconfigure = hadsm_reconfigure,
	.free = hadsm_free_context,
};

static int hadsm_init_fs_context(struct fs_context *fc)
{
	struct hadsm_options *opt = kzalloc(sizeof(*opt), GFP_KERNEL);

	if (!opt)
		return -ENOMEM;
	opt->replicas = 1;
	fc->fs_private = opt;
	fc->ops = &hadsm_context_ops;
	return 0;
}

static void hadsm_kill_sb(struct super_block *sb)
{
	struct hadsm_domain *d = sb->s_fs_info;

	kill_anon_super(sb);
	hadsm_domain_put(d);
}

struct file_system_type hadsm_fs_type = {
	.owner = THIS_MODULE,
	.name = "hadsm",
	.init_fs_context = hadsm_init_fs_context,
	.parameters = hadsm_parameters,
	.kill_sb = hadsm_kill_sb,
};
