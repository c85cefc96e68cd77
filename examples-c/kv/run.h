/*
 * run.h - what `kv run` and `kv genesis` do. Made in C by run.c and app.c, in C++ by ../kv_cpp.cc.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef KV_RUN_H
#define KV_RUN_H

#include "config.h"

enum { KV_EXIT_HALTED = 3 };

/** One replica and its clients, until it is stopped. The exit code. */
int kv_run(const struct config *c);
/** Prints the genesis hash. The exit code. */
int kv_genesis(const struct config *c);

#endif
