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

/* Two nodes that will shake hands: 1 connects, 2 accepts. */
struct pair {
	struct krg_identity one;
	struct krg_hs_result result;	/* what 1 learns */
	struct accept_side two;
};

static struct pair *pair_make(struct kunit *test, u8 key_one, u8 key_two)
{
	struct pair *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	identity(test, &p->one, 1, key_one);
	identity(test, &p->two.self, 2, key_two);
	return p;
}

static void pair_end(struct pair *p)
{
	krg_auth_destroy(p->one.auth);
	krg_auth_destroy(p->two.self.auth);
}

static void auth_right_key(struct kunit *test)
{
	struct pair *p = pair_make(test, 0x11, 0x11);
	const struct krg_auth_keys *mine = &p->result.keys, *other = &p->two.result.keys;

	KUNIT_EXPECT_EQ(test, 0, shake(test, &p->one, &p->two, &p->result));
	KUNIT_EXPECT_EQ(test, 0, p->two.err);
	KUNIT_EXPECT_EQ(test, 102ULL, p->result.peer.incarnation);
	KUNIT_EXPECT_EQ(test, 101ULL, p->two.result.peer.incarnation);
	/* What one side sends with, the other receives with; the directions differ. */
	KUNIT_EXPECT_EQ(test, 0, memcmp(&mine->tx, &other->rx, sizeof(siphash_key_t)));
	KUNIT_EXPECT_EQ(test, 0, memcmp(&mine->rx, &other->tx, sizeof(siphash_key_t)));
	KUNIT_EXPECT_NE(test, 0, memcmp(&mine->rx, &mine->tx, sizeof(siphash_key_t)));
	pair_end(p);
}

static void auth_wrong_key(struct kunit *test)
{
	struct pair *p = pair_make(test, 0x11, 0x12);

	KUNIT_EXPECT_EQ(test, -EKEYREJECTED, shake(test, &p->one, &p->two, &p->result));
	KUNIT_EXPECT_NE(test, 0, p->two.err);
	pair_end(p);
}

static void auth_wrong_cluster(struct kunit *test)
{
	struct pair *p = pair_make(test, 0x11, 0x11);

	p->one.cluster_hash++;
	KUNIT_EXPECT_EQ(test, -ECONNREFUSED, shake(test, &p->one, &p->two, &p->result));
	KUNIT_EXPECT_EQ(test, (int)KRG_MBR_R_CLUSTER, (int)p->result.peer.reason);
	pair_end(p);
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
