/* What a host may put in place of the library's own: the pacemaker and the signer; and the counters
 * as text. (A signer that signs well is in src/ffi/signer.rs: C has no Ed25519.) */
#include "node.h"

/* ---- the pacemaker -------------------------------------------------------------------------- */

struct pace {
    atomic_int waits, leaders, destroyed, wrong;
    _Atomic(node *) nodes;
    atomic_int answer; /* of view_leader */
    atomic_size_t beyond;
    atomic_int reenters;
};

static uint64_t wait_timeout(void *userdata, const hotstuff_validator_set *validators,
                             uint64_t highest_qc_view, uint64_t highest_commit_view,
                             uint64_t cur_view)
{
    struct pace *pace = userdata;
    pace->waits++;
    pace->wrong += hotstuff_validator_set_len(validators) != 2;
    pace->wrong += highest_commit_view > highest_qc_view || highest_qc_view > cur_view;
    return 500;
}

/** Each leads two views in a row. */
static int32_t view_leader(void *userdata, const hotstuff_validator_set *validators,
                           uint64_t cur_view, size_t *leader_index)
{
    struct pace *pace = userdata;
    node *nodes = pace->nodes;
    hotstuff_validator_address address;
    uint64_t power = 0;
    pace->leaders++;
    pace->wrong += hotstuff_validator_set_at(validators, 1, &address, &power) != HOTSTUFF_OK;
    pace->wrong += power != 1;
    if (nodes != NULL && nodes[0].replica != NULL && pace->reenters++ < 4) {
        pace->wrong += hotstuff_replica_stop(nodes[0].replica, 0) != HOTSTUFF_E_REENTRANT;
    }
    *leader_index = (size_t)(cur_view / 2 % 2) + pace->beyond;
    return pace->answer;
}

static void pace_destroy(void *userdata) { ((struct pace *)userdata)->destroyed++; }

static void pace_table(struct pace *pace, hotstuff_pacemaker_callbacks *table)
{
    hotstuff_pacemaker_callbacks_init(table, sizeof *table);
    table->userdata = pace;
    table->destroy = pace_destroy;
    table->wait_timeout = wait_timeout;
    table->view_leader = view_leader;
}

static atomic_int wrong_leaders, views_seen;
static hotstuff_validator_address sorted[2];

static void on_view(void *userdata, const hotstuff_event *event)
{
    hotstuff_validator_address leader;
    node_event(userdata, event);
    if (hotstuff_event_kind(event) != HOTSTUFF_EVENT_START_VIEW)
        return;
    wrong_leaders += !hotstuff_event_peer(event, &leader);
    wrong_leaders += memcmp(&leader, &sorted[hotstuff_event_view(event) / 2 % 2],
                            sizeof leader) != 0;
    views_seen++;
}

static void sort_addresses(const node *nodes)
{
    const int first = memcmp(&nodes[0].address, &nodes[1].address, sizeof nodes[0].address) < 0;
    sorted[0] = nodes[first ? 0 : 1].address;
    sorted[1] = nodes[first ? 1 : 0].address;
}

static void a_pacemaker_of_ones_own(void)
{
    node nodes[2];
    struct pace pace = {0};
    hotstuff_pacemaker_callbacks table;
    hotstuff_config *first = NULL;
    size_t i;
    nodes_init(nodes, 2);
    sort_addresses(nodes);
    pace_table(&pace, &table);
    for (i = 0; i < 2; i++) {
        hotstuff_event_callbacks events;
        hotstuff_config *cfg = node_config(&nodes[i]);
        if (i == 0) { /* one table for both: the second config is the first's, with another key */
            OK(hotstuff_config_set_pacemaker(cfg, &table));
            first = cfg;
        } else {
            hotstuff_config_free(cfg);
            OK(hotstuff_config_set_keypair(first, nodes[1].key));
            OK(hotstuff_config_set_data_dir(first, nodes[1].dir));
        }
        {
            hotstuff_app_callbacks app;
            hotstuff_replica *replica = NULL;
            node_app(&nodes[i], &app);
            OK(hotstuff_replica_open(first, &app, node_network(&nodes[i]), &replica, NULL));
            nodes[i].replica = replica;
        }
        hotstuff_event_callbacks_init(&events, sizeof events);
        events.userdata = &nodes[i];
        events.destroy = node_events_destroy;
        events.on_event = on_view;
        OK(hotstuff_replica_set_events(nodes[i].replica, &events));
    }
    hotstuff_config_free(first);
    CHECK(pace.destroyed == 0);
    for (i = 0; i < 2; i++)
        node_start(&nodes[i]);
    for (i = 0; i < 2; i++)
        OK(hotstuff_replica_wait_committed(nodes[i].replica, 20, 20000));
    EVENTUALLY(views_seen > 40);
    CHECK(wrong_leaders == 0 && pace.wrong == 0);
    CHECK(pace.waits > 0 && pace.leaders > 0);
    for (i = 0; i < 2; i++)
        OK(hotstuff_replica_stop(nodes[i].replica, 20000));
    hotstuff_replica_free(nodes[0].replica);
    CHECK(pace.destroyed == 0);
    hotstuff_replica_free(nodes[1].replica);
    CHECK(pace.destroyed == 1);
    nodes_done(nodes, 2);
}

/** What is NULL is the library's own; and a table that is replaced is destroyed. */
static void callbacks_may_be_missing(void)
{
    node self;
    struct pace pace = {0};
    hotstuff_pacemaker_callbacks table;
    hotstuff_config *cfg;
    nodes_init(&self, 1);
    cfg = node_config(&self);
    pace_table(&pace, &table);
    table.wait_timeout = NULL; /* the library's own */
    table.view_leader = NULL;
    OK(hotstuff_config_set_pacemaker(cfg, &table));
    OK(hotstuff_config_set_pacemaker(cfg, &table)); /* the first is destroyed: nobody has it */
    CHECK(pace.destroyed == 1);
    node_open(&self, cfg, NULL);
    node_start(&self);
    OK(hotstuff_replica_wait_committed(self.replica, 3, 20000));
    CHECK(pace.waits == 0 && pace.leaders == 0);
    nodes_stop(&self, 1);
    CHECK(pace.destroyed == 2);
    nodes_done(&self, 1);
}

/** A leader that is none halts the replica, which says why, and has said nothing by it. */
static void a_pacemaker_that_answers_rubbish(int32_t answer, size_t beyond, const char *words)
{
    node nodes[2];
    struct pace pace = {0};
    hotstuff_pacemaker_callbacks table;
    hotstuff_config *cfg;
    hotstuff_error *err = NULL;
    hotstuff_replica_info info;
    nodes_init(nodes, 2);
    cfg = node_config(&nodes[0]);
    pace.answer = answer;
    pace.beyond = beyond;
    pace.nodes = nodes;
    pace_table(&pace, &table);
    OK(hotstuff_config_set_pacemaker(cfg, &table));
    node_open(&nodes[0], cfg, NULL);
    node_listen(&nodes[0]);
    node_start(&nodes[0]);
    EXPECT_ERROR(HOTSTUFF_E_HALTED, words, err,
                 hotstuff_replica_wait(nodes[0].replica, 20000, &err));
    CHECK(nodes[0].sent == 0 && pace.wrong == 0 && pace.reenters > 0);
    hotstuff_replica_info_init(&info, sizeof info);
    OK(hotstuff_replica_get_info(nodes[0].replica, &info));
    CHECK(info.halted == 1);
    EVENTUALLY(nodes[0].events[HOTSTUFF_EVENT_FATAL] == 1);
    EXPECT(HOTSTUFF_E_HALTED, hotstuff_replica_notify(nodes[0].replica));
    OK(hotstuff_replica_stop(nodes[0].replica, 20000));
    hotstuff_replica_free(nodes[0].replica);
    CHECK(pace.destroyed == 1);
    nodes_done(nodes, 2);
}

/* ---- the signer ----------------------------------------------------------------------------- */

struct hsm {
    atomic_int asked, destroyed, wrong;
    int32_t answer;
};

static int32_t sign(void *userdata, const uint8_t *message, size_t len, hotstuff_signature *out)
{
    struct hsm *hsm = userdata;
    hsm->asked++;
    hsm->wrong += message == NULL || len != 32;
    memset(out, 7, sizeof *out);
    return hsm->answer;
}

static void hsm_destroy(void *userdata) { ((struct hsm *)userdata)->destroyed++; }

static atomic_int signer_warnings;
static const char *expected_warning;

static void on_warning(void *userdata, const hotstuff_event *event)
{
    node_event(userdata, event);
    if (hotstuff_event_kind(event) == HOTSTUFF_EVENT_WARNING) {
        CHECK(strstr(hotstuff_event_message(event), "the signer did not sign") != NULL);
        CHECK(strstr(hotstuff_event_message(event), expected_warning) != NULL);
        signer_warnings++;
    }
}

/** A signer that does not sign costs views, and nothing else: no vote, no spinning, no halt. It is
 * asked once for the proposal, and once for each time-out of 50 ms. */
static void a_signer_that_does_not_sign(int32_t answer, const char *words)
{
    node self;
    struct hsm hsm = {.answer = answer};
    hotstuff_signer_callbacks table;
    hotstuff_event_callbacks events;
    hotstuff_config *cfg;
    hotstuff_replica_info info;
    struct timespec began, ended;
    nodes_init(&self, 1);
    cfg = node_config(&self);
    hotstuff_signer_callbacks_init(&table, sizeof table);
    table.userdata = &hsm;
    table.destroy = hsm_destroy;
    table.sign = sign;
    OK(hotstuff_config_set_view_timeout_ms(cfg, 50, 50));
    OK(hotstuff_config_set_signer(cfg, &self.address, &table));
    node_open(&self, cfg, NULL);
    hotstuff_event_callbacks_init(&events, sizeof events);
    events.userdata = &self;
    events.destroy = node_events_destroy;
    events.on_event = on_warning;
    OK(hotstuff_replica_set_events(self.replica, &events));
    signer_warnings = 0;
    expected_warning = words;
    clock_gettime(CLOCK_MONOTONIC, &began);
    node_start(&self);
    EVENTUALLY(signer_warnings >= 5);
    hotstuff_replica_info_init(&info, sizeof info);
    OK(hotstuff_replica_get_info(self.replica, &info));
    CHECK(info.committed_height == 0 && info.halted == 0 && info.silenced == 0);
    CHECK(info.role == HOTSTUFF_ROLE_VALIDATOR && info.view == 1);
    OK(hotstuff_replica_stop(self.replica, 20000));
    clock_gettime(CLOCK_MONOTONIC, &ended);
    CHECK(hsm.asked >= 5 && hsm.wrong == 0 && hsm.destroyed == 0);
    CHECK(hsm.asked <= 3 + (ended.tv_sec - began.tv_sec + 1) * 1000 / 50);
    CHECK(signer_warnings == hsm.asked); /* each is told, and it does not ask again by itself */
    hotstuff_replica_free(self.replica);
    CHECK(hsm.destroyed == 1);
    nodes_done(&self, 1);
}

static void the_later_of_key_and_signer_stands(void)
{
    node self;
    struct hsm hsm = {.answer = HOTSTUFF_E_CALLBACK};
    hotstuff_signer_callbacks table;
    hotstuff_config *cfg;
    nodes_init(&self, 1);
    cfg = node_config(&self);
    hotstuff_signer_callbacks_init(&table, sizeof table);
    table.userdata = &hsm;
    table.destroy = hsm_destroy;
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_signer(cfg, &self.address, &table));
    table.sign = sign;
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_signer(NULL, &self.address, &table));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_signer(cfg, NULL, &table));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_signer(cfg, &self.address, NULL));
    CHECK(hsm.destroyed == 0); /* it was not taken over */
    OK(hotstuff_config_set_signer(cfg, &self.address, &table));
    OK(hotstuff_config_set_keypair(cfg, self.key));
    CHECK(hsm.destroyed == 1);
    node_open(&self, cfg, NULL);
    node_start(&self);
    OK(hotstuff_replica_wait_committed(self.replica, 3, 20000));
    nodes_stop(&self, 1);
    CHECK(hsm.asked == 0 && hsm.destroyed == 1);
    nodes_done(&self, 1);
}

/* ---- tables, as any table ------------------------------------------------------------------- */

static void tables_are_judged(void)
{
    union {
        hotstuff_pacemaker_callbacks pacemaker;
        hotstuff_signer_callbacks signer;
        uint8_t bytes[256];
    } it;
    hotstuff_config *cfg = NULL;
    hotstuff_validator_address key = {{1}};
    OK(hotstuff_config_new(&cfg));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_pacemaker(NULL, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_config_set_pacemaker(cfg, NULL));
    memset(&it, 0, sizeof it);
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_pacemaker(cfg, &it.pacemaker));
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_config_set_signer(cfg, &key, &it.signer));
    hotstuff_pacemaker_callbacks_init(NULL, sizeof it);
    hotstuff_pacemaker_callbacks_init(&it.pacemaker, sizeof it); /* of a newer header */
    OK(hotstuff_config_set_pacemaker(cfg, &it.pacemaker));
    it.bytes[sizeof it - 1] = 1;
    EXPECT(HOTSTUFF_E_UNSUPPORTED, hotstuff_config_set_pacemaker(cfg, &it.pacemaker));
    hotstuff_signer_callbacks_init(NULL, sizeof it);
    hotstuff_signer_callbacks_init(&it.signer, sizeof it);
    it.signer.sign = sign;
    OK(hotstuff_config_set_signer(cfg, &key, &it.signer));
    it.bytes[sizeof it - 1] = 1;
    EXPECT(HOTSTUFF_E_UNSUPPORTED, hotstuff_config_set_signer(cfg, &key, &it.signer));
    hotstuff_config_free(cfg);
}

/* ---- the counters as text, and the budget of a proposal ------------------------------------- */

static atomic_int budgets, wrong_budgets;

static int32_t propose_in_time(node *self, const hotstuff_propose_block_request *request,
                               hotstuff_updates *updates)
{
    const uint32_t budget_ms = hotstuff_propose_block_request_budget_ms(request);
    budgets++;
    wrong_budgets += budget_ms == 0 || budget_ms > 5000 + 100; /* of node_config(), and max_idle */
    return honest_propose(self, request, updates);
}

static int has_line(const hotstuff_bytes *text, const char *line)
{
    return memmem(text->data, text->len, line, strlen(line)) != NULL;
}

static void the_counters_are_text(void)
{
    node self;
    hotstuff_buffer *buffer = NULL;
    hotstuff_bytes text;
    nodes_init(&self, 1);
    self.propose = propose_in_time;
    node_open(&self, node_config(&self), NULL);
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_metrics_text(NULL, &buffer));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_metrics_text(self.replica, NULL));
    node_start(&self);
    OK(hotstuff_replica_wait_committed(self.replica, 3, 20000));
    OK(hotstuff_replica_stop(self.replica, 20000));
    OK(hotstuff_replica_metrics_text(self.replica, &buffer));
    hotstuff_buffer_get(buffer, &text);
    CHECK(text.len > 0 && text.data[text.len - 1] == '\n');
    CHECK(has_line(&text, "# TYPE hotstuff_committed_height gauge\nhotstuff_committed_height "));
    CHECK(has_line(&text, "# TYPE hotstuff_votes_total counter\nhotstuff_votes_total "));
    CHECK(has_line(&text, "\nhotstuff_validator 1\n") && has_line(&text, "\nhotstuff_epoch 0\n"));
    hotstuff_buffer_free(buffer);
    CHECK(budgets > 0 && wrong_budgets == 0);
    CHECK(hotstuff_propose_block_request_budget_ms(NULL) == 0);
    nodes_stop(&self, 1);
    nodes_done(&self, 1);
}

int main(void)
{
    a_pacemaker_of_ones_own();
    callbacks_may_be_missing();
    a_pacemaker_that_answers_rubbish(HOTSTUFF_OK, 2, "expected 0 (HOTSTUFF_OK) with 0 to 1");
    a_pacemaker_that_answers_rubbish(HOTSTUFF_OK, (size_t)-2, "the pacemaker's view_leader");
    a_pacemaker_that_answers_rubbish(HOTSTUFF_E_CALLBACK, 0, "has returned -21");
    a_signer_that_does_not_sign(HOTSTUFF_E_CALLBACK, "sign() has returned -21");
    a_signer_that_does_not_sign(1, "sign() has returned 1");
    a_signer_that_does_not_sign(HOTSTUFF_OK, "no signature of");
    the_later_of_key_and_signer_stands();
    tables_are_judged();
    the_counters_are_text();
    return checks_done("host");
}
