/*
 * light_client.c - reads keys of a kv cluster, and believes nothing but the chain's genesis.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   light_client TRUST HOST:PORT KEY[@HEIGHT]...
 *
 * HEIGHT is what SET answered; without it the server is asked. TRUST is a file that says who is
 * believed, one word and its values on a line:
 *
 *   genesis HASH               what `kv genesis` prints
 *   validator ADDRESS POWER    each `validator` line of the configuration, without host:port
 *   epoch NUMBER               if these are not the genesis's validators, but a later epoch's
 *
 * It has no replica and no disk, and asks one server, which may lie. For each key:
 *
 *   GET, WHERE     the value, and the height of the last block that wrote it: claims
 *   BLOCK          the block. The library computes its hash from the bytes; the hash covers the
 *                  header and, through it, the data, which holds the SET command with the value
 *   EPOCH ...      from the validators that are believed to those of the block's epoch: each proof
 *                  is signed by a quorum of the validators before, and names those after
 *   PROOF          the block is committed: signed by a quorum of the validators of its epoch
 *
 * So what is printed was written by a committed block of this chain. Whether a later block has
 * overwritten it, one server cannot prove here (the state hash of kv is no tree of hashes): ask
 * several, and take the greatest height.
 *
 * Exit codes: 0 all keys proved, 1 not, 2 wrong usage or a wrong TRUST.
 */
#define _POSIX_C_SOURCE 200809L
#include <hotstuff.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "kv/bytes.h"
#include "kv/command.h"

enum {
    LINE_MAX_BYTES = VALUE_MAX + 1024, /* the longest answer of a server */
    PART_BYTES = 4096,
    BYTES_MAX = 65 << 20, /* a block of the greatest size */
    ANSWER_S = 20,        /* how long a server may take to answer a line */
    ATTEMPTS = 5,         /* while somebody writes the key */
};

struct client {
    FILE *in;
    int fd;
    hotstuff_hash genesis;
    hotstuff_validator_set *trusted; /* the validators of its epoch */
};

struct bytes {
    uint8_t *data;
    size_t len;
};

__attribute__((format(printf, 1, 2)))
static bool refuse(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("light_client: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return false;
}

/* ---- who is believed ------------------------------------------------------------------------ */

static bool trust_line(struct client *c, const char *line) {
    char word[16], hex[2 * HOTSTUFF_HASH_LEN + 2];
    hotstuff_validator_address address;
    uint64_t number = 0;
    if (sscanf(line, "%15s", word) != 1 || word[0] == '#') return true;
    if (strcmp(word, "genesis") == 0)
        return sscanf(line, "%*s %65s", hex) == 1 && strlen(hex) == 2 * HOTSTUFF_HASH_LEN &&
               hex_decode(hex, c->genesis.bytes, HOTSTUFF_HASH_LEN);
    if (strcmp(word, "validator") == 0)
        return sscanf(line, "%*s %65s %" SCNu64, hex, &number) == 2 &&
               strlen(hex) == 2 * ADDRESS_LEN && hex_decode(hex, address.bytes, ADDRESS_LEN) &&
               hotstuff_validator_set_put(c->trusted, &address, number) == HOTSTUFF_OK;
    return strcmp(word, "epoch") == 0 && sscanf(line, "%*s %" SCNu64, &number) == 1 &&
           hotstuff_validator_set_set_epoch(c->trusted, number) == HOTSTUFF_OK;
}

static bool load_trust(struct client *c, const char *path) {
    static const hotstuff_hash none;
    char line[256];
    FILE *file = fopen(path, "r");
    if (file == NULL || hotstuff_validator_set_new(&c->trusted) != HOTSTUFF_OK) {
        perror(path);
        return false;
    }
    bool fine = true;
    while (fine && fgets(line, sizeof line, file) != NULL) fine = trust_line(c, line);
    fclose(file);
    if (!fine) return refuse("%s: cannot read the line: %s", path, line);
    if (memcmp(&c->genesis, &none, sizeof none) == 0) return refuse("%s: no genesis", path);
    return hotstuff_validator_set_len(c->trusted) > 0 || refuse("%s: no validator", path);
}

/* ---- the server ----------------------------------------------------------------------------- */

static bool dial(struct client *c, const char *text) {
    char host[256];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const struct timeval wait = {.tv_sec = ANSWER_S};
    struct addrinfo *found;
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        return refuse("%s is not HOST:PORT", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    int failure = getaddrinfo(host, colon + 1, &hints, &found);
    if (failure != 0) return refuse("%s: %s", text, gai_strerror(failure));
    c->fd = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
    bool fine = c->fd >= 0 && connect(c->fd, found->ai_addr, found->ai_addrlen) == 0 &&
                setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) == 0 &&
                (c->in = fdopen(dup(c->fd), "r")) != NULL;
    freeaddrinfo(found);
    if (!fine) perror(text);
    return fine;
}

/* One line out, one line in, without its end. */
__attribute__((format(printf, 3, 4)))
static bool ask(struct client *c, char answer[LINE_MAX_BYTES], const char *format, ...) {
    char request[KEY_MAX + 64];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(request, sizeof request - 1, format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= sizeof request - 1) return refuse("a key is too long");
    request[len] = '\n';
    if (send(c->fd, request, (size_t)len + 1, MSG_NOSIGNAL) != len + 1 ||
        fgets(answer, LINE_MAX_BYTES, c->in) == NULL)
        return refuse("the server does not answer");
    size_t got = strcspn(answer, "\n");
    if (answer[got] != '\n') return refuse("the server's line has no end");
    answer[got] = '\0';
    return true;
}

/* Adds one part to *out; *total: how long the whole is, as the first part said. */
static bool add_part(const char *answer, struct bytes *out, size_t *total) {
    uint64_t length;
    int at = 0;
    if (sscanf(answer, "OK %" SCNu64 " %n", &length, &at) != 1 || at == 0)
        return refuse("the server says: %s", answer);
    if (length == 0 || length > BYTES_MAX || (out->data != NULL && length != *total))
        return refuse("the server names a length that cannot be");
    if (out->data == NULL && (out->data = malloc((size_t)length)) == NULL)
        return refuse("no memory");
    *total = (size_t)length;
    const size_t left = *total - out->len, part = left < PART_BYTES ? left : PART_BYTES;
    if (strlen(answer + at) != 2 * part || !hex_decode(answer + at, out->data + out->len, part))
        return refuse("the server's part is no part");
    out->len += part;
    return true;
}

static bool fetch(struct client *c, const char *verb, uint64_t number, struct bytes *out) {
    char answer[LINE_MAX_BYTES];
    size_t total = 1;
    *out = (struct bytes){NULL, 0};
    while (out->len < total)
        if (!ask(c, answer, "%s %" PRIu64 " %zu", verb, number, out->len) ||
            !add_part(answer, out, &total)) {
            free(out->data);
            return false;
        }
    return true;
}

/* ---- what is proved ------------------------------------------------------------------------- */

/* Follows the validators to `epoch`, one proof after the other. */
static bool follow(struct client *c, uint64_t epoch) {
    while (hotstuff_validator_set_epoch(c->trusted) < epoch) {
        struct bytes proof;
        hotstuff_validator_set *next;
        if (!fetch(c, "EPOCH", hotstuff_validator_set_epoch(c->trusted), &proof)) return false;
        hotstuff_status status =
            hotstuff_verify_epoch_proof(&c->genesis, c->trusted, proof.data, proof.len, &next);
        free(proof.data);
        if (status != HOTSTUFF_OK)
            return refuse("the proof of an epoch: %s", hotstuff_status_message(status));
        hotstuff_validator_set_free(c->trusted);
        c->trusted = next;
    }
    return hotstuff_validator_set_epoch(c->trusted) == epoch ||
           refuse("the block is of an epoch before the one that is trusted");
}

static bool prove_block(struct client *c, const hotstuff_block *block) {
    hotstuff_hash hash;
    struct bytes proof;
    hotstuff_block_hash(block, &hash);
    if (!follow(c, hotstuff_block_epoch(block)) ||
        !fetch(c, "PROOF", hotstuff_block_height(block), &proof))
        return false;
    hotstuff_status status = hotstuff_verify_commit_proof(&c->genesis, c->trusted, &hash,
                                                          proof.data, proof.len, NULL);
    free(proof.data);
    return status == HOTSTUFF_OK ||
           refuse("the proof of the block: %s", hotstuff_status_message(status));
}

/* Whether the last command of the block on this key sets it to this value. */
static bool block_says(const hotstuff_block *block, const char *key, const char *value) {
    hotstuff_bytes data;
    struct batch_reader reader;
    struct command command;
    bool says = false;
    hotstuff_block_data(block, &data);
    if (!batch_open(&reader, data.data, data.len)) return false;
    while (batch_next(&reader, &command) == 1)
        if ((command.kind == COMMAND_SET || command.kind == COMMAND_DELETE) &&
            command.key_len == strlen(key) && memcmp(command.key, key, command.key_len) == 0)
            says = command.kind == COMMAND_SET && command.value_len == strlen(value) &&
                   memcmp(command.value, value, command.value_len) == 0;
    return says;
}

static hotstuff_block *fetch_block(struct client *c, uint64_t height) {
    struct bytes bytes;
    hotstuff_block *block;
    if (!fetch(c, "BLOCK", height, &bytes)) return NULL;
    hotstuff_status status = hotstuff_block_decode(&c->genesis, bytes.data, bytes.len, &block);
    free(bytes.data);
    if (status != HOTSTUFF_OK) refuse("the block: %s", hotstuff_status_message(status));
    return block;
}

/* 1: proved, and printed; 0: the key was written between the questions; -1: refused. */
static int prove(struct client *c, const char *key, const char *where) {
    char value[LINE_MAX_BYTES], found[LINE_MAX_BYTES];
    uint64_t height;
    if (!ask(c, value, "GET %s", key)) return -1;
    if (strncmp(value, "VALUE ", 6) != 0) {
        refuse("%s: the server says %s: that something is not there has no proof", key, value);
        return -1;
    }
    if (where == NULL) {
        if (!ask(c, found, "WHERE %s", key)) return -1;
        where = strncmp(found, "OK ", 3) == 0 ? found + 3 : found;
    }
    if (sscanf(where, "%" SCNu64, &height) != 1) {
        refuse("%s: no height: %s", key, where);
        return -1;
    }
    hotstuff_block *block = fetch_block(c, height);
    if (block == NULL) return -1;
    const bool says = block_says(block, key, value + 6), proved = says && prove_block(c, block);
    if (proved)
        printf("PROVED %s %s\n  height %" PRIu64 " epoch %" PRIu64 " view %" PRIu64 "\n", key,
               value + 6, hotstuff_block_height(block), hotstuff_block_epoch(block),
               hotstuff_block_view(block));
    hotstuff_block_free(block);
    return proved ? 1 : says ? -1 : 0;
}

static bool prove_key(struct client *c, char *key) {
    char *where = strrchr(key, '@');
    int proved = 0;
    if (where != NULL && where[1 + strspn(where + 1, "0123456789")] == '\0')
        *where++ = '\0';
    else
        where = NULL; /* a key with an @ */
    for (int i = 0; i < ATTEMPTS && proved == 0; i++) proved = prove(c, key, where);
    if (proved == 0) refuse("%s: the block does not say what the server says", key);
    return proved > 0;
}

int main(int argc, char **argv) {
    struct client c = {.fd = -1};
    int result = EXIT_SUCCESS;
    if (argc < 4) {
        fprintf(stderr, "light_client TRUST HOST:PORT KEY[@HEIGHT]...\n");
        return 2;
    }
    if (!load_trust(&c, argv[1])) return 2;
    if (!dial(&c, argv[2])) result = EXIT_FAILURE;
    for (int i = 3; i < argc && result == EXIT_SUCCESS; i++)
        if (!prove_key(&c, argv[i])) result = EXIT_FAILURE;
    hotstuff_validator_set_free(c.trusted);
    if (c.in != NULL) fclose(c.in);
    if (c.fd >= 0) close(c.fd);
    return result;
}
