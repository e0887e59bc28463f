// SPDX-License-Identifier: GPL-2.0
/*
 * The picture of a node's life that netlink and /proc show: taken in one piece
 * from the engine, the table of sessions and what node.c remembers. Must always
 * answer, also while a join or leave is under way: it takes no mutex of theirs.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "node_private.h"

static u64 status_ago(u64 now, u64 then)
{
	return then && now >= then ? now - then : ~0ULL;
}

/* Why a node is gone from a view that is not committed here yet. */
static u8 status_removed(const struct krg_view *view, u16 node)
{
	int i;

	for (i = 0; view && i < view->removed_count; i++)
		if (view->removed[i].node == node)
			return view->removed[i].reason;
	return KRG_MBR_R_LOST;
}

static void status_member(struct krg_node_member_info *info, u16 node,
			  const struct krg_member_snapshot *snap, const struct krg_mbr_member *m)
{
	const struct krg_mbr_peer_info *peer = &snap->peer[node];
	struct krg_node_memory mem;
	struct krg_session *s;

	spin_lock(&krg_node.lock);
	mem = krg_node.memory[node];
	spin_unlock(&krg_node.lock);
	info->node_id = node;
	info->self = node == krg_node.self.node;
	info->member = m != NULL;
	info->incarnation = m ? m->incarnation : mem.incarnation;
	info->flags = m ? m->flags : 0;
	info->removed_reason = m ? KRG_MBR_R_NONE :
			       mem.member ? status_removed(snap->view, node) : mem.reason;
	info->down_ms_ago = m || mem.member ? ~0ULL : status_ago(snap->now_ms, mem.down_ms);
	info->reachable = info->self || peer->reachable;
	info->heard_ms_ago = info->self ? 0 : peer->heard_ms_ago;
	info->acked_ms_ago = info->self ? 0 : peer->acked_ms_ago;
	strscpy(info->host, info->self ? krg_node.self.host : mem.host, sizeof(info->host));
	s = krg_session_get(node);
	if (s) {
		info->tipc_addr = s->address;
		if (!info->host[0])
			strscpy(info->host, s->host, sizeof(info->host));
		krg_session_put(s);
	}
}

static void status_members(struct krg_node_status *st, const struct krg_member_snapshot *snap)
{
	const struct krg_view *view = snap->view;
	u32 members = view ? view->count : 0;
	u32 n = 0, reachable = 0;
	u16 node;
	u32 i;

	for (i = 0; i < members; i++) {
		status_member(&st->node[n], view->member[i].node, snap, &view->member[i]);
		reachable += st->node[n++].reachable;
	}
	st->nr_members = n;
	for (node = 1; node <= KRG_NODE_ID_MAX; node++) {
		if ((view && krg_view_find(view, node)) ||
		    (!krg_node.memory[node].down_ms && !READ_ONCE(krg_node.memory[node].member)))
			continue;
		status_member(&st->node[n++], node, snap, NULL);
	}
	st->nr_nodes = n;
	st->quorum = members ? members / 2 + 1 : 0;
	st->votes = reachable;
}

static void status_engine(struct krg_node_status *st, const struct krg_member_snapshot *snap)
{
	st->has_quorum = snap->has_quorum;
	if (snap->view) {
		st->epoch = snap->view->epoch;
		st->cluster_id = snap->view->cluster_id;
		st->witness = snap->view->params.witness;
		st->lease_ms = snap->view->params.lease_ms;
		st->drift_ms = snap->view->params.drift_ms;
	}
	if (krg_may_serve() && snap->serve_until > snap->now_ms)
		st->lease_left_ms = snap->serve_until - snap->now_ms;
	status_members(st, snap);
}

struct krg_node_status *krg_node_get_status(void)
{
	struct krg_member_snapshot *snap;
	struct krg_node_status *st;
	char holders[96];

	st = kvzalloc(struct_size(st, node, 2 * KRG_NODE_ID_MAX), GFP_KERNEL);
	if (!st)
		return NULL;
	spin_lock(&krg_node.lock);
	st->state = krg_node.state;
	st->last_reason = krg_node.last_reason;
	st->last_reason_node = krg_node.last_reason_node;
	strscpy(st->last_error, krg_node.last_error, sizeof(st->last_error));
	if (st->state != KRG_NODE_OUT) {
		strscpy(st->cluster, krg_node.self.cluster, sizeof(st->cluster));
		st->incarnation = krg_node.self.incarnation;
	}
	st->node_id = krg_node.self.node;
	strscpy(st->host, krg_node.self.host, sizeof(st->host));
	spin_unlock(&krg_node.lock);

	snap = krg_member_snapshot(KRG_NODE_ID_MAX);
	if (snap)
		status_engine(st, snap);
	/*
	 * The state is what the last event made it; a node that slept past its lease,
	 * or has just been expelled, has not handled that event yet. The lease knows.
	 */
	if (st->state == KRG_NODE_SERVING && !st->lease_left_ms)
		st->state = KRG_NODE_SUSPENDED;
	krg_member_snapshot_free(snap);
	if (st->state == KRG_NODE_LEAVING && krg_view_drain_holders(holders, sizeof(holders)))
		snprintf(st->last_error, sizeof(st->last_error), "leaving, held by %s", holders);
	return st;
}
