// SPDX-License-Identifier: GPL-2.0
/*
 * Open files of other processes: kinds, descriptors, what fdinfo tells.
 */
#include <linux/dcache.h>
#include <linux/eventfd.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/kdev_t.h>
#include <linux/kernel.h>
#include <linux/magic.h>
#include <linux/major.h>
#include <linux/net.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/string.h>
#include <net/sock.h>

#include <kerrighed/compat.h>

#include "file.h"
#include "forward.h"

#define KRG_MEMFD_PREFIX	"memfd:"

const char *krg_file_kind_name(enum krg_file_kind kind)
{
	static const char *const names[] = {
		[KRG_FILE_REGULAR] = "a file", [KRG_FILE_DIRECTORY] = "a directory", [KRG_FILE_DEVICE] = "a device without state",
		[KRG_FILE_PIPE] = "a pipe", [KRG_FILE_FIFO] = "a named pipe", [KRG_FILE_EVENTFD] = "an eventfd",
		[KRG_FILE_EPOLL] = "an epoll set", [KRG_FILE_TIMERFD] = "a timerfd", [KRG_FILE_SIGNALFD] = "a signalfd",
		[KRG_FILE_MEMFD] = "a memfd", [KRG_FILE_INOTIFY] = "an inotify instance",
		[KRG_FILE_SHARED_MEMORY] = "shared anonymous memory", [KRG_FILE_SYSV] = "SysV shared memory",
		[KRG_FILE_TTY] = "a terminal", [KRG_FILE_UNIX] = "a unix socket", [KRG_FILE_INET] = "an internet socket",
		[KRG_FILE_SOCKET] = "a socket of another family", [KRG_FILE_BLOCK] = "a block device",
		[KRG_FILE_CHAR] = "a character device", [KRG_FILE_IO_URING] = "an io_uring",
		[KRG_FILE_PATH] = "a descriptor of a path only (O_PATH)", [KRG_FILE_HUGE] = "memory of hugetlbfs",
		[KRG_FILE_OTHER] = "a file of a kind that is not known",
		[KRG_FILE_FORWARDED] = "a file that another node serves",
	};

	return names[kind];
}

/* ---- kinds ---- */

/* Files of the kernel's own tmpfs mount, which is nowhere. */
static enum krg_file_kind shmem_kind(struct file *file)
{
	const char *name = file->f_path.dentry->d_name.name;

	if (!strncmp(name, KRG_MEMFD_PREFIX, strlen(KRG_MEMFD_PREFIX)))
		return KRG_FILE_MEMFD;
	if (!strcmp(name, "dev/zero"))
		return KRG_FILE_SHARED_MEMORY;
	return strncmp(name, "SYSV", 4) ? KRG_FILE_OTHER : KRG_FILE_SYSV;
}

static enum krg_file_kind regular_kind(struct file *file)
{
	struct super_block *sb = file_inode(file)->i_sb;

	if (file->f_mode & FMODE_PATH)
		return KRG_FILE_PATH;
	if (sb->s_magic == HUGETLBFS_MAGIC)
		return KRG_FILE_HUGE;
	if (sb->s_magic == TMPFS_MAGIC && sb->s_flags & SB_KERNMOUNT)
		return shmem_kind(file);
	/* secretmem, pidfs and their like. */
	return sb->s_flags & SB_NOUSER ? KRG_FILE_OTHER : KRG_FILE_REGULAR;
}

static enum krg_file_kind device_kind(const struct inode *inode)
{
	unsigned int major = imajor(inode), minor = iminor(inode);

	if (major == MEM_MAJOR)
		return minor == 3 || minor == 5 || minor == 7 || minor == 8 || minor == 9 ? KRG_FILE_DEVICE : KRG_FILE_CHAR;
	if (major == TTYAUX_MAJOR || major == TTY_MAJOR ||
	    (major >= UNIX98_PTY_MASTER_MAJOR && major < UNIX98_PTY_SLAVE_MAJOR + UNIX98_PTY_MAJOR_COUNT))
		return KRG_FILE_TTY;
	return KRG_FILE_CHAR;
}

static enum krg_file_kind socket_kind(struct file *file)
{
	struct socket *sock = sock_from_file(file);

	if (!sock || !sock->ops)
		return KRG_FILE_SOCKET;
	switch (sock->ops->family) {
	case AF_UNIX:
		return KRG_FILE_UNIX;
	case AF_INET:
	case AF_INET6:
		return KRG_FILE_INET;
	default:
		return KRG_FILE_SOCKET;
	}
}

static enum krg_file_kind anonymous_kind(const struct file *file)
{
	static const struct {
		const char *name;
		enum krg_file_kind kind;
	} kinds[] = {
		{ "[eventfd]", KRG_FILE_EVENTFD }, { "[eventpoll]", KRG_FILE_EPOLL }, { "[timerfd]", KRG_FILE_TIMERFD },
		{ "[signalfd]", KRG_FILE_SIGNALFD }, { "inotify", KRG_FILE_INOTIFY }, { "[io_uring]", KRG_FILE_IO_URING },
	};
	const char *name = file->f_path.dentry->d_name.name;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(name, kinds[i].name))
			return kinds[i].kind;
	return KRG_FILE_OTHER;
}

enum krg_file_kind krg_file_kind(struct file *file)
{
	struct inode *inode = file_inode(file);

	if (krg_forward_of(file))
		return KRG_FILE_FORWARDED;
	if (inode->i_sb->s_magic == ANON_INODE_FS_MAGIC)
		return anonymous_kind(file);
	switch (inode->i_mode & S_IFMT) {
	case S_IFREG:
		return regular_kind(file);
	case S_IFDIR:
		return KRG_FILE_DIRECTORY;
	case S_IFIFO:
		return file->f_mode & FMODE_PATH ? KRG_FILE_PATH :
		       inode->i_sb->s_magic == PIPEFS_MAGIC ? KRG_FILE_PIPE : KRG_FILE_FIFO;
	case S_IFCHR:
		return file->f_mode & FMODE_PATH ? KRG_FILE_PATH : device_kind(inode);
	case S_IFSOCK:
		return file->f_mode & FMODE_PATH ? KRG_FILE_PATH : socket_kind(file);
	case S_IFBLK:
		return KRG_FILE_BLOCK;
	default:
		return file->f_mode & FMODE_PATH ? KRG_FILE_PATH : KRG_FILE_OTHER;
	}
}

/* ---- what it says ---- */

int krg_file_info(struct file *file, char *to, size_t room)
{
	struct seq_file m = { .buf = to, .size = room - 1 };

	mutex_init(&m.lock);
	if (file->f_op->show_fdinfo)
		file->f_op->show_fdinfo(&m, file);
	mutex_destroy(&m.lock);
	if (seq_has_overflowed(&m))
		return -ENOSPC;
	to[m.count] = 0;
	return 0;
}

/*
 * Before 6.5 fdinfo does not tell. This is how the structure begins that such kernels
 * have, and it is believed when it agrees with what fdinfo does tell.
 */
struct old_eventfd {
	struct kref kref;
	wait_queue_head_t wqh;
	__u64 count;
	unsigned int flags;
	int id;
};

int krg_eventfd_semaphore(struct file *file, const char *info)
{
	const struct old_eventfd *ctx = file->private_data;
	const char *line = strstr(info, "eventfd-semaphore:");
	unsigned long long count;
	int id, semaphore;

	if (line)
		return sscanf(line, "eventfd-semaphore: %d", &semaphore) == 1 ? !!semaphore : -EOPNOTSUPP;
	if (sscanf(info, "eventfd-count: %llx eventfd-id: %d", &count, &id) != 2 || READ_ONCE(ctx->count) != count || ctx->id != id)
		return -EOPNOTSUPP;
	return !!(ctx->flags & EFD_SEMAPHORE);
}

bool krg_watch_next(char **line, const struct krg_descriptors *list, struct krg_watch *to)
{
	char *at = *line ? strstr(*line, "tfd:") : NULL;
	unsigned long inode;
	unsigned int device, i;
	long long position;

	if (!at || sscanf(at, "tfd: %d events: %x data: %llx pos:%lli ino:%lx sdev:%x", &to->number, &to->events, &to->value,
			  &position, &inode, &device) != 6) {
		*line = NULL;
		return false;
	}
	*line = at + 4;
	to->file = NULL;
	for (i = 0; i < list->count; i++) {
		const struct inode *of = file_inode(list->at[i].file);

		if (list->at[i].number == to->number && of->i_ino == inode && of->i_sb->s_dev == device)
			to->file = list->at[i].file;
	}
	return true;
}

/* ---- descriptors ---- */

static int count_one(const void *list, struct file *file, unsigned int number)
{
	((struct krg_descriptors *)list)->room++;
	return 0;
}

/* Under the table's lock. */
static int take_one(const void *at, struct file *file, unsigned int number)
{
	struct krg_descriptors *list = (struct krg_descriptors *)at;
	struct krg_descriptor *to = &list->at[list->count];

	if (list->count == list->room)
		return -EAGAIN;
	to->number = number;
	to->file = get_file(file);
	rcu_read_lock();
	to->close_on_exec = krg_close_on_exec(number, list->of);
	rcu_read_unlock();
	list->count++;
	return 0;
}

static int descriptors_try(struct krg_descriptors *list, struct task_struct *task)
{
	int err = 0;

	task_lock(task);
	list->of = task->files;
	list->room = 0;
	if (list->of)
		iterate_fd(list->of, 0, count_one, list);
	task_unlock(task);
	list->at = kvcalloc(list->room + 1, sizeof(*list->at), GFP_KERNEL_ACCOUNT);
	if (!list->at)
		return -ENOMEM;
	task_lock(task);
	list->of = task->files;
	if (list->of)
		err = iterate_fd(list->of, 0, take_one, list);
	task_unlock(task);
	return err;
}

int krg_descriptors_get(struct krg_descriptors *list, struct task_struct *task)
{
	int tries, err = -EAGAIN;

	memset(list, 0, sizeof(*list));
	for (tries = 0; tries < 16 && err == -EAGAIN; tries++) {
		krg_descriptors_put(list);
		err = descriptors_try(list, task);
	}
	if (err)
		krg_descriptors_put(list);
	return err;
}

void krg_descriptors_put(struct krg_descriptors *list)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		fput(list->at[i].file);
	kvfree(list->at);
	list->at = NULL;
	list->count = 0;
}
