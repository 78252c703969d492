/* What isolate.c and check.c share. */
#pragma once

#include <net/if.h>

#include "backend/isolate/hosts.h"
#include "backend/isolate/load.h"
#include "backend/isolate/slots.h"
#include "model/router.h"

struct desired_peer;

struct isolate {
    char interface_name[IF_NAMESIZE];
    struct isolate_load load;
    struct isolate_slots slots;
    struct isolate_hosts hosts;
};

/* All of one peer's addresses. */
struct isolate_claim {
    struct isolate_owner owner;
    uint32_t count;
    struct isolate_prefix prefixes[2 + ROUTER_LANS_MAX];
};

/* The claim of no peer (NULL) is empty. -ENOENT: its tenant is not set. */
int isolate_claim_of(const struct isolate *isolate, const struct desired_peer *peer, struct isolate_claim *ret_claim);

/* What the hub claims: its addresses and, as ISOLATE_POOL, the prefixes around them. */
int isolate_hub_get(const struct isolate *isolate, struct isolate_hub *ret_hub);
struct isolate_prefix isolate_hub_address(const struct isolate_hub *hub, uint32_t i);
struct isolate_prefix isolate_hub_pool(const struct isolate_hub *hub, uint32_t i);
