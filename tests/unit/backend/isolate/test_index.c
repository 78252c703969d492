/* The index behind tenants and reconciliation, against a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/isolate/index.h"

#define RECORDS 4096

static uint32_t records[RECORDS];
static bool present[RECORDS];

static bool equal(const void *all, uint32_t place, const void *wanted) {
    const uint32_t *value = wanted;
    return ((const uint32_t *)all)[place] == *value;
}

static uint64_t hash_of(const struct isolate_index *index, uint32_t value) {
    return isolate_index_hash(index, &value, sizeof value);
}

static void expect_as_present(const struct isolate_index *index) {
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint32_t place = RECORDS;
        bool found = isolate_index_find(index, hash_of(index, records[i]), equal, records, &records[i], &place);
        assert_int_equal(found, present[i]);
        assert_true(!found || place == i);
    }
}

static void finds_what_was_added_and_not_what_was_removed(void **state) {
    struct isolate_index index;
    uint32_t used = 0;
    (void)state;
    srandom(4);
    isolate_index_init(&index);
    for (uint32_t i = 0; i < RECORDS; i++) {
        records[i] = i * 7919;
    }
    for (int round = 0; round < 40000; round++) {
        uint32_t i = (uint32_t)random() % RECORDS;
        if (present[i]) {
            isolate_index_remove(&index, hash_of(&index, records[i]), i);
            used--;
        } else {
            assert_int_equal(isolate_index_add(&index, hash_of(&index, records[i]), i), 0);
            used++;
        }
        present[i] = !present[i];
        if (round % 2000 == 0) {
            expect_as_present(&index);
        }
    }
    expect_as_present(&index);
    assert_int_equal(index.used, used);
    isolate_index_free(&index);
}

/* One row of cells, in which what follows a gap moves up only if it may. */
static void removes_from_a_row_of_equal_hashes(void **state) {
    struct isolate_index index;
    (void)state;
    isolate_index_init(&index);
    for (uint32_t i = 0; i < 20; i++) {
        records[i] = i;
        assert_int_equal(isolate_index_add(&index, i < 10 ? 63 : i - 10, i), 0);
    }
    for (uint32_t gone = 0; gone < 20; gone += 3) {
        isolate_index_remove(&index, gone < 10 ? 63 : gone - 10, gone);
        for (uint32_t i = 0; i < 20; i++) {
            uint32_t place;
            bool wanted = i > gone || i % 3 != 0;
            assert_int_equal(isolate_index_find(&index, i < 10 ? 63 : i - 10, equal, records, &records[i], &place),
                             wanted);
        }
    }
    isolate_index_free(&index);
}

static void an_empty_one_finds_nothing(void **state) {
    struct isolate_index index;
    uint32_t place, value = 1;
    (void)state;
    isolate_index_init(&index);
    assert_false(isolate_index_find(&index, 1, equal, records, &value, &place));
    isolate_index_remove(&index, 1, 0);
    isolate_index_free(&index);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_added_and_not_what_was_removed),
        cmocka_unit_test(removes_from_a_row_of_equal_hashes),
        cmocka_unit_test(an_empty_one_finds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
