/*
 * digest.c - SipHash-2-4-128 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, with
 * the 128-bit output its authors added later), and sums of it.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "digest.h"

#include <string.h>

#include "bytes.h"

const uint8_t digest_public_key[DIGEST_KEY_LEN] = {'h', 'o', 't', 's', 't', 'u', 'f', 'f',
                                                   '-', 'k', 'v', '-', 'd', 'i', 'g', '1'};

typedef struct sip {
    uint64_t v0, v1, v2, v3;
    uint8_t tail[8]; /* the bytes after the last whole word */
    size_t len;      /* of everything so far */
} sip;

static uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

static void rounds(sip *s, int count) {
    while (count-- > 0) {
        s->v0 += s->v1;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v2 = rotate(s->v2, 32);
    }
}

static void absorb_word(sip *s, uint64_t word) {
    s->v3 ^= word;
    rounds(s, 2);
    s->v0 ^= word;
}

static void absorb(sip *s, const uint8_t *p, size_t len) {
    if (len == 0) return;
    size_t held = s->len % 8;
    s->len += len;
    if (held > 0) {
        size_t taken = len < 8 - held ? len : 8 - held;
        memcpy(s->tail + held, p, taken);
        if (held + taken < 8) return;
        absorb_word(s, take_u64(s->tail));
        p += taken;
        len -= taken;
    }
    for (; len >= 8; p += 8, len -= 8) absorb_word(s, take_u64(p));
    if (len > 0) memcpy(s->tail, p, len);
}

static sip begin(const uint8_t secret[DIGEST_KEY_LEN]) {
    uint64_t k0 = take_u64(secret), k1 = take_u64(secret + 8);
    return (sip){.v0 = k0 ^ UINT64_C(0x736f6d6570736575),
                 .v1 = k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
                 .v2 = k0 ^ UINT64_C(0x6c7967656e657261),
                 .v3 = k1 ^ UINT64_C(0x7465646279746573)};
}

static digest finish(sip *s) {
    memset(s->tail + s->len % 8, 0, 8 - s->len % 8);
    s->tail[7] = (uint8_t)s->len;
    absorb_word(s, take_u64(s->tail));
    digest d;
    s->v2 ^= 0xee;
    rounds(s, 4);
    d.low = s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
    s->v1 ^= 0xdd;
    rounds(s, 4);
    d.high = s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
    return d;
}

digest digest_of_pair(const uint8_t secret[DIGEST_KEY_LEN], const uint8_t *key, size_t key_len,
                      const uint8_t *value, size_t value_len) {
    uint8_t length[8];
    put_u64(length, key_len);
    sip s = begin(secret);
    absorb(&s, length, sizeof length);
    absorb(&s, key, key_len);
    absorb(&s, value, value_len);
    return finish(&s);
}

void digest_add(digest *sum, digest term) {
    sum->low += term.low;
    sum->high += term.high + (sum->low < term.low);
}

void digest_subtract(digest *sum, digest term) {
    sum->high -= term.high + (sum->low < term.low);
    sum->low -= term.low;
}

void digest_put(const digest *d, uint8_t out[DIGEST_LEN]) {
    put_u64(out, d->low);
    put_u64(out + 8, d->high);
}

digest digest_take(const uint8_t in[DIGEST_LEN]) {
    return (digest){.low = take_u64(in), .high = take_u64(in + 8)};
}

void digest_to_hex(const digest *d, char out[DIGEST_HEX_LEN + 1]) {
    uint8_t bytes[DIGEST_LEN];
    digest_put(d, bytes);
    hex_encode(bytes, sizeof bytes, out);
}
