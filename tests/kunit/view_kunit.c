// SPDX-License-Identifier: GPL-2.0
/*
 * Subscribers: in which order they hear of a view, and that one of them can hold a
 * planned leave.
 */
#include <linux/delay.h>

#include <kerrighed/membership.h>

#include "fake.h"
#include "member.h"
#include "suites.h"

static char view_log[128];

static void note(struct krg_subscriber *s, char what)
{
	size_t n = strlen(view_log);

	if (n + 3 < sizeof(view_log)) {
		view_log[n] = what;
		view_log[n + 1] = s->name[0];
		view_log[n + 2] = 0;
	}
}

static void on_prepare(struct krg_subscriber *s, const struct krg_view *view) { note(s, 'p'); }
static void on_commit(struct krg_subscriber *s, const struct krg_view *view) { note(s, 'c'); }
static void on_expelled(struct krg_subscriber *s, unsigned int reason) { note(s, 'x'); }

static bool on_drain(struct krg_subscriber *s, const struct krg_view *view)
{
	krg_subscriber_holding(s, "%d objects", 3);
	return false;
}

static const struct krg_subscriber_ops plain_ops = {
	.prepare = on_prepare, .commit = on_commit, .expelled = on_expelled,
};
static const struct krg_subscriber_ops holding_ops = { .drain = on_drain };

static void view_order(struct kunit *test)
{
	struct krg_subscriber low = { .name = "low", .priority = 1, .ops = &plain_ops };
	struct krg_subscriber high = { .name = "high", .priority = 9, .ops = &plain_ops };
	struct fake_pair_of_nodes n;

	view_log[0] = 0;
	KUNIT_ASSERT_EQ(test, 0, krg_subscriber_register(&low));
	KUNIT_ASSERT_EQ(test, 0, krg_subscriber_register(&high));
	fake_nodes_up(test, &n, 5);
	msleep(50);	/* the last callback may still be running when the epoch shows */
	KUNIT_EXPECT_STREQ(test, "phplclch", view_log);
	view_log[0] = 0;
	KUNIT_EXPECT_EQ(test, 0, krg_view_notify(KRG_MBR_ACT_EXPELLED, NULL, 0, KRG_MBR_R_LOST, 0, 0));
	msleep(200);
	KUNIT_EXPECT_STREQ(test, "xhxl", view_log);
	KUNIT_EXPECT_EQ(test, 0ULL, krg_epoch());
	KUNIT_EXPECT_FALSE(test, krg_may_serve());
	krg_subscriber_unregister(&high);
	krg_subscriber_unregister(&low);
	fake_nodes_down(&n);
}

static void view_held_leave(struct kunit *test)
{
	struct krg_subscriber s = { .name = "test", .priority = 1, .ops = &holding_ops };
	int drained = atomic_read(&fake_events[KRG_MBR_EV_DRAINED]);
	struct fake_pair_of_nodes n;
	char text[96];

	KUNIT_ASSERT_EQ(test, 0, krg_subscriber_register(&s));
	fake_nodes_up(test, &n, 5);
	KUNIT_EXPECT_EQ(test, 0, krg_view_notify(KRG_MBR_ACT_DRAIN, krg_view_get(), 1, 0, 5, 0));
	msleep(200);
	KUNIT_EXPECT_EQ(test, drained, atomic_read(&fake_events[KRG_MBR_EV_DRAINED]));
	KUNIT_EXPECT_TRUE(test, krg_view_drain_holders(text, sizeof(text)));
	KUNIT_EXPECT_STREQ(test, "test: 3 objects", text);
	krg_subscriber_drained(&s);
	msleep(200);
	KUNIT_EXPECT_EQ(test, drained + 1, atomic_read(&fake_events[KRG_MBR_EV_DRAINED]));
	KUNIT_EXPECT_FALSE(test, krg_view_drain_holders(text, sizeof(text)));
	krg_subscriber_unregister(&s);
	fake_nodes_down(&n);
}

static void view_lease_alone_is_not_enough(struct kunit *test)
{
	struct fake_pair_of_nodes n;

	fake_nodes_up(test, &n, 5);
	KUNIT_EXPECT_TRUE(test, krg_may_serve());
	fake_lease(30);
	msleep(60);
	KUNIT_EXPECT_FALSE(test, krg_may_serve());
	fake_lease(60000);
	KUNIT_EXPECT_TRUE(test, krg_may_serve());
	fake_view(test, 6, false);	/* agreed on, not committed */
	KUNIT_EXPECT_FALSE(test, krg_may_serve());
	fake_nodes_down(&n);
}

struct kunit_case krg_view_cases[] = {
	KUNIT_CASE(view_order), KUNIT_CASE(view_held_leave),
	KUNIT_CASE(view_lease_alone_is_not_enough), {}
};
