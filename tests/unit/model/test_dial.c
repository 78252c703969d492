/* What routers dial, as people write it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/dial.h"

static void names_and_addresses_are_read(void **state) {
    static const struct {
        const char *text, *host;
        uint16_t port;
    } cases[] = {
        {"vpn.example.com", "vpn.example.com", 0},
        {"vpn.example.com:443", "vpn.example.com", 443},
        {"192.0.2.1", "192.0.2.1", 0},
        {"192.0.2.1:65535", "192.0.2.1", 65535},
        {"2001:db8::5", "2001:db8::5", 0},
        {"[2001:db8::5]", "2001:db8::5", 0},
        {"[2001:db8::5]:443", "2001:db8::5", 443},
        {"::1", "::1", 0},
        {"a_b-c.example.com:1", "a_b-c.example.com", 1},
        {"vpn", "vpn", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dial dial;
        const char *fault = NULL;
        assert_int_equal(dial_parse(cases[i].text, &dial, &fault), 0);
        assert_string_equal(dial.host, cases[i].host);
        assert_int_equal(dial.port, cases[i].port);
    }
}

static void what_nobody_can_dial_is_refused(void **state) {
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"2001:db8::5:51820", "brackets"},
        {"[2001:db8::5", "not closed"},
        {"2001:db8::5]:51820", "brackets"},
        {"vpn.example.com:", "no port"},
        {"vpn.example.com:0", "1 to 65535"},
        {"vpn.example.com:99999", "1 to 65535"},
        {":51820", "no host"},
        {"vpn:example:com", "brackets"},
        {"", "no host"},
        {"https://vpn.example.com", "port"},
        {"vpn.example.com/x", "neither"},
        {"[192.0.2.1]:1", "brackets"},
        {"[2001:db8::5]443", ":PORT"},
        {"[2001:db8::5]:", "no port"},
        {"10.0.0.300", "IPv4"},
        {"vpn..example.com", "empty"},
        {"-vpn", "begins"},
        {"vpn example", "neither"},
        {"vpn.example.com:4 3", "1 to 65535"},
        {"vpn:+1", "1 to 65535"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dial dial = {.port = 7};
        const char *fault = "";
        assert_true(dial_parse(cases[i].text, &dial, &fault) < 0);
        assert_non_null(strstr(fault, cases[i].said));
        assert_int_equal(dial.port, 7);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_addresses_are_read),
        cmocka_unit_test(what_nobody_can_dial_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
