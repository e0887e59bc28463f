// SPDX-License-Identifier: GPL-2.0
/*
 * Operations on an open file of the hadsm file system. All files have one size:
 * names with sizes of their own come with the name space in containers. What is
 * not supported is refused: O_APPEND and truncation need a size, splice waits for
 * pages that can be lent.
 */
#include <linux/highmem.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>

#include "domain.h"

struct hadsm_store *hadsm_file_store(const struct file *file)
{
	return file_inode(file)->i_private;
}

static ssize_t hadsm_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct hadsm_store *s = hadsm_file_store(iocb->ki_filp);
	ssize_t done = 0;

	while (iov_iter_count(to) && iocb->ki_pos < HADSM_SIZE) {
		size_t at = offset_in_page(iocb->ki_pos);
		size_t len = min_t(size_t, PAGE_SIZE - at, iov_iter_count(to));
		struct folio *folio;
		size_t copied;

		if (iocb->ki_flags & (IOCB_NOWAIT | IOCB_DIRECT))
			return done ?: -EOPNOTSUPP;
		folio = hadsm_page_get(s, iocb->ki_pos >> PAGE_SHIFT, KRG_DSM_READ);
		if (IS_ERR(folio))
			return done ?: PTR_ERR(folio);
		/*
		 * The copy may fault, on this very page too, so it is made without the lock. A page
		 * that is taken away meanwhile never changes again: it is what it was during this call.
		 */
		folio_unlock(folio);
		copied = copy_folio_to_iter(folio, at, len, to);
		folio_put(folio);
		iocb->ki_pos += copied;
		done += copied;
		if (copied < len)
			return done ?: -EFAULT;
		if (fatal_signal_pending(current))
			return done ?: -EINTR;
		cond_resched();
	}
	return done;
}

/* One piece within a page: bytes written, 0: the buffer is not in memory, -errno. */
static ssize_t write_piece(struct hadsm_store *s, loff_t pos, size_t len, struct iov_iter *from)
{
	struct folio *folio = hadsm_page_get(s, pos >> PAGE_SHIFT, KRG_DSM_WRITE);
	size_t copied;

	if (IS_ERR(folio))
		return PTR_ERR(folio);
	copied = copy_page_from_iter_atomic(&folio->page, offset_in_page(pos), len, from);
	flush_dcache_folio(folio);
	folio_unlock(folio);
	folio_put(folio);
	return copied;
}

static ssize_t hadsm_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct hadsm_store *s = hadsm_file_store(iocb->ki_filp);
	ssize_t done = 0, ret;

	if (iocb->ki_flags & (IOCB_NOWAIT | IOCB_DIRECT | IOCB_APPEND))
		return -EOPNOTSUPP;
	ret = generic_write_checks(iocb, from);
	if (ret > 0 && iocb->ki_pos >= HADSM_SIZE)
		return -EFBIG;
	if (ret > 0)
		iov_iter_truncate(from, HADSM_SIZE - iocb->ki_pos);
	while (ret > 0 && iov_iter_count(from)) {
		size_t at = offset_in_page(iocb->ki_pos);
		size_t len = min_t(size_t, PAGE_SIZE - at, iov_iter_count(from));

		/* The copy is made under the page lock and must not fault. */
		if (fault_in_iov_iter_readable(from, len) == len) {
			ret = -EFAULT;
			break;
		}
		ret = write_piece(s, iocb->ki_pos, len, from);
		if (ret < 0)
			break;
		iocb->ki_pos += ret;
		done += ret;
		ret = fatal_signal_pending(current) ? -EINTR : 1;
		cond_resched();
	}
	if (done && iocb_is_dsync(iocb)) {
		ret = hadsm_sync(s->domain);
		if (ret)
			return ret;
	}
	return done ?: ret;
}

static int hadsm_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	return hadsm_sync(hadsm_file_store(file)->domain);
}

static int hadsm_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &hadsm_vm_ops;
	return 0;
}

static int hadsm_open(struct inode *inode, struct file *file)
{
	struct hadsm_store *s = inode->i_private;

	if (READ_ONCE(s->domain->dead))
		return -EIO;
	if (file->f_flags & (O_APPEND | O_DIRECT))
		return -EOPNOTSUPP;
	return 0;
}

const struct file_operations hadsm_file_ops = {
	.owner = THIS_MODULE,
	.open = hadsm_open,
	.llseek = generic_file_llseek,
	.read_iter = hadsm_read_iter,
	.write_iter = hadsm_write_iter,
	.mmap = hadsm_mmap,
	.fsync = hadsm_fsync,
};
