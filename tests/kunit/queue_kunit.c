// SPDX-License-Identifier: GPL-2.0
/*
 * Back-pressure: what happens to posts and sends when the other side does not
 * read, and that order survives it.
 */
#include <linux/delay.h>
#include <linux/slab.h>

#include <kerrighed/rpc.h>

#include "fake.h"
#include "stats.h"
#include "suites.h"

#define T_POST	104

static u32 post_last;
static atomic_t post_seen, post_disorder;

static void post_handle(struct krg_rpc_req *req)
{
	u32 n;

	memcpy(&n, krg_rpc_req_data(req), sizeof(n));
	if (n != post_last + 1)
		atomic_inc(&post_disorder);
	post_last = n;
	atomic_inc(&post_seen);
}

static const struct krg_rpc_type post_type = {
	.type = T_POST, .class = KRG_CLASS_MSG, .min_len = 4, .max_len = 4096, .name = "t-post",
	.handle = post_handle,
};

static void queue_begin(struct kunit *test, struct fake_pair_of_nodes *n)
{
	post_last = 0;
	atomic_set(&post_seen, 0);
	atomic_set(&post_disorder, 0);
	KUNIT_ASSERT_EQ(test, 0, krg_rpc_register(&post_type));
	fake_nodes_up(test, n, 5);
}

static void queue_end(struct fake_pair_of_nodes *n)
{
	fake_nodes_down(n);
	krg_rpc_unregister(&post_type);
}

static void queue_fills_and_drains_in_order(struct kunit *test)
{
	u64 full = krg_stats_get(KRG_ST_QUEUE_FULL);
	u32 *data = kunit_kzalloc(test, 4096, GFP_KERNEL);
	struct kvec vec = { data, 4096 };
	struct fake_pair_of_nodes n;
	int err = 0, posted = 0, i;

	KUNIT_ASSERT_NOT_NULL(test, data);
	queue_begin(test, &n);
	fake_set_limit(n.to2->conn[KRG_CLASS_MSG].tc, 0);
	while (!err && posted < 10000) {
		data[0] = posted + 1;
		err = krg_rpc_post(2, T_POST, &vec, 1);
		if (!err)
			posted++;
	}
	KUNIT_EXPECT_EQ(test, -EAGAIN, err);
	KUNIT_EXPECT_GT(test, posted, 100);
	KUNIT_EXPECT_EQ(test, full + 1, krg_stats_get(KRG_ST_QUEUE_FULL));
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, krg_rpc_send(2, T_POST, &vec, 1, 100));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&post_seen));

	fake_set_limit(n.to2->conn[KRG_CLASS_MSG].tc, 4);
	data[0] = posted + 1;
	KUNIT_EXPECT_EQ(test, 0, krg_rpc_send(2, T_POST, &vec, 1, 60000));	/* behind them all */
	for (i = 0; i < 100 && atomic_read(&post_seen) < posted + 1; i++)
		msleep(50);
	KUNIT_EXPECT_EQ(test, posted + 1, atomic_read(&post_seen));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&post_disorder));
	queue_end(&n);
}

static void queue_dies_with_its_session(struct kunit *test)
{
	u32 one = 1;
	struct kvec vec = { &one, sizeof(one) };
	struct fake_pair_of_nodes n;
	int i;

	queue_begin(test, &n);
	fake_set_limit(n.to2->conn[KRG_CLASS_MSG].tc, 0);
	for (i = 0; i < 10; i++)
		KUNIT_EXPECT_EQ(test, 0, krg_rpc_post(2, T_POST, &vec, 1));
	krg_session_kill(n.to2, "test");
	KUNIT_EXPECT_EQ(test, -ENOTCONN, krg_rpc_post(2, T_POST, &vec, 1));
	queue_end(&n);	/* KASAN and kmemleak see what was left behind */
}

static void queue_reserve_is_there_once(struct kunit *test)
{
	struct fake_pair_of_nodes n;
	struct krg_conn *c;

	queue_begin(test, &n);
	c = &n.to2->conn[KRG_CLASS_MSG];
	KUNIT_EXPECT_NOT_NULL(test, c->reserve);
	KUNIT_EXPECT_FALSE(test, test_and_set_bit(0, &c->reserve_busy));
	KUNIT_EXPECT_TRUE(test, test_and_set_bit(0, &c->reserve_busy));
	clear_bit(0, &c->reserve_busy);
	queue_end(&n);
}

struct kunit_case krg_queue_cases[] = {
	KUNIT_CASE(queue_fills_and_drains_in_order), KUNIT_CASE(queue_dies_with_its_session),
	KUNIT_CASE(queue_reserve_is_there_once), {}
};
