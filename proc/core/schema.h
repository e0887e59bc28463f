/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every record of a ghost image and every field of it, said once: the numbers
 * of ghost.h, the table that writer and reader judge by, the names krgimg
 * prints and the tables of Documentation/ghost-format.md are all made of this.
 * No code, no include guard: whoever includes it defines R and F first.
 *
 *	R(NAME, type, class of the object it defines, rules, meaning)
 *	F(NAME, FIELD, id, kind, rules, least, most, unit, meaning)
 *
 * Kinds: U unsigned, S signed, B bits (most: the known ones), TEXT (without
 * NUL) and BYTES and WORDS of 64 bits (least and most: bytes), REF an object
 * and REFS a list of them (most: allowed classes, made with KRG_C). Field
 * rules: Q required, O the object the record belongs to, K the key by which
 * records of one owner ascend. Record rules: ONCE for an owner, DATA may
 * follow the fields, NEED its owner is not complete without one.
 * A field that is absent is 0, empty or no object. Numbers are never reused.
 */
#include "proc/core/schema_image.h"
#include "proc/core/schema_task.h"
#include "proc/core/schema_memory.h"
#include "proc/core/schema_file.h"
#include "proc/core/schema_ipc.h"
