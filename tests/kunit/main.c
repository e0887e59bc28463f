// SPDX-License-Identifier: GPL-2.0
/*
 * Start and end of the module, and the list of its suites.
 */
#include <kunit/test.h>
#include <linux/module.h>

#include "main.h"
#include "suites.h"

static int krg_kunit_start(struct kunit_suite *suite)
{
	int err;

	err = krg_stats_init();
	if (err)
		return err;
	err = krg_session_init();
	if (err)
		goto stats;
	err = krg_view_init();
	if (err)
		goto session;
	err = krg_dispatch_init();
	if (err)
		goto view;
	err = krg_rpc_init();
	if (!err)
		return 0;
	krg_dispatch_exit();
view:
	krg_view_exit();
session:
	krg_session_exit();
stats:
	krg_stats_exit();
	return err;
}

static void krg_kunit_stop(struct kunit_suite *suite)
{
	krg_rpc_exit();
	krg_dispatch_exit();
	krg_view_exit();
	krg_session_exit();
	krg_stats_exit();
}

#define KRG_SUITE(suite, cases)							\
	static struct kunit_suite suite##_suite = {				\
		.name = #suite, .suite_init = krg_kunit_start,			\
		.suite_exit = krg_kunit_stop, .test_cases = cases,		\
	}

KRG_SUITE(krg_wire, krg_wire_cases);
KRG_SUITE(krg_auth, krg_auth_cases);
KRG_SUITE(krg_rpc, krg_rpc_cases);
KRG_SUITE(krg_queue, krg_queue_cases);
KRG_SUITE(krg_view, krg_view_cases);

kunit_test_suites(&krg_wire_suite, &krg_auth_suite, &krg_rpc_suite, &krg_queue_suite,
		  &krg_view_suite);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The Kerrighed developers");
MODULE_DESCRIPTION("KUnit suites of Kerrighed's edge");
