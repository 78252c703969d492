/* Addresses, prefixes and endpoints: text, masks, and how they lie to each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "model/prefix.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct ip_addr ip(const char *text) {
    struct ip_addr addr;
    assert_int_equal(ip_parse(text, &addr), 0);
    return addr;
}

static struct prefix net(const char *text) {
    struct prefix prefix;
    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return prefix;
}

static void addresses_go_to_text_and_back(void **state) {
    (void)state;
    static const char *const texts[] = {
        "0.0.0.0", "10.100.0.1",    "255.255.255.255",    "::",
        "::1",     "2001:db8::7:1", "fd00:1:2:3:4:5:6:7", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct ip_addr addr = ip(texts[i]);
        char text[IP_TEXT_SIZE];
        assert_int_equal(ip_bits(&addr), strchr(texts[i], ':') ? 128 : 32);
        assert_string_equal(ip_format(&addr, text), texts[i]);
    }
    struct ip_addr none = {0};
    char text[IP_TEXT_SIZE] = "x";
    assert_string_equal(ip_format(&none, text), "");
    assert_int_equal(ip_bits(&none), 0);
}

static void ipv4_as_a_number(void **state) {
    (void)state;
    struct ip_addr addr = ip("10.100.0.1");
    assert_int_equal(ip_to_v4(&addr), 0x0a640001);
    struct ip_addr again = ip_from_v4(0x0a640001);
    assert_true(ip_equal(&addr, &again));
}

static void ipv4_and_ipv6_are_never_equal(void **state) {
    (void)state;
    struct ip_addr four = ip("1.2.3.4"), six = ip("102:304::"), other = ip("1.2.3.5");
    assert_false(ip_equal(&four, &six));
    assert_false(ip_equal(&four, &other));
}

static void other_addresses_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"",         "1",        "1.2.3",      "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ",
                                        " 1.2.3.4", "01.2.3.4", "1.2.3.x",    "1..2.3",    "0x1.2.3.4", ":",
                                        ":::",      "1::2::3",  "fe80::1%lo", "[::1]",     "::12345",   "localhost"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct ip_addr addr = {.family = 99};
        assert_int_equal(ip_parse(wrong[i], &addr), -EINVAL);
        assert_int_equal(addr.family, 99);
    }
}

static void an_address_keeps_its_host_bits(void **state) {
    (void)state;
    static const char *const refused[] = {"",       "/24", "10.8.0.1/", "10.8.0.1/33", "10.8.0.1/ 8", "10.8.0.1/24/8",
                                          "name/24"};
    static const char *const texts[] = {"10.8.0.1/24", "fd00::1/64", "10.9.0.1/32", "10.0.0.0/0"};
    struct prefix address;
    char text[PREFIX_TEXT_SIZE];
    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_int_equal(address_parse(texts[i], &address), 0);
        assert_string_equal(prefix_format(&address, text), texts[i]);
    }
    assert_int_equal(address_parse("10.9.0.1", &address), 0);
    assert_int_equal(address.length, 32);
    for (size_t i = 0; i < COUNT(refused); i++) {
        assert_int_equal(address_parse(refused[i], &address), -EINVAL);
        assert_int_equal(address.length, 32); /* untouched */
    }
}

static void prefix_masks_its_host_bits_and_says_so(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
        bool had_host_bits;
    } rows[] = {
        {"10.0.0.0/8", "10.0.0.0/8", false},
        {"10.1.2.3/8", "10.0.0.0/8", true},
        {"10.1.2.3", "10.1.2.3/32", false},
        {"10.1.2.3/32", "10.1.2.3/32", false},
        {"255.255.255.255/0", "0.0.0.0/0", true},
        {"0.0.0.0/0", "0.0.0.0/0", false},
        {"10.1.2.255/25", "10.1.2.128/25", true},
        {"10.1.2.3/31", "10.1.2.2/31", true},
        {"::/0", "::/0", false},
        {"2001:db8::1", "2001:db8::1/128", false},
        {"2001:db8::1/64", "2001:db8::/64", true},
        {"2001:db8:ffff::/33", "2001:db8:8000::/33", true},
        {"ffff::/1", "8000::/1", true},
        {"2001:db8::1/127", "2001:db8::/127", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct prefix prefix;
        char text[PREFIX_TEXT_SIZE];
        bool had = !rows[i].had_host_bits;
        assert_int_equal(prefix_parse(rows[i].in, &prefix, &had), 0);
        assert_int_equal(had, rows[i].had_host_bits);
        assert_string_equal(prefix_format(&prefix, text), rows[i].out);
    }
}

static void every_length_keeps_exactly_its_bits(void **state) {
    (void)state;
    struct ip_addr ones = ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    for (uint8_t length = 0; length <= 128; length++) {
        struct prefix prefix = prefix_make(&ones, length);
        for (uint8_t bit = 0; bit < 128; bit++) {
            assert_int_equal(prefix.addr.bytes[bit / 8] >> (7 - bit % 8) & 1, bit < length);
        }
    }
}

static void other_prefixes_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"",
                                        "/",
                                        "/8",
                                        "10.0.0.0/",
                                        "10.0.0.0/33",
                                        "10.0.0.0/-1",
                                        "10.0.0.0/+8",
                                        "10.0.0.0/ 8",
                                        "10.0.0.0/8 ",
                                        "10.0.0.0/8/8",
                                        "10.0.0.0/8x",
                                        "10.0.0.0/0x8",
                                        "10.0.0.0/0008",
                                        "10.0.0.0/4294967304",
                                        "::/129",
                                        "::/999",
                                        "10.0/8",
                                        "10.0.0.0\n/8",
                                        "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111/8"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct prefix prefix = {.length = 99};
        bool had = true;
        assert_int_equal(prefix_parse(wrong[i], &prefix, &had), -EINVAL);
        assert_int_equal(prefix.length, 99);
        assert_true(had);
    }
}

static void prefixes_contain_cover_and_overlap(void **state) {
    (void)state;
    static const struct {
        const char *outer, *inner;
        bool covers, overlaps;
    } rows[] = {
        {"10.0.0.0/8", "10.0.0.0/8", true, true},
        {"10.0.0.0/8", "10.255.255.255", true, true},
        {"10.0.0.0/8", "11.0.0.0", false, false},
        {"10.0.0.0/8", "9.255.255.255", false, false},
        {"10.0.0.0/16", "10.0.0.0/8", false, true},
        {"10.0.0.0/9", "10.128.0.0/9", false, false},
        {"0.0.0.0/0", "255.255.255.255", true, true},
        {"0.0.0.0/0", "::1", false, false},
        {"::/0", "10.0.0.1", false, false},
        {"2001:db8::/33", "2001:db8:7fff::/48", true, true},
        {"2001:db8::/33", "2001:db8:8000::/48", false, false},
        {"2001:db8::1", "2001:db8::1", true, true},
        {"2001:db8::1", "2001:db8::", false, false},
        {"10.0.0.2/31", "10.0.0.3", true, true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct prefix outer = net(rows[i].outer), inner = net(rows[i].inner);
        assert_int_equal(prefix_covers(&outer, &inner), rows[i].covers);
        assert_int_equal(prefix_overlaps(&outer, &inner), rows[i].overlaps);
        assert_int_equal(prefix_overlaps(&inner, &outer), rows[i].overlaps);
        if (inner.length == ip_bits(&inner.addr)) {
            assert_int_equal(prefix_contains(&outer, &inner.addr), rows[i].covers);
        }
    }
}

static void prefixes_are_ordered_by_family_address_length(void **state) {
    (void)state;
    static const char *const order[] = {"0.0.0.0/0",      "10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/32",   "10.0.0.1",
                                        "192.168.0.0/16", "::/0",       "::/128",      "2001:db8::/32", "fd00::/8"};
    for (size_t i = 0; i < COUNT(order); i++) {
        for (size_t j = 0; j < COUNT(order); j++) {
            struct prefix a = net(order[i]), b = net(order[j]);
            int sign = prefix_compare(&a, &b);
            assert_int_equal((sign > 0) - (sign < 0), (i > j) - (i < j));
            assert_int_equal(prefix_equal(&a, &b), i == j);
        }
    }
}

static void endpoints_go_to_text_and_back(void **state) {
    (void)state;
    static const char *const texts[] = {"192.0.2.1:51820", "0.0.0.0:1", "255.255.255.255:65535", "[2001:db8::1]:51820",
                                        "[::]:65535"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        union endpoint endpoint;
        char text[ENDPOINT_TEXT_SIZE];
        assert_int_equal(endpoint_parse(texts[i], &endpoint), 0);
        assert_string_equal(endpoint_format(&endpoint, text), texts[i]);
        assert_int_equal(endpoint_size(&endpoint),
                         texts[i][0] == '[' ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
        for (size_t j = 0; j < COUNT(texts); j++) {
            union endpoint other;
            assert_int_equal(endpoint_parse(texts[j], &other), 0);
            assert_int_equal(endpoint_equal(&endpoint, &other), i == j);
        }
    }
    union endpoint none;
    memset(&none, 0, sizeof none);
    char text[ENDPOINT_TEXT_SIZE];
    assert_string_equal(endpoint_format(&none, text), "");
    assert_true(endpoint_equal(&none, &none));
}

static void ports_and_scopes_make_endpoints_differ(void **state) {
    (void)state;
    union endpoint a, b;
    assert_int_equal(endpoint_parse("192.0.2.1:1", &a), 0);
    assert_int_equal(endpoint_parse("192.0.2.1:2", &b), 0);
    assert_false(endpoint_equal(&a, &b));
    assert_int_equal(endpoint_parse("[fe80::1]:1", &a), 0);
    b = a;
    b.in6.sin6_scope_id = 3;
    assert_false(endpoint_equal(&a, &b));
}

static void other_endpoints_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"",
                                        ":",
                                        ":51820",
                                        "192.0.2.1",
                                        "192.0.2.1:",
                                        "192.0.2.1:0",
                                        "192.0.2.1:65536",
                                        "192.0.2.1:-1",
                                        "192.0.2.1:+1",
                                        "192.0.2.1: 1",
                                        "192.0.2.1:1 ",
                                        "192.0.2.1:1x",
                                        "192.0.2.1:000001",
                                        "2001:db8::1:51820",
                                        "[2001:db8::1]",
                                        "[2001:db8::1]51820",
                                        "[2001:db8::1:51820",
                                        "2001:db8::1]:51820",
                                        "[192.0.2.1]:51820",
                                        "[]:51820",
                                        "[:1",
                                        "]:1",
                                        "[fe80::1%lo]:51820",
                                        "host.example:51820",
                                        "[1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111]:1"};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        union endpoint endpoint;
        memset(&endpoint, 0x77, sizeof endpoint);
        union endpoint before = endpoint;
        assert_int_equal(endpoint_parse(wrong[i], &endpoint), -EINVAL);
        assert_memory_equal(&endpoint, &before, sizeof before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_go_to_text_and_back),
        cmocka_unit_test(ipv4_as_a_number),
        cmocka_unit_test(ipv4_and_ipv6_are_never_equal),
        cmocka_unit_test(other_addresses_are_refused),
        cmocka_unit_test(an_address_keeps_its_host_bits),
        cmocka_unit_test(prefix_masks_its_host_bits_and_says_so),
        cmocka_unit_test(every_length_keeps_exactly_its_bits),
        cmocka_unit_test(other_prefixes_are_refused),
        cmocka_unit_test(prefixes_contain_cover_and_overlap),
        cmocka_unit_test(prefixes_are_ordered_by_family_address_length),
        cmocka_unit_test(endpoints_go_to_text_and_back),
        cmocka_unit_test(ports_and_scopes_make_endpoints_differ),
        cmocka_unit_test(other_endpoints_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
