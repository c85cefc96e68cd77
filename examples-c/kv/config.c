/*
 * config.c - a table of keys, and a reader that says what it expected, and where.
 * SPDX-License-Identifier: Apache-2.0
 */
#define _POSIX_C_SOURCE 200809L
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "command.h"

/* ---- the keys ------------------------------------------------------------------------------- */

enum kind { TEXT, NUMBER, CHOICE, FLAG };

struct key {
    const char *name;
    enum kind kind;
    size_t offset; /* in struct config: a char[CONFIG_TEXT_MAX] or a uint64_t */
    uint64_t min, max;
    const char *choices[4]; /* their values are their places */
    const char *initial;    /* NULL: the key is required */
    const char *meaning;
};

#define AT(member) offsetof(struct config, member)
enum { MS_MAX = 24 * 60 * 60 * 1000 };

static const struct key keys[] = {
    {"chain_id", NUMBER, AT(chain_id), 0, UINT64_MAX, {0}, NULL,
     "the same for all replicas of a chain, different for each chain"},
    {"key_file", TEXT, AT(key_file), 0, 0, {0}, NULL, "made by `kv keygen`; mode 0600"},
    {"data_dir", TEXT, AT(data_dir), 0, 0, {0}, NULL, "of this replica alone"},
    {"create", FLAG, AT(create), 0, 0, {"false", "true"}, "false",
     "make data_dir if it is missing: for the first start only"},
    {"listen", TEXT, AT(listen), 0, 0, {0}, NULL, "host:port for the other replicas"},
    {"client_listen", TEXT, AT(client_listen), 0, 0, {0}, NULL,
     "[host:]port for clients; host is 127.0.0.1 unless named, port 0 takes any"},
    {"view_timeout_ms", NUMBER, AT(view_timeout_ms), 1, MS_MAX, {0}, "1000",
     "how long a view may take at first"},
    {"max_view_timeout_ms", NUMBER, AT(max_view_timeout_ms), 1, MS_MAX, {0}, "8000",
     "and at most; at least view_timeout_ms"},
    {"max_idle_ms", NUMBER, AT(max_idle_ms), 1, MS_MAX, {0}, "10000",
     "an idle chain makes an empty block this often; one value for the whole chain"},
    {"commit_rule", CHOICE, AT(commit_rule), 0, 0, {"three_chain", "two_chain"}, "three_chain",
     "one value for the whole chain"},
    {"vote_to", CHOICE, AT(vote_to), 0, 0, {"auto", "all", "next_leader"}, "auto",
     "who collects votes"},
    {"map_bytes", NUMBER, AT(map_bytes), 0, UINT64_C(1) << 46, {0}, "0",
     "the most the database may hold; 0: the library's choice"},
    {"block_bytes_max", NUMBER, AT(block_bytes_max), BLOCK_BYTES_MIN, 64 << 20, {0}, "262144",
     "one value for the whole chain"},
    {"block_commands_max", NUMBER, AT(block_commands_max), 1, BLOCK_COMMANDS_MAX, {0}, "1000",
     "in blocks that this replica proposes"},
    {"pool_commands_max", NUMBER, AT(pool_commands_max), 1, 2 * BLOCK_COMMANDS_MAX, {0}, "4096",
     "commands waiting here; more are answered ERR busy"},
    {"pool_bytes_max", NUMBER, AT(pool_bytes_max), KEY_MAX + VALUE_MAX, 1 << 30, {0}, "16777216",
     "and their keys and values"},
    {"commit_timeout_ms", NUMBER, AT(commit_timeout_ms), 1, MS_MAX, {0}, "10000",
     "a command that waits longer is answered ERR timeout"},
    {"connections_max", NUMBER, AT(connections_max), 1, 1024, {0}, "64", "clients at a time"},
    {"max_listeners", NUMBER, AT(max_listeners), 0, 1024, {0}, "0",
     "replicas of unknown keys that may follow the chain from here"},
    {"client_idle_ms", NUMBER, AT(client_idle_ms), 1, MS_MAX, {0}, "300000",
     "a client that says nothing for so long is sent away"},
};
enum { KEY_COUNT = sizeof keys / sizeof keys[0] };

/* ---- the reader ----------------------------------------------------------------------------- */

struct reader {
    const char *path;
    unsigned line;
    FILE *complaints;
    struct config *config;
    unsigned seen[KEY_COUNT]; /* the line that set it; 0: none */
    unsigned option_lines[CONFIG_OPTIONS_MAX], peer_lines[CONFIG_PEERS_MAX];
};

__attribute__((format(printf, 3, 4)))
static bool complain(const struct reader *r, const char *key, const char *format, ...) {
    va_list arguments;
    fprintf(r->complaints, "kv: %s:%u: %s%s", r->path, r->line, key, *key == '\0' ? "" : ": ");
    va_start(arguments, format);
    vfprintf(r->complaints, format, arguments);
    va_end(arguments);
    fputc('\n', r->complaints);
    return false;
}

/* Decimal digits and nothing else. */
static bool parse_number(const char *text, uint64_t *out) {
    uint64_t n = 0;
    if (*text == '\0') return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (n > (UINT64_MAX - digit) / 10) return false;
        n = 10 * n + digit;
    }
    *out = n;
    return true;
}

static bool set_choice(const struct reader *r, const struct key *key, const char *value,
                       uint64_t *out) {
    char expected[128] = "";
    for (uint64_t i = 0; i < 4 && key->choices[i] != NULL; i++) {
        if (strcmp(value, key->choices[i]) == 0) {
            *out = i;
            return true;
        }
        size_t len = strlen(expected);
        snprintf(expected + len, sizeof expected - len, "%s%s", i == 0 ? "" : " or ",
                 key->choices[i]);
    }
    return complain(r, key->name, "expected %s, got \"%s\"", expected, value);
}

static bool set(const struct reader *r, const struct key *key, const char *value) {
    void *member = (char *)r->config + key->offset;
    uint64_t *number = member;
    switch (key->kind) {
    case TEXT: strcpy(member, value); return true; /* both hold CONFIG_TEXT_MAX */
    case CHOICE:
    case FLAG: return set_choice(r, key, value, number);
    case NUMBER: break;
    }
    if (!parse_number(value, number) || *number < key->min || *number > key->max)
        return complain(r, key->name, "expected a whole number from %" PRIu64 " to %" PRIu64
                        ", got \"%s\"", key->min, key->max, value);
    return true;
}

/* `validator = ADDRESS POWER HOST:PORT`, or `peer = ADDRESS HOST:PORT`. */
static bool add_peer(struct reader *r, const char *key, char *value) {
    const bool is_validator = strcmp(key, "validator") == 0;
    const char *expected =
        is_validator ? "expected `address power host:port`, the address being 64 hexadecimal digits "
                       "and the power a whole number from 1"
                     : "expected `address host:port`, the address being 64 hexadecimal digits";
    struct config *c = r->config;
    if (c->peer_count == CONFIG_PEERS_MAX)
        return complain(r, key, "at most %d of them", CONFIG_PEERS_MAX);
    struct config_peer *p = &c->peers[c->peer_count];
    char *rest = NULL;
    const char *address = strtok_r(value, " \t", &rest);
    const char *power = is_validator ? strtok_r(NULL, " \t", &rest) : "";
    const char *host_port = strtok_r(NULL, " \t", &rest), *extra = strtok_r(NULL, " \t", &rest);
    if (host_port == NULL || extra != NULL) return complain(r, key, "%s", expected);
    if (strlen(address) != 2 * sizeof p->address.bytes ||
        !hex_decode(address, p->address.bytes, sizeof p->address.bytes))
        return complain(r, key, "%s; the address is \"%s\"", expected, address);
    if (is_validator && (!parse_number(power, &p->power) || p->power == 0))
        return complain(r, key, "%s; the power is \"%s\"", expected, power);
    if (strrchr(host_port, ':') == NULL)
        return complain(r, key, "%s; instead of host:port is \"%s\"", expected, host_port);
    strcpy(p->host_port, host_port);
    for (size_t i = 0; i < c->peer_count; i++)
        if (memcmp(&c->peers[i].address, &p->address, sizeof p->address) == 0)
            return complain(r, key, "this address is already on line %u", r->peer_lines[i]);
    r->peer_lines[c->peer_count++] = r->line;
    c->validator_count += is_validator;
    return true;
}

static bool add_option(struct reader *r, const char *key, const char *value) {
    struct config *c = r->config;
    const char *name = key + strlen("option.");
    if (*name == '\0') return complain(r, key, "expected `option.NAME = value`");
    for (size_t i = 0; i < c->option_count; i++)
        if (strcmp(c->options[i].name, name) == 0)
            return complain(r, key, "already set on line %u", r->option_lines[i]);
    if (c->option_count == CONFIG_OPTIONS_MAX)
        return complain(r, key, "at most %d options", CONFIG_OPTIONS_MAX);
    strcpy(c->options[c->option_count].name, name);
    strcpy(c->options[c->option_count].value, value);
    r->option_lines[c->option_count++] = r->line;
    return true;
}

static bool assign(struct reader *r, const char *key, char *value) {
    if (*value == '\0') return complain(r, key, "expected a value after '='");
    if (strcmp(key, "validator") == 0 || strcmp(key, "peer") == 0) return add_peer(r, key, value);
    if (strncmp(key, "option.", strlen("option.")) == 0) return add_option(r, key, value);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(key, keys[i].name) != 0) continue;
        if (r->seen[i] != 0) return complain(r, key, "already set on line %u", r->seen[i]);
        r->seen[i] = r->line;
        return set(r, &keys[i], value);
    }
    return complain(r, key, "unknown key; `kv --help` lists those that exist");
}

/* Without the blanks around it; works in place. */
static char *trim(char *text) {
    text += strspn(text, " \t\r\n");
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL) len--;
    text[len] = '\0';
    return text;
}

static bool read_line(struct reader *r, char *line) {
    line[strcspn(line, "#")] = '\0';
    char *key = trim(line);
    if (*key == '\0') return true;
    char *equals = strchr(key, '=');
    if (equals == NULL || equals == key)
        return complain(r, "", "expected `key = value`, got \"%s\"", key);
    *equals = '\0';
    return assign(r, trim(key), trim(equals + 1));
}

static bool read_lines(struct reader *r, FILE *file) {
    char line[CONFIG_TEXT_MAX];
    for (;;) {
        size_t len = 0;
        int c;
        r->line++;
        while ((c = fgetc(file)) != EOF && c != '\n') {
            if (c == '\0') return complain(r, "", "expected text, got a NUL byte");
            if (len == sizeof line - 1)
                return complain(r, "", "expected a line of less than %d bytes", CONFIG_TEXT_MAX);
            line[len++] = (char)c;
        }
        if (ferror(file)) return complain(r, "", "%s", strerror(errno));
        line[len] = '\0';
        if (!read_line(r, line)) return false;
        if (c == EOF) return true;
    }
}

/* Defaults for what was not said, and what only the whole can show. */
static bool complete(struct reader *r) {
    const struct config *c = r->config;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (r->seen[i] != 0) continue;
        if (keys[i].initial == NULL)
            return complain(r, keys[i].name, "missing at the end of the file; expected %s",
                            keys[i].meaning);
        if (!set(r, &keys[i], keys[i].initial)) return false;
    }
    if (c->validator_count == 0)
        return complain(r, "validator", "missing at the end of the file; expected one line each");
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (keys[i].offset == AT(max_view_timeout_ms) && r->seen[i] != 0) r->line = r->seen[i];
    if (c->max_view_timeout_ms < c->view_timeout_ms)
        return complain(r, "max_view_timeout_ms", "expected at least view_timeout_ms, which is %"
                        PRIu64 ", got \"%" PRIu64 "\"", c->view_timeout_ms,
                        c->max_view_timeout_ms);
    return true;
}

struct config *config_load(const char *path, FILE *complaints) {
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        fprintf(complaints, "kv: %s: %s\n", path, strerror(errno));
        return NULL;
    }
    struct reader r = {.path = path, .complaints = complaints, .config = calloc(1, sizeof *r.config)};
    if (r.config == NULL) fprintf(complaints, "kv: %s: no memory\n", path);
    bool good = r.config != NULL && read_lines(&r, file) && complete(&r);
    fclose(file);
    if (!good) {
        free(r.config);
        return NULL;
    }
    return r.config;
}

/* ---- help ----------------------------------------------------------------------------------- */

void config_describe(FILE *out) {
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct key *k = &keys[i];
        fprintf(out, "  %-20s %s", k->name, k->meaning);
        if (k->choices[0] != NULL) {
            fprintf(out, " (");
            for (size_t j = 0; j < 4 && k->choices[j] != NULL; j++)
                fprintf(out, "%s%s", j == 0 ? "" : ", ", k->choices[j]);
            fprintf(out, ")");
        }
        if (k->initial == NULL)
            fprintf(out, "; required\n");
        else
            fprintf(out, " [%s]\n", k->initial);
    }
    fprintf(out, "  %-20s %s\n", "validator",
            "ADDRESS POWER HOST:PORT; one line for each of the genesis; required");
    fprintf(out, "  %-20s %s\n", "peer",
            "ADDRESS HOST:PORT; a replica that is no validator at first");
    fprintf(out, "  %-20s %s\n", "option.NAME", "any option of the library, by its name");
}
