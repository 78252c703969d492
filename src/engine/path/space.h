/* An address space: a tenant in the tables of the worker that owns it, with its peers, limits and usage.
 * Only that worker touches it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/table/bucket.h"
#include "engine/table/trie.h"

struct peer;
struct worker;

enum space_direction {
    SPACE_RECEIVED, /* from the tenant's routers */
    SPACE_SENT,     /* to them */
};

struct space {
    struct engine_tenant tenant;
    struct trie trie; /* allowed IPs -> slot of a peer */
    struct peer *peers;
    uint32_t peer_count;
    uint32_t slot;
    struct engine_usage usage;
    struct bucket bits[2]; /* by direction */
    struct bucket packets[2];
    struct bucket answers; /* ICMP errors */
};

/* 0, -ENOMEM, -EEXIST (slot). */
int space_create(struct worker *worker, uint32_t slot, const struct engine_tenant *tenant, struct space **ret_space);
/* Its peers must be gone. */
void space_free(struct worker *worker, struct space *space);
struct space *space_at(const struct worker *worker, uint32_t slot);
/* -EBUSY: another addressing while it has peers. */
int space_set(struct space *space, const struct engine_tenant *tenant, uint64_t now_ns);

void space_join(struct space *space, struct peer *peer);
void space_leave(struct peer *peer);

/* Whether the limits let this packet through. */
bool space_police(struct space *space, enum space_direction direction, uint64_t now_ns, size_t size, size_t packets);
