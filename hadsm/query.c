// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/kerrighed/query: what the nodes of the cluster know of containers and pages,
 * asked from one of them. One line is written, then the answer is read; each open
 * file has its own. Nothing is changed by a question.
 *
 *	containers			the line of /proc/kerrighed/containers of every
 *					domain of every member
 *	page DOMAIN CONTAINER INDEX	one page, as this node and its home see it
 *	page-all DOMAIN CONTAINER INDEX	... as every member sees it
 *
 * Every line of the answer begins with node=N; one with error=... stands for a node
 * that did not answer. A node is waited for at most QUERY_CALL_MS, all together at
 * most QUERY_MS. The lines of other nodes travel as text: versions may differ in what they tell.
 */
#include <linux/ctype.h>
#include <linux/ktime.h>
#include <linux/proc_fs.h>
#include <linux/seq_buf.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <kerrighed/proc.h>
#include <kerrighed/rpc.h>

#include "domain.h"

#define QUERY_CALL_MS	1000
#define QUERY_MS	15000
#define QUERY_ROOM	(512 * 1024)
#define QUERY_LINE_MAX	128

enum query_what { QUERY_DOMAIN = 1, QUERY_PAGE };

struct query_wire {
	__le64 domain;			/* of a page */
	__le64 container;
	__le64 index;			/* of a page; or: which domain in the list, from 0 */
	u8 what;			/* enum query_what */
	u8 zero[7];
};

/* An open file: a question, and its answer. */
struct query {
	struct mutex lock;		/* the answer */
	struct seq_buf answer;
	char *room;
	ktime_t end;
};

static struct proc_dir_entry *query_proc;

/* ---- one page ---- */

static void put_nodes(struct seq_buf *out, const char *name, const struct krg_dsm_nodes *n)
{
	u32 i;

	seq_buf_printf(out, " %s=", name);
	for (i = 0; i < n->count && i < KRG_DSM_EXPLAIN_MAX; i++)
		seq_buf_printf(out, "%s%u", i ? "," : "", n->node[i]);
	if (!n->count)
		seq_buf_printf(out, "-");
	else if (n->count > KRG_DSM_EXPLAIN_MAX)
		seq_buf_printf(out, ",+%u", n->count - KRG_DSM_EXPLAIN_MAX);
}

static const char *mode_word(unsigned int mode)
{
	return mode == KRG_DSM_WRITE ? "write" : mode == KRG_DSM_READ ? "read" : "-";
}

/* Is the page here used by a device, as far as anybody can tell? */
static bool page_pinned(struct hadsm_domain *d, const struct krg_dsm_object *object)
{
	struct hadsm_store *s = hadsm_store_find(d, object->container);
	struct folio *folio = s ? filemap_get_folio(s->inode->i_mapping, object->index) : NULL;
	bool pinned;

	lockdep_assert_held(&d->lock);
	if (IS_ERR_OR_NULL(folio))
		return false;
	pinned = folio_maybe_dma_pinned(folio);
	folio_put(folio);
	return pinned;
}

static void put_backups(struct seq_buf *out, const struct krg_dsm_copy *c)
{
	struct krg_dsm_nodes n = { };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(c->retained_at); i++)
		if (c->retained_at[i])
			n.node[n.count++] = c->retained_at[i];
	put_nodes(out, "backups", &n);
}

/* What this node knows of a page; its home, 0: nobody knows. */
static u16 page_line(struct hadsm_domain *d, u64 container, u64 index, struct seq_buf *out)
{
	struct krg_dsm_object object = { .container = container, .index = index };
	struct krg_dsm_explanation x;
	bool pinned, serving;

	mutex_lock(&d->lock);
	if (!d->engine) {
		mutex_unlock(&d->lock);
		return 0;
	}
	object.policy.replicas = d->replicas;
	object.policy.cls = d->replicas > 1 ? KRG_DSM_DURABLE : KRG_DSM_VOLATILE;
	krg_dsm_explain(d->engine, &object, &x);
	pinned = page_pinned(d, &object);
	serving = !d->suspended;
	mutex_unlock(&d->lock);

	seq_buf_printf(out, "domain=%016llx container=%llu index=%llu home=%u state=%s version=%llu.%llu mapped=%u dirty=%u batch=%u staged=%u pinned=%u",
		       d->id, container, index, x.copy.home, x.state, x.copy.version_epoch,
		       x.copy.version_count, x.copy.mapped, x.copy.dirty, x.in_batch, x.staged, pinned);
	seq_buf_printf(out, " waiting=%u asked=%s installing=%u edge=%s command=%s command_to=%u suspended=%u",
		       x.waiting, mode_word(x.asked), x.installing, x.edge, x.command,
		       x.command_to, !serving);
	put_backups(out, &x.copy);
	seq_buf_printf(out, " written=%u entry=%s writer=%u", x.copy.initialised,
		       x.copy.entry == 2 ? "exclusive" : x.copy.entry ? "shared" : "none",
		       x.copy.writer);
	put_nodes(out, "sharers", &x.sharers);
	put_nodes(out, "retained", &x.retained);
	put_nodes(out, "stale", &x.stale);
	put_nodes(out, "frozen", &x.frozen);
	put_nodes(out, "queue", &x.queue);
	seq_buf_printf(out, " phase=%s want=%s mode=%s requester=%u acks=%u", x.phase, x.want,
		       mode_word(x.want_mode), x.requester, x.acks);
	return x.copy.home;
}

/* ---- asking another node ---- */

static void put_error(struct seq_buf *out, u16 node, int err)
{
	seq_buf_printf(out, "node=%u error=%d\n", node, -err);
}

/* The answer as one line of ours, whatever the other node sent. */
static void put_foreign(struct seq_buf *out, u16 node, char *text, int len)
{
	int i;

	for (i = 0; i < len; i++)
		if (!isprint(text[i]))
			text[i] = '?';
	seq_buf_printf(out, "node=%u %.*s\n", node, len, text);
}

/* Bytes of the answer in @text, or an error. */
static int query_ask(u16 node, const struct query_wire *wire, char *text, u32 room)
{
	struct kvec vec = { .iov_base = (void *)wire, .iov_len = sizeof(*wire) };
	struct kvec reply = { .iov_base = text, .iov_len = room };

	return krg_rpc_call(node, KRG_MSG_HADSM_QUERY, &vec, 1, &reply, 1, QUERY_CALL_MS);
}

/* The text for a question, from this node; bytes, or an error. */
static int query_here(const struct query_wire *wire, char *text, u32 room)
{
	struct hadsm_domain *d;
	struct seq_buf out;
	int len;

	if (wire->what == QUERY_DOMAIN) {
		d = le64_to_cpu(wire->index) < UINT_MAX ? hadsm_domain_nth(le64_to_cpu(wire->index)) : NULL;
		len = d ? hadsm_stats_line(d, text, room) : -ENOENT;
		hadsm_domain_put(d);
		return len;
	}
	d = hadsm_domain_find(le64_to_cpu(wire->domain));
	if (!d)
		return -ENOENT;
	seq_buf_init(&out, text, room);
	page_line(d, le64_to_cpu(wire->container), le64_to_cpu(wire->index), &out);
	hadsm_domain_put(d);
	return seq_buf_used(&out);
}

static void query_handle(struct krg_rpc_req *req)
{
	const struct query_wire *wire = krg_rpc_req_data(req);
	struct kvec vec = { .iov_len = HADSM_LINE_MAX };
	int len = -EINVAL;

	if (!krg_rpc_req_wants_reply(req))
		return;
	vec.iov_base = kmalloc(HADSM_LINE_MAX, GFP_KERNEL);
	if (!vec.iov_base)
		len = -ENOMEM;
	else if (wire->what == QUERY_DOMAIN || wire->what == QUERY_PAGE)
		len = query_here(wire, vec.iov_base, HADSM_LINE_MAX);
	vec.iov_len = max(len, 0);
	krg_rpc_reply(req, min(len, 0), &vec, len > 0 ? 1 : 0);
	kfree(vec.iov_base);
}

static const struct krg_rpc_type query_type = {
	.type = KRG_MSG_HADSM_QUERY, .class = KRG_CLASS_MSG, .flags = KRG_RPC_QUEUED | KRG_RPC_ANY_EPOCH,
	.name = "hadsm_query", .handle = query_handle,
	.min_len = sizeof(struct query_wire), .max_len = sizeof(struct query_wire),
};

/* ---- questions ---- */

/* One question to one node: 0, or why there is no answer. */
static int query_one(struct query *q, u16 node, u16 self, const struct query_wire *wire, char *line)
{
	int len;

	if (seq_buf_has_overflowed(&q->answer) || ktime_after(ktime_get(), q->end))
		return -ETIMEDOUT;
	len = node == self ? query_here(wire, line, HADSM_LINE_MAX) :
			     query_ask(node, wire, line, HADSM_LINE_MAX);
	if (len > 0)
		put_foreign(&q->answer, node, line, len);
	return min(len, 0);
}

/* All domains of one node. */
static void query_domains(struct query *q, u16 node, u16 self, char *line)
{
	struct query_wire wire = { .what = QUERY_DOMAIN };
	u64 i;
	int err;

	for (i = 0; ; i++) {
		wire.index = cpu_to_le64(i);
		err = query_one(q, node, self, &wire, line);
		if (err)
			break;
	}
	if (err != -ENOENT)
		put_error(&q->answer, node, err);
}

/* The next of the 126 node ids from @node on that is a member; 0: there is none. */
static u16 member_from(const u64 live[2], unsigned int node)
{
	for (; node < 128; node++)
		if (live[node / 64] >> node % 64 & 1)
			return node;
	return 0;
}

static int query_containers(struct query *q, char *line)
{
	u64 live[2];
	u16 node, self = hadsm_view_live(live);

	for (node = member_from(live, 1); node; node = member_from(live, node + 1))
		query_domains(q, node, self, line);
	return self ? 0 : -ENOTCONN;
}

static void query_page_at(struct query *q, u16 node, u16 self, const struct query_wire *wire, char *line)
{
	int err = query_one(q, node, self, wire, line);

	if (err)
		put_error(&q->answer, node, err);
}

static int query_page(struct query *q, const struct query_wire *wire, bool all, char *line)
{
	struct hadsm_domain *d = hadsm_domain_find(le64_to_cpu(wire->domain));
	struct seq_buf out;
	u64 live[2];
	u16 node, home, self = hadsm_view_live(live);

	if (!d)
		return self ? -ENOENT : -ENOTCONN;
	seq_buf_init(&out, line, HADSM_LINE_MAX);
	home = page_line(d, le64_to_cpu(wire->container), le64_to_cpu(wire->index), &out);
	hadsm_domain_put(d);
	put_foreign(&q->answer, self, line, seq_buf_used(&out));
	if (!all) {
		if (home && home != self)
			query_page_at(q, home, self, wire, line);
		return 0;
	}
	for (node = member_from(live, 1); node; node = member_from(live, node + 1))
		if (node != self)
			query_page_at(q, node, self, wire, line);
	return 0;
}

static int query_run(struct query *q, const char *text)
{
	struct query_wire wire = { .what = QUERY_PAGE };
	u64 domain, container, index;
	char *line, end;
	int err;

	line = kmalloc(HADSM_LINE_MAX, GFP_KERNEL);
	if (!line)
		return -ENOMEM;
	seq_buf_clear(&q->answer);
	q->end = ktime_add_ms(ktime_get(), QUERY_MS);
	err = -EINVAL;
	if (!strcmp(text, "containers")) {
		err = query_containers(q, line);
	} else if (sscanf(text, "page %llx %llu %llu%c", &domain, &container, &index, &end) == 3 ||
		   sscanf(text, "page-all %llx %llu %llu%c", &domain, &container, &index, &end) == 3) {
		wire.domain = cpu_to_le64(domain);
		wire.container = cpu_to_le64(container);
		wire.index = cpu_to_le64(index);
		err = query_page(q, &wire, text[4] == '-', line);
	}
	kfree(line);
	return err ?: seq_buf_has_overflowed(&q->answer) ? -EOVERFLOW : 0;
}

/* ---- the file ---- */

static int query_open(struct inode *inode, struct file *file)
{
	struct query *q = kzalloc(sizeof(*q), GFP_KERNEL);

	if (!q)
		return -ENOMEM;
	q->room = kvmalloc(QUERY_ROOM, GFP_KERNEL);
	if (!q->room) {
		kfree(q);
		return -ENOMEM;
	}
	mutex_init(&q->lock);
	seq_buf_init(&q->answer, q->room, QUERY_ROOM);
	file->private_data = q;
	return 0;
}

static int query_release(struct inode *inode, struct file *file)
{
	struct query *q = file->private_data;

	mutex_destroy(&q->lock);
	kvfree(q->room);
	kfree(q);
	return 0;
}

static ssize_t query_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	struct query *q = file->private_data;
	char text[QUERY_LINE_MAX];
	int err;

	if (!len || len >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, len))
		return -EFAULT;
	text[len] = 0;
	if (text[len - 1] == '\n')
		text[len - 1] = 0;
	if (mutex_lock_killable(&q->lock))
		return -EINTR;
	err = query_run(q, text);
	mutex_unlock(&q->lock);
	*pos = 0;	/* the answer is read from its beginning */
	return err ?: len;
}

static ssize_t query_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	struct query *q = file->private_data;
	ssize_t done;

	if (mutex_lock_killable(&q->lock))
		return -EINTR;
	done = simple_read_from_buffer(to, len, pos, q->room, seq_buf_used(&q->answer));
	mutex_unlock(&q->lock);
	return done;
}

static const struct proc_ops query_ops = {
	.proc_open = query_open,
	.proc_release = query_release,
	.proc_write = query_write,
	.proc_read = query_read,
	.proc_lseek = default_llseek,
};

int hadsm_query_init(void)
{
	int err = krg_rpc_register(&query_type);

	if (err)
		return err;
	query_proc = krg_proc_add_ops("query", &query_ops);
	if (query_proc)
		return 0;
	krg_rpc_unregister(&query_type);
	return -ENOMEM;
}

void hadsm_query_exit(void)
{
	krg_proc_remove(query_proc);
	krg_rpc_unregister(&query_type);
}
