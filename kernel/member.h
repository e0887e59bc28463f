/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The membership engine's edge: the one thread that feeds it, the clock, and the
 * views it produces. See member.c (engine) and view.c (subscribers).
 */
#ifndef KRG_MEMBER_H
#define KRG_MEMBER_H

#include <linux/types.h>

#include <kerrighed/membership.h>

struct krg_conn;
struct krg_identity;

/* What the life of the node wants to know; called in the view worker, in order. */
struct krg_member_sink {
	void (*view)(const struct krg_view *view, bool committed);
	void (*serving)(bool serving);	/* suspended, resumed */
	void (*draining)(void);
	/* The incarnation is over: LEFT, or EXPELLED/REFUSED/FAILED with a reason. */
	void (*over)(enum krg_mbr_action_type how, u16 node, unsigned int reason, u64 arg);
	void (*peer_refused)(u16 node, unsigned int reason);
};

/* --- member.c --- */
u64 krg_member_now_ms(void);	/* the engine's clock */
int krg_member_start(const struct krg_mbr_config *cfg, const char *witness,
		     const struct krg_member_sink *sink);
void krg_member_stop(void);
/**
 * krg_member_post() - hands an event to the engine
 * @ev: copied; its data must be NULL
 *
 * Context: process, may sleep.
 * Return: 0; -ESHUTDOWN: there is no engine; -ETIMEDOUT: it took nothing for ten seconds. It has
 * missed this event then, so it stops (FAILED) as soon as it runs again.
 */
int krg_member_post(const struct krg_mbr_event *ev);
/** The witness has answered: copied. */
int krg_member_post_witness(const u8 *data, u32 len);
/** A CTL connection has something to read. Soft interrupts too. */
void krg_member_readable(struct krg_conn *c);
/** @c is no longer ours; returns when the thread does not use it. */
void krg_member_forget(struct krg_conn *c);
/** An engine message was read from @c by the membership thread. */
void krg_member_message(u16 node, u64 incarnation, const void *data, u32 len);
/** Buffer of the membership thread for payloads of CTL connections. */
void *krg_member_buffer(void);

/* A picture of the engine for status; taken by the membership thread. */
struct krg_member_snapshot {
	enum krg_mbr_state state;
	bool has_quorum;
	enum krg_mbr_recovery recovery;	/* would recover do anything here? */
	u64 now_ms, serve_until;
	struct krg_mbr_stats stats;
	struct krg_view *view;		/* of the engine, committed or not; may be NULL */
	struct krg_mbr_peer_info peer[];	/* by node id, entry 0 unused */
};

/*
 * Waits for the membership thread, at most a few seconds. Free with
 * krg_member_snapshot_free(). NULL: no engine, out of memory, or no answer.
 */
struct krg_member_snapshot *krg_member_snapshot(u16 max_node);
void krg_member_snapshot_free(struct krg_member_snapshot *s);

/* --- view.c --- */
int krg_view_init(void);
void krg_view_exit(void);
void krg_view_start(const struct krg_member_sink *sink);
/** Nothing of this incarnation is told to anybody after this. */
void krg_view_stop(void);
struct krg_view *krg_view_copy(const struct krg_mbr_view *v, u16 self, gfp_t gfp);
/** Queues one of the engine's actions for subscribers and sink; takes @view over. */
int krg_view_notify(enum krg_mbr_action_type what, struct krg_view *view, u16 node,
		    unsigned int reason, u64 epoch, u64 arg);
/** As if the engine had failed; needs no memory. */
void krg_view_fail(void);
/** Published after every step of the engine, before its messages leave. */
void krg_view_set_serve_until(u64 ms);
/** Who holds a planned leave, as text; false: nobody. */
bool krg_view_drain_holders(char *text, size_t size);

/* --- witness.c --- */
int krg_witness_init(void);
void krg_witness_exit(void);
void krg_witness_start(const char *path);
void krg_witness_stop(void);
/** Runs the witness on a message of the engine, in its own worker. */
void krg_witness_send(u64 cluster_id, const u8 *data, u32 len);

#endif
