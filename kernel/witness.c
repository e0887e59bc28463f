// SPDX-License-Identifier: GPL-2.0
/*
 * The witness: an extra vote for clusters of even size, kept in files that every
 * node can reach (a shared directory on a third machine). What the vote means is
 * the engine's business (krg_mbr_witness()); this file keeps its state.
 *
 * The state must survive crashes, and two nodes must never change it from the
 * same starting point. Locks of network file systems cannot be relied on for that
 * (some grant them to everybody, all lose them with their holder), so there is
 * none. Each version of the state is a file of its own, PATH.N, written aside,
 * forced to disk, and then given its name with link(2), which fails if the name
 * exists, on the server, for everybody else. The highest N is the state. Whoever
 * comes second starts again from the new state.
 *
 * Old versions are deleted, except the newest few. A node that slept for long may
 * therefore manage to create a version that others have already passed: after
 * linking it looks again, and a version that is not the highest does not count.
 *
 * All of it may block for as long as the file system likes; it has a worker of
 * its own, and a message that finds the worker busy is dropped: the engine asks
 * again.
 */
#include <linux/atomic.h>
#include <linux/ctype.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/namei.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include <kerrighed/compat.h>

#include "core/membership.h"
#include "member.h"
#include "node.h"
#include "session.h"

#define KRG_WITNESS_TRIES	16
#define KRG_WITNESS_KEEP	8	/* versions that stay */
#define KRG_WITNESS_REPLY_MAX	65536
#define KRG_WITNESS_NAME_MAX	(KRG_WITNESS_PATH_MAX + 24)

struct witness_job {
	struct work_struct work;
	u64 cluster_id;
	u32 len;
	u8 data[];
};

static struct workqueue_struct *witness_wq;
static char witness_path[KRG_WITNESS_PATH_MAX];	/* constant while running */
static atomic_t witness_busy;
static bool witness_running;

/* What one reading of the directory finds. */
struct witness_scan {
	struct dir_context ctx;
	const char *base;	/* last component of the path */
	size_t base_len;
	u64 highest, lowest;	/* 0: none */
};

static bool witness_actor(struct dir_context *ctx, const char *name, int len, loff_t pos, u64 ino,
			  unsigned int type)
{
	struct witness_scan *scan = container_of(ctx, struct witness_scan, ctx);
	char number[21];
	u64 n;

	if (len <= scan->base_len + 1 || len - scan->base_len - 1 >= sizeof(number) ||
	    memcmp(name, scan->base, scan->base_len) || name[scan->base_len] != '.')
		return true;
	memcpy(number, name + scan->base_len + 1, len - scan->base_len - 1);
	number[len - scan->base_len - 1] = 0;
	if (!isdigit(number[0]) || kstrtou64(number, 10, &n) || !n)
		return true;
	scan->highest = max(scan->highest, n);
	scan->lowest = scan->lowest ? min(scan->lowest, n) : n;
	return true;
}

/* 0, or -errno; the highest and lowest version there are. */
static int witness_find(struct witness_scan *scan)
{
	char dir[KRG_WITNESS_PATH_MAX];
	struct file *file;
	char *slash;
	int err;

	memset(scan, 0, sizeof(*scan));
	scan->ctx.actor = witness_actor;
	strscpy(dir, witness_path, sizeof(dir));
	slash = strrchr(dir, '/');
	scan->base = strrchr(witness_path, '/') + 1;
	scan->base_len = strlen(scan->base);
	slash[slash == dir] = 0;	/* the root keeps its slash */
	file = filp_open(dir, O_RDONLY | O_DIRECTORY, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	err = iterate_dir(file, &scan->ctx);
	filp_close(file, NULL);
	return err;
}

static void witness_name(char *name, u64 version)
{
	snprintf(name, KRG_WITNESS_NAME_MAX, "%s.%llu", witness_path, version);
}

/* The state of a version into @state (KRG_MBR_WITNESS_STATE_MAX bytes). Length or -errno. */
static int witness_load(u64 version, u8 *state)
{
	char name[KRG_WITNESS_NAME_MAX];
	struct file *file;
	loff_t pos = 0;
	ssize_t n, got = 0;

	if (!version)
		return 0;
	witness_name(name, version);
	file = filp_open(name, O_RDONLY, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	do {
		n = kernel_read(file, state + got, KRG_MBR_WITNESS_STATE_MAX - got, &pos);
		if (n > 0)
			got += n;
	} while (n > 0 && got < KRG_MBR_WITNESS_STATE_MAX);
	filp_close(file, NULL);
	return n < 0 ? n : got;
}

static int witness_unlink(const char *name)
{
	struct dentry *dentry, *dir;
	struct path path;
	int err;

	err = kern_path(name, 0, &path);
	if (err)
		return err;
	err = mnt_want_write(path.mnt);
	if (err)
		goto put;
	dentry = path.dentry;
	dir = dget_parent(dentry);
	inode_lock_nested(d_inode(dir), I_MUTEX_PARENT);
	/* Renamed or deleted since it was looked up: not ours any more. */
	if (dentry->d_parent == dir && !d_unhashed(dentry))
		err = vfs_unlink(krg_mnt_idmap(path.mnt), d_inode(dir), dentry, NULL);
	inode_unlock(d_inode(dir));
	dput(dir);
	mnt_drop_write(path.mnt);
put:
	path_put(&path);
	return err;
}

/* Gives the file the name of a version; -EEXIST: somebody was first. */
static int witness_link(struct file *file, u64 version)
{
	char name[KRG_WITNESS_NAME_MAX];
	struct dentry *dentry;
	struct path path;
	int err;

	witness_name(name, version);
	dentry = kern_path_create(AT_FDCWD, name, &path, 0);
	if (IS_ERR(dentry))
		return PTR_ERR(dentry);
	err = -EXDEV;
	if (path.mnt == file->f_path.mnt)
		err = vfs_link(file->f_path.dentry, krg_mnt_idmap(path.mnt), d_inode(path.dentry),
			       dentry, NULL);
	done_path_create(&path, dentry);
	return err;
}

static int witness_write(struct file *file, const u8 *state, u32 len)
{
	loff_t pos = 0;
	ssize_t n;
	u32 done = 0;

	while (done < len) {
		n = kernel_write(file, state + done, len - done, &pos);
		if (n <= 0)
			return n ? n : -EIO;
		done += n;
	}
	return vfs_fsync(file, 0);
}

/* Makes @state the version @version durably. -EEXIST: start again. */
static int witness_store(u64 version, const u8 *state, u32 len)
{
	char aside[KRG_WITNESS_NAME_MAX];
	struct witness_scan scan;
	struct file *file;
	int err;

	snprintf(aside, sizeof(aside), "%s.new-%u", witness_path, krg_peer_self()->node);
	witness_unlink(aside);	/* of an earlier life that did not get to it */
	file = filp_open(aside, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (IS_ERR(file))
		return PTR_ERR(file);
	err = witness_write(file, state, len);
	if (!err)
		err = witness_link(file, version);
	filp_close(file, NULL);
	witness_unlink(aside);
	if (err)
		return err;
	err = witness_find(&scan);
	if (err)
		return err;
	if (scan.highest != version)
		return -EEXIST;
	for (; scan.lowest && scan.lowest + KRG_WITNESS_KEEP < version; scan.lowest++) {
		witness_name(aside, scan.lowest);
		witness_unlink(aside);
	}
	return 0;
}

/* One attempt. 0: answered; -EEXIST: the state has moved on. */
static int witness_try(struct witness_job *job, u8 *state, u8 *reply)
{
	u32 reply_len = KRG_WITNESS_REPLY_MAX;
	struct witness_scan scan;
	u32 state_len;
	int ret;

	ret = witness_find(&scan);
	if (ret)
		return ret;
	ret = witness_load(scan.highest, state);
	if (ret == -ENOENT)
		return -EEXIST;	/* deleted while we looked: there is a newer one */
	if (ret < 0)
		return ret;
	state_len = ret;
	ret = krg_mbr_witness(state, &state_len, KRG_MBR_WITNESS_STATE_MAX, job->cluster_id,
			      job->data, job->len, reply, &reply_len);
	if (ret < 0)
		return -EBADMSG;
	if (ret) {
		ret = witness_store(scan.highest + 1, state, state_len);
		if (ret)
			return ret;
	}
	return krg_member_post_witness(reply, reply_len);
}

static void witness_work(struct work_struct *work)
{
	struct witness_job *job = container_of(work, struct witness_job, work);
	u8 *state = kvmalloc(KRG_MBR_WITNESS_STATE_MAX, GFP_KERNEL);
	u8 *reply = kvmalloc(KRG_WITNESS_REPLY_MAX, GFP_KERNEL);
	int tries = KRG_WITNESS_TRIES, err = -ENOMEM;

	if (state && reply)
		do
			err = witness_try(job, state, reply);
		while (err == -EEXIST && --tries && READ_ONCE(witness_running));
	if (err && err != -ESHUTDOWN)
		pr_warn_ratelimited("witness %s: %d\n", witness_path, err);
	kvfree(state);
	kvfree(reply);
	kfree(job);
	atomic_dec(&witness_busy);
}

void krg_witness_send(u64 cluster_id, const u8 *data, u32 len)
{
	struct witness_job *job;

	if (!witness_path[0] || !READ_ONCE(witness_running))
		return;
	if (atomic_inc_return(&witness_busy) > 2)
		goto drop;
	job = kmalloc(sizeof(*job) + len, GFP_ATOMIC);
	if (!job)
		goto drop;
	INIT_WORK(&job->work, witness_work);
	job->cluster_id = cluster_id;
	job->len = len;
	memcpy(job->data, data, len);
	queue_work(witness_wq, &job->work);
	return;
drop:
	atomic_dec(&witness_busy);
}

void krg_witness_start(const char *path)
{
	strscpy(witness_path, path, sizeof(witness_path));
	WRITE_ONCE(witness_running, true);
}

void krg_witness_stop(void)
{
	WRITE_ONCE(witness_running, false);
	flush_workqueue(witness_wq);
}

int krg_witness_init(void)
{
	witness_wq = alloc_ordered_workqueue("krg_witness", 0);
	return witness_wq ? 0 : -ENOMEM;
}

void krg_witness_exit(void)
{
	destroy_workqueue(witness_wq);
}
