// SPDX-License-Identifier: GPL-2.0
/*
 * The pid directory: one file of an hadsm file system that only this module
 * mounts, a record at the offset of each process id. HA-DSM makes it the same for
 * all, and keeps it when nodes die. What records mean is core/handover.h's.
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

/* A power of two: a record never lies on two pages. */
struct directory_record {
	__le64 generation, move, decision;
	__le32 root;
	__le16 home, runner;
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

static int directory_get_record(struct file *file, pid_t pid, struct krg_record *to)
{
	struct directory_record record;
	loff_t pos = (loff_t)pid * sizeof(record);
	ssize_t n = kernel_read(file, &record, sizeof(record), &pos);

	if (n != sizeof(record))
		return n < 0 ? n : -EIO;
	to->generation = le64_to_cpu(record.generation);
	to->move = le64_to_cpu(record.move);
	to->decision = le64_to_cpu(record.decision);
	to->root = le32_to_cpu(record.root);
	to->home = le16_to_cpu(record.home);
	to->runner = le16_to_cpu(record.runner);
	return to->root < KRG_PID_LIMIT ? 0 : -EIO;
}

int krg_directory_read(pid_t pid, struct krg_record *record)
{
	struct file *file;
	int err;

	if (pid <= 0 || pid >= KRG_PID_LIMIT)
		return -EINVAL;
	file = directory_get();
	if (IS_ERR(file))
		return PTR_ERR(file);
	err = directory_get_record(file, pid, record);
	fput(file);
	return err;
}

/* Both must be of one moment: the root's was read while the process's was what it is. */
int krg_directory_where(pid_t pid, struct krg_record *record)
{
	struct krg_record root = {}, before;
	int err = krg_directory_read(pid, record);

	while (!err && record->root) {
		before = *record;
		err = krg_directory_read(before.root, &root);
		if (!err)
			err = krg_directory_read(pid, record);
		if (!err && record->generation == before.generation && record->move == before.move &&
		    record->root == before.root)
			break;
	}
	if (err)
		return err;
	if (!record->home) {
		record->home = krg_pid_node(pid);
		record->runner = record->home;
	}
	record->runner = krg_record_runner(record, &root, krg_pid_node(record->root));
	record->root = 0;
	return 0;
}

static int directory_put_record(struct file *file, const struct krg_directory_entry *entry)
{
	struct directory_record record = {
		.generation = cpu_to_le64(entry->record.generation), .move = cpu_to_le64(entry->record.move),
		.decision = cpu_to_le64(entry->record.decision), .root = cpu_to_le32(entry->record.root),
		.home = cpu_to_le16(entry->record.home), .runner = cpu_to_le16(entry->record.runner),
	};
	loff_t pos = (loff_t)entry->pid * sizeof(record);
	ssize_t n = kernel_write(file, &record, sizeof(record), &pos);

	return n == sizeof(record) ? 0 : n < 0 ? n : -EIO;
}

int krg_directory_write(const struct krg_directory_entry *entry, unsigned int count)
{
	loff_t first = LLONG_MAX, last = 0;
	struct file *file;
	unsigned int i;
	int err = 0;

	BUILD_BUG_ON(!is_power_of_2(sizeof(struct directory_record)));
	for (i = 0; i < count; i++) {
		if (entry[i].pid <= 0 || entry[i].pid >= KRG_PID_LIMIT)
			return -EINVAL;
		first = min(first, (loff_t)entry[i].pid);
		last = max(last, (loff_t)entry[i].pid);
	}
	file = directory_get();
	if (IS_ERR(file))
		return PTR_ERR(file);
	for (i = 0; i < count && !err; i++)
		err = directory_put_record(file, &entry[i]);
	if (!err)
		err = vfs_fsync_range(file, first * sizeof(struct directory_record),
				      (last + 1) * sizeof(struct directory_record) - 1, 0);
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
