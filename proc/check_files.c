// SPDX-License-Identifier: GPL-2.0
/*
 * The check of files: kinds that are not carried, locks, pipes and sockets whose other
 * end is outside, epoll sets that watch what no descriptor names any more.
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
#include "inet.h"
#include "inotify.h"
#include "lock.h"
#include "park.h"
#include "socket.h"
#include "tty.h"

#define WATCHES_ROOM	(256 * 1024)	/* bytes of fdinfo; a capture has no more either */

/* ---- counts ---- */

unsigned long krg_tally_get(struct xarray *of, const void *key)
{
	return xa_to_value(xa_load(of, (unsigned long)key) ?: xa_mk_value(0));
}

int krg_tally_add(struct xarray *of, const void *key)
{
	return xa_err(xa_store(of, (unsigned long)key, xa_mk_value(krg_tally_get(of, key) + 1), GFP_KERNEL_ACCOUNT));
}

static bool is_pipe(struct file *file)
{
	enum krg_file_kind kind = krg_file_kind(file);

	return kind == KRG_FILE_PIPE || kind == KRG_FILE_FIFO;
}

int krg_tally_file(struct krg_tally *tally, struct file *file)
{
	int err = 0;

	if (is_pipe(file) && !krg_tally_get(&tally->files, file))
		err = krg_tally_add(&tally->pipes, file->private_data);
	return err ?: krg_tally_add(&tally->files, file);
}

/*
 * That a file is also held by others shows in its count, which is only steady while nobody uses it: each table has a
 * reference for each descriptor, and so has the list.
 */
static bool is_held_outside(const struct krg_check *c, struct file *file, const struct krg_descriptors *list,
			    struct krg_tally *tally)
{
	unsigned long count = krg_tally_get(&tally->files, file);
	unsigned int i;

	for (i = 0; i < list->count; i++)
		count += list->at[i].file == file;
	return c->frozen && file_count(file) > count;
}

/* ---- locks ---- */

/* Of a process that moves: until it is known who runs it the lock is still held here, and nobody can have it there. */
static void check_lock(struct krg_check *c, pid_t pid, const struct krg_lock *lock)
{
	if (lock->breaking)
		krg_check_refuse(c, "lease: process %d has one on %pD that somebody waits for", pid, lock->file);
	if (c->set->forward && file_inode(lock->file)->i_nlink)
		krg_check_refuse(c, "lock: process %d has one on %pD, and cannot move with it yet", pid, lock->file);
}

static void check_locks(struct krg_check *c, pid_t pid, const struct krg_descriptors *list)
{
	struct krg_locks locks;
	unsigned int i;
	int err = krg_locks_get(&locks, list, c->frozen);

	if (err) {
		krg_check_refuse(c, "lock: which ones process %d has cannot be told (%d)", pid, err);
		return;
	}
	if (locks.hidden)
		krg_check_refuse(c, "lock: others have shared locks on %pD, and its file server does not tell whether process %d has",
				 locks.hidden, pid);
	for (i = 0; i < locks.count; i++)
		check_lock(c, pid, &locks.at[i]);
	krg_locks_put(&locks);
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
			     const struct krg_descriptors *list, struct krg_tally *tally)
{
	enum krg_file_kind kind = krg_file_kind(at->file);

	if (kind == KRG_FILE_TTY && krg_tty_is_inside(c->set, at->file, tally) && !is_held_outside(c, at->file, list, tally)) {
		krg_tty_check(c, pid, at->number, at->file);
		return;
	}
	if (!stays_behind(c, pid, at, kind) && kind >= KRG_FILE_CARRIED) {
		krg_check_refuse(c, "file: descriptor %u of process %d is %s", at->number, pid, krg_file_kind_name(kind));
		return;
	}
	if (kind == KRG_FILE_EPOLL)
		check_watches(c, pid, at->number, at->file, list);
	if (kind == KRG_FILE_INOTIFY)
		krg_inotify_check(c, pid, at->number, at->file);
}

/* ---- ends ---- */

/* A pipe is carried when all its ends are in the set. */
static void check_pipe(struct krg_check *c, pid_t pid, const struct krg_descriptor *at,
		       const struct krg_descriptors *list, struct krg_tally *tally)
{
	struct pipe_inode_info *pipe = at->file->private_data;
	bool outside = pipe->files != krg_tally_get(&tally->pipes, pipe) || is_held_outside(c, at->file, list, tally);

	if (outside && c->set->forward)
		forward(c, pid, at, krg_file_kind(at->file));
	else if (outside)
		krg_check_refuse(c, "pipe: descriptor %u of process %d is one whose ends are also held outside", at->number, pid);
}

static int mark_away(struct krg_tally *tally, struct sock *sk)
{
	if (krg_tally_get(&tally->away, sk))
		return 0;
	tally->more = true;
	return krg_tally_add(&tally->away, sk);
}

/* Both ends of a connection stay behind, or none. */
static int judge_away(struct krg_check *c, struct file *file, const struct krg_descriptors *list, struct krg_tally *tally)
{
	struct sock *sk = krg_sock_of(file), *peer = sk ? krg_unix_peer(sk) : NULL;
	bool near = peer && krg_tally_get(&tally->sockets, peer);
	int err = 0;

	if (sk && ((peer && !near) || (near && krg_tally_get(&tally->away, peer)) || is_held_outside(c, file, list, tally)))
		err = mark_away(tally, sk);
	if (!err && near && krg_tally_get(&tally->away, sk))
		err = mark_away(tally, peer);
	return err;
}

static void check_socket(struct krg_check *c, pid_t pid, const struct krg_descriptor *at, const struct krg_descriptors *list,
			 struct krg_tally *tally)
{
	enum krg_file_kind kind = krg_file_kind(at->file);

	if (krg_tally_get(&tally->away, krg_sock_of(at->file))) {
		forward(c, pid, at, kind);
		return;
	}
	if (kind == KRG_FILE_UNIX)
		krg_unix_check(c, pid, at->number, at->file, tally);
	else
		krg_inet_check(c, pid, at->number, at->file, &tally->sockets);
	if (is_held_outside(c, at->file, list, tally))
		krg_check_refuse(c, "socket: descriptor %u of process %d is also held outside", at->number, pid);
}

/* ---- what is left out on request ---- */

bool krg_frozen_ignores(struct krg_frozen *set, const struct file *file)
{
	return xa_load(&set->ignored, (unsigned long)file) ||
	       (is_pipe((struct file *)file) && xa_load(&set->ignored, (unsigned long)file->private_data));
}

/* One whose other end is in the set would be missed there. */
static bool may_ignore(struct krg_check *c, struct file *file, const struct krg_descriptors *list, struct krg_tally *tally)
{
	enum krg_file_kind kind = krg_file_kind(file);
	struct sock *peer;

	switch (kind) {
	case KRG_FILE_PIPE:
	case KRG_FILE_FIFO:
		return true;
	case KRG_FILE_UNIX:
		peer = krg_sock_of(file) ? krg_unix_peer(krg_sock_of(file)) : NULL;
		return !(peer && krg_tally_get(&tally->sockets, peer));
	case KRG_FILE_INET:
		return !is_held_outside(c, file, list, tally);
	default:
		return kind >= KRG_FILE_CARRIED;
	}
}

static int ignore(struct krg_frozen *set, struct file *file)
{
	const void *key = is_pipe(file) ? file->private_data : file;

	return xa_err(xa_store(&set->ignored, (unsigned long)key, xa_mk_value(1), GFP_KERNEL_ACCOUNT));
}

/* ---- all of the set ---- */

typedef int (*visit_fn)(struct krg_check *c, pid_t pid, const struct krg_descriptors *list, struct krg_tally *tally);

static int visit_tally(struct krg_check *c, pid_t pid, const struct krg_descriptors *list, struct krg_tally *tally)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < list->count && !err; i++) {
		struct file *file = list->at[i].file;

		if (krg_file_kind(file) == KRG_FILE_UNIX && !krg_tally_get(&tally->tables, file))
			err = krg_unix_tally(tally, file);
		if (krg_file_kind(file) == KRG_FILE_INET && krg_sock_of(file))
			err = krg_tally_add(&tally->sockets, krg_sock_of(file));
		err = err ?: krg_tally_file(tally, file);
		err = err ?: krg_tally_add(&tally->tables, file);
	}
	return err;
}

/* Of a process that moves: which of its unix sockets stay behind. */
static int visit_away(struct krg_check *c, pid_t pid, const struct krg_descriptors *list, struct krg_tally *tally)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < list->count && !err; i++)
		if (krg_file_kind(list->at[i].file) == KRG_FILE_UNIX)
			err = judge_away(c, list->at[i].file, list, tally);
	return err;
}

static void check_any(struct krg_check *c, pid_t pid, const struct krg_descriptor *at, const struct krg_descriptors *list,
		      struct krg_tally *tally)
{
	enum krg_file_kind kind = krg_file_kind(at->file);

	check_descriptor(c, pid, at, list, tally);
	if (is_pipe(at->file))
		check_pipe(c, pid, at, list, tally);
	if (kind == KRG_FILE_UNIX || kind == KRG_FILE_INET)
		check_socket(c, pid, at, list, tally);
}

static int visit_check(struct krg_check *c, pid_t pid, const struct krg_descriptors *list, struct krg_tally *tally)
{
	bool before = c->refused;
	unsigned int i;
	int err;

	for (i = 0; i < list->count; i++) {
		c->refused = false;
		check_any(c, pid, &list->at[i], list, tally);
		if (c->refused && c->set->ignore && may_ignore(c, list->at[i].file, list, tally)) {
			c->refused = false;
			err = ignore(c->set, list->at[i].file);
			if (err)
				c->error = err;
		}
		before = before || c->refused;
	}
	c->refused = before;
	check_locks(c, pid, list);
	return 0;
}

/* Each table once. */
static int visit_tables(struct krg_check *c, visit_fn visit, struct krg_tally *tally)
{
	struct krg_process *process;
	struct krg_thread *thread;
	struct krg_descriptors list;
	struct xarray seen;
	int err = 0;

	xa_init(&seen);
	krg_for_each_process(c->set, process) {
		krg_for_each_thread(process, thread) {
			if (err || !thread->task->files || krg_tally_get(&seen, thread->task->files))
				continue;
			err = krg_tally_add(&seen, thread->task->files);
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

/* One that stays may have a peer that was looked at before: until there are no more. */
static int find_away(struct krg_check *c, struct krg_tally *tally)
{
	int err = 0;

	tally->more = c->set->forward;
	while (tally->more && !err) {
		tally->more = false;
		err = visit_tables(c, visit_away, tally);
	}
	return err;
}

void krg_check_files(struct krg_check *c)
{
	struct krg_process *process;
	struct krg_tally tally;
	int err;

	xa_init(&tally.files);
	xa_init(&tally.tables);
	xa_init(&tally.pipes);
	xa_init(&tally.sockets);
	xa_init(&tally.away);
	err = visit_tables(c, visit_tally, &tally);
	if (!err)
		err = find_away(c, &tally);
	if (!err)
		err = visit_tables(c, visit_check, &tally);
	krg_for_each_process(c->set, process)
		krg_tty_check_controlling(c, process, &tally);
	xa_destroy(&tally.files);
	xa_destroy(&tally.tables);
	xa_destroy(&tally.pipes);
	xa_destroy(&tally.sockets);
	xa_destroy(&tally.away);
	if (err)
		c->error = err;
}
