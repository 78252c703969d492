#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/engine/change.h"
#include "base/buf.h"
#include "model/desired.h"

#define KEY "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"
#define TENANT "01234567-89ab-7def-8123-456789abcdef"

static void says(const struct desired_change *change, const char *expected) {
    struct buf text = {0};
    change_text(&text, change);
    assert_false(text.failed);
    assert_string_equal(text.data, expected);
    buf_free(&text);
}

static struct desired_change a_peer(void) {
    struct desired_change change = {.kind = DESIRED_PEER_SET};
    assert_int_equal(key_from_hex(KEY, &change.peer.public_key), 0);
    assert_int_equal(uuid_parse(TENANT, &change.peer.tenant), 0);
    change.peer.hub_address = ip_from_v4(0x0a000009);
    change.peer.address = ip_from_v4(0x0a640002);
    assert_int_equal(ip_parse("fd00::9", &change.peer.address6), 0);
    assert_int_equal(prefix_parse("192.168.1.0/24", &change.peer.lans[0], NULL), 0);
    change.peer.lan_count = 1;
    return change;
}

static void a_private_tenants_peer_is_translated(void **state) {
    (void)state;
    struct desired_change change = a_peer();
    says(&change, "public_key=" KEY "\npeer_tenant=" TENANT "\npreshared_key=" ZERO
                  "\npersistent_keepalive_interval=0\nreplace_allowed_ips=true\nallowed_ip=10.100.0.2/32\n"
                  "allowed_ip=fd00::9/128\nallowed_ip=192.168.1.0/24\nhub_address=10.0.0.9=10.100.0.2\n"
                  "hub_address=fd00::9\n");
}

static void where_it_last_was_is_only_a_hint(void **state) {
    (void)state;
    struct desired_change change = a_peer();
    change.peer.lan_count = 0;
    change.peer.address6.family = 0;
    assert_int_equal(endpoint_parse("192.0.2.7:4000", &change.peer.endpoint), 0);
    says(&change, "public_key=" KEY "\npeer_tenant=" TENANT "\npreshared_key=" ZERO
                  "\npersistent_keepalive_interval=0\nreplace_allowed_ips=true\nallowed_ip=10.100.0.2/32\n"
                  "hub_address=10.0.0.9=10.100.0.2\nlast_endpoint=192.0.2.7:4000\n");
}

static void a_unique_tenants_peer_is_not(void **state) {
    (void)state;
    struct desired_change change = a_peer();
    change.peer.address = change.peer.hub_address;
    change.peer.address6.family = 0;
    change.peer.lan_count = 0;
    change.peer.preshared_key.bytes[31] = 1;
    change.peer.timestamp[0] = 0x40;
    says(&change, "public_key=" KEY "\npeer_tenant=" TENANT
                  "\npreshared_key=0000000000000000000000000000000000000000000000000000000000000001"
                  "\npersistent_keepalive_interval=0\nreplace_allowed_ips=true\nallowed_ip=10.0.0.9/32\n"
                  "hub_address=10.0.0.9\ntimestamp=400000000000000000000000\n");
}

static void a_peer_without_addresses_loses_those_it_had(void **state) {
    (void)state;
    struct desired_change change = {.kind = DESIRED_PEER_SET};
    says(&change, "public_key=" ZERO "\npeer_tenant=00000000-0000-0000-0000-000000000000\npreshared_key=" ZERO
                  "\npersistent_keepalive_interval=0\nreplace_allowed_ips=true\nhub_address=\n");
}

static void removals_name_only_what_goes(void **state) {
    (void)state;
    struct desired_change change = a_peer();
    change.kind = DESIRED_PEER_REMOVE;
    says(&change, "public_key=" KEY "\nremove=true\n");
    change = (struct desired_change){.kind = DESIRED_TENANT_REMOVE};
    assert_int_equal(uuid_parse(TENANT, &change.tenant.id), 0);
    says(&change, "tenant=" TENANT "\nremove=true\n");
}

static void a_tenant_is_said_in_whole(void **state) {
    (void)state;
    struct desired_change change = {.kind = DESIRED_TENANT_SET};
    assert_int_equal(uuid_parse(TENANT, &change.tenant.id), 0);
    says(&change, "tenant=" TENANT "\naddressing=unique\negress=false\nlimit_bits_per_second=0\n"
                  "limit_packets_per_second=0\n");
    change.tenant.addressing = ADDRESSING_PRIVATE;
    change.tenant.egress = true;
    change.tenant.limits.bits_per_second = 1000000;
    change.tenant.limits.packets_per_second = 2;
    says(&change, "tenant=" TENANT "\naddressing=private\negress=true\nlimit_bits_per_second=1000000\n"
                  "limit_packets_per_second=2\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_private_tenants_peer_is_translated),
        cmocka_unit_test(where_it_last_was_is_only_a_hint),
        cmocka_unit_test(a_unique_tenants_peer_is_not),
        cmocka_unit_test(a_peer_without_addresses_loses_those_it_had),
        cmocka_unit_test(removals_name_only_what_goes),
        cmocka_unit_test(a_tenant_is_said_in_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
