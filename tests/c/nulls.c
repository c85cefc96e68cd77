/* NULL for each pointer that each function takes, where nothing else is wrong; and each struct that
 * may grow in every size. The calls are written by tests/c/nulls.rs from the header: what stands
 * here is a value for each type that a function may take. A new type wants one too. */
#include "evidence.h"
#include "node.h"

static uint8_t some_bytes[32] = {1};
static const char some_text[] = "text";

/* Of values. */
static hotstuff_hash some_hash;
static hotstuff_validator_address some_validator_address;
static hotstuff_app_callbacks some_app_callbacks;
static hotstuff_network_callbacks some_network_callbacks;
static hotstuff_event_callbacks some_event_callbacks;
static hotstuff_signer_callbacks some_signer_callbacks;
static hotstuff_pacemaker_callbacks some_pacemaker_callbacks;

/* Of objects. */
static hotstuff_error *some_error;
static hotstuff_buffer *some_buffer;
static hotstuff_keypair *some_keypair;
static hotstuff_validator_set *some_validator_set;
static hotstuff_config *some_config; /* of a chain that is nowhere: nothing can be opened with it */
static hotstuff_tcp_config *some_tcp_config;
static hotstuff_network *some_network;
static hotstuff_replica *some_replica; /* started */
static hotstuff_block_tree *some_block_tree;
static hotstuff_block_iter *some_block_iter;
static hotstuff_block *some_block;

/* Of what only callbacks are given. */
static const hotstuff_propose_block_request *some_propose_block_request;
static const hotstuff_validate_block_request *some_validate_block_request;
static hotstuff_updates *some_updates;
static const hotstuff_event *some_event;
static hotstuff_inbox *some_inbox;

/* ---- how each struct that may grow is used; whether the library reads it or fills it ---- */

enum {
    READ,
    FILLED,
    way_of_hotstuff_app_callbacks = READ,
    way_of_hotstuff_network_callbacks = READ,
    way_of_hotstuff_event_callbacks = READ,
    way_of_hotstuff_signer_callbacks = READ,
    way_of_hotstuff_pacemaker_callbacks = READ,
    way_of_hotstuff_qc_info = FILLED,
    way_of_hotstuff_evidence_info = FILLED,
    way_of_hotstuff_replica_info = FILLED,
    way_of_hotstuff_metrics = FILLED,
    way_of_hotstuff_voting_record = FILLED,
};

static hotstuff_status use_hotstuff_app_callbacks(hotstuff_app_callbacks *it)
{
    hotstuff_replica *replica;
    it->propose_block = node_propose;
    it->validate_block = node_validate;
    return hotstuff_replica_open(some_config, it, some_network, &replica, NULL);
}

static hotstuff_status use_hotstuff_network_callbacks(hotstuff_network_callbacks *it)
{
    hotstuff_network *network;
    hotstuff_status status;
    it->send = node_send;
    status = hotstuff_network_from_callbacks(it, &network);
    hotstuff_network_free(network);
    return status;
}

static hotstuff_status use_hotstuff_event_callbacks(hotstuff_event_callbacks *it)
{
    it->on_event = node_event;
    return hotstuff_replica_set_events(some_replica, it);
}

static int32_t sign_nothing(void *userdata, const uint8_t *message, size_t len,
                            hotstuff_signature *out)
{
    (void)userdata, (void)message, (void)len, (void)out;
    return HOTSTUFF_E_CALLBACK;
}

static hotstuff_status use_hotstuff_signer_callbacks(hotstuff_signer_callbacks *it)
{
    it->sign = sign_nothing;
    return hotstuff_config_set_signer(some_config, &some_validator_address, it);
}

static hotstuff_status use_hotstuff_pacemaker_callbacks(hotstuff_pacemaker_callbacks *it)
{
    return hotstuff_config_set_pacemaker(some_config, it);
}

static hotstuff_status use_hotstuff_qc_info(hotstuff_qc_info *it)
{
    hotstuff_buffer *qc;
    hotstuff_bytes bytes;
    hotstuff_hash genesis;
    hotstuff_validator_set *trusted;
    hotstuff_status status;
    OK(hotstuff_config_genesis_hash(some_config, &genesis));
    OK(hotstuff_block_tree_validators(some_block_tree, &trusted));
    OK(hotstuff_block_tree_highest_qc(some_block_tree, &qc));
    hotstuff_buffer_get(qc, &bytes);
    status = hotstuff_verify_qc(&genesis, trusted, bytes.data, bytes.len, it);
    hotstuff_buffer_free(qc);
    hotstuff_validator_set_free(trusted);
    return status;
}

static hotstuff_status use_hotstuff_evidence_info(hotstuff_evidence_info *it)
{
    return hotstuff_evidence_read(EVIDENCE, sizeof EVIDENCE, it);
}

static hotstuff_status use_hotstuff_replica_info(hotstuff_replica_info *it)
{
    return hotstuff_replica_get_info(some_replica, it);
}

static hotstuff_status use_hotstuff_metrics(hotstuff_metrics *it)
{
    return hotstuff_replica_metrics(some_replica, it);
}

static hotstuff_status use_hotstuff_voting_record(hotstuff_voting_record *it)
{
    return hotstuff_block_tree_voting_record(some_block_tree, it);
}

/* A struct of a newer header has members behind those that the library knows: 64 bytes here. */
#define SIZES(T)                                                                                   \
    do {                                                                                           \
        static const size_t senseless[] = {0, 1, sizeof(size_t), sizeof(T) - 1, 1 << 20, SIZE_MAX};\
        struct {                                                                                   \
            T known;                                                                               \
            uint8_t unknown[64];                                                                   \
        } it;                                                                                      \
        hotstuff_status usual;                                                                     \
        size_t i;                                                                                  \
        T##_init(&it.known, sizeof it.known);                                                      \
        usual = use_##T(&it.known);                                                                \
        CHECK(usual != HOTSTUFF_E_INVALID_ARGUMENT && usual != HOTSTUFF_E_UNSUPPORTED);            \
        CHECK(it.known.struct_size == sizeof it.known);                                            \
        for (i = 0; i < sizeof senseless / sizeof senseless[0]; i++) {                             \
            T##_init(&it.known, sizeof it.known);                                                  \
            it.known.struct_size = senseless[i];                                                   \
            EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, use_##T(&it.known));                               \
            CHECK(it.known.struct_size == senseless[i]);                                           \
            memset(&it, 0x55, sizeof it);                                                          \
            T##_init(&it.known, senseless[i] > sizeof it ? senseless[i] : 0);                      \
            CHECK(it.unknown[0] == 0x55);                                                          \
        }                                                                                          \
        memset(&it, 0x55, sizeof it);                                                              \
        T##_init(&it.known, sizeof it.known);                                                      \
        CHECK(it.unknown[0] == 0x55); /* nothing beyond the size that was said */                  \
        T##_init(&it.known, sizeof it);                                                            \
        CHECK(it.unknown[0] == 0 && it.unknown[sizeof it.unknown - 1] == 0);                       \
        EXPECT(usual, use_##T(&it.known));                                                         \
        CHECK(it.known.struct_size == sizeof it);                                                  \
        for (i = 0; i < sizeof it.unknown; i += sizeof it.unknown - 1) {                           \
            it.unknown[i] = 1;                                                                     \
            EXPECT(way_of_##T == READ ? HOTSTUFF_E_UNSUPPORTED : usual, use_##T(&it.known));       \
            CHECK(it.unknown[i] == (way_of_##T == READ)); /* what is filled is filled with zero */ \
            it.unknown[i] = 0;                                                                     \
        }                                                                                          \
    } while (0)

#include "nulls_written.h"

/* ---- the stages ---- */

static atomic_int proposed, validated, received, told;

/* Half an answer is no answer, and some of these set a part: nothing is proposed here. */
static int32_t propose_nulls(node *self, const hotstuff_propose_block_request *request,
                             hotstuff_updates *updates)
{
    if (proposed++ > 0)
        return honest_propose(self, request, updates);
    some_propose_block_request = request;
    some_updates = updates;
    nulls_in_propose_block();
    return HOTSTUFF_PROPOSE_DEFER;
}

static int32_t validate_nulls(node *self, const hotstuff_validate_block_request *request,
                              hotstuff_updates *updates)
{
    if (validated++ == 0) {
        some_validate_block_request = request;
        nulls_in_validate_block();
    }
    return honest_validate(self, request, updates);
}

static int32_t receive_nulls(void *userdata, uint32_t timeout_ms, hotstuff_inbox *inbox)
{
    (void)userdata, (void)timeout_ms;
    if (received++ == 0) {
        some_inbox = inbox;
        nulls_in_receive();
    }
    return HOTSTUFF_E_TIMEOUT;
}

static void tell_nulls(void *userdata, const hotstuff_event *event)
{
    (void)userdata;
    if (told++ == 0) {
        some_event = event;
        nulls_in_on_event();
    }
}

static void make_objects(node *nodes)
{
    hotstuff_block_tree *tree = NULL;
    some_validator_address = nodes[0].address;
    OK(hotstuff_keypair_generate(&some_keypair));
    OK(hotstuff_keypair_to_pkcs8(some_keypair, &some_buffer));
    OK(hotstuff_validator_set_new(&some_validator_set));
    OK(hotstuff_validator_set_put(some_validator_set, &some_validator_address, 1));
    some_config = node_config(&nodes[0]);
    OK(hotstuff_config_set_create(some_config, false));
    OK(hotstuff_config_set_data_dir(some_config, "/nonexistent/hotstuff"));
    OK(hotstuff_tcp_config_new(&some_tcp_config));
    some_network = node_network(&nodes[0]);
    EXPECT(HOTSTUFF_E_STATE, hotstuff_replica_start(nodes[0].replica, &some_error));
    CHECK(some_error != NULL);
    some_replica = nodes[0].replica;
    OK(hotstuff_replica_next_committed(some_replica, 0, 60000, &some_block));
    OK(hotstuff_replica_snapshot(some_replica, &tree));
    some_block_tree = tree;
    OK(hotstuff_block_tree_iter(tree, 1, &some_block_iter));
    hotstuff_app_callbacks_init(&some_app_callbacks, sizeof some_app_callbacks);
    some_app_callbacks.propose_block = node_propose;
    some_app_callbacks.validate_block = node_validate;
    hotstuff_network_callbacks_init(&some_network_callbacks, sizeof some_network_callbacks);
    some_network_callbacks.send = node_send;
    hotstuff_event_callbacks_init(&some_event_callbacks, sizeof some_event_callbacks);
    some_event_callbacks.on_event = node_event;
    hotstuff_signer_callbacks_init(&some_signer_callbacks, sizeof some_signer_callbacks);
    some_signer_callbacks.sign = sign_nothing;
    hotstuff_pacemaker_callbacks_init(&some_pacemaker_callbacks, sizeof some_pacemaker_callbacks);
}

static void free_objects(void)
{
    hotstuff_error_free(some_error);
    hotstuff_buffer_free(some_buffer);
    hotstuff_keypair_free(some_keypair);
    hotstuff_validator_set_free(some_validator_set);
    hotstuff_config_free(some_config);
    hotstuff_tcp_config_free(some_tcp_config);
    hotstuff_network_free(some_network);
    hotstuff_block_tree_free(some_block_tree);
    hotstuff_block_iter_free(some_block_iter);
    hotstuff_block_free(some_block);
}

static void in_propose_validate_events_and_outside(void)
{
    node nodes[NODES_MAX];
    hotstuff_event_callbacks events;
    size_t i;

    nodes_init(nodes, NODES_MAX);
    hotstuff_event_callbacks_init(&events, sizeof events);
    events.on_event = tell_nulls;
    for (i = 0; i < NODES_MAX; i++) {
        nodes[i].propose = propose_nulls;
        nodes[i].validate = validate_nulls;
        node_open(&nodes[i], node_config(&nodes[i]), NULL);
    }
    OK(hotstuff_replica_set_events(nodes[0].replica, &events));
    for (i = 0; i < NODES_MAX; i++)
        node_start(&nodes[i]);
    make_objects(nodes);
    nulls_outside_callbacks();
    structs_of_every_size();
    EVENTUALLY(proposed > 0 && validated > 0 && told > 0);
    nodes_stop(nodes, NODES_MAX);
    free_objects();
    nodes_done(nodes, NODES_MAX);
}

static void in_receive(void)
{
    node self;
    hotstuff_network_callbacks table;
    hotstuff_network *network = NULL;

    nodes_init(&self, 1);
    hotstuff_network_callbacks_init(&table, sizeof table);
    table.userdata = &self;
    table.send = node_send;
    table.receive = receive_nulls;
    OK(hotstuff_network_from_callbacks(&table, &network));
    some_validator_address = self.address;
    node_open(&self, node_config(&self), network);
    node_start(&self);
    EVENTUALLY(received > 0);
    nodes_stop(&self, 1);
    nodes_done(&self, 1);
}

int main(void)
{
    in_propose_validate_events_and_outside();
    in_receive();
    return checks_done("nulls");
}
