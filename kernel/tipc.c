// SPDX-License-Identifier: GPL-2.0
/*
 * TIPC as a transport: what transport.h asks for, on in-kernel sockets.
 *
 * Every node listens on one SEQPACKET socket bound to the service
 * {KRG_TIPC_TYPE, node id}. Two threads belong to a started transport: one takes
 * connections from the listener, one reads the topology server, which tells when
 * such a service appears or disappears (TIPC withdraws the services of a node
 * whose last link is gone: that is the hint membership gets).
 *
 * Waiting is done by whoever uses a connection, never inside TIPC: sends and
 * receives are non-blocking, and the socket's own wake-ups are replaced by ours.
 *
 * Links, node identity and keys are configured by krgadm through TIPC's own
 * netlink family; nothing of that is done here.
 */
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/tipc.h>
#include <net/sock.h>

#include <kerrighed/transport.h>

#include "memory.h"

#define KRG_TIPC_TYPE		0x4b524731	/* service type of the cluster: "KRG1" */
#define KRG_TIPC_ID_MAX		4096
#define KRG_TIPC_BACKLOG	64

MODULE_SOFTDEP("pre: tipc");

struct krg_tconn {
	struct socket *sock;
	/* Both written under sk_callback_lock, read by the wake-ups below. */
	const struct krg_tconn_cb *cb;
	void *ctx;
	void (*saved_data_ready)(struct sock *sk);
	void (*saved_write_space)(struct sock *sk);
	void (*saved_state_change)(struct sock *sk);
};

struct krg_tipc_thread {
	struct task_struct *task;
	struct krg_tconn *tc;
	wait_queue_head_t wait;
	bool ready;
};

static struct {
	struct krg_tipc_thread listener, topology;
	const struct krg_transport_watch *watch;
	u16 self;
} krg_tipc;

static void tipc_wake(struct sock *sk, bool readable, bool writable)
{
	struct krg_tconn *tc;

	read_lock_bh(&sk->sk_callback_lock);
	tc = sk->sk_user_data;
	if (tc && tc->cb) {
		if (readable)
			tc->cb->readable(tc->ctx);
		if (writable && tc->cb->writable)
			tc->cb->writable(tc->ctx);
	}
	read_unlock_bh(&sk->sk_callback_lock);
}

static void tipc_on_data(struct sock *sk)
{
	tipc_wake(sk, true, false);
}

static void tipc_on_space(struct sock *sk)
{
	tipc_wake(sk, false, true);
}

static void tipc_on_state(struct sock *sk)
{
	struct krg_tconn *tc;

	tipc_wake(sk, true, true);
	read_lock_bh(&sk->sk_callback_lock);
	tc = sk->sk_user_data;
	if (tc)
		tc->saved_state_change(sk);	/* connect() waits for it */
	read_unlock_bh(&sk->sk_callback_lock);
}

/* Takes over @sock; releases it on failure. */
static struct krg_tconn *tipc_wrap(struct socket *sock)
{
	struct sock *sk = sock->sk;
	struct krg_tconn *tc = kzalloc(sizeof(*tc), GFP_KERNEL);

	if (!tc) {
		sock_release(sock);
		return NULL;
	}
	tc->sock = sock;
	write_lock_bh(&sk->sk_callback_lock);
	tc->saved_data_ready = sk->sk_data_ready;
	tc->saved_write_space = sk->sk_write_space;
	tc->saved_state_change = sk->sk_state_change;
	sk->sk_user_data = tc;
	sk->sk_data_ready = tipc_on_data;
	sk->sk_write_space = tipc_on_space;
	sk->sk_state_change = tipc_on_state;
	write_unlock_bh(&sk->sk_callback_lock);
	return tc;
}

static void krg_tipc_close(struct krg_tconn *tc)
{
	struct sock *sk = tc->sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_user_data = NULL;
	sk->sk_data_ready = tc->saved_data_ready;
	sk->sk_write_space = tc->saved_write_space;
	sk->sk_state_change = tc->saved_state_change;
	write_unlock_bh(&sk->sk_callback_lock);
	sock_release(tc->sock);
	kfree(tc);
}

static void krg_tipc_set_callbacks(struct krg_tconn *tc, const struct krg_tconn_cb *cb, void *ctx)
{
	struct sock *sk = tc->sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	tc->cb = cb;
	tc->ctx = ctx;
	write_unlock_bh(&sk->sk_callback_lock);
}

static int tipc_option(struct socket *sock, int option, u32 value)
{
	return sock->ops->setsockopt(sock, SOL_TIPC, option, KERNEL_SOCKPTR(&value),
				     sizeof(value));
}

static struct krg_tconn *tipc_socket(void)
{
	struct socket *sock;
	struct krg_tconn *tc;
	int err;

	err = sock_create_kern(&init_net, AF_TIPC, SOCK_SEQPACKET, 0, &sock);
	if (err)
		return ERR_PTR(err);
	tc = tipc_wrap(sock);
	return tc ?: ERR_PTR(-ENOMEM);
}

static int tipc_connect_to(struct krg_tconn *tc, u32 type, u32 instance)
{
	struct sockaddr_tipc to = {
		.family = AF_TIPC,
		.addrtype = TIPC_SERVICE_ADDR,
		.addr.name.name = { .type = type, .instance = instance },
	};

	return kernel_connect(tc->sock, (struct sockaddr *)&to, sizeof(to), 0);
}

static int krg_tipc_connect(u16 node, unsigned int timeout_ms, struct krg_tconn **out)
{
	struct krg_tconn *tc = tipc_socket();
	int err;

	if (IS_ERR(tc))
		return PTR_ERR(tc);
	err = tipc_option(tc->sock, TIPC_CONN_TIMEOUT, timeout_ms);
	if (!err)
		err = tipc_connect_to(tc, KRG_TIPC_TYPE, node);
	if (err) {
		krg_tipc_close(tc);
		return err;
	}
	*out = tc;
	return 0;
}

static void krg_tipc_set_class(struct krg_tconn *tc, enum krg_class class)
{
	static const u32 importance[KRG_CLASS_NR] = {
		[KRG_CLASS_CTL] = TIPC_CRITICAL_IMPORTANCE,
		[KRG_CLASS_MSG] = TIPC_HIGH_IMPORTANCE,
		[KRG_CLASS_BULK] = TIPC_LOW_IMPORTANCE,
	};

	/* Cannot fail for these values; a wrong importance would only be unfair. */
	tipc_option(tc->sock, TIPC_IMPORTANCE, importance[class]);
}

static int krg_tipc_send(struct krg_tconn *tc, struct kvec *vec, size_t nr, size_t len)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	int ret = kernel_sendmsg(tc->sock, &msg, vec, nr, len);

	if (ret < 0)
		return ret;
	return ret == len ? 0 : -EIO;
}

static int krg_tipc_recv(struct krg_tconn *tc, struct kvec *vec, size_t nr, size_t len, bool drop,
			 bool *end)
{
	/* With MSG_EOR TIPC keeps what did not fit for the next call. */
	int flags = MSG_DONTWAIT | (drop ? 0 : MSG_EOR);
	struct msghdr msg = {};
	int ret = kernel_recvmsg(tc->sock, &msg, vec, nr, len, flags);

	*end = drop || (msg.msg_flags & MSG_EOR);
	return ret;
}

static bool krg_tipc_readable(struct krg_tconn *tc)
{
	struct sock *sk = tc->sock->sk;

	return !skb_queue_empty_lockless(&sk->sk_receive_queue) || READ_ONCE(sk->sk_err) ||
	       (READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN);
}

static u32 krg_tipc_address(struct krg_tconn *tc)
{
	struct sockaddr_tipc peer;

	if (kernel_getpeername(tc->sock, (struct sockaddr *)&peer) < 0)
		return 0;
	return peer.addr.id.node;
}

/* ---- the two threads ---- */

static void tipc_thread_readable(void *ctx)
{
	struct krg_tipc_thread *t = ctx;

	WRITE_ONCE(t->ready, true);
	wake_up(&t->wait);
}

static const struct krg_tconn_cb tipc_thread_cb = { .readable = tipc_thread_readable };

/* Sleeps until there is something to read; false: the thread shall end. */
static bool tipc_thread_wait(struct krg_tipc_thread *t)
{
	wait_event_interruptible(t->wait, READ_ONCE(t->ready) || kthread_should_stop());
	WRITE_ONCE(t->ready, false);
	return !kthread_should_stop();
}

static void tipc_accept_all(struct krg_tipc_thread *t)
{
	struct socket *sock;
	struct krg_tconn *tc;
	unsigned int tries = 0;
	int err;

	while (!kthread_should_stop()) {
		err = kernel_accept(t->tc->sock, &sock, O_NONBLOCK);
		if (!err) {
			tc = tipc_wrap(sock);
			if (tc)
				krg_tipc.watch->accepted(tc);
			tries = 0;
		} else if (!krg_memory_later(err, &tries)) {
			return;	/* without memory whoever calls stays in the queue: it must not wait for the next */
		}
	}
}

static int tipc_listen_thread(void *arg)
{
	struct krg_tipc_thread *t = arg;

	do
		tipc_accept_all(t);
	while (tipc_thread_wait(t));
	return 0;
}

static void tipc_topology_event(const struct tipc_event *ev)
{
	u32 id = ev->found_lower;

	if (ev->event != TIPC_PUBLISHED && ev->event != TIPC_WITHDRAWN)
		return;
	/* We bind single instances only: anything else is not from us. */
	if (ev->found_lower != ev->found_upper || !id || id > KRG_TIPC_ID_MAX ||
	    id == krg_tipc.self)
		return;
	krg_tipc.watch->seen(id, ev->event == TIPC_PUBLISHED);
}

static int tipc_topology_thread(void *arg)
{
	struct krg_tipc_thread *t = arg;
	struct tipc_event ev;
	struct kvec vec;
	bool end;
	int ret;

	do {
		for (;;) {
			vec.iov_base = &ev;
			vec.iov_len = sizeof(ev);
			ret = krg_tipc_recv(t->tc, &vec, 1, sizeof(ev), true, &end);
			if (ret != sizeof(ev))
				break;
			tipc_topology_event(&ev);
		}
	} while (tipc_thread_wait(t));
	return 0;
}

static int tipc_thread_start(struct krg_tipc_thread *t, int (*fn)(void *), const char *name)
{
	init_waitqueue_head(&t->wait);
	t->ready = false;
	krg_tipc_set_callbacks(t->tc, &tipc_thread_cb, t);
	t->task = kthread_run(fn, t, "%s", name);
	if (IS_ERR(t->task)) {
		int err = PTR_ERR(t->task);

		t->task = NULL;
		return err;
	}
	return 0;
}

static void tipc_thread_stop(struct krg_tipc_thread *t)
{
	if (t->task)
		kthread_stop(t->task);
	t->task = NULL;
	if (t->tc)
		krg_tipc_close(t->tc);
	t->tc = NULL;
}

static int tipc_listener_open(u16 self)
{
	struct sockaddr_tipc addr = {
		.family = AF_TIPC,
		.addrtype = TIPC_SERVICE_RANGE,
		.scope = TIPC_CLUSTER_SCOPE,
		.addr.nameseq = { .type = KRG_TIPC_TYPE, .lower = self, .upper = self },
	};
	struct krg_tipc_thread *t = &krg_tipc.listener;
	struct krg_tconn *tc = tipc_socket();
	int err;

	if (IS_ERR(tc))
		return PTR_ERR(tc);
	t->tc = tc;
	err = kernel_bind(tc->sock, (struct sockaddr *)&addr, sizeof(addr));
	if (!err)
		err = kernel_listen(tc->sock, KRG_TIPC_BACKLOG);
	return err ?: tipc_thread_start(t, tipc_listen_thread, "krg_accept");
}

static int tipc_topology_open(void)
{
	struct tipc_subscr sub = {
		.seq = { .type = KRG_TIPC_TYPE, .lower = 1, .upper = KRG_TIPC_ID_MAX },
		.timeout = TIPC_WAIT_FOREVER,
		.filter = TIPC_SUB_PORTS,
	};
	struct kvec vec = { .iov_base = &sub, .iov_len = sizeof(sub) };
	struct krg_tipc_thread *t = &krg_tipc.topology;
	struct krg_tconn *tc = tipc_socket();
	int err;

	if (IS_ERR(tc))
		return PTR_ERR(tc);
	t->tc = tc;
	err = tipc_connect_to(tc, TIPC_TOP_SRV, TIPC_TOP_SRV);
	if (!err)
		err = krg_tipc_send(tc, &vec, 1, sizeof(sub));
	return err ?: tipc_thread_start(t, tipc_topology_thread, "krg_topology");
}

static void krg_tipc_stop(void)
{
	tipc_thread_stop(&krg_tipc.topology);
	tipc_thread_stop(&krg_tipc.listener);
}

static int krg_tipc_start(u16 self, const struct krg_transport_watch *watch)
{
	int err;

	krg_tipc.watch = watch;
	krg_tipc.self = self;
	err = tipc_listener_open(self);
	if (!err)
		err = tipc_topology_open();
	if (err)
		krg_tipc_stop();
	return err;
}

const struct krg_transport_ops krg_tipc_ops = {
	.name = "tipc",
	.max_message = TIPC_MAX_USER_MSG_SIZE,
	.start = krg_tipc_start,
	.stop = krg_tipc_stop,
	.connect = krg_tipc_connect,
	.set_class = krg_tipc_set_class,
	.set_callbacks = krg_tipc_set_callbacks,
	.send = krg_tipc_send,
	.recv = krg_tipc_recv,
	.readable = krg_tipc_readable,
	.address = krg_tipc_address,
	.close = krg_tipc_close,
};
