/* A replica with an app that counts and a network in this process, for the tests.
 *
 * The app: a block's data is 8 bytes, the number of the block; the state has one key, "count". */
#ifndef NODE_H
#define NODE_H

#include "check.h"
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define NODES_MAX 4

typedef struct node node;

/** What the app does, when it is not the honest counter. */
typedef int32_t (*propose_fn)(node *, const hotstuff_propose_block_request *, hotstuff_updates *);
typedef int32_t (*validate_fn)(node *, const hotstuff_validate_block_request *, hotstuff_updates *);

struct node {
    hotstuff_keypair *key;
    hotstuff_validator_address address;
    char dir[64];
    _Atomic(hotstuff_replica *) replica;
    node *nodes; /* of the whole network */
    size_t count;
    _Atomic(propose_fn) propose;
    _Atomic(validate_fn) validate;
    atomic_int proposed, validated, received, sent, connected;
    atomic_int app_destroyed, network_destroyed, events_destroyed;
    atomic_int callbacks_after_destroy;
    atomic_int events[32];
    atomic_int stop; /* nothing more to propose */
    _Atomic(hotstuff_block_iter *) kept;
};

static inline void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/** Waits until the condition holds, at most 20 s (more under valgrind). */
#define EVENTUALLY(condition)                                                                      \
    do {                                                                                           \
        int tries_;                                                                                \
        for (tries_ = 0; tries_ < 4000 && !(condition); tries_++)                                  \
            sleep_ms(5);                                                                           \
        CHECK(condition);                                                                          \
    } while (0)

static inline uint64_t number_of(const uint8_t *bytes, size_t len)
{
    uint64_t number = 0;
    size_t i;
    for (i = 0; i < len && i < 8; i++)
        number |= (uint64_t)bytes[i] << (8 * i);
    return number;
}

static inline void bytes_of(uint64_t number, uint8_t out[8])
{
    size_t i;
    for (i = 0; i < 8; i++)
        out[i] = (uint8_t)(number >> (8 * i));
}

static inline uint64_t count_in(const hotstuff_block_tree *tree)
{
    hotstuff_buffer *value = NULL;
    hotstuff_bytes bytes;
    uint64_t count = 0;
    hotstuff_status status = hotstuff_block_tree_state(tree, (const uint8_t *)"count", 5, &value);
    if (status == HOTSTUFF_OK) {
        hotstuff_buffer_get(value, &bytes);
        count = number_of(bytes.data, bytes.len);
        hotstuff_buffer_free(value);
    } else if (status != HOTSTUFF_E_NOT_FOUND) {
        EXPECT(HOTSTUFF_E_NOT_FOUND, status);
    }
    return count;
}

static inline int32_t set_count(hotstuff_updates *updates, uint64_t count)
{
    uint8_t bytes[8];
    bytes_of(count, bytes);
    return hotstuff_updates_set_state(updates, (const uint8_t *)"count", 5, bytes, 8);
}

static inline int32_t honest_propose(node *self, const hotstuff_propose_block_request *request,
                                     hotstuff_updates *updates)
{
    uint8_t bytes[8];
    uint64_t count = count_in(hotstuff_propose_block_request_block_tree(request)) + 1;
    if (self->stop)
        return HOTSTUFF_PROPOSE_DEFER;
    bytes_of(count, bytes);
    if (hotstuff_updates_set_data(updates, bytes, 8) != HOTSTUFF_OK)
        return HOTSTUFF_E_CALLBACK;
    return set_count(updates, count);
}

static inline int32_t honest_validate(node *self, const hotstuff_validate_block_request *request,
                                      hotstuff_updates *updates)
{
    const hotstuff_block *block = hotstuff_validate_block_request_proposed_block(request);
    uint64_t count = count_in(hotstuff_validate_block_request_block_tree(request)) + 1;
    hotstuff_bytes bytes;
    (void)self;
    hotstuff_block_data(block, &bytes);
    CHECK(bytes.len != 0); /* of the library's own blocks nobody is asked */
    if (bytes.len != 8 || number_of(bytes.data, 8) != count)
        return HOTSTUFF_BLOCK_INVALID;
    return set_count(updates, count) == HOTSTUFF_OK ? HOTSTUFF_BLOCK_VALID : HOTSTUFF_E_CALLBACK;
}

static inline int32_t node_propose(void *userdata, const hotstuff_propose_block_request *request,
                                   hotstuff_updates *updates)
{
    node *self = userdata;
    propose_fn propose = self->propose;
    self->proposed++;
    self->callbacks_after_destroy += self->app_destroyed;
    return propose ? propose(self, request, updates) : honest_propose(self, request, updates);
}

static inline int32_t node_validate(void *userdata, const hotstuff_validate_block_request *request,
                                    hotstuff_updates *updates)
{
    node *self = userdata;
    validate_fn validate = self->validate;
    self->validated++;
    self->callbacks_after_destroy += self->app_destroyed;
    return validate ? validate(self, request, updates) : honest_validate(self, request, updates);
}

static inline void node_app_destroy(void *userdata) { ((node *)userdata)->app_destroyed++; }
static inline void node_network_destroy(void *userdata) { ((node *)userdata)->network_destroyed++; }
static inline void node_events_destroy(void *userdata) { ((node *)userdata)->events_destroyed++; }

static inline int32_t node_connect(void *userdata, const hotstuff_validator_address *peer)
{
    (void)peer;
    ((node *)userdata)->connected++;
    return HOTSTUFF_OK;
}

/** Push mode: a send is a delivery. */
static inline int32_t node_send(void *userdata, const hotstuff_validator_address *peer,
                                const uint8_t *message, size_t len)
{
    node *self = userdata;
    size_t i;
    self->sent++;
    self->callbacks_after_destroy += self->network_destroyed;
    for (i = 0; i < self->count; i++) {
        hotstuff_replica *other = self->nodes[i].replica;
        if (other != NULL && memcmp(peer, &self->nodes[i].address, sizeof *peer) == 0)
            return hotstuff_replica_deliver(other, &self->address, message, len);
    }
    return HOTSTUFF_E_CLOSED;
}

static inline void node_event(void *userdata, const hotstuff_event *event)
{
    node *self = userdata;
    uint32_t kind = hotstuff_event_kind(event);
    self->callbacks_after_destroy += self->events_destroyed;
    if (kind < 32)
        self->events[kind]++;
    CHECK(hotstuff_event_message(event)[0] != '\0');
    CHECK(hotstuff_event_time_ns(event) > 1000000000u);
    if (kind == HOTSTUFF_EVENT_COMMITTED) {
        hotstuff_hash hash;
        CHECK(hotstuff_event_block(event, &hash));
        CHECK(hotstuff_event_height(event) > 0);
        CHECK(!hotstuff_event_peer(event, NULL));
    }
}

static inline void remove_dir(const char *path)
{
    char file[512];
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
            unlink(file);
        }
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(path);
}

/** Makes the keys and the empty directories of `count` nodes. */
static inline void nodes_init(node *nodes, size_t count)
{
    size_t i;
    memset(nodes, 0, count * sizeof *nodes);
    for (i = 0; i < count; i++) {
        uint8_t seed[HOTSTUFF_SECRET_SEED_LEN] = {0};
        seed[0] = (uint8_t)(i + 1);
        OK(hotstuff_keypair_from_seed(seed, sizeof seed, &nodes[i].key));
        OK(hotstuff_keypair_public(nodes[i].key, &nodes[i].address));
        strcpy(nodes[i].dir, "/tmp/hotstuff-c-XXXXXX");
        CHECK(mkdtemp(nodes[i].dir) != NULL);
        nodes[i].nodes = nodes;
        nodes[i].count = count;
    }
}

static inline void nodes_done(node *nodes, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) {
        CHECK(nodes[i].callbacks_after_destroy == 0);
        hotstuff_keypair_free(nodes[i].key);
        remove_dir(nodes[i].dir);
    }
}

static inline hotstuff_config *node_config(node *self)
{
    hotstuff_config *cfg = NULL;
    hotstuff_validator_set *set = NULL;
    size_t i;
    OK(hotstuff_validator_set_new(&set));
    for (i = 0; i < self->count; i++)
        OK(hotstuff_validator_set_put(set, &self->nodes[i].address, 1));
    OK(hotstuff_config_new(&cfg));
    OK(hotstuff_config_set_chain_id(cfg, 42));
    OK(hotstuff_config_set_genesis_validators(cfg, set));
    OK(hotstuff_config_set_keypair(cfg, self->key));
    OK(hotstuff_config_set_data_dir(cfg, self->dir));
    OK(hotstuff_config_set_create(cfg, true));
    OK(hotstuff_config_set_map_size(cfg, 64 << 20));
    OK(hotstuff_config_set_durability(cfg, HOTSTUFF_DURABILITY_PROCESS_CRASH));
    OK(hotstuff_config_set_view_timeout_ms(cfg, 200, 5000));
    OK(hotstuff_config_set_max_idle_ms(cfg, 100));
    hotstuff_validator_set_free(set);
    return cfg;
}

static inline void node_app(node *self, hotstuff_app_callbacks *app)
{
    hotstuff_app_callbacks_init(app, sizeof *app);
    app->userdata = self;
    app->destroy = node_app_destroy;
    app->propose_block = node_propose;
    app->validate_block = node_validate;
}

static inline hotstuff_network *node_network(node *self)
{
    hotstuff_network_callbacks table;
    hotstuff_network *network = NULL;
    hotstuff_network_callbacks_init(&table, sizeof table);
    table.userdata = self;
    table.destroy = node_network_destroy;
    table.connect = node_connect;
    table.send = node_send;
    OK(hotstuff_network_from_callbacks(&table, &network));
    return network;
}

/** Opens a node with this config, which it frees; in push mode if `network` is NULL. */
static inline hotstuff_replica *node_open(node *self, hotstuff_config *cfg,
                                          hotstuff_network *network)
{
    hotstuff_app_callbacks app;
    hotstuff_replica *replica = NULL;
    hotstuff_error *err = NULL;
    node_app(self, &app);
    if (network == NULL)
        network = node_network(self);
    OK(hotstuff_replica_open(cfg, &app, network, &replica, &err));
    if (err != NULL) {
        printf("    %s\n", hotstuff_error_message(err));
        hotstuff_error_free(err);
        exit(checks_done("node_open"));
    }
    hotstuff_config_free(cfg);
    self->replica = replica;
    return replica;
}

static inline void node_listen(node *self)
{
    hotstuff_event_callbacks table;
    hotstuff_event_callbacks_init(&table, sizeof table);
    table.userdata = self;
    table.destroy = node_events_destroy;
    table.on_event = node_event;
    OK(hotstuff_replica_set_events(self->replica, &table));
}

static inline void node_start(node *self)
{
    hotstuff_error *err = NULL;
    OK(hotstuff_replica_start(self->replica, &err));
    if (err != NULL) {
        printf("    %s\n", hotstuff_error_message(err));
        hotstuff_error_free(err);
    }
}

/** Stops all nodes, then frees them: none delivers to one that is gone. */
static inline void nodes_stop(node *nodes, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        OK(hotstuff_replica_stop(nodes[i].replica, 20000));
    for (i = 0; i < count; i++) {
        hotstuff_replica_free(nodes[i].replica);
        nodes[i].replica = NULL;
    }
}

#endif
