/*
 * config.h - the configuration file: lines of `key = value`, comments after '#'.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef KV_CONFIG_H
#define KV_CONFIG_H

#include <hotstuff.h>
#include <stdio.h>

enum {
    CONFIG_TEXT_MAX = 1024, /* a line, and so any value in it, with its NUL */
    CONFIG_PEERS_MAX = 128,
    CONFIG_OPTIONS_MAX = 64,
};

/* A replica of the chain, oneself included. */
struct config_peer {
    hotstuff_validator_address address;
    uint64_t power; /* in the genesis; 0: no validator at first */
    char host_port[CONFIG_TEXT_MAX];
};

struct config_option {
    char name[CONFIG_TEXT_MAX], value[CONFIG_TEXT_MAX];
};

struct config {
    uint64_t chain_id;
    char key_file[CONFIG_TEXT_MAX], data_dir[CONFIG_TEXT_MAX];
    char listen[CONFIG_TEXT_MAX], client_listen[CONFIG_TEXT_MAX];
    uint64_t create; /* 0 or 1 */
    uint64_t view_timeout_ms, max_view_timeout_ms, max_idle_ms;
    uint64_t commit_rule, vote_to;
    uint64_t map_bytes; /* 0: the library's own choice */
    uint64_t block_bytes_max, block_commands_max;
    uint64_t pool_commands_max, pool_bytes_max;
    uint64_t commit_timeout_ms, connections_max, client_idle_ms;
    uint64_t max_listeners;
    struct config_peer peers[CONFIG_PEERS_MAX];
    size_t peer_count, validator_count; /* of all; of those with a power */
    struct config_option options[CONFIG_OPTIONS_MAX];
    size_t option_count;
};

/** NULL if the file cannot be read or is wrong; what is wrong is then printed to `complaints`, as
 *  "kv: FILE:LINE: KEY: expected ..., got ...". Release with free(). */
struct config *config_load(const char *path, FILE *complaints);
/** One line for each key, for `kv --help`. */
void config_describe(FILE *out);

#endif
