/* A commit of which nobody can say whether it was done, as after a failover: what it wrote is counted once, either way.
 * store_commit() is wrapped by the linker (meson.build). */
#include "gateway.h"

#include <errno.h>

#include "base/clock.h"
#include "service/keeper.h"
#include "service/noun/noun.h"

int __real_store_commit(struct store_conn *conn);
int __wrap_store_commit(struct store_conn *conn);

static enum { COMMITS, IS_DONE, IS_NOT_DONE } fate;

int __wrap_store_commit(struct store_conn *conn) {
    switch (fate) {
    case COMMITS:
        break;
    case IS_DONE:
        fate = COMMITS;
        (void)__real_store_commit(conn);
        return -EINPROGRESS;
    case IS_NOT_DONE:
        fate = COMMITS;
        store_rollback(conn);
        return -EINPROGRESS;
    }
    return __real_store_commit(conn);
}

/* The data plane has counted so much of this router by now, which is worth a row. */
static void count(struct gateway *g, const struct router *router, uint64_t bytes) {
    struct usage *usage = g->service->usage;
    struct actual_peer peer;
    assert_true(fake_plane_peer(&router->public_key, &peer));
    peer.bytes_received = bytes;
    peer.last_handshake_at_us = clock_wall_us();
    fake_plane_put(&peer);
    pthread_mutex_lock(&usage->mutex);
    struct live *live = live_get(&usage->lives, &router->public_key);
    if (live) {
        live_make_urgent(&usage->lives, live);
    }
    pthread_mutex_unlock(&usage->mutex);
}

static uint64_t bytes_of_row(struct gateway *g) {
    return (uint64_t)gateway_number(g, "SELECT bytes_received FROM vpn_configurations");
}

static void counted_once(struct gateway *g, bool done) {
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct router router;
    struct problem p;
    count(g, &made.router, 100);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    count(g, &made.router, 150);
    fate = done ? IS_DONE : IS_NOT_DONE;
    assert_true(keeper_flush_usage(g->service, false) < 0);
    assert_int_equal(bytes_of_row(g), done ? 150 : 100);
    count(g, &made.router, 170);
    assert_int_equal(keeper_flush_usage(g->service, true), 0);
    assert_int_equal(bytes_of_row(g), 170);
    assert_int_equal(gateway_number(g, "SELECT bytes_received FROM tenant_vpn_tunnels"), 170);
    assert_int_equal(service_router_get(g->service, &gateway_admin, &made.router.id, &router, &p), 0);
    assert_int_equal(router.bytes_received, 170);
    assert_int_equal(service_tenant_get(g->service, &gateway_admin, &tenant.id, &tenant, &p), 0);
    assert_int_equal(tenant.bytes_received, 170);
}

static void what_was_written_is_not_added_again(void **state) {
    counted_once(*state, true);
}

static void what_was_not_written_is_not_lost(void **state) {
    counted_once(*state, false);
}

int main(void) {
#define WITH_GATEWAY(test) cmocka_unit_test_setup_teardown(test, gateway_setup, gateway_teardown)
    const struct CMUnitTest tests[] = {
        WITH_GATEWAY(what_was_written_is_not_added_again),
        WITH_GATEWAY(what_was_not_written_is_not_lost),
    };
    return cmocka_run_group_tests_name("unknown", tests, NULL, NULL);
}
