// SPDX-License-Identifier: GPL-2.0
/*
 * Calls between two nodes in one kernel: every way a call can end, and what
 * broken messages do.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/slab.h>

#include <kerrighed/membership.h>
#include <kerrighed/rpc.h>

#include "fake.h"
#include "stats.h"
#include "suites.h"

#define T_ECHO		100
#define T_SLOW		101	/* queued, sleeps */
#define T_SILENT	102	/* never answers */
#define T_ANY		103	/* any epoch */

static atomic_t rpc_seen;

static void echo_handle(struct krg_rpc_req *req)
{
	struct kvec vec = { (void *)krg_rpc_req_data(req), krg_rpc_req_len(req) };

	atomic_inc(&rpc_seen);
	krg_rpc_reply(req, 0, &vec, 1);
}

static void slow_handle(struct krg_rpc_req *req)
{
	msleep(300);
	echo_handle(req);
}

static void silent_handle(struct krg_rpc_req *req)
{
	atomic_inc(&rpc_seen);
}

static const struct krg_rpc_type types[] = {
	{ .type = T_ECHO, .class = KRG_CLASS_MSG, .min_len = 4, .max_len = 60000, .name = "t-echo",
	  .handle = echo_handle },
	{ .type = T_SLOW, .class = KRG_CLASS_BULK, .flags = KRG_RPC_QUEUED, .max_len = 60000,
	  .name = "t-slow", .handle = slow_handle },
	{ .type = T_SILENT, .class = KRG_CLASS_MSG, .max_len = 8, .name = "t-silent",
	  .handle = silent_handle },
	{ .type = T_ANY, .class = KRG_CLASS_MSG, .flags = KRG_RPC_ANY_EPOCH, .max_len = 8,
	  .name = "t-any", .handle = echo_handle },
};

struct rpc_world {
	struct fake_pair_of_nodes nodes;
	u8 *out, *in;
};

static int rpc_begin(struct kunit *test)
{
	struct rpc_world *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, w);
	w->out = kunit_kzalloc(test, 60000, GFP_KERNEL);
	w->in = kunit_kzalloc(test, 60000, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, w->out && w->in);
	for (i = 0; i < 60000; i++)
		w->out[i] = i * 7;
	atomic_set(&rpc_seen, 0);
	for (i = 0; i < ARRAY_SIZE(types); i++)
		KUNIT_ASSERT_EQ(test, 0, krg_rpc_register(&types[i]));
	fake_nodes_up(test, &w->nodes, 5);
	test->priv = w;
	return 0;
}

static void rpc_end(struct kunit *test)
{
	struct rpc_world *w = test->priv;
	int i;

	fake_nodes_down(&w->nodes);
	for (i = 0; i < ARRAY_SIZE(types); i++)
		krg_rpc_unregister(&types[i]);
}

static int call(struct rpc_world *w, u16 type, u32 len, u32 room, unsigned int timeout_ms)
{
	struct kvec out = { w->out, len }, in = { w->in, room };

	return krg_rpc_call(2, type, &out, len ? 1 : 0, &in, room ? 1 : 0, timeout_ms);
}

static void rpc_echo_sizes(struct kunit *test)
{
	static const u32 size[] = { 4, 207, 208, 209, 4096, 59999 };
	struct rpc_world *w;
	int i;

	rpc_begin(test);
	w = test->priv;
	for (i = 0; i < ARRAY_SIZE(size); i++) {
		memset(w->in, 0, size[i]);
		KUNIT_EXPECT_EQ(test, (int)size[i], call(w, T_ECHO, size[i], size[i], 5000));
		KUNIT_EXPECT_EQ(test, 0, memcmp(w->in, w->out, size[i]));
	}
	rpc_end(test);
}

static void rpc_errors(struct kunit *test)
{
	struct rpc_world *w;

	rpc_begin(test);
	w = test->priv;
	KUNIT_EXPECT_EQ(test, -EMSGSIZE, call(w, T_ECHO, 100, 99, 5000));
	KUNIT_EXPECT_EQ(test, -EBADMSG, call(w, T_ECHO, 3, 8, 5000));
	KUNIT_EXPECT_EQ(test, -EMSGSIZE, call(w, T_SILENT, 9, 8, 5000));
	KUNIT_EXPECT_EQ(test, -EIO, call(w, T_SILENT, 4, 8, 5000));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, call(w, 120, 4, 8, 5000));
	KUNIT_EXPECT_EQ(test, -ENOTCONN, krg_rpc_call(3, T_ECHO, NULL, 0, NULL, 0, 100));
	KUNIT_EXPECT_EQ(test, 8, call(w, T_ECHO, 8, 8, 5000));	/* and none of it hurt */
	rpc_end(test);
}

static void rpc_timeout_and_late_answer(struct kunit *test)
{
	u64 late = krg_stats_get(KRG_ST_LATE);
	struct rpc_world *w;

	rpc_begin(test);
	w = test->priv;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, call(w, T_SLOW, 8, 8, 50));
	msleep(600);
	KUNIT_EXPECT_EQ(test, late + 1, krg_stats_get(KRG_ST_LATE));
	KUNIT_EXPECT_EQ(test, 8, call(w, T_SLOW, 8, 8, 5000));
	rpc_end(test);
}

static int kill_later(void *arg)
{
	msleep(100);
	krg_session_kill(arg, "test");
	return 0;
}

static void rpc_cancelled_by_reset(struct kunit *test)
{
	struct task_struct *killer;
	struct rpc_world *w;

	rpc_begin(test);
	w = test->priv;
	killer = kthread_create(kill_later, w->nodes.to1, "krg_killer");
	KUNIT_ASSERT_FALSE(test, IS_ERR(killer));
	get_task_struct(killer);
	wake_up_process(killer);
	KUNIT_EXPECT_EQ(test, -ECONNRESET, call(w, T_SLOW, 8, 8, 5000));
	kthread_stop(killer);
	put_task_struct(killer);
	KUNIT_EXPECT_EQ(test, -ENOTCONN, call(w, T_ECHO, 8, 8, 100));
	rpc_end(test);
}

/* One broken message ends the session, is counted, and the call that suffers says so. */
static void broken(struct kunit *test, enum fake_fault fault)
{
	u64 bad = krg_stats_get(KRG_ST_BAD_MESSAGE);
	struct rpc_world *w;

	rpc_begin(test);
	w = test->priv;
	KUNIT_EXPECT_EQ(test, 8, call(w, T_ECHO, 8, 8, 5000));
	fake_next_fault = fault;
	call(w, T_ECHO, 64, 64, 1000);
	/* A message that is missing shows when the next one comes. */
	call(w, T_ECHO, 64, 64, 1000);
	KUNIT_EXPECT_EQ(test, bad + 1, krg_stats_get(KRG_ST_BAD_MESSAGE));
	KUNIT_EXPECT_EQ(test, -ENOTCONN, call(w, T_ECHO, 8, 8, 1000));
	rpc_end(test);
}

static void rpc_flipped_bit(struct kunit *test) { broken(test, FAKE_FLIP_HEADER); }
static void rpc_replayed(struct kunit *test) { broken(test, FAKE_DUPLICATE); }
static void rpc_lost(struct kunit *test) { broken(test, FAKE_DROP); }
static void rpc_truncated(struct kunit *test) { broken(test, FAKE_TRUNCATE); }

/* One-way, as a node in @epoch would have sent it. */
static void send_in_epoch(struct kunit *test, struct rpc_world *w, u64 epoch)
{
	struct krg_wire_msg msg = { .type = T_ECHO, .length = 8, .epoch = epoch };
	struct kvec vec = { w->out, 8 };

	KUNIT_EXPECT_EQ(test, 0, krg_conn_send(&w->nodes.to2->conn[KRG_CLASS_MSG], &msg, &vec, 1,
					       jiffies + HZ));
	msleep(200);
}

static void rpc_parked_until_commit(struct kunit *test)
{
	u64 stale = krg_stats_get(KRG_ST_STALE);
	struct rpc_world *w;

	rpc_begin(test);
	w = test->priv;
	send_in_epoch(test, w, 5);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&rpc_seen));
	send_in_epoch(test, w, 4);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&rpc_seen));
	KUNIT_EXPECT_EQ(test, stale + 1, krg_stats_get(KRG_ST_STALE));
	send_in_epoch(test, w, 6);
	send_in_epoch(test, w, 6);
	fake_view(test, 6, false);
	msleep(200);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&rpc_seen));
	fake_view(test, 6, true);
	msleep(200);
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&rpc_seen));
	/* While the lease is out everything waits; it goes on when it is back. */
	fake_lease(0);
	send_in_epoch(test, w, 6);
	KUNIT_EXPECT_EQ(test, 3, atomic_read(&rpc_seen));
	fake_lease(60000);
	krg_session_kick_all();
	msleep(200);
	KUNIT_EXPECT_EQ(test, 4, atomic_read(&rpc_seen));
	rpc_end(test);
}

static void rpc_parks_no_more_than_it_may(struct kunit *test)
{
	struct krg_wire_msg msg = { .type = T_ECHO, .length = 59999, .epoch = 6 };
	struct rpc_world *w;
	struct kvec vec;
	int i;

	rpc_begin(test);
	w = test->priv;
	vec = (struct kvec){ w->out, 59999 };
	for (i = 0; i < 20; i++)
		KUNIT_EXPECT_EQ(test, 0, krg_conn_send(&w->nodes.to2->conn[KRG_CLASS_MSG], &msg,
						       &vec, 1, jiffies + 5 * HZ));
	msleep(300);
	KUNIT_EXPECT_LE(test, w->nodes.to1->conn[KRG_CLASS_MSG].parked_bytes, 256u * 1024);
	fake_view(test, 6, true);
	for (i = 0; i < 100 && atomic_read(&rpc_seen) < 20; i++)
		msleep(50);
	KUNIT_EXPECT_EQ(test, 20, atomic_read(&rpc_seen));
	rpc_end(test);
}

static void rpc_epochs(struct kunit *test)
{
	struct rpc_world *w;

	rpc_begin(test);
	w = test->priv;
	fake_view(test, 6, false);
	KUNIT_EXPECT_FALSE(test, krg_may_serve());
	KUNIT_EXPECT_EQ(test, -EHOSTDOWN, call(w, T_ECHO, 8, 8, 1000));
	KUNIT_EXPECT_EQ(test, 8, call(w, T_ANY, 8, 8, 5000));
	fake_view(test, 6, true);
	KUNIT_EXPECT_EQ(test, 8, call(w, T_ECHO, 8, 8, 5000));
	fake_lease(0);
	KUNIT_EXPECT_EQ(test, -EHOSTDOWN, call(w, T_ECHO, 8, 8, 1000));
	rpc_end(test);
}

#define CALLERS		8
#define CALLS		25

static atomic_t callers_failed, callers_left;
static DECLARE_COMPLETION(callers_done);

static int caller_thread(void *arg)
{
	u32 mine = (unsigned long)arg, got, i;
	struct kvec out = { &mine, sizeof(mine) }, in = { &got, sizeof(got) };

	for (i = 0; i < CALLS; i++) {
		mine += CALLERS;
		if (krg_rpc_call(2, T_ECHO, &out, 1, &in, 1, 20000) != sizeof(got) || got != mine)
			atomic_inc(&callers_failed);
	}
	if (atomic_dec_and_test(&callers_left))
		complete(&callers_done);
	return 0;
}

static void rpc_many_callers(struct kunit *test)
{
	unsigned long i;

	rpc_begin(test);
	atomic_set(&callers_failed, 0);
	atomic_set(&callers_left, CALLERS);
	reinit_completion(&callers_done);
	for (i = 0; i < CALLERS; i++)
		KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(caller_thread, (void *)i, "krg_call")));
	KUNIT_EXPECT_NE(test, 0UL, wait_for_completion_timeout(&callers_done, 120 * HZ));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&callers_failed));
	KUNIT_EXPECT_EQ(test, CALLERS * CALLS, atomic_read(&rpc_seen));
	rpc_end(test);
}

struct kunit_case krg_rpc_cases[] = {
	KUNIT_CASE(rpc_echo_sizes), KUNIT_CASE(rpc_errors), KUNIT_CASE(rpc_timeout_and_late_answer),
	KUNIT_CASE(rpc_cancelled_by_reset), KUNIT_CASE(rpc_flipped_bit), KUNIT_CASE(rpc_replayed),
	KUNIT_CASE(rpc_lost), KUNIT_CASE(rpc_truncated), KUNIT_CASE(rpc_epochs),
	KUNIT_CASE(rpc_parked_until_commit), KUNIT_CASE(rpc_parks_no_more_than_it_may),
	KUNIT_CASE(rpc_many_callers), {}
};
