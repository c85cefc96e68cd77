/*
 * store.c - execution over an overlay, and point reads of the state.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "bytes.h"

enum {
    SUMMARY_LEN = 5 * 8 + DIGEST_LEN,
    SESSION_HEADER_LEN = 16,
    SESSION_LEN = SESSION_HEADER_LEN + 16 * WINDOW,
    OPENED_LEN = 16,
    HISTORY_LEN = 8 + DIGEST_LEN,
    STATE_KEY_MAX = 1 + KEY_MAX,
    VALUES_MAX = SESSION_LEN > VALUE_MAX ? SESSION_LEN : VALUE_MAX,
    /* A command touches at most four entries: OPEN its nonce, the slot, and the evicted nonce. */
    ENTRIES_PER_COMMAND = 4,
    ENTRIES_MAX = ENTRIES_PER_COMMAND * BLOCK_COMMANDS_MAX,
    TABLE_LEN = 4 * ENTRIES_MAX, /* a power of two, at most a quarter full */
    CHUNK_LEN = 64 * 1024,
};
_Static_assert((TABLE_LEN & (TABLE_LEN - 1)) == 0, "the table is masked");
_Static_assert(ADDRESS_LEN == HOTSTUFF_VALIDATOR_ADDRESS_LEN, "addresses are copied");
_Static_assert(CHUNK_LEN >= STATE_KEY_MAX + VALUES_MAX, "any allocation fits in a chunk");

/* ---- records -------------------------------------------------------------------------------- */

static const uint8_t summary_key[1] = {'m'};

static void summary_put(const struct summary *s, uint8_t out[SUMMARY_LEN]) {
    put_u64(out, s->next_session);
    put_u64(out + 8, s->commands);
    put_u64(out + 16, s->keys);
    put_u64(out + 24, s->data_blocks);
    put_u64(out + 32, s->height);
    digest_put(&s->sum, out + 40);
}

static struct summary summary_take(const uint8_t in[SUMMARY_LEN]) {
    return (struct summary){.next_session = take_u64(in),
                            .commands = take_u64(in + 8),
                            .keys = take_u64(in + 16),
                            .data_blocks = take_u64(in + 24),
                            .height = take_u64(in + 32),
                            .sum = digest_take(in + 40)};
}

static size_t slot_key(uint8_t out[3], char kind, uint64_t slot) {
    out[0] = (uint8_t)kind;
    put_u16(out + 1, (uint16_t)slot);
    return 3;
}

static size_t opened_key(uint8_t out[9], uint64_t nonce) {
    out[0] = 'o';
    put_u64(out + 1, nonce);
    return 9;
}

static size_t data_key(uint8_t out[STATE_KEY_MAX], const uint8_t *key, size_t key_len) {
    out[0] = 'd';
    memcpy(out + 1, key, key_len);
    return 1 + key_len;
}

/* ---- point reads ---------------------------------------------------------------------------- */

/* A record of known length. */
static hotstuff_status read_record(const hotstuff_block_tree *tree, const uint8_t *key,
                                   size_t key_len, uint8_t *out, size_t len) {
    hotstuff_buffer *buffer;
    hotstuff_bytes bytes;
    hotstuff_status status = hotstuff_block_tree_state(tree, key, key_len, &buffer);
    if (status != HOTSTUFF_OK) return status;
    hotstuff_buffer_get(buffer, &bytes);
    if (bytes.len == len)
        memcpy(out, bytes.data, len);
    else
        status = HOTSTUFF_E_CORRUPT;
    hotstuff_buffer_free(buffer);
    return status;
}

/* The summary is in the genesis state: not finding it is damage, not a fresh start. */
hotstuff_status store_summary(const hotstuff_block_tree *tree, struct summary *out) {
    uint8_t record[SUMMARY_LEN];
    hotstuff_status status =
        read_record(tree, summary_key, sizeof summary_key, record, sizeof record);
    if (status == HOTSTUFF_E_NOT_FOUND) return HOTSTUFF_E_CORRUPT;
    if (status == HOTSTUFF_OK) *out = summary_take(record);
    return status;
}

digest store_hash(const struct summary *s) {
    uint8_t record[SUMMARY_LEN];
    summary_put(s, record);
    return digest_of_pair(digest_public_key, summary_key, sizeof summary_key, record,
                          sizeof record);
}

hotstuff_status store_get(const hotstuff_block_tree *tree, const uint8_t *key, size_t key_len,
                          hotstuff_buffer **out) {
    uint8_t state_key[STATE_KEY_MAX];
    size_t len = data_key(state_key, key, key_len);
    return hotstuff_block_tree_state(tree, state_key, len, out);
}

/* The sessions alive are the SESSIONS youngest. */
static enum outcome judge_session(const struct summary *s, uint64_t session) {
    if (session >= s->next_session) return OUTCOME_UNKNOWN;
    return s->next_session - session > SESSIONS ? OUTCOME_EXPIRED : OUTCOME_APPLIED;
}

static uint8_t *window_of(uint8_t *session_record, uint64_t sequence) {
    return session_record + SESSION_HEADER_LEN + 16 * (sequence % WINDOW);
}

static enum outcome judge_sequence(const uint8_t *window, uint64_t sequence) {
    uint64_t applied = take_u64(window);
    if (sequence == applied) return OUTCOME_DUPLICATE;
    return sequence < applied ? OUTCOME_STALE : OUTCOME_APPLIED;
}

/* What becomes of the set. If it is refused, the set is unchanged. */
static enum outcome change_validators(hotstuff_validator_set *set, const struct command *c) {
    hotstuff_validator_address address;
    memcpy(address.bytes, c->key, ADDRESS_LEN);
    const uint64_t total = hotstuff_validator_set_total_power(set);
    if (hotstuff_validator_set_put(set, &address, take_u64(c->value)) != HOTSTUFF_OK)
        return OUTCOME_REFUSED;
    if (hotstuff_validator_set_len(set) > 0) return OUTCOME_APPLIED;
    /* It was the only one, and so had all the power. */
    if (hotstuff_validator_set_put(set, &address, total) != HOTSTUFF_OK) return OUTCOME_FAILED;
    return OUTCOME_REFUSED;
}

static hotstuff_status judge_validator(const hotstuff_block_tree *tree, const struct command *c,
                                       enum outcome *out) {
    hotstuff_validator_set *set;
    hotstuff_status status = hotstuff_block_tree_validators(tree, &set);
    if (status != HOTSTUFF_OK) return status;
    *out = change_validators(set, c);
    hotstuff_validator_set_free(set);
    return HOTSTUFF_OK;
}

/* The epoch that the block at `height`, which changes the validators, begins. */
static hotstuff_status epoch_after(const hotstuff_block_tree *tree, uint64_t height,
                                   uint64_t *epoch) {
    hotstuff_block *block;
    hotstuff_status status = hotstuff_block_tree_block_at(tree, height, &block);
    if (status != HOTSTUFF_OK) return status;
    *epoch = hotstuff_block_epoch(block) + 1;
    hotstuff_block_free(block);
    return HOTSTUFF_OK;
}

static hotstuff_status judge_open(const hotstuff_block_tree *tree, uint64_t nonce,
                                  enum outcome *out, uint64_t *height, uint64_t *made) {
    uint8_t key[9], record[OPENED_LEN];
    hotstuff_status status =
        read_record(tree, key, opened_key(key, nonce), record, sizeof record);
    if (status != HOTSTUFF_OK && status != HOTSTUFF_E_NOT_FOUND) return status;
    *out = status == HOTSTUFF_OK ? OUTCOME_DUPLICATE : OUTCOME_APPLIED;
    if (status == HOTSTUFF_OK) {
        *made = take_u64(record);
        *height = take_u64(record + 8);
    }
    return HOTSTUFF_OK;
}

hotstuff_status store_judge(const hotstuff_block_tree *tree, const struct command *c,
                            enum outcome *out, uint64_t *height, uint64_t *made) {
    if (c->kind == COMMAND_OPEN) return judge_open(tree, c->client, out, height, made);
    struct summary summary;
    hotstuff_status status = store_summary(tree, &summary);
    if (status != HOTSTUFF_OK) return status;
    *out = judge_session(&summary, c->client);
    if (*out != OUTCOME_APPLIED) return HOTSTUFF_OK;
    uint8_t key[3], record[SESSION_LEN];
    status = read_record(tree, key, slot_key(key, 's', c->client % SESSIONS), record,
                         sizeof record);
    if (status != HOTSTUFF_OK) return status;
    const uint8_t *window = window_of(record, c->sequence);
    *out = judge_sequence(window, c->sequence);
    if (*out == OUTCOME_DUPLICATE) *height = take_u64(window + 8);
    if (c->kind != COMMAND_VALIDATOR) return HOTSTUFF_OK;
    if (*out == OUTCOME_DUPLICATE) return epoch_after(tree, *height, made);
    return *out == OUTCOME_APPLIED ? judge_validator(tree, c, out) : HOTSTUFF_OK;
}

static hotstuff_status read_history(const hotstuff_block_tree *tree, uint64_t number,
                                    uint64_t *height, digest *out) {
    uint8_t key[3], record[HISTORY_LEN];
    hotstuff_status status =
        read_record(tree, key, slot_key(key, 'h', number % HISTORY), record, sizeof record);
    if (status != HOTSTUFF_OK) return status;
    *height = take_u64(record);
    *out = digest_take(record + 8);
    return HOTSTUFF_OK;
}

static bool writes(const hotstuff_bytes *data, const uint8_t *key, size_t key_len) {
    struct batch_reader reader;
    struct command c;
    if (!batch_open(&reader, data->data, data->len)) return false;
    while (batch_next(&reader, &c) == 1)
        if ((c.kind == COMMAND_SET || c.kind == COMMAND_DELETE) && c.key_len == key_len &&
            memcmp(c.key, key, key_len) == 0)
            return true;
    return false;
}

hotstuff_status store_find_write(const hotstuff_block_tree *tree, const uint8_t *key,
                                 size_t key_len, uint64_t *height) {
    struct summary summary;
    digest ignored;
    size_t searched = 0;
    hotstuff_status status = store_summary(tree, &summary);
    if (status != HOTSTUFF_OK) return status;
    const uint64_t oldest = summary.data_blocks > HISTORY ? summary.data_blocks - HISTORY : 0;
    for (uint64_t i = summary.data_blocks; i > oldest && searched < FIND_BYTES_MAX; i--) {
        hotstuff_block *block;
        hotstuff_bytes data;
        status = read_history(tree, i, height, &ignored);
        if (status == HOTSTUFF_OK) status = hotstuff_block_tree_block_at(tree, *height, &block);
        if (status != HOTSTUFF_OK) return status == HOTSTUFF_E_NOT_FOUND ? HOTSTUFF_E_CORRUPT : status;
        hotstuff_block_data(block, &data);
        searched += data.len;
        const bool found = writes(&data, key, key_len);
        hotstuff_block_free(block);
        if (found) return HOTSTUFF_OK;
    }
    return HOTSTUFF_E_NOT_FOUND;
}

static const struct summary genesis_summary = {.next_session = 1};

/* Data blocks are numbered from 1. Their heights rise: find the last one at or below `height`. */
hotstuff_status store_hash_at(const hotstuff_block_tree *tree, uint64_t height, digest *out) {
    struct summary summary;
    hotstuff_status status = store_summary(tree, &summary);
    if (status != HOTSTUFF_OK) return status;
    uint64_t low = summary.data_blocks > HISTORY ? summary.data_blocks - HISTORY + 1 : 1;
    uint64_t oldest = low, high = summary.data_blocks + 1; /* the answer is below `low`, at most */
    digest found = {0, 0};
    while (low < high) {
        uint64_t middle = low + (high - low) / 2, at;
        digest there;
        status = read_history(tree, middle, &at, &there);
        if (status != HOTSTUFF_OK) return status == HOTSTUFF_E_NOT_FOUND ? HOTSTUFF_E_CORRUPT : status;
        if (at <= height) {
            found = there;
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == oldest) { /* before all of them */
        if (oldest > 1) return HOTSTUFF_E_NOT_FOUND;
        found = store_hash(&genesis_summary);
    }
    *out = found;
    return HOTSTUFF_OK;
}

hotstuff_status store_set_genesis(hotstuff_config *config) {
    uint8_t record[SUMMARY_LEN];
    summary_put(&genesis_summary, record);
    return hotstuff_config_set_genesis_state(config, summary_key, sizeof summary_key, record,
                                             sizeof record);
}

/* ---- the overlay ---------------------------------------------------------------------------- */

struct entry {
    const uint8_t *key;
    uint8_t *value; /* NULL: absent */
    size_t key_len, value_len;
    uint64_t hash;
    digest before; /* of the pair as the parent has it */
    bool existed, changed;
};

struct chunk {
    struct chunk *next;
    size_t used;
    uint8_t bytes[CHUNK_LEN];
};

struct execution {
    const hotstuff_block_tree *tree;
    uint64_t height;
    struct summary summary;
    hotstuff_status error;
    hotstuff_validator_set *validators; /* NULL until the block changes them */
    struct change {
        hotstuff_validator_address address;
        uint64_t power;
    } changes[CHANGES_PER_BLOCK];
    size_t change_count;
    uint8_t table_secret[DIGEST_KEY_LEN]; /* so that nobody can choose colliding keys */
    struct chunk *chunks, *current;       /* kept from block to block */
    size_t entry_count;
    struct entry entries[ENTRIES_MAX];
    uint16_t table[TABLE_LEN]; /* 1 + index of an entry; 0: free */
};
_Static_assert(ENTRIES_MAX < UINT16_MAX, "an index and one more fit in the table");

struct execution *execution_new(void) {
    struct execution *e = calloc(1, sizeof *e);
    if (e == NULL) return NULL;
    if (getrandom(e->table_secret, sizeof e->table_secret, 0) != sizeof e->table_secret) {
        free(e);
        return NULL;
    }
    return e;
}

void execution_free(struct execution *e) {
    if (e == NULL) return;
    for (struct chunk *c = e->chunks, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    hotstuff_validator_set_free(e->validators);
    free(e);
}

hotstuff_status execution_begin(struct execution *e, const hotstuff_block_tree *tree,
                                uint64_t height) {
    e->tree = tree;
    e->height = height;
    e->error = HOTSTUFF_OK;
    e->entry_count = 0;
    hotstuff_validator_set_free(e->validators);
    e->validators = NULL;
    e->change_count = 0;
    memset(e->table, 0, sizeof e->table);
    e->current = e->chunks;
    if (e->current != NULL) e->current->used = 0;
    return store_summary(tree, &e->summary);
}

hotstuff_status execution_error(const struct execution *e) { return e->error; }

static uint8_t *allocate(struct execution *e, size_t len) {
    if (e->current == NULL || CHUNK_LEN - e->current->used < len) {
        struct chunk *next = e->current == NULL ? e->chunks : e->current->next;
        if (next == NULL) {
            next = malloc(sizeof *next);
            if (next == NULL) {
                e->error = HOTSTUFF_E_NO_MEMORY;
                return NULL;
            }
            next->next = NULL;
            if (e->current == NULL)
                e->chunks = next;
            else
                e->current->next = next;
        }
        next->used = 0;
        e->current = next;
    }
    uint8_t *p = e->current->bytes + e->current->used;
    e->current->used += len;
    return p;
}

static uint8_t *allocate_copy(struct execution *e, const uint8_t *bytes, size_t len) {
    uint8_t *p = allocate(e, len);
    if (p != NULL) memcpy(p, bytes, len);
    return p;
}

/* The first look at a key: what the parent's state has there. */
static bool load(struct execution *e, struct entry *entry) {
    hotstuff_buffer *buffer;
    hotstuff_bytes bytes;
    hotstuff_status status =
        hotstuff_block_tree_state(e->tree, entry->key, entry->key_len, &buffer);
    if (status == HOTSTUFF_E_NOT_FOUND) return true;
    if (status != HOTSTUFF_OK) {
        e->error = status;
        return false;
    }
    hotstuff_buffer_get(buffer, &bytes);
    if (bytes.len == 0 || bytes.len > VALUES_MAX) {
        e->error = HOTSTUFF_E_CORRUPT;
    } else {
        entry->value = allocate_copy(e, bytes.data, bytes.len);
        entry->value_len = bytes.len;
        entry->existed = true;
        entry->before = digest_of_pair(digest_public_key, entry->key, entry->key_len, bytes.data,
                                       bytes.len);
    }
    hotstuff_buffer_free(buffer);
    return e->error == HOTSTUFF_OK;
}

/* The entry of a key; NULL with e->error set on failure. The caller has checked has_room(). */
static struct entry *look_up(struct execution *e, const uint8_t *key, size_t key_len) {
    uint64_t hash = digest_of_pair(e->table_secret, key, key_len, NULL, 0).low;
    size_t at = hash & (TABLE_LEN - 1);
    for (; e->table[at] != 0; at = (at + 1) & (TABLE_LEN - 1)) {
        struct entry *entry = &e->entries[e->table[at] - 1];
        if (entry->hash == hash && entry->key_len == key_len &&
            memcmp(entry->key, key, key_len) == 0)
            return entry;
    }
    struct entry *entry = &e->entries[e->entry_count];
    *entry = (struct entry){.key = allocate_copy(e, key, key_len), .key_len = key_len, .hash = hash};
    if (entry->key == NULL || !load(e, entry)) return NULL;
    e->table[at] = (uint16_t)++e->entry_count;
    return entry;
}

static bool has_room(const struct execution *e) {
    return ENTRIES_MAX - e->entry_count >= ENTRIES_PER_COMMAND;
}

static bool put(struct execution *e, struct entry *entry, const uint8_t *value, size_t len) {
    uint8_t *copy = allocate_copy(e, value, len);
    if (copy == NULL) return false;
    entry->value = copy;
    entry->value_len = len;
    entry->changed = true;
    return true;
}

static void erase(struct entry *entry) {
    entry->value = NULL;
    entry->value_len = 0;
    entry->changed = true;
}

/* ---- commands ------------------------------------------------------------------------------- */

/* Forgets the OPEN of the session that loses its slot. */
static bool evict(struct execution *e, const struct entry *slot) {
    uint8_t key[9];
    if (slot->value == NULL) return true;
    struct entry *opened = look_up(e, key, opened_key(key, take_u64(slot->value + 8)));
    if (opened == NULL) return false;
    erase(opened);
    return true;
}

static enum outcome apply_open(struct execution *e, const struct command *c, uint64_t *session) {
    uint8_t key[9];
    struct entry *opened = look_up(e, key, opened_key(key, c->client));
    if (opened == NULL) return OUTCOME_FAILED;
    if (opened->value != NULL) return OUTCOME_DUPLICATE;

    uint64_t id = e->summary.next_session;
    uint8_t opened_record[OPENED_LEN], record[SESSION_LEN] = {0};
    put_u64(opened_record, id);
    put_u64(opened_record + 8, e->height);
    put_u64(record, id);
    put_u64(record + 8, c->client);

    struct entry *slot = look_up(e, key, slot_key(key, 's', id % SESSIONS));
    if (slot == NULL || !evict(e, slot) || !put(e, slot, record, sizeof record) ||
        !put(e, opened, opened_record, sizeof opened_record))
        return OUTCOME_FAILED;
    e->summary.next_session++;
    *session = id;
    return OUTCOME_APPLIED;
}

/* Finds the place in its session that a command fills when it is applied. */
static enum outcome find_window(struct execution *e, const struct command *c,
                                struct entry **session, uint8_t **window) {
    uint8_t key[3];
    enum outcome outcome = judge_session(&e->summary, c->client);
    if (outcome != OUTCOME_APPLIED) return outcome;
    *session = look_up(e, key, slot_key(key, 's', c->client % SESSIONS));
    if (*session == NULL) return OUTCOME_FAILED;
    if ((*session)->value_len != SESSION_LEN || take_u64((*session)->value) != c->client) {
        e->error = HOTSTUFF_E_CORRUPT;
        return OUTCOME_FAILED;
    }
    *window = window_of((*session)->value, c->sequence);
    return judge_sequence(*window, c->sequence);
}

static void fill_window(const struct execution *e, const struct command *c, struct entry *session,
                        uint8_t *window) {
    put_u64(window, c->sequence);
    put_u64(window + 8, e->height);
    session->changed = true;
}

static enum outcome apply_write(struct execution *e, const struct command *c) {
    struct entry *session;
    uint8_t *window, key[STATE_KEY_MAX];
    enum outcome outcome = find_window(e, c, &session, &window);
    if (outcome != OUTCOME_APPLIED) return outcome;
    struct entry *data = look_up(e, key, data_key(key, c->key, c->key_len));
    if (data == NULL) return OUTCOME_FAILED;
    bool was = data->value != NULL, will_be = c->kind == COMMAND_SET;
    if (!will_be)
        erase(data);
    else if (!put(e, data, c->value, c->value_len))
        return OUTCOME_FAILED;
    e->summary.keys += will_be;
    e->summary.keys -= was;
    fill_window(e, c, session, window);
    return OUTCOME_APPLIED;
}

static enum outcome apply_validator(struct execution *e, const struct command *c) {
    struct entry *session;
    uint8_t *window;
    enum outcome outcome = find_window(e, c, &session, &window);
    if (outcome != OUTCOME_APPLIED) return outcome;
    if (e->change_count == CHANGES_PER_BLOCK) return OUTCOME_FULL;
    for (size_t i = 0; i < e->change_count; i++)
        if (memcmp(e->changes[i].address.bytes, c->key, ADDRESS_LEN) == 0) return OUTCOME_FULL;
    if (e->validators == NULL)
        e->error = hotstuff_block_tree_validators(e->tree, &e->validators);
    if (e->error != HOTSTUFF_OK) return OUTCOME_FAILED;
    outcome = change_validators(e->validators, c);
    if (outcome != OUTCOME_APPLIED) return outcome;
    struct change *change = &e->changes[e->change_count++];
    memcpy(change->address.bytes, c->key, ADDRESS_LEN);
    change->power = take_u64(c->value);
    fill_window(e, c, session, window);
    return OUTCOME_APPLIED;
}

enum outcome execution_apply(struct execution *e, const struct command *c, uint64_t *session) {
    if (!has_room(e)) return OUTCOME_FULL;
    enum outcome outcome = c->kind == COMMAND_OPEN        ? apply_open(e, c, session)
                           : c->kind == COMMAND_VALIDATOR ? apply_validator(e, c)
                                                          : apply_write(e, c);
    if (outcome == OUTCOME_APPLIED) e->summary.commands++;
    return outcome;
}

/* Hands one changed entry to the library, and moves the sum along. */
static hotstuff_status write_entry(struct execution *e, const struct entry *entry,
                                   hotstuff_updates *out) {
    if (entry->existed) digest_subtract(&e->summary.sum, entry->before);
    if (entry->value == NULL) {
        if (!entry->existed) return HOTSTUFF_OK;
        return hotstuff_updates_delete_state(out, entry->key, entry->key_len);
    }
    digest_add(&e->summary.sum, digest_of_pair(digest_public_key, entry->key, entry->key_len,
                                               entry->value, entry->value_len));
    return hotstuff_updates_set_state(out, entry->key, entry->key_len, entry->value,
                                      entry->value_len);
}

hotstuff_status execution_finish(struct execution *e, hotstuff_updates *out, digest *state_hash) {
    hotstuff_status status = HOTSTUFF_OK;
    for (size_t i = 0; i < e->entry_count && status == HOTSTUFF_OK; i++)
        if (e->entries[i].changed) status = write_entry(e, &e->entries[i], out);
    for (size_t i = 0; i < e->change_count && status == HOTSTUFF_OK; i++)
        status = hotstuff_updates_set_validator(out, &e->changes[i].address, e->changes[i].power);
    if (status != HOTSTUFF_OK) return status;

    e->summary.data_blocks++;
    e->summary.height = e->height;
    *state_hash = store_hash(&e->summary);

    uint8_t key[3], history[HISTORY_LEN], summary[SUMMARY_LEN];
    put_u64(history, e->height);
    digest_put(state_hash, history + 8);
    size_t key_len = slot_key(key, 'h', e->summary.data_blocks % HISTORY);
    status = hotstuff_updates_set_state(out, key, key_len, history, sizeof history);
    if (status != HOTSTUFF_OK) return status;
    summary_put(&e->summary, summary);
    return hotstuff_updates_set_state(out, summary_key, sizeof summary_key, summary,
                                      sizeof summary);
}
