#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "engine/uapi/text.h"

static void numbers_are_plain_decimals_within_their_bound(void **state) {
    (void)state;
    uint64_t value = 1;
    assert_int_equal(uapi_text_u64("0", UINT16_MAX, &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(uapi_text_u64("65535", UINT16_MAX, &value), 0);
    assert_int_equal(value, 65535);
    assert_int_equal(uapi_text_u64("18446744073709551615", UINT64_MAX, &value), 0);
    assert_true(value == UINT64_MAX);
    static const char *const wrong[] = {
        "", "-1", "+1", " 1", "1 ", "0x10", "1e3", "65536", "18446744073709551616", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        value = 42;
        assert_int_equal(uapi_text_u64(wrong[i], UINT16_MAX, &value), -EINVAL);
        assert_int_equal(value, 42);
    }
    assert_int_equal(uapi_text_u64("18446744073709551616", UINT64_MAX, &value), -EINVAL);
    assert_int_equal(uapi_text_u64("9", 5, &value), -EINVAL);
}

static void endpoints_may_carry_a_scope(void **state) {
    (void)state;
    union endpoint endpoint;
    struct buf text = {0};
    assert_int_equal(uapi_text_endpoint("192.0.2.1:51820", &endpoint), 0);
    uapi_line_endpoint(&text, "endpoint", &endpoint);
    assert_string_equal(text.data, "endpoint=192.0.2.1:51820\n");
    buf_clear(&text);
    assert_int_equal(uapi_text_endpoint("[fe80::1%lo]:7", &endpoint), 0);
    assert_int_equal(endpoint.in6.sin6_scope_id, 1);
    uapi_line_endpoint(&text, "endpoint", &endpoint);
    assert_string_equal(text.data, "endpoint=[fe80::1%1]:7\n");
    buf_free(&text);
    static const char *const wrong[] = {"192.0.2.1%lo:1",
                                        "[fe80::1%]:7",
                                        "[fe80::1%nosuchinterface]:7",
                                        "[fe80::1%lo:7",
                                        "fe80::1%lo:7",
                                        "[fe80::1%lo]",
                                        "%",
                                        "%]",
                                        "]%",
                                        "[::1%0]:7",
                                        "[::1%1]",
                                        ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(uapi_text_endpoint(wrong[i], &endpoint), -EINVAL);
    }
}

static void hub_addresses_read_and_write_both_forms(void **state) {
    (void)state;
    struct engine_hub_address address;
    struct buf text = {0};
    assert_int_equal(uapi_text_hub_address("10.0.0.9", &address), 0);
    assert_true(ip_equal(&address.hub, &address.inside));
    uapi_line_hub_address(&text, "hub_address", &address);
    assert_int_equal(uapi_text_hub_address("10.0.0.9=10.100.0.2", &address), 0);
    assert_int_equal(ip_to_v4(&address.inside), 0x0a640002);
    uapi_line_hub_address(&text, "hub_address", &address);
    assert_int_equal(uapi_text_hub_address("fd00::9=fd00:1::2", &address), 0);
    uapi_line_hub_address(&text, "hub_address", &address);
    assert_string_equal(text.data,
                        "hub_address=10.0.0.9\nhub_address=10.0.0.9=10.100.0.2\nhub_address=fd00::9=fd00:1::2\n");
    buf_free(&text);
    static const char *const wrong[] = {
        "", "=", "10.0.0.9=", "=10.0.0.9", "10.0.0.9=fd00::1", "10.0.0.9/32", "10.0.0.9=1.2.3.4=5.6.7.8", "10.0.0.9 "};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(uapi_text_hub_address(wrong[i], &address), -EINVAL);
    }
}

static void timestamps_are_24_digits(void **state) {
    (void)state;
    uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE];
    struct buf text = {0};
    assert_int_equal(uapi_text_timestamp("400000006500000012345678", timestamp), 0);
    uapi_line_timestamp(&text, "timestamp", timestamp);
    assert_string_equal(text.data, "timestamp=400000006500000012345678\n");
    buf_free(&text);
    assert_int_equal(uapi_text_timestamp("40000000650000001234567", timestamp), -EINVAL);
    assert_int_equal(uapi_text_timestamp("4000000065000000123456789", timestamp), -EINVAL);
    assert_int_equal(uapi_text_timestamp("40000000650000001234567g", timestamp), -EINVAL);
}

static void the_path_takes_only_names_of_interfaces(void **state) {
    (void)state;
    char path[UAPI_PATH_SIZE];
    setenv(UAPI_DIRECTORY_VARIABLE, "/tmp/x", 1);
    assert_int_equal(uapi_path("wg0", path), 0);
    assert_string_equal(path, "/tmp/x/wg0.sock");
    static const char *const wrong[] = {"",     "..",    ".",    "a/b",      "../x", "sixteen-letters-",
                                        "wg 0", "wg\n0", "wg;0", "w\xc3\xa9"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(uapi_path(wrong[i], path), -EINVAL);
    }
    char directory[200];
    memset(directory, 'd', sizeof directory - 1);
    directory[sizeof directory - 1] = '\0';
    setenv(UAPI_DIRECTORY_VARIABLE, directory, 1);
    assert_int_equal(uapi_path("wg0", path), -ENAMETOOLONG);
    unsetenv(UAPI_DIRECTORY_VARIABLE);
    assert_int_equal(uapi_path("wg0", path), 0);
    assert_string_equal(path, "/var/run/wireguard/wg0.sock");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_plain_decimals_within_their_bound), cmocka_unit_test(endpoints_may_carry_a_scope),
        cmocka_unit_test(hub_addresses_read_and_write_both_forms),       cmocka_unit_test(timestamps_are_24_digits),
        cmocka_unit_test(the_path_takes_only_names_of_interfaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
