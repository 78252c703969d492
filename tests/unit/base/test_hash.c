/* The hash table, against a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"

#define KEYS 3000

struct entry {
    uint64_t key;
    uint64_t value;
};

static void agrees_with_a_naive_table(void **state) {
    static uint64_t is[KEYS]; /* value; 0: absent */
    static uint32_t number[KEYS];
    struct hash table;
    uint32_t count = 0;
    (void)state;
    srandom(7);
    hash_open(&table, sizeof(uint64_t), sizeof(struct entry));
    for (int step = 0; step < 200000; step++) {
        uint64_t key = (uint64_t)(random() % KEYS);
        struct entry *entry = hash_get(&table, &key);
        assert_int_equal(entry != NULL, is[key] != 0);
        if (entry) {
            assert_int_equal(entry->value, is[key]);
            assert_int_equal(hash_number(&table, entry), number[key]); /* as long as it lives */
            assert_ptr_equal(hash_at(&table, number[key]), entry);
        }
        /* fills up, and empties again */
        bool more = random() % 100 < (step / 40000 % 2 ? 30 : 70);
        if (more && !entry) {
            entry = hash_put(&table, &key);
            assert_non_null(entry);
            assert_int_equal(entry->value, 0);
            entry->value = is[key] = (uint64_t)random() + 1;
            number[key] = hash_number(&table, entry);
            count++;
        } else if (!more && entry) {
            hash_remove(&table, entry);
            is[key] = 0;
            count--;
        }
        assert_int_equal(table.count, count);
    }
    size_t at = 0, seen = 0;
    for (struct entry *entry; (entry = hash_each(&table, &at));) {
        assert_int_equal(entry->value, is[entry->key]);
        seen++;
    }
    assert_int_equal(seen, count);
    assert_true(table.used <= KEYS); /* places are used again */
    hash_free(&table);
    assert_null(hash_get(&table, &count));
}

static void an_empty_one_finds_nothing(void **state) {
    struct hash table;
    size_t at = 0;
    (void)state;
    hash_open(&table, sizeof(uint64_t), sizeof(struct entry));
    assert_null(hash_get(&table, &(uint64_t){1}));
    assert_null(hash_each(&table, &at));
    hash_free(&table);
    hash_free(&table);
}

/* A secret that an entry held does not stay behind in its memory. */
static void what_is_removed_is_wiped(void **state) {
    struct hash table;
    (void)state;
    hash_open(&table, sizeof(uint64_t), sizeof(struct entry));
    struct entry *entry = hash_put(&table, &(uint64_t){1});
    assert_non_null(entry);
    entry->value = UINT64_MAX;
    hash_remove(&table, entry);
    assert_int_equal(entry->value, 0);
    hash_free(&table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_naive_table),
        cmocka_unit_test(an_empty_one_finds_nothing),
        cmocka_unit_test(what_is_removed_is_wiped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
