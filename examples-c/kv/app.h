/*
 * app.h - the application as the library sees it: propose a block, judge a block.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef KV_APP_H
#define KV_APP_H

#include <hotstuff.h>

#include "pool.h"

struct app;
/** Borrows the pool. NULL: no memory. */
struct app *app_new(struct pool *pool, size_t block_bytes_max, uint32_t block_commands_max);
/** How many blocks it has called invalid: 0 among correct replicas. Any thread. */
uint64_t app_refused(const struct app *a);
/** The name of the chain, borrowed; once app_set_replica() was called. */
const hotstuff_hash *app_genesis(const struct app *a);
void app_free(struct app *a);
/** The table for hotstuff_replica_open(); the app stays the caller's. */
void app_callbacks(struct app *a, hotstuff_app_callbacks *out);
/** Once the replica is open and before it starts: whom to notify of work that is left over, and
 *  what the parent of the first block is called. */
void app_set_replica(struct app *a, hotstuff_replica *replica, const hotstuff_hash *genesis);

#endif
