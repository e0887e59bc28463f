// SPDX-License-Identifier: GPL-2.0
/*
 * Unix sockets: queues, peers, and the check of both. Their records are in
 * capture_socket.c.
 */
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/net.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include <net/af_unix.h>
#include <net/scm.h>
#include <net/tcp_states.h>

#include <kerrighed/compat.h>

#include "check_private.h"
#include "file.h"
#include "forward.h"
#include "park.h"
#include "socket.h"

struct sock *krg_sock_of(struct file *file)
{
	struct socket *sock = sock_from_file(file);

	return sock ? sock->sk : NULL;
}

struct sock *krg_unix_peer(struct sock *sk)
{
	struct sock *peer;

	unix_state_lock(sk);
	peer = unix_peer(sk);
	if (peer && sock_flag(peer, SOCK_DEAD))
		peer = NULL;
	unix_state_unlock(sk);
	return peer;
}

size_t krg_unix_length(const struct sk_buff *skb)
{
	return skb->len - UNIXCB(skb).consumed;
}

/* ---- queues ---- */

static void take_skb(struct krg_queued *to, struct sk_buff *skb, bool listening)
{
	to->skb = skb_get(skb);
	if (listening && skb->sk) {
		to->newcomer = skb->sk;
		sock_hold(to->newcomer);
	}
}

/* Readers are kept out: they take files out of what they read. */
static int take_files(struct krg_queued *to)
{
	const struct scm_fp_list *list = UNIXCB(to->skb).fp;
	int i;

	if (!list || to->newcomer)
		return 0;
	to->files = kcalloc(list->count, sizeof(*to->files), GFP_KERNEL_ACCOUNT);
	if (!to->files)
		return -ENOMEM;
	for (i = 0; i < list->count; i++)
		to->files[i] = get_file(list->fp[i]);
	to->file_count = list->count;
	return 0;
}

int krg_unix_queue_get(struct krg_queue *queue, struct sock *sk)
{
	bool listening = READ_ONCE(sk->sk_state) == TCP_LISTEN;
	struct sk_buff *skb;
	unsigned int i, room;
	int err = 0;

	memset(queue, 0, sizeof(*queue));
	mutex_lock(&unix_sk(sk)->iolock);
	room = skb_queue_len_lockless(&sk->sk_receive_queue);
	queue->at = kvcalloc(room + 1, sizeof(*queue->at), GFP_KERNEL_ACCOUNT);
	if (!queue->at) {
		mutex_unlock(&unix_sk(sk)->iolock);
		return -ENOMEM;
	}
	spin_lock(&sk->sk_receive_queue.lock);
	skb_queue_walk(&sk->sk_receive_queue, skb)
		if (queue->count < room)
			take_skb(&queue->at[queue->count++], skb, listening);
	spin_unlock(&sk->sk_receive_queue.lock);
	for (i = 0; i < queue->count && !err; i++)
		err = take_files(&queue->at[i]);
	mutex_unlock(&unix_sk(sk)->iolock);
	if (err)
		krg_queue_put(queue);
	return err;
}

void krg_queue_put(struct krg_queue *queue)
{
	unsigned int i, f;

	for (i = 0; i < queue->count; i++) {
		struct krg_queued *at = &queue->at[i];

		for (f = 0; f < at->file_count; f++)
			fput(at->files[f]);
		kfree(at->files);
		if (at->newcomer)
			sock_put(at->newcomer);
		consume_skb(at->skb);
	}
	kvfree(queue->at);
	memset(queue, 0, sizeof(*queue));
}

/* ---- the check ---- */

static int tally_queue(struct krg_tally *tally, const struct krg_queue *queue)
{
	unsigned int i, f;
	int err = 0;

	for (i = 0; i < queue->count && !err; i++) {
		if (queue->at[i].newcomer)
			err = krg_tally_add(&tally->sockets, queue->at[i].newcomer);
		for (f = 0; f < queue->at[i].file_count && !err; f++)
			err = krg_tally_file(tally, queue->at[i].files[f]);
	}
	return err;
}

int krg_unix_tally(struct krg_tally *tally, struct file *file)
{
	struct sock *sk = krg_sock_of(file);
	struct krg_queue queue;
	int err = sk ? krg_tally_add(&tally->sockets, sk) : 0;

	if (err || !sk)
		return err;
	err = krg_unix_queue_get(&queue, sk);
	if (err)
		return err;
	err = tally_queue(tally, &queue);
	krg_queue_put(&queue);
	return err;
}

static void check_travelling(struct krg_check *c, pid_t pid, unsigned int number, struct file *file, struct krg_tally *tally)
{
	enum krg_file_kind kind = krg_file_kind(file);

	if (krg_tally_get(&tally->tables, file))
		return;
	/* Of a process that moves it would have to be looked at whether it stays behind. */
	if (kind >= KRG_FILE_CARRIED || kind == KRG_FILE_UNIX || kind == KRG_FILE_EPOLL || c->set->forward)
		krg_check_refuse(c, "unix socket: in descriptor %u of process %d is a message with %s that no process of the set has open",
				 number, pid, krg_file_kind_name(kind));
}

static void check_queue(struct krg_check *c, pid_t pid, unsigned int number, struct sock *sk, struct krg_tally *tally)
{
	struct krg_queue queue;
	unsigned int i, f;
	int err = krg_unix_queue_get(&queue, sk);

	if (err) {
		c->error = err;
		return;
	}
	for (i = 0; i < queue.count; i++) {
		struct sock *newcomer = queue.at[i].newcomer, *peer = newcomer ? krg_unix_peer(newcomer) : NULL;

		if (peer && (!krg_tally_get(&tally->sockets, peer) || krg_tally_get(&tally->away, peer)))
			krg_check_refuse(c, "unix socket: descriptor %u of process %d has a connection from outside to accept", number, pid);
		for (f = 0; f < queue.at[i].file_count; f++)
			check_travelling(c, pid, number, queue.at[i].files[f], tally);
	}
	krg_queue_put(&queue);
}

void krg_unix_check(struct krg_check *c, pid_t pid, unsigned int number, struct file *file, struct krg_tally *tally)
{
	struct sock *sk = krg_sock_of(file), *peer;

	if (!sk)
		return;
	peer = krg_unix_peer(sk);
	if (peer && !krg_tally_get(&tally->sockets, peer))
		krg_check_refuse(c, "unix socket: descriptor %u of process %d is connected with one outside", number, pid);
#if IS_ENABLED(CONFIG_AF_UNIX_OOB)
	if (READ_ONCE(unix_sk(sk)->oob_skb))
		krg_check_refuse(c, "unix socket: descriptor %u of process %d has out-of-band data", number, pid);
#endif
	/* The target would take the name from the socket that still is in use here. */
	if (c->set->forward && unix_sk(sk)->path.dentry && !krg_forwarding_is_own(d_inode(unix_sk(sk)->path.dentry)))
		krg_check_refuse(c, "unix socket: descriptor %u of process %d has a name in a folder that other nodes have, too", number, pid);
	check_queue(c, pid, number, sk, tally);
}
