/* Changes to one worker's peers and tenants: gathered by the control thread, applied by the worker in one call, and
 * then what follows from them for the directory, whose one writer is the control thread.
 *
 *     control thread: change_batch_add() ... worker_post(change_apply), again until change_batch_done()
 *     worker:         change_apply(), a bounded piece each time
 *     control thread: carries out `edits` in the order of `sequence`, then change_batch_clear()
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

#define CHANGE_BATCH_MAX 512    /* changes per call: a bounded step */
#define CHANGE_ALLOWED_MAX 2048 /* allowed IPs that are set, and that are taken away, per call */

struct worker;

enum change_kind {
    CHANGE_PEER,
    CHANGE_TENANT,        /* made, or altered */
    CHANGE_TENANT_REMOVE, /* it has no peers any more */
    CHANGE_FORGET,        /* another peer took this prefix over */
};

struct change {
    enum change_kind kind;
    uint32_t slot;        /* of a peer: to be made at, 0 if it exists; of a tenant; of who forgets */
    uint32_t tenant_slot; /* CHANGE_PEER with has_tenant; 0: none */
    uint64_t sequence;
    struct engine_caller *caller; /* who hears of its error; NULL: nobody */
    int error;                    /* what became of it: set by change_apply() */
    size_t first_allowed;         /* in the batch's list */
    union {
        struct engine_peer_change peer; /* allowed_ips is not used */
        struct engine_tenant tenant;
        struct prefix prefix;
    };
};

/* For the directory: a route that now leads to `id`, or no longer. */
struct change_edit {
    uint64_t sequence;
    struct engine_caller *caller; /* of the change that it follows from */
    struct prefix prefix;
    uint32_t id;
    bool remove;
};

/* Zero-initialize. */
struct change_batch {
    struct change *changes;
    size_t count, room;
    struct engine_allowed_ip *allowed;
    size_t allowed_count, allowed_room;
    /* Results. */
    struct change_edit *edits;
    size_t edit_count, edit_room;
    uint32_t *freed; /* slots of peers that are gone or were never made */
    size_t freed_count, freed_room;
    struct key *unmade; /* peers that could not be made */
    size_t unmade_count, unmade_room;
    size_t next;   /* change to be applied */
    size_t budget; /* prefixes that may still be taken away in this call */
};

void change_batch_free(struct change_batch *batch);
void change_batch_clear(struct change_batch *batch); /* wipes */
static inline bool change_batch_full(const struct change_batch *batch) {
    return batch->count >= CHANGE_BATCH_MAX || batch->allowed_count >= CHANGE_ALLOWED_MAX;
}
/* Copies `change`, and `allowed_count` of `allowed`. 0, -ENOMEM. */
int change_batch_add(struct change_batch *batch, const struct change *change, const struct engine_allowed_ip *allowed,
                     size_t allowed_count);

/* Whether all of it is applied. */
static inline bool change_batch_done(const struct change_batch *batch) {
    return batch->next == batch->count;
}

/* A worker_fn: a bounded piece of the batch. The argument is a struct change_batch. */
void change_apply(struct worker *worker, void *batch);
