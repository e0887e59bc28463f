// SPDX-License-Identifier: GPL-2.0
/*
 * The statistics of stats.h as one flat list of named entries, the same for
 * netlink and /proc. Nothing is counted here.
 */
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "control.h"
#include "node.h"

/* What the list has for each message type, and for each peer; the histogram comes last. */
static const struct {
	const char *name;
	enum krg_stats_type_counter counter;
} krg_report_types[] = {
	{ "tx", KRG_ST_TX },
	{ "tx_bytes", KRG_ST_TX_BYTES },
	{ "rx", KRG_ST_RX },
	{ "rx_bytes", KRG_ST_RX_BYTES },
	{ "errors", KRG_ST_ERRORS },
	{ "timeouts", KRG_ST_TIMEOUTS },
};

#define KRG_REPORT_PER_TYPE	(ARRAY_SIZE(krg_report_types) + 1)
#define KRG_REPORT_PER_PEER	6
#define KRG_REPORT_TYPES	((KRG_MSG_TYPE_MAX + 1) * KRG_REPORT_PER_TYPE)
#define KRG_REPORT_PEERS	(KRG_NODE_ID_MAX * KRG_REPORT_PER_PEER)

static void krg_report_histogram(struct krg_report_entry *entry, u64 calls, u64 sum_us, const u64 *bucket)
{
	entry->name = "latency";
	entry->histogram = true;
	entry->value = calls;
	entry->sum_us = sum_us;
	memcpy(entry->bucket, bucket, sizeof(entry->bucket));
}

static int krg_report_type(unsigned long index, struct krg_report_entry *entry)
{
	unsigned long what = index % KRG_REPORT_PER_TYPE;
	struct krg_stats_type type;

	if (!krg_stats_get_type(index / KRG_REPORT_PER_TYPE, &type))
		return -EAGAIN;

	entry->message = type.name;
	if (what == ARRAY_SIZE(krg_report_types)) {
		if (!type.counter[KRG_ST_CALLS])
			return -EAGAIN;
		krg_report_histogram(entry, type.counter[KRG_ST_CALLS], type.counter[KRG_ST_LATENCY_US],
				     type.latency);
		return 0;
	}
	entry->name = krg_report_types[what].name;
	entry->value = type.counter[krg_report_types[what].counter];
	return 0;
}

static int krg_report_peer(unsigned long index, struct krg_report_entry *entry)
{
	/* In the order of the report; the calls come last, as a histogram. */
	static const char *const names[] = { "tx", "tx_bytes", "rx", "rx_bytes", "resets" };
	unsigned long what = index % KRG_REPORT_PER_PEER;
	struct krg_stats_peer peer;

	static_assert(ARRAY_SIZE(names) == KRG_REPORT_PER_PEER - 1);
	if (!krg_stats_get_peer(index / KRG_REPORT_PER_PEER + 1, &peer))
		return -EAGAIN;

	entry->peer = peer.node;
	if (what < ARRAY_SIZE(names)) {
		const u64 values[] = { peer.tx, peer.tx_bytes, peer.rx, peer.rx_bytes, peer.resets };

		static_assert(ARRAY_SIZE(values) == ARRAY_SIZE(names));
		entry->name = names[what];
		entry->value = values[what];
		return 0;
	}
	if (!peer.calls)
		return -EAGAIN;
	krg_report_histogram(entry, peer.calls, peer.latency_us, peer.latency);
	return 0;
}

int krg_report_get(unsigned long index, struct krg_report_entry *entry)
{
	memset(entry, 0, sizeof(*entry));
	if (index < KRG_ST_COUNTERS) {
		entry->name = krg_stats_counter_name(index);
		entry->value = krg_stats_get(index);
		return 0;
	}
	index -= KRG_ST_COUNTERS;
	if (index < KRG_REPORT_TYPES)
		return krg_report_type(index, entry);
	index -= KRG_REPORT_TYPES;
	if (index < KRG_REPORT_PEERS)
		return krg_report_peer(index, entry);
	return -ENOENT;
}
