// SPDX-License-Identifier: GPL-2.0
/*
 * The processor's part of a thread: general registers with interrupted system
 * calls dealt with, components of the extended state, what is left of a sleep.
 */
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/pid.h>
#include <linux/regset.h>
#include <linux/restart_block.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <asm/fpu/xcr.h>
#include <asm/fpu/types.h>
#include <asm/ptrace.h>
#include <asm/unistd.h>
#include <uapi/linux/elf.h>
#include <uapi/linux/futex.h>

#include <kerrighed/compat.h>

#include "capture.h"
#include "park.h"

#define KRG_XSAVE_LEGACY	512	/* x87 and SSE, then the header */
#define KRG_XSAVE_HEADER	64
#define KRG_XSAVE_MXCSR		24	/* in the legacy area: mxcsr and its mask */
#define KRG_MXCSR_SIZE		8
#define KRG_XSAVE_XMM		160	/* in the legacy area: the xmm registers */
#define KRG_XMM_SIZE		256

/* ---- interrupted system calls ---- */

/* The handler that a signal would be given next, or NULL: none is due that has one. Under the sighand's lock. */
static struct k_sigaction *next_handler(struct task_struct *task, struct sighand_struct *sighand)
{
	sigset_t due;
	int sig;

	sigorsets(&due, &task->pending.signal, &task->signal->shared_pending.signal);
	sigandnsets(&due, &due, &task->blocked);
	for (sig = 1; sig <= _NSIG; sig++) {
		struct k_sigaction *action = &sighand->action[sig - 1];

		if (sigismember(&due, sig) && action->sa.sa_handler != SIG_DFL && action->sa.sa_handler != SIG_IGN)
			return action;
	}
	return NULL;
}

/* As the kernel does when it leaves for user mode. @handled: a handler will run first; @again: with SA_RESTART. */
static void resolve_call(struct user_regs_struct *regs, bool handled, bool again, bool *restarts)
{
	bool repeat = false;

	if ((long)regs->orig_ax == -1)
		return;
	switch ((long)regs->ax) {
	case -ERESTARTNOINTR:
		repeat = true;
		break;
	case -ERESTARTSYS:
		repeat = !handled || again;
		break;
	case -ERESTARTNOHAND:
		repeat = !handled;
		break;
	case -ERESTART_RESTARTBLOCK:
		*restarts = !handled;
		break;
	default:
		regs->orig_ax = -1;
		return;
	}
	if (repeat)
		regs->ax = regs->orig_ax;
	else if (*restarts)
		regs->ax = __NR_restart_syscall;
	else
		regs->ax = -EINTR;
	if (repeat || *restarts)
		regs->ip -= 2;
	regs->orig_ax = -1;
}

void krg_interrupted_resolve(struct krg_thread *thread, struct krg_interrupted *to)
{
	struct task_struct *task = thread->task;
	struct sighand_struct *sighand;
	struct k_sigaction *action;
	bool handled, again;

	memset(to, 0, sizeof(*to));
	to->regs = thread->registers.general;
	sighand = krg_sighand_lock(task);
	if (!sighand)
		return;		/* killed: the capture fails when it asks whether all are still there */
	action = next_handler(task, sighand);
	handled = action;
	again = action && action->sa.sa_flags & SA_RESTART;
	to->blocked = task->blocked.sig[0];
	if (test_tsk_restore_sigmask(task)) {
		/* The call that put the mask there puts it there again, unless its end is what a handler sees. */
		to->saved = task->saved_sigmask.sig[0];
		to->saved_in_force = handled;
		if (!handled)
			to->blocked = to->saved;
	}
	spin_unlock_irq(&sighand->siglock);
	resolve_call(&to->regs, handled, again, &to->restarts);
}

/* ---- what is left of a sleep ---- */

enum { RESTART_NANOSLEEP = 1, RESTART_FUTEX, RESTART_POLL };
enum { RESTART_ENDS = 1, RESTART_COMPAT = 2 };

static u64 left_of(s64 end)
{
	return max_t(s64, end - ktime_get_ns(), 0);
}

static void put_nanosleep(struct krg_capture *c, const struct restart_block *block)
{
	ktime_t now = block->nanosleep.clockid == CLOCK_REALTIME ? ktime_get_real() :
		      block->nanosleep.clockid == CLOCK_BOOTTIME ? ktime_get_boottime() :
		      block->nanosleep.clockid == CLOCK_TAI ? ktime_get_clocktai() : ktime_get();

	krg_capture_put(c, KRG_GHOST_RESTART_KIND, RESTART_NANOSLEEP);
	krg_capture_put(c, KRG_GHOST_RESTART_CLOCK, block->nanosleep.clockid & 15);
	krg_capture_put(c, KRG_GHOST_RESTART_LEFT, max_t(s64, (s64)block->nanosleep.expires - ktime_to_ns(now), 0));
	krg_capture_put(c, KRG_GHOST_RESTART_FLAGS, RESTART_ENDS | (block->nanosleep.type == TT_COMPAT ? RESTART_COMPAT : 0));
	if (block->nanosleep.type != TT_NONE)
		krg_capture_put(c, KRG_GHOST_RESTART_ADDRESS, (unsigned long)block->nanosleep.rmtp);
}

static void put_futex(struct krg_capture *c, const struct restart_block *block)
{
	bool realtime = krg_futex_realtime(block->futex.flags);

	krg_capture_put(c, KRG_GHOST_RESTART_KIND, RESTART_FUTEX);
	krg_capture_put(c, KRG_GHOST_RESTART_CLOCK, realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC);
	krg_capture_put(c, KRG_GHOST_RESTART_LEFT,
			realtime ? max_t(s64, (s64)block->futex.time - ktime_get_real_ns(), 0) : left_of(block->futex.time));
	krg_capture_put(c, KRG_GHOST_RESTART_FLAGS, RESTART_ENDS);
	krg_capture_put(c, KRG_GHOST_RESTART_ADDRESS, (unsigned long)block->futex.uaddr);
	krg_capture_put(c, KRG_GHOST_RESTART_VALUE, block->futex.val);
	krg_capture_put(c, KRG_GHOST_RESTART_BITSET, block->futex.bitset);
	krg_capture_put(c, KRG_GHOST_RESTART_FUTEX_FLAGS,
			(krg_futex_shared(block->futex.flags) ? 0 : FUTEX_PRIVATE_FLAG) |
			(realtime ? FUTEX_CLOCK_REALTIME : 0));
}

static void put_poll(struct krg_capture *c, const struct restart_block *block)
{
	s64 end = block->poll.tv_sec * NSEC_PER_SEC + block->poll.tv_nsec;

	krg_capture_put(c, KRG_GHOST_RESTART_KIND, RESTART_POLL);
	krg_capture_put(c, KRG_GHOST_RESTART_CLOCK, CLOCK_MONOTONIC);
	krg_capture_put(c, KRG_GHOST_RESTART_LEFT, block->poll.has_timeout ? left_of(end) : 0);
	krg_capture_put(c, KRG_GHOST_RESTART_FLAGS, block->poll.has_timeout ? RESTART_ENDS : 0);
	krg_capture_put(c, KRG_GHOST_RESTART_ADDRESS, (unsigned long)block->poll.ufds);
	krg_capture_put(c, KRG_GHOST_RESTART_VALUE, block->poll.nfds);
}

/* The functions are not exported; they have names. */
static void capture_restart(struct krg_capture *c, struct task_struct *task, u64 id)
{
	static const struct {
		const char *name;
		void (*put)(struct krg_capture *c, const struct restart_block *block);
	} kinds[] = {
		{ "hrtimer_nanosleep_restart", put_nanosleep },
		{ "futex_wait_restart", put_futex },
		{ "do_restart_poll", put_poll },
	};
	char name[KSYM_NAME_LEN];
	unsigned int i;

	snprintf(name, sizeof(name), "%ps", (void *)task->restart_block.fn);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(name, kinds[i].name))
			continue;
		krg_capture_begin(c, KRG_GHOST_RESTART);
		krg_capture_put(c, KRG_GHOST_RESTART_THREAD, id);
		kinds[i].put(c, &task->restart_block);
		krg_capture_end(c);
		return;
	}
	krg_capture_fail(c, -EOPNOTSUPP, "system call: thread %d is in one that restarts by %s", task_pid_vnr(task), name);
}

/* ---- registers ---- */

static void capture_general(struct krg_capture *c, const struct user_regs_struct *regs, u64 id)
{
	/* In the order of the format's fields, from R15 on. */
	const u64 value[] = {
		regs->r15, regs->r14, regs->r13, regs->r12, regs->bp, regs->bx, regs->r11, regs->r10, regs->r9, regs->r8,
		regs->ax, regs->cx, regs->dx, regs->si, regs->di, regs->orig_ax, regs->ip, regs->cs, regs->flags & 0x3fffff,
		regs->sp, regs->ss, regs->fs_base, regs->gs_base, regs->ds, regs->es, regs->fs, regs->gs,
	};
	unsigned int i;

	BUILD_BUG_ON(KRG_GHOST_REGISTERS_GS - KRG_GHOST_REGISTERS_R15 + 1 != ARRAY_SIZE(value));
	krg_capture_begin(c, KRG_GHOST_REGISTERS);
	krg_capture_put(c, KRG_GHOST_REGISTERS_THREAD, id);
	for (i = 0; i < ARRAY_SIZE(value); i++)
		krg_capture_put(c, KRG_GHOST_REGISTERS_R15 + i, value[i]);
	krg_capture_end(c);
}

static void capture_component(struct krg_capture *c, u64 id, u32 component, const void *at, u32 length)
{
	krg_capture_begin(c, KRG_GHOST_XSTATE);
	krg_capture_put(c, KRG_GHOST_XSTATE_THREAD, id);
	krg_capture_put(c, KRG_GHOST_XSTATE_COMPONENT, component);
	krg_capture_put_bytes(c, KRG_GHOST_XSTATE_BYTES, at, length);
	krg_capture_end(c);
}

u64 krg_xfeatures(const struct krg_thread *thread)
{
	u64 present = 0;

	if (thread->registers.xstate_size >= KRG_XSAVE_LEGACY + KRG_XSAVE_HEADER)
		memcpy(&present, thread->registers.xstate + KRG_XSAVE_LEGACY, sizeof(present));
	return present | XFEATURE_MASK_FPSSE;
}

/* The area of fxsave: mxcsr and its mask, which are SSE's, stand in the middle of the x87 part. */
static void capture_legacy(struct krg_capture *c, const u8 *area, u64 id)
{
	u8 x87[KRG_XSAVE_XMM - KRG_MXCSR_SIZE], sse[KRG_MXCSR_SIZE + KRG_XMM_SIZE];

	memcpy(x87, area, KRG_XSAVE_MXCSR);
	memcpy(x87 + KRG_XSAVE_MXCSR, area + KRG_XSAVE_MXCSR + KRG_MXCSR_SIZE, sizeof(x87) - KRG_XSAVE_MXCSR);
	memcpy(sse, area + KRG_XSAVE_MXCSR, KRG_MXCSR_SIZE);
	memcpy(sse + KRG_MXCSR_SIZE, area + KRG_XSAVE_XMM, KRG_XMM_SIZE);
	capture_component(c, id, XFEATURE_FP, x87, sizeof(x87));
	capture_component(c, id, XFEATURE_SSE, sse, sizeof(sse));
}

/*
 * The standard format has the components where the processor says, and a header whose
 * first word says which are not as they are at the beginning. Those are left out: the
 * restorer begins with a fresh state. The legacy area is always there.
 */
static void capture_extended(struct krg_capture *c, const struct krg_thread *thread, u64 id)
{
	u64 present = 0;
	unsigned int i;

	if (thread->registers.xstate_size < KRG_XSAVE_LEGACY) {
		krg_capture_fail(c, -EIO, "registers: no extended state of thread %d", task_pid_vnr(thread->task));
		return;
	}
	capture_legacy(c, thread->registers.xstate, id);
	if (thread->registers.xstate_size >= KRG_XSAVE_LEGACY + KRG_XSAVE_HEADER)
		memcpy(&present, thread->registers.xstate + KRG_XSAVE_LEGACY, sizeof(present));
	for (i = XFEATURE_YMM; i < 63; i++) {
		u32 size, offset, ignored;

		if (!(present >> i & 1))
			continue;
		cpuid_count(13, i, &size, &offset, &ignored, &ignored);
		if (!size || offset + size > thread->registers.xstate_size) {
			krg_capture_fail(c, -EIO, "registers: component %u is not where the processor says", i);
			return;
		}
		capture_component(c, id, i, thread->registers.xstate + offset, size);
	}
}

void krg_capture_registers(struct krg_capture *c, struct krg_thread *thread, u64 id)
{
	struct krg_interrupted call;

	krg_interrupted_resolve(thread, &call);
	capture_general(c, &call.regs, id);
	capture_extended(c, thread, id);
	if (call.restarts)
		capture_restart(c, thread->task, id);
}
