/*
 * pool.c - one list in order of arrival, an index by identity, a list of the finished.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct item {
    struct command command; /* borrows from `bytes` */
    struct done done;
    int64_t deadline_ms;
    struct item *older, *younger; /* among the waiting */
    struct item *next;            /* in its bucket; then among the finished */
    uint8_t bytes[];
};

struct pool {
    pthread_mutex_t lock;
    struct item *oldest, *youngest;
    struct item *done_first, **done_last; /* first finished, first answered */
    struct item **buckets;
    size_t bucket_mask;
    size_t waiting, held;    /* held: waiting, or finished and not yet taken */
    size_t bytes;
    size_t commands_max, bytes_max;
    int wake_fd;
};

struct pool *pool_new(size_t commands_max, size_t bytes_max, int wake_fd) {
    struct pool *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    size_t buckets = 1;
    while (buckets < commands_max) buckets *= 2;
    p->buckets = calloc(buckets, sizeof(struct item *));
    if (p->buckets == NULL || pthread_mutex_init(&p->lock, NULL) != 0) {
        free(p->buckets);
        free(p);
        return NULL;
    }
    p->bucket_mask = buckets - 1;
    p->done_last = &p->done_first;
    p->commands_max = commands_max;
    p->bytes_max = bytes_max;
    p->wake_fd = wake_fd;
    return p;
}

void pool_free(struct pool *p) {
    if (p == NULL) return;
    for (struct item *i = p->oldest, *next; i != NULL; i = next) {
        next = i->younger;
        free(i);
    }
    for (struct item *i = p->done_first, *next; i != NULL; i = next) {
        next = i->next;
        free(i);
    }
    pthread_mutex_destroy(&p->lock);
    free(p->buckets);
    free(p);
}

/* Sessions are numbered and sequences count, so their low bits spread well. A client that makes
 * them collide slows the search in this one pool, within its bound. */
static struct item **bucket_of(struct pool *p, const struct command *c) {
    uint64_t sequence = c->kind == COMMAND_OPEN ? 0 : c->sequence;
    uint64_t mixed = (c->client * 31 + sequence) * UINT64_C(0x9e3779b97f4a7c15);
    return &p->buckets[(mixed >> 32) & p->bucket_mask];
}

static size_t payload_len(const struct command *c) { return c->key_len + c->value_len; }

static struct item *item_new(const struct command *c, struct ticket ticket, int64_t deadline_ms) {
    struct item *i = malloc(sizeof *i + payload_len(c));
    if (i == NULL) return NULL;
    *i = (struct item){.command = *c,
                       .done = {.ticket = ticket, .kind = c->kind, .client = c->client},
                       .deadline_ms = deadline_ms};
    if (c->key_len > 0) memcpy(i->bytes, c->key, c->key_len);
    if (c->value_len > 0) memcpy(i->bytes + c->key_len, c->value, c->value_len);
    i->command.key = i->bytes;
    i->command.value = i->bytes + c->key_len;
    return i;
}

static void link_waiting(struct pool *p, struct item *i) {
    struct item **bucket = bucket_of(p, &i->command);
    i->next = *bucket;
    *bucket = i;
    i->older = p->youngest;
    *(p->youngest != NULL ? &p->youngest->younger : &p->oldest) = i;
    p->youngest = i;
    p->waiting++;
    p->held++;
    p->bytes += payload_len(&i->command);
}

static void unlink_waiting(struct pool *p, struct item *i) {
    struct item **link = bucket_of(p, &i->command);
    while (*link != i) link = &(*link)->next;
    *link = i->next;
    *(i->older != NULL ? &i->older->younger : &p->oldest) = i->younger;
    *(i->younger != NULL ? &i->younger->older : &p->youngest) = i->older;
    p->waiting--;
}

bool pool_submit(struct pool *p, const struct command *c, struct ticket ticket,
                 int64_t deadline_ms) {
    struct item *i = item_new(c, ticket, deadline_ms);
    if (i == NULL) return false;
    pthread_mutex_lock(&p->lock);
    bool room = p->held < p->commands_max && payload_len(c) <= p->bytes_max - p->bytes;
    if (room) link_waiting(p, i);
    pthread_mutex_unlock(&p->lock);
    if (!room) free(i);
    return room;
}

static void finish(struct pool *p, struct item *i, enum verdict verdict, uint64_t height,
                   uint64_t made) {
    unlink_waiting(p, i);
    i->done.verdict = verdict;
    i->done.height = height;
    i->done.made = made;
    i->next = NULL;
    *p->done_last = i;
    p->done_last = &i->next;
}

/* A full pipe already holds the news. */
static void wake(const struct pool *p) {
    ssize_t written = write(p->wake_fd, "", 1);
    (void)written;
}

void pool_resolve(struct pool *p, const struct command *c, enum verdict verdict, uint64_t height,
                  uint64_t made) {
    bool any = false;
    pthread_mutex_lock(&p->lock);
    for (struct item *i = *bucket_of(p, c), *next; i != NULL; i = next) {
        next = i->next;
        if (!command_same(&i->command, c)) continue;
        finish(p, i, verdict, height, made);
        any = true;
    }
    pthread_mutex_unlock(&p->lock);
    if (any) wake(p);
}

void pool_expire(struct pool *p, int64_t now_ms, enum verdict verdict) {
    bool any = false;
    pthread_mutex_lock(&p->lock);
    /* All wait equally long, so the oldest is the first to expire. */
    while (p->oldest != NULL && p->oldest->deadline_ms <= now_ms) {
        finish(p, p->oldest, verdict, 0, 0);
        any = true;
    }
    pthread_mutex_unlock(&p->lock);
    if (any) wake(p);
}

bool pool_take_done(struct pool *p, struct done *out) {
    pthread_mutex_lock(&p->lock);
    struct item *i = p->done_first;
    if (i != NULL) {
        p->done_first = i->next;
        if (p->done_first == NULL) p->done_last = &p->done_first;
        p->held--;
        p->bytes -= payload_len(&i->command);
    }
    pthread_mutex_unlock(&p->lock);
    if (i == NULL) return false;
    *out = i->done;
    free(i);
    return true;
}

size_t pool_waiting(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    size_t waiting = p->waiting;
    pthread_mutex_unlock(&p->lock);
    return waiting;
}

int64_t pool_next_deadline(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    int64_t deadline_ms = p->oldest == NULL ? -1 : p->oldest->deadline_ms;
    pthread_mutex_unlock(&p->lock);
    return deadline_ms;
}

void pool_walk(struct pool *p, bool (*visit)(void *context, const struct command *c),
               void *context) {
    pthread_mutex_lock(&p->lock);
    for (const struct item *i = p->oldest; i != NULL; i = i->younger)
        if (!visit(context, &i->command)) break;
    pthread_mutex_unlock(&p->lock);
}
