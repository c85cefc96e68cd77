/*
 * app.c - batches from the pool become blocks; blocks become updates.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Both roads run the same execution on the same parent, and the proposer writes the resulting state
 * hash into the block: replicas that would compute different states find out before they vote.
 *
 * A block is invalid if it breaks the form, the limits, or the promise that each command in it is
 * applied by it. So "never twice" is a rule of the chain, and needs no trust in leaders.
 */
#include "app.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "store.h"

struct app {
    struct pool *pool;
    hotstuff_replica *replica;
    hotstuff_hash genesis;
    struct execution *execution;
    atomic_uint_fast64_t refused;
    size_t block_bytes_max;
    uint32_t block_commands_max;
    uint8_t block[];
};

struct app *app_new(struct pool *pool, size_t block_bytes_max, uint32_t block_commands_max) {
    struct app *a = malloc(sizeof *a + block_bytes_max);
    if (a == NULL) return NULL;
    *a = (struct app){.pool = pool,
                      .execution = execution_new(),
                      .block_bytes_max = block_bytes_max,
                      .block_commands_max = block_commands_max};
    if (a->execution == NULL) {
        free(a);
        return NULL;
    }
    return a;
}

void app_free(struct app *a) {
    if (a == NULL) return;
    execution_free(a->execution);
    free(a);
}

void app_set_replica(struct app *a, hotstuff_replica *replica, const hotstuff_hash *genesis) {
    a->replica = replica;
    a->genesis = *genesis;
}

uint64_t app_refused(const struct app *a) { return atomic_load(&a->refused); }

const hotstuff_hash *app_genesis(const struct app *a) { return &a->genesis; }

static int32_t failed(const char *what, hotstuff_status status) {
    log_line(HOTSTUFF_LOG_ERROR, "kv", "%s: %s", what, hotstuff_status_message(status));
    return status;
}

/* ---- the leader's turn ---------------------------------------------------------------------- */

/* The height of the parent; that of the genesis, which is no block, is 0. */
static hotstuff_status parent_height(const struct app *a,
                                     const hotstuff_propose_block_request *request,
                                     const hotstuff_block_tree *tree, uint64_t *height) {
    hotstuff_hash hash;
    hotstuff_block *parent;
    *height = 0;
    hotstuff_propose_block_request_prev_block(request, &hash);
    if (memcmp(&hash, &a->genesis, sizeof hash) == 0) return HOTSTUFF_OK;
    hotstuff_status status = hotstuff_block_tree_block(tree, &hash, &parent);
    if (status != HOTSTUFF_OK) return status;
    *height = hotstuff_block_height(parent);
    hotstuff_block_free(parent);
    return HOTSTUFF_OK;
}

/* Asks to be asked again: not all that could be proposed is. */
static void ask_again(const struct app *a) {
    hotstuff_status status = hotstuff_replica_notify(a->replica);
    if (status != HOTSTUFF_OK)
        log_line(HOTSTUFF_LOG_WARN, "kv", "notify: %s", hotstuff_status_message(status));
}

struct gathering {
    struct app *app;
    struct batch batch;
    bool more;   /* a new command is left for the next block */
    bool failed;
};

/* One waiting command: into the batch if it is new on this branch. Those that a block between the
 * committed state and the parent holds are DUPLICATE here; those for which the time has not come,
 * or is over, are left to the follower and to their deadlines. */
static bool gather(void *context, const struct command *waiting) {
    struct gathering *g = context;
    struct command c = *waiting;
    if (!batch_has_room(&g->batch, &c)) {
        g->more = true;
        return false; /* not the next smaller one: commands of a session keep their order */
    }
    uint64_t session = 0;
    switch (execution_apply(g->app->execution, &c, &session)) {
    case OUTCOME_APPLIED:
        if (c.kind == COMMAND_OPEN) c.sequence = session;
        batch_append(&g->batch, &c);
        return true;
    case OUTCOME_FULL: g->more = true; return false;
    case OUTCOME_FAILED: g->failed = true; return false;
    case OUTCOME_DUPLICATE:
    case OUTCOME_STALE:
    case OUTCOME_EXPIRED:
    case OUTCOME_REFUSED:
    case OUTCOME_UNKNOWN: return true;
    }
    return true;
}

static int32_t propose_block(void *userdata, const hotstuff_propose_block_request *request,
                             hotstuff_updates *out) {
    struct app *a = userdata;
    if (pool_waiting(a->pool) == 0) return HOTSTUFF_PROPOSE_DEFER;
    const hotstuff_block_tree *tree = hotstuff_propose_block_request_block_tree(request);
    uint64_t height;
    hotstuff_status status = parent_height(a, request, tree, &height);
    if (status == HOTSTUFF_E_NOT_FOUND) { /* the parent is valid, but on no disk yet */
        ask_again(a);
        return HOTSTUFF_PROPOSE_DEFER;
    }
    if (status == HOTSTUFF_OK) status = execution_begin(a->execution, tree, height + 1);
    if (status != HOTSTUFF_OK) return failed("propose: reading the parent's state", status);

    struct gathering g = {.app = a};
    batch_begin(&g.batch, a->block, a->block_bytes_max, a->block_commands_max);
    pool_walk(a->pool, gather, &g);
    if (g.failed) return failed("propose: executing", execution_error(a->execution));
    if (g.batch.count == 0) return HOTSTUFF_PROPOSE_DEFER;

    digest state_hash;
    status = execution_finish(a->execution, out, &state_hash);
    if (status != HOTSTUFF_OK) return failed("propose: writing updates", status);
    batch_finish(&g.batch, &state_hash);
    status = hotstuff_updates_set_data(out, g.batch.data, g.batch.len);
    if (status != HOTSTUFF_OK) return failed("propose: writing data", status);
    if (g.more) ask_again(a);
    return HOTSTUFF_OK;
}

/* ---- everybody else's turn ------------------------------------------------------------------ */

static int32_t invalid(struct app *a, uint64_t height, const char *why) {
    atomic_fetch_add(&a->refused, 1);
    log_line(HOTSTUFF_LOG_WARN, "kv", "block %llu is invalid: %s", (unsigned long long)height, why);
    return HOTSTUFF_BLOCK_INVALID;
}

static int32_t validate_block(void *userdata, const hotstuff_validate_block_request *request,
                              hotstuff_updates *out) {
    struct app *a = userdata;
    const hotstuff_block *block = hotstuff_validate_block_request_proposed_block(request);
    const uint64_t height = hotstuff_block_height(block);
    hotstuff_bytes data;
    hotstuff_block_data(block, &data);

    struct batch_reader reader;
    if (!batch_open(&reader, data.data, data.len)) return invalid(a, height, "no batch header");
    hotstuff_status status = execution_begin(
        a->execution, hotstuff_validate_block_request_block_tree(request), height);
    if (status != HOTSTUFF_OK) return failed("validate: reading the parent's state", status);

    struct command c;
    int more;
    while ((more = batch_next(&reader, &c)) == 1) {
        uint64_t session = 0;
        enum outcome outcome = execution_apply(a->execution, &c, &session);
        if (outcome == OUTCOME_FAILED)
            return failed("validate: executing", execution_error(a->execution));
        if (outcome != OUTCOME_APPLIED) return invalid(a, height, "a command that cannot be applied");
        if (c.kind == COMMAND_OPEN && c.sequence != session)
            return invalid(a, height, "a session with the wrong number");
    }
    if (more < 0) return invalid(a, height, "a malformed command, or bytes after the last");

    digest state_hash;
    status = execution_finish(a->execution, out, &state_hash);
    if (status != HOTSTUFF_OK) return failed("validate: writing updates", status);
    if (state_hash.low != reader.state_hash.low || state_hash.high != reader.state_hash.high)
        return invalid(a, height, "its state hash is not the one computed here");
    return HOTSTUFF_BLOCK_VALID;
}

void app_callbacks(struct app *a, hotstuff_app_callbacks *out) {
    hotstuff_app_callbacks_init(out, sizeof *out);
    out->userdata = a;
    out->propose_block = propose_block;
    out->validate_block = validate_block;
}
