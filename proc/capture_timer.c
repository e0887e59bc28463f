// SPDX-License-Identifier: GPL-2.0
/*
 * Timers and limits in the image: interval timers, POSIX timers, resource limits.
 */
#include <linux/hrtimer.h>
#include <linux/posix-timers.h>
#include <linux/sched/cputime.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/time.h>

#include <kerrighed/compat.h>

#include "capture.h"

static void capture_itimer(struct krg_capture *c, u64 task, int which, s64 left, u64 interval)
{
	krg_capture_begin(c, KRG_GHOST_ITIMER);
	krg_capture_put(c, KRG_GHOST_ITIMER_TASK, task);
	krg_capture_put(c, KRG_GHOST_ITIMER_WHICH, which);
	/* One that is due is about to be: 0 would be one that does not run. */
	krg_capture_put(c, KRG_GHOST_ITIMER_LEFT, max_t(s64, left, 1));
	krg_capture_put(c, KRG_GHOST_ITIMER_INTERVAL, min_t(u64, interval, S64_MAX));
	krg_capture_end(c);
}

static void capture_real(struct krg_capture *c, struct task_struct *leader, u64 task)
{
	struct hrtimer *timer = &leader->signal->real_timer;
	bool active;
	s64 left = 0;
	u64 interval;

	spin_lock_irq(&leader->sighand->siglock);
	active = hrtimer_active(timer);
	if (active)
		left = ktime_to_ns(hrtimer_get_remaining(timer));
	interval = ktime_to_ns(leader->signal->it_real_incr);
	spin_unlock_irq(&leader->sighand->siglock);
	if (active)
		capture_itimer(c, task, ITIMER_REAL, left, interval);
}

/* A timer of processor time that runs has its process's time summed up all the time. */
static void capture_cpu(struct krg_capture *c, struct task_struct *leader, u64 task, int which, int clock)
{
	struct signal_struct *signal = leader->signal;
	const struct task_cputime_atomic *sum = &signal->cputimer.cputime_atomic;
	u64 expires, interval, now;

	spin_lock_irq(&leader->sighand->siglock);
	expires = signal->it[clock].expires;
	interval = signal->it[clock].incr;
	now = atomic64_read(&sum->utime) + (clock == CPUCLOCK_PROF ? atomic64_read(&sum->stime) : 0);
	spin_unlock_irq(&leader->sighand->siglock);
	if (expires)
		capture_itimer(c, task, which, expires - now, interval);
}

static void capture_limits(struct krg_capture *c, struct task_struct *leader, u64 task)
{
	struct rlimit limit[RLIM_NLIMITS];
	int i;

	task_lock(leader);
	memcpy(limit, leader->signal->rlim, sizeof(limit));
	task_unlock(leader);
	for (i = 0; i < RLIM_NLIMITS; i++) {
		krg_capture_begin(c, KRG_GHOST_RLIMIT);
		krg_capture_put(c, KRG_GHOST_RLIMIT_TASK, task);
		krg_capture_put(c, KRG_GHOST_RLIMIT_RESOURCE, i);
		krg_capture_put(c, KRG_GHOST_RLIMIT_SOFT, limit[i].rlim_cur);
		krg_capture_put(c, KRG_GHOST_RLIMIT_HARD, limit[i].rlim_max);
		krg_capture_end(c);
	}
}

void krg_capture_timers(struct krg_capture *c, struct task_struct *leader, u64 task)
{
	capture_real(c, leader, task);
	capture_cpu(c, leader, task, ITIMER_VIRTUAL, CPUCLOCK_VIRT);
	capture_cpu(c, leader, task, ITIMER_PROF, CPUCLOCK_PROF);
	capture_limits(c, leader, task);
}
