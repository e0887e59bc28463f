// SPDX-License-Identifier: GPL-2.0
/*
 * Files in the image: descriptor tables, open files of every kind that is
 * carried, directories that a process is in.
 */
#include <linux/eventfd.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/highmem.h>
#include <linux/kdev_t.h>
#include <linux/kernel.h>
#include <linux/major.h>
#include <linux/pid.h>
#include <linux/pipe_fs_i.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/string.h>
#include <linux/uidgid.h>

#include <kerrighed/compat.h>

#include "capture.h"
#include "file.h"
#include "forward.h"
#include "inotify.h"
#include "park.h"
#include "tty.h"
#include "vma.h"

#define KRG_INFO_ROOM	4096		/* bytes of fdinfo, of files that are not lists */
#define KRG_FS_ID	32		/* bytes that name a file system */
#define KRG_UUID	16

enum { REGULAR_UNLINKED = 1, REGULAR_NEVER_NAMED = 2 };
enum { DIRECTORY_REMOVED = 1 };

/* ---- what all kinds begin with: fields 1 to 4 are the same ---- */

void krg_capture_owner(struct krg_capture *c, struct file *file)
{
	struct fown_struct *owner = krg_file_owner(file);
	s64 pid = 0;
	u32 kind = F_OWNER_PID, signal = 0;

	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_FLAGS, file->f_flags);
	if (owner) {
		read_lock_irq(&owner->lock);
		if (owner->pid) {
			pid = pid_vnr(owner->pid);
			kind = owner->pid_type == PIDTYPE_PGID ? F_OWNER_PGRP :
			       owner->pid_type == PIDTYPE_PID ? F_OWNER_TID : F_OWNER_PID;
		}
		signal = owner->signum;
		read_unlock_irq(&owner->lock);
	}
	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_OWNER, kind == F_OWNER_PGRP ? -pid : pid);
	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_OWNER_KIND, pid ? kind : 0);
	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_OWNER_SIGNAL, signal);
}

/* The type of the file system, and its own id if it has one. */
static void put_file_system(struct krg_capture *c, u16 field, struct super_block *sb)
{
	u8 id[KRG_FS_ID] = {};
	size_t length = strnlen(sb->s_type->name, KRG_FS_ID - KRG_UUID);

	memcpy(id, sb->s_type->name, length);
	if (memchr_inv(&sb->s_uuid, 0, KRG_UUID)) {
		memcpy(id + KRG_FS_ID - KRG_UUID, &sb->s_uuid, KRG_UUID);
		length = KRG_FS_ID;
	}
	krg_capture_put_bytes(c, field, id, length);
}

/* ---- files with names ---- */

/* What a file server's kernel side knows of size and time may be older than what the process has just written: it is asked. */
static void size_and_time(struct file *file, u64 *size, s64 *changed_ns)
{
	struct inode *inode = file_inode(file);
	struct timespec64 changed = krg_inode_mtime(inode);
	struct kstat stat;

	*size = i_size_read(inode);
	if (!vfs_getattr(&file->f_path, &stat, STATX_SIZE | STATX_MTIME, AT_STATX_FORCE_SYNC)) {
		*size = stat.size;
		changed = stat.mtime;
	}
	*changed_ns = timespec64_to_ns(&changed);
}

static u64 capture_regular(struct krg_capture *c, struct file *file)
{
	struct inode *inode = file_inode(file);
	bool deleted;
	const char *path = krg_capture_path(c, &file->f_path, &deleted);
	bool nameless = !inode->i_nlink || (deleted && file->f_flags & __O_TMPFILE);
	u64 id, contents, size;
	s64 changed_ns;

	if (!path)
		return 0;
	if (deleted && inode->i_nlink) {
		krg_capture_fail(c, -EOPNOTSUPP, "file: %s was opened by a name that was removed; it has others", path);
		return 0;
	}
	/* Reading the contents needs the page that the path is in. */
	path = kstrdup(path, GFP_KERNEL);
	if (!path) {
		krg_capture_fail(c, -ENOMEM, "capture: no memory");
		return 0;
	}
	contents = nameless ? krg_capture_memory(c, file, KRG_MEMORY_CONTENTS) : 0;
	size_and_time(file, &size, &changed_ns);
	id = krg_capture_begin(c, KRG_GHOST_FILE_REGULAR);
	krg_capture_owner(c, file);
	krg_capture_put_text(c, KRG_GHOST_FILE_REGULAR_PATH, path);
	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_OFFSET, file->f_pos);
	put_file_system(c, KRG_GHOST_FILE_REGULAR_FILE_SYSTEM, inode->i_sb);
	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_INODE, inode->i_ino);
	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_SIZE, size);
	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_MTIME, changed_ns);
	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_CONTENTS, contents);
	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_MODE, inode->i_mode & 07777);
	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_UID, from_kuid_munged(current_user_ns(), inode->i_uid));
	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_GID, from_kgid_munged(current_user_ns(), inode->i_gid));
	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_STATE, !nameless ? 0 : REGULAR_UNLINKED |
			(file->f_flags & __O_TMPFILE ? REGULAR_NEVER_NAMED : 0));
	krg_capture_end(c);
	kfree(path);
	return id;
}

static u64 capture_directory(struct krg_capture *c, const struct path *at, struct file *file)
{
	struct inode *inode = d_inode(at->dentry);
	bool deleted;
	const char *path = krg_capture_path(c, at, &deleted);
	u64 id;

	if (!path)
		return 0;
	id = krg_capture_begin(c, KRG_GHOST_FILE_DIRECTORY);
	if (file)
		krg_capture_owner(c, file);
	else
		krg_capture_put(c, KRG_GHOST_FILE_DIRECTORY_FLAGS, O_RDONLY | O_DIRECTORY);
	krg_capture_put_text(c, KRG_GHOST_FILE_DIRECTORY_PATH, path);
	krg_capture_put(c, KRG_GHOST_FILE_DIRECTORY_OFFSET, file ? file->f_pos : 0);
	put_file_system(c, KRG_GHOST_FILE_DIRECTORY_FILE_SYSTEM, inode->i_sb);
	krg_capture_put(c, KRG_GHOST_FILE_DIRECTORY_INODE, inode->i_ino);
	krg_capture_put(c, KRG_GHOST_FILE_DIRECTORY_STATE, deleted ? DIRECTORY_REMOVED : 0);
	krg_capture_put(c, KRG_GHOST_FILE_DIRECTORY_MODE, inode->i_mode & 07777);
	krg_capture_end(c);
	return id;
}

static u64 capture_device(struct krg_capture *c, struct file *file)
{
	struct inode *inode = file_inode(file);
	bool deleted;
	const char *path = krg_capture_path(c, &file->f_path, &deleted);
	u64 id;

	if (!path)
		return 0;
	id = krg_capture_begin(c, KRG_GHOST_FILE_DEVICE);
	krg_capture_owner(c, file);
	krg_capture_put_text(c, KRG_GHOST_FILE_DEVICE_PATH, path);
	krg_capture_put(c, KRG_GHOST_FILE_DEVICE_MAJOR, imajor(inode));
	krg_capture_put(c, KRG_GHOST_FILE_DEVICE_MINOR, iminor(inode));
	krg_capture_end(c);
	return id;
}

/* ---- pipes ---- */

/* Copies what is in the ring; @lengths says how long each piece is, with a top bit for packets. */
static int pipe_take(struct pipe_inode_info *pipe, char *to, size_t room, u32 *lengths, unsigned int *count)
{
	unsigned int at, mask = pipe->ring_size - 1;
	int err;

	*count = 0;
	for (at = pipe->tail; at != pipe->head; at++) {
		struct pipe_buffer *buf = &pipe->bufs[at & mask];
		void *page;

		if (buf->len > room || *count == pipe->ring_size)
			return -E2BIG;
		err = pipe_buf_confirm(pipe, buf);
		if (err)
			return err;
		page = kmap_local_page(buf->page);
		memcpy(to, page + buf->offset, buf->len);
		kunmap_local(page);
		to += buf->len;
		room -= buf->len;
		lengths[(*count)++] = buf->len | (buf->flags & PIPE_BUF_FLAG_PACKET ? BIT(31) : 0);
	}
	return 0;
}

static void put_pipe_data(struct krg_capture *c, u64 id, const char *at, const u32 *lengths, unsigned int count)
{
	struct krg_ghost_piece piece;
	unsigned int i;

	for (i = 0; i < count; i++) {
		piece.at = at;
		piece.length = lengths[i] & ~BIT(31);
		at += piece.length;
		krg_capture_begin(c, KRG_GHOST_PIPE_DATA);
		krg_capture_put(c, KRG_GHOST_PIPE_DATA_PIPE, id);
		krg_capture_put(c, KRG_GHOST_PIPE_DATA_PACKET, lengths[i] >> 31);
		krg_capture_end_data(c, &piece, 1);
	}
}

static u64 capture_pipe(struct krg_capture *c, struct file *file)
{
	struct pipe_inode_info *pipe = file->private_data;
	u64 id = krg_capture_id(c, pipe);
	unsigned int count = 0;
	size_t room;
	u32 *lengths;
	char *bytes;
	int err = -ENOMEM;

	if (id)
		return id;
	/* Nobody resizes it: its ends are held. One that is outside is refused before. */
	room = (size_t)pipe->ring_size * PAGE_SIZE;
	bytes = kvmalloc(room, GFP_KERNEL_ACCOUNT);
	lengths = kvmalloc_array(pipe->ring_size, sizeof(*lengths), GFP_KERNEL_ACCOUNT);
	if (bytes && lengths) {
		pipe_lock(pipe);
		err = pipe_take(pipe, bytes, room, lengths, &count);
		room = (size_t)pipe->max_usage * PAGE_SIZE;
		pipe_unlock(pipe);
	}
	if (err) {
		krg_capture_fail(c, err, "pipe: its contents cannot be read (%d)", err);
	} else {
		id = krg_capture_begin(c, KRG_GHOST_PIPE);
		krg_capture_put(c, KRG_GHOST_PIPE_ROOM, room);
		krg_capture_end(c);
		krg_capture_set_id(c, pipe, id);
		put_pipe_data(c, id, bytes, lengths, count);
	}
	kvfree(bytes);
	kvfree(lengths);
	return id;
}

static u64 capture_pipe_end(struct krg_capture *c, struct file *file, bool named)
{
	u64 pipe = capture_pipe(c, file), id;
	bool deleted;
	const char *path = named ? krg_capture_path(c, &file->f_path, &deleted) : NULL;

	if (c->error)
		return 0;
	id = krg_capture_begin(c, KRG_GHOST_FILE_PIPE);
	krg_capture_owner(c, file);
	krg_capture_put(c, KRG_GHOST_FILE_PIPE_PIPE, pipe);
	if (path)
		krg_capture_put_text(c, KRG_GHOST_FILE_PIPE_PATH, path);
	krg_capture_end(c);
	return id;
}

/* ---- event descriptors: what they are is in their fdinfo ---- */

static const char *info_of(struct krg_capture *c, struct file *file, const char *key)
{
	const char *at;
	int err = krg_file_info(file, c->page, KRG_INFO_ROOM);

	at = err ? NULL : strstr(c->page, key);
	if (!at)
		krg_capture_fail(c, -EIO, "file: its fdinfo has no line %s", key);
	return at ? at + strlen(key) : NULL;
}

static u64 capture_eventfd(struct krg_capture *c, struct file *file)
{
	const char *info = info_of(c, file, "eventfd-count:");
	unsigned long long count;
	int semaphore;
	u64 id;

	if (!info || sscanf(info, "%llx", &count) != 1)
		return 0;
	semaphore = krg_eventfd_semaphore(file, c->page);
	if (semaphore < 0) {
		krg_capture_fail(c, semaphore, "eventfd: whether it is a semaphore cannot be told");
		return 0;
	}
	id = krg_capture_begin(c, KRG_GHOST_FILE_EVENTFD);
	krg_capture_owner(c, file);
	krg_capture_put(c, KRG_GHOST_FILE_EVENTFD_COUNT, count);
	krg_capture_put(c, KRG_GHOST_FILE_EVENTFD_SEMAPHORE, semaphore);
	krg_capture_end(c);
	return id;
}

static u64 capture_epoll(struct krg_capture *c, struct file *file)
{
	u64 id = krg_capture_begin(c, KRG_GHOST_FILE_EPOLL);

	krg_capture_owner(c, file);
	krg_capture_end(c);
	return id;
}

static u64 capture_timerfd(struct krg_capture *c, struct file *file)
{
	const char *info = info_of(c, file, "clockid:");
	unsigned long long ticks, left_s, left_ns, every_s, every_ns;
	unsigned int clock, mode;
	u64 id;

	if (!info)
		return 0;
	if (sscanf(info, " %u ticks: %llu settime flags: %o it_value: (%llu, %llu) it_interval: (%llu, %llu)", &clock, &ticks,
		   &mode, &left_s, &left_ns, &every_s, &every_ns) != 7) {
		krg_capture_fail(c, -EIO, "timerfd: its fdinfo is not understood");
		return 0;
	}
	id = krg_capture_begin(c, KRG_GHOST_FILE_TIMERFD);
	krg_capture_owner(c, file);
	krg_capture_put(c, KRG_GHOST_FILE_TIMERFD_CLOCK, clock);
	krg_capture_put(c, KRG_GHOST_FILE_TIMERFD_LEFT, left_s * NSEC_PER_SEC + left_ns);
	krg_capture_put(c, KRG_GHOST_FILE_TIMERFD_INTERVAL, every_s * NSEC_PER_SEC + every_ns);
	krg_capture_put(c, KRG_GHOST_FILE_TIMERFD_TICKS, ticks);
	krg_capture_put(c, KRG_GHOST_FILE_TIMERFD_MODE, mode & 3);
	krg_capture_end(c);
	return id;
}

static u64 capture_signalfd(struct krg_capture *c, struct file *file)
{
	const char *info = info_of(c, file, "sigmask:");
	unsigned long long mask;
	u64 id;

	if (!info || sscanf(info, " %llx", &mask) != 1)
		return 0;
	id = krg_capture_begin(c, KRG_GHOST_FILE_SIGNALFD);
	krg_capture_owner(c, file);
	krg_capture_put(c, KRG_GHOST_FILE_SIGNALFD_MASK, mask);
	krg_capture_end(c);
	return id;
}

static u64 capture_memfd(struct krg_capture *c, struct file *file)
{
	u64 memory = krg_capture_memory(c, file, KRG_MEMORY_MEMFD);
	u64 id = krg_capture_begin(c, KRG_GHOST_FILE_MEMFD);

	krg_capture_owner(c, file);
	krg_capture_put(c, KRG_GHOST_FILE_MEMFD_MEMORY, memory);
	krg_capture_put(c, KRG_GHOST_FILE_MEMFD_OFFSET, file->f_pos);
	krg_capture_end(c);
	return id;
}

/* ---- files that stay behind ---- */

static u64 capture_forwarded(struct krg_capture *c, struct file *file)
{
	struct krg_forwarded at;
	int err = krg_forwarding_grant(c->set->forward, file, &at, c->text);
	char *path;
	u64 id;

	if (err) {
		krg_capture_fail(c, err, "file: a descriptor cannot stay behind (%d)", err);
		return 0;
	}
	path = d_path(&file->f_path, c->page, PAGE_SIZE);
	if (!IS_ERR(path) && krg_forward_of(file) && strchr(path, ':'))
		path = strchr(path, ':') + 1;	/* as its server has it */
	id = krg_capture_begin(c, KRG_GHOST_FILE_FORWARDED);
	krg_capture_owner(c, file);
	krg_capture_put(c, KRG_GHOST_FILE_FORWARDED_NODE, at.server.id);
	krg_capture_put(c, KRG_GHOST_FILE_FORWARDED_INCARNATION, at.server.incarnation);
	krg_capture_put(c, KRG_GHOST_FILE_FORWARDED_HANDLE, at.handle);
	krg_capture_put(c, KRG_GHOST_FILE_FORWARDED_KIND, at.kind);
	krg_capture_put_text(c, KRG_GHOST_FILE_FORWARDED_PATH, IS_ERR(path) ? "?" : path);
	krg_capture_end(c);
	return id;
}

/* ---- files that are left out ---- */

/* Nothing is read from it, and what is written goes nowhere. */
static u64 capture_nothing(struct krg_capture *c, struct file *file)
{
	u64 id = krg_capture_begin(c, KRG_GHOST_FILE_DEVICE);

	krg_capture_put(c, KRG_GHOST_FILE_REGULAR_FLAGS, file->f_flags & (O_ACCMODE | O_NONBLOCK));
	krg_capture_put_text(c, KRG_GHOST_FILE_DEVICE_PATH, "/dev/null");
	krg_capture_put(c, KRG_GHOST_FILE_DEVICE_MAJOR, MEM_MAJOR);
	krg_capture_put(c, KRG_GHOST_FILE_DEVICE_MINOR, 3);
	krg_capture_end(c);
	return id;
}

/* ---- any file ---- */

static u64 capture_kind(struct krg_capture *c, struct file *file)
{
	enum krg_file_kind kind = krg_file_kind(file);

	switch (kind) {
	case KRG_FILE_REGULAR:
		return capture_regular(c, file);
	case KRG_FILE_DIRECTORY:
		return capture_directory(c, &file->f_path, file);
	case KRG_FILE_DEVICE:
		return capture_device(c, file);
	case KRG_FILE_PIPE:
	case KRG_FILE_FIFO:
		return capture_pipe_end(c, file, kind == KRG_FILE_FIFO);
	case KRG_FILE_EVENTFD:
		return capture_eventfd(c, file);
	case KRG_FILE_EPOLL:
		return capture_epoll(c, file);
	case KRG_FILE_TIMERFD:
		return capture_timerfd(c, file);
	case KRG_FILE_SIGNALFD:
		return capture_signalfd(c, file);
	case KRG_FILE_MEMFD:
		return capture_memfd(c, file);
	case KRG_FILE_UNIX:
		return krg_capture_unix(c, file);
	case KRG_FILE_INET:
		return krg_capture_inet(c, file);
	case KRG_FILE_TTY:
		return krg_capture_tty(c, file);
	case KRG_FILE_INOTIFY:
		return krg_capture_inotify(c, file);
	default:
		krg_capture_fail(c, -EOPNOTSUPP, "file: %s", krg_file_kind_name(kind));
		return 0;
	}
}

u64 krg_capture_file(struct krg_capture *c, struct file *file)
{
	u64 id = krg_capture_id(c, file);

	if (id || c->error)
		return id;
	id = krg_forwarding_has(c->set->forward, file) ? capture_forwarded(c, file) :
	     krg_frozen_ignores(c->set, file) ? capture_nothing(c, file) : capture_kind(c, file);
	krg_capture_set_id(c, file, id);
	return id;
}

/* ---- tables ---- */

u64 krg_capture_files(struct krg_capture *c, struct task_struct *task)
{
	struct krg_descriptors list;
	unsigned int i;
	int err;
	u64 id = krg_capture_id(c, task->files);

	if (id || c->error)
		return id;
	err = krg_descriptors_get(&list, task);
	if (err) {
		krg_capture_fail(c, err, "files: the descriptors cannot be read (%d)", err);
		return 0;
	}
	/* Files first: the descriptors of a table stay together. */
	for (i = 0; i < list.count; i++)
		krg_capture_file(c, list.at[i].file);
	id = krg_capture_begin(c, KRG_GHOST_FILES);
	krg_capture_end(c);
	krg_capture_set_id(c, list.of, id);
	for (i = 0; i < list.count; i++) {
		u64 file = krg_capture_file(c, list.at[i].file);

		krg_capture_begin(c, KRG_GHOST_FD);
		krg_capture_put(c, KRG_GHOST_FD_FILES, id);
		krg_capture_put(c, KRG_GHOST_FD_NUMBER, list.at[i].number);
		krg_capture_put(c, KRG_GHOST_FD_FILE, file);
		krg_capture_put(c, KRG_GHOST_FD_FLAGS, list.at[i].close_on_exec);
		krg_capture_end(c);
	}
	krg_descriptors_put(&list);
	return id;
}

/* An epoll set's watches are written once; the address behind the file says that they were. */
static void capture_watches_of(struct krg_capture *c, struct file *epoll, const struct krg_descriptors *list)
{
	const void *mark = (void *)epoll + 1;
	struct krg_watch watch;
	char *line = c->buffer;
	int err;

	if (krg_capture_id(c, mark))
		return;
	krg_capture_set_id(c, mark, 1);
	err = krg_file_info(epoll, c->buffer, KRG_CAPTURE_BUFFER);
	if (err) {
		krg_capture_fail(c, -EOPNOTSUPP, "epoll: too many watches in one set");
		return;
	}
	while (krg_watch_next(&line, list, &watch)) {
		if (watch.file && krg_frozen_ignores(c->set, watch.file))
			continue;
		krg_capture_begin(c, KRG_GHOST_EPOLL_WATCH);
		krg_capture_put(c, KRG_GHOST_EPOLL_WATCH_EPOLL, krg_capture_id(c, epoll));
		krg_capture_put(c, KRG_GHOST_EPOLL_WATCH_FILE, watch.file ? krg_capture_id(c, watch.file) : 0);
		krg_capture_put(c, KRG_GHOST_EPOLL_WATCH_NUMBER, watch.number);
		krg_capture_put(c, KRG_GHOST_EPOLL_WATCH_EVENTS, watch.events);
		krg_capture_put(c, KRG_GHOST_EPOLL_WATCH_VALUE, watch.value);
		krg_capture_end(c);
	}
}

static void capture_watches_in(struct krg_capture *c, struct task_struct *task)
{
	struct krg_descriptors list;
	unsigned int i;
	int err = krg_descriptors_get(&list, task);

	if (err) {
		krg_capture_fail(c, err, "files: the descriptors cannot be read (%d)", err);
		return;
	}
	for (i = 0; i < list.count; i++)
		if (krg_file_kind(list.at[i].file) == KRG_FILE_EPOLL)
			capture_watches_of(c, list.at[i].file, &list);
	krg_descriptors_put(&list);
}

void krg_capture_each_table(struct krg_capture *c, void (*visit)(struct krg_capture *c, struct task_struct *task))
{
	struct krg_process *process;
	struct krg_thread *thread;

	krg_for_each_process(c->set, process)
		krg_for_each_thread(process, thread)
			if (!c->error && (thread->task == process->leader || thread->task->files != process->leader->files))
				visit(c, thread->task);
}

void krg_capture_watches(struct krg_capture *c)
{
	krg_capture_each_table(c, capture_watches_in);
}

u64 krg_capture_fs(struct krg_capture *c, struct task_struct *task)
{
	u64 id = krg_capture_id(c, task->fs), cwd, root = 0;
	struct path pwd, top, own;
	struct fs_struct *fs;
	int umask;

	if (id || c->error)
		return id;
	task_lock(task);
	fs = task->fs;
	spin_lock(&fs->lock);
	pwd = fs->pwd;
	top = fs->root;
	path_get(&pwd);
	path_get(&top);
	umask = fs->umask;
	spin_unlock(&fs->lock);
	task_unlock(task);
	get_fs_root(current->fs, &own);
	cwd = capture_directory(c, &pwd, NULL);
	if (!path_equal(&top, &own))
		root = capture_directory(c, &top, NULL);
	path_put(&own);
	path_put(&top);
	path_put(&pwd);
	id = krg_capture_begin(c, KRG_GHOST_FS);
	krg_capture_put(c, KRG_GHOST_FS_CWD, cwd);
	krg_capture_put(c, KRG_GHOST_FS_ROOT, root);
	krg_capture_put(c, KRG_GHOST_FS_UMASK, umask);
	krg_capture_end(c);
	krg_capture_set_id(c, fs, id);
	return id;
}
