/* The programs and outer maps of bpf/isolate.bpf.c: loaded, or taken up from where an earlier run pinned them.
 *
 *     /sys/fs/bpf/sallyport/wg0/layout2/    from_router to_router hosts_now lans accounts tenants tallies hub
 *                                           hosts, and accounts_0 tenants_0 accounts_1 ... (the inner maps)
 *
 * Maps of another layout are left alone until the programs of this one are attached. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct problem;

enum isolate_map {
    ISOLATE_MAP_HOSTS_NOW,
    ISOLATE_MAP_LANS,
    ISOLATE_MAP_ACCOUNTS,
    ISOLATE_MAP_TENANTS,
    ISOLATE_MAP_TALLIES,
    ISOLATE_MAP_HUB,
    ISOLATE_MAP_COUNT,
};

struct isolate_load {
    int maps[ISOLATE_MAP_COUNT]; /* descriptors, owned */
    int from_router, to_router;  /* programs, owned */
    int folder;                  /* of the pins */
    uint32_t cpus;               /* their numbers are below this, those of absent ones included */
    bool made;                   /* by this run: nobody had pinned anything here before */
    char path[64];
};

/* Loads the programs and forgets them. */
int isolate_load_try(struct problem *ret_problem);
int isolate_load_open(const char *interface_name, struct isolate_load *ret_load, struct problem *ret_problem);
/* Pins stay. Accepts one that is all zero. */
void isolate_load_close(struct isolate_load *load);
/* Removes the pins of this layout if it was this run that made the first: opening did not succeed as a whole. */
void isolate_load_undo(const struct isolate_load *load);
/* Removes the pins of this layout and of all others. */
void isolate_load_unpin(const struct isolate_load *load);
/* Removes the pins of other layouts. */
void isolate_load_retire(const struct isolate_load *load);

/* Inner maps are pinned beside the others, because opening a map by its id needs CAP_SYS_ADMIN. */
int isolate_load_pin(const struct isolate_load *load, int fd, const char *name);
void isolate_load_unpin_one(const struct isolate_load *load, const char *name);
/* A descriptor, or -ENOENT. */
int isolate_load_pinned(const struct isolate_load *load, const char *name);
/* A new inner map for ISOLATE_MAP_ACCOUNTS or ISOLATE_MAP_TENANTS, not pinned. A descriptor. */
int isolate_load_chunk(enum isolate_map outer, uint32_t cpus);
/* The inner map that place `number` of an outer one holds: the one pinned as `name`. A descriptor; -ENOENT: the place
 * is empty; -ESTALE: it holds another map. */
int isolate_load_inner(const struct isolate_load *load, enum isolate_map outer, uint32_t number, const char *name);

/* What libbpf said first since isolate_load_listen(), for a problem's detail; "" if it said nothing. */
void isolate_load_listen(void);
const char *isolate_load_said(void);
