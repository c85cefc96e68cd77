/*
 * blocks.c - the two roads from commands to updates, and the end of a command.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "blocks.h"

/* ---- the leader's turn ---------------------------------------------------------------------- */

struct gathering {
    struct execution *execution;
    struct batch *batch;
    bool *more;
    hotstuff_status error;
};

/* One waiting command: into the batch if it is new on this branch. Those that a block between the
 * committed state and the parent holds are DUPLICATE here; those for which the time has not come,
 * or is over, are left to the follower and to their deadlines. */
static bool gather(void *context, const struct command *waiting) {
    struct gathering *g = context;
    struct command c = *waiting;
    if (!batch_has_room(g->batch, &c)) {
        *g->more = true;
        return false; /* not the next smaller one: commands of a session keep their order */
    }
    uint64_t session = 0;
    switch (execution_apply(g->execution, &c, &session)) {
    case OUTCOME_APPLIED:
        if (c.kind == COMMAND_OPEN) c.sequence = session;
        batch_append(g->batch, &c);
        return true;
    case OUTCOME_FULL: *g->more = true; return false;
    case OUTCOME_FAILED: g->error = execution_error(g->execution); return false;
    case OUTCOME_DUPLICATE:
    case OUTCOME_STALE:
    case OUTCOME_EXPIRED:
    case OUTCOME_REFUSED:
    case OUTCOME_UNKNOWN: return true;
    }
    return true;
}

hotstuff_status block_make(struct execution *e, struct pool *pool, const hotstuff_block_tree *parent,
                           uint64_t height, struct batch *into, bool *more, hotstuff_updates *out) {
    struct gathering g = {.execution = e, .batch = into, .more = more};
    *more = false;
    g.error = execution_begin(e, parent, height);
    if (g.error == HOTSTUFF_OK) pool_walk(pool, gather, &g);
    if (g.error != HOTSTUFF_OK || into->count == 0) return g.error;

    digest state_hash;
    hotstuff_status status = execution_finish(e, out, &state_hash);
    if (status != HOTSTUFF_OK) return status;
    batch_finish(into, &state_hash);
    return hotstuff_updates_set_data(out, into->data, into->len);
}

/* ---- everybody else's turn ------------------------------------------------------------------ */

static hotstuff_status judge_commands(struct execution *e, struct batch_reader *reader,
                                      const char **why) {
    struct command c;
    int more;
    while ((more = batch_next(reader, &c)) == 1) {
        uint64_t session = 0;
        enum outcome outcome = execution_apply(e, &c, &session);
        if (outcome == OUTCOME_FAILED) return execution_error(e);
        if (outcome != OUTCOME_APPLIED)
            *why = "a command that cannot be applied";
        else if (c.kind == COMMAND_OPEN && c.sequence != session)
            *why = "a session with the wrong number";
        if (*why != NULL) return HOTSTUFF_OK;
    }
    if (more < 0) *why = "a malformed command, or bytes after the last";
    return HOTSTUFF_OK;
}

hotstuff_status block_judge(struct execution *e, const hotstuff_block *block,
                            const hotstuff_block_tree *parent, const char **why,
                            hotstuff_updates *out) {
    struct batch_reader reader;
    hotstuff_bytes data;
    hotstuff_block_data(block, &data);
    *why = batch_open(&reader, data.data, data.len) ? NULL : "no batch header";
    if (*why != NULL) return HOTSTUFF_OK;
    hotstuff_status status = execution_begin(e, parent, hotstuff_block_height(block));
    if (status == HOTSTUFF_OK) status = judge_commands(e, &reader, why);
    if (status != HOTSTUFF_OK || *why != NULL) return status;

    digest state_hash;
    status = execution_finish(e, out, &state_hash);
    if (status != HOTSTUFF_OK) return status;
    if (state_hash.low != reader.state_hash.low || state_hash.high != reader.state_hash.high)
        *why = "its state hash is not the one computed here";
    return HOTSTUFF_OK;
}

/* ---- after the commit ----------------------------------------------------------------------- */

void block_finish(struct pool *pool, const hotstuff_block *block) {
    struct batch_reader reader;
    struct command c;
    hotstuff_bytes data;
    hotstuff_block_data(block, &data);
    if (data.len == 0 || !batch_open(&reader, data.data, data.len)) return;
    while (batch_next(&reader, &c) == 1) {
        const uint64_t made =
            c.kind == COMMAND_VALIDATOR ? hotstuff_block_epoch(block) + 1 : c.sequence;
        pool_resolve(pool, &c, VERDICT_COMMITTED, hotstuff_block_height(block), made);
    }
}
