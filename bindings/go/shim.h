/*
 * shim.h - what cgo cannot say: tables of C callbacks that lead into Go, and calls that fetch in one
 * crossing what would else take many. A handle is a cgo.Handle; it stands in userdata as a number.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef HOTSTUFF_GO_SHIM_H
#define HOTSTUFF_GO_SHIM_H

#include <hotstuff.h>

/* All of a block at once. `data` is borrowed from the block. */
typedef struct hotstuff_go_block {
    uint64_t height, epoch, view;
    hotstuff_hash hash, parent_hash, data_hash;
    hotstuff_bytes data;
} hotstuff_go_block;

/* All of an event at once, borrowed during the callback. No block, no peer: zeros. */
typedef struct hotstuff_go_event {
    uint32_t kind;
    uint64_t time_ns, epoch, view, height, count;
    hotstuff_hash block;
    hotstuff_validator_address peer;
    const char *message;
    hotstuff_bytes evidence;
} hotstuff_go_event;

void hotstuff_go_block_read(const hotstuff_block *block, hotstuff_go_block *out);

/* The value of a key: copied to `scratch` if it fits, else left in *rest, the caller's to free. */
hotstuff_status hotstuff_go_state(const hotstuff_block_tree *tree, const uint8_t *key,
                                  size_t key_len, uint8_t *scratch, size_t capacity, size_t *len,
                                  hotstuff_buffer **rest);

hotstuff_status hotstuff_go_open(const hotstuff_config *config, uintptr_t handle,
                                 hotstuff_network *network, hotstuff_replica **out,
                                 hotstuff_error **err);
hotstuff_status hotstuff_go_set_signer(hotstuff_config *config,
                                       const hotstuff_validator_address *key, uintptr_t handle);
hotstuff_status hotstuff_go_set_pacemaker(hotstuff_config *config, uintptr_t handle);
hotstuff_status hotstuff_go_set_events(hotstuff_replica *replica, uintptr_t handle);
hotstuff_status hotstuff_go_network(uintptr_t handle, bool broadcasts, hotstuff_network **out);
hotstuff_status hotstuff_go_set_logger(bool on, int32_t max_level);

#endif
