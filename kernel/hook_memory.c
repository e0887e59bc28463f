// SPDX-License-Identifier: GPL-2.0
/*
 * The redirection of madvise() and mremap(), for one watcher at a time, which
 * decides what they mean for memory that is elsewhere still. MMU notifiers would
 * tell of MADV_DONTNEED too, but not of MADV_FREE, which such a mapping refuses
 * before, nor of a mapping that grows; and none can be registered for the child of a
 * fork before the child runs.
 */
#include <linux/mutex.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/srcu.h>

#include <kerrighed/memory_watch.h>

#include "hook.h"

DEFINE_STATIC_SRCU(watch_srcu);
static DEFINE_MUTEX(watch_mutex);	/* watcher, as long as it is changed */
static const struct krg_memory_watch __rcu *watcher;

KRG_HOOK_ORIGINAL(madvise, int, (struct mm_struct *mm, unsigned long start, size_t length, int advice))
KRG_HOOK_ORIGINAL(mremap, long, (const struct pt_regs *regs))

static struct krg_hook madvise_hook, mremap_hook;

static int madvise_replacement(struct mm_struct *mm, unsigned long start, size_t length, int advice)
{
	const struct krg_memory_watch *watch;
	int err = 0, inside;

	inside = srcu_read_lock(&watch_srcu);
	watch = srcu_dereference(watcher, &watch_srcu);
	if (watch)
		err = watch->advise(mm, start, length, advice);
	srcu_read_unlock(&watch_srcu, inside);
	if (!err)
		err = krg_hook_original(madvise)(mm, start, length, advice);
	krg_hook_leave(&madvise_hook);
	return err;
}

static long mremap_replacement(const struct pt_regs *regs)
{
	const struct krg_memory_watch *watch;
	long result = 0;
	int inside;

	inside = srcu_read_lock(&watch_srcu);
	watch = srcu_dereference(watcher, &watch_srcu);
	if (watch)
		result = watch->remap(regs->di, regs->si, regs->dx, regs->r10);
	srcu_read_unlock(&watch_srcu, inside);
	if (!result)
		result = krg_hook_original(mremap)(regs);
	krg_hook_leave(&mremap_hook);
	return result;
}

static struct krg_hook madvise_hook =
	KRG_HOOK(madvise, "do_madvise", madvise_replacement, "a program gives up memory that has not followed it yet");
static struct krg_hook mremap_hook =
	KRG_HOOK(mremap, "__x64_sys_mremap", mremap_replacement, "memory that has not followed a program yet grows");

static struct krg_hook *const watch_table[] = { &madvise_hook, &mremap_hook, NULL };

int krg_memory_watch(const struct krg_memory_watch *watch)
{
	int err;

	mutex_lock(&watch_mutex);
	err = rcu_access_pointer(watcher) ? -EBUSY : krg_hook_on_all(watch_table);
	if (!err)
		rcu_assign_pointer(watcher, watch);
	mutex_unlock(&watch_mutex);
	return err;
}
EXPORT_SYMBOL_GPL(krg_memory_watch);

void krg_memory_unwatch(void)
{
	mutex_lock(&watch_mutex);
	krg_hook_off_all(watch_table);
	RCU_INIT_POINTER(watcher, NULL);
	synchronize_srcu(&watch_srcu);
	mutex_unlock(&watch_mutex);
}
EXPORT_SYMBOL_GPL(krg_memory_unwatch);
