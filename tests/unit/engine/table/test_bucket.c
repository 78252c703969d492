/* The token bucket: exact over any time, however it is cut into steps. */
#include "dice.h"

#include "base/clock.h"
#include "engine/table/bucket.h"

static void burst_passes_at_once_and_no_more(void **state) {
    (void)state;
    const struct bucket_rate rate = {.per_s = 20, .burst = 5};
    struct bucket bucket;
    bucket_fill(&bucket, &rate, 1000);
    for (int i = 0; i < 5; i++) {
        assert_true(bucket_take(&bucket, &rate, 1000, 1));
    }
    assert_false(bucket_take(&bucket, &rate, 1000, 1));
    assert_false(bucket_take(&bucket, &rate, 1000 + 49999999, 1)); /* a twentieth of a second less one */
    assert_true(bucket_take(&bucket, &rate, 1000 + 50000000, 1));
    assert_false(bucket_take(&bucket, &rate, 1000 + 50000000, 1));
}

static void long_rest_fills_to_the_burst_only(void **state) {
    (void)state;
    const struct bucket_rate rate = {.per_s = UINT64_C(400000000000), .burst = 7};
    struct bucket bucket = {0}; /* zeroed: full once time has passed */
    for (uint64_t now = NSEC_PER_SEC; now < UINT64_MAX / 1000; now *= 1000) {
        assert_false(bucket_take(&bucket, &rate, now, 8)); /* above the burst: never */
        assert_true(bucket_take(&bucket, &rate, now, 7));
        assert_false(bucket_take(&bucket, &rate, now, 1));
    }
}

static void clock_running_back_adds_nothing(void **state) {
    (void)state;
    const struct bucket_rate rate = {.per_s = 10, .burst = 1};
    struct bucket bucket;
    bucket_fill(&bucket, &rate, 5 * NSEC_PER_SEC);
    assert_true(bucket_take(&bucket, &rate, 5 * NSEC_PER_SEC, 1));
    assert_false(bucket_take(&bucket, &rate, 1 * NSEC_PER_SEC, 1));
    assert_false(bucket_take(&bucket, &rate, 5 * NSEC_PER_SEC, 1));
    assert_true(bucket_take(&bucket, &rate, 5 * NSEC_PER_SEC + NSEC_PER_SEC / 10, 1));
}

static void lowered_limit_holds_at_once(void **state) {
    (void)state;
    const struct bucket_rate before = {.per_s = 1000, .burst = 1000};
    const struct bucket_rate after = {.per_s = 10, .burst = 10};
    struct bucket bucket;
    bucket_fill(&bucket, &before, 0);
    for (int i = 0; i < 10; i++) {
        assert_true(bucket_take(&bucket, &after, 1, 1));
    }
    assert_false(bucket_take(&bucket, &after, 1, 1));
}

static void borrowing_passes_any_size_and_is_paid_back(void **state) {
    (void)state;
    const struct bucket_rate rate = {.per_s = 1000000, .burst = 12000};
    struct bucket bucket;
    bucket_fill(&bucket, &rate, 0);
    assert_true(bucket_borrow(&bucket, &rate, 0, 512000)); /* 64 KB against a burst of 1,500 bytes */
    assert_false(bucket_borrow(&bucket, &rate, 0, 1));
    assert_false(bucket_borrow(&bucket, &rate, 500 * NSEC_PER_MSEC, 1)); /* owes exactly nothing now, and has nothing */
    assert_true(bucket_borrow(&bucket, &rate, 500 * NSEC_PER_MSEC + 1000, 1));
}

static void average_is_exact_over_random_steps(void **state) {
    (void)state;
    struct dice dice = {.state = 1};
    for (int round = 0; round < 20; round++) {
        const struct bucket_rate rate = {.per_s = 1 + dice_below(&dice, 500000000), .burst = 20000};
        struct bucket bucket;
        uint64_t now = dice_u32(&dice);
        uint64_t begun = now;
        unsigned __int128 taken = 0;
        bucket_fill(&bucket, &rate, now);
        while (bucket_take(&bucket, &rate, now, 1)) {
            taken++;
        }
        for (int step = 0; step < 2000; step++) {
            now += dice_below(&dice, 3000); /* never enough to fill: nothing is lost at the brim */
            uint64_t cost = 1 + dice_below(&dice, 3000);
            taken += bucket_borrow(&bucket, &rate, now, cost) ? cost : 0;
            __int128 given = (__int128)(now - begun) * rate.per_s + (__int128)rate.burst * 1000000000;
            assert_true((__int128)taken * 1000000000 + bucket.level == given);
        }
    }
}

static void returned_tokens_serve_again(void **state) {
    (void)state;
    const struct bucket_rate rate = {.per_s = 1, .burst = 100};
    struct bucket bucket;
    bucket_fill(&bucket, &rate, 0);
    assert_true(bucket_take(&bucket, &rate, 0, 100));
    bucket_return(&bucket, &rate, 30);
    assert_false(bucket_take(&bucket, &rate, 0, 31));
    assert_true(bucket_take(&bucket, &rate, 0, 30));
    bucket_return(&bucket, &rate, UINT64_MAX);
    assert_false(bucket_take(&bucket, &rate, 0, 101));
    assert_true(bucket_take(&bucket, &rate, 0, 100));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(burst_passes_at_once_and_no_more),
        cmocka_unit_test(long_rest_fills_to_the_burst_only),
        cmocka_unit_test(clock_running_back_adds_nothing),
        cmocka_unit_test(lowered_limit_holds_at_once),
        cmocka_unit_test(borrowing_passes_any_size_and_is_paid_back),
        cmocka_unit_test(average_is_exact_over_random_steps),
        cmocka_unit_test(returned_tokens_serve_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
