/* Counters and handshakes: nothing lost, nothing twice, whoever restarts. */
#include "gateway.h"

#include <errno.h>

#include "base/clock.h"
#include "service/keeper.h"
#include "service/noun/noun.h"

static struct actual_peer peer_of(const struct router *router) {
    struct actual_peer peer;
    assert_true(fake_plane_peer(&router->public_key, &peer));
    return peer;
}

static struct router router_of(struct gateway *g, const struct uuid *id) {
    struct router router;
    struct problem p;
    assert_int_equal(service_router_get(g->service, &gateway_admin, id, &router, &p), 0);
    return router;
}

static struct tenant tenant_of(struct gateway *g, const struct uuid *id) {
    struct tenant tenant;
    struct problem p;
    assert_int_equal(service_tenant_get(g->service, &gateway_admin, id, &tenant, &p), 0);
    return tenant;
}

/* The router's session is as given, and the service has taken it over. */
static void session(struct gateway *g, const struct router *router, uint64_t received, uint64_t sent,
                    int64_t handshake_at) {
    struct actual_peer peer = peer_of(router);
    peer.bytes_received = received;
    peer.bytes_sent = sent;
    peer.last_handshake_at_us = handshake_at;
    memset(peer.is.timestamp, 0, sizeof peer.is.timestamp);
    peer.is.timestamp[11] = (uint8_t)(handshake_at / USEC_PER_SEC);
    peer.is.timestamp[10] = (uint8_t)(handshake_at / USEC_PER_SEC >> 8);
    assert_int_equal(endpoint_parse("192.0.2.7:4000", &peer.is.endpoint), 0);
    fake_plane_put(&peer);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
}

static void a_first_handshake_makes_a_router_active(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct service_status before, after;
    int64_t now = clock_wall_us();
    char endpoint[ENDPOINT_TEXT_SIZE];
    service_status(g->service, &before);
    session(g, &made.router, 100, 200, now);
    struct router router = router_of(g, &made.router.id);
    assert_int_equal(router.status, ROUTER_ACTIVE);
    assert_int_equal(router.last_handshake_at, now);
    assert_int_equal(router.bytes_received, 100);
    assert_int_equal(router.bytes_sent, 200);
    assert_string_equal(endpoint_format(&router.endpoint, endpoint), "192.0.2.7:4000");
    tenant = tenant_of(g, &tenant.id);
    assert_int_equal(tenant.connected_routers, 1);
    assert_int_equal(tenant.bytes_received, 100);
    assert_int_equal(tenant.bytes_sent, 200);
    service_status(g->service, &after);
    assert_int_equal(after.connected_routers, 1);
    assert_int_equal(after.revision, before.revision + 1);
    session(g, &made.router, 300, 400, now + 1000000);
    service_status(g->service, &after);
    assert_int_equal(after.revision, before.revision + 1); /* usage is no event */
}

static void what_did_not_change_is_not_written(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    session(g, &made.router, 100, 200, clock_wall_us());
    int64_t before = gateway_writes(g);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    struct actual_peer peer = peer_of(&made.router);
    fake_plane_put(&peer); /* touched, but the same */
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(gateway_writes(g), before);
}

static void counters_survive_restarts_of_either_side(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct problem p;
    int64_t now = clock_wall_us();
    session(g, &made.router, 1000, 10, now);
    gateway_restart(g); /* the data plane goes on counting */
    session(g, &made.router, 1500, 15, now);
    assert_int_equal(router_of(g, &made.router.id).bytes_received, 1500);
    fake_plane_restart(); /* and now begins anew */
    assert_int_equal(service_reconcile(g->service, &p), 0);
    session(g, &made.router, 2000, 5, now);
    assert_int_equal(router_of(g, &made.router.id).bytes_received, 3500);
    assert_int_equal(router_of(g, &made.router.id).bytes_sent, 20);
    session(g, &made.router, 700, 5, now); /* re-added by somebody: a counter that went back */
    assert_int_equal(router_of(g, &made.router.id).bytes_received, 4200);
    assert_int_equal(tenant_of(g, &tenant.id).bytes_received, 4200);
}

static void disabling_counts_anew_from_zero(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct router router;
    struct problem p;
    session(g, &made.router, 100, 1, clock_wall_us());
    assert_int_equal(service_router_set_disabled(g->service, &gateway_admin, &made.router.id, true, &router, &p), 0);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(tenant_of(g, &tenant.id).connected_routers, 0);
    assert_int_equal(service_router_set_disabled(g->service, &gateway_admin, &made.router.id, false, &router, &p), 0);
    assert_int_equal(router.status, ROUTER_ACTIVE);
    session(g, &made.router, 150, 1, clock_wall_us());
    assert_int_equal(router_of(g, &made.router.id).bytes_received, 250);
    assert_int_equal(service_tenant_set_status(g->service, &gateway_admin, &tenant.id, TENANT_DISABLED, &tenant, &p),
                     0);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(tenant_of(g, &tenant.id).connected_routers, 0);
    assert_int_equal(service_tenant_set_status(g->service, &gateway_admin, &tenant.id, TENANT_ACTIVE, &tenant, &p), 0);
    session(g, &made.router, 200, 1, clock_wall_us());
    assert_int_equal(router_of(g, &made.router.id).bytes_received, 450);
    assert_int_equal(tenant_of(g, &tenant.id).bytes_received, 450);
}

struct interruption {
    struct gateway *gateway;
    struct uuid id;
};

static void disable_and_enable(void *context) {
    struct interruption *i = context;
    struct router router;
    struct problem p;
    assert_int_equal(service_router_set_disabled(i->gateway->service, &gateway_admin, &i->id, true, &router, &p), 0);
    assert_int_equal(service_router_set_disabled(i->gateway->service, &gateway_admin, &i->id, false, &router, &p), 0);
}

static void a_peer_taken_out_while_it_is_counted_is_not_counted_twice(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct interruption interruption = {.gateway = g, .id = made.router.id};
    session(g, &made.router, 1000, 1, clock_wall_us());
    fake_plane_after_each_peer(disable_and_enable, &interruption);
    session(g, &made.router, 1500, 1, clock_wall_us());
    assert_in_range(router_of(g, &made.router.id).bytes_received, 1000, 1500);
    session(g, &made.router, 100, 1, clock_wall_us());
    assert_in_range(router_of(g, &made.router.id).bytes_received, 1100, 1600);
}

static void a_peer_added_again_keeps_its_greatest_timestamp(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL), rotated;
    struct problem p;
    session(g, &made.router, 100, 1, clock_wall_us());
    struct actual_peer before = peer_of(&made.router);
    fake_plane_restart();
    assert_int_equal(service_reconcile(g->service, &p), 0);
    struct actual_peer after = peer_of(&made.router);
    assert_memory_equal(after.is.timestamp, before.is.timestamp, sizeof after.is.timestamp);
    struct router_spec spec = {0};
    assert_int_equal(service_router_rotate(g->service, &gateway_admin, &made.router.id, &spec, &rotated, &p), 0);
    after = peer_of(&rotated.router); /* another key: another clock */
    static const uint8_t none[DESIRED_TIMESTAMP_SIZE];
    assert_memory_equal(after.is.timestamp, none, sizeof none);
}

static void connected_ends_three_minutes_after_the_handshake(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made fresh = make_router(g, &tenant, "f", NULL), old = make_router(g, &tenant, "o", NULL);
    struct service_status status;
    struct router list[4];
    struct problem p;
    char next[64];
    size_t count;
    session(g, &fresh.router, 1, 1, clock_wall_us());
    session(g, &old.router, 1, 1, clock_wall_us() - 181 * USEC_PER_SEC);
    service_status(g->service, &status);
    assert_int_equal(status.connected_routers, 1);
    assert_int_equal(tenant_of(g, &tenant.id).connected_routers, 1);
    assert_int_equal(router_of(g, &old.router.id).status, ROUTER_ACTIVE);
    struct router_filter filter = {.has_connected = true, .connected = true};
    assert_int_equal(service_router_list(g->service, &gateway_admin, &filter, "", 4, list, &count, next, &p), 0);
    assert_int_equal(count, 1);
    assert_true(uuid_equal(&list[0].id, &fresh.router.id));
    gateway_restart(g);
    service_status(g->service, &status);
    assert_int_equal(status.connected_routers, 1); /* known again from the store */
    assert_int_equal(tenant_of(g, &tenant.id).connected_routers, 1);
    assert_int_equal(service_router_delete(g->service, &gateway_admin, &fresh.router.id, &p), 0);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(tenant_of(g, &tenant.id).connected_routers, 0);
}

static void closing_takes_the_last_counters_over(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct actual_peer peer = peer_of(&made.router);
    struct problem problem;
    /* closing counts what its second connection to the data plane sees: let the keeper open it first */
    assert_int_equal(service_reconcile(g->service, &problem), 0);
    peer.bytes_received = 77;
    fake_plane_put(&peer);
    gateway_restart(g);
    assert_int_equal(router_of(g, &made.router.id).bytes_received, 77);
}

static void a_data_plane_that_is_away_loses_nothing(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct actual_peer peer = peer_of(&made.router);
    peer.bytes_received = 50;
    fake_plane_put(&peer);
    fake_plane_fail(FAKE_EACH_PEER, 0, 1, -EIO);
    assert_int_equal(keeper_flush_usage(g->service, false), -EIO);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(router_of(g, &made.router.id).bytes_received, 50);
}

static void many_sessions_are_flushed_in_batches(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    enum { COUNT = 700 };
    struct router_made *made = calloc(COUNT, sizeof *made);
    for (int i = 0; i < COUNT; i++) {
        made[i] = make_router(g, &tenant, "r", NULL);
        struct actual_peer peer = peer_of(&made[i].router);
        peer.bytes_received = 10;
        peer.last_handshake_at_us = clock_wall_us();
        fake_plane_put(&peer);
    }
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(tenant_of(g, &tenant.id).bytes_received, 10 * COUNT);
    assert_int_equal(tenant_of(g, &tenant.id).connected_routers, COUNT);
    free(made);
}

/* What the row itself says, without what memory knows. */
static int64_t written(struct gateway *g, const char *column) {
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT %s FROM vpn_configurations LIMIT 1", column);
    return gateway_number(g, sql);
}

static void keepalives_and_rekeys_are_not_written_one_by_one(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    int64_t now = clock_wall_us();
    session(g, &made.router, 100, 100, now - 10 * USEC_PER_SEC);
    assert_int_equal(written(g, "bytes_received"), 100);
    int64_t before = gateway_writes(g);
    session(g, &made.router, 132, 132, now);
    assert_int_equal(gateway_writes(g), before);
    /* and yet everybody is told */
    struct router router = router_of(g, &made.router.id);
    assert_int_equal(router.bytes_received, 132);
    assert_int_equal(router.last_handshake_at, now);
    assert_int_equal(tenant_of(g, &tenant.id).bytes_received, 132);
    gateway_restart(g); /* told to stop: all is written */
    assert_int_equal(written(g, "bytes_received"), 132);
    assert_int_equal(gateway_number(g, "SELECT bytes_received FROM tenant_vpn_tunnels"), 132);
}

static void much_is_written_sooner(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    int64_t now = clock_wall_us();
    session(g, &made.router, 100, 100, now);
    session(g, &made.router, UINT64_C(100) << 20, 100, now);
    assert_int_equal(written(g, "bytes_received"), 100); /* not twice within a minute */
    struct usage *usage = g->service->usage;
    pthread_mutex_lock(&usage->mutex);
    live_get(&usage->lives, &made.router.public_key)->written_s -= 60;
    pthread_mutex_unlock(&usage->mutex);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(written(g, "bytes_received"), 100 << 20);
}

static void what_rested_long_enough_has_its_turn(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct usage *usage = g->service->usage;
    int64_t now = clock_wall_us();
    session(g, &made.router, 100, 100, now);
    session(g, &made.router, 200, 200, now);
    pthread_mutex_lock(&usage->mutex);
    live_get(&usage->lives, &made.router.public_key)->written_s -= 600;
    usage->allowance = 0; /* others had their turns */
    pthread_mutex_unlock(&usage->mutex);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(written(g, "bytes_received"), 100);
    usage->allowance = 1;
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(written(g, "bytes_received"), 200);
}

static void an_endpoint_that_moves_is_written(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    session(g, &made.router, 100, 100, clock_wall_us());
    struct actual_peer peer = peer_of(&made.router);
    assert_int_equal(endpoint_parse("192.0.2.8:5000", &peer.is.endpoint), 0);
    fake_plane_put(&peer);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(gateway_number(g, "SELECT endpoint = '192.0.2.8:5000' FROM vpn_configurations"), 1);
}

static void urgent_and_at_its_turn_a_row_is_told_once(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct usage *usage = g->service->usage;
    session(g, &made.router, 100, 100, clock_wall_us());
    struct actual_peer peer = peer_of(&made.router);
    peer.bytes_received = UINT64_C(100) << 20; /* heavy */
    peer.bytes_sent = 300;
    assert_int_equal(endpoint_parse("192.0.2.8:5000", &peer.is.endpoint), 0); /* urgent */
    fake_plane_put(&peer);
    pthread_mutex_lock(&usage->mutex);
    live_get(&usage->lives, &made.router.public_key)->written_s -= 600; /* its turn */
    usage->allowance = 1;
    pthread_mutex_unlock(&usage->mutex);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(written(g, "bytes_received"), 100 << 20);
    assert_int_equal(written(g, "bytes_sent"), 300);
    assert_int_equal(gateway_number(g, "SELECT bytes_sent FROM tenant_vpn_tunnels"), 300);
    assert_int_equal(router_of(g, &made.router.id).bytes_sent, 300);
}

static void a_session_belongs_to_the_greatest_timestamp(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    int64_t now = clock_wall_us();
    session(g, &made.router, 1, 1, now - 5 * USEC_PER_SEC);
    struct router router = router_of(g, &made.router.id);
    assert_true(router.connected);
    assert_string_equal(router.gateway, g->service->identity.name);
    /* Another gateway has it since, and we hear of it; its clock is an hour behind. */
    (void)gateway_number(
        g, gateway_is_file(g)
               ? "UPDATE vpn_configurations SET gateway_id = 999, handshake_stamp = x'000000000000000000ffffff'"
               : "UPDATE vpn_configurations SET gateway_id = 999, "
                 "handshake_stamp = decode('000000000000000000ffffff', 'hex')");
    usage_moved(g->service->usage, &made.router.public_key);
    session(g, &made.router, 2, 2, now - 5 * USEC_PER_SEC);
    assert_int_equal(written(g, "gateway_id"), 999);
    /* A handshake here that is older by the router's own clock, though newer by ours: it is there all the same. */
    session(g, &made.router, 3, 3, now - 1 * USEC_PER_SEC);
    assert_int_equal(written(g, "gateway_id"), 999);
    assert_int_equal(usage_connected(g->service->usage), 0);
    struct actual_peer peer = peer_of(&made.router);
    memset(peer.is.timestamp + 8, 0xff, 4);
    peer.is.timestamp[7] = 1; /* and now it came back */
    peer.last_handshake_at_us = now;
    fake_plane_put(&peer);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(written(g, "gateway_id"), g->service->identity.id);
    assert_int_equal(tenant_of(g, &tenant.id).connected_routers, 1);
}

static void bytes_of_the_old_key_and_the_new_one_add_up(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL), next = make_router(g, &tenant, "n", NULL), rotated;
    struct router_spec spec = {0};
    struct problem p;
    int64_t now = clock_wall_us();
    session(g, &made.router, 100, 100, now);
    session(g, &next.router, 7, 7, now);
    struct actual_peer peer = peer_of(&made.router);
    peer.bytes_received = 150;
    fake_plane_put(&peer);
    assert_int_equal(keeper_flush_usage(g->service, false), 0); /* 50 are in memory only */
    assert_int_equal(service_router_rotate(g->service, &gateway_admin, &made.router.id, &spec, &rotated, &p), 0);
    session(g, &rotated.router, 30, 30, now + 1); /* both keys' are due now, and the same row's */
    assert_int_equal(keeper_flush_usage(g->service, true), 0);
    assert_int_equal(router_of(g, &made.router.id).bytes_received, 180);
    assert_int_equal(gateway_number(g, "SELECT bytes_received FROM vpn_configurations ORDER BY id LIMIT 1"), 180);
    assert_int_equal(tenant_of(g, &tenant.id).bytes_received, 187);
    gateway_restart(g);
    assert_int_equal(router_of(g, &made.router.id).bytes_received, 180);
}

static void bytes_of_a_deleted_router_stay_with_its_tenant(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct problem p;
    int64_t now = clock_wall_us();
    session(g, &made.router, 100, 100, now);
    session(g, &made.router, 150, 150, now);
    assert_int_equal(service_router_delete(g->service, &gateway_admin, &made.router.id, &p), 0);
    assert_int_equal(tenant_of(g, &tenant.id).bytes_received, 150);
    assert_int_equal(keeper_flush_usage(g->service, false), 0);
    assert_int_equal(gateway_number(g, "SELECT bytes_received FROM tenant_vpn_tunnels"), 150);
    assert_int_equal(tenant_of(g, &tenant.id).bytes_received, 150);
}

int main(void) {
#define WITH_GATEWAY(test) cmocka_unit_test_setup_teardown(test, gateway_setup, gateway_teardown)
    const struct CMUnitTest tests[] = {
        WITH_GATEWAY(a_first_handshake_makes_a_router_active),
        WITH_GATEWAY(what_did_not_change_is_not_written),
        WITH_GATEWAY(counters_survive_restarts_of_either_side),
        WITH_GATEWAY(disabling_counts_anew_from_zero),
        WITH_GATEWAY(a_peer_taken_out_while_it_is_counted_is_not_counted_twice),
        WITH_GATEWAY(a_peer_added_again_keeps_its_greatest_timestamp),
        WITH_GATEWAY(connected_ends_three_minutes_after_the_handshake),
        WITH_GATEWAY(closing_takes_the_last_counters_over),
        WITH_GATEWAY(a_data_plane_that_is_away_loses_nothing),
        WITH_GATEWAY(many_sessions_are_flushed_in_batches),
        WITH_GATEWAY(keepalives_and_rekeys_are_not_written_one_by_one),
        WITH_GATEWAY(much_is_written_sooner),
        WITH_GATEWAY(what_rested_long_enough_has_its_turn),
        WITH_GATEWAY(an_endpoint_that_moves_is_written),
        WITH_GATEWAY(urgent_and_at_its_turn_a_row_is_told_once),
        WITH_GATEWAY(a_session_belongs_to_the_greatest_timestamp),
        WITH_GATEWAY(bytes_of_the_old_key_and_the_new_one_add_up),
        WITH_GATEWAY(bytes_of_a_deleted_router_stay_with_its_tenant),
    };
    return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
