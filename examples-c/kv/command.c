/*
 * command.c - encoding, decoding and the rules of form.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "command.h"

#include <string.h>

#include "bytes.h"

enum { BATCH_VERSION = 1 };

/* The line protocol separates words by spaces and answers by line ends. */
static bool is_word(const uint8_t *p, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (p[i] <= ' ' || p[i] == 0x7f) return false;
    return len > 0;
}

static bool is_line(const uint8_t *p, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (p[i] == '\0' || p[i] == '\n' || p[i] == '\r') return false;
    return len > 0;
}

_Static_assert(VALUE_MAX == 8192 && KEY_MAX == 200, "the texts below name the limits");

const char *command_complaint(const struct command *c) {
    switch (c->kind) {
    case COMMAND_OPEN:
        return c->key_len == 0 && c->value_len == 0 ? NULL : "OPEN takes no key and no value";
    case COMMAND_DELETE:
        if (c->value_len > 0) return "DEL takes a key and nothing else";
        break;
    case COMMAND_SET:
        if (c->value_len > VALUE_MAX) return "a value has at most 8192 bytes";
        if (!is_line(c->value, c->value_len)) return "SET needs a value: one line, not empty";
        break;
    case COMMAND_VALIDATOR:
        if (c->key_len != ADDRESS_LEN || c->value_len != POWER_LEN)
            return "VALIDATOR takes an address, 64 hexadecimal digits, and a power, a whole number";
        break;
    default: return "no such command";
    }
    if (c->key_len > KEY_MAX) return "a key has at most 200 bytes";
    if (c->kind != COMMAND_VALIDATOR && !is_word(c->key, c->key_len))
        return "a key is one word without control characters";
    if (c->client == 0) return "a session is named by a number from 1";
    if (c->sequence == 0) return "sequence numbers start at 1";
    return NULL;
}

bool command_same(const struct command *a, const struct command *b) {
    if ((a->kind == COMMAND_OPEN) != (b->kind == COMMAND_OPEN) || a->client != b->client)
        return false;
    return a->kind == COMMAND_OPEN || a->sequence == b->sequence;
}

size_t command_len(const struct command *c) {
    return COMMAND_HEADER_LEN + c->key_len + c->value_len;
}

void batch_begin(struct batch *b, uint8_t *buffer, size_t capacity, uint32_t count_max) {
    *b = (struct batch){.data = buffer, .capacity = capacity, .len = BATCH_HEADER_LEN,
                        .count_max = count_max};
}

bool batch_has_room(const struct batch *b, const struct command *c) {
    return b->count < b->count_max && b->capacity >= b->len &&
           command_len(c) <= b->capacity - b->len;
}

void batch_append(struct batch *b, const struct command *c) {
    uint8_t *p = b->data + b->len;
    p[0] = (uint8_t)c->kind;
    put_u64(p + 1, c->client);
    put_u64(p + 9, c->sequence);
    put_u16(p + 17, (uint16_t)c->key_len);
    put_u32(p + 19, (uint32_t)c->value_len);
    p += COMMAND_HEADER_LEN;
    if (c->key_len > 0) memcpy(p, c->key, c->key_len);
    if (c->value_len > 0) memcpy(p + c->key_len, c->value, c->value_len);
    b->len += command_len(c);
    b->count++;
}

void batch_finish(struct batch *b, const digest *state_hash) {
    b->data[0] = BATCH_VERSION;
    digest_put(state_hash, b->data + 1);
    put_u32(b->data + 1 + DIGEST_LEN, b->count);
}

bool batch_open(struct batch_reader *r, const uint8_t *data, size_t len) {
    if (len < BATCH_HEADER_LEN || data[0] != BATCH_VERSION) return false;
    r->state_hash = digest_take(data + 1);
    r->remaining = take_u32(data + 1 + DIGEST_LEN);
    r->next = data + BATCH_HEADER_LEN;
    r->left = len - BATCH_HEADER_LEN;
    return r->remaining >= 1 && r->remaining <= BLOCK_COMMANDS_MAX;
}

int batch_next(struct batch_reader *r, struct command *out) {
    if (r->remaining == 0) return r->left == 0 ? 0 : -1;
    if (r->left < COMMAND_HEADER_LEN) return -1;
    const uint8_t *p = r->next;
    size_t room = r->left - COMMAND_HEADER_LEN;
    struct command c = {.kind = (enum command_kind)p[0],
                        .client = take_u64(p + 1),
                        .sequence = take_u64(p + 9),
                        .key_len = take_u16(p + 17),
                        .value_len = take_u32(p + 19)};
    if (c.key_len > room || c.value_len > room - c.key_len) return -1;
    c.key = p + COMMAND_HEADER_LEN;
    c.value = c.key + c.key_len;
    if (command_complaint(&c) != NULL) return -1;
    r->next += command_len(&c);
    r->left -= command_len(&c);
    r->remaining--;
    *out = c;
    return 1;
}
