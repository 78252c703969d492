/* A gateway among others: who may come, who is alive, who speaks for whom, and whose sessions end. */
#include "scratch.h"

#include <errno.h>

#include "base/clock.h"
#include "service/fleet/fleet.h"
#include "store/noun/sessions.h"

static const struct presence PRESENCE = {.connected = 3, .revision = 7, .backend = "engine"};

#define SECOND UINT64_C(1000000000)

static struct fleet *open_fleet(struct scratch *s, const char *name, uint8_t installation) {
    struct fleet_config config = {.store = s->store, .ledger = s->ledger, .identity = &s->identity};
    struct fleet *fleet = NULL;
    snprintf(config.self.name, sizeof config.self.name, "%s", name);
    config.self.identity = (struct uuid){{installation}};
    assert_int_equal(fleet_open(&config, &fleet), 0);
    return fleet;
}

static int enter(struct scratch *s, struct fleet *fleet, bool *ret_alone, struct problem *p) {
    struct write w;
    assert_int_equal(write_begin_early(s->ledger, "test", &w, p), 0);
    int r = fleet_enter(fleet, &w, ret_alone, p);
    if (r < 0) {
        write_abort(&w);
    } else {
        assert_int_equal(write_commit_silent(&w, p), 0);
    }
    return r;
}

static void the_first_is_alone_and_the_second_is_not(void **state) {
    struct scratch *s = *state;
    struct problem p = {0};
    bool alone = false;
    struct fleet *north = open_fleet(s, "north", 1), *south = open_fleet(s, "south", 2);
    assert_int_equal(enter(s, north, &alone, &p), 0);
    assert_true(alone);
    int64_t first = s->identity.id;
    assert_int_equal(enter(s, south, &alone, &p), 0);
    assert_false(alone);
    assert_true(s->identity.id != first);
    fleet_beat(north, &PRESENCE, SECOND);
    fleet_beat(south, &PRESENCE, SECOND);
    assert_int_equal(fleet_alive(north), 2); /* it looked before the other had beaten, but that had come */
    assert_int_equal(fleet_connected(south), 3);
    fleet_leave(north, &PRESENCE);
    fleet_beat(south, &PRESENCE, SECOND);
    assert_int_equal(fleet_alive(south), 1);
    assert_int_equal(fleet_connected(south), 0);
    fleet_free(north);
    fleet_free(south);
}

static void a_name_that_somebody_alive_has_is_refused(void **state) {
    struct scratch *s = *state;
    struct problem p = {0};
    bool alone;
    struct fleet *one = open_fleet(s, "north", 1), *other = open_fleet(s, "north", 2);
    assert_int_equal(enter(s, one, &alone, &p), 0);
    assert_true(enter(s, other, &alone, &p) < 0);
    assert_string_equal(p.type, "gateway-name-taken");
    fleet_leave(one, &PRESENCE);
    assert_int_equal(enter(s, other, &alone, &p), 0); /* on another machine */
    fleet_free(one);
    fleet_free(other);
}

static void the_later_process_of_an_installation_speaks_for_it(void **state) {
    struct scratch *s = *state;
    struct problem p = {0};
    bool alone;
    char warning[256];
    struct fleet *first = open_fleet(s, "north", 1), *second = open_fleet(s, "north", 1);
    assert_int_equal(enter(s, first, &alone, &p), 0);
    assert_int_equal(enter(s, second, &alone, &p), 0);
    fleet_beat(first, &PRESENCE, SECOND);
    assert_true(fleet_is_deposed(first));
    fleet_warning(first, warning);
    assert_non_null(strstr(warning, "north"));
    fleet_beat(second, &PRESENCE, SECOND);
    assert_false(fleet_is_deposed(second));
    fleet_free(first);
    fleet_free(second);
}

static void its_row_says_how_it_is_now(void **state) {
    struct scratch *s = *state;
    struct problem p = {0};
    bool alone;
    struct gateway_row *rows = NULL;
    size_t count = 0, self = 9;
    int64_t now = 0;
    struct fleet *north = open_fleet(s, "north", 1);
    assert_int_equal(enter(s, north, &alone, &p), 0);
    assert_int_equal(fleet_list(north, &PRESENCE, &rows, &count, &self, &now, &p), 0);
    assert_int_equal(count, 1);
    assert_int_equal(self, 0);
    assert_int_equal(rows[0].connected_routers, 3);
    assert_int_equal(rows[0].revision, 7);
    assert_true(fleet_is_alive(&rows[0], now));
    free(rows);
    fleet_free(north);
}

/* A session that south holds, in the record; south has been silent for four minutes. */
static struct router_row hold(struct scratch *s, int64_t south) {
    char sql[256];
    struct tenant_row tenant = scratch_tenant(s, south);
    struct router_row row = scratch_router(s, &tenant, south);
    snprintf(sql, sizeof sql,
             "UPDATE vpn_configurations SET status = 'active', connected_since = created_at, gateway_id = %d",
             (int)south);
    (void)scratch_number(s, sql);
    snprintf(
        sql, sizeof sql,
        strcmp(store_kind(s->store), "sqlite") == 0
            ? "UPDATE vpn_gateways SET heartbeat_at = strftime('%%Y-%%m-%%dT%%H:%%M:%%S.000000Z', 'now', '-4 minutes') "
              "WHERE id = %d"
            : "UPDATE vpn_gateways SET heartbeat_at = heartbeat_at - interval '4 minutes' WHERE id = %d",
        (int)south);
    (void)scratch_number(s, sql);
    return row;
}

static int64_t held(struct scratch *s) {
    return scratch_number(s, "SELECT COUNT(*) FROM vpn_configurations WHERE gateway_id IS NOT NULL");
}

static void sessions_of_one_that_is_silent_for_long_end(void **state) {
    struct scratch *s = *state;
    struct problem p = {0};
    bool alone;
    struct fleet *north = open_fleet(s, "north", 1), *south = open_fleet(s, "south", 2);
    assert_int_equal(enter(s, north, &alone, &p), 0);
    assert_int_equal(enter(s, south, &alone, &p), 0);
    (void)hold(s, s->identity.id);
    fleet_beat(north, &PRESENCE, 5 * SECOND);
    assert_int_equal(held(s), 0);
    fleet_free(north);
    fleet_free(south);
}

/* The database was away for all: whoever comes back first takes nobody for dead. */
static void one_that_was_cut_off_itself_ends_nobodys_sessions(void **state) {
    struct scratch *s = *state;
    struct problem p = {0};
    bool alone;
    struct fleet *north = open_fleet(s, "north", 1), *south = open_fleet(s, "south", 2);
    assert_int_equal(enter(s, north, &alone, &p), 0);
    assert_int_equal(enter(s, south, &alone, &p), 0);
    fleet_beat(north, &PRESENCE, 5 * SECOND);
    (void)hold(s, s->identity.id);
    fleet_beat(north, &PRESENCE, 245 * SECOND);
    assert_int_equal(held(s), 1);
    fleet_beat(north, &PRESENCE, 250 * SECOND);
    assert_int_equal(held(s), 1); /* though it is here again */
    fleet_free(north);
    fleet_free(south);
}

int main(void) {
#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(the_first_is_alone_and_the_second_is_not),
        WITH_SCRATCH(a_name_that_somebody_alive_has_is_refused),
        WITH_SCRATCH(the_later_process_of_an_installation_speaks_for_it),
        WITH_SCRATCH(its_row_says_how_it_is_now),
        WITH_SCRATCH(sessions_of_one_that_is_silent_for_long_end),
        WITH_SCRATCH(one_that_was_cut_off_itself_ends_nobodys_sessions),
    };
    return cmocka_run_group_tests_name("fleet", tests, NULL, NULL);
}
