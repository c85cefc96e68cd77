/*
 * keys.c - keys in files, and addresses as text.
 * SPDX-License-Identifier: Apache-2.0
 */
#define _POSIX_C_SOURCE 200809L
#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"

enum { KEY_FILE_MAX = 256 };

static bool complain(const char *path, const char *what) {
    fprintf(stderr, "kv: %s: %s\n", path, what);
    return false;
}

bool keys_address(const hotstuff_keypair *key, char hex[ADDRESS_HEX_LEN + 1]) {
    hotstuff_validator_address address;
    hotstuff_status status = hotstuff_keypair_public(key, &address);
    if (status != HOTSTUFF_OK) return complain("key", hotstuff_status_message(status));
    hex_encode(address.bytes, sizeof address.bytes, hex);
    return true;
}

/* All of it on the disk, or the reason in errno. */
static bool write_file(int fd, const uint8_t *bytes, size_t len) {
    while (len > 0) {
        ssize_t written = write(fd, bytes, len);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        bytes += written;
        len -= (size_t)written;
    }
    return fsync(fd) == 0;
}

static bool store(const char *path, const hotstuff_keypair *key) {
    hotstuff_buffer *der;
    hotstuff_bytes bytes;
    hotstuff_status status = hotstuff_keypair_to_pkcs8(key, &der);
    if (status != HOTSTUFF_OK) return complain(path, hotstuff_status_message(status));
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    bool opened = fd >= 0, good = false;
    if (opened) {
        hotstuff_buffer_get(der, &bytes);
        good = write_file(fd, bytes.data, bytes.len);
        int reason = errno;
        if (close(fd) != 0 && good) {
            good = false;
            reason = errno;
        }
        errno = reason;
    }
    hotstuff_buffer_free(der);
    if (good) return true;
    complain(path, strerror(errno));
    if (opened) unlink(path); /* half a key is worse than none */
    return false;
}

bool keys_generate(const char *path) {
    hotstuff_keypair *key;
    char hex[ADDRESS_HEX_LEN + 1];
    hotstuff_status status = hotstuff_keypair_generate(&key);
    if (status != HOTSTUFF_OK) return complain(path, hotstuff_status_message(status));
    bool good = keys_address(key, hex) && store(path, key);
    hotstuff_keypair_free(key);
    if (good) puts(hex);
    return good;
}

static bool read_file(const char *path, uint8_t *bytes, size_t *len) {
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return complain(path, strerror(errno));
    ssize_t got = -1;
    bool good = fstat(fd, &about) == 0 && (got = read(fd, bytes, KEY_FILE_MAX)) >= 0;
    if (!good) complain(path, strerror(errno));
    close(fd);
    if (good && (about.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return complain(path, "others may read this key: expected mode 0600 (chmod 600)");
    *len = (size_t)got;
    return good;
}

/* A key leaves no copy of itself behind. The compiler may not see that nobody reads this. */
static void wipe(volatile uint8_t *bytes, size_t len) {
    while (len > 0) bytes[--len] = 0;
}

bool keys_load(const char *path, hotstuff_keypair **out) {
    uint8_t bytes[KEY_FILE_MAX];
    size_t len = 0;
    *out = NULL;
    if (!read_file(path, bytes, &len)) {
        wipe(bytes, sizeof bytes);
        return false;
    }
    hotstuff_status status = hotstuff_keypair_from_pkcs8(bytes, len, out);
    wipe(bytes, sizeof bytes);
    if (status != HOTSTUFF_OK) return complain(path, "not a key made by `kv keygen`");
    return true;
}
