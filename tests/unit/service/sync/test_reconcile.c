/* Reconciliation: whatever happens to the data plane, and whenever it fails, in the end it holds what the store says.
 */
#include "gateway.h"

#include <errno.h>
#include <unistd.h>

static struct service_status status_of(struct gateway *g) {
    struct service_status status;
    service_status(g->service, &status);
    return status;
}

static void populate(struct gateway *g, int tenants, int routers) {
    for (int i = 0; i < tenants; i++) {
        struct tenant tenant = make_tenant(g, "t", i % 2 ? ADDRESSING_PRIVATE : ADDRESSING_UNIQUE, NULL);
        for (int j = 0; j < routers; j++) {
            struct problem p;
            struct router_made made;
            struct prefix lan = {.addr = ip_from_v4(0xac100000u + (uint32_t)(i * routers + j) * 256), .length = 24};
            struct router_spec spec = {.tenant_id = tenant.id,
                                       .name = "r",
                                       .lans = &lan,
                                       .lan_count = (size_t)(j % 2),
                                       .generate_preshared_key = j % 3 == 0};
            assert_int_equal(service_router_create(g->service, &gateway_admin, &spec, &made, &p), 0);
        }
    }
}

static void a_healthy_data_plane_is_not_touched(void **state) {
    struct gateway *g = *state;
    populate(g, 6, 5);
    gateway_reconcile(g);
    uint64_t changes = fake_plane_changes(), mended = status_of(g).mended;
    gateway_reconcile(g);
    assert_int_equal(fake_plane_changes(), changes);
    assert_int_equal(status_of(g).mended, mended);
    assert_true(status_of(g).in_sync);
    assert_true(status_of(g).reconciled_at > 0);
}

static uint32_t dice_state;

static uint32_t dice(uint32_t below) {
    dice_state = dice_state * 1664525 + 1013904223;
    return (dice_state >> 8) % below;
}

struct damage {
    struct actual_peer bent[400];
    size_t count;
};

/* Copies of peers, each wrong in one way. */
static void bend(void *context, struct actual_peer *peer) {
    struct damage *damage = context;
    struct actual_peer *bent = &damage->bent[damage->count++];
    *bent = *peer;
    switch (damage->count % 8) {
    case 0:
        bent->is.preshared_key.bytes[0] ^= 1;
        break;
    case 1:
        bent->is.tenant.bytes[0] ^= 1;
        break;
    case 2:
        bent->is.hub_address.bytes[3] ^= 1;
        break;
    case 3:
        bent->is.address.bytes[3] ^= 1;
        break;
    case 4:
        bent->is.address6.bytes[15] ^= 1;
        break;
    case 5:
        bent->is.lans[bent->is.lan_count++] = (struct prefix){.addr = ip_from_v4(0xc0000200), .length = 24};
        break;
    case 6:
        bent->foreign_allowed_ips = true;
        break;
    default:
        bent->is.public_key.bytes[0] ^= 1; /* a foreign peer */
    }
}

static void every_kind_of_damage_is_mended_and_nothing_else(void **state) {
    struct gateway *g = *state;
    populate(g, 8, 4);
    gateway_reconcile(g);
    uint64_t mended = status_of(g).mended, changes = fake_plane_changes();
    struct damage damage = {0};
    fake_plane_each(bend, &damage);
    assert_int_equal(damage.count, 32);
    for (size_t i = 0; i < damage.count; i += 3) { /* each of the eight kinds */
        fake_plane_put(&damage.bent[i]);
    }
    struct actual_tenant wrong;
    assert_true(fake_plane_tenant(&damage.bent[1].is.tenant, &wrong));
    wrong.is.egress = !wrong.is.egress;
    fake_plane_put_tenant(&wrong);
    wrong.is.id.bytes[0] ^= 1; /* a foreign tenant */
    fake_plane_put_tenant(&wrong);
    fake_plane_drop(&damage.bent[1].is.public_key);
    gateway_reconcile(g);
    assert_in_force(g);
    /* 11 bent peers, one dropped, two tenants, and no more */
    assert_int_equal(status_of(g).mended - mended, 14);
    assert_int_equal(fake_plane_changes() - changes, 14);
}

static void a_restarted_data_plane_is_filled_again(void **state) {
    struct gateway *g = *state;
    populate(g, 10, 10);
    fake_plane_restart();
    assert_int_equal(fake_plane_peers(), 0);
    gateway_reconcile(g);
    assert_int_equal(fake_plane_peers(), 100);
    assert_in_force(g);
}

static void what_is_filled_in_was_changed_by_nobody(void **state) {
    struct gateway *g = *state;
    struct problem p;
    populate(g, 3, 3);
    gateway_reconcile(g);
    assert_int_equal(status_of(g).mended, 0); /* made here, from the start */
    gateway_restart(g);
    gateway_reconcile(g);
    assert_int_equal(status_of(g).mended, 0); /* found as it was left */
    fake_plane_restart();
    gateway_reconcile(g);
    assert_int_equal(status_of(g).mended, 0);
    assert_int_equal(status_of(g).renewed, 1);
    /* half filled, then interrupted: the rest was changed by nobody either */
    fake_plane_restart();
    fake_plane_fail(FAKE_APPLY, 1, 1, -ENOMEM);
    (void)service_reconcile(g->service, &p);
    gateway_reconcile(g);
    assert_in_force(g);
    assert_int_equal(status_of(g).mended, 0);
    /* a start on a data plane that lost everything */
    fake_plane_restart();
    gateway_restart(g);
    gateway_reconcile(g);
    assert_in_force(g);
    assert_int_equal(status_of(g).mended, 0);
}

static void what_was_taken_out_by_hand_was_changed(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    gateway_reconcile(g);
    fake_plane_drop(&made.router.public_key);
    gateway_reconcile(g);
    assert_int_equal(status_of(g).mended, 1);
    /* and so it was if nobody watched */
    gateway_restart(g);
    gateway_reconcile(g);
    assert_int_equal(status_of(g).mended, 0);
    service_close(g->service);
    fake_plane_drop(&made.router.public_key);
    struct problem p = {0};
    assert_int_equal(service_open(&g->config, &g->service, &p), 0);
    gateway_reconcile(g);
    assert_int_equal(status_of(g).mended, 1);
}

static void a_restart_is_noticed_without_being_told(void **state) {
    struct gateway *g = *state;
    populate(g, 2, 2);
    gateway_reconcile(g);
    fake_plane_restart();
    for (int i = 0; i < 500 && fake_plane_peers() < 4; i++) {
        usleep(10000);
    }
    assert_int_equal(fake_plane_peers(), 4);
}

static void writes_while_it_is_away_are_answered_and_follow(void **state) {
    struct gateway *g = *state;
    struct problem p;
    populate(g, 2, 2);
    gateway_reconcile(g);
    fake_plane_stop();
    struct tenant tenant = make_tenant(g, "meanwhile", ADDRESSING_UNIQUE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL), gone = make_router(g, &tenant, "gone", NULL);
    assert_int_equal(service_router_delete(g->service, &gateway_admin, &gone.router.id, &p), 0);
    assert_false(status_of(g).in_sync);
    assert_true(status_of(g).trouble[0] != '\0');
    assert_true(service_reconcile(g->service, &p) < 0);
    assert_int_equal(p.kind, PROBLEM_UNAVAILABLE);
    fake_plane_heal();
    gateway_reconcile(g);
    struct actual_peer peer;
    assert_true(fake_plane_peer(&made.router.public_key, &peer));
    assert_true(status_of(g).in_sync);
    assert_string_equal(status_of(g).trouble, "");
    assert_in_force(g);
}

static void a_service_opens_without_its_data_plane(void **state) {
    struct gateway *g = *state;
    populate(g, 1, 1);
    service_close(g->service);
    g->service = NULL;
    fake_plane_stop();
    struct problem p;
    assert_int_equal(service_open(&g->config, &g->service, &p), 0);
    assert_false(status_of(g).backend.up);
    assert_false(status_of(g).in_sync);
    fake_plane_heal();
    gateway_reconcile(g);
    assert_in_force(g);
}

static void a_route_that_outlived_its_lan_goes(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct prefix lan = prefix_of("192.168.5.0/24");
    struct router_spec spec = {.tenant_id = tenant.id, .name = "r", .lans = &lan, .lan_count = 1};
    struct router_made made;
    struct problem p;
    assert_int_equal(service_router_create(g->service, &gateway_admin, &spec, &made, &p), 0);
    gateway_reconcile(g);
    fake_plane_fail(FAKE_SET_ROUTES, 0, 0, -EIO);
    assert_int_equal(service_router_delete(g->service, &gateway_admin, &made.router.id, &p), 0);
    assert_true(fake_plane_has_route(&lan));
    assert_false(status_of(g).in_sync);
    service_close(g->service); /* it is not forgotten with the process */
    g->service = NULL;
    fake_plane_heal();
    assert_int_equal(service_open(&g->config, &g->service, &p), 0);
    gateway_reconcile(g);
    assert_false(fake_plane_has_route(&lan));
}

static void a_peer_that_is_refused_does_not_hold_up_the_others(void **state) {
    struct gateway *g = *state;
    struct problem p;
    populate(g, 3, 5);
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct router_made made = make_router(g, &tenant, "refused", NULL);
    fake_plane_refuse(&made.router.public_key);
    fake_plane_restart();
    assert_true(service_reconcile(g->service, &p) < 0);
    assert_int_equal(fake_plane_peers(), 15);
    assert_false(status_of(g).in_sync);
    fake_plane_refuse(NULL);
    gateway_reconcile(g);
    assert_in_force(g);
}

/* One random write; it must be answered whatever the data plane does. */
static void random_write(struct gateway *g) {
    struct problem p = {0};
    struct tenant tenants[64];
    struct router routers[64], router;
    struct tenant_filter all_tenants = {0};
    struct router_filter all_routers = {0};
    size_t tenant_count = 0, router_count = 0;
    char next[64];
    assert_int_equal(
        service_tenant_list(g->service, &gateway_admin, &all_tenants, "", 64, tenants, &tenant_count, next, &p), 0);
    assert_int_equal(
        service_router_list(g->service, &gateway_admin, &all_routers, "", 64, routers, &router_count, next, &p), 0);
    const struct tenant *tenant = tenant_count ? &tenants[dice((uint32_t)tenant_count)] : NULL;
    const struct router *one = router_count ? &routers[dice((uint32_t)router_count)] : NULL;
    struct tenant changed;
    struct router_made made;
    struct router_spec spec = {.name = "r", .generate_preshared_key = dice(2) == 0};
    struct tenant_patch patch = {.has_egress = true, .egress = dice(2) == 0};
    struct prefix lan = {.addr = ip_from_v4(0xac100000u + dice(4096) * 256), .length = 24};
    struct router_patch lans = {.has_lans = true, .lans = &lan, .lan_count = dice(2)};
    int r = 0;
    switch (dice(14)) {
    case 0:
    case 1:
        make_tenant(g, "t", dice(2), NULL);
        break;
    case 2:
        r = tenant && dice(3) == 0 ? service_tenant_delete(g->service, &gateway_admin, &tenant->id, &p) : 0;
        break;
    case 3:
        r = tenant ? service_tenant_set_status(g->service, &gateway_admin, &tenant->id, dice(2), &changed, &p) : 0;
        break;
    case 4:
        r = tenant ? service_tenant_patch(g->service, &gateway_admin, &tenant->id, &patch, &changed, &p) : 0;
        break;
    case 5:
        r = one ? service_router_delete(g->service, &gateway_admin, &one->id, &p) : 0;
        break;
    case 6:
        r = one ? service_router_set_disabled(g->service, &gateway_admin, &one->id, dice(2), &router, &p) : 0;
        break;
    case 7:
        r = one ? service_router_rotate(g->service, &gateway_admin, &one->id, &spec, &made, &p) : 0;
        break;
    case 8:
    case 9:
        r = one ? service_router_patch(g->service, &gateway_admin, &one->id, &lans, &router, &p) : 0;
        break;
    default:
        if (tenant) {
            spec.tenant_id = tenant->id;
            spec.lans = &lan;
            spec.lan_count = dice(2);
            r = service_router_create(g->service, &gateway_admin, &spec, &made, &p);
        }
    }
    assert_true(r == 0 || p.kind == PROBLEM_CONFLICT); /* overlapping LANs happen */
}

static void random_fault(void) {
    static const int errors[] = {-ENOTCONN, -EIO, -ENOMEM, -ENOTCONN};
    switch (dice(8)) {
    case 0:
        fake_plane_restart();
        break;
    case 1:
        fake_plane_stop();
        break;
    case 2:
        fake_plane_fail_half(dice(2) == 0);
        break;
    case 3:
    case 4:
        fake_plane_heal();
        break;
    default:
        fake_plane_fail((enum fake_call)dice(FAKE_CALLS), dice(3), dice(3), errors[dice(4)]);
    }
}

static void after_any_writes_and_faults_it_ends_in_force(void **state) {
    struct gateway *g = *state;
    struct problem p;
    dice_state = 20;
    for (int round = 0; round < 25; round++) {
        for (int i = 0; i < 25; i++) {
            random_write(g);
            if (dice(6) == 0) {
                random_fault();
            }
            if (dice(20) == 0) {
                (void)service_reconcile(g->service, &p); /* may fail: faults are on */
            }
        }
        fake_plane_heal();
        gateway_reconcile(g);
        assert_in_force(g);
        if (dice(5) == 0) {
            gateway_restart(g);
        }
    }
}

struct meanwhile {
    struct gateway *gateway;
    struct tenant tenant, gone;
    struct router router;
};

/* While the store is about to be read: one comes, one goes, one is changed, and a tenant goes with all of his. */
static void write_meanwhile(void *context) {
    struct meanwhile *m = context;
    struct service *s = m->gateway->service;
    struct router_made rotated;
    struct router_spec spec = {0};
    struct problem p;
    (void)make_router(m->gateway, &m->tenant, "new", NULL);
    assert_int_equal(service_router_rotate(s, &gateway_admin, &m->router.id, &spec, &rotated, &p), 0);
    assert_int_equal(service_router_delete(s, &gateway_admin, &m->router.id, &p), 0);
    assert_int_equal(service_tenant_delete(s, &gateway_admin, &m->gone.id, &p), 0);
    (void)make_tenant(m->gateway, "new", ADDRESSING_UNIQUE, NULL);
}

static void what_the_api_writes_meanwhile_is_no_difference(void **state) {
    struct gateway *g = *state;
    struct meanwhile m = {.gateway = g,
                          .tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL),
                          .gone = make_tenant(g, "g", ADDRESSING_UNIQUE, NULL)};
    struct router_made damaged = make_router(g, &m.tenant, "damaged", NULL);
    m.router = make_router(g, &m.tenant, "r", NULL).router;
    (void)make_router(g, &m.gone, "of one that goes", NULL);
    gateway_reconcile(g);
    uint64_t mended = status_of(g).mended;
    fake_plane_after_each_peer(write_meanwhile, &m);
    gateway_reconcile(g);
    assert_int_equal(status_of(g).mended, mended);
    assert_in_force(g);
    m.gone = make_tenant(g, "g", ADDRESSING_UNIQUE, NULL);
    m.router = make_router(g, &m.tenant, "r", NULL).router;
    gateway_reconcile(g);
    fake_plane_drop(&damaged.router.public_key); /* and beside all that somebody did touch it */
    fake_plane_after_each_peer(write_meanwhile, &m);
    gateway_reconcile(g);
    assert_int_equal(status_of(g).mended, mended + 1);
    assert_in_force(g);
}

int main(void) {
#define WITH_GATEWAY(test) cmocka_unit_test_setup_teardown(test, gateway_setup, gateway_teardown)
    const struct CMUnitTest tests[] = {
        WITH_GATEWAY(a_healthy_data_plane_is_not_touched),
        WITH_GATEWAY(what_the_api_writes_meanwhile_is_no_difference),
        WITH_GATEWAY(every_kind_of_damage_is_mended_and_nothing_else),
        WITH_GATEWAY(a_restarted_data_plane_is_filled_again),
        WITH_GATEWAY(what_is_filled_in_was_changed_by_nobody),
        WITH_GATEWAY(what_was_taken_out_by_hand_was_changed),
        WITH_GATEWAY(a_restart_is_noticed_without_being_told),
        WITH_GATEWAY(writes_while_it_is_away_are_answered_and_follow),
        WITH_GATEWAY(a_service_opens_without_its_data_plane),
        WITH_GATEWAY(a_route_that_outlived_its_lan_goes),
        WITH_GATEWAY(a_peer_that_is_refused_does_not_hold_up_the_others),
        WITH_GATEWAY(after_any_writes_and_faults_it_ends_in_force),
    };
    return cmocka_run_group_tests_name("reconcile", tests, NULL, NULL);
}
