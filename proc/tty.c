// SPDX-License-Identifier: GPL-2.0
/*
 * Whether a set has both ends of a pseudo terminal, and which of them it cannot take
 * along. What is in one is capture_tty.c's.
 */
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>

#include "check_private.h"
#include "forward.h"
#include "park.h"
#include "tty.h"

static struct tty_struct *tty_of(struct file *file)
{
	return ((struct tty_file_private *)file->private_data)->tty;
}

static bool is_pseudo(const struct tty_struct *tty)
{
	return tty->driver->type == TTY_DRIVER_TYPE_PTY && tty->link &&
	       (tty->driver->subtype == PTY_TYPE_MASTER || tty->driver->subtype == PTY_TYPE_SLAVE);
}

/* The slave's end has the session. */
static struct tty_struct *slave_of(struct tty_struct *tty)
{
	return tty->driver->subtype == PTY_TYPE_MASTER ? tty->link : tty;
}

/* All its open files are of the set; *@count: how many there are. */
static bool has_end(struct tty_struct *tty, struct krg_tally *tally, unsigned int *count)
{
	struct tty_file_private *open;
	bool all = true;

	*count = 0;
	spin_lock(&tty->files_lock);
	list_for_each_entry(open, &tty->tty_files, list) {
		all = all && krg_tally_get(&tally->files, open->file);
		++*count;
	}
	spin_unlock(&tty->files_lock);
	return all;
}

/* Its session, if it is anybody's controlling terminal, is led by a process of the set. */
static bool has_session(struct krg_frozen *set, struct tty_struct *slave)
{
	struct task_struct *leader;
	unsigned long flags;
	bool has = true;

	rcu_read_lock();
	spin_lock_irqsave(&slave->ctrl.lock, flags);
	if (slave->ctrl.session) {
		leader = pid_task(slave->ctrl.session, PIDTYPE_TGID);
		has = leader && krg_frozen_has(set, leader);
	}
	spin_unlock_irqrestore(&slave->ctrl.lock, flags);
	rcu_read_unlock();
	return has;
}

static bool is_inside(struct krg_frozen *set, struct tty_struct *tty, struct krg_tally *tally)
{
	unsigned int near, far;

	/* One that nobody has open may lose its other end any time: it is not looked at. */
	if (!is_pseudo(tty) || !has_end(tty, tally, &near) || !near || !has_end(tty->link, tally, &far))
		return false;
	/* Without its master it is hung up. */
	return (far || slave_of(tty) != tty) && has_session(set, slave_of(tty));
}

bool krg_tty_is_inside(struct krg_frozen *set, struct file *file, struct krg_tally *tally)
{
	return !tty_hung_up_p(file) && is_inside(set, tty_of(file), tally);
}

void krg_tty_check(struct krg_check *c, pid_t pid, unsigned int number, struct file *file)
{
	struct tty_struct *tty = tty_of(file);

	if (tty->termios.c_line != N_TTY || tty->link->termios.c_line != N_TTY)
		krg_check_refuse(c, "terminal: descriptor %u of process %d is of one with a line discipline of its own", number, pid);
	if (file->f_flags & FASYNC)
		krg_check_refuse(c, "terminal: descriptor %u of process %d sends signals (O_ASYNC)", number, pid);
}

/* Its controlling terminal, with a reference; @take: it is that no more, and the reference is the one it had. */
static struct tty_struct *controlling(struct task_struct *leader, bool take)
{
	struct sighand_struct *sighand = krg_sighand_lock(leader);
	struct tty_struct *tty;

	if (!sighand)
		return NULL;
	tty = take ? leader->signal->tty : tty_kref_get(leader->signal->tty);
	if (take)
		leader->signal->tty = NULL;
	spin_unlock_irq(&sighand->siglock);
	return tty;
}

/* Who began the session, which is in the set if its terminal is. */
static bool has_terminal_of_leader(struct task_struct *leader, struct tty_struct *tty)
{
	struct task_struct *first;
	bool same;

	rcu_read_lock();
	first = pid_task(task_session(leader), PIDTYPE_TGID);
	same = first && READ_ONCE(first->signal->tty) == tty;
	rcu_read_unlock();
	return same;
}

void krg_tty_check_controlling(struct krg_check *c, struct krg_process *process, struct krg_tally *tally)
{
	struct task_struct *leader = process->leader;
	struct tty_struct *tty = controlling(leader, false);
	bool inside = tty && is_inside(c->set, tty, tally);
	pid_t pid = task_tgid_vnr(leader);

	process->tty_moves = inside;
	/* Of one that moves it stays behind, with the shadow, which has the session. */
	if (tty && !inside && !c->set->forward)
		krg_check_refuse(c, "terminal: process %d has a controlling terminal, of which an end or the session is outside", pid);
	if (inside && !has_terminal_of_leader(leader, tty))
		krg_check_refuse(c, "terminal: process %d has another controlling terminal than who began its session", pid);
	tty_kref_put(tty);
}

/* ---- it has moved ---- */

/* As if the session had given it up: closing its master is no hangup of anybody then. */
static void forget_session(struct tty_struct *slave)
{
	struct pid *session, *group;
	unsigned long flags;

	spin_lock_irqsave(&slave->ctrl.lock, flags);
	session = slave->ctrl.session;
	group = slave->ctrl.pgrp;
	slave->ctrl.session = NULL;
	slave->ctrl.pgrp = NULL;
	spin_unlock_irqrestore(&slave->ctrl.lock, flags);
	put_pid(session);
	put_pid(group);
}

void krg_tty_leave(struct krg_frozen *set)
{
	struct krg_process *process;
	struct tty_struct *tty;

	krg_for_each_process(set, process) {
		if (!process->tty_moves)
			continue;
		tty = controlling(process->leader, true);
		if (tty)
			forget_session(slave_of(tty));
		tty_kref_put(tty);
	}
}
