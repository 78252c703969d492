/* The timer wheel against a plain array of deadlines. */
#include "dice.h"

#include <stdlib.h>

#include "base/clock.h"
#include "engine/table/wheel.h"

#define NODES 500
#define ALL SIZE_MAX

struct timer {
    struct wheel_node node;
    uint64_t deadline_ns;
    uint64_t armed_at_ns;
    bool armed;
    unsigned fired;
};

struct world {
    struct wheel wheel;
    struct dice dice;
    uint64_t now_ns;
    uint64_t last_tick; /* of the last one that fired in this call */
    struct timer timers[NODES];
    size_t armed;
    uint64_t rearm_ns;    /* whoever fires arms again this far off */
    struct timer *victim; /* freed by whoever fires first */
};

static uint64_t tick_up(uint64_t ns) {
    return (ns + WHEEL_TICK_NS - 1) / WHEEL_TICK_NS;
}

static void fired(void *context, struct wheel_node *node) {
    struct world *world = context;
    struct timer *timer = (struct timer *)(void *)((char *)node - offsetof(struct timer, node));
    assert_true(timer->armed);
    assert_false(wheel_armed(node));
    assert_true(timer->deadline_ns <= world->now_ns); /* never early */
    uint64_t due = tick_up(timer->deadline_ns > timer->armed_at_ns ? timer->deadline_ns : timer->armed_at_ns);
    assert_true(due >= world->last_tick || due <= tick_up(timer->armed_at_ns));
    timer->armed = false;
    timer->fired++;
    world->armed--;
}

static struct world *world_new(uint64_t seed, uint64_t now_ns) {
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->dice.state = seed;
    world->now_ns = now_ns;
    wheel_init(&world->wheel, now_ns);
    return world;
}

static void arm(struct world *world, struct timer *timer, uint64_t deadline_ns) {
    world->armed += !timer->armed;
    timer->armed = true;
    timer->deadline_ns = deadline_ns;
    timer->armed_at_ns = world->now_ns;
    wheel_arm(&world->wheel, &timer->node, deadline_ns);
}

/* Distances of all magnitudes: past, milliseconds, minutes, years. */
static uint64_t some_distance(struct dice *dice) {
    return dice_u64(dice) >> (8 + dice_below(dice, 50));
}

static void random_walk(uint64_t seed, uint64_t start_ns, uint64_t step_shift) {
    struct world *world = world_new(seed, start_ns);
    for (int step = 0; step < 20000; step++) {
        struct timer *timer = &world->timers[dice_below(&world->dice, NODES)];
        if (dice_chance(&world->dice, 60)) {
            uint64_t distance = some_distance(&world->dice);
            bool past = dice_chance(&world->dice, 5);
            arm(world, timer,
                past ? world->now_ns - (distance < world->now_ns ? distance : 0) : world->now_ns + distance);
        } else if (dice_chance(&world->dice, 40)) {
            world->armed -= timer->armed;
            timer->armed = false;
            wheel_disarm(&world->wheel, &timer->node);
        } else {
            world->now_ns += dice_u64(&world->dice) >> (step_shift + dice_below(&world->dice, 20));
            wheel_advance(&world->wheel, world->now_ns, ALL, fired, world);
            uint64_t next = wheel_next(&world->wheel);
            for (int i = 0; i < NODES; i++) { /* whatever is left is not due, and the wheel will ask in time */
                struct timer *left = &world->timers[i];
                assert_int_equal(left->armed, wheel_armed(&left->node));
                assert_true(!left->armed || tick_up(left->deadline_ns) > world->now_ns / WHEEL_TICK_NS);
                assert_true(!left->armed || next <= tick_up(left->deadline_ns) * WHEEL_TICK_NS);
            }
        }
        assert_int_equal(world->wheel.count, world->armed);
    }
    free(world);
}

static void random_walks_fire_each_timer_in_time(void **state) {
    (void)state;
    random_walk(1, 0, 40);                          /* steps up to 16 ms */
    random_walk(2, 12345678901, 30);                /* up to 17 s */
    random_walk(3, UINT64_C(1) << 54, 16);          /* up to days, across the turns of all levels */
    random_walk(4, (UINT64_C(1) << 54) - 1000, 36); /* the top levels turn at once */
    random_walk(5, UINT64_C(18014398500000000), 35);
}

static void each_poll_timeout_ends_at_work(void **state) {
    (void)state;
    struct world *world = world_new(6, 99 * NSEC_PER_SEC);
    uint64_t deadline = world->now_ns + 180 * NSEC_PER_SEC;
    unsigned wakes = 0;
    assert_true(wheel_next(&world->wheel) == WHEEL_NEVER);
    arm(world, &world->timers[0], deadline);
    while (!world->timers[0].fired) {
        uint64_t next = wheel_next(&world->wheel);
        assert_true(next > world->now_ns);
        world->now_ns = next;
        assert_int_equal(wheel_advance(&world->wheel, world->now_ns, ALL, fired, world), 1);
        wakes++;
    }
    assert_true(wakes <= 3); /* one a level: it does not tick */
    assert_true(world->now_ns < deadline + WHEEL_TICK_NS);
    assert_true(wheel_next(&world->wheel) == WHEEL_NEVER);
    free(world);
}

static void work_per_call_is_bounded_and_loses_nothing(void **state) {
    (void)state;
    struct world *world = world_new(7, 3 * NSEC_PER_SEC);
    for (int i = 0; i < NODES; i++) {
        arm(world, &world->timers[i], world->now_ns + (uint64_t)(60 + i % 20) * NSEC_PER_SEC);
    }
    world->now_ns += 70 * NSEC_PER_SEC + WHEEL_TICK_NS;
    size_t calls = 0;
    size_t touched;
    do {
        touched = wheel_advance(&world->wheel, world->now_ns, 7, fired, world);
        assert_true(touched <= 7);
        /* until all is done the wheel wants to be called at once */
        assert_true(touched < 7 || world->armed == 0 || wheel_next(&world->wheel) <= world->now_ns ||
                    world->armed == NODES / 20 * 9);
        calls++;
    } while (touched == 7);
    assert_true(calls > NODES / 2 / 7);
    for (int i = 0; i < NODES; i++) {
        assert_int_equal(world->timers[i].fired, i % 20 <= 10);
    }
    free(world);
}

/* A cascade cut short must not make its early nodes wait for later ones. */
static void cut_cascade_goes_on_first(void **state) {
    (void)state;
    for (size_t most = 1; most < 6; most++) {
        struct world *world = world_new(8, 0);
        uint64_t begin = 64 * WHEEL_TICK_NS; /* where the second slot of level 1 begins */
        for (unsigned i = 0; i < 40; i++) {
            arm(world, &world->timers[i], begin + (39 - i) * WHEEL_TICK_NS);
        }
        world->now_ns = begin;
        for (unsigned tick = 0; tick < 40; tick++, world->now_ns += WHEEL_TICK_NS) {
            while (wheel_advance(&world->wheel, world->now_ns, most, fired, world) == most) {
                arm(world, &world->timers[100], world->now_ns + 1000 * NSEC_PER_SEC);
            }
            assert_int_equal(world->timers[39 - tick].fired, 1);
        }
        free(world);
    }
}

static void fire_and_arm_again(void *context, struct wheel_node *node) {
    struct world *world = context;
    fired(context, node);
    struct timer *timer = (struct timer *)(void *)((char *)node - offsetof(struct timer, node));
    arm(world, timer, world->rearm_ns);
    if (world->victim) {
        wheel_disarm(&world->wheel, &world->victim->node);
        free(world->victim);
        world->victim = NULL;
        world->armed--;
    }
}

static void arming_for_the_past_inside_a_callback_waits_for_the_next_call(void **state) {
    (void)state;
    struct world *world = world_new(9, 50 * NSEC_PER_SEC);
    arm(world, &world->timers[0], world->now_ns + NSEC_PER_SEC);
    for (unsigned call = 1; call < 10; call++) {
        world->now_ns += 2 * NSEC_PER_SEC;
        assert_in_range(wheel_advance(&world->wheel, world->now_ns, 1000, fire_and_arm_again, world), 1, WHEEL_LEVELS);
        assert_int_equal(world->timers[0].fired, call);
    }
    free(world);
}

static void a_callback_may_free_its_neighbour(void **state) {
    (void)state;
    struct world *world = world_new(10, 0);
    world->victim = calloc(1, sizeof *world->victim);
    world->rearm_ns = 100 * NSEC_PER_SEC;
    arm(world, world->victim, NSEC_PER_SEC);
    arm(world, &world->timers[0], NSEC_PER_SEC); /* the newest of a slot fires first */
    world->now_ns = 2 * NSEC_PER_SEC;
    wheel_advance(&world->wheel, world->now_ns, ALL, fire_and_arm_again, world);
    assert_null(world->victim);
    assert_int_equal(world->timers[0].fired, 1);
    assert_int_equal(world->wheel.count, 1);
    free(world);
}

static void the_end_of_time_is_far(void **state) {
    (void)state;
    struct world *world = world_new(11, 5 * NSEC_PER_SEC);
    arm(world, &world->timers[0], UINT64_MAX);
    assert_true(wheel_next(&world->wheel) > 1000 * 86400 * NSEC_PER_SEC);
    world->now_ns += 400 * 86400 * NSEC_PER_SEC;
    assert_int_equal(wheel_advance(&world->wheel, world->now_ns, ALL, fired, world), 0);
    free(world);
}

static void a_node_is_small(void **state) {
    (void)state;
    assert_true(sizeof(struct wheel_node) <= 24);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_walks_fire_each_timer_in_time),
        cmocka_unit_test(each_poll_timeout_ends_at_work),
        cmocka_unit_test(work_per_call_is_bounded_and_loses_nothing),
        cmocka_unit_test(cut_cascade_goes_on_first),
        cmocka_unit_test(arming_for_the_past_inside_a_callback_waits_for_the_next_call),
        cmocka_unit_test(a_callback_may_free_its_neighbour),
        cmocka_unit_test(the_end_of_time_is_far),
        cmocka_unit_test(a_node_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
