/*
 * command.h - what clients ask for, and how it travels in a block.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   data of a block   version: u8 = 1 | state hash after it: 16 bytes | count: u32 | commands
 *   command           kind: u8 | client: u64 | sequence: u64 | key_len: u16 | value_len: u32
 *                     | key | value
 *
 * Little-endian, nothing between, nothing after. The limits below are part of the rules of the
 * chain: every replica refuses a block that breaks them, whatever its configuration says.
 */
#ifndef KV_COMMAND_H
#define KV_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"

enum {
    KEY_MAX = 200, /* bytes; the database below takes keys of up to about 500 */
    ADDRESS_LEN = 32,
    POWER_LEN = 8,
    VALUE_MAX = 8192,
    BLOCK_COMMANDS_MAX = 4096,
    BATCH_HEADER_LEN = 1 + DIGEST_LEN + 4,
    COMMAND_HEADER_LEN = 1 + 8 + 8 + 2 + 4,
    COMMAND_MAX = COMMAND_HEADER_LEN + KEY_MAX + VALUE_MAX,
    /** The least size of a block that can hold any one command. */
    BLOCK_BYTES_MIN = BATCH_HEADER_LEN + COMMAND_MAX,
};

enum command_kind { COMMAND_OPEN = 1, COMMAND_SET = 2, COMMAND_DELETE = 3, COMMAND_VALIDATOR = 4 };

/** Keys and values are borrowed. VALIDATOR has an address as its key, and as its value a power: a
 *  u64, 0 to remove the validator. (kind is OPEN, client, sequence) is the identity of a command. */
struct command {
    enum command_kind kind;
    uint64_t client;   /**< the session; for OPEN a random number that names the request */
    uint64_t sequence; /**< from 1 in each session; for OPEN, in a block, the session it makes */
    const uint8_t *key, *value;
    size_t key_len, value_len;
};

/** NULL if it may stand in a block; otherwise what is wrong with it, for a person. */
const char *command_complaint(const struct command *c);
bool command_same(const struct command *a, const struct command *b);
size_t command_len(const struct command *c);

/** A batch under construction in the caller's buffer. */
struct batch {
    uint8_t *data;
    size_t len, capacity;
    uint32_t count, count_max;
};
void batch_begin(struct batch *b, uint8_t *buffer, size_t capacity, uint32_t count_max);
bool batch_has_room(const struct batch *b, const struct command *c);
/** Only if it has room. */
void batch_append(struct batch *b, const struct command *c);
void batch_finish(struct batch *b, const digest *state_hash);

/** Reads a batch from untrusted bytes. */
struct batch_reader {
    const uint8_t *next;
    size_t left;
    uint32_t remaining;
    digest state_hash;
};
bool batch_open(struct batch_reader *r, const uint8_t *data, size_t len);
/** 1: *out is the next command; 0: that was all; -1: malformed. */
int batch_next(struct batch_reader *r, struct command *out);

#endif
