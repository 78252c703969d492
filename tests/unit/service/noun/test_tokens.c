/* Tokens, kept answers and events: what outsiders hold on to. */
#include "gateway.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "service/keeper.h"
#include "service/noun/noun.h"

/* --- tokens --- */

/* With `g`, `token`, `text` and `p` of the place that uses it. The fields are those of a struct token_spec. */
#define CREATE(c, ...) service_token_create(g->service, c, &(const struct token_spec){__VA_ARGS__}, &token, text, &p)

static void a_token_speaks_for_its_scope_until_revoked(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct token token, *list;
    struct caller caller;
    struct problem p;
    size_t count;
    char text[TOKEN_TEXT_SIZE];
    assert_int_equal(CREATE(&gateway_admin, .name = "billing", .scope = SCOPE_TENANT_READ, .tenant_id = tenant.id), 0);
    assert_int_equal(strlen(text), 46);
    assert_memory_equal(text, "sp_", 3);
    assert_int_equal(service_token_check(g->service, text, &caller), 0);
    assert_int_equal(caller.scope, SCOPE_TENANT_READ);
    assert_true(uuid_equal(&caller.tenant_id, &tenant.id));
    char id[UUID_TEXT_SIZE], actor[CALLER_ACTOR_SIZE];
    snprintf(actor, sizeof actor, "token:billing (%s)", uuid_format(&token.id, id));
    assert_string_equal(caller.actor, actor);
    token_flush_used(g->service);
    assert_int_equal(service_token_list(g->service, &gateway_admin, &list, &count, &p), 0);
    assert_int_equal(count, 1);
    assert_true(list[0].last_used_at > 0);
    free(list);
    gateway_restart(g);
    assert_int_equal(service_token_check(g->service, text, &caller), 0);
    text[10] ^= 1;
    assert_int_equal(service_token_check(g->service, text, &caller), -EACCES);
    text[10] ^= 1;
    assert_int_equal(service_token_revoke(g->service, &gateway_admin, &token.id, &p), 0);
    assert_int_equal(service_token_check(g->service, text, &caller), -EACCES);
    assert_refused(service_token_revoke(g->service, &gateway_admin, &token.id, &p), p, "token-not-found", "");
}

static void a_token_is_stored_as_a_hash_only(void **state) {
    struct gateway *g = *state;
    struct token token;
    struct problem p;
    char text[TOKEN_TEXT_SIZE], path[160];
    assert_int_equal(CREATE(&gateway_admin, .name = "a", .scope = SCOPE_ADMIN), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/store.db%s", g->folder, i ? "-wal" : "");
        FILE *file = fopen(path, "r");
        char *content = calloc(1, 8 << 20);
        size_t size = file ? fread(content, 1, 8 << 20, file) : 0;
        assert_null(memmem(content, size, text + 3, 20));
        free(content);
        if (file) {
            fclose(file);
        }
    }
}

static void nonsense_is_no_token(void **state) {
    struct gateway *g = *state;
    struct caller caller;
    char text[300];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(service_token_check(g->service, text, &caller), -EACCES);
    memcpy(text, "sp_", 3);
    assert_int_equal(service_token_check(g->service, text, &caller), -EACCES);
    assert_int_equal(service_token_check(g->service, "", &caller), -EACCES);
    assert_int_equal(service_token_check(g->service, "sp_", &caller), -EACCES);
}

static void an_expired_token_is_none(void **state) {
    struct gateway *g = *state;
    struct token token;
    struct caller caller;
    struct problem p;
    char text[TOKEN_TEXT_SIZE];
    assert_int_equal(CREATE(&gateway_admin, .name = "soon", .scope = SCOPE_METRICS,
                            .expires_at = clock_wall_us() + 2 * USEC_PER_SEC),
                     0);
    assert_int_equal(service_token_check(g->service, text, &caller), 0);
    usleep(2100000);
    assert_int_equal(service_token_check(g->service, text, &caller), -EACCES);
}

static void wrong_tokens_are_refused(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    const struct uuid nobody = {{7}};
    struct token token, *list;
    struct problem p;
    size_t count;
    char text[TOKEN_TEXT_SIZE];
    assert_refused(CREATE(&gateway_admin, .name = "", .scope = SCOPE_ADMIN), p, "bad-name", "name");
    assert_refused(CREATE(&gateway_admin, .name = "x", .scope = SCOPE_TENANT_READ), p, "token-tenant", "tenant_id");
    assert_refused(CREATE(&gateway_admin, .name = "x", .scope = SCOPE_ADMIN, .tenant_id = tenant.id), p, "token-tenant",
                   "tenant_id");
    assert_refused(CREATE(&gateway_admin, .name = "x", .scope = SCOPE_TENANT_WRITE, .tenant_id = nobody), p,
                   "tenant-not-found", "");
    assert_refused(CREATE(&gateway_admin, .name = "x", .scope = SCOPE_ADMIN, .expires_at = 1000), p, "token-expired",
                   "expires_at");
    struct caller tenants = {.scope = SCOPE_TENANT_WRITE, .tenant_id = tenant.id};
    assert_refused(CREATE(&tenants, .name = "x", .scope = SCOPE_ADMIN), p, "scope", "");
    assert_refused(service_token_list(g->service, &tenants, &list, &count, &p), p, "scope", "");
    assert_refused(service_token_revoke(g->service, &tenants, &nobody, &p), p, "scope", "");
}

static void an_id_makes_one_token(void **state) {
    struct gateway *g = *state;
    const struct uuid id = {{7}};
    struct token token;
    struct caller caller;
    struct problem p;
    char first[TOKEN_TEXT_SIZE], text[TOKEN_TEXT_SIZE];
    assert_int_equal(CREATE(&gateway_admin, .id = id, .name = "a", .scope = SCOPE_METRICS), 0);
    assert_true(uuid_equal(&token.id, &id));
    memcpy(first, text, sizeof first);
    assert_refused(CREATE(&gateway_admin, .id = id, .name = "a", .scope = SCOPE_METRICS), p, "duplicate-id", "");
    assert_string_equal(text, first);
    assert_int_equal(service_token_check(g->service, first, &caller), 0);
    /* and what is revoked does not come back with its id */
    assert_int_equal(service_token_revoke(g->service, &gateway_admin, &id, &p), 0);
    assert_int_equal(CREATE(&gateway_admin, .id = id, .name = "a", .scope = SCOPE_METRICS), 0);
    assert_int_equal(service_token_check(g->service, first, &caller), -EACCES);
    assert_int_equal(service_token_check(g->service, text, &caller), 0);
}

static void a_tenants_tokens_go_with_it(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct token token;
    struct caller caller;
    struct problem p;
    char text[TOKEN_TEXT_SIZE];
    assert_int_equal(CREATE(&gateway_admin, .name = "x", .scope = SCOPE_TENANT_WRITE, .tenant_id = tenant.id), 0);
    assert_int_equal(service_tenant_delete(g->service, &gateway_admin, &tenant.id, &p), 0);
    assert_int_equal(service_token_check(g->service, text, &caller), -EACCES);
}

static void scopes_have_names(void **state) {
    (void)state;
    for (enum scope scope = SCOPE_METRICS; scope <= SCOPE_ADMIN; scope++) {
        enum scope again;
        assert_int_equal(scope_parse(scope_name(scope), &again), 0);
        assert_int_equal(again, scope);
    }
    enum scope none = SCOPE_METRICS;
    assert_int_equal(scope_parse("root", &none), -EINVAL);
}

/* --- kept answers --- */

static void an_answer_is_given_again_to_the_same_request_only(void **state) {
    struct gateway *g = *state;
    const uint8_t one[32] = {1}, two[32] = {2};
    static const char body[] = "{\"private_key\":\"a very secret thing\"}";
    struct caller other = {.scope = SCOPE_ADMIN, .actor = "token:other"};
    struct problem p;
    char *again = NULL;
    size_t size = 0;
    int status = 0;
    assert_int_equal(service_idempotency_get(g->service, &gateway_admin, "key-1", one, &status, &again, &size, &p),
                     -ENOENT);
    assert_int_equal(service_idempotency_put(g->service, &gateway_admin, "key-1", one, 201, body, sizeof body - 1, &p),
                     0);
    assert_int_equal(service_idempotency_get(g->service, &gateway_admin, "key-1", one, &status, &again, &size, &p), 0);
    assert_int_equal(status, 201);
    assert_int_equal(size, sizeof body - 1);
    assert_string_equal(again, body);
    free(again);
    assert_int_equal(service_idempotency_get(g->service, &gateway_admin, "key-1", two, &status, &again, &size, &p),
                     -EEXIST);
    assert_string_equal(p.type, "idempotency-key-reused");
    assert_int_equal(service_idempotency_get(g->service, &other, "key-1", one, &status, &again, &size, &p), -ENOENT);
    assert_int_equal(service_idempotency_get(g->service, &gateway_admin, "key-2", one, &status, &again, &size, &p),
                     -ENOENT);
    char path[160];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/store.db%s", g->folder, i ? "-wal" : "");
        FILE *file = fopen(path, "r");
        char *content = calloc(1, 8 << 20);
        size_t read = file ? fread(content, 1, 8 << 20, file) : 0;
        assert_null(memmem(content, read, "very secret", 11));
        assert_null(memmem(content, read, "key-1", 5));
        free(content);
        if (file) {
            fclose(file);
        }
    }
}

/* Makes one, and what it may do is tried with it. */
static struct caller caller_of(struct gateway *g, const char *name) {
    const struct token_spec spec = {.name = name, .scope = SCOPE_ADMIN};
    struct token token;
    struct caller caller;
    struct problem p;
    char text[TOKEN_TEXT_SIZE];
    assert_int_equal(service_token_create(g->service, &gateway_admin, &spec, &token, text, &p), 0);
    assert_int_equal(service_token_check(g->service, text, &caller), 0);
    return caller;
}

static void tokens_of_one_name_are_two_callers(void **state) {
    struct gateway *g = *state;
    const uint8_t hash[32] = {1};
    struct problem p;
    char *again = NULL;
    size_t size = 0;
    int status = 0;
    const struct caller one = caller_of(g, "app"), two = caller_of(g, "app");
    assert_int_equal(service_idempotency_put(g->service, &one, "1", hash, 201, "secret", 6, &p), 0);
    assert_int_equal(service_idempotency_get(g->service, &two, "1", hash, &status, &again, &size, &p), -ENOENT);
    assert_int_equal(service_idempotency_get(g->service, &one, "1", hash, &status, &again, &size, &p), 0);
    free(again);
}

static void a_token_with_a_long_name_in_any_letters_writes(void **state) {
    struct gateway *g = *state;
    char name[NAME_SIZE] = "";
    struct event event;
    struct event_span span;
    struct tenant tenant;
    struct problem p;
    size_t count = 0;
    for (int i = 0; i < 64; i++) {
        memcpy(name + 2 * i, "\xd0\xb6", 3); /* two bytes each: a cut at an odd number of them is no text */
    }
    const struct caller caller = caller_of(g, name);
    const struct tenant_spec spec = {.name = "t", .addressing = ADDRESSING_UNIQUE};
    if (service_tenant_create(g->service, &caller, &spec, &tenant, &p) < 0) {
        fail_msg("%s", p.detail);
    }
    assert_int_equal(service_event_list(g->service, &gateway_admin, 1, 1, 0, &event, &count, &span, &p), 0);
    assert_int_equal(count, 1);
    assert_int_equal(strlen(event.actor), 6 + 128);
    assert_string_equal(event.actor + 6, name);
    assert_false(uuid_is_zero(&event.token_id));
}

static void old_answers_are_swept(void **state) {
    struct gateway *g = *state;
    const uint8_t hash[32] = {1};
    struct problem p;
    assert_int_equal(service_idempotency_put(g->service, &gateway_admin, "old", hash, 201, "x", 1, &p), 0);
    assert_int_equal(service_idempotency_put(g->service, &gateway_admin, "new", hash, 201, "x", 1, &p), 0);
    (void)gateway_number(g, "UPDATE vpn_answers SET created_at = '2020-01-01T00:00:00.000000Z' WHERE created_at = "
                            "(SELECT MIN(created_at) FROM vpn_answers)");
    char *body;
    size_t size;
    int status;
    assert_int_equal(service_idempotency_get(g->service, &gateway_admin, "old", hash, &status, &body, &size, &p),
                     -ENOENT);
    keeper_sweep(g->service);
    assert_int_equal(gateway_number(g, "SELECT COUNT(*) FROM vpn_answers"), 1);
}

static void a_sweep_forgets_all_that_is_old(void **state) {
    enum { OLD = 12000, KEPT = 1000000 };
    struct gateway *g = *state;
    struct service *s = g->service;
    struct change *changes = calloc(OLD + 2, sizeof *changes);
    uint64_t last = 0;
    char sql[64];
    for (size_t i = 0; i < OLD + 2; i++) {
        changes[i] = (struct change){.at = clock_wall_us(), .kind = "router.connected", .tenant_id = {{1}}};
    }
    ledger_turn_begin(s->ledger);
    assert_int_equal(store_begin(store_writer(s->store), true), 0);
    assert_int_equal(changes_append(store_writer(s->store), changes, OLD + 2, "", &last), 0);
    assert_int_equal(store_commit(store_writer(s->store)), 0);
    ledger_turn_end(s->ledger);
    free(changes);
    snprintf(sql, sizeof sql, "UPDATE vpn_revision SET value = %d", OLD + KEPT);
    (void)gateway_number(g, sql);
    ledger_advance(s->ledger, OLD + KEPT);
    keeper_sweep(s);
    assert_int_equal(gateway_number(g, "SELECT COUNT(*) FROM vpn_changes"), 2);
    assert_int_equal(gateway_number(g, "SELECT MIN(revision) FROM vpn_changes"), OLD + 1);
}

/* --- events --- */

static void every_change_is_an_event_in_order(void **state) {
    struct gateway *g = *state;
    struct event events[20];
    struct event_span span;
    struct problem p;
    size_t count = 0;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct router router;
    struct router_spec spec = {0};
    struct router_made rotated;
    assert_int_equal(service_router_set_disabled(g->service, &gateway_admin, &made.router.id, true, &router, &p), 0);
    assert_int_equal(service_router_set_disabled(g->service, &gateway_admin, &made.router.id, false, &router, &p), 0);
    assert_int_equal(service_router_rotate(g->service, &gateway_admin, &made.router.id, &spec, &rotated, &p), 0);
    assert_int_equal(service_router_delete(g->service, &gateway_admin, &made.router.id, &p), 0);
    assert_int_equal(service_tenant_delete(g->service, &gateway_admin, &tenant.id, &p), 0);
    assert_int_equal(service_event_list(g->service, &gateway_admin, 0, 20, 0, events, &count, &span, &p), 0);
    static const char *const kinds[] = {"tenant.created", "router.created", "router.disabled", "router.enabled",
                                        "router.rotated", "router.deleted", "tenant.deleted"};
    assert_int_equal(count, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_string_equal(events[i].kind, kinds[i]);
        assert_int_equal(events[i].revision, i + 1);
        assert_string_equal(events[i].actor, "uid:0");
        assert_true(uuid_equal(&events[i].tenant_id, &tenant.id));
        assert_int_equal(uuid_is_zero(&events[i].router_id), i == 0 || i == 6);
    }
    assert_int_equal(service_event_list(g->service, &gateway_admin, 5, 20, 0, events, &count, &span, &p), 0);
    assert_int_equal(count, 2);
    assert_int_equal(span.oldest, 1);
    assert_int_equal(span.newest, 7);
    assert_int_equal(service_event_list(g->service, &gateway_admin, 0, 3, 0, events, &count, &span, &p), 0);
    assert_int_equal(count, 3);
}

static void a_tenants_token_hears_of_that_tenant_only(void **state) {
    struct gateway *g = *state;
    struct tenant mine = make_tenant(g, "mine", ADDRESSING_UNIQUE, NULL), other = make_tenant(g, "other", 0, NULL);
    struct caller c = {.scope = SCOPE_TENANT_READ, .tenant_id = mine.id}, metrics = {.scope = SCOPE_METRICS};
    struct event events[20];
    struct event_span span;
    struct problem p;
    size_t count = 0;
    make_router(g, &other, "o", NULL);
    make_router(g, &mine, "m", NULL);
    assert_int_equal(service_event_list(g->service, &c, 0, 20, 0, events, &count, &span, &p), 0);
    assert_int_equal(count, 2);
    assert_refused(service_event_list(g->service, &metrics, 0, 20, 0, events, &count, &span, &p), p, "scope", "");
}

static void *make_later(void *context) {
    usleep(50000);
    make_tenant(context, "later", ADDRESSING_UNIQUE, NULL);
    return NULL;
}

static void waiting_ends_with_an_event_or_its_time(void **state) {
    struct gateway *g = *state;
    struct event events[4];
    struct event_span span;
    struct problem p;
    size_t count = 9;
    pthread_t thread;
    uint64_t start = clock_mono_ns();
    assert_int_equal(service_event_list(g->service, &gateway_admin, 0, 4, 30, events, &count, &span, &p), 0);
    assert_int_equal(count, 0);
    assert_true(clock_mono_ns() - start >= 30 * NSEC_PER_MSEC);
    assert_int_equal(pthread_create(&thread, NULL, make_later, g), 0);
    start = clock_mono_ns();
    assert_int_equal(service_event_list(g->service, &gateway_admin, 0, 4, 30000, events, &count, &span, &p), 0);
    assert_int_equal(count, 1);
    assert_true(clock_mono_ns() - start < 20 * NSEC_PER_SEC);
    pthread_join(thread, NULL);
}

int main(void) {
#define WITH_GATEWAY(test) cmocka_unit_test_setup_teardown(test, gateway_setup, gateway_teardown)
    const struct CMUnitTest tests[] = {
        WITH_GATEWAY(a_token_speaks_for_its_scope_until_revoked),
        WITH_GATEWAY(a_token_is_stored_as_a_hash_only),
        WITH_GATEWAY(nonsense_is_no_token),
        WITH_GATEWAY(an_expired_token_is_none),
        WITH_GATEWAY(wrong_tokens_are_refused),
        WITH_GATEWAY(an_id_makes_one_token),
        WITH_GATEWAY(a_tenants_tokens_go_with_it),
        cmocka_unit_test(scopes_have_names),
        WITH_GATEWAY(an_answer_is_given_again_to_the_same_request_only),
        WITH_GATEWAY(tokens_of_one_name_are_two_callers),
        WITH_GATEWAY(a_token_with_a_long_name_in_any_letters_writes),
        WITH_GATEWAY(old_answers_are_swept),
        WITH_GATEWAY(a_sweep_forgets_all_that_is_old),
        WITH_GATEWAY(every_change_is_an_event_in_order),
        WITH_GATEWAY(a_tenants_token_hears_of_that_tenant_only),
        WITH_GATEWAY(waiting_ends_with_an_event_or_its_time),
    };
    return cmocka_run_group_tests_name("tokens", tests, NULL, NULL);
}
