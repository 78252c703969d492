/* What a route is, and which one a request asks for. Which there are is said in noun/routes.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "api/json/field.h"
#include "model/uuid.h"
#include "service/service.h"

struct request;
struct answer;

enum method {
    METHOD_GET, /* HEAD too */
    METHOD_POST,
    METHOD_PATCH,
    METHOD_DELETE,
};

enum route_body {
    ROUTE_BODY_NONE,
    ROUTE_BODY_OPTIONAL, /* an empty one stands for {} */
    ROUTE_BODY_REQUIRED,
};

#define ROUTE_ADMIN (1u << SCOPE_ADMIN)
#define ROUTE_METRICS (ROUTE_ADMIN | 1u << SCOPE_METRICS)
#define ROUTE_WRITE (ROUTE_ADMIN | 1u << SCOPE_TENANT_WRITE)
#define ROUTE_READ (ROUTE_WRITE | 1u << SCOPE_TENANT_READ)
#define ROUTE_OPEN 0u /* nobody is asked who they are */

struct route {
    enum method method;
    const char *pattern; /* "/v1/tenants/{tenant_id}": at most one id */
    unsigned scopes;     /* bits 1 << enum scope */
    void (*handle)(const struct request *request, struct answer *answer);
    enum route_body body;
    bool large;        /* many objects in one body */
    bool whole;        /* or all there are of a server's: it cannot be sent in parts */
    bool keeps_answer; /* honours Idempotency-Key */
    bool may_be_stale; /* a read that is answered from memory while the database is away */
    const struct field *query;
    size_t query_count;
};

struct route_table {
    const struct route *routes;
    size_t count;
};

const char *method_name(enum method method);
/* The path's route for the method. -ENOENT: no such path. -EBADMSG: the path's id is not a UUID. -EOPNOTSUPP: other
 * methods only, which `ret_allow` names. */
int route_find(const struct route_table *table, const char *method, const char *path, const struct route **ret_route,
               struct uuid *ret_id, char ret_allow[64]);
