// SPDX-License-Identifier: GPL-2.0
/*
 * Text results of operations, as text.h says.
 */
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "text.h"

#define KRG_TEXT_MAX	65536	/* bytes; a check of a large tree can say a lot */

static const char krg_text_lost[] = "more: not shown, there was no room\n";

static bool text_grow(struct krg_text *text, u32 need)
{
	u32 room = max_t(u32, text->room * 2, roundup(need, 256));
	char *at;

	if (need <= text->room)
		return true;
	if (need > KRG_TEXT_MAX)
		return false;
	at = krealloc(text->at, room, GFP_KERNEL_ACCOUNT);
	if (!at)
		return false;
	text->at = at;
	text->room = room;
	return true;
}

void krg_text_add(struct krg_text *text, const char *format, ...)
{
	va_list args;
	int length;

	if (!text || text->cut)
		return;
	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (!text_grow(text, text->length + length + 2)) {
		text->cut = true;
		return;
	}
	va_start(args, format);
	vsnprintf(text->at + text->length, length + 1, format, args);
	va_end(args);
	text->length += length;
	text->at[text->length++] = '\n';
}

void krg_text_free(struct krg_text *text)
{
	kfree(text->at);
	memset(text, 0, sizeof(*text));
}

static int text_put(struct krg_proc_text *to, const char *at, u32 length)
{
	u32 room = to->room > to->length ? to->room - to->length : 0;

	if (copy_to_user(u64_to_user_ptr(to->at) + to->length, at, min(room, length)))
		return -EFAULT;
	to->length += length;
	return 0;
}

int krg_text_give(const struct krg_text *text, struct krg_proc_text *to)
{
	int err;

	to->length = 0;
	err = text_put(to, text->at, text->length);
	if (!err && text->cut)
		err = text_put(to, krg_text_lost, sizeof(krg_text_lost) - 1);
	return err;
}
