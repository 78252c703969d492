/* What the host's routing says of an address: here, of those that every host has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/io/route.h"

#define START_NS (1000 * NSEC_PER_SEC)
#define QUESTIONS_BURST 500

static struct ip_addr address(const char *text) {
    struct ip_addr addr;
    assert_int_equal(ip_parse(text, &addr), 0);
    return addr;
}

static enum route_kind ask(struct route *route, const char *text, uint64_t now_ns) {
    struct ip_addr to = address(text);
    unsigned interface = 7;
    enum route_kind kind = route_ask(route, &to, 0, now_ns, &interface);
    assert_true(kind == ROUTE_AWAY ? interface > 0 : interface == 0);
    return kind;
}

static void the_hosts_own_addresses_are_local(void **state) {
    (void)state;
    struct route *route;
    assert_int_equal(route_open(&route), 0);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(ask(route, "127.0.0.1", START_NS), ROUTE_LOCAL);
        assert_int_equal(ask(route, "127.9.9.9", START_NS), ROUTE_LOCAL);
        assert_int_not_equal(ask(route, "192.0.2.77", START_NS), ROUTE_LOCAL);
        assert_int_not_equal(ask(route, "192.0.2.77", START_NS), ROUTE_UNKNOWN);
        assert_int_not_equal(ask(route, "2001:db8::77", START_NS), ROUTE_LOCAL);
        assert_int_equal(ask(route, "240.0.0.1", START_NS) == ROUTE_LOCAL, 0);
    }
    route_close(route);
}

static void strangers_cannot_make_it_ask_without_end(void **state) {
    (void)state;
    struct route *route;
    assert_int_equal(route_open(&route), 0);
    unsigned unknown = 0;
    for (uint32_t i = 0; i < 4 * QUESTIONS_BURST; i++) {
        struct ip_addr to = ip_from_v4(0xc0000200 + i);
        unsigned interface;
        unknown += route_ask(route, &to, 0, START_NS, &interface) == ROUTE_UNKNOWN;
    }
    assert_int_equal(unknown, 3 * QUESTIONS_BURST);
    assert_int_equal(ask(route, "127.0.0.1", START_NS), ROUTE_UNKNOWN);
    assert_int_equal(ask(route, "127.0.0.1", START_NS + NSEC_PER_SEC), ROUTE_LOCAL);
    route_close(route);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hosts_own_addresses_are_local),
        cmocka_unit_test(strangers_cannot_make_it_ask_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
