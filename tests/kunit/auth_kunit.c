// SPDX-License-Identifier: GPL-2.0
/*
 * The handshake, both sides of it over a connection in memory, with right and
 * wrong keys; and that tags depend on everything they cover.
 */
#include <linux/completion.h>
#include <linux/slab.h>

#include "core/membership.h"
#include "fake.h"
#include "suites.h"

struct accept_side {
	struct work_struct work;
	struct completion done;
	struct krg_tconn *tc;
	struct krg_identity self;
	struct krg_hs_result result;
	int err;
};

static void accept_work(struct work_struct *work)
{
	struct accept_side *a = container_of(work, struct accept_side, work);

	a->err = krg_handshake_accept(a->tc, &a->self, &a->result);
	complete(&a->done);
}

static void identity(struct kunit *test, struct krg_identity *id, u16 node, u8 key_byte)
{
	u8 key[KRG_KEY_SIZE];

	memset(key, key_byte, sizeof(key));
	memset(id, 0, sizeof(*id));
	id->node = node;
	id->cluster_hash = krg_wire_name_hash("blue");
	id->incarnation = 100 + node;
	id->machine[0] = node;
	strscpy(id->cluster, "blue", sizeof(id->cluster));
	id->auth = krg_auth_create(key);
	KUNIT_ASSERT_FALSE(test, IS_ERR(id->auth));
}

/* Node 1 connects to node 2. Result of both sides. */
static int shake(struct kunit *test, struct krg_identity *one, struct accept_side *two,
		 struct krg_hs_result *result)
{
	struct krg_tconn *end[2];
	int err;

	KUNIT_ASSERT_EQ(test, 0, fake_connect(end));
	INIT_WORK(&two->work, accept_work);
	init_completion(&two->done);
	two->tc = end[1];
	queue_work(krg_session_wq, &two->work);
	err = krg_handshake_connect(end[0], one, 2, KRG_CLASS_MSG, 77, result);
	krg_transport->close(end[0]);
	wait_for_completion(&two->done);
	flush_work(&two->work);
	krg_transport->close(end[1]);
	return err;
}

static void auth_right_key(struct kunit *test)
{
	struct accept_side *two = kunit_kzalloc(test, sizeof(*two), GFP_KERNEL);
	struct krg_hs_result *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);
	struct krg_identity one;

	KUNIT_ASSERT_TRUE(test, two && r);
	identity(test, &one, 1, 0x11);
	identity(test, &two->self, 2, 0x11);
	KUNIT_EXPECT_EQ(test, 0, shake(test, &one, two, r));
	KUNIT_EXPECT_EQ(test, 0, two->err);
	KUNIT_EXPECT_EQ(test, 102ULL, r->peer.incarnation);
	KUNIT_EXPECT_EQ(test, 101ULL, two->result.peer.incarnation);
	/* What one side sends with, the other receives with; the directions differ. */
	KUNIT_EXPECT_EQ(test, 0, memcmp(&r->keys.tx, &two->result.keys.rx, sizeof(siphash_key_t)));
	KUNIT_EXPECT_EQ(test, 0, memcmp(&r->keys.rx, &two->result.keys.tx, sizeof(siphash_key_t)));
	KUNIT_EXPECT_NE(test, 0, memcmp(&r->keys.rx, &r->keys.tx, sizeof(siphash_key_t)));
	krg_auth_destroy(one.auth);
	krg_auth_destroy(two->self.auth);
}

static void auth_wrong_key(struct kunit *test)
{
	struct accept_side *two = kunit_kzalloc(test, sizeof(*two), GFP_KERNEL);
	struct krg_hs_result *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);
	struct krg_identity one;

	KUNIT_ASSERT_TRUE(test, two && r);
	identity(test, &one, 1, 0x11);
	identity(test, &two->self, 2, 0x12);
	KUNIT_EXPECT_EQ(test, -EKEYREJECTED, shake(test, &one, two, r));
	KUNIT_EXPECT_NE(test, 0, two->err);
	krg_auth_destroy(one.auth);
	krg_auth_destroy(two->self.auth);
}

static void auth_wrong_cluster(struct kunit *test)
{
	struct accept_side *two = kunit_kzalloc(test, sizeof(*two), GFP_KERNEL);
	struct krg_hs_result *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);
	struct krg_identity one;

	KUNIT_ASSERT_TRUE(test, two && r);
	identity(test, &one, 1, 0x11);
	identity(test, &two->self, 2, 0x11);
	one.cluster_hash++;
	KUNIT_EXPECT_EQ(test, -ECONNREFUSED, shake(test, &one, two, r));
	KUNIT_EXPECT_EQ(test, (int)KRG_MBR_R_CLUSTER, (int)r->peer.reason);
	krg_auth_destroy(one.auth);
	krg_auth_destroy(two->self.auth);
}

static void auth_tag_covers_header(struct kunit *test)
{
	siphash_key_t key = { { 1, 2 } };
	struct krg_wire_hdr hdr = {};
	u64 tag = krg_auth_tag(&hdr, 9, &key);
	u8 *bytes = (u8 *)&hdr;
	int i;

	for (i = 0; i < KRG_WIRE_TAGGED_SIZE; i++) {
		bytes[i] ^= 1;
		KUNIT_EXPECT_NE(test, tag, krg_auth_tag(&hdr, 9, &key));
		bytes[i] ^= 1;
	}
	KUNIT_EXPECT_NE(test, tag, krg_auth_tag(&hdr, 10, &key));
	key.key[1]++;
	KUNIT_EXPECT_NE(test, tag, krg_auth_tag(&hdr, 9, &key));
}

struct kunit_case krg_auth_cases[] = {
	KUNIT_CASE(auth_right_key), KUNIT_CASE(auth_wrong_key), KUNIT_CASE(auth_wrong_cluster),
	KUNIT_CASE(auth_tag_covers_header), {}
};
