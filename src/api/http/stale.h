/* Answers to reads, kept for while the database is away: then the same question gets the last answer again, and the
 * answer says how old it is (Age, Warning).
 *
 * Bounded in bytes, the least recently asked goes first; for the same caller and the same URL only. Any thread. */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <sys/queue.h>

#include "api/http/answer.h"
#include "service/service.h"

#define STALE_BUCKETS 4096
#define STALE_BYTES_MAX (16u << 20)
#define STALE_ANSWER_MAX (1u << 20)

struct stale_answer;

struct stale {
    pthread_mutex_t mutex;
    /* under mutex */
    LIST_HEAD(stale_bucket, stale_answer) buckets[STALE_BUCKETS];
    TAILQ_HEAD(stale_order, stale_answer) order; /* the least recently used first */
    size_t bytes;
};

void stale_open(struct stale *stale);
void stale_close(struct stale *stale);
/* Keeps a good answer; copies it. */
void stale_keep(struct stale *stale, const struct caller *caller, const char *uri, const struct answer *answer);
/* Puts the kept answer in place of `answer`. False: there is none. */
bool stale_find(struct stale *stale, const struct caller *caller, const char *uri, struct answer *answer);
