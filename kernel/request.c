// SPDX-License-Identifier: GPL-2.0
/*
 * What an administrator may ask of this node (node.h): checked, refused with a
 * text, or started. What becomes of it is node.c's.
 */
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/netlink.h>
#include <linux/random.h>

#include "link.h"
#include "node_private.h"

#define KRG_LEASE_MIN_MS	500
#define KRG_LEASE_MAX_MS	60000
#define KRG_PROBE_MS		700	/* is there a cluster of this name already? */
#define KRG_LEAVE_CALL_MS	3000

static int request_check(const struct krg_node_config *cfg, struct netlink_ext_ack *extack)
{
	if (!krg_wire_name_valid(cfg->cluster, sizeof(cfg->cluster))) {
		NL_SET_ERR_MSG(extack, "cluster name: 1 to 32 of A-Z a-z 0-9 . _ -");
		return -EINVAL;
	}
	if (cfg->host[0] && !krg_wire_name_valid(cfg->host, sizeof(cfg->host))) {
		NL_SET_ERR_MSG(extack, "host name: up to 64 of A-Z a-z 0-9 . _ -");
		return -EINVAL;
	}
	if (!cfg->node_id || cfg->node_id > KRG_NODE_ID_MAX) {
		NL_SET_ERR_MSG(extack, "node id: 1 to 126");
		return -ERANGE;
	}
	if (!cfg->nr_links || cfg->nr_links > KRG_LINKS_MAX) {
		NL_SET_ERR_MSG(extack, "one or two links are needed");
		return -EINVAL;
	}
	if (cfg->nr_links == 2 && !strcmp(cfg->link[0], cfg->link[1])) {
		NL_SET_ERR_MSG(extack, "the two links are the same device");
		return -EINVAL;
	}
	if (cfg->lease_ms && (cfg->lease_ms < KRG_LEASE_MIN_MS || cfg->lease_ms > KRG_LEASE_MAX_MS)) {
		NL_SET_ERR_MSG(extack, "lease: 500 to 60000 ms");
		return -ERANGE;
	}
	if (cfg->witness[0] && cfg->witness[0] != '/') {
		NL_SET_ERR_MSG(extack, "the witness file needs an absolute path");
		return -EINVAL;
	}
	return 0;
}

/* Common start of create and join; the caller has the mutex. */
static int request_begin(const struct krg_node_config *cfg, struct netlink_ext_ack *extack)
{
	int err;

	if (krg_node_state() != KRG_NODE_OUT) {
		NL_SET_ERR_MSG(extack, "this node is in a cluster already: leave it first");
		return -EBUSY;
	}
	err = request_check(cfg, extack);
	if (err)
		return err;
	if (!try_module_get(THIS_MODULE)) {
		NL_SET_ERR_MSG(extack, "the module is being unloaded");
		return -ENODEV;
	}
	err = krg_node_set_identity(cfg, extack);
	if (err)
		goto put;
	spin_lock(&krg_node.lock);
	krg_node.leaving = false;
	krg_node.over = false;
	krg_node.rejoins = 0;
	krg_node.last_reason = 0;
	krg_node.last_reason_node = 0;
	krg_node.last_error[0] = 0;
	memset(krg_node.memory, 0, sizeof(krg_node.memory));
	spin_unlock(&krg_node.lock);
	err = krg_node_links_up(extack);
	if (err)
		goto down;
	return 0;
down:
	krg_node_down();
put:
	module_put(THIS_MODULE);
	return err;
}

int krg_node_create(const struct krg_node_config *cfg, bool force, struct netlink_ext_ack *extack)
{
	struct krg_mbr_event create = { .type = KRG_MBR_EV_CREATE };
	int err;

	mutex_lock(&krg_node.mutex);
	err = request_begin(cfg, extack);
	if (err)
		goto unlock;
	if (!force && krg_hello_probe(KRG_PROBE_MS)) {
		NL_SET_ERR_MSG(extack, "a cluster of this name answers on the links: join it");
		err = -EEXIST;
		goto down;
	}
	err = krg_node_engine_up();
	if (err) {
		NL_SET_ERR_MSG(extack, "cannot start the transport: is TIPC set up?");
		goto down;
	}
	pr_info("unloading the module needs krgadm cluster leave first\n");
	krg_node_enter(KRG_NODE_PREPARING, 0, "creating cluster %s", cfg->cluster);
	do
		create.arg = get_random_u64();
	while (!create.arg);
	krg_member_post(&create);
	goto unlock;
down:
	krg_node_down();
	module_put(THIS_MODULE);
unlock:
	mutex_unlock(&krg_node.mutex);
	return err;
}

int krg_node_join(const struct krg_node_config *cfg, u32 timeout_ms,
		  struct netlink_ext_ack *extack)
{
	int err;

	mutex_lock(&krg_node.mutex);
	err = request_begin(cfg, extack);
	if (!err) {
		krg_node.join_timeout_ms = timeout_ms;
		krg_node.join_started = jiffies;
		pr_info("unloading the module needs krgadm cluster leave first\n");
		krg_node_enter(KRG_NODE_JOINING, 0, "joining cluster %s", cfg->cluster);
		mod_delayed_work(krg_node.wq, &krg_node.join_work, 0);
	}
	mutex_unlock(&krg_node.mutex);
	return err;
}

int krg_node_leave(struct netlink_ext_ack *extack)
{
	struct krg_mbr_event leave = { .type = KRG_MBR_EV_LEAVE };
	int err = 0;

	mutex_lock(&krg_node.mutex);
	switch (krg_node_state()) {
	case KRG_NODE_OUT:
		NL_SET_ERR_MSG(extack, "this node is in no cluster");
		err = -ENOTCONN;
		break;
	case KRG_NODE_JOINING:
	case KRG_NODE_FAILED:
	case KRG_NODE_SUSPENDED:
		/*
		 * Nobody to agree with, and nothing that others rely on: this node
		 * may not serve. For the others it is a node that was lost.
		 */
		WRITE_ONCE(krg_node.leaving, true);
		krg_node_remember_error(KRG_MBR_R_LEFT, 0, "");
		krg_node_out(KRG_MBR_R_LEFT, "left without agreement");
		break;
	default:
		WRITE_ONCE(krg_node.leaving, true);
		krg_node_enter(KRG_NODE_LEAVING, 0, "%s", "");
		err = krg_member_post(&leave);
	}
	mutex_unlock(&krg_node.mutex);
	return err;
}

/* There is no picture of the engine: none runs, or it does not answer. */
static int request_no_answer(struct netlink_ext_ack *extack)
{
	if (krg_node_state() == KRG_NODE_OUT) {
		NL_SET_ERR_MSG(extack, "this node is in no cluster");
		return -ENOTCONN;
	}
	NL_SET_ERR_MSG(extack, "the membership engine does not answer: see dmesg");
	return -ETIMEDOUT;
}

/* Is @node a member, seen from here? Text and errno if not. */
static int request_member(u16 node, struct netlink_ext_ack *extack)
{
	struct krg_member_snapshot *snap;
	int err = 0;

	if (!node || node > KRG_NODE_ID_MAX) {
		NL_SET_ERR_MSG(extack, "node id: 1 to 126");
		return -ERANGE;
	}
	snap = krg_member_snapshot(KRG_NODE_ID_MAX);
	if (!snap)
		return request_no_answer(extack);
	if (!snap->view) {
		NL_SET_ERR_MSG(extack, "this node is in no cluster");
		err = -ENOTCONN;
	} else if (!krg_view_find(snap->view, node)) {
		NL_SET_ERR_MSG(extack, "no such member");
		err = -ENOENT;
	} else if (!snap->has_quorum) {
		NL_SET_ERR_MSG(extack, "no quorum: nothing can be decided");
		err = -EHOSTUNREACH;
	}
	krg_member_snapshot_free(snap);
	return err;
}

int krg_node_evict(u16 node, struct netlink_ext_ack *extack)
{
	struct krg_mbr_event evict = { .type = KRG_MBR_EV_EVICT, .node = node };
	int err = request_member(node, extack);

	if (err)
		return err;
	if (node == krg_node.self.node) {
		NL_SET_ERR_MSG(extack, "this is the node itself: let it leave");
		return -EINVAL;
	}
	return krg_member_post(&evict);
}

int krg_node_drain(u16 node, struct netlink_ext_ack *extack)
{
	int err = request_member(node, extack);

	if (err)
		return err;
	if (node == krg_node.self.node)
		return krg_node_leave(extack);
	err = krg_rpc_call(node, KRG_MSG_LEAVE, NULL, 0, NULL, 0, KRG_LEAVE_CALL_MS);
	if (err < 0)
		NL_SET_ERR_MSG(extack, "the node does not answer");
	return err < 0 ? err : 0;
}

int krg_node_recover(struct netlink_ext_ack *extack)
{
	struct krg_mbr_event recover = { .type = KRG_MBR_EV_RECOVER };
	struct krg_member_snapshot *snap = krg_member_snapshot(KRG_NODE_ID_MAX);
	enum krg_mbr_recovery answer = KRG_MBR_RECOVERY_NO_VIEW;

	if (!snap)
		return request_no_answer(extack);
	if (snap->view)
		answer = snap->recovery;
	krg_member_snapshot_free(snap);
	switch (answer) {
	case KRG_MBR_RECOVERY_OK:
		return krg_member_post(&recover);
	case KRG_MBR_RECOVERY_QUORUM:
		NL_SET_ERR_MSG(extack, "this node has quorum: there is nothing to recover");
		return -EINVAL;
	case KRG_MBR_RECOVERY_GOING:
		NL_SET_ERR_MSG(extack,
			       "this node is to be evicted or is leaving: recover at another node");
		return -EINVAL;
	case KRG_MBR_RECOVERY_OUTSIDE:
		NL_SET_ERR_MSG(extack,
			       "this node does not reach all that reach each other: recover at one of those");
		return -EINVAL;
	default:
		NL_SET_ERR_MSG(extack, "this node is in no view: there is nothing to recover");
		return -ENOTCONN;
	}
}
