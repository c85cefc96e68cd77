/*
 * A disk that forgets what was not synced, for the data file of one process.
 *
 * The page cache survives `kill -9`, so this library is loaded in front of libc (LD_PRELOAD) and
 * keeps an undo log: before each write it appends the bytes that it overwrites, and a sync empties
 * the log. After the kill the test writes the bytes of the log back, all or some of them: what it
 * leaves is what a power failure could have left. No real sync is made, the time of one is waited.
 *
 *   CRASH_FILE      the data file
 *   CRASH_UNDO      the undo log
 *   CRASH_SYNC_US   how long a sync takes, in microseconds
 *   CRASH_AT        the process kills itself at this point: 2k before its k-th operation on the
 *                   file, 2k + 1 after it; none if 0
 *
 * A record of the log: length of the file, offset, length and old bytes of the write (four 64-bit
 * numbers), then the old bytes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int undo = -1;
static long points;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

/* Stop rather than report a wrong disk. */
static void require(int is_so) {
    if (!is_so)
        abort();
}

/* Whether `fd` is the data file. The path is looked at each time: the file may be made anew. */
static int is_data(int fd, struct stat *of) {
    struct stat data;
    const char *path = getenv("CRASH_FILE");
    int saved = errno;
    int is_it = path && fstat(fd, of) == 0 && S_ISREG(of->st_mode) && stat(path, &data) == 0 &&
                of->st_dev == data.st_dev && of->st_ino == data.st_ino;
    errno = saved;
    return is_it;
}

static void point(void) {
    long at = number("CRASH_AT");
    if (at && points++ == at)
        kill(getpid(), SIGKILL);
}

static off_t undo_length(void) {
    if (undo < 0)
        undo = open(getenv("CRASH_UNDO"), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct stat of;
    require(undo >= 0 && fstat(undo, &of) == 0);
    return of.st_size;
}

/* Appends what stands at `offset` to the log; returns its length before. */
static off_t remember(int fd, const struct stat *of, off_t offset, size_t length) {
    off_t before = undo_length();
    size_t old = 0;
    if (offset < of->st_size)
        old = (size_t)(of->st_size - offset) < length ? (size_t)(of->st_size - offset) : length;
    uint64_t head[4] = {(uint64_t)of->st_size, (uint64_t)offset, length, old};
    char *bytes = malloc(old + 1);
    char path[64];
    /* LMDB's second descriptor is write-only. */
    require(bytes && snprintf(path, sizeof path, "/proc/self/fd/%d", fd) > 0);
    int reader = open(path, O_RDONLY | O_CLOEXEC);
    require(reader >= 0);
    for (size_t done = 0; done < old;) {
        ssize_t got = pread(reader, bytes + done, old - done, offset + (off_t)done);
        require(got > 0);
        done += (size_t)got;
    }
    close(reader);
    struct iovec parts[2] = {{head, sizeof head}, {bytes, old}};
    require(syscall(SYS_writev, undo, parts, 2) == (ssize_t)(sizeof head + old));
    free(bytes);
    return before;
}

static void forget_from(off_t length) {
    require(syscall(SYS_ftruncate, undo, length) == 0);
}

static void take_time(void) {
    long us = number("CRASH_SYNC_US");
    if (us)
        usleep((useconds_t)us);
}

static ssize_t write_at(int fd, const struct stat *of, const struct iovec *parts, int count,
                        off_t offset) {
    size_t length = 0;
    for (int i = 0; i < count; i++)
        length += parts[i].iov_len;
    pthread_mutex_lock(&mutex);
    point();
    off_t before = remember(fd, of, offset, length);
    ssize_t result = syscall(SYS_pwritev, fd, parts, (long)count, (long)offset, 0L);
    int saved = errno;
    if (fcntl(fd, F_GETFL) & O_DSYNC) {
        take_time();
        forget_from(before);
    }
    point();
    pthread_mutex_unlock(&mutex);
    errno = saved;
    return result;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    struct stat of;
    if (!is_data(fd, &of))
        return syscall(SYS_pwrite64, fd, bytes, length, offset);
    struct iovec part = {(void *)bytes, length};
    return write_at(fd, &of, &part, 1, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite(fd, bytes, length, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    struct stat of;
    if (!is_data(fd, &of))
        return syscall(SYS_pwritev, fd, parts, (long)count, (long)offset, 0L);
    return write_at(fd, &of, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev(fd, parts, count, offset);
}

/* At the descriptor's own place, as LMDB writes neighbouring pages. */
ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct stat of;
    if (!is_data(fd, &of))
        return syscall(SYS_writev, fd, parts, (long)count);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t result = write_at(fd, &of, parts, count, offset);
    if (result > 0)
        lseek(fd, offset + result, SEEK_SET);
    return result;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    struct stat of;
    require(!is_data(fd, &of)); /* nobody does */
    return syscall(SYS_write, fd, bytes, length);
}

int ftruncate(int fd, off_t length) {
    struct stat of;
    if (!is_data(fd, &of))
        return (int)syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&mutex);
    point();
    off_t from = length < of.st_size ? length : of.st_size;
    remember(fd, &of, from, (size_t)(of.st_size - from));
    int result = (int)syscall(SYS_ftruncate, fd, length);
    point();
    pthread_mutex_unlock(&mutex);
    return result;
}

int ftruncate64(int fd, off_t length) {
    return ftruncate(fd, length);
}

static int sync_file(int fd, long call) {
    struct stat of;
    if (!is_data(fd, &of))
        return (int)syscall(call, fd);
    pthread_mutex_lock(&mutex);
    point();
    take_time();
    undo_length();
    forget_from(0);
    point();
    pthread_mutex_unlock(&mutex);
    return 0;
}

int fsync(int fd) {
    return sync_file(fd, SYS_fsync);
}

int fdatasync(int fd) {
    return sync_file(fd, SYS_fdatasync);
}

int msync(void *from, size_t length, int flags) {
    (void)from, (void)length, (void)flags;
    abort(); /* the data file is mapped for reading only */
}
