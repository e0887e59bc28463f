// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/kerrighed/{nodes,view,stats}: the picture krgadm gives, for people and
 * scripts without the tool. Read only; nothing is steered from here.
 */
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <uapi/linux/kerrighed.h>

#include <kerrighed/proc.h>

#include "control.h"
#include "node.h"

static struct proc_dir_entry *krg_proc_dir;

const char *krg_state_name(u32 state)
{
	static const char *const names[] = {
		[KRG_NODE_STATE_OUT] = "out",
		[KRG_NODE_STATE_JOINING] = "joining",
		[KRG_NODE_STATE_PREPARING] = "preparing",
		[KRG_NODE_STATE_SERVING] = "serving",
		[KRG_NODE_STATE_SUSPENDED] = "suspended",
		[KRG_NODE_STATE_LEAVING] = "leaving",
		[KRG_NODE_STATE_FAILED] = "failed",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

const char *krg_reason_name(u32 reason)
{
	static const char *const names[] = {
		[KRG_REASON_NONE] = "none",
		[KRG_REASON_LOST] = "lost",
		[KRG_REASON_LEFT] = "left",
		[KRG_REASON_EVICTED] = "evicted",
		[KRG_REASON_VERSION] = "version",
		[KRG_REASON_CLUSTER] = "cluster",
		[KRG_REASON_ID_TAKEN] = "id-taken",
		[KRG_REASON_ID_RANGE] = "id-range",
		[KRG_REASON_UNREACHABLE] = "unreachable",
		[KRG_REASON_TIMEOUT] = "timeout",
		[KRG_REASON_NO_QUORUM] = "no-quorum",
		[KRG_REASON_INTERNAL] = "internal",
		[KRG_REASON_KEY] = "key",
	};

	return reason < ARRAY_SIZE(names) ? names[reason] : "unknown";
}

static int krg_proc_view_show(struct seq_file *m, void *v)
{
	struct krg_node_status *st = krg_node_get_status();
	u32 i;

	if (!st)
		return -ENOMEM;

	seq_printf(m, "state %s\n", krg_state_name(st->state));
	seq_printf(m, "cluster %s\n", *st->cluster ? st->cluster : "-");
	seq_printf(m, "cluster_id %016llx\n", st->cluster_id);
	seq_printf(m, "epoch %llu\n", st->epoch);
	seq_printf(m, "node %u\n", st->node_id);
	seq_printf(m, "host %s\n", *st->host ? st->host : "-");
	seq_printf(m, "incarnation %016llx\n", st->incarnation);
	seq_printf(m, "quorum %s %u/%u\n", st->has_quorum ? "yes" : "no", st->votes, st->quorum);
	seq_printf(m, "witness %s\n", st->witness ? "yes" : "no");
	seq_printf(m, "lease_ms %u\n", st->lease_ms);
	seq_printf(m, "lease_left_ms %llu\n", st->lease_left_ms);
	seq_puts(m, "members");
	for (i = 0; i < st->nr_nodes; i++)
		if (st->node[i].member)
			seq_printf(m, " %u", st->node[i].node_id);
	seq_putc(m, '\n');
	if (st->last_reason)
		seq_printf(m, "last_reason %s\n", krg_reason_name(st->last_reason));
	if (*st->last_error)
		seq_printf(m, "last_error %s\n", st->last_error);

	kvfree(st);
	return 0;
}

static void krg_proc_put_ago(struct seq_file *m, u64 ms)
{
	if (ms == ~0ULL)
		seq_printf(m, "%10s", "-");
	else
		seq_printf(m, "%10llu", ms);
}

static int krg_proc_nodes_show(struct seq_file *m, void *v)
{
	struct krg_node_status *st = krg_node_get_status();
	u32 i;

	if (!st)
		return -ENOMEM;

	seq_puts(m, " node state      reason      incarnation       heard_ms  acked_ms   down_ms  host\n");
	for (i = 0; i < st->nr_nodes; i++) {
		const struct krg_node_member_info *node = &st->node[i];
		const char *state = !node->member ? "down" :
				    node->flags & KRG_NODE_FLAGS_DRAINING ? "draining" :
				    node->reachable || node->self ? "member" : "unreach";

		seq_printf(m, " %3u%c %-10s %-11s %016llx", node->node_id, node->self ? '*' : ' ', state,
			   node->member ? "-" : krg_reason_name(node->removed_reason), node->incarnation);
		krg_proc_put_ago(m, node->heard_ms_ago);
		krg_proc_put_ago(m, node->acked_ms_ago);
		krg_proc_put_ago(m, node->down_ms_ago);
		seq_printf(m, "  %s\n", *node->host ? node->host : "-");
	}

	kvfree(st);
	return 0;
}

/* stats: one line an entry; *pos is the entry's index plus one, 0 the title. */

static void *krg_proc_stats_start(struct seq_file *m, loff_t *pos)
{
	struct krg_report_entry entry;

	if (*pos && krg_report_get(*pos - 1, &entry) == -ENOENT)
		return NULL;
	return pos;
}

static void *krg_proc_stats_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return krg_proc_stats_start(m, pos);
}

static void krg_proc_stats_stop(struct seq_file *m, void *v)
{
}

static int krg_proc_stats_show(struct seq_file *m, void *v)
{
	loff_t pos = *(loff_t *)v;
	struct krg_report_entry entry;

	if (!pos) {
		seq_puts(m, "name message peer value mean_us\n");
		return 0;
	}
	if (krg_report_get(pos - 1, &entry))
		return SEQ_SKIP;

	seq_printf(m, "%s %s ", entry.name, entry.message ?: "-");
	if (entry.peer)
		seq_printf(m, "%u", entry.peer);
	else
		seq_putc(m, '-');
	seq_printf(m, " %llu", entry.value);
	if (entry.histogram)
		seq_printf(m, " %llu\n", entry.value ? div64_u64(entry.sum_us, entry.value) : 0);
	else
		seq_puts(m, " -\n");
	return 0;
}

static const struct seq_operations krg_proc_stats_ops = {
	.start	= krg_proc_stats_start,
	.next	= krg_proc_stats_next,
	.stop	= krg_proc_stats_stop,
	.show	= krg_proc_stats_show,
};

struct proc_dir_entry *krg_proc_add(const char *name, int (*show)(struct seq_file *m, void *v))
{
	return proc_create_single(name, 0444, krg_proc_dir, show);
}
EXPORT_SYMBOL_GPL(krg_proc_add);

struct proc_dir_entry *krg_proc_add_ops(const char *name, const struct proc_ops *ops)
{
	return proc_create(name, 0600, krg_proc_dir, ops);
}
EXPORT_SYMBOL_GPL(krg_proc_add_ops);

struct proc_dir_entry *krg_proc_add_dir(const char *name)
{
	return proc_mkdir(name, krg_proc_dir);
}
EXPORT_SYMBOL_GPL(krg_proc_add_dir);

void krg_proc_remove(struct proc_dir_entry *entry)
{
	proc_remove(entry);
}
EXPORT_SYMBOL_GPL(krg_proc_remove);

int __init krg_proc_init(void)
{
	krg_proc_dir = proc_mkdir("kerrighed", NULL);
	if (!krg_proc_dir)
		return -ENOMEM;
	if (proc_create_single("view", 0444, krg_proc_dir, krg_proc_view_show) &&
	    proc_create_single("nodes", 0444, krg_proc_dir, krg_proc_nodes_show) &&
	    proc_create_seq("stats", 0444, krg_proc_dir, &krg_proc_stats_ops))
		return 0;
	krg_proc_exit();
	return -ENOMEM;
}

void krg_proc_exit(void)
{
	proc_remove(krg_proc_dir);
}
