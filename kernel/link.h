/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The network devices that carry the cluster: what is filtered on them, what is
 * sent on them outside TIPC. See link.c.
 */
#ifndef KRG_LINK_H
#define KRG_LINK_H

#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/types.h>

#include "node.h"

struct net_device;
struct sk_buff;

struct krg_link_info {
	char name[IFNAMSIZ];
	u8 mac[ETH_ALEN];
	u32 mtu;
	bool present;			/* the device exists */
	bool running;			/* it is up and has a carrier */
	bool filtering;			/* plaintext TIPC frames are dropped on it */
	bool bearer;			/* TIPC uses it */
	u64 plaintext_dropped;
	u64 hello_rx, hello_tx, hello_bad;
};

int krg_link_init(void);
void krg_link_exit(void);

/**
 * krg_link_start() - begin to filter and listen on devices
 * @names: their names
 * @nr: how many
 * @missing: on -ENODEV, the name that does not exist
 * @machine: filled with the hardware address of the first
 */
int krg_link_start(const char names[][IFNAMSIZ], u32 nr, const char **missing, u8 machine[8]);
void krg_link_stop(void);

/** 0, or -ENOENT past the last link. */
int krg_link_info_get(unsigned long index, struct krg_link_info *info);

/** Sends a frame of our own type on link @index; @to NULL: broadcast. */
void krg_link_send(unsigned int index, const u8 *to, const void *data, size_t len);
unsigned int krg_link_count(void);
void krg_link_count_bad(unsigned int index);

/* --- ingress.c: the filter on one device --- */
struct krg_ingress;
/** ERR_PTR on failure. @dropped is counted up for every frame thrown away. */
struct krg_ingress *krg_ingress_add(struct net_device *dev, atomic64_t *dropped);
void krg_ingress_remove(struct krg_ingress *in);

/* --- hello.c --- */
struct krg_identity;

/* What a node that asks to be let in is told. */
enum krg_hello_answer {
	KRG_HELLO_SILENT,	/* we are no member, or have no quorum: not our word to give */
	KRG_HELLO_YES,
	KRG_HELLO_NO,
};

/* Asked in process context. @reason: enum krg_mbr_reason. */
typedef enum krg_hello_answer (*krg_hello_judge)(u16 node, const u8 *machine, u64 incarnation,
						  u8 *reason);
/* Outcome of our own asking, once; also in process context. @why 0: welcome. */
typedef void (*krg_hello_done)(u16 node, u8 why, const char *host);

int krg_hello_init(void);
void krg_hello_exit(void);
void krg_hello_start(const struct krg_identity *self, krg_hello_judge judge);
void krg_hello_stop(void);
/** A frame of our type arrived. Soft interrupt; takes @skb over. */
void krg_hello_receive(struct sk_buff *skb, unsigned int link);
/**
 * krg_hello_ask() - ask whether we would be let in
 * @wait_ms: without any answer, give up after so long; 0: never
 * @done: called once, unless krg_hello_stop() or a second ask comes first
 */
void krg_hello_ask(unsigned int wait_ms, krg_hello_done done);
/** Is there a live cluster of our name? Waits up to @wait_ms; its member's id, or 0. */
u16 krg_hello_probe(unsigned int wait_ms);

#endif
