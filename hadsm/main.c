// SPDX-License-Identifier: GPL-2.0
/*
 * hadsm.ko: memory shared by the nodes of a cluster. What starts, in which order,
 * its parameters, and /proc/kerrighed/containers.
 */
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/workqueue.h>

#include <kerrighed/proc.h>

#include "fs.h"

struct workqueue_struct *hadsm_wq, *hadsm_lock_wq;

struct krg_dsm_params hadsm_params = {
	.hold_us = 1000,
	.retry_us = 2000,
	.attempts = 100,
	.pin_us = 2000000,
	.commit_us = 100000,
	.dirty_max = 1024,
	.parked_max = 4096,
};

module_param_named(hold_us, hadsm_params.hold_us, uint, 0444);
MODULE_PARM_DESC(hold_us, "microseconds a page stays after a write was allowed");
module_param_named(commit_us, hadsm_params.commit_us, uint, 0444);
MODULE_PARM_DESC(commit_us, "microseconds after which written pages are copied to other nodes (replicas > 1); 0: only on demand");
module_param_named(dirty_max, hadsm_params.dirty_max, uint, 0444);
MODULE_PARM_DESC(dirty_max, "written pages that start a copy; 0: no bound");

static struct proc_dir_entry *hadsm_proc;

/* ---- /proc/kerrighed/containers ---- */

static void proc_show_domain(struct seq_file *m, struct hadsm_domain *d)
{
	struct krg_dsm_stats st;

	mutex_lock(&d->lock);
	if (d->engine) {
		krg_dsm_get_stats(d->engine, &st);
		seq_printf(m, "%016llx name=%s replicas=%u requests=%llu errors=%llu objects=%llu dirty=%llu entries=%llu degraded=%llu lost=%llu",
			   d->id, *d->name ? d->name : "-", d->replicas, st.requests, st.errors,
			   st.objects, st.dirty, st.entries, st.degraded, st.lost);
		seq_printf(m, " messages_in=%llu messages_out=%llu pages_out=%llu bytes_out=%llu duplicates=%llu stale=%llu parked=%llu bad=%llu",
			   st.messages_in, st.messages_out, st.pages_out, st.bytes_out,
			   st.duplicates, st.stale, st.parked, st.bad);
		seq_printf(m, " forwards=%llu invalidations=%llu hand_overs=%llu batches=%llu batch_objects=%llu batches_direct=%llu batches_dropped=%llu",
			   st.forwards, st.invalidations, st.hand_overs, st.batches,
			   st.batch_objects, st.batches_direct, st.batches_dropped);
		seq_printf(m, " evictions=%llu injections=%llu copies_made=%llu resets=%llu no_memory=%llu checks=%llu memory=%llu recovering=%u letters=%u pins=%u suspended=%d draining=%d\n",
			   st.evictions, st.injections, st.copies_made, st.resets, st.no_memory,
			   st.checks, st.memory, st.recovering, d->nr_letters, d->nr_pins,
			   d->suspended, d->draining);
	}
	mutex_unlock(&d->lock);
}

static int proc_show(struct seq_file *m, void *v)
{
	struct hadsm_domain *d;

	mutex_lock(&hadsm_domains_mutex);
	list_for_each_entry(d, &hadsm_domains, list)
		proc_show_domain(m, d);
	mutex_unlock(&hadsm_domains_mutex);
	return 0;
}

/* ---- life ---- */

static int __init hadsm_init(void)
{
	int err = -ENOMEM;

	hadsm_wq = alloc_workqueue("hadsm", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!hadsm_wq)
		return -ENOMEM;
	/* Its workers wait for other nodes. */
	hadsm_lock_wq = alloc_workqueue("hadsm_lock", WQ_UNBOUND, 0);
	if (!hadsm_lock_wq)
		goto destroy_wq;
	hadsm_locks_init();
	err = hadsm_inodes_init();
	if (err)
		goto destroy_lock_wq;
	err = hadsm_domains_init();
	if (err)
		goto inodes_exit;
	err = hadsm_view_init();
	if (err)
		goto domains_exit;
	err = hadsm_net_init();
	if (err)
		goto view_exit;
	err = -ENOMEM;
	hadsm_proc = krg_proc_add("containers", proc_show);
	if (!hadsm_proc)
		goto net_exit;
	err = register_filesystem(&hadsm_fs_type);
	if (err)
		goto proc_remove;
	hadsm_view_announce();
	return 0;

proc_remove:
	krg_proc_remove(hadsm_proc);
net_exit:
	hadsm_net_exit();
view_exit:
	hadsm_view_exit();
domains_exit:
	hadsm_domains_exit();
inodes_exit:
	hadsm_inodes_exit();
destroy_lock_wq:
	destroy_workqueue(hadsm_lock_wq);
destroy_wq:
	destroy_workqueue(hadsm_wq);
	return err;
}

static void __exit hadsm_exit(void)
{
	unregister_filesystem(&hadsm_fs_type);
	krg_proc_remove(hadsm_proc);
	hadsm_net_exit();
	hadsm_view_exit();
	hadsm_domains_exit();
	hadsm_futex_exit();
	destroy_workqueue(hadsm_lock_wq);
	destroy_workqueue(hadsm_wq);
	rcu_barrier();	/* inodes are freed through RCU */
	hadsm_inodes_exit();
}

module_init(hadsm_init);
module_exit(hadsm_exit);

MODULE_DESCRIPTION("Kerrighed: highly available distributed shared memory");
MODULE_LICENSE("GPL");
MODULE_ALIAS_FS("hadsm");
