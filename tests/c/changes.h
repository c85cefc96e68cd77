/* Validators that come and go: the app and the config of a chain of three epochs. */
#ifndef CHANGES_H
#define CHANGES_H

#include "node.h"

enum { VALIDATORS = 3, JOINS_AT = 5, LEAVES_AT = 10, NODES = 4 };

/** What the block of this number changes: node 3 joins, with twice the power, and node 0 leaves. */
static inline hotstuff_status change(node *self, uint64_t number, hotstuff_updates *updates)
{
    if (number == JOINS_AT)
        return hotstuff_updates_set_validator(updates, &self->nodes[3].address, 2);
    if (number == LEAVES_AT)
        return hotstuff_updates_set_validator(updates, &self->nodes[0].address, 0);
    return HOTSTUFF_OK;
}

static inline int32_t changing_propose(node *self, const hotstuff_propose_block_request *request,
                                       hotstuff_updates *updates)
{
    uint64_t count = count_in(hotstuff_propose_block_request_block_tree(request)) + 1;
    int32_t status = honest_propose(self, request, updates);
    if (status == HOTSTUFF_OK && change(self, count, updates) != HOTSTUFF_OK)
        return HOTSTUFF_E_CALLBACK;
    return status;
}

/** The set that the app is shown is that of the block's epoch. */
static inline int check_set(const hotstuff_block *block, const hotstuff_block_tree *tree)
{
    hotstuff_validator_set *set = NULL;
    size_t len;
    if (hotstuff_block_tree_validators(tree, &set) != HOTSTUFF_OK)
        return 0;
    len = hotstuff_validator_set_len(set);
    CHECK(hotstuff_validator_set_epoch(set) == hotstuff_block_epoch(block));
    hotstuff_validator_set_free(set);
    return len == (hotstuff_block_epoch(block) == 1 ? 4 : 3);
}

static inline int32_t changing_validate(node *self, const hotstuff_validate_block_request *request,
                                        hotstuff_updates *updates)
{
    const hotstuff_block *block = hotstuff_validate_block_request_proposed_block(request);
    const hotstuff_block_tree *tree = hotstuff_validate_block_request_block_tree(request);
    int32_t verdict = honest_validate(self, request, updates);
    if (verdict != HOTSTUFF_BLOCK_VALID)
        return verdict;
    CHECK(check_set(block, tree));
    return change(self, count_in(tree) + 1, updates) == HOTSTUFF_OK ? HOTSTUFF_BLOCK_VALID
                                                                    : HOTSTUFF_E_CALLBACK;
}

/** Of a chain that the first three nodes begin. */
static inline hotstuff_config *changing_config(node *self)
{
    hotstuff_config *cfg = node_config(self);
    hotstuff_validator_set *set = NULL;
    size_t i;
    OK(hotstuff_validator_set_new(&set));
    for (i = 0; i < VALIDATORS; i++)
        OK(hotstuff_validator_set_put(set, &self->nodes[i].address, 1));
    OK(hotstuff_config_set_genesis_validators(cfg, set));
    OK(hotstuff_config_set_option(cfg, "sync.interval_ms", "100"));
    hotstuff_validator_set_free(set);
    return cfg;
}

#endif
