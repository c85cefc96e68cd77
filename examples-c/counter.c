/* counter.c - the smallest application: four replicas in one process count to TARGET together.
 * The state is one byte under the key "n"; the data of a block is one byte: how much to add.
 * SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700
#include <ftw.h>
#include <hotstuff.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPLICAS = 4, TARGET = 100, QUEUE_MAX = 64, MESSAGE_MAX = 1 << 18, PATIENCE_MS = 20000 };
typedef struct { hotstuff_validator_address from; size_t len; uint8_t bytes[MESSAGE_MAX]; } message;
typedef struct { /* a replica and its mailbox: a ring of `count` messages, the oldest at `first` */
    hotstuff_validator_address address;
    hotstuff_replica *replica;
    message queue[QUEUE_MAX];
    size_t first, count;
} node;
static node nodes[REPLICAS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all the mailboxes */
static pthread_cond_t mail = PTHREAD_COND_INITIALIZER;
static char directory[] = "/tmp/hotstuff-counter-XXXXXX";
static const uint8_t N[] = {'n'}, ZERO[] = {0}, ONE[] = {1};

/* ---- the application ---- */
static int32_t count_in(const hotstuff_block_tree *tree) { /* the count, or a negative status */
    hotstuff_buffer *value;
    hotstuff_bytes bytes;
    hotstuff_status status = hotstuff_block_tree_state(tree, N, sizeof N, &value);
    if (status != HOTSTUFF_OK) return status;
    hotstuff_buffer_get(value, &bytes);
    int32_t count = bytes.len == 1 ? bytes.data[0] : HOTSTUFF_E_CORRUPT;
    hotstuff_buffer_free(value);
    return count;
}
/* The updates of a block: one more than in its parent. Both sides must compute the same. */
static int32_t add_one(const hotstuff_block_tree *tree_of_parent, hotstuff_updates *out) {
    int32_t count = count_in(tree_of_parent);
    if (count < 0 || count == TARGET) return count < 0 ? count : HOTSTUFF_PROPOSE_DEFER;
    return hotstuff_updates_set_state(out, N, sizeof N, &(uint8_t){(uint8_t)(count + 1)}, 1);
}
static int32_t propose(void *me, const hotstuff_propose_block_request *ask, hotstuff_updates *out) {
    int32_t status = ((void)me, add_one(hotstuff_propose_block_request_block_tree(ask), out));
    return status == HOTSTUFF_OK ? hotstuff_updates_set_data(out, ONE, sizeof ONE) : status;
}
static int32_t validate(void *me, const hotstuff_validate_block_request *ask, hotstuff_updates *out) {
    hotstuff_bytes data;
    hotstuff_block_data(hotstuff_validate_block_request_proposed_block(ask), &data);
    if (((void)me, data.len) != 1 || data.data[0] != 1) return HOTSTUFF_BLOCK_INVALID;
    int32_t status = add_one(hotstuff_validate_block_request_block_tree(ask), out);
    if (status < 0) return status; /* our own trouble is no verdict on the block */
    return status == HOTSTUFF_OK ? HOTSTUFF_BLOCK_VALID : HOTSTUFF_BLOCK_INVALID;
}

/* ---- the network: send() never waits; receive() waits for mail, wake() or the time-out ---- */
static int32_t net_send(void *me, const hotstuff_validator_address *peer, const uint8_t *p, size_t len) {
    node *to = nodes;
    while (to < nodes + REPLICAS && memcmp(&to->address, peer, sizeof *peer) != 0) to++;
    if (to == nodes + REPLICAS || len > MESSAGE_MAX) return HOTSTUFF_E_INVALID_ARGUMENT;
    pthread_mutex_lock(&lock);
    bool full = to->count == QUEUE_MAX; /* then this one is lost: what matters is sent again */
    if (!full) {
        message *m = &to->queue[(to->first + to->count++) % QUEUE_MAX];
        m->from = ((node *)me)->address, m->len = len;
        memcpy(m->bytes, p, len);
    }
    pthread_cond_broadcast(&mail);
    pthread_mutex_unlock(&lock);
    return full ? HOTSTUFF_E_WOULD_BLOCK : HOTSTUFF_OK;
}
static int32_t net_receive(void *self, uint32_t timeout_ms, hotstuff_inbox *inbox) {
    node *me = self;
    hotstuff_status status = HOTSTUFF_E_TIMEOUT;
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    long ns = t.tv_nsec + timeout_ms % 1000 * 1000000L;
    t = (struct timespec){t.tv_sec + timeout_ms / 1000 + ns / 1000000000, ns % 1000000000};
    pthread_mutex_lock(&lock);
    while (me->count == 0 && pthread_cond_timedwait(&mail, &lock, &t) == 0) {}
    if (me->count > 0) {
        const message *m = &me->queue[me->first];
        if (m->len > 0) status = hotstuff_inbox_put(inbox, &m->from, m->bytes, m->len); /* copies */
        me->first = (me->first + 1) % QUEUE_MAX, me->count--;
    }
    pthread_mutex_unlock(&lock);
    return status;
}
static void net_wake(void *me) { /* an empty letter to oneself; if the mailbox is full, nobody waits */
    (void)net_send(me, &((node *)me)->address, ZERO, 0);
}

/* ---- the program: each step must succeed, or it ends and says which did not ---- */
static int remove_entry(const char *path, const struct stat *s, int kind, struct FTW *where) {
    return (void)s, (void)kind, (void)where, remove(path);
}
static void remove_directory(void) { (void)nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS); }
#define MUST(call) must(#call, call)
static int32_t must(const char *what, int32_t status) {
    if (status >= 0) return status;
    fprintf(stderr, "counter: %s: %s\n", what, hotstuff_status_message(status));
    exit(EXIT_FAILURE);
}
/* The count at a replica that has committed *height; *height becomes what it really has committed. */
static int32_t count_at(const node *at, uint64_t *height) {
    hotstuff_block_tree *tree;
    MUST(hotstuff_replica_wait_committed(at->replica, *height, PATIENCE_MS));
    MUST(hotstuff_replica_snapshot(at->replica, &tree));
    MUST(hotstuff_block_tree_committed_height(tree, height));
    int32_t count = MUST(count_in(tree));
    hotstuff_block_tree_free(tree);
    return count;
}
int main(void) {
    hotstuff_app_callbacks app;
    hotstuff_network_callbacks net;
    hotstuff_config *config;
    hotstuff_validator_set *validators;
    hotstuff_keypair *keys[REPLICAS];
    hotstuff_app_callbacks_init(&app, sizeof app);
    hotstuff_network_callbacks_init(&net, sizeof net);
    app.propose_block = propose, app.validate_block = validate;
    net.send = net_send, net.receive = net_receive, net.wake = net_wake;
    if (mkdtemp(directory) == NULL || atexit(remove_directory) != 0) return EXIT_FAILURE;
    MUST(hotstuff_validator_set_new(&validators));
    for (int i = 0; i < REPLICAS; i++) {
        MUST(hotstuff_keypair_generate(&keys[i]));
        MUST(hotstuff_keypair_public(keys[i], &nodes[i].address));
        MUST(hotstuff_validator_set_put(validators, &nodes[i].address, 1));
    }
    MUST(hotstuff_config_new(&config));
    MUST(hotstuff_config_set_chain_id(config, 1));
    MUST(hotstuff_config_set_create(config, true));
    MUST(hotstuff_config_set_genesis_validators(config, validators));
    MUST(hotstuff_config_set_genesis_state(config, N, sizeof N, ZERO, sizeof ZERO));
    for (int i = 0; i < REPLICAS; i++) {
        hotstuff_network *network;
        char path[64];
        snprintf(path, sizeof path, "%s/%d", directory, i);
        net.userdata = &nodes[i];
        MUST(hotstuff_config_set_keypair(config, keys[i]));
        MUST(hotstuff_config_set_data_dir(config, path));
        MUST(hotstuff_network_from_callbacks(&net, &network));
        MUST(hotstuff_replica_open(config, &app, network, &nodes[i].replica, NULL));
        MUST(hotstuff_replica_start(nodes[i].replica, NULL));
    }
    uint64_t height = 1; /* where replica 0 has counted to TARGET; the others must agree there */
    while (count_at(&nodes[0], &height) < TARGET) height++;
    hotstuff_hash hashes[REPLICAS];
    bool agreed = true;
    for (int i = 0; i < REPLICAS; i++) {
        hotstuff_block *block;
        uint64_t reached = height;
        agreed &= count_at(&nodes[i], &reached) == TARGET;
        MUST(hotstuff_replica_next_committed(nodes[i].replica, height - 1, 0, &block));
        hotstuff_block_hash(block, &hashes[i]);
        agreed &= memcmp(&hashes[i], &hashes[0], sizeof hashes[0]) == 0;
        hotstuff_block_free(block);
    }
    printf("%d replicas %s: n = %d at height %d\n", REPLICAS, agreed ? "agree" : "DISAGREE", TARGET, (int)height);
    for (int i = 0; i < REPLICAS; i++) hotstuff_replica_free(nodes[i].replica), hotstuff_keypair_free(keys[i]);
    hotstuff_config_free(config), hotstuff_validator_set_free(validators);
    return agreed ? EXIT_SUCCESS : EXIT_FAILURE;
}
