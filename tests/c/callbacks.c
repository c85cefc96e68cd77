/* Replicas misused: calls out of order, callbacks that return rubbish, are slow, or call back. */
#include "node.h"

static void calls_out_of_order(void)
{
    node self;
    hotstuff_block *block = NULL;
    hotstuff_block_tree *tree = NULL;
    hotstuff_error *err = NULL;
    hotstuff_event_callbacks events;
    hotstuff_replica_info info;

    nodes_init(&self, 1);
    hotstuff_replica_info_init(&info, sizeof info);
    hotstuff_event_callbacks_init(&events, sizeof events);
    events.userdata = &self;
    events.destroy = node_events_destroy;

    node_open(&self, node_config(&self), NULL);
    OK(hotstuff_replica_notify(self.replica)); /* remembered */
    EXPECT(HOTSTUFF_E_CLOSED,
           hotstuff_replica_deliver(self.replica, &self.address, (const uint8_t *)"x", 1));
    EXPECT(HOTSTUFF_E_TIMEOUT, hotstuff_replica_next_committed(self.replica, 0, 10, &block));
    EXPECT(HOTSTUFF_E_TIMEOUT, hotstuff_replica_wait_committed(self.replica, 1, 10));
    OK(hotstuff_replica_wait_committed(self.replica, 0, 10));
    EXPECT_ERROR(HOTSTUFF_E_TIMEOUT, "timed out", err,
                 hotstuff_replica_wait(self.replica, 10, &err));
    OK(hotstuff_replica_get_info(self.replica, &info));
    CHECK(info.committed_height == 0);
    OK(hotstuff_replica_snapshot(self.replica, &tree));
    hotstuff_block_tree_free(tree);

    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_set_events(self.replica, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_set_events(self.replica, &events));
    events.on_event = node_event;
    OK(hotstuff_replica_set_events(self.replica, &events));
    EXPECT(HOTSTUFF_E_STATE, hotstuff_replica_set_events(self.replica, &events));
    node_start(&self);
    EXPECT(HOTSTUFF_E_STATE, hotstuff_replica_set_events(self.replica, &events));
    EXPECT_ERROR(HOTSTUFF_E_STATE, "start", err, hotstuff_replica_start(self.replica, &err));
    EXPECT(HOTSTUFF_E_TIMEOUT, hotstuff_replica_wait(self.replica, 0, NULL));
    OK(hotstuff_replica_stop(self.replica, HOTSTUFF_NO_TIMEOUT));
    OK(hotstuff_replica_stop(self.replica, 0));
    OK(hotstuff_replica_wait(self.replica, 0, NULL));
    EXPECT(HOTSTUFF_E_STATE, hotstuff_replica_start(self.replica, NULL));
    EXPECT(HOTSTUFF_E_CLOSED, hotstuff_replica_notify(self.replica));
    EXPECT(HOTSTUFF_E_CLOSED,
           hotstuff_replica_next_committed(self.replica, 1000000, HOTSTUFF_NO_TIMEOUT, &block));
    OK(hotstuff_replica_snapshot(self.replica, &tree));
    hotstuff_block_tree_free(tree);
    OK(hotstuff_replica_get_info(self.replica, &info));
    hotstuff_replica_free(self.replica);
    CHECK(self.events_destroyed == 1 && self.app_destroyed == 1 && self.network_destroyed == 1);
    self.callbacks_after_destroy = 0;

    node_open(&self, node_config(&self), NULL);
    OK(hotstuff_replica_stop(self.replica, 1000)); /* before the start */
    OK(hotstuff_replica_stop(self.replica, 1000));
    EXPECT(HOTSTUFF_E_STATE, hotstuff_replica_start(self.replica, NULL));
    hotstuff_replica_free(self.replica);
    nodes_done(&self, 1);
}

static void structs_that_are_filled_may_have_any_size(void)
{
    node self;
    struct {
        hotstuff_metrics known;
        uint64_t unknown[4];
    } newer;
    hotstuff_metrics metrics;
    hotstuff_replica_info info;

    nodes_init(&self, 1);
    node_open(&self, node_config(&self), NULL);
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_metrics(self.replica, NULL));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_get_info(self.replica, NULL));
    memset(&metrics, 0, sizeof metrics);
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_replica_metrics(self.replica, &metrics));
    metrics.struct_size = sizeof metrics - 8;
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_replica_metrics(self.replica, &metrics));
    memset(&info, 0xff, sizeof info);
    EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_replica_get_info(self.replica, &info));
    memset(&newer, 0xff, sizeof newer);
    hotstuff_metrics_init(&newer.known, sizeof newer);
    newer.unknown[0] = 1; /* an output: what the library does not know becomes zero */
    OK(hotstuff_replica_metrics(self.replica, &newer.known));
    CHECK(newer.known.struct_size == sizeof newer && newer.unknown[0] == 0);
    hotstuff_replica_free(self.replica);
    nodes_done(&self, 1);
}

/* ---- the app returns rubbish ---- */

static int32_t propose_rubbish(node *self, const hotstuff_propose_block_request *request,
                               hotstuff_updates *updates)
{
    const hotstuff_block_tree *tree = hotstuff_propose_block_request_block_tree(request);
    static uint8_t large[1 << 20] = {1};
    uint8_t long_key[501] = {1};
    hotstuff_validator_address one = {{1}};
    hotstuff_hash hash;

    CHECK(hotstuff_propose_block_request_cur_view(request) > 0);
    hotstuff_propose_block_request_prev_block(request, &hash);
    CHECK(tree != NULL && tree == hotstuff_propose_block_request_block_tree(request));
    switch (self->proposed % 10) {
    case 1:
        return 17;
    case 2:
        return -1000000;
    case 3:
        return HOTSTUFF_OK; /* without data */
    case 4:
        EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_updates_set_data(updates, large, 0));
        OK(hotstuff_updates_set_data(updates, large, 1)); /* too late: one setter has refused */
        return HOTSTUFF_OK;
    case 5:
        OK(hotstuff_updates_set_data(updates, large, sizeof large / 2));
        EXPECT(HOTSTUFF_E_TOO_LARGE, hotstuff_updates_set_data(updates, large, sizeof large));
        return HOTSTUFF_OK;
    case 6:
        OK(hotstuff_updates_set_data(updates, large, 8));
        EXPECT(HOTSTUFF_E_TOO_LARGE, hotstuff_updates_set_state(updates, long_key, 501, NULL, 0));
        return HOTSTUFF_OK;
    case 7:
        OK(hotstuff_updates_set_data(updates, large, 8));
        EXPECT(HOTSTUFF_E_INVALID_ARGUMENT, hotstuff_updates_delete_state(updates, NULL, 0));
        return HOTSTUFF_OK;
    case 8:
        EXPECT(HOTSTUFF_E_NULL, hotstuff_updates_set_data(updates, NULL, 8));
        EXPECT(HOTSTUFF_E_NULL, hotstuff_updates_set_validator(updates, NULL, 1));
        OK(hotstuff_updates_set_validator(updates, &one, 1));
        return HOTSTUFF_OK;
    default:
        return HOTSTUFF_PROPOSE_DEFER;
    }
}

static int32_t validate_rubbish(node *self, const hotstuff_validate_block_request *request,
                                hotstuff_updates *updates)
{
    (void)request, (void)updates;
    return self->validated % 2 ? 77 : -77;
}

static void an_app_that_decides_nothing_holds_up_itself_only(void)
{
    node nodes[NODES_MAX];
    hotstuff_replica_info info;
    size_t i;

    nodes_init(nodes, NODES_MAX);
    nodes[0].validate = validate_rubbish;
    for (i = 0; i < NODES_MAX; i++)
        node_open(&nodes[i], node_config(&nodes[i]), NULL);
    for (i = 0; i < NODES_MAX; i++)
        node_start(&nodes[i]);
    OK(hotstuff_replica_wait_committed(nodes[1].replica, 5, 60000));
    EVENTUALLY(nodes[0].validated >= 2);
    nodes[0].validate = (validate_fn)0;
    hotstuff_replica_info_init(&info, sizeof info);
    OK(hotstuff_replica_get_info(nodes[1].replica, &info));
    OK(hotstuff_replica_wait_committed(nodes[0].replica, info.committed_height, 60000));
    nodes_stop(nodes, NODES_MAX);
    nodes_done(nodes, NODES_MAX);
}

static void a_proposal_of_rubbish_costs_the_view_and_nothing_else(void)
{
    node self;
    hotstuff_config *cfg;
    hotstuff_replica_info info;

    nodes_init(&self, 1);
    cfg = node_config(&self);
    OK(hotstuff_config_set_max_block_bytes(cfg, 1 << 19));
    OK(hotstuff_config_set_view_timeout_ms(cfg, 10, 20));
    OK(hotstuff_config_set_max_idle_ms(cfg, 5));
    self.propose = propose_rubbish;
    node_open(&self, cfg, NULL);
    node_listen(&self);
    node_start(&self);
    EVENTUALLY(self.proposed >= 12);
    EVENTUALLY(self.events[HOTSTUFF_EVENT_APP_FAILED] > 0);
    self.propose = (propose_fn)0;
    hotstuff_replica_info_init(&info, sizeof info);
    OK(hotstuff_replica_get_info(self.replica, &info));
    CHECK(!info.halted);
    OK(hotstuff_replica_wait_committed(self.replica, info.committed_height + 3, 20000));
    nodes_stop(&self, 1);
    nodes_done(&self, 1);
}

/* ---- callbacks call back ---- */

static int32_t propose_and_call(node *self, const hotstuff_propose_block_request *request,
                                hotstuff_updates *updates)
{
    hotstuff_replica *replica = self->replica;
    hotstuff_block *block = NULL;
    hotstuff_block_tree *tree = NULL;
    hotstuff_error *err = NULL;
    hotstuff_replica_info info;
    hotstuff_status status;

    EXPECT(HOTSTUFF_E_REENTRANT, hotstuff_replica_stop(replica, 1000));
    EXPECT(HOTSTUFF_E_REENTRANT, hotstuff_replica_next_committed(replica, 0, 1000, &block));
    EXPECT(HOTSTUFF_E_REENTRANT, hotstuff_replica_wait_committed(replica, 1, 1000));
    EXPECT_ERROR(HOTSTUFF_E_REENTRANT, "callback", err, hotstuff_replica_wait(replica, 1, &err));
    EXPECT(HOTSTUFF_E_STATE, hotstuff_replica_start(replica, NULL));
    status = hotstuff_replica_notify(replica);
    CHECK(status == HOTSTUFF_OK || status == HOTSTUFF_E_CLOSED); /* a stop has begun */
    hotstuff_replica_info_init(&info, sizeof info);
    OK(hotstuff_replica_get_info(replica, &info));
    OK(hotstuff_replica_snapshot(replica, &tree));
    hotstuff_block_tree_free(tree);
    if (self->kept == NULL) {
        hotstuff_block_iter *iter = NULL;
        OK(hotstuff_block_tree_iter(hotstuff_propose_block_request_block_tree(request), 1, &iter));
        self->kept = iter;
    }
    return honest_propose(self, request, updates);
}

static void callbacks_may_call_what_does_not_wait(void)
{
    node self;
    hotstuff_block *block = NULL;

    nodes_init(&self, 1);
    self.propose = propose_and_call;
    node_open(&self, node_config(&self), NULL);
    node_start(&self);
    OK(hotstuff_replica_wait_committed(self.replica, 3, 20000));
    nodes_stop(&self, 1);
    EXPECT(HOTSTUFF_E_STATE, hotstuff_block_iter_next(self.kept, &block)); /* its tree was lent */
    hotstuff_block_iter_free(self.kept);
    nodes_done(&self, 1);
}

static int32_t propose_and_free(node *self, const hotstuff_propose_block_request *request,
                                hotstuff_updates *updates)
{
    hotstuff_replica *replica = atomic_exchange(&self->replica, NULL);
    if (replica != NULL)
        hotstuff_replica_free(replica);
    CHECK(self->app_destroyed == 0); /* deferred: this callback still runs */
    return honest_propose(self, request, updates);
}

static void event_and_free(void *userdata, const hotstuff_event *event)
{
    node *self = userdata;
    hotstuff_replica *replica = NULL;
    if (hotstuff_event_kind(event) == HOTSTUFF_EVENT_COMMITTED)
        replica = atomic_exchange(&self->replica, NULL);
    if (replica != NULL) {
        hotstuff_replica_free(replica);
        CHECK(self->events_destroyed == 0);
    }
}

static void freed_in_a_callback_it_is_freed_after_it(void)
{
    node self;
    hotstuff_event_callbacks events;

    nodes_init(&self, 1);
    self.propose = propose_and_free;
    node_open(&self, node_config(&self), NULL);
    node_start(&self);
    EVENTUALLY(self.network_destroyed == 1); /* the last thing that happens */
    CHECK(self.app_destroyed == 1 && self.replica == NULL);

    self.propose = (propose_fn)0;
    self.callbacks_after_destroy = self.app_destroyed = self.network_destroyed = 0;
    hotstuff_event_callbacks_init(&events, sizeof events);
    events.userdata = &self;
    events.destroy = node_events_destroy;
    events.on_event = event_and_free;
    node_open(&self, node_config(&self), NULL);
    OK(hotstuff_replica_set_events(self.replica, &events));
    node_start(&self);
    EVENTUALLY(self.events_destroyed == 1 && self.app_destroyed == 1);
    EVENTUALLY(self.network_destroyed == 1);
    nodes_done(&self, 1);
}

/* ---- a slow app ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static int32_t propose_slowly(node *self, const hotstuff_propose_block_request *request,
                              hotstuff_updates *updates)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return honest_propose(self, request, updates);
}

static void a_stop_that_waits_for_a_slow_app_times_out_and_can_be_repeated(void)
{
    node self;

    nodes_init(&self, 1);
    self.propose = propose_slowly;
    pthread_mutex_lock(&gate);
    node_open(&self, node_config(&self), NULL);
    node_start(&self);
    EVENTUALLY(self.proposed == 1);
    EXPECT(HOTSTUFF_E_TIMEOUT, hotstuff_replica_stop(self.replica, 50));
    EXPECT(HOTSTUFF_E_TIMEOUT, hotstuff_replica_stop(self.replica, 0));
    CHECK(self.app_destroyed == 0);
    pthread_mutex_unlock(&gate);
    OK(hotstuff_replica_stop(self.replica, 20000));
    hotstuff_replica_free(self.replica);
    nodes_done(&self, 1);
}

static void *stop_it(void *userdata)
{
    hotstuff_replica *replica = userdata;
    sleep_ms(50);
    OK(hotstuff_replica_stop(replica, 20000));
    return NULL;
}

static void a_stop_ends_the_waits_of_other_threads(void)
{
    node self;
    hotstuff_block *block = NULL;
    pthread_t thread;

    nodes_init(&self, 1);
    node_open(&self, node_config(&self), NULL);
    node_start(&self);
    CHECK(pthread_create(&thread, NULL, stop_it, self.replica) == 0);
    EXPECT(HOTSTUFF_E_CLOSED, hotstuff_replica_next_committed(self.replica, 1000000000,
                                                              HOTSTUFF_NO_TIMEOUT, &block));
    OK(hotstuff_replica_wait(self.replica, HOTSTUFF_NO_TIMEOUT, NULL));
    pthread_join(thread, NULL);
    hotstuff_replica_free(self.replica);
    nodes_done(&self, 1);
}

/* ---- networks ---- */

static int32_t receive_rubbish(void *userdata, uint32_t timeout_ms, hotstuff_inbox *inbox)
{
    node *self = userdata;
    CHECK(timeout_ms <= 100); /* there is no wake() */
    self->callbacks_after_destroy += self->network_destroyed;
    switch (self->received++ % 4) {
    case 0:
        return HOTSTUFF_OK; /* without a message */
    case 1:
        EXPECT(HOTSTUFF_E_NULL, hotstuff_inbox_put(inbox, NULL, (const uint8_t *)"x", 1));
        EXPECT(HOTSTUFF_E_NULL, hotstuff_inbox_put(inbox, &self->address, NULL, 1));
        EXPECT(HOTSTUFF_E_TOO_LARGE,
               hotstuff_inbox_put(inbox, &self->address, (const uint8_t *)"x", (size_t)1 << 30));
        OK(hotstuff_inbox_put(inbox, &self->address, (const uint8_t *)"rubbish", 7));
        EXPECT(HOTSTUFF_E_STATE,
               hotstuff_inbox_put(inbox, &self->address, (const uint8_t *)"rubbish", 7));
        return HOTSTUFF_OK;
    case 2:
        return HOTSTUFF_E_TIMEOUT; /* at once */
    default:
        return 12345;
    }
}

static uint64_t rejected_by(const node *self)
{
    hotstuff_metrics metrics;
    hotstuff_metrics_init(&metrics, sizeof metrics);
    OK(hotstuff_replica_metrics(self->replica, &metrics));
    return metrics.messages_rejected;
}

static void a_network_that_returns_rubbish_makes_nobody_spin(void)
{
    node self;
    hotstuff_network_callbacks table;
    hotstuff_network *network = NULL;
    struct timespec before, after;
    double cpu_s;

    nodes_init(&self, 1);
    self.stop = 1;
    hotstuff_network_callbacks_init(&table, sizeof table);
    table.userdata = &self;
    table.destroy = node_network_destroy;
    table.send = node_send;
    table.receive = receive_rubbish;
    OK(hotstuff_network_from_callbacks(&table, &network));
    node_open(&self, node_config(&self), network);
    node_start(&self);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    sleep_ms(500);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    cpu_s = (double)(after.tv_sec - before.tv_sec);
    cpu_s += (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    CHECK(cpu_s < 0.4); /* valgrind included */
    CHECK(self.received >= 4 && self.received < 400);
    EVENTUALLY(self.received > 6);
    EVENTUALLY(rejected_by(&self) > 0);
    nodes_stop(&self, 1);
    nodes_done(&self, 1);
}

static void what_is_delivered_is_not_believed(void)
{
    node self;
    hotstuff_validator_address stranger = {{9}};
    uint8_t message[64];
    uint64_t state = 1;
    int i;

    nodes_init(&self, 1);
    node_open(&self, node_config(&self), NULL);
    node_start(&self);
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_deliver(self.replica, NULL, message, 1));
    EXPECT(HOTSTUFF_E_NULL, hotstuff_replica_deliver(self.replica, &stranger, NULL, 1));
    EXPECT(HOTSTUFF_E_TOO_LARGE,
           hotstuff_replica_deliver(self.replica, &stranger, message, (size_t)1 << 40));
    for (i = 0; i < 3000; i++) {
        size_t len = (size_t)i % sizeof message, j;
        hotstuff_status status;
        for (j = 0; j < len; j++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            message[j] = (uint8_t)(state >> 60);
        }
        status = hotstuff_replica_deliver(self.replica, i % 2 ? &stranger : &self.address,
                                          message, len);
        if (status != HOTSTUFF_OK && status != HOTSTUFF_E_WOULD_BLOCK)
            EXPECT(HOTSTUFF_OK, status);
    }
    OK(hotstuff_replica_wait_committed(self.replica, 3, 20000));
    EVENTUALLY(rejected_by(&self) > 0);
    nodes_stop(&self, 1);
    nodes_done(&self, 1);
}

/* ---- threads ---- */

static void all_threads_of_the_library_block_all_signals(void)
{
    node self;
    DIR *tasks;
    struct dirent *task;
    int ours = 0;

    nodes_init(&self, 1);
    node_open(&self, node_config(&self), NULL);
    node_listen(&self);
    node_start(&self);
    EVENTUALLY(self.proposed > 0 && self.events[HOTSTUFF_EVENT_COMMITTED] > 0);
    tasks = opendir("/proc/self/task");
    while (tasks != NULL && (task = readdir(tasks)) != NULL) {
        char path[300], line[256];
        int named = 0;
        FILE *status;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        status = fopen(path, "r");
        while (status != NULL && fgets(line, sizeof line, status) != NULL) {
            unsigned long long blocked;
            if (strncmp(line, "Name:\thotstuff-", 15) == 0)
                named = ++ours;
            if (named && sscanf(line, "SigBlk: %llx", &blocked) == 1)
                CHECK((blocked & 0x7fff) == 0x7eff); /* 1 to 15 but 9, SIGKILL */
        }
        if (status != NULL)
            fclose(status);
    }
    if (tasks != NULL)
        closedir(tasks);
    CHECK(ours >= 3);
    nodes_stop(&self, 1);
    nodes_done(&self, 1);
}

/* ---- the logger ---- */

static atomic_int log_lines;

static void log_line(void *userdata, int32_t level, const char *target, const char *message)
{
    (void)userdata;
    CHECK(level >= HOTSTUFF_LOG_ERROR && level <= HOTSTUFF_LOG_DEBUG);
    CHECK(target[0] != '\0' && message[0] != '\0' && strchr(message, '\n') == NULL);
    log_lines++;
}

static void the_log_has_the_events(void)
{
    node self;

    OK(hotstuff_set_logger(log_line, NULL, HOTSTUFF_LOG_DEBUG));
    nodes_init(&self, 1);
    node_open(&self, node_config(&self), NULL);
    node_start(&self);
    OK(hotstuff_replica_wait_committed(self.replica, 3, 20000));
    EVENTUALLY(log_lines >= 3);
    nodes_stop(&self, 1);
    OK(hotstuff_set_logger(NULL, NULL, HOTSTUFF_LOG_OFF));
    nodes_done(&self, 1);
}

int main(int argc, char **argv)
{
    int valgrind = argc > 1 && strcmp(argv[1], "valgrind") == 0; /* has a mask of its own */
    calls_out_of_order();
    structs_that_are_filled_may_have_any_size();
    a_proposal_of_rubbish_costs_the_view_and_nothing_else();
    an_app_that_decides_nothing_holds_up_itself_only();
    callbacks_may_call_what_does_not_wait();
    freed_in_a_callback_it_is_freed_after_it();
    a_stop_that_waits_for_a_slow_app_times_out_and_can_be_repeated();
    a_stop_ends_the_waits_of_other_threads();
    a_network_that_returns_rubbish_makes_nobody_spin();
    what_is_delivered_is_not_believed();
    if (!valgrind)
        all_threads_of_the_library_block_all_signals();
    the_log_has_the_events();
    return checks_done("callbacks");
}
