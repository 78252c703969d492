/* The ring between two threads: nothing lost, nothing twice, order kept. */
#include "dice.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "engine/table/ring.h"

#define STEPS 50

static void *item(uintptr_t number) {
    return (void *)number;
}

static void capacity_is_a_power_of_two(void **state) {
    (void)state;
    struct ring *ring = NULL;
    assert_int_equal(ring_create(0, &ring), -EINVAL);
    assert_int_equal(ring_create(1, &ring), -EINVAL);
    assert_int_equal(ring_create(100, &ring), -EINVAL);
    assert_int_equal(ring_create((size_t)1 << 25, &ring), -EINVAL);
    assert_null(ring);
    ring_free(NULL);
}

static void random_steps_keep_order_and_capacity(void **state) {
    (void)state;
    struct dice dice = {.state = 2};
    for (size_t capacity = 2; capacity <= 64; capacity *= 2) {
        struct ring *ring;
        uintptr_t pushed = 0;
        uintptr_t popped = 0;
        assert_int_equal(ring_create(capacity, &ring), 0);
        for (int step = 0; step < 5000; step++) {
            size_t count = dice_below(&dice, STEPS);
            bool push = dice_chance(&dice, 50);
            for (size_t i = 0; i < count && push; i++) {
                bool room = pushed - popped < capacity;
                assert_int_equal(ring_push(ring, item(pushed + 1)), room);
                pushed += room;
            }
            for (size_t i = 0; i < count && !push; i++) {
                bool there = popped < pushed;
                assert_ptr_equal(ring_pop(ring), there ? item(popped + 1) : NULL);
                popped += there;
            }
            assert_int_equal(ring_empty(ring), pushed == popped);
        }
        ring_free(ring);
    }
}

#define SENT 400000

struct message {
    uintptr_t number;
};

static void *produce(void *context) {
    struct ring *ring = context;
    for (uintptr_t sent = 0; sent < SENT; sent++) {
        struct message *message = malloc(sizeof *message);
        message->number = sent; /* plain memory: must be seen by whoever pops it */
        while (!ring_push(ring, message)) {
            sched_yield();
        }
    }
    return NULL;
}

static void two_threads_lose_and_reorder_nothing(void **state) {
    (void)state;
    struct ring *ring;
    pthread_t producer;
    uintptr_t wrong = 0;
    assert_int_equal(ring_create(128, &ring), 0);
    assert_int_equal(pthread_create(&producer, NULL, produce, ring), 0);
    for (uintptr_t next = 0; next < SENT;) {
        struct message *message = ring_pop(ring);
        if (!message) {
            sched_yield();
            continue;
        }
        wrong += message->number != next++;
        free(message);
    }
    pthread_join(producer, NULL);
    assert_int_equal(wrong, 0);
    assert_true(ring_empty(ring));
    ring_free(ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capacity_is_a_power_of_two),
        cmocka_unit_test(random_steps_keep_order_and_capacity),
        cmocka_unit_test(two_threads_lose_and_reorder_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
