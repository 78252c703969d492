/* The directory against plain arrays, and under readers that never stop. */
#include "dice.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "engine/table/directory.h"

#define KEYS 5000
#define ROUTES 1500

static struct key key_of(uint32_t number) {
    struct key key;
    struct dice dice = {.state = number};
    dice_fill(&dice, key.bytes, sizeof key.bytes);
    return key;
}

/* Host addresses mostly, of both families, and shorter prefixes that cover many of them. */
static struct prefix route_of(uint32_t number) {
    struct ip_addr addr = {.family = number % 3 ? AF_INET : AF_INET6};
    addr.bytes[0] = number % 3 ? 10 : 0xfd;
    addr.bytes[ip_bits(&addr) / 8 - 2] = (uint8_t)(number >> 8);
    addr.bytes[ip_bits(&addr) / 8 - 1] = (uint8_t)number;
    uint8_t bits = ip_bits(&addr);
    return prefix_make(&addr, number % 10 ? bits : (uint8_t)(bits - 1 - number / 10 % 12));
}

static void nothing_is_found_in_an_empty_one(void **state) {
    (void)state;
    struct directory *d;
    struct key key = key_of(1);
    struct prefix route = route_of(1);
    struct ip_addr nowhere = {0};
    assert_int_equal(directory_create(&d), 0);
    assert_int_equal(directory_worker_of_key(d, &key), -ENOENT);
    assert_int_equal(directory_remove_key(d, &key), -ENOENT);
    assert_int_equal(directory_route(d, &route.addr), 0);
    assert_int_equal(directory_route(d, &nowhere), 0);
    assert_int_equal(directory_remove_route(d, &route, 1), -ENOENT);
    assert_int_equal(directory_insert_route(d, &route, 0, NULL), -EINVAL);
    assert_int_equal(directory_insert_key(d, &key, ENGINE_WORKERS_MAX), -EINVAL);
    assert_false(directory_seal(d));
    directory_free(d);
    directory_free(NULL);
}

static void keys_match_the_model(void **state) {
    (void)state;
    struct directory *d;
    struct dice dice = {.state = 1};
    int *owners = calloc(KEYS, sizeof *owners); /* worker + 1; 0: absent */
    size_t count = 0;
    assert_int_equal(directory_create(&d), 0);
    for (int step = 0; step < 60000; step++) {
        uint32_t number = dice_below(&dice, step < 30000 ? KEYS : KEYS / 10);
        struct key key = key_of(number);
        unsigned worker = dice_below(&dice, ENGINE_WORKERS_MAX);
        assert_int_equal(directory_worker_of_key(d, &key), owners[number] ? owners[number] - 1 : -ENOENT);
        if (dice_chance(&dice, 40)) {
            assert_int_equal(directory_insert_key(d, &key, worker), owners[number] ? -EEXIST : 0);
            count += !owners[number];
            owners[number] = owners[number] ? owners[number] : (int)worker + 1;
        } else {
            assert_int_equal(directory_remove_key(d, &key), owners[number] ? 0 : -ENOENT);
            count -= owners[number] != 0;
            owners[number] = 0;
        }
        assert_int_equal(directory_key_count(d), count);
        if (step % 1000 == 0 && directory_seal(d)) {
            directory_reclaim(d);
        }
    }
    for (uint32_t number = 0; number < KEYS; number++) {
        struct key key = key_of(number);
        assert_int_equal(directory_worker_of_key(d, &key), owners[number] ? owners[number] - 1 : -ENOENT);
    }
    free(owners);
    directory_free(d);
}

static uint32_t longest(const uint32_t *ids, const struct ip_addr *addr) {
    uint32_t best = 0;
    int length = -1;
    for (uint32_t number = 0; number < ROUTES; number++) {
        struct prefix route = route_of(number);
        if (ids[number] && route.length > length && prefix_contains(&route, addr)) {
            best = ids[number];
            length = route.length;
        }
    }
    return best;
}

/* The lowest number that means the same prefix: short ones coincide. */
static uint32_t alias(uint32_t number) {
    struct prefix route = route_of(number);
    for (uint32_t other = number % 10 ? number : 0; other < number; other += 10) {
        struct prefix same = route_of(other);
        if (prefix_equal(&route, &same)) {
            return other;
        }
    }
    return number;
}

static void routes_match_the_model(void **state) {
    (void)state;
    struct directory *d;
    struct dice dice = {.state = 2};
    uint32_t *ids = calloc(ROUTES, sizeof *ids);
    size_t count = 0;
    assert_int_equal(directory_create(&d), 0);
    for (int step = 0; step < 20000; step++) {
        uint32_t number = alias(dice_below(&dice, ROUTES));
        struct prefix route = route_of(number);
        uint32_t id = directory_id(dice_below(&dice, 64), 1 + dice_below(&dice, 3));
        assert_int_equal(directory_get_route(d, &route), ids[number]);
        if (dice_chance(&dice, step / 4000 % 2 ? 30 : 60)) {
            uint32_t previous = 1;
            assert_int_equal(directory_insert_route(d, &route, id, &previous), 0);
            assert_int_equal(previous, ids[number]);
            count += !ids[number];
            ids[number] = id;
        } else {
            uint32_t claimed = dice_chance(&dice, 70) ? ids[number] : id;
            bool owned = ids[number] && ids[number] == claimed;
            assert_int_equal(directory_remove_route(d, &route, claimed), owned ? 0 : -ENOENT);
            count -= owned;
            ids[number] = owned ? 0 : ids[number];
        }
        assert_int_equal(directory_route_count(d), count);
        if (step % 16 == 0) {
            struct prefix other = route_of(dice_below(&dice, ROUTES));
            assert_int_equal(directory_route(d, &other.addr), longest(ids, &other.addr));
        }
        if (step % 500 == 0 && directory_seal(d)) {
            directory_reclaim(d);
        }
    }
    free(ids);
    directory_free(d);
}

static void the_zero_addresses_are_addresses(void **state) {
    (void)state;
    static const char *const texts[] = {"0.0.0.0/32", "::/128", "0.0.0.0/0", "::/0", "255.255.255.255/32"};
    struct directory *d;
    assert_int_equal(directory_create(&d), 0);
    for (uint32_t i = 0; i < COUNT(texts); i++) {
        struct prefix prefix;
        prefix_parse(texts[i], &prefix, NULL);
        assert_int_equal(directory_get_route(d, &prefix), 0);
        assert_int_equal(directory_insert_route(d, &prefix, 100 + i, NULL), 0);
        assert_int_equal(directory_get_route(d, &prefix), 100 + i);
    }
    for (uint32_t i = 0; i < COUNT(texts); i++) {
        struct prefix prefix;
        prefix_parse(texts[i], &prefix, NULL);
        assert_int_equal(directory_route(d, &prefix.addr), i == 2 ? 100 : i == 3 ? 101 : 100 + i);
        assert_int_equal(directory_remove_route(d, &prefix, 100 + i), 0);
        assert_int_equal(directory_insert_route(d, &prefix, 100 + i, NULL), 0);
    }
    directory_free(d);
}

/* The zero address must not be taken for what removed routes leave behind. */
static void zero_is_no_grave(void **state) {
    (void)state;
    for (int round = 0; round < 30; round++) { /* each with a secret of its own, so with other slots */
        struct directory *d;
        struct ip_addr zero = ip_from_v4(0);
        assert_int_equal(directory_create(&d), 0);
        for (uint32_t number = 1; number <= 500; number++) {
            struct ip_addr addr = ip_from_v4(number);
            struct prefix host = prefix_make(&addr, 32);
            assert_int_equal(directory_insert_route(d, &host, number, NULL), 0);
        }
        for (uint32_t number = 1; number <= 500; number += 2) {
            struct ip_addr addr = ip_from_v4(number);
            struct prefix host = prefix_make(&addr, 32);
            assert_int_equal(directory_remove_route(d, &host, number), 0);
        }
        assert_int_equal(directory_route(d, &zero), 0);
        directory_free(d);
    }
}

static void rekeying_keeps_every_owner(void **state) {
    (void)state;
    struct directory *d;
    assert_int_equal(directory_create(&d), 0);
    for (uint32_t number = 0; number < KEYS; number++) {
        struct key key = key_of(number);
        assert_int_equal(directory_insert_key(d, &key, number % 64), 0);
    }
    struct key stale = key_of(0);
    assert_int_equal(directory_rekey_add(d, &stale, 0), -EINVAL); /* not begun */
    assert_int_equal(directory_rekey_begin(d), 0);
    assert_int_equal(directory_rekey_add(d, &stale, 0), 0);
    assert_int_equal(directory_rekey_begin(d), 0); /* drops the first attempt */
    for (uint32_t number = 1; number < KEYS; number++) {
        struct key key = key_of(number);
        assert_int_equal(directory_rekey_add(d, &key, number % 63), 0);
        assert_int_equal(directory_rekey_add(d, &key, number % 63), -EEXIST);
        assert_int_equal(directory_worker_of_key(d, &key), number % 64); /* readers see the first until the end */
    }
    directory_rekey_commit(d);
    for (uint32_t number = 1; number < KEYS; number++) {
        struct key key = key_of(number);
        assert_int_equal(directory_worker_of_key(d, &key), number % 63);
    }
    assert_int_equal(directory_worker_of_key(d, &stale), -ENOENT);
    assert_true(directory_seal(d));
    directory_reclaim(d);
    assert_false(directory_seal(d));
    directory_free(d);
}

static void reclaiming_gives_memory_back(void **state) {
    (void)state;
    struct directory *d;
    assert_int_equal(directory_create(&d), 0);
    for (uint32_t number = 0; number < 20000; number++) {
        struct ip_addr addr = ip_from_v4(number + 1);
        struct prefix prefix = prefix_make(&addr, 32);
        struct key key = key_of(number);
        assert_int_equal(directory_insert_route(d, &prefix, number + 1, NULL), 0);
        assert_int_equal(directory_insert_key(d, &key, 1), 0);
    }
    size_t before = directory_size(d);
    assert_true(directory_seal(d));
    directory_reclaim(d);
    assert_true(directory_size(d) < before);

    /* what is retired after a seal stays until the next, also if somebody asks in between */
    struct prefix lan;
    assert_int_equal(prefix_parse("192.168.0.0/16", &lan, NULL), 0);
    assert_int_equal(directory_insert_route(d, &lan, 5, NULL), 0);
    assert_int_equal(directory_remove_route(d, &lan, 5), 0);
    assert_true(directory_seal(d));
    before = directory_size(d);
    assert_int_equal(directory_rekey_begin(d), 0);
    directory_rekey_commit(d);
    assert_true(directory_size(d) > before);
    assert_true(directory_seal(d));
    directory_reclaim(d);
    assert_true(directory_size(d) > before);
    assert_true(directory_seal(d));
    directory_reclaim(d);
    assert_false(directory_seal(d));
    directory_free(d);
}

/* --- readers that never stop --- */

#define READERS 3
#define STABLE 200  /* keys and routes that are always there */
#define MOVING 2000 /* keys and routes that come and go */

struct reader {
    struct directory *directory;
    pthread_t thread;
    _Atomic uint64_t rounds; /* of looking things up: between two of them nothing is held */
    _Atomic bool stop;
    uint64_t wrong;
    uint64_t seed;
};

static uint32_t stable_id(uint32_t number) {
    return directory_id(number % 64, number + 1);
}

/* What must hold whatever the writer does: stable ones always, moving ones with a value that was once theirs. */
static uint64_t read_once(const struct directory *d, struct dice *dice) {
    uint32_t number = dice_below(dice, STABLE + MOVING);
    struct key key = key_of(number);
    struct prefix route = route_of(number);
    int worker = directory_worker_of_key(d, &key);
    uint32_t id = directory_route(d, &route.addr);
    uint64_t wrong = 0;
    if (number < STABLE) {
        wrong += worker != (int)(number % 64);
        wrong += number % 10 != 0 && id != stable_id(number);
    } else {
        wrong += worker != -ENOENT && worker != (int)(number % 64) && worker != (int)(number % 61);
        wrong += number % 10 != 0 && id != 0 && directory_id_slot(id) != number + 1 && directory_id_slot(id) % 10 != 1;
    }
    return wrong;
}

static void *read_on(void *context) {
    struct reader *reader = context;
    struct dice dice = {.state = reader->seed};
    while (!atomic_load(&reader->stop)) {
        for (int i = 0; i < 50; i++) {
            reader->wrong += read_once(reader->directory, &dice);
        }
        atomic_fetch_add(&reader->rounds, 1);
    }
    return NULL;
}

static void barrier(struct reader *readers) {
    uint64_t seen[READERS];
    for (int i = 0; i < READERS; i++) {
        seen[i] = atomic_load(&readers[i].rounds);
    }
    for (int i = 0; i < READERS; i++) {
        while (atomic_load(&readers[i].rounds) == seen[i]) {
            sched_yield();
        }
    }
}

static void churn(struct directory *d, struct dice *dice, bool *there) {
    uint32_t number = STABLE + dice_below(dice, MOVING);
    struct key key = key_of(number);
    struct prefix route = route_of(number);
    uint32_t id = stable_id(number);
    if (!there[number]) {
        directory_insert_key(d, &key, number % 64);
        directory_insert_route(d, &route, id, NULL);
        there[number] = true;
    } else {
        directory_remove_key(d, &key);
        directory_remove_route(d, &route, id);
        there[number] = false;
    }
}

static void readers_see_before_or_after_and_nothing_else(void **state) {
    (void)state;
    struct directory *d;
    struct dice dice = {.state = 3};
    struct reader readers[READERS] = {0};
    bool *there = calloc(STABLE + MOVING, sizeof *there);
    assert_int_equal(directory_create(&d), 0);
    for (uint32_t number = 0; number < STABLE; number++) {
        struct key key = key_of(number);
        struct prefix route = route_of(number);
        assert_int_equal(directory_insert_key(d, &key, number % 64), 0);
        assert_int_equal(directory_insert_route(d, &route, stable_id(number), NULL), 0);
    }
    for (uint64_t i = 0; i < READERS; i++) {
        readers[i].directory = d;
        readers[i].seed = 100 + i;
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
    }
    for (int round = 0; round < 100; round++) {
        for (int step = 0; step < 500; step++) {
            churn(d, &dice, there);
        }
        if (directory_seal(d)) {
            for (int step = 0; step < 50; step++) { /* the writer goes on while it waits */
                churn(d, &dice, there);
            }
            barrier(readers);
            directory_reclaim(d);
        }
    }
    uint64_t wrong = 0;
    for (int i = 0; i < READERS; i++) {
        atomic_store(&readers[i].stop, true);
        pthread_join(readers[i].thread, NULL);
        wrong += readers[i].wrong;
    }
    assert_int_equal(wrong, 0);
    free(there);
    directory_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_found_in_an_empty_one),
        cmocka_unit_test(keys_match_the_model),
        cmocka_unit_test(routes_match_the_model),
        cmocka_unit_test(the_zero_addresses_are_addresses),
        cmocka_unit_test(zero_is_no_grave),
        cmocka_unit_test(rekeying_keeps_every_owner),
        cmocka_unit_test(reclaiming_gives_memory_back),
        cmocka_unit_test(readers_see_before_or_after_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
