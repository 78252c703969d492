#include <stdlib.h>
#include <string.h>

#include "api/http/request.h"
#include "api/json/fields.h"
#include "api/json/view.h"
#include "api/noun/handlers.h"

struct list_query {
    const char *cursor;
    bool has_addressing, has_status;
    uint32_t limit;
    const char *name, *q;
    enum addressing addressing;
    enum tenant_status status;
};

#define AT(member) .offset = offsetof(struct list_query, member)
const struct field tenant_list_query[TENANT_LIST_QUERY_COUNT] = {
    {"cursor", FIELD_TEXT, AT(cursor)},
    {"limit", FIELD_U32, AT(limit), .least = 1, .most = FIELDS_PAGE_MAX},
    {"name", FIELD_TEXT, AT(name)},
    {"q", FIELD_TEXT, AT(q)},
    {"addressing", FIELD_CHOICE, AT(addressing), .given = offsetof(struct list_query, has_addressing),
     .choices = fields_addressings},
    {"status", FIELD_CHOICE, AT(status), .given = offsetof(struct list_query, has_status),
     .choices = fields_tenant_statuses},
};
#undef AT

void serve_tenants_create(const struct request *request, struct answer *answer) {
    struct tenant_spec spec;
    struct tenant tenant;
    struct problem problem = {0};
    if (!request_read_body(request, fields_tenant, FIELDS_TENANT_COUNT, &spec, sizeof spec, answer)) {
        return;
    }
    request_make_id(request, 't', 0, &spec.id);
    if (service_tenant_create(request->service, &request->caller, &spec, &tenant, &problem) < 0) {
        answer_problem(answer, &problem);
        return;
    }
    answer_created(answer, "/v1/tenants/", &tenant.id, view_tenant(&tenant));
}

void serve_tenants_list(const struct request *request, struct answer *answer) {
    struct list_query query;
    if (!request_read_query(request, &query, sizeof query, answer)) {
        return;
    }
    struct tenant_filter filter = {
        .name = query.name,
        .contains = query.q,
        .has_addressing = query.has_addressing,
        .has_status = query.has_status,
        .addressing = query.addressing,
        .status = query.status,
    };
    size_t limit = query.limit ? query.limit : FIELDS_PAGE_DEFAULT;
    size_t count = 0;
    char next[64] = "";
    struct problem problem = {0};
    struct tenant *tenants = calloc(limit, sizeof *tenants);
    if (!tenants) {
        answer_out_of_memory(answer);
        return;
    }
    if (service_tenant_list(request->service, &request->caller, &filter, query.cursor ? query.cursor : "", limit,
                            tenants, &count, next, &problem) < 0) {
        answer_problem(answer, &problem);
    } else {
        answer_list_open(answer, NULL);
        for (size_t i = 0; i < count; i++) {
            answer_list_item(answer, view_tenant(&tenants[i]));
        }
        answer_list_close(answer, view_next_cursor(next));
    }
    free(tenants);
}

/* What a call on one tenant brought. */
static void answer_tenant(struct answer *answer, int error, const struct tenant *tenant,
                          const struct problem *problem) {
    if (error < 0) {
        answer_problem(answer, problem);
    } else {
        answer_json(answer, 200, view_tenant(tenant));
    }
}

void serve_tenants_get(const struct request *request, struct answer *answer) {
    struct tenant tenant;
    struct problem problem = {0};
    int error = service_tenant_get(request->service, &request->caller, &request->id, &tenant, &problem);
    answer_tenant(answer, error, &tenant, &problem);
}

void serve_tenants_patch(const struct request *request, struct answer *answer) {
    struct tenant_patch patch;
    struct tenant tenant;
    struct problem problem = {0};
    if (!request_read_body(request, fields_tenant_patch, FIELDS_TENANT_PATCH_COUNT, &patch, sizeof patch, answer)) {
        return;
    }
    int error = service_tenant_patch(request->service, &request->caller, &request->id, &patch, &tenant, &problem);
    answer_tenant(answer, error, &tenant, &problem);
}

void serve_tenants_delete(const struct request *request, struct answer *answer) {
    struct problem problem = {0};
    if (service_tenant_delete(request->service, &request->caller, &request->id, &problem) < 0) {
        answer_problem(answer, &problem);
    } else {
        answer_empty(answer, 204);
    }
}

static void set_status(const struct request *request, enum tenant_status status, struct answer *answer) {
    struct tenant tenant;
    struct problem problem = {0};
    int error = service_tenant_set_status(request->service, &request->caller, &request->id, status, &tenant, &problem);
    answer_tenant(answer, error, &tenant, &problem);
}

void serve_tenants_disable(const struct request *request, struct answer *answer) {
    set_status(request, TENANT_DISABLED, answer);
}

void serve_tenants_enable(const struct request *request, struct answer *answer) {
    set_status(request, TENANT_ACTIVE, answer);
}
