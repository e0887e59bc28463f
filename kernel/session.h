/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A session is everything between this node and one incarnation of another: an
 * authenticated connection per class, the calls that wait for answers, the
 * queue of what could not leave yet. It comes up as a whole and dies as a whole:
 * when one of its connections breaks, all are closed, all calls end with
 * -ECONNRESET, and membership is told.
 *
 * Files: session.c (life and death, the table of sessions), peer.c (connecting
 * and accepting), handshake.c (authentication on a fresh connection), conn.c
 * (messages on one), queue.c (the send queue and the receive reserve), rpc.c
 * (calls), dispatch.c (message types and handlers).
 *
 * Locks, outer to inner:
 *	krg_session_mutex	the table, pending sessions, establishing
 *	conn.tx_sem		the right to send on a connection (sequence numbers);
 *				a semaphore because waiting for it has a deadline
 *	session.calls_lock	calls waiting for answers; spinlock
 *	conn.rx_lock		who reads a connection, who is woken; spinlock, also
 *				taken in soft interrupts
 *	conn.txq_lock		the queue of a connection; spinlock
 * The three spinlocks do not nest in each other.
 */
#ifndef KRG_SESSION_H
#define KRG_SESSION_H

#include <linux/bitops.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/semaphore.h>
#include <linux/siphash.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <kerrighed/rpc.h>
#include <kerrighed/transport.h>

#include "auth.h"
#include "node.h"

/*
 * What the first look at a message reads. A second receive costs more than copying a
 * page once more, so a message of up to a page is read whole; on the bulk class only
 * as much as a handler needs to say where the pages shall go.
 */
#define KRG_RX_SMALL	(sizeof(struct krg_wire_hdr) + 4096)
#define KRG_RX_HEAD	256
#define KRG_CALL_BUCKETS	64

struct krg_session;
struct krg_call;

/* Who this node is in the present cluster; constant while sessions exist. */
struct krg_identity {
	u16 node;
	u32 cluster_hash;
	u64 incarnation;
	u8 machine[8];
	char cluster[KRG_WIRE_NAME_SIZE];
	char host[KRG_WIRE_HOST_SIZE];
	struct krg_auth *auth;
};

extern const struct krg_transport_ops *krg_transport;
extern struct workqueue_struct *krg_tx_wq;	/* sends what is queued; has a rescuer */
extern struct workqueue_struct *krg_session_wq;	/* connecting, handshakes, closing: may take seconds */

/* A received message, or one that is being received. */
struct krg_rpc_req {
	struct krg_conn *conn;
	struct krg_wire_msg msg;
	const void *data;	/* payload; NULL: placed by the type */
	struct list_head list;	/* parked */
	struct work_struct work; /* queued handlers */
	const struct krg_rpc_type *type;
	bool reserve;		/* this is conn->reserve */
	bool answered;
	u8 payload[];
};

struct krg_conn {
	struct krg_session *session;
	enum krg_class class;
	struct krg_tconn *tc;
	struct krg_auth_keys keys;

	/* --- receiving --- */
	spinlock_t rx_lock;		/* rx_owned, rx_leader, rx_waiters */
	bool rx_owned;			/* somebody has the right to read */
	struct krg_call *rx_leader;	/* a caller that sleeps while it has it; it is woken for data */
	struct list_head rx_waiters;	/* callers that could take over */
	bool rx_ready;			/* data may be there; set before a wake-up */
	bool rx_service;		/* what is at the head needs the service thread */
	bool rx_stalled;		/* ... which cannot take it now: nobody reads on */
	wait_queue_head_t rx_wait;	/* the service thread */
	struct task_struct *rx_task;	/* service thread; NULL: the membership thread serves it */
	struct list_head rx_ready_link;	/* in the membership thread's list; under its lock */

	/* The fields below belong to whoever has the right to read. */
	u64 rx_seq;
	bool rx_pending;		/* header read, payload not */
	bool rx_ended;			/* ... and nothing of it is left in the socket */
	u32 rx_have;			/* bytes of the payload in rx_small */
	bool rx_placed;			/* ... or rather where the caller wants them already */
	struct krg_wire_msg rx_msg;
	struct {
		struct krg_wire_hdr hdr;
		u8 data[KRG_RX_SMALL - sizeof(struct krg_wire_hdr)];
	} rx_small;
	void *rx_buf;			/* KRG_WIRE_PAYLOAD_MAX bytes for handlers that run here */
	struct krg_rpc_req *rx_req;	/* the message such a handler sees */
	struct krg_rpc_req *reserve;	/* for one queued message when memory is short */
	unsigned long reserve_busy;	/* bit 0 */
	struct list_head parked;	/* messages of an epoch to come */
	u32 parked_bytes;

	/* --- sending --- */
	struct semaphore tx_sem;
	u64 tx_seq;			/* under tx_sem */
	wait_queue_head_t tx_wait;	/* for tx_writable */
	bool tx_writable;
	spinlock_t txq_lock;		/* txq, txq_bytes, txq_closed */
	struct list_head txq;
	u32 txq_bytes;
	bool txq_closed;
	struct work_struct tx_work;	/* sends what is queued */
	struct semaphore window;	/* KRG_RPC_WINDOW minus our unanswered calls */
	atomic_t serving;		/* requests of the peer not answered yet */
};

enum krg_session_state {
	KRG_SESSION_OPENING,	/* some connections are missing */
	KRG_SESSION_UP,
	KRG_SESSION_DEAD,	/* calls have been cancelled, connections are being closed */
};

struct krg_session {
	struct kref ref;
	struct rcu_head rcu;
	struct list_head list;		/* krg_session_all, under krg_session_mutex */
	atomic_t state;			/* enum krg_session_state, only ever grows */
	bool was_up;			/* membership knows of it; under krg_session_mutex */
	u16 node;
	u64 incarnation, attempt;
	u8 machine[8];
	char host[KRG_WIRE_HOST_SIZE];
	u32 address;			/* the transport's */
	unsigned long opened;		/* jiffies, while opening */
	unsigned int attached;		/* bit per class, under krg_session_mutex */
	struct krg_conn conn[KRG_CLASS_NR];

	spinlock_t calls_lock;		/* calls, next_request */
	struct hlist_head calls[KRG_CALL_BUCKETS];
	u64 next_request;

	struct work_struct reap_work;
};

static inline bool krg_session_dead(const struct krg_session *s)
{
	return atomic_read(&s->state) == KRG_SESSION_DEAD;
}

/* session.c */
int krg_session_init(void);
void krg_session_exit(void);
struct krg_session *krg_session_create(u16 node, u64 incarnation, u64 attempt, const u8 *machine,
				       const char *host);
/** Gives @s the connection of a class; @s owns @tc afterwards, also on failure. */
int krg_session_attach(struct krg_session *s, enum krg_class class, struct krg_tconn *tc,
		       const struct krg_auth_keys *keys);
/** All connections are there: it replaces an older session of the node. 0 or -errno. */
int krg_session_establish(struct krg_session *s);
/** Ends @s; any context that may take a spinlock. Only the first call does anything. */
void krg_session_kill(struct krg_session *s, const char *why);
/** The session that is up with @node, with a reference, or NULL. Any context. */
struct krg_session *krg_session_get(u16 node);
void krg_session_put(struct krg_session *s);
/** Something that decides whether messages are delivered has changed: look again. */
void krg_session_kick_all(void);
/** Ends all sessions; returns when they are closed. */
void krg_session_stop_all(void);
/** Is a live session with this node in the hands of another machine? */
bool krg_session_taken(u16 node, const u8 *machine, u64 incarnation);
/** Finds an opening session by its attempt, with a reference; under no lock. */
struct krg_session *krg_session_find_opening(u16 node, u64 incarnation, u64 attempt);
/** Ends sessions that have been opening for too long. */
void krg_session_expire_opening(void);

/* peer.c */
int krg_peer_start(const struct krg_identity *self);
void krg_peer_stop(void);
/** The session with @node is over; connect again if that is our part. */
void krg_peer_lost(u16 node);
const struct krg_identity *krg_peer_self(void);

/* handshake.c */
struct krg_hs_result {
	struct krg_hs peer;		/* what the other side said of itself */
	struct krg_auth_keys keys;
};

/** Both take at most a few seconds. 0, or -errno; @result->peer.reason on -ECONNREFUSED. */
int krg_handshake_connect(struct krg_tconn *tc, const struct krg_identity *self, u16 node,
			  enum krg_class class, u64 attempt, struct krg_hs_result *result);
int krg_handshake_accept(struct krg_tconn *tc, const struct krg_identity *self,
			 struct krg_hs_result *result);

/* conn.c */
void krg_conn_init(struct krg_conn *c, struct krg_session *s, enum krg_class class);
int krg_conn_start(struct krg_conn *c);
/** Nobody reads or sends any more when this returns. The session is dead. */
void krg_conn_stop(struct krg_conn *c);
void krg_conn_free(struct krg_conn *c);
void krg_conn_wake(struct krg_conn *c);
/*
 * Sends one message; waits for room until @deadline (jiffies). With 0 it does not
 * wait: -EAGAIN when the way is congested, -EBUSY when somebody else is sending.
 */
int krg_conn_send(struct krg_conn *c, struct krg_wire_msg *msg, const struct kvec *vec, size_t nr,
		  unsigned long deadline);
/** With the right to send: as above without waiting. */
int krg_conn_send_now(struct krg_conn *c, struct krg_wire_msg *msg, const struct kvec *vec,
		      size_t nr);
/** Reads up to @budget messages. For the service thread and the membership thread. */
void krg_conn_service(struct krg_conn *c, unsigned int budget);
/** Waits until the answer of @call is here or @deadline; reads the connection itself. */
void krg_conn_await(struct krg_conn *c, struct krg_call *call, unsigned long deadline);
/** The payload of the message at hand goes to @vec (whose size is its length). 0 or -errno. */
int krg_conn_payload(struct krg_conn *c, const struct kvec *vec, size_t nr);
int krg_conn_skip_payload(struct krg_conn *c);
bool krg_conn_rx_own(struct krg_conn *c);
void krg_conn_rx_disown(struct krg_conn *c);

/* queue.c */
int krg_queue_add(struct krg_conn *c, const struct krg_wire_msg *msg, const struct kvec *vec,
		  size_t nr, bool answer);
/** With the right to send: what is queued goes first. 0: the queue is empty now. */
int krg_queue_flush(struct krg_conn *c);
void krg_queue_work(struct work_struct *work);
void krg_queue_purge(struct krg_conn *c);
struct krg_rpc_req *krg_req_alloc(struct krg_conn *c, u32 len);
void krg_req_free(struct krg_rpc_req *req);

/* rpc.c */
struct krg_call {
	struct hlist_node hash;
	struct list_head waiter;	/* in conn->rx_waiters */
	wait_queue_head_t wait;
	u64 request;
	u16 type;
	bool busy;			/* somebody fills the answer; under calls_lock */
	bool done;
	int result;			/* bytes or -errno */
	const struct kvec *reply;
	size_t reply_nr;
	u32 reply_max;
};

int krg_rpc_init(void);
void krg_rpc_exit(void);
/** Sum of the pieces; -EMSGSIZE: too many or too long. */
int krg_rpc_length(const struct kvec *vec, size_t nr, u32 *len);
/** An answer is at the head of @c. 0 or -errno (the connection is broken). */
int krg_rpc_answer(struct krg_conn *c);
void krg_rpc_cancel_calls(struct krg_session *s, int err);

/* dispatch.c */
int krg_dispatch_init(void);
void krg_dispatch_exit(void);
/** The type with a reference that keeps it registered, or NULL. */
const struct krg_rpc_type *krg_rpc_type_get(u16 number);
void krg_rpc_type_put(const struct krg_rpc_type *type);
/** A message or request is. -EBUSY: cannot be taken now, do not read on. */
int krg_rpc_message(struct krg_conn *c);
/** Parked messages whose time has come. -EBUSY as above. */
int krg_rpc_unpark(struct krg_conn *c);
/** Nothing of @c is delivered any more: drop what waits. */
void krg_rpc_drop_parked(struct krg_conn *c);

#endif
