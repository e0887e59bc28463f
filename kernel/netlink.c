// SPDX-License-Identifier: GPL-2.0
/*
 * The generic netlink family "kerrighed". Translates requests into calls of
 * node.h and what those report into attributes; takes no decision of its own
 * beyond refusing what is malformed. Which attributes exist, and who may send
 * what, is in Documentation/netlink/kerrighed.yaml and generated from there.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timekeeping.h>

#include "control.h"
#include "core/membership.h"
#include "event.h"
#include "generated/netlink-policy.h"
#include "link.h"
#include "node.h"

static_assert((int)KRG_NODE_OUT == KRG_NODE_STATE_OUT && (int)KRG_NODE_FAILED == KRG_NODE_STATE_FAILED);
static_assert((int)KRG_MBR_R_LOST == KRG_REASON_LOST && (int)KRG_MBR_R_INTERNAL == KRG_REASON_INTERNAL);
static_assert((int)KRG_EVENT_STATE == KRG_EVENT_KIND_STATE && (int)KRG_EVENT_POWER == KRG_EVENT_KIND_POWER);
static_assert((int)KRG_MBR_F_DRAINING == KRG_NODE_FLAGS_DRAINING);

/* Room for every attribute of a cluster-get reply but the members. */
#define KRG_NL_CLUSTER_SIZE	1024

static struct genl_family krg_nl_family;

static int krg_nl_put_text(struct sk_buff *skb, int attr, const char *text)
{
	return text && *text ? nla_put_string(skb, attr, text) : 0;
}

static int krg_nl_put_flag(struct sk_buff *skb, int attr, bool set)
{
	return set ? nla_put_flag(skb, attr) : 0;
}

/* Times that are ~0 mean "never" and are left out. */
static int krg_nl_put_ago(struct sk_buff *skb, int attr, int pad, u64 ms)
{
	return ms == ~0ULL ? 0 : nla_put_u64_64bit(skb, attr, ms, pad);
}

/* Reading */

static int krg_nl_fill_cluster(struct sk_buff *skb, const struct krg_node_status *st)
{
	u32 i;

	if (krg_nl_put_text(skb, KRG_A_CLUSTER_NAME, st->cluster) ||
	    nla_put_u64_64bit(skb, KRG_A_CLUSTER_ID, st->cluster_id, KRG_A_CLUSTER_PAD) ||
	    nla_put_u64_64bit(skb, KRG_A_CLUSTER_EPOCH, st->epoch, KRG_A_CLUSTER_PAD) ||
	    nla_put_u32(skb, KRG_A_CLUSTER_STATE, st->state) ||
	    nla_put_u16(skb, KRG_A_CLUSTER_NODE_ID, st->node_id) ||
	    krg_nl_put_text(skb, KRG_A_CLUSTER_HOST, st->host) ||
	    nla_put_u64_64bit(skb, KRG_A_CLUSTER_INCARNATION, st->incarnation, KRG_A_CLUSTER_PAD) ||
	    krg_nl_put_flag(skb, KRG_A_CLUSTER_HAS_QUORUM, st->has_quorum) ||
	    krg_nl_put_flag(skb, KRG_A_CLUSTER_WITNESS, st->witness) ||
	    nla_put_u32(skb, KRG_A_CLUSTER_LEASE_MS, st->lease_ms) ||
	    nla_put_u32(skb, KRG_A_CLUSTER_DRIFT_MS, st->drift_ms) ||
	    nla_put_u64_64bit(skb, KRG_A_CLUSTER_LEASE_LEFT_MS, st->lease_left_ms, KRG_A_CLUSTER_PAD) ||
	    nla_put_u32(skb, KRG_A_CLUSTER_QUORUM, st->quorum) ||
	    nla_put_u32(skb, KRG_A_CLUSTER_VOTES, st->votes) ||
	    nla_put_u32(skb, KRG_A_CLUSTER_LAST_REASON, st->last_reason) ||
	    nla_put_u16(skb, KRG_A_CLUSTER_LAST_REASON_NODE, st->last_reason_node) ||
	    krg_nl_put_text(skb, KRG_A_CLUSTER_LAST_ERROR, st->last_error))
		return -EMSGSIZE;

	for (i = 0; i < st->nr_nodes; i++)
		if (st->node[i].member && nla_put_u16(skb, KRG_A_CLUSTER_MEMBER, st->node[i].node_id))
			return -EMSGSIZE;

	return krg_nl_put_text(skb, KRG_A_CLUSTER_MODULE_VERSION, THIS_MODULE->version);
}

static struct krg_node_status *krg_nl_status(struct netlink_ext_ack *extack)
{
	struct krg_node_status *st = krg_node_get_status();

	if (!st)
		NL_SET_ERR_MSG(extack, "out of memory");
	return st;
}

/* Starts a reply of @size bytes to @info; NULL: no memory. */
static struct sk_buff *krg_nl_reply_begin(struct genl_info *info, u8 cmd, size_t size, void **header)
{
	struct sk_buff *reply = genlmsg_new(size, GFP_KERNEL);

	if (!reply)
		return NULL;
	*header = genlmsg_put_reply(reply, info, &krg_nl_family, 0, cmd);
	if (*header)
		return reply;
	nlmsg_free(reply);
	return NULL;
}

/* Sends @reply, or frees it if it could not be filled (@err). */
static int krg_nl_reply_end(struct sk_buff *reply, struct genl_info *info, void *header, int err)
{
	if (err) {
		nlmsg_free(reply);
		return err;
	}
	genlmsg_end(reply, header);
	return genlmsg_reply(reply, info);
}

int krg_nl_cluster_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct krg_node_status *st = krg_nl_status(info->extack);
	struct sk_buff *reply;
	int err = -ENOMEM;
	void *header;

	if (!st)
		return -ENOMEM;

	reply = krg_nl_reply_begin(info, KRG_CMD_CLUSTER_GET, KRG_NL_CLUSTER_SIZE +
				   st->nr_nodes * nla_total_size(sizeof(u16)), &header);
	if (reply)
		err = krg_nl_reply_end(reply, info, header, krg_nl_fill_cluster(reply, st));
	kvfree(st);
	return err;
}

static int krg_nl_fill_node(struct sk_buff *skb, const struct krg_node_member_info *node)
{
	if (nla_put_u16(skb, KRG_A_NODE_ID, node->node_id) ||
	    krg_nl_put_text(skb, KRG_A_NODE_HOST, node->host) ||
	    nla_put_u32(skb, KRG_A_NODE_FLAGS, node->flags) ||
	    krg_nl_put_flag(skb, KRG_A_NODE_MEMBER, node->member) ||
	    krg_nl_put_flag(skb, KRG_A_NODE_REACHABLE, node->reachable) ||
	    krg_nl_put_flag(skb, KRG_A_NODE_SELF, node->self) ||
	    nla_put_u64_64bit(skb, KRG_A_NODE_INCARNATION, node->incarnation, KRG_A_NODE_PAD) ||
	    nla_put_u32(skb, KRG_A_NODE_REASON, node->removed_reason) ||
	    krg_nl_put_ago(skb, KRG_A_NODE_HEARD_MS_AGO, KRG_A_NODE_PAD, node->heard_ms_ago) ||
	    krg_nl_put_ago(skb, KRG_A_NODE_ACKED_MS_AGO, KRG_A_NODE_PAD, node->acked_ms_ago) ||
	    krg_nl_put_ago(skb, KRG_A_NODE_DOWN_MS_AGO, KRG_A_NODE_PAD, node->down_ms_ago) ||
	    (node->tipc_addr && nla_put_u32(skb, KRG_A_NODE_TIPC_ADDR, node->tipc_addr)))
		return -EMSGSIZE;
	return 0;
}

static const struct krg_node_member_info *krg_nl_find_node(const struct krg_node_status *st, u16 id)
{
	u32 i;

	for (i = 0; i < st->nr_nodes; i++)
		if (st->node[i].node_id == id)
			return &st->node[i];
	return NULL;
}

int krg_nl_node_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	const struct krg_node_member_info *node;
	struct krg_node_status *st;
	struct sk_buff *reply;
	void *header;
	int err;

	if (!info->attrs[KRG_A_NODE_ID]) {
		GENL_SET_ERR_MSG(info, "the node id is missing");
		return -EINVAL;
	}
	st = krg_nl_status(info->extack);
	if (!st)
		return -ENOMEM;

	node = krg_nl_find_node(st, nla_get_u16(info->attrs[KRG_A_NODE_ID]));
	if (!node) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[KRG_A_NODE_ID],
				    "this node knows of no node with that id");
		err = -ENOENT;
		goto free_status;
	}

	err = -ENOMEM;
	reply = krg_nl_reply_begin(info, KRG_CMD_NODE_GET, NLMSG_DEFAULT_SIZE, &header);
	if (reply)
		err = krg_nl_reply_end(reply, info, header, krg_nl_fill_node(reply, node));

free_status:
	kvfree(st);
	return err;
}

/*
 * One message of a dump. A dump that spans several calls is marked interrupted
 * when cb->seq changed in between.
 */
static void *krg_nl_dump_begin(struct sk_buff *skb, struct netlink_callback *cb, u8 cmd)
{
	void *header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &krg_nl_family,
				   NLM_F_MULTI, cmd);

	if (header)
		genl_dump_check_consistent(cb, header);
	return header;
}

int krg_nl_node_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct krg_node_status *st;
	void *header;

	/* The policy is that of the single request, where an id is welcome. */
	if (nlmsg_attrlen(cb->nlh, GENL_HDRLEN) > 0) {
		NL_SET_ERR_MSG(cb->extack, "a dump of all nodes takes no attributes");
		return -EINVAL;
	}
	st = krg_nl_status(cb->extack);
	if (!st)
		return -ENOMEM;
	cb->seq = (u32)st->epoch + 1;

	for (; cb->args[0] < st->nr_nodes; cb->args[0]++) {
		header = krg_nl_dump_begin(skb, cb, KRG_CMD_NODE_GET);
		if (!header)
			break;
		if (krg_nl_fill_node(skb, &st->node[cb->args[0]])) {
			genlmsg_cancel(skb, header);
			break;
		}
		genlmsg_end(skb, header);
	}

	kvfree(st);
	return skb->len;
}

static int krg_nl_fill_link(struct sk_buff *skb, const struct krg_link_info *link)
{
	if (nla_put_string(skb, KRG_A_LINK_NAME, link->name) ||
	    nla_put(skb, KRG_A_LINK_MAC, sizeof(link->mac), link->mac) ||
	    nla_put_u32(skb, KRG_A_LINK_MTU, link->mtu) ||
	    krg_nl_put_flag(skb, KRG_A_LINK_PRESENT, link->present) ||
	    krg_nl_put_flag(skb, KRG_A_LINK_RUNNING, link->running) ||
	    krg_nl_put_flag(skb, KRG_A_LINK_FILTERING, link->filtering) ||
	    krg_nl_put_flag(skb, KRG_A_LINK_BEARER, link->bearer) ||
	    nla_put_u64_64bit(skb, KRG_A_LINK_PLAINTEXT_DROPPED, link->plaintext_dropped, KRG_A_LINK_PAD) ||
	    nla_put_u64_64bit(skb, KRG_A_LINK_HELLO_RX, link->hello_rx, KRG_A_LINK_PAD) ||
	    nla_put_u64_64bit(skb, KRG_A_LINK_HELLO_TX, link->hello_tx, KRG_A_LINK_PAD) ||
	    nla_put_u64_64bit(skb, KRG_A_LINK_HELLO_BAD, link->hello_bad, KRG_A_LINK_PAD))
		return -EMSGSIZE;
	return 0;
}

int krg_nl_link_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct krg_link_info link;
	void *header;

	for (; krg_link_info_get(cb->args[0], &link) == 0; cb->args[0]++) {
		header = krg_nl_dump_begin(skb, cb, KRG_CMD_LINK_GET);
		if (!header)
			break;
		if (krg_nl_fill_link(skb, &link)) {
			genlmsg_cancel(skb, header);
			break;
		}
		genlmsg_end(skb, header);
	}
	return skb->len;
}

static int krg_nl_fill_stats(struct sk_buff *skb, const struct krg_report_entry *entry)
{
	int i;

	if (nla_put_string(skb, KRG_A_STATS_NAME, entry->name) ||
	    krg_nl_put_text(skb, KRG_A_STATS_MESSAGE, entry->message) ||
	    (entry->peer && nla_put_u16(skb, KRG_A_STATS_PEER, entry->peer)) ||
	    nla_put_u64_64bit(skb, KRG_A_STATS_VALUE, entry->value, KRG_A_STATS_PAD))
		return -EMSGSIZE;
	if (!entry->histogram)
		return 0;

	if (nla_put_u64_64bit(skb, KRG_A_STATS_SUM_US, entry->sum_us, KRG_A_STATS_PAD))
		return -EMSGSIZE;
	for (i = 0; i < KRG_STATS_BUCKETS; i++)
		if (nla_put_u64_64bit(skb, KRG_A_STATS_BUCKET, entry->bucket[i], KRG_A_STATS_PAD))
			return -EMSGSIZE;
	return 0;
}

int krg_nl_stats_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct krg_report_entry entry;
	void *header;
	int err;

	for (; (err = krg_report_get(cb->args[0], &entry)) != -ENOENT; cb->args[0]++) {
		if (err)	/* an entry without a value just now */
			continue;
		header = krg_nl_dump_begin(skb, cb, KRG_CMD_STATS_GET);
		if (!header)
			break;
		if (krg_nl_fill_stats(skb, &entry)) {
			genlmsg_cancel(skb, header);
			break;
		}
		genlmsg_end(skb, header);
	}
	return skb->len;
}

/* Writing */

/* Names end up in logs, host files and shell scripts: nothing but harmless characters. */
static bool krg_nl_name_ok(const char *name)
{
	if (!*name || *name == '-' || *name == '.')
		return false;
	for (; *name; name++)
		if (!isalnum(*name) && *name != '-' && *name != '_' && *name != '.')
			return false;
	return true;
}

static int krg_nl_refuse(struct genl_info *info, int attr, const char *text)
{
	if (info->attrs[attr])
		info->extack->bad_attr = info->attrs[attr];
	info->extack->_msg = text;
	return -EINVAL;
}

static int krg_nl_parse_links(struct genl_info *info, struct krg_node_config *cfg)
{
	struct nlattr *attr;
	int left;
	u32 i;

	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, left) {
		if (nla_type(attr) != KRG_A_CONFIG_LINK)
			continue;
		if (cfg->nr_links == KRG_LINKS_MAX)
			return krg_nl_refuse(info, KRG_A_CONFIG_LINK, "a cluster has at most two links");
		nla_strscpy(cfg->link[cfg->nr_links], attr, IFNAMSIZ);
		if (!*cfg->link[cfg->nr_links])
			return krg_nl_refuse(info, KRG_A_CONFIG_LINK, "the name of a link is empty");
		for (i = 0; i < cfg->nr_links; i++)
			if (!strcmp(cfg->link[i], cfg->link[cfg->nr_links]))
				return krg_nl_refuse(info, KRG_A_CONFIG_LINK, "the same link is given twice");
		cfg->nr_links++;
	}
	if (!cfg->nr_links)
		return krg_nl_refuse(info, KRG_A_CONFIG_LINK, "no link is given");
	return 0;
}

static int krg_nl_parse_config(struct genl_info *info, struct krg_node_config *cfg)
{
	struct nlattr **attrs = info->attrs;
	int err;

	memset(cfg, 0, sizeof(*cfg));
	if (!attrs[KRG_A_CONFIG_CLUSTER])
		return krg_nl_refuse(info, KRG_A_CONFIG_CLUSTER, "the name of the cluster is missing");
	nla_strscpy(cfg->cluster, attrs[KRG_A_CONFIG_CLUSTER], sizeof(cfg->cluster));
	if (!krg_nl_name_ok(cfg->cluster))
		return krg_nl_refuse(info, KRG_A_CONFIG_CLUSTER,
				     "a cluster's name has letters, digits, dots, dashes and underscores, and starts with no dot or dash");

	if (!attrs[KRG_A_CONFIG_HOST])
		return krg_nl_refuse(info, KRG_A_CONFIG_HOST, "the host name is missing");
	nla_strscpy(cfg->host, attrs[KRG_A_CONFIG_HOST], sizeof(cfg->host));
	if (!krg_nl_name_ok(cfg->host))
		return krg_nl_refuse(info, KRG_A_CONFIG_HOST, "the host name has a character that no host name has");

	if (!attrs[KRG_A_CONFIG_NODE_ID])
		return krg_nl_refuse(info, KRG_A_CONFIG_NODE_ID, "the node id is missing");
	cfg->node_id = nla_get_u16(attrs[KRG_A_CONFIG_NODE_ID]);

	if (!attrs[KRG_A_CONFIG_KEY])
		return krg_nl_refuse(info, KRG_A_CONFIG_KEY, "the cluster key is missing");
	nla_memcpy(cfg->key, attrs[KRG_A_CONFIG_KEY], sizeof(cfg->key));
	if (!memchr_inv(cfg->key, cfg->key[0], sizeof(cfg->key)))
		return krg_nl_refuse(info, KRG_A_CONFIG_KEY, "the cluster key is one byte repeated, not a random key");

	err = krg_nl_parse_links(info, cfg);
	if (err)
		return err;

	if (attrs[KRG_A_CONFIG_LEASE_MS])
		cfg->lease_ms = nla_get_u32(attrs[KRG_A_CONFIG_LEASE_MS]);
	if (attrs[KRG_A_CONFIG_WITNESS]) {
		nla_strscpy(cfg->witness, attrs[KRG_A_CONFIG_WITNESS], sizeof(cfg->witness));
		if (cfg->witness[0] != '/')
			return krg_nl_refuse(info, KRG_A_CONFIG_WITNESS, "the witness needs an absolute path");
	}
	cfg->auto_rejoin = !attrs[KRG_A_CONFIG_AUTO_REJOIN] || nla_get_u8(attrs[KRG_A_CONFIG_AUTO_REJOIN]);
	return 0;
}

int krg_nl_cluster_create_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct krg_node_config cfg;
	int err = krg_nl_parse_config(info, &cfg);

	if (!err)
		err = krg_node_create(&cfg, nla_get_flag(info->attrs[KRG_A_CONFIG_FORCE]), info->extack);
	memzero_explicit(cfg.key, sizeof(cfg.key));
	return err;
}

int krg_nl_cluster_join_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct krg_node_config cfg;
	u32 timeout_ms = 0;
	int err = krg_nl_parse_config(info, &cfg);

	if (info->attrs[KRG_A_CONFIG_TIMEOUT_MS])
		timeout_ms = nla_get_u32(info->attrs[KRG_A_CONFIG_TIMEOUT_MS]);
	if (!err)
		err = krg_node_join(&cfg, timeout_ms, info->extack);
	memzero_explicit(cfg.key, sizeof(cfg.key));
	return err;
}

int krg_nl_cluster_leave_doit(struct sk_buff *skb, struct genl_info *info)
{
	return krg_node_leave(info->extack);
}

int krg_nl_cluster_recover_doit(struct sk_buff *skb, struct genl_info *info)
{
	if (!nla_get_flag(info->attrs[KRG_A_CONFIG_FORCE]))
		return krg_nl_refuse(info, KRG_A_CONFIG_FORCE,
				     "recover is unsafe unless all unreachable members are dead: the force flag is needed");
	return krg_node_recover(info->extack);
}

int krg_nl_cluster_power_doit(struct sk_buff *skb, struct genl_info *info)
{
	if (!info->attrs[KRG_A_POWER_ACTION])
		return krg_nl_refuse(info, KRG_A_POWER_ACTION, "the action is missing");
	return krg_power_cluster(nla_get_u32(info->attrs[KRG_A_POWER_ACTION]), info->extack);
}

int krg_nl_node_evict_doit(struct sk_buff *skb, struct genl_info *info)
{
	if (!info->attrs[KRG_A_NODE_ID])
		return krg_nl_refuse(info, KRG_A_NODE_ID, "the node id is missing");
	return krg_node_evict(nla_get_u16(info->attrs[KRG_A_NODE_ID]), info->extack);
}

int krg_nl_node_drain_doit(struct sk_buff *skb, struct genl_info *info)
{
	if (!info->attrs[KRG_A_NODE_ID])
		return krg_nl_refuse(info, KRG_A_NODE_ID, "the node id is missing");
	return krg_node_drain(nla_get_u16(info->attrs[KRG_A_NODE_ID]), info->extack);
}

/* Events */

static int krg_nl_fill_event(struct sk_buff *skb, const struct krg_event *ev, u64 seq, u64 time_ns)
{
	u32 i;

	if (nla_put_u32(skb, KRG_A_EVENT_TYPE, ev->type) ||
	    nla_put_u64_64bit(skb, KRG_A_EVENT_SEQ, seq, KRG_A_EVENT_PAD) ||
	    nla_put_u64_64bit(skb, KRG_A_EVENT_TIME_NS, time_ns, KRG_A_EVENT_PAD) ||
	    nla_put_u32(skb, KRG_A_EVENT_STATE, ev->state) ||
	    nla_put_u64_64bit(skb, KRG_A_EVENT_EPOCH, ev->epoch, KRG_A_EVENT_PAD) ||
	    (ev->node && nla_put_u16(skb, KRG_A_EVENT_NODE, ev->node)) ||
	    nla_put_u32(skb, KRG_A_EVENT_REASON, ev->reason) ||
	    (ev->incarnation &&
	     nla_put_u64_64bit(skb, KRG_A_EVENT_INCARNATION, ev->incarnation, KRG_A_EVENT_PAD)) ||
	    krg_nl_put_text(skb, KRG_A_EVENT_LINK, ev->link) ||
	    krg_nl_put_text(skb, KRG_A_EVENT_HOST, ev->host) ||
	    krg_nl_put_text(skb, KRG_A_EVENT_TEXT, ev->text))
		return -EMSGSIZE;

	for (i = 0; ev->members && i < ev->nr_members; i++)
		if (nla_put_u16(skb, KRG_A_EVENT_MEMBER, ev->members[i]))
			return -EMSGSIZE;
	return 0;
}

/*
 * An event that cannot be sent is lost, but not silently: its number is missing
 * and listeners take a fresh picture.
 */
static void krg_nl_event(const struct krg_event *ev)
{
	static atomic64_t sent;
	u64 seq = atomic64_inc_return(&sent);
	struct sk_buff *skb;
	void *header;

	if (!genl_has_listeners(&krg_nl_family, &init_net, KRG_NL_GROUP_EVENTS))
		return;

	skb = genlmsg_new(NLMSG_DEFAULT_SIZE + ev->nr_members * nla_total_size(sizeof(u16)), GFP_KERNEL);
	if (!skb)
		return;
	header = genlmsg_put(skb, 0, 0, &krg_nl_family, 0, KRG_CMD_EVENT);
	if (!header || krg_nl_fill_event(skb, ev, seq, ktime_get_boottime_ns())) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_end(skb, header);
	genlmsg_multicast(&krg_nl_family, skb, 0, KRG_NL_GROUP_EVENTS, GFP_KERNEL);
}

static struct genl_family krg_nl_family __ro_after_init = {
	.name		= KRG_GENL_NAME,
	.version	= KRG_GENL_VERSION,
	.module		= THIS_MODULE,
	.ops		= krg_nl_ops,
	.n_ops		= ARRAY_SIZE(krg_nl_ops),
	.mcgrps		= krg_nl_groups,
	.n_mcgrps	= ARRAY_SIZE(krg_nl_groups),
};

int __init krg_netlink_init(void)
{
	int err = genl_register_family(&krg_nl_family);

	if (!err)
		krg_event_listen(krg_nl_event);
	return err;
}

void krg_netlink_exit(void)
{
	krg_event_unlisten();
	genl_unregister_family(&krg_nl_family);
}
