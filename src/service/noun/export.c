#include "service/noun/export.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "service/noun/noun.h"

static int export_row(struct service *s, struct store_conn *conn, const struct router_row *row,
                      struct tenant_row *tenant, struct exported_router *ret_router) {
    int r = tenant->id == row->tunnel_id ? 0 : tenants_get_row(conn, row->tunnel_id, tenant);
    if (r < 0) {
        return r;
    }
    ret_router->router = row->router;
    ret_router->addressing = tenant->tenant.addressing;
    ret_router->silent = tenant->tenant.status == TENANT_DISABLED || row->router.status == ROUTER_DISABLED;
    ret_router->seal_broken = secrets_unseal(&s->secrets, row, &ret_router->router.preshared_key) < 0;
    memcpy(ret_router->tenant_name, tenant->tenant.name, sizeof ret_router->tenant_name);
    return 0;
}

int service_export_list(struct service *s, const struct caller *c, const struct uuid *tenant_id, int64_t *after,
                        size_t limit, struct exported_router *ret_routers, size_t *ret_count,
                        struct problem *ret_problem) {
    const struct routers_filter filter = {.tenant_id = *tenant_id};
    struct tenant_row tenant = {0};
    struct store_conn *conn = NULL;
    size_t count = 0;
    int r = access_admin(c, NULL, ret_problem);
    struct router_row *rows = r < 0 ? NULL : malloc(limit * sizeof *rows);
    if (r == 0 && !rows) {
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    r = r < 0 ? r : store_reader_take(s->store, &conn, ret_problem);
    if (r < 0) {
        free(rows);
        return r;
    }
    if (!uuid_is_zero(tenant_id)) {
        r = tenants_get(conn, tenant_id, &tenant);
    }
    bool known = r != -ENOENT;
    r = r < 0 ? r : routers_list(conn, &filter, *after, limit, rows, &count);
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = export_row(s, conn, &rows[i], &tenant, &ret_routers[i]);
    }
    if (r < 0) {
        r = known ? store_problem(conn, r, ret_problem) : access_not_found("tenant", ret_problem);
    } else {
        *after = count ? rows[count - 1].id : *after;
        *ret_count = count;
    }
    store_reader_put(s->store, conn);
    free(rows);
    return r;
}
