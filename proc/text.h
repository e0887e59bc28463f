/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Text results of operations: lines "name: what and why" that grow in kernel
 * memory and are then given to the caller's buffer.
 */
#ifndef KRG_PROC_TEXT_H
#define KRG_PROC_TEXT_H

#include <linux/compiler_attributes.h>
#include <linux/types.h>
#include <uapi/linux/krg_proc.h>

/* All zeros is an empty text. Not to be used by two threads at a time. */
struct krg_text {
	char *at;
	u32 length, room;
	bool cut;	/* no memory, or too long: lines are missing */
};

/**
 * krg_text_add() - adds one line
 * @text: may be NULL: the line is dropped
 * @format: of the line, without the line feed
 *
 * Never fails: what there is no memory for is replaced by a line that says so.
 */
__printf(2, 3) void krg_text_add(struct krg_text *text, const char *format, ...);
/** krg_text_free() - gives the memory back; @text is empty then */
void krg_text_free(struct krg_text *text);
/** krg_text_give() - copies @text to where @to says and sets @to->length; 0 or -EFAULT */
int krg_text_give(const struct krg_text *text, struct krg_proc_text *to);

#endif
