/* The life of replicas: they commit, are closed and opened again, and what was read from them
 * outlives them. */
#include "node.h"

static void compare(const hotstuff_block *a, const hotstuff_block *b)
{
    hotstuff_hash x, y;
    hotstuff_block_hash(a, &x);
    hotstuff_block_hash(b, &y);
    CHECK(memcmp(&x, &y, sizeof x) == 0);
    CHECK(hotstuff_block_height(a) == hotstuff_block_height(b));
    CHECK(hotstuff_block_view(a) == hotstuff_block_view(b));
}

static void encode_and_decode(const hotstuff_block *block, const hotstuff_hash *genesis)
{
    hotstuff_buffer *buffer = NULL;
    hotstuff_bytes bytes;
    hotstuff_block *again = NULL;
    hotstuff_hash other = {{1}}, x, y;
    uint8_t copy[4096];

    OK(hotstuff_block_encode(block, &buffer));
    hotstuff_buffer_get(buffer, &bytes);
    OK(hotstuff_block_decode(genesis, bytes.data, bytes.len, &again));
    compare(block, again);
    hotstuff_block_free(again);
    OK(hotstuff_block_decode(&other, bytes.data, bytes.len, &again));
    hotstuff_block_hash(block, &x);
    hotstuff_block_hash(again, &y);
    CHECK(memcmp(&x, &y, sizeof x) != 0); /* another chain, another name */
    hotstuff_block_free(again);
    EXPECT(HOTSTUFF_E_DECODE, hotstuff_block_decode(genesis, bytes.data, bytes.len - 1, &again));
    if (CHECK(bytes.len < sizeof copy)) {
        memcpy(copy, bytes.data, bytes.len);
        copy[bytes.len] = 0;
        EXPECT(HOTSTUFF_E_DECODE, hotstuff_block_decode(genesis, copy, bytes.len + 1, &again));
        copy[bytes.len - 1] ^= 1; /* the last byte of the data, if it has any */
        EXPECT(HOTSTUFF_E_DECODE, hotstuff_block_decode(genesis, copy, bytes.len, &again));
    }
    CHECK(again == NULL);
    hotstuff_buffer_free(buffer);
}

/** Reads the chain in all ways there are, and compares. */
static void read_the_chain(node *self, uint64_t blocks)
{
    hotstuff_block_tree *tree = NULL;
    hotstuff_block_iter *iter = NULL;
    hotstuff_block *block = NULL, *same = NULL;
    hotstuff_validator_set *set = NULL;
    hotstuff_buffer *qc = NULL;
    hotstuff_config *cfg = node_config(self);
    hotstuff_hash genesis, parent, hash;
    hotstuff_bytes data;
    uint64_t height, committed = 0, count = 0, walked = 0;

    OK(hotstuff_config_genesis_hash(cfg, &genesis));
    hotstuff_config_free(cfg);
    OK(hotstuff_replica_wait_committed(self->replica, blocks, 20000));
    OK(hotstuff_replica_snapshot(self->replica, &tree));
    OK(hotstuff_block_tree_committed_height(tree, &committed));
    CHECK(committed >= blocks);
    OK(hotstuff_block_tree_iter(tree, 0, &iter));
    parent = genesis;
    for (height = 1; height <= committed; height++) {
        hotstuff_hash wanted = parent;
        OK(hotstuff_replica_next_committed(self->replica, height - 1, 0, &block));
        if (block == NULL)
            break;
        CHECK(hotstuff_block_height(block) == height);
        hotstuff_block_parent_hash(block, &parent);
        CHECK(memcmp(&parent, &wanted, sizeof parent) == 0);
        hotstuff_block_hash(block, &hash);
        parent = hash;
        hotstuff_block_data(block, &data);
        if (data.len != 0)
            CHECK(number_of(data.data, data.len) == ++count);
        if (height <= 3)
            encode_and_decode(block, &genesis);
        OK(hotstuff_block_tree_block_at(tree, height, &same));
        compare(block, same);
        hotstuff_block_free(same);
        OK(hotstuff_block_tree_block(tree, &hash, &same));
        compare(block, same);
        hotstuff_block_free(same);
        OK(hotstuff_block_iter_next(iter, &same));
        compare(block, same);
        hotstuff_block_free(same);
        hotstuff_block_free(block);
    }
    EXPECT(HOTSTUFF_E_DONE, hotstuff_block_iter_next(iter, &same));
    EXPECT(HOTSTUFF_E_DONE, hotstuff_block_iter_next(iter, &same));
    hotstuff_block_iter_free(iter);
    CHECK(count_in(tree) == count && count > 0);
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_block_tree_block_at(tree, 0, &block));
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_block_tree_block_at(tree, UINT64_MAX, &block));
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_block_tree_block(tree, &genesis, &block));
    OK(hotstuff_block_tree_iter(tree, committed, &iter));
    while (hotstuff_block_iter_next(iter, &block) == HOTSTUFF_OK) {
        walked++;
        hotstuff_block_free(block);
    }
    CHECK(walked == 1);
    hotstuff_block_iter_free(iter);
    OK(hotstuff_block_tree_validators(tree, &set));
    CHECK(hotstuff_validator_set_len(set) == self->count);
    hotstuff_validator_set_free(set);
    OK(hotstuff_block_tree_highest_qc(tree, &qc));
    hotstuff_buffer_get(qc, &data);
    CHECK(data.len > 32);
    hotstuff_buffer_free(qc);
    hotstuff_block_tree_free(tree);
}

static void one_replica_commits_and_what_was_read_outlives_it(void)
{
    node self;
    hotstuff_block_tree *tree = NULL;
    hotstuff_block_iter *iter = NULL;
    hotstuff_block *block = NULL;
    hotstuff_replica_info info;
    hotstuff_metrics metrics;
    uint64_t count;

    nodes_init(&self, 1);
    node_open(&self, node_config(&self), NULL);
    node_listen(&self);
    CHECK(self.proposed == 0 && self.connected == 0); /* nothing is called before the start */
    node_start(&self);
    read_the_chain(&self, 5);

    hotstuff_replica_info_init(&info, sizeof info);
    OK(hotstuff_replica_get_info(self.replica, &info));
    CHECK(info.committed_height >= 5 && info.view > 5 && info.epoch == 0);
    CHECK(info.role == HOTSTUFF_ROLE_VALIDATOR && !info.halted);
    hotstuff_metrics_init(&metrics, sizeof metrics);
    OK(hotstuff_replica_metrics(self.replica, &metrics));
    CHECK(metrics.proposals >= 5 && metrics.votes >= 5 && metrics.committed_height >= 5);
    CHECK(metrics.transactions > 0);
    EVENTUALLY(self.events[HOTSTUFF_EVENT_COMMITTED] >= 5);
    CHECK(self.events[HOTSTUFF_EVENT_START_VIEW] > 0 && self.events[HOTSTUFF_EVENT_VOTED] > 0);
    CHECK(self.connected == 0); /* there is nobody else */

    EXPECT(HOTSTUFF_E_TIMEOUT, hotstuff_replica_next_committed(self.replica, 1000000, 20, &block));
    CHECK(block == NULL);
    OK(hotstuff_replica_snapshot(self.replica, &tree));
    OK(hotstuff_block_tree_iter(tree, 1, &iter));
    count = count_in(tree);
    nodes_stop(&self, 1);
    CHECK(self.app_destroyed == 1 && self.network_destroyed == 1 && self.events_destroyed == 1);

    CHECK(count_in(tree) == count); /* after the replica */
    hotstuff_block_tree_free(tree);
    OK(hotstuff_block_iter_next(iter, &block)); /* after the snapshot */
    hotstuff_block_iter_free(iter);
    CHECK(hotstuff_block_height(block) == 1); /* after the iterator */
    hotstuff_block_free(block);
    nodes_done(&self, 1);
}

static void opening_fails_with_a_reason_and_takes_nothing(void)
{
    node self, other;
    hotstuff_app_callbacks app;
    hotstuff_network *network;
    hotstuff_replica *replica = NULL;
    hotstuff_config *cfg;
    hotstuff_error *err = NULL;

    nodes_init(&self, 1);
    nodes_init(&other, 1);
    node_app(&other, &app);
    network = node_network(&other);

    cfg = node_config(&other);
    OK(hotstuff_config_set_create(cfg, false));
    EXPECT_ERROR(HOTSTUFF_E_NOT_FOUND, other.dir, err,
                 hotstuff_replica_open(cfg, &app, network, &replica, &err));
    OK(hotstuff_config_set_data_dir(cfg, "/tmp/hotstuff-c-missing/below"));
    EXPECT_ERROR(HOTSTUFF_E_NOT_FOUND, "/tmp/hotstuff-c-missing", err,
                 hotstuff_replica_open(cfg, &app, network, &replica, &err));
    OK(hotstuff_config_set_data_dir(cfg, "/dev/null"));
    EXPECT_ERROR(HOTSTUFF_E_IO, "/dev/null", err,
                 hotstuff_replica_open(cfg, &app, network, &replica, &err));

    node_open(&self, node_config(&self), NULL);
    OK(hotstuff_config_set_data_dir(cfg, self.dir));
    OK(hotstuff_config_set_create(cfg, true));
    EXPECT_ERROR(HOTSTUFF_E_LOCKED, self.dir, err,
                 hotstuff_replica_open(cfg, &app, network, &replica, &err));
    nodes_stop(&self, 1);
    OK(hotstuff_config_set_chain_id(cfg, 43));
    EXPECT_ERROR(HOTSTUFF_E_GENESIS_MISMATCH, "genesis", err,
                 hotstuff_replica_open(cfg, &app, network, &replica, &err));
    OK(hotstuff_config_set_chain_id(cfg, 42));

    app.propose_block = NULL;
    EXPECT_ERROR(HOTSTUFF_E_NULL, "propose_block", err,
                 hotstuff_replica_open(cfg, &app, network, &replica, &err));
    app.propose_block = node_propose;
    app.struct_size = 0;
    EXPECT_ERROR(HOTSTUFF_E_INVALID_ARGUMENT, "struct_size", err,
                 hotstuff_replica_open(cfg, &app, network, &replica, &err));
    app.struct_size = sizeof app;
    OK(hotstuff_config_set_option(cfg, "pacemaker.base_ms", "7000"));
    EXPECT_ERROR(HOTSTUFF_E_INVALID_ARGUMENT, "7000", err,
                 hotstuff_replica_open(cfg, &app, network, &replica, &err));
    CHECK(other.app_destroyed == 0 && other.network_destroyed == 0 && replica == NULL);

    OK(hotstuff_config_set_option(cfg, "pacemaker.base_ms", "100"));
    OK(hotstuff_replica_open(cfg, &app, network, &replica, &err)); /* the network is still good */
    hotstuff_replica_free(replica);
    CHECK(other.app_destroyed == 1 && other.network_destroyed == 1);
    CHECK(other.proposed == 0); /* it was never started */
    hotstuff_config_free(cfg);
    nodes_done(&self, 1);
    nodes_done(&other, 1);
}

static void a_tcp_network_too_narrow_for_the_chain_is_refused(void)
{
    node self;
    hotstuff_app_callbacks app;
    hotstuff_network *network = NULL;
    hotstuff_replica *replica = NULL;
    hotstuff_tcp_config *tcp = NULL;
    hotstuff_config *cfg;
    hotstuff_error *err = NULL;

    nodes_init(&self, 1);
    node_app(&self, &app);
    cfg = node_config(&self);
    OK(hotstuff_config_set_max_block_bytes(cfg, 32 << 20));
    OK(hotstuff_tcp_config_new(&tcp));
    OK(hotstuff_tcp_config_set_listen(tcp, "127.0.0.1:0"));
    OK(hotstuff_network_tcp(tcp, self.key, &network, NULL));
    EXPECT_ERROR(HOTSTUFF_E_INVALID_ARGUMENT, "hotstuff_tcp_config_set_max_message_bytes", err,
                 hotstuff_replica_open(cfg, &app, network, &replica, &err));
    OK(hotstuff_config_set_max_block_bytes(cfg, 1 << 20));
    OK(hotstuff_replica_open(cfg, &app, network, &replica, NULL));
    OK(hotstuff_replica_start(replica, NULL));
    OK(hotstuff_replica_wait_committed(replica, 3, 20000));
    hotstuff_replica_free(replica);
    hotstuff_tcp_config_free(tcp);
    hotstuff_config_free(cfg);
    nodes_done(&self, 1);
}

static int entries_of(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        closedir(dir);
    return count;
}

/* Resident memory, in pages. */
static long pages_resident(void)
{
    long all = 0, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%ld %ld", &all, &resident) == 2);
    if (statm != NULL)
        fclose(statm);
    return resident;
}

static void opened_and_closed_many_times_it_goes_on_where_it_was(int times)
{
    node self;
    hotstuff_replica_info info;
    uint64_t height = 0;
    int i, files = 0, threads = 0;
    long pages = 0;

    nodes_init(&self, 1);
    for (i = 0; i < times; i++) {
        hotstuff_config *cfg = node_config(&self);
        if (i == times / 10) { /* what is made once, is made by now */
            files = entries_of("/proc/self/fd");
            threads = entries_of("/proc/self/task");
            pages = pages_resident();
        }
        OK(hotstuff_config_set_create(cfg, i == 0));
        node_open(&self, cfg, NULL);
        if (i % 2 == 0)
            node_listen(&self);
        hotstuff_replica_info_init(&info, sizeof info);
        OK(hotstuff_replica_get_info(self.replica, &info));
        CHECK(info.committed_height >= height);
        if (i % 4 != 3) {
            node_start(&self);
            OK(hotstuff_replica_wait_committed(self.replica, height + 1, 20000));
            OK(hotstuff_replica_get_info(self.replica, &info));
            height = info.committed_height;
        }
        if (i % 3 == 0)
            OK(hotstuff_replica_stop(self.replica, 20000));
        hotstuff_replica_free(self.replica);
        self.replica = NULL;
        CHECK(self.app_destroyed == i + 1 && self.network_destroyed == i + 1);
        CHECK(self.events_destroyed == i / 2 + 1);
        self.callbacks_after_destroy = 0; /* of earlier lives */
    }
    CHECK(entries_of("/proc/self/fd") == files && files > 0);
    CHECK(entries_of("/proc/self/task") == threads && threads > 0);
    if (times >= 1000) /* and the allocator has seen it all: a leak of 4 KiB each would be 900 */
        CHECK(pages_resident() - pages < 512);
    nodes_done(&self, 1);
}

static void four_replicas_agree_over_a_push_network(void)
{
    node nodes[NODES_MAX];
    size_t i;
    uint64_t height;

    nodes_init(nodes, NODES_MAX);
    for (i = 0; i < NODES_MAX; i++)
        node_open(&nodes[i], node_config(&nodes[i]), NULL);
    for (i = 0; i < NODES_MAX; i++)
        node_start(&nodes[i]);
    for (i = 0; i < NODES_MAX; i++)
        OK(hotstuff_replica_wait_committed(nodes[i].replica, 10, 60000));
    for (height = 0; height < 10; height++) {
        hotstuff_block *blocks[NODES_MAX] = {NULL};
        for (i = 0; i < NODES_MAX; i++)
            OK(hotstuff_replica_next_committed(nodes[i].replica, height, 0, &blocks[i]));
        for (i = 0; i < NODES_MAX; i++) {
            compare(blocks[0], blocks[i]);
            if (i > 0)
                hotstuff_block_free(blocks[i]);
        }
        hotstuff_block_free(blocks[0]);
    }
    for (i = 0; i < NODES_MAX; i++)
        CHECK(nodes[i].connected == NODES_MAX - 1);
    nodes_stop(nodes, NODES_MAX);
    nodes_done(nodes, NODES_MAX);
}

static void notify_wakes_an_idle_chain(void)
{
    node self;
    hotstuff_config *cfg;

    nodes_init(&self, 1);
    self.stop = 1;
    cfg = node_config(&self);
    OK(hotstuff_config_set_max_idle_ms(cfg, 86400000));
    OK(hotstuff_config_set_view_timeout_ms(cfg, 3600000, 3600000));
    node_open(&self, cfg, NULL);
    node_start(&self);
    EVENTUALLY(self.proposed > 0);
    EXPECT(HOTSTUFF_E_TIMEOUT, hotstuff_replica_wait_committed(self.replica, 1, 200));
    self.stop = 0;
    OK(hotstuff_replica_notify(self.replica));
    OK(hotstuff_replica_wait_committed(self.replica, 1, 20000));
    nodes_stop(&self, 1);
    nodes_done(&self, 1);
}

static void a_snapshot_keeps_the_directory_open(void)
{
    node self;
    hotstuff_app_callbacks app;
    hotstuff_network *network;
    hotstuff_block_tree *tree = NULL;
    hotstuff_replica *replica = NULL;
    hotstuff_config *cfg;
    hotstuff_error *err = NULL;

    nodes_init(&self, 1);
    cfg = node_config(&self);
    node_open(&self, node_config(&self), NULL);
    OK(hotstuff_replica_snapshot(self.replica, &tree));
    nodes_stop(&self, 1);
    network = node_network(&self);
    node_app(&self, &app);
    EXPECT_ERROR(HOTSTUFF_E_LOCKED, self.dir, err,
                 hotstuff_replica_open(cfg, &app, network, &replica, &err));
    hotstuff_block_tree_free(tree);
    OK(hotstuff_replica_open(cfg, &app, network, &replica, &err));
    hotstuff_replica_free(replica);
    hotstuff_config_free(cfg);
    nodes_done(&self, 1);
}

static int32_t propose_much(node *self, const hotstuff_propose_block_request *request,
                            hotstuff_updates *updates)
{
    static const uint8_t much[1 << 20] = {1};
    hotstuff_hash prev;
    int32_t status = honest_propose(self, request, updates);
    hotstuff_propose_block_request_prev_block(request, &prev); /* a key that was never there */
    if (status == HOTSTUFF_OK)
        status = hotstuff_updates_set_state(updates, prev.bytes, 32, much, sizeof much);
    return status;
}

static void a_full_map_halts_it_and_a_larger_one_lets_it_go_on(void)
{
    node self;
    hotstuff_config *cfg;
    hotstuff_error *err = NULL;
    hotstuff_block *block = NULL;
    hotstuff_block_tree *tree = NULL;
    hotstuff_replica_info info;
    uint64_t height;

    nodes_init(&self, 1);
    self.propose = propose_much;
    cfg = node_config(&self);
    OK(hotstuff_config_set_map_size(cfg, 16 << 20));
    node_open(&self, cfg, NULL);
    node_listen(&self);
    node_start(&self);
    EXPECT_ERROR(HOTSTUFF_E_HALTED, "map", err, hotstuff_replica_wait(self.replica, 60000, &err));
    EVENTUALLY(self.events[HOTSTUFF_EVENT_FATAL] == 1);
    EXPECT(HOTSTUFF_E_HALTED, hotstuff_replica_notify(self.replica));
    EXPECT(HOTSTUFF_E_HALTED, hotstuff_replica_wait_committed(self.replica, 100000, 60000));
    EXPECT(HOTSTUFF_E_HALTED, hotstuff_replica_next_committed(self.replica, 0, 60000, &block));
    EXPECT(HOTSTUFF_E_HALTED,
           hotstuff_replica_deliver(self.replica, &self.address, (const uint8_t *)"x", 1));
    OK(hotstuff_replica_snapshot(self.replica, &tree));
    CHECK(count_in(tree) > 0);
    hotstuff_block_tree_free(tree);
    hotstuff_replica_info_init(&info, sizeof info);
    OK(hotstuff_replica_get_info(self.replica, &info));
    CHECK(info.halted == 1 && info.committed_height > 0);
    height = info.committed_height;
    nodes_stop(&self, 1);

    self.propose = (propose_fn)0;
    self.callbacks_after_destroy = 0;
    self.app_destroyed = self.network_destroyed = 0;
    cfg = node_config(&self);
    OK(hotstuff_config_set_create(cfg, false));
    node_open(&self, cfg, NULL);
    node_start(&self);
    OK(hotstuff_replica_wait_committed(self.replica, height + 3, 20000));
    nodes_stop(&self, 1);
    nodes_done(&self, 1);
}

int main(int argc, char **argv)
{
    int times = argc > 1 ? atoi(argv[1]) : 100;
    one_replica_commits_and_what_was_read_outlives_it();
    opening_fails_with_a_reason_and_takes_nothing();
    a_tcp_network_too_narrow_for_the_chain_is_refused();
    opened_and_closed_many_times_it_goes_on_where_it_was(times);
    four_replicas_agree_over_a_push_network();
    notify_wakes_an_idle_chain();
    a_snapshot_keeps_the_directory_open();
    a_full_map_halts_it_and_a_larger_one_lets_it_go_on();
    return checks_done("lifecycle");
}
