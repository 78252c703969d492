/* A worker's peers and tenants as plain copies, a bounded piece at a time, for dumps and for walks of the control
 * thread.
 *
 * The cursor is a slot, which a peer keeps as long as it exists; so one that exists throughout is seen exactly once.
 * The control thread makes the piece and reads it, the worker fills it in a call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

#define SNAPSHOT_PEERS 256
#define SNAPSHOT_TENANTS 256

struct worker;

struct snapshot {
    /* In. */
    uint64_t since_ns;    /* 0: all */
    uint32_t tenant_slot; /* whose members are taken */
    bool keys_only;
    /* In and out. */
    uint32_t cursor; /* the next slot to look at */
    int64_t wall_s;  /* when the piece is taken; the worker's */
    /* Out. */
    bool done; /* no slots beyond */
    int error;
    size_t count;
    struct engine_peer peers[SNAPSHOT_PEERS]; /* allowed_ips points into `prefixes` */
    struct prefix *prefixes;                  /* owned */
    size_t prefix_count, prefix_room;
    size_t tenant_count;
    struct engine_tenant tenants[SNAPSHOT_TENANTS];
    struct engine_usage usages[SNAPSHOT_TENANTS];
};

/* 0, -ENOMEM. In locked memory: it holds preshared keys. */
int snapshot_create(struct snapshot **ret_snapshot);
/* Accepts NULL. Wipes. */
void snapshot_free(struct snapshot *snapshot);

/* worker_fn; the argument is a struct snapshot. */
void snapshot_take_peers(struct worker *worker, void *snapshot);
/* The first peers of the tenant, keys only, in no order; the cursor is not used. `done`: there are no others. */
void snapshot_take_members(struct worker *worker, void *snapshot);
void snapshot_take_tenants(struct worker *worker, void *snapshot);
