// SPDX-License-Identifier: GPL-2.0
/*
 * Authentication: who may talk to us, although TIPC takes plaintext frames from
 * anybody on the wire.
 *
 * Whoever connects (I) and whoever listens (R) share the 32-byte cluster key K:
 *
 *	I -> R   INIT   who I am, nonce_i
 *	R -> I   REPLY  who I am, nonce_r, HMAC(K, "krg-r" || INIT || REPLY)
 *	I -> R   FINAL  HMAC(K, "krg-i" || INIT || REPLY)
 *
 * INIT and REPLY stand for all of their bytes except the proof. Both sides have
 * thereby proved the key for this pair of nonces, node ids, incarnations, class
 * and version: nothing of an earlier handshake can be used again. Each direction
 * then has a key of its own, HMAC(K, "krg-ir" or "krg-ri" || INIT || REPLY), and
 * every message header carries a SipHash-2-4 tag under it, over the header and a
 * sequence number both sides count. A message replayed, reordered, dropped or made
 * up has a wrong tag, and the connection is reset. Payloads are protected by TIPC's AES-GCM; plaintext
 * frames never reach TIPC (ingress.c).
 */
#include <crypto/algapi.h>
#include <crypto/hash.h>
#include <linux/err.h>
#include <linux/slab.h>

#include "auth.h"
#include "node.h"

struct krg_auth {
	struct crypto_shash *hmac;
};

struct krg_auth *krg_auth_create(const u8 *key)
{
	struct krg_auth *auth = kzalloc(sizeof(*auth), GFP_KERNEL);
	int err;

	if (!auth)
		return ERR_PTR(-ENOMEM);
	auth->hmac = crypto_alloc_shash("hmac(sha256)", 0, 0);
	if (IS_ERR(auth->hmac)) {
		err = PTR_ERR(auth->hmac);
		kfree(auth);
		return ERR_PTR(err);
	}
	err = crypto_shash_setkey(auth->hmac, key, KRG_KEY_SIZE);
	if (err) {
		krg_auth_destroy(auth);
		return ERR_PTR(err);
	}
	return auth;
}

void krg_auth_destroy(struct krg_auth *auth)
{
	if (!auth)
		return;
	crypto_free_shash(auth->hmac);	/* wipes the key */
	kfree(auth);
}

int krg_auth_mac(struct krg_auth *auth, const char *label, const void *a, size_t a_len,
		 const void *b, size_t b_len, u8 mac[KRG_WIRE_MAC_SIZE])
{
	SHASH_DESC_ON_STACK(desc, auth->hmac);
	int err;

	desc->tfm = auth->hmac;
	err = crypto_shash_init(desc);
	/* The label's 0 is part of it: no label is the start of another. */
	if (!err)
		err = crypto_shash_update(desc, (const u8 *)label, strlen(label) + 1);
	if (!err)
		err = crypto_shash_update(desc, a, a_len);
	if (!err && b)
		err = crypto_shash_update(desc, b, b_len);
	if (!err)
		err = crypto_shash_final(desc, mac);
	shash_desc_zero(desc);
	return err;
}

int krg_auth_check(struct krg_auth *auth, const char *label, const void *a, size_t a_len,
		   const void *b, size_t b_len, const u8 mac[KRG_WIRE_MAC_SIZE])
{
	u8 want[KRG_WIRE_MAC_SIZE];
	int err = krg_auth_mac(auth, label, a, a_len, b, b_len, want);

	if (!err && crypto_memneq(want, mac, sizeof(want)))
		err = -EKEYREJECTED;
	memzero_explicit(want, sizeof(want));
	return err;
}

static int auth_key(struct krg_auth *auth, const char *label, const struct krg_hs_wire *init,
		    const struct krg_hs_wire *reply, siphash_key_t *key)
{
	u8 mac[KRG_WIRE_MAC_SIZE];
	int err = krg_auth_mac(auth, label, init, KRG_HS_PROVED_SIZE, reply, KRG_HS_PROVED_SIZE,
			       mac);

	memcpy(key, mac, sizeof(*key));
	memzero_explicit(mac, sizeof(mac));
	return err;
}

int krg_auth_derive(struct krg_auth *auth, const struct krg_hs_wire *init,
		    const struct krg_hs_wire *reply, bool connecting, struct krg_auth_keys *keys)
{
	int err = auth_key(auth, "krg-ir", init, reply, connecting ? &keys->tx : &keys->rx);

	return err ?: auth_key(auth, "krg-ri", init, reply, connecting ? &keys->rx : &keys->tx);
}

u64 krg_auth_tag(const struct krg_wire_hdr *hdr, u64 seq, const siphash_key_t *key)
{
	struct {
		u8 hdr[KRG_WIRE_TAGGED_SIZE];
		__le64 seq;
	} __aligned(SIPHASH_ALIGNMENT) covered;

	memcpy(covered.hdr, hdr, sizeof(covered.hdr));
	covered.seq = cpu_to_le64(seq);
	return siphash(&covered, sizeof(covered), key);
}
