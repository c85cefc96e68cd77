/*
 * stopping.h - why the server stops, and the pipe that tells it.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef KV_STOPPING_H
#define KV_STOPPING_H

#include <stdbool.h>

enum { STOPPING_NOT, STOPPING_SIGNALLED, STOPPING_ENDED };

/** Opens the pipe; SIGINT and SIGTERM stop from now on, SIGPIPE does nothing. False: see errno. */
bool stopping_prepare(void);
/** From a signal handler or any thread. The first reason stays. */
void stopping_begin(int why);
/** STOPPING_NOT while the server may go on. */
int stopping_why(void);
/** Both ends do not block. What is written wakes the server; nobody else reads. */
int stopping_fd_to_read(void);
int stopping_fd_to_write(void);
/** Closes the pipe. */
void stopping_done(void);

#endif
