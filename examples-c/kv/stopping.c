/*
 * stopping.c - signals, and the reason that came first.
 * SPDX-License-Identifier: Apache-2.0
 */
#define _POSIX_C_SOURCE 200809L
#include "stopping.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

static atomic_int reason = STOPPING_NOT;
static int wake_pipe[2] = {-1, -1};

/* A full pipe already wakes. */
void stopping_begin(int why) {
    int error = errno, expected = STOPPING_NOT;
    atomic_compare_exchange_strong(&reason, &expected, why);
    ssize_t written = write(wake_pipe[1], "", 1);
    (void)written;
    errno = error;
}

static void on_signal(int number) {
    (void)number;
    stopping_begin(STOPPING_SIGNALLED);
}

bool stopping_prepare(void) {
    struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&stop.sa_mask);
    sigemptyset(&ignore.sa_mask);
    if (pipe(wake_pipe) != 0) return false;
    for (int i = 0; i < 2; i++)
        if (fcntl(wake_pipe[i], F_SETFL, O_NONBLOCK) != 0 ||
            fcntl(wake_pipe[i], F_SETFD, FD_CLOEXEC) != 0)
            return false;
    return sigaction(SIGINT, &stop, NULL) == 0 && sigaction(SIGTERM, &stop, NULL) == 0 &&
           sigaction(SIGPIPE, &ignore, NULL) == 0;
}

int stopping_why(void) { return atomic_load(&reason); }
int stopping_fd_to_read(void) { return wake_pipe[0]; }
int stopping_fd_to_write(void) { return wake_pipe[1]; }

void stopping_done(void) {
    close(wake_pipe[0]);
    close(wake_pipe[1]);
}
