// SPDX-License-Identifier: GPL-2.0
/*
 * Extended attributes: kept in the page of the inode's record, under their whole
 * names. user.hadsm.replicas is none of them but the policy: how many copies the
 * pages of a file have, and of a directory, what new files in it get. user.hadsm.container
 * says where the pages of a file are: domain and container, for krgadm container page.
 */
#include <linux/xattr.h>

#include "fs.h"

#define XATTR_REPLICAS	XATTR_USER_PREFIX "hadsm.replicas"
#define XATTR_CONTAINER	XATTR_USER_PREFIX "hadsm.container"

static int replicas_get(struct inode *inode, char *value, size_t size)
{
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	struct krg_names_attr attr;
	int err = hadsm_tx(n, krg_names_getattr(&n->io, inode->i_ino, &attr));

	if (err || !size)
		return err ?: 1;
	*value = '0' + attr.replicas;
	return 1;
}

static int replicas_set(struct inode *inode, const char *value, size_t size)
{
	struct krg_names_attr attr = { };
	int err;

	if (size != 1 || *value < '1' || *value > '0' + KRG_DSM_REPLICAS_MAX)
		return -EINVAL;
	attr.replicas = *value - '0';
	/* Nobody may have pages of it, here either. */
	mutex_lock(&hadsm_names(inode->i_sb)->use_lock);
	err = S_ISREG(inode->i_mode) && HADSM_I(inode)->opens ? -EBUSY :
	      hadsm_set(inode, KRG_NAMES_SET_REPLICAS, &attr);
	mutex_unlock(&hadsm_names(inode->i_sb)->use_lock);
	return err;
}

static int container_get(struct inode *inode, char *value, size_t size)
{
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	struct krg_names_attr attr;
	struct hadsm_domain *d;
	char text[40];
	int len, err = hadsm_tx(n, krg_names_getattr(&n->io, inode->i_ino, &attr));

	if (err)
		return err;
	d = hadsm_data_domain(n, attr.replicas);
	if (IS_ERR(d))
		return PTR_ERR(d);
	len = scnprintf(text, sizeof(text), "%016llx/%lu", d->id, inode->i_ino);
	if (size && size < len)
		return -ERANGE;
	if (size)
		memcpy(value, text, len);
	return len;
}

static bool is_container(const char *name, struct inode *inode)
{
	return !strcmp(name, XATTR_CONTAINER) && S_ISREG(inode->i_mode);
}

static bool is_replicas(const char *name, struct inode *inode)
{
	return !strcmp(name, XATTR_REPLICAS) && (S_ISREG(inode->i_mode) || S_ISDIR(inode->i_mode));
}

static int hadsm_xattr_get(const struct xattr_handler *handler, struct dentry *dentry, struct inode *inode,
			   const char *suffix, void *value, size_t size)
{
	const char *name = xattr_full_name(handler, suffix);
	struct hadsm_names *n = hadsm_names(inode->i_sb);

	if (is_replicas(name, inode))
		return replicas_get(inode, value, size);
	if (is_container(name, inode))
		return container_get(inode, value, size);
	return hadsm_tx(n, krg_names_getxattr(&n->io, inode->i_ino, name, strlen(name), value,
					      min_t(size_t, size, KRG_NAMES_PAGE)));
}

static int hadsm_xattr_set(const struct xattr_handler *handler, struct krg_idmap *idmap,
			   struct dentry *dentry, struct inode *inode, const char *suffix,
			   const void *value, size_t size, int flags)
{
	const char *name = xattr_full_name(handler, suffix);
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	u32 how = 0;

	if (is_replicas(name, inode))
		return value ? replicas_set(inode, value, size) : -EINVAL;
	if (is_container(name, inode))
		return -EPERM;
	if (size > KRG_NAMES_PAGE)
		return -ENOSPC;
	if (flags & XATTR_CREATE)
		how |= KRG_NAMES_XATTR_CREATE;
	if (flags & XATTR_REPLACE)
		how |= KRG_NAMES_XATTR_REPLACE;
	return hadsm_tx(n, krg_names_setxattr(&n->io, inode->i_ino, name, strlen(name), value, size, how));
}

/* Takes the names out that are the administrator's; the length of what is left. */
static size_t list_untrusted(char *list, size_t length)
{
	size_t at = 0, kept = 0, len;

	for (; at < length; at += len) {
		len = strnlen(list + at, length - at - 1) + 1;
		if (!strncmp(list + at, XATTR_TRUSTED_PREFIX, XATTR_TRUSTED_PREFIX_LEN))
			continue;
		memmove(list + kept, list + at, len);
		kept += len;
	}
	return kept;
}

ssize_t hadsm_listxattr(struct dentry *dentry, char *list, size_t size)
{
	struct inode *inode = d_inode(dentry);
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	char *all = kmalloc(KRG_NAMES_PAGE, GFP_KERNEL);
	ssize_t len;

	if (!all)
		return -ENOMEM;
	len = hadsm_tx(n, krg_names_listxattr(&n->io, inode->i_ino, all, KRG_NAMES_PAGE));
	if (len > 0 && !capable(CAP_SYS_ADMIN))
		len = list_untrusted(all, len);
	if (len > 0 && size) {
		if (len <= size)
			memcpy(list, all, len);
		else
			len = -ERANGE;
	}
	kfree(all);
	return len;
}

static const struct xattr_handler user_handler = {
	.prefix = XATTR_USER_PREFIX, .get = hadsm_xattr_get, .set = hadsm_xattr_set,
};

static const struct xattr_handler trusted_handler = {
	.prefix = XATTR_TRUSTED_PREFIX, .get = hadsm_xattr_get, .set = hadsm_xattr_set,
};

static const struct xattr_handler security_handler = {
	.prefix = XATTR_SECURITY_PREFIX, .get = hadsm_xattr_get, .set = hadsm_xattr_set,
};

const struct xattr_handler *hadsm_xattr_handlers[] = {
	&user_handler, &trusted_handler, &security_handler, NULL
};
