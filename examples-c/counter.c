/* counter.c - the smallest application: four replicas in one process count to TARGET together.
 * Its state: a byte at "n"; a block's data: how much to add. SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700
#include <ftw.h>
#include <hotstuff.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
enum { REPLICAS = 4, TARGET = 100, QUEUE_MAX = 64, MESSAGE_MAX = 1 << 18, PATIENCE_MS = 20000 };
typedef struct { /* a replica and its mailbox: a ring of `count` messages, the oldest at `first` */
    hotstuff_validator_address address;
    hotstuff_replica *replica;
    size_t first, count;
    struct message { hotstuff_validator_address from; size_t len; uint8_t bytes[MESSAGE_MAX]; } queue[QUEUE_MAX];
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
static int32_t add_one(const hotstuff_block_tree *parent, hotstuff_updates *out) { /* DEFER: enough */
    int32_t count = count_in(parent);
    if (count < 0 || count == TARGET) return count < 0 ? count : HOTSTUFF_PROPOSE_DEFER;
    return hotstuff_updates_set_state(out, N, sizeof N, &(uint8_t){(uint8_t)(count + 1)}, 1);
}
/* The leader makes a block, the others judge it: both compute the same updates from its parent. */
static int32_t propose(void *me, const hotstuff_propose_block_request *ask, hotstuff_updates *out) {
    int32_t status = ((void)me, add_one(hotstuff_propose_block_request_block_tree(ask), out));
    return status == HOTSTUFF_OK ? hotstuff_updates_set_data(out, ONE, sizeof ONE) : status;
}
static int32_t validate(void *me, const hotstuff_validate_block_request *ask, hotstuff_updates *out) {
    hotstuff_bytes data;
    hotstuff_block_data(((void)me, hotstuff_validate_block_request_proposed_block(ask)), &data);
    if (data.len != 1 || data.data[0] != 1) return HOTSTUFF_BLOCK_INVALID;
    int32_t status = add_one(hotstuff_validate_block_request_block_tree(ask), out);
    return status < 0 ? status : status == HOTSTUFF_OK ? HOTSTUFF_BLOCK_VALID : HOTSTUFF_BLOCK_INVALID;
}
/* ---- the network: send() never waits; receive() waits for mail, wake() or the time-out ---- */
static int32_t net_send(void *me, const hotstuff_validator_address *peer, const uint8_t *p, size_t len) {
    node *to = nodes;
    while (to < nodes + REPLICAS && memcmp(&to->address, peer, sizeof *peer) != 0) to++;
    if (to == nodes + REPLICAS || len > MESSAGE_MAX) return HOTSTUFF_E_INVALID_ARGUMENT;
    pthread_mutex_lock(&lock);
    bool full = to->count == QUEUE_MAX; /* then this one is lost: what matters is sent again */
    struct message *m = &to->queue[(to->first + to->count) % QUEUE_MAX];
    if (!full) m->from = ((node *)me)->address, m->len = len, memcpy(m->bytes, p, len), to->count++;
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
        const struct message *m = &me->queue[me->first];
        if (m->len > 0) status = hotstuff_inbox_put(inbox, &m->from, m->bytes, m->len); /* copies */
        me->first = (me->first + 1) % QUEUE_MAX, me->count--;
    }
    pthread_mutex_unlock(&lock);
    return status;
}
static void net_wake(void *me) { /* a letter to oneself, with nothing in it */
    (void)net_send(me, &((node *)me)->address, ZERO, 0);
}
/* ---- the program: each step must succeed, or it ends and says which did not ---- */
#define MUST(call) must(#call, call)
static int32_t must(const char *what, int32_t status) {
    if (status < 0) fprintf(stderr, "counter: %s: %s\n", what, hotstuff_status_message(status));
    return status < 0 ? exit(EXIT_FAILURE), status : status;
}
static int remove_entry(const char *path, const struct stat *s, int kind, struct FTW *where) {
    return (void)s, (void)kind, (void)where, remove(path);
}
static void remove_directory(void) { (void)nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS); }
static int32_t follow(const node *at, hotstuff_hash *last) { /* the blocks, until they add up to TARGET */
    hotstuff_block_tree *tree;
    hotstuff_block *block;
    hotstuff_bytes data;
    uint64_t height = 0;
    for (int32_t sum = 0; sum < TARGET; height++) {
        MUST(hotstuff_replica_next_committed(at->replica, height, PATIENCE_MS, &block));
        hotstuff_block_data(block, &data);
        if (data.len > 0) sum += data.data[0]; /* the blocks of the library itself are empty */
        hotstuff_block_hash(block, last), hotstuff_block_free(block);
    }
    MUST(hotstuff_replica_snapshot(at->replica, &tree));
    int32_t count = MUST(count_in(tree));
    hotstuff_block_tree_free(tree);
    printf("n = %d at height %d\n", count, (int)height);
    return count;
}
int main(void) {
    hotstuff_app_callbacks app;
    hotstuff_network_callbacks net;
    hotstuff_config *config;
    hotstuff_validator_set *validators;
    hotstuff_keypair *keys[REPLICAS];
    hotstuff_app_callbacks_init(&app, sizeof app), hotstuff_network_callbacks_init(&net, sizeof net);
    app.propose_block = propose, app.validate_block = validate;
    net.send = net_send, net.receive = net_receive, net.wake = net_wake;
    if (mkdtemp(directory) == NULL || atexit(remove_directory) != 0) return EXIT_FAILURE;
    MUST(hotstuff_validator_set_new(&validators));
    for (int i = 0; i < REPLICAS; i++) {
        MUST(hotstuff_keypair_generate(&keys[i])), MUST(hotstuff_keypair_public(keys[i], &nodes[i].address));
        MUST(hotstuff_validator_set_put(validators, &nodes[i].address, 1));
    }
    MUST(hotstuff_config_new(&config)), MUST(hotstuff_config_set_map_size(config, 64 << 20)); /* is plenty */
    MUST(hotstuff_config_set_chain_id(config, 1)), MUST(hotstuff_config_set_create(config, true));
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
    bool agreed = true;
    hotstuff_hash hash[REPLICAS];
    for (int i = 0; i < REPLICAS; i++)
        agreed &= follow(&nodes[i], &hash[i]) == TARGET && memcmp(&hash[i], &hash[0], sizeof hash[0]) == 0;
    for (int i = 0; i < REPLICAS; i++) hotstuff_replica_free(nodes[i].replica), hotstuff_keypair_free(keys[i]);
    hotstuff_config_free(config), hotstuff_validator_set_free(validators);
    puts(agreed ? "Four replicas agree." : "The replicas DISAGREE.");
    return agreed ? EXIT_SUCCESS : EXIT_FAILURE;
}
