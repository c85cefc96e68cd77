/*
 * log.h - lines on standard error: "12:34:56.789 WARN  transport: text".
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef KV_LOG_H
#define KV_LOG_H

#include <stdbool.h>
#include <stdint.h>

/** "off", "error", "warn", "info", "debug" or "trace"; false if it is none of them. */
bool log_level_parse(const char *name, int32_t *level);
/** For this program and for the library. Once, before other threads start. False: the library does
 *  not take it. */
bool log_start(int32_t level);
/** Before the program ends: the library may not call us any more. */
bool log_stop(void);
void log_line(int32_t level, const char *target, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
