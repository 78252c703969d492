#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "api/http/route.h"
#include "api/noun/routes.h"
#include "api/openapi.h"

static json_t *document;

static int setup(void **state) {
    (void)state;
    document = json_loadb(openapi_document, openapi_document_size, JSON_REJECT_DUPLICATES, NULL);
    return document ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    json_decref(document);
    return 0;
}

static const json_t *operation(const struct route *route) {
    char method[8];
    size_t size = strlen(method_name(route->method));
    for (size_t i = 0; i <= size; i++) {
        char c = method_name(route->method)[i];
        method[i] = c ? (char)(c | 0x20) : '\0';
    }
    return json_object_get(json_object_get(json_object_get(document, "paths"), route->pattern), method);
}

/* Follows a "$ref" of the document. */
static const json_t *resolved(const json_t *value) {
    const char *ref = json_string_value(json_object_get(value, "$ref"));
    if (!ref) {
        return value;
    }
    char path[256];
    const json_t *at = document;
    snprintf(path, sizeof path, "%s", ref + 2);
    for (char *save, *name = strtok_r(path, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
        at = json_object_get(at, name);
    }
    assert_non_null(at);
    return at;
}

static size_t count_parameters(const json_t *parameters, const char *in) {
    size_t count = 0, i;
    json_t *parameter;
    json_array_foreach((json_t *)(uintptr_t)parameters, i, parameter) {
        count += strcmp(json_string_value(json_object_get(resolved(parameter), "in")), in) == 0;
    }
    return count;
}

static bool has_parameter(const json_t *parameters, const char *in, const char *name) {
    size_t i;
    json_t *parameter;
    json_array_foreach((json_t *)(uintptr_t)parameters, i, parameter) {
        const json_t *p = resolved(parameter);
        if (strcmp(json_string_value(json_object_get(p, "in")), in) == 0 &&
            strcmp(json_string_value(json_object_get(p, "name")), name) == 0) {
            return true;
        }
    }
    return false;
}

static void every_route_is_documented_as_it_is(void **state) {
    (void)state;
    for (size_t i = 0; i < routes.count; i++) {
        const struct route *route = &routes.routes[i];
        const json_t *op = operation(route);
        print_message("# %s %s\n", method_name(route->method), route->pattern);
        assert_non_null(op);
        const json_t *parameters = json_object_get(op, "parameters");
        for (size_t n = 0; n < route->query_count; n++) {
            assert_true(has_parameter(parameters, "query", route->query[n].name));
        }
        assert_int_equal(count_parameters(parameters, "query"), route->query_count);
        assert_int_equal(has_parameter(parameters, "header", "Idempotency-Key"), route->keeps_answer);
        const json_t *body = json_object_get(op, "requestBody");
        assert_int_equal(body != NULL, route->body != ROUTE_BODY_NONE);
        assert_int_equal(json_is_true(json_object_get(body, "required")), route->body == ROUTE_BODY_REQUIRED);
        assert_int_equal(json_object_get(op, "security") != NULL, route->scopes == ROUTE_OPEN);
        assert_int_equal(json_object_get(json_object_get(op, "responses"), "401") == NULL, route->scopes == ROUTE_OPEN);
    }
}

static void nothing_is_documented_that_is_not_there(void **state) {
    const char *path, *method;
    json_t *item, *op;
    size_t count = 0;
    (void)state;
    json_object_foreach(json_object_get(document, "paths"), path, item) {
        json_object_foreach(item, method, op) {
            count += json_object_get(op, "operationId") != NULL;
        }
    }
    assert_int_equal(count, routes.count);
}

static void every_path_finds_its_own_route(void **state) {
    (void)state;
    for (size_t i = 0; i < routes.count; i++) {
        const struct route *found = NULL;
        struct uuid id = {0};
        char path[128], allow[64];
        const char *brace = strchr(routes.routes[i].pattern, '{');
        int head = brace ? (int)(brace - routes.routes[i].pattern) : (int)strlen(routes.routes[i].pattern);
        snprintf(path, sizeof path, "%.*s%s%s", head, routes.routes[i].pattern,
                 brace ? "0190B6A4-3c1e-7d2f-8a5b-6c7d8e9f0a1b" : "", brace ? strchr(brace, '}') + 1 : "");
        assert_int_equal(route_find(&routes, method_name(routes.routes[i].method), path, &found, &id, allow), 0);
        assert_ptr_equal(found, &routes.routes[i]);
        assert_int_equal(uuid_is_zero(&id), brace == NULL);
    }
}

static void other_paths_find_nothing(void **state) {
    static const struct {
        const char *method, *path;
        int error;
    } calls[] = {
        {"GET", "", -ENOENT},
        {"GET", "*", -ENOENT},
        {"GET", "/", -ENOENT},
        {"GET", "/v1/tenant", -ENOENT},
        {"GET", "/v1/tenantsx", -ENOENT},
        {"GET", "/v1/tenants/", -ENOENT},
        {"GET", "/v2/tenants", -ENOENT},
        {"GET", "/v1/tenants/0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b/", -ENOENT},
        {"GET", "/v1/tenants/0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b/disable/x", -ENOENT},
        {"GET", "/v1/tenants/x", -EBADMSG},
        {"GET", "/v1/tenants/0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1bc", -EBADMSG},
        {"GET", "/v1/tenants/00000000-0000-0000-0000-000000000000", -EBADMSG},
        {"PUT", "/v1/tenants", -EOPNOTSUPP},
        {"get", "/v1/tenants", -EOPNOTSUPP},
    };
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        const struct route *found = NULL;
        struct uuid id;
        char allow[64];
        assert_int_equal(route_find(&routes, calls[i].method, calls[i].path, &found, &id, allow), calls[i].error);
        assert_null(found);
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_documented_as_it_is),
        cmocka_unit_test(nothing_is_documented_that_is_not_there),
        cmocka_unit_test(every_path_finds_its_own_route),
        cmocka_unit_test(other_paths_find_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
