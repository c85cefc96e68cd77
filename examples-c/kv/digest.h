/*
 * digest.h - a 128-bit digest of byte strings, and of SETS of key-value pairs.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The digest of a set is the sum, modulo 2^128, of the digests of its pairs: it does not depend
 * on the order in which they came, and is kept up to date at the cost of the pairs that change.
 *
 * Its purpose is to notice that correct replicas have come to differ (a bug, a broken disk). It is
 * SipHash-2-4-128 under a published key: whoever may choose keys and values can construct two
 * states with equal digests. An application that must convince others of its state puts a
 * cryptographic hash here; nothing else would change.
 */
#ifndef KV_DIGEST_H
#define KV_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_LEN = 16, DIGEST_HEX_LEN = 2 * DIGEST_LEN, DIGEST_KEY_LEN = 16 };

typedef struct digest {
    uint64_t low, high;
} digest;

/** SipHash-2-4 with 128 bits of output, of key_len ‖ key ‖ value. */
digest digest_of_pair(const uint8_t secret[DIGEST_KEY_LEN], const uint8_t *key, size_t key_len,
                      const uint8_t *value, size_t value_len);
/** The secret, not so secret, that all replicas use for the state hash. */
extern const uint8_t digest_public_key[DIGEST_KEY_LEN];

void digest_add(digest *sum, digest term);
void digest_subtract(digest *sum, digest term);

void digest_put(const digest *d, uint8_t out[DIGEST_LEN]);
digest digest_take(const uint8_t in[DIGEST_LEN]);
void digest_to_hex(const digest *d, char out[DIGEST_HEX_LEN + 1]);

#endif
