/* LAN prefixes behind routers. Within an address space none overlaps another: checked with lans_overlap() in the
 * transaction that inserts; equal ones the database itself refuses. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "model/prefix.h"
#include "model/uuid.h"

struct store_conn;
struct router_row;

#define LAN_SPACE_SHARED 0 /* of unique tenants; a private tenant's space is its row's id */

int lans_insert(struct store_conn *conn, int64_t router_row_id, int64_t space, const struct prefix *lans, size_t count);
int lans_delete(struct store_conn *conn, int64_t router_row_id);
struct lan_owner {
    struct prefix prefix;
    struct uuid router_id;
    struct uuid tenant_id;
};
/* A LAN of the space that shares addresses with `prefix`. -ENOENT: none. */
int lans_overlap(struct store_conn *conn, int64_t space, const struct prefix *prefix, struct lan_owner *ret_owner);
/* Whether a route of the host should lead to just this prefix: it is a LAN of the shared space, and its router belongs
 * into the data plane. */
int lans_is_routed(struct store_conn *conn, const struct prefix *prefix, bool *ret_routed);
/* Fills lans[] of rows that are in order of their ids. */
int lans_fill(struct store_conn *conn, struct router_row *rows, size_t count);

typedef int lans_fn(void *context, const struct prefix *prefix);
/* LANs of the shared space whose routers belong into the data plane: the host's routes. */
int lans_each_route(struct store_conn *conn, lans_fn *fn, void *context);
/* All LANs of one tenant's routers that are not disabled themselves. */
int lans_each_of_tenant(struct store_conn *conn, int64_t tunnel_id, lans_fn *fn, void *context);
