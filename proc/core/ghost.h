/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ghost format's only face to C: what checkpoint files, migration streams
 * and remote fork are written and read with. No I/O, no clock, no memory of its
 * own, no state outside of what the caller lends. The bytes are specified in
 * Documentation/ghost-format.md; records and fields in schema.h.
 *
 * A writer takes one record at a time: begin, its fields in ascending order,
 * end, which gives the bytes as a list of pieces: data are never copied. What
 * the reader would refuse, the writer refuses.
 *
 * A reader says what it needs (step KRG_GHOST_NEED: so many bytes, there) and
 * then what it has: a record, its data, the end. Data are read by the caller to
 * where they belong, in pieces of any size, and shown to the reader. A record
 * is given out after its CRC and all its fields were checked; data are to be
 * believed only when the last piece was taken without an error.
 *
 * Functions that return int: 0, or a negative errno; the error says the rest:
 *	-EBADMSG   not what the format allows, or damaged
 *	-EPROTONOSUPPORT   made by a later version, and this one must not guess
 *	-ENOSPC    more objects than the memory lent has room for
 *	-EINVAL    the caller went against the rules above (writer: or a value)
 * After an error every further call fails with the same one.
 */
#ifndef KRG_PROC_CORE_GHOST_H
#define KRG_PROC_CORE_GHOST_H

#include <kerrighed/ctypes.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KRG_GHOST_MAJOR		1
#define KRG_GHOST_MINOR		0
#define KRG_GHOST_PROLOGUE	48		/* bytes */
#define KRG_GHOST_HEAD		32		/* bytes of a record's head */
#define KRG_GHOST_FIELDS_MAX	65536		/* bytes of a record's fields */
#define KRG_GHOST_DATA_MAX	1048576		/* bytes of a record's data */
#define KRG_GHOST_PIECES_MAX	260		/* of data, in one record */
#define KRG_GHOST_OBJECTS_MAX	16777216

#define KRG_ANY		0xffffffffffffffffULL
#define KRG_W32		0xffffffffULL
#define KRG_S64_MAX	0x7fffffffffffffffLL
#define KRG_S64_MIN	(-KRG_S64_MAX - 1)
#define KRG_S32_MAX	0x7fffffffLL
#define KRG_S32_MIN	(-KRG_S32_MAX - 1)
#define KRG_USER_END	0x00fffffffffff000ULL	/* of any x86-64 paging depth */

/* Feature bits of the prologue; a reader refuses those that it does not know. */
enum krg_ghost_feature {
	KRG_GHOST_INCREMENT = 1,	/* page runs may stand in the parent image */
	KRG_GHOST_ROUNDS = 2,		/* page runs may come again (pre-copy); the last one holds */
};

enum krg_ghost_class {
	KRG_GHOST_NONE, KRG_GHOST_SESSION_CLASS, KRG_GHOST_GROUP_CLASS, KRG_GHOST_TIME_CLASS, KRG_GHOST_CREDS_CLASS,
	KRG_GHOST_SIGHAND_CLASS, KRG_GHOST_FS_CLASS, KRG_GHOST_TASK_CLASS, KRG_GHOST_THREAD_CLASS, KRG_GHOST_ZOMBIE_CLASS,
	KRG_GHOST_MM_CLASS, KRG_GHOST_MEMORY_CLASS, KRG_GHOST_VMA_CLASS, KRG_GHOST_FILES_CLASS, KRG_GHOST_FILE_CLASS,
	KRG_GHOST_PIPE_CLASS, KRG_GHOST_TTY_CLASS, KRG_GHOST_SEM_CLASS, KRG_GHOST_QUEUE_CLASS, KRG_GHOST_CLASSES,
};

/* KRG_GHOST_TASK = 20 and so on. */
#define R(NAME, type, cls, rules, meaning) KRG_GHOST_##NAME = type,
#define F(NAME, FIELD, id, kind, rules, least, most, unit, meaning)
enum krg_ghost_type {
#include "proc/core/schema.h"
};
#undef R
#undef F

/* KRG_GHOST_TASK_PID = 1 and so on. */
#define R(NAME, type, cls, rules, meaning)
#define F(NAME, FIELD, id, kind, rules, least, most, unit, meaning) KRG_GHOST_##NAME##_##FIELD = id,
enum krg_ghost_field {
#include "proc/core/schema.h"
};
#undef R
#undef F

/* Values of PAGES_SOURCE and PAGES_CODEC. */
enum { KRG_GHOST_SOURCE_HERE, KRG_GHOST_SOURCE_ZERO, KRG_GHOST_SOURCE_PARENT, KRG_GHOST_SOURCE_TWIN, KRG_GHOST_SOURCE_FOLLOWS };
enum { KRG_GHOST_CODEC_PLAIN, KRG_GHOST_CODEC_LZ4, KRG_GHOST_CODEC_ZSTD };

struct krg_ghost_error {
	s32 code;		/* 0, or a negative errno */
	u32 record;		/* number of the record in the image, from 0 */
	u64 offset;		/* of the byte in the image: where the record, or the field, begins */
	u16 type;		/* of the record, 0: before one was read */
	u16 field;		/* 0: none */
	u32 pad;
	const char *reason;	/* never null when code is not 0 */
};

struct krg_ghost_totals {
	u64 records, objects, tasks, threads, pages, data;
};

/*
 * CRC-32C of @length bytes at @at, going on from @crc, the value of what was before; 0 at first. Null stands for the portable
 * krg_ghost_crc32c().
 */
typedef u32 (*krg_ghost_crc)(u32 crc, const void *at, size_t length);
u32 krg_ghost_crc32c(u32 crc, const void *at, size_t length);

struct krg_ghost_piece {
	const void *at;
	size_t length;
};

/* ---- names ---- */

/** The name of a record type, or null. */
const char *krg_ghost_type_name(u16 type);
/** The name of a field of a record type, or null. */
const char *krg_ghost_field_name(u16 type, u16 field);

/* ---- writing ---- */

struct krg_ghost_writer;

/** Bytes of memory, aligned to 8, that a writer or a reader of images of at most @objects objects needs. */
size_t krg_ghost_memory(u32 objects);
/**
 * A writer in @memory. @number: of this image, random, not 0: records of two images do not fit into each other.
 * Null: @objects is 0 or above KRG_GHOST_OBJECTS_MAX, @number is 0, or @features are unknown.
 */
struct krg_ghost_writer *krg_ghost_writer_init(void *memory, u32 objects, krg_ghost_crc crc, u64 number, u64 features);
/** The first KRG_GHOST_PROLOGUE bytes of the image. */
const u8 *krg_ghost_prologue(const struct krg_ghost_writer *w);
/** Begins a record; *@object is the id of the object it defines, or 0; may be null. */
int krg_ghost_begin(struct krg_ghost_writer *w, u16 type, u64 *object);
/** A field of kind U, B or REF; S: cast. */
int krg_ghost_put(struct krg_ghost_writer *w, u16 field, u64 value);
/** A field of kind TEXT, BYTES, WORDS (u64, little endian) or REFS (likewise). */
int krg_ghost_put_bytes(struct krg_ghost_writer *w, u16 field, const void *at, u32 length);
/**
 * Ends the record. @data: its data, @count pieces that stay where they are. @out: KRG_GHOST_PIECES_MAX + 2 pieces; how many
 * are used is *@used. Written one after the other they are the record. They hold until the next call.
 */
int krg_ghost_end(struct krg_ghost_writer *w, const struct krg_ghost_piece *data, u32 count, struct krg_ghost_piece *out,
		  u32 *used);
/** The end record with all totals: @out and @used as above. Nothing may be written after it. */
int krg_ghost_close(struct krg_ghost_writer *w, struct krg_ghost_piece *out, u32 *used);
const struct krg_ghost_error *krg_ghost_writer_error(const struct krg_ghost_writer *w);
const struct krg_ghost_totals *krg_ghost_writer_totals(const struct krg_ghost_writer *w);

/* ---- reading ---- */

struct krg_ghost_reader;

enum krg_ghost_step_kind {
	KRG_GHOST_NEED = 1,	/* put @length bytes of the image at @at, then call next */
	KRG_GHOST_RECORD,	/* a record was checked: read its fields, then call next */
	KRG_GHOST_DATA,		/* its @length bytes of data follow: take or pass them, then call next */
	KRG_GHOST_SKIPPED,	/* a record of an unknown type that may be skipped was */
	KRG_GHOST_DONE,		/* the end record was reached and its totals are right; bytes behind it are not the image's */
};

struct krg_ghost_step {
	u32 kind;		/* enum krg_ghost_step_kind */
	u32 length;
	u8 *at;
	u64 offset;		/* in the image, where these bytes, this record or these data begin */
};

struct krg_ghost_record {
	u16 type;
	u8 version, flags;
	u32 data;		/* bytes */
	u64 object;		/* the id it defines, or 0 */
	u64 owner;		/* the object it belongs to, or 0 */
};

struct krg_ghost_value {
	u16 field;
	u16 kind;		/* enum krg_ghost_kind */
	u32 length;		/* of bytes */
	u64 number;		/* S: cast */
	const u8 *bytes;
};

enum krg_ghost_kind {
	KRG_GHOST_U = 1, KRG_GHOST_S, KRG_GHOST_B, KRG_GHOST_REF, KRG_GHOST_TEXT, KRG_GHOST_BYTES, KRG_GHOST_WORDS, KRG_GHOST_REFS,
};

/** A reader in @memory (krg_ghost_memory()). Null: @objects is 0 or above KRG_GHOST_OBJECTS_MAX. */
struct krg_ghost_reader *krg_ghost_reader_init(void *memory, u32 objects, krg_ghost_crc crc);
int krg_ghost_next(struct krg_ghost_reader *r, struct krg_ghost_step *step);
/** Shows the reader the next @length bytes of data. The last ones are checked against the CRC. */
int krg_ghost_take(struct krg_ghost_reader *r, const void *at, u32 length);
/** Passes all data that are left: they are not read and not checked. */
int krg_ghost_pass(struct krg_ghost_reader *r);
/** The image ended where more was needed: makes that an error, and says which. */
int krg_ghost_truncated(struct krg_ghost_reader *r);
/** The record that the last step gave out. */
const struct krg_ghost_record *krg_ghost_current(const struct krg_ghost_reader *r);
/** Its field: a number (0 if absent), ... */
u64 krg_ghost_get(const struct krg_ghost_reader *r, u16 field);
/** ... or bytes, null if absent; they hold until the next call of next. Words may not be aligned. */
const u8 *krg_ghost_get_bytes(const struct krg_ghost_reader *r, u16 field, u32 *length);
/** Its fields that are there one after the other, *@cursor from 0. False: no more. Unknown ones, which are skipped, are not. */
int krg_ghost_each(const struct krg_ghost_reader *r, u32 *cursor, struct krg_ghost_value *value);
u64 krg_ghost_number(const struct krg_ghost_reader *r);	/* of the image */
u64 krg_ghost_features(const struct krg_ghost_reader *r);
const struct krg_ghost_error *krg_ghost_reader_error(const struct krg_ghost_reader *r);
const struct krg_ghost_totals *krg_ghost_reader_totals(const struct krg_ghost_reader *r);

#ifdef __cplusplus
}
#endif

#endif /* KRG_PROC_CORE_GHOST_H */
