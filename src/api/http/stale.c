#include "api/http/stale.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct stale_answer {
    LIST_ENTRY(stale_answer) bucket;
    TAILQ_ENTRY(stale_answer) order;
    enum scope scope;
    struct uuid tenant_id;
    uint64_t at_ns; /* clock_mono_ns() */
    struct buf body;
    size_t size; /* what it counts for */
    char uri[];
};

void stale_open(struct stale *stale) {
    pthread_mutex_init(&stale->mutex, NULL);
    for (size_t i = 0; i < STALE_BUCKETS; i++) {
        LIST_INIT(&stale->buckets[i]);
    }
    TAILQ_INIT(&stale->order);
    stale->bytes = 0;
}

static void drop(struct stale *stale, struct stale_answer *kept) {
    LIST_REMOVE(kept, bucket);
    TAILQ_REMOVE(&stale->order, kept, order);
    stale->bytes -= kept->size;
    buf_free(&kept->body);
    free(kept);
}

void stale_close(struct stale *stale) {
    struct stale_answer *kept = NULL;
    while ((kept = TAILQ_FIRST(&stale->order))) {
        drop(stale, kept); /* NOLINT(clang-analyzer-unix.Malloc): it does not see through the list's macros */
    }
    pthread_mutex_destroy(&stale->mutex);
}

static size_t bucket_of(const char *uri) {
    static const uint8_t key[crypto_shorthash_KEYBYTES]; /* callers are known, and the memory is bounded */
    uint8_t hash[crypto_shorthash_BYTES];
    uint32_t number = 0;
    crypto_shorthash(hash, (const uint8_t *)uri, strlen(uri), key);
    memcpy(&number, hash, sizeof number);
    return number % STALE_BUCKETS;
}

/* All administrators see the same; a tenant's tokens see the same of that tenant. */
static struct stale_answer *find(struct stale *stale, const struct caller *caller, const char *uri) {
    struct stale_answer *kept = NULL;
    LIST_FOREACH (kept, &stale->buckets[bucket_of(uri)], bucket) {
        if (kept->scope == caller->scope && uuid_equal(&kept->tenant_id, &caller->tenant_id) &&
            strcmp(kept->uri, uri) == 0) {
            return kept;
        }
    }
    return NULL;
}

void stale_keep(struct stale *stale, const struct caller *caller, const char *uri, const struct answer *answer) {
    size_t length = strlen(uri) + 1;
    struct stale_answer *kept = answer->body.size <= STALE_ANSWER_MAX ? calloc(1, sizeof *kept + length) : NULL;
    if (!kept) {
        return;
    }
    memcpy(kept->uri, uri, length);
    kept->scope = caller->scope;
    kept->tenant_id = caller->tenant_id;
    kept->at_ns = clock_mono_ns();
    kept->size = sizeof *kept + length + answer->body.size;
    buf_append(&kept->body, answer->body.data ? answer->body.data : "", answer->body.size);
    if (kept->body.failed) {
        buf_free(&kept->body);
        free(kept);
        return;
    }
    pthread_mutex_lock(&stale->mutex);
    struct stale_answer *older = find(stale, caller, uri);
    if (older) {
        drop(stale, older);
    }
    while (stale->bytes + kept->size > STALE_BYTES_MAX && !TAILQ_EMPTY(&stale->order)) {
        drop(stale, TAILQ_FIRST(&stale->order)); /* NOLINT(clang-analyzer-unix.Malloc): as above */
    }
    LIST_INSERT_HEAD(&stale->buckets[bucket_of(uri)], kept, bucket);
    TAILQ_INSERT_TAIL(&stale->order, kept, order);
    stale->bytes += kept->size;
    pthread_mutex_unlock(&stale->mutex);
}

bool stale_find(struct stale *stale, const struct caller *caller, const char *uri, struct answer *answer) {
    pthread_mutex_lock(&stale->mutex);
    struct stale_answer *kept = find(stale, caller, uri);
    if (kept) {
        uint64_t age = (clock_mono_ns() - kept->at_ns) / NSEC_PER_SEC;
        TAILQ_REMOVE(&stale->order, kept, order);
        TAILQ_INSERT_TAIL(&stale->order, kept, order);
        answer_free(answer);
        buf_append(&answer->body, kept->body.data, kept->body.size);
        answer->status = 200;
        answer->type = ANSWER_JSON;
        answer->stale = true;
        answer->age_s = age;
        if (answer->body.failed) {
            answer_out_of_memory(answer);
        }
    }
    pthread_mutex_unlock(&stale->mutex);
    return kept != NULL;
}
