/*
 * blocks.h - what a block is to this application: made from the pool, judged, finished.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Both roads run the same execution on the same parent, and the maker writes the resulting state
 * hash into the block: replicas that would compute different states find out before they vote.
 *
 * A block is invalid if it breaks the form, the limits, or the promise that each command in it is
 * applied by it. So "never twice" is a rule of the chain, and needs no trust in leaders.
 */
#ifndef KV_BLOCKS_H
#define KV_BLOCKS_H

#include <hotstuff.h>

#include "command.h"
#include "pool.h"
#include "store.h"

/** Makes a block of the commands that wait: its data is in `into`, which the caller has begun, and
 *  its updates in `out`. A count of 0: there is nothing to propose. *more: something is left for the
 *  next block. */
hotstuff_status block_make(struct execution *e, struct pool *pool, const hotstuff_block_tree *parent,
                           uint64_t height, struct batch *into, bool *more, hotstuff_updates *out);
/** *why is NULL if the block is valid, and its updates are then in `out`; else what is wrong. */
hotstuff_status block_judge(struct execution *e, const hotstuff_block *block,
                            const hotstuff_block_tree *parent, const char **why,
                            hotstuff_updates *out);
/** The commands of a committed block: those of our own clients have their answer. */
void block_finish(struct pool *pool, const hotstuff_block *block);

#endif
