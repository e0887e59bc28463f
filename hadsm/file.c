// SPDX-License-Identifier: GPL-2.0
/*
 * Open files: read, write, append, holes, mapping, fsync. Pages come through page.c;
 * how long a file is stands in its record (inode.c).
 */
#include <linux/delay.h>
#include <linux/falloc.h>
#include <linux/highmem.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>

#include "fs.h"

/* Appends of several nodes become visible in order; one that never comes, because its node died, is not waited for longer. */
#define APPEND_PATIENCE_MS	2000

/* Pages of one write() that may be on their way together. */
#define WRITE_AHEAD		16
#define WRITE_RIGHTS		64	/* ... that may be granted together */

/* A size that changes between asking and using it is asked for again, so often. */
#define SIZE_TRIES		8

struct hadsm_store *hadsm_file_store(const struct file *file)
{
	return HADSM_I(file_inode(file))->data;
}

/* ---- read ---- */

/* The size, without the lock of a page: that of a moment of this call. */
static int size_now(struct inode *inode, loff_t *size)
{
	int err = 0;

	if (hadsm_size_peek(inode, size))
		return 0;
	err = hadsm_refresh(inode);
	*size = i_size_read(inode);
	return err;
}

/* The locked page at @pos, where @count bytes are to be read, and the size of the file as it is while that page is locked; NULL: the end. */
static struct folio *read_page(struct file *file, loff_t pos, size_t count, loff_t *size)
{
	struct inode *inode = file_inode(file);
	struct hadsm_store *s = HADSM_I(inode)->data;
	pgoff_t index = pos >> PAGE_SHIFT, last = (pos + count - 1) >> PAGE_SHIFT;
	struct folio *folio;
	int tries, err;

	for (tries = 0;; tries++) {
		err = size_now(inode, size);
		if (err)
			return ERR_PTR(err);
		if (pos >= *size)
			return NULL;
		folio = hadsm_page_read(file, s, index, last - index);
		if (IS_ERR(folio) || tries == SIZE_TRIES)
			return folio;
		if (hadsm_size_peek(inode, size) && pos < *size)
			return folio;
		folio_unlock(folio);
		folio_put(folio);
	}
}

static ssize_t hadsm_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	ssize_t done = 0;

	while (iov_iter_count(to)) {
		size_t at = offset_in_page(iocb->ki_pos);
		struct folio *folio;
		size_t len, copied;
		loff_t size;

		folio = read_page(iocb->ki_filp, iocb->ki_pos, iov_iter_count(to), &size);
		if (IS_ERR_OR_NULL(folio))
			return done ?: PTR_ERR_OR_ZERO(folio);
		len = min_t(loff_t, min_t(size_t, PAGE_SIZE - at, iov_iter_count(to)), size - iocb->ki_pos);
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

/* ---- write ---- */

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

/* Keeps 8 to 16 pages of what is to be written behind the end of the file asked for, and the right to write more. */
static void write_want(struct hadsm_store *s, loff_t pos, size_t count, pgoff_t *wanted)
{
	pgoff_t index = pos >> PAGE_SHIFT, last = (pos + count - 1) >> PAGE_SHIFT;
	pgoff_t first = max(*wanted, index), upto = min(last, index + WRITE_RIGHTS - 1);

	if (index == last || first > last || first > index + WRITE_AHEAD / 2)
		return;
	last = min(last, index + WRITE_AHEAD - 1);
	hadsm_page_want(s, first, last, upto);
	*wanted = last + 1;
}

static ssize_t write_pieces(struct kiocb *iocb, struct iov_iter *from)
{
	struct hadsm_store *s = hadsm_file_store(iocb->ki_filp);
	/* Pages in front of it were asked for, or are of the file: others may be at them too. */
	pgoff_t wanted = DIV_ROUND_UP_ULL(i_size_read(file_inode(iocb->ki_filp)), PAGE_SIZE);
	ssize_t done = 0, ret = 0;

	while (iov_iter_count(from)) {
		size_t at = offset_in_page(iocb->ki_pos);
		size_t len = min_t(size_t, PAGE_SIZE - at, iov_iter_count(from));

		write_want(s, iocb->ki_pos, iov_iter_count(from), &wanted);
		/* The copy is made under the page lock and must not fault. */
		if (fault_in_iov_iter_readable(from, len) == len)
			ret = -EFAULT;
		else
			ret = write_piece(s, iocb->ki_pos, len, from);
		if (ret < 0)
			break;
		iocb->ki_pos += ret;
		done += ret;
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		cond_resched();
	}
	return done ?: ret;
}

/* What the record was told of a write that makes the file longer: nobody else writes there. Nothing if they are equal. */
struct write_promise {
	u64 from, end;
};

static int write_promise(struct inode *inode, u64 len, struct write_promise *promise)
{
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	u64 from;
	int err = hadsm_tx(n, krg_names_append(&n->io, inode->i_ino, len, &from));

	if (!err) {
		promise->from = from;
		promise->end = from + len;
	}
	return err;
}

/* The record knows that bytes up to @end are about to be written. */
static int write_promise_to(struct inode *inode, u64 end, struct write_promise *promise)
{
	int err = write_promise(inode, 0, promise);

	if (!err && promise->end < end)
		err = write_promise(inode, end - promise->end, promise);
	return err;
}

/* Where the write begins, and that nothing but zeros is between the end of the file and there. */
static ssize_t write_begin(struct kiocb *iocb, struct iov_iter *from, bool append, struct write_promise *promise)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	ssize_t ret;
	loff_t size;

	ret = hadsm_refresh(inode);
	if (!ret && append) {
		ret = write_promise(inode, iov_iter_count(from), promise);
		iocb->ki_pos = promise->from;
	}
	if (!ret)
		ret = generic_write_checks(iocb, from);
	if (ret <= 0)
		return ret;
	ret = file_remove_privs(iocb->ki_filp);
	size = i_size_read(inode);
	if (ret || append)
		return ret ?: 1;
	if (iocb->ki_pos > size)
		ret = hadsm_fill_gap(inode, size, iocb->ki_pos);
	if (!ret && iocb->ki_pos + (loff_t)iov_iter_count(from) > size)
		ret = write_promise_to(inode, iocb->ki_pos + iov_iter_count(from), promise);
	return ret ?: 1;
}

/* Until those who append in front of @pos have said so. */
static void append_wait(struct inode *inode, loff_t pos)
{
	unsigned long end = jiffies + msecs_to_jiffies(APPEND_PATIENCE_MS);

	while (!hadsm_refresh(inode) && i_size_read(inode) < pos && time_before(jiffies, end) &&
	       !fatal_signal_pending(current))
		usleep_range(500, 1500);
}

/* What was written may be read, and is in the record's times. */
static int write_end(struct inode *inode, loff_t pos, loff_t end, bool append)
{
	struct krg_names_attr attr = { .size = end };
	loff_t size;
	int err;

	hadsm_touch(inode);
	if (append)
		append_wait(inode, pos);
	/* It may have been made shorter meanwhile: then this write came after that. */
	err = size_now(inode, &size);
	if (err || end <= size)
		return err;
	clear_bit(HADSM_I_MTIME, &HADSM_I(inode)->flags);
	attr.mtime = hadsm_time(krg_inode_mtime(inode));
	attr.ctime = hadsm_time(krg_inode_ctime(inode));
	return hadsm_set(inode, KRG_NAMES_SET_GROW | KRG_NAMES_SET_MTIME | KRG_NAMES_SET_CTIME, &attr);
}

/*
 * Bytes up to @end were written. What was promised behind that is taken back, so that the next who appends begins there;
 * if others have got places behind it already, it becomes a hole, and they need not wait for it.
 */
static void write_unpromise(struct inode *inode, const struct write_promise *promise, u64 end)
{
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	struct krg_names_attr attr = { .size = promise->end };

	end = max(end, promise->from);
	if (end >= promise->end)
		return;
	if (hadsm_tx(n, krg_names_unpromise(&n->io, inode->i_ino, end, promise->end)) != 1)
		return;
	append_wait(inode, promise->from);
	hadsm_set(inode, KRG_NAMES_SET_GROW, &attr);
}

static ssize_t hadsm_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct file *file = iocb->ki_filp;
	struct inode *inode = file_inode(file);
	bool append = iocb->ki_flags & IOCB_APPEND;
	struct write_promise promise = {};
	ssize_t done;
	loff_t pos;
	int err = 0;

	if (!iov_iter_count(from))
		return 0;
	if (down_write_killable(&inode->i_rwsem))
		return -EINTR;
	iocb->ki_flags &= ~IOCB_APPEND;		/* the end is not where this kernel believes */
	done = write_begin(iocb, from, append, &promise);
	pos = iocb->ki_pos;
	if (done > 0)
		done = write_pieces(iocb, from);
	if (done > 0)
		err = write_end(inode, pos, iocb->ki_pos, append);
	write_unpromise(inode, &promise, done > 0 ? iocb->ki_pos : 0);
	if (append)
		iocb->ki_flags |= IOCB_APPEND;
	inode_unlock(inode);
	if (done > 0 && !err && iocb_is_dsync(iocb))
		err = hadsm_fsync(file, 0, LLONG_MAX, 0);
	return err ?: done;
}

/* ---- holes ---- */

static int hole_punch(struct inode *inode, loff_t from, loff_t to)
{
	loff_t first = round_up(from, PAGE_SIZE), last = round_down(to, PAGE_SIZE);
	int err;

	if (first > last)	/* within one page */
		return hadsm_zero_range(inode, from, to);
	err = hadsm_zero_range(inode, from, first);
	if (!err)
		err = hadsm_zero_range(inode, last, to);
	if (!err && first < last)
		err = hadsm_punch(HADSM_I(inode)->data, first >> PAGE_SHIFT, (last >> PAGE_SHIFT) - 1);
	return err;
}

/* Memory is taken when it is written; to reserve it on every node that may hold a copy is not supported. */
static int hole_grow(struct inode *inode, loff_t end)
{
	struct krg_names_attr attr = { .size = end };
	loff_t size = i_size_read(inode);
	int err;

	if (end <= size)
		return 0;
	err = inode_newsize_ok(inode, end);
	if (!err)
		err = hadsm_fill_gap(inode, size, end);
	return err ?: hadsm_set(inode, KRG_NAMES_SET_GROW, &attr);
}

static long hadsm_fallocate(struct file *file, int mode, loff_t from, loff_t len)
{
	struct inode *inode = file_inode(file);
	loff_t end = from + len, size;
	int err;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
		return -EOPNOTSUPP;
	if (down_write_killable(&inode->i_rwsem))
		return -EINTR;
	err = hadsm_refresh(inode);
	size = i_size_read(inode);
	if (!err)
		err = file_remove_privs(file);
	if (err)
		goto unlock;
	if (mode & FALLOC_FL_PUNCH_HOLE) {
		end = min(end, round_up(size, PAGE_SIZE));
		err = from < end ? hole_punch(inode, from, end) : 0;
	} else if (!(mode & FALLOC_FL_KEEP_SIZE)) {
		err = hole_grow(inode, end);
	}
	if (!err)
		hadsm_touch(inode);
unlock:
	inode_unlock(inode);
	return err;
}

/* ---- the rest ---- */

int hadsm_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	struct inode *inode = file_inode(file);
	struct hadsm_domain *records = hadsm_names(inode->i_sb)->records;
	struct hadsm_store *s = HADSM_I(inode)->data;
	int err = hadsm_flush_times(inode);

	if (!err && s && s->domain != records)
		err = hadsm_sync(s->domain);
	return err ?: hadsm_sync(records);
}

static loff_t hadsm_llseek(struct file *file, loff_t offset, int whence)
{
	struct inode *inode = file_inode(file);
	int err = whence == SEEK_SET || whence == SEEK_CUR ? 0 : hadsm_refresh(inode);

	if (err)
		return err;
	return generic_file_llseek_size(file, offset, whence, inode->i_sb->s_maxbytes, i_size_read(inode));
}

static int hadsm_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &hadsm_vm_ops;
	return 0;
}

static int hadsm_open(struct inode *inode, struct file *file)
{
	int err = hadsm_use(inode);

	if (!err)
		file->f_mapping = inode->i_mapping;	/* it may be another since the last use */
	return err;
}

static int hadsm_flush(struct file *file, fl_owner_t id)
{
	return file->f_mode & FMODE_WRITE ? hadsm_flush_times(file_inode(file)) : 0;
}

static int hadsm_release(struct inode *inode, struct file *file)
{
	if (file->f_mode & FMODE_WRITE)
		hadsm_flush_times(inode);	/* stores through a mapping that outlived close() */
	hadsm_unuse(inode);
	return 0;
}

const struct file_operations hadsm_file_ops = {
	.owner = THIS_MODULE,
	.open = hadsm_open,
	.flush = hadsm_flush,
	.release = hadsm_release,
	.llseek = hadsm_llseek,
	.read_iter = hadsm_read_iter,
	.write_iter = hadsm_write_iter,
	.splice_read = krg_splice_read,
	.splice_write = iter_file_splice_write,
	.fallocate = hadsm_fallocate,
	.mmap = hadsm_mmap,
	.lock = hadsm_lock,
	.flock = hadsm_flock,
	.fsync = hadsm_fsync,
};
