// SPDX-License-Identifier: GPL-2.0
/*
 * Forwarded files, the server: operations on the files themselves, done by a
 * worker for a process that is elsewhere. None of them waits for what others do
 * with the file: a pipe that is empty is -EAGAIN. Who may ask is forward_serve.c's.
 */
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fsnotify.h>
#include <linux/kdev_t.h>
#include <linux/net.h>
#include <linux/pipe_fs_i.h>
#include <linux/stat.h>
#include <linux/uio.h>
#include <net/af_unix.h>

#include <kerrighed/compat.h>

#include "forward.h"

/*
 * The file that is read and written for @file: itself, if it can be told for each
 * operation not to wait. Terminals cannot: they have another open file for this.
 */
struct file *krg_forward_io_open(struct file *file, enum krg_forward_kind kind)
{
	return kind == KRG_FORWARD_TTY ? krg_forward_tty_open(file) : get_file(file);
}

static void io_start(struct kiocb *kiocb, struct file *io, enum krg_forward_kind kind, loff_t pos)
{
	init_sync_kiocb(kiocb, io);
	if (kind != KRG_FORWARD_REGULAR) {
		kiocb->ki_flags |= IOCB_NOWAIT;
		return;
	}
	if (pos == KRG_FORWARD_HERE) {
		mutex_lock(&io->f_pos_lock);
		kiocb->ki_pos = io->f_pos;
	} else {
		kiocb->ki_pos = pos;
	}
}

static void io_end(struct kiocb *kiocb, enum krg_forward_kind kind, loff_t pos, ssize_t n)
{
	struct file *io = kiocb->ki_filp;

	if (kind != KRG_FORWARD_REGULAR || pos != KRG_FORWARD_HERE)
		return;
	if (n >= 0)
		io->f_pos = kiocb->ki_pos;
	mutex_unlock(&io->f_pos_lock);
}

ssize_t krg_forward_io_read(struct file *io, enum krg_forward_kind kind, void *at, size_t length, loff_t pos)
{
	struct kvec vec = { .iov_base = at, .iov_len = length };
	const struct cred *before;
	struct iov_iter iter;
	struct kiocb kiocb;
	ssize_t n;

	if (!(io->f_mode & FMODE_READ))
		return -EBADF;
	iov_iter_kvec(&iter, ITER_DEST, &vec, 1, length);
	before = override_creds(io->f_cred);
	io_start(&kiocb, io, kind, pos);
	n = io->f_op->read_iter(&kiocb, &iter);
	io_end(&kiocb, kind, pos, n);
	if (n > 0)
		fsnotify_access(io);
	revert_creds(before);
	return n;
}

ssize_t krg_forward_io_write(struct file *io, enum krg_forward_kind kind, const void *at, size_t length, loff_t pos,
			     bool append)
{
	struct kvec vec = { .iov_base = (void *)at, .iov_len = length };
	const struct cred *before;
	struct iov_iter iter;
	struct kiocb kiocb;
	ssize_t n;

	if (!(io->f_mode & FMODE_WRITE))
		return -EBADF;
	iov_iter_kvec(&iter, ITER_SOURCE, &vec, 1, length);
	before = override_creds(io->f_cred);
	file_start_write(io);
	io_start(&kiocb, io, kind, pos);
	if (kind == KRG_FORWARD_REGULAR)
		kiocb.ki_flags = (kiocb.ki_flags & ~IOCB_APPEND) | (append ? IOCB_APPEND : 0);
	n = io->f_op->write_iter(&kiocb, &iter);
	io_end(&kiocb, kind, pos, n);
	file_end_write(io);
	if (n > 0)
		fsnotify_modify(io);
	revert_creds(before);
	return n;
}

loff_t krg_forward_io_seek(struct file *file, loff_t pos, int whence)
{
	loff_t at;

	mutex_lock(&file->f_pos_lock);
	at = vfs_llseek(file, pos, whence);
	mutex_unlock(&file->f_pos_lock);
	return at;
}

static __le64 ns_of(struct timespec64 time)
{
	return cpu_to_le64(timespec64_to_ns(&time));
}

int krg_forward_io_about(struct file *file, struct krg_forward_about *to)
{
	struct socket *sock = sock_from_file(file);
	struct kstat stat;
	int err = vfs_getattr(&file->f_path, &stat, STATX_BASIC_STATS, AT_STATX_SYNC_AS_STAT);

	if (err)
		return err;
	*to = (struct krg_forward_about) {
		.mode = cpu_to_le32(stat.mode), .rdev = cpu_to_le32(new_encode_dev(stat.rdev)),
		.uid = cpu_to_le32(from_kuid_munged(&init_user_ns, stat.uid)),
		.gid = cpu_to_le32(from_kgid_munged(&init_user_ns, stat.gid)),
		.nlink = cpu_to_le32(stat.nlink), .blksize = cpu_to_le32(stat.blksize),
		.size = cpu_to_le64(stat.size), .blocks = cpu_to_le64(stat.blocks), .ino = cpu_to_le64(stat.ino),
		.atime = ns_of(stat.atime), .mtime = ns_of(stat.mtime), .ctime = ns_of(stat.ctime),
	};
	if (sock)
		to->rdev = cpu_to_le32(sock->type);
	return 0;
}

static int pipe_left(struct pipe_inode_info *pipe)
{
	unsigned int at;
	int n = 0;

	pipe_lock(pipe);
	for (at = pipe->tail; at != pipe->head; at++)
		n += pipe->bufs[at & (pipe->ring_size - 1)].len;
	pipe_unlock(pipe);
	return n;
}

int krg_forward_io_left(struct file *file, enum krg_forward_kind kind)
{
	struct socket *sock;

	if (kind == KRG_FORWARD_PIPE)
		return pipe_left(file->private_data);
	sock = kind == KRG_FORWARD_UNIX ? sock_from_file(file) : NULL;
	return sock && sock->sk ? unix_inq_len(sock->sk) : -ENOTTY;
}
