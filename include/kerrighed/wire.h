/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every message that travels between nodes starts with a header defined here,
 * and everything that reads bytes of another machine is a pure function of
 * wire.c: no lock, no allocation, no kernel call. The same two files are
 * compiled into the module and into the libFuzzer target.
 *
 * Three formats:
 *
 *   hello      raw Ethernet frames of our own type before there is any TIPC
 *              connection: who is there, and why a join is refused
 *   handshake  the first messages on a fresh TIPC connection: mutual proof of
 *              the cluster key, and the keys of this connection
 *   message    everything after that: header, then payload
 *
 * All integers are little-endian.
 */
#ifndef KRG_WIRE_H
#define KRG_WIRE_H

#include <kerrighed/ctypes.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KRG_WIRE_VERSION	1	/* of everything below; others are refused by name */

#define KRG_WIRE_MAC_SIZE	32	/* HMAC-SHA256 */
#define KRG_WIRE_NONCE_SIZE	32
#define KRG_WIRE_NAME_SIZE	33	/* cluster name with its 0 */
#define KRG_WIRE_HOST_SIZE	65

/* Classes: one connection each between two nodes. */
enum krg_class {
	KRG_CLASS_CTL,		/* membership and control: small, first, never waits */
	KRG_CLASS_MSG,		/* ordered requests and replies (coherence) */
	KRG_CLASS_BULK,		/* large transfers; gives way to the others */
	KRG_CLASS_NR,
};

/* ---- messages ---- */

enum krg_msg_type {
	KRG_MSG_NONE,
	KRG_MSG_MBR,		/* CTL: between membership engines, payload is theirs */
	KRG_MSG_LEAVE,		/* CTL: ask the receiver to leave as planned */
	KRG_MSG_PING,		/* MSG: echo of the payload, up to a page */
	KRG_MSG_POWER,		/* MSG: switch the whole cluster off or restart it, see kernel/power.c */
	KRG_MSG_KERNEL_END = 15,

	KRG_MSG_BENCH_ECHO = 16, /* krg_bench.ko */
	KRG_MSG_BENCH_BULK,
	KRG_MSG_BENCH_END = 23,

	KRG_MSG_HADSM = 24,	/* MSG: hadsm.ko, between the coherence engines of a domain */
	KRG_MSG_HADSM_QUERY,	/* MSG: hadsm.ko, what another node knows, as text for people */
	KRG_MSG_HADSM_END = 31,

	KRG_MSG_MOVE = 32,	/* MSG: krg_proc.ko, steps of a migration */
	KRG_MSG_MOVE_DATA,	/* BULK: pieces of an image */
	KRG_MSG_SHADOW,		/* MSG: krg_proc.ko, between a moved process and its shadow */
	KRG_MSG_FOLLOW,		/* MSG: krg_proc.ko, memory that follows a moved process: pages somebody waits for */
	KRG_MSG_FOLLOW_BULK,	/* BULK: all others */
	KRG_MSG_FORWARD = 37,	/* MSG: krg_proc.ko, operations on files that stayed behind */
	KRG_MSG_FORWARD_WAKE,	/* MSG: krg_proc.ko, such a file may be tried again */
	KRG_MSG_PROC_END = 39,

	KRG_MSG_TYPE_MAX = 127,
};

#define KRG_WIRE_MAGIC		0x4b52	/* "RK" */

#define KRG_WIRE_F_REQUEST	1	/* an answer with this request id is expected */
#define KRG_WIRE_F_REPLY	2	/* the answer; status holds 0 or a negative errno */
#define KRG_WIRE_F_ANY_EPOCH	4	/* valid outside a committed view too */
#define KRG_WIRE_F_ALL		7

struct krg_wire_hdr {
	__le16 magic;
	__u8 version;
	__u8 flags;		/* KRG_WIRE_F_* */
	__le16 type;		/* enum krg_msg_type */
	__le16 status;		/* of a reply: 0 or a positive errno */
	__le32 length;		/* of the payload that follows */
	__le32 reserved;	/* 0 */
	__le64 epoch;		/* the view the sender acted in */
	__le64 request;		/* id chosen by whoever asked; 0: none */
	__le64 tag;		/* SipHash-2-4 over everything above and the sequence number */
};

/*
 * The sequence number is not sent: both ends count 1, 2, 3 ... per connection and
 * direction, and the tag covers it. So a page, a TIPC header and this one fit into
 * three Ethernet frames under TIPC's encryption, as without it.
 */

#define KRG_WIRE_TAGGED_SIZE	32	/* bytes of the header that the tag covers */
#define KRG_WIRE_PAYLOAD_MAX	(65536 + 256)	/* 64 KiB and its description; below TIPC's 66000 */

/* The header in host order. */
struct krg_wire_msg {
	uint8_t flags;
	uint16_t type;
	uint16_t status;
	uint32_t length;
	uint64_t epoch;
	uint64_t request;
	uint64_t seq;		/* counted by the connection, not on the wire */
	uint64_t tag;
};

/* ---- handshake ---- */

enum krg_hs_type {
	KRG_HS_INIT = 1,	/* connecting side: who I am, nonce */
	KRG_HS_REPLY,		/* listening side: who I am, nonce, proof */
	KRG_HS_FINAL,		/* connecting side: proof */
	KRG_HS_REFUSE,		/* either: reason, not authenticated */
};

#define KRG_HS_MAGIC		0x4b524853	/* "SHRK" */

struct krg_hs_wire {
	__le32 magic;
	__u8 version;
	__u8 type;		/* enum krg_hs_type */
	__u8 class_;		/* enum krg_class */
	__u8 reason;		/* of REFUSE: enum krg_mbr_reason */
	__le16 node;		/* who sends this */
	__le16 to;		/* who is meant */
	__le32 cluster_hash;
	__le64 incarnation;
	__le64 attempt;		/* same in the connections of one attempt to connect */
	__u8 machine[8];	/* hardware address of the first link: is it the same machine? */
	__u8 nonce[KRG_WIRE_NONCE_SIZE];
	char host[KRG_WIRE_HOST_SIZE];
	__u8 pad[7];		/* 0 */
	__u8 proof[KRG_WIRE_MAC_SIZE];
};

#define KRG_HS_SIZE		176
#define KRG_HS_PROVED_SIZE	(KRG_HS_SIZE - KRG_WIRE_MAC_SIZE)

/* What a handshake message says, in host order. */
struct krg_hs {
	uint8_t type, class_, reason;
	uint16_t node, to;
	uint32_t cluster_hash;
	uint64_t incarnation, attempt;
	uint8_t machine[8];
	uint8_t nonce[KRG_WIRE_NONCE_SIZE];
	char host[KRG_WIRE_HOST_SIZE];
	uint8_t proof[KRG_WIRE_MAC_SIZE];
};

/* ---- hello ---- */

#define KRG_HELLO_ETHERTYPE	0x88b5	/* IEEE 802 local experimental */
#define KRG_HELLO_MAGIC		0x4b52484c

enum krg_hello_type {
	KRG_HELLO_ASK = 1,	/* broadcast: I want to join (or create) this cluster */
	KRG_HELLO_WELCOME,	/* I am a member of it: go on */
	KRG_HELLO_REFUSED,	/* you cannot be let in: reason */
};

struct krg_hello_wire {
	__le32 magic;
	__u8 version;
	__u8 type;		/* enum krg_hello_type */
	__u8 reason;		/* enum krg_mbr_reason; 0xff: the key is another one */
	__u8 pad;
	__le16 node;		/* who sends this */
	__le16 max_node;	/* highest node id of the answering cluster */
	__le32 pad2;
	__le64 incarnation;
	__u8 machine[8];
	__u8 nonce[16];		/* of the ASK; answers repeat it */
	char cluster[KRG_WIRE_NAME_SIZE];
	char host[KRG_WIRE_HOST_SIZE];
	__u8 pad3[6];
	__u8 proof[KRG_WIRE_MAC_SIZE];
};

#define KRG_HELLO_SIZE		184
#define KRG_HELLO_PROVED_SIZE	(KRG_HELLO_SIZE - KRG_WIRE_MAC_SIZE)
#define KRG_HELLO_R_KEY		0xff

struct krg_hello {
	uint8_t version, type, reason;
	uint16_t node, max_node;
	uint64_t incarnation;
	uint8_t machine[8];
	uint8_t nonce[16];
	char cluster[KRG_WIRE_NAME_SIZE];
	char host[KRG_WIRE_HOST_SIZE];
	uint8_t proof[KRG_WIRE_MAC_SIZE];
};

/* Why bytes were not accepted; the order is that of the checks. */
enum krg_wire_error {
	KRG_WIRE_OK = 0,
	KRG_WIRE_SHORT = -1,		/* not even a whole header */
	KRG_WIRE_BAD_MAGIC = -2,
	KRG_WIRE_BAD_VERSION = -3,	/* well-formed, but another protocol version */
	KRG_WIRE_BAD_FIELD = -4,	/* a value nobody of this version sends */
	KRG_WIRE_BAD_LENGTH = -5,	/* longer than allowed, or not what it says */
};

/** Writes @m to @out (sizeof(struct krg_wire_hdr) bytes); the tag is filled in later. */
void krg_wire_put(const struct krg_wire_msg *m, struct krg_wire_hdr *out);
/** Reads a header from @len bytes at @buf. 0 or enum krg_wire_error. */
int krg_wire_get(const void *buf, size_t len, struct krg_wire_msg *m);

void krg_hs_put(const struct krg_hs *hs, struct krg_hs_wire *out);
int krg_hs_get(const void *buf, size_t len, struct krg_hs *hs);

void krg_hello_put(const struct krg_hello *h, struct krg_hello_wire *out);
/*
 * Reads a hello frame (without its Ethernet header; it may be padded). With
 * KRG_WIRE_BAD_VERSION the fields of @h are valid nevertheless, so that the
 * refusal can be told to whoever asked.
 */
int krg_hello_get(const void *buf, size_t len, struct krg_hello *h);

/** Hash of a cluster name, the same on every node (FNV-1a). */
uint32_t krg_wire_name_hash(const char *name);
/** Is @s a name we would accept: 1..@max-1 bytes of [A-Za-z0-9._-], then a 0? */
int krg_wire_name_valid(const char *s, size_t size);

#ifdef __cplusplus
}
#endif
#endif
