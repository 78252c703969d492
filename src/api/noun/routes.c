#include "api/noun/routes.h"

#include "api/noun/handlers.h"

#define TENANT "/v1/tenants/{tenant_id}"
#define ROUTER "/v1/routers/{router_id}"

#define QUERY(table, count) .query = (table), .query_count = (count)

static const struct route rows[] = {
    {METHOD_GET, "/v1/health", ROUTE_OPEN, serve_status_health},
    {METHOD_GET, "/v1/openapi.json", ROUTE_OPEN, serve_status_openapi},
    {METHOD_GET, "/v1/status", ROUTE_METRICS, serve_status_get},
    {METHOD_GET, "/v1/counters", ROUTE_METRICS, serve_status_counters},
    {METHOD_GET, "/v1/events", ROUTE_READ, serve_status_events, QUERY(event_list_query, EVENT_LIST_QUERY_COUNT)},

    {METHOD_POST, "/v1/tenants", ROUTE_ADMIN, serve_tenants_create, ROUTE_BODY_REQUIRED, .keeps_answer = true},
    {METHOD_GET, "/v1/tenants", ROUTE_READ, serve_tenants_list, QUERY(tenant_list_query, TENANT_LIST_QUERY_COUNT),
     .may_be_stale = true},
    {METHOD_POST, "/v1/tenants/bulk", ROUTE_ADMIN, serve_bulk_tenants, ROUTE_BODY_REQUIRED, .large = true,
     .keeps_answer = true, QUERY(bulk_query, BULK_QUERY_COUNT)},
    {METHOD_GET, TENANT, ROUTE_READ, serve_tenants_get, .may_be_stale = true},
    {METHOD_PATCH, TENANT, ROUTE_ADMIN, serve_tenants_patch, ROUTE_BODY_REQUIRED},
    {METHOD_DELETE, TENANT, ROUTE_ADMIN, serve_tenants_delete},
    {METHOD_POST, TENANT "/disable", ROUTE_ADMIN, serve_tenants_disable},
    {METHOD_POST, TENANT "/enable", ROUTE_ADMIN, serve_tenants_enable},
    {METHOD_POST, TENANT "/routers", ROUTE_WRITE, serve_routers_create, ROUTE_BODY_REQUIRED, .keeps_answer = true,
     QUERY(router_config_query, ROUTER_CONFIG_QUERY_COUNT)},
    {METHOD_GET, TENANT "/routers", ROUTE_READ, serve_routers_list_of_tenant,
     QUERY(router_list_query, ROUTER_LIST_OF_TENANT_QUERY_COUNT), .may_be_stale = true},
    {METHOD_POST, TENANT "/routers/bulk", ROUTE_WRITE, serve_bulk_routers_of_tenant, ROUTE_BODY_REQUIRED, .large = true,
     .keeps_answer = true, QUERY(bulk_query, BULK_QUERY_COUNT)},

    {METHOD_GET, "/v1/routers", ROUTE_READ, serve_routers_list, QUERY(router_list_query, ROUTER_LIST_QUERY_COUNT),
     .may_be_stale = true},
    {METHOD_POST, "/v1/routers/bulk", ROUTE_WRITE, serve_bulk_routers, ROUTE_BODY_REQUIRED, .large = true,
     .keeps_answer = true, QUERY(bulk_query, BULK_QUERY_COUNT)},
    {METHOD_GET, ROUTER, ROUTE_READ, serve_routers_get, .may_be_stale = true},
    {METHOD_PATCH, ROUTER, ROUTE_WRITE, serve_routers_patch, ROUTE_BODY_REQUIRED},
    {METHOD_DELETE, ROUTER, ROUTE_WRITE, serve_routers_delete},
    {METHOD_POST, ROUTER "/disable", ROUTE_WRITE, serve_routers_disable},
    {METHOD_POST, ROUTER "/enable", ROUTE_WRITE, serve_routers_enable},
    {METHOD_POST, ROUTER "/rotate", ROUTE_WRITE, serve_routers_rotate, ROUTE_BODY_OPTIONAL, .keeps_answer = true,
     QUERY(router_config_query, ROUTER_CONFIG_QUERY_COUNT)},
    {METHOD_GET, ROUTER "/config", ROUTE_READ, serve_routers_config,
     QUERY(router_config_query, ROUTER_CONFIG_QUERY_COUNT)},

    {METHOD_GET, "/v1/audit", ROUTE_ADMIN, serve_audit_list, QUERY(audit_list_query, AUDIT_LIST_QUERY_COUNT)},
    {METHOD_GET, "/v1/gateways", ROUTE_ADMIN, serve_gateways_list},

    {METHOD_POST, "/v1/adoption", ROUTE_ADMIN, serve_adoption, ROUTE_BODY_REQUIRED, .large = true, .whole = true},
    {METHOD_GET, "/v1/export", ROUTE_ADMIN, serve_export, QUERY(export_query, EXPORT_QUERY_COUNT)},

    {METHOD_POST, "/v1/tokens", ROUTE_ADMIN, serve_tokens_create, ROUTE_BODY_REQUIRED, .keeps_answer = true},
    {METHOD_GET, "/v1/tokens", ROUTE_ADMIN, serve_tokens_list},
    {METHOD_DELETE, "/v1/tokens/{token_id}", ROUTE_ADMIN, serve_tokens_revoke},
};
const struct route_table routes = {rows, sizeof rows / sizeof *rows};
