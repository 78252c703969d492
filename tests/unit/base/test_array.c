#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/array.h"

static bool out_of_memory;

/* Between array.c and the C library, by the linker (--wrap). */
void *__real_reallocarray(void *list, size_t count, size_t size);
void *__wrap_reallocarray(void *list, size_t count, size_t size);

void *__wrap_reallocarray(void *list, size_t count, size_t size) {
    return out_of_memory ? NULL : __real_reallocarray(list, count, size);
}

static void it_keeps_what_is_there_and_zeroes_what_is_new(void **state) {
    (void)state;
    uint32_t *list = NULL;
    size_t room = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        list = array_grow(list, &room, i + 1, sizeof *list);
        assert_non_null(list);
        assert_true(room > i);
        assert_int_equal(list[i], 0);
        list[i] = i + 1;
    }
    for (uint32_t i = 0; i < 10000; i++) {
        assert_int_equal(list[i], i + 1);
    }
    for (size_t i = 10000; i < room; i++) {
        assert_int_equal(list[i], 0);
    }
    free(list);
}

static void it_grows_seldom_and_as_far_as_it_has_to(void **state) {
    (void)state;
    size_t room = 0, moves = 0;
    char *list = NULL;
    for (size_t count = 1; count <= 100000; count++) {
        size_t before = room;
        list = array_grow(list, &room, count, 1);
        moves += room != before;
    }
    assert_true(moves < 20);
    list = array_grow(list, &room, room * 10 + 1, 1);
    assert_non_null(list);
    list[room - 1] = 'x';
    assert_true(room > 1000000);
    free(list);
}

static void a_list_of_nothing_is_there_too(void **state) {
    (void)state;
    size_t room = 0;
    char *list = array_grow(NULL, &room, 0, 1);
    assert_non_null(list);
    free(list);
}

static void without_memory_all_is_as_it_was(void **state) {
    (void)state;
    size_t room = 0;
    uint32_t *list = array_grow(NULL, &room, 1, sizeof *list);
    size_t before = room;
    list[0] = 7;
    out_of_memory = true;
    assert_null(array_grow(list, &room, before + 1, sizeof *list));
    out_of_memory = false;
    assert_int_equal(room, before);
    assert_int_equal(list[0], 7);
    free(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_keeps_what_is_there_and_zeroes_what_is_new),
        cmocka_unit_test(it_grows_seldom_and_as_far_as_it_has_to),
        cmocka_unit_test(a_list_of_nothing_is_there_too),
        cmocka_unit_test(without_memory_all_is_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
