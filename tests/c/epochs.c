/* Validators that come and go while the chain runs, through the C door. */
#include "changes.h"

static atomic_int wrong_events;

static void on_event(void *userdata, const hotstuff_event *event)
{
    node *self = userdata;
    if (hotstuff_event_kind(event) == HOTSTUFF_EVENT_VALIDATORS_CHANGED) {
        uint64_t epoch = (uint64_t)self->events[HOTSTUFF_EVENT_VALIDATORS_CHANGED] + 1;
        hotstuff_hash block;
        wrong_events += hotstuff_event_epoch(event) != epoch;
        wrong_events += !hotstuff_event_block(event, &block);
    }
    node_event(userdata, event);
}

static void start(node *self)
{
    hotstuff_event_callbacks table;
    self->propose = changing_propose;
    self->validate = changing_validate;
    self->app_destroyed = self->network_destroyed = self->events_destroyed = 0;
    node_open(self, changing_config(self), NULL);
    hotstuff_event_callbacks_init(&table, sizeof table);
    table.userdata = self;
    table.destroy = node_events_destroy;
    table.on_event = on_event;
    OK(hotstuff_replica_set_events(self->replica, &table));
    node_start(self);
}

static hotstuff_replica_info info_of(const node *self)
{
    hotstuff_replica_info info;
    hotstuff_replica_info_init(&info, sizeof info);
    OK(hotstuff_replica_get_info(self->replica, &info));
    return info;
}

static uint64_t votes_of(const node *self)
{
    hotstuff_metrics metrics;
    hotstuff_metrics_init(&metrics, sizeof metrics);
    OK(hotstuff_replica_metrics(self->replica, &metrics));
    return metrics.votes;
}

static void check_epoch(const hotstuff_block_tree *tree, uint64_t epoch, size_t len, uint64_t power)
{
    hotstuff_validator_set *set = NULL;
    OK(hotstuff_block_tree_validators_of(tree, epoch, &set));
    CHECK(hotstuff_validator_set_len(set) == len);
    CHECK(hotstuff_validator_set_total_power(set) == power);
    hotstuff_validator_set_free(set);
}

/** All that is known of the three epochs, whoever is asked. */
static void check_epochs(const node *self)
{
    hotstuff_block_tree *tree = NULL;
    hotstuff_validator_set *set = NULL;
    hotstuff_buffer *qc = NULL;
    uint64_t epoch;
    OK(hotstuff_replica_snapshot(self->replica, &tree));
    check_epoch(tree, 0, 3, 3);
    check_epoch(tree, 1, 4, 5);
    check_epoch(tree, 2, 3, 4);
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_block_tree_validators_of(tree, 3, &set));
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_block_tree_validators_of(tree, UINT64_MAX, &set));
    OK(hotstuff_block_tree_validators(tree, &set));
    CHECK(hotstuff_validator_set_len(set) == 3);
    hotstuff_validator_set_free(set);
    for (epoch = 1; epoch <= 2; epoch++) {
        hotstuff_bytes bytes;
        OK(hotstuff_block_tree_commit_qc_of(tree, epoch, &qc));
        hotstuff_buffer_get(qc, &bytes);
        CHECK(bytes.len > 2 * 64); /* at least two signatures */
        hotstuff_buffer_free(qc);
    }
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_block_tree_commit_qc_of(tree, 0, &qc));
    EXPECT(HOTSTUFF_E_NOT_FOUND, hotstuff_block_tree_commit_qc_of(tree, 3, &qc));
    hotstuff_block_tree_free(tree);
}

static void one_joins_and_one_leaves(void)
{
    node nodes[NODES];
    size_t i;

    nodes_init(nodes, NODES);
    for (i = 0; i < NODES; i++)
        start(&nodes[i]);
    for (i = 0; i < NODES; i++)
        EVENTUALLY(nodes[i].events[HOTSTUFF_EVENT_VALIDATORS_CHANGED] == 2);
    EVENTUALLY(votes_of(&nodes[3]) > 0);
    for (i = 0; i < NODES; i++) {
        uint64_t height = info_of(&nodes[i]).committed_height;
        OK(hotstuff_replica_wait_committed(nodes[i].replica, height + 3, 20000));
        CHECK(info_of(&nodes[i]).epoch == 2);
        CHECK(info_of(&nodes[i]).role ==
              (i == 0 ? HOTSTUFF_ROLE_LISTENER : HOTSTUFF_ROLE_VALIDATOR));
        check_epochs(&nodes[i]);
    }
    CHECK(wrong_events == 0);
    nodes_stop(nodes, NODES);

    /* What is on disk is where they go on. */
    for (i = 0; i < NODES; i++) {
        start(&nodes[i]);
        CHECK(info_of(&nodes[i]).epoch == 2);
    }
    for (i = 0; i < NODES; i++) {
        uint64_t height = info_of(&nodes[i]).committed_height;
        OK(hotstuff_replica_wait_committed(nodes[i].replica, height + 3, 20000));
        check_epochs(&nodes[i]);
    }
    nodes_stop(nodes, NODES);
    nodes_done(nodes, NODES);
}

int main(void)
{
    one_joins_and_one_leaves();
    return checks_done("epochs");
}
