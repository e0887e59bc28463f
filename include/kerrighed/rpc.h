/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Typed messages between nodes: what the rest of Kerrighed calls. A message
 * type is registered with its limits and its handler; a caller sends one way,
 * or asks and waits for the answer.
 *
 * Every call ends: with the answer, with the error the other side sent, with
 * -ETIMEDOUT at its deadline, or with -ECONNRESET when the connection breaks or
 * the peer leaves the view.
 *
 * Messages of one class to one node arrive in the order they were sent, all of
 * them or the connection breaks (and the cluster gets a new epoch). A message
 * carries the epoch it was sent in: one of an older epoch is not delivered, one
 * of an epoch that is not committed here yet waits until it is. Types with
 * KRG_RPC_ANY_EPOCH are exempt: for protocols that run while a view changes.
 */
#ifndef KRG_RPC_H
#define KRG_RPC_H

#include <linux/mm.h>
#include <linux/types.h>
#include <linux/uio.h>

#include <kerrighed/wire.h>

#define KRG_RPC_VEC_MAX		20	/* pieces of one payload: a head and 16 pages, with room */
#define KRG_RPC_WINDOW		128	/* unanswered requests per node and class */

struct krg_rpc_req;

/* Flags of a type. */
#define KRG_RPC_QUEUED		1	/* the handler may sleep: run it in a worker, unordered */
#define KRG_RPC_ANY_EPOCH	2

/**
 * struct krg_rpc_type - one message type
 * @type: number in wire.h
 * @class: the connection it travels on, both ways
 * @flags: KRG_RPC_*
 * @min_len: shorter payloads are refused with -EBADMSG
 * @max_len: longer ones with -EMSGSIZE
 * @name: for counters and messages
 * @handle: called for every message. Without KRG_RPC_QUEUED it runs in the
 *	receiving thread, in order: it must not sleep for anything that needs the
 *	network, memory without a reserve or mmap_lock, and it must not call
 *	krg_rpc_call(). A request is answered with krg_rpc_reply() before the
 *	handler returns; otherwise the caller gets -EIO.
 * @place: optional. Called before the payload is read, with the bytes already
 *	here (at least min(length, 128)) in krg_rpc_req_data(): fills @vec with
 *	where the payload shall go, at most @max pieces that hold the length of
 *	the request exactly, and returns their number; 0: the ordinary buffer.
 *	Pages are filled without an intermediate copy. -errno refuses it.
 */
struct krg_rpc_type {
	u16 type;
	enum krg_class class;
	unsigned int flags;
	u32 min_len, max_len;
	const char *name;
	void (*handle)(struct krg_rpc_req *req);
	int (*place)(struct krg_rpc_req *req, struct kvec *vec, int max);
};

int __must_check krg_rpc_register(const struct krg_rpc_type *type);
/** Returns when no handler of it runs any more; late messages get -EOPNOTSUPP. */
void krg_rpc_unregister(const struct krg_rpc_type *type);

/* What a handler learns of a message. */
u16 krg_rpc_req_node(const struct krg_rpc_req *req);
u64 krg_rpc_req_incarnation(const struct krg_rpc_req *req);
u64 krg_rpc_req_epoch(const struct krg_rpc_req *req);
u32 krg_rpc_req_len(const struct krg_rpc_req *req);
/** The payload; NULL when @place put it elsewhere. Valid until the handler returns
 *  (KRG_RPC_QUEUED: until it returns as well). */
const void *krg_rpc_req_data(const struct krg_rpc_req *req);
bool krg_rpc_req_wants_reply(const struct krg_rpc_req *req);

/**
 * krg_rpc_reply() - answer a request
 * @req: the request, in its handler
 * @status: 0 or a negative errno for the caller
 * @vec: payload, may be NULL
 * @nr: pieces of @vec
 *
 * Does not wait. Return: 0 or -errno; on an error the caller runs into its
 * timeout or a reset, nothing has to be done about it here.
 */
int krg_rpc_reply(struct krg_rpc_req *req, int status, const struct kvec *vec, size_t nr);

/**
 * krg_rpc_call() - ask and wait for the answer
 * @node: who
 * @type: a type this node has registered too
 * @vec: payload
 * @nr: pieces of @vec
 * @reply: where the answer goes, filled directly by whoever receives it
 * @reply_nr: pieces of @reply
 * @timeout_ms: deadline of everything together
 *
 * Context: process context, may sleep; not in a receiving thread.
 * Return: bytes of the answer, or -ETIMEDOUT, -ECONNRESET, -ENOTCONN (no
 * connection to @node), -EHOSTDOWN (this node may not serve now), -ESTALE (the
 * other side is in a newer epoch), -EMSGSIZE (does not fit @reply), or the errno the other side gave.
 */
int krg_rpc_call(u16 node, u16 type, const struct kvec *vec, size_t nr, const struct kvec *reply,
		 size_t reply_nr, unsigned int timeout_ms);

/** Sends one way; waits for room up to @timeout_ms. May sleep. 0 or -errno. */
int krg_rpc_send(u16 node, u16 type, const struct kvec *vec, size_t nr, unsigned int timeout_ms);

/**
 * krg_rpc_post() - send one way without waiting
 * @node: to whom
 * @type: a registered message type
 * @vec: the payload
 * @nr: pieces of @vec
 *
 * Copies the payload and queues it if it cannot leave at once.
 *
 * Context: any that may allocate with GFP_NOWAIT outside interrupts.
 * Return: 0, -EAGAIN when the queue of @node is full, or -errno.
 */
int krg_rpc_post(u16 node, u16 type, const struct kvec *vec, size_t nr);

/**
 * krg_rpc_reset() - end the connection with @node
 * @node: its node id
 * @why: a few words for the log and for health reports; must stay valid
 *
 * For protocols that have lost a message to it, or got one that cannot be: what
 * was in flight is gone, and membership makes a new epoch. Any context that may
 * take a spinlock.
 */
void krg_rpc_reset(u16 node, const char *why);

/** A page, or part of one, as a piece of a payload; sent from where it is, received into it. */
static inline struct kvec krg_rpc_page(struct page *page, unsigned int offset, unsigned int len)
{
	return (struct kvec){ .iov_base = page_address(page) + offset, .iov_len = len };
}

#endif
