/* Every function that needs no replica, misused: NULL, wrong lengths, bad UTF-8, wrong handles,
 * tables of the wrong size. Each mistake gets its status; none gets a crash. */
#include "check.h"

static const char NOT_UTF8[] = "\xff\xfe";

static void versions_and_texts(void)
{
    CHECK(hotstuff_version_number() == HOTSTUFF_VERSION_NUMBER);
    CHECK(strcmp(hotstuff_version_string(), HOTSTUFF_VERSION_STRING) == 0);
    CHECK(hotstuff_abi_version() == HOTSTUFF_ABI_VERSION);
    CHECK(hotstuff_has_feature(HOTSTUFF_FEATURE_TCP));
    CHECK(!hotstuff_has_feature(0));
    CHECK(!hotstuff_has_feature(0x80000000u));
    CHECK(strcmp(hotstuff_status_name(HOTSTUFF_OK), "HOTSTUFF_OK") == 0);
    CHECK(strcmp(hotstuff_status_name(HOTSTUFF_E_TIMEOUT), "HOTSTUFF_E_TIMEOUT") == 0);
    CHECK(strcmp(hotstuff_status_message(HOTSTUFF_E_TIMEOUT), "timed out") == 0);
    CHECK(strcmp(hotstuff_status_name(1), "HOTSTUFF_E_UNKNOWN") == 0);
    CHECK(strcmp(hotstuff_status_name(INT32_MIN), "HOTSTUFF_E_UNKNOWN") == 0);
    CHECK(hotstuff_status_message(12345)[0] != '\0');
    EXPECT(HOTSTUFF_E_NULL, hotstuff_error_status(NULL));
    CHECK(strcmp(hotstuff_error_message(NULL), "") == 0);
}

static void free_of_null(void)
{
    hotstuff_error_free(NULL);
    hotstuff_buffer_free(NULL);
    hotstuff_keypair_free(NULL);
    hotstuff_validator_set_free(NULL);
    hotstuff_config_free(NULL);
    hotstuff_tcp_config_free(NULL);
    hotstuff_network_free(NULL);
    hotstuff_replica_free(NULL);
    hotstuff_block_free(NULL);
    hotstuff_block_tree_free(NULL);
    hotstuff_block_iter_free(NULL);
    CHECK(1);
}

static void keys(void)
{
    uint8_t seed[HOTSTUFF_SECRET_SEED_LEN] = {7};
    hotstuff_keypair *key = (hotstuff_keypair *)(void *)seed, *again = NULL;
    hotstuff_validator_address address, other;
    hotstuff_buffer *der = NULL;
    hotstuff_bytes bytes;

    EXPECT(HOTSTUFF_E_NULL, hotstuff_keypair_generate(NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_keypair_from_seed(NULL, sizeof seed, &key));
    CHECK(key == NULL); /* an output that is a pointer is NULL after an error */
    EXPECT(HOTSTUFF_E_NULL, hotstuff_keypair_from_seed(seed, sizeof seed, NULL));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_keypair_from_seed(seed, 31, &key));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_keypair_from_seed(NULL, 0, &key));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_keypair_from_seed(seed, SIZE_MAX, &key));
    EXPECT(HOTSTUFF_E_DECODE, hotstuff_keypair_from_pkcs8(seed, sizeof seed, &key));
    EXPECT(HOTSTUFF_E_DECODE, hotstuff_keypair_from_pkcs8(NULL, 0, &key));

    OK(hotstuff_keypair_from_seed(seed, sizeof seed, &key));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_keypair_public(key, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_keypair_public(NULL, &address));
    OK(hotstuff_keypair_public(key, &address));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_keypair_to_pkcs8(key, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_keypair_to_pkcs8(NULL, &der));
    OK(hotstuff_keypair_to_pkcs8(key, &der));
    hotstuff_buffer_get(der, NULL);
    hotstuff_buffer_get(NULL, &bytes);
    CHECK(bytes.len == 0);
    hotstuff_buffer_get(der, &bytes);
    CHECK(bytes.len == 48);
    OK(hotstuff_keypair_from_pkcs8(bytes.data, bytes.len, &again));
    OK(hotstuff_keypair_public(again, &other));
    CHECK(memcmp(&address, &other, sizeof address) == 0);
    hotstuff_keypair_free(again);
    EXPECT(HOTSTUFF_E_DECODE, hotstuff_keypair_from_pkcs8(bytes.data, bytes.len - 1, &again));
    CHECK(again == NULL);
    hotstuff_buffer_free(der);
    hotstuff_keypair_free(key);

    OK(hotstuff_keypair_generate(&key));
    OK(hotstuff_keypair_public(key, &other));
    CHECK(memcmp(&address, &other, sizeof address) != 0);
    hotstuff_keypair_free(key);
}

static hotstuff_keypair *a_key(uint8_t number)
{
    uint8_t seed[HOTSTUFF_SECRET_SEED_LEN] = {0};
    hotstuff_keypair *key = NULL;
    seed[0] = number;
    OK(hotstuff_keypair_from_seed(seed, sizeof seed, &key));
    return key;
}

static void a_handle_of_another_kind(void)
{
    hotstuff_keypair *key = a_key(1);
    hotstuff_config *cfg = (hotstuff_config *)(void *)key;
    uint64_t rubbish[8] = {0x1234567812345678u};

    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_chain_id(cfg, 1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT,
           hotstuff_config_set_chain_id((hotstuff_config *)(void *)rubbish, 1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT,
           hotstuff_config_set_chain_id((hotstuff_config *)(void *)((char *)rubbish + 1), 1));
    CHECK(hotstuff_validator_set_len((hotstuff_validator_set *)(void *)key) == 0);
    hotstuff_config_free(cfg); /* refused, so that the key is still there */
    {
        hotstuff_validator_address address;
        OK(hotstuff_keypair_public(key, &address));
    }
    hotstuff_keypair_free(key);
}

static void validator_sets(void)
{
    hotstuff_validator_set *set = NULL;
    hotstuff_validator_address one = {{1}}, two = {{2}}, got;
    uint64_t power = 99;
    size_t i;

    EXPECT(HOTSTUFF_E_NULL, hotstuff_validator_set_new(NULL));
    CHECK(hotstuff_validator_set_len(NULL) == 0);
    CHECK(hotstuff_validator_set_total_power(NULL) == 0);
    CHECK(hotstuff_validator_set_quorum_power(NULL) == 0);
    OK(hotstuff_validator_set_new(&set));
    CHECK(hotstuff_validator_set_quorum_power(set) == 0);
    EXPECT(HOTSTUFF_E_NULL, hotstuff_validator_set_put(NULL, &one, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_validator_set_put(set, NULL, 1));
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_validator_set_at(set, 0, &got, &power));
    CHECK(power == 99);

    OK(hotstuff_validator_set_put(set, &two, 3));
    OK(hotstuff_validator_set_put(set, &one, UINT64_MAX - 3));
    EXPECT(HOTSTUFF_E_TOO_LARGE, hotstuff_validator_set_put(set, &two, 4));
    CHECK(hotstuff_validator_set_total_power(set) == UINT64_MAX);
    OK(hotstuff_validator_set_put(set, &one, 1)); /* in place of the power it had */
    CHECK(hotstuff_validator_set_len(set) == 2);
    CHECK(hotstuff_validator_set_total_power(set) == 4);
    CHECK(hotstuff_validator_set_quorum_power(set) == 3);
    OK(hotstuff_validator_set_at(set, 0, &got, &power));
    CHECK(got.bytes[0] == 1 && power == 1);
    OK(hotstuff_validator_set_at(set, 1, NULL, NULL));
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_validator_set_at(set, 2, &got, &power));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_validator_set_at(NULL, 0, &got, &power));
    OK(hotstuff_validator_set_put(set, &one, 0));
    OK(hotstuff_validator_set_put(set, &one, 0));
    CHECK(hotstuff_validator_set_len(set) == 1);

    for (i = 1; i < 1024; i++) {
        hotstuff_validator_address many = {{3}};
        many.bytes[1] = (uint8_t)i;
        many.bytes[2] = (uint8_t)(i >> 8);
        if (hotstuff_validator_set_put(set, &many, 1) != HOTSTUFF_OK)
            CHECK(0);
    }
    EXPECT(HOTSTUFF_E_TOO_LARGE, hotstuff_validator_set_put(set, &one, 1));
    hotstuff_validator_set_free(set);
}

static void configs(void)
{
    static const uint8_t value[1] = {9};
    hotstuff_config *cfg = NULL, *other = NULL;
    hotstuff_validator_set *set = NULL;
    hotstuff_validator_address one = {{1}};
    hotstuff_keypair *key = a_key(1);
    hotstuff_hash hash, before;
    uint8_t long_key[501] = {0};
    uint64_t bytes = 0;

    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_new(NULL));
    OK(hotstuff_config_new(&cfg));
    OK(hotstuff_validator_set_new(&set));

    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_chain_id(NULL, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_genesis_validators(NULL, set));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_genesis_validators(cfg, NULL));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_genesis_validators(cfg, set));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_genesis_state(NULL, value, 1, value, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_genesis_state(cfg, NULL, 1, value, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_genesis_state(cfg, value, 1, NULL, 1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_genesis_state(cfg, value, 0, value, 1));
    EXPECT(HOTSTUFF_E_TOO_LARGE,
           hotstuff_config_set_genesis_state(cfg, long_key, sizeof long_key, value, 1));
    OK(hotstuff_config_set_genesis_state(cfg, long_key, sizeof long_key - 1, NULL, 0));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_commit_rule(NULL, 0));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_commit_rule(cfg, 2));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_vote_to(NULL, 0));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_vote_to(cfg, 3));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_durability(NULL, 0));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_durability(cfg, UINT32_MAX));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_max_idle_ms(NULL, 1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_max_idle_ms(cfg, 0));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_max_block_bytes(NULL, 1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_max_block_bytes(cfg, 0));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_max_block_bytes(cfg, 67108865));
    OK(hotstuff_config_set_max_block_bytes(cfg, 67108864));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_map_size(NULL, 1u << 30));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_map_size(cfg, 1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_map_size(cfg, UINT64_MAX));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_view_timeout_ms(NULL, 1, 1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_view_timeout_ms(cfg, 0, 1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_view_timeout_ms(cfg, 2, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_sync(NULL, 1, 1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_sync(cfg, 0, 1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_sync(cfg, 1025, 1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_sync(cfg, 1, 0));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_create(NULL, true));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_keypair(NULL, key));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_keypair(cfg, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_data_dir(NULL, "x"));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_data_dir(cfg, NULL));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_data_dir(cfg, ""));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_data_dir(cfg, NOT_UTF8));

    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_option(NULL, "vote_to", "all"));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_option(cfg, NULL, "all"));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_option(cfg, "vote_to", NULL));
    EXPECT(HOTSTUFF_E_UNSUPPORTED, hotstuff_config_set_option(cfg, "vote_too", "all"));
    EXPECT(HOTSTUFF_E_UNSUPPORTED, hotstuff_config_set_option(cfg, "", "all"));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_option(cfg, NOT_UTF8, "all"));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_option(cfg, "vote_to", "none"));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT,
           hotstuff_config_set_option(cfg, "sync.request_limit", "1x"));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_option(cfg, "sync.request_limit", "0"));
    OK(hotstuff_config_set_option(cfg, "sync.request_limit", "16"));
    OK(hotstuff_config_set_option(cfg, "storage.map_bytes", "67108864"));

    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_genesis_hash(NULL, &hash));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_genesis_hash(cfg, NULL));
    memset(&hash, 5, sizeof hash);
    before = hash;
    EXPECT(HOTSTUFF_E_STATE, hotstuff_config_genesis_hash(cfg, &hash));
    CHECK(memcmp(&hash, &before, sizeof hash) == 0); /* outputs are left as they were */
    OK(hotstuff_config_set_chain_id(cfg, 5));
    EXPECT(HOTSTUFF_E_STATE, hotstuff_config_genesis_hash(cfg, &hash));
    OK(hotstuff_validator_set_put(set, &one, 1));
    OK(hotstuff_config_set_genesis_validators(cfg, set));
    OK(hotstuff_config_genesis_hash(cfg, &hash));

    /* By options or by setters: the same genesis. */
    OK(hotstuff_config_new(&other));
    OK(hotstuff_config_set_option(other, "chain.id", "5"));
    OK(hotstuff_config_set_option(other, "chain.max_block_bytes", "67108864"));
    OK(hotstuff_config_set_genesis_state(other, long_key, 500, NULL, 0));
    OK(hotstuff_config_set_genesis_validators(other, set));
    OK(hotstuff_config_genesis_hash(other, &before));
    CHECK(memcmp(&hash, &before, sizeof hash) == 0);
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_option(other, "chain.leader_rule", "x"));
    OK(hotstuff_config_set_option(other, "chain.leader_rule", "active"));
    OK(hotstuff_config_genesis_hash(other, &before));
    CHECK(memcmp(&hash, &before, sizeof hash) != 0);
    OK(hotstuff_config_set_option(other, "chain.leader_rule", "round_robin"));
    OK(hotstuff_config_set_max_idle_ms(other, 4999));
    OK(hotstuff_config_genesis_hash(other, &before));
    CHECK(memcmp(&hash, &before, sizeof hash) != 0);

    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_max_message_bytes(NULL, &bytes));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_max_message_bytes(cfg, NULL));
    OK(hotstuff_config_max_message_bytes(cfg, &bytes));
    CHECK(bytes > 67108864);
    hotstuff_validator_set_free(set);
    hotstuff_keypair_free(key);
    hotstuff_config_free(cfg);
    hotstuff_config_free(other);
}

static int32_t send_nothing(void *userdata, const hotstuff_validator_address *peer,
                            const uint8_t *message, size_t len)
{
    (void)userdata, (void)peer, (void)message, (void)len;
    return HOTSTUFF_OK;
}

static void count(void *userdata) { ++*(int *)userdata; }

/** A table of a newer header: one callback more than this library knows. */
typedef struct {
    hotstuff_network_callbacks known;
    void (*unknown)(void *userdata);
} newer_callbacks;

static void tables_of_any_size(void)
{
    hotstuff_network *network = NULL;
    hotstuff_network_callbacks table;
    newer_callbacks newer;
    int destroyed = 0;

    EXPECT(HOTSTUFF_E_NULL, hotstuff_network_from_callbacks(NULL, &network));
    hotstuff_network_callbacks_init(NULL, sizeof table);
    hotstuff_network_callbacks_init(&table, sizeof table);
    CHECK(table.struct_size == sizeof table && table.send == NULL && table.wake == NULL);
    EXPECT(HOTSTUFF_E_NULL, hotstuff_network_from_callbacks(&table, &network)); /* send */
    table.send = send_nothing;
    table.userdata = &destroyed;
    table.destroy = count;
    EXPECT(HOTSTUFF_E_NULL, hotstuff_network_from_callbacks(&table, NULL));

    table.struct_size = 0;
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_network_from_callbacks(&table, &network));
    table.struct_size = sizeof table - 1;
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_network_from_callbacks(&table, &network));
    table.struct_size = SIZE_MAX;
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_network_from_callbacks(&table, &network));
    CHECK(destroyed == 0); /* refused, so still ours */

    hotstuff_network_callbacks_init(&newer.known, sizeof newer);
    CHECK(newer.known.struct_size == sizeof newer && newer.unknown == NULL);
    newer.known.send = send_nothing;
    newer.known.userdata = &destroyed;
    newer.known.destroy = count;
    newer.unknown = count;
    EXPECT(HOTSTUFF_E_UNSUPPORTED, hotstuff_network_from_callbacks(&newer.known, &network));
    CHECK(network == NULL && destroyed == 0);
    newer.unknown = NULL;
    OK(hotstuff_network_from_callbacks(&newer.known, &network));
    hotstuff_network_free(network);
    CHECK(destroyed == 1);

    table.struct_size = sizeof table;
    OK(hotstuff_network_from_callbacks(&table, &network));
    {
        hotstuff_buffer *text = NULL;
        EXPECT(HOTSTUFF_E_NULL, hotstuff_network_local_addr(network, NULL));
        EXPECT(HOTSTUFF_E_NULL, hotstuff_network_local_addr(NULL, &text));
        EXPECT(HOTSTUFF_E_UNSUPPORTED, hotstuff_network_local_addr(network, &text));
    }
    hotstuff_network_free(network);
    CHECK(destroyed == 2);

    /* init writes nothing beyond the size it is given, and nothing at all for a senseless one */
    memset(&newer, 0x55, sizeof newer);
    hotstuff_network_callbacks_init(&newer.known, sizeof newer.known);
    CHECK(newer.known.struct_size == sizeof newer.known && newer.unknown != NULL);
    memset(&newer, 0x55, sizeof newer);
    hotstuff_network_callbacks_init(&newer.known, 0);
    hotstuff_network_callbacks_init(&newer.known, 1);
    hotstuff_network_callbacks_init(&newer.known, SIZE_MAX);
    CHECK(newer.known.struct_size == (size_t)0x5555555555555555u);
}

static void tcp(void)
{
    hotstuff_tcp_config *cfg = NULL;
    hotstuff_keypair *key = a_key(1), *peer_key = a_key(2);
    hotstuff_validator_address self, peer;
    hotstuff_network *network = NULL;
    hotstuff_error *err = NULL;
    hotstuff_buffer *text = NULL;
    hotstuff_bytes bytes;

    OK(hotstuff_keypair_public(key, &self));
    OK(hotstuff_keypair_public(peer_key, &peer));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_tcp_config_new(NULL));
    OK(hotstuff_tcp_config_new(&cfg));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_tcp_config_set_listen(NULL, "127.0.0.1:0"));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_tcp_config_set_listen(cfg, NULL));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_tcp_config_set_listen(cfg, NOT_UTF8));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_tcp_config_add_peer(NULL, &peer, "127.0.0.1:1"));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_tcp_config_add_peer(cfg, NULL, "127.0.0.1:1"));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_tcp_config_add_peer(cfg, &peer, NULL));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_tcp_config_add_peer(cfg, &peer, NOT_UTF8));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_tcp_config_set_max_listeners(NULL, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_tcp_config_set_queue_bytes(NULL, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_tcp_config_set_max_message_bytes(NULL, 1));

    EXPECT(HOTSTUFF_E_NULL, hotstuff_network_tcp(NULL, key, &network, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_network_tcp(cfg, NULL, &network, NULL));
    EXPECT_ERROR(HOTSTUFF_E_NULL, "NULL", err, hotstuff_network_tcp(cfg, key, NULL, &err));
    OK(hotstuff_tcp_config_add_peer(cfg, &peer, "nowhere"));
    EXPECT_ERROR(HOTSTUFF_E_INVALID_ARGUMENT, "nowhere", err,
                 hotstuff_network_tcp(cfg, key, &network, &err));
    CHECK(network == NULL);
    OK(hotstuff_tcp_config_add_peer(cfg, &peer, "127.0.0.1:1")); /* in place of the other */
    OK(hotstuff_tcp_config_add_peer(cfg, &self, "127.0.0.1:2"));
    EXPECT_ERROR(HOTSTUFF_E_INVALID_ARGUMENT, "own key", err,
                 hotstuff_network_tcp(cfg, key, &network, &err));
    OK(hotstuff_tcp_config_set_peer_key(cfg, &self, &peer)); /* whose key another has already */
    EXPECT_ERROR(HOTSTUFF_E_INVALID_ARGUMENT, "key", err,
                 hotstuff_network_tcp(cfg, key, &network, &err));
    hotstuff_tcp_config_free(cfg);

    OK(hotstuff_tcp_config_new(&cfg));
    OK(hotstuff_tcp_config_set_listen(cfg, "256.0.0.1:x"));
    EXPECT_ERROR(HOTSTUFF_E_INVALID_ARGUMENT, "256.0.0.1:x", err,
                 hotstuff_network_tcp(cfg, key, &network, &err));
    OK(hotstuff_tcp_config_set_listen(cfg, "127.0.0.1:0"));
    OK(hotstuff_tcp_config_set_max_message_bytes(cfg, 1 << 20));
    OK(hotstuff_tcp_config_set_queue_bytes(cfg, 1));
    EXPECT_ERROR(HOTSTUFF_E_INVALID_ARGUMENT, "queue_bytes", err,
                 hotstuff_network_tcp(cfg, key, &network, &err));
    OK(hotstuff_tcp_config_set_queue_bytes(cfg, 4 << 20));
    OK(hotstuff_network_tcp(cfg, key, &network, &err));
    CHECK(err == NULL);
    OK(hotstuff_network_local_addr(network, &text));
    hotstuff_buffer_get(text, &bytes);
    CHECK(bytes.len > 10 && memcmp(bytes.data, "127.0.0.1:", 10) == 0);
    hotstuff_buffer_free(text);
    hotstuff_network_free(network);
    hotstuff_tcp_config_free(cfg);
    hotstuff_keypair_free(key);
    hotstuff_keypair_free(peer_key);
}

static void requests_blocks_and_events_of_null(void)
{
    hotstuff_hash hash = {{1}}, genesis = {{0}};
    hotstuff_bytes bytes = {(const uint8_t *)"x", 1};
    hotstuff_validator_address address = {{1}};
    hotstuff_block *block = NULL;
    hotstuff_buffer *buffer = NULL;
    hotstuff_validator_set *set = NULL;
    hotstuff_block_iter *iter = NULL;
    uint64_t height = 0;

    hotstuff_block_hash(NULL, &hash);
    CHECK(memcmp(&hash, &genesis, sizeof hash) == 0);
    hotstuff_block_hash(NULL, NULL);
    hotstuff_block_parent_hash(NULL, NULL);
    hotstuff_block_data_hash(NULL, NULL);
    hotstuff_block_data(NULL, NULL);
    hotstuff_block_data(NULL, &bytes);
    CHECK(bytes.len == 0);
    CHECK(hotstuff_block_height(NULL) == 0);
    CHECK(hotstuff_block_view(NULL) == 0);
    CHECK(hotstuff_block_epoch(NULL) == 0);
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_encode(NULL, &buffer));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_encode(NULL, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_decode(NULL, hash.bytes, 1, &block));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_decode(&genesis, NULL, 1, &block));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_decode(&genesis, hash.bytes, 1, NULL));
    EXPECT(HOTSTUFF_E_DECODE, hotstuff_block_decode(&genesis, NULL, 0, &block));
    EXPECT(HOTSTUFF_E_DECODE, hotstuff_block_decode(&genesis, hash.bytes, 32, &block));

    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_tree_state(NULL, hash.bytes, 1, &buffer));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_tree_state(NULL, hash.bytes, 1, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_tree_block(NULL, &hash, &block));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_tree_block_at(NULL, 1, &block));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_tree_committed_height(NULL, &height));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_tree_highest_qc(NULL, &buffer));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_tree_validators(NULL, &set));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_tree_validators_of(NULL, 0, &set));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_tree_commit_qc_of(NULL, 0, &buffer));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_tree_iter(NULL, 1, &iter));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_block_iter_next(NULL, &block));

    CHECK(hotstuff_propose_block_request_cur_view(NULL) == 0);
    hotstuff_propose_block_request_prev_block(NULL, &hash);
    hotstuff_propose_block_request_prev_block(NULL, NULL);
    CHECK(hotstuff_propose_block_request_block_tree(NULL) == NULL);
    CHECK(hotstuff_validate_block_request_cur_view(NULL) == 0);
    CHECK(hotstuff_validate_block_request_proposed_block(NULL) == NULL);
    CHECK(hotstuff_validate_block_request_block_tree(NULL) == NULL);
    CHECK(!hotstuff_validate_block_request_is_sync(NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_updates_set_data(NULL, hash.bytes, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_updates_set_state(NULL, hash.bytes, 1, hash.bytes, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_updates_delete_state(NULL, hash.bytes, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_updates_set_validator(NULL, &address, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_inbox_put(NULL, &address, hash.bytes, 1));

    CHECK(hotstuff_event_kind(NULL) == 0);
    CHECK(hotstuff_event_time_ns(NULL) == 0);
    CHECK(hotstuff_event_epoch(NULL) == 0);
    CHECK(hotstuff_event_view(NULL) == 0);
    CHECK(hotstuff_event_height(NULL) == 0);
    CHECK(hotstuff_event_count(NULL) == 0);
    CHECK(strcmp(hotstuff_event_message(NULL), "") == 0);
    CHECK(!hotstuff_event_block(NULL, &hash));
    CHECK(!hotstuff_event_peer(NULL, &address));
}

static void replicas_of_null(void)
{
    hotstuff_replica *replica = (hotstuff_replica *)(void *)1;
    hotstuff_validator_address address = {{1}};
    hotstuff_error *err = NULL;
    hotstuff_block_tree *tree = NULL;
    hotstuff_block *block = NULL;
    hotstuff_config *cfg = NULL;
    hotstuff_app_callbacks app;
    hotstuff_replica_info info;
    hotstuff_metrics metrics;
    hotstuff_event_callbacks events;

    hotstuff_app_callbacks_init(&app, sizeof app);
    hotstuff_event_callbacks_init(&events, sizeof events);
    hotstuff_replica_info_init(&info, sizeof info);
    hotstuff_metrics_init(&metrics, sizeof metrics);
    OK(hotstuff_config_new(&cfg));
    EXPECT_ERROR(HOTSTUFF_E_NULL, "NULL", err,
                 hotstuff_replica_open(NULL, &app, NULL, &replica, &err));
    CHECK(replica == NULL);
    EXPECT_ERROR(HOTSTUFF_E_NULL, "NULL", err,
                 hotstuff_replica_open(cfg, &app, NULL, &replica, &err));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_open(cfg, &app, NULL, NULL, NULL));
    EXPECT_ERROR(HOTSTUFF_E_NULL, "NULL", err, hotstuff_replica_start(NULL, &err));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_stop(NULL, 0));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_deliver(NULL, &address, address.bytes, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_notify(NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_snapshot(NULL, &tree));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_next_committed(NULL, 0, 0, &block));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_wait_committed(NULL, 0, 0));
    EXPECT_ERROR(HOTSTUFF_E_NULL, "NULL", err, hotstuff_replica_wait(NULL, 0, &err));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_get_info(NULL, &info));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_metrics(NULL, &metrics));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_set_events(NULL, &events));
    hotstuff_config_free(cfg);
}

static void find_words(void *userdata, int32_t level, const char *target, const char *message)
{
    (void)target;
    CHECK(level == HOTSTUFF_LOG_ERROR);
    *(int *)userdata += strstr(message, "on purpose") != NULL;
}

/* The library that is tested has an option which panics; the one that is shipped has not. */
static void a_panic_is_a_status_and_poisons_what_it_was_in(void)
{
    hotstuff_config *cfg = NULL, *other = NULL;
    hotstuff_hash hash;
    int found = 0;

    OK(hotstuff_set_logger(find_words, &found, HOTSTUFF_LOG_ERROR));
    OK(hotstuff_config_new(&cfg));
    OK(hotstuff_config_new(&other));
    EXPECT(HOTSTUFF_E_PANIC, hotstuff_config_set_option(cfg, "test.panic", "on purpose"));
    CHECK(found == 1); /* its words are in the log, and nowhere else */
    EXPECT(HOTSTUFF_E_POISONED, hotstuff_config_set_option(cfg, "test.panic", "on purpose"));
    EXPECT(HOTSTUFF_E_POISONED, hotstuff_config_set_chain_id(cfg, 1));
    EXPECT(HOTSTUFF_E_POISONED, hotstuff_config_genesis_hash(cfg, &hash));
    OK(hotstuff_config_set_chain_id(other, 1)); /* nothing else suffers */
    hotstuff_config_free(cfg);
    hotstuff_config_free(other);
    OK(hotstuff_set_logger(NULL, NULL, HOTSTUFF_LOG_OFF));
}

static void log_and_call_back(void *userdata, int32_t level, const char *target,
                              const char *message)
{
    hotstuff_config *cfg = NULL;
    (void)level, (void)target, (void)message;
    ++*(int *)userdata;
    EXPECT(HOTSTUFF_E_REENTRANT, hotstuff_config_new(&cfg));
    EXPECT(HOTSTUFF_E_REENTRANT, hotstuff_set_logger(NULL, NULL, 0));
}

static void the_logger(void)
{
    int lines = 0;
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_set_logger(log_and_call_back, &lines, -1));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_set_logger(log_and_call_back, &lines, 6));
    OK(hotstuff_set_logger(log_and_call_back, &lines, HOTSTUFF_LOG_TRACE));
    OK(hotstuff_set_logger(NULL, NULL, HOTSTUFF_LOG_TRACE));
    OK(hotstuff_set_logger(NULL, NULL, HOTSTUFF_LOG_OFF));
}

int main(void)
{
    versions_and_texts();
    free_of_null();
    keys();
    a_handle_of_another_kind();
    validator_sets();
    configs();
    tables_of_any_size();
    tcp();
    requests_blocks_and_events_of_null();
    replicas_of_null();
    a_panic_is_a_status_and_poisons_what_it_was_in();
    the_logger();
    return checks_done("misuse");
}
