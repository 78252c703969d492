#include "api/http/route.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/noun/handlers.h"

static const char *const methods[] = {
    [METHOD_GET] = "GET",
    [METHOD_POST] = "POST",
    [METHOD_PATCH] = "PATCH",
    [METHOD_DELETE] = "DELETE",
};

const char *method_name(enum method method) {
    return methods[method];
}

#define TENANT "/v1/tenants/{tenant_id}"
#define ROUTER "/v1/routers/{router_id}"

#define QUERY(table, count) .query = (table), .query_count = (count)

const struct route routes[] = {
    {METHOD_GET, "/v1/health", ROUTE_OPEN, serve_status_health},
    {METHOD_GET, "/v1/openapi.json", ROUTE_OPEN, serve_status_openapi},
    {METHOD_GET, "/v1/status", ROUTE_METRICS, serve_status_get},
    {METHOD_GET, "/v1/counters", ROUTE_METRICS, serve_status_counters},
    {METHOD_GET, "/v1/events", ROUTE_READ, serve_status_events, QUERY(event_list_query, EVENT_LIST_QUERY_COUNT)},

    {METHOD_POST, "/v1/tenants", ROUTE_ADMIN, serve_tenants_create, ROUTE_BODY_REQUIRED, .keeps_answer = true},
    {METHOD_GET, "/v1/tenants", ROUTE_READ, serve_tenants_list, QUERY(tenant_list_query, TENANT_LIST_QUERY_COUNT),
     .may_be_stale = true},
    {METHOD_POST, "/v1/tenants/bulk", ROUTE_ADMIN, serve_bulk_tenants, ROUTE_BODY_REQUIRED, .keeps_answer = true,
     QUERY(bulk_query, BULK_QUERY_COUNT)},
    {METHOD_GET, TENANT, ROUTE_READ, serve_tenants_get, .may_be_stale = true},
    {METHOD_PATCH, TENANT, ROUTE_ADMIN, serve_tenants_patch, ROUTE_BODY_REQUIRED},
    {METHOD_DELETE, TENANT, ROUTE_ADMIN, serve_tenants_delete},
    {METHOD_POST, TENANT "/disable", ROUTE_ADMIN, serve_tenants_disable},
    {METHOD_POST, TENANT "/enable", ROUTE_ADMIN, serve_tenants_enable},
    {METHOD_POST, TENANT "/routers", ROUTE_WRITE, serve_routers_create, ROUTE_BODY_REQUIRED, .keeps_answer = true,
     QUERY(router_config_query, ROUTER_CONFIG_QUERY_COUNT)},
    {METHOD_GET, TENANT "/routers", ROUTE_READ, serve_routers_list_of_tenant,
     QUERY(router_list_query, ROUTER_LIST_OF_TENANT_QUERY_COUNT), .may_be_stale = true},
    {METHOD_POST, TENANT "/routers/bulk", ROUTE_WRITE, serve_bulk_routers_of_tenant, ROUTE_BODY_REQUIRED,
     .keeps_answer = true, QUERY(bulk_query, BULK_QUERY_COUNT)},

    {METHOD_GET, "/v1/routers", ROUTE_READ, serve_routers_list, QUERY(router_list_query, ROUTER_LIST_QUERY_COUNT),
     .may_be_stale = true},
    {METHOD_POST, "/v1/routers/bulk", ROUTE_WRITE, serve_bulk_routers, ROUTE_BODY_REQUIRED, .keeps_answer = true,
     QUERY(bulk_query, BULK_QUERY_COUNT)},
    {METHOD_GET, ROUTER, ROUTE_READ, serve_routers_get, .may_be_stale = true},
    {METHOD_PATCH, ROUTER, ROUTE_WRITE, serve_routers_patch, ROUTE_BODY_REQUIRED},
    {METHOD_DELETE, ROUTER, ROUTE_WRITE, serve_routers_delete},
    {METHOD_POST, ROUTER "/disable", ROUTE_WRITE, serve_routers_disable},
    {METHOD_POST, ROUTER "/enable", ROUTE_WRITE, serve_routers_enable},
    {METHOD_POST, ROUTER "/rotate", ROUTE_WRITE, serve_routers_rotate, ROUTE_BODY_OPTIONAL, .keeps_answer = true,
     QUERY(router_config_query, ROUTER_CONFIG_QUERY_COUNT)},
    {METHOD_GET, ROUTER "/config", ROUTE_READ, serve_routers_config,
     QUERY(router_config_query, ROUTER_CONFIG_QUERY_COUNT)},

    {METHOD_GET, "/v1/gateways", ROUTE_ADMIN, serve_gateways_list},

    {METHOD_POST, "/v1/adoption", ROUTE_ADMIN, serve_adoption, ROUTE_BODY_REQUIRED},
    {METHOD_GET, "/v1/export", ROUTE_ADMIN, serve_export, QUERY(export_query, EXPORT_QUERY_COUNT)},

    {METHOD_POST, "/v1/tokens", ROUTE_ADMIN, serve_tokens_create, ROUTE_BODY_REQUIRED, .keeps_answer = true},
    {METHOD_GET, "/v1/tokens", ROUTE_ADMIN, serve_tokens_list},
    {METHOD_DELETE, "/v1/tokens/{token_id}", ROUTE_ADMIN, serve_tokens_revoke},
};
const size_t route_count = sizeof routes / sizeof *routes;

enum match {
    MATCH_NO,
    MATCH_BAD_ID, /* right but for the id, which is no UUID */
    MATCH_YES,
};

/* Segment by segment; "{...}" takes one segment, which is the id. */
static enum match path_match(const char *pattern, const char *path, struct uuid *ret_id) {
    enum match match = MATCH_YES;
    for (;;) {
        size_t want = strcspn(pattern + 1, "/") + 1;
        size_t have = path[0] == '/' ? strcspn(path + 1, "/") + 1 : 0;
        if (have <= 1) {
            return MATCH_NO;
        }
        if (pattern[1] == '{') {
            char text[UUID_TEXT_SIZE] = "";
            if (have == UUID_TEXT_SIZE) {
                memcpy(text, path + 1, UUID_TEXT_SIZE - 1);
            }
            if (uuid_parse(text, ret_id) < 0 || uuid_is_zero(ret_id)) {
                match = MATCH_BAD_ID;
            }
        } else if (want != have || memcmp(pattern, path, want) != 0) {
            return MATCH_NO;
        }
        pattern += want;
        path += have;
        if (!*pattern || !*path) {
            return *pattern == *path ? match : MATCH_NO;
        }
    }
}

/* "/v1/tenants/bulk" is also shaped like "/v1/tenants/{id}": a path that is one without an id hides the others. */
static bool path_is_literal(const char *path) {
    for (size_t i = 0; i < route_count; i++) {
        if (strcmp(routes[i].pattern, path) == 0) {
            return true;
        }
    }
    return false;
}

int route_find(const char *method, const char *path, const struct route **ret_route, struct uuid *ret_id,
               char ret_allow[64]) {
    char allow[64] = "";
    bool bad_id = false;
    bool literal = path_is_literal(path);
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    for (size_t i = 0; i < route_count; i++) {
        struct uuid id = {0};
        const struct route *route = &routes[i];
        if (literal && strchr(route->pattern, '{')) {
            continue;
        }
        enum match match = path_match(route->pattern, path, &id);
        if (match == MATCH_NO) {
            continue;
        }
        if (strcmp(methods[route->method], wanted) == 0 && match == MATCH_YES) {
            *ret_route = route;
            *ret_id = id;
            return 0;
        }
        bad_id = bad_id || match == MATCH_BAD_ID;
        size_t size = strlen(allow);
        snprintf(allow + size, sizeof allow - size, "%s%s", size ? ", " : "",
                 route->method == METHOD_GET ? "GET, HEAD" : methods[route->method]);
    }
    if (bad_id) {
        return -EBADMSG;
    }
    if (!allow[0]) {
        return -ENOENT;
    }
    memcpy(ret_allow, allow, sizeof allow);
    return -EOPNOTSUPP;
}
