/*
 * server.h - clients: one thread, one poll(), the line protocol.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A request is a line, an answer is a line, requests of a connection take effect and are answered
 * in their order.
 *
 *   SET key value          OK height             applied by the block of that height
 *   DEL key                OK height
 *   GET key                VALUE value | NONE    as this replica has committed it, with every
 *                                                earlier write of the connection and no later one
 *   VALIDATOR address n    OK height epoch       that replica has power n from that epoch on; 0
 *                                                removes it
 *   OPEN [nonce]           OK height session     the nonce, 1 to 16 hexadecimal digits, makes the
 *                                                request safe to repeat
 *   @session:sequence SET|DEL|VALIDATOR ...      safe to repeat, at any replica: applied once, and
 *                                                answered with the height where it was
 *   HASH height            OK height state-hash block-hash
 *   EVIDENCE index         OK kind epoch=n view=n validator=address, from 0 on: who has signed what
 *                                                contradicts itself, as this replica has verified
 *   WHERE key              OK height              of the last block that wrote or deleted it, if
 *                                                it is not long ago: see store.h
 *   BLOCK height offset    OK length hex          4096 bytes or fewer of that block, encoded
 *   PROOF height offset    OK length hex          of the proof that it is committed
 *   EPOCH epoch offset     OK length hex          of the proof of who validates after that epoch
 *   STATUS                 OK name=value ...
 *   HELP, QUIT
 *
 * A write without @ belongs to a session that the server opens for the connection. Every failure is
 * "ERR word explanation": syntax, busy, timeout, stale, expired, refused, listener, stopping,
 * notfound, internal. After `timeout`, `stopping` and `listener` the outcome is unknown: repeat the
 * same (session, sequence), after the last two at another replica. After `busy` the request was not
 * taken.
 *
 * Bounds: the length of a line, PIPELINE_MAX requests under way in a connection (then it is read
 * no further), the answers it has not fetched, the number of connections, the pool.
 */
#ifndef KV_SERVER_H
#define KV_SERVER_H

#include <hotstuff.h>

#include "app.h"
#include "config.h"
#include "pool.h"

struct server;
/** Opens the listening socket. `wake_fd`: the end to read of the pipe that the pool writes to;
 *  everything is borrowed. NULL: the reason is logged. */
struct server *server_new(const struct config *config, struct pool *pool, const struct app *app,
                          int wake_fd);
/** Serves until stop() is not 0 (first that, then a byte in the pipe that `wake_fd` reads). Answers
 *  what it can, closes. */
void server_run(struct server *s, hotstuff_replica *replica, int (*stop)(void));
/** "127.0.0.1:7000", borrowed. */
const char *server_address(const struct server *s);
void server_free(struct server *s);

#endif
