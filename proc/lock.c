// SPDX-License-Identifier: GPL-2.0
/*
 * Who has which lock: what the kernel keeps is in the inode; what a file server
 * keeps (FUSE, hadsm) is found by questions, since only the server knows. What
 * becomes of the locks is capture_lock.c's and restart's.
 */
#include <linux/cred.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <kerrighed/compat.h>

#include "file.h"
#include "lock.h"

#define QUESTIONS_MAX	4096	/* to a server, about one file */
#define RANGES_MAX	64	/* that are still to be asked about */

static bool is_listed(const struct krg_descriptors *list, const struct file *file)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (list->at[i].file == file)
			return true;
	return false;
}

/* May be under a spinlock. */
static int add(struct krg_locks *to, const struct krg_lock *lock)
{
	struct krg_lock *more;

	if (to->count == to->room) {
		more = krealloc_array(to->at, to->room * 2 + 8, sizeof(*more), GFP_ATOMIC);
		if (!more)
			return -ENOMEM;
		to->at = more;
		to->room = to->room * 2 + 8;
	}
	to->at[to->count++] = *lock;
	return 0;
}

/* ---- locks that the kernel keeps: under the context's lock ---- */

static int add_posix(struct krg_locks *to, struct file_lock_context *context, const struct krg_descriptors *list, struct file *file)
{
	struct file_lock *lock;
	int err = 0;

	krg_for_each_lock(&context->flc_posix, lock) {
		bool ofd = krg_fl_flags(lock) & FL_OFDLCK;
		struct krg_lock found = {
			.kind = ofd ? KRG_LOCK_OFD : KRG_LOCK_POSIX, .exclusive = krg_fl_type(lock) == F_WRLCK,
			.start = lock->fl_start, .end = lock->fl_end, .pid = ofd ? 0 : krg_fl_pid(lock),
			.file = is_listed(list, krg_fl_file(lock)) ? krg_fl_file(lock) : file,
		};

		if (ofd ? is_listed(list, krg_fl_file(lock)) : krg_fl_owner(lock) == (fl_owner_t)list->of)
			err = err ?: add(to, &found);
	}
	return err;
}

static int add_flocks(struct krg_locks *to, struct file_lock_context *context, const struct krg_descriptors *list)
{
	struct file_lock *lock;
	int err = 0;

	krg_for_each_lock(&context->flc_flock, lock) {
		struct krg_lock found = {
			.kind = KRG_LOCK_FLOCK, .exclusive = krg_fl_type(lock) == F_WRLCK, .end = OFFSET_MAX,
			.file = krg_fl_file(lock),
		};

		if (is_listed(list, found.file))
			err = err ?: add(to, &found);
	}
	return err;
}

static int add_leases(struct krg_locks *to, struct file_lock_context *context, const struct krg_descriptors *list)
{
	krg_lease *lease;
	int err = 0;

	krg_for_each_lease(&context->flc_lease, lease) {
		struct krg_lock found = {
			.kind = KRG_LOCK_LEASE, .exclusive = krg_fl_type(lease) == F_WRLCK, .end = OFFSET_MAX,
			.breaking = krg_fl_flags(lease) & (FL_UNLOCK_PENDING | FL_DOWNGRADE_PENDING),
			.file = krg_fl_file(lease),
		};

		if (krg_fl_flags(lease) & FL_LEASE && is_listed(list, found.file))
			err = err ?: add(to, &found);
	}
	return err;
}

/* ---- locks that a server keeps ---- */

static bool is_served(struct file *file)
{
	const struct super_block *sb = file_inode(file)->i_sb;

	return S_ISREG(file_inode(file)->i_mode) && file->f_op->lock && (sb->s_magic == FUSE_SUPER_MAGIC || !strcmp(sb->s_type->name, "hadsm"));
}

/* Who but @owner has a lock there: type F_UNLCK says that nobody has. */
static int ask_range(struct file *file, const void *owner, struct krg_lock *range, int *type)
{
	struct file_lock *lock = locks_alloc_lock();
	int err;

	if (!lock)
		return -ENOMEM;
	krg_fl_file(lock) = file;
	krg_fl_owner(lock) = (fl_owner_t)owner;
	krg_fl_type(lock) = F_WRLCK;
	krg_fl_flags(lock) = FL_POSIX;
	krg_fl_pid(lock) = current->tgid;
	lock->fl_start = range->start;
	lock->fl_end = range->end;
	err = vfs_test_lock(file, lock);
	*type = krg_fl_type(lock);
	if (!err && *type != F_UNLCK) {
		range->start = lock->fl_start;
		range->end = lock->fl_end;
		range->pid = krg_fl_pid(lock);
	}
	locks_free_lock(lock);
	return err;
}

/* Whose it is: the table's, or an open file's; nobody else may have anything in the range, else it remains unknown. */
static int attribute(struct krg_lock *lock, const struct krg_descriptors *list, struct file *file, bool *found)
{
	struct krg_lock range = *lock;
	int type, err = ask_range(file, list->of, &range, &type);
	unsigned int i;

	*found = !err && type == F_UNLCK;
	lock->kind = KRG_LOCK_POSIX;
	lock->file = file;
	for (i = 0; i < list->count && !err && !*found; i++) {
		if (file_inode(list->at[i].file) != file_inode(file) || list->at[i].file->f_mode & FMODE_PATH)
			continue;
		range = *lock;
		err = ask_range(file, list->at[i].file, &range, &type);
		if (err || type != F_UNLCK)
			continue;
		lock->kind = KRG_LOCK_OFD;
		lock->file = list->at[i].file;
		lock->pid = 0;
		*found = true;
	}
	return err;
}

/* A server names one lock of a range; what is beside it is asked about again. */
static int ask_posix(struct krg_locks *to, const struct krg_descriptors *list, struct file *file)
{
	struct range {
		loff_t start, end;
	} *left = kmalloc_array(RANGES_MAX, sizeof(*left), GFP_KERNEL);
	unsigned int count = 1, questions = 0;
	int type, err = 0;
	bool found;

	if (!left)
		return -ENOMEM;
	left[0] = (struct range){ 0, OFFSET_MAX };
	while (count && !err) {
		struct range at = left[--count];
		struct krg_lock lock = { .start = at.start, .end = at.end };

		err = ++questions > QUESTIONS_MAX || count + 2 > RANGES_MAX ? -E2BIG : ask_range(file, to, &lock, &type);
		if (err || type == F_UNLCK)
			continue;
		if (lock.start > at.start)
			left[count++] = (struct range){ at.start, lock.start - 1 };
		if (lock.end < at.end)
			left[count++] = (struct range){ lock.end + 1, at.end };
		lock.exclusive = type == F_WRLCK;
		err = attribute(&lock, list, file, &found);
		if (!err && found)
			err = add(to, &lock);
		else if (!err && type == F_RDLCK)
			to->hidden = file;
	}
	kfree(left);
	return err;
}

static int try_flock(struct file *file, int type)
{
	struct file_lock *lock = locks_alloc_lock();
	int err;

	if (!lock)
		return -ENOMEM;
	krg_fl_file(lock) = file;
	krg_fl_owner(lock) = (fl_owner_t)file;
	krg_fl_pid(lock) = current->tgid;
	krg_fl_flags(lock) = FL_FLOCK;
	krg_fl_type(lock) = type;
	lock->fl_end = OFFSET_MAX;
	err = file->f_op->flock(file, F_SETLK, lock);
	locks_free_lock(lock);
	return err;
}

static struct file *open_again(struct file *file)
{
	struct file *own = dentry_open(&file->f_path, O_RDONLY | O_LARGEFILE, current_cred());

	return IS_ERR(own) ? dentry_open(&file->f_path, O_WRONLY | O_LARGEFILE, current_cred()) : own;
}

/*
 * Whoever has an exclusive lock may have it again; who is alone with a shared one may have it exclusively, and gives that
 * back at once. Both change nothing, nor does what is denied.
 */
static int attribute_flock(struct krg_locks *to, const struct krg_descriptors *list, struct file *file, bool exclusive)
{
	unsigned int i;
	int err;

	for (i = 0; i < list->count; i++) {
		struct krg_lock lock = { .kind = KRG_LOCK_FLOCK, .exclusive = exclusive, .end = OFFSET_MAX, .file = list->at[i].file };

		if (file_inode(lock.file) != file_inode(file) || lock.file->f_mode & FMODE_PATH)
			continue;
		err = try_flock(lock.file, F_WRLCK);
		if (err == -EAGAIN)
			continue;
		if (!err && !exclusive)
			err = try_flock(lock.file, F_RDLCK);
		return err ?: add(to, &lock);
	}
	if (!exclusive)
		to->hidden = file;
	return 0;
}

static int ask_flock(struct krg_locks *to, const struct krg_descriptors *list, struct file *file)
{
	struct file *own;
	int err, shared;

	if (!file->f_op->flock)
		return 0;
	own = open_again(file);
	if (IS_ERR(own)) {
		to->hidden = file;
		return 0;
	}
	err = try_flock(own, F_WRLCK);
	shared = err == -EAGAIN ? try_flock(own, F_RDLCK) : -EAGAIN;
	if (!err || !shared)
		try_flock(own, F_UNLCK);
	if (err == -EAGAIN)
		err = attribute_flock(to, list, file, shared);
	fput(own);
	return err == -ENOLCK || err == -EOPNOTSUPP ? 0 : err;
}

/* ---- both ---- */

static int add_inode(struct krg_locks *to, const struct krg_descriptors *list, struct file *file, bool ask)
{
	struct file_lock_context *context = locks_inode_context(file_inode(file));
	bool posix = false, flock = false, lease = false;
	int err = 0;

	if (context) {
		spin_lock(&context->flc_lock);
		posix = !list_empty(&context->flc_posix);
		flock = !list_empty(&context->flc_flock);
		lease = !list_empty(&context->flc_lease);
		err = add_posix(to, context, list, file);
		err = err ?: add_flocks(to, context, list);
		err = err ?: add_leases(to, context, list);
		spin_unlock(&context->flc_lock);
	}
	if (err || !ask || !is_served(file))
		return err;
	if (!posix)
		err = ask_posix(to, list, file);
	/* To open the file would break the lease. */
	if (!err && !flock && !lease)
		err = ask_flock(to, list, file);
	return err;
}

static bool is_first_of_inode(const struct krg_descriptors *list, unsigned int number)
{
	unsigned int i;

	for (i = 0; i < number; i++)
		if (file_inode(list->at[i].file) == file_inode(list->at[number].file) && !(list->at[i].file->f_mode & FMODE_PATH))
			return false;
	return true;
}

int krg_locks_get(struct krg_locks *to, const struct krg_descriptors *list, bool ask)
{
	unsigned int i;
	int err = 0;

	memset(to, 0, sizeof(*to));
	for (i = 0; i < list->count && !err; i++) {
		struct file *file = list->at[i].file;

		if (file->f_mode & FMODE_PATH || (!locks_inode_context(file_inode(file)) && !is_served(file)))
			continue;
		if (is_first_of_inode(list, i))
			err = add_inode(to, list, file, ask);
	}
	if (err)
		krg_locks_put(to);
	return err;
}

void krg_locks_put(struct krg_locks *locks)
{
	kfree(locks->at);
	memset(locks, 0, sizeof(*locks));
}
