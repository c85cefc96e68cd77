/*
 * custom_network.c - a transport of the application's own, in its own event loop.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Four replicas in one process count to TARGET together, by UDP datagrams on loopback. The program
 * has one thread and one poll(); the library has its own threads, which call send() and the app.
 *
 *      library's threads                     this thread: poll()
 *   send(peer, bytes) --> sendto() --> recvfrom() --> hotstuff_replica_deliver()
 *   on_event(COMMITTED) --> write() to a pipe --> hotstuff_replica_next_committed(..., 0 ms)
 *
 * A network without receive() is in push mode: whatever has the message delivers it. Nothing here
 * waits but poll(): send() gives up when a socket is full, and what is lost is sent again.
 *
 * A transport must say truly who sent a message. Here the kernel does: on loopback nobody else has
 * the port. On a real network a datagram's source proves nothing; put a MAC or DTLS below.
 */
#define _XOPEN_SOURCE 700
#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <hotstuff.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    REPLICAS = 4,
    TARGET = 50,
    PATIENCE_MS = 60000,
    HEIGHTS_MAX = 10000,
    DATAGRAM_MAX = 65507,   /* the most that UDP carries */
    AT_ONCE_MAX = 64,       /* datagrams read from one socket before the others have their turn */
    BLOCK_BYTES_MAX = 1024, /* these two keep every message within a datagram: */
    SYNC_BLOCKS_MAX = 16,
};

struct node {
    hotstuff_keypair *key;
    hotstuff_validator_address address;
    struct sockaddr_in at;
    int socket;
    hotstuff_replica *replica;
    uint64_t height; /* of the last committed block that this program has seen */
    int sum;         /* of the data of those blocks */
};

static struct node nodes[REPLICAS];
static hotstuff_hash agreed[HEIGHTS_MAX]; /* what the first replica to get there has committed */
static uint64_t agreed_height;
static atomic_bool was_too_long; /* a message, for a datagram: a mistake in the limits above */
static int wake_pipe[2];
static char directory[] = "/tmp/hotstuff-custom-network-XXXXXX";
static const uint8_t COUNT[] = {'n'}, ZERO[] = {0}, ONE[] = {1};

static void fail(const char *what, const char *why) {
    fprintf(stderr, "custom_network: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

/* Each step of the program must succeed. */
#define MUST(call) must(#call, call)
static void must(const char *what, hotstuff_status status) {
    if (status != HOTSTUFF_OK) fail(what, hotstuff_status_message(status));
}
#define MUST_HOLD(condition) ((condition) ? (void)0 : fail("failed", #condition))

/* ---- the application: the state is one byte, each block adds one ----------------------------- */

static hotstuff_status add_one(const hotstuff_block_tree *parent, hotstuff_updates *out) {
    hotstuff_buffer *value;
    hotstuff_bytes bytes;
    hotstuff_status status = hotstuff_block_tree_state(parent, COUNT, sizeof COUNT, &value);
    if (status != HOTSTUFF_OK) return status;
    hotstuff_buffer_get(value, &bytes);
    const uint8_t next = (uint8_t)(bytes.data[0] + 1);
    hotstuff_buffer_free(value);
    if (next > TARGET) return HOTSTUFF_E_DONE;
    return hotstuff_updates_set_state(out, COUNT, sizeof COUNT, &next, 1);
}

static int32_t propose(void *self, const hotstuff_propose_block_request *request,
                       hotstuff_updates *out) {
    (void)self;
    hotstuff_status status = add_one(hotstuff_propose_block_request_block_tree(request), out);
    if (status == HOTSTUFF_E_DONE) return HOTSTUFF_PROPOSE_DEFER;
    return status == HOTSTUFF_OK ? hotstuff_updates_set_data(out, ONE, sizeof ONE) : status;
}

static int32_t validate(void *self, const hotstuff_validate_block_request *request,
                        hotstuff_updates *out) {
    (void)self;
    hotstuff_bytes data;
    hotstuff_block_data(hotstuff_validate_block_request_proposed_block(request), &data);
    if (data.len != 1 || data.data[0] != 1) return HOTSTUFF_BLOCK_INVALID;
    hotstuff_status status = add_one(hotstuff_validate_block_request_block_tree(request), out);
    if (status == HOTSTUFF_E_DONE) return HOTSTUFF_BLOCK_INVALID;
    return status == HOTSTUFF_OK ? HOTSTUFF_BLOCK_VALID : status;
}

/* ---- what the library's threads call --------------------------------------------------------- */

static int32_t send_to(void *self, const hotstuff_validator_address *peer, const uint8_t *message,
                       size_t len) {
    const struct node *from = self;
    if (len > DATAGRAM_MAX) was_too_long = true;
    for (int i = 0; i < REPLICAS; i++) {
        const struct node *to = &nodes[i];
        if (memcmp(&to->address, peer, sizeof *peer) != 0) continue;
        const struct sockaddr *at = (const struct sockaddr *)&to->at;
        const ssize_t sent = sendto(from->socket, message, len, MSG_DONTWAIT, at, sizeof to->at);
        return sent == (ssize_t)len ? HOTSTUFF_OK : HOTSTUFF_E_WOULD_BLOCK;
    }
    return HOTSTUFF_E_NOT_FOUND;
}

static void on_event(void *self, const hotstuff_event *event) {
    (void)self;
    if (hotstuff_event_kind(event) != HOTSTUFF_EVENT_COMMITTED) return;
    const ssize_t written = write(wake_pipe[1], "", 1); /* a full pipe wakes as well */
    (void)written;
}

/* ---- the event loop -------------------------------------------------------------------------- */

static const struct node *node_at(const struct sockaddr_in *at) {
    for (int i = 0; i < REPLICAS; i++)
        if (nodes[i].at.sin_port == at->sin_port &&
            nodes[i].at.sin_addr.s_addr == at->sin_addr.s_addr)
            return &nodes[i];
    return NULL;
}

/* What has come by a socket goes to its replica. A full queue of the library drops the message. */
static void receive(const struct node *to) {
    static uint8_t datagram[DATAGRAM_MAX];
    for (int i = 0; i < AT_ONCE_MAX; i++) {
        struct sockaddr_in at;
        socklen_t at_len = sizeof at;
        const ssize_t len = recvfrom(to->socket, datagram, sizeof datagram, MSG_DONTWAIT,
                                     (struct sockaddr *)&at, &at_len);
        if (len < 0) return;
        const struct node *from = node_at(&at);
        if (from == NULL) continue; /* a stranger */
        hotstuff_status status =
            hotstuff_replica_deliver(to->replica, &from->address, datagram, (size_t)len);
        if (status != HOTSTUFF_E_WOULD_BLOCK) must("hotstuff_replica_deliver()", status);
    }
}

static void agree(const hotstuff_block *block) {
    const uint64_t height = hotstuff_block_height(block);
    hotstuff_hash hash;
    hotstuff_block_hash(block, &hash);
    MUST_HOLD(height < HEIGHTS_MAX && height <= agreed_height + 1);
    if (height > agreed_height) agreed[agreed_height = height] = hash;
    if (memcmp(&agreed[height], &hash, sizeof hash) != 0) fail("the replicas", "they DISAGREE");
}

/* The blocks that a replica has committed since. A time-out of 0 does not wait. */
static void follow(struct node *node) {
    hotstuff_block *block;
    hotstuff_bytes data;
    hotstuff_status status;
    while ((status = hotstuff_replica_next_committed(node->replica, node->height, 0, &block)) ==
           HOTSTUFF_OK) {
        agree(block);
        hotstuff_block_data(block, &data);
        if (data.len > 0) node->sum += data.data[0]; /* the library's own blocks are empty */
        node->height = hotstuff_block_height(block);
        hotstuff_block_free(block);
    }
    if (status != HOTSTUFF_E_TIMEOUT) must("hotstuff_replica_next_committed()", status);
}

static bool all_have_counted(void) {
    for (int i = 0; i < REPLICAS; i++)
        if (nodes[i].sum < TARGET) return false;
    return true;
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void run(void) {
    struct pollfd polled[REPLICAS + 1];
    const int64_t deadline_ms = now_ms() + PATIENCE_MS;
    for (int i = 0; i < REPLICAS; i++)
        polled[i] = (struct pollfd){.fd = nodes[i].socket, .events = POLLIN};
    polled[REPLICAS] = (struct pollfd){.fd = wake_pipe[0], .events = POLLIN};
    while (!all_have_counted()) {
        const int64_t left_ms = deadline_ms - now_ms();
        if (left_ms <= 0) fail("the replicas", "no agreement in time");
        MUST_HOLD(poll(polled, REPLICAS + 1, (int)left_ms) >= 0);
        for (int i = 0; i < REPLICAS; i++)
            if (polled[i].revents != 0) receive(&nodes[i]);
        MUST_HOLD(!was_too_long);
        if (polled[REPLICAS].revents == 0) continue;
        char drained[64];
        MUST_HOLD(read(wake_pipe[0], drained, sizeof drained) > 0);
        for (int i = 0; i < REPLICAS; i++) follow(&nodes[i]);
    }
}

/* ---- before and after ------------------------------------------------------------------------ */

static void prepare(struct node *node) {
    socklen_t len = sizeof node->at;
    MUST(hotstuff_keypair_generate(&node->key));
    MUST(hotstuff_keypair_public(node->key, &node->address));
    node->at.sin_family = AF_INET;
    node->at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    node->socket = socket(AF_INET, SOCK_DGRAM, 0);
    MUST_HOLD(bind(node->socket, (struct sockaddr *)&node->at, sizeof node->at) == 0);
    MUST_HOLD(getsockname(node->socket, (struct sockaddr *)&node->at, &len) == 0);
}

/* What the replicas have in common. */
static hotstuff_config *make_config(void) {
    hotstuff_config *config;
    hotstuff_validator_set *validators;
    MUST(hotstuff_validator_set_new(&validators));
    for (int i = 0; i < REPLICAS; i++)
        MUST(hotstuff_validator_set_put(validators, &nodes[i].address, 1));
    MUST(hotstuff_config_new(&config));
    MUST(hotstuff_config_set_chain_id(config, 1));
    MUST(hotstuff_config_set_genesis_validators(config, validators));
    MUST(hotstuff_config_set_genesis_state(config, COUNT, sizeof COUNT, ZERO, sizeof ZERO));
    MUST(hotstuff_config_set_max_block_bytes(config, BLOCK_BYTES_MAX));
    MUST(hotstuff_config_set_sync(config, SYNC_BLOCKS_MAX, 1000));
    MUST(hotstuff_config_set_create(config, true));
    MUST(hotstuff_config_set_map_size(config, 64 << 20));
    hotstuff_validator_set_free(validators);
    return config;
}

static void start(struct node *node, hotstuff_config *config) {
    hotstuff_app_callbacks app;
    hotstuff_network_callbacks table;
    hotstuff_event_callbacks events;
    hotstuff_network *network;
    char path[sizeof directory + 4];
    snprintf(path, sizeof path, "%s/%d", directory, (int)(node - nodes));
    MUST(hotstuff_config_set_keypair(config, node->key));
    MUST(hotstuff_config_set_data_dir(config, path));

    hotstuff_network_callbacks_init(&table, sizeof table);
    table.userdata = node;
    table.send = send_to; /* and no receive(): push mode; no broadcast(): send() for each peer */
    MUST(hotstuff_network_from_callbacks(&table, &network));
    hotstuff_app_callbacks_init(&app, sizeof app);
    app.propose_block = propose;
    app.validate_block = validate;
    MUST(hotstuff_replica_open(config, &app, network, &node->replica, NULL));
    hotstuff_event_callbacks_init(&events, sizeof events);
    events.on_event = on_event;
    MUST(hotstuff_replica_set_events(node->replica, &events));
    MUST(hotstuff_replica_start(node->replica, NULL));
}

static int remove_entry(const char *path, const struct stat *s, int kind, struct FTW *where) {
    return (void)s, (void)kind, (void)where, remove(path);
}

static void remove_directory(void) { (void)nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS); }

int main(void) {
    MUST_HOLD(mkdtemp(directory) != NULL && atexit(remove_directory) == 0);
    MUST_HOLD(pipe(wake_pipe) == 0 && fcntl(wake_pipe[1], F_SETFL, O_NONBLOCK) == 0);
    for (int i = 0; i < REPLICAS; i++) prepare(&nodes[i]);
    hotstuff_config *config = make_config();
    for (int i = 0; i < REPLICAS; i++) start(&nodes[i], config);
    run();
    for (int i = 0; i < REPLICAS; i++) hotstuff_replica_free(nodes[i].replica);
    for (int i = 0; i < REPLICAS; i++) {
        hotstuff_keypair_free(nodes[i].key);
        close(nodes[i].socket);
    }
    hotstuff_config_free(config);
    printf("n = %d at height %d\nFour replicas agree.\n", TARGET, (int)agreed_height);
    return EXIT_SUCCESS;
}
