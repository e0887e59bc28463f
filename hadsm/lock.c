// SPDX-License-Identifier: GPL-2.0
/*
 * flock() and fcntl() locks that hold on all nodes. They are records (names/locks.h);
 * taking one is a transaction. Whoever has to wait looks again when the table of
 * locks changes: on this node after each transaction, from elsewhere when the
 * coherence engine takes the table's page away, and at a new view, when locks of a
 * dead node stop to count. The kernel's own list is kept beside it, so that it knows
 * what to give up when a file is closed.
 *
 * Not here: deadlocks between processes of several nodes are not detected (EDEADLK),
 * mandatory locks and leases.
 */
#include <linux/random.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "fs.h"
#include "names/locks.h"

/* A change that nobody told of is noticed after this time. */
#define LOCK_LOOK	HZ

struct lock_call {
	struct inode *inode;
	struct krg_names_lock want;
	struct krg_names_life life[KRG_NAMES_NODES];
	struct work_struct work;
	struct completion done;
	struct kref ref;		/* the worker's, and whoever waits for it */
	int ret;
};

static u64 lock_secret;			/* kernel addresses do not leave this node as they are */

void hadsm_locks_init(void)
{
	lock_secret = get_random_u64();
}

void hadsm_locks_changed(struct hadsm_domain *d)
{
	atomic_inc(&d->lock_changes);
	wake_up_all(&d->lock_wait);
}

static struct lock_call *call_new(struct inode *inode, struct file_lock *fl, u32 kind)
{
	struct lock_call *c = kzalloc(sizeof(*c), GFP_KERNEL | __GFP_NOFAIL);

	c->inode = inode;
	kref_init(&c->ref);
	init_completion(&c->done);
	c->want.node = hadsm_names(inode->i_sb)->io.self;
	c->want.owner = (unsigned long)krg_fl_owner(fl) ^ lock_secret;
	c->want.kind = kind;
	c->want.pid = current->tgid;
	c->want.last = U64_MAX;
	if (kind == KRG_NAMES_POSIX) {
		c->want.start = fl->fl_start;
		c->want.last = fl->fl_end == OFFSET_MAX ? U64_MAX : fl->fl_end;
	}
	switch (krg_fl_type(fl)) {
	case F_RDLCK:
		c->want.type = KRG_NAMES_SHARED;
		break;
	case F_WRLCK:
		c->want.type = KRG_NAMES_EXCLUSIVE;
		break;
	default:
		c->want.type = KRG_NAMES_UNLOCK;
	}
	return c;
}

static void call_free(struct kref *ref)
{
	kfree(container_of(ref, struct lock_call, ref));
}

static void call_put(struct lock_call *c)
{
	kref_put(&c->ref, call_free);
}

/* Who lives now; which life this node's own is. */
static u32 call_lives(struct lock_call *c)
{
	u32 i, count = hadsm_view_lives(c->life, ARRAY_SIZE(c->life));

	for (i = 0; i < count; i++)
		if (c->life[i].node == c->want.node)
			c->want.life = c->life[i].life;
	return count;
}

/* 1 and *@found: a lock is in the way. */
static int lock_test(struct lock_call *c, struct krg_names_lock *found)
{
	struct hadsm_names *n = hadsm_names(c->inode->i_sb);
	u32 lives = call_lives(c);

	return hadsm_tx(n, krg_names_testlock(&n->io, c->inode->i_ino, &c->want, c->life, lives, found));
}

static int lock_set(struct lock_call *c)
{
	struct hadsm_names *n = hadsm_names(c->inode->i_sb);
	u32 lives = call_lives(c);
	int err = hadsm_tx(n, krg_names_setlock(&n->io, c->inode->i_ino, &c->want, c->life, lives));

	if (!err)
		hadsm_locks_changed(n->records);
	return err;
}

/* ---- giving up ---- */

static void unlock_work(struct work_struct *work)
{
	struct lock_call *c = container_of(work, struct lock_call, work);
	struct inode *inode = c->inode;

	c->ret = lock_set(c);
	if (c->ret && c->ret != -EIO && c->ret != -ESTALE)
		pr_warn_ratelimited("inode %lx: a lock could not be given up: %d\n", inode->i_ino, c->ret);
	complete(&c->done);
	call_put(c);
	iput(inode);
}

/* By a worker: a process that is being killed does not wait for other nodes, and its locks must go. */
static int lock_give_up(struct inode *inode, struct file_lock *fl, u32 kind)
{
	struct lock_call *c = call_new(inode, fl, kind);
	int ret = 0;

	c->want.type = KRG_NAMES_UNLOCK;
	kref_get(&c->ref);
	ihold(inode);
	INIT_WORK(&c->work, unlock_work);
	queue_work(hadsm_lock_wq, &c->work);
	if (!wait_for_completion_killable(&c->done))
		ret = c->ret;
	call_put(c);
	return ret;
}

/* ---- taking ---- */

/* flock() that changes a lock first loses the old one, as on one machine: two that upgrade would wait for ever. */
static int lock_drop_old(struct inode *inode, struct file_lock *fl, bool *dropped)
{
	if (*dropped)
		return 0;
	*dropped = true;
	return lock_give_up(inode, fl, KRG_NAMES_FLOCK);
}

static int lock_take(struct inode *inode, struct file_lock *fl, u32 kind, bool wait)
{
	struct lock_call *c = call_new(inode, fl, kind);
	struct hadsm_domain *d = hadsm_names(inode->i_sb)->records;
	bool dropped = kind != KRG_NAMES_FLOCK;
	struct krg_names_lock found;
	int err, seen;

	for (;;) {
		seen = atomic_read(&d->lock_changes);
		err = lock_test(c, &found);
		if (!err)
			err = lock_set(c);
		if (err == 1 || err == -EBUSY)
			err = -EAGAIN;
		if (err != -EAGAIN)
			break;
		err = lock_drop_old(inode, fl, &dropped);
		if (err)
			break;
		err = -EAGAIN;
		if (!wait)
			break;
		if (wait_event_interruptible_timeout(d->lock_wait, atomic_read(&d->lock_changes) != seen ||
						     READ_ONCE(d->dead), LOCK_LOOK) < 0) {
			err = -ERESTARTSYS;
			break;
		}
	}
	call_put(c);
	return err;
}

/* ---- file operations ---- */

static int lock_change(struct file *file, struct file_lock *fl, u32 kind, bool wait)
{
	struct inode *inode = file_inode(file);
	int err;

	if (krg_fl_type(fl) == F_UNLCK) {
		err = locks_lock_file_wait(file, fl);
		return lock_give_up(inode, fl, kind) ?: err;
	}
	err = lock_take(inode, fl, kind, wait);
	if (err)
		return err;
	/* Nobody here can have one that is in the way: the records would know. */
	err = locks_lock_file_wait(file, fl);
	if (err)
		lock_give_up(inode, fl, kind);
	return err;
}

static int lock_get(struct inode *inode, struct file_lock *fl)
{
	struct lock_call *c = call_new(inode, fl, KRG_NAMES_POSIX);
	struct krg_names_lock found;
	int ret = lock_test(c, &found);

	if (ret == 1) {
		krg_fl_set(fl, found.type == KRG_NAMES_SHARED ? F_RDLCK : F_WRLCK,
			   found.node == c->want.node ? found.pid : -found.pid);
		fl->fl_start = found.start;
		fl->fl_end = found.last == U64_MAX ? OFFSET_MAX : found.last;
	} else if (!ret) {
		krg_fl_set(fl, F_UNLCK, 0);
	}
	call_put(c);
	return min(ret, 0);
}

int hadsm_lock(struct file *file, int cmd, struct file_lock *fl)
{
	if (IS_GETLK(cmd))
		return lock_get(file_inode(file), fl);
	return lock_change(file, fl, KRG_NAMES_POSIX, IS_SETLKW(cmd));
}

int hadsm_flock(struct file *file, int cmd, struct file_lock *fl)
{
	if (!(krg_fl_flags(fl) & FL_FLOCK))
		return -ENOLCK;
	return lock_change(file, fl, KRG_NAMES_FLOCK, IS_SETLKW(cmd));
}
