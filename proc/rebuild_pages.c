// SPDX-License-Identifier: GPL-2.0
/*
 * What is in the pages of mappings and of shared memory objects. Data are read
 * from the image again, and compared with what they were when the image was
 * checked: one that has changed since restores nothing.
 */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "proc/core/ghost.h"
#include "restore.h"

#define CHUNK_PAGES	(KRG_RESTORE_CHUNK / PAGE_SIZE)

enum { MEMORY_ANONYMOUS = 1 };	/* MEMORY.KIND */

/* Where the bytes of a run go; NULL bytes are zeros. 0 or a negative errno. */
typedef int (*put_fn)(void *to, u64 at, u8 *bytes, u32 length);

static int put_in_mapping(void *to, u64 at, u8 *bytes, u32 length)
{
	const struct krg_r_vma *v = to;
	u32 done;

	/* A page that is right already, from before a fork, must not become this process's own by being written. */
	if (at < v->kept_end && at + length > v->kept && length > PAGE_SIZE) {
		for (done = 0; done < length; done += PAGE_SIZE) {
			int err = put_in_mapping(to, at + done, bytes + done, PAGE_SIZE);

			if (err)
				return err;
		}
		return 0;
	}
	if (krg_inherit_has(v, at, bytes))
		return 0;
	/*
	 * What the program may not write, or what its protection keys guard, is written the way a debugger does: to pages of
	 * its own, for such runs belong to private mappings only.
	 */
	if (v->prot & PROT_WRITE && !v->pkey)
		return copy_to_user((void __user *)at, bytes, length) ? -EFAULT : 0;
	return access_process_vm(current, at, bytes, length, FOLL_WRITE | FOLL_FORCE) == length ? 0 : -EFAULT;
}

/* An object that nobody has mapped yet. */
static int put_in_memory(void *to, u64 at, u8 *bytes, u32 length)
{
	struct address_space *mapping = ((struct file *)to)->f_mapping;
	u32 done;

	for (done = 0; done < length; done += PAGE_SIZE) {
		struct page *page = shmem_read_mapping_page(mapping, (at + done) >> PAGE_SHIFT);

		if (IS_ERR(page))
			return PTR_ERR(page);
		memcpy_to_page(page, 0, bytes + done, PAGE_SIZE);
		set_page_dirty(page);
		put_page(page);
	}
	return 0;
}

static int read_exactly(struct file *image, u8 *to, u32 length, loff_t *at)
{
	u32 done = 0;

	while (done < length) {
		ssize_t got = kernel_read(image, to + done, length - done, at);

		if (got <= 0)
			return got ?: -EIO;
		done += got;
	}
	return 0;
}

/* One chunk of @run into @buffer, from wherever it is. */
static int fetch_chunk(struct krg_restore *s, const struct krg_r_run *run, u8 *buffer, u64 done, u32 length, u32 *crc)
{
	struct task_struct *other;
	loff_t at = run->from + done;
	int err;

	switch (run->source) {
	case KRG_GHOST_SOURCE_HERE:
		err = read_exactly(s->image, buffer, length, &at);
		if (!err)
			*crc = krg_restore_crc(*crc, buffer, length);
		return err;
	case KRG_GHOST_SOURCE_TWIN:
		/* Joined, and it stays until the session ends. */
		other = list_first_entry(&run->twin->mm->builder->threads, struct krg_r_thread, link)->task;
		return access_process_vm(other, at, buffer, length, FOLL_FORCE) == length ? 0 : -EFAULT;
	default:
		return -EINVAL;
	}
}

static int fill_run(struct krg_restore *s, const struct krg_r_run *run, u8 *buffer, put_fn put, void *to)
{
	u64 done, whole = run->count << PAGE_SHIFT;
	u32 crc = 0;
	int err;

	if (run->source == KRG_GHOST_SOURCE_TWIN) {
		err = krg_restore_wait(s, READ_ONCE(run->twin->mm->built));
		if (err)
			return err;
	}
	for (done = 0; done < whole; done += KRG_RESTORE_CHUNK) {
		u32 length = min_t(u64, KRG_RESTORE_CHUNK, whole - done);

		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		err = 0;
		if (run->source == KRG_GHOST_SOURCE_ZERO)
			memset(buffer, 0, length);
		else
			err = fetch_chunk(s, run, buffer, done, length, &crc);
		if (!err)
			err = put(to, run->at + done, buffer, length);
		if (err) {
			krg_restore_fail(s, err, "pages at %#llx cannot be filled: error %d", run->at + done, err);
			return err;
		}
	}
	if (run->source == KRG_GHOST_SOURCE_HERE && crc != run->crc) {
		krg_restore_fail(s, -EBADMSG, "pages at %#llx: the image has changed since it was checked", run->at);
		return -EBADMSG;
	}
	return 0;
}

/* Where nothing was written there are zeros: in memory of no file they need no pages. What follows has none yet. */
static bool is_hole(const struct krg_r_run *run, bool of_file)
{
	return run->source == KRG_GHOST_SOURCE_FOLLOWS || (run->source == KRG_GHOST_SOURCE_ZERO && !of_file);
}

static int fill_runs(struct krg_restore *s, const struct krg_r_runs *runs, bool of_file, put_fn put, void *to)
{
	u8 *buffer;
	u32 i;
	int err = 0;

	if (!runs->count)
		return 0;
	buffer = kvmalloc(KRG_RESTORE_CHUNK, GFP_KERNEL_ACCOUNT);
	if (!buffer)
		return -ENOMEM;
	for (i = 0; i < runs->count && !err; i++)
		if (!is_hole(&runs->at[i], of_file))
			err = fill_run(s, &runs->at[i], buffer, put, to);
	kvfree(buffer);
	return err;
}

int krg_rebuild_pages(struct krg_restore *s, struct krg_r_mm *m)
{
	struct krg_r_vma *v;
	int err = 0;

	list_for_each_entry(v, &m->vmas, link) {
		err = fill_runs(s, &v->runs, v->file || v->memory, put_in_mapping, v);
		if (err)
			break;
	}
	return err;
}

/* Only what later address spaces have too, before there are any. */
static int put_shared(void *to, u64 at, u8 *bytes, u32 length)
{
	struct krg_r_vma *v = to;
	u32 done;
	int err = 0;

	for (done = 0; done < length && !err; done += PAGE_SIZE)
		if (xa_load(&v->shared, (at + done) >> PAGE_SHIFT))
			err = put_in_mapping(to, at + done, bytes + done, PAGE_SIZE);
	return err;
}

int krg_rebuild_shared(struct krg_restore *s, struct krg_r_vma *v)
{
	const struct krg_r_run *run;
	struct krg_r_runs own = { .count = 1 };
	unsigned long first;
	u32 i;
	int err = 0;

	for (i = 0; i < v->runs.count && !err; i++) {
		run = &v->runs.at[i];
		first = run->at >> PAGE_SHIFT;
		if (run->source != KRG_GHOST_SOURCE_HERE ||
		    !xa_find(&v->shared, &first, first + run->count - 1, XA_PRESENT))
			continue;
		own.at = &v->runs.at[i];
		err = fill_runs(s, &own, v->file, put_shared, v);
	}
	return err;
}

static struct file *make_memory(struct krg_restore *s, struct krg_r_memory *memory)
{
	u64 size = PAGE_ALIGN(memory->size);
	struct file *file;
	int err;

	lockdep_assert_held(&s->memory_lock);
	/* The name that maps shows for shared anonymous memory. */
	file = shmem_file_setup("dev/zero", size, memory->reserve ? 0 : VM_NORESERVE);
	if (IS_ERR(file)) {
		krg_restore_fail(s, PTR_ERR(file), "shared memory of %llu bytes cannot be made: error %ld", memory->size,
				 PTR_ERR(file));
		return file;
	}
	err = fill_runs(s, &memory->runs, false, put_in_memory, file);
	if (err) {
		fput(file);
		return ERR_PTR(err);
	}
	return file;
}

/* The file of a shared memory object, made by the first who needs it. The session holds it. */
struct file *krg_rebuild_memory(struct krg_restore *s, struct krg_r_memory *memory)
{
	struct file *file;

	if (READ_ONCE(memory->stand_in.file))
		return memory->stand_in.file;
	if (memory->kind != MEMORY_ANONYMOUS) {
		krg_restore_fail(s, -ENOENT, "memory object %llu was not given by the helper", memory->object.id);
		return ERR_PTR(-ENOENT);
	}
	if (mutex_lock_killable(&s->memory_lock))
		return ERR_PTR(-EINTR);
	file = memory->file;
	if (!file) {
		file = make_memory(s, memory);
		if (!IS_ERR(file))
			memory->file = file;
	}
	mutex_unlock(&s->memory_lock);
	return file;
}
