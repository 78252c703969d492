/* Who may take how much of the API: each caller has a share of its connections, its memory and its writing, so that
 * none can take it from the others. All tokens of a tenant are one caller; a token of the operator's, or a user of the
 * socket, is one each.
 *
 * Any thread. A share lives for as long as a request holds it, and some time beyond: what its bucket holds must not be
 * forgotten. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "api/json/memory.h"
#include "service/service.h"

#define SHARE_POLLS 8 /* waiting for events at the same time */

struct share {
    TAILQ_ENTRY(share) link;
    /* immutable */
    enum scope scope;
    struct uuid who;               /* the tenant, or the token */
    char actor[CALLER_ACTOR_SIZE]; /* where there is neither */
    bool limited;                  /* a tenant's */
    struct memory_pool memory;     /* bodies and parsed JSON */
    /* guarded by the mutex of the shares */
    unsigned requests, polls, writers;
    double writes;         /* that may be begun now */
    uint64_t refilled_ns;  /* clock_mono_ns() */
    pthread_cond_t writer; /* one has ended */
};

struct shares {
    /* immutable */
    unsigned writes_per_s; /* of a tenant; 0: any */
    struct memory_pool memory;
    /* guarded by mutex */
    pthread_mutex_t mutex;
    TAILQ_HEAD(share_list, share) list; /* the most recent first */
    unsigned count, polls;
};

/* `memory`: bytes that the bodies of all requests and what is parsed of them may take. */
void shares_open(struct shares *shares, unsigned writes_per_s, size_t memory);
void shares_close(struct shares *shares);

/* The caller's share, held until share_leave(). NULL: it has as many requests in hand as it may have, or out of memory.
 */
struct share *share_enter(struct shares *shares, const struct caller *caller);
void share_leave(struct shares *shares, struct share *share);
/* Whether it may wait for events too; then share_poll_end() is due. */
bool share_poll_begin(struct shares *shares, struct share *share);
void share_poll_end(struct shares *shares, struct share *share);
/* Takes a write out of the bucket: 0, or the seconds after which there is one. */
unsigned share_spend(struct shares *shares, struct share *share);
/* Waits until the caller has not too many writes under way. */
void share_write_begin(struct shares *shares, struct share *share);
void share_write_end(struct shares *shares, struct share *share);
