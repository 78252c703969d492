/* The trie against a list that is searched from end to end. */
#include "dice.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/table/trie.h"

#define LIST_MAX 512

struct entry {
    struct prefix prefix;
    uint32_t value; /* 0: free */
};

struct model {
    struct dice dice;
    struct trie_pool *pool;
    struct trie trie;
    struct entry list[LIST_MAX];
};

static struct ip_addr addr_of(const char *text) {
    struct ip_addr addr;
    assert_int_equal(ip_parse(text, &addr), 0);
    return addr;
}

static struct prefix prefix_of(const char *text) {
    struct prefix prefix;
    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return prefix;
}

static struct ip_addr some_addr(struct dice *dice) {
    /* few bits are free, so that prefixes nest, share and part everywhere */
    struct ip_addr addr = {.family = dice_chance(dice, 50) ? AF_INET : AF_INET6};
    for (int i = 0; i < ip_bits(&addr) / 8; i++) {
        uint8_t spread = addr.family == AF_INET ? 0x83 : i % 5 == 0 ? 0x81 : 0;
        addr.bytes[i] = (uint8_t)dice_u32(dice) & spread;
    }
    return addr;
}

static struct prefix some_prefix(struct dice *dice) {
    struct ip_addr addr = some_addr(dice);
    uint8_t bits = ip_bits(&addr);
    return prefix_make(&addr, dice_chance(dice, 30) ? bits : (uint8_t)dice_below(dice, bits + 1u));
}

static bool is_empty(const struct trie *trie) {
    return trie->roots[0] == 0 && trie->roots[1] == 0;
}

static struct entry *list_find(struct model *m, const struct prefix *prefix) {
    for (size_t i = 0; i < LIST_MAX; i++) {
        if (m->list[i].value && prefix_equal(&m->list[i].prefix, prefix)) {
            return &m->list[i];
        }
    }
    return NULL;
}

static struct entry *list_free_place(struct model *m) {
    for (size_t i = 0; i < LIST_MAX; i++) {
        if (!m->list[i].value) {
            return &m->list[i];
        }
    }
    return NULL;
}

static uint32_t list_lookup(const struct model *m, const struct ip_addr *addr) {
    const struct entry *best = NULL;
    for (size_t i = 0; i < LIST_MAX; i++) {
        const struct entry *e = &m->list[i];
        if (e->value && prefix_contains(&e->prefix, addr) && (!best || e->prefix.length > best->prefix.length)) {
            best = e;
        }
    }
    return best ? best->value : 0;
}

static struct model *model_new(uint64_t seed, bool concurrent) {
    struct model *m = calloc(1, sizeof *m);
    m->dice.state = seed;
    assert_int_equal(trie_pool_create(concurrent, &m->pool), 0);
    return m;
}

static void model_free(struct model *m) {
    trie_pool_free(m->pool);
    free(m);
}

static void insert(struct model *m, const struct prefix *prefix, uint32_t value) {
    struct entry *e = list_find(m, prefix);
    uint32_t previous = 12345;
    assert_int_equal(trie_insert(m->pool, &m->trie, prefix, value, &previous), 0);
    assert_int_equal(previous, e ? e->value : 0);
    e = e ? e : list_free_place(m);
    if (e) {
        *e = (struct entry){.prefix = *prefix, .value = value};
    } else {
        assert_int_equal(trie_remove(m->pool, &m->trie, prefix, value), 0);
    }
}

static void withdraw(struct model *m, const struct prefix *prefix, uint32_t value) {
    struct entry *e = list_find(m, prefix);
    bool owned = e && e->value == value;
    assert_int_equal(trie_remove(m->pool, &m->trie, prefix, value), owned ? 0 : -ENOENT);
    if (owned) {
        e->value = 0;
    }
}

static void compare(struct model *m) {
    size_t count = 0;
    for (size_t i = 0; i < LIST_MAX; i++) {
        count += m->list[i].value != 0;
        if (m->list[i].value) {
            assert_int_equal(trie_get(m->pool, &m->trie, &m->list[i].prefix), m->list[i].value);
        }
    }
    assert_int_equal(is_empty(&m->trie), count == 0);
}

static void random_changes_match_the_list(void **state) {
    (void)state;
    for (int concurrent = 0; concurrent < 2; concurrent++) {
        struct model *m = model_new(1, concurrent);
        for (int step = 0; step < 40000; step++) {
            struct prefix prefix = some_prefix(&m->dice);
            uint32_t value = 1 + dice_below(&m->dice, 3);
            /* waves of growth and decline */
            if (dice_chance(&m->dice, step / 5000 % 2 ? 30 : 60)) {
                insert(m, &prefix, value);
            } else if (dice_chance(&m->dice, 50)) {
                withdraw(m, &prefix, value);
            } else {
                struct entry *e = &m->list[dice_below(&m->dice, LIST_MAX)];
                withdraw(m, &e->prefix, e->value);
            }
            for (int i = 0; i < 4; i++) {
                struct ip_addr addr = some_addr(&m->dice);
                assert_int_equal(trie_lookup(m->pool, &m->trie, &addr), list_lookup(m, &addr));
            }
            if (step % 500 == 0) {
                compare(m);
                trie_pool_reclaim(m->pool);
                trie_pool_seal(m->pool);
            }
        }
        for (size_t i = 0; i < LIST_MAX; i++) {
            if (m->list[i].value) {
                withdraw(m, &m->list[i].prefix, m->list[i].value);
            }
        }
        compare(m);
        model_free(m);
    }
}

static void every_length_of_one_address(void **state) {
    (void)state;
    static const char *const addrs[] = {
        "255.255.255.255",  "0.0.0.0", "10.100.0.2", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::",
        "fd12:3456:789a::7"};
    for (size_t a = 0; a < COUNT(addrs); a++) {
        struct model *m = model_new(2, false);
        struct ip_addr addr = addr_of(addrs[a]);
        uint8_t bits = ip_bits(&addr);
        for (uint32_t length = 0; length <= bits; length++) {
            struct prefix prefix = prefix_make(&addr, (uint8_t)length);
            insert(m, &prefix, length + 1);
            assert_int_equal(trie_lookup(m->pool, &m->trie, &addr), length + 1);
        }
        for (uint32_t flipped = 0; flipped < bits; flipped++) { /* differs first in this bit */
            struct ip_addr other = addr;
            other.bytes[flipped / 8] ^= (uint8_t)(0x80 >> flipped % 8);
            assert_int_equal(trie_lookup(m->pool, &m->trie, &other), flipped + 1);
        }
        compare(m);
        model_free(m);
    }
}

static void bad_arguments_change_nothing(void **state) {
    (void)state;
    struct model *m = model_new(3, false);
    struct prefix good = prefix_of("10.0.0.0/8");
    struct prefix none = {0};
    struct prefix long4 = {.addr = {.family = AF_INET}, .length = 33};
    struct ip_addr nowhere = {0};
    uint32_t previous = 7;
    assert_int_equal(trie_insert(m->pool, &m->trie, &good, 0, &previous), -EINVAL);
    assert_int_equal(trie_insert(m->pool, &m->trie, &none, 1, &previous), -EINVAL);
    assert_int_equal(trie_insert(m->pool, &m->trie, &long4, 1, &previous), -EINVAL);
    assert_int_equal(previous, 7);
    assert_true(is_empty(&m->trie));
    assert_int_equal(trie_remove(m->pool, &m->trie, &good, 1), -ENOENT);
    assert_int_equal(trie_remove(m->pool, &m->trie, &good, 0), -ENOENT);
    assert_int_equal(trie_lookup(m->pool, &m->trie, &nowhere), 0);
    model_free(m);
    trie_pool_free(NULL);
}

static void tries_of_one_pool_never_meet(void **state) {
    (void)state;
    enum { TENANTS = 2000 };
    struct trie_pool *pool;
    struct trie *tries = calloc(TENANTS, sizeof *tries);
    struct prefix lan = prefix_of("192.168.0.0/24");
    struct ip_addr router = addr_of("10.100.0.2");
    struct ip_addr host = addr_of("192.168.0.77");
    struct prefix tunnel = prefix_make(&router, 32);
    assert_int_equal(trie_pool_create(false, &pool), 0);
    for (uint32_t t = 0; t < TENANTS; t++) {
        assert_int_equal(trie_insert(pool, &tries[t], &tunnel, t * 2 + 1, NULL), 0);
        assert_int_equal(trie_insert(pool, &tries[t], &lan, t * 2 + 2, NULL), 0);
    }
    size_t size = trie_pool_size(pool);
    for (uint32_t t = 0; t < TENANTS; t += 2) {
        trie_clear(pool, &tries[t]);
    }
    for (uint32_t t = 0; t < TENANTS; t++) {
        assert_int_equal(trie_lookup(pool, &tries[t], &router), t % 2 ? t * 2 + 1 : 0);
        assert_int_equal(trie_lookup(pool, &tries[t], &host), t % 2 ? t * 2 + 2 : 0);
    }
    for (uint32_t t = 0; t < TENANTS; t += 2) {
        assert_int_equal(trie_insert(pool, &tries[t], &lan, 9, NULL), 0);
        assert_int_equal(trie_insert(pool, &tries[t], &tunnel, 9, NULL), 0);
    }
    assert_int_equal(trie_pool_size(pool), size); /* what was freed serves again */
    free(tries);
    trie_pool_free(pool);
}

static void retired_nodes_wait_for_the_barrier(void **state) {
    (void)state;
    struct model *m = model_new(4, true);
    struct prefix first = prefix_of("10.1.0.0/16");
    struct prefix second = prefix_of("fd00::/8");
    insert(m, &first, 1);
    insert(m, &second, 2);
    size_t size = trie_pool_size(m->pool);
    withdraw(m, &first, 1);
    trie_pool_seal(m->pool);
    withdraw(m, &second, 2); /* after the seal: not covered by this barrier */
    trie_pool_seal(m->pool); /* nor does another seal make it so */
    assert_int_equal(trie_pool_retired(m->pool), 2);
    insert(m, &first, 3);
    assert_true(trie_pool_size(m->pool) > size); /* nothing was reused yet */
    size = trie_pool_size(m->pool);
    trie_pool_reclaim(m->pool);
    assert_int_equal(trie_pool_retired(m->pool), 1);
    struct prefix third = prefix_of("172.16.0.0/12");
    withdraw(m, &first, 3);
    insert(m, &third, 4);
    assert_int_equal(trie_pool_size(m->pool), size);
    trie_pool_seal(m->pool);
    trie_pool_reclaim(m->pool);
    assert_int_equal(trie_pool_retired(m->pool), 0);
    compare(m);
    model_free(m);
}

/* Large enough for the shortcut: every host in it and out of it, and what a longer walk would say. */
static void a_large_trie_still_tells_the_truth(void **state) {
    (void)state;
    enum { HOSTS = 40000 };
    struct dice dice = {.state = 6};
    struct trie_pool *pool;
    struct trie trie = {0};
    uint32_t *values = calloc(HOSTS, sizeof *values);
    struct prefix all4 = prefix_of("10.0.0.0/8");
    struct prefix all6 = prefix_of("fd00::/8");
    assert_int_equal(trie_pool_create(false, &pool), 0);
    assert_int_equal(trie_insert(pool, &trie, &all4, 77, NULL), 0);
    assert_int_equal(trie_insert(pool, &trie, &all6, 66, NULL), 0);
    for (int step = 0; step < 400000; step++) {
        uint32_t number = dice_below(&dice, step < 200000 ? HOSTS : HOSTS / 20);
        struct ip_addr addr = number % 2 ? ip_from_v4(0x0a000000 + number) : all6.addr;
        if (number % 2 == 0) {
            addr.bytes[13] = (uint8_t)(number >> 16);
            addr.bytes[14] = (uint8_t)(number >> 8);
            addr.bytes[15] = (uint8_t)number;
        }
        struct prefix host = prefix_make(&addr, ip_bits(&addr));
        uint32_t value = 1000 + dice_below(&dice, 100);
        assert_int_equal(trie_lookup(pool, &trie, &addr), values[number] ? values[number] : number % 2 ? 77 : 66);
        if (dice_chance(&dice, 55)) {
            uint32_t previous = 1;
            assert_int_equal(trie_insert(pool, &trie, &host, value, &previous), 0);
            assert_int_equal(previous, values[number]);
            values[number] = value;
        } else if (values[number]) {
            assert_int_equal(trie_remove(pool, &trie, &host, values[number]), 0);
            values[number] = 0;
        }
        assert_int_equal(trie_get(pool, &trie, &host), values[number]);
    }
    assert_non_null(trie.hosts);
    trie_clear(pool, &trie);
    struct ip_addr gone = ip_from_v4(0x0a000001);
    assert_int_equal(trie_lookup(pool, &trie, &gone), 0);
    assert_null(trie.hosts);
    free(values);
    trie_pool_free(pool);
}

/* What makes lookups flat is gone with those who need it. */
static void the_shortcut_goes_with_the_hosts(void **state) {
    (void)state;
    struct trie_pool *pool;
    struct trie trie = {0};
    assert_int_equal(trie_pool_create(false, &pool), 0);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 10000; i++) {
            struct ip_addr addr = ip_from_v4(0x0a000000 + i);
            struct prefix host = prefix_make(&addr, 32);
            assert_int_equal(trie_insert(pool, &trie, &host, 1 + i, NULL), 0);
        }
        assert_non_null(trie.hosts);
        for (uint32_t i = 0; i < 10000; i++) {
            struct ip_addr addr = ip_from_v4(0x0a000000 + i);
            struct prefix host = prefix_make(&addr, 32);
            assert_int_equal(trie_remove(pool, &trie, &host, 1 + i), 0);
        }
        assert_null(trie.hosts);
    }
    trie_pool_free(pool);
}

static void a_prefix_costs_forty_bytes(void **state) {
    (void)state;
    struct trie_pool *pool;
    struct trie trie = {0};
    struct dice dice = {.state = 5};
    assert_int_equal(trie_pool_create(false, &pool), 0);
    size_t empty = trie_pool_size(pool);
    for (uint32_t i = 1; i <= 1000; i++) {
        struct ip_addr addr = ip_from_v4(dice_u32(&dice));
        struct prefix prefix = prefix_make(&addr, 32);
        assert_int_equal(trie_insert(pool, &trie, &prefix, i, NULL), 0);
    }
    assert_true(trie_pool_size(pool) - empty <= 1000 * 40);
    assert_true(sizeof(struct trie) <= 24);
    trie_pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_match_the_list),      cmocka_unit_test(every_length_of_one_address),
        cmocka_unit_test(bad_arguments_change_nothing),       cmocka_unit_test(tries_of_one_pool_never_meet),
        cmocka_unit_test(retired_nodes_wait_for_the_barrier), cmocka_unit_test(a_large_trie_still_tells_the_truth),
        cmocka_unit_test(the_shortcut_goes_with_the_hosts),   cmocka_unit_test(a_prefix_costs_forty_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
