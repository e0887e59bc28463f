// SPDX-License-Identifier: GPL-2.0
/*
 * Forwarded files, the client: the open file that a process has for one of
 * another node. It says of itself what the file is there (a pipe, a terminal, a
 * file with so many bytes), and every operation is a question to the server. Where
 * the process waits, it waits here.
 *
 * Such a file is in a file system of its own that is mounted nowhere, and only
 * while there are any.
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/kdev_t.h>
#include <linux/module.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/splice.h>
#include <linux/string.h>
#include <linux/tty.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include <kerrighed/compat.h>

#include "forward.h"

#define FORWARD_MAGIC	0x4b524657	/* "KRFW" */
#define LOOK_AGAIN_MS	2000		/* for a wake-up that was lost with its connection */

/* What whoever reads or writes waits for, as it goes to the server. */
static const u32 READABLE = (__force u32)(EPOLLIN | EPOLLRDNORM | EPOLLHUP);
static const u32 WRITABLE = (__force u32)(EPOLLOUT | EPOLLWRNORM);

static struct vfsmount *forward_mount;
static int forward_users;

static struct krg_forward_client *client_of(struct file *file)
{
	return file->private_data;
}

/* ---- reading and writing ---- */

/* Until it can be done, or has failed; -ERESTARTSYS: a signal came first. */
static s64 ask_waiting(struct file *file, struct krg_forward_call *call, bool wait)
{
	struct krg_forward_client *c = client_of(file);
	long left;
	s64 n;
	int seen;

	wait = wait && c->at.kind != KRG_FORWARD_REGULAR;
	call->flags |= wait ? KRG_FORWARD_ARM : 0;
	for (;;) {
		seen = atomic_read(&c->news);
		n = krg_forward_ask(c, call);
		if (n != -EAGAIN || !wait)
			return n;
		left = wait_event_interruptible_timeout(c->wait, atomic_read(&c->news) != seen || READ_ONCE(c->dead),
							msecs_to_jiffies(call->wait_ms ?: LOOK_AGAIN_MS));
		if (left < 0)
			return -ERESTARTSYS;
		if (!left && call->wait_ms)
			return 0;
	}
}

static bool may_wait(const struct kiocb *kiocb)
{
	return !(kiocb->ki_filp->f_flags & O_NONBLOCK) && !(kiocb->ki_flags & IOCB_NOWAIT);
}

static s64 read_piece(struct kiocb *kiocb, void *buffer, size_t length)
{
	struct krg_forward_call call = {
		.op = KRG_FORWARD_OP_READ, .length = length, .pos = kiocb->ki_pos, .events = READABLE,
		.out = buffer, .out_length = length,
	};
	s64 n = ask_waiting(kiocb->ki_filp, &call, may_wait(kiocb));

	return n > 0 && n != call.got ? -EIO : n;
}

static void move_on(struct kiocb *kiocb, s64 n)
{
	if (client_of(kiocb->ki_filp)->at.kind == KRG_FORWARD_REGULAR && kiocb->ki_pos != KRG_FORWARD_HERE)
		kiocb->ki_pos += n;
}

/* Files are read as far as was asked for; from others what is there. */
static ssize_t forward_read_iter(struct kiocb *kiocb, struct iov_iter *to)
{
	struct krg_forward_client *c = client_of(kiocb->ki_filp);
	size_t room = min_t(size_t, iov_iter_count(to), KRG_FORWARD_CHUNK), asked;
	void *buffer = kvmalloc(room ?: 1, GFP_KERNEL_ACCOUNT);
	ssize_t done = 0;
	s64 n;

	if (!buffer)
		return -ENOMEM;
	do {
		asked = min(room, iov_iter_count(to));
		n = read_piece(kiocb, buffer, asked);
		if (n > 0) {
			move_on(kiocb, n);
			done += copy_to_iter(buffer, n, to);
		}
	} while (c->at.kind == KRG_FORWARD_REGULAR && n == asked && iov_iter_count(to) && !fatal_signal_pending(current));
	kvfree(buffer);
	return done ?: n > 0 ? -EFAULT : n;
}

static s64 write_piece(struct kiocb *kiocb, const void *buffer, size_t length)
{
	struct krg_forward_call call = {
		.op = KRG_FORWARD_OP_WRITE, .pos = kiocb->ki_pos, .events = WRITABLE,
		.flags = kiocb->ki_flags & IOCB_APPEND ? KRG_FORWARD_APPEND : 0, .in = buffer, .in_length = length,
	};
	s64 n = ask_waiting(kiocb->ki_filp, &call, may_wait(kiocb));

	return n > (s64)length ? -EIO : n;
}

/* Who writes to what has nobody at the other end, or no other end any more. */
static ssize_t broken(struct krg_forward_client *c, s64 n)
{
	if (c->at.kind != KRG_FORWARD_PIPE && c->at.kind != KRG_FORWARD_UNIX)
		return n;
	if (n == -EPIPE || (n == -EIO && READ_ONCE(c->dead))) {
		send_sig(SIGPIPE, current, 0);
		return -EPIPE;
	}
	return n;
}

static ssize_t forward_write_iter(struct kiocb *kiocb, struct iov_iter *from)
{
	struct krg_forward_client *c = client_of(kiocb->ki_filp);
	size_t room = min_t(size_t, iov_iter_count(from), KRG_FORWARD_CHUNK), length;
	ssize_t done = 0;
	void *buffer;
	s64 n = 0;

	if (c->packets && iov_iter_count(from) > room)
		return -EMSGSIZE;
	buffer = kvmalloc(room ?: 1, GFP_KERNEL_ACCOUNT);
	if (!buffer)
		return -ENOMEM;
	do {
		length = copy_from_iter(buffer, min(room, iov_iter_count(from)), from);
		if (!length && iov_iter_count(from)) {
			n = -EFAULT;
			break;
		}
		n = write_piece(kiocb, buffer, length);
		if (n < 0)
			break;
		iov_iter_revert(from, length - n);
		move_on(kiocb, n);
		done += n;
	} while (iov_iter_count(from) && n && !fatal_signal_pending(current));
	kvfree(buffer);
	return done ?: broken(c, n);
}

/* ---- the rest of what a file does ---- */

static __poll_t forward_poll(struct file *file, poll_table *table)
{
	struct krg_forward_client *c = client_of(file);
	struct krg_forward_call call = {
		.op = KRG_FORWARD_OP_POLL, .events = (__force u32)(poll_requested_events(table) | EPOLLERR | EPOLLHUP),
	};
	s64 events;

	poll_wait(file, &c->wait, table);
	/* Also when nobody waits by this call: an epoll set has waited since before. */
	if (waitqueue_active(&c->wait))
		call.flags = KRG_FORWARD_ARM;
	events = krg_forward_ask(c, &call);
	return events < 0 ? EPOLLERR | EPOLLHUP : (__force __poll_t)(u32)events;
}

/* The position is the open file's at the server, as others that have it see it. */
static loff_t forward_llseek(struct file *file, loff_t pos, int whence)
{
	struct krg_forward_client *c = client_of(file);
	struct krg_forward_call call = { .op = KRG_FORWARD_OP_SEEK, .pos = pos, .length = whence };

	return c->at.kind == KRG_FORWARD_REGULAR ? krg_forward_ask(c, &call) : -ESPIPE;
}

static int forward_fsync(struct file *file, loff_t start, loff_t end, int data_only)
{
	struct krg_forward_call call = { .op = KRG_FORWARD_OP_SYNC, .length = data_only };

	return krg_forward_ask(client_of(file), &call);
}

static long forward_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	static const struct krg_forward_tty_op bytes_left = { FIONREAD, 0, sizeof(s32) };
	struct krg_forward_client *c = client_of(file);
	const struct krg_forward_tty_op *op = command == FIONREAD ? &bytes_left : krg_forward_tty_find(command);
	u8 in[64] __aligned(8), out[64] __aligned(8);
	struct krg_forward_call call = { .op = KRG_FORWARD_OP_IOCTL, .length = command, .in = in, .out = out };
	s64 n;

	if (!op || (command != FIONREAD && c->at.kind != KRG_FORWARD_TTY))
		return -ENOTTY;
	call.in_length = op->in;
	call.out_length = op->out;
	if (op->value)
		*(s32 *)in = arg;
	else if (copy_from_user(in, (void __user *)arg, op->in))
		return -EFAULT;
	n = krg_forward_ask(c, &call);
	if (n < 0)
		return n;
	if (call.got != op->out)
		return -EIO;
	return copy_to_user((void __user *)arg, out, op->out) ? -EFAULT : n;
}

/* What could not be written would have to go back: the position is not this node's. Programs then read and write instead. */
static ssize_t forward_splice_read(struct file *in, loff_t *at, struct pipe_inode_info *pipe, size_t length,
				   unsigned int flags)
{
	return *at >= KRG_FORWARD_HERE ? -EINVAL : krg_splice_read(in, at, pipe, length, flags);
}

/* One that only this node knows would protect nobody from anything. */
static int forward_lock(struct file *file, int command, struct file_lock *lock)
{
	return -ENOLCK;
}

static int forward_release(struct inode *inode, struct file *file)
{
	krg_forward_client_close(client_of(file));
	simple_release_fs(&forward_mount, &forward_users);
	return 0;
}

static const struct file_operations forward_fops = {
	.owner		= THIS_MODULE,
	.llseek		= forward_llseek,
	.read_iter	= forward_read_iter,
	.write_iter	= forward_write_iter,
	.poll		= forward_poll,
	.mmap		= krg_forward_mmap,
	.unlocked_ioctl	= forward_ioctl,
	.fsync		= forward_fsync,
	.lock		= forward_lock,
	.flock		= forward_lock,
	.splice_read	= forward_splice_read,
	.splice_write	= iter_file_splice_write,
	.release	= forward_release,
};

struct krg_forward_client *krg_forward_of(struct file *file)
{
	return file->f_op == &forward_fops ? client_of(file) : NULL;
}

/* ---- its inode ---- */

static struct timespec64 time_of(__le64 ns)
{
	return ns_to_timespec64(le64_to_cpu(ns));
}

static void fill(struct inode *inode, const struct krg_forward_about *about)
{
	inode->i_mode = le32_to_cpu(about->mode);
	inode->i_uid = make_kuid(&init_user_ns, le32_to_cpu(about->uid));
	inode->i_gid = make_kgid(&init_user_ns, le32_to_cpu(about->gid));
	inode->i_ino = le64_to_cpu(about->ino);
	inode->i_rdev = S_ISCHR(inode->i_mode) ? new_decode_dev(le32_to_cpu(about->rdev)) : 0;
	i_size_write(inode, le64_to_cpu(about->size));
	inode->i_blocks = le64_to_cpu(about->blocks);
	krg_inode_set_atime(inode, time_of(about->atime));
	krg_inode_set_mtime(inode, time_of(about->mtime));
	krg_inode_set_ctime(inode, time_of(about->ctime));
}

static int forward_getattr(struct krg_idmap *idmap, const struct path *path, struct kstat *stat, u32 mask,
			   unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);
	struct krg_forward_client *c = inode->i_private;
	struct krg_forward_about about;
	struct krg_forward_call call = { .op = KRG_FORWARD_OP_ABOUT, .out = &about, .out_length = sizeof(about) };
	s64 err = krg_forward_ask(c, &call);

	if (!err && call.got != sizeof(about))
		err = -EIO;
	/* What others have done to it counts; what it is does not change. */
	if (!err) {
		spin_lock(&inode->i_lock);
		about.mode = cpu_to_le32((inode->i_mode & S_IFMT) | (le32_to_cpu(about.mode) & ~S_IFMT));
		fill(inode, &about);
		spin_unlock(&inode->i_lock);
	}
	krg_fillattr(idmap, mask, inode, stat);
	if (!err) {
		stat->nlink = le32_to_cpu(about.nlink);
		stat->blksize = le32_to_cpu(about.blksize);
	}
	return c->at.kind == KRG_FORWARD_REGULAR ? err : 0;
}

static int forward_setattr(struct krg_idmap *idmap, struct dentry *dentry, struct iattr *attr)
{
	struct krg_forward_call call = { .op = KRG_FORWARD_OP_TRUNCATE, .pos = attr->ia_size };

	if (!(attr->ia_valid & ATTR_SIZE) || attr->ia_valid & (ATTR_MODE | ATTR_UID | ATTR_GID))
		return -EOPNOTSUPP;
	return krg_forward_ask(d_inode(dentry)->i_private, &call);
}

static const struct inode_operations forward_iops = {
	.getattr = forward_getattr,
	.setattr = forward_setattr,
};

/* ---- its file system ---- */

static char *forward_dname(struct dentry *dentry, char *buffer, int room)
{
	int length = dentry->d_name.len + 1;

	if (length > room)
		return ERR_PTR(-ENAMETOOLONG);
	return memcpy(buffer + room - length, dentry->d_name.name, length);
}

static const struct dentry_operations forward_dops = {
	.d_dname = forward_dname,
};

/* An inode may be looked at when its file is closed already. */
static void forward_evict(struct inode *inode)
{
	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	if (inode->i_private)
		krg_forward_client_put(inode->i_private);
}

static const struct super_operations forward_sops = {
	.evict_inode	= forward_evict,
	.statfs		= simple_statfs,
};

static int forward_init_context(struct fs_context *fc)
{
	struct pseudo_fs_context *context = init_pseudo(fc, FORWARD_MAGIC);

	if (!context)
		return -ENOMEM;
	context->ops = &forward_sops;
	context->dops = &forward_dops;
	return 0;
}

static struct file_system_type forward_type = {
	.owner		= THIS_MODULE,
	.name		= "krg-forward",
	.init_fs_context = forward_init_context,
	.kill_sb	= kill_anon_super,
};

/* ---- making one ---- */

static struct file *file_new(struct krg_forward_client *c, const struct krg_forward_about *about, unsigned int flags,
			     const char *name)
{
	struct inode *inode = new_inode(forward_mount->mnt_sb);
	struct file *file;

	if (!inode)
		return ERR_PTR(-ENOMEM);
	fill(inode, about);
	inode->i_op = &forward_iops;
	inode->i_mapping->a_ops = &krg_forward_aops;
	inode->i_flags |= S_PRIVATE;
	__module_get(THIS_MODULE);	/* given back with the operations */
	file = alloc_file_pseudo(inode, forward_mount, name, flags, &forward_fops);
	if (IS_ERR(file)) {
		iput(inode);
		module_put(THIS_MODULE);
		return file;
	}
	inode->i_private = c;
	file->private_data = c;
	if (c->at.kind == KRG_FORWARD_REGULAR) {
		file->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;
		file->f_pos = KRG_FORWARD_HERE;
	} else {
		stream_open(inode, file);
	}
	return file;
}

struct file *krg_forward_file(const struct krg_forwarded *at, unsigned int flags, const char *path)
{
	struct krg_forward_about about;
	struct krg_forward_client *c;
	struct file *file;
	char *name;
	int err = simple_pin_fs(&forward_type, &forward_mount, &forward_users);

	if (err)
		return ERR_PTR(err);
	c = krg_forward_client_new(at, &about);
	file = ERR_CAST(c);
	if (!IS_ERR(c)) {
		c->packets = S_ISSOCK(le32_to_cpu(about.mode)) && le32_to_cpu(about.rdev) != SOCK_STREAM;
		name = kasprintf(GFP_KERNEL_ACCOUNT, "node%u:%s", at->server.id, path);
		file = name ? file_new(c, &about, flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | FASYNC), name) :
			      ERR_PTR(-ENOMEM);
		kfree(name);
		if (IS_ERR(file)) {
			krg_forward_client_close(c);
			krg_forward_client_put(c);
		}
	}
	if (IS_ERR(file))
		simple_release_fs(&forward_mount, &forward_users);
	return file;
}
