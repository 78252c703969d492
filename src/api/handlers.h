/* The functions behind the routes, by the file they live in. Each reads its fields, makes one call to service/, and
 * fills the answer. */
#pragma once

#include "api/field.h"

struct answer;
struct request;

/* tenants.c */
#define TENANT_LIST_QUERY_COUNT 6
extern const struct field tenant_list_query[TENANT_LIST_QUERY_COUNT];
void tenants_create(const struct request *request, struct answer *answer);
void tenants_list(const struct request *request, struct answer *answer);
void tenants_get(const struct request *request, struct answer *answer);
void tenants_patch(const struct request *request, struct answer *answer);
void tenants_delete(const struct request *request, struct answer *answer);
void tenants_disable(const struct request *request, struct answer *answer);
void tenants_enable(const struct request *request, struct answer *answer);

/* routers.c */
#define ROUTER_LIST_QUERY_COUNT 9
#define ROUTER_LIST_OF_TENANT_QUERY_COUNT 8 /* the same without tenant_id, which is last */
extern const struct field router_list_query[ROUTER_LIST_QUERY_COUNT];
#define ROUTER_CONFIG_QUERY_COUNT 1
extern const struct field router_config_query[ROUTER_CONFIG_QUERY_COUNT];
void routers_create(const struct request *request, struct answer *answer);
void routers_list(const struct request *request, struct answer *answer);
void routers_list_of_tenant(const struct request *request, struct answer *answer);
void routers_get(const struct request *request, struct answer *answer);
void routers_patch(const struct request *request, struct answer *answer);
void routers_delete(const struct request *request, struct answer *answer);
void routers_disable(const struct request *request, struct answer *answer);
void routers_enable(const struct request *request, struct answer *answer);
void routers_rotate(const struct request *request, struct answer *answer);
void routers_config(const struct request *request, struct answer *answer);

/* bulk.c */
#define BULK_QUERY_COUNT 1
extern const struct field bulk_query[BULK_QUERY_COUNT];
void bulk_tenants(const struct request *request, struct answer *answer);
void bulk_routers(const struct request *request, struct answer *answer);
void bulk_routers_of_tenant(const struct request *request, struct answer *answer);

/* tokens.c */
void tokens_create(const struct request *request, struct answer *answer);
void tokens_list(const struct request *request, struct answer *answer);
void tokens_revoke(const struct request *request, struct answer *answer);

/* status.c */
#define EVENT_LIST_QUERY_COUNT 3
extern const struct field event_list_query[EVENT_LIST_QUERY_COUNT];
void status_health(const struct request *request, struct answer *answer);
void status_openapi(const struct request *request, struct answer *answer);
void status_get(const struct request *request, struct answer *answer);
void status_counters(const struct request *request, struct answer *answer);
void status_events(const struct request *request, struct answer *answer);
