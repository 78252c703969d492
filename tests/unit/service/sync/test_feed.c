/* The follower on a recorded feed, with only what is below it: a database, usage, and a data plane in memory. */
#include "scratch.h"

#include <errno.h>
#include <sodium.h>

#include "base/clock.h"
#include "fake_plane.h"
#include "service/plane/plane.h"
#include "service/record/secrets.h"
#include "service/sync/follow.h"
#include "service/sync/force.h"
#include "service/sync/routes.h"
#include "service/usage/usage.h"
#include "store/noun/sessions.h"

#define OURS 1
#define THEIRS 2

struct world {
    struct scratch *scratch;
    struct secrets secrets;
    struct backend_config config;
    struct plane *plane;
    struct usage *usage;
    struct desired desired;
    struct routes *routes;
    struct follow *follow;
    struct force force;
};

static int setup(void **state) {
    static const struct change_mark none;
    struct world *w = calloc(1, sizeof *w);
    struct problem p;
    void *scratch = NULL;
    if (scratch_setup(&scratch) < 0) {
        return -1;
    }
    struct scratch *s = w->scratch = scratch;
    const struct key private_key = {{1}};
    fake_plane_reset();
    w->config.interface_name = "wg0";
    assert_int_equal(secrets_open(&w->secrets, &private_key), 0);
    assert_int_equal(plane_open(&fake_plane_ops, &w->config, &s->bell, &w->plane), 0);
    scratch_queue(s, plane_queue(w->plane));
    const struct usage_config usage = {s->store, &s->identity, s->ledger, w->plane, 1};
    assert_int_equal(usage_open(&usage, &w->usage), 0);
    w->desired = (struct desired){s->store, &w->secrets, w->usage, w->plane};
    assert_int_equal(routes_open(s->store, w->plane, &s->bell, &w->routes), 0);
    const struct follow_config follow = {&w->desired, &s->identity, s->reach,      s->ledger,
                                         &s->bell,    w->routes,    .shared = true};
    assert_int_equal(follow_open(&follow, &w->follow), 0);
    follow_start(w->follow, 0, &none);
    w->force = (struct force){w->plane, s->ledger, w->follow};
    assert_int_equal(plane_revive(w->plane, &p), 0);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    void *scratch = w->scratch;
    assert_int_equal(ledger_writers(w->scratch->ledger), 0);
    follow_free(w->follow);
    routes_free(w->routes);
    usage_close(w->usage);
    plane_free(w->plane);
    secrets_close(&w->secrets);
    fake_plane_free();
    free(w);
    return scratch_teardown(&scratch);
}

static bool has(const struct router_row *row) {
    struct actual_peer peer;
    return fake_plane_peer(&row->router.public_key, &peer);
}

/* A commit of our own whose receipt is still to be redeemed. */
static void write_own(struct world *w, struct receipt *ret_receipt) {
    static const struct uuid somebody = {{7}};
    struct write write;
    struct problem p = {0};
    assert_int_equal(write_begin(w->scratch->ledger, "test", &write, &p), 0);
    assert_int_equal(write_note(&write, "tenant.updated", &somebody, NULL, NULL), 0);
    assert_int_equal(write_commit(&write, ret_receipt, &p), 0);
}

static void what_others_made_and_took_comes_into_force_in_order(void **state) {
    struct world *w = *state;
    struct tenant_row tenant = scratch_tenant(w->scratch, THEIRS);
    struct router_row one = scratch_router(w->scratch, &tenant, THEIRS),
                      two = scratch_router(w->scratch, &tenant, THEIRS);
    assert_int_equal(follow_once(w->follow), 0);
    assert_true(has(&one) && has(&two));
    assert_int_equal(follow_applied(w->follow), 3);
    assert_int_equal(ledger_counts(w->scratch->ledger).routers, 2);
    scratch_delete(w->scratch, &one, THEIRS);
    assert_int_equal(follow_once(w->follow), 0);
    assert_false(has(&one));
    assert_true(has(&two));
    assert_true(routes_is_due(w->routes)); /* nobody says which LANs it had */
    assert_int_equal(ledger_counts(w->scratch->ledger).routers, 1);
    uint64_t changes = fake_plane_changes();
    assert_int_equal(follow_once(w->follow), 0);
    assert_int_equal(fake_plane_changes(), changes); /* all is said */
}

static void a_receipt_brings_what_was_committed_before_it(void **state) {
    struct world *w = *state;
    struct receipt receipt;
    struct tenant_row tenant = scratch_tenant(w->scratch, THEIRS);
    struct router_row theirs = scratch_router(w->scratch, &tenant, THEIRS);
    write_own(w, &receipt);
    force_begin(&w->force, &receipt);
    assert_true(has(&theirs));
    assert_int_equal(follow_applied(w->follow), receipt.last);
    assert_int_equal(ledger_writers(w->scratch->ledger), 0);
    force_end(&w->force);
}

static void the_feed_goes_on_behind_a_receipt(void **state) {
    struct world *w = *state;
    struct receipt receipt;
    struct tenant_row tenant = scratch_tenant(w->scratch, THEIRS);
    write_own(w, &receipt);
    force_begin(&w->force, &receipt);
    force_end(&w->force);
    struct router_row later = scratch_router(w->scratch, &tenant, THEIRS);
    assert_int_equal(follow_once(w->follow), 0);
    assert_true(has(&later));
}

static void a_feed_with_a_gap_is_not_followed_but_compared(void **state) {
    struct world *w = *state;
    struct tenant_row tenant = scratch_tenant(w->scratch, THEIRS);
    struct router_row row = scratch_router(w->scratch, &tenant, THEIRS);
    (void)scratch_number(w->scratch, "DELETE FROM vpn_changes WHERE kind = 'tenant.created'");
    bell_answer(&w->scratch->bell);
    assert_int_equal(follow_once(w->follow), 0);
    assert_true(w->scratch->bell.due);
    assert_false(has(&row));
    assert_int_equal(follow_applied(w->follow), 2);
}

/* A session of this router at our data plane, and in the record. */
static void meet(struct world *w, const struct router_row *row) {
    struct actual_peer peer;
    assert_true(fake_plane_peer(&row->router.public_key, &peer));
    peer.bytes_received = 100;
    peer.last_handshake_at_us = clock_wall_us();
    peer.is.timestamp[11] = 1;
    fake_plane_put(&peer);
    assert_int_equal(usage_flush(w->usage, false, 1), 0);
    assert_int_equal(scratch_number(w->scratch, "SELECT gateway_id FROM vpn_configurations"), OURS);
}

/* They take us for dead. */
static void end_by_others(struct world *w, const struct router_row *row) {
    struct write write;
    struct problem p = {0};
    assert_int_equal(write_begin(w->scratch->ledger, "gateway", &write, &p), 0);
    assert_int_equal(sessions_end(write.conn, row->id, 0), 0);
    assert_int_equal(write_note(&write, "router.disconnected", &row->router.tenant_id, &row->router.id, NULL), 0);
    write.changes[0].gateway_id = THEIRS;
    assert_int_equal(write_commit_silent(&write, &p), 0);
    assert_int_equal(scratch_number(w->scratch, "SELECT COUNT(*) FROM vpn_configurations WHERE gateway_id = 1"), 0);
}

static void a_session_that_others_ended_comes_back_into_the_record(void **state) {
    struct world *w = *state;
    struct tenant_row tenant = scratch_tenant(w->scratch, THEIRS);
    struct router_row row = scratch_router(w->scratch, &tenant, THEIRS);
    assert_int_equal(follow_once(w->follow), 0);
    meet(w, &row);
    end_by_others(w, &row);
    assert_int_equal(follow_once(w->follow), 0);
    assert_int_equal(usage_flush(w->usage, false, 1), 0);
    assert_int_equal(scratch_number(w->scratch, "SELECT gateway_id FROM vpn_configurations"), OURS);
    assert_int_equal(scratch_number(w->scratch, "SELECT connected_peers FROM tenant_vpn_tunnels"), 1);
}

static void so_it_does_where_the_feed_could_not_be_followed(void **state) {
    struct world *w = *state;
    struct tenant_row tenant = scratch_tenant(w->scratch, THEIRS);
    struct router_row row = scratch_router(w->scratch, &tenant, THEIRS);
    assert_int_equal(follow_once(w->follow), 0);
    meet(w, &row);
    end_by_others(w, &row);
    (void)scratch_number(w->scratch, "DELETE FROM vpn_changes WHERE kind = 'router.disconnected'");
    assert_int_equal(follow_once(w->follow), 0);
    assert_int_equal(usage_flush(w->usage, false, 1), 0);
    assert_int_equal(scratch_number(w->scratch, "SELECT gateway_id FROM vpn_configurations"), OURS);
}

int main(void) {
#define WITH_FEED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FEED(what_others_made_and_took_comes_into_force_in_order),
        WITH_FEED(a_receipt_brings_what_was_committed_before_it),
        WITH_FEED(the_feed_goes_on_behind_a_receipt),
        WITH_FEED(a_feed_with_a_gap_is_not_followed_but_compared),
        WITH_FEED(a_session_that_others_ended_comes_back_into_the_record),
        WITH_FEED(so_it_does_where_the_feed_could_not_be_followed),
    };
    return cmocka_run_group_tests_name("feed", tests, NULL, NULL);
}
