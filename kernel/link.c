// SPDX-License-Identifier: GPL-2.0
/*
 * The devices the cluster uses, as long as this node has a cluster: the filter
 * on each (ingress.c) and the packet handler of our own frames (hello.c). A device
 * that disappears is let go at once, and taken up again when one of its name
 * comes back, filter first.
 */
#include <linux/err.h>
#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>

#include <kerrighed/wire.h>

#include "event.h"
#include "link.h"
#include "node_private.h"

struct krg_link {
	char name[IFNAMSIZ];
	struct net_device *dev;		/* NULL: it does not exist now */
	struct krg_ingress *ingress;
	struct packet_type hello;
	bool running;			/* what listeners were told last */
	atomic64_t plaintext, hello_rx, hello_tx, hello_bad;
};

/* Everything here is under the RTNL, as the devices are. */
static struct krg_link krg_links[KRG_LINKS_MAX];
static unsigned int krg_links_nr;
static bool krg_links_active;

static bool link_running(const struct krg_link *link)
{
	return link->dev && netif_running(link->dev) && netif_carrier_ok(link->dev);
}

/* Tells listeners when a device starts or stops to carry frames. */
static void link_watch(struct krg_link *link)
{
	struct krg_event ev = { .state = krg_node_state() };
	bool running = link_running(link);

	ASSERT_RTNL();
	if (running == link->running)
		return;
	link->running = running;
	ev.type = running ? KRG_EVENT_LINK_UP : KRG_EVENT_LINK_DOWN;
	strscpy(ev.link, link->name, sizeof(ev.link));
	pr_info("link %s is %s\n", link->name, running ? "up" : "down");
	krg_event_report(&ev);
}

static int link_hello_rcv(struct sk_buff *skb, struct net_device *dev, struct packet_type *pt,
			  struct net_device *orig)
{
	struct krg_link *link = pt->af_packet_priv;

	if (skb->pkt_type == PACKET_OTHERHOST || skb->pkt_type == PACKET_LOOPBACK) {
		kfree_skb(skb);
		return NET_RX_DROP;
	}
	atomic64_inc(&link->hello_rx);
	krg_hello_receive(skb, link - krg_links);
	return NET_RX_SUCCESS;
}

static int link_attach(struct krg_link *link, struct net_device *dev)
{
	struct krg_ingress *in;

	ASSERT_RTNL();
	in = krg_ingress_add(dev, &link->plaintext);
	if (IS_ERR(in))
		return PTR_ERR(in);
	link->ingress = in;
	link->dev = dev;
	dev_hold(dev);
	link->hello.type = htons(KRG_HELLO_ETHERTYPE);
	link->hello.dev = dev;
	link->hello.func = link_hello_rcv;
	link->hello.af_packet_priv = link;
	dev_add_pack(&link->hello);
	return 0;
}

static void link_detach(struct krg_link *link)
{
	ASSERT_RTNL();
	if (!link->dev)
		return;
	dev_remove_pack(&link->hello);
	krg_ingress_remove(link->ingress);
	link->ingress = NULL;
	dev_put(link->dev);
	link->dev = NULL;
}

static int link_notify(struct notifier_block *nb, unsigned long what, void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);
	struct krg_link *link;
	unsigned int i;

	if (!krg_links_active || dev_net(dev) != &init_net)
		return NOTIFY_DONE;
	for (i = 0; i < krg_links_nr; i++) {
		link = &krg_links[i];
		if (what == NETDEV_UNREGISTER && link->dev == dev) {
			link_detach(link);
			pr_warn("link %s has disappeared\n", link->name);
		} else if (what == NETDEV_REGISTER && !link->dev &&
			   !strcmp(dev->name, link->name)) {
			if (link_attach(link, dev))
				pr_err("link %s cannot be filtered: it is not used\n", link->name);
		}
		link_watch(link);
	}
	return NOTIFY_DONE;
}

static struct notifier_block link_notifier = { .notifier_call = link_notify };

int krg_link_start(const char names[][IFNAMSIZ], u32 nr, const char **missing, u8 machine[8])
{
	struct net_device *dev;
	unsigned int i;
	int err = 0;

	memset(machine, 0, 8);
	rtnl_lock();
	krg_links_nr = nr;
	for (i = 0; i < nr && !err; i++) {
		struct krg_link *link = &krg_links[i];

		memset(link, 0, sizeof(*link));
		strscpy(link->name, names[i], sizeof(link->name));
		dev = __dev_get_by_name(&init_net, names[i]);
		if (!dev || dev->addr_len != ETH_ALEN) {
			*missing = names[i];
			err = -ENODEV;
			break;
		}
		if (!i)
			memcpy(machine, dev->dev_addr, ETH_ALEN);
		err = link_attach(link, dev);
		link->running = link_running(link);
	}
	if (err) {
		while (i--)
			link_detach(&krg_links[i]);
		krg_links_nr = 0;
	}
	krg_links_active = !err;
	rtnl_unlock();
	return err;
}

void krg_link_stop(void)
{
	unsigned int i;

	rtnl_lock();
	for (i = 0; i < krg_links_nr; i++)
		link_detach(&krg_links[i]);
	krg_links_active = false;
	krg_links_nr = 0;
	rtnl_unlock();
}

unsigned int krg_link_count(void)
{
	return READ_ONCE(krg_links_nr);
}

void krg_link_count_bad(unsigned int index)
{
	if (index < KRG_LINKS_MAX)
		atomic64_inc(&krg_links[index].hello_bad);
}

int krg_link_info_get(unsigned long index, struct krg_link_info *info)
{
	struct krg_link *link;
	int err = -ENOENT;

	memset(info, 0, sizeof(*info));
	rtnl_lock();
	if (index < krg_links_nr) {
		link = &krg_links[index];
		strscpy(info->name, link->name, sizeof(info->name));
		if (link->dev) {
			memcpy(info->mac, link->dev->dev_addr, ETH_ALEN);
			info->mtu = link->dev->mtu;
			info->present = true;
			info->running = link_running(link);
			info->filtering = link->ingress;
			info->bearer = rcu_access_pointer(link->dev->tipc_ptr);
		}
		info->plaintext_dropped = atomic64_read(&link->plaintext);
		info->hello_rx = atomic64_read(&link->hello_rx);
		info->hello_tx = atomic64_read(&link->hello_tx);
		info->hello_bad = atomic64_read(&link->hello_bad);
		err = 0;
	}
	rtnl_unlock();
	return err;
}

static struct sk_buff *link_frame(struct net_device *dev, const u8 *to, const void *data,
				  size_t len)
{
	struct sk_buff *skb = alloc_skb(LL_RESERVED_SPACE(dev) + len + dev->needed_tailroom,
					GFP_KERNEL);

	if (!skb)
		return NULL;
	skb_reserve(skb, LL_RESERVED_SPACE(dev));
	skb_reset_network_header(skb);
	skb_put_data(skb, data, len);
	skb->dev = dev;
	skb->protocol = htons(KRG_HELLO_ETHERTYPE);
	if (dev_hard_header(skb, dev, KRG_HELLO_ETHERTYPE, to ?: dev->broadcast, dev->dev_addr,
			    len) < 0) {
		kfree_skb(skb);
		return NULL;
	}
	return skb;
}

void krg_link_send(unsigned int index, const u8 *to, const void *data, size_t len)
{
	struct sk_buff *skb = NULL;
	struct net_device *dev;

	rtnl_lock();
	dev = index < krg_links_nr ? krg_links[index].dev : NULL;
	if (dev && netif_running(dev)) {
		skb = link_frame(dev, to, data, len);
		if (skb) {
			dev_queue_xmit(skb);
			atomic64_inc(&krg_links[index].hello_tx);
		}
	}
	rtnl_unlock();
}

int krg_link_init(void)
{
	return register_netdevice_notifier(&link_notifier);
}

void krg_link_exit(void)
{
	unregister_netdevice_notifier(&link_notifier);
}
