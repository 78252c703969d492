/* What the data plane should hold, from rows of the store. Any thread. */
#pragma once

#include <stdint.h>

#include "model/desired.h"
#include "model/router.h"
#include "model/tenant.h"

struct plane;
struct router_row;
struct secrets;
struct store;
struct usage;

/* What a row is completed with, and where it goes. All borrowed; immutable once open. */
struct desired {
    struct store *store;
    const struct secrets *secrets;
    struct usage *usage;
    struct plane *plane;
};

void desired_tenant_from(const struct tenant *tenant, struct desired_change *ret_change);
/* From a router whose preshared key is filled in; without its timestamp. */
void desired_peer_of(const struct router *router, struct desired_change *ret_change);
/* From a row: opens the seal of the preshared key. -EBADMSG: it was not sealed by this gateway. */
int desired_peer_from(const struct desired *d, const struct router_row *row, struct desired_change *ret_change);
/* Within the data plane's turn: sends every router of a tenant that belongs there, in batches. */
void desired_apply_tenant(const struct desired *d, int64_t tunnel_id);
