/*
 * app.c - what the library asks, answered by blocks.c.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "app.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "log.h"

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
    if (status != HOTSTUFF_OK) return failed("propose: reading the parent", status);

    struct batch batch;
    bool more;
    batch_begin(&batch, a->block, a->block_bytes_max, a->block_commands_max);
    status = block_make(a->execution, a->pool, tree, height + 1, &batch, &more, out);
    if (status != HOTSTUFF_OK) return failed("propose", status);
    if (batch.count == 0) return HOTSTUFF_PROPOSE_DEFER;
    if (more) ask_again(a);
    return HOTSTUFF_OK;
}

/* ---- everybody else's turn ------------------------------------------------------------------ */

static int32_t validate_block(void *userdata, const hotstuff_validate_block_request *request,
                              hotstuff_updates *out) {
    struct app *a = userdata;
    const hotstuff_block *block = hotstuff_validate_block_request_proposed_block(request);
    const char *why;
    hotstuff_status status = block_judge(
        a->execution, block, hotstuff_validate_block_request_block_tree(request), &why, out);
    if (status != HOTSTUFF_OK) return failed("validate", status);
    if (why == NULL) return HOTSTUFF_BLOCK_VALID;
    atomic_fetch_add(&a->refused, 1);
    log_line(HOTSTUFF_LOG_WARN, "kv", "block %" PRIu64 " is invalid: %s",
             hotstuff_block_height(block), why);
    return HOTSTUFF_BLOCK_INVALID;
}

void app_callbacks(struct app *a, hotstuff_app_callbacks *out) {
    hotstuff_app_callbacks_init(out, sizeof *out);
    out->userdata = a;
    out->propose_block = propose_block;
    out->validate_block = validate_block;
}
