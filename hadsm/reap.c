// SPDX-License-Identifier: GPL-2.0
/*
 * The end of files without a name. Every node that has a file open says so in the
 * file's record; whoever takes the last name puts the file into a list of orphans
 * in the same transaction. Each node looks at the lists once a second (pages that
 * do not change cost nothing to look at): it takes its mark from what it no longer
 * uses, and frees what nobody uses from its own list and from those of nodes that
 * are gone. A crash at any point leaves the orphan where somebody else finds it.
 *
 * Marks of nodes that do not have the name space mounted do not count; who has is
 * marked in the root's record.
 */
#include <linux/sched/signal.h>

#include "fs.h"

#define REAP_TIME	HZ
#define REAP_EVERYBODY	60	/* rounds until all lists are looked at, not only those of nodes that are known */

void hadsm_reap_soon(struct hadsm_names *n)
{
	mod_delayed_work(system_unbound_wq, &n->reap_work, HZ / 50 ?: 1);
}

/* ---- use ---- */

/* Under use_lock, opens is 0: nobody here has a page of it, and its pages may be those of another domain now. */
static int use_data(struct inode *inode, const struct krg_names_attr *attr)
{
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	struct hadsm_inode *hi = HADSM_I(inode);
	struct hadsm_domain *d = hadsm_data_domain(n, attr->replicas);
	struct hadsm_store *s;

	if (IS_ERR(d))
		return PTR_ERR(d);
	if (hi->data && hi->data->domain == d)
		return 0;
	s = hadsm_store_get(d, inode->i_ino);
	if (IS_ERR(s))
		return PTR_ERR(s);
	swap(s, hi->data);
	inode->i_private = hi->data;
	inode->i_mapping = hi->data->inode->i_mapping;
	hadsm_store_put(s);
	return 0;
}

static int use_begin(struct inode *inode)
{
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	struct krg_names_attr attr;
	int err = hadsm_tx(n, krg_names_use(&n->io, inode->i_ino, 1));

	if (!err)
		err = hadsm_tx(n, krg_names_getattr(&n->io, inode->i_ino, &attr));
	if (!err && S_ISREG(inode->i_mode))
		err = use_data(inode, &attr);
	if (!err)
		hadsm_apply(inode, &attr);
	return err;
}

int hadsm_use(struct inode *inode)
{
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	struct hadsm_inode *hi = HADSM_I(inode);
	int err = 0;

	if (mutex_lock_killable(&n->use_lock))
		return -EINTR;
	if (!hi->opens)
		err = use_begin(inode);
	if (!err)
		hi->opens++;
	mutex_unlock(&n->use_lock);
	return err;
}

void hadsm_unuse(struct inode *inode)
{
	struct hadsm_names *n = hadsm_names(inode->i_sb);
	bool last;

	mutex_lock(&n->use_lock);
	last = !--HADSM_I(inode)->opens;
	mutex_unlock(&n->use_lock);
	/* The mark stays: most files are opened again. */
	if (last && !inode->i_nlink)
		hadsm_reap_soon(n);
}

/* Nothing of this node has the orphan open: its mark goes. */
static void reap_unmark(struct hadsm_names *n, u64 ino)
{
	struct inode *inode;

	mutex_lock(&n->use_lock);
	inode = ilookup(n->sb, ino);
	if (!inode || !HADSM_I(inode)->opens)
		hadsm_tx(n, krg_names_use(&n->io, ino, 0));
	mutex_unlock(&n->use_lock);
	if (inode) {
		clear_nlink(inode);	/* so that it does not stay in memory */
		iput(inode);
	}
}

/* ---- freeing ---- */

static int reap_contents(struct hadsm_names *n, const struct krg_names_attr *attr)
{
	pgoff_t last = n->sb->s_maxbytes >> PAGE_SHIFT;
	struct hadsm_domain *d = n->records;
	struct hadsm_store *s;
	int err;

	if (S_ISREG(attr->mode))
		d = hadsm_data_domain(n, attr->replicas);
	else if (!S_ISDIR(attr->mode))
		return 0;
	if (IS_ERR(d))
		return PTR_ERR(d);
	s = hadsm_store_get(d, attr->ino);
	if (IS_ERR(s))
		return PTR_ERR(s);
	err = hadsm_punch(s, 0, last);
	hadsm_store_forget(s);
	hadsm_store_put(s);
	return err;
}

static void reap_one(struct hadsm_names *n, u32 node, u64 ino, const u64 live[2])
{
	struct krg_names_attr attr;
	int ret = hadsm_tx(n, krg_names_unused(&n->io, ino, live, &attr));

	if (ret == 1 && reap_contents(n, &attr))
		return;
	/* -ESTALE: freed, but for its place in the list. */
	if (ret == 1 || ret == -ESTALE)
		hadsm_tx(n, krg_names_free(&n->io, node, ino));
}

/* One list; @mine: this node frees what is in it. */
static void reap_list(struct hadsm_names *n, u32 node, bool mine, const u64 live[2])
{
	u64 ino;
	u32 at;

	for (at = 0; hadsm_tx(n, krg_names_orphan(&n->io, node, at, &ino)) > 0; at++) {
		if (!ino)
			continue;
		reap_unmark(n, ino);
		if (mine)
			reap_one(n, node, ino, live);
		if (READ_ONCE(n->records->dead))
			return;
		cond_resched();
	}
}

static bool is_live(const u64 live[2], u32 node)
{
	return live[node / 64] >> node % 64 & 1;
}

/*
 * What the record of the root says: who has it mounted. Only of members is that
 * news; of others it is history, and a reason to look at their list.
 */
static bool reap_mounted(struct hadsm_names *n, u64 users[2])
{
	return !hadsm_tx(n, krg_names_users(&n->io, KRG_NAMES_ROOT, users));
}

static void reap_all(struct hadsm_names *n, bool everybody)
{
	u64 members[2], users[2], live[2];
	u32 node, lowest = 0;

	hadsm_view_live(members);
	if (!reap_mounted(n, users))
		return;
	live[0] = members[0] & users[0];
	live[1] = members[1] & users[1];
	for (node = 1; node < KRG_NAMES_NODES && !lowest; node++)
		if (is_live(live, node))
			lowest = node;
	for (node = 1; node < KRG_NAMES_NODES; node++)
		if (everybody || is_live(members, node) || is_live(users, node))
			reap_list(n, node, node == n->io.self ||
				  (n->io.self == lowest && !is_live(live, node)), live);
}

void hadsm_reap_work(struct work_struct *work)
{
	struct hadsm_names *n = container_of(to_delayed_work(work), struct hadsm_names, reap_work);
	bool everybody;
	unsigned int i;

	if (READ_ONCE(n->records->dead))
		return;
	/* A node that unmounted and left may have left orphans that others used then. */
	everybody = n->reap_rounds++ % REAP_EVERYBODY == 0;
	if (!READ_ONCE(n->records->suspended))
		reap_all(n, everybody);
	for (i = 0; everybody && i < KRG_DSM_REPLICAS_MAX; i++)
		if (READ_ONCE(n->data[i]))
			hadsm_stores_trim(n->data[i]);
	queue_delayed_work(system_unbound_wq, &n->reap_work, REAP_TIME);
}

void hadsm_reap_last(struct hadsm_names *n)
{
	cancel_delayed_work_sync(&n->reap_work);
	if (READ_ONCE(n->records->dead))
		return;
	reap_all(n, false);
	hadsm_tx(n, krg_names_use(&n->io, KRG_NAMES_ROOT, 0));
}
