// SPDX-License-Identifier: GPL-2.0
/*
 * TIPC with a cluster key encrypts what it sends but still accepts plaintext
 * from anybody. On the links of the cluster this filter throws such frames away
 * before TIPC sees them: what remains has passed AES-GCM with the cluster's key.
 *
 * An encrypted frame is recognised by its version field, 7. A frame that only
 * pretends to be encrypted fails TIPC's own decryption.
 */
#include <linux/err.h>
#include <linux/if_ether.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/skbuff.h>
#include <linux/slab.h>

#include "link.h"
#include "stats.h"

#define KRG_TIPC_ENCRYPTED	7	/* TIPC_EVERSION, in the upper three bits */

struct krg_ingress {
	struct nf_hook_ops ops;
	atomic64_t *dropped;
};

static unsigned int ingress_filter(void *priv, struct sk_buff *skb,
				   const struct nf_hook_state *state)
{
	struct krg_ingress *in = priv;

	if (likely(skb->protocol != htons(ETH_P_TIPC)))
		return NF_ACCEPT;
	if (pskb_may_pull(skb, 1) && skb->data[0] >> 5 == KRG_TIPC_ENCRYPTED)
		return NF_ACCEPT;
	atomic64_inc(in->dropped);
	krg_stats_inc(KRG_ST_PLAINTEXT);
	return NF_DROP;
}

struct krg_ingress *krg_ingress_add(struct net_device *dev, atomic64_t *dropped)
{
	struct krg_ingress *in = kzalloc(sizeof(*in), GFP_KERNEL);
	int err;

	if (!in)
		return ERR_PTR(-ENOMEM);
	in->dropped = dropped;
	in->ops.hook = ingress_filter;
	in->ops.priv = in;
	in->ops.pf = NFPROTO_NETDEV;
	in->ops.hooknum = NF_NETDEV_INGRESS;
	in->ops.dev = dev;
	in->ops.priority = INT_MIN;
	err = nf_register_net_hook(dev_net(dev), &in->ops);
	if (err) {
		kfree(in);
		return ERR_PTR(err);
	}
	return in;
}

void krg_ingress_remove(struct krg_ingress *in)
{
	if (!in)
		return;
	nf_unregister_net_hook(dev_net(in->ops.dev), &in->ops);
	synchronize_net();	/* the filter may be running */
	kfree(in);
}
