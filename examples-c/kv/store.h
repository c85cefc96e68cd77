/*
 * store.h - the replicated state: what a command does to it, and how it is read.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Keys of the application state, all chosen by their first byte:
 *
 *   "m"           the summary: numbers of everything, and the sum of the digests (struct summary)
 *   "d" key       a value
 *   "s" slot:u16  a session: id, nonce, and a window of (sequence, height), one for each residue
 *   "o" nonce:u64 which session an OPEN made, and at which height
 *   "h" slot:u16  (height, state hash) of the data blocks of late: a ring of HISTORY
 *
 * SESSIONS make a command take effect once, however often it is proposed. OPEN makes a session; the
 * chain numbers it. A command of a session carries a sequence number. The session remembers, for
 * each residue of WINDOW, the greatest sequence applied, and at which height: the same again is a
 * DUPLICATE (answered with that height), a smaller one is STALE (too old to know: never applied).
 * So a client may have WINDOW consecutive commands under way.
 *
 * Memory is bounded: there are SESSIONS slots, and session n takes slot n % SESSIONS from session
 * n - SESSIONS, which is then EXPIRED. Numbers are never used again, so nothing that an expired
 * session asked for can be applied a second time; its client opens another.
 *
 * VALIDATORS are no part of this state: a VALIDATOR command is handed on to the library, which keeps
 * the set, with the block that holds it.
 *
 * The STATE HASH is a digest of the summary, which holds the sum of the digests of all "d", "s" and
 * "o" pairs: equal contents, equal hash.
 */
#ifndef KV_STORE_H
#define KV_STORE_H

#include <hotstuff.h>

#include "command.h"
#include "digest.h"

enum { SESSIONS = 4096, WINDOW = 16, HISTORY = 4096 };
/** Validators that one block may change; more wait for the next block, and so does a second change
 *  of the same one. */
enum { CHANGES_PER_BLOCK = 16 };
/** Bytes of blocks that are searched for who wrote a key. */
enum { FIND_BYTES_MAX = 16 << 20 };

enum outcome {
    OUTCOME_APPLIED,
    OUTCOME_DUPLICATE, /**< applied earlier on this chain */
    OUTCOME_STALE,     /**< overtaken by sequence + WINDOW: applied long ago, or never */
    OUTCOME_EXPIRED,   /**< its session is gone: applied long ago, or never */
    OUTCOME_UNKNOWN,   /**< no such session yet */
    OUTCOME_REFUSED,   /**< no validators would be left, or too many, or too much power */
    OUTCOME_FULL,      /**< the execution holds all it can: propose the rest later */
    OUTCOME_FAILED,    /**< storage or memory; execution_error() says what */
};

struct summary {
    uint64_t next_session, commands, keys, data_blocks;
    uint64_t height; /**< of the last data block */
    digest sum;
};

/* ---- reading any snapshot, committed or speculative ---- */

hotstuff_status store_summary(const hotstuff_block_tree *tree, struct summary *out);
digest store_hash(const struct summary *s);
/** HOTSTUFF_E_NOT_FOUND if there is none. The caller frees *out. */
hotstuff_status store_get(const hotstuff_block_tree *tree, const uint8_t *key, size_t key_len,
                          hotstuff_buffer **out);
/** What would become of `c` on this snapshot (APPLIED: it is new). DUPLICATE also tells where it
 *  was applied, and what it made: the session of an OPEN, the epoch of a VALIDATOR. */
hotstuff_status store_judge(const hotstuff_block_tree *tree, const struct command *c,
                            enum outcome *out, uint64_t *height, uint64_t *made);
/** The last block that wrote or deleted the key, among the last HISTORY data blocks and as far as
 *  FIND_BYTES_MAX of their data reach; else HOTSTUFF_E_NOT_FOUND. */
hotstuff_status store_find_write(const hotstuff_block_tree *tree, const uint8_t *key,
                                 size_t key_len, uint64_t *height);
/** The state hash after block `height`, if it is among the last HISTORY data blocks; else
 *  HOTSTUFF_E_NOT_FOUND. The caller has checked that `height` is committed. */
hotstuff_status store_hash_at(const hotstuff_block_tree *tree, uint64_t height, digest *out);
/** The state of height 0. */
hotstuff_status store_set_genesis(hotstuff_config *config);

/* ---- executing a block ---- */

/** An overlay on the state of a parent. Reused from block to block; one thread. */
struct execution;
struct execution *execution_new(void); /**< NULL: no memory */
void execution_free(struct execution *e);
/** `tree` is borrowed until execution_finish() or the next begin. */
hotstuff_status execution_begin(struct execution *e, const hotstuff_block_tree *tree,
                                uint64_t height);
/** *session: the number that an OPEN got. */
enum outcome execution_apply(struct execution *e, const struct command *c, uint64_t *session);
hotstuff_status execution_error(const struct execution *e);
/** Writes what has changed to `out`. */
hotstuff_status execution_finish(struct execution *e, hotstuff_updates *out, digest *state_hash);

#endif
