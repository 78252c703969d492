/* The fields of tenants and routers as callers send them: shared by single and bulk creation. */
#pragma once

#include "api/json/field.h"
#include "service/service.h"

#define FIELDS_PAGE_DEFAULT 100
#define FIELDS_PAGE_MAX 1000

extern const char *const fields_addressings[];     /* by enum addressing */
extern const char *const fields_tenant_statuses[]; /* by enum tenant_status */
extern const char *const fields_router_statuses[]; /* by enum router_status */

struct fields_tenant {
    struct tenant_spec spec;
    const json_t *routers; /* bulk only */
};
/* Into struct fields_tenant, or, without "routers", which is last, into struct tenant_spec. */
#define FIELDS_TENANT_COUNT 6
#define FIELDS_TENANT_WITH_ROUTERS_COUNT 7
extern const struct field fields_tenant[FIELDS_TENANT_WITH_ROUTERS_COUNT];
/* Into struct tenant_patch. */
#define FIELDS_TENANT_PATCH_COUNT 3
extern const struct field fields_tenant_patch[FIELDS_TENANT_PATCH_COUNT];

/* A router's own fields, which a spec needs reworked; `lans` is owned, the rest borrowed from the JSON. */
struct fields_router {
    struct router_spec spec;
    struct prefix *lans;
};

/* What of a router's fields a request may have. */
enum fields_router_use {
    FIELDS_ROUTER_NEW,           /* all but tenant_id */
    FIELDS_ROUTER_NEW_OF_TENANT, /* all, with tenant_id required */
    FIELDS_ROUTER_KEYS,          /* public_key and preshared_key */
};

/* Reads one. 0, or -errno with `ret_problem`; then there is nothing to free. */
int fields_router_read(const json_t *object, enum fields_router_use use, struct fields_router *ret_router,
                       struct problem *ret_problem);
/* Wipes the preshared key. Accepts one that was never read, if it is zeroed. */
void fields_router_free(struct fields_router *router);
