/*
 * main.c - the command line.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <hotstuff.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "keys.h"
#include "log.h"
#include "run.h"

enum { EXIT_USAGE = 2 };

static int keygen(const char *path) { return keys_generate(path) ? EXIT_SUCCESS : EXIT_FAILURE; }

static int address(const char *path) {
    hotstuff_keypair *key;
    char hex[ADDRESS_HEX_LEN + 1];
    if (!keys_load(path, &key)) return EXIT_FAILURE;
    bool fine = keys_address(key, hex);
    hotstuff_keypair_free(key);
    if (fine) puts(hex);
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- the command line ----------------------------------------------------------------------- */

static void usage(FILE *out) {
    fprintf(out,
"kv - a replicated key-value server, an example of libhotstuff %s\n"
"\n"
"  kv keygen FILE                     make a key, print its address\n"
"  kv address FILE                    print the address of a key\n"
"  kv check CONFIG                    read a configuration, say what is wrong with it\n"
"  kv genesis CONFIG                  print the genesis hash: it must be the same everywhere\n"
"  kv run CONFIG [--log-level LEVEL]  run a replica; LEVEL: off error warn info debug trace [info]\n"
"  kv --help | --version\n"
"\n"
"A first cluster: `kv keygen` for each replica; then each gets a configuration with the addresses of\n"
"all, and `create = true`; compare `kv genesis`; start them. Afterwards take `create` out, so that a\n"
"disk that is not mounted is an error and not a new beginning.\n"
"\n"
"CONFIG has lines of `key = value`; '#' begins a comment. Paths are relative to where kv runs.\n",
            hotstuff_version_string());
    config_describe(out);
    fprintf(out,
"\n"
"Clients talk in lines (try `nc 127.0.0.1 PORT`); a request and its answer are a line each:\n"
"  SET key value         OK height            after its commit\n"
"  DEL key               OK height\n"
"  GET key               VALUE value | NONE   as committed at this replica\n"
"  VALIDATOR address n   OK height epoch      that replica has power n from this epoch on; 0: none\n"
"  OPEN [nonce]          OK height session    a session, for requests that can be repeated safely:\n"
"  @session:sequence SET|DEL|VALIDATOR ...    is applied once, wherever and however often it is sent\n"
"  HASH height           OK height state-hash block-hash\n"
"  EVIDENCE index        OK kind epoch=n view=n validator=address: who has lied, and is convicted\n"
"  WHERE key             OK height            of the last block that wrote or deleted it\n"
"  BLOCK height offset   OK length hex        a part of that block, as bytes: see light_client.c\n"
"  PROOF height offset   OK length hex        of the proof that it is committed\n"
"  EPOCH epoch offset    OK length hex        of the proof of who validates after that epoch\n"
"  STATUS                OK name=value ...\n"
"  HELP, QUIT\n"
"Failures: ERR syntax | busy | timeout | stale | expired | refused | listener | stopping | notfound |\n"
"internal.\n"
"Clients are not authenticated: whoever reaches the client port of any validator may write every key,\n"
"and say who the validators are. Keep client_listen on loopback, or behind something that asks.\n"
"\n"
"A validator joins while the chain runs: give it a configuration with the `validator` lines of the\n"
"others (they are the genesis's) and a `peer` line for itself, start it, let it catch up; then VALIDATOR\n"
"at one of the others. They let it in if they have its `peer` line, or `max_listeners` above 0. One that\n"
"is removed goes on as a listener.\n"
"\n"
"Exit codes: 0 stopped by SIGINT or SIGTERM, 1 could not start, 2 wrong usage, 3 the replica halted.\n");
}

static int wrong_usage(const char *what) {
    fprintf(stderr, "kv: %s; `kv --help` explains\n", what);
    return EXIT_USAGE;
}

static int with_config(const char *verb, const char *path) {
    struct config *c = config_load(path, stderr);
    if (c == NULL) return EXIT_USAGE;
    int result = EXIT_SUCCESS;
    if (strcmp(verb, "run") == 0)
        result = kv_run(c);
    else if (strcmp(verb, "genesis") == 0)
        result = kv_genesis(c);
    else
        printf("%s: %zu validators\n", path, c->validator_count);
    free(c);
    return result;
}

/* A newer library of the same ABI serves; an older one may lack what this was compiled for. */
static bool library_fits(void) {
    if (hotstuff_abi_version() == HOTSTUFF_ABI_VERSION &&
        hotstuff_version_number() >= HOTSTUFF_VERSION_NUMBER)
        return true;
    fprintf(stderr, "kv: compiled for libhotstuff %s, found %s\n", HOTSTUFF_VERSION_STRING,
            hotstuff_version_string());
    return false;
}

int main(int argc, char **argv) {
    int32_t level = HOTSTUFF_LOG_INFO;
    const char *verb = argc > 1 ? argv[1] : "--help";
    if (!library_fits()) return EXIT_FAILURE;
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "help") == 0) {
        usage(stdout);
        return argc > 1 ? EXIT_SUCCESS : EXIT_USAGE;
    }
    if (strcmp(verb, "--version") == 0) {
        printf("kv, libhotstuff %s\n", hotstuff_version_string());
        return EXIT_SUCCESS;
    }
    const bool wants_key = strcmp(verb, "keygen") == 0 || strcmp(verb, "address") == 0;
    const bool wants_config =
        strcmp(verb, "run") == 0 || strcmp(verb, "check") == 0 || strcmp(verb, "genesis") == 0;
    if (!wants_key && !wants_config) return wrong_usage("unknown command");
    if (argc < 3) return wrong_usage(wants_key ? "which key file?" : "which configuration?");
    if (argc == 5 && strcmp(verb, "run") == 0 && strcmp(argv[3], "--log-level") == 0) {
        if (!log_level_parse(argv[4], &level))
            return wrong_usage("--log-level: expected off, error, warn, info, debug or trace");
    } else if (argc != 3) {
        return wrong_usage("too many arguments");
    }
    if (!log_start(level)) return wrong_usage("the library takes no logger");
    if (strcmp(verb, "keygen") == 0) return keygen(argv[2]);
    if (strcmp(verb, "address") == 0) return address(argv[2]);
    return with_config(verb, argv[2]);
}
