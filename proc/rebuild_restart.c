// SPDX-License-Identifier: GPL-2.0
/*
 * System calls that go on with the time that is left. The image has the thread
 * at restart_syscall(2), which calls a function that the interrupted call left
 * behind: one of the kernel's own, static, and so not exported.
 *
 * They are never called from here: only their address is stored, where the kernel
 * itself stores it. It is found by registering a probe that is never armed, and believed
 * when the kernel names that address by the function's name. The kernel takes their
 * addresses itself, so an indirect call of them is allowed on kernels with IBT. A
 * function that is not found makes its calls end with EINTR, as a signal would.
 */
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/ktime.h>
#include <linux/restart_block.h>
#include <linux/sched.h>
#include <linux/time64.h>

#include <kerrighed/compat.h>

#include "restore.h"

enum { RESTART_NANOSLEEP = 1, RESTART_FUTEX, RESTART_POLL };	/* RESTART.KIND */

#define RESTART_HAS_END		1	/* RESTART.FLAGS */

#define FUTEX_PRIVATE		128	/* RESTART.FUTEX_FLAGS */
#define FUTEX_REALTIME		256

typedef long (*restart_fn)(struct restart_block *);

static DEFINE_MUTEX(functions_lock);	/* the table below */
static struct {
	const char *name;
	restart_fn at;
	bool looked;
} functions[] = {
	[RESTART_NANOSLEEP] = { "hrtimer_nanosleep_restart" },
	[RESTART_FUTEX] = { "futex_wait_restart" },
	[RESTART_POLL] = { "do_restart_poll" },
};

static restart_fn look_up(const char *name)
{
	struct kprobe probe = { .symbol_name = name, .flags = KPROBE_FLAG_DISABLED };
	char found[KSYM_SYMBOL_LEN], wanted[KSYM_SYMBOL_LEN];
	unsigned long at;

	if (register_kprobe(&probe))
		return NULL;
	at = (unsigned long)probe.addr;
	unregister_kprobe(&probe);
	/* On kernels with IBT the probe is behind the ENDBR instruction. */
	snprintf(wanted, sizeof(wanted), "%s+0x4/", name);
	sprint_symbol(found, at);
	if (!strncmp(found, wanted, strlen(wanted)))
		at -= 4;
	snprintf(wanted, sizeof(wanted), "%s+0x0/", name);
	sprint_symbol(found, at);
	return strncmp(found, wanted, strlen(wanted)) ? NULL : (restart_fn)at;
}

static restart_fn function(u32 kind)
{
	restart_fn at;

	if (!kind || kind >= ARRAY_SIZE(functions))
		return NULL;
	mutex_lock(&functions_lock);
	if (!functions[kind].looked) {
		functions[kind].at = look_up(functions[kind].name);
		functions[kind].looked = true;
		if (!functions[kind].at)
			pr_warn("%s not found: such calls end with EINTR after a restart\n", functions[kind].name);
	}
	at = functions[kind].at;
	mutex_unlock(&functions_lock);
	return at;
}

/* In @clock; an end that is too far away stays the latest possible one. */
static u64 end_of(u32 clock, u64 left)
{
	ktime_t now;

	switch (clock) {
	case CLOCK_REALTIME:
		now = ktime_get_real();
		break;
	case CLOCK_BOOTTIME:
		now = ktime_get_boottime();
		break;
	case CLOCK_TAI:
		now = ktime_get_clocktai();
		break;
	default:
		now = ktime_get();
	}
	return ktime_add_safe(now, left);
}

/* All of it was checked as the calls check it: pointers when they are used, counts there too, clocks here. */
static bool fill(struct restart_block *block, const struct krg_r_restart *r)
{
	struct timespec64 end;

	switch (r->kind) {
	case RESTART_NANOSLEEP:
		if (r->clock != CLOCK_REALTIME && r->clock != CLOCK_MONOTONIC && r->clock != CLOCK_BOOTTIME &&
		    r->clock != CLOCK_TAI)
			return false;
		block->nanosleep.clockid = r->clock;
		block->nanosleep.type = r->address ? TT_NATIVE : TT_NONE;
		block->nanosleep.rmtp = (struct __kernel_timespec __user *)r->address;
		block->nanosleep.expires = end_of(r->clock, r->left);
		return true;
	case RESTART_FUTEX:
		block->futex.uaddr = (u32 __user *)r->address;
		block->futex.val = r->value;
		block->futex.bitset = r->bitset;
		block->futex.flags = krg_futex_restart_flags(!(r->futex_flags & FUTEX_PRIVATE), r->futex_flags & FUTEX_REALTIME,
							     r->flags & RESTART_HAS_END);
		block->futex.time = end_of(r->futex_flags & FUTEX_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC, r->left);
		block->futex.uaddr2 = NULL;
		return true;
	case RESTART_POLL:
		end = ktime_to_timespec64(end_of(CLOCK_MONOTONIC, r->left));
		block->poll.ufds = (struct pollfd __user *)r->address;
		block->poll.nfds = r->value;
		block->poll.has_timeout = r->flags & RESTART_HAS_END;
		block->poll.tv_sec = end.tv_sec;
		block->poll.tv_nsec = end.tv_nsec;
		return true;
	}
	return false;
}

/* Without a record, or a function, nothing is stored: for a new thread restart_syscall(2) gives EINTR. */
void krg_rebuild_restart(struct krg_r_thread *t)
{
	restart_fn fn = function(t->restart.kind);

	if (fn && fill(&current->restart_block, &t->restart))
		current->restart_block.fn = fn;
}
