#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/request.h"
#include "api/json/fields.h"
#include "api/json/view.h"
#include "api/noun/dialin.h"
#include "api/noun/handlers.h"
#include "export/formats.h"

struct list_query {
    const char *cursor;
    bool has_status, has_public_key, has_address, has_connected, connected;
    uint32_t limit;
    const char *name, *q;
    enum router_status status;
    struct key public_key;
    struct ip_addr address;
    struct uuid tenant_id;
};

#define AT(member) .offset = offsetof(struct list_query, member)
#define GIVEN(member) .given = offsetof(struct list_query, member)
const struct field router_list_query[ROUTER_LIST_QUERY_COUNT] = {
    {"cursor", FIELD_TEXT, AT(cursor)},
    {"limit", FIELD_U32, AT(limit), .least = 1, .most = FIELDS_PAGE_MAX},
    {"name", FIELD_TEXT, AT(name)},
    {"q", FIELD_TEXT, AT(q)},
    {"status", FIELD_CHOICE, AT(status), GIVEN(has_status), .choices = fields_router_statuses},
    {"public_key", FIELD_KEY, AT(public_key), GIVEN(has_public_key)},
    {"connected", FIELD_BOOL, AT(connected), GIVEN(has_connected)},
    {"address", FIELD_IP, AT(address), GIVEN(has_address)},
    {"tenant_id", FIELD_UUID, AT(tenant_id)},
};
#undef AT
#undef GIVEN

struct config_query {
    const char *format;
    bool has_family;
    enum dial_family family;
};

/* The form and the family that a configuration is wanted in. */
struct wanted {
    const struct export_format *format;
    enum dial_family family;
};

const struct field router_config_query[ROUTER_CONFIG_QUERY_COUNT] = {
    {"format", FIELD_TEXT, .offset = offsetof(struct config_query, format)},
    {"family", FIELD_CHOICE, .offset = offsetof(struct config_query, family),
     .given = offsetof(struct config_query, has_family), .choices = dial_families},
};

/* What the query names: else wg-quick, and the gateway's own choice of families. False, and the answer is there. */
static bool read_wanted(const struct request *request, struct wanted *ret_wanted, struct answer *answer) {
    struct config_query query = {0};
    if (!request_read_query(request, &query, sizeof query, answer)) {
        return false;
    }
    const struct export_format *format = query.format ? export_format_find(query.format) : &export_formats[0];
    if (!format) {
        char all[160] = "";
        for (size_t i = 0; i < export_format_count; i++) {
            size_t size = strlen(all);
            snprintf(all + size, sizeof all - size, "%s\"%s\"", i ? ", " : "", export_formats[i].name);
        }
        answer_refuse(answer, 422, "invalid-value", "format", "\"%.60s\" is none of %s.", query.format, all);
        return false;
    }
    struct service_gateway gateway;
    service_gateway(request->service, &gateway);
    *ret_wanted = (struct wanted){.format = format, .family = query.has_family ? query.family : gateway.family};
    return true;
}

/* The text that goes with a router, for its caller. */
static int config_format(const struct request *request, const struct wanted *wanted, const struct router *router,
                         const struct key *private_key, bool with_preshared_key, struct buf *out,
                         struct problem *ret_problem) {
    struct dialin dialin = {0};
    int error = dialin_open_all(&dialin, request->service, &request->caller, &router->tenant_id, ret_problem);
    if (error < 0) {
        dialin_close(&dialin);
        return error;
    }
    error = dialin_format(&dialin, wanted->format, wanted->family, router, private_key, with_preshared_key, out);
    dialin_close(&dialin);
    if (error == -ENOMEM) {
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, "out-of-memory", "", "Out of memory; try again.");
    }
    if (error == -EMSGSIZE) {
        return problem_set(ret_problem, PROBLEM_INVALID, "does-not-fit", "format",
                           "The configuration is too long for \"%s\", with the LANs of all the tenant's routers in it; "
                           "ask for another format.",
                           wanted->format->name);
    }
    if (error < 0) {
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-configuration", "",
                           "The configuration cannot be written: the router's or the gateway's data do not fit "
                           "into it.");
    }
    return 0;
}

/* The router exists and is durable by now, and its private key only here: a configuration that cannot be written must
 * not lose it, so the answer then carries an empty one. */
static json_t *made_view(const struct request *request, const struct wanted *wanted, const struct router_made *made) {
    struct problem ignored = {0};
    struct buf config = {0};
    const struct key *private_key = key_is_zero(&made->private_key) ? NULL : &made->private_key;
    if (config_format(request, wanted, &made->router, private_key, true, &config, &ignored) < 0) {
        buf_clear(&config);
    }
    json_t *view = view_router_made(made, config.data ? config.data : "");
    buf_free(&config);
    return view;
}

void serve_routers_create(const struct request *request, struct answer *answer) {
    struct fields_router read = {0};
    struct router_made made = {0};
    struct problem problem = {0};
    struct wanted wanted;
    if (!read_wanted(request, &wanted, answer)) {
        return;
    }
    if (fields_router_read(request->body, FIELDS_ROUTER_NEW, &read, &problem) < 0) {
        answer_problem(answer, &problem);
        return;
    }
    read.spec.tenant_id = request->id;
    request_make_id(request, 'r', 0, &read.spec.id);
    if (service_router_create(request->service, &request->caller, &read.spec, &made, &problem) < 0) {
        answer_problem(answer, &problem);
    } else {
        answer_created(answer, "/v1/routers/", &made.router.id, made_view(request, &wanted, &made));
    }
    sodium_memzero(&made, sizeof made);
    fields_router_free(&read);
}

void serve_routers_rotate(const struct request *request, struct answer *answer) {
    struct fields_router read = {0};
    struct router_made made = {0};
    struct problem problem = {0};
    struct wanted wanted;
    if (!read_wanted(request, &wanted, answer)) {
        return;
    }
    if (fields_router_read(request->body, FIELDS_ROUTER_KEYS, &read, &problem) < 0 ||
        service_router_rotate(request->service, &request->caller, &request->id, &read.spec, &made, &problem) < 0) {
        answer_problem(answer, &problem);
    } else {
        answer_json(answer, 200, made_view(request, &wanted, &made));
    }
    sodium_memzero(&made, sizeof made);
    fields_router_free(&read);
}

static void list(const struct request *request, const struct list_query *query, struct answer *answer) {
    struct router_filter filter = {
        .tenant_id = query->tenant_id,
        .name = query->name,
        .contains = query->q,
        .has_status = query->has_status,
        .has_public_key = query->has_public_key,
        .has_address = query->has_address,
        .has_connected = query->has_connected,
        .status = query->status,
        .public_key = query->public_key,
        .address = query->address,
        .connected = query->connected,
    };
    size_t limit = query->limit ? query->limit : FIELDS_PAGE_DEFAULT;
    size_t count = 0;
    char next[64] = "";
    struct problem problem = {0};
    struct router *routers = calloc(limit, sizeof *routers);
    if (!routers) {
        answer_out_of_memory(answer);
        return;
    }
    if (service_router_list(request->service, &request->caller, &filter, query->cursor ? query->cursor : "", limit,
                            routers, &count, next, &problem) < 0) {
        answer_problem(answer, &problem);
    } else {
        answer_list_open(answer, NULL);
        for (size_t i = 0; i < count; i++) {
            answer_list_item(answer, view_router(&routers[i]));
        }
        answer_list_close(answer, view_next_cursor(next));
    }
    sodium_memzero(routers, limit * sizeof *routers);
    free(routers);
}

void serve_routers_list(const struct request *request, struct answer *answer) {
    struct list_query query;
    if (request_read_query(request, &query, sizeof query, answer)) {
        list(request, &query, answer);
    }
}

void serve_routers_list_of_tenant(const struct request *request, struct answer *answer) {
    struct list_query query;
    struct tenant tenant;
    struct problem problem = {0};
    if (!request_read_query(request, &query, sizeof query, answer)) {
        return;
    }
    if (service_tenant_get(request->service, &request->caller, &request->id, &tenant, &problem) < 0) {
        answer_problem(answer, &problem);
        return;
    }
    query.tenant_id = request->id;
    list(request, &query, answer);
}

/* What a call on one router brought. */
static void answer_router(struct answer *answer, int error, struct router *router, const struct problem *problem) {
    if (error < 0) {
        answer_problem(answer, problem);
    } else {
        answer_json(answer, 200, view_router(router));
        sodium_memzero(router, sizeof *router);
    }
}

void serve_routers_get(const struct request *request, struct answer *answer) {
    struct router router;
    struct problem problem = {0};
    int error = service_router_get(request->service, &request->caller, &request->id, &router, &problem);
    answer_router(answer, error, &router, &problem);
}

struct patch_body {
    const char *name;
    const json_t *lans;
};

static const struct field patch_fields[] = {
    {"name", FIELD_TEXT, .offset = offsetof(struct patch_body, name)},
    {"lans", FIELD_ARRAY, .offset = offsetof(struct patch_body, lans), .most = ROUTER_LANS_MAX},
};

void serve_routers_patch(const struct request *request, struct answer *answer) {
    struct patch_body body;
    struct router router;
    struct problem problem = {0};
    struct prefix *lans = NULL;
    size_t lan_count = 0;
    if (!request_read_body(request, patch_fields, 2, &body, sizeof body, answer)) {
        return;
    }
    if (body.lans && field_read_prefixes(body.lans, &lans, &lan_count, &problem) < 0) {
        problem_within(&problem, "lans");
        answer_problem(answer, &problem);
        return;
    }
    struct router_patch patch = {.name = body.name, .has_lans = body.lans, .lans = lans, .lan_count = lan_count};
    int error = service_router_patch(request->service, &request->caller, &request->id, &patch, &router, &problem);
    answer_router(answer, error, &router, &problem);
    free(lans);
}

void serve_routers_delete(const struct request *request, struct answer *answer) {
    struct problem problem = {0};
    if (service_router_delete(request->service, &request->caller, &request->id, &problem) < 0) {
        answer_problem(answer, &problem);
    } else {
        answer_empty(answer, 204);
    }
}

static void set_disabled(const struct request *request, bool disabled, struct answer *answer) {
    struct router router;
    struct problem problem = {0};
    int error =
        service_router_set_disabled(request->service, &request->caller, &request->id, disabled, &router, &problem);
    answer_router(answer, error, &router, &problem);
}

void serve_routers_disable(const struct request *request, struct answer *answer) {
    set_disabled(request, true, answer);
}

void serve_routers_enable(const struct request *request, struct answer *answer) {
    set_disabled(request, false, answer);
}

void serve_routers_config(const struct request *request, struct answer *answer) {
    struct router router;
    struct problem problem = {0};
    struct wanted wanted;
    if (!read_wanted(request, &wanted, answer)) {
        return;
    }
    if (service_router_get(request->service, &request->caller, &request->id, &router, &problem) < 0) {
        answer_problem(answer, &problem);
        return;
    }
    /* Who may only read is not handed a secret to connect with. */
    bool secrets = request->caller.scope == SCOPE_ADMIN || request->caller.scope == SCOPE_TENANT_WRITE;
    if (config_format(request, &wanted, &router, NULL, secrets, &answer->body, &problem) < 0) {
        answer_problem(answer, &problem);
    } else {
        answer->status = 200;
        answer->type = wanted.format->content_type;
    }
    sodium_memzero(&router, sizeof router);
}
