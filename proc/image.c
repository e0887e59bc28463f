// SPDX-License-Identifier: GPL-2.0
/*
 * Records on their way to the sink, and the ids of what is in the image already.
 * What the records say is in capture*.c.
 */
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mount.h>
#include <linux/path.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "capture.h"
#include "text.h"

void krg_capture_fail(struct krg_capture *c, int error, const char *format, ...)
{
	struct va_format vaf = { .fmt = format };
	va_list args;

	if (c->error)
		return;
	c->error = error;
	va_start(args, format);
	vaf.va = &args;
	krg_text_add(c->text, "%pV", &vaf);
	va_end(args);
}

/* What the writer refuses is a mistake of ours; it says which. */
static void capture_refused(struct krg_capture *c)
{
	const struct krg_ghost_error *error = krg_ghost_writer_error(c->writer);
	const char *type = krg_ghost_type_name(error->type), *field = krg_ghost_field_name(error->type, error->field);

	krg_capture_fail(c, error->code, "image: record %s, field %s: %s", type ?: "-", field ?: "-", error->reason);
}

static void capture_write(struct krg_capture *c, const struct krg_ghost_piece *piece, u32 count)
{
	int err;
	u32 i;

	if (c->error)
		return;
	err = c->sink->write(c->sink, piece, count);
	if (err) {
		krg_capture_fail(c, err, "image: cannot be written (%d)", err);
		return;
	}
	for (i = 0; i < count; i++)
		c->sink->bytes += piece[i].length;
}

u64 krg_capture_begin(struct krg_capture *c, u16 type)
{
	u64 id = 0;

	if (!c->error && krg_ghost_begin(c->writer, type, &id))
		capture_refused(c);
	return id;
}

void krg_capture_put(struct krg_capture *c, u16 field, u64 value)
{
	if (!c->error && krg_ghost_put(c->writer, field, value))
		capture_refused(c);
}

void krg_capture_put_bytes(struct krg_capture *c, u16 field, const void *at, u32 length)
{
	if (!c->error && krg_ghost_put_bytes(c->writer, field, at, length))
		capture_refused(c);
}

void krg_capture_put_text(struct krg_capture *c, u16 field, const char *text)
{
	krg_capture_put_bytes(c, field, text, strlen(text));
}

void krg_capture_end_data(struct krg_capture *c, const struct krg_ghost_piece *piece, u32 count)
{
	u32 used;

	if (c->error)
		return;
	if (krg_ghost_end(c->writer, piece, count, c->out, &used))
		capture_refused(c);
	else
		capture_write(c, c->out, used);
	if (!c->error && signal_pending(current))
		krg_capture_fail(c, -EINTR, "capture: interrupted by a signal");
}

void krg_capture_end(struct krg_capture *c)
{
	krg_capture_end_data(c, NULL, 0);
}

u64 krg_capture_id(struct krg_capture *c, const void *object)
{
	return xa_to_value(xa_load(&c->ids, (unsigned long)object) ?: xa_mk_value(0));
}

void krg_capture_set_id(struct krg_capture *c, const void *object, u64 id)
{
	int err;

	if (c->error)
		return;
	err = xa_err(xa_store(&c->ids, (unsigned long)object, xa_mk_value(id), GFP_KERNEL_ACCOUNT));
	if (err)
		krg_capture_fail(c, err, "capture: no memory");
}

char *krg_capture_path(struct krg_capture *c, const struct path *path, bool *deleted)
{
	static const char mark[] = " (deleted)";
	char *name = d_path(path, c->page, PAGE_SIZE);
	size_t length;

	if (IS_ERR(name)) {
		krg_capture_fail(c, PTR_ERR(name), "path: the name of a file is too long");
		return NULL;
	}
	*deleted = d_unlinked(path->dentry);
	length = strlen(name);
	if (*deleted && length > sizeof(mark) - 1 && !strcmp(name + length - (sizeof(mark) - 1), mark))
		name[length - (sizeof(mark) - 1)] = 0;
	if (*name != '/') {
		krg_capture_fail(c, -EOPNOTSUPP, "path: %s is not below the caller's root directory", name);
		return NULL;
	}
	return name;
}

/* ---- the sink ---- */

static int file_sink_write(struct krg_sink *sink, const struct krg_ghost_piece *piece, u32 count)
{
	struct krg_file_sink *to = container_of(sink, struct krg_file_sink, sink);
	struct iov_iter iter;
	size_t length = 0;
	ssize_t n;
	u32 i;

	for (i = 0; i < count; i++) {
		to->vec[i].iov_base = (void *)piece[i].at;
		to->vec[i].iov_len = piece[i].length;
		length += piece[i].length;
	}
	iov_iter_kvec(&iter, ITER_SOURCE, to->vec, count, length);
	while (iov_iter_count(&iter)) {
		file_start_write(to->file);
		n = vfs_iter_write(to->file, &iter, &to->file->f_pos, 0);
		file_end_write(to->file);
		/* A write that would restart must not: what was written before it would be written twice. */
		if (n == -ERESTARTSYS)
			return -EINTR;
		if (n <= 0)
			return n ?: -ENOSPC;
	}
	return 0;
}

int krg_file_sink_use(struct krg_file_sink *to, struct file *file)
{
	if (!(file->f_mode & FMODE_WRITE) || !(file->f_mode & FMODE_CAN_WRITE))
		return -EBADF;
	to->file = get_file(file);
	to->sink.write = file_sink_write;
	to->sink.bytes = 0;
	return 0;
}

int krg_file_sink_init(struct krg_file_sink *to, int fd)
{
	struct file *file = fget(fd);
	int err = file ? krg_file_sink_use(to, file) : -EBADF;

	if (file)
		fput(file);
	return err;
}

void krg_file_sink_exit(struct krg_file_sink *to)
{
	fput(to->file);
}
