/* Other gateways' changes: the feed is played to a service whose data plane was not told, as if somebody else had made
 * what it says. */
#include "gateway.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "service/keeper.h"
#include "service/noun/noun.h"

#define ELSEWHERE "UPDATE vpn_changes SET gateway_id = 999"

/* The keeper's own first comparison is over. It comes when its thread gets a turn, and mends what a test breaks. */
static int setup(void **state) {
    struct service_status status = {0};
    if (gateway_setup(state) < 0) {
        return -1;
    }
    for (int i = 0; i < 1000 && !status.reconciled_at; i++) {
        (void)usleep(10000);
        service_status(((struct gateway *)*state)->service, &status);
    }
    return status.reconciled_at ? 0 : -1;
}

/* The service follows from here on, as where the database is shared. */
static void share_with_grace(struct gateway *g, unsigned grace_s) {
    static const struct change_mark unknown;
    struct service *s = g->service;
    const struct follow_config config = {
        .desired = &s->desired,
        .identity = &s->identity,
        .reach = s->reach,
        .ledger = s->ledger,
        .bell = &s->bell,
        .routes = s->routes,
        .grace_s = grace_s,
        .shared = true,
    };
    follow_configure(s->follow, &config);
    follow_start(s->follow, ledger_revision(s->ledger), &unknown);
    reach_heard(s->reach);
}

static void share(struct gateway *g) {
    share_with_grace(g, 0);
}

static uint64_t applied(struct gateway *g) {
    return follow_applied(g->service->follow);
}

/* As if the data plane held what the store said at this revision. */
static void set_back(struct gateway *g, uint64_t revision) {
    static const struct change_mark unknown;
    follow_start(g->service->follow, revision, &unknown);
}

/* What was done since `revision` was done elsewhere, and nobody here knows. */
static void forget(struct gateway *g, uint64_t revision) {
    (void)gateway_number(g, ELSEWHERE);
    set_back(g, revision);
}

static struct change_mark mark_of(struct gateway *g, uint64_t revision) {
    struct store *store = g->service->store;
    struct store_conn *conn;
    struct change_mark mark = {0};
    struct problem p;
    assert_int_equal(store_reader_take(store, &conn, &p), 0);
    assert_int_equal(changes_mark(conn, revision, &mark), 0);
    store_reader_put(store, conn);
    return mark;
}

static bool in_sync(struct gateway *g) {
    struct service_status status;
    service_status(g->service, &status);
    return status.in_sync;
}

static bool has(const struct router *router) {
    struct actual_peer peer;
    return fake_plane_peer(&router->public_key, &peer);
}

static void what_was_added_elsewhere_is_added(void **state) {
    struct gateway *g = *state;
    share(g);
    uint64_t before = applied(g);
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct router_made one = make_router(g, &tenant, "1", NULL), two = make_router(g, &tenant, "2", NULL);
    assert_int_equal(applied(g), before + 3);
    forget(g, before);
    fake_plane_drop(&one.router.public_key);
    fake_plane_drop(&two.router.public_key);
    fake_plane_drop_tenant(&tenant.id);
    assert_int_equal(follow_once(g->service->follow), 0);
    assert_int_equal(applied(g), before + 3);
    assert_true(has(&one.router) && has(&two.router));
    assert_in_force(g);
    assert_true(in_sync(g));
}

static void what_others_wrote_is_no_difference_before_it_is_followed(void **state) {
    struct gateway *g = *state;
    struct service_status status;
    share(g);
    uint64_t before = applied(g);
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct router_made one = make_router(g, &tenant, "1", NULL);
    forget(g, before);
    fake_plane_drop(&one.router.public_key);
    gateway_reconcile(g);
    service_status(g->service, &status);
    assert_true(has(&one.router));
    assert_int_equal(status.mended, 0);
    assert_int_equal(follow_once(g->service->follow), 0);
    fake_plane_drop(&one.router.public_key); /* and now it is one */
    gateway_reconcile(g);
    service_status(g->service, &status);
    assert_int_equal(status.mended, 1);
}

static void what_was_revoked_elsewhere_is_taken_out(void **state) {
    struct gateway *g = *state;
    struct problem p;
    share(g);
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made deleted = make_router(g, &tenant, "1", NULL), disabled = make_router(g, &tenant, "2", NULL),
                       rotated = make_router(g, &tenant, "3", NULL), made;
    struct actual_peer peers[3];
    struct router router;
    struct router_spec spec = {0};
    assert_true(fake_plane_peer(&deleted.router.public_key, &peers[0]));
    assert_true(fake_plane_peer(&disabled.router.public_key, &peers[1]));
    assert_true(fake_plane_peer(&rotated.router.public_key, &peers[2]));
    uint64_t before = applied(g);
    assert_int_equal(service_router_delete(g->service, &gateway_admin, &deleted.router.id, &p), 0);
    assert_int_equal(service_router_set_disabled(g->service, &gateway_admin, &disabled.router.id, true, &router, &p),
                     0);
    assert_int_equal(service_router_rotate(g->service, &gateway_admin, &rotated.router.id, &spec, &made, &p), 0);
    forget(g, before);
    for (unsigned i = 0; i < 3; i++) {
        fake_plane_put(&peers[i]);
    }
    fake_plane_drop(&made.router.public_key);
    assert_int_equal(follow_once(g->service->follow), 0);
    assert_false(has(&deleted.router) || has(&disabled.router) || has(&rotated.router));
    assert_true(has(&made.router));
    assert_in_force(g);
}

static void an_old_change_does_not_bring_back_what_is_gone(void **state) {
    struct gateway *g = *state;
    struct problem p;
    share(g);
    uint64_t before = applied(g);
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "1", NULL);
    assert_int_equal(service_tenant_delete(g->service, &gateway_admin, &tenant.id, &p), 0);
    forget(g, before);
    assert_int_equal(follow_once(g->service->follow), 0);
    assert_false(has(&made.router));
    assert_in_force(g);
}

static void a_tenant_that_comes_back_brings_its_routers(void **state) {
    struct gateway *g = *state;
    struct problem p;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "1", NULL);
    assert_int_equal(service_tenant_set_status(g->service, &gateway_admin, &tenant.id, TENANT_DISABLED, &tenant, &p),
                     0);
    share(g);
    uint64_t before = applied(g);
    assert_int_equal(service_tenant_set_status(g->service, &gateway_admin, &tenant.id, TENANT_ACTIVE, &tenant, &p), 0);
    forget(g, before);
    fake_plane_drop(&made.router.public_key);
    fake_plane_drop_tenant(&tenant.id);
    assert_int_equal(follow_once(g->service->follow), 0);
    assert_true(has(&made.router));
}

static void our_own_changes_are_left_to_their_writers(void **state) {
    struct gateway *g = *state;
    struct service *s = g->service;
    share(g);
    uint64_t before = applied(g);
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    uint64_t changes = fake_plane_changes();
    set_back(g, before);
    ledger_expect(s->ledger); /* its writer is still to come */
    assert_int_equal(follow_once(s->follow), 0);
    assert_int_equal(applied(g), before);
    assert_int_equal(fake_plane_changes(), changes);
    ledger_redeem(s->ledger);
    fake_plane_drop_tenant(&tenant.id);
    /* Nobody stands for it: it was committed, but its writer heard of a failure. */
    assert_int_equal(follow_once(s->follow), 0);
    assert_int_equal(applied(g), before + 1);
    struct actual_tenant is;
    assert_true(fake_plane_tenant(&tenant.id, &is));
}

static void a_writer_catches_up_before_it_applies_its_own(void **state) {
    struct gateway *g = *state;
    share(g);
    uint64_t before = applied(g);
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    forget(g, before);
    fake_plane_drop_tenant(&tenant.id); /* made elsewhere a moment ago: our data plane does not know it */
    struct router_made made = make_router(g, &tenant, "1", NULL);
    struct actual_tenant is;
    assert_true(fake_plane_tenant(&tenant.id, &is));
    assert_true(has(&made.router));
    assert_int_equal(applied(g), before + 2);
}

static void where_the_feed_was_compacted_everything_is_compared(void **state) {
    struct gateway *g = *state;
    share(g);
    uint64_t before = applied(g);
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "1", NULL);
    forget(g, before);
    fake_plane_drop(&made.router.public_key);
    (void)gateway_number(g, "DELETE FROM vpn_changes WHERE kind = 'tenant.created'");
    uint64_t compared = fake_plane_calls(FAKE_EACH_TENANT);
    assert_int_equal(follow_once(g->service->follow), 0);
    assert_int_equal(applied(g), before + 2);
    for (int i = 0; i < 500 && !has(&made.router); i++) {
        (void)usleep(10000); /* the keeper was called */
    }
    assert_true(has(&made.router));
    assert_true(fake_plane_calls(FAKE_EACH_TENANT) > compared);
}

static void a_database_that_went_back_is_followed_back(void **state) {
    struct gateway *g = *state;
    share(g);
    uint64_t before = applied(g);
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "1", NULL);
    assert_true(has(&made.router));
    (void)gateway_number(g, "DELETE FROM vpn_changes WHERE kind = 'router.created'");
    (void)gateway_number(g, "DELETE FROM vpn_configurations");
    (void)gateway_number(g, "UPDATE vpn_revision SET value = value - 1");
    assert_int_equal(follow_once(g->service->follow), 0);
    assert_int_equal(applied(g), before + 1);
    for (int i = 0; i < 500 && has(&made.router); i++) {
        (void)usleep(10000);
    }
    assert_false(has(&made.router));
}

/* It went back and on again: numbers that were applied are other changes now. */
static void a_history_that_is_another_one_is_noticed(void **state) {
    struct gateway *g = *state;
    for (int writes = 0; writes < 3; writes++) { /* after as many changes of the new history */
        struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
        gateway_reconcile(g);
        share(g);
        struct router_made made = make_router(g, &tenant, "1", NULL);
        assert_int_equal(follow_once(g->service->follow), 0);
        assert_true(has(&made.router) && in_sync(g));
        const struct change_mark mark = mark_of(g, applied(g));
        (void)gateway_number(g, "DELETE FROM vpn_configurations");
        (void)gateway_number(g, "UPDATE vpn_changes SET kind = 'tenant.updated', router_id = NULL "
                                "WHERE revision = (SELECT value FROM vpn_revision)");
        follow_start(g->service->follow, mark.revision, &mark); /* as if a connection had been opened */
        for (int i = 0; i < writes; i++) {
            make_tenant(g, "later", ADDRESSING_PRIVATE, NULL);
        }
        if (writes == 0) {
            assert_int_equal(follow_once(g->service->follow), 0);
        }
        for (int i = 0; i < 500 && has(&made.router); i++) {
            (void)usleep(10000);
        }
        assert_false(has(&made.router));
    }
}

static void a_data_plane_that_fails_meanwhile_is_compared(void **state) {
    struct gateway *g = *state;
    share(g);
    uint64_t before = applied(g);
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "1", NULL);
    forget(g, before);
    fake_plane_drop(&made.router.public_key);
    fake_plane_fail(FAKE_APPLY, 0, 1, -EIO);
    assert_int_equal(follow_once(g->service->follow), 0);
    assert_int_equal(applied(g), before + 2); /* the order is kept; the comparison sees to the rest */
    for (int i = 0; i < 500 && !has(&made.router); i++) {
        (void)usleep(10000);
    }
    assert_true(has(&made.router));
}

static void cut_off_only_those_with_a_session_stay(void **state) {
    struct gateway *g = *state;
    struct service *s = g->service;
    struct problem p;
    share(g);
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made with = make_router(g, &tenant, "1", NULL), without = make_router(g, &tenant, "2", NULL),
                       ended = make_router(g, &tenant, "3", NULL);
    assert_int_equal(service_reconcile(s, &p), 0);
    const struct router_made *seen[] = {&with, &ended};
    for (unsigned i = 0; i < 2; i++) {
        struct actual_peer peer;
        assert_true(fake_plane_peer(&seen[i]->router.public_key, &peer));
        peer.last_handshake_at_us = clock_wall_us() - (i ? 2 * CONNECTED_US : 0);
        peer.bytes_received = 1000;
        fake_plane_put(&peer);
    }
    assert_int_equal(keeper_flush_usage(s, false), 0);
    follow_guard(s->follow);
    assert_true(has(&without.router)); /* within the time of grace */
    share_with_grace(g, 1);
    (void)usleep(1100000); /* and nobody has heard from the database */
    follow_guard(s->follow);
    assert_true(has(&with.router));
    assert_false(has(&without.router) || has(&ended.router));
    struct service_status status;
    service_status(s, &status);
    assert_true(status.severed && status.warning[0]);
    assert_int_equal(follow_once(s->follow), 0); /* it answers again: the keeper compares */
    for (int i = 0; i < 500 && status.severed; i++) {
        (void)usleep(10000);
        service_status(s, &status);
    }
    assert_false(status.severed);
    assert_true(has(&with.router) && has(&without.router) && has(&ended.router));
    /* its counter is zero again, and nothing was lost or doubled */
    struct actual_peer peer;
    assert_true(fake_plane_peer(&ended.router.public_key, &peer));
    peer.bytes_received = 10;
    fake_plane_put(&peer);
    assert_int_equal(keeper_flush_usage(s, false), 0);
    struct router router;
    assert_int_equal(service_router_get(s, &gateway_admin, &ended.router.id, &router, &p), 0);
    assert_int_equal(router.bytes_received, 1010);
}

int main(void) {
#define WITH_GATEWAY(test) cmocka_unit_test_setup_teardown(test, setup, gateway_teardown)
    const struct CMUnitTest tests[] = {
        WITH_GATEWAY(what_was_added_elsewhere_is_added),
        WITH_GATEWAY(what_others_wrote_is_no_difference_before_it_is_followed),
        WITH_GATEWAY(what_was_revoked_elsewhere_is_taken_out),
        WITH_GATEWAY(an_old_change_does_not_bring_back_what_is_gone),
        WITH_GATEWAY(a_tenant_that_comes_back_brings_its_routers),
        WITH_GATEWAY(our_own_changes_are_left_to_their_writers),
        WITH_GATEWAY(a_writer_catches_up_before_it_applies_its_own),
        WITH_GATEWAY(where_the_feed_was_compacted_everything_is_compared),
        WITH_GATEWAY(a_database_that_went_back_is_followed_back),
        WITH_GATEWAY(a_history_that_is_another_one_is_noticed),
        WITH_GATEWAY(a_data_plane_that_fails_meanwhile_is_compared),
        WITH_GATEWAY(cut_off_only_those_with_a_session_stay),
    };
    return cmocka_run_group_tests_name("follow", tests, NULL, NULL);
}
