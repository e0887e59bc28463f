// SPDX-License-Identifier: GPL-2.0
/*
 * Reads a whole image through the ghost reader, checks every CRC, and remembers
 * where page data are: they are read again when they are needed, and compared
 * with what was read here. What records mean is in restore_record.c.
 */
#include <linux/crc32.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "proc/core/ghost.h"
#include "restore.h"

#define OBJECTS_FIRST	16384U

u32 krg_restore_crc(u32 crc, const void *at, size_t length)
{
	return ~__crc32c_le(~crc, at, length);
}

int krg_restore_run_add(struct krg_restore *s, struct krg_r_runs *runs, const struct krg_r_run *run)
{
	if (runs->count == runs->room) {
		u32 room = max(runs->room * 2, 8U);
		struct krg_r_run *at = kvmalloc_array(room, sizeof(*at), GFP_KERNEL_ACCOUNT);

		if (!at)
			return -ENOMEM;
		if (runs->count)
			memcpy(at, runs->at, runs->count * sizeof(*at));
		kvfree(runs->at);
		runs->at = at;
		runs->room = room;
	}
	if (++s->runs > KRG_RESTORE_RUNS)
		return -E2BIG;
	runs->at[runs->count++] = *run;
	return 0;
}

struct source {
	struct krg_restore *s;
	struct krg_ghost_reader *reader;
	struct krg_text *error;
	u8 *buffer;	/* KRG_RESTORE_CHUNK bytes */
	loff_t at;
};

/* 0, 1: the image ends here, or a negative errno. */
static int fetch(struct source *src, void *to, u32 length)
{
	u32 done = 0;

	while (done < length) {
		ssize_t got = kernel_read(src->s->image, to + done, length - done, &src->at);

		if (got < 0)
			return got;
		if (!got)
			return 1;
		done += got;
	}
	return 0;
}

static int take_data(struct source *src, u32 length, u32 *crc)
{
	*crc = 0;
	while (length) {
		u32 piece = min(length, KRG_RESTORE_CHUNK);
		int err = fetch(src, src->buffer, piece);

		if (err)
			return err > 0 ? krg_ghost_truncated(src->reader) : err;
		*crc = krg_restore_crc(*crc, src->buffer, piece);
		err = krg_ghost_take(src->reader, src->buffer, piece);
		if (err)
			return err;
		length -= piece;
	}
	return 0;
}

static int read_records(struct source *src)
{
	struct krg_r_run *run = NULL;
	struct krg_ghost_step step;
	int err;

	for (;;) {
		if (signal_pending(current))
			return -EINTR;
		cond_resched();
		err = krg_ghost_next(src->reader, &step);
		if (err)
			return err;
		switch (step.kind) {
		case KRG_GHOST_NEED:
			err = fetch(src, step.at, step.length);
			if (err > 0)
				err = krg_ghost_truncated(src->reader);
			break;
		case KRG_GHOST_RECORD:
			run = NULL;
			err = krg_restore_record(src->s, src->reader, &run, src->error);
			break;
		case KRG_GHOST_DATA: {
			u32 crc;

			src->at = step.offset;
			err = take_data(src, step.length, &crc);
			if (!err && run) {
				run->from = step.offset;
				run->crc = crc;
			}
			break;
		}
		case KRG_GHOST_SKIPPED:
			run = NULL;
			break;
		case KRG_GHOST_DONE:
			return 0;
		}
		if (err)
			return err;
	}
}

static void say(struct source *src, int err)
{
	const struct krg_ghost_error *e = krg_ghost_reader_error(src->reader);

	if (src->error->length)
		return;
	if (e->code)
		krg_text_add(src->error, "image: byte %llu, record %u (%s%s%s): %s", e->offset, e->record,
			     krg_ghost_type_name(e->type) ?: "no type", e->field ? ", " : "",
			     e->field ? krg_ghost_field_name(e->type, e->field) ?: "unknown field" : "",
			     e->reason);
	else
		krg_text_add(src->error, "image: cannot be read: error %d", err);
}

static int read_once(struct source *src, u32 objects)
{
	void *memory = kvzalloc(krg_ghost_memory(objects), GFP_KERNEL_ACCOUNT);
	int err = -ENOMEM;

	if (!memory)
		return -ENOMEM;
	src->at = 0;
	src->reader = krg_ghost_reader_init(memory, objects, krg_restore_crc);
	if (src->reader) {
		err = read_records(src);
		if (!err) {
			src->s->number = krg_ghost_number(src->reader);
			src->s->objects = krg_ghost_reader_totals(src->reader)->objects;
		} else if (err != -ENOSPC || objects == KRG_RESTORE_OBJECTS || src->error->length) {
			say(src, err);
			/* What krg_restore_record() answers must not look like a full table. */
			err = err == -ENOSPC ? -E2BIG : err;
		}
	}
	kvfree(memory);
	return err;
}

int krg_restore_read(struct krg_restore *s, struct krg_text *error)
{
	struct source src = { .s = s, .error = error };
	u32 objects = OBJECTS_FIRST;
	int err;

	src.buffer = kvmalloc(KRG_RESTORE_CHUNK, GFP_KERNEL_ACCOUNT);
	if (!src.buffer)
		return -ENOMEM;
	while ((err = read_once(&src, objects)) == -ENOSPC) {
		krg_restore_forget(s);
		objects = min(objects * 8, KRG_RESTORE_OBJECTS);
	}
	kvfree(src.buffer);
	return err ?: krg_restore_judge(s, error);
}
