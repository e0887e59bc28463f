// SPDX-License-Identifier: GPL-2.0
/*
 * A node's own range of process ids, so that an id is unique in the cluster and
 * stays with its process wherever that moves. Only the allocation cursor is
 * steered here: what an id means, and who is found by it, is elsewhere.
 *
 * The kernel gives out ids one after the other from a cursor. When this node
 * becomes a member the cursor is set to the start of its range; after every fork
 * it is looked at, and set back before it reaches the end. Between two looks it
 * can go on by as many forks as fail behind the allocation of their id, which
 * the margin is for. Ids that are in use are passed over, so a range that is
 * full gives ids of the next one: counted, and said once.
 */
#include <linux/err.h>
#include <linux/idr.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/tracepoint.h>

#include <kerrighed/pid.h>
#include <kerrighed/proc.h>
#include <kerrighed/symbol.h>

#include "pids.h"

/* Ids at the end of a range that are left out. */
#define PIDS_MARGIN	2048

/* Written by the membership's thread, read by every fork; 0: not a member. */
static u32 pids_base;
static atomic64_t pids_rounds, pids_foreign;

static struct tracepoint *pids_point;
static struct proc_dir_entry *pids_entry;

static void pids_look(void)
{
	u32 base = READ_ONCE(pids_base), end = base + KRG_PID_SPAN;
	u32 at = idr_get_cursor(&init_pid_ns.idr);

	if (!base || (at >= base && at < end - PIDS_MARGIN))
		return;
	if (at > end && at <= end + PIDS_MARGIN) {
		atomic64_inc(&pids_foreign);
		pr_warn_once("the range of process ids is full: %u is another node's\n", at - 1);
	}
	idr_set_cursor(&init_pid_ns.idr, base);
	atomic64_inc(&pids_rounds);
}

/* tracepoint sched_process_fork; a task that is restored brings its own id and leaves the cursor alone. */
static void pids_forked(void *data, struct task_struct *parent, struct task_struct *child)
{
	pids_look();
}

void krg_pids_member(u16 node)
{
	u32 base = (u32)node * KRG_PID_SPAN;

	if (READ_ONCE(pids_base) == base)
		return;
	if (!node) {
		WRITE_ONCE(pids_base, 0);
		return;
	}
	krg_pid_max_raise(KRG_PID_LIMIT);
	idr_set_cursor(&init_pid_ns.idr, base);
	WRITE_ONCE(pids_base, base);
}

/* ---- life ---- */

static void pids_match(struct tracepoint *point, void *found)
{
	if (!strcmp(point->name, "sched_process_fork"))
		*(struct tracepoint **)found = point;
}

static int pids_show(struct seq_file *m, void *v)
{
	u32 base = READ_ONCE(pids_base);

	if (base)
		seq_printf(m, "first %u\nlast %u\n", base, base + KRG_PID_SPAN - PIDS_MARGIN - 1);
	seq_printf(m, "next %u\nrounds %lld\nforeign %lld\n", idr_get_cursor(&init_pid_ns.idr),
		   atomic64_read(&pids_rounds), atomic64_read(&pids_foreign));
	return 0;
}

int krg_pids_init(void)
{
	int err;

	for_each_kernel_tracepoint(pids_match, &pids_point);
	if (!pids_point) {
		pr_err("tracepoint sched_process_fork is missing in this kernel\n");
		return -ENOENT;
	}
	err = tracepoint_probe_register(pids_point, pids_forked, NULL);
	if (err)
		return err;
	pids_entry = krg_proc_add("pids", pids_show);
	if (pids_entry)
		return 0;
	tracepoint_probe_unregister(pids_point, pids_forked, NULL);
	tracepoint_synchronize_unregister();
	return -ENOMEM;
}

void krg_pids_exit(void)
{
	krg_proc_remove(pids_entry);
	tracepoint_probe_unregister(pids_point, pids_forked, NULL);
	tracepoint_synchronize_unregister();
}
