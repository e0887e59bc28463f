// SPDX-License-Identifier: GPL-2.0
/*
 * Membership, for all parts of krg_proc.ko: ids, images on their way, shadows,
 * guests, the directory. What they do with a view is theirs.
 */
#include <linux/compiler.h>

#include <kerrighed/membership.h>

#include "directory.h"
#include "ahead.h"
#include "follow.h"
#include "forward.h"
#include "member.h"
#include "move.h"
#include "pids.h"
#include "shadow.h"

/* Behind hadsm: the directory serves before anybody asks it. */
#define MEMBER_PRIORITY	200

static struct krg_subscriber member_subscriber;
static bool member_leaving;

static void member_is(const struct krg_view *view)
{
	krg_pids_member(view ? view->self : 0);
	krg_move_in_view(view);
	krg_ahead_view(view);
	krg_follow_in_view(view);
	krg_follow_out_view(view);
	krg_guest_view(view);
	krg_shadow_view(view);
	krg_forward_view(view);
}

static void member_commit(struct krg_subscriber *s, const struct krg_view *view)
{
	WRITE_ONCE(member_leaving, false);
	member_is(view);
}

static bool member_empty(struct krg_subscriber *s)
{
	unsigned int shadows = krg_shadows_count(), guests = krg_guests(), grants = krg_forward_grants();
	unsigned int follows = krg_follow_ins() + krg_follow_outs();

	if (!shadows && !guests && !grants && !follows)
		return true;
	if (!shadows && !guests && grants) {
		krg_subscriber_holding(s, "%u files of this node are used elsewhere", grants);
		return false;
	}
	if (!shadows && !guests) {
		krg_subscriber_holding(s, "memory of %u processes that moved has not followed yet", follows);
		return false;
	}
	krg_subscriber_holding(s, "%u processes of other nodes run here, %u of this node elsewhere", guests, shadows);
	return false;
}

static bool member_drain(struct krg_subscriber *s, const struct krg_view *view)
{
	WRITE_ONCE(member_leaving, true);
	krg_directory_close();
	return member_empty(s);
}

void krg_member_changed(void)
{
	if (READ_ONCE(member_leaving) && member_empty(&member_subscriber)) {
		krg_directory_close();
		krg_subscriber_drained(&member_subscriber);
	}
}

static void member_out(void)
{
	WRITE_ONCE(member_leaving, false);
	member_is(NULL);
	krg_directory_close();
}

static void member_left(struct krg_subscriber *s)
{
	member_out();
}

static void member_expelled(struct krg_subscriber *s, unsigned int reason)
{
	member_out();
}

static const struct krg_subscriber_ops member_ops = {
	.commit = member_commit,
	.drain = member_drain,
	.left = member_left,
	.expelled = member_expelled,
};

static struct krg_subscriber member_subscriber = {
	.name = "processes", .priority = MEMBER_PRIORITY, .ops = &member_ops,
};

int krg_member_init(void)
{
	return krg_subscriber_register(&member_subscriber);
}

void krg_member_exit(void)
{
	krg_subscriber_unregister(&member_subscriber);
	member_out();
}
