/*
 * log.c - one formatted line, one write.
 * SPDX-License-Identifier: Apache-2.0
 */
#define _POSIX_C_SOURCE 200809L
#include "log.h"

#include <hotstuff.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_LEN = 1024 };

static const char *const names[] = {"off", "error", "warn", "info", "debug", "trace"};
static const char *const labels[] = {"", "ERROR", "WARN ", "INFO ", "DEBUG", "TRACE"};
static int32_t level_max = HOTSTUFF_LOG_OFF;

bool log_level_parse(const char *name, int32_t *level) {
    for (int32_t i = HOTSTUFF_LOG_OFF; i <= HOTSTUFF_LOG_TRACE; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *level = i;
        return true;
    }
    return false;
}

static void library_line(void *userdata, int32_t level, const char *target, const char *message) {
    (void)userdata;
    log_line(level, target, "%s", message);
}

bool log_start(int32_t level) {
    level_max = level;
    hotstuff_log_fn fn = level == HOTSTUFF_LOG_OFF ? NULL : library_line;
    return hotstuff_set_logger(fn, NULL, level) == HOTSTUFF_OK;
}

bool log_stop(void) { return hotstuff_set_logger(NULL, NULL, HOTSTUFF_LOG_OFF) == HOTSTUFF_OK; }

/* snprintf() counts what did not fit; this says where the text really ends. */
static size_t end_of(int printed, size_t at, size_t capacity) {
    if (printed < 0) return at;
    return (size_t)printed < capacity - at ? at + (size_t)printed : capacity - 1;
}

void log_line(int32_t level, const char *target, const char *format, ...) {
    if (level > level_max || level <= HOTSTUFF_LOG_OFF || level > HOTSTUFF_LOG_TRACE) return;
    char line[LINE_LEN];
    struct timespec now;
    struct tm utc = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t len = end_of(snprintf(line, LINE_LEN, "%02d:%02d:%02d.%03ld %s %s: ", utc.tm_hour,
                                 utc.tm_min, utc.tm_sec, now.tv_nsec / 1000000, labels[level],
                                 target),
                        0, LINE_LEN);
    va_list arguments;
    va_start(arguments, format);
    len = end_of(vsnprintf(line + len, LINE_LEN - len, format, arguments), len, LINE_LEN);
    va_end(arguments);
    line[len] = '\n';
    /* Nowhere is left to report that standard error does not take it. */
    ssize_t written = write(STDERR_FILENO, line, len + 1);
    (void)written;
}
