/* The wg-quick text of a router: what wg(8) and wg-quick(8) read, line by line, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "export/wgquick.h"

static struct prefix allowed[2];

static struct export_router example(void) {
    struct export_router r = {
        .router_name = "branch-1",
        .tenant_name = "Acme \xc3\x84G",
        .endpoint_host = "vpn.example.com",
        .endpoint_port = 51820,
        .allowed = allowed,
        .allowed_count = 2,
        .mtu = 1420,
        .keepalive_s = EXPORT_KEEPALIVE_S,
    };
    memset(r.public_key.bytes, 1, KEY_SIZE);
    memset(r.gateway_key.bytes, 2, KEY_SIZE);
    assert_int_equal(ip_parse("10.100.0.2", &r.address), 0);
    assert_int_equal(ip_parse("fd12::7", &r.address6), 0);
    assert_int_equal(prefix_parse("10.0.0.0/8", &allowed[0], NULL), 0);
    assert_int_equal(prefix_parse("fd12::/48", &allowed[1], NULL), 0);
    return r;
}

static void a_generated_key_gives_a_file_that_needs_no_edit(void **state) {
    (void)state;
    struct export_router r = example();
    struct key private_key, preshared_key;
    struct buf out = {0};
    memset(private_key.bytes, 3, KEY_SIZE);
    memset(preshared_key.bytes, 4, KEY_SIZE);
    r.private_key = &private_key;
    r.preshared_key = &preshared_key;
    assert_int_equal(wgquick_format(&r, &out), 0);
    assert_string_equal(out.data, "[Interface]\n"
                                  "# branch-1 of Acme \xc3\x84G\n"
                                  "PrivateKey = AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n"
                                  "Address = 10.100.0.2/32\n"
                                  "Address = fd12::7/128\n"
                                  "MTU = 1420\n"
                                  "\n"
                                  "[Peer]\n"
                                  "PublicKey = AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n"
                                  "PresharedKey = BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=\n"
                                  "Endpoint = vpn.example.com:51820\n"
                                  "AllowedIPs = 10.0.0.0/8, fd12::/48\n"
                                  "PersistentKeepalive = 25\n");
    buf_free(&out);
}

static void a_key_that_stays_with_the_router_is_a_comment_naming_its_public_half(void **state) {
    (void)state;
    struct export_router r = example();
    struct buf out = {0};
    assert_int_equal(wgquick_format(&r, &out), 0);
    assert_non_null(strstr(out.data, "\n# PrivateKey = "));
    assert_non_null(strstr(out.data, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="));
    assert_null(strstr(out.data, "\nPrivateKey"));
    assert_null(strstr(out.data, "PresharedKey"));
    buf_free(&out);
}

static void an_ipv6_endpoint_stands_in_brackets(void **state) {
    (void)state;
    struct export_router r = example();
    struct buf out = {0};
    r.endpoint_host = "2001:db8::1";
    assert_int_equal(wgquick_format(&r, &out), 0);
    assert_non_null(strstr(out.data, "Endpoint = [2001:db8::1]:51820\n"));
    buf_free(&out);
}

static void nothing_unset_is_written(void **state) {
    (void)state;
    struct export_router r = example();
    struct buf out = {0};
    r.mtu = 0;
    r.keepalive_s = 0;
    r.address6.family = 0;
    assert_int_equal(wgquick_format(&r, &out), 0);
    assert_null(strstr(out.data, "MTU"));
    assert_null(strstr(out.data, "Keepalive"));
    assert_null(strstr(out.data, "fd12::7"));
    assert_null(strstr(out.data, "DNS"));
    buf_free(&out);
}

static void a_text_that_would_start_a_line_of_its_own_is_refused(void **state) {
    (void)state;
    static const char *const hosts[] = {"", "a\nb", "a b", "[::1]", "a:b", "-a", ".a", "a#b", "a;b", "a\"b", "a\tb"};
    struct buf out = {0};
    struct export_router r = example();
    r.router_name = "x\nPostUp = reboot";
    assert_int_equal(wgquick_format(&r, &out), -EINVAL);
    r = example();
    r.tenant_name = "x\rPostUp = reboot";
    assert_int_equal(wgquick_format(&r, &out), -EINVAL);
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        r = example();
        r.endpoint_host = hosts[i];
        assert_int_equal(wgquick_format(&r, &out), -EINVAL);
    }
    r = example();
    r.endpoint_port = 0;
    assert_int_equal(wgquick_format(&r, &out), -EINVAL);
    r = example();
    r.allowed_count = 0;
    assert_int_equal(wgquick_format(&r, &out), -EINVAL);
    r = example();
    r.address.family = r.address6.family = 0;
    assert_int_equal(wgquick_format(&r, &out), -EINVAL);
    assert_int_equal(out.size, 0);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_generated_key_gives_a_file_that_needs_no_edit),
        cmocka_unit_test(a_key_that_stays_with_the_router_is_a_comment_naming_its_public_half),
        cmocka_unit_test(an_ipv6_endpoint_stands_in_brackets),
        cmocka_unit_test(nothing_unset_is_written),
        cmocka_unit_test(a_text_that_would_start_a_line_of_its_own_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
