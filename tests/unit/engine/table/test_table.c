/* The hash table against an array that forgets nothing. */
#include "dice.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/table/table.h"

#define ENTRIES 60000

/* The model: value v (from 1) has the key keys[v]; hashes[v] is its hash; there[v] whether it is in the table. */
struct model {
    struct dice dice;
    struct table table;
    uint64_t *keys;
    uint32_t *hashes;
    bool *there;
    uint32_t count;
};

static struct model *model_new(uint64_t seed, uint32_t hash_mask) {
    struct model *m = calloc(1, sizeof *m);
    uint8_t secret[TABLE_KEY_SIZE];
    m->dice.state = seed;
    m->keys = calloc(ENTRIES + 1, sizeof *m->keys);
    m->hashes = calloc(ENTRIES + 1, sizeof *m->hashes);
    m->there = calloc(ENTRIES + 1, sizeof *m->there);
    dice_fill(&m->dice, secret, sizeof secret);
    for (uint32_t v = 1; v <= ENTRIES; v++) {
        m->keys[v] = dice_u64(&m->dice);
        m->hashes[v] = table_hash(secret, &m->keys[v], sizeof m->keys[v]) & hash_mask;
    }
    return m;
}

static void model_free(struct model *m) {
    table_free(&m->table);
    free(m->keys);
    free(m->hashes);
    free(m->there);
    free(m);
}

static bool same_key(const void *context, uint32_t value, const void *key) {
    const struct model *m = context;
    return m->keys[value] == *(const uint64_t *)key;
}

static uint32_t find(const struct model *m, uint32_t v) {
    return table_find(&m->table, m->hashes[v], same_key, m, &m->keys[v]);
}

/* Inserts what is absent, removes what is present; returns how many entries moved between the arrays. */
static uint32_t toggle(struct model *m, uint32_t v) {
    uint32_t waiting = m->table.old.used;
    if (m->there[v]) {
        assert_int_equal(table_remove(&m->table, m->hashes[v], v), 0);
        m->count--;
    } else {
        assert_int_equal(find(m, v), 0);
        assert_int_equal(table_insert(&m->table, m->hashes[v], v), 0);
        m->count++;
    }
    m->there[v] = !m->there[v];
    assert_int_equal(find(m, v), m->there[v] ? v : 0);
    assert_int_equal(table_count(&m->table), m->count);
    return waiting > m->table.old.used ? waiting - m->table.old.used : 0;
}

static void check_all(struct model *m) {
    for (uint32_t v = 1; v <= ENTRIES; v++) {
        assert_int_equal(find(m, v), m->there[v] ? v : 0);
        assert_int_equal(table_find_exact(&m->table, m->hashes[v]) != 0 || !m->there[v], true);
    }
    assert_int_equal(table_count(&m->table), m->count);
}

static void grows_and_shrinks_like_the_model(void **state) {
    (void)state;
    struct model *m = model_new(1, UINT32_MAX);
    /* waves: mostly inserts, then mostly removes, down to little and up again */
    static const uint32_t wave_target[] = {ENTRIES - 2000, 100, 30000, 29000, 3};
    for (size_t wave = 0; wave < COUNT(wave_target); wave++) {
        for (uint32_t step = 0; step < 4 * ENTRIES && m->count != wave_target[wave]; step++) {
            uint32_t v = 1 + dice_below(&m->dice, ENTRIES);
            bool wanted = (m->count < wave_target[wave]) != dice_chance(&m->dice, 10);
            for (uint32_t tries = 0; m->there[v] == wanted && tries < ENTRIES; tries++) {
                v = v % ENTRIES + 1;
            }
            if (m->there[v] != wanted) {
                toggle(m, v);
            }
        }
        check_all(m);
    }
    model_free(m);
}

static void no_operation_rehashes_everything(void **state) {
    (void)state;
    struct model *m = model_new(2, UINT32_MAX);
    uint32_t most = 0;
    bool both = false;
    for (uint32_t v = 1; v <= ENTRIES; v++) {
        uint32_t moved = toggle(m, v);
        most = moved > most ? moved : most;
        both |= m->table.old.used > 1000;
    }
    assert_true(both); /* lookups above went through half-moved tables */
    assert_true(most < 1000);
    while (table_migrate(&m->table)) {
    }
    for (uint32_t v = 1; v <= ENTRIES; v++) {
        uint32_t moved = toggle(m, v);
        most = moved > most ? moved : most;
    }
    assert_true(most < 1000);
    model_free(m);
}

static void memory_follows_the_entries(void **state) {
    (void)state;
    struct model *m = model_new(3, UINT32_MAX);
    assert_int_equal(table_size(&m->table), 0);
    for (uint32_t v = 1; v <= ENTRIES; v++) {
        toggle(m, v);
        if (!m->table.old.slots && v > 1000) {
            assert_true(table_size(&m->table) <= 12 * (size_t)v);
        }
    }
    for (uint32_t v = 1; v <= ENTRIES; v++) {
        toggle(m, v);
    }
    while (table_migrate(&m->table)) {
    }
    assert_true(table_size(&m->table) < 1024);
    model_free(m);
}

/* Whatever the hash: a table of equal hashes is slow, not wrong. */
static void equal_and_clustered_hashes_are_told_apart(void **state) {
    (void)state;
    static const uint32_t masks[] = {0, 1, UINT32_C(0xff000000), UINT32_C(0x000000ff)};
    for (size_t i = 0; i < COUNT(masks); i++) {
        struct model *m = model_new(4 + i, masks[i]);
        for (int step = 0; step < 6000; step++) {
            toggle(m, 1 + dice_below(&m->dice, 300));
        }
        check_all(m);
        model_free(m);
    }
}

static void what_is_absent_is_refused(void **state) {
    (void)state;
    struct table table = {0};
    assert_int_equal(table_remove(&table, 1, 1), -ENOENT);
    assert_int_equal(table_find_exact(&table, 1), 0);
    assert_int_equal(table_insert(&table, 1, 0), -EINVAL);
    assert_int_equal(table_insert(&table, 1, 7), 0);
    assert_int_equal(table_remove(&table, 1, 8), -ENOENT);
    assert_int_equal(table_remove(&table, 2, 7), -ENOENT);
    assert_int_equal(table_find_exact(&table, 1), 7);
    table_free(&table);
    table_free(&table);
    table_free(NULL);
}

/* Eight bits name the worker, so indexes share them; mixed they spread all the same, and stay apart. */
static void mixed_indexes_spread_and_stay_unique(void **state) {
    (void)state;
    struct table table = {0};
    uint32_t quarter[4] = {0};
    struct dice dice = {.state = 9};
    for (uint32_t v = 1; v <= 20000; v++) {
        uint32_t index = UINT32_C(0x07000000) | v;
        assert_int_equal(table_find_exact(&table, table_mix(index)), 0);
        assert_int_equal(table_insert(&table, table_mix(index), v), 0);
        quarter[table_mix(index) >> 30]++;
    }
    for (int i = 0; i < 4; i++) {
        assert_in_range(quarter[i], 4500, 5500);
    }
    for (uint32_t v = 1; v <= 20000; v++) {
        assert_int_equal(table_find_exact(&table, table_mix(UINT32_C(0x07000000) | v)), v);
        uint32_t other = dice_u32(&dice);
        assert_true(other >> 24 == 7 || table_find_exact(&table, table_mix(other)) == 0);
    }
    table_free(&table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_shrinks_like_the_model), cmocka_unit_test(no_operation_rehashes_everything),
        cmocka_unit_test(memory_follows_the_entries),       cmocka_unit_test(equal_and_clustered_hashes_are_told_apart),
        cmocka_unit_test(what_is_absent_is_refused),        cmocka_unit_test(mixed_indexes_spread_and_stay_unique),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
