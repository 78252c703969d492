/* The host's routes to the LANs of unique tenants' routers, held to what the store says.
 *
 * Whoever changes a LAN here brings its route into force with the change (plane_routes()). What that misses (another
 * gateway took a LAN away, somebody flushed the routes, a former version had them elsewhere) the comparison finds: it
 * reads what the kernel has and what the store says, beside the data plane's turn, and takes the turn for the
 * differences alone. Any thread; one comparison at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/prefix.h"
#include "model/problem.h"

struct bell;
struct plane;
struct routes;
struct store;
struct store_conn;

/* All that is named must outlive it. -ENOMEM. */
int routes_open(struct store *store, struct plane *plane, struct bell *bell, struct routes **ret_routes);
void routes_free(struct routes *routes); /* accepts NULL */
/* Before threads run: hears of all that should be routed, sorted by family and address, at each comparison. */
void routes_observe(struct routes *routes,
                    void (*wanted)(void *context, struct store_conn *conn, const struct prefix *list, size_t count),
                    void *context);

/* Compares and mends. `ret_mended`: routes that were missing or too many. -ENOTCONN: the data plane is away. */
int routes_mend(struct routes *routes, uint64_t *ret_mended, struct problem *ret_problem);
/* Somebody else may have taken LANs away: a comparison is due, soon where it is quick and rarely where it is not, and
 * rings for it. */
void routes_doubt(struct routes *routes);
bool routes_is_due(struct routes *routes);
