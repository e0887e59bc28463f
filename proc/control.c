// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/kerrighed/PID/{control,status,checks}: what /dev/kerrighed and the tools
 * do, for people and scripts with nothing but a shell. A command freezes, saves,
 * ends a process and all its descendants; how an image gets its name is in
 * control_save.c.
 *
 * procfs has no directories that appear when somebody looks for them, but for its
 * own. So the one of ours that has them looks names up by a function of ours first,
 * which makes what is missing and leaves the rest to procfs. What it made goes some
 * time after its process.
 */
#include <linux/cred.h>
#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/namei.h>
#include <linux/pid.h>
#include <linux/proc_fs.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include <kerrighed/proc.h>

#include "check.h"
#include "control.h"
#include "park.h"
#include "self.h"
#include "text.h"

#define KRG_DIRECTORY	"/proc/kerrighed"
#define SWEEP_S		10	/* between looks for processes that have ended */
#define COMMAND_MAX	(PATH_MAX + 64)

/* A process somebody has looked for. Its files hold no reference: they are gone before it is freed. */
struct entry {
	struct list_head node;
	struct mutex lock;	/* one command at a time; taken before nothing of ours */
	struct pid *pid;
	struct proc_dir_entry *dir;
	struct krg_frozen *frozen;	/* lock: held since a freeze, or NULL */
	struct krg_text said;		/* lock: of the last command */
	u64 checkpoints;		/* lock */
};

static struct {
	struct mutex lock;	/* the list; inside of the directory's lock */
	struct list_head entries;
	struct path at;		/* ours, while the module is there */
	const struct inode_operations *procfs;
	struct inode_operations ours;
	struct delayed_work sweep;
} krg_control = {
	.lock = __MUTEX_INITIALIZER(krg_control.lock),
	.entries = LIST_HEAD_INIT(krg_control.entries),
};

/* ---- commands ---- */

static int command_freeze(struct entry *e, pid_t pid)
{
	struct krg_frozen *set;

	if (e->frozen) {
		krg_text_add(&e->said, "process: %d is frozen already", pid);
		return -EEXIST;
	}
	set = krg_freeze_willing(pid, true, 0, true, &e->said);
	if (IS_ERR(set))
		return PTR_ERR(set);
	e->frozen = set;
	return 0;
}

static void signal_set(struct krg_frozen *set, int signal)
{
	struct krg_process *process;

	krg_for_each_process(set, process)
		kill_pid(task_tgid(process->leader), signal, 1);
}

/* The caller's right to the process was looked at when the command began. */
static int command_unfreeze(struct entry *e, pid_t pid, int signal)
{
	int err;

	if (!e->frozen) {
		krg_text_add(&e->said, "process: %d was not frozen from here", pid);
		return -ESRCH;
	}
	/* Whoever froze them may have had more rights. */
	err = krg_frozen_judge(e->frozen, &e->said);
	if (err)
		return err;
	if (signal)
		signal_set(e->frozen, signal);
	krg_unfreeze(e->frozen);
	e->frozen = NULL;
	return 0;
}

static int command_checkpoint(struct entry *e, pid_t pid, char *words)
{
	bool kill = false, was_frozen = e->frozen;
	int err;

	if (!strncmp(words, "kill ", 5)) {
		kill = true;
		words = skip_spaces(words + 5);
	}
	if (*words != '/') {
		krg_text_add(&e->said, "control: checkpoint needs a path that begins with /");
		return -EINVAL;
	}
	err = was_frozen ? krg_frozen_judge(e->frozen, &e->said) : krg_control_survey(pid, &e->said);
	if (!err && !was_frozen)
		err = command_freeze(e, pid);
	if (err)
		return err;
	err = krg_control_save(e->frozen, words, &e->said);
	if (!err)
		e->checkpoints++;
	if (!err && kill)
		signal_set(e->frozen, SIGKILL);
	if (!was_frozen || (!err && kill)) {
		krg_unfreeze(e->frozen);
		e->frozen = NULL;
	}
	return err;
}

static int command_unfreeze_with(struct entry *e, pid_t pid, const char *word)
{
	int signal;

	if (kstrtoint(word, 10, &signal) || !valid_signal(signal) || !signal) {
		krg_text_add(&e->said, "control: unfreeze takes the number of a signal");
		return -EINVAL;
	}
	return command_unfreeze(e, pid, signal);
}

static int run_command(struct entry *e, pid_t pid, char *line)
{
	if (!strncmp(line, "checkpoint ", 11))
		return command_checkpoint(e, pid, skip_spaces(line + 11));
	if (!strcmp(line, "freeze"))
		return command_freeze(e, pid);
	if (!strcmp(line, "unfreeze"))
		return command_unfreeze(e, pid, 0);
	if (!strncmp(line, "unfreeze ", 9))
		return command_unfreeze_with(e, pid, skip_spaces(line + 9));
	if (!strcmp(line, "kill"))
		return command_unfreeze(e, pid, SIGKILL);
	krg_text_add(&e->said, "control: commands are checkpoint [kill] PATH, freeze, unfreeze [SIGNAL], kill");
	return -EINVAL;
}

/* Who opened it is who writes: a program with more rights must not be made to write what somebody else wants. */
static bool same_rights(const struct file *file)
{
	const struct cred *then = file->f_cred, *now = current_cred();

	return uid_eq(then->uid, now->uid) && uid_eq(then->euid, now->euid) && uid_eq(then->fsuid, now->fsuid) &&
	       cap_issubset(now->cap_effective, then->cap_effective);
}

static ssize_t control_write(struct file *file, const char __user *from, size_t length, loff_t *at)
{
	struct entry *e = pde_data(file_inode(file));
	struct task_struct *leader;
	pid_t pid = pid_vnr(e->pid);
	char *line;
	int err;

	if (!same_rights(file))
		return -EPERM;
	if (length > COMMAND_MAX)
		return -EINVAL;
	line = memdup_user_nul(from, length);
	if (IS_ERR(line))
		return PTR_ERR(line);
	if (mutex_lock_killable(&e->lock)) {
		kfree(line);
		return -EINTR;
	}
	krg_text_free(&e->said);
	leader = krg_target_get(pid, &e->said);
	err = PTR_ERR_OR_ZERO(leader);
	if (!err) {
		put_task_struct(leader);
		err = run_command(e, pid, strim(line));
	}
	mutex_unlock(&e->lock);
	kfree(line);
	return err ?: length;
}

static const struct proc_ops control_ops = {
	.proc_write	= control_write,
	.proc_lseek	= noop_llseek,
};

/* ---- what is to be read ---- */

int krg_control_survey(pid_t pid, struct krg_text *text)
{
	struct krg_frozen *set = krg_survey(pid, true, text);
	int err;

	if (IS_ERR(set))
		return PTR_ERR(set);
	err = krg_check(set, false, text);
	krg_unfreeze(set);
	return err;
}

/* Refusals are the answer. */
static int checks_show(struct seq_file *m, void *unused)
{
	struct entry *e = m->private;
	struct krg_text text = {};
	int err = krg_control_survey(pid_vnr(e->pid), &text);

	if (text.length)
		seq_write(m, text.at, text.length);
	krg_text_free(&text);
	return err == -EOPNOTSUPP ? 0 : err;
}

static const char *state_of(const struct entry *e, struct task_struct *leader)
{
	if (e->frozen)
		return "frozen";
	return leader->exit_state ? "ended" : leader->signal->flags & SIGNAL_STOP_STOPPED ? "stopped" : "running";
}

static int status_show(struct seq_file *m, void *unused)
{
	struct entry *e = m->private;
	struct task_struct *leader = krg_target_get(pid_vnr(e->pid), NULL);
	char comm[TASK_COMM_LEN];

	if (IS_ERR(leader))
		return PTR_ERR(leader);
	if (mutex_lock_killable(&e->lock)) {
		put_task_struct(leader);
		return -EINTR;
	}
	seq_printf(m, "pid %d\nname %s\nthreads %d\nstate %s\ncheckpoints %llu\n", task_tgid_vnr(leader),
		   get_task_comm(comm, leader), get_nr_threads(leader), state_of(e, leader), e->checkpoints);
	if (e->said.length) {
		seq_puts(m, "last: ");
		seq_write(m, e->said.at, e->said.length);
	}
	mutex_unlock(&e->lock);
	put_task_struct(leader);
	return 0;
}

/* ---- directories ---- */

static void entry_free(struct entry *e)
{
	if (e->dir)
		proc_remove(e->dir);
	if (e->frozen)
		krg_unfreeze(e->frozen);
	krg_text_free(&e->said);
	mutex_destroy(&e->lock);
	put_pid(e->pid);
	kfree(e);
}

static bool entry_fill(struct entry *e, const char *name)
{
	e->dir = krg_proc_add_dir(name);
	return e->dir && proc_create_data("control", 0222, e->dir, &control_ops, e) &&
	       proc_create_single_data("status", 0444, e->dir, status_show, e) &&
	       proc_create_single_data("checks", 0444, e->dir, checks_show, e);
}

static struct entry *entry_find(const struct pid *pid)
{
	struct entry *e;

	lockdep_assert_held(&krg_control.lock);
	list_for_each_entry(e, &krg_control.entries, node)
		if (e->pid == pid)
			return e;
	return NULL;
}

/* Of one that nobody gives a command now: exchanges what is frozen. *@busy: somebody does. */
static void entry_swap(pid_t number, struct krg_frozen **set, bool *busy)
{
	struct pid *pid = find_get_pid(number);
	struct entry *e;

	mutex_lock(&krg_control.lock);
	e = pid ? entry_find(pid) : NULL;
	/* A command may look names up in our directory, which takes the lock of the list. */
	*busy = e && !mutex_trylock(&e->lock);
	if (e && !*busy) {
		swap(*set, e->frozen);
		mutex_unlock(&e->lock);
	}
	mutex_unlock(&krg_control.lock);
	put_pid(pid);
}

struct krg_frozen *krg_control_borrow(pid_t pid)
{
	struct krg_frozen *set = NULL;
	bool busy;

	entry_swap(pid, &set, &busy);
	return set;
}

void krg_control_give_back(pid_t pid, struct krg_frozen *set)
{
	bool busy;

	/* Commands have an end. */
	for (entry_swap(pid, &set, &busy); busy; entry_swap(pid, &set, &busy))
		schedule_timeout_uninterruptible(1);
	/* It has ended meanwhile; or was frozen again, which cannot be. */
	if (set)
		krg_unfreeze(set);
}

/* Ids are those of the initial pid namespace, as in the rest of /proc/kerrighed. */
static struct pid *process_named(const char *name)
{
	struct pid *pid;
	int number;

	if (!isdigit(*name) || *name == '0' || kstrtoint(name, 10, &number))
		return NULL;
	rcu_read_lock();
	pid = find_pid_ns(number, &init_pid_ns);
	if (pid && !pid_task(pid, PIDTYPE_TGID))
		pid = NULL;
	get_pid(pid);
	rcu_read_unlock();
	return pid;
}

static void make_missing(const char *name)
{
	struct pid *pid = process_named(name);
	struct entry *e;

	if (!pid)
		return;
	mutex_lock(&krg_control.lock);
	e = entry_find(pid) ? NULL : kzalloc(sizeof(*e), GFP_KERNEL);
	if (e) {
		mutex_init(&e->lock);
		e->pid = get_pid(pid);
		if (entry_fill(e, name)) {
			list_add(&e->node, &krg_control.entries);
			schedule_delayed_work(&krg_control.sweep, SWEEP_S * HZ);
		} else {
			entry_free(e);
		}
	}
	mutex_unlock(&krg_control.lock);
	put_pid(pid);
}

static struct dentry *control_lookup(struct inode *dir, struct dentry *dentry, unsigned int flags)
{
	make_missing(dentry->d_name.name);
	return krg_control.procfs->lookup(dir, dentry, flags);
}

static bool has_ended(const struct entry *e)
{
	bool ended;

	rcu_read_lock();
	ended = !pid_task(e->pid, PIDTYPE_TGID);
	rcu_read_unlock();
	return ended;
}

static void control_sweep(struct work_struct *work)
{
	struct entry *e, *next;
	LIST_HEAD(gone);

	mutex_lock(&krg_control.lock);
	list_for_each_entry_safe(e, next, &krg_control.entries, node)
		if (has_ended(e))
			list_move(&e->node, &gone);
	if (!list_empty(&krg_control.entries))
		schedule_delayed_work(&krg_control.sweep, SWEEP_S * HZ);
	/* Before its id can be looked for again: under the lock. Who reads one of its files is waited for, and needs it not. */
	list_for_each_entry_safe(e, next, &gone, node)
		entry_free(e);
	mutex_unlock(&krg_control.lock);
}

int krg_control_init(void)
{
	struct inode *inode;
	int err = kern_path(KRG_DIRECTORY, LOOKUP_DIRECTORY, &krg_control.at);

	if (err) {
		pr_warn("%s cannot be found (error %d): processes have no directories there\n", KRG_DIRECTORY, err);
		return 0;
	}
	INIT_DELAYED_WORK(&krg_control.sweep, control_sweep);
	inode = d_inode(krg_control.at.dentry);
	inode_lock(inode);
	krg_control.procfs = inode->i_op;
	krg_control.ours = *inode->i_op;
	krg_control.ours.lookup = control_lookup;
	WRITE_ONCE(inode->i_op, &krg_control.ours);
	inode_unlock(inode);
	return 0;
}

void krg_control_exit(void)
{
	struct inode *inode;
	struct entry *e, *next;

	if (!krg_control.procfs)
		return;
	inode = d_inode(krg_control.at.dentry);
	/* Who looks up holds this lock. */
	inode_lock(inode);
	WRITE_ONCE(inode->i_op, krg_control.procfs);
	inode_unlock(inode);
	/* Others read the pointer under RCU, for their own part of it. */
	synchronize_rcu();
	cancel_delayed_work_sync(&krg_control.sweep);
	list_for_each_entry_safe(e, next, &krg_control.entries, node)
		entry_free(e);
	path_put(&krg_control.at);
}
