/* Bulk creation: thousands of items in one request, each of which stands or falls alone.
 *
 * The body is read item by item; items that are malformed are set aside, the others go to service/ in one call, and the
 * answer lists all in the order in which they came. An answer in which the store failed some of them is not kept: a
 * repeat makes those. */
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

#define ITEMS_MAX 10000
#define ROUTERS_MAX 10000

enum returned {
    RETURN_FULL,
    RETURN_MINIMAL,
};

struct query {
    enum returned returned;
};

static const char *const returns[] = {[RETURN_FULL] = "full", [RETURN_MINIMAL] = "minimal", NULL};

const struct field bulk_query[BULK_QUERY_COUNT] = {
    {"return", FIELD_CHOICE, .offset = offsetof(struct query, returned), .choices = returns},
};

struct bulk {
    const struct request *request;
    enum returned returned;
    size_t count;            /* items, as they came */
    size_t good;             /* those that go to service/: the first of `items`; the malformed fill it from its end */
    struct bulk_item *items; /* owned */
    size_t *places;          /* owned; where in `items` each one is */
    size_t router_count;
    struct fields_router *read; /* owned, as many as there are routers; and in the same order: */
    struct router_spec *specs;  /* owned */
    struct router_made *made;   /* owned, secret */
    size_t routers_read;
};

static void bulk_free(struct bulk *b) {
    for (size_t i = 0; b->read && i < b->routers_read; i++) {
        fields_router_free(&b->read[i]);
    }
    if (b->made) {
        sodium_memzero(b->made, b->router_count * sizeof *b->made);
    }
    if (b->specs) {
        sodium_memzero(b->specs, b->router_count * sizeof *b->specs);
    }
    free(b->items);
    free(b->places);
    free(b->read);
    free(b->specs);
    free(b->made);
}

/* Room for `count` items with `router_count` routers in all. False: the answer is there. */
static bool bulk_open(struct bulk *b, const struct request *request, size_t count, size_t router_count,
                      struct answer *answer) {
    struct query query;
    *b = (struct bulk){0};
    if (!request_read_query(request, &query, sizeof query, answer)) {
        return false;
    }
    if (router_count > ROUTERS_MAX) {
        answer_refuse(answer, 422, "too-many-items", "", "%zu routers in one request; send at most %d at a time.",
                      router_count, ROUTERS_MAX);
        return false;
    }
    /* calloc() of nothing may be NULL, hence one more of each. */
    *b = (struct bulk){
        .request = request,
        .returned = query.returned,
        .count = count,
        .router_count = router_count,
        .items = calloc(count + 1, sizeof *b->items),
        .places = calloc(count + 1, sizeof *b->places),
        .read = calloc(router_count + 1, sizeof *b->read),
        .specs = calloc(router_count + 1, sizeof *b->specs),
        .made = calloc(router_count + 1, sizeof *b->made),
    };
    if (!b->items || !b->places || !b->read || !b->specs || !b->made) {
        bulk_free(b);
        answer_out_of_memory(answer);
        return false;
    }
    return true;
}

/* The next router's fields. With a minimal answer nobody would ever see a private key made here. */
static int read_router(struct bulk *b, const json_t *object, enum fields_router_use use, struct problem *p) {
    int error = fields_router_read(object, use, &b->read[b->routers_read], p);
    if (error < 0) {
        return error;
    }
    struct router_spec *spec = &b->read[b->routers_read].spec;
    request_make_id(b->request, 'r', b->routers_read, &spec->id);
    b->specs[b->routers_read++] = *spec;
    if (b->returned == RETURN_MINIMAL && key_is_zero(&spec->public_key)) {
        return problem_set(p, PROBLEM_INVALID, "keys-would-be-lost", "public_key",
                           "A key pair would be made here, and its private half is not part of a minimal answer. Give "
                           "the public key, or leave return=minimal out.");
    }
    return 0;
}

static int read_tenant(struct bulk *b, size_t at, const json_t *object, struct bulk_item *item, struct problem *p) {
    struct fields_tenant read = {0};
    int error = field_read_object(object, fields_tenant, FIELDS_TENANT_WITH_ROUTERS_COUNT, &read, p);
    for (size_t i = 0; error == 0 && i < json_array_size(read.routers); i++) {
        error = read_router(b, json_array_get(read.routers, i), FIELDS_ROUTER_NEW, p);
        if (error < 0) {
            char name[32];
            snprintf(name, sizeof name, "routers[%zu]", i);
            problem_within(p, name);
        }
    }
    item->has_tenant = true;
    item->tenant = read.spec;
    request_make_id(b->request, 't', at, &item->tenant.id);
    return error;
}

/* Reads item `at`; a malformed one is set aside with its problem. */
static void bulk_read(struct bulk *b, size_t at, const json_t *object, bool tenants, enum fields_router_use use,
                      const struct uuid *tenant_id) {
    struct problem problem = {0};
    size_t first = b->routers_read;
    size_t bad = b->count - 1 - (at - b->good);
    struct bulk_item *item = &b->items[b->good];
    memset(item, 0, sizeof *item);
    int error = tenants ? read_tenant(b, at, object, item, &problem) : read_router(b, object, use, &problem);
    if (error < 0) {
        b->items[bad] = (struct bulk_item){.error = error, .problem = problem};
        b->places[at] = bad;
        return;
    }
    if (!tenants && use == FIELDS_ROUTER_NEW) {
        b->specs[first].tenant_id = *tenant_id;
    }
    item->routers = &b->specs[first];
    item->made = &b->made[first];
    item->router_count = b->routers_read - first;
    b->places[at] = b->good++;
}

/* --- the answer --- */

static json_t *item_problem(struct answer *answer, const struct problem *p) {
    int status = problem_status(p->kind);
    return json_pack("{s:i,s:o}", "status", status, "problem",
                     view_problem(status, p->type, p->field, answer_detail(answer, p)));
}

static json_t *item_minimal(const struct bulk_item *item) {
    if (!item->has_tenant) {
        return json_pack("{s:i,s:o}", "status", 201, "id", view_uuid(&item->made[0].router.id));
    }
    json_t *ids = json_array();
    for (size_t i = 0; i < item->router_count; i++) {
        json_array_append_new(ids, view_uuid(&item->made[i].router.id));
    }
    return json_pack("{s:i,s:o,s:o}", "status", 201, "id", view_uuid(&item->made_tenant.id), "router_ids", ids);
}

static json_t *made_view(struct dialin *dialin, const struct router_made *made) {
    struct buf config = {0};
    const struct key *private_key = key_is_zero(&made->private_key) ? NULL : &made->private_key;
    if (dialin_format(dialin, &export_formats[0], dialin->gateway.family, &made->router, private_key, true, &config) <
        0) {
        buf_clear(&config);
    }
    json_t *view = view_router_made(made, config.data ? config.data : "");
    buf_free(&config);
    return view;
}

static json_t *item_full(const struct request *request, struct dialin *dialin, const struct bulk_item *item) {
    struct problem ignored = {0};
    if (!item->has_tenant) {
        const struct router_made *made = &item->made[0];
        if (!uuid_equal(&dialin->tenant_id, &made->router.tenant_id)) {
            dialin_open_all(dialin, request->service, &request->caller, &made->router.tenant_id, &ignored);
        }
        return json_pack("{s:i,s:o}", "status", 201, "router", made_view(dialin, made));
    }
    dialin_open(dialin, &dialin->gateway, &item->made_tenant);
    json_t *routers = json_array();
    for (size_t i = 0; i < item->router_count; i++) {
        dialin_learn(dialin, &item->made[i].router);
    }
    for (size_t i = 0; i < item->router_count; i++) {
        json_array_append_new(routers, made_view(dialin, &item->made[i]));
    }
    return json_pack("{s:i,s:o,s:o}", "status", 201, "tenant", view_tenant(&item->made_tenant), "routers", routers);
}

static void bulk_answer(const struct request *request, const struct bulk *b, struct answer *answer) {
    size_t created = 0;
    struct dialin dialin = {0};
    service_gateway(request->service, &dialin.gateway);
    for (size_t i = 0; i < b->good; i++) {
        created += b->items[i].error == 0;
    }
    answer->fleeting = created == 0; /* where nothing was made, asking again does no harm */
    answer_list_open(answer,
                     json_pack("{s:o,s:o}", "created", view_count(created), "failed", view_count(b->count - created)));
    for (size_t i = 0; i < b->count; i++) {
        const struct bulk_item *item = &b->items[b->places[i]];
        answer->fleeting = answer->fleeting || (item->error < 0 && item->problem.kind == PROBLEM_UNAVAILABLE);
        answer_list_item(answer, item->error < 0                 ? item_problem(answer, &item->problem)
                                 : b->returned == RETURN_MINIMAL ? item_minimal(item)
                                                                 : item_full(request, &dialin, item));
    }
    answer_list_close(answer, NULL);
    dialin_close(&dialin);
}

static void bulk_create(const struct request *request, struct bulk *b, struct answer *answer) {
    struct problem problem = {0};
    if (b->good > 0 && service_bulk_create(request->service, &request->caller, b->items, b->good, &problem) < 0) {
        answer_problem(answer, &problem);
    } else {
        bulk_answer(request, b, answer);
    }
}

/* --- the routes --- */

struct list_body {
    const json_t *items;
};

static const struct field tenants_body[] = {
    {"tenants", FIELD_ARRAY, true, offsetof(struct list_body, items), .least = 1, .most = ITEMS_MAX},
};
static const struct field routers_body[] = {
    {"routers", FIELD_ARRAY, true, offsetof(struct list_body, items), .least = 1, .most = ROUTERS_MAX},
};

void serve_bulk_tenants(const struct request *request, struct answer *answer) {
    struct bulk b;
    struct list_body body;
    size_t router_count = 0;
    if (!request_read_body(request, tenants_body, 1, &body, sizeof body, answer)) {
        return;
    }
    size_t count = json_array_size(body.items);
    for (size_t i = 0; i < count; i++) {
        router_count += json_array_size(json_object_get(json_array_get(body.items, i), "routers"));
    }
    if (!bulk_open(&b, request, count, router_count, answer)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        bulk_read(&b, i, json_array_get(body.items, i), true, FIELDS_ROUTER_NEW, NULL);
    }
    bulk_create(request, &b, answer);
    bulk_free(&b);
}

static void create_routers(const struct request *request, enum fields_router_use use, struct answer *answer) {
    struct bulk b;
    struct list_body body;
    if (!request_read_body(request, routers_body, 1, &body, sizeof body, answer)) {
        return;
    }
    size_t count = json_array_size(body.items);
    if (!bulk_open(&b, request, count, count, answer)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        bulk_read(&b, i, json_array_get(body.items, i), false, use, &request->id);
    }
    bulk_create(request, &b, answer);
    bulk_free(&b);
}

void serve_bulk_routers(const struct request *request, struct answer *answer) {
    create_routers(request, FIELDS_ROUTER_NEW_OF_TENANT, answer);
}

void serve_bulk_routers_of_tenant(const struct request *request, struct answer *answer) {
    struct tenant tenant;
    struct problem problem = {0};
    if (service_tenant_get(request->service, &request->caller, &request->id, &tenant, &problem) < 0) {
        answer_problem(answer, &problem);
        return;
    }
    create_routers(request, FIELDS_ROUTER_NEW, answer);
}
