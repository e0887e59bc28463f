// SPDX-License-Identifier: GPL-2.0
/*
 * Restore sessions: one for each open file of /dev/kerrighed that asks for one,
 * its operations, its end. Everybody who joined a session that fails gets
 * SIGKILL: nothing half restored remains. What is restored, and how, is in the
 * other restore_*.c and in rebuild_*.c.
 */
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "proc/core/ghost.h"
#include "file.h"
#include "forward.h"
#include "home.h"
#include "move.h"
#include "restore.h"

/* ---- life ---- */

void krg_restore_get(struct krg_restore *s)
{
	kref_get(&s->ref);
}

static void object_free(struct krg_r_object *object)
{
	switch (object->type) {
	case KRG_R_FILE: {
		struct krg_r_file *file = container_of(object, struct krg_r_file, object);

		if (file->file)
			fput(file->file);
		break;
	}
	case KRG_GHOST_MEMORY: {
		struct krg_r_memory *memory = container_of(object, struct krg_r_memory, object);

		if (memory->stand_in.file)
			fput(memory->stand_in.file);
		if (memory->file)
			fput(memory->file);
		kvfree(memory->runs.at);
		break;
	}
	case KRG_GHOST_VMA: {
		struct krg_r_vma *vma = container_of(object, struct krg_r_vma, object);

		xa_destroy(&vma->shared);
		kvfree(vma->runs.at);
		break;
	}
	case KRG_GHOST_THREAD: {
		struct krg_r_thread *thread = container_of(object, struct krg_r_thread, object);

		if (thread->task)
			put_task_struct(thread->task);
		while (thread->nr_filters)
			kvfree(thread->filters[--thread->nr_filters].code);
		kvfree(thread->filters);
		kvfree(thread->xstate);
		break;
	}
	}
	kvfree(object);
}

void krg_restore_forget(struct krg_restore *s)
{
	struct krg_r_object *object, *next;

	list_for_each_entry_safe(object, next, &s->all, link)
		object_free(object);
	INIT_LIST_HEAD(&s->all);
	INIT_LIST_HEAD(&s->mms);
	INIT_LIST_HEAD(&s->tasks);
	xa_destroy(&s->table);
	s->twins = 0;
	s->runs = s->nr_tasks = s->nr_threads = s->nr_mms = 0;
}

static void session_free(struct kref *ref)
{
	struct krg_restore *s = container_of(ref, struct krg_restore, ref);

	krg_restore_forget(s);
	if (s->image)
		fput(s->image);
	put_cred(s->cred);
	krg_text_free(&s->reason);
	mutex_destroy(&s->lock);
	mutex_destroy(&s->memory_lock);
	kfree(s);
}

void krg_restore_put(struct krg_restore *s)
{
	kref_put(&s->ref, session_free);
}

static struct krg_restore *session_new(void)
{
	struct krg_restore *s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);

	if (!s)
		return NULL;
	kref_init(&s->ref);
	mutex_init(&s->lock);
	mutex_init(&s->memory_lock);
	init_waitqueue_head(&s->wait);
	xa_init_flags(&s->table, XA_FLAGS_ACCOUNT);
	INIT_LIST_HEAD(&s->all);
	INIT_LIST_HEAD(&s->mms);
	INIT_LIST_HEAD(&s->tasks);
	s->owner = current->files;
	return s;
}

void *krg_restore_find(struct krg_restore *s, u64 id, u16 type)
{
	struct krg_r_object *object = xa_load(&s->table, id);

	return object && object->type == type ? object : NULL;
}

/* ---- failure ---- */

static void kill_joined(struct krg_restore *s)
{
	struct krg_r_thread *thread;
	struct krg_r_task *task;

	lockdep_assert_held(&s->lock);
	list_for_each_entry(task, &s->tasks, link)
		list_for_each_entry(thread, &task->threads, link)
			if (thread->task)
				send_sig(SIGKILL, thread->task, 1);
}

/* The first reason counts. Nothing happens to a session whose processes already run. */
void krg_restore_fail(struct krg_restore *s, int error, const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	vscnprintf(line, sizeof(line), format, args);
	va_end(args);
	mutex_lock(&s->lock);
	if (s->state == KRG_RESTORE_EMPTY || s->state == KRG_RESTORE_OPEN) {
		s->error = error;
		krg_text_add(&s->reason, "%s", line);
		WRITE_ONCE(s->state, KRG_RESTORE_FAILED);
		if (!s->home)
			kill_joined(s);
		wake_up_all(&s->wait);
	}
	mutex_unlock(&s->lock);
}

/* ---- operations ---- */

static int begin_open(struct krg_restore *s, int fd, struct krg_text *error)
{
	struct file *image = fget(fd);

	if (!image)
		return -EBADF;
	s->image = image;
	/* Anything else could be read once only, or holds references that lead back here. */
	if (!S_ISREG(file_inode(image)->i_mode) || !(image->f_mode & FMODE_READ) ||
	    !image->f_op->read_iter || image->f_op->read) {
		krg_text_add(error, "image: not a regular file that can be read");
		return -EINVAL;
	}
	return krg_restore_read(s, error);
}

static long op_begin(struct krg_proc_file *file, struct krg_proc_restore_begin __user *at)
{
	struct krg_proc_restore_begin arg;
	struct krg_text error = {};
	struct krg_restore *s;
	long err;

	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	if (arg.flags)
		return -EINVAL;
	if (READ_ONCE(file->restore))
		return -EBUSY;
	s = session_new();
	if (!s)
		return -ENOMEM;
	krg_move_in_origin(file, &s->origin);
	err = begin_open(s, arg.fd, &error);
	if (!err) {
		arg.number = s->number;
		arg.tasks = s->nr_tasks;
		arg.threads = s->nr_threads;
		s->state = KRG_RESTORE_OPEN;
		s->home = krg_move_in_begin(file, s);
		if (cmpxchg(&file->restore, NULL, s))
			err = -EBUSY;
	}
	if (err)
		krg_restore_put(s);
	if (krg_text_give(&error, &arg.error) || copy_to_user(at, &arg, sizeof(arg)))
		err = err ?: -EFAULT;
	krg_text_free(&error);
	return err;
}

/* Files that no mapping needs are not kept; the helper need not know which those are. */
static long op_file(struct krg_restore *s, const struct krg_proc_restore_file __user *at)
{
	struct krg_proc_restore_file arg;
	struct krg_r_memory *memory;
	struct krg_r_file *slot;
	struct file *file;
	long err = 0;

	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	if (arg.pad || !arg.object || arg.object > s->objects)
		return -EINVAL;
	memory = krg_restore_find(s, arg.object, KRG_GHOST_MEMORY);
	slot = memory ? &memory->stand_in : krg_restore_find(s, arg.object, KRG_R_FILE);
	if (!slot)
		return 0;
	file = fget(arg.fd);
	if (!file)
		return -EBADF;
	if (!S_ISREG(file_inode(file)->i_mode)) {
		fput(file);
		return -EINVAL;
	}
	mutex_lock(&s->lock);
	if (s->state != KRG_RESTORE_OPEN)
		err = -ECANCELED;
	else if (slot->file)
		err = slot->file == file ? 0 : -EEXIST;
	else
		swap(slot->file, file);
	mutex_unlock(&s->lock);
	if (file)
		fput(file);
	return err;
}

static long op_join(struct krg_proc_file *file, struct krg_restore *s,
		    const struct krg_proc_restore_join __user *at)
{
	struct krg_proc_restore_join arg;
	long err;

	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	if (arg.flags)
		return -EINVAL;
	/* Our descriptor is closed on the way, and may be the last one. */
	krg_restore_get(s);
	err = krg_restore_join(s, file, &arg);
	if (err && s->home)
		krg_home_back();
	krg_restore_put(s);
	return err;
}

/* The file that stands behind the mapping at @at, if that is of a SysV segment, with a reference. */
static struct file *segment_at(u64 at)
{
	struct vm_area_struct *vma;
	struct file *file = NULL;

	if (mmap_read_lock_killable(current->mm))
		return ERR_PTR(-EINTR);
	vma = find_vma(current->mm, at);
	if (vma && vma->vm_start <= at && vma->vm_file && krg_file_kind(vma->vm_file) == KRG_FILE_SYSV)
		file = get_file(vma->vm_file);
	mmap_read_unlock(current->mm);
	return file ?: ERR_PTR(-EINVAL);
}

static long op_segment(struct krg_restore *s, const struct krg_proc_restore_segment __user *at)
{
	struct krg_proc_restore_segment arg;
	struct krg_r_memory *memory;
	struct file *file;
	long err = 0;

	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	memory = krg_restore_find(s, arg.object, KRG_GHOST_MEMORY);
	if (!memory)
		return -ENOENT;
	file = segment_at(arg.at);
	if (IS_ERR(file))
		return PTR_ERR(file);
	mutex_lock(&s->lock);
	if (s->state != KRG_RESTORE_OPEN)
		err = -ECANCELED;
	else if (memory->stand_in.file)
		err = -EEXIST;
	else
		swap(memory->stand_in.file, file);
	mutex_unlock(&s->lock);
	if (file)
		fput(file);
	return err;
}

static long op_inherit(struct krg_restore *s, const struct krg_proc_restore_inherit __user *at)
{
	struct krg_proc_restore_inherit arg;

	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	if (arg.flags || arg.pad)
		return -EINVAL;
	return krg_restore_inherit(s, arg.task);
}

static bool settled(struct krg_restore *s)
{
	return READ_ONCE(s->ready) == s->nr_threads || READ_ONCE(s->state) != KRG_RESTORE_OPEN;
}

static long op_wait(struct krg_restore *s, struct krg_proc_restore_wait __user *at)
{
	struct krg_proc_restore_wait arg;
	long err, limit;

	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	if (arg.pad)
		return -EINVAL;
	limit = arg.timeout_ms ? msecs_to_jiffies(arg.timeout_ms) : MAX_SCHEDULE_TIMEOUT;
	err = wait_event_interruptible_timeout(s->wait, settled(s), limit);
	if (err < 0)
		return -EINTR;	/* not restarted: the time would begin again */
	if (!err)
		return -ETIMEDOUT;
	/* Copying may wait for the caller's memory, which must not hold up the others; the reason no longer changes. */
	mutex_lock(&s->lock);
	err = s->state == KRG_RESTORE_FAILED ? s->error : 0;
	mutex_unlock(&s->lock);
	arg.error.length = 0;
	if ((err && krg_text_give(&s->reason, &arg.error)) || copy_to_user(&at->error, &arg.error, sizeof(arg.error)))
		err = err ?: -EFAULT;
	return err;
}

int krg_restore_go(struct krg_restore *s)
{
	int err = 0;

	mutex_lock(&s->lock);
	if (s->state != KRG_RESTORE_OPEN) {
		err = -ECANCELED;
	} else if (s->ready != s->nr_threads) {
		err = -EAGAIN;
	} else {
		krg_restore_stop_all(s);
		WRITE_ONCE(s->state, KRG_RESTORE_GONE);
		wake_up_all(&s->wait);
	}
	mutex_unlock(&s->lock);
	if (!err)
		krg_follow_in_go(&s->origin);
	return err;
}

static long op_go(struct krg_proc_file *file, struct krg_restore *s)
{
	/* A process that comes from another node may have to wait for the word that it runs here. */
	long err = READ_ONCE(s->ready) == s->nr_threads ? krg_move_in_ready(file) : 0;

	if (err) {
		krg_restore_fail(s, err, "session: the process does not run here");
		return err;
	}
	err = krg_restore_go(s);
	krg_move_in_gone(file, err);
	return err;
}

long krg_restore_ioctl(struct krg_proc_file *file, unsigned int cmd, void __user *arg)
{
	struct krg_restore *s;

	if (cmd == KRG_PROC_RESTORE_BEGIN)
		return op_begin(file, arg);
	s = smp_load_acquire(&file->restore);
	if (!s)
		return -EINVAL;
	switch (cmd) {
	case KRG_PROC_RESTORE_FILE:
		return op_file(s, arg);
	case KRG_PROC_RESTORE_FORWARDED:
		return krg_forward_ioctl(s, READ_ONCE(file->move), arg);
	case KRG_PROC_RESTORE_JOIN:
		return op_join(file, s, arg);
	case KRG_PROC_RESTORE_SEGMENT:
		return op_segment(s, arg);
	case KRG_PROC_RESTORE_INHERIT:
		return op_inherit(s, arg);
	case KRG_PROC_RESTORE_WAIT:
		return op_wait(s, arg);
	case KRG_PROC_RESTORE_GO:
		return op_go(file, s);
	case KRG_PROC_RESTORE_ABORT:
		krg_restore_fail(s, -ECANCELED, "session: given up by the restorer");
		if (s->home)
			krg_home_back();
		return 0;
	}
	return -ENOTTY;
}

/*
 * A descriptor of @file was closed in the table @id. Helpers that wait inside keep the file open, so its release would come
 * too late: the session ends when the table that BEGIN was called from lets go of it, be it by the restorer's death.
 */
void krg_restore_flush(struct krg_proc_file *file, const void *id)
{
	struct krg_restore *s = smp_load_acquire(&file->restore);

	if (s && s->owner == id && !s->home)
		krg_restore_fail(s, -ECANCELED, "session: the restorer ended, or closed the device");
}

void krg_restore_release(struct krg_proc_file *file)
{
	struct krg_restore *s = file->restore;

	if (!s)
		return;
	if (!s->home)
		krg_restore_fail(s, -ECANCELED, "session: the device was closed");
	krg_restore_put(s);
}
