/* The table of what was set, against a naive list; chains of tenants; parting of allowed IPs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/kernel/peers.h"
#include "backend/kernel/table.h"

#define KEYS 3000

struct entry {
    uint64_t key;
    uint64_t value;
};

static void a_table_agrees_with_a_naive_one(void **state) {
    static uint64_t is[KEYS]; /* value; 0: absent */
    static uint32_t number[KEYS];
    struct kernel_table table;
    uint32_t count = 0;
    (void)state;
    srandom(7);
    kernel_table_open(&table, sizeof(uint64_t), sizeof(struct entry));
    for (int step = 0; step < 200000; step++) {
        uint64_t key = (uint64_t)(random() % KEYS);
        struct entry *entry = kernel_table_get(&table, &key);
        assert_int_equal(entry != NULL, is[key] != 0);
        if (entry) {
            assert_int_equal(entry->value, is[key]);
            assert_int_equal(kernel_table_number(&table, entry), number[key]); /* as long as it lives */
            assert_ptr_equal(kernel_table_at(&table, number[key]), entry);
        }
        /* fills up, and empties again */
        bool more = random() % 100 < (step / 40000 % 2 ? 30 : 70);
        if (more && !entry) {
            entry = kernel_table_put(&table, &key);
            assert_non_null(entry);
            assert_int_equal(entry->value, 0);
            entry->value = is[key] = (uint64_t)random() + 1;
            number[key] = kernel_table_number(&table, entry);
            count++;
        } else if (!more && entry) {
            kernel_table_remove(&table, entry);
            is[key] = 0;
            count--;
        }
        assert_int_equal(table.count, count);
    }
    size_t at = 0, seen = 0;
    for (struct entry *entry; (entry = kernel_table_each(&table, &at));) {
        assert_int_equal(entry->value, is[entry->key]);
        seen++;
    }
    assert_int_equal(seen, count);
    assert_true(table.used <= KEYS); /* places are used again */
    kernel_table_free(&table);
    assert_null(kernel_table_get(&table, &count));
}

static struct desired_peer peer_of(unsigned number, unsigned tenant) {
    struct desired_peer peer;
    memset(&peer, 0, sizeof peer);
    memset(peer.public_key.bytes, 1, KEY_SIZE);
    memcpy(peer.public_key.bytes, &number, sizeof number);
    memcpy(peer.tenant.bytes, &tenant, sizeof tenant);
    peer.address = peer.hub_address = ip_from_v4(0x0a000000 + number);
    return peer;
}

static size_t length_of(struct kernel_peers *peers, struct kernel_peer *first) {
    size_t length = 0;
    for (; first; first = kernel_peers_next(peers, first)) {
        length++;
    }
    return length;
}

static void peers_are_found_by_their_tenant_until_they_are_revoked(void **state) {
    struct kernel_peers peers;
    struct desired_peer peer;
    (void)state;
    kernel_peers_open(&peers);
    for (unsigned i = 1; i <= 100; i++) {
        peer = peer_of(i, i % 3);
        assert_non_null(kernel_peers_keep(&peers, &peer));
    }
    peer = peer_of(1, 1);
    assert_int_equal(length_of(&peers, kernel_peers_of(&peers, &peer.tenant)), 34);
    assert_int_equal(kernel_peers_count(&peers), 100);
    peer = peer_of(1, 2); /* to another tenant */
    kernel_peers_keep(&peers, &peer);
    assert_int_equal(length_of(&peers, kernel_peers_of(&peers, &peer.tenant)), 34);
    while (kernel_peers_of(&peers, &peer.tenant)) {
        kernel_peers_revoke(&peers, kernel_peers_of(&peers, &peer.tenant));
    }
    assert_int_equal(peers.tenants.count, 2); /* a tenant without peers takes no place */
    assert_int_equal(kernel_peers_count(&peers), 66);
    assert_int_equal(length_of(&peers, kernel_peers_revoked(&peers)), 34);
    assert_true(kernel_peer_is_revoked(kernel_peers_get(&peers, &peer.public_key)));
    kernel_peers_keep(&peers, &peer); /* it comes back */
    assert_false(kernel_peer_is_revoked(kernel_peers_get(&peers, &peer.public_key)));
    assert_int_equal(kernel_peers_count(&peers), 67);
    while (kernel_peers_revoked(&peers)) {
        kernel_peers_remove(&peers, kernel_peers_revoked(&peers));
    }
    assert_int_equal(peers.peers.count, 67);
    assert_int_equal(kernel_peers_count(&peers), 67);
    kernel_peers_free(&peers);
}

static void what_was_kept_is_told_again(void **state) {
    struct kernel_peers peers;
    struct desired_peer peer = peer_of(5, 6), told;
    (void)state;
    kernel_peers_open(&peers);
    assert_int_equal(ip_parse("fd00::5", &peer.address6), 0);
    for (unsigned i = 0; i < ROUTER_LANS_MAX; i++) {
        peer.lans[peer.lan_count++] = (struct prefix){.addr = ip_from_v4(0xc0a80000 + i * 256), .length = 24};
    }
    memset(peer.preshared_key.bytes, 3, KEY_SIZE);
    struct kernel_peer *kept = kernel_peers_keep(&peers, &peer);
    kernel_peers_desired(&peers, kept, &told);
    assert_true(key_is_zero(&told.preshared_key)); /* secrets are not kept, but known again */
    assert_true(kept->secret == kernel_peers_secret(&peers, &peer.preshared_key));
    memset(&peer.preshared_key, 0, KEY_SIZE);
    assert_true(kept->secret != kernel_peers_secret(&peers, &peer.preshared_key));
    assert_memory_equal(&told, &peer, sizeof told);
    assert_true(sizeof *kept <= 112);
    kernel_peers_free(&peers);
}

static void allowed_ips_are_parted_into_addresses_and_lans(void **state) {
    struct prefix pools[2], list[KERNEL_ALLOWED_MAX + 1];
    struct desired_peer peer;
    static const char *const texts[] = {"192.168.1.0/24", "10.1.2.3/32", "10.9.9.9/32",
                                        "fd01::/64",      "fd00::7/128", "203.0.113.1/32"};
    size_t count = sizeof texts / sizeof *texts;
    (void)state;
    prefix_parse("10.0.0.0/8", &pools[0], NULL);
    prefix_parse("fd00::/48", &pools[1], NULL);
    for (size_t i = 0; i < count; i++) {
        prefix_parse(texts[i], &list[i], NULL);
    }
    memset(&peer, 0, sizeof peer);
    assert_true(kernel_allowed_part(list, count, pools, 2, &peer));
    assert_true(ip_equal(&peer.address, &list[1].addr) && ip_equal(&peer.hub_address, &list[1].addr));
    assert_true(ip_equal(&peer.address6, &list[4].addr));
    assert_int_equal(peer.lan_count, 4); /* a second host of the pool is one, too, and so is noticed */
    struct prefix again[KERNEL_ALLOWED_MAX];
    assert_int_equal(kernel_allowed_of(&peer, again), count);
    assert_true(kernel_allowed_same(list, count, again, count));
    assert_false(kernel_allowed_same(list, count, again, count - 1));
    struct prefix rest[KERNEL_ALLOWED_MAX];
    assert_int_equal(kernel_allowed_without(list, count, again + 1, count - 1, rest, KERNEL_ALLOWED_MAX), 1);
    assert_true(prefix_equal(&rest[0], &list[1]));
    for (size_t i = 0; i <= KERNEL_ALLOWED_MAX; i++) {
        list[i] = (struct prefix){.addr = ip_from_v4(0xc0a80000 + (uint32_t)i * 256), .length = 24};
    }
    memset(&peer, 0, sizeof peer);
    assert_false(kernel_allowed_part(list, KERNEL_ALLOWED_MAX + 1, pools, 2, &peer));
    assert_int_equal(peer.lan_count, ROUTER_LANS_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_agrees_with_a_naive_one),
        cmocka_unit_test(peers_are_found_by_their_tenant_until_they_are_revoked),
        cmocka_unit_test(what_was_kept_is_told_again),
        cmocka_unit_test(allowed_ips_are_parted_into_addresses_and_lans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
