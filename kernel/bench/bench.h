/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of krg_bench.ko share: the two things that are measured have the
 * same face, so that main.c can run them in turn and treat both alike.
 */
#ifndef KRG_BENCH_H
#define KRG_BENCH_H

#include <linux/ktime.h>
#include <linux/types.h>

#define KRG_BENCH_SIZE_MAX	65536
#define KRG_BENCH_TIMEOUT_MS	10000	/* of any single step */

/**
 * struct krg_bench_subject - something that carries bytes to another node
 * @name: as printed
 * @open: get ready to talk to @node: for streams, or for round trips
 * @round_trip: @size bytes there and the same bytes back, into @in
 * @stream: @count messages of @size bytes there; returns when all have arrived
 * @close: undo open()
 */
struct krg_bench_subject {
	const char *name;
	int (*open)(u16 node, bool streams);
	int (*round_trip)(const void *out, void *in, u32 size);
	int (*stream)(const void *out, u32 size, u32 count);
	void (*close)(void);
};

/* bare.c */
extern const struct krg_bench_subject krg_bench_bare;
int krg_bench_bare_init(void);
void krg_bench_bare_exit(void);

/* rpc.c */
extern const struct krg_bench_subject krg_bench_rpc;
int krg_bench_rpc_init(void);
void krg_bench_rpc_exit(void);

/* sample.c */
struct krg_bench_summary {
	u64 min, median, p90, p99, max, mean;	/* ns */
};

/** Sorts @sample. @n > 0. */
void krg_bench_summarise(u64 *sample, u32 n, struct krg_bench_summary *out);

#endif
