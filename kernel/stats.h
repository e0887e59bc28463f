/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Counters and latency histograms: per message type (summed over processors)
 * and per peer. Counting is cheap and lock-free; reading takes a copy.
 */
#ifndef KRG_STATS_H
#define KRG_STATS_H

#include <linux/types.h>

#include <kerrighed/wire.h>

#define KRG_STATS_BUCKETS	24	/* bucket n: latencies of [2^n, 2^(n+1)) us; the last: and more */

enum krg_stats_type_counter {
	KRG_ST_TX,		/* messages sent */
	KRG_ST_TX_BYTES,	/* payload bytes */
	KRG_ST_RX,
	KRG_ST_RX_BYTES,
	KRG_ST_ERRORS,		/* calls that ended in an error, messages that were refused */
	KRG_ST_TIMEOUTS,
	KRG_ST_CALLS,		/* calls that got their answer: in the histogram */
	KRG_ST_LATENCY_US,	/* sum over them */
	KRG_ST_TYPE_COUNTERS,
};

enum krg_stats_counter {	/* of this node */
	KRG_ST_BAD_MESSAGE,	/* malformed, wrong tag or sequence: the connection was reset */
	KRG_ST_BAD_HANDSHAKE,	/* malformed, wrong key or version */
	KRG_ST_BAD_HELLO,
	KRG_ST_STALE,		/* of an older epoch: not delivered */
	KRG_ST_PARKED,		/* had to wait for their epoch */
	KRG_ST_LATE,		/* answers nobody waited for any more */
	KRG_ST_REFUSED_TYPE,	/* of a type nobody has registered */
	KRG_ST_QUEUE_FULL,	/* posts refused: back-pressure */
	KRG_ST_CONGESTED,	/* sends that had to wait for room */
	KRG_ST_DROPPED,		/* membership messages not sent: congestion */
	KRG_ST_RESETS,		/* sessions that ended */
	KRG_ST_SESSIONS,	/* sessions that came up */
	KRG_ST_PLAINTEXT,	/* unencrypted TIPC frames dropped at ingress */
	KRG_ST_RESERVE,		/* times the receive reserve was needed */
	KRG_ST_COUNTERS,
};

struct krg_stats_type {
	u16 type;
	const char *name;
	u64 counter[KRG_ST_TYPE_COUNTERS];
	u64 latency[KRG_STATS_BUCKETS];
};

struct krg_stats_peer {
	u16 node;
	u64 tx, tx_bytes, rx, rx_bytes, resets;
	u64 calls, latency_us;		/* sum over the answered calls */
	u64 latency[KRG_STATS_BUCKETS];
};

int krg_stats_init(void);
void krg_stats_exit(void);

void krg_stats_add(enum krg_stats_counter c, u64 n);
static inline void krg_stats_inc(enum krg_stats_counter c) { krg_stats_add(c, 1); }
void krg_stats_tx(u16 node, u16 type, u32 bytes);
void krg_stats_rx(u16 node, u16 type, u32 bytes);
void krg_stats_type_inc(u16 type, enum krg_stats_type_counter c);
void krg_stats_latency(u16 node, u16 type, u64 ns);
void krg_stats_reset_of(u16 node);
/** A type is registered; @name must stay until it is removed. Serialised by the caller. */
int krg_stats_type_add(u16 type, const char *name);
void krg_stats_type_remove(u16 type);	/* its counters stay, without a name */

/** Copies; false: never used (nothing to show). */
bool krg_stats_get_type(u16 type, struct krg_stats_type *out);
bool krg_stats_get_peer(u16 node, struct krg_stats_peer *out);
u64 krg_stats_get(enum krg_stats_counter c);
/** Stable name of a counter, e.g. "bad_messages". */
const char *krg_stats_counter_name(enum krg_stats_counter c);

#endif
