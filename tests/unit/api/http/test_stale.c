/* Answers from memory: for whom, how old, and how many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/http/stale.h"

static const struct caller admin = {.scope = SCOPE_ADMIN, .actor = "uid:0"};
static const struct caller other_admin = {.scope = SCOPE_ADMIN, .actor = "token:x"};
static const struct caller tenant = {.scope = SCOPE_TENANT_READ, .tenant_id = {.bytes = {1}}};
static const struct caller other_tenant = {.scope = SCOPE_TENANT_READ, .tenant_id = {.bytes = {2}}};

static int setup(void **state) {
    struct stale *stale = calloc(1, sizeof *stale);
    stale_open(stale);
    *state = stale;
    return 0;
}

static int teardown(void **state) {
    stale_close(*state);
    free(*state);
    return 0;
}

static void keep(struct stale *stale, const struct caller *caller, const char *uri, const char *body) {
    struct answer answer = {.status = 200};
    buf_text(&answer.body, body);
    stale_keep(stale, caller, uri, &answer);
    answer_free(&answer);
}

static bool finds(struct stale *stale, const struct caller *caller, const char *uri, const char *body) {
    struct answer answer = {.status = 503};
    buf_text(&answer.body, "{\"status\":503}");
    bool found = stale_find(stale, caller, uri, &answer);
    if (found) {
        assert_int_equal(answer.status, 200);
        assert_true(answer.stale);
        assert_string_equal(answer.body.data, body);
    } else {
        assert_int_equal(answer.status, 503); /* left as it was */
        assert_false(answer.stale);
    }
    answer_free(&answer);
    return found;
}

static void an_answer_is_for_the_same_question_of_the_same_caller(void **state) {
    keep(*state, &admin, "/v1/tenants?limit=1", "all");
    keep(*state, &tenant, "/v1/tenants?limit=1", "one");
    assert_true(finds(*state, &admin, "/v1/tenants?limit=1", "all"));
    assert_true(finds(*state, &other_admin, "/v1/tenants?limit=1", "all")); /* sees the same */
    assert_true(finds(*state, &tenant, "/v1/tenants?limit=1", "one"));
    assert_false(finds(*state, &other_tenant, "/v1/tenants?limit=1", ""));
    assert_false(finds(*state, &admin, "/v1/tenants", ""));
}

static void the_last_answer_counts(void **state) {
    struct stale *stale = *state;
    keep(stale, &admin, "/v1/tenants", "first");
    size_t bytes = stale->bytes;
    keep(stale, &admin, "/v1/tenants", "other");
    assert_true(finds(stale, &admin, "/v1/tenants", "other"));
    assert_int_equal(stale->bytes, bytes);
}

static void memory_is_bounded_and_what_is_asked_for_stays(void **state) {
    struct stale *stale = *state;
    char *body = malloc(STALE_ANSWER_MAX / 2 + 1), uri[32];
    memset(body, 'x', STALE_ANSWER_MAX / 2);
    body[STALE_ANSWER_MAX / 2] = '\0';
    keep(stale, &admin, "/wanted", "here");
    keep(stale, &admin, "/unwanted", "here");
    for (int i = 0; i < 100; i++) {
        snprintf(uri, sizeof uri, "/%d", i);
        keep(stale, &admin, uri, body);
        assert_true(stale->bytes <= STALE_BYTES_MAX);
        assert_true(finds(stale, &admin, "/wanted", "here"));
    }
    assert_true(finds(stale, &admin, "/99", body));
    assert_false(finds(stale, &admin, "/0", ""));
    assert_false(finds(stale, &admin, "/unwanted", ""));
    free(body);
}

static void what_is_too_large_is_not_kept(void **state) {
    char *body = malloc(STALE_ANSWER_MAX + 2);
    memset(body, 'x', STALE_ANSWER_MAX + 1);
    body[STALE_ANSWER_MAX + 1] = '\0';
    keep(*state, &admin, "/large", body);
    assert_false(finds(*state, &admin, "/large", ""));
    free(body);
}

int main(void) {
#define WITH_STALE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_STALE(an_answer_is_for_the_same_question_of_the_same_caller),
        WITH_STALE(the_last_answer_counts),
        WITH_STALE(memory_is_bounded_and_what_is_asked_for_stays),
        WITH_STALE(what_is_too_large_is_not_kept),
    };
    return cmocka_run_group_tests_name("stale", tests, NULL, NULL);
}
