/* What was set: chains of tenants; parting of allowed IPs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/kernel/peers.h"

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
        cmocka_unit_test(peers_are_found_by_their_tenant_until_they_are_revoked),
        cmocka_unit_test(what_was_kept_is_told_again),
        cmocka_unit_test(allowed_ips_are_parted_into_addresses_and_lans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
