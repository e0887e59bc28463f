// SPDX-License-Identifier: GPL-2.0
/*
 * Locks and leases in the image, after all files. Who has which is lock.c's.
 */
#include <linux/sched/task.h>

#include "capture.h"
#include "file.h"
#include "lock.h"
#include "park.h"

/* Locks of an open file that several tables have are written once. */
static bool is_written(struct krg_capture *c, const struct krg_lock *lock, const void *table)
{
	const void *mark = (const void *)lock->file + lock->kind;

	if (lock->kind == KRG_LOCK_POSIX)
		return false;
	if (krg_capture_id(c, mark) && krg_capture_id(c, mark) != krg_capture_id(c, table))
		return true;
	krg_capture_set_id(c, mark, krg_capture_id(c, table));
	return false;
}

static void put_lock(struct krg_capture *c, const struct krg_lock *lock, const void *table)
{
	krg_capture_begin(c, KRG_GHOST_LOCK);
	krg_capture_put(c, KRG_GHOST_LOCK_FILE, krg_capture_id(c, lock->file));
	krg_capture_put(c, KRG_GHOST_LOCK_KIND, lock->kind);
	krg_capture_put(c, KRG_GHOST_LOCK_MODE, lock->exclusive ? 2 : 1);
	krg_capture_put(c, KRG_GHOST_LOCK_START, lock->start);
	krg_capture_put(c, KRG_GHOST_LOCK_END, lock->end);
	if (lock->kind == KRG_LOCK_POSIX) {
		krg_capture_put(c, KRG_GHOST_LOCK_FILES, krg_capture_id(c, table));
		krg_capture_put(c, KRG_GHOST_LOCK_PID, lock->pid > 0 ? lock->pid : 0);
	}
	krg_capture_end(c);
}

static void capture_locks_of(struct krg_capture *c, struct task_struct *task)
{
	struct krg_descriptors list;
	struct krg_locks locks;
	unsigned int i;
	int err = krg_descriptors_get(&list, task);

	if (err) {
		krg_capture_fail(c, err, "files: the descriptors cannot be read (%d)", err);
		return;
	}
	err = krg_locks_get(&locks, &list, true);
	if (!err && locks.hidden)
		err = -EOPNOTSUPP;
	if (err)
		krg_capture_fail(c, err, "lock: which ones a process has cannot be told (%d)", err);
	for (i = 0; i < locks.count && !c->error; i++)
		if (!is_written(c, &locks.at[i], list.of))
			put_lock(c, &locks.at[i], list.of);
	krg_locks_put(&locks);
	krg_descriptors_put(&list);
}

void krg_capture_locks(struct krg_capture *c)
{
	struct krg_process *process;
	struct krg_thread *thread;

	krg_for_each_process(c->set, process)
		krg_for_each_thread(process, thread)
			if (!c->error && (thread->task == process->leader || thread->task->files != process->leader->files))
				capture_locks_of(c, thread->task);
}
