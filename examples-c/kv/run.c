/*
 * run.c - from a configuration to a replica that serves clients.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   clients --- server (this thread) --- pool --- app (a thread of the library)
 *                                         |                 |
 *                                      follower <------- replica ------- other replicas, by TCP
 *
 * The follower reads the committed blocks one by one and finishes the commands it finds in them.
 * This file and app.c are all that speaks to the library of blocks; ../kv_cpp.cc is both in C++.
 */
#define _POSIX_C_SOURCE 200809L
#include "run.h"

#include <hotstuff.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "blocks.h"
#include "bytes.h"
#include "keys.h"
#include "log.h"
#include "pool.h"
#include "server.h"
#include "stopping.h"
#include "store.h"

enum { STOP_MS = 10000, FOLLOW_MS = 60000 };

/* ---- the follower --------------------------------------------------------------------------- */

struct follower {
    const hotstuff_replica *replica;
    struct pool *pool;
    uint64_t height; /* of the last block it has seen */
};

static void *follow(void *context) {
    struct follower *f = context;
    hotstuff_status status;
    do {
        hotstuff_block *block;
        status = hotstuff_replica_next_committed(f->replica, f->height, FOLLOW_MS, &block);
        if (status != HOTSTUFF_OK) continue;
        block_finish(f->pool, block);
        f->height = hotstuff_block_height(block);
        hotstuff_block_free(block);
    } while (status == HOTSTUFF_OK || status == HOTSTUFF_E_TIMEOUT);
    if (status != HOTSTUFF_E_CLOSED && status != HOTSTUFF_E_HALTED)
        log_line(HOTSTUFF_LOG_ERROR, "kv", "following the chain: %s",
                 hotstuff_status_message(status));
    stopping_begin(STOPPING_ENDED); /* without commits there is nothing to serve */
    return NULL;
}

/* ---- from the configuration to a replica ---------------------------------------------------- */

static bool good(hotstuff_status status, const char *what, hotstuff_error *err) {
    if (status == HOTSTUFF_OK) return true;
    fprintf(stderr, "kv: %s: %s\n", what,
            err != NULL ? hotstuff_error_message(err) : hotstuff_status_message(status));
    hotstuff_error_free(err);
    return false;
}

static bool set_validators(hotstuff_config *out, const struct config *c) {
    hotstuff_validator_set *set;
    if (!good(hotstuff_validator_set_new(&set), "validators", NULL)) return false;
    bool fine = true;
    for (size_t i = 0; i < c->peer_count && fine; i++) /* power 0: only an address */
        fine = good(hotstuff_validator_set_put(set, &c->peers[i].address, c->peers[i].power),
                    "validator", NULL);
    if (fine) fine = good(hotstuff_config_set_genesis_validators(out, set), "validators", NULL);
    hotstuff_validator_set_free(set);
    return fine;
}

static bool set_options(hotstuff_config *out, const struct config *c) {
    char what[CONFIG_TEXT_MAX + 16];
    for (size_t i = 0; i < c->option_count; i++) {
        const struct config_option *o = &c->options[i];
        snprintf(what, sizeof what, "option.%s", o->name);
        if (!good(hotstuff_config_set_option(out, o->name, o->value), what, NULL)) return false;
    }
    return true;
}

/* What all replicas of a chain have in common, and the genesis hash covers. */
static bool set_chain(hotstuff_config *out, const struct config *c) {
    return good(hotstuff_config_set_chain_id(out, c->chain_id), "chain_id", NULL) &&
           good(hotstuff_config_set_commit_rule(out, (uint32_t)c->commit_rule), "commit_rule",
                NULL) &&
           good(hotstuff_config_set_max_idle_ms(out, (uint32_t)c->max_idle_ms), "max_idle_ms",
                NULL) &&
           good(hotstuff_config_set_max_block_bytes(out, c->block_bytes_max), "block_bytes_max",
                NULL) &&
           set_validators(out, c) && good(store_set_genesis(out), "genesis state", NULL);
}

static bool set_replica(hotstuff_config *out, const struct config *c,
                        const hotstuff_keypair *key) {
    return good(hotstuff_config_set_keypair(out, key), "key_file", NULL) &&
           good(hotstuff_config_set_data_dir(out, c->data_dir), "data_dir", NULL) &&
           good(hotstuff_config_set_create(out, c->create != 0), "create", NULL) &&
           (c->map_bytes == 0 ||
            good(hotstuff_config_set_map_size(out, c->map_bytes), "map_bytes", NULL)) &&
           good(hotstuff_config_set_view_timeout_ms(out, (uint32_t)c->view_timeout_ms,
                                                    (uint32_t)c->max_view_timeout_ms),
                "view_timeout_ms", NULL) &&
           good(hotstuff_config_set_vote_to(out, (uint32_t)c->vote_to), "vote_to", NULL);
}

/* Options last: they may refine any of the others. */
static hotstuff_config *make_config(const struct config *c, const hotstuff_keypair *key) {
    hotstuff_config *out;
    if (!good(hotstuff_config_new(&out), "configuration", NULL)) return NULL;
    if (set_chain(out, c) && (key == NULL || set_replica(out, c, key)) && set_options(out, c))
        return out;
    hotstuff_config_free(out);
    return NULL;
}

static bool add_peers(hotstuff_tcp_config *tcp, const struct config *c,
                      const hotstuff_keypair *key) {
    hotstuff_validator_address self;
    if (!good(hotstuff_keypair_public(key, &self), "key_file", NULL)) return false;
    for (size_t i = 0; i < c->peer_count; i++) {
        const struct config_peer *v = &c->peers[i];
        if (memcmp(&v->address, &self, sizeof self) == 0) continue;
        if (!good(hotstuff_tcp_config_add_peer(tcp, &v->address, v->host_port), v->host_port,
                  NULL))
            return false;
    }
    return true;
}

/* The transport must carry the longest message of the chain, and a few of them in a queue. */
static bool set_message_limits(hotstuff_tcp_config *tcp, const hotstuff_config *config) {
    uint64_t bytes;
    return good(hotstuff_config_max_message_bytes(config, &bytes), "message limit", NULL) &&
           good(hotstuff_tcp_config_set_max_message_bytes(tcp, bytes), "message limit", NULL) &&
           good(hotstuff_tcp_config_set_queue_bytes(tcp, 4 * bytes), "queue limit", NULL);
}

static hotstuff_network *make_network(const struct config *c, const hotstuff_config *config,
                                      const hotstuff_keypair *key) {
    hotstuff_tcp_config *tcp;
    hotstuff_network *network = NULL;
    hotstuff_error *err = NULL;
    if (!good(hotstuff_tcp_config_new(&tcp), "network", NULL)) return NULL;
    if (good(hotstuff_tcp_config_set_listen(tcp, c->listen), "listen", NULL) &&
        good(hotstuff_tcp_config_set_max_listeners(tcp, (uint32_t)c->max_listeners),
             "max_listeners", NULL) &&
        set_message_limits(tcp, config) && add_peers(tcp, c, key)) {
        hotstuff_status status = hotstuff_network_tcp(tcp, key, &network, &err);
        good(status, c->listen, err); /* if not, network is NULL */
    }
    hotstuff_tcp_config_free(tcp);
    return network;
}

/* What the app can know only when the replica is open. */
static bool introduce(struct app *app, hotstuff_replica *replica, const hotstuff_config *config) {
    hotstuff_hash genesis;
    if (!good(hotstuff_config_genesis_hash(config, &genesis), "genesis hash", NULL)) return false;
    app_set_replica(app, replica, &genesis);
    return true;
}

static hotstuff_replica *open_replica(const struct config *c, const hotstuff_keypair *key,
                                      struct app *app) {
    hotstuff_replica *replica = NULL;
    hotstuff_error *err = NULL;
    hotstuff_config *config = make_config(c, key);
    hotstuff_network *network = config == NULL ? NULL : make_network(c, config, key);
    if (network != NULL) {
        hotstuff_app_callbacks callbacks;
        app_callbacks(app, &callbacks);
        hotstuff_status status = hotstuff_replica_open(config, &callbacks, network, &replica, &err);
        if (!good(status, c->data_dir, err)) hotstuff_network_free(network);
    }
    if (replica != NULL && !introduce(app, replica, config)) {
        hotstuff_replica_free(replica);
        replica = NULL;
    }
    hotstuff_config_free(config);
    return replica;
}

/* ---- kv run --------------------------------------------------------------------------------- */

static bool committed_height(const hotstuff_replica *replica, uint64_t *height) {
    hotstuff_block_tree *tree;
    if (!good(hotstuff_replica_snapshot(replica, &tree), "snapshot", NULL)) return false;
    hotstuff_status status = hotstuff_block_tree_committed_height(tree, height);
    hotstuff_block_tree_free(tree);
    return good(status, "committed height", NULL);
}

static bool start_replica(hotstuff_replica *replica) {
    hotstuff_error *err = NULL;
    hotstuff_status status = hotstuff_replica_start(replica, &err);
    return good(status, "start", err);
}

/* Was it us who stopped the replica, or did it stop itself? */
static int why_it_ended(const hotstuff_replica *replica) {
    hotstuff_error *err = NULL;
    hotstuff_status status = hotstuff_replica_wait(replica, 0, &err);
    if (status != HOTSTUFF_E_HALTED) {
        hotstuff_error_free(err);
        return stopping_why() == STOPPING_SIGNALLED ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    good(status, "the replica has halted", err);
    return KV_EXIT_HALTED;
}

/* Serves from the start of the replica to its end. */
static int serve(const struct config *c, struct pool *pool, struct server *server,
                 hotstuff_replica *replica) {
    pthread_t thread;
    struct follower follower = {.replica = replica, .pool = pool};
    if (!committed_height(replica, &follower.height) || !start_replica(replica))
        return EXIT_FAILURE;
    if (pthread_create(&thread, NULL, follow, &follower) != 0) {
        fprintf(stderr, "kv: no thread\n");
        return EXIT_FAILURE;
    }
    log_line(HOTSTUFF_LOG_INFO, "kv", "chain %" PRIu64 " from height %" PRIu64
             ": replicas at %s, clients at %s", c->chain_id, follower.height, c->listen,
             server_address(server));
    printf("ready clients=%s\n", server_address(server));
    fflush(stdout);
    server_run(server, replica, stopping_why);

    int result = why_it_ended(replica);
    hotstuff_status status = hotstuff_replica_stop(replica, STOP_MS);
    if (!good(status, "stopping the replica", NULL)) result = EXIT_FAILURE;
    /* The follower ends when the replica is stopped; if it is not, there is no safe way on. */
    if (status != HOTSTUFF_OK) _exit(EXIT_FAILURE);
    pthread_join(thread, NULL);
    log_line(HOTSTUFF_LOG_INFO, "kv", "stopped at height %" PRIu64, follower.height);
    return result;
}

int kv_run(const struct config *c) {
    int result = EXIT_FAILURE;
    hotstuff_keypair *key = NULL;
    hotstuff_replica *replica = NULL;
    struct server *server = NULL;
    struct app *app = NULL;
    if (!stopping_prepare()) {
        perror("kv: signals");
        return EXIT_FAILURE;
    }
    struct pool *pool = pool_new(c->pool_commands_max, c->pool_bytes_max, stopping_fd_to_write());
    if (pool != NULL) app = app_new(pool, c->block_bytes_max, (uint32_t)c->block_commands_max);
    if (app == NULL) fprintf(stderr, "kv: no memory\n");
    if (app != NULL && keys_load(c->key_file, &key) &&
        (server = server_new(c, pool, app, stopping_fd_to_read())) != NULL &&
        (replica = open_replica(c, key, app)) != NULL) {
        result = serve(c, pool, server, replica);
    }
    hotstuff_replica_free(replica); /* first: the library's threads use the app and the pool */
    if (!log_stop()) result = EXIT_FAILURE;
    server_free(server);
    app_free(app);
    pool_free(pool);
    hotstuff_keypair_free(key);
    stopping_done();
    return result;
}

/* ---- kv genesis ------------------------------------------------------------------------------ */

int kv_genesis(const struct config *c) {
    hotstuff_hash hash;
    char hex[2 * HOTSTUFF_HASH_LEN + 1];
    hotstuff_config *config = make_config(c, NULL);
    if (config == NULL) return EXIT_FAILURE;
    bool fine = good(hotstuff_config_genesis_hash(config, &hash), "genesis hash", NULL);
    hotstuff_config_free(config);
    if (!fine) return EXIT_FAILURE;
    hex_encode(hash.bytes, sizeof hash.bytes, hex);
    puts(hex);
    return EXIT_SUCCESS;
}
