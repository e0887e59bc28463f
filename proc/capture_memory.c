// SPDX-License-Identifier: GPL-2.0
/*
 * Memory objects in the image: what is behind shared anonymous mappings, memfds,
 * and files that have no name any more. Holes and zeros are left out.
 */
#include <linux/cred.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/shmem_fs.h>
#include <linux/string.h>
#include <linux/uidgid.h>

#include "capture.h"
#include "vma.h"

#define MEMFD_PREFIX	"memfd:"

/* From @at on, @length bytes in the buffer, filled up with zeros to a page. */
static void put_bytes(struct krg_capture *c, u64 id, loff_t at, size_t length)
{
	size_t pages = DIV_ROUND_UP(length, PAGE_SIZE), i = 0, first;
	struct krg_ghost_piece piece;

	memset(c->buffer + length, 0, pages * PAGE_SIZE - length);
	while (i < pages) {
		if (!memchr_inv(c->buffer + i * PAGE_SIZE, 0, PAGE_SIZE)) {
			i++;
			continue;
		}
		for (first = i; i < pages && memchr_inv(c->buffer + i * PAGE_SIZE, 0, PAGE_SIZE);)
			i++;
		piece.at = c->buffer + first * PAGE_SIZE;
		piece.length = (i - first) * PAGE_SIZE;
		krg_capture_begin(c, KRG_GHOST_PAGES);
		krg_capture_put(c, KRG_GHOST_PAGES_OWNER, id);
		krg_capture_put(c, KRG_GHOST_PAGES_AT, at + first * PAGE_SIZE);
		krg_capture_put(c, KRG_GHOST_PAGES_COUNT, i - first);
		krg_capture_end_data(c, &piece, 1);
	}
}

/* Where there are data at or behind @at; @size: nowhere. */
static loff_t next_data(struct file *file, loff_t at, loff_t size)
{
	loff_t data = vfs_llseek(file, at, SEEK_DATA);

	if (data == -ENXIO)
		return size;
	return data < at ? at : round_down(data, PAGE_SIZE);
}

static void put_contents(struct krg_capture *c, struct file *file, u64 id, loff_t size)
{
	loff_t at = 0, pos;
	ssize_t n;

	while (!c->error) {
		at = next_data(file, at, size);
		if (at >= size)
			return;
		pos = at;
		n = kernel_read(file, c->buffer, min_t(loff_t, KRG_CAPTURE_BUFFER, size - at), &pos);
		if (n < 0) {
			krg_capture_fail(c, n, "memory: the contents of %pD cannot be read (%zd)", file, n);
			return;
		}
		if (!n)
			return;
		put_bytes(c, id, at, n);
		/* Reads need not end at a page; runs must begin at one. */
		at += n % PAGE_SIZE && at + n < size ? max_t(ssize_t, round_down(n, PAGE_SIZE), PAGE_SIZE) : n;
		cond_resched();
	}
}

/* In the inode of tmpfs; files of hugetlbfs are refused before. */
static u64 memfd_seals(struct file *file)
{
	return SHMEM_I(file_inode(file))->seals;
}

u64 krg_capture_memory(struct krg_capture *c, struct file *file, u64 kind)
{
	struct inode *inode = file_inode(file);
	u64 id = krg_capture_id(c, inode);
	loff_t size = i_size_read(inode);
	struct file *own;

	if (id || c->error)
		return id;
	/* An open file of our own: the offset of the process's stays, and it need not be readable. */
	own = dentry_open(&file->f_path, O_RDONLY | O_LARGEFILE, current_cred());
	if (IS_ERR(own)) {
		krg_capture_fail(c, PTR_ERR(own), "memory: %pD cannot be opened (%ld)", file, PTR_ERR(own));
		return 0;
	}
	id = krg_capture_begin(c, KRG_GHOST_MEMORY);
	krg_capture_put(c, KRG_GHOST_MEMORY_KEY, (u64)inode->i_sb->s_dev << 48 ^ inode->i_ino ^ (u64)inode->i_generation << 24 ?: 1);
	krg_capture_put(c, KRG_GHOST_MEMORY_KIND, kind);
	krg_capture_put(c, KRG_GHOST_MEMORY_SIZE, size);
	if (kind == KRG_MEMORY_MEMFD) {
		krg_capture_put_text(c, KRG_GHOST_MEMORY_NAME, file->f_path.dentry->d_name.name + strlen(MEMFD_PREFIX));
		krg_capture_put(c, KRG_GHOST_MEMORY_SEALS, memfd_seals(file));
	}
	krg_capture_put(c, KRG_GHOST_MEMORY_MODE, inode->i_mode & 07777);
	krg_capture_put(c, KRG_GHOST_MEMORY_UID, from_kuid_munged(current_user_ns(), inode->i_uid));
	krg_capture_put(c, KRG_GHOST_MEMORY_GID, from_kgid_munged(current_user_ns(), inode->i_gid));
	krg_capture_end(c);
	krg_capture_set_id(c, inode, id);
	put_contents(c, own, id, size);
	fput(own);
	return id;
}
