// SPDX-License-Identifier: GPL-2.0
/*
 * Unix sockets in the image: ends and those that wait to be accepted, when files
 * are written; peers and messages, when all files are there. And options that
 * sockets of all families have.
 */
#include <linux/cred.h>
#include <linux/limits.h>
#include <linux/net.h>
#include <linux/pid.h>
#include <linux/sched/task.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/un.h>
#include <net/af_unix.h>
#include <net/tcp_states.h>

#include <kerrighed/compat.h>

#include "capture.h"
#include "file.h"
#include "forward.h"
#include "park.h"
#include "socket.h"

enum { UNIX_ALONE, UNIX_LISTENING, UNIX_CONNECTED, UNIX_NEWCOMER };
enum { UNIX_PASSCRED = 1, UNIX_PASSSEC = 2, UNIX_BROADCAST = 4 };
enum { UNIX_NAME_REMOVED = 1 };

/* ---- options ---- */

void krg_capture_option(struct krg_capture *c, u64 id, int level, int name, s64 value)
{
	krg_capture_begin(c, KRG_GHOST_SOCKET_OPTION);
	krg_capture_put(c, KRG_GHOST_SOCKET_OPTION_SOCKET, id);
	krg_capture_put(c, KRG_GHOST_SOCKET_OPTION_LEVEL, level);
	krg_capture_put(c, KRG_GHOST_SOCKET_OPTION_NAME, name);
	krg_capture_put(c, KRG_GHOST_SOCKET_OPTION_VALUE, value);
	krg_capture_end(c);
}

static void put_timeout(struct krg_capture *c, u64 id, int name, long timeout)
{
	if (timeout != MAX_SCHEDULE_TIMEOUT)
		krg_capture_option(c, id, SOL_SOCKET, name, min_t(u64, jiffies_to_msecs(timeout), S32_MAX));
}

void krg_capture_options(struct krg_capture *c, u64 id, struct sock *sk)
{
	put_timeout(c, id, SO_RCVTIMEO_OLD, sk->sk_rcvtimeo);
	put_timeout(c, id, SO_SNDTIMEO_OLD, sk->sk_sndtimeo);
	if (sk->sk_rcvlowat != 1)
		krg_capture_option(c, id, SOL_SOCKET, SO_RCVLOWAT, sk->sk_rcvlowat);
	if (sk->sk_priority)
		krg_capture_option(c, id, SOL_SOCKET, SO_PRIORITY, sk->sk_priority);
	if (sock_flag(sk, SOCK_RCVTSTAMP))
		krg_capture_option(c, id, SOL_SOCKET, sock_flag(sk, SOCK_RCVTSTAMPNS) ? SO_TIMESTAMPNS_OLD : SO_TIMESTAMP_OLD, 1);
}

/* ---- ends ---- */

static u64 unix_state(struct sock *sk, bool newcomer)
{
	if (newcomer)
		return UNIX_NEWCOMER;
	if (sk->sk_state == TCP_LISTEN)
		return UNIX_LISTENING;
	if (sk->sk_type == SOCK_DGRAM)
		return unix_peer(sk) ? UNIX_CONNECTED : UNIX_ALONE;
	return sk->sk_state == TCP_ESTABLISHED ? UNIX_CONNECTED : UNIX_ALONE;
}

static u64 unix_options(const struct sock *sk)
{
	const struct socket *sock = sk->sk_socket;
	u64 options = sock_flag(sk, SOCK_BROADCAST) ? UNIX_BROADCAST : 0;

	if (sock && test_bit(SOCK_PASSCRED, &sock->flags))
		options |= UNIX_PASSCRED;
	if (sock && test_bit(SOCK_PASSSEC, &sock->flags))
		options |= UNIX_PASSSEC;
	return options;
}

static void put_address(struct krg_capture *c, u16 field, struct sock *sk)
{
	const struct unix_address *address = smp_load_acquire(&unix_sk(sk)->addr);

	if (address && address->len > offsetof(struct sockaddr_un, sun_path))
		krg_capture_put_bytes(c, field, address->name->sun_path,
				      min_t(int, address->len - offsetof(struct sockaddr_un, sun_path), UNIX_PATH_MAX));
}

static void put_peer_creds(struct krg_capture *c, struct sock *sk)
{
	const struct cred *cred;
	pid_t pid;

	spin_lock(&sk->sk_peer_lock);
	pid = pid_vnr(sk->sk_peer_pid);
	cred = sk->sk_peer_cred ? get_cred(sk->sk_peer_cred) : NULL;
	spin_unlock(&sk->sk_peer_lock);
	krg_capture_put(c, KRG_GHOST_FILE_UNIX_PEER_PID, pid);
	if (!cred)
		return;
	krg_capture_put(c, KRG_GHOST_FILE_UNIX_PEER_UID, from_kuid_munged(current_user_ns(), cred->euid));
	krg_capture_put(c, KRG_GHOST_FILE_UNIX_PEER_GID, from_kgid_munged(current_user_ns(), cred->egid));
	put_cred(cred);
}

/* @file: NULL: @sk waits to be accepted by @listener */
static u64 capture_end(struct krg_capture *c, struct sock *sk, struct file *file, u64 listener)
{
	const struct path *at = &unix_sk(sk)->path;
	bool removed = false;
	const char *path = file && at->dentry ? krg_capture_path(c, at, &removed) : NULL;
	u64 id = krg_capture_begin(c, KRG_GHOST_FILE_UNIX);

	if (file)
		krg_capture_owner(c, file);
	krg_capture_put(c, KRG_GHOST_FILE_UNIX_TYPE, sk->sk_type);
	krg_capture_put(c, KRG_GHOST_FILE_UNIX_STATE, unix_state(sk, !file));
	put_address(c, KRG_GHOST_FILE_UNIX_NAME, sk);
	krg_capture_put(c, KRG_GHOST_FILE_UNIX_BACKLOG, sk->sk_state == TCP_LISTEN ? sk->sk_max_ack_backlog : 0);
	krg_capture_put(c, KRG_GHOST_FILE_UNIX_SHUTDOWN, sk->sk_shutdown & SHUTDOWN_MASK);
	krg_capture_put(c, KRG_GHOST_FILE_UNIX_OPTIONS, unix_options(sk));
	krg_capture_put(c, KRG_GHOST_FILE_UNIX_SEND_ROOM, sk->sk_sndbuf);
	krg_capture_put(c, KRG_GHOST_FILE_UNIX_RECEIVE_ROOM, sk->sk_rcvbuf);
	put_peer_creds(c, sk);
	krg_capture_put(c, KRG_GHOST_FILE_UNIX_LISTENER, listener);
	if (path) {
		krg_capture_put_text(c, KRG_GHOST_FILE_UNIX_PATH, path);
		krg_capture_put(c, KRG_GHOST_FILE_UNIX_STATE_FLAGS, removed ? UNIX_NAME_REMOVED : 0);
	}
	krg_capture_end(c);
	krg_capture_set_id(c, sk, id);
	krg_capture_options(c, id, sk);
	return id;
}

u64 krg_capture_unix(struct krg_capture *c, struct file *file)
{
	struct sock *sk = krg_sock_of(file);
	struct krg_queue queue;
	unsigned int i;
	u64 id = capture_end(c, sk, file, 0);
	int err;

	if (c->error || sk->sk_state != TCP_LISTEN)
		return id;
	err = krg_unix_queue_get(&queue, sk);
	if (err)
		krg_capture_fail(c, err, "unix socket: its queue cannot be read (%d)", err);
	for (i = 0; i < queue.count && !c->error; i++)
		if (queue.at[i].newcomer)
			capture_end(c, queue.at[i].newcomer, NULL, id);
	krg_queue_put(&queue);
	return id;
}

/* ---- what is under way ---- */

static void put_message(struct krg_capture *c, u64 id, const struct krg_queued *at)
{
	struct sk_buff *skb = at->skb;
	struct krg_ghost_piece piece = { .length = krg_unix_length(skb) };
	void *bytes = kvmalloc(piece.length + 1, GFP_KERNEL_ACCOUNT);
	__le64 *files = kcalloc(at->file_count + 1, sizeof(*files), GFP_KERNEL_ACCOUNT);
	unsigned int i;
	int err = bytes && files ? skb_copy_bits(skb, skb->len - piece.length, bytes, piece.length) : -ENOMEM;

	if (piece.length > KRG_GHOST_DATA_MAX)
		err = -EMSGSIZE;
	if (err)
		krg_capture_fail(c, err, "unix socket: a message cannot be read (%d)", err);
	for (i = 0; i < at->file_count && !c->error; i++)
		files[i] = cpu_to_le64(krg_capture_file(c, at->files[i]));
	if (!c->error) {
		piece.at = bytes;
		krg_capture_begin(c, KRG_GHOST_UNIX_MESSAGE);
		krg_capture_put(c, KRG_GHOST_UNIX_MESSAGE_SOCKET, id);
		if (at->file_count)
			krg_capture_put_bytes(c, KRG_GHOST_UNIX_MESSAGE_FILES, files, at->file_count * sizeof(*files));
		krg_capture_put(c, KRG_GHOST_UNIX_MESSAGE_PID, pid_vnr(UNIXCB(skb).pid));
		krg_capture_put(c, KRG_GHOST_UNIX_MESSAGE_UID, from_kuid_munged(current_user_ns(), UNIXCB(skb).uid));
		krg_capture_put(c, KRG_GHOST_UNIX_MESSAGE_GID, from_kgid_munged(current_user_ns(), UNIXCB(skb).gid));
		if (skb->sk && skb->sk->sk_type == SOCK_DGRAM)
			put_address(c, KRG_GHOST_UNIX_MESSAGE_FROM, skb->sk);
		krg_capture_end_data(c, &piece, 1);
	}
	kvfree(bytes);
	kfree(files);
}

static void put_peer(struct krg_capture *c, struct sock *sk)
{
	struct sock *peer = krg_unix_peer(sk);

	if (!peer)
		return;
	krg_capture_begin(c, KRG_GHOST_UNIX_PEER);
	krg_capture_put(c, KRG_GHOST_UNIX_PEER_SOCKET, krg_capture_id(c, sk));
	krg_capture_put(c, KRG_GHOST_UNIX_PEER_PEER, krg_capture_id(c, peer));
	krg_capture_end(c);
}

static void put_queue(struct krg_capture *c, struct sock *sk)
{
	struct krg_queue queue;
	unsigned int i;
	int err = krg_unix_queue_get(&queue, sk);

	if (err)
		krg_capture_fail(c, err, "unix socket: its queue cannot be read (%d)", err);
	for (i = 0; i < queue.count && !c->error; i++) {
		if (!queue.at[i].newcomer) {
			/* What was read of a stream to its end stays in the queue as long as something else needs it. */
			if (krg_unix_length(queue.at[i].skb) || sk->sk_type != SOCK_STREAM)
				put_message(c, krg_capture_id(c, sk), &queue.at[i]);
			continue;
		}
		put_peer(c, queue.at[i].newcomer);
		put_queue(c, queue.at[i].newcomer);
	}
	krg_queue_put(&queue);
}

static void put_queues_of(struct krg_capture *c, struct task_struct *task)
{
	struct krg_descriptors list;
	unsigned int i;
	int err = krg_descriptors_get(&list, task);

	if (err) {
		krg_capture_fail(c, err, "files: the descriptors cannot be read (%d)", err);
		return;
	}
	for (i = 0; i < list.count && !c->error; i++) {
		/* Written once; the address behind the file says that they were. */
		const void *mark = (void *)list.at[i].file + 1;

		if (krg_file_kind(list.at[i].file) != KRG_FILE_UNIX || krg_capture_id(c, mark) ||
		    krg_forwarding_has(c->set->forward, list.at[i].file))
			continue;
		krg_capture_set_id(c, mark, 1);
		put_peer(c, krg_sock_of(list.at[i].file));
		put_queue(c, krg_sock_of(list.at[i].file));
	}
	krg_descriptors_put(&list);
}

void krg_capture_unix_queues(struct krg_capture *c)
{
	krg_capture_each_table(c, put_queues_of);
}
