// SPDX-License-Identifier: GPL-2.0
/*
 * Internet sockets in the image: what restart can ask for again, and what is under
 * way inside of the set. What is refused is said by inet.c.
 */
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/net.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/inet_sock.h>
#include <net/inet_connection_sock.h>
#include <net/tcp.h>
#include <net/tcp_states.h>

#include <kerrighed/compat.h>

#include "capture.h"
#include "check_private.h"
#include "file.h"
#include "inet.h"
#include "park.h"
#include "socket.h"

enum { INET_ALONE, INET_LISTENING, INET_CONNECTED, INET_BOUND };
enum { QUEUE_RECEIVED, QUEUE_UNACKNOWLEDGED, QUEUE_NOT_SENT };

/* ---- what it is ---- */

static u64 inet_state(struct sock *sk)
{
	if (sk->sk_state == TCP_LISTEN)
		return INET_LISTENING;
	if (sk->sk_type == SOCK_STREAM ? krg_inet_is_connection(sk) : sk->sk_state == TCP_ESTABLISHED)
		return INET_CONNECTED;
	return inet_sk(sk)->inet_num ? INET_BOUND : INET_ALONE;
}

static u64 inet_options(struct sock *sk)
{
	u64 options = (sk->sk_reuse ? 1 : 0) | (sk->sk_reuseport ? 2 : 0) | (sock_flag(sk, SOCK_KEEPOPEN) ? 4 : 0) |
		      (sock_flag(sk, SOCK_BROADCAST) ? 8 : 0) | (sk->sk_ipv6only ? 16 : 0) | (sock_flag(sk, SOCK_URGINLINE) ? 128 : 0);

	if (sk->sk_type == SOCK_STREAM)
		options |= (tcp_sk(sk)->nonagle & TCP_NAGLE_OFF ? 32 : 0) | (tcp_sk(sk)->nonagle & TCP_NAGLE_CORK ? 64 : 0);
	return options;
}

static void put_addresses(struct krg_capture *c, struct sock *sk)
{
	const struct inet_sock *inet = inet_sk(sk);
	bool connected = inet_state(sk) == INET_CONNECTED;

	if (sk->sk_family == AF_INET6) {
		krg_capture_put_bytes(c, KRG_GHOST_FILE_INET_ADDRESS, &sk->sk_v6_rcv_saddr, sizeof(sk->sk_v6_rcv_saddr));
		krg_capture_put(c, KRG_GHOST_FILE_INET_PORT, inet->inet_num);
		if (connected)
			krg_capture_put_bytes(c, KRG_GHOST_FILE_INET_PEER_ADDRESS, &sk->sk_v6_daddr, sizeof(sk->sk_v6_daddr));
	} else {
		krg_capture_put_bytes(c, KRG_GHOST_FILE_INET_ADDRESS, &inet->inet_rcv_saddr, sizeof(inet->inet_rcv_saddr));
		krg_capture_put(c, KRG_GHOST_FILE_INET_PORT, inet->inet_num);
		if (connected)
			krg_capture_put_bytes(c, KRG_GHOST_FILE_INET_PEER_ADDRESS, &inet->inet_daddr, sizeof(inet->inet_daddr));
	}
	krg_capture_put(c, KRG_GHOST_FILE_INET_PEER_PORT, connected ? ntohs(inet->inet_dport) : 0);
}

static s64 linger(const struct sock *sk)
{
	if (!sock_flag(sk, SOCK_LINGER))
		return 0;
	return sk->sk_lingertime / HZ ?: -1;
}

static void put_options(struct krg_capture *c, u64 id, struct sock *sk)
{
	const struct inet_sock *inet = inet_sk(sk);

	krg_capture_options(c, id, sk);
	if (inet->tos && sk->sk_family == AF_INET)
		krg_capture_option(c, id, SOL_IP, IP_TOS, inet->tos);
	if (inet->uc_ttl != -1)
		krg_capture_option(c, id, SOL_IP, IP_TTL, inet->uc_ttl);
	if (inet->mc_ttl != 1 && sk->sk_type == SOCK_DGRAM)
		krg_capture_option(c, id, SOL_IP, IP_MULTICAST_TTL, inet->mc_ttl);
	if (krg_inet_pktinfo(sk) && sk->sk_type == SOCK_DGRAM)
		krg_capture_option(c, id, SOL_IP, IP_PKTINFO, 1);
	if (sk->sk_type != SOCK_STREAM)
		return;
	if (tcp_sk(sk)->keepalive_time)
		krg_capture_option(c, id, SOL_TCP, TCP_KEEPIDLE, tcp_sk(sk)->keepalive_time / HZ);
	if (tcp_sk(sk)->keepalive_intvl)
		krg_capture_option(c, id, SOL_TCP, TCP_KEEPINTVL, tcp_sk(sk)->keepalive_intvl / HZ);
	if (tcp_sk(sk)->keepalive_probes)
		krg_capture_option(c, id, SOL_TCP, TCP_KEEPCNT, tcp_sk(sk)->keepalive_probes);
	if (inet_csk(sk)->icsk_user_timeout)
		krg_capture_option(c, id, SOL_TCP, TCP_USER_TIMEOUT, inet_csk(sk)->icsk_user_timeout);
}

/* ---- what is under way ---- */

static void put_data(struct krg_capture *c, u64 id, u64 queue, const void *bytes, size_t length)
{
	struct krg_ghost_piece piece;

	while (length && !c->error) {
		piece.at = bytes;
		piece.length = min_t(size_t, length, KRG_GHOST_DATA_MAX);
		krg_capture_begin(c, KRG_GHOST_INET_DATA);
		krg_capture_put(c, KRG_GHOST_INET_DATA_SOCKET, id);
		krg_capture_put(c, KRG_GHOST_INET_DATA_QUEUE, queue);
		krg_capture_end_data(c, &piece, 1);
		bytes += piece.length;
		length -= piece.length;
	}
}

static void put_received(struct krg_capture *c, u64 id, struct sock *sk)
{
	struct msghdr message = { .msg_flags = MSG_PEEK | MSG_DONTWAIT };
	struct kvec vec;
	int n;

	lock_sock(sk);
	vec.iov_len = tcp_inq(sk);
	release_sock(sk);
	if (!vec.iov_len)
		return;
	vec.iov_base = kvmalloc(vec.iov_len, GFP_KERNEL_ACCOUNT);
	n = vec.iov_base ? kernel_recvmsg(sk->sk_socket, &message, &vec, 1, vec.iov_len, message.msg_flags) : -ENOMEM;
	if (n < 0)
		krg_capture_fail(c, n, "tcp: what it has received cannot be read (%d)", n);
	else
		put_data(c, id, QUEUE_RECEIVED, vec.iov_base, n);
	kvfree(vec.iov_base);
}

/* The part of @skb from @from on; under the socket's lock. */
static int take_sent(struct sk_buff *skb, u32 from, char *to, size_t room, size_t *length)
{
	u32 begin = TCP_SKB_CB(skb)->seq, skip = after(from, begin) ? from - begin : 0;
	size_t n;
	int err;

	if (skip >= skb->len)
		return 0;
	n = skb->len - skip;
	if (n > room - *length)
		return -E2BIG;
	err = skb_copy_bits(skb, skip, to + *length, n);
	*length += n;
	return err;
}

/* What the peer does not have yet. */
static void put_sent(struct krg_capture *c, u64 id, struct sock *sk, struct sock *peer)
{
	u32 from = READ_ONCE(tcp_sk(peer)->rcv_nxt);
	struct rb_node *node;
	struct sk_buff *skb;
	size_t room, length = 0;
	char *bytes;
	int err = 0;

	lock_sock(sk);
	room = tcp_sk(sk)->write_seq - tcp_sk(sk)->snd_una;
	release_sock(sk);
	bytes = kvmalloc(room + 1, GFP_KERNEL_ACCOUNT);
	if (!bytes) {
		krg_capture_fail(c, -ENOMEM, "capture: no memory");
		return;
	}
	lock_sock(sk);
	for (node = rb_first(&sk->tcp_rtx_queue); node && !err; node = rb_next(node))
		err = take_sent(rb_to_skb(node), from, bytes, room, &length);
	skb_queue_walk(&sk->sk_write_queue, skb)
		err = err ?: take_sent(skb, from, bytes, room, &length);
	release_sock(sk);
	if (err)
		krg_capture_fail(c, err, "tcp: what it has sent cannot be read (%d)", err);
	else
		put_data(c, id, QUEUE_NOT_SENT, bytes, length);
	kvfree(bytes);
}

static void put_connection(struct krg_capture *c, u64 id, struct sock *sk)
{
	struct xarray sockets;
	struct sock *peer;
	int err;

	xa_init(&sockets);
	err = krg_inet_gather(&sockets, c->set);
	peer = err ? NULL : krg_inet_peer(&sockets, sk);
	if (peer) {
		put_received(c, id, sk);
		put_sent(c, id, sk, peer);
	} else {
		krg_capture_fail(c, err ?: -EOPNOTSUPP, "tcp: the other end of a connection was not found");
	}
	xa_destroy(&sockets);
}

static void put_datagram(struct krg_capture *c, u64 id, const struct sk_buff *skb)
{
	struct krg_ghost_piece piece = { .length = skb->len };
	void *bytes = kvmalloc(skb->len + 1, GFP_KERNEL_ACCOUNT);
	int err = bytes ? skb_copy_bits(skb, 0, bytes, skb->len) : -ENOMEM;

	if (err) {
		krg_capture_fail(c, err, "udp: a datagram cannot be read (%d)", err);
	} else {
		piece.at = bytes;
		krg_capture_begin(c, KRG_GHOST_INET_DATA);
		krg_capture_put(c, KRG_GHOST_INET_DATA_SOCKET, id);
		krg_capture_put(c, KRG_GHOST_INET_DATA_QUEUE, QUEUE_RECEIVED);
		if (skb->protocol == htons(ETH_P_IP))
			krg_capture_put_bytes(c, KRG_GHOST_INET_DATA_FROM, &ip_hdr(skb)->saddr, sizeof(ip_hdr(skb)->saddr));
		else
			krg_capture_put_bytes(c, KRG_GHOST_INET_DATA_FROM, &ipv6_hdr(skb)->saddr, sizeof(ipv6_hdr(skb)->saddr));
		krg_capture_put(c, KRG_GHOST_INET_DATA_PORT, ntohs(udp_hdr(skb)->source));
		krg_capture_end_data(c, &piece, 1);
	}
	kvfree(bytes);
}

static void put_datagrams(struct krg_capture *c, u64 id, struct sk_buff_head *queue)
{
	struct sk_buff *skb, **list;
	unsigned int i, count = 0, room = skb_queue_len_lockless(queue);

	if (!room)
		return;
	list = kvcalloc(room, sizeof(*list), GFP_KERNEL_ACCOUNT);
	if (!list) {
		krg_capture_fail(c, -ENOMEM, "capture: no memory");
		return;
	}
	spin_lock_bh(&queue->lock);
	skb_queue_walk(queue, skb)
		if (count < room)
			list[count++] = skb_get(skb);
	spin_unlock_bh(&queue->lock);
	for (i = 0; i < count; i++) {
		if (!c->error)
			put_datagram(c, id, list[i]);
		consume_skb(list[i]);
	}
	kvfree(list);
}

u64 krg_capture_inet(struct krg_capture *c, struct file *file)
{
	struct sock *sk = krg_sock_of(file);
	u64 id = krg_capture_begin(c, KRG_GHOST_FILE_INET);

	krg_capture_owner(c, file);
	krg_capture_put(c, KRG_GHOST_FILE_INET_FAMILY, sk->sk_family);
	krg_capture_put(c, KRG_GHOST_FILE_INET_TYPE, sk->sk_type);
	krg_capture_put(c, KRG_GHOST_FILE_INET_STATE, inet_state(sk));
	put_addresses(c, sk);
	krg_capture_put(c, KRG_GHOST_FILE_INET_BACKLOG, sk->sk_state == TCP_LISTEN ? sk->sk_max_ack_backlog : 0);
	krg_capture_put(c, KRG_GHOST_FILE_INET_OPTIONS, inet_options(sk));
	krg_capture_put(c, KRG_GHOST_FILE_INET_SEND_ROOM, sk->sk_userlocks & SOCK_SNDBUF_LOCK ? sk->sk_sndbuf : 0);
	krg_capture_put(c, KRG_GHOST_FILE_INET_RECEIVE_ROOM, sk->sk_userlocks & SOCK_RCVBUF_LOCK ? sk->sk_rcvbuf : 0);
	krg_capture_put(c, KRG_GHOST_FILE_INET_SHUTDOWN, sk->sk_shutdown & SHUTDOWN_MASK);
	krg_capture_put(c, KRG_GHOST_FILE_INET_LINGER, linger(sk));
	krg_capture_end(c);
	put_options(c, id, sk);
	if (c->error)
		return id;
	if (krg_inet_is_connection(sk))
		put_connection(c, id, sk);
	if (sk->sk_type == SOCK_DGRAM) {
		put_datagrams(c, id, &udp_sk(sk)->reader_queue);
		put_datagrams(c, id, &sk->sk_receive_queue);
	}
	return id;
}
