/* The replay window: its edges by hand, and long random walks against a set that forgets nothing. */
#include "world.h"

#include <stdlib.h>

#include "wire/replay.h"
#include "wire/session.h"

static void in_order_every_counter_is_new_once(void **state) {
    (void)state;
    struct replay replay = {0};
    for (uint64_t counter = 0; counter < 3 * REPLAY_BITS; counter++) {
        assert_true(replay_accept(&replay, counter));
        assert_false(replay_accept(&replay, counter));
        assert_int_equal(replay.greatest, counter + 1);
    }
}

static void reordered_within_the_window_is_new_once(void **state) {
    (void)state;
    struct replay replay = {0};
    assert_true(replay_accept(&replay, REPLAY_WINDOW));
    for (uint64_t counter = REPLAY_WINDOW; counter-- > 0;) {
        assert_true(replay_accept(&replay, counter));
    }
    for (uint64_t counter = 0; counter <= REPLAY_WINDOW; counter++) {
        assert_false(replay_accept(&replay, counter));
    }
    assert_int_equal(replay.greatest, REPLAY_WINDOW + 1);
}

static void edges_of_the_window(void **state) {
    (void)state;
    /* for every alignment of the greatest counter within a word */
    for (uint64_t greatest = 3 * REPLAY_BITS; greatest < 3 * REPLAY_BITS + 130; greatest++) {
        struct replay replay = {0};
        assert_true(replay_accept(&replay, greatest));
        assert_false(replay_accept(&replay, greatest - REPLAY_WINDOW - 1));
        assert_true(replay_accept(&replay, greatest - REPLAY_WINDOW));
        assert_false(replay_accept(&replay, greatest - REPLAY_WINDOW));
        assert_true(replay_accept(&replay, greatest - 1));
        assert_false(replay_accept(&replay, greatest - 1));
        assert_false(replay_accept(&replay, greatest));
        /* one step on, the oldest leaves */
        assert_true(replay_accept(&replay, greatest + 1));
        assert_false(replay_accept(&replay, greatest - REPLAY_WINDOW));
        assert_true(replay_accept(&replay, greatest - REPLAY_WINDOW + 1));
    }
}

static void far_jump_forgets_the_old_window(void **state) {
    (void)state;
    static const uint64_t jumps[] = {REPLAY_WINDOW - 1, REPLAY_WINDOW,     REPLAY_WINDOW + 1, REPLAY_BITS - 1,
                                     REPLAY_BITS,       REPLAY_BITS + 1,   REPLAY_BITS + 64,  2 * REPLAY_BITS,
                                     UINT64_C(1) << 32, UINT64_C(1) << 60, UINT64_MAX / 2};
    for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
        struct replay replay = {0};
        for (uint64_t counter = 0; counter < REPLAY_BITS; counter++) {
            assert_true(replay_accept(&replay, counter));
        }
        uint64_t top = REPLAY_BITS - 1 + jumps[i];
        assert_true(replay_accept(&replay, top));
        for (uint64_t counter = top - REPLAY_WINDOW; counter < top; counter++) {
            assert_int_equal(replay_accept(&replay, counter), counter >= REPLAY_BITS);
        }
        assert_false(replay_accept(&replay, top));
    }
}

static void first_counter_may_be_any(void **state) {
    (void)state;
    static const uint64_t firsts[] = {0, 1, 63, 64, REPLAY_BITS, UINT64_C(1) << 40, SESSION_REJECT_AFTER_MESSAGES - 1};
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        struct replay replay = {0};
        assert_true(replay_accept(&replay, firsts[i]));
        assert_false(replay_accept(&replay, firsts[i]));
        assert_int_equal(replay.greatest, firsts[i] + 1);
    }
}

static void counters_at_the_limit_are_refused_and_change_nothing(void **state) {
    (void)state;
    struct replay replay = {0}, before;
    assert_true(replay_accept(&replay, 5));
    before = replay;
    for (uint64_t counter = SESSION_REJECT_AFTER_MESSAGES; counter != 0; counter++) { /* up to 2^64 - 1, the wrap */
        assert_false(replay_accept(&replay, counter));
    }
    assert_memory_equal(&replay, &before, sizeof before);
    assert_true(replay_accept(&replay, SESSION_REJECT_AFTER_MESSAGES - 1));
    assert_false(replay_accept(&replay, 6));
    assert_true(replay_accept(&replay, SESSION_REJECT_AFTER_MESSAGES - 1 - REPLAY_WINDOW));
}

/* The naive model: every counter ever accepted, relative to a base, and the greatest. */
struct model {
    uint8_t *seen;
    size_t size;
    uint64_t base;
    uint64_t greatest;
    bool any;
};

static bool model_accept(struct model *model, uint64_t counter) {
    if (model->any && counter < model->greatest && model->greatest - counter > REPLAY_WINDOW) {
        return false;
    }
    assert_true(counter - model->base < model->size);
    if (model->seen[counter - model->base]) {
        return false;
    }
    model->seen[counter - model->base] = 1;
    if (!model->any || counter > model->greatest) {
        model->greatest = counter;
        model->any = true;
    }
    return true;
}

static void random_walks_agree_with_a_naive_model(void **state) {
    (void)state;
    enum { STEPS = 20000, REACH = 4 * REPLAY_BITS };
    for (uint64_t seed = 1; seed <= 24; seed++) {
        uint64_t stream = seed;
        struct replay replay = {0};
        struct model model = {.size = (size_t)STEPS * REACH / 64, .base = seed % 3 ? seed * 1000 : UINT64_C(1) << 61};
        model.seen = calloc(model.size, 1);
        assert_non_null(model.seen);
        uint64_t at = model.base;
        for (int i = 0; i < STEPS; i++) {
            uint64_t kind = stream_next(&stream) % 256;
            uint64_t step = stream_next(&stream);
            if (kind == 0 && at - model.base + REACH < model.size) {
                at += step % REACH; /* a far jump */
            } else if (kind < 128 && at - model.base + 100 < model.size) {
                at += step % (seed % 8 + 1);
            }
            uint64_t back = kind < 160 ? 0 : step % (REPLAY_WINDOW + 200);
            uint64_t counter = at - model.base < back ? model.base : at - back;
            assert_int_equal(replay_accept(&replay, counter), model_accept(&model, counter));
        }
        free(model.seen);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_every_counter_is_new_once),
        cmocka_unit_test(reordered_within_the_window_is_new_once),
        cmocka_unit_test(edges_of_the_window),
        cmocka_unit_test(far_jump_forgets_the_old_window),
        cmocka_unit_test(first_counter_may_be_any),
        cmocka_unit_test(counters_at_the_limit_are_refused_and_change_nothing),
        cmocka_unit_test(random_walks_agree_with_a_naive_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
