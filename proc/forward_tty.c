// SPDX-License-Identifier: GPL-2.0
/*
 * Forwarded files, the server: what only terminals have. Settings, size, the
 * foreground group, for a process that is elsewhere; its shadow, which has its
 * session and its group here, stands for it.
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/kdev_t.h>
#include <linux/major.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/signal.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>
#include <linux/tty_ldisc.h>

#include "forward.h"

#define DRAIN	(5 * HZ)	/* for output to leave, at most */

static struct tty_struct *tty_of(struct file *file)
{
	return ((struct tty_file_private *)file->private_data)->tty;
}

bool krg_forward_tty_is_master(struct file *file)
{
	const struct tty_driver *driver = tty_of(file)->driver;

	return driver->type == TTY_DRIVER_TYPE_PTY && driver->subtype == PTY_TYPE_MASTER;
}

/* ---- opening ---- */

static bool is_dev_tty(const struct file *file)
{
	const struct inode *inode = file_inode(file);

	return imajor(inode) == TTYAUX_MAJOR && iminor(inode) == 0;
}

/* /dev/tty is another terminal for everybody: where the terminal itself is. False: nobody has it open by that. */
static bool real_path(struct file *file, struct path *path)
{
	struct tty_struct *tty = tty_of(file);
	struct tty_file_private *other;
	bool found = !is_dev_tty(file);

	if (found) {
		*path = file->f_path;
		path_get(path);
		return true;
	}
	spin_lock(&tty->files_lock);
	list_for_each_entry(other, &tty->tty_files, list) {
		if (is_dev_tty(other->file))
			continue;
		*path = other->file->f_path;
		path_get(path);
		found = true;
		break;
	}
	spin_unlock(&tty->files_lock);
	return found;
}

struct file *krg_forward_tty_open(struct file *file)
{
	unsigned int flags = (file->f_flags & (O_ACCMODE | O_LARGEFILE)) | O_NONBLOCK | O_NOCTTY;
	struct file *other;
	struct path path;

	if (!real_path(file, &path))
		return ERR_PTR(-ENODEV);
	other = dentry_open(&path, flags, file->f_cred);
	path_put(&path);
	if (!IS_ERR(other) && tty_of(other) != tty_of(file)) {
		fput(other);
		return ERR_PTR(-EIO);
	}
	return other;
}

/* ---- who asks ---- */

/* The shadow, if the terminal is its controlling one; with a reference. */
static struct task_struct *shadow_of(struct tty_struct *tty, pid_t pid)
{
	struct pid *id = find_get_pid(pid);
	struct task_struct *task = get_pid_task(id, PIDTYPE_TGID);

	put_pid(id);
	if (task && READ_ONCE(task->signal->tty) != tty) {
		put_task_struct(task);
		task = NULL;
	}
	return task;
}

static bool in_background(struct tty_struct *tty, struct task_struct *task)
{
	unsigned long flags;
	bool background;

	rcu_read_lock();
	spin_lock_irqsave(&tty->ctrl.lock, flags);
	background = tty->ctrl.pgrp && tty->ctrl.pgrp != task_pgrp(task);
	spin_unlock_irqrestore(&tty->ctrl.lock, flags);
	rcu_read_unlock();
	return background;
}

/* It waits then as if there were nothing, until it is in the foreground: a stop could not be seen at its home. */
int krg_forward_tty_job(struct file *file, pid_t pid, int signal)
{
	struct tty_struct *tty = tty_of(file);
	struct task_struct *task;
	bool background;

	if (signal == SIGTTOU && !L_TOSTOP(tty))
		return 0;
	task = shadow_of(tty, pid);
	if (!task)
		return 0;
	background = in_background(tty, task);
	put_task_struct(task);
	return background ? -EAGAIN : 0;
}

u32 krg_forward_tty_wait_ms(struct file *file)
{
	struct tty_struct *tty = tty_of(file);
	u32 ms = 0;

	down_read(&tty->termios_rwsem);
	if (!L_ICANON(tty) && !MIN_CHAR(tty))
		ms = TIME_CHAR(tty) * 100;
	up_read(&tty->termios_rwsem);
	return ms;
}

/* ---- operations ---- */

static const struct krg_forward_tty_op ops[] = {
	{ TCGETS, 0, sizeof(struct termios) }, { TCGETS2, 0, sizeof(struct termios2) },
	{ TCSETS, sizeof(struct termios) }, { TCSETSW, sizeof(struct termios) }, { TCSETSF, sizeof(struct termios) },
	{ TCSETS2, sizeof(struct termios2) }, { TCSETSW2, sizeof(struct termios2) }, { TCSETSF2, sizeof(struct termios2) },
	{ TIOCGWINSZ, 0, sizeof(struct winsize) }, { TIOCSWINSZ, sizeof(struct winsize) },
	{ TIOCGPGRP, 0, sizeof(s32) }, { TIOCSPGRP, sizeof(s32) }, { TIOCGSID, 0, sizeof(s32) },
	{ TIOCOUTQ, 0, sizeof(s32) },
	{ TCFLSH, sizeof(s32), 0, true }, { TCXONC, sizeof(s32), 0, true },
	{ TCSBRK, sizeof(s32), 0, true }, { TCSBRKP, sizeof(s32), 0, true },
};

const struct krg_forward_tty_op *krg_forward_tty_find(unsigned int command)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		if (ops[i].command == command)
			return &ops[i];
	return NULL;
}

static int get_settings(struct tty_struct *tty, void *to, u32 size)
{
	BUILD_BUG_ON(sizeof(struct termios2) != sizeof(struct ktermios));
	down_read(&tty->termios_rwsem);
	memcpy(to, &tty->termios, size);
	up_read(&tty->termios_rwsem);
	return size;
}

static int set_settings(struct tty_struct *tty, const void *from, u32 size, bool drain, bool flush)
{
	struct ktermios settings;

	down_read(&tty->termios_rwsem);
	settings = tty->termios;
	up_read(&tty->termios_rwsem);
	memcpy(&settings, from, size);
	settings.c_ospeed = tty_termios_baud_rate(&settings);
	settings.c_ispeed = settings.c_ospeed;
	if (drain)
		tty_wait_until_sent(tty, DRAIN);
	if (flush)
		tty_perform_flush(tty, TCIFLUSH);
	return tty_set_termios(tty, &settings);
}

static int get_group(struct tty_struct *tty, pid_t pid, bool session)
{
	struct task_struct *task = shadow_of(tty, pid);
	unsigned long flags;
	int id;

	if (!task)
		return -ENOTTY;
	put_task_struct(task);
	spin_lock_irqsave(&tty->ctrl.lock, flags);
	id = pid_nr(session ? tty->ctrl.session : tty->ctrl.pgrp);
	spin_unlock_irqrestore(&tty->ctrl.lock, flags);
	return id;
}

/* A group of the shadow's session; those that exist elsewhere only are not known here. */
static int set_group(struct tty_struct *tty, pid_t pid, pid_t group)
{
	struct task_struct *task = shadow_of(tty, pid), *member;
	struct pid *id = find_get_pid(group);
	int err = -EPERM;

	if (!task) {
		put_pid(id);
		return -ENOTTY;
	}
	rcu_read_lock();
	spin_lock_irq(&tty->ctrl.lock);
	member = id ? pid_task(id, PIDTYPE_PGID) : NULL;
	if (member && task_session(member) == tty->ctrl.session && task_session(task) == tty->ctrl.session) {
		put_pid(tty->ctrl.pgrp);
		tty->ctrl.pgrp = get_pid(id);
		err = 0;
	}
	spin_unlock_irq(&tty->ctrl.lock);
	rcu_read_unlock();
	put_pid(id);
	put_task_struct(task);
	return err;
}

static int put_number(void *to, s32 number)
{
	if (number < 0)
		return number;
	memcpy(to, &number, sizeof(number));
	return sizeof(number);
}

static int get_size(struct tty_struct *tty, void *to)
{
	mutex_lock(&tty->winsize_mutex);
	memcpy(to, &tty->winsize, sizeof(tty->winsize));
	mutex_unlock(&tty->winsize_mutex);
	return sizeof(tty->winsize);
}

static int set_size(struct tty_struct *tty, void *from)
{
	return tty->ops->resize ? tty->ops->resize(tty, from) : tty_do_resize(tty, from);
}

static int drain(struct tty_struct *tty)
{
	tty_wait_until_sent(tty, DRAIN);
	return 0;
}

int krg_forward_tty_ioctl(struct file *file, pid_t pid, unsigned int command, void *data, u32 length)
{
	const struct krg_forward_tty_op *op = krg_forward_tty_find(command);
	struct tty_struct *tty = tty_of(file);
	s32 number = *(s32 *)data;

	if (!op || length != op->in)
		return op ? -EINVAL : -ENOTTY;
	if (tty_hung_up_p(file) || tty_io_error(tty))
		return -EIO;
	switch (command) {
	case TCGETS:
	case TCGETS2:
		return get_settings(tty, data, op->out);
	case TCSETS:
	case TCSETS2:
		return set_settings(tty, data, op->in, false, false);
	case TCSETSW:
	case TCSETSW2:
		return set_settings(tty, data, op->in, true, false);
	case TCSETSF:
	case TCSETSF2:
		return set_settings(tty, data, op->in, true, true);
	case TIOCGWINSZ:
		return get_size(tty, data);
	case TIOCSWINSZ:
		return set_size(tty, data);
	case TIOCGPGRP:
	case TIOCGSID:
		return put_number(data, get_group(tty, pid, command == TIOCGSID));
	case TIOCSPGRP:
		return set_group(tty, pid, number);
	case TIOCOUTQ:
		return put_number(data, tty_chars_in_buffer(tty));
	case TCFLSH:
		return tty_perform_flush(tty, number);
	case TCXONC:
		return n_tty_ioctl_helper(tty, command, number);
	default:	/* TCSBRK, TCSBRKP: breaks mean nothing to whom this can be, output is waited for */
		return drain(tty);
	}
}
