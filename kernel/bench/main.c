// SPDX-License-Identifier: GPL-2.0
/*
 * krg_bench.ko: our messages against bare TIPC sockets, inside the kernel. Load it
 * on two nodes of a running cluster, then on one of them:
 *
 *	echo "rtt NODE SIZE COUNT" > /sys/kernel/debug/krg_bench/run
 *	echo "bulk NODE SIZE COUNT ROUNDS" > /sys/kernel/debug/krg_bench/run
 *	echo "call NODE SIZE COUNT" > /sys/kernel/debug/krg_bench/run
 *	echo "stream NODE SIZE COUNT ROUNDS" > /sys/kernel/debug/krg_bench/run
 *	cat /sys/kernel/debug/krg_bench/result
 *
 * rtt: COUNT round trips of SIZE bytes each. bulk: ROUNDS transfers of COUNT
 * messages of SIZE bytes; the time of a transfer ends when the receiver has said
 * that everything is there. The write returns when the run is over, with an error
 * if anything went wrong; the result is one line of JSON, times in nanoseconds.
 *
 * The two are measured in turn, sample by sample, and the order within a pair is
 * turned round each time: whatever else happens on the machine meets both alike.
 * The first pairs warm up caches and windows and are not counted.
 *
 * call and stream are rtt and bulk with our own messages alone and nothing warmed
 * up: a few samples for a program that measures something else on this cluster and
 * puts them beside its own.
 */
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "bench.h"

#define KRG_BENCH_SAMPLES_MAX	1000000
#define KRG_BENCH_WARM_RTT	50
#define KRG_BENCH_WARM_BULK	1

struct bench_run {
	bool streams;
	bool alone;	/* our own messages only */
	u16 node;
	u32 size;
	u32 count;	/* messages of one stream */
	u32 samples;
};

static const struct krg_bench_subject *const bench_subject[] = { &krg_bench_rpc, &krg_bench_bare };

#define NR_SUBJECTS	ARRAY_SIZE(bench_subject)

static u32 bench_subjects(const struct bench_run *run)
{
	return run->alone ? 1 : NR_SUBJECTS;
}

static DEFINE_MUTEX(bench_mutex);	/* one run at a time, and its result below */
static struct bench_run bench_last;
static struct krg_bench_summary bench_result[NR_SUBJECTS];
static bool bench_done;
static struct dentry *bench_dir;

/* Nanoseconds of one sample, or -errno. */
static s64 bench_sample(const struct bench_run *run, const struct krg_bench_subject *subject,
			void *out, void *in)
{
	ktime_t start = ktime_get();
	int err;

	if (run->streams)
		err = subject->stream(out, run->size, run->count);
	else
		err = subject->round_trip(out, in, run->size);
	return err ? err : ktime_to_ns(ktime_sub(ktime_get(), start));
}

/* All samples of both, in turn. */
static int bench_measure(const struct bench_run *run, u64 *sample, void *out, void *in)
{
	u32 warm = run->alone ? 0 : run->streams ? KRG_BENCH_WARM_BULK : KRG_BENCH_WARM_RTT;
	u32 i, turn, which;
	s64 ns;

	for (i = 0; i < warm + run->samples; i++) {
		for (turn = 0; turn < bench_subjects(run); turn++) {
			which = (turn + i) % bench_subjects(run);
			ns = bench_sample(run, bench_subject[which], out, in);
			if (ns >= 0 && !run->streams && memcmp(in, out, run->size))
				ns = -EBADMSG;
			if (ns < 0) {
				pr_err("%s: sample %u failed: %d\n", bench_subject[which]->name, i,
				       (int)ns);
				return ns;
			}
			if (i >= warm)
				sample[(u64)which * run->samples + i - warm] = ns;
		}
		if (signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static int bench_open_all(const struct bench_run *run)
{
	unsigned int i;
	int err;

	for (i = 0; i < bench_subjects(run); i++) {
		err = bench_subject[i]->open(run->node, run->streams);
		if (err) {
			pr_err("%s: node %u cannot be reached: %d (is the module loaded there?)\n",
			       bench_subject[i]->name, run->node, err);
			while (i--)
				bench_subject[i]->close();
			return err;
		}
	}
	return 0;
}

static int bench_run(const struct bench_run *run)
{
	u64 *sample = kvcalloc(NR_SUBJECTS * (size_t)run->samples, sizeof(*sample), GFP_KERNEL);
	u8 *buffer = kvmalloc(2 * KRG_BENCH_SIZE_MAX, GFP_KERNEL);
	unsigned int i;
	int err = -ENOMEM;

	lockdep_assert_held(&bench_mutex);
	if (!sample || !buffer)
		goto free;
	for (i = 0; i < KRG_BENCH_SIZE_MAX; i++)
		buffer[i] = i * 31 + (i >> 8);
	err = bench_open_all(run);
	if (err)
		goto free;
	err = bench_measure(run, sample, buffer, buffer + KRG_BENCH_SIZE_MAX);
	for (i = 0; i < bench_subjects(run); i++) {
		bench_subject[i]->close();
		if (!err)
			krg_bench_summarise(sample + (size_t)i * run->samples, run->samples,
					    &bench_result[i]);
	}
	bench_last = *run;
	bench_done = !err;
free:
	kvfree(buffer);
	kvfree(sample);
	return err;
}

/* ---- debugfs ---- */

static int bench_parse(const char *text, struct bench_run *run)
{
	char word[8];
	int n;

	memset(run, 0, sizeof(*run));
	if (sscanf(text, "%7s", word) != 1)
		return -EINVAL;
	text += strlen(word);
	run->streams = !strcmp(word, "bulk") || !strcmp(word, "stream");
	run->alone = !strcmp(word, "call") || !strcmp(word, "stream");
	if (run->streams) {
		n = sscanf(text, " %hu %u %u %u", &run->node, &run->size, &run->count,
			   &run->samples);
		if (n != 4 || !run->count || run->count > KRG_BENCH_SAMPLES_MAX)
			return -EINVAL;
	} else if ((!run->alone && strcmp(word, "rtt")) ||
		   sscanf(text, " %hu %u %u", &run->node, &run->size, &run->samples) != 3) {
		return -EINVAL;
	}
	if (!run->node || !run->size || run->size > KRG_BENCH_SIZE_MAX || !run->samples ||
	    run->samples > KRG_BENCH_SAMPLES_MAX)
		return -EINVAL;
	return 0;
}

static ssize_t bench_run_write(struct file *file, const char __user *data, size_t len, loff_t *pos)
{
	struct bench_run run;
	char text[80];
	int err;

	if (len >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, data, len))
		return -EFAULT;
	text[len] = 0;
	err = bench_parse(text, &run);
	if (err)
		return err;
	err = mutex_lock_interruptible(&bench_mutex);
	if (err)
		return err;
	bench_done = false;
	err = bench_run(&run);
	mutex_unlock(&bench_mutex);
	return err ?: len;
}

static const struct file_operations bench_run_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = bench_run_write,
	.llseek = noop_llseek,
};

static void bench_show_one(struct seq_file *m, const struct bench_run *run, unsigned int i)
{
	const struct krg_bench_summary *s = &bench_result[i];

	seq_printf(m, ",\"%s\":{\"min_ns\":%llu,\"median_ns\":%llu,\"p90_ns\":%llu,\"p99_ns\":%llu",
		   bench_subject[i]->name, s->min, s->median, s->p90, s->p99);
	seq_printf(m, ",\"max_ns\":%llu,\"mean_ns\":%llu", s->max, s->mean);
	if (run->streams)
		seq_printf(m, ",\"median_bytes_per_s\":%llu",
			   mul_u64_u64_div_u64((u64)run->size * run->count, NSEC_PER_SEC,
					       s->median ?: 1));
	seq_puts(m, "}");
}

static int result_show(struct seq_file *m, void *unused)
{
	const struct bench_run *run = &bench_last;
	unsigned int i;
	int err = mutex_lock_interruptible(&bench_mutex);

	if (err)
		return err;
	if (!bench_done) {
		mutex_unlock(&bench_mutex);
		return -ENODATA;
	}
	seq_printf(m, "{\"version\":1,\"kind\":\"%s\",\"node\":%u,\"size\":%u,\"samples\":%u",
		   run->streams ? "bulk" : "rtt", run->node, run->size, run->samples);
	if (run->streams)
		seq_printf(m, ",\"count\":%u", run->count);
	for (i = 0; i < bench_subjects(run); i++)
		bench_show_one(m, run, i);
	seq_puts(m, "}\n");
	mutex_unlock(&bench_mutex);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(result);

static int __init krg_bench_init(void)
{
	int err;

	err = krg_bench_bare_init();
	if (err)
		return err;
	err = krg_bench_rpc_init();
	if (err)
		goto bare;
	bench_dir = debugfs_create_dir("krg_bench", NULL);
	err = PTR_ERR_OR_ZERO(bench_dir);
	if (err)
		goto rpc;
	debugfs_create_file("run", 0200, bench_dir, NULL, &bench_run_fops);
	debugfs_create_file("result", 0400, bench_dir, NULL, &result_fops);
	return 0;

rpc:
	krg_bench_rpc_exit();
bare:
	krg_bench_bare_exit();
	return err;
}

static void __exit krg_bench_exit(void)
{
	debugfs_remove_recursive(bench_dir);
	krg_bench_rpc_exit();
	krg_bench_bare_exit();
}

module_init(krg_bench_init);
module_exit(krg_bench_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The Kerrighed developers");
MODULE_DESCRIPTION("Kerrighed: messages between nodes against bare TIPC sockets");
MODULE_SOFTDEP("pre: kerrighed");
