/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a transport does for us: connections between nodes that keep message
 * boundaries and order, and hints about who is there. Nothing above this face
 * knows which protocol carries the cluster; kernel/tipc.c is the one we have.
 *
 * A transport authenticates nobody: kernel/auth.c does, on top of it.
 */
#ifndef KRG_TRANSPORT_H
#define KRG_TRANSPORT_H

#include <linux/types.h>
#include <linux/uio.h>

#include <kerrighed/wire.h>

struct krg_tconn;	/* one connection, owned by the transport */

/*
 * Called from soft interrupts or with the socket locked: wake somebody, do
 * nothing else. Spurious calls are allowed, missed ones are not.
 */
struct krg_tconn_cb {
	void (*readable)(void *ctx);	/* a message or the end of the connection is there */
	void (*writable)(void *ctx);	/* a send that got -EAGAIN may work now */
};

/* Both called in process context, from threads of the transport. */
struct krg_transport_watch {
	/** Somebody connected: we own @tc from here on. */
	void (*accepted)(struct krg_tconn *tc);
	/** @node became visible or invisible: a hint, nothing more. */
	void (*seen)(u16 node, bool here);
};

struct krg_transport_ops {
	const char *name;
	u32 max_message;	/* bytes, header included */

	/** Become reachable as node @self and report who else is. */
	int (*start)(u16 self, const struct krg_transport_watch *watch);
	/** No callback of the watch runs any more after this. Connections stay. */
	void (*stop)(void);

	/** May sleep up to @timeout_ms. */
	int (*connect)(u16 node, unsigned int timeout_ms, struct krg_tconn **tc);
	/** Importance of what is sent from now on. */
	void (*set_class)(struct krg_tconn *tc, enum krg_class class);
	/** Who to wake; NULL: nobody. No callback to the old one runs after this. */
	void (*set_callbacks)(struct krg_tconn *tc, const struct krg_tconn_cb *cb, void *ctx);

	/** One whole message. Does not wait: -EAGAIN when the way is congested. */
	int (*send)(struct krg_tconn *tc, struct kvec *vec, size_t nr, size_t len);
	/**
	 * Bytes of the message at the head of the queue, up to @len, continuing
	 * where the last call stopped. *@end: the message ends here. @drop: what
	 * does not fit is thrown away. Does not wait: -EAGAIN when there is
	 * nothing, 0 when the connection is over.
	 */
	int (*recv)(struct krg_tconn *tc, struct kvec *vec, size_t nr, size_t len, bool drop,
		    bool *end);
	/** Would recv() have something to say? */
	bool (*readable)(struct krg_tconn *tc);
	/** Address of the other end in the transport's own numbers. */
	u32 (*address)(struct krg_tconn *tc);
	/** May sleep. The caller sees to it that nobody uses @tc any more. */
	void (*close)(struct krg_tconn *tc);
};

extern const struct krg_transport_ops krg_tipc_ops;

#endif
