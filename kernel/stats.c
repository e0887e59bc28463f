// SPDX-License-Identifier: GPL-2.0
/*
 * Counters per message type and node-wide ones live in per-processor memory;
 * counters per peer are touched by few threads and are plain atomics. Nothing
 * here is reset while the module is loaded: readers compute differences.
 */
#include <linux/atomic.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/percpu.h>
#include <linux/slab.h>

#include "node.h"
#include "stats.h"

struct type_stats {
	u64 counter[KRG_ST_TYPE_COUNTERS];
	u64 latency[KRG_STATS_BUCKETS];
};

struct cpu_stats {
	u64 counter[KRG_ST_COUNTERS];
};

struct peer_stats {
	atomic64_t tx, tx_bytes, rx, rx_bytes, resets, calls, latency_us;
	atomic64_t latency[KRG_STATS_BUCKETS];
};

static struct cpu_stats __percpu *krg_cpu_stats;
/* Allocated when a type is registered for the first time, kept until the end. */
static struct type_stats __percpu *krg_type_stats[KRG_MSG_TYPE_MAX + 1];
static struct peer_stats *krg_peer_stats;	/* by node id */
static const char *krg_type_name[KRG_MSG_TYPE_MAX + 1];

static const char *const krg_counter_name[KRG_ST_COUNTERS] = {
	[KRG_ST_BAD_MESSAGE] = "bad_messages",
	[KRG_ST_BAD_HANDSHAKE] = "bad_handshakes",
	[KRG_ST_BAD_HELLO] = "bad_hellos",
	[KRG_ST_STALE] = "stale_epoch",
	[KRG_ST_PARKED] = "parked",
	[KRG_ST_LATE] = "late_answers",
	[KRG_ST_REFUSED_TYPE] = "unknown_types",
	[KRG_ST_QUEUE_FULL] = "queue_full",
	[KRG_ST_CONGESTED] = "congested",
	[KRG_ST_DROPPED] = "dropped",
	[KRG_ST_RESETS] = "resets",
	[KRG_ST_SESSIONS] = "sessions",
	[KRG_ST_PLAINTEXT] = "plaintext_dropped",
	[KRG_ST_RESERVE] = "reserve_used",
};

static unsigned int bucket_of(u64 us)
{
	return us ? min_t(unsigned int, ilog2(us), KRG_STATS_BUCKETS - 1) : 0;
}

static struct type_stats __percpu *type_of(u16 type)
{
	return type <= KRG_MSG_TYPE_MAX ? READ_ONCE(krg_type_stats[type]) : NULL;
}

static struct peer_stats *peer_of(u16 node)
{
	return node && node <= KRG_NODE_ID_MAX ? &krg_peer_stats[node] : NULL;
}

void krg_stats_add(enum krg_stats_counter c, u64 n)
{
	this_cpu_add(krg_cpu_stats->counter[c], n);
}

void krg_stats_type_inc(u16 type, enum krg_stats_type_counter c)
{
	struct type_stats __percpu *t = type_of(type);

	if (t)
		this_cpu_inc(t->counter[c]);
}

void krg_stats_tx(u16 node, u16 type, u32 bytes)
{
	struct type_stats __percpu *t = type_of(type);
	struct peer_stats *p = peer_of(node);

	if (t) {
		this_cpu_inc(t->counter[KRG_ST_TX]);
		this_cpu_add(t->counter[KRG_ST_TX_BYTES], bytes);
	}
	if (p) {
		atomic64_inc(&p->tx);
		atomic64_add(bytes, &p->tx_bytes);
	}
}

void krg_stats_rx(u16 node, u16 type, u32 bytes)
{
	struct type_stats __percpu *t = type_of(type);
	struct peer_stats *p = peer_of(node);

	if (t) {
		this_cpu_inc(t->counter[KRG_ST_RX]);
		this_cpu_add(t->counter[KRG_ST_RX_BYTES], bytes);
	}
	if (p) {
		atomic64_inc(&p->rx);
		atomic64_add(bytes, &p->rx_bytes);
	}
}

void krg_stats_latency(u16 node, u16 type, u64 ns)
{
	struct type_stats __percpu *t = type_of(type);
	struct peer_stats *p = peer_of(node);
	u64 us = div_u64(ns, NSEC_PER_USEC);
	unsigned int b = bucket_of(us);

	if (t) {
		this_cpu_inc(t->counter[KRG_ST_CALLS]);
		this_cpu_add(t->counter[KRG_ST_LATENCY_US], us);
		this_cpu_inc(t->latency[b]);
	}
	if (p) {
		atomic64_inc(&p->calls);
		atomic64_add(us, &p->latency_us);
		atomic64_inc(&p->latency[b]);
	}
}

void krg_stats_reset_of(u16 node)
{
	struct peer_stats *p = peer_of(node);

	krg_stats_inc(KRG_ST_RESETS);
	if (p)
		atomic64_inc(&p->resets);
}

int krg_stats_type_add(u16 type, const char *name)
{
	if (!type_of(type)) {
		krg_type_stats[type] = alloc_percpu(struct type_stats);
		if (!krg_type_stats[type])
			return -ENOMEM;
	}
	WRITE_ONCE(krg_type_name[type], name);
	return 0;
}

void krg_stats_type_remove(u16 type)
{
	WRITE_ONCE(krg_type_name[type], NULL);
}

bool krg_stats_get_type(u16 type, struct krg_stats_type *out)
{
	struct type_stats __percpu *stats = type_of(type);
	u64 any = 0;
	int cpu, i;

	if (!stats)
		return false;
	memset(out, 0, sizeof(*out));
	out->type = type;
	out->name = READ_ONCE(krg_type_name[type]);
	for_each_possible_cpu(cpu) {
		const struct type_stats *t = per_cpu_ptr(stats, cpu);

		for (i = 0; i < KRG_ST_TYPE_COUNTERS; i++)
			any |= out->counter[i] += READ_ONCE(t->counter[i]);
		for (i = 0; i < KRG_STATS_BUCKETS; i++)
			out->latency[i] += READ_ONCE(t->latency[i]);
	}
	return any || out->name;
}

bool krg_stats_get_peer(u16 node, struct krg_stats_peer *out)
{
	struct peer_stats *p = peer_of(node);
	int i;

	if (!p)
		return false;
	out->node = node;
	out->tx = atomic64_read(&p->tx);
	out->tx_bytes = atomic64_read(&p->tx_bytes);
	out->rx = atomic64_read(&p->rx);
	out->rx_bytes = atomic64_read(&p->rx_bytes);
	out->resets = atomic64_read(&p->resets);
	out->calls = atomic64_read(&p->calls);
	out->latency_us = atomic64_read(&p->latency_us);
	for (i = 0; i < KRG_STATS_BUCKETS; i++)
		out->latency[i] = atomic64_read(&p->latency[i]);
	return out->tx || out->rx || out->resets;
}

u64 krg_stats_get(enum krg_stats_counter c)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(krg_cpu_stats, cpu)->counter[c]);
	return sum;
}

const char *krg_stats_counter_name(enum krg_stats_counter c)
{
	return krg_counter_name[c];
}

int krg_stats_init(void)
{
	krg_peer_stats = kvcalloc(KRG_NODE_ID_MAX + 1, sizeof(*krg_peer_stats), GFP_KERNEL);
	if (!krg_peer_stats)
		return -ENOMEM;
	krg_cpu_stats = alloc_percpu(struct cpu_stats);
	if (!krg_cpu_stats) {
		kvfree(krg_peer_stats);
		return -ENOMEM;
	}
	return 0;
}

void krg_stats_exit(void)
{
	int i;

	for (i = 0; i <= KRG_MSG_TYPE_MAX; i++)
		free_percpu(krg_type_stats[i]);
	free_percpu(krg_cpu_stats);
	kvfree(krg_peer_stats);
}
