// SPDX-License-Identifier: GPL-2.0
/*
 * The operations on running processes: check, capture, freeze, unfreeze. Who is
 * held and what is written is in other files; here is the order of things.
 */
#include <linux/file.h>
#include <linux/pid.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ahead.h"
#include "capture.h"
#include "check.h"
#include "control.h"
#include "file.h"
#include "inet.h"
#include "main.h"
#include "park.h"
#include "self.h"
#include "text.h"

#define KRG_DESCRIPTION_MAX	4096	/* bytes, as the format has it */

/* ---- memory of a capture ---- */

static void capture_free(struct krg_capture *c)
{
	if (!c)
		return;
	krg_track_close(&c->tracking, 0);
	xa_destroy(&c->ids);
	krg_capture_twins_free(c);
	kvfree(c->memory);
	kvfree(c->buffer);
	free_page((unsigned long)c->page);
	kvfree(c);
}

/* More than there can be: descriptors and mappings make an object or two each, threads one, and some that all have. */
static u32 capture_objects(struct krg_frozen *set)
{
	struct krg_process *process;
	struct krg_thread *thread;
	u64 n = 1024;

	krg_for_each_process(set, process) {
		struct mm_struct *mm = get_task_mm(process->leader);

		if (mm) {
			n += 4 * (u64)mm->map_count + 16;
			mmput(mm);
		}
		krg_for_each_thread(process, thread) {
			struct krg_descriptors list;

			n += 8;
			if (krg_descriptors_get(&list, thread->task))
				continue;
			n += 3 * (u64)list.count;
			krg_descriptors_put(&list);
		}
	}
	return min_t(u64, n, KRG_GHOST_OBJECTS_MAX);
}

static struct krg_capture *capture_new(struct krg_frozen *set, struct krg_sink *sink, const struct krg_tracking *tracking,
				       struct krg_text *text)
{
	struct krg_capture *c = kvzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);
	u32 objects = capture_objects(set);

	if (!c)
		return NULL;
	c->set = set;
	c->sink = sink;
	c->text = text;
	c->tracking = *tracking;
	INIT_LIST_HEAD(&c->tracking.open);
	xa_init(&c->ids);
	xa_init(&c->twins);
	do
		c->number = get_random_u64();
	while (!c->number);
	c->page = (char *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	c->buffer = kvmalloc(KRG_CAPTURE_BUFFER, GFP_KERNEL_ACCOUNT);
	c->memory = kvzalloc(krg_ghost_memory(objects), GFP_KERNEL_ACCOUNT);
	if (c->page && c->buffer && c->memory) {
		c->writer = krg_ghost_writer_init(c->memory, objects, NULL, c->number,
						  tracking->parent && !sink->ahead ? KRG_GHOST_INCREMENT : 0);
		if (c->writer)
			return c;
	}
	capture_free(c);
	return NULL;
}

/* ---- the image ---- */

static int write_prologue(struct krg_capture *c)
{
	const struct krg_ghost_piece piece = { .at = krg_ghost_prologue(c->writer), .length = KRG_GHOST_PROLOGUE };
	int err = c->sink->write(c->sink, &piece, 1);

	if (err)
		krg_capture_fail(c, err, "image: cannot be written (%d)", err);
	else
		c->sink->bytes += piece.length;
	return err;
}

static int write_end(struct krg_capture *c)
{
	u32 used, i;
	int err;

	if (c->error)
		return c->error;
	if (!krg_frozen_holds(c->set)) {
		krg_capture_fail(c, -ESRCH, "process: was killed, or its stop ended, while it was captured");
		return c->error;
	}
	if (!krg_track_holds(&c->tracking)) {
		krg_capture_fail(c, -ESTALE, "increment: something else cleared the marks of written pages meanwhile");
		return c->error;
	}
	err = krg_ghost_close(c->writer, c->out, &used);
	if (!err)
		err = c->sink->write(c->sink, c->out, used);
	if (err) {
		krg_capture_fail(c, err, "image: cannot be ended (%d)", err);
		return c->error;
	}
	for (i = 0; i < used; i++)
		c->sink->bytes += c->out[i].length;
	return 0;
}

static int capture_to(struct krg_frozen *set, struct krg_sink *sink, const char *description, struct krg_proc_capture *arg,
		      const struct krg_tracking *tracking, struct krg_text *text)
{
	struct krg_capture *c = capture_new(set, sink, tracking, text);
	const struct krg_ghost_totals *totals;
	int err;

	if (!c) {
		krg_text_add(text, "capture: no memory");
		return -ENOMEM;
	}
	err = krg_track_open(&c->tracking, set, text);
	if (!err)
		err = write_prologue(c);
	if (!err) {
		krg_capture_image(c, description, arg->description.length);
		err = write_end(c);
	}
	if (!err && !sink->ahead)
		krg_track_close(&c->tracking, c->number);
	arg->version = c->tracking.version;
	totals = krg_ghost_writer_totals(c->writer);
	arg->number = c->number;
	arg->bytes = sink->bytes;
	arg->pages = totals->pages;
	arg->tasks = totals->tasks;
	arg->threads = totals->threads;
	capture_free(c);
	return err;
}

int krg_capture_to(struct krg_frozen *set, struct krg_sink *sink, struct krg_text *text)
{
	struct krg_tracking tracking = {};
	struct krg_proc_capture unused = {};

	/* What went ahead is as a parent would be. */
	if (sink->ahead && sink->ahead->track)
		tracking.chain = tracking.parent = sink->ahead->move;
	return capture_to(set, sink, "", &unused, &tracking, text);
}

/* ---- sets that an open file keeps ---- */

/* @tree: one with all descendants is wanted. Under the file's lock. */
static struct krg_frozen *file_find(struct krg_proc_file *file, pid_t pid, bool tree)
{
	struct krg_frozen *set;

	list_for_each_entry(set, &file->frozen, node)
		if (set->pid == pid && (set->tree || !tree))
			return set;
	return NULL;
}

void krg_capture_release(struct krg_proc_file *file)
{
	struct krg_frozen *set, *next;

	list_for_each_entry_safe(set, next, &file->frozen, node) {
		list_del_init(&set->node);
		krg_unfreeze(set);
	}
}

/* ---- operations: under the file's lock ---- */

static int capture_set(struct krg_frozen *set, struct krg_proc_capture *arg, const char *description,
		       const struct krg_tracking *tracking, struct krg_text *text)
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
	err = krg_file_sink_init(sink, arg->fd);
	if (err) {
		krg_text_add(text, "image: descriptor %d is not open for writing", arg->fd);
	} else {
		err = capture_to(set, &sink->sink, description, arg, tracking, text);
		set->captured = !err;
		krg_file_sink_exit(sink);
	}
	kvfree(sink);
	return err;
}

static void signal_set(struct krg_frozen *set, int signal)
{
	struct krg_process *process;

	if (signal == SIGKILL && set->captured)
		krg_inet_quiet(set);
	krg_for_each_process(set, process)
		kill_pid(task_tgid(process->leader), signal, 1);
}

/* What can be seen without disturbing it is looked for first. */
static int survey(pid_t pid, bool tree, bool ignore, struct krg_text *text)
{
	struct krg_frozen *set = krg_survey(pid, tree, text);
	int err;

	if (IS_ERR(set))
		return PTR_ERR(set);
	set->ignore = ignore;
	err = krg_check(set, false, text);
	krg_unfreeze(set);
	return err;
}

static int do_capture(struct krg_proc_file *file, struct krg_proc_capture *arg, const char *description,
		      const struct krg_tracking *tracking, struct krg_text *text)
{
	bool tree = arg->flags & KRG_PROC_TREE, borrowed = false;
	struct krg_frozen *set = file_find(file, arg->pid, tree);
	int err;

	if (!set) {
		set = krg_control_borrow(arg->pid);
		borrowed = set;
	}
	if (!set) {
		err = survey(arg->pid, tree, arg->flags & KRG_PROC_IGNORE_UNSUPPORTED, text);
		if (err)
			return err;
		/* What is left out is said again when nothing moves. */
		krg_text_free(text);
		set = krg_freeze_willing(arg->pid, tree, arg->timeout_ms, !(arg->flags & KRG_PROC_NO_CALLBACKS), text);
		if (IS_ERR(set))
			return PTR_ERR(set);
	}
	set->ignore = arg->flags & KRG_PROC_IGNORE_UNSUPPORTED;
	err = borrowed ? krg_frozen_judge(set, text) : 0;
	err = err ?: capture_set(set, arg, description, tracking, text);
	if (!err && arg->flags & KRG_PROC_KILL)
		signal_set(set, SIGKILL);
	if (borrowed && (err || !(arg->flags & KRG_PROC_KILL))) {
		krg_control_give_back(arg->pid, set);
	} else if (!err && arg->flags & KRG_PROC_STOP) {
		if (list_empty(&set->node))
			list_add(&set->node, &file->frozen);
	} else if (list_empty(&set->node)) {
		krg_unfreeze(set);
	}
	return err;
}

/* ---- their arguments ---- */

static bool text_is_right(const struct krg_proc_text *text)
{
	return !text->room || text->at;
}

static long finish(struct krg_text *text, struct krg_proc_text *to, void __user *at, void *arg, size_t size, int err)
{
	if (krg_text_give(text, to) || copy_to_user(at, arg, size))
		err = -EFAULT;
	krg_text_free(text);
	return err;
}

static long ioctl_check(struct krg_proc_file *file, void __user *at)
{
	struct krg_proc_check arg;
	struct krg_text text = {};
	int err;

	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	if (arg.flags & ~KRG_PROC_TREE || !text_is_right(&arg.refusals))
		return -EINVAL;
	err = survey(arg.pid, arg.flags & KRG_PROC_TREE, false, &text);
	/* Refusals are the answer. */
	if (err == -EOPNOTSUPP)
		err = 0;
	return finish(&text, &arg.refusals, at, &arg, sizeof(arg), err);
}

/* Increments: what @arg says of them, checked. */
static int take_tracking(struct krg_tracking *to, const struct krg_proc_capture *arg)
{
	if (arg->base.room || arg->base.length > KRG_BASE_NAME_MAX || arg->pad || (arg->parent && !arg->chain) ||
	    !arg->parent != !arg->base.length)
		return -EINVAL;
	to->chain = arg->chain;
	to->parent = arg->parent;
	if (copy_from_user(to->base, u64_to_user_ptr(arg->base.at), arg->base.length))
		return -EFAULT;
	return strlen(to->base) == arg->base.length ? 0 : -EINVAL;
}

static long ioctl_capture(struct krg_proc_file *file, void __user *at)
{
	struct krg_tracking tracking = {};
	struct krg_proc_capture arg;
	struct krg_text text = {};
	char *description;
	int err;

	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	if (arg.flags & ~(KRG_PROC_TREE | KRG_PROC_KILL | KRG_PROC_STOP | KRG_PROC_NO_CALLBACKS |
			  KRG_PROC_IGNORE_UNSUPPORTED) || !text_is_right(&arg.error) || arg.description.room ||
	    arg.description.length > KRG_DESCRIPTION_MAX)
		return -EINVAL;
	err = take_tracking(&tracking, &arg);
	if (err)
		return err;
	description = memdup_user(u64_to_user_ptr(arg.description.at), arg.description.length);
	if (IS_ERR(description))
		return PTR_ERR(description);
	mutex_lock(&file->lock);
	err = do_capture(file, &arg, description, &tracking, &text);
	mutex_unlock(&file->lock);
	kfree(description);
	return finish(&text, &arg.error, at, &arg, sizeof(arg), err);
}

static int do_freeze(struct krg_proc_file *file, const struct krg_proc_freeze *arg, struct krg_text *text)
{
	struct krg_frozen *set;

	if (file_find(file, arg->pid, false)) {
		krg_text_add(text, "process: %d is frozen already", arg->pid);
		return -EEXIST;
	}
	set = krg_freeze_willing(arg->pid, arg->flags & KRG_PROC_TREE, arg->timeout_ms, !(arg->flags & KRG_PROC_NO_CALLBACKS),
				 text);
	if (IS_ERR(set))
		return PTR_ERR(set);
	list_add(&set->node, &file->frozen);
	return 0;
}

static int do_unfreeze(struct krg_proc_file *file, const struct krg_proc_freeze *arg, struct krg_text *text)
{
	struct krg_frozen *set = file_find(file, arg->pid, false);

	if (!set) {
		krg_text_add(text, "process: %d was not frozen through this file", arg->pid);
		return -ESRCH;
	}
	if (arg->flags & KRG_PROC_KILL)
		signal_set(set, SIGKILL);
	else if (arg->signal)
		signal_set(set, arg->signal);
	list_del_init(&set->node);
	krg_unfreeze(set);
	return 0;
}

static long ioctl_freeze(struct krg_proc_file *file, unsigned int cmd, void __user *at)
{
	struct krg_proc_freeze arg;
	struct krg_text text = {};
	int err;

	if (copy_from_user(&arg, at, sizeof(arg)))
		return -EFAULT;
	if (arg.flags & ~(cmd == KRG_PROC_FREEZE ? KRG_PROC_TREE | KRG_PROC_NO_CALLBACKS : KRG_PROC_KILL) || !valid_signal(arg.signal) ||
	    (cmd == KRG_PROC_FREEZE && arg.signal) || !text_is_right(&arg.error))
		return -EINVAL;
	mutex_lock(&file->lock);
	err = cmd == KRG_PROC_FREEZE ? do_freeze(file, &arg, &text) : do_unfreeze(file, &arg, &text);
	mutex_unlock(&file->lock);
	return finish(&text, &arg.error, at, &arg, sizeof(arg), err);
}

long krg_capture_ioctl(struct krg_proc_file *file, unsigned int cmd, void __user *at)
{
	switch (cmd) {
	case KRG_PROC_CHECK:
		return ioctl_check(file, at);
	case KRG_PROC_CAPTURE:
		return ioctl_capture(file, at);
	default:
		return ioctl_freeze(file, cmd, at);
	}
}
