// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that follows, the source's side: the address space of a process that has
 * left is kept as it was when it was frozen, and its pages are given to the node
 * that asks for them, until that node has all it wants, or is no member any more.
 * Nobody runs in it: threads have ended, or are shadows.
 */
#include <linux/atomic.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <kerrighed/compat.h>
#include <kerrighed/membership.h>
#include <kerrighed/rpc.h>

#include "ahead.h"
#include "follow.h"
#include "member.h"
#include "vma.h"

#define FOLLOW_LEAST	32	/* pages of a mapping that is worth it */

/* One address space. outs_lock: node, listed. */
struct follow_space {
	struct list_head node;
	refcount_t refs;
	struct krg_follow_out *out;
	struct mm_struct *mm;	/* its pages: a reference of mm_users */
	u64 id;
	bool listed;
	struct work_struct work;
};

/* One move. outs_lock: spaces, moved, lost. */
struct krg_follow_out {
	refcount_t refs;	/* the mover, and each space */
	u64 move, incarnation;	/* of the target */
	u16 to;
	bool moved, lost;
	struct list_head spaces;
	atomic_t left;
	u64 pages;
	atomic64_t given;
	wait_queue_head_t wait;
	struct list_head node;
};

/* Protects the lists. Nothing is locked inside of it. */
static DEFINE_MUTEX(outs_lock);
static LIST_HEAD(outs);
static unsigned int outs_count;

static struct workqueue_struct *outs_wq;

/* ---- life ---- */

static void out_put(struct krg_follow_out *out)
{
	if (!refcount_dec_and_test(&out->refs))
		return;
	mutex_lock(&outs_lock);
	list_del(&out->node);
	outs_count--;
	mutex_unlock(&outs_lock);
	kfree(out);
	krg_member_changed();
}

/* What is mapped there belongs to nobody any more: a shadow has it, or nobody. */
static void unmap_all(struct mm_struct *mm)
{
	kthread_use_mm(mm);
	vm_munmap(0, TASK_SIZE_MAX);
	kthread_unuse_mm(mm);
}

static void space_work(struct work_struct *work)
{
	struct follow_space *space = container_of(work, struct follow_space, work);
	struct krg_follow_out *out = space->out;

	if (READ_ONCE(out->moved))
		unmap_all(space->mm);
	mmput(space->mm);
	kfree(space);
	if (atomic_dec_and_test(&out->left))
		wake_up_all(&out->wait);
	out_put(out);
	/* The last thing: who unloads the module waits for this queue. */
	module_put(THIS_MODULE);
}

/* The memory itself goes in a worker: that takes long, and may need a task that has no memory of its own. */
static void space_put(struct follow_space *space)
{
	if (refcount_dec_and_test(&space->refs))
		queue_work(outs_wq, &space->work);
}

static void space_unlist(struct follow_space *space)
{
	lockdep_assert_held(&outs_lock);
	if (!space->listed)
		return;
	space->listed = false;
	list_del_init(&space->node);
	space_put(space);
}

static void out_unlist(struct krg_follow_out *out)
{
	struct follow_space *space, *next;

	lockdep_assert_held(&outs_lock);
	list_for_each_entry_safe(space, next, &out->spaces, node)
		space_unlist(space);
}

static u64 incarnation_of(u16 node)
{
	struct krg_view *view = krg_view_get();
	const struct krg_mbr_member *member = view ? krg_view_find(view, node) : NULL;
	u64 incarnation = member ? member->incarnation : 0;

	krg_view_put(view);
	return incarnation;
}

struct krg_follow_out *krg_follow_out_new(u64 move, u16 to)
{
	struct krg_follow_out *out = kzalloc(sizeof(*out), GFP_KERNEL_ACCOUNT);

	if (!out)
		return NULL;
	refcount_set(&out->refs, 1);
	out->move = move;
	out->to = to;
	INIT_LIST_HEAD(&out->spaces);
	init_waitqueue_head(&out->wait);
	mutex_lock(&outs_lock);
	/* After it is in the list, a view without the target finds it. */
	list_add_tail(&out->node, &outs);
	outs_count++;
	mutex_unlock(&outs_lock);
	out->incarnation = incarnation_of(to);
	if (out->incarnation)
		return out;
	out_put(out);
	return NULL;
}

int krg_follow_out_add(struct krg_follow_out *out, struct mm_struct *mm, u64 space_id, u64 pages)
{
	struct follow_space *space;
	int err = 0;

	out->pages += pages;
	mutex_lock(&outs_lock);
	list_for_each_entry(space, &out->spaces, node)
		if (space->id == space_id)
			goto unlock;
	space = kzalloc(sizeof(*space), GFP_KERNEL_ACCOUNT);
	err = space ? 0 : -ENOMEM;
	if (err)
		goto unlock;
	refcount_set(&space->refs, 1);
	refcount_inc(&out->refs);
	atomic_inc(&out->left);
	__module_get(THIS_MODULE);
	mmget(mm);
	space->mm = mm;
	space->out = out;
	space->id = space_id;
	space->listed = true;
	INIT_WORK(&space->work, space_work);
	list_add_tail(&space->node, &out->spaces);
unlock:
	mutex_unlock(&outs_lock);
	return err;
}

void krg_follow_out_moved(struct krg_follow_out *out)
{
	mutex_lock(&outs_lock);
	WRITE_ONCE(out->moved, true);
	mutex_unlock(&outs_lock);
}

int krg_follow_out_wait(struct krg_follow_out *out)
{
	if (wait_event_interruptible(out->wait, !atomic_read(&out->left)))
		return -EINTR;
	return READ_ONCE(out->lost) ? -EHOSTDOWN : 0;
}

void krg_follow_out_stats(const struct krg_follow_out *out, struct krg_follow_stats *to)
{
	to->pages = out->pages;
	to->given = atomic64_read(&out->given);
	to->spaces = atomic_read(&out->left);
}

void krg_follow_out_end(struct krg_follow_out *out)
{
	if (!out)
		return;
	mutex_lock(&outs_lock);
	if (!out->moved)
		out_unlist(out);
	mutex_unlock(&outs_lock);
	out_put(out);
}

bool krg_follow_out_keeps(const struct mm_struct *mm)
{
	struct krg_follow_out *out;
	struct follow_space *space;
	bool keeps = false;

	mutex_lock(&outs_lock);
	list_for_each_entry(out, &outs, node)
		list_for_each_entry(space, &out->spaces, node)
			keeps = keeps || space->mm == mm;
	mutex_unlock(&outs_lock);
	return keeps;
}

unsigned int krg_follow_outs(void)
{
	return READ_ONCE(outs_count);
}

void krg_follow_out_view(const struct krg_view *view)
{
	struct krg_follow_out *out;

	mutex_lock(&outs_lock);
	list_for_each_entry(out, &outs, node) {
		const struct krg_mbr_member *member = view ? krg_view_find(view, out->to) : NULL;

		if (member && (!out->incarnation || member->incarnation == out->incarnation))
			continue;
		WRITE_ONCE(out->lost, true);
		out_unlist(out);
	}
	mutex_unlock(&outs_lock);
}

/* ---- what may follow ---- */

/*
 * Not what a program or the kernel looks at in a way that only ordinary memory allows: stacks that grow (also for arguments
 * and environment, which /proc shows), locked memory, what has keys or is merged, what may not be written.
 */
bool krg_follow_out_may(const struct krg_mapping *v, const struct mm_struct *mm)
{
	static const vm_flags_t never = VM_LOCKED | VM_LOCKONFAULT | VM_GROWSDOWN | VM_MERGEABLE | VM_SYNC | VM_PKEY_BIT0 |
					VM_PKEY_BIT1 | VM_PKEY_BIT2 | VM_PKEY_BIT3;

	if ((v->kind != KRG_VMA_PRIVATE && v->kind != KRG_VMA_HEAP) || v->backing != KRG_BACKING_NONE || v->file)
		return false;
	if (v->flags & never || !(v->flags & VM_WRITE) || v->end - v->start < FOLLOW_LEAST * PAGE_SIZE)
		return false;
	return mm->env_end <= v->start || mm->arg_start >= v->end;
}

/* ---- giving ---- */

static struct follow_space *space_find(u16 from, u64 incarnation, u64 move, u64 id)
{
	struct follow_space *space, *found = NULL;
	struct krg_follow_out *out;

	mutex_lock(&outs_lock);
	list_for_each_entry(out, &outs, node) {
		if (out->move != move || out->to != from || out->incarnation != incarnation)
			continue;
		list_for_each_entry(space, &out->spaces, node)
			if (space->id == id && refcount_inc_not_zero(&space->refs))
				found = space;
		break;
	}
	mutex_unlock(&outs_lock);
	return found;
}

/* Those of @want that are not all zeros, ascending, each with a reference. */
static int collect(struct mm_struct *mm, u64 first, u32 want, struct page **pages, u32 *have)
{
	unsigned int bit;
	int n = 0;

	mmap_read_lock(mm);
	for (bit = 0; bit < KRG_FOLLOW_PAGES; bit++) {
		struct page *page;
		long got;

		if (!(want & BIT(bit)))
			continue;
		got = krg_pages_of(mm, (first + bit) << PAGE_SHIFT, 1, FOLL_FORCE, &page);
		if (got != 1) {
			while (n)
				put_page(pages[--n]);
			n = got < 0 ? got : -EFAULT;
			break;
		}
		if (memchr_inv(page_address(page), 0, PAGE_SIZE)) {
			*have |= BIT(bit);
			pages[n++] = page;
		} else {
			put_page(page);
		}
	}
	mmap_read_unlock(mm);
	return n;
}

static void give(struct krg_rpc_req *req, struct follow_space *space, const struct krg_follow_ask *ask)
{
	u64 first = le64_to_cpu(ask->first);
	u32 want = le32_to_cpu(ask->want), have = 0;
	struct page *pages[KRG_FOLLOW_PAGES];
	struct kvec vec[KRG_FOLLOW_PAGES + 1];
	struct krg_follow_answer answer = {};
	int i, n;

	if (!want || want >> KRG_FOLLOW_PAGES || first > (TASK_SIZE_MAX >> PAGE_SHIFT) - KRG_FOLLOW_PAGES) {
		krg_rpc_reply(req, -EINVAL, NULL, 0);
		return;
	}
	n = collect(space->mm, first, want, pages, &have);
	if (n < 0) {
		krg_rpc_reply(req, n, NULL, 0);
		return;
	}
	answer.have = cpu_to_le32(have);
	vec[0] = (struct kvec){ .iov_base = &answer, .iov_len = sizeof(answer) };
	for (i = 0; i < n; i++)
		vec[i + 1] = krg_rpc_page(pages[i], 0, PAGE_SIZE);
	krg_rpc_reply(req, 0, vec, n + 1);
	for (i = 0; i < n; i++)
		put_page(pages[i]);
	atomic64_add(n, &space->out->given);
}

static void handle_follow(struct krg_rpc_req *req)
{
	const struct krg_follow_ask *ask = krg_rpc_req_data(req);
	u32 what = le32_to_cpu(ask->what);
	struct follow_space *space;

	if (what == KRG_FOLLOW_AHEAD || what == KRG_FOLLOW_AHEAD_DROP) {
		krg_ahead_take(req, ask);
		return;
	}
	space = space_find(krg_rpc_req_node(req), krg_rpc_req_incarnation(req), le64_to_cpu(ask->move),
			   le64_to_cpu(ask->space));

	switch (what) {
	case KRG_FOLLOW_GIVE:
		if (space)
			give(req, space, ask);
		else
			krg_rpc_reply(req, -ENOENT, NULL, 0);
		break;
	case KRG_FOLLOW_RELEASE:
		if (space) {
			mutex_lock(&outs_lock);
			space_unlist(space);
			mutex_unlock(&outs_lock);
		}
		krg_rpc_reply(req, 0, NULL, 0);
		break;
	default:
		krg_rpc_reply(req, -EINVAL, NULL, 0);
	}
	if (space)
		space_put(space);
}

static const struct krg_rpc_type follow_types[] = {
	{
		.type = KRG_MSG_FOLLOW, .class = KRG_CLASS_MSG, .flags = KRG_RPC_QUEUED, .name = "follow",
		.handle = handle_follow,
		.min_len = sizeof(struct krg_follow_ask), .max_len = sizeof(struct krg_follow_ask),
	}, {
		.type = KRG_MSG_FOLLOW_BULK, .class = KRG_CLASS_BULK, .flags = KRG_RPC_QUEUED, .name = "follow_bulk",
		.handle = handle_follow,
		.min_len = sizeof(struct krg_follow_ask),
		.max_len = sizeof(struct krg_follow_ask) + KRG_FOLLOW_PAGES * PAGE_SIZE,
	},
};

int krg_follow_out_init(void)
{
	int err;

	outs_wq = alloc_workqueue("krg_follow_out", WQ_UNBOUND, 0);
	if (!outs_wq)
		return -ENOMEM;
	err = krg_rpc_register(&follow_types[0]);
	if (err)
		goto destroy;
	err = krg_rpc_register(&follow_types[1]);
	if (!err)
		return 0;
	krg_rpc_unregister(&follow_types[0]);
destroy:
	destroy_workqueue(outs_wq);
	return err;
}

void krg_follow_out_exit(void)
{
	krg_rpc_unregister(&follow_types[1]);
	krg_rpc_unregister(&follow_types[0]);
	krg_follow_out_view(NULL);
	destroy_workqueue(outs_wq);
}
