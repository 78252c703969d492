#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "fake_service.h"
#include "http.h"

#define ID "0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b"
#define OTHER_ID "0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1c"
#define KEY "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
#define PROBLEM "urn:sallyport:problem:"

static struct http_server server;

static int setup(void **state) {
    (void)state;
    http_open(&server, false, 0);
    struct http_reply reply = http_call(&server, "POST", "/v1/tenants", "", "{\"id\":\"" ID "\",\"name\":\"Acme\"}");
    assert_int_equal(reply.status, 201);
    http_free(&reply);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    http_close(&server);
    return 0;
}

static struct http_reply post(int status, const char *target, const char *body) {
    struct http_reply reply = http_call(&server, "POST", target, "", body);
    if (reply.status != status) {
        print_message("%s: %d %s\n", target, reply.status, reply.body ? reply.body : "");
    }
    assert_int_equal(reply.status, status);
    return reply;
}

static json_int_t number(const struct http_reply *reply, const char *path) {
    return json_integer_value(http_member(reply, path));
}

static void each_item_stands_or_falls_alone_and_order_is_kept(void **state) {
    (void)state;
    struct http_reply r = post(200, "/v1/routers/bulk",
                               "{\"routers\":["
                               "{\"tenant_id\":\"" ID "\",\"name\":\"one\"},"
                               "{\"tenant_id\":\"" ID "\",\"name\":\"two\",\"lans\":[\"10.0.0.0/8\",\"x\"]},"
                               "{\"tenant_id\":\"" OTHER_ID "\",\"name\":\"three\"},"
                               "\"four\","
                               "{\"name\":\"five\"},"
                               "{\"tenant_id\":\"" ID "\",\"name\":\"six\",\"public_key\":\"" KEY "\"}]}");
    assert_int_equal(number(&r, "created"), 2);
    assert_int_equal(number(&r, "failed"), 4);
    assert_int_equal(json_array_size(http_member(&r, "items")), 6);
    assert_int_equal(number(&r, "items.0.status"), 201);
    assert_string_equal(http_text(&r, "items.0.router.name"), "one");
    assert_int_equal(strlen(http_text(&r, "items.0.router.private_key")), 44);
    assert_non_null(strstr(http_text(&r, "items.0.router.config"), http_text(&r, "items.0.router.private_key")));
    assert_int_equal(number(&r, "items.1.status"), 422);
    assert_string_equal(http_text(&r, "items.1.problem.type"), PROBLEM "invalid-prefix");
    assert_string_equal(http_text(&r, "items.1.problem.field"), "lans[1]");
    assert_int_equal(number(&r, "items.2.status"), 404);
    assert_string_equal(http_text(&r, "items.3.problem.type"), PROBLEM "wrong-type");
    assert_string_equal(http_text(&r, "items.4.problem.field"), "tenant_id");
    assert_string_equal(http_text(&r, "items.5.router.name"), "six");
    assert_null(http_member(&r, "items.5.router.private_key"));
    http_free(&r);
}

static void tenants_come_with_their_routers_or_not_at_all(void **state) {
    (void)state;
    struct http_reply r = post(200, "/v1/tenants/bulk",
                               "{\"tenants\":["
                               "{\"name\":\"A\",\"routers\":[{\"name\":\"a1\"},{\"name\":\"a2\",\"oops\":1}]},"
                               "{\"name\":\"B\",\"addressing\":\"private\",\"routers\":["
                               "{\"name\":\"b1\",\"lans\":[\"192.168.1.0/24\"]},{\"name\":\"b2\"}]},"
                               "{\"name\":\"C\"}]}");
    assert_int_equal(number(&r, "created"), 2);
    assert_string_equal(http_text(&r, "items.0.problem.type"), PROBLEM "unknown-field");
    assert_string_equal(http_text(&r, "items.0.problem.field"), "routers[1].oops");
    assert_string_equal(http_text(&r, "items.1.tenant.name"), "B");
    assert_string_equal(http_text(&r, "items.1.routers.1.name"), "b2");
    assert_string_equal(http_text(&r, "items.1.routers.1.tenant_id"), http_text(&r, "items.1.tenant.id"));
    assert_non_null(strstr(http_text(&r, "items.1.routers.1.config"), "192.168.1.0/24"));
    assert_null(strstr(http_text(&r, "items.1.routers.0.config"), "192.168.1.0/24"));
    assert_int_equal(json_array_size(http_member(&r, "items.2.routers")), 0);
    http_free(&r);
    assert_int_equal(fake_creations(), 1 + 2 + 2);
}

static void a_minimal_answer_has_ids_only_and_loses_no_key(void **state) {
    (void)state;
    struct http_reply r =
        post(200, "/v1/tenants/bulk?return=minimal",
             "{\"tenants\":[{\"name\":\"A\",\"routers\":[{\"name\":\"a\",\"public_key\":\"" KEY "\"}]},"
             "{\"name\":\"B\",\"routers\":[{\"name\":\"b\"}]}]}");
    assert_int_equal(json_object_size(http_member(&r, "items.0")), 3);
    assert_int_equal(strlen(http_text(&r, "items.0.id")), 36);
    assert_int_equal(strlen(http_text(&r, "items.0.router_ids.0")), 36);
    assert_string_equal(http_text(&r, "items.1.problem.type"), PROBLEM "keys-would-be-lost");
    assert_string_equal(http_text(&r, "items.1.problem.field"), "routers[0].public_key");
    http_free(&r);
    r = post(200, "/v1/tenants/" ID "/routers/bulk?return=minimal",
             "{\"routers\":[{\"name\":\"a\",\"public_key\":\"" KEY "\"},{\"name\":\"b\"}]}");
    assert_int_equal(json_object_size(http_member(&r, "items.0")), 2);
    assert_string_equal(http_text(&r, "items.1.problem.field"), "public_key");
    http_free(&r);
}

static void the_list_itself_must_be_right(void **state) {
    static const char *const bodies[] = {"{}", "{\"routers\":{}}", "{\"routers\":[]}", "{\"routers\":[],\"more\":1}"};
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct http_reply r = post(422, "/v1/routers/bulk", bodies[i]);
        http_free(&r);
    }
    struct http_reply r = post(404, "/v1/tenants/" OTHER_ID "/routers/bulk", "{\"routers\":[{\"name\":\"a\"}]}");
    http_free(&r);
}

static void too_many_items_are_refused_as_a_whole(void **state) {
    struct buf body = {0};
    (void)state;
    buf_text(&body, "{\"tenants\":[{\"name\":\"A\",\"routers\":[{}");
    for (int i = 0; i < 10000; i++) {
        buf_text(&body, ",{}");
    }
    buf_text(&body, "]}]}");
    struct http_reply r = post(422, "/v1/tenants/bulk", body.data);
    assert_string_equal(http_text(&r, "type"), PROBLEM "too-many-items");
    http_free(&r);
    buf_free(&body);
    assert_int_equal(fake_creations(), 1);
}

static void when_the_whole_fails_nothing_is_answered_as_made(void **state) {
    (void)state;
    fake_fail_next(PROBLEM_UNAVAILABLE, "store-full", "", "The disk is full; make room.");
    struct http_reply r = post(503, "/v1/routers/bulk", "{\"routers\":[{\"tenant_id\":\"" ID "\",\"name\":\"a\"}]}");
    assert_string_equal(http_text(&r, "type"), PROBLEM "store-full");
    http_free(&r);
}

static void an_answer_with_what_the_store_failed_is_not_kept(void **state) {
    static const char body[] = "{\"routers\":[{\"tenant_id\":\"" ID "\",\"name\":\"a\"},"
                               "{\"tenant_id\":\"" ID "\",\"name\":\"b\"},{\"tenant_id\":\"" ID "\",\"name\":\"c\"}]}";
    static const char key[] = "Idempotency-Key: one\r\n";
    char replayed[256];
    (void)state;
    fake_fail_next(PROBLEM_UNAVAILABLE, "store-away", "", "The database does not answer.");
    fake_fail_after(1);
    struct http_reply r = http_call(&server, "POST", "/v1/routers/bulk", key, body);
    assert_int_equal(r.status, 200);
    assert_int_equal(number(&r, "created"), 1);
    assert_int_equal(number(&r, "items.0.status"), 201);
    assert_true(http_text(&r, "items.0.router.private_key")[0] != '\0');
    assert_int_equal(number(&r, "items.1.status"), 503);
    assert_string_equal(http_text(&r, "items.2.problem.type"), PROBLEM "store-away");
    http_free(&r);
    r = http_call(&server, "POST", "/v1/routers/bulk", key, body);
    assert_int_equal(number(&r, "items.2.status"), 201); /* asked again, not answered from memory */
    assert_false(http_header(&r, "Idempotency-Replayed", replayed));
    http_free(&r);
    r = http_call(&server, "POST", "/v1/routers/bulk", key, body);
    assert_true(http_header(&r, "Idempotency-Replayed", replayed)); /* that one was */
    http_free(&r);
}

/* Says what a router costs here beyond the service; asserts only that all of them come back. */
static void ten_thousand_routers_go_in_one_request(void **state) {
    struct buf body = {0};
    (void)state;
    buf_text(&body, "{\"routers\":[");
    for (int i = 0; i < 10000; i++) {
        buf_printf(&body, "%s{\"tenant_id\":\"" ID "\",\"name\":\"router %d\",\"public_key\":\"" KEY "\"}",
                   i ? "," : "", i);
    }
    buf_text(&body, "]}");
    uint64_t began = clock_mono_ns();
    struct http_reply r = post(200, "/v1/routers/bulk", body.data);
    print_message("# %.1f us a router, %zu MB of answer\n", (double)(clock_mono_ns() - began) / 1e7, r.size >> 20);
    assert_int_equal(number(&r, "created"), 10000);
    assert_string_equal(http_text(&r, "items.9999.router.name"), "router 9999");
    http_free(&r);
    buf_free(&body);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    static const struct CMUnitTest tests[] = {
        TEST(each_item_stands_or_falls_alone_and_order_is_kept),
        TEST(tenants_come_with_their_routers_or_not_at_all),
        TEST(a_minimal_answer_has_ids_only_and_loses_no_key),
        TEST(the_list_itself_must_be_right),
        TEST(too_many_items_are_refused_as_a_whole),
        TEST(when_the_whole_fails_nothing_is_answered_as_made),
        TEST(an_answer_with_what_the_store_failed_is_not_kept),
        TEST(ten_thousand_routers_go_in_one_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
