/* Every timer of the protocol, by a clock that the test turns. */
#include "world.h"

#include "wire/timers.h"

#define T0 (5000 * NSEC_PER_SEC)
#define S NSEC_PER_SEC
#define J (100 * NSEC_PER_MSEC) /* a jitter */

/* Nothing may happen before the next deadline; at it, exactly `actions`. Returns that time. */
static uint64_t expect_next(struct timers *timers, uint64_t when, unsigned actions) {
    assert_int_equal(timers_next(timers), when);
    struct timers before = *timers;
    assert_int_equal(timers_expire(timers, when - 1, J), 0);
    assert_memory_equal(timers, &before, sizeof before);
    assert_int_equal(timers_expire(timers, when, J), actions);
    return when;
}

static void nothing_is_due_at_first(void **state) {
    (void)state;
    struct timers timers = {0};
    assert_int_equal(timers_next(&timers), TIMERS_NEVER);
    assert_int_equal(timers_expire(&timers, TIMERS_NEVER - 1, J), 0);
}

static void handshake_is_retried_every_5_seconds_and_given_up_after_90(void **state) {
    (void)state;
    struct timers timers = {0};
    uint64_t now = T0;
    unsigned initiations = 1;
    timers_handshake_wanted(&timers);
    timers_initiation_sent(&timers, now, J);
    for (;; initiations++) {
        assert_int_equal(timers_next(&timers), now + 5 * S + J);
        now += 5 * S + J;
        unsigned actions = timers_expire(&timers, now, J);
        if (actions != TIMERS_SEND_INITIATION) {
            assert_int_equal(actions, TIMERS_GIVE_UP);
            break;
        }
        assert_true(timers_may_initiate(&timers, now));
        timers_initiation_sent(&timers, now, J);
    }
    assert_int_equal(initiations, 18);
    assert_int_equal(now, T0 + 90 * S + 18 * J);
    /* what is left of the attempt is wiped in time, and nothing else happens */
    expect_next(&timers, now + 540 * S, TIMERS_WIPE_KEYS);
    assert_int_equal(timers_next(&timers), TIMERS_NEVER);
}

static void giving_up_keeps_an_armed_wipe(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_session_derived(&timers, T0);
    timers_initiation_sent(&timers, T0, 0);
    timers.attempts = TIMERS_MAX_ATTEMPTS - 1;
    assert_int_equal(timers_expire(&timers, T0 + 5 * S, J), TIMERS_GIVE_UP);
    assert_int_equal(timers.wipe_at, T0 + 540 * S);
}

static void giving_up_cancels_the_keepalive(void **state) {
    (void)state;
    struct timers timers = {0};
    timers.attempts = TIMERS_MAX_ATTEMPTS - 1;
    timers_initiation_sent(&timers, T0, 0);
    timers_data_received(&timers, T0 - 5 * S);
    timers_data_received(&timers, T0);
    assert_int_equal(timers_expire(&timers, T0 + 5 * S, J), TIMERS_GIVE_UP);
    assert_int_equal(timers.keepalive_at, 0);
}

static void a_new_wish_counts_attempts_anew(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_initiation_sent(&timers, T0, 0);
    timers.attempts = TIMERS_MAX_ATTEMPTS - 1;
    timers_handshake_wanted(&timers);
    expect_next(&timers, T0 + 5 * S, TIMERS_SEND_INITIATION);
}

static void an_initiation_that_could_not_be_sent_counts_as_lost(void **state) {
    (void)state;
    struct timers timers = {0};
    uint64_t now = T0;
    unsigned wanted = 0;
    timers_initiation_sent(&timers, now, J);
    for (unsigned actions = 0; actions != TIMERS_GIVE_UP; wanted++) {
        now = timers_next(&timers);
        assert_int_not_equal(now, TIMERS_NEVER);
        actions = timers_expire(&timers, now, J); /* and nobody calls timers_initiation_sent() */
    }
    assert_int_equal(wanted, 18);
}

static void a_complete_handshake_ends_the_retries(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_initiation_sent(&timers, T0, J);
    expect_next(&timers, T0 + 5 * S + J, TIMERS_SEND_INITIATION);
    timers_handshake_complete(&timers);
    assert_int_equal(timers_next(&timers), TIMERS_NEVER);
    assert_int_equal(timers.attempts, 0);
}

static void initiations_keep_5_seconds_apart(void **state) {
    (void)state;
    struct timers timers = {0};
    assert_true(timers_may_initiate(&timers, 1));
    timers_initiation_sent(&timers, T0, J);
    assert_false(timers_may_initiate(&timers, T0 + 5 * S - 1));
    assert_true(timers_may_initiate(&timers, T0 + 5 * S));
    timers_response_sent(&timers, T0 + 6 * S);
    assert_false(timers_may_initiate(&timers, T0 + 11 * S - 1));
    assert_true(timers_may_initiate(&timers, T0 + 11 * S));
}

static void initiations_of_a_flood_are_not_accepted(void **state) {
    (void)state;
    struct timers timers = {0};
    unsigned accepted = 0;
    for (uint64_t now = T0; now < T0 + S; now += NSEC_PER_MSEC) {
        accepted += timers_may_accept_initiation(&timers, now);
    }
    assert_int_equal(accepted, 50);
    assert_true(timers_may_accept_initiation(&timers, T0 + S));
    assert_false(timers_may_accept_initiation(&timers, T0 + S));
}

static void keepalive_10_seconds_after_data_was_received_and_nothing_sent(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_data_received(&timers, T0);
    expect_next(&timers, T0 + 10 * S, TIMERS_SEND_KEEPALIVE);
    timers_any_authenticated_sent(&timers);
    assert_int_equal(timers_next(&timers), TIMERS_NEVER);
}

static void sending_anything_cancels_the_keepalive(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_data_received(&timers, T0);
    timers_data_received(&timers, T0 + S);
    timers_any_authenticated_sent(&timers);
    assert_int_equal(timers_next(&timers), TIMERS_NEVER);
    /* and what came before it asks for no further one */
    timers_data_received(&timers, T0 + 2 * S);
    expect_next(&timers, T0 + 12 * S, TIMERS_SEND_KEEPALIVE);
    assert_int_equal(timers_next(&timers), TIMERS_NEVER);
}

static void data_received_meanwhile_asks_for_another_keepalive(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_data_received(&timers, T0);
    timers_data_received(&timers, T0 + 9 * S);
    expect_next(&timers, T0 + 10 * S, TIMERS_SEND_KEEPALIVE);
    timers_any_authenticated_sent(&timers); /* that keepalive */
    expect_next(&timers, T0 + 20 * S, TIMERS_SEND_KEEPALIVE);
    timers_any_authenticated_sent(&timers);
    assert_int_equal(timers_next(&timers), TIMERS_NEVER);
}

static void the_other_keepalive_is_cancelled_by_other_packets(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_data_received(&timers, T0);
    timers_data_received(&timers, T0 + 9 * S);
    expect_next(&timers, T0 + 10 * S, TIMERS_SEND_KEEPALIVE);
    timers_any_authenticated_sent(&timers); /* that keepalive */
    timers_any_authenticated_sent(&timers); /* data */
    assert_int_equal(timers_next(&timers), TIMERS_NEVER);
}

static void receiving_does_not_push_the_keepalive_back(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_data_received(&timers, T0);
    for (uint64_t i = 1; i < 10; i++) {
        timers_data_received(&timers, T0 + i * S);
        assert_int_equal(timers_next(&timers), T0 + 10 * S);
    }
}

static void new_handshake_15_seconds_after_data_was_sent_and_nothing_heard(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_data_sent(&timers, T0, J);
    timers.attempts = 7; /* of an earlier round: the new one has all its own */
    uint64_t now = expect_next(&timers, T0 + 15 * S + J, TIMERS_SEND_INITIATION);
    assert_int_equal(timers.attempts, 0);
    assert_int_equal(timers_next(&timers), now + 5 * S + J);
}

static void sending_does_not_push_the_new_handshake_back(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_data_sent(&timers, T0, J);
    timers_data_sent(&timers, T0 + 14 * S, J);
    assert_int_equal(timers_next(&timers), T0 + 15 * S + J);
}

static void hearing_anything_cancels_the_new_handshake(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_data_sent(&timers, T0, J);
    timers_any_authenticated_received(&timers);
    assert_int_equal(timers_next(&timers), TIMERS_NEVER);
    timers_data_sent(&timers, T0 + S, J);
    assert_int_equal(timers_next(&timers), T0 + 16 * S + J);
}

static void keys_are_wiped_540_seconds_after_the_last_session(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_session_derived(&timers, T0);
    timers_session_derived(&timers, T0 + 100 * S);
    expect_next(&timers, T0 + 640 * S, TIMERS_WIPE_KEYS);
    assert_int_equal(timers_next(&timers), TIMERS_NEVER);
}

static void persistent_keepalive_follows_the_last_packet_of_either_direction(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_set_persistent(&timers, 25, T0);
    expect_next(&timers, T0, TIMERS_SEND_KEEPALIVE); /* switching it on opens the path at once */
    timers_any_authenticated_traversed(&timers, T0 + 3 * S);
    timers_any_authenticated_traversed(&timers, T0 + 7 * S);
    expect_next(&timers, T0 + 32 * S, TIMERS_SEND_KEEPALIVE);
    /* even if nothing could be sent */
    expect_next(&timers, T0 + 57 * S, TIMERS_SEND_KEEPALIVE);
}

static void persistent_keepalive_changes_its_rhythm_and_stops(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_set_persistent(&timers, 25, T0);
    expect_next(&timers, T0, TIMERS_SEND_KEEPALIVE);
    timers_set_persistent(&timers, 65535, T0 + S);
    assert_int_equal(timers_next(&timers), T0 + S + 65535 * S);
    timers_set_persistent(&timers, 0, T0 + 2 * S);
    assert_int_equal(timers_next(&timers), TIMERS_NEVER);
    timers_any_authenticated_traversed(&timers, T0 + 3 * S);
    assert_int_equal(timers_next(&timers), TIMERS_NEVER);
}

static void several_may_come_at_once(void **state) {
    (void)state;
    struct timers timers = {0};
    timers_initiation_sent(&timers, T0, J);
    timers_data_received(&timers, T0);
    timers_data_sent(&timers, T0, J);
    timers_session_derived(&timers, T0);
    timers_set_persistent(&timers, 25, T0);
    unsigned actions = timers_expire(&timers, T0 + 1000 * S, J);
    assert_int_equal(actions, TIMERS_SEND_INITIATION | TIMERS_SEND_KEEPALIVE | TIMERS_WIPE_KEYS);
    assert_int_equal(timers.retry_at, T0 + 1005 * S + J);
    assert_int_equal(timers.persistent_at, T0 + 1025 * S);
    assert_int_equal(timers_expire(&timers, T0 + 1000 * S, J), 0);
}

static void the_earliest_deadline_is_next(void **state) {
    (void)state;
    static const size_t fields[] = {offsetof(struct timers, retry_at), offsetof(struct timers, keepalive_at),
                                    offsetof(struct timers, new_handshake_at), offsetof(struct timers, wipe_at),
                                    offsetof(struct timers, persistent_at)};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct timers timers = {T0 + 9, T0 + 9, T0 + 9, T0 + 9, T0 + 9};
        uint64_t early = T0 + 4;
        memcpy((char *)&timers + fields[i], &early, sizeof early);
        assert_int_equal(timers_next(&timers), early);
        uint64_t off = 0;
        memcpy((char *)&timers + fields[i], &off, sizeof off);
        assert_int_equal(timers_next(&timers), T0 + 9);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_due_at_first),
        cmocka_unit_test(handshake_is_retried_every_5_seconds_and_given_up_after_90),
        cmocka_unit_test(giving_up_keeps_an_armed_wipe),
        cmocka_unit_test(giving_up_cancels_the_keepalive),
        cmocka_unit_test(a_new_wish_counts_attempts_anew),
        cmocka_unit_test(an_initiation_that_could_not_be_sent_counts_as_lost),
        cmocka_unit_test(a_complete_handshake_ends_the_retries),
        cmocka_unit_test(initiations_keep_5_seconds_apart),
        cmocka_unit_test(initiations_of_a_flood_are_not_accepted),
        cmocka_unit_test(keepalive_10_seconds_after_data_was_received_and_nothing_sent),
        cmocka_unit_test(sending_anything_cancels_the_keepalive),
        cmocka_unit_test(data_received_meanwhile_asks_for_another_keepalive),
        cmocka_unit_test(the_other_keepalive_is_cancelled_by_other_packets),
        cmocka_unit_test(receiving_does_not_push_the_keepalive_back),
        cmocka_unit_test(new_handshake_15_seconds_after_data_was_sent_and_nothing_heard),
        cmocka_unit_test(sending_does_not_push_the_new_handshake_back),
        cmocka_unit_test(hearing_anything_cancels_the_new_handshake),
        cmocka_unit_test(keys_are_wiped_540_seconds_after_the_last_session),
        cmocka_unit_test(persistent_keepalive_follows_the_last_packet_of_either_direction),
        cmocka_unit_test(persistent_keepalive_changes_its_rhythm_and_stops),
        cmocka_unit_test(several_may_come_at_once),
        cmocka_unit_test(the_earliest_deadline_is_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
