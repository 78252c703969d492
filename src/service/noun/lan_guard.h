/* Which prefixes may be a router's LAN, whatever other routers have.
 *
 * The host reaches the LANs of unique tenants by routes into the tunnel. So none may hold what the host itself needs:
 * an address of its own, a next hop of its routes, its resolvers, the database. And whoever speaks for one tenant only
 * may not name networks of the Internet: the operator says where his customers' LANs lie ([gateway] lan_prefixes).
 *
 * Any thread: what the host has is read anew when it is a second old, under a lock of the guard's own. */
#pragma once

#include <stddef.h>

#include "backend/backend.h"
#include "model/problem.h"
#include "model/tenant.h"
#include "service/service.h"

struct lan_guard;
struct store_conn;
struct usage;

struct lan_guard_config {
    const struct prefix *allowed; /* for callers of one tenant; copied */
    size_t allowed_count;
    const char *interface_name; /* the data plane's, which does not count as the host's; copied */
    const struct backend_ops *backend;
    struct usage *usage;   /* knows the endpoints; NULL: none */
    const char *resolvers; /* a file in the form of resolv.conf(5); copied; NULL: /etc/resolv.conf */
};

int lan_guard_open(const struct lan_guard_config *config, struct lan_guard **ret_guard);
/* Accepts NULL. */
void lan_guard_close(struct lan_guard *guard);

/* Within a transaction of `conn` (NULL: no database to protect). `field` is the LAN's, for the problem. */
int lan_guard_check(struct lan_guard *guard, const struct store_conn *conn, const struct caller *c,
                    enum addressing addressing, const struct prefix *lan, const char *field,
                    struct problem *ret_problem);

/* Looks for LANs that were taken before they held any of that: `wanted` are all routed ones. What it finds is told by
 * lan_guard_warning(): a sentence that names the first, or "". */
void lan_guard_review(struct lan_guard *guard, const struct store_conn *conn, const struct prefix *wanted,
                      size_t count);
void lan_guard_warning(struct lan_guard *guard, char ret_text[256]);
