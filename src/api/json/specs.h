/* The fields of tenants and routers as callers send them: shared by single and bulk creation. */
#pragma once

#include "api/json/field.h"
#include "service/service.h"

#define SPECS_PAGE_DEFAULT 100
#define SPECS_PAGE_MAX 1000

extern const char *const specs_addressings[];     /* by enum addressing */
extern const char *const specs_tenant_statuses[]; /* by enum tenant_status */
extern const char *const specs_router_statuses[]; /* by enum router_status */

struct specs_tenant {
    struct tenant_spec spec;
    const json_t *routers; /* bulk only */
};
/* Into struct specs_tenant, or, without "routers", which is last, into struct tenant_spec. */
#define SPECS_TENANT_COUNT 6
#define SPECS_TENANT_WITH_ROUTERS_COUNT 7
extern const struct field specs_tenant[SPECS_TENANT_WITH_ROUTERS_COUNT];
/* Into struct tenant_patch. */
#define SPECS_TENANT_PATCH_COUNT 3
extern const struct field specs_tenant_patch[SPECS_TENANT_PATCH_COUNT];

/* A router's own fields, which a spec needs reworked; `lans` is owned, the rest borrowed from the JSON. */
struct specs_router {
    struct router_spec spec;
    struct prefix *lans;
};

/* What of a router's fields a request may have. */
enum specs_router_use {
    SPECS_ROUTER_NEW,           /* all but tenant_id */
    SPECS_ROUTER_NEW_OF_TENANT, /* all, with tenant_id required */
    SPECS_ROUTER_KEYS,          /* public_key and preshared_key */
};

/* Reads one. 0, or -errno with `ret_problem`; then there is nothing to free. */
int specs_router_read(const json_t *object, enum specs_router_use use, struct specs_router *ret_router,
                      struct problem *ret_problem);
/* Wipes the preshared key. Accepts one that was never read, if it is zeroed. */
void specs_router_free(struct specs_router *router);
