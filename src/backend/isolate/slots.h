/* Tenants as the programs in the kernel know them: numbers, policies, limits and usage (bpf/isolate.h).
 *
 * The records lie in memory shared with the kernel, in chunks; this process keeps no copy of them, only an index by
 * UUID, which it makes anew when it starts. So setting a tenant that is as it should be costs no system call. One
 * thread at a time. */
#pragma once

#include <stdint.h>

#include "backend/backend.h"
#include "base/hash.h"
#include "model/desired.h"

struct isolate_load;

struct isolate_slots {
    const struct isolate_load *load;
    struct isolate_chunk *chunks;
    uint32_t chunk_count;
    uint32_t *free; /* a ring of slots: who was free longest is taken first, so numbers come back as late as can be */
    uint32_t free_first, free_count;
    uint32_t tenant_count, egress_count; /* all; those with egress */
    struct hash places;                  /* by UUID */
};

/* `load` must outlive it. */
int isolate_slots_open(struct isolate_slots *slots, const struct isolate_load *load);
/* Accepts one that is all zero. */
void isolate_slots_close(struct isolate_slots *slots);

/* -ENOSPC: as many tenants as there can be. */
int isolate_slots_set(struct isolate_slots *slots, const struct desired_tenant *tenant);
void isolate_slots_remove(struct isolate_slots *slots, const struct uuid *id);
/* ISOLATE_NOBODY: no such tenant. */
uint32_t isolate_slots_number(const struct isolate_slots *slots, const struct uuid *id);
/* -ENOENT: the number is no tenant's, or not any more. */
int isolate_slots_id(const struct isolate_slots *slots, uint32_t number, struct uuid *ret_id);
int isolate_slots_each(const struct isolate_slots *slots, backend_tenant_fn *fn, void *context);
