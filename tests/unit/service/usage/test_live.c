/* What memory knows of peers between two writes of their rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "service/usage/live.h"

#define NOW INT64_C(1700000000000000)
#define SECOND INT64_C(1000000)

enum { HERE = 1, THERE = 2 };

static struct session_row row_of(uint8_t number) {
    struct session_row row = {.id = number, .tunnel_id = 5, .status = ROUTER_ACTIVE};
    memset(row.public_key.bytes, number, sizeof row.public_key.bytes);
    memset(row.tenant_id.bytes, 7, sizeof row.tenant_id.bytes);
    return row;
}

static struct sample sample_of(uint8_t number, uint64_t received, int64_t handshake_at) {
    struct sample sample = {.bytes_received = received, .bytes_sent = received / 2, .last_handshake_at = handshake_at};
    memset(sample.public_key.bytes, number, sizeof sample.public_key.bytes);
    return sample;
}

static int setup(void **state) {
    static struct lives lives;
    live_open(&lives);
    *state = &lives;
    return 0;
}

static int teardown(void **state) {
    live_free(*state);
    return 0;
}

static void counters_go_on_from_what_the_row_knows(void **state) {
    struct lives *lives = *state;
    struct session_row row = row_of(1), other = row_of(2);
    row.counted_received = other.counted_received = 100;
    snprintf(row.counted_generation, sizeof row.counted_generation, "a");
    snprintf(other.counted_generation, sizeof other.counted_generation, "b"); /* of a data plane that is gone */
    struct sample sample = sample_of(1, 150, 0), second = sample_of(2, 150, 0);
    live_take(lives, live_put(lives, &row, HERE, "a", 0), &sample, NOW);
    live_take(lives, live_put(lives, &other, HERE, "a", 0), &second, NOW);
    assert_int_equal(live_get(lives, &row.public_key)->unwritten_received, 50);
    assert_int_equal(live_get(lives, &other.public_key)->unwritten_received, 150);
    assert_int_equal(live_tenant_get(lives, &row.tenant_id)->unwritten_received, 200);
    live_take(lives, live_get(lives, &row.public_key), &sample, NOW); /* the same again */
    assert_int_equal(live_tenant_get(lives, &row.tenant_id)->unwritten_received, 200);
}

static void counters_that_went_back_began_anew(void **state) {
    struct lives *lives = *state;
    struct session_row row = row_of(1);
    struct live *live = live_put(lives, &row, HERE, "a", 0);
    struct sample before = sample_of(1, 1000, 0), after = sample_of(1, 30, 0), more = sample_of(1, 1500, 0);
    live_take(lives, live, &before, NOW);
    live_take(lives, live, &after, NOW);
    assert_int_equal(live->unwritten_received, 1030);
    live_restart(lives, live); /* known to have been taken out: more than before is all new */
    live_take(lives, live, &more, NOW);
    assert_int_equal(live->unwritten_received, 2530);
    live_written(lives, live, 2530, live->unwritten_sent);
    assert_int_equal(live->unwritten_received, 0);
    assert_int_equal(live_tenant_get(lives, &row.tenant_id)->unwritten_received, 0);
}

static void only_news_is_urgent(void **state) {
    struct lives *lives = *state;
    struct session_row row = row_of(1);
    struct sample sample = sample_of(1, 100, NOW - SECOND);
    struct live *live = live_put(lives, &row, HERE, "a", 0);
    live_take(lives, live, &sample, NOW); /* a session begins here */
    assert_true(live->urgent && live->news && live->started_at == NOW - SECOND);
    assert_int_equal(lives->urgent_count, 1);
    assert_int_equal(lives->connected, 1);
    live->urgent = live->news = live->dirty = false; /* it was written */
    live->owned = true;
    lives->urgent_count = 0;
    sample.bytes_received += 32;
    sample.last_handshake_at = NOW; /* a keepalive, and a new handshake of the same session */
    sample.timestamp[3] = 1;
    live_take(lives, live, &sample, NOW);
    assert_true(live->dirty && !live->urgent);
    assert_int_equal(endpoint_parse("192.0.2.9:1", &sample.endpoint), 0); /* it moved */
    live_take(lives, live, &sample, NOW);
    assert_true(live->urgent);
    assert_int_equal(lives->urgent_count, 1);
}

static void a_session_ends_when_its_handshake_is_old(void **state) {
    struct lives *lives = *state;
    struct session_row row = row_of(1);
    struct sample sample = sample_of(1, 1, NOW);
    struct live *live = live_put(lives, &row, HERE, "a", 0);
    live_take(lives, live, &sample, NOW);
    live->owned = true;
    live->urgent = false;
    live_expire(lives, NOW + CONNECTED_US - 1);
    assert_int_equal(lives->connected, 1);
    live_expire(lives, NOW + CONNECTED_US);
    assert_int_equal(lives->connected, 0);
    assert_true(live->urgent && !live->started_at);
}

static void what_we_held_before_is_ours_and_what_others_hold_is_not(void **state) {
    struct lives *lives = *state;
    struct session_row ours = row_of(1), theirs = row_of(2), nobodys = row_of(3);
    ours.gateway_id = HERE;
    theirs.gateway_id = THERE;
    ours.connected_since = theirs.connected_since = NOW - SECOND;
    ours.last_handshake_at = nobodys.last_handshake_at = NOW;
    assert_true(live_put(lives, &ours, HERE, "a", 0)->owned);
    assert_false(live_put(lives, &theirs, HERE, "a", 0)->owned);
    assert_int_equal(lives->connected, 1);
    struct sample again = sample_of(1, 0, NOW), there = sample_of(3, 0, NOW);
    live_take(lives, live_get(lives, &ours.public_key), &again, NOW);
    assert_int_equal(lives->urgent_count, 0);
    /* a session that was given up while we were away: it is here after all */
    live_take(lives, live_put(lives, &nobodys, HERE, "a", 0), &there, NOW);
    assert_true(live_get(lives, &nobodys.public_key)->news);
    live_leave(lives, live_get(lives, &ours.public_key));
    assert_int_equal(lives->connected, 1);
    assert_false(live_get(lives, &ours.public_key)->owned);
}

static void many_that_are_gone_make_room(void **state) {
    struct lives *lives = *state;
    enum { COUNT = 3000 };
    for (unsigned i = 0; i < COUNT; i++) {
        struct session_row row = row_of(0);
        memcpy(row.public_key.bytes, &i, sizeof i);
        row.gateway_id = HERE;
        row.connected_since = NOW;
        assert_non_null(live_put(lives, &row, HERE, "a", 0));
    }
    for (unsigned i = 0; i < COUNT - 1; i++) {
        struct key key = {0};
        memcpy(key.bytes, &i, sizeof i);
        live_drop(lives, live_get(lives, &key));
        assert_null(live_get(lives, &key));
    }
    assert_int_equal(lives->connected, 1);
    live_compact(lives);
    assert_int_equal(lives->peers.count, 1);
    assert_int_equal(lives->tombstones, 0);
}

int main(void) {
#define WITH_LIVES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_LIVES(counters_go_on_from_what_the_row_knows),
        WITH_LIVES(counters_that_went_back_began_anew),
        WITH_LIVES(only_news_is_urgent),
        WITH_LIVES(a_session_ends_when_its_handshake_is_old),
        WITH_LIVES(what_we_held_before_is_ours_and_what_others_hold_is_not),
        WITH_LIVES(many_that_are_gone_make_room),
    };
    return cmocka_run_group_tests_name("live", tests, NULL, NULL);
}
