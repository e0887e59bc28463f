// SPDX-License-Identifier: GPL-2.0
/*
 * How many pages this node keeps for all its domains, and how many it may: the
 * quota, a parameter of the module, since a node keeps copies for others' mounts
 * too. Who asks for one more page waits here until there is room, and is refused
 * after a while; other nodes learn how much room is left; who makes room is evict.c.
 *
 *	quota		a first write waits; other nodes' evictions are refused
 *	+ 1/4		reads and the records of the name space wait: with these something
 *			can be freed, and a page that is only read costs nothing to drop
 *	- 1/16		eviction begins
 *	- 1/8		it ends; others are told not to choose this node to make room
 *	- 3/16		others may again
 */
#include <linux/moduleparam.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>

#include "domain.h"

#define ROOM_RECORDS_MIN	256	/* pages over the quota, however small that is */
#define ROOM_RETRY		(HZ / 50 ?: 1)

static atomic_long_t room_used;
static int room_level;			/* enum krg_dsm_room of this node */
static DECLARE_WAIT_QUEUE_HEAD(room_wait);
static atomic_long_t room_waits, room_refusals;

/* ---- the quota ---- */

static unsigned int room_quota_mib;
static unsigned int room_wait_ms = 2000;

static int room_quota_set(const char *text, const struct kernel_param *kp)
{
	unsigned int mib;
	int err = kstrtouint(text, 0, &mib);

	if (err)
		return err;
	if (((u64)mib << (20 - PAGE_SHIFT)) > totalram_pages())
		return -ERANGE;
	WRITE_ONCE(room_quota_mib, mib);
	hadsm_room_changed();
	return 0;
}

static const struct kernel_param_ops room_quota_ops = {
	.set = room_quota_set,
	.get = param_get_uint,
};

module_param_cb(quota_mib, &room_quota_ops, &room_quota_mib, 0644);
MODULE_PARM_DESC(quota_mib, "MiB of this node's memory for pages of all domains; 0: half of it");
module_param_named(quota_wait_ms, room_wait_ms, uint, 0644);
MODULE_PARM_DESC(quota_wait_ms, "milliseconds a fault or write waits for room before it fails");

unsigned long hadsm_room_quota(void)
{
	unsigned long mib = READ_ONCE(room_quota_mib);

	return mib ? mib << (20 - PAGE_SHIFT) : totalram_pages() / 2;
}

unsigned long hadsm_room_used(void)
{
	long used = atomic_long_read(&room_used);

	return used > 0 ? used : 0;
}

long hadsm_room_excess(void)
{
	unsigned long quota = hadsm_room_quota();

	return (long)hadsm_room_used() - (long)(quota - quota / 8);
}

bool hadsm_room_short(void)
{
	unsigned long quota = hadsm_room_quota();

	return hadsm_room_used() > quota - quota / 16;
}

static bool room_enough(bool reserve)
{
	unsigned long limit = hadsm_room_quota();

	if (reserve)
		limit += limit / 4 + ROOM_RECORDS_MIN;
	return hadsm_room_used() < limit;
}

/* ---- counting ---- */

/* Less room is said at once, more only when there is a piece of it: a level that flutters costs messages to all. */
static int room_judge(int before)
{
	unsigned long used = hadsm_room_used(), quota = hadsm_room_quota(), low = quota - quota / 8;

	if (used >= quota || (before == KRG_DSM_FULL && used > quota - quota / 32))
		return KRG_DSM_FULL;
	if (used >= low || (before != KRG_DSM_ROOM && used > low - quota / 16))
		return KRG_DSM_TIGHT;
	return KRG_DSM_ROOM;
}

bool hadsm_room_plenty(void)
{
	return READ_ONCE(room_level) == KRG_DSM_ROOM;
}

/* All domains are told: each at its next step, the others by the worker. */
void hadsm_room_changed(void)
{
	int before = READ_ONCE(room_level), now = room_judge(before);

	if (hadsm_room_short())
		hadsm_evict_soon();
	if (wq_has_sleeper(&room_wait) && room_enough(true))
		wake_up_all(&room_wait);
	if (now != before && cmpxchg(&room_level, before, now) == before)
		hadsm_evict_tell();
}

bool hadsm_room_count(struct hadsm_domain *d, struct krg_dsm_event *ev)
{
	u64 pages = d->engine ? krg_dsm_pages(d->engine) : 0;
	int level;

	lockdep_assert_held(&d->lock);
	if (pages != d->pages) {
		atomic_long_add((long)(pages - d->pages), &room_used);
		d->pages = pages;
		hadsm_room_changed();
	}
	level = READ_ONCE(room_level);
	if (!d->engine || level == d->room)
		return false;
	d->room = level;
	*ev = (struct krg_dsm_event){ .type = KRG_DSM_EV_ROOM, .mode = level };
	return true;
}

/* ---- waiting ---- */

unsigned long hadsm_room_deadline(void)
{
	return jiffies + msecs_to_jiffies(READ_ONCE(room_wait_ms)) + 1;
}

int hadsm_room_wait(bool reserve, unsigned long deadline)
{
	long left = (long)(deadline - jiffies);

	if (room_enough(reserve))
		return 0;
	atomic_long_inc(&room_waits);
	hadsm_evict_soon();
	left = wait_event_killable_timeout(room_wait, room_enough(reserve), max(left, 1L));
	if (left < 0)
		return -EINTR;
	if (left)
		return 0;
	atomic_long_inc(&room_refusals);
	return -ENOSPC;
}

int hadsm_room_retry(unsigned long deadline)
{
	if (time_after(jiffies, deadline)) {
		atomic_long_inc(&room_refusals);
		return -ENOSPC;
	}
	return schedule_timeout_killable(ROOM_RETRY) && fatal_signal_pending(current) ? -EINTR : 0;
}

void hadsm_room_show(struct seq_file *m)
{
	static const char * const levels[] = { "enough", "tight", "full" };

	seq_printf(m, "quota_pages=%lu used_pages=%lu room=%s waits=%ld refusals=%ld",
		   hadsm_room_quota(), hadsm_room_used(), levels[READ_ONCE(room_level)],
		   atomic_long_read(&room_waits), atomic_long_read(&room_refusals));
}
