/*
 * pool.h - the commands of this replica's clients that are not yet known to be committed.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   server thread    submit ----> [ waiting, oldest first ] ----> take_done ----> answers
 *   library's app thread   walk ---^          |
 *   follower thread                resolve ---+ a block has committed it
 *   server thread                  resolve ---+ the state already had it
 *   server thread                  expire  ---+ it has waited too long
 *
 * A command stays until it is resolved or has expired: that a block proposes it is no reason to
 * forget it, because that block may be abandoned. All bounds are fixed when the pool is made. Any
 * thread may call anything; resolving writes a byte to `wake_fd`, which the server polls.
 */
#ifndef KV_POOL_H
#define KV_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "command.h"

/** Where the answer goes: request number `request` of connection number `connection`. */
struct ticket {
    uint64_t connection, request;
};

enum verdict {
    VERDICT_COMMITTED,
    VERDICT_STALE,
    VERDICT_EXPIRED_SESSION,
    VERDICT_REFUSED,
    VERDICT_LISTENER,
    VERDICT_TIMEOUT,
    VERDICT_STOPPED,
};

struct done {
    struct ticket ticket;
    enum command_kind kind;
    uint64_t client; /* of the command */
    enum verdict verdict;
    uint64_t height; /* of a committed command */
    uint64_t made;   /* the session that an OPEN, the epoch that a VALIDATOR has made */
};

struct pool;
/** `wake_fd` is a non-blocking descriptor, borrowed. NULL: no memory. */
struct pool *pool_new(size_t commands_max, size_t bytes_max, int wake_fd);
/** Waiting commands are dropped unanswered. */
void pool_free(struct pool *p);

/** Copies the command. False if the pool is full. */
bool pool_submit(struct pool *p, const struct command *c, struct ticket ticket,
                 int64_t deadline_ms);
/** Finishes every waiting command with the identity of `c`. */
void pool_resolve(struct pool *p, const struct command *c, enum verdict verdict, uint64_t height,
                  uint64_t made);
/** Finishes every waiting command whose deadline is not after `now_ms`. */
void pool_expire(struct pool *p, int64_t now_ms, enum verdict verdict);
/** Takes one finished command; false if there is none. */
bool pool_take_done(struct pool *p, struct done *out);

size_t pool_waiting(struct pool *p);
/** The nearest deadline, or -1 if nothing waits. */
int64_t pool_next_deadline(struct pool *p);
/** Calls `visit` for each waiting command, oldest first, until it returns false. The pool is
 *  locked meanwhile: `visit` must not call it, and the commands are borrowed for the call. */
void pool_walk(struct pool *p, bool (*visit)(void *context, const struct command *c),
               void *context);

#endif
