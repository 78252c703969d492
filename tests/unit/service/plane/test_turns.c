/* The data plane alone: its turns, what is left out while it is away, and when it holds what it should. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_plane.h"
#include "service/plane/plane.h"
#include "service/record/bell.h"
#include "service/record/ledger.h"
#include "service/record/turn.h"

static const struct uuid TENANT = {{7}};

struct world {
    struct bell bell;
    struct backend_config config;
    struct plane *plane;
    size_t taken_out;
};

static void count_taken_out(void *context, const struct desired_change *changes, size_t count) {
    struct world *w = context;
    for (size_t i = 0; i < count; i++) {
        w->taken_out += changes[i].kind == DESIRED_PEER_REMOVE;
    }
}

static int setup(void **state) {
    struct world *w = calloc(1, sizeof *w);
    struct problem p;
    fake_plane_reset();
    w->config.interface_name = "wg0";
    bell_open(&w->bell);
    if (plane_open(&fake_plane_ops, &w->config, &w->bell, &w->plane) < 0 || plane_revive(w->plane, &p) < 0) {
        return -1;
    }
    plane_observe(w->plane, count_taken_out, w);
    const struct desired_change tenant = {.kind = DESIRED_TENANT_SET, .tenant.id = TENANT};
    plane_turn_begin(w->plane);
    bool made = plane_apply(w->plane, &tenant, 1);
    plane_turn_end(w->plane);
    *state = w;
    return made ? 0 : -1;
}

static int teardown(void **state) {
    struct world *w = *state;
    plane_free(w->plane);
    bell_close(&w->bell);
    fake_plane_free();
    free(w);
    return 0;
}

static bool apply(struct world *w, uint8_t number, enum desired_change_kind kind) {
    const struct desired_change change = {.kind = kind, .peer = {.public_key = {{number}}, .tenant = TENANT}};
    plane_turn_begin(w->plane);
    bool applied = plane_apply(w->plane, &change, 1);
    plane_turn_end(w->plane);
    return applied;
}

static struct plane_status status_of(struct world *w) {
    struct plane_status status;
    plane_status(w->plane, &status);
    return status;
}

static void a_receipt_waits_for_its_place(void **state) {
    struct world *w = *state;
    struct turn *queue = plane_queue(w->plane);
    const struct receipt first = {.place = turn_take(queue)}, second = {.place = turn_take(queue)};
    plane_turn_redeem(w->plane, &first);
    assert_int_equal(queue->serving, first.place);
    plane_turn_end(w->plane);
    plane_turn_redeem(w->plane, &second);
    assert_int_equal(queue->serving, second.place);
    plane_turn_end(w->plane);
    assert_true(apply(w, 1, DESIRED_PEER_SET)); /* whoever has no receipt comes behind */
    assert_int_equal(queue->serving, second.place + 2);
}

static void what_is_taken_out_is_told(void **state) {
    struct world *w = *state;
    assert_true(apply(w, 1, DESIRED_PEER_SET));
    assert_int_equal(w->taken_out, 0);
    assert_true(apply(w, 1, DESIRED_PEER_REMOVE));
    assert_int_equal(w->taken_out, 1);
    fake_plane_fail(FAKE_APPLY, 0, 1, -EIO);
    assert_false(apply(w, 2, DESIRED_PEER_REMOVE));
    assert_int_equal(w->taken_out, 1);
}

static void a_failure_rings_and_is_remembered_until_a_comparison_that_began_later(void **state) {
    struct world *w = *state;
    uint64_t troubles = status_of(w).troubles;
    assert_true(plane_settled(w->plane, troubles));
    assert_true(status_of(w).in_sync);
    assert_false(w->bell.due);
    fake_plane_fail(FAKE_APPLY, 0, 1, -EIO);
    assert_false(apply(w, 1, DESIRED_PEER_SET));
    assert_true(w->bell.due);
    assert_false(status_of(w).in_sync || status_of(w).away);
    assert_true(status_of(w).trouble[0] != '\0');
    assert_false(plane_settled(w->plane, troubles)); /* it began before */
    assert_false(status_of(w).in_sync);
    assert_true(plane_settled(w->plane, troubles + 1));
    assert_true(status_of(w).in_sync && !status_of(w).trouble[0]);
}

static void while_it_is_away_deltas_are_left_out(void **state) {
    struct world *w = *state;
    struct problem p;
    assert_true(plane_settled(w->plane, 0));
    fake_plane_stop();
    assert_false(apply(w, 1, DESIRED_PEER_SET));
    assert_true(plane_is_away(w->plane));
    uint64_t calls = fake_plane_calls(FAKE_APPLY);
    assert_false(apply(w, 2, DESIRED_PEER_SET));
    assert_int_equal(fake_plane_calls(FAKE_APPLY), calls); /* nobody asked */
    assert_true(plane_revive(w->plane, &p) < 0);
    fake_plane_heal();
    assert_int_equal(plane_revive(w->plane, &p), 0);
    assert_false(plane_is_away(w->plane));
    assert_false(status_of(w).in_sync); /* what was left out is missing */
    assert_true(apply(w, 3, DESIRED_PEER_REMOVE));
}

static int is_odd(void *context, const struct actual_peer *peer) {
    (void)context;
    return peer->is.public_key.bytes[0] % 2;
}

static void those_who_are_shut_out_are_taken_past_the_turn(void **state) {
    struct world *w = *state;
    for (uint8_t number = 1; number <= 10; number++) {
        assert_true(apply(w, number, DESIRED_PEER_SET));
    }
    plane_turn_begin(w->plane); /* somebody has it, and waits for the database */
    plane_shut_out(w->plane, is_odd, NULL);
    plane_turn_end(w->plane);
    assert_int_equal(fake_plane_peers(), 5);
    assert_int_equal(w->taken_out, 5);
}

static int count_peer(void *context, const struct actual_peer *peer) {
    (void)peer;
    ++*(size_t *)context;
    return 0;
}

static void a_reading_of_another_generation_begins_anew(void **state) {
    struct world *w = *state;
    struct backend_state was, is;
    uint64_t mark = 0, later = 0;
    size_t seen = 0;
    assert_true(apply(w, 1, DESIRED_PEER_SET));
    assert_int_equal(plane_read(w->plane, 0, 0, NULL, count_peer, &seen, &was, &mark), 0);
    assert_int_equal(seen, 1);
    seen = 0;
    assert_int_equal(plane_read(w->plane, was.generation, mark, NULL, count_peer, &seen, &is, &later), 0);
    assert_int_equal(seen, 0); /* nothing changed since */
    assert_int_equal(plane_read(w->plane, was.generation + 1, mark, NULL, count_peer, &seen, &is, &later), 0);
    assert_int_equal(seen, 1);
}

int main(void) {
#define WITH_PLANE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_PLANE(a_receipt_waits_for_its_place),
        WITH_PLANE(what_is_taken_out_is_told),
        WITH_PLANE(a_failure_rings_and_is_remembered_until_a_comparison_that_began_later),
        WITH_PLANE(while_it_is_away_deltas_are_left_out),
        WITH_PLANE(those_who_are_shut_out_are_taken_past_the_turn),
        WITH_PLANE(a_reading_of_another_generation_begins_anew),
    };
    return cmocka_run_group_tests_name("turns", tests, NULL, NULL);
}
