// SPDX-License-Identifier: GPL-2.0
/*
 * What is counted of each domain, and /proc/kerrighed/containers. Most numbers are
 * the engine's own; here are those it does not see, because they cost no message:
 * accesses to what is here, and how long programs waited for the others.
 *
 * The file has one line a domain: its id, then name=value pairs, whose order may
 * change and which may become more. Documentation/hadsm-edge.md says what they are.
 */
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include <kerrighed/proc.h>

#include "domain.h"

static struct proc_dir_entry *stats_proc;

void hadsm_count_wait(struct hadsm_domain *d, u16 mode, u64 ns)
{
	unsigned int kind = mode == KRG_DSM_WRITE ? HADSM_HIT_WRITE : HADSM_HIT_READ;
	u64 us = div_u64(ns, NSEC_PER_USEC);
	unsigned int bucket = us ? min_t(unsigned int, ilog2(us), HADSM_LATENCIES - 1) : 0;

	this_cpu_inc(d->counts->wait[kind][bucket]);
	this_cpu_add(d->counts->wait_us[kind], us);
}

static void counts_sum(struct hadsm_domain *d, struct hadsm_counts *sum)
{
	int cpu, kind, i;

	memset(sum, 0, sizeof(*sum));
	for_each_possible_cpu(cpu) {
		const struct hadsm_counts *c = per_cpu_ptr(d->counts, cpu);

		for (kind = 0; kind < HADSM_HITS; kind++) {
			sum->hit[kind] += c->hit[kind];
			sum->wait_us[kind] += c->wait_us[kind];
			for (i = 0; i < HADSM_LATENCIES; i++)
				sum->wait[kind][i] += c->wait[kind][i];
		}
	}
}

/* name=a,b,c without the zeros at the end; name=- when there is nothing else. */
static int histogram(char *at, size_t room, const char *name, const u64 *bucket)
{
	int last = HADSM_LATENCIES, len, i;

	while (last && !bucket[last - 1])
		last--;
	len = scnprintf(at, room, " %s=%s", name, last ? "" : "-");
	for (i = 0; i < last; i++)
		len += scnprintf(at + len, room - len, "%s%llu", i ? "," : "", bucket[i]);
	return len;
}

struct named {
	const char *name;
	u64 value;
};

static int pairs(char *at, size_t room, const struct named *pair, unsigned int count)
{
	unsigned int i;
	int len = 0;

	for (i = 0; i < count; i++)
		len += scnprintf(at + len, room - len, " %s=%llu", pair[i].name, pair[i].value);
	return len;
}

static int line_accesses(char *at, size_t room, const struct krg_dsm_stats *st, const struct hadsm_counts *c)
{
	const struct named pair[] = {
		{ "hits", c->hit[HADSM_HIT_READ] + c->hit[HADSM_HIT_WRITE] + st->hits },
		{ "misses", st->misses }, { "errors", st->errors }, { "requests", st->requests },
		{ "home_here", st->answered_here }, { "hops_2", st->hops_2 }, { "hops_3", st->hops_3 },
		{ "invalidations", st->invalidations }, { "downgrades", st->downgrades },
		{ "hand_overs", st->hand_overs }, { "forwards", st->forwards },
		{ "ahead_asked", st->ahead_asked }, { "ahead_got", st->ahead_got },
		{ "ahead_skipped", st->ahead_skipped }, { "ping_pongs", st->ping_pongs }, { "held", st->held }, { "pinned", st->pinned },
		{ "commits", st->batches }, { "commit_objects", st->batch_objects },
		{ "commits_direct", st->batches_direct }, { "commits_dropped", st->batches_dropped },
		{ "bytes_out", st->bytes_out + st->pages_out * PAGE_SIZE },
		{ "bytes_in", st->bytes_in + st->pages_in * PAGE_SIZE },
		{ "pages_out", st->pages_out }, { "pages_in", st->pages_in },
		{ "messages_out", st->messages_out }, { "messages_in", st->messages_in },
	};

	return pairs(at, room, pair, ARRAY_SIZE(pair));
}

static int line_copies(char *at, size_t room, const struct krg_dsm_stats *st)
{
	const struct named pair[] = {
		{ "objects", st->objects }, { "shared", st->shared }, { "exclusive", st->exclusive },
		{ "retained", st->retained }, { "frozen", st->frozen }, { "staged", st->staged },
		{ "dirty", st->dirty }, { "entries", st->entries }, { "degraded", st->degraded },
		{ "lost", st->lost_objects }, { "lost_requests", st->lost },
		{ "repair_total", st->repair_total }, { "repair_left", st->repair_left },
		{ "recovering", st->recovering }, { "copies_made", st->copies_made },
		{ "evictions", st->evictions }, { "evictions_refused", st->evictions_refused },
		{ "injections", st->injections }, { "injections_refused", st->injections_refused },
		{ "writes_refused", st->writes_refused }, { "full", st->full }, { "pages", st->pages },
		{ "ahead_asked", st->ahead_asked }, { "ahead_got", st->ahead_got },
		{ "ahead_skipped", st->ahead_skipped },
		{ "punched", st->punched }, { "memory", st->memory },
	};

	return pairs(at, room, pair, ARRAY_SIZE(pair));
}

static int line_faults(struct hadsm_domain *d, char *at, size_t room, const struct krg_dsm_stats *st)
{
	const struct named pair[] = {
		{ "duplicates", st->duplicates }, { "stale", st->stale }, { "parked", st->parked },
		{ "bad", st->bad }, { "resets", st->resets }, { "no_memory", st->no_memory },
		{ "checks", st->checks }, { "letters", d->nr_letters }, { "pins", d->nr_pins },
		{ "suspended", d->suspended }, { "draining", d->draining },
	};

	lockdep_assert_held(&d->lock);
	return pairs(at, room, pair, ARRAY_SIZE(pair));
}

int hadsm_stats_line(struct hadsm_domain *d, char *at, size_t room)
{
	struct krg_dsm_stats st;
	struct hadsm_counts *c = kmalloc(sizeof(*c), GFP_KERNEL);
	int len = 0;

	if (!c)
		return -ENOMEM;
	counts_sum(d, c);
	mutex_lock(&d->lock);
	if (d->engine) {
		krg_dsm_get_stats(d->engine, &st);
		len = scnprintf(at, room, "%016llx name=%s replicas=%u", d->id, *d->name ? d->name : "-",
				d->replicas);
		len += line_accesses(at + len, room - len, &st, c);
		len += line_copies(at + len, room - len, &st);
		len += line_faults(d, at + len, room - len, &st);
		len += scnprintf(at + len, room - len, " read_wait_us=%llu write_wait_us=%llu",
				 c->wait_us[HADSM_HIT_READ], c->wait_us[HADSM_HIT_WRITE]);
		len += histogram(at + len, room - len, "read_waits", c->wait[HADSM_HIT_READ]);
		len += histogram(at + len, room - len, "write_waits", c->wait[HADSM_HIT_WRITE]);
	}
	mutex_unlock(&d->lock);
	kfree(c);
	return len;
}

static int stats_show(struct seq_file *m, void *v)
{
	char *line = kmalloc(HADSM_LINE_MAX, GFP_KERNEL);
	struct hadsm_domain *d;
	int len = 0;

	if (!line)
		return -ENOMEM;
	mutex_lock(&hadsm_domains_mutex);
	list_for_each_entry(d, &hadsm_domains, list) {
		len = hadsm_stats_line(d, line, HADSM_LINE_MAX);
		if (len < 0)
			break;
		if (len)
			seq_printf(m, "%s\n", line);
	}
	mutex_unlock(&hadsm_domains_mutex);
	kfree(line);
	return len < 0 ? len : 0;
}

int hadsm_stats_init(void)
{
	stats_proc = krg_proc_add("containers", stats_show);
	return stats_proc ? 0 : -ENOMEM;
}

void hadsm_stats_exit(void)
{
	krg_proc_remove(stats_proc);
}
