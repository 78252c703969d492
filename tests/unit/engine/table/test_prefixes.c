/* A sorted set of prefixes against a plain array, at sizes where its form changes; and what it costs. */
#include "dice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/table/prefixes.h"

#define NUMBERS 4000u
#define MANY 200000u
#define MOVED_MAX 16384 /* bytes that one operation may move, on average */

void *__wrap_memmove(void *to, const void *from, size_t size);
void *__real_memmove(void *to, const void *from, size_t size);

static uint64_t moved;

void *__wrap_memmove(void *to, const void *from, size_t size) {
    moved += size;
    return __real_memmove(to, from, size);
}

/* In no order. */
static struct prefix prefix_of(uint32_t number) {
    struct ip_addr addr = ip_from_v4(number * UINT32_C(2654435761));
    return prefix_make(&addr, 32);
}

static void expect(const struct prefixes *set, const bool *there) {
    static struct prefix list[NUMBERS];
    uint32_t count = 0;
    for (uint32_t number = 0; number < NUMBERS; number++) {
        count += there[number];
    }
    assert_int_equal(set->count, count);
    prefixes_copy(set, list);
    for (uint32_t i = 1; i < count; i++) {
        assert_true(prefix_compare(&list[i - 1], &list[i]) < 0);
    }
}

static void agrees_with_a_plain_array(void **state) {
    static bool there[NUMBERS];
    static const uint32_t targets[] = {1, 3, 511, 513, 0, 4000, 100, 700, 2, 2000, 0};
    struct prefixes set = {0};
    struct dice dice = {.state = 5};
    (void)state;
    for (size_t wave = 0; wave < COUNT(targets); wave++) {
        while (set.count != targets[wave]) {
            bool more = set.count < targets[wave];
            uint32_t number = dice_below(&dice, NUMBERS);
            while (!dice_chance(&dice, 10) && there[number] == more) {
                number = (number + 1) % NUMBERS;
            }
            struct prefix prefix = prefix_of(number);
            if (more) {
                assert_int_equal(prefixes_add(&set, &prefix), there[number] ? -EEXIST : 0);
                there[number] = true;
            } else {
                assert_int_equal(prefixes_remove(&set, &prefix), there[number]);
                there[number] = false;
            }
        }
        expect(&set, there);
    }
    prefixes_clear(&set);
}

static void gives_the_last_first(void **state) {
    struct prefix previous = {0}, last;
    (void)state;
    for (uint32_t count = 0; count < 3000; count = count * 3 + 1) {
        struct prefixes set = {0};
        for (uint32_t number = 0; number < count; number++) {
            struct prefix prefix = prefix_of(number);
            assert_int_equal(prefixes_add(&set, &prefix), 0);
        }
        for (uint32_t left = count; left > 0; left--) {
            assert_true(prefixes_pop(&set, &last));
            assert_true(left == count || prefix_compare(&last, &previous) < 0);
            previous = last;
            assert_int_equal(set.count, left - 1);
        }
        assert_false(prefixes_pop(&set, &last));
        /* and it can be filled again */
        struct prefix again = prefix_of(1);
        assert_false(prefixes_remove(&set, &again));
        prefixes_clear(&set);
    }
}

/* Counted, not timed: a sorted array would move half of itself with each of them. */
static void one_more_costs_the_same_however_many_there_are(void **state) {
    struct prefixes set = {0};
    (void)state;
    moved = 0;
    for (uint32_t number = 0; number < MANY; number++) {
        struct prefix prefix = prefix_of(number);
        assert_int_equal(prefixes_add(&set, &prefix), 0);
        assert_true(moved <= (uint64_t)(number + 1) * MOVED_MAX);
    }
    moved = 0;
    for (uint32_t number = 0; number < MANY; number++) {
        struct prefix prefix = prefix_of(number);
        assert_true(prefixes_remove(&set, &prefix));
        assert_true(moved <= (uint64_t)(number + 1) * MOVED_MAX);
    }
    assert_int_equal(set.count, 0);
    prefixes_clear(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_plain_array),
        cmocka_unit_test(gives_the_last_first),
        cmocka_unit_test(one_more_costs_the_same_however_many_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
