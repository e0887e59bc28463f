// SPDX-License-Identifier: GPL-2.0
/*
 * Switching off or restarting the whole cluster, from any member.
 *
 * Two rounds over KRG_MSG_POWER: first every other member is asked whether it
 * can (PROMISE); only if all can, all are told to (GO), this node last. Who was
 * told leaves the cluster as planned, waits for the leave to be complete for a
 * limited time, and then shuts down the way its init system does it. An init
 * system that does nothing is overruled after a minute.
 *
 * A member that is unreachable fails the first round and nobody goes down: evict
 * it first. One that dies between the rounds is down anyway.
 */
#include <linux/delay.h>
#include <linux/mutex.h>
#include <linux/netlink.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include <uapi/linux/kerrighed.h>

#include <kerrighed/rpc.h>
#include <kerrighed/wire.h>

#include "control.h"
#include "event.h"
#include "node.h"

#define KRG_POWER_CALL_MS	5000	/* for one member to answer */
#define KRG_POWER_LEAVE_MS	15000	/* for the planned leave */
#define KRG_POWER_INIT_MS	60000	/* for the init system, before it is overruled */

enum krg_power_step {
	KRG_POWER_PROMISE = 1,
	KRG_POWER_GO,
};

struct krg_power_msg {
	__le32 step;
	__le32 action;		/* enum krg_power_action */
};

/* Serialises requests; protects krg_power_pending. Taken alone. */
static DEFINE_MUTEX(krg_power_lock);
static u32 krg_power_pending;	/* enum krg_power_action under way on this node, 0: none */

static void krg_power_leave(struct work_struct *work);
static void krg_power_overrule(struct work_struct *work);
static DECLARE_WORK(krg_power_leave_work, krg_power_leave);
static DECLARE_DELAYED_WORK(krg_power_overrule_work, krg_power_overrule);

static const char *krg_power_name(u32 action)
{
	return action == KRG_POWER_ACTION_REBOOT ? "restart" : "poweroff";
}

static bool krg_power_is_out(void)
{
	struct krg_node_status *st = krg_node_get_status();
	bool out = !st || st->state == KRG_NODE_OUT || st->state == KRG_NODE_FAILED;

	kvfree(st);
	return out;
}

static void krg_power_leave(struct work_struct *work)
{
	u32 action = READ_ONCE(krg_power_pending);
	unsigned int waited_ms;

	if (krg_node_leave(NULL) == 0)
		for (waited_ms = 0; waited_ms < KRG_POWER_LEAVE_MS && !krg_power_is_out(); waited_ms += 100)
			msleep(100);

	pr_notice("cluster %s: this node goes down now\n", krg_power_name(action));
	schedule_delayed_work(&krg_power_overrule_work, msecs_to_jiffies(KRG_POWER_INIT_MS));
	if (action == KRG_POWER_ACTION_REBOOT)
		orderly_reboot();
	else
		orderly_poweroff(true);
}

static void krg_power_overrule(struct work_struct *work)
{
	pr_warn("the init system has not shut this node down for %u s\n", KRG_POWER_INIT_MS / 1000);
	if (READ_ONCE(krg_power_pending) == KRG_POWER_ACTION_REBOOT)
		kernel_restart(NULL);
	else
		kernel_power_off();
}

/* @from: who asked. */
static void krg_power_begin(u32 action, u16 from)
{
	struct krg_event ev = {
		.type = KRG_EVENT_POWER,
		.state = KRG_NODE_SERVING,
		.node = from,
	};

	lockdep_assert_held(&krg_power_lock);
	if (krg_power_pending)
		return;
	WRITE_ONCE(krg_power_pending, action);
	snprintf(ev.text, sizeof(ev.text), "%s of the whole cluster, asked for on node %u", krg_power_name(action), from);
	krg_event_report(&ev);
	schedule_work(&krg_power_leave_work);
}

static void krg_power_handle(struct krg_rpc_req *req)
{
	const struct krg_power_msg *msg = krg_rpc_req_data(req);
	u32 step = le32_to_cpu(msg->step), action = le32_to_cpu(msg->action);
	int err = 0;

	mutex_lock(&krg_power_lock);
	if (action != KRG_POWER_ACTION_POWEROFF && action != KRG_POWER_ACTION_REBOOT)
		err = -EBADMSG;
	else if (step == KRG_POWER_GO)
		krg_power_begin(action, krg_rpc_req_node(req));
	else if (step != KRG_POWER_PROMISE)
		err = -EBADMSG;
	else if (krg_power_pending)
		err = -EBUSY;
	mutex_unlock(&krg_power_lock);
	krg_rpc_reply(req, err, NULL, 0);
}

static int krg_power_tell(u16 node, enum krg_power_step step, u32 action)
{
	struct krg_power_msg msg = { .step = cpu_to_le32(step), .action = cpu_to_le32(action) };
	struct kvec vec = { .iov_base = &msg, .iov_len = sizeof(msg) };
	int err = krg_rpc_call(node, KRG_MSG_POWER, &vec, 1, NULL, 0, KRG_POWER_CALL_MS);

	if (err < 0)
		pr_warn("cluster %s: node %u: error %d\n", krg_power_name(action), node, err);
	return err < 0 ? err : 0;
}

static int krg_power_tell_all(const struct krg_node_status *st, enum krg_power_step step, u32 action)
{
	int err, first = 0;
	u32 i;

	for (i = 0; i < st->nr_nodes; i++) {
		if (!st->node[i].member || st->node[i].self)
			continue;
		err = krg_power_tell(st->node[i].node_id, step, action);
		if (err && !first)
			first = err;
	}
	return first;
}

int krg_power_cluster(u32 action, struct netlink_ext_ack *extack)
{
	struct krg_node_status *st = krg_node_get_status();
	int err = 0;

	if (!st)
		return -ENOMEM;

	mutex_lock(&krg_power_lock);
	if (st->state == KRG_NODE_OUT) {
		NL_SET_ERR_MSG(extack, "this node is not in a cluster");
		err = -ENOTCONN;
	} else if (st->state != KRG_NODE_SERVING) {
		NL_SET_ERR_MSG(extack, "this node does not serve: it may not speak for the cluster");
		err = -EHOSTUNREACH;
	} else if (krg_power_pending) {
		NL_SET_ERR_MSG(extack, "the cluster is already going down");
		err = -EBUSY;
	} else if (krg_power_tell_all(st, KRG_POWER_PROMISE, action)) {
		NL_SET_ERR_MSG(extack,
			       "a member did not promise to go down (dmesg names it), nothing was done; repair or evict it first");
		err = -EBUSY;
	}
	if (!err) {
		krg_power_tell_all(st, KRG_POWER_GO, action);
		krg_power_begin(action, st->node_id);
	}
	mutex_unlock(&krg_power_lock);

	kvfree(st);
	return err;
}

static const struct krg_rpc_type krg_power_type = {
	.type		= KRG_MSG_POWER,
	.class		= KRG_CLASS_MSG,
	.flags		= KRG_RPC_QUEUED,
	.min_len	= sizeof(struct krg_power_msg),
	.max_len	= sizeof(struct krg_power_msg),
	.name		= "power",
	.handle		= krg_power_handle,
};

int __init krg_power_init(void)
{
	return krg_rpc_register(&krg_power_type);
}

void krg_power_exit(void)
{
	krg_rpc_unregister(&krg_power_type);
	cancel_work_sync(&krg_power_leave_work);
	cancel_delayed_work_sync(&krg_power_overrule_work);
}
