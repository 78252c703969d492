/* The scripts and the code: whole texts against golden files, what is quoted and how, and what is left out. Runs in the
 * source's root. GOLDEN=1 in the environment writes the files anew. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "export/formats.h"
#include "export/networkd.h"
#include "export/openwrt.h"
#include "export/qr.h"
#include "export/routeros.h"
#include "export/shell.h"
#include "export/wgquick.h"

static struct prefix allowed[3];
static struct key private_key, preshared_key;

static struct export_router example(void) {
    struct export_router r = {
        .router_name = "Caf\xc3\xa9 \"$(reboot)\" `x` \\",
        .tenant_name = "it's {Acme}; #1",
        .private_key = &private_key,
        .preshared_key = &preshared_key,
        .endpoint_host = "vpn.example.com",
        .endpoint_port = 51820,
        .allowed = allowed,
        .allowed_count = 3,
        .mtu = 1420,
        .keepalive_s = EXPORT_KEEPALIVE_S,
    };
    memset(r.public_key.bytes, 1, KEY_SIZE);
    memset(r.gateway_key.bytes, 2, KEY_SIZE);
    memset(private_key.bytes, 3, KEY_SIZE);
    memset(preshared_key.bytes, 4, KEY_SIZE);
    assert_int_equal(ip_parse("10.100.0.2", &r.address), 0);
    assert_int_equal(ip_parse("fd12::7", &r.address6), 0);
    assert_int_equal(prefix_parse("10.0.0.0/8", &allowed[0], NULL), 0);
    assert_int_equal(prefix_parse("fd12::/48", &allowed[1], NULL), 0);
    assert_int_equal(prefix_parse("192.168.88.0/24", &allowed[2], NULL), 0);
    return r;
}

/* The example as it is made for a key of the gateway's, and as it is for a router that keeps its own. */
static void check(const char *name, export_format_fn *format, bool own_key) {
    char path[128];
    struct buf out = {0}, kept = {0};
    struct export_router r = example();
    if (own_key) {
        r.private_key = r.preshared_key = NULL;
    }
    snprintf(path, sizeof path, "tests/unit/export/golden/%s%s", own_key ? "own-key-" : "", name);
    assert_int_equal(format(&r, &out), 0);
    FILE *file = fopen(path, getenv("GOLDEN") ? "w+" : "r");
    if (!file) {
        fail_msg("%s is missing", path);
    }
    if (getenv("GOLDEN")) {
        fputs(out.data, file);
        rewind(file);
    }
    char bytes[4096];
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0;) {
        buf_append(&kept, bytes, n);
    }
    fclose(file);
    assert_string_equal(out.data, kept.data);
    buf_free(&out);
    buf_free(&kept);
}

static void routeros_is_as_it_was_read_over(void **state) {
    (void)state;
    check("routeros.rsc", routeros_format, false);
    check("routeros.rsc", routeros_format, true);
}

static void openwrt_is_as_it_was_read_over(void **state) {
    (void)state;
    check("openwrt.sh", openwrt_format, false);
    check("openwrt.sh", openwrt_format, true);
}

static void networkd_is_as_it_was_read_over(void **state) {
    (void)state;
    check("networkd.sh", networkd_format, false);
    check("networkd.sh", networkd_format, true);
}

static void a_code_is_as_it_was_read_over(void **state) {
    (void)state;
    check("qr.svg", qr_format, false);
}

/* Within quotes of RouterOS nothing but plain characters is left as it is: no quote, "$", bracket of a block or byte of
 * another alphabet. */
static void routeros_gets_names_by_their_bytes(void **state) {
    (void)state;
    struct export_router r = example();
    struct buf out = {0};
    assert_int_equal(routeros_format(&r, &out), 0);
    assert_non_null(strstr(out.data, "\"Caf\\C3\\A9 \\22\\24(reboot)\\22 \\60x\\60 \\5C\""));
    assert_non_null(strstr(out.data, "\"it\\27s \\7BAcme\\7D; \\231\""));
    assert_null(strstr(out.data, "responder"));
    for (const char *at = out.data; *at; at++) {
        assert_true((unsigned char)*at < 0x80);
    }
    buf_free(&out);
}

static void an_endpoint_that_is_an_address_is_not_looked_up_again(void **state) {
    (void)state;
    static const char *const hosts[] = {"198.51.100.1", "2001:db8::1"};
    static const struct {
        export_format_fn *format;
        const char *watch;
    } forms[] = {
        {routeros_format, "on-event"}, {openwrt_format, "wireguard_watchdog"}, {networkd_format, "OnUnitActiveSec"}};
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        struct export_router r = example();
        struct buf out = {0};
        assert_int_equal(forms[f].format(&r, &out), 0);
        assert_non_null(strstr(out.data, forms[f].watch));
        for (size_t h = 0; h < 2; h++) {
            buf_clear(&out);
            r.endpoint_host = hosts[h];
            assert_int_equal(forms[f].format(&r, &out), 0);
            assert_null(strstr(out.data, forms[f].watch));
            assert_non_null(strstr(out.data, hosts[h]));
        }
        buf_free(&out);
    }
}

/* A token that may only read gets no secrets; what it makes of the text must not take the router's away. */
static void a_preshared_key_that_is_withheld_stays_the_routers(void **state) {
    (void)state;
    static const struct {
        export_format_fn *format;
        const char *clears, *keeps;
    } forms[] = {
        {wgquick_format, "PresharedKey = A", "# PresharedKey = ("},
        {routeros_format, "preshared-key=", "persistent-keepalive"},
        {openwrt_format, "preshared_key='", "preshared_key=\"$shared\""},
        {networkd_format, "rm -f", "PresharedKeyFile=/etc/systemd/network/sallyport.psk"},
    };
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        struct export_router r = example();
        struct buf out = {0};
        r.preshared_key = NULL;
        r.preshared_key_withheld = true;
        assert_int_equal(forms[f].format(&r, &out), 0);
        assert_null(strstr(out.data, forms[f].clears));
        assert_non_null(strstr(out.data, forms[f].keeps));
        buf_free(&out);
    }
}

static void no_form_writes_what_would_break_out_of_its_place(void **state) {
    (void)state;
    for (size_t f = 0; f < export_format_count; f++) {
        struct buf out = {0};
        struct export_router r = example();
        r.router_name = "x\nreboot";
        assert_int_equal(export_formats[f].format(&r, &out), -EINVAL);
        r = example();
        r.endpoint_host = "a'; reboot #";
        assert_int_equal(export_formats[f].format(&r, &out), -EINVAL);
        assert_int_equal(out.size, 0);
        buf_free(&out);
    }
}

static void a_word_stays_one_word_in_a_shell(void **state) {
    (void)state;
    struct buf out = {0};
    shell_quote(&out, "it's $x `y` \"z\" \\");
    assert_string_equal(out.data, "'it'\\''s $x `y` \"z\" \\'");
    buf_free(&out);
}

static void what_a_code_cannot_hold_is_refused(void **state) {
    (void)state;
    static struct prefix many[100];
    struct export_router r = example();
    struct buf out = {0};
    for (size_t i = 0; i < 100; i++) {
        many[i] = allowed[2];
    }
    r.allowed = many;
    r.allowed_count = 100; /* a code could hold it, but no camera would read it */
    assert_int_equal(qr_format(&r, &out), -EMSGSIZE);
    assert_int_equal(out.size, 0);
    r.allowed_count = 40;
    assert_int_equal(qr_format(&r, &out), 0);
    buf_free(&out);
}

/* A terminal's code has as many modules as the picture: each line is two of them high. */
static void a_drawn_code_has_its_quiet_zone(void **state) {
    (void)state;
    struct buf out = {0};
    size_t lines = 0;
    assert_int_equal(qr_draw("x", &out), 0);
    for (const char *at = out.data; (at = strchr(at, '\n')); at++) {
        lines++;
    }
    assert_int_equal(lines, (21 + 2 * 4 + 1) / 2);
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routeros_is_as_it_was_read_over),
        cmocka_unit_test(openwrt_is_as_it_was_read_over),
        cmocka_unit_test(networkd_is_as_it_was_read_over),
        cmocka_unit_test(a_code_is_as_it_was_read_over),
        cmocka_unit_test(routeros_gets_names_by_their_bytes),
        cmocka_unit_test(an_endpoint_that_is_an_address_is_not_looked_up_again),
        cmocka_unit_test(a_preshared_key_that_is_withheld_stays_the_routers),
        cmocka_unit_test(no_form_writes_what_would_break_out_of_its_place),
        cmocka_unit_test(a_word_stays_one_word_in_a_shell),
        cmocka_unit_test(what_a_code_cannot_hold_is_refused),
        cmocka_unit_test(a_drawn_code_has_its_quiet_zone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
