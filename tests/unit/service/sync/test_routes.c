/* The host's routes are those that the store says: compared with what the kernel has, mended where they differ, and
 * only a real difference is told. */
#include "gateway.h"

#include <unistd.h>

#include "service/noun/noun.h"
#include "service/sync/routes.h"

#define MANY 2500 /* more than two turns' worth */

static struct tenant tenant_with_lans(struct gateway *g, const char *name, unsigned count, uint32_t base,
                                      struct router_made *ret_last) {
    struct tenant tenant = make_tenant(g, name, ADDRESSING_UNIQUE, NULL);
    for (unsigned i = 0; i < count;) {
        struct prefix lans[25];
        size_t some = 0;
        for (; some < 25 && i < count; some++, i++) {
            lans[some] = (struct prefix){.addr = ip_from_v4(base + i * 8), .length = 29};
        }
        struct router_spec spec = {.tenant_id = tenant.id, .name = "r", .lans = lans, .lan_count = some};
        struct problem p;
        assert_int_equal(service_router_create(g->service, &gateway_admin, &spec, ret_last, &p), 0);
    }
    return tenant;
}

static uint64_t mend(struct gateway *g) {
    struct problem p = {0};
    uint64_t mended = 0;
    assert_int_equal(routes_mend(g->service->routes, &mended, &p), 0);
    return mended;
}

static void what_was_flushed_comes_back_and_what_is_foreign_goes(void **state) {
    struct gateway *g = *state;
    struct router_made made;
    struct prefix first = prefix_of("172.16.0.0/29"), foreign = prefix_of("172.31.0.0/24");
    tenant_with_lans(g, "t", 30, 0xac100000, &made);
    assert_int_equal(fake_plane_routes(), 30);
    assert_int_equal(mend(g), 0);
    fake_plane_route_by_hand(&first, false);
    fake_plane_route_by_hand(&foreign, true);
    assert_int_equal(mend(g), 2);
    assert_true(fake_plane_has_route(&first));
    assert_false(fake_plane_has_route(&foreign));
    assert_int_equal(mend(g), 0);
}

static void all_come_back_after_a_restart(void **state) {
    struct gateway *g = *state;
    struct router_made made;
    tenant_with_lans(g, "t", MANY, 0xac100000, &made);
    for (unsigned i = 0; i < MANY; i++) {
        struct prefix lan = {.addr = ip_from_v4(0xac100000u + i * 8), .length = 29};
        fake_plane_route_by_hand(&lan, false);
    }
    assert_int_equal(mend(g), MANY);
    assert_int_equal(fake_plane_routes(), MANY);
}

struct meanwhile {
    struct gateway *g;
    struct tenant tenant;
    struct router_made old;
    bool done;
};

/* While the comparison looks: after it has read the store, and before it reads the kernel. */
static void write_meanwhile(void *context, struct store_conn *conn, const struct prefix *list, size_t count) {
    struct meanwhile *m = context;
    struct problem p;
    struct router_made made;
    struct prefix lan = prefix_of("192.168.7.0/24");
    struct router_spec spec = {.tenant_id = m->tenant.id, .name = "new", .lans = &lan, .lan_count = 1};
    (void)conn, (void)list, (void)count;
    if (!m->done) {
        m->done = true;
        assert_int_equal(service_router_create(m->g->service, &gateway_admin, &spec, &made, &p), 0);
        assert_int_equal(service_router_delete(m->g->service, &gateway_admin, &m->old.router.id, &p), 0);
    }
}

static void what_is_written_meanwhile_is_no_difference(void **state) {
    struct gateway *g = *state;
    struct meanwhile m = {.g = g};
    struct prefix made = prefix_of("192.168.7.0/24"), gone = prefix_of("172.16.0.0/29");
    m.tenant = tenant_with_lans(g, "t", 1, 0xac100000, &m.old);
    routes_observe(g->service->routes, write_meanwhile, &m);
    assert_int_equal(mend(g), 0);
    assert_true(m.done);
    assert_true(fake_plane_has_route(&made));
    assert_false(fake_plane_has_route(&gone));
}

static void a_doubt_is_settled_by_a_comparison(void **state) {
    struct gateway *g = *state;
    assert_false(routes_is_due(g->service->routes));
    routes_doubt(g->service->routes);
    /* The service's own thread may have been quicker. */
    for (int i = 0; i < 500 && routes_is_due(g->service->routes); i++) {
        usleep(10000);
    }
    assert_false(routes_is_due(g->service->routes));
}

int main(void) {
#define WITH_GATEWAY(test) cmocka_unit_test_setup_teardown(test, gateway_setup, gateway_teardown)
    const struct CMUnitTest tests[] = {
        WITH_GATEWAY(what_was_flushed_comes_back_and_what_is_foreign_goes),
        WITH_GATEWAY(all_come_back_after_a_restart),
        WITH_GATEWAY(what_is_written_meanwhile_is_no_difference),
        WITH_GATEWAY(a_doubt_is_settled_by_a_comparison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
