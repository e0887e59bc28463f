/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The cases of each suite, one file a suite.
 */
#ifndef KRG_KUNIT_SUITES_H
#define KRG_KUNIT_SUITES_H

#include <kunit/test.h>

extern struct kunit_case krg_wire_cases[];
extern struct kunit_case krg_auth_cases[];
extern struct kunit_case krg_rpc_cases[];
extern struct kunit_case krg_queue_cases[];
extern struct kunit_case krg_view_cases[];

#endif
