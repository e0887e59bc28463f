// SPDX-License-Identifier: GPL-2.0
/*
 * Forwarded files, the client: mappings. Pages are read from the server when they
 * are touched, and kept as they were then. Shared mappings for writing there are none.
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/string.h>

#include "forward.h"

/* Of one page cache folio; what is behind the end of the file is zeros. */
static int read_whole(struct krg_forward_client *c, void *to, size_t length, loff_t pos)
{
	size_t done = 0;
	s64 n = 1;

	while (done < length && n > 0) {
		struct krg_forward_call call = {
			.op = KRG_FORWARD_OP_READ, .length = min_t(size_t, length - done, KRG_FORWARD_CHUNK), .pos = pos + done,
			.out = to + done, .out_length = min_t(size_t, length - done, KRG_FORWARD_CHUNK),
		};

		n = krg_forward_ask(c, &call);
		if (n > 0 && n != call.got)
			n = -EIO;
		if (n > 0)
			done += n;
	}
	if (n < 0)
		return n;
	memset(to + done, 0, length - done);
	return 0;
}

static int forward_read_folio(struct file *file, struct folio *folio)
{
	struct krg_forward_client *c = folio->mapping->host->i_private;
	int err = read_whole(c, folio_address(folio), folio_size(folio), folio_pos(folio));

	if (!err)
		folio_mark_uptodate(folio);
	folio_unlock(folio);
	return err;
}

const struct address_space_operations krg_forward_aops = {
	.read_folio	= forward_read_folio,
};

int krg_forward_mmap(struct file *file, struct vm_area_struct *vma)
{
	return krg_forward_of(file)->at.kind == KRG_FORWARD_REGULAR ? generic_file_readonly_mmap(file, vma) : -ENODEV;
}
