/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A transport that is memory, and both ends of a session on it. See fake.c.
 */
#ifndef KRG_KUNIT_FAKE_H
#define KRG_KUNIT_FAKE_H

#include <kunit/test.h>

#include "session.h"

/* What happens to the next message that is sent on any connection, once. */
enum fake_fault {
	FAKE_NO_FAULT,
	FAKE_FLIP_HEADER,	/* one bit of the header */
	FAKE_DUPLICATE,		/* it arrives twice */
	FAKE_DROP,
	FAKE_TRUNCATE,		/* its last byte is missing */
};

extern enum fake_fault fake_next_fault;

/* Node 1 and node 2 in one kernel: calls to node 2 are answered by its session with node 1. */
struct fake_pair_of_nodes {
	struct krg_session *to2;	/* node 1's end */
	struct krg_session *to1;	/* node 2's end */
};

/** A connected pair; both ends are closed by their owners. */
int fake_connect(struct krg_tconn *end[2]);
/** Messages that may be under way on @tc before its sender is congested. */
void fake_set_limit(struct krg_tconn *tc, unsigned int limit);

/** Two established sessions, and a committed view of epoch @epoch with both nodes. */
void fake_nodes_up(struct kunit *test, struct fake_pair_of_nodes *n, u64 epoch);
void fake_nodes_down(struct fake_pair_of_nodes *n);
/** Makes @epoch the committed view of this node, or only prepares it. */
void fake_view(struct kunit *test, u64 epoch, bool commit);
/** Lease in ms from now; 0: none. */
void fake_lease(unsigned int ms);

/* Events the code under test has posted to membership. */
extern atomic_t fake_events[32];

#endif
