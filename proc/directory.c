// SPDX-License-Identifier: GPL-2.0
/*
 * The pid directory: one file of an hadsm file system that only this module
 * mounts, a record at the offset of each process id. HA-DSM makes it the same for
 * all, and keeps it when nodes die. What records mean is not known here.
 *
 * It is opened when it is needed for the first time: a cluster in which nothing
 * ever moves has none.
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/mutex.h>

#include <kerrighed/pid.h>

#include "directory.h"

/* Three copies: two nodes may die at once. Where there are fewer nodes there are fewer. */
#define DIRECTORY_OPTIONS	"name=krg-pids,replicas=3,mode=0700"
#define DIRECTORY_FILE		"directory"

struct directory_record {
	__le64 generation;
	__le16 home, runner;
	__le32 zero;
};

/* Protects the two below it; held while the file is opened or closed, not while it is used. */
static DEFINE_MUTEX(directory_lock);
static struct vfsmount *directory_mount;
static struct file *directory_file;

/* The same on every node, whoever comes first. Under directory_lock. */
static int directory_open(void)
{
	struct file_system_type *type = get_fs_type("hadsm");
	char options[] = DIRECTORY_OPTIONS;
	struct vfsmount *mount;
	struct file *file;
	struct path root;
	int err = 0;

	if (!type)
		return -ENODEV;
	mount = vfs_kern_mount(type, SB_KERNMOUNT, "krg-pids", options);
	module_put(type->owner);
	if (IS_ERR(mount))
		return PTR_ERR(mount);
	root.mnt = mount;
	root.dentry = mount->mnt_root;
	file = file_open_root(&root, DIRECTORY_FILE, O_RDWR | O_CREAT | O_LARGEFILE, 0600);
	if (!IS_ERR(file) && i_size_read(file_inode(file)) == 0)
		err = vfs_truncate(&file->f_path, (loff_t)KRG_PID_LIMIT * sizeof(struct directory_record));
	if (!IS_ERR(file) && err)
		fput(file);
	if (IS_ERR(file) || err) {
		mntput(mount);
		return err ?: PTR_ERR(file);
	}
	directory_mount = mount;
	directory_file = file;
	return 0;
}

static struct file *directory_get(void)
{
	struct file *file = ERR_PTR(-EINVAL);
	int err;

	mutex_lock(&directory_lock);
	err = directory_file ? 0 : directory_open();
	file = err ? ERR_PTR(err) : get_file(directory_file);
	mutex_unlock(&directory_lock);
	return file;
}

int krg_directory_read(pid_t pid, struct krg_whereabouts *at)
{
	struct directory_record record;
	loff_t pos = (loff_t)pid * sizeof(record);
	struct file *file;
	ssize_t n;

	if (pid <= 0 || pid >= KRG_PID_LIMIT)
		return -EINVAL;
	file = directory_get();
	if (IS_ERR(file))
		return PTR_ERR(file);
	n = kernel_read(file, &record, sizeof(record), &pos);
	fput(file);
	if (n != sizeof(record))
		return n < 0 ? n : -EIO;
	at->home = le16_to_cpu(record.home);
	at->runner = le16_to_cpu(record.runner);
	at->generation = le64_to_cpu(record.generation);
	return 0;
}

int krg_directory_write(pid_t pid, const struct krg_whereabouts *at)
{
	struct directory_record record = {
		.generation = cpu_to_le64(at->generation),
		.home = cpu_to_le16(at->home), .runner = cpu_to_le16(at->runner),
	};
	loff_t start = (loff_t)pid * sizeof(record), pos = start;
	struct file *file;
	ssize_t n;
	int err;

	if (pid <= 0 || pid >= KRG_PID_LIMIT)
		return -EINVAL;
	file = directory_get();
	if (IS_ERR(file))
		return PTR_ERR(file);
	n = kernel_write(file, &record, sizeof(record), &pos);
	err = n == sizeof(record) ? vfs_fsync_range(file, start, pos - 1, 0) : n < 0 ? n : -EIO;
	fput(file);
	return err;
}

void krg_directory_close(void)
{
	mutex_lock(&directory_lock);
	if (directory_file) {
		fput(directory_file);
		mntput(directory_mount);
		directory_file = NULL;
		directory_mount = NULL;
	}
	mutex_unlock(&directory_lock);
}
