/* A host in memory in place of link.c, isolate.c, fence.c and sentinel.c, around the WireGuard of fake_kernel.h: for
 * tests of the backend that joins them. Linked instead of those files. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "backend/host/fence.h"
#include "model/desired.h"

struct fake_address {
    struct prefix prefix;
    struct key peer;
    struct uuid tenant;
};

struct fake_host {
    /* the interface */
    bool exists, up;
    char kind[16], alias[64];
    unsigned index, mtu;
    struct prefix addresses[8];
    size_t address_count;
    unsigned bare; /* how often an address went that no other prefix had */
    unsigned made; /* how many were */

    /* the programs and the fence */
    bool programs, attached, fence, half_blind;
    bool claimed; /* by another process */
    struct fence_rules fence_rules;
    struct uuid tenants[64];
    size_t tenant_count, egress_count;
    struct fake_address known[1024]; /* addresses */
    size_t known_count;
    size_t queued; /* of them: not in force */

    /* faults: the errno of the next call, once */
    int isolate_open_error, attach_error, fence_error, move_error, up_error, create_error, alias_error, nftables_error;

    atomic_bool rung;
    void (*on_forget)(void); /* each time the programs forget an address */
};

extern struct fake_host fake_host;

void fake_host_reset(void);
/* Whose the address is for the programs: the peer's key, or NULL. */
const struct key *fake_host_owner(const struct prefix *prefix);
