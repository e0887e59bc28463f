// SPDX-License-Identifier: GPL-2.0
/*
 * The check of internet sockets, and the end of captured connections. Their records
 * are in capture_inet.c.
 */
#include <linux/file.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/net.h>
#include <linux/skbuff.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/xarray.h>
#include <net/inet_sock.h>
#include <net/ipv6.h>
#include <net/tcp.h>
#include <net/tcp_states.h>

#include <kerrighed/compat.h>

#include "check_private.h"
#include "file.h"
#include "inet.h"
#include "park.h"
#include "socket.h"

bool krg_inet_is_connection(const struct sock *sk)
{
	return sk->sk_type == SOCK_STREAM && sk->sk_state != TCP_CLOSE && sk->sk_state != TCP_LISTEN;
}

/* IPv4 addresses as IPv6 has them, so that the two ends of a connection can be of both families. */
static void own_address(struct sock *sk, struct in6_addr *to)
{
	if (sk->sk_family == AF_INET6)
		*to = sk->sk_v6_rcv_saddr;
	else
		ipv6_addr_set_v4mapped(inet_sk(sk)->inet_rcv_saddr, to);
}

static void peer_address(struct sock *sk, struct in6_addr *to)
{
	if (sk->sk_family == AF_INET6)
		*to = sk->sk_v6_daddr;
	else
		ipv6_addr_set_v4mapped(inet_sk(sk)->inet_daddr, to);
}

static bool are_ends(struct sock *one, struct sock *two)
{
	struct in6_addr from, to;

	if (inet_sk(one)->inet_sport != inet_sk(two)->inet_dport || inet_sk(one)->inet_dport != inet_sk(two)->inet_sport)
		return false;
	own_address(one, &from);
	peer_address(two, &to);
	if (!ipv6_addr_equal(&from, &to))
		return false;
	peer_address(one, &from);
	own_address(two, &to);
	return ipv6_addr_equal(&from, &to);
}

struct sock *krg_inet_peer(struct xarray *sockets, struct sock *sk)
{
	unsigned long at;
	void *entry;

	xa_for_each(sockets, at, entry) {
		struct sock *other = (struct sock *)at;

		if (other != sk && (other->sk_family == AF_INET || other->sk_family == AF_INET6) && krg_inet_is_connection(other) &&
		    are_ends(sk, other))
			return other;
	}
	return NULL;
}

bool krg_inet_is_local(const struct sk_buff *skb)
{
	if (skb->protocol == htons(ETH_P_IP))
		return ipv4_is_loopback(ip_hdr(skb)->saddr);
	return ipv6_addr_loopback(&ipv6_hdr(skb)->saddr);
}

/* ---- the check ---- */

static bool queue_is_local(struct sk_buff_head *queue)
{
	struct sk_buff *skb;
	bool local = true;

	spin_lock_bh(&queue->lock);
	skb_queue_walk(queue, skb)
		local = local && krg_inet_is_local(skb);
	spin_unlock_bh(&queue->lock);
	return local;
}

static const char *udp_refusal(struct sock *sk)
{
	if (udp_sk(sk)->pending)
		return "is corked";
	if (udp_sk(sk)->encap_type)
		return "carries a tunnel";
	if (!queue_is_local(&udp_sk(sk)->reader_queue) || !queue_is_local(&sk->sk_receive_queue))
		return "has unread data from another machine";
	return NULL;
}

static const char *tcp_refusal(struct sock *sk, struct xarray *sockets)
{
	switch (sk->sk_state) {
	case TCP_CLOSE:
		return NULL;
	case TCP_LISTEN:
		return READ_ONCE(sk->sk_ack_backlog) ? "has connections that were not yet accepted" : NULL;
	case TCP_ESTABLISHED:
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
	case TCP_CLOSE_WAIT:
		break;
	default:
		return "has a connection that is being made or ended";
	}
	if (!krg_inet_peer(sockets, sk))
		return "has a TCP connection with an end outside";
	return tcp_sk(sk)->urg_data ? "has urgent data" : NULL;
}

static const char *refusal(struct sock *sk, struct xarray *sockets)
{
	if (sk->sk_bound_dev_if)
		return "is bound to a device";
	if (inet_sk(sk)->mc_list)
		return "is in a multicast group";
	if (sk->sk_type == SOCK_STREAM && sk->sk_protocol == IPPROTO_TCP)
		return tcp_refusal(sk, sockets);
	if (sk->sk_type == SOCK_DGRAM && sk->sk_protocol == IPPROTO_UDP)
		return udp_refusal(sk);
	return "is neither TCP nor UDP";
}

void krg_inet_check(struct krg_check *c, pid_t pid, unsigned int number, struct file *file, struct xarray *sockets)
{
	struct sock *sk = krg_sock_of(file);
	const char *why = sk ? refusal(sk, sockets) : "has no socket";

	if (why)
		krg_check_refuse(c, "internet socket: descriptor %u of process %d %s", number, pid, why);
}

/* ---- a whole set ---- */

static int gather_of(struct xarray *to, struct task_struct *task)
{
	struct krg_descriptors list;
	unsigned int i;
	int err = krg_descriptors_get(&list, task);

	if (err)
		return err;
	for (i = 0; i < list.count && !err; i++)
		if (krg_file_kind(list.at[i].file) == KRG_FILE_INET)
			err = krg_tally_add(to, krg_sock_of(list.at[i].file));
	krg_descriptors_put(&list);
	return err;
}

int krg_inet_gather(struct xarray *to, struct krg_frozen *set)
{
	struct krg_process *process;
	struct krg_thread *thread;
	int err = 0;

	krg_for_each_process(set, process)
		krg_for_each_thread(process, thread)
			if (!err && (thread->task == process->leader || thread->task->files != process->leader->files))
				err = gather_of(to, thread->task);
	return err;
}

void krg_inet_quiet(struct krg_frozen *set)
{
	struct xarray sockets;
	unsigned long at;
	void *entry;

	xa_init(&sockets);
	if (!krg_inet_gather(&sockets, set))
		xa_for_each(&sockets, at, entry) {
			struct sock *sk = (struct sock *)at;

			if (!krg_inet_is_connection(sk) || !krg_inet_peer(&sockets, sk))
				continue;
			lock_sock(sk);
			tcp_sk(sk)->repair = 1;
			release_sock(sk);
		}
	xa_destroy(&sockets);
}
