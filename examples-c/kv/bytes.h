/*
 * bytes.h - numbers in byte strings (little-endian) and bytes in hexadecimal.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef KV_BYTES_H
#define KV_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void put_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void put_u32(uint8_t *p, uint32_t v) {
    put_u16(p, (uint16_t)v);
    put_u16(p + 2, (uint16_t)(v >> 16));
}

static inline void put_u64(uint8_t *p, uint64_t v) {
    put_u32(p, (uint32_t)v);
    put_u32(p + 4, (uint32_t)(v >> 32));
}

static inline uint16_t take_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static inline uint32_t take_u32(const uint8_t *p) {
    return take_u16(p) | (uint32_t)take_u16(p + 2) << 16;
}

static inline uint64_t take_u64(const uint8_t *p) {
    return take_u32(p) | (uint64_t)take_u32(p + 4) << 32;
}

/** Writes 2 * len digits and a NUL to `text`. */
static inline void hex_encode(const uint8_t *bytes, size_t len, char *text) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *text++ = digits[bytes[i] >> 4];
        *text++ = digits[bytes[i] & 15];
    }
    *text = '\0';
}

static inline int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/** Reads exactly 2 * len digits; false (and `bytes` unspecified) if one is not a digit. */
static inline bool hex_decode(const char *text, uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(text[2 * i]);
        if (high < 0) return false;
        int low = hex_digit(text[2 * i + 1]);
        if (low < 0) return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

#endif
