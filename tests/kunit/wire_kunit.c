// SPDX-License-Identifier: GPL-2.0
/*
 * The decoder: what is written is read back, and every field that can be wrong is
 * refused when it is.
 */
#include <kerrighed/wire.h>

#include "suites.h"

static const struct krg_wire_msg good = {
	.flags = KRG_WIRE_F_REQUEST, .type = KRG_MSG_PING, .length = 100, .epoch = 7,
	.request = 3, .tag = 0x1122334455667788,
};

static int put_and_get(const struct krg_wire_msg *in, struct krg_wire_msg *out)
{
	struct krg_wire_hdr hdr;

	krg_wire_put(in, &hdr);
	return krg_wire_get(&hdr, sizeof(hdr), out);
}

static void wire_round_trip(struct kunit *test)
{
	struct krg_wire_msg m = {};

	KUNIT_ASSERT_EQ(test, KRG_WIRE_OK, put_and_get(&good, &m));
	KUNIT_EXPECT_EQ(test, good.length, m.length);
	KUNIT_EXPECT_EQ(test, good.epoch, m.epoch);
	KUNIT_EXPECT_EQ(test, good.request, m.request);
	KUNIT_EXPECT_EQ(test, good.tag, m.tag);
}

static void wire_refuses(struct kunit *test)
{
	struct krg_wire_msg m, bad;
	struct krg_wire_hdr hdr;
	size_t len;

	krg_wire_put(&good, &hdr);
	for (len = 0; len < sizeof(hdr); len++)
		KUNIT_EXPECT_EQ(test, KRG_WIRE_SHORT, krg_wire_get(&hdr, len, &m));
	hdr.version++;
	KUNIT_EXPECT_EQ(test, KRG_WIRE_BAD_VERSION, krg_wire_get(&hdr, sizeof(hdr), &m));

	bad = good;
	bad.length = KRG_WIRE_PAYLOAD_MAX + 1;
	KUNIT_EXPECT_EQ(test, KRG_WIRE_BAD_LENGTH, put_and_get(&bad, &m));
	bad = good;
	bad.flags |= KRG_WIRE_F_REPLY;
	KUNIT_EXPECT_EQ(test, KRG_WIRE_BAD_FIELD, put_and_get(&bad, &m));
	bad = good;
	bad.request = 0;
	KUNIT_EXPECT_EQ(test, KRG_WIRE_BAD_FIELD, put_and_get(&bad, &m));
	bad = good;
	bad.status = 5;
	KUNIT_EXPECT_EQ(test, KRG_WIRE_BAD_FIELD, put_and_get(&bad, &m));
	bad = good;
	bad.type = KRG_MSG_TYPE_MAX + 1;
	KUNIT_EXPECT_EQ(test, KRG_WIRE_BAD_FIELD, put_and_get(&bad, &m));
	bad = good;
	bad.flags = 0x80;
	KUNIT_EXPECT_EQ(test, KRG_WIRE_BAD_FIELD, put_and_get(&bad, &m));
}

static void wire_names(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, krg_wire_name_valid("blue-1.x_Y", 33));
	KUNIT_EXPECT_FALSE(test, krg_wire_name_valid("", 33));
	KUNIT_EXPECT_FALSE(test, krg_wire_name_valid("a b", 33));
	KUNIT_EXPECT_FALSE(test, krg_wire_name_valid("abc", 3));
	KUNIT_EXPECT_NE(test, krg_wire_name_hash("blue"), krg_wire_name_hash("green"));
}

struct kunit_case krg_wire_cases[] = {
	KUNIT_CASE(wire_round_trip), KUNIT_CASE(wire_refuses), KUNIT_CASE(wire_names), {}
};
