/* Values as people read and write them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/show/field.h"

static void bytes_have_three_digits_and_a_binary_unit(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.00 KiB"},
                 {10235, "10.0 KiB"},
                 {1048575, "1.00 MiB"},
                 {1536 << 20, "1.50 GiB"},
                 {UINT64_MAX, "16.0 EiB"}};
    char text[FIELD_TEXT_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(field_bytes(cases[i].bytes, text), cases[i].text);
    }
}

static void rates_have_a_decimal_unit(void **state) {
    (void)state;
    char text[FIELD_TEXT_SIZE];
    assert_string_equal(field_rate(0, text), "0");
    assert_string_equal(field_rate(950, text), "950 bit/s");
    assert_string_equal(field_rate(999.9, text), "1.00 kbit/s");
    assert_string_equal(field_rate(12.4e6, text), "12.4 Mbit/s");
    assert_string_equal(field_rate(9.9e9, text), "9.90 Gbit/s");
}

static void counts_are_grouped_by_thousands(void **state) {
    (void)state;
    char text[FIELD_TEXT_SIZE];
    assert_string_equal(field_count(0, text), "0");
    assert_string_equal(field_count(999, text), "999");
    assert_string_equal(field_count(1000, text), "1,000");
    assert_string_equal(field_count(16777214, text), "16,777,214");
    assert_string_equal(field_count(-100000, text), "-100,000");
    assert_string_equal(field_count(INT64_MIN, text), "-9,223,372,036,854,775,808");
}

static void times_are_told_from_now(void **state) {
    (void)state;
    const int64_t now = INT64_C(1767225600000000); /* 2026-01-01T00:00:00Z */
    char text[FIELD_TEXT_SIZE];
    assert_string_equal(field_ago("", now, text), "never");
    assert_string_equal(field_ago("2026-01-01T00:00:00.000000Z", now, text), "now");
    assert_string_equal(field_ago("2026-01-01T00:00:05.000000Z", now, text), "now");
    assert_string_equal(field_ago("2025-12-31T23:58:01.000000Z", now, text), "119 s ago");
    assert_string_equal(field_ago("2025-12-31T23:57:00.000000Z", now, text), "3 min ago");
    assert_string_equal(field_ago("2025-12-31T20:00:00.000000Z", now, text), "4 h ago");
    assert_string_equal(field_ago("2025-12-25T00:00:00.000000Z", now, text), "7 d ago");
    assert_string_equal(field_ago("yesterday", now, text), "?");
}

static void durations_have_two_units(void **state) {
    (void)state;
    char text[FIELD_TEXT_SIZE];
    assert_string_equal(field_duration(59, text), "59 s");
    assert_string_equal(field_duration(200, text), "3 min 20 s");
    assert_string_equal(field_duration(7500, text), "2 h 5 min");
    assert_string_equal(field_duration(442800, text), "5 d 3 h");
}

static void scaled_numbers_take_decimal_suffixes_and_nothing_else(void **state) {
    (void)state;
    static const char *const wrong[] = {"",   "k",    "-1",  "+1",     " 1",  "1 k", "1kb", "1.2.3",
                                        "1x", "0x10", "1e9", "99999T", "inf", "nan", "1K "};
    uint64_t number;
    assert_int_equal(field_scaled_parse("1000", &number), 0);
    assert_int_equal(number, 1000);
    assert_int_equal(field_scaled_parse("64k", &number), 0);
    assert_int_equal(number, 64000);
    assert_int_equal(field_scaled_parse("2.5G", &number), 0);
    assert_int_equal(number, 2500000000);
    assert_int_equal(field_scaled_parse("0", &number), 0);
    assert_int_equal(number, 0);
    number = 7;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(field_scaled_parse(wrong[i], &number), -EINVAL);
        assert_int_equal(number, 7);
    }
}

static void spans_take_one_unit(void **state) {
    (void)state;
    static const char *const wrong[] = {"", "d", "30", "-1d", "1dd", "1.5h", "1y", "9999999999s"};
    int64_t seconds;
    assert_int_equal(field_duration_parse("90s", &seconds), 0);
    assert_int_equal(seconds, 90);
    assert_int_equal(field_duration_parse("30d", &seconds), 0);
    assert_int_equal(seconds, 30 * 86400);
    assert_int_equal(field_duration_parse("8w", &seconds), 0);
    assert_int_equal(seconds, 8 * 604800);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(field_duration_parse(wrong[i], &seconds), -EINVAL);
    }
}

static void members_are_read_by_path_and_may_be_missing(void **state) {
    (void)state;
    json_t *o = json_pack("{s:{s:s, s:i, s:b}, s:n}", "a", "text", "x", "number", 5, "flag", 1, "none");
    assert_string_equal(field_text(o, "a.text"), "x");
    assert_int_equal(field_number(o, "a.number"), 5);
    assert_true(field_flag(o, "a.flag"));
    assert_string_equal(field_text(o, "none"), "");
    assert_string_equal(field_text(o, "a.missing"), "");
    assert_string_equal(field_text(o, "b.c.d"), "");
    assert_string_equal(field_text(o, "a.text.deeper"), "");
    assert_string_equal(field_text(NULL, "a"), "");
    json_decref(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_have_three_digits_and_a_binary_unit),
        cmocka_unit_test(rates_have_a_decimal_unit),
        cmocka_unit_test(counts_are_grouped_by_thousands),
        cmocka_unit_test(times_are_told_from_now),
        cmocka_unit_test(durations_have_two_units),
        cmocka_unit_test(scaled_numbers_take_decimal_suffixes_and_nothing_else),
        cmocka_unit_test(spans_take_one_unit),
        cmocka_unit_test(members_are_read_by_path_and_may_be_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
