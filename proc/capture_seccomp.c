// SPDX-License-Identifier: GPL-2.0
/*
 * The filters of threads in the image, oldest first, as they were given: programs
 * of the classic kind, which the kernel keeps for debuggers.
 */
#include <linux/filter.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/refcount.h>
#include <linux/sched/signal.h>
#include <linux/seccomp.h>
#include <linux/wait.h>

#include "capture.h"
#include "check_private.h"
#include "park.h"

#if defined(CONFIG_SECCOMP_FILTER) && defined(SECCOMP_ARCH_NATIVE)

/* As kernel/seccomp.c has it, which keeps it to itself; what is found is compared with the number of filters. */
struct filter {
	refcount_t refs, users;
	bool log, wait_killable;
	DECLARE_BITMAP(native, SECCOMP_ARCH_NATIVE_NR);
#ifdef SECCOMP_ARCH_COMPAT
	DECLARE_BITMAP(compat, SECCOMP_ARCH_COMPAT_NR);
#endif
	struct filter *before;
	struct bpf_prog *program;
	void *listener;
};

/* What is left of a filter when the lock is gone. */
struct found {
	const void *filter;
	u32 flags, length;
};

static struct filter *newest(struct task_struct *task)
{
	return (void *)task->seccomp.filter;
}

/* How many; what makes one of them impossible to save goes to *@refused. */
static int count_filters(struct task_struct *task, const char **refused)
{
	struct sighand_struct *sighand = krg_sighand_lock(task);
	struct filter *filter;
	int n = 0;

	if (!sighand)
		return 0;
	for (filter = newest(task); filter && n <= S16_MAX; filter = filter->before, n++) {
		if (filter->listener)
			*refused = "a filter that asks another process";
		else if (!filter->program->orig_prog)
			*refused = "a filter whose program was not kept";
	}
	if (n != atomic_read(&task->seccomp.filter_count))
		*refused = "filters that this kernel counts otherwise";
	spin_unlock_irq(&sighand->siglock);
	return n;
}

/* The filter that @after came after, its program into @to. */
static bool find_filter(struct task_struct *task, int after, struct found *found, void *to, size_t room)
{
	struct sighand_struct *sighand = krg_sighand_lock(task);
	struct sock_fprog_kern *program = NULL;
	struct filter *filter;

	if (!sighand)
		return false;
	for (filter = newest(task); filter && after; filter = filter->before)
		after--;
	if (filter)
		program = filter->program->orig_prog;
	if (program && program->len * sizeof(struct sock_filter) <= room) {
		found->filter = filter;
		found->length = program->len * sizeof(struct sock_filter);
		found->flags = (filter->log ? SECCOMP_FILTER_FLAG_LOG : 0) |
			       (filter->wait_killable ? SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV : 0);
		memcpy(to, program->filter, found->length);
	} else {
		program = NULL;
	}
	spin_unlock_irq(&sighand->siglock);
	return program;
}

/* One number for one filter, so that threads that have it in common are seen to. */
static u64 number_of(struct krg_capture *c, const void *filter)
{
	u64 number = krg_capture_id(c, filter);

	if (!number) {
		number = ++c->filters;
		krg_capture_set_id(c, filter, number);
	}
	return number;
}

static void put_filters(struct krg_capture *c, struct task_struct *task, u64 thread)
{
	const char *unused = NULL;
	int count = count_filters(task, &unused), place;
	struct found found;

	for (place = 0; place < count && !c->error; place++) {
		if (!find_filter(task, count - 1 - place, &found, c->buffer, KRG_CAPTURE_BUFFER)) {
			krg_capture_fail(c, -EIO, "seccomp: a filter of thread %d cannot be read", task_pid_vnr(task));
			return;
		}
		krg_capture_begin(c, KRG_GHOST_SECCOMP);
		krg_capture_put(c, KRG_GHOST_SECCOMP_THREAD, thread);
		krg_capture_put(c, KRG_GHOST_SECCOMP_PLACE, place);
		krg_capture_put(c, KRG_GHOST_SECCOMP_MODE, SECCOMP_MODE_FILTER);
		krg_capture_put(c, KRG_GHOST_SECCOMP_FLAGS, found.flags);
		krg_capture_put_bytes(c, KRG_GHOST_SECCOMP_PROGRAM, c->buffer, found.length);
		krg_capture_put(c, KRG_GHOST_SECCOMP_NUMBER, number_of(c, found.filter));
		krg_capture_end(c);
	}
}

#else

static int count_filters(struct task_struct *task, const char **refused)
{
	*refused = "filters, which this kernel does not show";
	return 0;
}

static void put_filters(struct krg_capture *c, struct task_struct *task, u64 thread)
{
}

#endif

void krg_capture_seccomp(struct krg_capture *c, struct task_struct *task, u64 thread)
{
	if (task->seccomp.mode == SECCOMP_MODE_STRICT) {
		krg_capture_begin(c, KRG_GHOST_SECCOMP);
		krg_capture_put(c, KRG_GHOST_SECCOMP_THREAD, thread);
		krg_capture_put(c, KRG_GHOST_SECCOMP_MODE, SECCOMP_MODE_STRICT);
		krg_capture_end(c);
	} else if (task->seccomp.mode == SECCOMP_MODE_FILTER) {
		put_filters(c, task, thread);
	}
}

void krg_check_seccomp(struct krg_check *c, struct task_struct *task, pid_t tid)
{
	const char *refused = NULL;

	if (task->seccomp.mode == SECCOMP_MODE_FILTER)
		count_filters(task, &refused);
	else if (task->seccomp.mode > SECCOMP_MODE_FILTER)
		refused = "ended by its filter";
	if (refused)
		krg_check_refuse(c, "seccomp: thread %d has %s", tid, refused);
}
