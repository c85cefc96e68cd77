/* A guest that misbehaves: what test_binary.py looks for must be found in it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void offend(void)
{
    int ends[2];
    struct sigaction ignore;
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGUSR1, &ignore, NULL);
    if (getenv("HOTSTUFF_SECRET") != NULL || write(1, "", 0) < 0)
        fputs("never", stdout);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && write(ends[0], "x", 1) == 1) {
        close(ends[0]);
        close(ends[1]);
    }
}
