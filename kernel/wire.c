// SPDX-License-Identifier: GPL-2.0
/*
 * Reading and writing what wire.h defines. Pure functions, compiled into the
 * module and into the fuzzer from this file; what is done with a message is
 * decided elsewhere.
 */
#ifdef __KERNEL__
#include <asm/byteorder.h>
#include <linux/build_bug.h>
#include <linux/string.h>
#else
#include <assert.h>
#include <endian.h>
#include <string.h>
#define cpu_to_le16(v) ((__le16)htole16(v))
#define cpu_to_le32(v) ((__le32)htole32(v))
#define cpu_to_le64(v) ((__le64)htole64(v))
#define le16_to_cpu(v) le16toh((uint16_t)(v))
#define le32_to_cpu(v) le32toh((uint32_t)(v))
#define le64_to_cpu(v) le64toh((uint64_t)(v))
#endif

#include <kerrighed/wire.h>

static_assert(sizeof(struct krg_wire_hdr) == KRG_WIRE_TAGGED_SIZE + 8, "header layout");
static_assert(offsetof(struct krg_wire_hdr, tag) == KRG_WIRE_TAGGED_SIZE, "tag is last");
static_assert(sizeof(struct krg_hs_wire) == KRG_HS_SIZE, "handshake layout");
static_assert(offsetof(struct krg_hs_wire, proof) == KRG_HS_PROVED_SIZE, "proof is last");
static_assert(sizeof(struct krg_hello_wire) == KRG_HELLO_SIZE, "hello layout");
static_assert(offsetof(struct krg_hello_wire, proof) == KRG_HELLO_PROVED_SIZE, "proof is last");

#define KRG_WIRE_ID_MAX		4096	/* what membership can name; clusters allow less */
#define KRG_WIRE_ERRNO_MAX	4095

static int all_zero(const __u8 *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (p[i])
			return 0;
	return 1;
}

/* A string in a fixed field: ends inside it, and is empty if @may_be_empty. */
static int name_ok(const char *s, size_t size, int may_be_empty)
{
	size_t i;

	for (i = 0; i < size; i++) {
		char c = s[i];

		if (!c)
			return may_be_empty || i > 0;
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '.' || c == '_' || c == '-'))
			return 0;
	}
	return 0;
}

int krg_wire_name_valid(const char *s, size_t size)
{
	return name_ok(s, size, 0);
}

uint32_t krg_wire_name_hash(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h;
}

void krg_wire_put(const struct krg_wire_msg *m, struct krg_wire_hdr *out)
{
	out->magic = cpu_to_le16(KRG_WIRE_MAGIC);
	out->version = KRG_WIRE_VERSION;
	out->flags = m->flags;
	out->type = cpu_to_le16(m->type);
	out->status = cpu_to_le16(m->status);
	out->length = cpu_to_le32(m->length);
	out->reserved = cpu_to_le32(0);
	out->epoch = cpu_to_le64(m->epoch);
	out->request = cpu_to_le64(m->request);
	out->tag = cpu_to_le64(m->tag);
}

int krg_wire_get(const void *buf, size_t len, struct krg_wire_msg *m)
{
	struct krg_wire_hdr h;

	if (len < sizeof(h))
		return KRG_WIRE_SHORT;
	memcpy(&h, buf, sizeof(h));
	if (le16_to_cpu(h.magic) != KRG_WIRE_MAGIC)
		return KRG_WIRE_BAD_MAGIC;
	if (h.version != KRG_WIRE_VERSION)
		return KRG_WIRE_BAD_VERSION;

	m->flags = h.flags;
	m->type = le16_to_cpu(h.type);
	m->status = le16_to_cpu(h.status);
	m->length = le32_to_cpu(h.length);
	m->epoch = le64_to_cpu(h.epoch);
	m->request = le64_to_cpu(h.request);
	m->seq = 0;
	m->tag = le64_to_cpu(h.tag);

	if (m->flags & ~KRG_WIRE_F_ALL)
		return KRG_WIRE_BAD_FIELD;
	if ((m->flags & KRG_WIRE_F_REQUEST) && (m->flags & KRG_WIRE_F_REPLY))
		return KRG_WIRE_BAD_FIELD;
	if (!!m->request != !!(m->flags & (KRG_WIRE_F_REQUEST | KRG_WIRE_F_REPLY)))
		return KRG_WIRE_BAD_FIELD;
	if (m->status && !(m->flags & KRG_WIRE_F_REPLY))
		return KRG_WIRE_BAD_FIELD;
	if (m->status > KRG_WIRE_ERRNO_MAX || h.reserved)
		return KRG_WIRE_BAD_FIELD;
	if (m->type == KRG_MSG_NONE || m->type > KRG_MSG_TYPE_MAX)
		return KRG_WIRE_BAD_FIELD;
	if (m->length > KRG_WIRE_PAYLOAD_MAX)
		return KRG_WIRE_BAD_LENGTH;
	return KRG_WIRE_OK;
}

void krg_hs_put(const struct krg_hs *hs, struct krg_hs_wire *out)
{
	memset(out, 0, sizeof(*out));
	out->magic = cpu_to_le32(KRG_HS_MAGIC);
	out->version = KRG_WIRE_VERSION;
	out->type = hs->type;
	out->class_ = hs->class_;
	out->reason = hs->reason;
	out->node = cpu_to_le16(hs->node);
	out->to = cpu_to_le16(hs->to);
	out->cluster_hash = cpu_to_le32(hs->cluster_hash);
	out->incarnation = cpu_to_le64(hs->incarnation);
	out->attempt = cpu_to_le64(hs->attempt);
	memcpy(out->machine, hs->machine, sizeof(out->machine));
	memcpy(out->nonce, hs->nonce, sizeof(out->nonce));
	memcpy(out->host, hs->host, sizeof(out->host));
	memcpy(out->proof, hs->proof, sizeof(out->proof));
}

int krg_hs_get(const void *buf, size_t len, struct krg_hs *hs)
{
	struct krg_hs_wire w;

	if (len < 5)
		return KRG_WIRE_SHORT;
	memcpy(&w, buf, len < sizeof(w) ? len : sizeof(w));
	if (le32_to_cpu(w.magic) != KRG_HS_MAGIC)
		return KRG_WIRE_BAD_MAGIC;
	if (w.version != KRG_WIRE_VERSION)
		return KRG_WIRE_BAD_VERSION;
	if (len != sizeof(w))
		return KRG_WIRE_BAD_LENGTH;

	hs->type = w.type;
	hs->class_ = w.class_;
	hs->reason = w.reason;
	hs->node = le16_to_cpu(w.node);
	hs->to = le16_to_cpu(w.to);
	hs->cluster_hash = le32_to_cpu(w.cluster_hash);
	hs->incarnation = le64_to_cpu(w.incarnation);
	hs->attempt = le64_to_cpu(w.attempt);
	memcpy(hs->machine, w.machine, sizeof(hs->machine));
	memcpy(hs->nonce, w.nonce, sizeof(hs->nonce));
	memcpy(hs->host, w.host, sizeof(hs->host));
	memcpy(hs->proof, w.proof, sizeof(hs->proof));

	if (hs->type < KRG_HS_INIT || hs->type > KRG_HS_REFUSE || hs->class_ >= KRG_CLASS_NR)
		return KRG_WIRE_BAD_FIELD;
	if (!hs->node || hs->node > KRG_WIRE_ID_MAX || !hs->to || hs->to > KRG_WIRE_ID_MAX)
		return KRG_WIRE_BAD_FIELD;
	if (!hs->incarnation || !hs->attempt)
		return KRG_WIRE_BAD_FIELD;
	if (!name_ok(hs->host, sizeof(hs->host), 1) || !all_zero(w.pad, sizeof(w.pad)))
		return KRG_WIRE_BAD_FIELD;
	return KRG_WIRE_OK;
}

void krg_hello_put(const struct krg_hello *h, struct krg_hello_wire *out)
{
	memset(out, 0, sizeof(*out));
	out->magic = cpu_to_le32(KRG_HELLO_MAGIC);
	out->version = h->version;
	out->type = h->type;
	out->reason = h->reason;
	out->node = cpu_to_le16(h->node);
	out->max_node = cpu_to_le16(h->max_node);
	out->incarnation = cpu_to_le64(h->incarnation);
	memcpy(out->machine, h->machine, sizeof(out->machine));
	memcpy(out->nonce, h->nonce, sizeof(out->nonce));
	memcpy(out->cluster, h->cluster, sizeof(out->cluster));
	memcpy(out->host, h->host, sizeof(out->host));
	memcpy(out->proof, h->proof, sizeof(out->proof));
}

int krg_hello_get(const void *buf, size_t len, struct krg_hello *h)
{
	struct krg_hello_wire w;

	if (len < sizeof(w))
		return KRG_WIRE_SHORT;
	memcpy(&w, buf, sizeof(w));
	if (le32_to_cpu(w.magic) != KRG_HELLO_MAGIC)
		return KRG_WIRE_BAD_MAGIC;

	h->version = w.version;
	h->type = w.type;
	h->reason = w.reason;
	h->node = le16_to_cpu(w.node);
	h->max_node = le16_to_cpu(w.max_node);
	h->incarnation = le64_to_cpu(w.incarnation);
	memcpy(h->machine, w.machine, sizeof(h->machine));
	memcpy(h->nonce, w.nonce, sizeof(h->nonce));
	memcpy(h->cluster, w.cluster, sizeof(h->cluster));
	memcpy(h->host, w.host, sizeof(h->host));
	memcpy(h->proof, w.proof, sizeof(h->proof));

	if (h->type < KRG_HELLO_ASK || h->type > KRG_HELLO_REFUSED)
		return KRG_WIRE_BAD_FIELD;
	if (!h->node || !h->incarnation)
		return KRG_WIRE_BAD_FIELD;
	if (!name_ok(h->cluster, sizeof(h->cluster), 0) || !name_ok(h->host, sizeof(h->host), 1))
		return KRG_WIRE_BAD_FIELD;
	if (h->version != KRG_WIRE_VERSION)
		return KRG_WIRE_BAD_VERSION;
	return KRG_WIRE_OK;
}
