// SPDX-License-Identifier: GPL-2.0
/*
 * Filters of threads are the last thing they get before they leave for user mode:
 * no call of the helper has to pass them. The kernel's own function is called as
 * the thread would call it, so programs are checked, and rights asked for, as ever.
 *
 * What all threads of a process have in common is given to all of them at once, so
 * that they have one filter and not copies: a later filter for all needs that.
 */
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/uaccess.h>
#include <uapi/linux/filter.h>

#include <kerrighed/symbol.h>

#include "proc/core/ghost.h"
#include "restore.h"

/* A list of instructions where the call looks for it, in a mapping that is there for the moment. */
struct program {
	struct {
		u16 length;
		u64 at;
	} head;
	struct sock_filter code[];
};

static int put_program(const struct krg_r_filter *filter, u64 at)
{
	struct program __user *to = (void __user *)at;
	struct program head = { .head = { .length = filter->length, .at = (unsigned long)to->code } };

	if (copy_to_user(to, &head, sizeof(head)) ||
	    copy_to_user(to->code, filter->code, filter->length * sizeof(*filter->code)))
		return -EFAULT;
	return 0;
}

static int install_filter(const struct krg_r_filter *filter, u32 flags)
{
	unsigned long size = PAGE_ALIGN(sizeof(struct program) + filter->length * sizeof(*filter->code));
	unsigned long at = vm_mmap(NULL, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0);
	int err;

	if (IS_ERR_VALUE(at))
		return (long)at;
	err = put_program(filter, at);
	if (!err)
		err = krg_seccomp(SECCOMP_SET_MODE_FILTER, filter->flags | flags, at);
	vm_munmap(at, size);
	/* The id of a thread that could not have it. */
	return err > 0 ? -ESRCH : err;
}

/* Who has no_new_privs needs no right for it; for others it is the restorer's, which BEGIN has looked at. */
static int install(struct krg_restore *s, const struct krg_r_thread *t, u32 from, u32 to, u32 flags)
{
	const struct cred *own = NULL;
	int err = 0;
	u32 i;

	if (from == to)
		return 0;
	if (!task_no_new_privs(current))
		own = override_creds(s->cred);
	for (i = from; i < to && !err; i++) {
		if (fatal_signal_pending(current))
			err = -EINTR;
		else if (t->filters[i].mode == SECCOMP_MODE_STRICT)
			err = krg_seccomp(SECCOMP_SET_MODE_STRICT, 0, 0);
		else
			err = install_filter(&t->filters[i], flags);
	}
	if (own)
		revert_creds(own);
	if (err)
		krg_restore_fail(s, err, "thread %u: its seccomp filters cannot be set: error %d", t->tid, err);
	return err;
}

/* How many of the first filters all threads of @task have. */
static u32 in_common(const struct krg_r_task *task)
{
	struct krg_r_thread *first = list_first_entry(&task->threads, struct krg_r_thread, link), *t;
	u32 n = first->nr_filters, i;

	list_for_each_entry(t, &task->threads, link) {
		n = min(n, t->nr_filters);
		for (i = 0; i < n; i++)
			if (!t->filters[i].number || t->filters[i].number != first->filters[i].number)
				n = i;
	}
	return n;
}

/* By the leader, when all threads of its process are inside, and none has a filter yet. */
int krg_rebuild_common_filters(struct krg_restore *s, struct krg_r_task *task)
{
	struct krg_r_thread *t = list_first_entry(&task->threads, struct krg_r_thread, link);

	if (list_is_singular(&task->threads))
		return 0;
	task->filters = in_common(task);
	return install(s, t, 0, task->filters, SECCOMP_FILTER_FLAG_TSYNC);
}

int krg_rebuild_filters(struct krg_r_thread *t)
{
	return install(t->session, t, t->of->filters, t->nr_filters, 0);
}
