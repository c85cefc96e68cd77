/*
 * keys.h - key files: PKCS#8, readable by their owner alone.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef KV_KEYS_H
#define KV_KEYS_H

#include <hotstuff.h>
#include <stdbool.h>

enum { ADDRESS_HEX_LEN = 2 * HOTSTUFF_VALIDATOR_ADDRESS_LEN };

/** Makes a key and writes it to a new file. Complains to standard error. */
bool keys_generate(const char *path);
/** Refuses a file that others can read. The caller frees *out. */
bool keys_load(const char *path, hotstuff_keypair **out);
bool keys_address(const hotstuff_keypair *key, char hex[ADDRESS_HEX_LEN + 1]);

#endif
