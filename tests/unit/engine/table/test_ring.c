/* The ring between two threads: nothing lost, nothing twice, order kept. */
#include "dice.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "engine/table/ring.h"

#define BATCH 50

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

static void random_batches_keep_order_and_capacity(void **state) {
    (void)state;
    struct dice dice = {.state = 2};
    for (size_t capacity = 2; capacity <= 64; capacity *= 2) {
        struct ring *ring;
        uintptr_t pushed = 0;
        uintptr_t popped = 0;
        assert_int_equal(ring_create(capacity, &ring), 0);
        for (int step = 0; step < 5000; step++) {
            void *items[BATCH];
            size_t count = dice_below(&dice, BATCH);
            if (dice_chance(&dice, 50)) {
                for (size_t i = 0; i < count; i++) {
                    items[i] = item(pushed + i);
                }
                size_t room = capacity - (pushed - popped);
                assert_int_equal(ring_push(ring, items, count), count < room ? count : room);
                pushed += count < room ? count : room;
            } else {
                size_t there = pushed - popped;
                size_t got = ring_pop(ring, items, count);
                assert_int_equal(got, count < there ? count : there);
                for (size_t i = 0; i < got; i++) {
                    assert_ptr_equal(items[i], item(popped++));
                }
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
    struct dice dice = {.state = 3};
    for (uintptr_t sent = 0; sent < SENT;) {
        void *items[BATCH];
        size_t count = 1 + dice_below(&dice, BATCH);
        count = count < SENT - sent ? count : SENT - sent;
        for (size_t i = 0; i < count; i++) {
            struct message *message = malloc(sizeof *message);
            message->number = sent + i; /* plain memory: must be seen by whoever pops it */
            items[i] = message;
        }
        for (size_t done = 0; done < count;) {
            size_t taken = ring_push(ring, items + done, count - done);
            done += taken;
            if (taken == 0) {
                sched_yield();
            }
        }
        sent += count;
    }
    return NULL;
}

static void two_threads_lose_and_reorder_nothing(void **state) {
    (void)state;
    struct dice dice = {.state = 4};
    struct ring *ring;
    pthread_t producer;
    uintptr_t wrong = 0;
    assert_int_equal(ring_create(128, &ring), 0);
    assert_int_equal(pthread_create(&producer, NULL, produce, ring), 0);
    for (uintptr_t next = 0; next < SENT;) {
        void *items[BATCH];
        size_t got = ring_pop(ring, items, 1 + dice_below(&dice, BATCH));
        for (size_t i = 0; i < got; i++) {
            struct message *message = items[i];
            wrong += message->number != next++;
            free(message);
        }
        if (got == 0) {
            sched_yield();
        }
    }
    pthread_join(producer, NULL);
    assert_int_equal(wrong, 0);
    assert_true(ring_empty(ring));
    ring_free(ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capacity_is_a_power_of_two),
        cmocka_unit_test(random_batches_keep_order_and_capacity),
        cmocka_unit_test(two_threads_lose_and_reorder_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
