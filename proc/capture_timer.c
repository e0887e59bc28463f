// SPDX-License-Identifier: GPL-2.0
/*
 * Timers and limits in the image: interval timers, POSIX timers, resource limits.
 */
#include <linux/hrtimer.h>
#include <linux/pid.h>
#include <linux/posix-timers.h>
#include <linux/sched/cputime.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/time.h>

#include <kerrighed/compat.h>

#include "capture.h"
#include "park.h"

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
	struct sighand_struct *sighand = krg_sighand_lock(leader);
	struct hrtimer *timer = &leader->signal->real_timer;
	bool active;
	s64 left = 0;
	u64 interval;

	if (!sighand)
		return;
	active = hrtimer_active(timer);
	if (active)
		left = ktime_to_ns(hrtimer_get_remaining(timer));
	interval = ktime_to_ns(leader->signal->it_real_incr);
	spin_unlock_irq(&sighand->siglock);
	if (active)
		capture_itimer(c, task, ITIMER_REAL, left, interval);
}

/* A timer of processor time that runs has its process's time summed up all the time. */
static void capture_cpu(struct krg_capture *c, struct task_struct *leader, u64 task, int which, int clock)
{
	struct signal_struct *signal = leader->signal;
	const struct task_cputime_atomic *sum = &signal->cputimer.cputime_atomic;
	struct sighand_struct *sighand = krg_sighand_lock(leader);
	u64 expires, interval, now;

	if (!sighand)
		return;
	expires = signal->it[clock].expires;
	interval = signal->it[clock].incr;
	now = atomic64_read(&sum->utime) + (clock == CPUCLOCK_PROF ? atomic64_read(&sum->stime) : 0);
	spin_unlock_irq(&sighand->siglock);
	if (expires)
		capture_itimer(c, task, which, expires - now, interval);
}

/* ---- POSIX timers ---- */

enum { TIMER_RUNS = 1 };

struct timer_copy {
	int id, clock, notify, signal;
	u64 value, interval, left, overrun;
	pid_t tid;
	bool runs;
};

/*
 * One that has ended, and whose signal is not taken yet, is not in the kernel's queue: it is set again, to its next
 * period, when the signal is.
 */
static u64 timer_left(struct k_itimer *timer, bool *runs)
{
	struct hrtimer *hr = &timer->it.real.timer;
	s64 left = ktime_to_ns(hrtimer_expires_remaining(hr)), interval = ktime_to_ns(timer->it_interval), late;

	*runs = hrtimer_active(hr);
	if (*runs || !interval)
		return max_t(s64, left, *runs);
	*runs = true;
	if (left > 0)
		return left;
	div64_u64_rem(-left, interval, (u64 *)&late);
	return interval - late;
}

static void timer_copy(struct timer_copy *to, struct k_itimer *timer)
{
	to->id = timer->it_id;
	to->clock = timer->it_clock;
	to->notify = timer->it_sigev_notify;
	to->signal = timer->it_sigev_notify == SIGEV_NONE ? 0 : timer->sigq->info.si_signo;
	to->value = (unsigned long)timer->sigq->info.si_value.sival_ptr;
	to->tid = timer->it_sigev_notify & SIGEV_THREAD_ID ? pid_vnr(timer->it_pid) : 0;
	to->interval = ktime_to_ns(timer->it_interval);
	to->left = timer_left(timer, &to->runs);
	to->overrun = clamp_t(s64, timer->it_overrun, 0, INT_MAX);
}

static int timer_compare(const void *a, const void *b)
{
	return ((const struct timer_copy *)a)->id - ((const struct timer_copy *)b)->id;
}

static void put_timer(struct krg_capture *c, const struct timer_copy *timer, u64 task)
{
	krg_capture_begin(c, KRG_GHOST_POSIX_TIMER);
	krg_capture_put(c, KRG_GHOST_POSIX_TIMER_TASK, task);
	krg_capture_put(c, KRG_GHOST_POSIX_TIMER_ID, timer->id);
	krg_capture_put(c, KRG_GHOST_POSIX_TIMER_CLOCK, (s64)timer->clock);
	krg_capture_put(c, KRG_GHOST_POSIX_TIMER_NOTIFY, timer->notify);
	krg_capture_put(c, KRG_GHOST_POSIX_TIMER_SIGNAL, timer->signal);
	krg_capture_put(c, KRG_GHOST_POSIX_TIMER_VALUE, timer->value);
	krg_capture_put(c, KRG_GHOST_POSIX_TIMER_TID, timer->tid);
	krg_capture_put(c, KRG_GHOST_POSIX_TIMER_LEFT, timer->left);
	krg_capture_put(c, KRG_GHOST_POSIX_TIMER_INTERVAL, timer->interval);
	krg_capture_put(c, KRG_GHOST_POSIX_TIMER_FLAGS, timer->runs ? TIMER_RUNS : 0);
	krg_capture_put(c, KRG_GHOST_POSIX_TIMER_OVERRUN, timer->overrun);
	krg_capture_end(c);
}

static unsigned int timers_copy(struct timer_copy *list, unsigned int room, struct task_struct *leader)
{
	struct sighand_struct *sighand = krg_sighand_lock(leader);
	struct k_itimer *timer;
	unsigned int n = 0;

	if (!sighand)
		return 0;
	krg_for_each_posix_timer(leader->signal, timer)
		if (n < room)
			timer_copy(&list[n++], timer);
	spin_unlock_irq(&sighand->siglock);
	return n;
}

/* Nobody makes or deletes one: the process is held. */
static void capture_posix(struct krg_capture *c, struct task_struct *leader, u64 task)
{
	struct sighand_struct *sighand = krg_sighand_lock(leader);
	struct timer_copy *list;
	struct k_itimer *timer;
	unsigned int n = 0, i = 0;

	if (!sighand)
		return;
	krg_for_each_posix_timer(leader->signal, timer)
		n++;
	spin_unlock_irq(&sighand->siglock);
	if (!n)
		return;
	list = kvcalloc(n, sizeof(*list), GFP_KERNEL_ACCOUNT);
	if (!list) {
		krg_capture_fail(c, -ENOMEM, "capture: no memory");
		return;
	}
	i = timers_copy(list, n, leader);
	sort(list, i, sizeof(*list), timer_compare, NULL);
	for (n = i, i = 0; i < n; i++)
		put_timer(c, &list[i], task);
	kvfree(list);
}

/* ---- limits ---- */

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
	capture_posix(c, leader, task);
	capture_limits(c, leader, task);
}
