/* What goes back to a caller: a status, a few headers and a body. Handlers fill one; server.c sends it.
 *
 * Bodies may hold keys: struct buf and the allocator of view.h wipe them. One thread at a time. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "model/problem.h"
#include "model/uuid.h"

#define ANSWER_JSON "application/json"
#define ANSWER_PROBLEM "application/problem+json"

struct answer {
    int status; /* 0: none yet */
    const char *type;
    struct buf body; /* owned */
    char location[96];
    char allow[64];
    bool local;             /* to a user of this host whom we trust: may be told where the database is */
    char cause[384];        /* for the log: what the answer keeps back */
    unsigned retry_after_s; /* 0: with a 503 a second, else nothing */
    bool stale;             /* read earlier, while the database still was there: `age_s` seconds ago */
    uint64_t age_s;
    enum answer_store {
        ANSWER_STORE_FINE,
        ANSWER_STORE_AWAY,  /* nothing was changed: the connection was lost, or there is none */
        ANSWER_STORE_AGAIN, /* nothing was changed, and the same may succeed now */
    } store;
    /* NULL, or what makes the rest of a long body piece by piece while it is being sent: appends to `out`; 1: there may
     * be more, 0: that was all, -errno: the answer breaks off, so that nobody takes it for whole. */
    int (*more)(void *context, struct buf *out);
    void (*more_end)(void *context); /* frees */
    void *more_context;
    bool fleeting; /* not to be kept for an Idempotency-Key: asked again, more of it may succeed */
    bool replayed; /* kept from an earlier request with the same Idempotency-Key */
};

/* Takes the value (NULL: out of memory). */
void answer_json(struct answer *answer, int status, json_t *value);
void answer_empty(struct answer *answer, int status);
/* What a service function refused with. */
void answer_problem(struct answer *answer, const struct problem *problem);
/* The problem's detail as this caller may read it; what it may not goes to answer->cause. */
const char *answer_detail(struct answer *answer, const struct problem *problem);
/* What HTTP itself refuses: statuses that no problem kind stands for. `field` may be NULL. */
void answer_refuse(struct answer *answer, int status, const char *type, const char *field, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Appends compact JSON. Takes the value; out of memory sticks in `out`. */
void answer_append(struct buf *out, json_t *value);
void answer_free(struct answer *answer);

/* 201 with a Location. Takes the value. */
void answer_created(struct answer *answer, const char *path, const struct uuid *id, json_t *value);
void answer_out_of_memory(struct answer *answer);

/* {<head>,"items":[...],<tail>} with status 200. Each item is written as it comes, so that a long list needs no tree.
 * Takes the values; head and tail are objects whose members go in, or NULL. */
void answer_list_open(struct answer *answer, json_t *head);
void answer_list_item(struct answer *answer, json_t *item);
void answer_list_close(struct answer *answer, json_t *tail);
