/* The data plane as the service uses it: deltas in the order of their commits, a second connection that looks on
 * without holding them up, and whether it holds what it should.
 *
 * Whatever touches the data plane does so within its turn. A commit's receipt has a place in the queue, and
 * sync/force.h is the one who waits for it; whoever else wants a turn takes a place of its own. Any thread; what a
 * function needs the turn for says so. Its lock is held for a few words only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"

#define PLANE_BATCH 1000 /* changes applied at once */

struct bell;
struct plane;
struct receipt;
struct turn;

/* Connects to nothing yet. `config` and its strings, and `bell`, which rings when something is to be mended, must
 * outlive it. -ENOMEM. */
int plane_open(const struct backend_ops *ops, const struct backend_config *config, struct bell *bell,
               struct plane **ret_plane);
void plane_free(struct plane *plane); /* accepts NULL; the data plane goes on */
/* Before threads run: `taken_out` hears of the changes after which removed peers count from zero. */
void plane_observe(struct plane *plane,
                   void (*taken_out)(void *context, const struct desired_change *changes, size_t count), void *context);
const struct backend_ops *plane_ops(const struct plane *plane);
const char *plane_interface(const struct plane *plane);

/* --- its turn --- */

struct turn *plane_queue(struct plane *plane); /* for ledger_open() */
void plane_turn_begin(struct plane *plane);
/* The turn that a receipt is for: force_begin()'s alone, since more is due with it. */
void plane_turn_redeem(struct plane *plane, const struct receipt *receipt);
void plane_turn_end(struct plane *plane);

/* Within a turn: brings changes into force, or notes that the data plane is behind. Never fails for the caller. Returns
 * whether they are in force. */
bool plane_apply(struct plane *plane, const struct desired_change *changes, size_t count);
/* The same for one who wants to know why not. */
int plane_send(struct plane *plane, const struct desired_change *changes, size_t count, struct problem *ret_problem);
bool plane_routes(struct plane *plane, const struct prefix *add, size_t add_count, const struct prefix *remove,
                  size_t remove_count);
int plane_set_device(struct plane *plane, const struct desired_device *device, unsigned *ret_touched,
                     struct problem *ret_problem);
/* Takes a turn. Connects or starts it if it is away. 0: it answers. */
int plane_revive(struct plane *plane, struct problem *ret_problem);

/* --- the connection that looks on --- */

/* What it holds, all from one data plane. `tenant` may be NULL. Peers: those that changed since the mark `since`, if
 * the generation is still `generation`; else all. */
int plane_read(struct plane *plane, uint64_t generation, uint64_t since, backend_tenant_fn *tenant,
               backend_peer_fn *peer, void *context, struct backend_state *ret_state, uint64_t *ret_mark);
/* Takes out every peer that `idle` says 1 of, past the turn: whoever has that may be waiting for the database. */
void plane_shut_out(struct plane *plane, backend_peer_fn *idle, void *context);
/* The host's routes over its interface. */
int plane_each_route(struct plane *plane, backend_route_fn *fn, void *context, struct problem *ret_problem);
int plane_counters(struct plane *plane, backend_counter_fn *fn, void *context);
/* Whether somebody else touched it. */
bool plane_heed(struct plane *plane);
/* How it is, also for plane_status(). */
int plane_look(struct plane *plane, struct backend_state *ret_state);

/* --- does it hold what it should --- */

struct plane_status {
    struct backend_state state; /* as last seen */
    bool away;                  /* it does not answer: deltas are left to reconciliation */
    bool in_sync;
    uint64_t troubles; /* how often something went wrong */
    char trouble[256]; /* the last of it; "": none since */
};
void plane_status(struct plane *plane, struct plane_status *ret_status);
bool plane_is_away(struct plane *plane);
/* Something failed: rings. */
void plane_trouble(struct plane *plane, int error, const struct problem *problem);
/* The same where it is not the data plane's fault: what it should hold is not known for sure, and has to be compared.
 */
void plane_behind(struct plane *plane);
/* It does not answer. */
void plane_lost(struct plane *plane);
/* It does not hold all that it should, for a while and on purpose. */
void plane_doubt(struct plane *plane);
/* A comparison went well that began when there had been so many troubles. Whether all is well. */
bool plane_settled(struct plane *plane, uint64_t troubles);
