// SPDX-License-Identifier: GPL-2.0
/*
 * An image written beside its name and renamed when it is safe on its disk: as the
 * tool checkpoint does it, for commands that reach the kernel alone.
 */
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <kerrighed/compat.h>

#include "capture.h"
#include "check.h"
#include "control.h"
#include "park.h"
#include "text.h"

static int fill_image(struct krg_frozen *set, struct file *file, struct krg_text *text)
{
	struct krg_file_sink *sink;
	int err = krg_frozen_settle(set, text);

	if (!err)
		err = krg_check(set, true, text);
	if (err)
		return err;
	sink = kvzalloc(sizeof(*sink), GFP_KERNEL_ACCOUNT);
	if (!sink)
		return -ENOMEM;
	err = krg_file_sink_use(sink, file);
	if (!err) {
		err = krg_capture_to(set, &sink->sink, text);
		krg_file_sink_exit(sink);
	}
	kvfree(sink);
	return err ?: vfs_fsync(file, 0);
}

/* The folder's entries are on the disk too. */
static int sync_folder(const struct path *folder)
{
	struct file *file = dentry_open(folder, O_RDONLY | O_DIRECTORY, current_cred());
	int err;

	if (IS_ERR(file))
		return PTR_ERR(file);
	err = vfs_fsync(file, 0);
	fput(file);
	/* Some file systems have nothing to do for it, and say so. */
	return err == -EINVAL ? 0 : err;
}

/* @file gets the name @name, in the folder it is in; or, without one, loses the one it has. */
static int settle_name(struct file *file, const char *name)
{
	struct dentry *parent = dget_parent(file->f_path.dentry), *to = NULL;
	struct inode *dir = d_inode(parent);
	int err = mnt_want_write_file(file);

	if (err) {
		dput(parent);
		return err;
	}
	inode_lock_nested(dir, I_MUTEX_PARENT);
	if (!name) {
		err = vfs_unlink(krg_mnt_idmap(file->f_path.mnt), dir, file->f_path.dentry, NULL);
	} else {
		to = lookup_one_len(name, parent, strlen(name));
		if (IS_ERR(to)) {
			err = PTR_ERR(to);
		} else {
			err = krg_rename_within(file->f_path.mnt, dir, file->f_path.dentry, to);
			dput(to);
		}
	}
	inode_unlock(dir);
	mnt_drop_write_file(file);
	if (!err && name) {
		const struct path folder = { .mnt = file->f_path.mnt, .dentry = parent };

		err = sync_folder(&folder);
	}
	dput(parent);
	return err;
}

int krg_control_save(struct krg_frozen *set, const char *path, struct krg_text *text)
{
	const char *name = strrchr(path, '/') + 1;
	char *beside = kasprintf(GFP_KERNEL, "%s.%08x", path, get_random_u32());
	struct file *file;
	int err;

	if (!beside)
		return -ENOMEM;
	if (!*name || !strcmp(name, ".") || !strcmp(name, "..")) {
		krg_text_add(text, "image: %s is not the name of a file", path);
		kfree(beside);
		return -EINVAL;
	}
	file = filp_open(beside, O_WRONLY | O_CREAT | O_EXCL | O_LARGEFILE, 0600);
	kfree(beside);
	if (IS_ERR(file)) {
		krg_text_add(text, "image: cannot be made beside %s: error %ld", path, PTR_ERR(file));
		return PTR_ERR(file);
	}
	err = fill_image(set, file, text);
	if (!err) {
		err = settle_name(file, name);
		if (err)
			krg_text_add(text, "image: cannot be renamed to %s: error %d", path, err);
	}
	if (err)
		settle_name(file, NULL);
	fput(file);
	return err;
}
