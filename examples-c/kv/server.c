/*
 * server.c - connections, lines, requests, answers.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   socket -> in -> take_lines -> requests (a ring) -> answer_heads -> out -> socket
 *                       |  ^
 *                 pool_submit  pool_take_done
 *
 * A connection moves whenever bytes arrive, bytes leave, or a command of its own is finished;
 * advance() then does all that can be done now. Nothing here waits but poll().
 */
#define _GNU_SOURCE /* accept4 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "log.h"
#include "store.h"

enum {
    REQUEST_LINE_MAX = KEY_MAX + VALUE_MAX + 64, /* with its line end */
    PIPELINE_MAX = WINDOW, /* a session knows the outcome of its last WINDOW commands */
    SHORT_MAX = 320,       /* a request that is answered later, or an answer made early */
    PART_MAX = 4096, /* bytes of a block or a proof in one answer, as hexadecimal digits */
    ANSWER_MAX = VALUE_MAX + 1024,
    OUT_LEN = 4 * ANSWER_MAX,
    ADDRESS_TEXT_MAX = NI_MAXHOST + NI_MAXSERV + 4,
    NOTIFY_AGAIN_MS = 250,
    ACCEPT_PAUSE_MS = 1000,
    BACKLOG = 64,
};
_Static_assert(2 * PART_MAX + 64 <= ANSWER_MAX, "a part is an answer");
static const uint64_t REQUEST_NONE = UINT64_MAX; /* the OPEN that no client asked for */

struct request {
    enum { REQUEST_READ, REQUEST_WAITING, REQUEST_ANSWERED } state;
    char text[SHORT_MAX]; /* READ: the request; ANSWERED: the answer; neither with a line end */
};

struct connection {
    int fd;
    uint64_t id;
    int64_t moved_ms; /* when bytes last came or went */
    bool eof;         /* no more requests; what is under way is still answered */
    bool broken;      /* to be closed now */
    bool discarding;  /* up to the end of a line that was too long */

    uint64_t session, next_sequence; /* for writes without a session of their own; 0: none yet */
    bool opening;                    /* that session: lines wait */
    char open_failed[SHORT_MAX];     /* the answer for the line that waited; "": none */

    uint64_t first_request, next_request;
    unsigned waiting, reading; /* how many of them are WAITING, READ */
    struct request requests[PIPELINE_MAX];

    size_t in_len, out_at, out_len;
    char in[REQUEST_LINE_MAX];
    char out[OUT_LEN];
};

struct server {
    const struct config *config;
    struct pool *pool;
    const struct app *app;
    hotstuff_replica *replica;
    int listen_fd, wake_fd;
    char address[ADDRESS_TEXT_MAX];
    struct connection **connections; /* `count` of them, in no order */
    struct pollfd *polled;
    size_t count;
    uint64_t next_id;
    bool submitted; /* in this pass */
    int64_t notified_ms, accept_after_ms;
};

/* ---- answers -------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3)))
static void say(char text[SHORT_MAX], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, SHORT_MAX, format, arguments);
    va_end(arguments);
}

static void say_failure(char text[SHORT_MAX], hotstuff_status status) {
    say(text, "ERR internal %s", hotstuff_status_message(status));
}

/* Into the out buffer, as a line. answer_heads() has made room for ANSWER_MAX. */
static void emit(struct connection *c, const void *bytes, size_t len) {
    memcpy(c->out + c->out_len, bytes, len);
    c->out_len += len;
}

static void emit_line(struct connection *c, const char *text) {
    emit(c, text, strlen(text));
    emit(c, "\n", 1);
}

static struct request *request_at(struct connection *c, uint64_t number) {
    return &c->requests[number % PIPELINE_MAX];
}

static struct request *new_request(struct connection *c) { return request_at(c, c->next_request++); }

static void say_done(char text[SHORT_MAX], const struct done *d) {
    switch (d->verdict) {
    case VERDICT_COMMITTED:
        if (d->kind == COMMAND_OPEN || d->kind == COMMAND_VALIDATOR)
            say(text, "OK %" PRIu64 " %" PRIu64, d->height, d->made);
        else
            say(text, "OK %" PRIu64, d->height);
        break;
    case VERDICT_STALE:
        say(text, "ERR stale applied long ago or never: sequence + %d has been applied", WINDOW);
        break;
    case VERDICT_EXPIRED_SESSION:
        say(text, "ERR expired the session is gone: %d younger ones were opened", SESSIONS);
        break;
    case VERDICT_REFUSED:
        say(text, "ERR refused there would be no validators, too many, or too much power");
        break;
    case VERDICT_LISTENER:
        say(text, "ERR listener this replica has left the validators: repeat it at one of them");
        break;
    case VERDICT_TIMEOUT:
        say(text, "ERR timeout not committed in time; it may still be: repeat the same sequence");
        break;
    case VERDICT_STOPPED:
        say(text, "ERR stopping it may still be committed: repeat it at another replica");
        break;
    }
}

/* ---- reads ---------------------------------------------------------------------------------- */

static void answer_get(struct server *s, struct connection *c, const char *key) {
    char text[SHORT_MAX];
    hotstuff_block_tree *tree;
    hotstuff_buffer *value;
    hotstuff_bytes bytes;
    hotstuff_status status = hotstuff_replica_snapshot(s->replica, &tree);
    if (status == HOTSTUFF_OK) {
        status = store_get(tree, (const uint8_t *)key, strlen(key), &value);
        hotstuff_block_tree_free(tree);
    }
    if (status == HOTSTUFF_OK) {
        hotstuff_buffer_get(value, &bytes);
        emit(c, "VALUE ", 6);
        emit(c, bytes.data, bytes.len < VALUE_MAX ? bytes.len : VALUE_MAX);
        emit(c, "\n", 1);
        hotstuff_buffer_free(value);
    } else if (status == HOTSTUFF_E_NOT_FOUND) {
        emit_line(c, "NONE");
    } else {
        say_failure(text, status);
        emit_line(c, text);
    }
}

static hotstuff_status hash_at(const hotstuff_block_tree *tree, uint64_t height,
                               char text[SHORT_MAX]) {
    uint64_t committed;
    hotstuff_status status = hotstuff_block_tree_committed_height(tree, &committed);
    if (status != HOTSTUFF_OK) return status;
    if (height > committed) {
        say(text, "ERR notfound height %" PRIu64 " is not committed here yet", height);
        return HOTSTUFF_OK;
    }
    digest state_hash;
    status = store_hash_at(tree, height, &state_hash);
    if (status == HOTSTUFF_E_NOT_FOUND) {
        say(text, "ERR notfound only the last %d blocks with data are remembered", HISTORY);
        return HOTSTUFF_OK;
    }
    if (status != HOTSTUFF_OK) return status;
    hotstuff_hash block_hash = {{0}}; /* height 0 has no block */
    if (height > 0) {
        hotstuff_block *block;
        status = hotstuff_block_tree_block_at(tree, height, &block);
        if (status != HOTSTUFF_OK) return status;
        hotstuff_block_hash(block, &block_hash);
        hotstuff_block_free(block);
    }
    char state_hex[DIGEST_HEX_LEN + 1], block_hex[2 * HOTSTUFF_HASH_LEN + 1];
    digest_to_hex(&state_hash, state_hex);
    hex_encode(block_hash.bytes, sizeof block_hash.bytes, block_hex);
    say(text, "OK %" PRIu64 " %s %s", height, state_hex, block_hex);
    return HOTSTUFF_OK;
}

static void answer_hash(struct server *s, struct connection *c, const char *argument) {
    char text[SHORT_MAX], *end;
    hotstuff_block_tree *tree;
    errno = 0;
    uint64_t height = strtoull(argument, &end, 10);
    if (*argument < '0' || *argument > '9' || *end != '\0' || errno != 0) {
        emit_line(c, "ERR syntax HASH takes a height");
        return;
    }
    hotstuff_status status = hotstuff_replica_snapshot(s->replica, &tree);
    if (status == HOTSTUFF_OK) {
        status = hash_at(tree, height, text);
        hotstuff_block_tree_free(tree);
    }
    if (status != HOTSTUFF_OK) say_failure(text, status);
    emit_line(c, text);
}

/* ---- evidence ------------------------------------------------------------------------------- */

static const char *evidence_word(uint32_t kind) {
    switch (kind) {
    case HOTSTUFF_EVIDENCE_DOUBLE_VOTE: return "double-vote";
    case HOTSTUFF_EVIDENCE_DOUBLE_PROPOSAL: return "double-proposal";
    case HOTSTUFF_EVIDENCE_LYING_TIMEOUT: return "lying-timeout";
    default: return "unknown";
    }
}

/* What a piece of evidence says, once it has been verified by the validators of its epoch. */
static hotstuff_status tell_evidence(const struct server *s, const hotstuff_bytes *evidence,
                                     char text[SHORT_MAX]) {
    hotstuff_evidence_info info;
    hotstuff_block_tree *tree;
    hotstuff_validator_set *validators = NULL;
    hotstuff_validator_address offender;
    hotstuff_evidence_info_init(&info, sizeof info);
    hotstuff_status status = hotstuff_evidence_read(evidence->data, evidence->len, &info);
    if (status == HOTSTUFF_OK) status = hotstuff_replica_snapshot(s->replica, &tree);
    if (status != HOTSTUFF_OK) return status;
    status = hotstuff_block_tree_validators_of(tree, info.epoch, &validators);
    hotstuff_block_tree_free(tree);
    if (status == HOTSTUFF_OK)
        status = hotstuff_verify_evidence(app_genesis(s->app), validators, evidence->data,
                                          evidence->len, &offender);
    hotstuff_validator_set_free(validators);
    if (status != HOTSTUFF_OK) return status;
    char address[2 * HOTSTUFF_VALIDATOR_ADDRESS_LEN + 1];
    hex_encode(offender.bytes, sizeof offender.bytes, address);
    say(text, "OK %s epoch=%" PRIu64 " view=%" PRIu64 " validator=%s", evidence_word(info.kind),
        info.epoch, info.view, address);
    return HOTSTUFF_OK;
}

static void answer_evidence(struct server *s, struct connection *c, const char *argument) {
    char text[SHORT_MAX], *end;
    hotstuff_buffer *evidence;
    hotstuff_bytes bytes;
    errno = 0;
    const unsigned long index = strtoul(argument, &end, 10);
    if (*argument < '0' || *argument > '9' || *end != '\0' || errno != 0) {
        emit_line(c, "ERR syntax EVIDENCE takes an index from 0");
        return;
    }
    hotstuff_status status = hotstuff_replica_evidence_at(s->replica, index, &evidence);
    if (status == HOTSTUFF_OK) {
        hotstuff_buffer_get(evidence, &bytes);
        status = tell_evidence(s, &bytes, text);
        hotstuff_buffer_free(evidence);
    } else if (status == HOTSTUFF_E_DONE) {
        say(text, "ERR notfound no more evidence is kept here");
        status = HOTSTUFF_OK;
    }
    if (status != HOTSTUFF_OK) say_failure(text, status);
    emit_line(c, text);
}

/* ---- for those who believe nothing ---------------------------------------------------------- */

static void answer_where(struct server *s, struct connection *c, const char *key) {
    char text[SHORT_MAX];
    uint64_t height;
    hotstuff_block_tree *tree;
    hotstuff_status status = hotstuff_replica_snapshot(s->replica, &tree);
    if (status == HOTSTUFF_OK) {
        status = store_find_write(tree, (const uint8_t *)key, strlen(key), &height);
        hotstuff_block_tree_free(tree);
    }
    if (status == HOTSTUFF_OK)
        say(text, "OK %" PRIu64, height);
    else if (status == HOTSTUFF_E_NOT_FOUND)
        say(text, "ERR notfound not in the last %d MiB or %d blocks: who wrote it knows where",
            FIND_BYTES_MAX >> 20, HISTORY);
    else
        say_failure(text, status);
    emit_line(c, text);
}

/* The canonical bytes that a request names: a block, its proof, or an epoch's. */
static hotstuff_status find_bytes(const hotstuff_block_tree *tree, const char *verb,
                                  uint64_t number, hotstuff_buffer **out) {
    hotstuff_block *block;
    hotstuff_hash hash;
    if (strcmp(verb, "EPOCH") == 0) return hotstuff_block_tree_epoch_proof(tree, number, out);
    hotstuff_status status = hotstuff_block_tree_block_at(tree, number, &block);
    if (status != HOTSTUFF_OK) return status;
    hotstuff_block_hash(block, &hash);
    status = strcmp(verb, "BLOCK") == 0 ? hotstuff_block_encode(block, out)
                                        : hotstuff_block_tree_commit_proof(tree, &hash, out);
    hotstuff_block_free(block);
    return status;
}

static void emit_part(struct connection *c, const hotstuff_bytes *bytes, uint64_t offset) {
    char text[SHORT_MAX], hex[2 * PART_MAX + 1];
    const size_t left = bytes->len - (size_t)offset, part = left < PART_MAX ? left : PART_MAX;
    hex_encode(bytes->data + offset, part, hex);
    say(text, "OK %zu ", bytes->len);
    emit(c, text, strlen(text));
    emit_line(c, hex);
}

/* "verb number offset" */
static void answer_part(struct server *s, struct connection *c, const char *line) {
    char text[SHORT_MAX], verb[6];
    uint64_t number, offset;
    int end = 0;
    hotstuff_block_tree *tree;
    hotstuff_buffer *buffer = NULL;
    hotstuff_bytes bytes = {NULL, 0};
    if (sscanf(line, "%5s %19" SCNu64 " %19" SCNu64 "%n", verb, &number, &offset, &end) != 3 ||
        line[end] != '\0' || strchr(line, '-') != NULL) {
        emit_line(c, "ERR syntax expected a number, and an offset in bytes");
        return;
    }
    hotstuff_status status = hotstuff_replica_snapshot(s->replica, &tree);
    if (status == HOTSTUFF_OK) {
        status = find_bytes(tree, verb, number, &buffer);
        hotstuff_block_tree_free(tree);
    }
    if (status == HOTSTUFF_OK) hotstuff_buffer_get(buffer, &bytes);
    if (status == HOTSTUFF_OK && offset < bytes.len) {
        emit_part(c, &bytes, offset);
    } else if (status == HOTSTUFF_OK || status == HOTSTUFF_E_NOT_FOUND) {
        emit_line(c, "ERR notfound not committed here yet, not over yet, or beyond its end");
    } else {
        say_failure(text, status);
        emit_line(c, text);
    }
    hotstuff_buffer_free(buffer);
}

/* ---- the state of everything ---------------------------------------------------------------- */

struct status_parts {
    hotstuff_replica_info info;
    hotstuff_metrics metrics;
    struct summary summary;
    size_t validators;
};

static hotstuff_status collect_status(const hotstuff_replica *replica, struct status_parts *p) {
    hotstuff_block_tree *tree;
    hotstuff_validator_set *validators;
    hotstuff_replica_info_init(&p->info, sizeof p->info);
    hotstuff_metrics_init(&p->metrics, sizeof p->metrics);
    hotstuff_status status = hotstuff_replica_get_info(replica, &p->info);
    if (status == HOTSTUFF_OK) status = hotstuff_replica_metrics(replica, &p->metrics);
    if (status == HOTSTUFF_OK) status = hotstuff_replica_snapshot(replica, &tree);
    if (status != HOTSTUFF_OK) return status;
    status = store_summary(tree, &p->summary);
    if (status == HOTSTUFF_OK) status = hotstuff_block_tree_validators(tree, &validators);
    if (status == HOTSTUFF_OK) {
        p->validators = hotstuff_validator_set_len(validators);
        hotstuff_validator_set_free(validators);
    }
    hotstuff_block_tree_free(tree);
    return status;
}

static void answer_status(struct server *s, struct connection *c) {
    char text[ANSWER_MAX], hash_hex[DIGEST_HEX_LEN + 1];
    struct status_parts p;
    hotstuff_status status = collect_status(s->replica, &p);
    if (status != HOTSTUFF_OK) {
        say_failure(text, status);
        emit_line(c, text);
        return;
    }
    const digest state_hash = store_hash(&p.summary);
    digest_to_hex(&state_hash, hash_hex);
    snprintf(text, sizeof text,
             "OK epoch=%" PRIu64 " view=%" PRIu64 " committed_height=%" PRIu64
             " role=%s halted=%" PRIu32 " highest_qc_view=%" PRIu64 " sync_target=%" PRIu64
             " validators=%zu state_height=%" PRIu64 " state_hash=%s data_blocks=%" PRIu64
             " commands=%" PRIu64 " keys=%" PRIu64 " sessions_opened=%" PRIu64
             " blocks_refused=%" PRIu64 " pool=%zu connections=%zu proposals=%" PRIu64 " votes=%" PRIu64
             " view_timeouts=%" PRIu64 " messages_in=%" PRIu64 " messages_out=%" PRIu64
             " bytes_in=%" PRIu64 " bytes_out=%" PRIu64 " messages_rejected=%" PRIu64
             " events_dropped=%" PRIu64,
             p.info.epoch, p.info.view, p.info.committed_height,
             p.info.role == HOTSTUFF_ROLE_LISTENER ? "listener" : "validator", p.info.halted, p.info.highest_qc_view,
             p.info.sync_target_height, p.validators, p.summary.height, hash_hex,
             p.summary.data_blocks, p.summary.commands, p.summary.keys,
             p.summary.next_session - 1, app_refused(s->app), pool_waiting(s->pool), s->count, p.metrics.proposals,
             p.metrics.votes, p.metrics.view_timeouts, p.metrics.messages_in,
             p.metrics.messages_out, p.metrics.bytes_in, p.metrics.bytes_out,
             p.metrics.messages_rejected, p.metrics.events_dropped);
    emit_line(c, text);
}

static void answer_read(struct server *s, struct connection *c, const char *line) {
    if (strncmp(line, "GET ", 4) == 0)
        answer_get(s, c, line + 4);
    else if (strncmp(line, "WHERE ", 6) == 0)
        answer_where(s, c, line + 6);
    else if (strncmp(line, "HASH ", 5) == 0)
        answer_hash(s, c, line + 5);
    else if (strncmp(line, "EVIDENCE ", 9) == 0)
        answer_evidence(s, c, line + 9);
    else if (strncmp(line, "STATUS", 6) != 0)
        answer_part(s, c, line);
    else
        answer_status(s, c);
}

/* ---- writes --------------------------------------------------------------------------------- */

/* Answers from the committed state what the state already knows. The command is in the pool by now,
 * so a block that commits it later than this snapshot is the follower's to see: none is missed. */
static void resolve_known(struct server *s, const struct command *c) {
    hotstuff_block_tree *tree;
    enum outcome outcome = OUTCOME_APPLIED;
    uint64_t height = 0, made = 0;
    hotstuff_status status = hotstuff_replica_snapshot(s->replica, &tree);
    if (status == HOTSTUFF_OK) {
        status = store_judge(tree, c, &outcome, &height, &made);
        hotstuff_block_tree_free(tree);
    }
    if (status != HOTSTUFF_OK) {
        log_line(HOTSTUFF_LOG_ERROR, "kv", "reading a session: %s",
                 hotstuff_status_message(status));
        return; /* its deadline still stands */
    }
    if (outcome == OUTCOME_DUPLICATE) pool_resolve(s->pool, c, VERDICT_COMMITTED, height, made);
    if (outcome == OUTCOME_STALE) pool_resolve(s->pool, c, VERDICT_STALE, 0, 0);
    if (outcome == OUTCOME_EXPIRED) pool_resolve(s->pool, c, VERDICT_EXPIRED_SESSION, 0, 0);
    if (outcome == OUTCOME_REFUSED) pool_resolve(s->pool, c, VERDICT_REFUSED, 0, 0);
}

/* Whether what this replica proposes is heard. */
static hotstuff_status is_validator(const hotstuff_replica *replica, bool *out) {
    hotstuff_replica_info info;
    hotstuff_replica_info_init(&info, sizeof info);
    hotstuff_status status = hotstuff_replica_get_info(replica, &info);
    *out = status == HOTSTUFF_OK && info.role == HOTSTUFF_ROLE_VALIDATOR;
    return status;
}

/* Puts a command into the pool; if it does not go, says why and returns false. */
static bool submit(struct server *s, const struct command *command, struct ticket ticket,
                   char refusal[SHORT_MAX]) {
    bool may_propose;
    hotstuff_status status = is_validator(s->replica, &may_propose);
    if (status != HOTSTUFF_OK) {
        say_failure(refusal, status);
        return false;
    }
    if (!may_propose) {
        say(refusal, "ERR listener this replica proposes nothing: ask a validator");
        return false;
    }
    int64_t deadline_ms = clock_ms() + (int64_t)s->config->commit_timeout_ms;
    if (!pool_submit(s->pool, command, ticket, deadline_ms)) {
        say(refusal, "ERR busy the pool is full: try again later");
        return false;
    }
    s->submitted = true;
    resolve_known(s, command);
    return true;
}

static void submit_as_request(struct server *s, struct connection *c,
                              const struct command *command) {
    struct ticket ticket = {.connection = c->id, .request = c->next_request};
    struct request *r = new_request(c);
    const char *complaint = command_complaint(command);
    if (complaint != NULL) {
        say(r->text, "ERR syntax %s", complaint);
        r->state = REQUEST_ANSWERED;
    } else if (!submit(s, command, ticket, r->text)) {
        r->state = REQUEST_ANSWERED;
    } else {
        r->state = REQUEST_WAITING;
        c->waiting++;
    }
}

static uint64_t random_nonce(void) {
    uint64_t nonce = 0;
    while (nonce == 0)
        if (getrandom(&nonce, sizeof nonce, 0) != sizeof nonce) nonce = 0;
    return nonce;
}

/* Begins to open the connection's own session. False: it cannot, and the line gets its answer. */
static bool open_session(struct server *s, struct connection *c) {
    const struct command open = {.kind = COMMAND_OPEN, .client = random_nonce()};
    const struct ticket ticket = {.connection = c->id, .request = REQUEST_NONE};
    c->opening = submit(s, &open, ticket, c->open_failed);
    return c->opening;
}

/* A command without a session takes the connection's. False: the line must wait for it. */
static bool take_own_session(struct server *s, struct connection *c, struct command *command) {
    if (c->session != 0) {
        command->client = c->session;
        command->sequence = c->next_sequence++;
        return true;
    }
    if (c->opening) return false;
    if (c->open_failed[0] == '\0' && open_session(s, c)) return false;
    return true;
}

/* ---- lines ---------------------------------------------------------------------------------- */

/* Cuts the first word off *rest; "" when there is none. */
static char *cut_word(char **rest) {
    char *word = *rest;
    *rest += strcspn(*rest, " ");
    if (**rest == ' ') *(*rest)++ = '\0';
    return word;
}

static void answer_now(struct connection *c, const char *text) {
    struct request *r = new_request(c);
    r->state = REQUEST_ANSWERED;
    say(r->text, "%s", text);
}

static void answer_in_turn(struct connection *c, const char *verb, const char *argument) {
    struct request *r = new_request(c);
    r->state = REQUEST_READ;
    c->reading++;
    say(r->text, "%s %s", verb, argument);
}

/* "@session:sequence" */
static bool parse_name(const char *word, struct command *command) {
    char *end;
    if (word[1] < '0' || word[1] > '9') return false;
    errno = 0;
    command->client = strtoull(word + 1, &end, 10);
    if (*end != ':' || end[1] < '0' || end[1] > '9') return false;
    command->sequence = strtoull(end + 1, &end, 10);
    return *end == '\0' && errno == 0 && command->client != 0 && command->sequence != 0;
}

static void take_open(struct server *s, struct connection *c, const char *argument) {
    struct command open = {.kind = COMMAND_OPEN, .client = 0};
    size_t digits = strlen(argument);
    bool good = digits <= 16;
    for (size_t i = 0; i < digits && good; i++) {
        good = hex_digit(argument[i]) >= 0;
        open.client = open.client << 4 | (uint64_t)(hex_digit(argument[i]) & 15);
    }
    if (digits == 0) open.client = random_nonce();
    if (good && open.client != 0)
        submit_as_request(s, c, &open);
    else
        answer_now(c, "ERR syntax the nonce of OPEN is 1 to 16 hexadecimal digits, not all 0");
}

/* SET, DEL and VALIDATOR. False: the line must wait. */
static bool take_write(struct server *s, struct connection *c, struct command *command) {
    if (c->reading > 0) return false; /* an earlier read must not see a later write */
    if (command->client != 0) {
        submit_as_request(s, c, command);
        return true;
    }
    /* Nobody opens a session for a command that will be refused. */
    command->client = command->sequence = 1;
    if (command_complaint(command) == NULL) {
        command->client = 0;
        if (!take_own_session(s, c, command)) return false;
    }
    if (command->client != 0) {
        submit_as_request(s, c, command);
    } else {
        answer_now(c, c->open_failed);
        c->open_failed[0] = '\0';
    }
    return true;
}

/* Turns the words of a VALIDATOR command into bytes; leaves it without a key if they are wrong. */
static void parse_change(struct command *command, uint8_t bytes[ADDRESS_LEN + POWER_LEN]) {
    const char *address = (const char *)command->key, *power = (const char *)command->value;
    char *end;
    errno = 0;
    const uint64_t number = strtoull(power, &end, 10);
    const bool good = command->key_len == 2 * ADDRESS_LEN &&
                      hex_decode(address, bytes, ADDRESS_LEN) && *power >= '0' && *power <= '9' &&
                      *end == '\0' && errno == 0;
    put_u64(bytes + ADDRESS_LEN, number);
    command->key = bytes;
    command->key_len = good ? ADDRESS_LEN : 0;
    command->value = bytes + ADDRESS_LEN;
    command->value_len = POWER_LEN;
}

/* A write, or false for anything else; *waits: its line must be taken again later. The line is not
 * changed, so that it can be. */
static bool try_write(struct server *s, struct connection *c, const char *line, bool *waits) {
    struct command command = {.client = 0};
    char name[64] = "";
    if (*line == '@') {
        size_t len = strcspn(line, " ");
        if (len < sizeof name) memcpy(name, line, len);
        if (!parse_name(name, &command)) {
            answer_now(c, "ERR syntax expected @session:sequence, two numbers from 1");
            return true;
        }
        line += len + (line[len] == ' ');
    }
    if (strncmp(line, "SET ", 4) == 0)
        command.kind = COMMAND_SET;
    else if (strncmp(line, "DEL ", 4) == 0)
        command.kind = COMMAND_DELETE;
    else if (strncmp(line, "VALIDATOR ", 10) == 0)
        command.kind = COMMAND_VALIDATOR;
    else if (name[0] != '\0')
        answer_now(c, "ERR syntax after @session:sequence comes SET, DEL or VALIDATOR");
    if (command.kind == 0) return name[0] != '\0';

    const char *key = strchr(line, ' ') + 1, *value = key + strcspn(key, " ");
    command.key = (const uint8_t *)key;
    command.key_len = (size_t)(value - key);
    if (*value == ' ') value++;
    command.value = (const uint8_t *)value;
    command.value_len = strlen(value);
    uint8_t change[ADDRESS_LEN + POWER_LEN];
    if (command.kind == COMMAND_VALIDATOR) parse_change(&command, change);
    *waits = !take_write(s, c, &command);
    return true;
}

/* Answered by a part of something that may be long. */
static bool is_part(const char *verb) {
    return strcmp(verb, "BLOCK") == 0 || strcmp(verb, "PROOF") == 0 || strcmp(verb, "EPOCH") == 0;
}

/* One whole line. False: it must wait (for reads, or the connection's session), unchanged. */
static bool take_line(struct server *s, struct connection *c, char *line, size_t len) {
    bool waits = false;
    if (memchr(line, '\0', len) != NULL) {
        answer_now(c, "ERR syntax a NUL byte");
        return true;
    }
    if (try_write(s, c, line, &waits)) return !waits;

    char *rest = line;
    const char *verb = cut_word(&rest);
    const bool bare = *rest == '\0';
    if (strcmp(verb, "GET") == 0 || strcmp(verb, "WHERE") == 0) {
        if (bare || strlen(rest) > KEY_MAX || strchr(rest, ' ') != NULL)
            answer_now(c, "ERR syntax GET takes a key: one word of at most 200 bytes");
        else
            answer_in_turn(c, verb, rest);
    } else if (strcmp(verb, "HASH") == 0 && !bare && strlen(rest) <= 20) {
        answer_in_turn(c, verb, rest);
    } else if (strcmp(verb, "EVIDENCE") == 0 && !bare && strlen(rest) <= 20) {
        answer_in_turn(c, verb, rest);
    } else if (is_part(verb) && !bare && strlen(rest) <= 41) {
        answer_in_turn(c, verb, rest);
    } else if (strcmp(verb, "STATUS") == 0 && bare) {
        answer_in_turn(c, verb, "");
    } else if (strcmp(verb, "OPEN") == 0) {
        take_open(s, c, rest);
    } else if (strcmp(verb, "HELP") == 0) {
        answer_now(c, "OK SET key value | DEL key | GET key | VALIDATOR address power | OPEN [nonce] "
                      "| @session:sequence SET key value | HASH height | EVIDENCE index | WHERE key "
                      "| BLOCK height offset | PROOF height offset | EPOCH epoch offset | STATUS "
                      "| QUIT");
    } else if (strcmp(verb, "QUIT") == 0 && bare) {
        answer_now(c, "OK bye");
        c->eof = true;
    } else {
        answer_now(c, "ERR syntax unknown request; HELP lists them");
    }
    return true;
}

/* The line that fills the whole buffer: answered once, and skipped to its end. */
static void refuse_long_line(struct connection *c) {
    char text[SHORT_MAX];
    say(text, "ERR syntax a line has at most %d bytes", REQUEST_LINE_MAX - 1);
    answer_now(c, text);
    c->discarding = true;
    c->in_len = 0;
}

/* Turns lines of the in buffer into requests, while there is room for them. */
static bool take_lines(struct server *s, struct connection *c) {
    size_t at = 0;
    bool any = false;
    while (c->next_request - c->first_request < PIPELINE_MAX) {
        char *line = c->in + at, *end = memchr(line, '\n', c->in_len - at);
        if (end == NULL) {
            if (c->discarding) at = c->in_len;
            if (at == 0 && c->in_len == sizeof c->in) refuse_long_line(c);
            break;
        }
        if (c->discarding) {
            c->discarding = false;
        } else {
            size_t len = (size_t)(end - line);
            if (len > 0 && line[len - 1] == '\r') len--;
            const char ending = line[len];
            line[len] = '\0';
            if (!take_line(s, c, line, len)) {
                line[len] = ending;
                break;
            }
            any = true;
        }
        at = (size_t)(end - c->in) + 1;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    return any;
}

/* ---- the life of a connection --------------------------------------------------------------- */

/* Moves answers to the out buffer, in order, as far as they are known and fit. */
static bool answer_heads(struct server *s, struct connection *c) {
    bool any = false;
    if (c->out_at > 0) {
        memmove(c->out, c->out + c->out_at, c->out_len - c->out_at);
        c->out_len -= c->out_at;
        c->out_at = 0;
    }
    while (c->first_request < c->next_request && sizeof c->out - c->out_len >= ANSWER_MAX) {
        const struct request *r = request_at(c, c->first_request);
        if (r->state == REQUEST_WAITING) break;
        if (r->state == REQUEST_READ) {
            answer_read(s, c, r->text);
            c->reading--;
        } else {
            emit_line(c, r->text);
        }
        c->first_request++;
        any = true;
    }
    return any;
}

static bool flush(struct connection *c) {
    bool any = false;
    while (c->out_at < c->out_len) {
        ssize_t sent = send(c->fd, c->out + c->out_at, c->out_len - c->out_at,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) c->broken = true;
            break;
        }
        c->out_at += (size_t)sent;
        c->moved_ms = clock_ms();
        any = true;
    }
    return any;
}

static void advance(struct server *s, struct connection *c) {
    bool moved = true;
    while (moved && !c->broken) {
        moved = take_lines(s, c);
        moved |= answer_heads(s, c);
        moved |= flush(c);
    }
    const bool idle = c->first_request == c->next_request && c->out_at == c->out_len;
    if (c->eof && idle && !c->opening) c->broken = true; /* nothing is left to say */
}

static void receive(struct connection *c) {
    ssize_t got = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, MSG_DONTWAIT);
    if (got > 0) {
        c->in_len += (size_t)got;
        c->moved_ms = clock_ms();
    } else if (got == 0) {
        c->eof = true;
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        c->broken = true;
    }
}

static bool may_receive(const struct connection *c) { return !c->eof && c->in_len < sizeof c->in; }

static struct connection *find_connection(const struct server *s, uint64_t id) {
    for (size_t i = 0; i < s->count; i++)
        if (s->connections[i]->id == id) return s->connections[i];
    return NULL; /* it has left; nobody hears the answer */
}

/* The session that the connection's writes wait for is open, or could not be. */
static void session_opened(struct connection *c, const struct done *d) {
    c->opening = false;
    if (d->verdict == VERDICT_COMMITTED) {
        c->session = d->made;
        c->next_sequence = 1;
    } else {
        say_done(c->open_failed, d);
    }
}

static void deliver(struct server *s, const struct done *d) {
    struct connection *c = find_connection(s, d->ticket.connection);
    if (c == NULL) return;
    if (d->ticket.request == REQUEST_NONE) {
        session_opened(c, d);
        return;
    }
    struct request *r = request_at(c, d->ticket.request);
    say_done(r->text, d);
    r->state = REQUEST_ANSWERED;
    c->waiting--;
    if (d->verdict == VERDICT_EXPIRED_SESSION && d->client == c->session)
        c->session = 0; /* the next write opens another */
}

static void deliver_all(struct server *s) {
    struct done d;
    while (pool_take_done(s->pool, &d)) deliver(s, &d);
}

/* ---- accepting ------------------------------------------------------------------------------ */

static void refuse_connection(int fd) {
    static const char text[] = "ERR busy too many connections\n";
    ssize_t sent = send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent; /* a courtesy */
    close(fd);
}

static void accept_one(struct server *s) {
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_line(HOTSTUFF_LOG_WARN, "kv", "accept: %s", strerror(errno));
            s->accept_after_ms = clock_ms() + ACCEPT_PAUSE_MS;
        }
        return; /* the client has gone, or it will be asked again */
    }
    struct connection *c =
        s->count < s->config->connections_max ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) {
        refuse_connection(fd);
        return;
    }
    const int on = 1; /* answers are short: no waiting to fill a segment */
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) != 0)
        log_line(HOTSTUFF_LOG_DEBUG, "kv", "setsockopt: %s", strerror(errno));
    c->fd = fd;
    c->id = ++s->next_id;
    c->moved_ms = clock_ms();
    s->connections[s->count++] = c;
}

static void drop(struct server *s, size_t i) {
    close(s->connections[i]->fd);
    free(s->connections[i]);
    s->connections[i] = s->connections[--s->count];
}

static void drop_broken(struct server *s, int64_t now_ms) {
    for (size_t i = s->count; i-- > 0;) {
        struct connection *c = s->connections[i];
        const int64_t idle_ms = now_ms - c->moved_ms;
        if (c->waiting == 0 && !c->opening && idle_ms >= (int64_t)s->config->client_idle_ms)
            c->broken = true;
        if (c->broken) drop(s, i);
    }
}

/* ---- the loop ------------------------------------------------------------------------------- */

static int64_t earlier(int64_t a, int64_t b) { return b < a ? b : a; }

/* How long nothing needs doing by itself; -1: for ever. */
static int wait_ms(const struct server *s, int64_t now_ms) {
    int64_t until = INT64_MAX;
    const int64_t deadline_ms = pool_next_deadline(s->pool);
    if (deadline_ms >= 0)
        until = earlier(deadline_ms, s->notified_ms + NOTIFY_AGAIN_MS);
    for (size_t i = 0; i < s->count; i++)
        if (s->connections[i]->waiting == 0 && !s->connections[i]->opening)
            until = earlier(until, s->connections[i]->moved_ms + (int64_t)s->config->client_idle_ms);
    if (s->accept_after_ms > now_ms) until = earlier(until, s->accept_after_ms);
    if (until == INT64_MAX) return -1;
    if (until <= now_ms) return 0;
    return until - now_ms < 60000 ? (int)(until - now_ms) : 60000;
}

static size_t fill_polled(struct server *s, int64_t now_ms) {
    s->polled[0] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
    s->polled[1] = (struct pollfd){.fd = now_ms < s->accept_after_ms ? -1 : s->listen_fd,
                                   .events = POLLIN};
    for (size_t i = 0; i < s->count; i++) {
        const struct connection *c = s->connections[i];
        short events = may_receive(c) ? POLLIN : 0;
        if (c->out_at < c->out_len) events |= POLLOUT;
        s->polled[2 + i] = (struct pollfd){.fd = c->fd, .events = events};
    }
    return 2 + s->count;
}

static void drain_wake(const struct server *s) {
    char bytes[256];
    while (read(s->wake_fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes) {}
}

/* Gives the commands back that wait at a replica which proposes no more. */
static void give_up_if_listener(struct server *s) {
    bool may_propose;
    if (is_validator(s->replica, &may_propose) == HOTSTUFF_OK && !may_propose)
        pool_expire(s->pool, INT64_MAX, VERDICT_LISTENER);
}

/* Says that there is work: for new commands at once, and again while any wait, because a block that
 * held them may have been abandoned. */
static void notify_if_due(struct server *s, int64_t now_ms) {
    const bool again =
        now_ms - s->notified_ms >= NOTIFY_AGAIN_MS && pool_waiting(s->pool) > 0;
    if (!s->submitted && !again) return;
    s->submitted = false;
    s->notified_ms = now_ms;
    if (again) give_up_if_listener(s);
    hotstuff_status status = hotstuff_replica_notify(s->replica);
    if (status != HOTSTUFF_OK)
        log_line(HOTSTUFF_LOG_WARN, "kv", "notify: %s", hotstuff_status_message(status));
}

static void one_pass(struct server *s) {
    int64_t now_ms = clock_ms();
    const size_t polled = fill_polled(s, now_ms);
    if (poll(s->polled, (nfds_t)polled, wait_ms(s, now_ms)) < 0) {
        if (errno != EINTR) log_line(HOTSTUFF_LOG_ERROR, "kv", "poll: %s", strerror(errno));
        return;
    }
    if (s->polled[0].revents != 0) drain_wake(s);
    for (size_t i = 0; i < polled - 2; i++) {
        const short events = s->polled[2 + i].revents;
        if (events & (POLLERR | POLLHUP | POLLNVAL)) s->connections[i]->broken = true;
        else if (events & POLLIN) receive(s->connections[i]);
    }
    if (s->polled[1].revents != 0) accept_one(s);
    now_ms = clock_ms();
    pool_expire(s->pool, now_ms, VERDICT_TIMEOUT);
    deliver_all(s);
    for (size_t i = 0; i < s->count; i++) advance(s, s->connections[i]);
    drop_broken(s, now_ms);
    notify_if_due(s, now_ms);
}

void server_run(struct server *s, hotstuff_replica *replica, int (*stop)(void)) {
    s->replica = replica;
    while (stop() == 0) one_pass(s);
    pool_expire(s->pool, INT64_MAX, VERDICT_STOPPED);
    deliver_all(s);
    for (size_t i = 0; i < s->count; i++) {
        s->connections[i]->in_len = 0; /* no new requests */
        advance(s, s->connections[i]);
    }
}

/* ---- the listening socket ------------------------------------------------------------------- */

/* "[host:]port", where an IPv6 host stands in brackets. */
static bool split_address(const char *text, char host[NI_MAXHOST], char port[NI_MAXSERV]) {
    const char *colon = strrchr(text, ':');
    const char *port_text = colon == NULL ? text : colon + 1;
    size_t host_len = colon == NULL ? 0 : (size_t)(colon - text);
    if (host_len >= 2 && text[0] == '[' && text[host_len - 1] == ']') {
        text++;
        host_len -= 2;
    }
    if (host_len >= NI_MAXHOST || strlen(port_text) >= NI_MAXSERV || *port_text == '\0')
        return false;
    strcpy(host, "127.0.0.1");
    if (host_len > 0) {
        memcpy(host, text, host_len);
        host[host_len] = '\0';
    }
    strcpy(port, port_text);
    return true;
}

static int listen_at(const struct addrinfo *a) {
    const int on = 1;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static bool name_socket(int fd, char out[ADDRESS_TEXT_MAX]) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0 ||
        getnameinfo((const struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return false;
    snprintf(out, ADDRESS_TEXT_MAX, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
             port);
    return true;
}

static bool start_listening(struct server *s) {
    char host[NI_MAXHOST], port[NI_MAXSERV];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found;
    const char *text = s->config->client_listen;
    if (!split_address(text, host, port)) {
        log_line(HOTSTUFF_LOG_ERROR, "kv", "client_listen: expected [host:]port, got \"%s\"", text);
        return false;
    }
    int failure = getaddrinfo(host, port, &hints, &found);
    if (failure != 0) {
        log_line(HOTSTUFF_LOG_ERROR, "kv", "client_listen %s: %s", text, gai_strerror(failure));
        return false;
    }
    s->listen_fd = listen_at(found);
    freeaddrinfo(found);
    if (s->listen_fd < 0 || !name_socket(s->listen_fd, s->address)) {
        log_line(HOTSTUFF_LOG_ERROR, "kv", "client_listen %s: %s", text, strerror(errno));
        return false;
    }
    return true;
}

struct server *server_new(const struct config *config, struct pool *pool, const struct app *app,
                          int wake_fd) {
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->config = config;
    s->pool = pool;
    s->app = app;
    s->wake_fd = wake_fd;
    s->listen_fd = -1;
    s->connections = calloc(config->connections_max, sizeof(struct connection *));
    s->polled = calloc(2 + config->connections_max, sizeof *s->polled);
    if (s->connections == NULL || s->polled == NULL || !start_listening(s)) {
        server_free(s);
        return NULL;
    }
    return s;
}

const char *server_address(const struct server *s) { return s->address; }

void server_free(struct server *s) {
    if (s == NULL) return;
    while (s->count > 0) drop(s, 0);
    if (s->listen_fd >= 0) close(s->listen_fd);
    free(s->connections);
    free(s->polled);
    free(s);
}
