/* Preloaded before a host of libhotstuff: writes to the file SHIM_LOG what the library, and nobody
 * else in the process, asks of libc that a guest should not.
 *   getenv NAME      reads the environment
 *   signal NUMBER    changes what a signal does
 *   output FD        writes to stdout or stderr
 *   sigpipe FD       writes to a socket in a way that would raise SIGPIPE in this thread */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int log_fd = -1;

__attribute__((constructor)) static void open_log(void)
{
    const char *path = getenv("SHIM_LOG");
    if (path != NULL)
        log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

#define REAL(name) ((__typeof__(&name))real(#name))
#define BY_LIBRARY is_library(__builtin_return_address(0))

static int is_library(void *caller)
{
    Dl_info info;
    return dladdr(caller, &info) != 0 && info.dli_fname != NULL &&
           strstr(info.dli_fname, "libhotstuff") != NULL;
}

static void note(const char *format, ...)
{
    char line[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (log_fd >= 0)
        REAL(write)(log_fd, line, strlen(line));
}

/* A write without MSG_NOSIGNAL. */
static void check_write(int fd)
{
    struct stat file;
    sigset_t blocked;
    if (fd == log_fd)
        return;
    if (fd == 1 || fd == 2)
        note("output %d\n", fd);
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (fstat(fd, &file) == 0 && S_ISSOCK(file.st_mode) && !sigismember(&blocked, SIGPIPE))
        note("sigpipe %d\n", fd);
}

char *getenv(const char *name)
{
    if (BY_LIBRARY)
        note("getenv %s\n", name);
    return REAL(getenv)(name);
}

char *secure_getenv(const char *name)
{
    if (BY_LIBRARY)
        note("getenv %s\n", name);
    return REAL(secure_getenv)(name);
}

int sigaction(int number, const struct sigaction *action, struct sigaction *before)
{
    if (BY_LIBRARY && action != NULL)
        note("signal %d\n", number);
    return REAL(sigaction)(number, action, before);
}

sighandler_t signal(int number, sighandler_t handler)
{
    if (BY_LIBRARY)
        note("signal %d\n", number);
    return REAL(signal)(number, handler);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    if (BY_LIBRARY)
        check_write(fd);
    return REAL(write)(fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *slices, int count)
{
    if (BY_LIBRARY)
        check_write(fd);
    return REAL(writev)(fd, slices, count);
}

ssize_t send(int fd, const void *bytes, size_t length, int flags)
{
    if (BY_LIBRARY && !(flags & MSG_NOSIGNAL))
        check_write(fd);
    return REAL(send)(fd, bytes, length, flags);
}

ssize_t sendto(int fd, const void *bytes, size_t length, int flags, const struct sockaddr *to,
               socklen_t size)
{
    if (BY_LIBRARY && !(flags & MSG_NOSIGNAL))
        check_write(fd);
    return REAL(sendto)(fd, bytes, length, flags, to, size);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (BY_LIBRARY && !(flags & MSG_NOSIGNAL))
        check_write(fd);
    return REAL(sendmsg)(fd, message, flags);
}
