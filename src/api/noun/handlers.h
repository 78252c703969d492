/* The functions behind the routes, by the file they live in. Each reads its fields, makes one call to service/, and
 * fills the answer. */
#pragma once

#include "api/json/field.h"

struct answer;
struct request;

/* tenants.c */
#define TENANT_LIST_QUERY_COUNT 6
extern const struct field tenant_list_query[TENANT_LIST_QUERY_COUNT];
void serve_tenants_create(const struct request *request, struct answer *answer);
void serve_tenants_list(const struct request *request, struct answer *answer);
void serve_tenants_get(const struct request *request, struct answer *answer);
void serve_tenants_patch(const struct request *request, struct answer *answer);
void serve_tenants_delete(const struct request *request, struct answer *answer);
void serve_tenants_disable(const struct request *request, struct answer *answer);
void serve_tenants_enable(const struct request *request, struct answer *answer);

/* routers.c */
#define ROUTER_LIST_QUERY_COUNT 9
#define ROUTER_LIST_OF_TENANT_QUERY_COUNT 8 /* the same without tenant_id, which is last */
extern const struct field router_list_query[ROUTER_LIST_QUERY_COUNT];
#define ROUTER_CONFIG_QUERY_COUNT 2
extern const struct field router_config_query[ROUTER_CONFIG_QUERY_COUNT];
void serve_routers_create(const struct request *request, struct answer *answer);
void serve_routers_list(const struct request *request, struct answer *answer);
void serve_routers_list_of_tenant(const struct request *request, struct answer *answer);
void serve_routers_get(const struct request *request, struct answer *answer);
void serve_routers_patch(const struct request *request, struct answer *answer);
void serve_routers_delete(const struct request *request, struct answer *answer);
void serve_routers_disable(const struct request *request, struct answer *answer);
void serve_routers_enable(const struct request *request, struct answer *answer);
void serve_routers_rotate(const struct request *request, struct answer *answer);
void serve_routers_config(const struct request *request, struct answer *answer);

/* audit.c */
#define AUDIT_LIST_QUERY_COUNT 9
extern const struct field audit_list_query[AUDIT_LIST_QUERY_COUNT];
void serve_audit_list(const struct request *request, struct answer *answer);

/* bulk.c */
#define BULK_QUERY_COUNT 1
extern const struct field bulk_query[BULK_QUERY_COUNT];
void serve_bulk_tenants(const struct request *request, struct answer *answer);
void serve_bulk_routers(const struct request *request, struct answer *answer);
void serve_bulk_routers_of_tenant(const struct request *request, struct answer *answer);

/* gateways.c */
void serve_gateways_list(const struct request *request, struct answer *answer);

/* adoption.c */
void serve_adoption(const struct request *request, struct answer *answer);

/* export.c */
#define EXPORT_QUERY_COUNT 1
extern const struct field export_query[EXPORT_QUERY_COUNT];
void serve_export(const struct request *request, struct answer *answer);

/* tokens.c */
void serve_tokens_create(const struct request *request, struct answer *answer);
void serve_tokens_list(const struct request *request, struct answer *answer);
void serve_tokens_revoke(const struct request *request, struct answer *answer);

/* status.c */
#define EVENT_LIST_QUERY_COUNT 3
extern const struct field event_list_query[EVENT_LIST_QUERY_COUNT];
void serve_status_health(const struct request *request, struct answer *answer);
void serve_status_openapi(const struct request *request, struct answer *answer);
void serve_status_get(const struct request *request, struct answer *answer);
void serve_status_counters(const struct request *request, struct answer *answer);
void serve_status_events(const struct request *request, struct answer *answer);
