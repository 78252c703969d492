/* Staying awake: only where it pays, and never for more than its share. */
#include "dice.h"

#include "base/clock.h"
#include "engine/busypoll.h"

#define SOON (BUSYPOLL_NS / 2)
#define LATE (BUSYPOLL_NS + 1)
#define NEVER UINT64_MAX

static void learn(struct busypoll *poll, uint64_t waited_ns, unsigned times) {
    for (unsigned i = 0; i < times; i++) {
        busypoll_learn(poll, waited_ns);
    }
}

static void nobody_lingers_before_it_is_known_to_pay(void **state) {
    (void)state;
    struct busypoll poll = {0};
    assert_false(busypoll_begin(&poll, NSEC_PER_SEC));
    learn(&poll, LATE, 100);
    assert_false(busypoll_begin(&poll, NSEC_PER_SEC));
    learn(&poll, SOON, 100);
    assert_true(busypoll_begin(&poll, NSEC_PER_SEC));
}

static void answers_that_come_late_end_it(void **state) {
    (void)state;
    struct busypoll poll = {0};
    learn(&poll, SOON, 1000);
    assert_int_equal(poll.luck, BUSYPOLL_LUCK_MAX);
    learn(&poll, LATE, 3);
    assert_true(busypoll_begin(&poll, NSEC_PER_SEC)); /* a few say nothing */
    busypoll_end(&poll, BUSYPOLL_NS);
    learn(&poll, NEVER, 10);
    assert_false(busypoll_begin(&poll, 2 * NSEC_PER_SEC));
    learn(&poll, LATE, 1000);
    assert_int_equal(poll.luck, 0);
}

static void one_in_two_is_enough_and_one_in_four_is_not(void **state) {
    (void)state;
    unsigned half = 0, quarter = 0;
    struct busypoll poll = {0};
    for (unsigned i = 0; i < 1000; i++) {
        busypoll_learn(&poll, i % 4 == 0 ? SOON : LATE);
        quarter += poll.luck >= BUSYPOLL_LUCK_MAX / 2;
    }
    for (unsigned i = 0; i < 1000; i++) {
        busypoll_learn(&poll, i % 4 != 0 ? SOON : LATE);
        half += poll.luck >= BUSYPOLL_LUCK_MAX / 2;
    }
    assert_int_equal(quarter, 0);
    assert_true(half > 900);
}

/* The nanoseconds stayed awake in ten seconds, in which something comes after `waited_ns` again and again. */
static uint64_t awake_in_ten_seconds(uint64_t waited_ns) {
    struct busypoll poll = {0};
    uint64_t awake_ns = 0;
    learn(&poll, SOON, 100);
    for (uint64_t now = NSEC_PER_SEC; now < 11 * NSEC_PER_SEC; now += waited_ns) {
        if (busypoll_begin(&poll, now)) {
            awake_ns += waited_ns;
            busypoll_end(&poll, waited_ns);
        }
        busypoll_learn(&poll, waited_ns);
    }
    return awake_ns;
}

static void it_takes_no_more_than_its_share(void **state) {
    (void)state;
    const uint64_t most = 11 * NSEC_PER_SEC / BUSYPOLL_SHARE; /* and what was saved up: a second's worth */
    for (uint64_t waited_ns = 100; waited_ns <= BUSYPOLL_NS; waited_ns += 997) {
        uint64_t awake_ns = awake_in_ten_seconds(waited_ns);
        assert_in_range(awake_ns, most / 2, most + BUSYPOLL_NS);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_lingers_before_it_is_known_to_pay),
        cmocka_unit_test(answers_that_come_late_end_it),
        cmocka_unit_test(one_in_two_is_enough_and_one_in_four_is_not),
        cmocka_unit_test(it_takes_no_more_than_its_share),
    };
    return cmocka_run_group_tests_name("poll", tests, NULL, NULL);
}
