// SPDX-License-Identifier: GPL-2.0
/*
 * Forwarded files: is what the target has under a name the file that a process has
 * open at the source? The source asks, before it moves the process; the target
 * looks. Only what is not the same needs to be forwarded.
 */
#include <linux/dcache.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/namei.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uio.h>

#include <kerrighed/compat.h>
#include <kerrighed/rpc.h>

#include "capture.h"
#include "forward.h"
#include "park.h"
#include "vma.h"

#define LOOK_MS		5000
#define TYPE_LENGTH	16
#define UUID_LENGTH	16

/* Follows the question; the path follows it. */
struct look {
	__le64 ino, size, mtime;
	u8 type[TYPE_LENGTH], uuid[UUID_LENGTH];	/* of the file system */
	char path[];
};

static void identify(struct look *to, struct inode *inode)
{
	struct timespec64 changed = krg_inode_mtime(inode);

	memset(to, 0, sizeof(*to));
	to->ino = cpu_to_le64(inode->i_ino);
	to->size = cpu_to_le64(i_size_read(inode));
	to->mtime = cpu_to_le64(timespec64_to_ns(&changed));
	memcpy(to->type, inode->i_sb->s_type->name, strnlen(inode->i_sb->s_type->name, TYPE_LENGTH));
	memcpy(to->uuid, &inode->i_sb->s_uuid, UUID_LENGTH);
}

static bool in_memory(const struct inode *inode)
{
	return inode->i_sb->s_magic == TMPFS_MAGIC || inode->i_sb->s_magic == RAMFS_MAGIC;
}

/*
 * A file system with a disk of its own is another one on each node, also if a copy of the disk has the same id: such files
 * are alike at best. What has no disk comes from a server, whose numbers are the same for all.
 */
bool krg_forwarding_is_own(const struct inode *inode)
{
	const struct super_block *sb = inode->i_sb;

	return in_memory(inode) || sb->s_type->fs_flags & FS_REQUIRES_DEV || sb->s_magic == OVERLAYFS_SUPER_MAGIC;
}

/* /proc and its like: what is meant there is the node that the process is on, or the process. */
static bool is_of_the_kernel(const struct inode *inode)
{
	switch (inode->i_sb->s_magic) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
		return true;
	}
	return false;
}

/* ---- the target ---- */

static enum krg_forward_same compare(struct inode *inode, const struct look *theirs)
{
	struct look mine;

	if (!S_ISREG(inode->i_mode))
		return KRG_FORWARD_ANOTHER;
	identify(&mine, inode);
	if (!krg_forwarding_is_own(inode) && mine.ino == theirs->ino && !memcmp(mine.type, theirs->type, TYPE_LENGTH) &&
	    !memcmp(mine.uuid, theirs->uuid, UUID_LENGTH))
		return KRG_FORWARD_SAME;
	return mine.size == theirs->size && mine.mtime == theirs->mtime ? KRG_FORWARD_ALIKE : KRG_FORWARD_ANOTHER;
}

int krg_forward_look(const void *data, u32 length)
{
	const struct look *theirs = data;
	enum krg_forward_same same;
	struct path path;

	if (length <= sizeof(*theirs) || ((const char *)data)[length - 1])
		return -EINVAL;
	if (kern_path(theirs->path, LOOKUP_FOLLOW, &path))
		return KRG_FORWARD_ANOTHER;
	same = compare(d_inode(path.dentry), theirs);
	path_put(&path);
	return same;
}

/* ---- the source ---- */

/* The target's answer, or a negative errno. */
static int ask_target(struct krg_forwarding *f, struct file *file)
{
	struct krg_forward_ask ask = { .op = cpu_to_le32(KRG_FORWARD_OP_LOOK) };
	struct krg_forward_answer answer;
	struct kvec vec[] = { { .iov_base = &ask, .iov_len = sizeof(ask) }, {} };
	struct kvec reply = { .iov_base = &answer, .iov_len = sizeof(answer) };
	char *page = kmalloc(PAGE_SIZE, GFP_KERNEL), *path;
	struct look *look = kmalloc(sizeof(*look) + PAGE_SIZE, GFP_KERNEL);
	int n = -ENOMEM;

	if (page && look) {
		path = d_path(&file->f_path, page, PAGE_SIZE);
		n = PTR_ERR_OR_ZERO(path);
	}
	if (!n) {
		identify(look, file_inode(file));
		vec[1].iov_base = look;
		vec[1].iov_len = sizeof(*look) + strlen(path) + 1;
		memcpy(look->path, path, strlen(path) + 1);
		n = krg_rpc_call(f->to.id, KRG_MSG_FORWARD, vec, 2, &reply, 1, LOOK_MS);
	}
	kfree(look);
	kfree(page);
	if (n < 0)
		return n;
	return n < (int)sizeof(answer) || answer.error ? -EBADMSG : (int)le64_to_cpu(answer.value);
}

/* Asked once: the file is held, so that nothing else gets its place. */
static int same_there(struct krg_forwarding *f, struct file *file)
{
	struct inode *inode = file_inode(file);
	void *known = xa_load(&f->looked, (unsigned long)inode);
	int same;

	if (known)
		return *(int *)known;
	known = kmalloc(sizeof(int), GFP_KERNEL);
	if (!known)
		return -ENOMEM;
	same = ask_target(f, file);
	*(int *)known = same;
	ihold(inode);
	if (same < 0 || xa_err(xa_store(&f->looked, (unsigned long)inode, known, GFP_KERNEL_ACCOUNT))) {
		iput(inode);
		kfree(known);
	}
	return same;
}

void krg_forwarding_forget(struct krg_forwarding *f)
{
	unsigned long inode;
	void *known;

	xa_for_each(&f->looked, inode, known) {
		iput((struct inode *)inode);
		kfree(known);
	}
	xa_destroy(&f->looked);
}

int krg_forwarding_stays(struct krg_forwarding *f, struct file *file)
{
	struct inode *inode = file_inode(file);
	int same;

	/* What is in a file without a name travels with the process. */
	if (!inode->i_nlink || is_of_the_kernel(inode))
		return 0;
	if (!f->to.id)
		return in_memory(inode);
	same = same_there(f, file);
	if (same < 0)
		return same;
	return same == KRG_FORWARD_ANOTHER || (same == KRG_FORWARD_ALIKE && file->f_mode & FMODE_WRITE);
}

/* ---- mapped files ---- */

static int judge_mapping(struct krg_forwarding *f, const struct krg_mapping *v, const char **refused)
{
	enum krg_file_kind kind = v->file ? krg_file_kind(v->file) : KRG_FILE_OTHER;
	int stays;

	if (kind != KRG_FILE_FORWARDED && kind != KRG_FILE_REGULAR)
		return 0;
	stays = kind == KRG_FILE_FORWARDED ? 1 : krg_forwarding_stays(f, v->file);
	/* Written pages would have to go back to the file, and be seen by who has it there. */
	if (stays > 0 && v->kind == KRG_VMA_SHARED && v->flags & VM_MAYWRITE)
		*refused = "a shared mapping, for writing, of a file of this node only";
	return stays > 0 ? krg_forwarding_choose(f, v->file) : stays;
}

int krg_forwarding_mappings(struct krg_forwarding *f, const struct krg_mappings *list, unsigned long *at, const char **refused)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < list->count && !err && !*refused; i++) {
		*at = list->at[i].start;
		if (list->at[i].backing == KRG_BACKING_FILE)
			err = judge_mapping(f, &list->at[i], refused);
	}
	return err;
}
