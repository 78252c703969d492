/* The control room: the engine as main and the UAPI see it (engine/engine.h), and how their wishes reach the workers.
 *
 *     engine_peer_change() --> batches, one per worker --> worker_call(change_apply) --> edits --> directory
 *
 * The room owns the engine: its workers, TUN and sockets, the directory and the slots of peers and tenants. One control
 * thread enters it, and sees the insides of a worker only in a call, between two rounds of that worker (change.c and
 * snapshot.c are what runs there).
 *
 * To read it: control.h (this file: struct engine), change (what a worker does), snapshot (what a worker tells), apply
 * (gathering, and bringing into force), population (peers and tenants change), survey (they are listed), device (the
 * interface as a whole), engine (beginning and end). Each file uses only those named before it. */
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

/* All of it belongs to the control thread; each group to the file that it is named after. */
struct engine {
    /* engine.c: what does not change between the beginning and the end. */
    const struct aead_ops *aead;
    struct directory *directory; /* owned; apply.c writes it */
    struct tun *tun;             /* owned */
    struct xdp *xdp;             /* owned; NULL: not asked for, or not to be had */
    unsigned count;              /* of workers */
    struct worker *workers[ENGINE_WORKERS_MAX];
    bool no_gso, no_tso, no_uring;
    bool wants_xdp;
    int xdp_error;
    char xdp_failed[ENGINE_INTERFACE_NAME_SIZE];

    /* device.c: the interface. */
    struct noise_identity *identity; /* owned, in locked memory */
    uint16_t listen_port;            /* as asked for; 0: any */
    uint16_t bound_port;
    uint32_t fwmark;
    struct prefix hub[ENGINE_HUB_MAX];
    size_t hub_count;
    bool up;
    uint32_t mtu;
    unsigned interface; /* index of the TUN, as the workers know it */
    bool gso, gro;      /* in use */
    struct udp_sockets sockets[ENGINE_WORKERS_MAX];

    /* population.c: tenants by their UUID. */
    struct table tenant_table; /* uuid -> place in `tenants` */
    struct control_tenant *tenants;
    size_t tenant_room;
    struct control_slots tenant_places;
    uint64_t tenant_count;
    uint8_t hash_key[TABLE_KEY_SIZE];

    /* apply.c: what is gathered for the workers. */
    struct control_worker controls[ENGINE_WORKERS_MAX];
    uint64_t sequence; /* of changes */
    bool collided;     /* a change was refused because of two keys with one fingerprint */
};

/* --- apply.c --- */

/* Runs fn with the same argument on all workers at once, and waits for all. */
void control_call_all(struct engine *engine, worker_fn *fn, void *argument);
/* Adds a change to what a worker will be given; applies what was gathered before when that is full. 0, -ENOMEM. */
int control_gather(struct engine *engine, unsigned worker, struct change *change,
                   const struct engine_allowed_ip *allowed, size_t allowed_count);
/* Applies what was gathered, on all workers, and brings the directory up to date. */
void control_apply(struct engine *engine);
/* Keeps a caller's first error for its engine_flush(). NULL: nobody's. */
void control_note_error(struct engine *engine, struct engine_caller *caller, int error);
/* 0: none left. */
uint32_t control_take_slot(struct control_slots *slots);
/* A slot that cannot be noted for lack of memory is never used again. */
void control_give_slot(struct control_slots *slots, uint32_t slot);

/* --- population.c --- */

struct control_tenant *control_find_tenant(const struct engine *engine, const struct uuid *id);
void control_free_population(struct engine *engine);

/* --- device.c --- */

/* Brings the engine to the interface's state: up or down, MTU, index. -EADDRINUSE: the port is busy, so it stays
 * without sockets, as Linux stays down. */
int control_follow_interface(struct engine *engine);
