/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Proof of the cluster key, keys of a connection, tags of messages. See auth.c.
 */
#ifndef KRG_AUTH_H
#define KRG_AUTH_H

#include <linux/siphash.h>
#include <linux/types.h>

#include <kerrighed/wire.h>

struct krg_auth;	/* one cluster key, ready for use; immutable, shared */

/* The keys of one connection. */
struct krg_auth_keys {
	siphash_key_t tx, rx;
};

/** Copies @key (KRG_KEY_SIZE bytes). ERR_PTR on failure. */
struct krg_auth *krg_auth_create(const u8 *key);
void krg_auth_destroy(struct krg_auth *auth);

/*
 * HMAC-SHA256 over a label and up to two pieces. Process context.
 * 0 or -errno (out of memory).
 */
int krg_auth_mac(struct krg_auth *auth, const char *label, const void *a, size_t a_len,
		 const void *b, size_t b_len, u8 mac[KRG_WIRE_MAC_SIZE]);
/** As above, compared in constant time: 0, -EKEYREJECTED or -errno. */
int krg_auth_check(struct krg_auth *auth, const char *label, const void *a, size_t a_len,
		   const void *b, size_t b_len, const u8 mac[KRG_WIRE_MAC_SIZE]);

/** Keys of the connection whose handshake was @init and @reply. */
int krg_auth_derive(struct krg_auth *auth, const struct krg_hs_wire *init,
		    const struct krg_hs_wire *reply, bool connecting, struct krg_auth_keys *keys);

/** The tag of a header, for the direction @key belongs to. */
u64 krg_auth_tag(const struct krg_wire_hdr *hdr, u64 seq, const siphash_key_t *key);

#endif
