// SPDX-License-Identifier: GPL-2.0
/*
 * The baseline: TIPC SEQPACKET sockets in the kernel with nothing around them. A
 * blocking send and a blocking receive, one buffer, one connection, one thread at
 * each end; no header, no check, no bookkeeping. Whatever our own messages cost
 * more than this is ours to answer for.
 *
 * Every node that has the module loaded listens on {KRG_BENCH_TIPC_TYPE, node id}
 * and serves one connection after the other. The first message says what is
 * wanted: 0, everything that follows comes back; a number, so many messages are
 * swallowed and answered by one, and then the next number may come.
 */
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/tipc.h>
#include <net/sock.h>

#include <kerrighed/membership.h>

#include "bench.h"

#define KRG_BENCH_TIPC_TYPE	0x4b524742	/* "KRGB" */
#define KRG_BENCH_POLL		(HZ / 4)	/* how often the server looks whether it shall end */

static struct {
	struct socket *listener;
	struct task_struct *task;
	void *buffer;
} bare_server;

/* Used by one run at a time: main.c sees to that. */
static struct socket *bare_client;

static int bare_send(struct socket *sock, const void *data, u32 len)
{
	struct kvec vec = { .iov_base = (void *)data, .iov_len = len };
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };
	int ret = kernel_sendmsg(sock, &msg, &vec, 1, len);

	return ret < 0 ? ret : ret == len ? 0 : -EIO;
}

/* One message: its bytes, 0 at the end of the connection, -EAGAIN when the time is out. */
static int bare_recv(struct socket *sock, void *data, u32 room)
{
	struct kvec vec = { .iov_base = data, .iov_len = room };
	struct msghdr msg = {};

	return kernel_recvmsg(sock, &msg, &vec, 1, room, 0);
}

/* ---- server ---- */

static int bare_serve_recv(struct socket *sock)
{
	int ret;

	do
		ret = bare_recv(sock, bare_server.buffer, KRG_BENCH_SIZE_MAX);
	while (ret == -EAGAIN && !kthread_should_stop());
	return ret;
}

static void bare_serve_echo(struct socket *sock)
{
	int ret;

	do {
		ret = bare_serve_recv(sock);
		if (ret > 0 && bare_send(sock, bare_server.buffer, ret))
			return;
	} while (ret > 0);
}

static int bare_serve_stream(struct socket *sock, u32 count)
{
	__le32 done = cpu_to_le32(count);
	int ret;

	while (count--) {
		ret = bare_serve_recv(sock);
		if (ret <= 0)
			return -ECONNRESET;
	}
	return bare_send(sock, &done, sizeof(done));
}

static void bare_serve(struct socket *sock)
{
	__le32 order;

	sock->sk->sk_rcvtimeo = KRG_BENCH_POLL;
	sock->sk->sk_sndtimeo = msecs_to_jiffies(KRG_BENCH_TIMEOUT_MS);
	while (bare_serve_recv(sock) == sizeof(order)) {
		memcpy(&order, bare_server.buffer, sizeof(order));
		if (!order)
			bare_serve_echo(sock);
		else if (bare_serve_stream(sock, le32_to_cpu(order)))
			return;
	}
}

static int bare_server_thread(void *arg)
{
	struct socket *sock;
	int err;

	while (!kthread_should_stop()) {
		err = kernel_accept(bare_server.listener, &sock, 0);
		if (!err) {
			bare_serve(sock);
			sock_release(sock);
		} else if (err != -EAGAIN) {
			schedule_timeout_interruptible(KRG_BENCH_POLL);
		}
	}
	return 0;
}

/* ---- client ---- */

static int bare_connect(struct socket *sock, u16 node)
{
	struct sockaddr_tipc to = {
		.family = AF_TIPC,
		.addrtype = TIPC_SERVICE_ADDR,
		.addr.name.name = { .type = KRG_BENCH_TIPC_TYPE, .instance = node },
	};

	sock->sk->sk_rcvtimeo = msecs_to_jiffies(KRG_BENCH_TIMEOUT_MS);
	sock->sk->sk_sndtimeo = msecs_to_jiffies(KRG_BENCH_TIMEOUT_MS);
	return kernel_connect(sock, (struct sockaddr *)&to, sizeof(to), 0);
}

static int bare_open(u16 node, bool streams)
{
	__le32 echo = cpu_to_le32(0);
	int err;

	err = sock_create_kern(&init_net, AF_TIPC, SOCK_SEQPACKET, 0, &bare_client);
	if (err)
		return err;
	err = bare_connect(bare_client, node);
	if (!err && !streams)
		err = bare_send(bare_client, &echo, sizeof(echo));
	if (err)
		sock_release(bare_client);
	return err;
}

static int bare_round_trip(const void *out, void *in, u32 size)
{
	int ret = bare_send(bare_client, out, size);

	if (ret)
		return ret;
	ret = bare_recv(bare_client, in, size);
	return ret < 0 ? ret : ret == size ? 0 : -EIO;
}

static int bare_stream(const void *out, u32 size, u32 count)
{
	__le32 order = cpu_to_le32(count), done;
	int ret = bare_send(bare_client, &order, sizeof(order));

	while (!ret && count--)
		ret = bare_send(bare_client, out, size);
	if (ret)
		return ret;
	ret = bare_recv(bare_client, &done, sizeof(done));
	return ret < 0 ? ret : ret == sizeof(done) && done == order ? 0 : -EIO;
}

static void bare_close(void)
{
	sock_release(bare_client);
}

const struct krg_bench_subject krg_bench_bare = {
	.name = "bare",
	.open = bare_open,
	.round_trip = bare_round_trip,
	.stream = bare_stream,
	.close = bare_close,
};

/* ---- life ---- */

static int bare_listen(u16 self)
{
	struct sockaddr_tipc addr = {
		.family = AF_TIPC,
		.addrtype = TIPC_SERVICE_RANGE,
		.scope = TIPC_CLUSTER_SCOPE,
		.addr.nameseq = { .type = KRG_BENCH_TIPC_TYPE, .lower = self, .upper = self },
	};
	struct socket *sock = bare_server.listener;
	int err;

	sock->sk->sk_rcvtimeo = KRG_BENCH_POLL;
	err = kernel_bind(sock, (struct sockaddr *)&addr, sizeof(addr));
	return err ?: kernel_listen(sock, 1);
}

int krg_bench_bare_init(void)
{
	struct krg_view *view = krg_view_get();
	u16 self;
	int err;

	if (!view) {
		pr_err("this node is in no cluster: join one, then load this module\n");
		return -ENOTCONN;
	}
	self = view->self;
	krg_view_put(view);

	bare_server.buffer = kvmalloc(KRG_BENCH_SIZE_MAX, GFP_KERNEL);
	if (!bare_server.buffer)
		return -ENOMEM;
	err = sock_create_kern(&init_net, AF_TIPC, SOCK_SEQPACKET, 0, &bare_server.listener);
	if (err)
		goto free;
	err = bare_listen(self);
	if (err)
		goto release;
	bare_server.task = kthread_run(bare_server_thread, NULL, "krg_bench");
	err = PTR_ERR_OR_ZERO(bare_server.task);
	if (err)
		goto release;
	return 0;

release:
	sock_release(bare_server.listener);
free:
	kvfree(bare_server.buffer);
	return err;
}

void krg_bench_bare_exit(void)
{
	kthread_stop(bare_server.task);
	sock_release(bare_server.listener);
	kvfree(bare_server.buffer);
}
