/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include <string.h>

#include "_cgo_export.h"

void hotstuff_go_block_read(const hotstuff_block *block, hotstuff_go_block *out) {
    out->height = hotstuff_block_height(block);
    out->epoch = hotstuff_block_epoch(block);
    out->view = hotstuff_block_view(block);
    hotstuff_block_hash(block, &out->hash);
    hotstuff_block_parent_hash(block, &out->parent_hash);
    hotstuff_block_data_hash(block, &out->data_hash);
    hotstuff_block_data(block, &out->data);
}

hotstuff_status hotstuff_go_state(const hotstuff_block_tree *tree, const uint8_t *key,
                                  size_t key_len, uint8_t *scratch, size_t capacity, size_t *len,
                                  hotstuff_buffer **rest) {
    hotstuff_buffer *value;
    hotstuff_bytes bytes;
    hotstuff_status status = hotstuff_block_tree_state(tree, key, key_len, &value);
    *rest = NULL;
    if (status != HOTSTUFF_OK) return status;
    hotstuff_buffer_get(value, &bytes);
    *len = bytes.len;
    if (bytes.len > capacity) {
        *rest = value;
        return HOTSTUFF_OK;
    }
    if (bytes.len > 0) memcpy(scratch, bytes.data, bytes.len);
    hotstuff_buffer_free(value);
    return HOTSTUFF_OK;
}

static void destroy(void *userdata) { hotstuffGoDestroy((uintptr_t)userdata); }

/* ---- the app -------------------------------------------------------------------------------- */

static int32_t propose_block(void *userdata, const hotstuff_propose_block_request *request,
                             hotstuff_updates *updates) {
    hotstuff_hash parent;
    hotstuff_propose_block_request_prev_block(request, &parent);
    return hotstuffGoProposeBlock(
        (uintptr_t)userdata, hotstuff_propose_block_request_cur_view(request),
        hotstuff_propose_block_request_budget_ms(request), &parent,
        (hotstuff_block_tree *)hotstuff_propose_block_request_block_tree(request), updates);
}

static int32_t validate_block(void *userdata, const hotstuff_validate_block_request *request,
                              hotstuff_updates *updates) {
    hotstuff_go_block block;
    hotstuff_go_block_read(hotstuff_validate_block_request_proposed_block(request), &block);
    return hotstuffGoValidateBlock(
        (uintptr_t)userdata, hotstuff_validate_block_request_cur_view(request),
        hotstuff_validate_block_request_is_sync(request), &block,
        (hotstuff_block_tree *)hotstuff_validate_block_request_block_tree(request), updates);
}

hotstuff_status hotstuff_go_open(const hotstuff_config *config, uintptr_t handle,
                                 hotstuff_network *network, hotstuff_replica **out,
                                 hotstuff_error **err) {
    hotstuff_app_callbacks table;
    hotstuff_app_callbacks_init(&table, sizeof table);
    table.userdata = (void *)handle;
    table.destroy = destroy;
    table.propose_block = propose_block;
    table.validate_block = validate_block;
    return hotstuff_replica_open(config, &table, network, out, err);
}

/* ---- the signer ----------------------------------------------------------------------------- */

static int32_t sign(void *userdata, const uint8_t *message, size_t len, hotstuff_signature *out) {
    return hotstuffGoSign((uintptr_t)userdata, (uint8_t *)message, len, out);
}

hotstuff_status hotstuff_go_set_signer(hotstuff_config *config,
                                       const hotstuff_validator_address *key, uintptr_t handle) {
    hotstuff_signer_callbacks table;
    hotstuff_signer_callbacks_init(&table, sizeof table);
    table.userdata = (void *)handle;
    table.destroy = destroy;
    table.sign = sign;
    return hotstuff_config_set_signer(config, key, &table);
}

/* ---- the pacemaker -------------------------------------------------------------------------- */

static uint64_t wait_timeout(void *userdata, const hotstuff_validator_set *validators,
                             uint64_t highest_qc_view, uint64_t highest_commit_view,
                             uint64_t cur_view) {
    return hotstuffGoViewTimeout((uintptr_t)userdata, (hotstuff_validator_set *)validators,
                                 highest_qc_view, highest_commit_view, cur_view);
}

static int32_t view_leader(void *userdata, const hotstuff_validator_set *validators,
                           uint64_t cur_view, size_t *leader_index) {
    return hotstuffGoLeader((uintptr_t)userdata, (hotstuff_validator_set *)validators, cur_view,
                            leader_index);
}

hotstuff_status hotstuff_go_set_pacemaker(hotstuff_config *config, uintptr_t handle) {
    hotstuff_pacemaker_callbacks table;
    hotstuff_pacemaker_callbacks_init(&table, sizeof table);
    table.userdata = (void *)handle;
    table.destroy = destroy;
    table.wait_timeout = wait_timeout;
    table.view_leader = view_leader;
    return hotstuff_config_set_pacemaker(config, &table);
}

/* ---- the network ---------------------------------------------------------------------------- */

static int32_t net_connect(void *userdata, const hotstuff_validator_address *peer) {
    return hotstuffGoConnect((uintptr_t)userdata, (hotstuff_validator_address *)peer);
}

static int32_t net_disconnect(void *userdata, const hotstuff_validator_address *peer) {
    return hotstuffGoDisconnect((uintptr_t)userdata, (hotstuff_validator_address *)peer);
}

static int32_t net_send(void *userdata, const hotstuff_validator_address *peer,
                        const uint8_t *message, size_t len) {
    return hotstuffGoSend((uintptr_t)userdata, (hotstuff_validator_address *)peer,
                          (uint8_t *)message, len);
}

static int32_t net_broadcast(void *userdata, const uint8_t *message, size_t len) {
    return hotstuffGoBroadcast((uintptr_t)userdata, (uint8_t *)message, len);
}

hotstuff_status hotstuff_go_network(uintptr_t handle, bool broadcasts, hotstuff_network **out) {
    hotstuff_network_callbacks table;
    hotstuff_network_callbacks_init(&table, sizeof table);
    table.userdata = (void *)handle;
    table.destroy = destroy;
    table.connect = net_connect;
    table.disconnect = net_disconnect;
    table.send = net_send;
    table.broadcast = broadcasts ? net_broadcast : NULL;
    return hotstuff_network_from_callbacks(&table, out);
}

/* ---- events and the log --------------------------------------------------------------------- */

static void on_event(void *userdata, const hotstuff_event *event) {
    hotstuff_go_event all = {
        .kind = hotstuff_event_kind(event),
        .time_ns = hotstuff_event_time_ns(event),
        .epoch = hotstuff_event_epoch(event),
        .view = hotstuff_event_view(event),
        .height = hotstuff_event_height(event),
        .count = hotstuff_event_count(event),
        .message = hotstuff_event_message(event),
    };
    hotstuff_event_block(event, &all.block);
    hotstuff_event_peer(event, &all.peer);
    hotstuff_event_evidence(event, &all.evidence);
    hotstuffGoEvent((uintptr_t)userdata, &all);
}

static void destroy_events(void *userdata) { hotstuffGoEventsOver((uintptr_t)userdata); }

hotstuff_status hotstuff_go_set_events(hotstuff_replica *replica, uintptr_t handle) {
    hotstuff_event_callbacks table;
    hotstuff_event_callbacks_init(&table, sizeof table);
    table.userdata = (void *)handle;
    table.destroy = destroy_events;
    table.on_event = on_event;
    return hotstuff_replica_set_events(replica, &table);
}

static void log_line(void *userdata, int32_t level, const char *target, const char *message) {
    (void)userdata;
    hotstuffGoLog(level, (char *)target, (char *)message);
}

hotstuff_status hotstuff_go_set_logger(bool on, int32_t max_level) {
    return hotstuff_set_logger(on ? log_line : NULL, NULL, max_level);
}
