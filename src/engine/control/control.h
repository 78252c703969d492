/* The engine as its control thread sees it: the private side of engine/engine.h, shared by the files that implement it.
 *
 *     engine.c      life, the device, counters
 *     population.c  peers and tenants change
 *     survey.c      peers and tenants are listed
 *
 * Everything here belongs to the control thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/control/change.h"
#include "engine/engine.h"
#include "engine/io/tun.h"
#include "engine/io/udp.h"
#include "engine/io/xdp.h"
#include "engine/path/worker.h"
#include "engine/table/directory.h"
#include "engine/table/table.h"

/* Where a tenant lives. */
struct control_tenant {
    struct uuid id;
    bool exists;
    enum addressing addressing;
    unsigned worker;
    uint32_t slot; /* at that worker */
};

/* Slots that are given out: 1, 2, 3, and those that came back. */
struct control_slots {
    uint32_t next;   /* zero-initialized: none given out yet */
    uint32_t *freed; /* owned */
    size_t freed_count, freed_room;
};

/* What the control thread knows of one worker. */
struct control_worker {
    struct change_batch batch;
    struct control_slots peers;
    struct control_slots spaces;
    uint64_t load; /* tenants and peers, to spread them */
};

struct engine {
    struct directory *directory;
    struct tun *tun;
    unsigned count;
    struct worker *workers[ENGINE_WORKERS_MAX];
    struct control_worker controls[ENGINE_WORKERS_MAX];
    const struct aead_ops *aead;

    struct noise_identity *identity; /* owned, in locked memory */
    uint16_t listen_port;            /* as asked for; 0: any */
    uint16_t bound_port;
    uint32_t fwmark;
    struct prefix hub[ENGINE_HUB_MAX];
    size_t hub_count;
    bool up;
    uint32_t mtu;
    unsigned interface; /* index of the TUN, as the workers know it */
    bool no_gso, no_tso, no_uring;
    bool gso, gro;   /* in use */
    struct xdp *xdp; /* NULL: not asked for, or not to be had */
    bool wants_xdp;
    int xdp_error;
    char xdp_failed[ENGINE_INTERFACE_NAME_SIZE];
    struct udp_sockets sockets[ENGINE_WORKERS_MAX];

    struct table tenant_table; /* uuid -> place in `tenants` */
    struct control_tenant *tenants;
    size_t tenant_room;
    struct control_slots tenant_places;
    uint64_t tenant_count;
    uint8_t hash_key[TABLE_KEY_SIZE];

    uint64_t sequence; /* of changes */
    int error;         /* of gathered changes, told by engine_flush() */
};

/* Runs fn with the same argument on all workers at once, and waits for all. */
void control_call_all(struct engine *engine, worker_fn *fn, void *argument);
/* Applies what was gathered, on all workers, and brings the directory up to date. */
void control_apply(struct engine *engine);
void control_free_population(struct engine *engine);
struct control_tenant *control_find_tenant(const struct engine *engine, const struct uuid *id);

/* 0: none left. */
uint32_t control_take_slot(struct control_slots *slots);
/* A slot that cannot be noted for lack of memory is never used again. */
void control_give_slot(struct control_slots *slots, uint32_t slot);
