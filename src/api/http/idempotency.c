/* Answers kept under an Idempotency-Key, so that a caller who lost the answer may ask again without making things
 * twice.
 *
 * What is kept is the Location, a newline, and the body as it was sent. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/server.h"

/* Of one answer: a bulk request of 10,000 routers with their configurations has some 25 MiB. */
#define KEPT_BYTES_MAX (32u << 20)

static bool claim_is(const struct key_in_use *claim, const char *actor, const char *key) {
    return strcmp(claim->actor, actor) == 0 && strcmp(claim->key, key) == 0;
}

static bool claimed(const struct api *api, const char *actor, const char *key) {
    const struct key_in_use *claim = NULL;
    LIST_FOREACH (claim, &api->claims, link) {
        if (claim_is(claim, actor, key)) {
            return true;
        }
    }
    return false;
}

static void claim_take(struct api *api, struct key_in_use *claim) {
    pthread_mutex_lock(&api->mutex);
    while (claimed(api, claim->actor, claim->key)) {
        pthread_cond_wait(&api->changed, &api->mutex);
    }
    LIST_INSERT_HEAD(&api->claims, claim, link);
    pthread_mutex_unlock(&api->mutex);
}

static void claim_drop(struct api *api, struct key_in_use *claim) {
    pthread_mutex_lock(&api->mutex);
    LIST_REMOVE(claim, link);
    pthread_cond_broadcast(&api->changed);
    pthread_mutex_unlock(&api->mutex);
}

/* Puts a kept answer back together. */
static void unpack(struct answer *answer, int status, const char *kept, size_t size) {
    const char *newline = size ? memchr(kept, '\n', size) : NULL;
    size_t head = newline ? (size_t)(newline - kept) : 0;
    if (!newline || head >= sizeof answer->location) {
        answer_refuse(answer, 500, "internal", NULL, "The answer kept under this Idempotency-Key cannot be read.");
        return;
    }
    memcpy(answer->location, kept, head);
    answer->location[head] = '\0';
    buf_append(&answer->body, newline + 1, size - head - 1);
    answer->status = status;
    answer->type = ANSWER_JSON;
    answer->replayed = true;
    if (answer->body.failed) {
        answer_out_of_memory(answer);
    }
}

bool idempotency_begin(struct api *api, const struct caller *caller, const char *key, const uint8_t hash[32],
                       struct key_in_use *claim, struct answer *answer) {
    struct problem problem = {0};
    int status = 0;
    char *kept = NULL;
    size_t size = 0;
    *claim = (struct key_in_use){.actor = caller->actor, .key = key};
    claim_take(api, claim);
    int error = service_idempotency_get(api->config.service, caller, key, hash, &status, &kept, &size, &problem);
    if (error == -ENOENT) {
        return false;
    }
    claim_drop(api, claim);
    if (error == -EEXIST) {
        answer_refuse(answer, 422, "idempotency-key-reused", "Idempotency-Key",
                      "This key was used for another request before. Use a new key for each new request.");
    } else if (error < 0) {
        answer_problem(answer, &problem);
    } else {
        unpack(answer, status, kept, size);
        sodium_memzero(kept, size);
        free(kept);
    }
    return true;
}

void idempotency_end(struct api *api, const struct caller *caller, const uint8_t hash[32], struct key_in_use *claim,
                     const struct answer *answer) {
    struct problem problem = {0};
    struct buf kept = {0};
    if (answer->status < 300 && !answer->fleeting && answer->body.size <= KEPT_BYTES_MAX) {
        buf_text(&kept, answer->location);
        buf_text(&kept, "\n");
        buf_append(&kept, answer->body.data ? answer->body.data : "", answer->body.size);
        if (kept.failed || service_idempotency_put(api->config.service, caller, claim->key, hash, answer->status,
                                                   kept.data, kept.size, &problem) < 0) {
            server_log(api, LOG_LEVEL_WARNING,
                       "an answer could not be kept for its Idempotency-Key (%s); a repeat would be handled anew",
                       kept.failed ? "out of memory" : problem.detail);
        }
        buf_free(&kept);
    }
    claim_drop(api, claim);
}
