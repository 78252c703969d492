#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "backend/engine/actual.h"

#define KEY_A "public_key=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"
#define KEY_B "public_key=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n"
#define HUB "hub_address=10.0.0.9=10.100.0.2\nhub_address=fd00::9\n"
#define OWN "allowed_ip=10.100.0.2/32\nallowed_ip=fd00::9/128\n"

/* Feeds every line of a text to a reader. The first non-zero answer. */
static int feed(int (*line)(void *, const char *, const char *), void *reader, const char *text) {
    char *copy = strdup(text);
    int rc = 0;
    for (char *rest = copy, *one; rc == 0 && (one = strsep(&rest, "\n")) && *one;) {
        char *value = strchr(one, '=');
        *value++ = '\0';
        rc = line(reader, one, value);
    }
    free(copy);
    return rc;
}

struct seen {
    struct actual_peer peers[4];
    size_t count;
    int answer;
};

static int see(void *context, const struct actual_peer *peer) {
    struct seen *seen = context;
    assert_true(seen->count < 4);
    seen->peers[seen->count++] = *peer;
    return seen->answer;
}

static struct seen read_peers(const char *text) {
    struct seen seen = {.count = 0};
    struct actual_peer_reader reader = {.fn = see, .context = &seen};
    assert_int_equal(feed(actual_peer_line, &reader, text), 0);
    assert_int_equal(actual_peer_end(&reader), 0);
    return seen;
}

static void a_peer_of_ours_reads_back_as_desired(void **state) {
    (void)state;
    struct seen seen = read_peers(
        "listen_port=1\n" KEY_A
        "preshared_key=0000000000000000000000000000000000000000000000000000000000000007\nprotocol_version=1\n"
        "endpoint=[2001:db8::1]:51820\nlast_handshake_time_sec=5\nlast_handshake_time_nsec=6000\ntx_bytes=34\n"
        "rx_bytes=12\npersistent_keepalive_interval=0\nallowed_ip=192.168.2.0/24\n" OWN
        "allowed_ip=192.168.1.0/24\npeer_tenant=01234567-89ab-7def-8123-456789abcdef\n" HUB
        "timestamp=400000006500000012345678\nnew_in_a_later_version=1\nnow=9\n" KEY_B);
    assert_int_equal(seen.count, 2);
    const struct actual_peer *p = &seen.peers[0];
    assert_int_equal(p->is.public_key.bytes[0], 0xaa);
    assert_int_equal(p->is.preshared_key.bytes[31], 7);
    assert_int_equal(ntohs(p->is.endpoint.in6.sin6_port), 51820);
    assert_int_equal(p->last_handshake_at_us, 5000006);
    assert_int_equal(p->bytes_sent, 34);
    assert_int_equal(p->bytes_received, 12);
    assert_int_equal(p->is.tenant.bytes[1], 0x23);
    assert_int_equal(ip_to_v4(&p->is.hub_address), 0x0a000009);
    assert_int_equal(ip_to_v4(&p->is.address), 0x0a640002);
    assert_int_equal(p->is.address6.bytes[15], 9);
    assert_int_equal(p->is.timestamp[11], 0x78);
    assert_int_equal(p->is.lan_count, 2);
    assert_int_equal(p->is.lans[0].addr.bytes[2], 1); /* sorted */
    assert_int_equal(p->is.lans[1].addr.bytes[2], 2);
    assert_false(p->foreign_allowed_ips);
    /* nothing of it is in the next one */
    assert_int_equal(seen.peers[1].is.lan_count, 0);
    assert_true(key_is_zero(&seen.peers[1].is.preshared_key));
    assert_int_equal(seen.peers[1].is.hub_address.family, 0);
    assert_int_equal(seen.peers[1].last_handshake_at_us, 0);
}

static void what_no_desired_peer_has_is_foreign(void **state) {
    (void)state;
    struct seen seen = read_peers(KEY_A HUB "allowed_ip=10.100.0.2/32\n");
    assert_true(seen.peers[0].foreign_allowed_ips); /* its own IPv6 address is not allowed */
    seen = read_peers(KEY_A HUB "allowed_ip=fd00::9/128\n");
    assert_true(seen.peers[0].foreign_allowed_ips);
    seen = read_peers(KEY_A "hub_address=fd00::9=fd00::a\nallowed_ip=fd00::9/128\n");
    assert_true(seen.peers[0].foreign_allowed_ips); /* IPv6 is never translated by us */
    seen = read_peers(KEY_A "allowed_ip=10.1.0.0/16\n");
    assert_false(seen.peers[0].foreign_allowed_ips);
    assert_int_equal(seen.peers[0].is.lan_count, 1);
}

static void as_many_lans_as_a_router_may_have_fit_and_one_more_is_foreign(void **state) {
    (void)state;
    for (unsigned extra = 0; extra < 4; extra++) {
        char text[4096];
        int size = snprintf(text, sizeof text, KEY_A HUB OWN);
        for (unsigned i = 0; i < ROUTER_LANS_MAX + extra; i++) {
            size += snprintf(text + size, sizeof text - (size_t)size, "allowed_ip=172.16.%u.0/24\n", i);
        }
        struct seen seen = read_peers(text);
        assert_int_equal(seen.peers[0].is.lan_count, ROUTER_LANS_MAX);
        assert_int_equal(seen.peers[0].foreign_allowed_ips, extra > 0);
    }
}

static void nonsense_is_refused_and_a_callers_no_stops(void **state) {
    (void)state;
    static const char *const wrong[] = {"public_key=x\n",
                                        KEY_A "allowed_ip=x\n",
                                        KEY_A "rx_bytes=-1\n",
                                        KEY_A "hub_address=1\n",
                                        KEY_A "endpoint=x\n",
                                        KEY_A "peer_tenant=1\n",
                                        KEY_A "timestamp=1\n",
                                        KEY_A "last_handshake_time_sec=99999999999999999\n",
                                        "now=x\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct seen seen = {.count = 0};
        struct actual_peer_reader reader = {.fn = see, .context = &seen};
        assert_int_equal(feed(actual_peer_line, &reader, wrong[i]), -EBADMSG);
    }
    struct seen seen = {.answer = 5};
    struct actual_peer_reader reader = {.fn = see, .context = &seen};
    assert_int_equal(feed(actual_peer_line, &reader, KEY_A KEY_B), 5);
    assert_int_equal(seen.count, 1);
}

static int see_tenant(void *context, const struct actual_tenant *tenant) {
    struct actual_tenant *tenants = context;
    if (tenants[0].is.id.bytes[0] == 0) {
        tenants[0] = *tenant;
    } else {
        tenants[1] = *tenant;
    }
    return 0;
}

static void tenants_read_back_with_their_usage(void **state) {
    (void)state;
    struct actual_tenant tenants[2] = {0};
    struct actual_tenant_reader reader = {.fn = see_tenant, .context = tenants};
    assert_int_equal(feed(actual_tenant_line, &reader,
                          "tenant=01234567-89ab-7def-8123-456789abcdef\naddressing=private\negress=true\n"
                          "limit_bits_per_second=1\nlimit_packets_per_second=2\nrx_bytes=3\nrx_packets=4\ntx_bytes=5\n"
                          "tx_packets=6\ndropped=7\ntenant=11111111-1111-1111-1111-111111111111\nnow=1\n"),
                     0);
    assert_int_equal(actual_tenant_end(&reader), 0);
    assert_int_equal(tenants[0].is.addressing, ADDRESSING_PRIVATE);
    assert_true(tenants[0].is.egress);
    assert_int_equal(tenants[0].is.limits.bits_per_second, 1);
    assert_int_equal(tenants[0].is.limits.packets_per_second, 2);
    assert_int_equal(tenants[0].bytes_received, 3);
    assert_int_equal(tenants[0].packets_received, 4);
    assert_int_equal(tenants[0].bytes_sent, 5);
    assert_int_equal(tenants[0].packets_sent, 6);
    assert_int_equal(tenants[0].dropped, 7);
    assert_int_equal(tenants[1].is.id.bytes[0], 0x11);
    assert_int_equal(tenants[1].bytes_sent, 0);
    assert_int_equal(feed(actual_tenant_line, &reader, "tenant=x\n"), -EBADMSG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_of_ours_reads_back_as_desired),
        cmocka_unit_test(what_no_desired_peer_has_is_foreign),
        cmocka_unit_test(as_many_lans_as_a_router_may_have_fit_and_one_more_is_foreign),
        cmocka_unit_test(nonsense_is_refused_and_a_callers_no_stops),
        cmocka_unit_test(tenants_read_back_with_their_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
