/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How the parts of Kerrighed learn who is in the cluster, and whether this node
 * may act as a member right now.
 *
 * A subscriber's callbacks run in one thread, in the order of the views, one
 * subscriber after the other. For every view:
 *
 *	prepare(view)	the old epoch is over: stop its work, forget who is gone.
 *			May be called again with a newer view before any commit.
 *	commit(view)	the view serves: go on in the new epoch
 *
 * and, at any time: suspend() when the lease has run out (freeze; act for
 * nobody), resume() when it is back in the same view, expelled() when this
 * node's incarnation is over without its consent (forget everything; tasks of
 * the cluster are killed), left() after a planned leave. prepare and expelled go
 * from high to low priority, commit, resume and left from low to high: what is
 * built on something stops first and starts last.
 */
#ifndef KRG_MEMBERSHIP_H
#define KRG_MEMBERSHIP_H

#include <linux/list.h>
#include <linux/refcount.h>
#include <linux/types.h>

#include "../../kernel/core/membership.h"

/* An immutable copy of a view. */
struct krg_view {
	refcount_t ref;
	struct rcu_head rcu;
	u64 epoch, cluster_id;
	struct krg_mbr_params params;
	u16 self;
	u16 count, removed_count;
	const struct krg_mbr_member *member;	/* by ascending node id */
	const struct krg_mbr_member *removed;
	struct krg_mbr_member entry[];
};

struct krg_subscriber;

struct krg_subscriber_ops {
	void (*prepare)(struct krg_subscriber *s, const struct krg_view *view);
	void (*commit)(struct krg_subscriber *s, const struct krg_view *view);
	void (*suspend)(struct krg_subscriber *s);
	void (*resume)(struct krg_subscriber *s);
	/**
	 * A planned leave begins: move everything elsewhere. Return true when
	 * there is nothing, false to hold the leave until krg_subscriber_drained().
	 */
	bool (*drain)(struct krg_subscriber *s, const struct krg_view *view);
	void (*expelled)(struct krg_subscriber *s, unsigned int reason);
	void (*left)(struct krg_subscriber *s);
};

/* All callbacks are optional. */
struct krg_subscriber {
	const char *name;
	int priority;	/* higher: built on top of the lower ones */
	const struct krg_subscriber_ops *ops;

	/* private */
	struct list_head list;
	bool holds;		/* a planned leave; with why under a lock of view.c */
	char why[64];
};

/** Told of the present view at once, as prepare and commit, if there is a committed one. */
int __must_check krg_subscriber_register(struct krg_subscriber *s);
/** Returns when no callback of @s runs any more. */
void krg_subscriber_unregister(struct krg_subscriber *s);

/** @s holds a planned leave because of this; shown by `krgadm cluster status`. */
void krg_subscriber_holding(struct krg_subscriber *s, const char *fmt, ...) __printf(2, 3);
/** @s is empty: it no longer holds the planned leave. */
void krg_subscriber_drained(struct krg_subscriber *s);

/**
 * krg_may_serve() - may this node act as a member at this moment?
 *
 * Cheap, any context. True only while the lease runs in a committed view: check
 * it last before an effect that others must be able to rely on.
 */
bool krg_may_serve(void);

/** Epoch of the committed view, 0 if there is none. Any context. */
u64 krg_epoch(void);

/** The committed view with a reference, or NULL. Any context. */
struct krg_view *krg_view_get(void);
void krg_view_put(struct krg_view *view);

/** Is @node in @view? */
const struct krg_mbr_member *krg_view_find(const struct krg_view *view, u16 node);

#endif
