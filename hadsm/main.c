// SPDX-License-Identifier: GPL-2.0
/*
 * hadsm.ko: memory shared by the nodes of a cluster. What starts, in which order,
 * and its parameters.
 */
#include <linux/module.h>
#include <linux/workqueue.h>

#include "fs.h"

struct workqueue_struct *hadsm_wq, *hadsm_lock_wq;

struct krg_dsm_params hadsm_params = {
	.hold_us = 1000,
	.retry_us = 2000,
	.attempts = 100,
	.pin_us = 2000000,
	.pong_us = 20000,
	.commit_us = 100000,
	.dirty_max = 1024,
	.parked_max = 4096,
	.ahead_max = 512,
	.calm_us = 10000,
};

module_param_named(hold_us, hadsm_params.hold_us, uint, 0444);
MODULE_PARM_DESC(hold_us, "microseconds a page stays after a write was allowed");
module_param_named(commit_us, hadsm_params.commit_us, uint, 0444);
MODULE_PARM_DESC(commit_us, "microseconds after which written pages are copied to other nodes (replicas > 1); 0: only on demand");
module_param_named(pong_us, hadsm_params.pong_us, uint, 0444);
MODULE_PARM_DESC(pong_us, "a page asked for again within so many microseconds after it was taken away counts as a ping-pong");
module_param_named(dirty_max, hadsm_params.dirty_max, uint, 0444);
MODULE_PARM_DESC(dirty_max, "written pages that start a copy; 0: no bound");

module_param_named(ahead_pages, hadsm_ahead_pages, uint, 0644);
MODULE_PARM_DESC(ahead_pages, "pages read ahead of a program that reads in order, at most; 0: none");

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
	err = hadsm_evict_init();
	if (err)
		goto domains_exit;
	err = hadsm_view_init();
	if (err)
		goto evict_exit;
	err = hadsm_net_init();
	if (err)
		goto view_exit;
	err = hadsm_stats_init();
	if (err)
		goto net_exit;
	err = hadsm_query_init();
	if (err)
		goto stats_exit;
	err = register_filesystem(&hadsm_fs_type);
	if (err)
		goto query_exit;
	hadsm_view_announce();
	return 0;

query_exit:
	hadsm_query_exit();
stats_exit:
	hadsm_stats_exit();
net_exit:
	hadsm_net_exit();
view_exit:
	hadsm_view_exit();
evict_exit:
	hadsm_evict_exit();
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
	hadsm_query_exit();
	hadsm_stats_exit();
	hadsm_net_exit();
	hadsm_view_exit();
	hadsm_evict_exit();
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
