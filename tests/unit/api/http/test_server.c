#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "fake_service.h"
#include "http.h"

#define ID "0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b"
#define OTHER_ID "0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1c"
#define KEY "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
#define ADMIN_TOKEN "sp_admin"
#define BEARER(token) "Authorization: Bearer " token "\r\n"

static struct http_server server;

static int setup(void **state) {
    (void)state;
    http_open(&server, true, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    http_close(&server);
    return 0;
}

/* Calls, checks status and problem type ("" for none), and leaves the reply for more checks. */
static struct http_reply expect(int status, const char *type, const char *method, const char *target,
                                const char *headers, const char *body) {
    char urn[128];
    struct http_reply reply = http_call(&server, method, target, headers, body);
    if (reply.status != status) {
        print_message("%s %s: %d\n%s\n", method, target, reply.status, reply.body ? reply.body : "");
    }
    assert_int_equal(reply.status, status);
    snprintf(urn, sizeof urn, "urn:sallyport:problem:%s", type);
    if (type[0]) {
        char value[256];
        assert_string_equal(http_text(&reply, "type"), urn);
        assert_int_equal(json_integer_value(http_member(&reply, "status")), status);
        assert_true(http_header(&reply, "Content-Type", value));
        assert_string_equal(value, "application/problem+json");
        assert_true(strlen(http_text(&reply, "detail")) > 10);
    }
    return reply;
}

static void check(int status, const char *type, const char *method, const char *target, const char *headers,
                  const char *body) {
    struct http_reply reply = expect(status, type, method, target, headers, body);
    http_free(&reply);
}

static void check_field(const char *type, const char *field, const char *target, const char *body) {
    struct http_reply reply = expect(422, type, body ? "POST" : "GET", target, "", body);
    assert_string_equal(http_text(&reply, "field"), field);
    http_free(&reply);
}

static void make_tenant(void) {
    check(201, "", "POST", "/v1/tenants", "", "{\"id\":\"" ID "\",\"name\":\"Acme\"}");
}

/* --- */

static void create_answers_201_with_location_and_what_was_made(void **state) {
    char value[256];
    (void)state;
    struct http_reply reply = expect(201, "", "POST", "/v1/tenants", "",
                                     "{\"id\":\"" ID "\",\"name\":\"Acme\",\"addressing\":\"private\",\"subnet\":"
                                     "\"10.7.0.0/16\",\"limits\":{\"routers\":7}}");
    assert_true(http_header(&reply, "Location", value));
    assert_string_equal(value, "/v1/tenants/" ID);
    assert_true(http_header(&reply, "Cache-Control", value));
    assert_string_equal(value, "no-store");
    assert_true(http_header(&reply, "X-Request-Id", value));
    assert_string_equal(http_text(&reply, "name"), "Acme");
    assert_string_equal(http_text(&reply, "addressing"), "private");
    assert_string_equal(http_text(&reply, "subnet"), "10.7.0.0/16");
    assert_int_equal(json_integer_value(http_member(&reply, "limits.routers")), 7);
    http_free(&reply);
}

static void the_private_key_is_in_the_first_answer_and_in_no_later_one(void **state) {
    (void)state;
    make_tenant();
    struct http_reply reply = expect(201, "", "POST", "/v1/tenants/" ID "/routers", "",
                                     "{\"id\":\"" OTHER_ID "\",\"name\":\"r\",\"lans\":[\"192.168.88.0/24\"]}");
    char private_key[64];
    snprintf(private_key, sizeof private_key, "%s", http_text(&reply, "private_key"));
    assert_int_equal(strlen(private_key), 44);
    assert_non_null(strstr(http_text(&reply, "config"), private_key));
    http_free(&reply);
    static const char *const later[] = {"/v1/routers/" OTHER_ID, "/v1/routers", "/v1/routers/" OTHER_ID "/config"};
    for (size_t i = 0; i < 3; i++) {
        reply = expect(200, "", "GET", later[i], "", NULL);
        assert_null(strstr(reply.body, private_key));
        http_free(&reply);
    }
}

static void a_router_with_its_own_key_gets_no_private_key(void **state) {
    (void)state;
    make_tenant();
    struct http_reply reply = expect(201, "", "POST", "/v1/tenants/" ID "/routers", "",
                                     "{\"name\":\"r\",\"public_key\":\"" KEY "\",\"preshared_key\":\"generate\"}");
    assert_null(http_member(&reply, "private_key"));
    assert_string_equal(http_text(&reply, "public_key"), KEY);
    assert_true(json_is_true(http_member(&reply, "has_preshared_key")));
    assert_non_null(strstr(http_text(&reply, "config"), "PresharedKey"));
    http_free(&reply);
}

static void a_reader_gets_the_configuration_without_the_preshared_key(void **state) {
    struct uuid id;
    (void)state;
    uuid_parse(ID, &id);
    make_tenant();
    fake_add_token("sp_read", SCOPE_TENANT_READ, &id);
    check(201, "", "POST", "/v1/tenants/" ID "/routers", "",
          "{\"id\":\"" OTHER_ID "\",\"name\":\"r\",\"preshared_key\":\"generate\"}");
    struct http_reply reply = expect(200, "", "GET", "/v1/routers/" OTHER_ID "/config", "", NULL);
    assert_non_null(strstr(reply.body, "PresharedKey"));
    http_free(&reply);
    reply = expect(200, "", "GET", "/v1/routers/" OTHER_ID "/config?format=wg-quick", BEARER("sp_read"), NULL);
    assert_null(strstr(reply.body, "\nPresharedKey"));
    http_free(&reply);
}

static void a_configuration_carries_the_lans_of_the_tenants_other_routers(void **state) {
    (void)state;
    check(201, "", "POST", "/v1/tenants", "", "{\"id\":\"" ID "\",\"name\":\"Acme\",\"addressing\":\"private\"}");
    check(201, "", "POST", "/v1/tenants/" ID "/routers", "", "{\"name\":\"a\",\"lans\":[\"192.168.1.0/24\"]}");
    struct http_reply reply =
        expect(201, "", "POST", "/v1/tenants/" ID "/routers", "", "{\"name\":\"b\",\"lans\":[\"192.168.2.0/24\"]}");
    assert_non_null(strstr(http_text(&reply, "config"), "192.168.1.0/24"));
    assert_null(strstr(http_text(&reply, "config"), "192.168.2.0/24"));
    http_free(&reply);
}

static void paths_and_methods_that_are_not_there_are_refused(void **state) {
    char allow[256];
    (void)state;
    check(404, "not-found", "GET", "/", "", NULL);
    check(404, "not-found", "GET", "/v1", "", NULL);
    check(404, "not-found", "GET", "/v1/tenants/", "", NULL);
    check(404, "not-found", "GET", "/v1//tenants", "", NULL);
    check(404, "not-found", "GET", "/v1/tenants/acme", "", NULL);
    check(404, "not-found", "GET", "/v1/tenants/00000000-0000-0000-0000-000000000000/routers", "", NULL);
    check(404, "not-found", "GET", "/v1/tenants/%30190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b", "", NULL);
    struct http_reply reply = expect(405, "method-not-allowed", "PUT", "/v1/tenants", "", NULL);
    assert_true(http_header(&reply, "Allow", allow));
    assert_string_equal(allow, "POST, GET, HEAD");
    http_free(&reply);
    check(405, "method-not-allowed", "GET", "/v1/tenants/bulk", "", NULL);
}

static void head_is_get_without_a_body(void **state) {
    char size[256];
    (void)state;
    struct http_reply reply = expect(200, "", "HEAD", "/v1/health", "", NULL);
    assert_int_equal(reply.size, 0);
    assert_true(http_header(&reply, "Content-Length", size));
    assert_true(atoi(size) > 0);
    http_free(&reply);
}

static void query_parameters_are_checked(void **state) {
    (void)state;
    check_field("unknown-parameter", "colour", "/v1/tenants?colour=red", NULL);
    check_field("unknown-parameter", "limit", "/v1/health?limit=1", NULL);
    check_field("repeated-parameter", "limit", "/v1/tenants?limit=1&limit=2", NULL);
    check_field("out-of-range", "limit", "/v1/tenants?limit=0", NULL);
    check_field("out-of-range", "limit", "/v1/tenants?limit=1001", NULL);
    check_field("wrong-type", "limit", "/v1/tenants?limit=ten", NULL);
    check_field("wrong-type", "limit", "/v1/tenants?limit=-1", NULL);
    check_field("wrong-type", "limit", "/v1/tenants?limit", NULL);
    check_field("invalid-value", "status", "/v1/routers?status=asleep", NULL);
    check_field("wrong-type", "connected", "/v1/routers?connected=yes", NULL);
    check_field("invalid-key", "public_key", "/v1/routers?public_key=abc", NULL);
    check_field("invalid-address", "address", "/v1/routers?address=10.0.0.256", NULL);
    check_field("invalid-id", "tenant_id", "/v1/routers?tenant_id=acme", NULL);
    check(400, "invalid-utf8", "GET", "/v1/tenants?name=%ff", "", NULL);
    check(400, "invalid-utf8", "GET", "/v1/tenants?name=a%00b", "", NULL);
    check(200, "", "GET", "/v1/tenants?name=%c3%a9&limit=1000", "", NULL);
}

static void broken_bodies_are_refused_with_their_place(void **state) {
    (void)state;
    struct http_reply reply = expect(400, "malformed-json", "POST", "/v1/tenants", "", "{\n \"name\": }");
    assert_non_null(strstr(http_text(&reply, "detail"), "line 2, column 10"));
    http_free(&reply);
    check(400, "malformed-json", "POST", "/v1/tenants", "", "");
    check(400, "malformed-json", "POST", "/v1/tenants", "", "{\"name\":\"a\",\"name\":\"b\"}");
    check(400, "malformed-json", "POST", "/v1/tenants", "", "{\"name\":\"a\"} x");
    check(400, "malformed-json", "POST", "/v1/tenants", "", "{\"name\":\"a\\u0000b\"}");
    check(400, "malformed-json", "POST", "/v1/tenants", "", "{\"name\":99999999999999999999999}");
    check(400, "invalid-utf8", "POST", "/v1/tenants", "", "{\"name\":\"\xff\"}");
    check(422, "wrong-type", "POST", "/v1/tenants", "", "[]");
    check(422, "wrong-type", "POST", "/v1/tenants", "", "7");
    check(415, "unsupported-media-type", "POST", "/v1/tenants", "Content-Type: text/plain\r\n", "{\"name\":\"a\"}");
    check(415, "unsupported-media-type", "POST", "/v1/tenants", "Content-Type: application/jsonx\r\n", "{}");
    check(201, "", "POST", "/v1/tenants", "Content-Type: application/json; charset=utf-8\r\n", "{\"name\":\"a\"}");
    check(422, "unexpected-body", "POST", "/v1/tenants/" ID "/disable", "", "{}");
}

static void nesting_without_end_is_refused(void **state) {
    (void)state;
    char *deep = malloc(60001);
    memset(deep, '[', 60000);
    deep[60000] = '\0';
    check(400, "malformed-json", "POST", "/v1/tenants", "", deep);
    free(deep);
}

static void fields_are_checked_and_named(void **state) {
    (void)state;
    make_tenant();
    check_field("unknown-field", "colour", "/v1/tenants", "{\"name\":\"a\",\"colour\":\"red\"}");
    check_field("missing-field", "name", "/v1/tenants", "{}");
    check_field("wrong-type", "name", "/v1/tenants", "{\"name\":7}");
    check_field("wrong-type", "name", "/v1/tenants", "{\"name\":null}");
    check_field("wrong-type", "egress", "/v1/tenants", "{\"name\":\"a\",\"egress\":\"yes\"}");
    check_field("unknown-field", "limits.speed", "/v1/tenants", "{\"name\":\"a\",\"limits\":{\"speed\":1}}");
    check_field("out-of-range", "limits.routers", "/v1/tenants",
                "{\"name\":\"a\",\"limits\":{\"routers\":4294967296}}");
    check_field("out-of-range", "limits.routers", "/v1/tenants", "{\"name\":\"a\",\"limits\":{\"routers\":-1}}");
    check_field("wrong-type", "limits.routers", "/v1/tenants", "{\"name\":\"a\",\"limits\":{\"routers\":1.5}}");
    check_field("invalid-prefix", "subnet", "/v1/tenants", "{\"name\":\"a\",\"subnet\":\"10.0.0.1/8\"}");
    check_field("invalid-value", "addressing", "/v1/tenants", "{\"name\":\"a\",\"addressing\":\"shared\"}");
    check_field("invalid-prefix", "lans[1]", "/v1/tenants/" ID "/routers",
                "{\"name\":\"r\",\"lans\":[\"10.1.0.0/16\",\"10.2.0.0/99\"]}");
    check_field("wrong-type", "lans[0]", "/v1/tenants/" ID "/routers", "{\"name\":\"r\",\"lans\":[1]}");
    check_field("invalid-key", "public_key", "/v1/tenants/" ID "/routers", "{\"name\":\"r\",\"public_key\":\"x\"}");
    check_field("invalid-key", "preshared_key", "/v1/tenants/" ID "/routers",
                "{\"name\":\"r\",\"preshared_key\":\"make one\"}");
}

static void what_the_service_refuses_becomes_a_problem_of_its_kind(void **state) {
    static const struct {
        enum problem_kind kind;
        int status;
    } kinds[] = {{PROBLEM_INVALID, 422},   {PROBLEM_CONFLICT, 409},  {PROBLEM_NOT_FOUND, 404},
                 {PROBLEM_EXHAUSTED, 409}, {PROBLEM_FORBIDDEN, 403}, {PROBLEM_UNAVAILABLE, 503},
                 {PROBLEM_INTERNAL, 500}};
    char value[256];
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        fake_fail_next(kinds[i].kind, "some-slug", "subnet", "What is wrong, and the way out.");
        struct http_reply reply = expect(kinds[i].status, "some-slug", "POST", "/v1/tenants", "", "{\"name\":\"a\"}");
        assert_string_equal(http_text(&reply, "field"), "subnet");
        assert_string_equal(http_text(&reply, "title"), "Some slug");
        assert_int_equal(http_header(&reply, "Retry-After", value), kinds[i].status == 503);
        http_free(&reply);
    }
}

static void detail_cut_inside_a_character_is_still_text(void **state) {
    (void)state;
    fake_fail_next(PROBLEM_INVALID, "some-slug", "", "What is wrong: \xc3");
    struct http_reply reply = expect(422, "some-slug", "POST", "/v1/tenants", "", "{\"name\":\"a\"}");
    assert_string_equal(http_text(&reply, "detail"), "What is wrong: ?");
    http_free(&reply);
}

static void bodies_beyond_8_mib_are_refused(void **state) {
    (void)state;
    size_t size = 10 << 20;
    struct buf text = {0};
    buf_printf(&text, "POST /v1/tenants HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", size);
    char *filler = malloc(size);
    memset(filler, ' ', size);
    buf_append(&text, filler, size);
    struct http_reply reply = http_send(&server, false, text.data, text.size);
    assert_int_equal(reply.status, 413);
    http_free(&reply);
    /* and without announcing it */
    buf_clear(&text);
    buf_text(&text, "POST /v1/tenants HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 10; i++) {
        buf_text(&text, "100000\r\n");
        buf_append(&text, filler, 1 << 20);
        buf_text(&text, "\r\n");
    }
    buf_text(&text, "0\r\n\r\n");
    reply = http_send(&server, false, text.data, text.size);
    assert_int_equal(reply.status, 413);
    assert_string_equal(http_text(&reply, "type"), "urn:sallyport:problem:body-too-large");
    http_free(&reply);
    free(filler);
    buf_free(&text);
}

static void scopes_are_held(void **state) {
    struct uuid id;
    (void)state;
    uuid_parse(ID, &id);
    make_tenant();
    check(201, "", "POST", "/v1/tenants", "", "{\"id\":\"" OTHER_ID "\",\"name\":\"Other\"}");
    fake_add_token("sp_metrics", SCOPE_METRICS, NULL);
    fake_add_token("sp_read", SCOPE_TENANT_READ, &id);
    fake_add_token("sp_write", SCOPE_TENANT_WRITE, &id);
    fake_add_token("sp_admin", SCOPE_ADMIN, NULL);
    check(200, "", "GET", "/v1/status", BEARER("sp_metrics"), NULL);
    check(403, "forbidden", "GET", "/v1/tenants", BEARER("sp_metrics"), NULL);
    check(403, "forbidden", "GET", "/v1/status", BEARER("sp_read"), NULL);
    check(200, "", "GET", "/v1/tenants/" ID, BEARER("sp_read"), NULL);
    check(404, "not-found", "GET", "/v1/tenants/" OTHER_ID, BEARER("sp_read"), NULL);
    check(404, "not-found", "GET", "/v1/tenants/" OTHER_ID "/routers", BEARER("sp_read"), NULL);
    check(403, "forbidden", "POST", "/v1/tenants/" ID "/routers", BEARER("sp_read"), "{\"name\":\"r\"}");
    check(201, "", "POST", "/v1/tenants/" ID "/routers", BEARER("sp_write"), "{\"name\":\"r\"}");
    check(404, "not-found", "POST", "/v1/tenants/" OTHER_ID "/routers", BEARER("sp_write"), "{\"name\":\"r\"}");
    check(403, "forbidden", "POST", "/v1/tenants", BEARER("sp_write"), "{\"name\":\"t\"}");
    check(403, "forbidden", "GET", "/v1/tokens", BEARER("sp_write"), NULL);
    check(200, "", "GET", "/v1/tokens", BEARER("sp_admin"), NULL);
    /* a token that is given counts, whoever we are */
    check(401, "invalid-token", "GET", "/v1/tenants", BEARER("sp_nobody"), NULL);
    check(401, "invalid-token", "GET", "/v1/tenants", "Authorization: Basic Zm9vOmJhcg==\r\n", NULL);
}

static void a_token_that_cannot_be_looked_up_is_not_called_wrong(void **state) {
    (void)state;
    fake_add_token(ADMIN_TOKEN, SCOPE_ADMIN, NULL);
    fake_set_health(false, true);
    check(503, "tokens-unreadable", "GET", "/v1/tenants", BEARER(ADMIN_TOKEN), NULL);
}

static void tcp_wants_a_token_but_for_health_and_the_document(void **state) {
    static const struct {
        const char *target, *headers;
        int status;
    } calls[] = {
        {"/v1/tenants", "", 401},
        {"/v1/tenants", BEARER(ADMIN_TOKEN), 200},
        {"/v1/health", "", 200},
        {"/v1/openapi.json", "", 200},
    };
    char value[256];
    (void)state;
    fake_add_token(ADMIN_TOKEN, SCOPE_ADMIN, NULL);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct buf text = {0};
        buf_printf(&text, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", calls[i].target,
                   calls[i].headers);
        struct http_reply reply = http_send(&server, true, text.data, text.size);
        assert_int_equal(reply.status, calls[i].status);
        assert_int_equal(http_header(&reply, "WWW-Authenticate", value), calls[i].status == 401);
        http_free(&reply);
        buf_free(&text);
    }
}

static void a_repeat_with_the_same_key_gets_the_same_bytes(void **state) {
    static const char key[] = "Idempotency-Key: a b-1\r\n";
    char location[256], again[256], value[256];
    (void)state;
    make_tenant();
    struct http_reply first = expect(201, "", "POST", "/v1/tenants/" ID "/routers", key, "{\"name\":\"r\"}");
    assert_true(http_header(&first, "Location", location));
    assert_false(http_header(&first, "Idempotency-Replayed", value));
    struct http_reply second = expect(201, "", "POST", "/v1/tenants/" ID "/routers", key, "{\"name\":\"r\"}");
    assert_true(http_header(&second, "Location", again));
    assert_true(http_header(&second, "Idempotency-Replayed", value));
    assert_string_equal(location, again);
    assert_string_equal(first.body, second.body);
    assert_int_equal(fake_creations(), 2); /* the tenant, and one router */
    http_free(&first);
    http_free(&second);
    check(422, "idempotency-key-reused", "POST", "/v1/tenants/" ID "/routers", key, "{\"name\":\"s\"}");
    check(422, "invalid-idempotency-key", "POST", "/v1/tenants", "Idempotency-Key: \xc3\xa9\r\n", "{\"name\":\"s\"}");
}

static void a_refusal_is_not_kept(void **state) {
    static const char key[] = "Idempotency-Key: k\r\n";
    (void)state;
    fake_fail_next(PROBLEM_UNAVAILABLE, "store-busy", "", "The store is busy; try again.");
    check(503, "store-busy", "POST", "/v1/tenants", key, "{\"name\":\"a\"}");
    check(201, "", "POST", "/v1/tenants", key, "{\"name\":\"a\"}");
}

static void *create_with_key(void *reply) {
    *(struct http_reply *)reply =
        http_call(&server, "POST", "/v1/tenants/" ID "/routers", "Idempotency-Key: race\r\n", "{\"name\":\"r\"}");
    return NULL;
}

static void racing_requests_with_one_key_make_one_thing(void **state) {
    enum { RACERS = 4 };
    pthread_t threads[RACERS];
    struct http_reply replies[RACERS];
    (void)state;
    make_tenant();
    fake_set_delay_ms(100);
    for (int i = 0; i < RACERS; i++) {
        pthread_create(&threads[i], NULL, create_with_key, &replies[i]);
    }
    for (int i = 0; i < RACERS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(replies[i].status, 201);
        assert_string_equal(replies[i].body, replies[0].body);
    }
    for (int i = 0; i < RACERS; i++) {
        http_free(&replies[i]);
    }
    assert_int_equal(fake_creations(), 2);
}

static void health_names_the_part_that_is_away(void **state) {
    (void)state;
    check(200, "", "GET", "/v1/health", "", NULL);
    fake_set_health(true, false);
    struct http_reply reply = expect(503, "", "GET", "/v1/health", "", NULL);
    assert_string_equal(http_text(&reply, "status"), "unavailable");
    assert_string_equal(http_text(&reply, "store"), "ok");
    assert_string_equal(http_text(&reply, "backend"), "unavailable");
    http_free(&reply);
}

static void *poll_events(void *reply) {
    *(struct http_reply *)reply = http_call(&server, "GET", "/v1/events?wait=30", "", NULL);
    return NULL;
}

static void a_long_poll_ends_when_something_happens(void **state) {
    struct http_reply reply;
    pthread_t thread;
    (void)state;
    pthread_create(&thread, NULL, poll_events, &reply);
    usleep(100000);
    fake_add_event("tenant.created");
    pthread_join(thread, NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(http_text(&reply, "items.0.kind"), "tenant.created");
    assert_int_equal(json_integer_value(http_member(&reply, "next_after")), 1);
    assert_int_equal(json_integer_value(http_member(&reply, "oldest")), 1);
    assert_int_equal(json_integer_value(http_member(&reply, "newest")), 1);
    http_free(&reply);
}

static void *create_slowly(void *reply) {
    *(struct http_reply *)reply = http_call(&server, "POST", "/v1/tenants/" ID "/routers", "", "{\"name\":\"r\"}");
    return NULL;
}

static void stopping_lets_requests_finish_and_ends_polls(void **state) {
    struct http_reply created, polled;
    pthread_t creator, poller;
    (void)state;
    make_tenant();
    fake_set_delay_ms(500);
    pthread_create(&poller, NULL, poll_events, &polled);
    pthread_create(&creator, NULL, create_slowly, &created);
    usleep(200000);
    uint64_t began = clock_mono_ns();
    api_stop(server.api);
    server.api = NULL;
    assert_true(clock_mono_ns() - began < 5 * NSEC_PER_SEC);
    pthread_join(creator, NULL);
    pthread_join(poller, NULL);
    assert_int_equal(created.status, 201);
    assert_int_equal(polled.status, 200);
    http_free(&created);
    http_free(&polled);
}

static void a_request_that_never_ends_is_ended(void **state) {
    (void)state;
    http_close(&server);
    http_open(&server, false, 1);
    int fd = http_connect(&server, false);
    assert_int_equal(write(fd, "GET /v1/hea", 11), 11);
    uint64_t began = clock_mono_ns();
    for (int i = 0; i < 30; i++) {
        usleep(100000);
        api_tend(server.api);
        if (send(fd, "l", 1, 0x4000 /* MSG_NOSIGNAL */) < 0) {
            break;
        }
    }
    assert_true(clock_mono_ns() - began < 2 * NSEC_PER_SEC);
    struct http_reply reply = http_read(fd);
    assert_int_equal(reply.status, 0);
    http_free(&reply);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static size_t count_of(const char *text, const char *piece) {
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, piece)); at++) {
        count++;
    }
    return count;
}

static void an_export_longer_than_any_page_is_sent_whole(void **state) {
    (void)state;
    fake_exported = 12345;
    struct http_reply reply = expect(200, "", "GET", "/v1/export", "", NULL);
    assert_int_equal(count_of(reply.body, "\n[Peer]\n"), 12345);
    assert_non_null(strstr(reply.body, "\n# Name = r12344\n"));
    assert_non_null(strstr(reply.body, "# End: 12345 peers;"));
    http_free(&reply);
}

static void an_export_that_breaks_off_does_not_look_whole(void **state) {
    (void)state;
    fake_exported = 3000;
    fake_exported_broken = 2000;
    struct http_reply reply = http_call(&server, "GET", "/v1/export", "", NULL);
    assert_true(!reply.body || !strstr(reply.body, "# End:"));
    http_free(&reply);
    fake_exported_broken = 0;
    check(503, "store", "GET", "/v1/export", "", NULL);
}

static void an_adoption_says_what_it_wants(void **state) {
    (void)state;
#define PEER "{\"public_key\":\"" KEY "\",\"allowed_ips\":[\"10.0.0.2/32\"]}"
    check_field("tenant-or-id", "tenant", "/v1/adoption", "{\"peers\":[]}");
    check_field("tenant-or-id", "tenant", "/v1/adoption",
                "{\"peers\":[],\"tenant_id\":\"" ID "\",\"tenant\":{\"name\":\"a\"}}");
    check_field("interface-or-peers", "peers", "/v1/adoption", "{\"tenant_id\":\"" ID "\"}");
    check_field("nothing-to-take-over", "take_over", "/v1/adoption",
                "{\"tenant_id\":\"" ID "\",\"peers\":[],\"take_over\":true}");
    check_field("names-of-nothing", "names", "/v1/adoption", "{\"tenant_id\":\"" ID "\",\"peers\":[],\"names\":[]}");
    check_field("wrong-form", "server_address", "/v1/adoption",
                "{\"tenant_id\":\"" ID "\",\"peers\":[],\"server_address\":\"ten\"}");
    check_field("unknown-field", "peers[0].mtu", "/v1/adoption", "{\"tenant_id\":\"" ID "\",\"peers\":[{\"mtu\":1}]}");
    check_field("wrong-form", "peers[1].endpoint", "/v1/adoption",
                "{\"tenant_id\":\"" ID "\",\"peers\":[" PEER ",{\"public_key\":\"" KEY
                "\",\"allowed_ips\":[],\"endpoint\":\"a\"}]}");
    struct http_reply reply = expect(200, "", "POST", "/v1/adoption", "",
                                     "{\"tenant\":{\"name\":\"Acme\"},\"peers\":[" PEER "],\"dry_run\":true}");
    assert_int_equal(json_integer_value(http_member(&reply, "imported")), 1);
    assert_true(json_is_false(http_member(&reply, "committed")));
    assert_string_equal(http_text(&reply, "items.0.result"), "imported");
    http_free(&reply);
    check(404, "no-interface", "POST", "/v1/adoption", "", "{\"tenant_id\":\"" ID "\",\"interface\":\"wg9\"}");
#undef PEER
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        TEST(create_answers_201_with_location_and_what_was_made),
        TEST(the_private_key_is_in_the_first_answer_and_in_no_later_one),
        TEST(a_router_with_its_own_key_gets_no_private_key),
        TEST(a_reader_gets_the_configuration_without_the_preshared_key),
        TEST(a_configuration_carries_the_lans_of_the_tenants_other_routers),
        TEST(paths_and_methods_that_are_not_there_are_refused),
        TEST(head_is_get_without_a_body),
        TEST(query_parameters_are_checked),
        TEST(broken_bodies_are_refused_with_their_place),
        TEST(nesting_without_end_is_refused),
        TEST(fields_are_checked_and_named),
        TEST(what_the_service_refuses_becomes_a_problem_of_its_kind),
        TEST(detail_cut_inside_a_character_is_still_text),
        TEST(bodies_beyond_8_mib_are_refused),
        TEST(scopes_are_held),
        TEST(a_token_that_cannot_be_looked_up_is_not_called_wrong),
        TEST(tcp_wants_a_token_but_for_health_and_the_document),
        TEST(a_repeat_with_the_same_key_gets_the_same_bytes),
        TEST(a_refusal_is_not_kept),
        TEST(racing_requests_with_one_key_make_one_thing),
        TEST(health_names_the_part_that_is_away),
        TEST(a_long_poll_ends_when_something_happens),
        TEST(stopping_lets_requests_finish_and_ends_polls),
        TEST(a_request_that_never_ends_is_ended),
        TEST(an_export_longer_than_any_page_is_sent_whole),
        TEST(an_export_that_breaks_off_does_not_look_whole),
        TEST(an_adoption_says_what_it_wants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
