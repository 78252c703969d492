/* Bulk creation: each item stands or falls alone, other writers get their turn in between, and threads do not get in
 * each other's way. */
#include "gateway.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/noun/noun.h"
#include "service/record/turn.h"

#define ITEMS 40

struct batch {
    struct bulk_item items[ITEMS];
    struct router_spec specs[ITEMS][2];
    struct router_made made[ITEMS][2];
};

static struct batch *new_batch(enum addressing addressing) {
    struct batch *b = calloc(1, sizeof *b);
    for (size_t i = 0; i < ITEMS; i++) {
        b->specs[i][0].name = b->specs[i][1].name = "r";
        b->items[i] = (struct bulk_item){.has_tenant = true,
                                         .tenant = {.name = "t", .addressing = addressing},
                                         .routers = b->specs[i],
                                         .router_count = 2,
                                         .made = b->made[i]};
    }
    return b;
}

static void every_item_is_made(void **state) {
    struct gateway *g = *state;
    struct service_status before, status;
    struct problem p;
    service_status(g->service, &before);
    for (enum addressing addressing = ADDRESSING_UNIQUE; addressing <= ADDRESSING_PRIVATE; addressing++) {
        struct batch *b = new_batch(addressing);
        assert_int_equal(service_bulk_create(g->service, &gateway_admin, b->items, ITEMS, &p), 0);
        for (size_t i = 0; i < ITEMS; i++) {
            struct tenant tenant;
            assert_int_equal(b->items[i].error, 0);
            assert_int_equal(service_tenant_get(g->service, &gateway_admin, &b->items[i].made_tenant.id, &tenant, &p),
                             0);
            assert_memory_equal(&tenant, &b->items[i].made_tenant, sizeof tenant);
            assert_int_equal(tenant.routers, 2);
            for (int j = 0; j < 2; j++) {
                struct router router;
                assert_int_equal(service_router_get(g->service, &gateway_admin, &b->made[i][j].router.id, &router, &p),
                                 0);
                assert_memory_equal(&router, &b->made[i][j].router, sizeof router);
                assert_false(key_is_zero(&b->made[i][j].private_key));
            }
        }
        free(b);
    }
    service_status(g->service, &status);
    assert_int_equal(status.tenants, before.tenants + 2 * ITEMS);
    assert_int_equal(status.routers, before.routers + 4 * ITEMS);
    assert_int_equal(status.revision, before.revision + 6 * ITEMS);
    assert_in_force(g);
}

static void a_bad_item_falls_alone_and_leaves_nothing(void **state) {
    struct gateway *g = *state;
    struct batch *b = new_batch(ADDRESSING_UNIQUE);
    struct service_status before, after;
    struct problem p;
    const struct prefix lan = prefix_of("192.168.7.0/24");
    struct tenant limited;
    struct tenant_spec limit = {.name = "limited", .limits = {.routers = 1}};
    assert_int_equal(service_tenant_create(g->service, &gateway_admin, &limit, &limited, &p), 0);
    service_status(g->service, &before);
    b->items[3].tenant.name = "";
    b->specs[5][1].public_key = (struct key){{1}};
    b->specs[7][0].public_key = b->specs[8][1].public_key = (struct key){{7, 7}};
    b->specs[9][0].lans = b->specs[10][1].lans = &lan;
    b->specs[9][0].lan_count = b->specs[10][1].lan_count = 1;
    b->specs[11][1].address = ip_of("10.200.0.7");
    b->items[12].tenant.limits.routers = 1;
    b->items[13].has_tenant = false;
    b->specs[13][0].tenant_id = b->specs[13][1].tenant_id = limited.id; /* one more than it may have */
    b->items[15].has_tenant = false;
    b->items[15].router_count = 1;
    b->specs[15][0].tenant_id = (struct uuid){{9}};
    assert_int_equal(service_bulk_create(g->service, &gateway_admin, b->items, ITEMS, &p), 0);
    static const struct {
        size_t item;
        const char *slug, *field;
    } bad[] = {
        {3, "bad-name", "name"},
        {5, "weak-public-key", "routers[1].public_key"},
        {8, "duplicate-public-key", "routers[1].public_key"},
        {10, "lan-overlap", "routers[1].lans[0]"},
        {11, "address-outside-tenant", "routers[1].address"},
        {12, "router-limit", ""},
        {13, "router-limit", "routers[1]"},
        {15, "tenant-not-found", ""},
    };
    size_t failed = 0;
    for (size_t i = 0; i < ITEMS; i++) {
        if (failed < sizeof bad / sizeof *bad && bad[failed].item == i) {
            assert_true(b->items[i].error < 0);
            assert_string_equal(b->items[i].problem.type, bad[failed].slug);
            assert_string_equal(b->items[i].problem.field, bad[failed].field);
            assert_true(key_is_zero(&b->made[i][0].private_key)); /* no secret of what was not made */
            failed++;
        } else {
            assert_int_equal(b->items[i].error, 0);
        }
    }
    service_status(g->service, &after);
    assert_int_equal(after.tenants, before.tenants + ITEMS - 8);
    assert_int_equal(after.routers, 2 * (ITEMS - 8));
    assert_int_equal(before.pool_free - after.pool_free, 32 * (ITEMS - 8));
    assert_int_equal(after.revision, before.revision + 3 * (ITEMS - 8)); /* and no revision of it */
    struct tenant tenant;
    assert_int_equal(service_tenant_get(g->service, &gateway_admin, &limited.id, &tenant, &p), 0);
    assert_int_equal(tenant.routers, 0);
    assert_in_force(g);
    free(b);
}

static void routers_of_one_tenant_outgrow_its_first_blocks(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL), after, other = make_tenant(g, "o", 1, NULL);
    enum { COUNT = 2000 };
    struct bulk_item *items = calloc(COUNT, sizeof *items);
    struct router_spec *specs = calloc(COUNT, sizeof *specs);
    struct router_made *made = calloc(COUNT, sizeof *made);
    struct problem p;
    for (size_t i = 0; i < COUNT; i++) {
        specs[i] = (struct router_spec){.tenant_id = i % 5 ? tenant.id : other.id, .name = "r"};
        key_make_preshared(&specs[i].public_key);
        items[i] = (struct bulk_item){.routers = &specs[i], .router_count = 1, .made = &made[i]};
    }
    assert_int_equal(service_bulk_create(g->service, &gateway_admin, items, COUNT, &p), 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(items[i].error, 0);
    }
    assert_int_equal(service_tenant_get(g->service, &gateway_admin, &tenant.id, &after, &p), 0);
    assert_int_equal(after.routers, COUNT / 5 * 4);
    assert_int_equal(service_tenant_get(g->service, &gateway_admin, &other.id, &after, &p), 0);
    assert_int_equal(after.routers, COUNT / 5);
    assert_in_force(g);
    free(items);
    free(specs);
    free(made);
}

static void bulk_keeps_to_the_scope(void **state) {
    struct gateway *g = *state;
    struct tenant mine = make_tenant(g, "mine", ADDRESSING_UNIQUE, NULL), other = make_tenant(g, "other", 0, NULL);
    struct caller c = {.scope = SCOPE_TENANT_WRITE, .tenant_id = mine.id};
    struct batch *b = new_batch(ADDRESSING_UNIQUE);
    struct problem p;
    b->items[1].has_tenant = b->items[2].has_tenant = false;
    b->specs[1][0].tenant_id = b->specs[1][1].tenant_id = mine.id;
    b->specs[2][0].tenant_id = b->specs[2][1].tenant_id = other.id;
    assert_int_equal(service_bulk_create(g->service, &c, b->items, 3, &p), 0);
    assert_int_equal(b->items[0].error, -EPERM);
    assert_int_equal(b->items[1].error, 0);
    assert_int_equal(b->items[2].error, -ENOENT);
    free(b);
}

static void what_others_would_wait_for_too_long_is_refused(void **state) {
    enum { ROUTERS = BULK_ITEM_ROWS / 2 };
    struct gateway *g = *state;
    struct bulk_item items[3];
    struct router_spec *specs = calloc(ROUTERS + 1, sizeof *specs);
    struct router_made *made = calloc(3 * (ROUTERS + 1), sizeof *made);
    struct prefix *lans = calloc(ROUTERS, sizeof *lans);
    struct problem p;
    for (size_t i = 0; i < ROUTERS + 1; i++) {
        specs[i].name = "r";
        key_make_preshared(&specs[i].public_key);
        if (i < ROUTERS) {
            lans[i] = (struct prefix){.addr = ip_from_v4(0xac100000u + (uint32_t)i * 256), .length = 24};
            specs[i].lans = &lans[i];
            specs[i].lan_count = 1;
        }
    }
    for (size_t i = 0; i < 3; i++) { /* one router too many between two that just fit */
        items[i] = (struct bulk_item){.has_tenant = true,
                                      .tenant = {.name = "t", .addressing = ADDRESSING_PRIVATE},
                                      .routers = i == 2 ? specs + ROUTERS : specs,
                                      .router_count = i == 2   ? 1
                                                      : i == 1 ? ROUTERS + 1
                                                               : ROUTERS,
                                      .made = made + i * (ROUTERS + 1)};
    }
    assert_int_equal(service_bulk_create(g->service, &gateway_admin, items, 3, &p), 0);
    assert_int_equal(items[0].error, 0);
    assert_refused(items[1].error, items[1].problem, "item-too-large", "routers");
    assert_int_equal(items[2].error, 0);
    assert_in_force(g);
    free(specs);
    free(made);
    free(lans);
}

/* --- requests of many shares --- */

#define MANY 6000

struct many {
    struct gateway *gateway;
    struct bulk_item items[MANY];
    struct router_spec specs[MANY];
    struct router_made made[MANY];
    int result;
    struct problem problem;
};

static struct many *new_many(struct gateway *g) {
    struct many *m = calloc(1, sizeof *m);
    m->gateway = g;
    for (size_t i = 0; i < MANY; i++) {
        m->specs[i].name = "r";
        key_make_preshared(&m->specs[i].public_key);
        m->items[i] = (struct bulk_item){.has_tenant = true,
                                         .tenant = {.name = "t", .addressing = ADDRESSING_PRIVATE},
                                         .routers = &m->specs[i],
                                         .router_count = 1,
                                         .made = &m->made[i]};
    }
    return m;
}

static void *make_all_of(void *context) {
    struct many *m = context;
    m->result = service_bulk_create(m->gateway->service, &gateway_admin, m->items, MANY, &m->problem);
    return NULL;
}

static uint64_t revision_of(struct gateway *g) {
    struct service_status status;
    service_status(g->service, &status);
    return status.revision;
}

static void others_get_their_turn_in_between(void **state) {
    struct gateway *g = *state;
    struct many *m = new_many(g);
    struct event event;
    struct event_span span;
    struct problem p;
    pthread_t thread;
    size_t count = 0;
    const struct caller other = {.scope = SCOPE_ADMIN, .actor = "other"};
    const struct tenant_spec spec = {.name = "in between"};
    struct tenant tenant;
    uint64_t before = revision_of(g), after = before;
    assert_int_equal(pthread_create(&thread, NULL, make_all_of, m), 0);
    while (revision_of(g) == before) {
        usleep(1000);
    }
    assert_int_equal(service_tenant_create(g->service, &other, &spec, &tenant, &p), 0);
    pthread_join(thread, NULL);
    assert_int_equal(m->result, 0);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(m->items[i].error, 0);
    }
    do {
        assert_int_equal(service_event_list(g->service, &gateway_admin, after, 1, 0, &event, &count, &span, &p), 0);
        assert_int_equal(count, 1);
        after = event.revision;
    } while (strcmp(event.actor, "other") != 0);
    assert_int_equal(span.newest, before + 2 * MANY + 1);
    assert_true(after < span.newest);
    assert_in_force(g);
    free(m);
}

/* Of threads: cmocka's own assertions are for the main one. */
static void *complain(void *context, const struct problem *p) {
    print_error("refused: %s\n", p->detail);
    return context;
}

static void *create_many(void *context) {
    struct gateway *g = context;
    struct problem p = {0};
    for (int round = 0; round < 5; round++) {
        struct batch *b = new_batch(round % 2 ? ADDRESSING_PRIVATE : ADDRESSING_UNIQUE);
        if (service_bulk_create(g->service, &gateway_admin, b->items, ITEMS, &p) < 0) {
            free(b);
            return complain(context, &p);
        }
        for (size_t i = 0; i < ITEMS; i++) {
            struct router router;
            if (b->items[i].error < 0 ||
                (i % 3 == 0 &&
                 service_tenant_delete(g->service, &gateway_admin, &b->items[i].made_tenant.id, &p) < 0) ||
                (i % 3 == 1 && service_router_delete(g->service, &gateway_admin, &b->made[i][0].router.id, &p) < 0) ||
                (i % 3 == 2 && service_router_set_disabled(g->service, &gateway_admin, &b->made[i][0].router.id, true,
                                                           &router, &p) < 0)) {
                p = b->items[i].error < 0 ? b->items[i].problem : p;
                free(b);
                return complain(context, &p);
            }
        }
        free(b);
    }
    return NULL;
}

static void *reconcile_often(void *context) {
    struct gateway *g = context;
    struct problem p = {0};
    for (int i = 0; i < 30; i++) {
        if (service_reconcile(g->service, &p) < 0) {
            return complain(context, &p);
        }
    }
    return NULL;
}

static void threads_writing_at_once_end_in_force(void **state) {
    struct gateway *g = *state;
    pthread_t threads[5];
    struct service_status status;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, i < 4 ? create_many : reconcile_often, g), 0);
    }
    for (int i = 0; i < 5; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_in_force(g);
    service_status(g->service, &status);
    assert_true(status.in_sync);
    struct service_status counted = status;
    gateway_restart(g);
    service_status(g->service, &status);
    assert_int_equal(status.tenants, counted.tenants);
    assert_int_equal(status.routers, counted.routers);
    assert_int_equal(status.revision, counted.revision);
}

static void every_acknowledged_router_survives_a_kill(void **state) {
    struct gateway *g = *state;
    struct problem p = {0};
    int fds[2];
    service_close(g->service);
    g->service = NULL;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        if (service_open(&g->config, &g->service, &p) < 0) {
            _exit(1);
        }
        for (;;) {
            struct batch *b = new_batch(ADDRESSING_PRIVATE);
            if (service_bulk_create(g->service, &gateway_admin, b->items, ITEMS, &p) < 0) {
                _exit(1);
            }
            for (size_t i = 0; i < ITEMS; i++) {
                if (write(fds[1], &b->made[i][0].router.id, sizeof(struct uuid)) < 0) {
                    _exit(1);
                }
            }
            free(b);
        }
    }
    close(fds[1]);
    struct uuid ids[5000];
    size_t count = 0;
    while (count < 5000 && read(fds[0], &ids[count], sizeof *ids) == (ssize_t)sizeof *ids) {
        if (++count == 10 * ITEMS + 7) {
            kill(child, SIGKILL);
        }
    }
    close(fds[0]);
    waitpid(child, NULL, 0);
    assert_true(count > 10 * ITEMS);
    fake_plane_reset();
    assert_int_equal(service_open(&g->config, &g->service, &p), 0);
    for (size_t i = 0; i < count; i++) {
        struct router router;
        assert_int_equal(service_router_get(g->service, &gateway_admin, &ids[i], &router, &p), 0);
    }
    gateway_reconcile(g);
    assert_in_force(g);
}

static void fill_disk(struct gateway *g, int64_t spare) {
    char sql[64];
    int64_t pages = gateway_number(g, "PRAGMA page_count");
    snprintf(sql, sizeof sql, "PRAGMA max_page_count=%d", (int)(spare < 0 ? 1000000 : pages + spare));
    (void)gateway_number(g, sql);
}

static void a_disk_that_fills_up_fails_what_is_left(void **state) {
    struct gateway *g = *state;
    struct many *m = new_many(g);
    struct tenant tenant;
    struct service_status status;
    size_t made = 0;
    fill_disk(g, 1500);
    make_all_of(m);
    assert_int_equal(m->result, 0);
    while (made < MANY && m->items[made].error == 0) {
        assert_int_equal(
            service_tenant_get(g->service, &gateway_admin, &m->items[made].made_tenant.id, &tenant, &m->problem), 0);
        made++;
    }
    assert_in_range(made, 1, MANY - 1);
    for (size_t i = made; i < MANY; i++) {
        assert_true(m->items[i].error < 0);
        assert_int_equal(m->items[i].problem.kind, PROBLEM_UNAVAILABLE);
        assert_string_equal(m->items[i].problem.type, "store-full");
        assert_true(uuid_is_zero(&m->made[i].router.id));
    }
    fill_disk(g, -1);
    service_status(g->service, &status);
    assert_int_equal(status.tenants, made);
    assert_int_equal(status.routers, made);
    assert_int_equal(gateway_number(g, "SELECT COUNT(*) FROM tenant_vpn_tunnels"), made);
    assert_int_equal(gateway_number(g, "SELECT COUNT(*) FROM vpn_configurations"), made);
    assert_in_force(g);
    free(m);
}

static void a_full_disk_refuses_the_whole_and_changes_nothing(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct service_status before, after;
    struct problem p = {0};
    service_status(g->service, &before);
    for (int64_t spare = 0; spare < 12; spare++) { /* it may be full at any statement */
        struct batch *b = new_batch(ADDRESSING_PRIVATE);
        fill_disk(g, spare);
        assert_true(service_bulk_create(g->service, &gateway_admin, b->items, ITEMS, &p) < 0);
        assert_string_equal(p.type, "store-full");
        for (size_t i = 0; i < ITEMS; i++) {
            assert_true(b->items[i].error < 0);
            assert_true(key_is_zero(&b->made[i][0].private_key));
        }
        free(b);
    }
    service_status(g->service, &after);
    assert_int_equal(after.tenants, before.tenants);
    assert_int_equal(after.routers, 0);
    assert_int_equal(after.revision, before.revision);
    assert_int_equal(after.pool_free, before.pool_free);
    assert_in_force(g);
    fill_disk(g, -1);
    make_router(g, &tenant, "room again", NULL);
    every_item_is_made(state);
}

/* --- turns --- */

static struct turn turn;
static uint64_t order[64];
static size_t ordered;

static void *wait_turn(void *context) {
    uint64_t place = (uint64_t)(uintptr_t)context;
    turn_wait(&turn, place);
    order[ordered++] = place;
    turn_end(&turn);
    return NULL;
}

static void turns_are_served_in_the_order_they_were_taken(void **state) {
    pthread_t threads[64];
    (void)state;
    turn_open(&turn);
    uint64_t first = turn_take(&turn);
    uint64_t places[64];
    for (int i = 0; i < 64; i++) {
        places[i] = turn_take(&turn);
    }
    for (int i = 63; i >= 0; i--) { /* the last asks first */
        assert_int_equal(pthread_create(&threads[i], NULL, wait_turn, (void *)(uintptr_t)places[i]), 0);
    }
    turn_wait(&turn, first);
    assert_int_equal(ordered, 0);
    turn_end(&turn);
    for (int i = 0; i < 64; i++) {
        pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(order[i], places[i]);
    }
    turn_close(&turn);
}

int main(void) {
#define WITH_GATEWAY(test) cmocka_unit_test_setup_teardown(test, gateway_setup, gateway_teardown)
    const struct CMUnitTest tests[] = {
        WITH_GATEWAY(every_item_is_made),
        WITH_GATEWAY(a_bad_item_falls_alone_and_leaves_nothing),
        WITH_GATEWAY(routers_of_one_tenant_outgrow_its_first_blocks),
        WITH_GATEWAY(bulk_keeps_to_the_scope),
        WITH_GATEWAY(what_others_would_wait_for_too_long_is_refused),
        WITH_GATEWAY(threads_writing_at_once_end_in_force),
        WITH_GATEWAY(every_acknowledged_router_survives_a_kill),
        cmocka_unit_test(turns_are_served_in_the_order_they_were_taken),
        WITH_GATEWAY(others_get_their_turn_in_between),
        /* last: only a file's disk can be filled from here */
        WITH_GATEWAY(a_disk_that_fills_up_fails_what_is_left),
        WITH_GATEWAY(a_full_disk_refuses_the_whole_and_changes_nothing),
    };
    size_t count = sizeof tests / sizeof *tests;
    return _cmocka_run_group_tests("bulk", tests, getenv("SALLYPORT_TEST_STORE") ? count - 2 : count, NULL, NULL);
}
