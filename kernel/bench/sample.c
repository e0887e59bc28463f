// SPDX-License-Identifier: GPL-2.0
/*
 * From measured times to a few numbers. The median is what comparisons use: on an
 * emulated or shared machine the tail belongs to the host.
 */
#include <linux/math64.h>
#include <linux/sort.h>

#include "bench.h"

static int sample_compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

void krg_bench_summarise(u64 *sample, u32 n, struct krg_bench_summary *out)
{
	u64 sum = 0;
	u32 i;

	sort(sample, n, sizeof(*sample), sample_compare, NULL);
	for (i = 0; i < n; i++)
		sum += sample[i];
	out->min = sample[0];
	out->max = sample[n - 1];
	out->median = n % 2 ? sample[n / 2] : (sample[n / 2 - 1] + sample[n / 2]) / 2;
	out->p90 = sample[(u64)(n - 1) * 90 / 100];
	out->p99 = sample[(u64)(n - 1) * 99 / 100];
	out->mean = div_u64(sum, n);
}
