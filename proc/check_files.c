// SPDX-License-Identifier: GPL-2.0
/*
 * The check of files: kinds that are not carried, locks, pipes whose other end is
 * outside, epoll sets that watch what no descriptor names any more.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/pipe_fs_i.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include <kerrighed/compat.h>

#include "check_private.h"
#include "file.h"
#include "forward.h"
#include "park.h"

#define WATCHES_ROOM	(256 * 1024)	/* bytes of fdinfo; a capture has no more either */

/* How often each file is in the tables of the set, and how many files each pipe has there. */
struct tally {
	struct xarray files, pipes;
};

static unsigned long tally_get(struct xarray *of, const void *key)
{
	return xa_to_value(xa_load(of, (unsigned long)key) ?: xa_mk_value(0));
}

static int tally_add(struct xarray *of, const void *key)
{
	return xa_err(xa_store(of, (unsigned long)key, xa_mk_value(tally_get(of, key) + 1), GFP_KERNEL_ACCOUNT));
}

/* ---- locks ---- */

static bool list_has_lock(struct list_head *list, struct file *file, const struct files_struct *owner)
{
	struct file_lock *lock;

	krg_for_each_lock(list, lock)
		if (krg_fl_file(lock) == file || krg_fl_owner(lock) == owner)
			return true;
	return false;
}

static bool has_lock(struct file *file, const struct files_struct *owner)
{
	struct file_lock_context *locks = locks_inode_context(file_inode(file));
	bool has;

	if (!locks)
		return false;
	spin_lock(&locks->flc_lock);
	has = list_has_lock(&locks->flc_posix, file, owner) || list_has_lock(&locks->flc_flock, file, NULL) ||
	      krg_has_lease(locks, file);
	spin_unlock(&locks->flc_lock);
	return has;
}

/* ---- kinds ---- */

static void check_watches(struct krg_check *c, pid_t pid, unsigned int number, struct file *epoll,
			  const struct krg_descriptors *list)
{
	char *text = kvmalloc(WATCHES_ROOM, GFP_KERNEL_ACCOUNT), *line = text;
	struct krg_watch watch;

	if (!text) {
		c->error = -ENOMEM;
		return;
	}
	if (krg_file_info(epoll, text, WATCHES_ROOM)) {
		krg_check_refuse(c, "epoll: descriptor %u of process %d watches too many files", number, pid);
		goto free;
	}
	while (krg_watch_next(&line, list, &watch))
		if (!watch.file)
			krg_check_refuse(c, "epoll: descriptor %u of process %d watches a file by descriptor %d, which is closed or another one now",
					 number, pid, watch.number);
free:
	kvfree(text);
}

static void forward(struct krg_check *c, pid_t pid, const struct krg_descriptor *at, enum krg_file_kind kind)
{
	const char *why_not = krg_forwarding_why_not(at->file, kind);
	int err = why_not ? 0 : krg_forwarding_choose(c->set->forward, at->file);

	if (why_not)
		krg_check_refuse(c, "file: descriptor %u of process %d is %s", at->number, pid, why_not);
	if (err)
		c->error = err;
}

static bool regular_stays(struct krg_check *c, struct file *file)
{
	int stays = krg_forwarding_stays(c->set->forward, file);

	if (stays < 0)
		c->error = stays;
	return stays > 0;
}

/* Of a process that moves: what is carried only to a place where there is the same file, or not at all, is served from here. */
static bool stays_behind(struct krg_check *c, pid_t pid, const struct krg_descriptor *at, enum krg_file_kind kind)
{
	if (!c->set->forward || (kind < KRG_FILE_CARRIED && kind != KRG_FILE_REGULAR))
		return false;
	if (kind == KRG_FILE_REGULAR && !regular_stays(c, at->file))
		return false;
	forward(c, pid, at, kind);
	return true;
}

static void check_descriptor(struct krg_check *c, pid_t pid, const struct krg_descriptor *at,
			     const struct krg_descriptors *list)
{
	enum krg_file_kind kind = krg_file_kind(at->file);

	if (!stays_behind(c, pid, at, kind) && kind >= KRG_FILE_CARRIED) {
		krg_check_refuse(c, "file: descriptor %u of process %d is %s", at->number, pid, krg_file_kind_name(kind));
		return;
	}
	if (kind == KRG_FILE_EPOLL)
		check_watches(c, pid, at->number, at->file, list);
	if (has_lock(at->file, list->of))
		krg_check_refuse(c, "lock: process %d has a lock or lease on the file of descriptor %u", pid, at->number);
}

/* ---- pipes ---- */

static bool is_pipe(struct file *file)
{
	enum krg_file_kind kind = krg_file_kind(file);

	return kind == KRG_FILE_PIPE || kind == KRG_FILE_FIFO;
}

/*
 * A pipe is carried when all its ends are in the set. That a file is also held by
 * others shows in its count, which is only steady while nobody uses it: each table has a
 * reference for each descriptor, and so has the list.
 */
static void check_pipe(struct krg_check *c, pid_t pid, const struct krg_descriptor *at,
		       const struct krg_descriptors *list, struct tally *tally)
{
	struct pipe_inode_info *pipe = at->file->private_data;
	bool outside = pipe->files != tally_get(&tally->pipes, pipe);
	unsigned long count = tally_get(&tally->files, at->file);
	unsigned int i;

	for (i = 0; i < list->count; i++)
		count += list->at[i].file == at->file;
	if (c->frozen && file_count(at->file) > count)
		outside = true;
	if (outside && c->set->forward)
		forward(c, pid, at, krg_file_kind(at->file));
	else if (outside)
		krg_check_refuse(c, "pipe: descriptor %u of process %d is one whose ends are also held outside", at->number, pid);
}

/* ---- all of the set ---- */

typedef int (*visit_fn)(struct krg_check *c, pid_t pid, const struct krg_descriptors *list, struct tally *tally);

static int visit_tally(struct krg_check *c, pid_t pid, const struct krg_descriptors *list, struct tally *tally)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < list->count && !err; i++) {
		struct file *file = list->at[i].file;

		if (is_pipe(file) && !tally_get(&tally->files, file))
			err = tally_add(&tally->pipes, file->private_data);
		if (!err)
			err = tally_add(&tally->files, file);
	}
	return err;
}

static int visit_check(struct krg_check *c, pid_t pid, const struct krg_descriptors *list, struct tally *tally)
{
	unsigned int i;

	for (i = 0; i < list->count; i++) {
		check_descriptor(c, pid, &list->at[i], list);
		if (is_pipe(list->at[i].file))
			check_pipe(c, pid, &list->at[i], list, tally);
	}
	return 0;
}

/* Each table once. */
static int visit_tables(struct krg_check *c, visit_fn visit, struct tally *tally)
{
	struct krg_process *process;
	struct krg_thread *thread;
	struct krg_descriptors list;
	struct xarray seen;
	int err = 0;

	xa_init(&seen);
	krg_for_each_process(c->set, process) {
		krg_for_each_thread(process, thread) {
			if (err || !thread->task->files || tally_get(&seen, thread->task->files))
				continue;
			err = tally_add(&seen, thread->task->files);
			if (!err)
				err = krg_descriptors_get(&list, thread->task);
			if (err)
				continue;
			err = visit(c, task_tgid_vnr(thread->task), &list, tally);
			krg_descriptors_put(&list);
		}
	}
	xa_destroy(&seen);
	return err;
}

void krg_check_files(struct krg_check *c)
{
	struct tally tally;
	int err;

	xa_init(&tally.files);
	xa_init(&tally.pipes);
	err = visit_tables(c, visit_tally, &tally);
	if (!err)
		err = visit_tables(c, visit_check, &tally);
	xa_destroy(&tally.files);
	xa_destroy(&tally.pipes);
	if (err)
		c->error = err;
}
