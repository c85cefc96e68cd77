/* Evidence: found, told, kept over a restart, read and verified. The messages that make it are in
 * evidence.h, which tests/c_harness.rs writes. */
#include "evidence.h"
#include "node.h"

static hotstuff_hash genesis;
static hotstuff_validator_set *validators;
static atomic_int convicted;

static void set_up(node *nodes)
{
    hotstuff_config *cfg;
    nodes_init(nodes, 2);
    cfg = node_config(&nodes[0]);
    OK(hotstuff_config_genesis_hash(cfg, &genesis));
    hotstuff_config_free(cfg);
    OK(hotstuff_validator_set_new(&validators));
    OK(hotstuff_validator_set_put(validators, &nodes[0].address, 1));
    OK(hotstuff_validator_set_put(validators, &nodes[1].address, 1));
}

static void check_evidence(const node *nodes, hotstuff_bytes bytes)
{
    hotstuff_validator_address offender = {{0}};
    hotstuff_evidence_info info;
    hotstuff_evidence_info_init(&info, sizeof info);
    OK(hotstuff_evidence_read(bytes.data, bytes.len, &info));
    CHECK(info.struct_size == sizeof info && info.kind == HOTSTUFF_EVIDENCE_DOUBLE_VOTE);
    CHECK(info.epoch == 0 && info.view == 3 && info.vote_view == 3);
    CHECK(memcmp(&info.validator, &nodes[1].address, sizeof info.validator) == 0);
    OK(hotstuff_verify_evidence(&genesis, validators, bytes.data, bytes.len, &offender));
    CHECK(memcmp(&offender, &nodes[1].address, sizeof offender) == 0);
    OK(hotstuff_verify_evidence(&genesis, validators, bytes.data, bytes.len, NULL));
    CHECK(bytes.len == sizeof EVIDENCE && memcmp(bytes.data, EVIDENCE, bytes.len) == 0);
}

static void on_event(void *userdata, const hotstuff_event *event)
{
    const node *nodes = userdata;
    hotstuff_validator_address peer;
    hotstuff_bytes bytes = {EVIDENCE, 1};
    hotstuff_event_evidence(event, NULL);
    hotstuff_event_evidence(event, &bytes);
    if (hotstuff_event_kind(event) != HOTSTUFF_EVENT_EVIDENCE) {
        CHECK(bytes.data == NULL && bytes.len == 0);
        return;
    }
    CHECK(hotstuff_event_epoch(event) == 0 && hotstuff_event_view(event) == 3);
    CHECK(hotstuff_event_count(event) == HOTSTUFF_EVIDENCE_DOUBLE_VOTE);
    CHECK(hotstuff_event_peer(event, &peer));
    CHECK(memcmp(&peer, &nodes[1].address, sizeof peer) == 0);
    CHECK(strstr(hotstuff_event_message(event), "double vote") != NULL);
    check_evidence(nodes, bytes);
    convicted++;
}

static hotstuff_metrics metrics_of(const node *self)
{
    hotstuff_metrics metrics;
    hotstuff_metrics_init(&metrics, sizeof metrics);
    OK(hotstuff_replica_metrics(self->replica, &metrics));
    return metrics;
}

static void listen_and_start(node *nodes)
{
    hotstuff_event_callbacks table;
    hotstuff_event_callbacks_init(&table, sizeof table);
    table.userdata = nodes;
    table.on_event = on_event;
    OK(hotstuff_replica_set_events(nodes[0].replica, &table));
    node_start(&nodes[0]);
}

static void deliver(const node *nodes, const uint8_t *message, size_t len)
{
    OK(hotstuff_replica_deliver(nodes[0].replica, &nodes[1].address, message, len));
}

static void check_kept(const node *nodes)
{
    hotstuff_buffer *buffer = NULL;
    hotstuff_bytes bytes;
    OK(hotstuff_replica_evidence_at(nodes[0].replica, 0, &buffer));
    hotstuff_buffer_get(buffer, &bytes);
    check_evidence(nodes, bytes);
    hotstuff_buffer_free(buffer);
    EXPECT(HOTSTUFF_E_DONE, hotstuff_replica_evidence_at(nodes[0].replica, 1, &buffer));
    CHECK(buffer == NULL);
    EXPECT(HOTSTUFF_E_DONE, hotstuff_replica_evidence_at(nodes[0].replica, SIZE_MAX, &buffer));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_evidence_at(NULL, 0, &buffer));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_evidence_at(nodes[0].replica, 0, NULL));
}

/* Another replica of the same two runs nowhere: its votes come from evidence.h. */
static void two_votes_are_found_told_once_and_kept(void)
{
    node nodes[2];
    hotstuff_buffer *buffer = NULL;
    set_up(nodes);
    node_open(&nodes[0], node_config(&nodes[0]), NULL);
    EXPECT(HOTSTUFF_E_DONE, hotstuff_replica_evidence_at(nodes[0].replica, 0, &buffer));
    listen_and_start(nodes);
    deliver(nodes, FIRST_VOTE, sizeof FIRST_VOTE);
    deliver(nodes, SECOND_VOTE, sizeof SECOND_VOTE);
    EVENTUALLY(convicted == 1);
    CHECK(metrics_of(&nodes[0]).evidence_found == 1);
    check_kept(nodes);
    nodes_stop(nodes, 1);
    nodes[0].app_destroyed = nodes[0].network_destroyed = 0; /* it is opened again */

    node_open(&nodes[0], node_config(&nodes[0]), NULL);
    check_kept(nodes);
    listen_and_start(nodes);
    deliver(nodes, FIRST_VOTE, sizeof FIRST_VOTE);
    deliver(nodes, SECOND_VOTE, sizeof SECOND_VOTE);
    EVENTUALLY(metrics_of(&nodes[0]).messages_rejected == 1); /* the second is on its way */
    nodes[0].sent = 0;
    EVENTUALLY(nodes[0].sent > 1); /* whoever has timed out since has taken it in before */
    CHECK(convicted == 1 && metrics_of(&nodes[0]).evidence_found == 0);
    check_kept(nodes);
    nodes_stop(nodes, 1);
    hotstuff_validator_set_free(validators);
    nodes_done(nodes, 2);
}

static void nothing_else_convicts(void)
{
    node nodes[2];
    uint8_t bytes[sizeof EVIDENCE + 1];
    hotstuff_hash other = {{7}};
    hotstuff_validator_address offender = {{5}};
    hotstuff_validator_set *nobody = NULL;
    hotstuff_evidence_info info;
    size_t i;

    set_up(nodes);
    hotstuff_evidence_info_init(&info, sizeof info);
    memcpy(bytes, EVIDENCE, sizeof EVIDENCE);
    bytes[sizeof EVIDENCE] = 0;
    for (i = 0; i < sizeof EVIDENCE; i++) {
        bytes[i] ^= 0x10;
        CHECK(hotstuff_verify_evidence(&genesis, validators, bytes, sizeof EVIDENCE, &offender) <
              0);
        EXPECT(HOTSTUFF_E_DECODE, hotstuff_evidence_read(bytes, i, &info));
        bytes[i] ^= 0x10;
    }
    CHECK(offender.bytes[0] == 5); /* nobody was convicted */
    EXPECT(HOTSTUFF_E_DECODE, hotstuff_evidence_read(bytes, sizeof bytes, &info));
    EXPECT(HOTSTUFF_E_BAD_SIGNATURE,
           hotstuff_verify_evidence(&other, validators, EVIDENCE, sizeof EVIDENCE, NULL));
    OK(hotstuff_validator_set_new(&nobody));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT,
           hotstuff_verify_evidence(&genesis, nobody, EVIDENCE, sizeof EVIDENCE, NULL));
    OK(hotstuff_validator_set_put(nobody, &nodes[0].address, 1));
    EXPECT(HOTSTUFF_E_NOT_FOUND,
           hotstuff_verify_evidence(&genesis, nobody, EVIDENCE, sizeof EVIDENCE, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_verify_evidence(NULL, nobody, EVIDENCE, 1, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_verify_evidence(&genesis, NULL, EVIDENCE, 1, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_verify_evidence(&genesis, nobody, NULL, 1, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_evidence_read(NULL, 1, &info));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_evidence_read(EVIDENCE, sizeof EVIDENCE, NULL));
    memset(&info, 0, sizeof info);
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_evidence_read(EVIDENCE, sizeof EVIDENCE, &info));
    hotstuff_validator_set_free(nobody);
    hotstuff_validator_set_free(validators);
    nodes_done(nodes, 2);
}

int main(void)
{
    two_votes_are_found_told_once_and_kept();
    nothing_else_convicts();
    return checks_done("evidence");
}
