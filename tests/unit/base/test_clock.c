/* Times as text: what is written, what is read, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/clock.h"

static void known_times_are_written_and_read(void **state) {
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {1, "1970-01-01T00:00:00.000001Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {-1000000, "1969-12-31T23:59:59.000000Z"},
        {INT64_C(1769862896789012), "2026-01-31T12:34:56.789012Z"},
        {INT64_C(951782400000000), "2000-02-29T00:00:00.000000Z"},
        {INT64_C(-55091923200000000), "0224-03-17T00:00:00.000000Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[CLOCK_TEXT_SIZE];
        int64_t us = 42;
        assert_string_equal(clock_format(rows[i].us, text), rows[i].text);
        assert_int_equal(clock_parse(rows[i].text, &us), 0);
        assert_true(us == rows[i].us);
    }
}

static void text_sorts_as_time(void **state) {
    (void)state;
    char before[CLOCK_TEXT_SIZE], after[CLOCK_TEXT_SIZE];
    int64_t us = 0;
    clock_format(us, before);
    for (int i = 0; i < 2000; i++) {
        us += INT64_C(1) + ((int64_t)i * i * i * 7919) % INT64_C(100000000000);
        clock_format(us, after);
        assert_true(strcmp(before, after) < 0);
        strcpy(before, after);
    }
}

static void fraction_has_none_to_nine_digits(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
    } rows[] = {
        {"1970-01-01T00:00:01Z", 1000000},         {"1970-01-01T00:00:01.5Z", 1500000},
        {"1970-01-01T00:00:01.25Z", 1250000},      {"1970-01-01T00:00:01.000001Z", 1000001},
        {"1970-01-01T00:00:01.0000019Z", 1000001}, {"1970-01-01T00:00:01.123456789Z", 1123456},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t us;
        assert_int_equal(clock_parse(rows[i].text, &us), 0);
        assert_true(us == rows[i].us);
    }
}

static void anything_else_is_refused_and_changes_nothing(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "Z",
        "2026-01-31",
        "2026-01-31T12:34:56",
        "2026-01-31T12:34:56z",
        "2026-01-31 12:34:56Z",
        "2026-01-31T12:34Z",
        "2026-01-31T12:34:56.Z",
        "2026-01-31T12:34:56.1234567890Z",
        "2026-01-31T12:34:56.12x4Z",
        "2026-01-31T12:34:56.-1Z",
        "2026-01-31T12:34:56+00:00",
        "2026-01-31T12:34:56ZZ",
        " 2026-01-31T12:34:56Z",
        "2026-1-31T12:34:56Z",
        "2026-01-31T 2:34:56Z",
        "26-01-31T12:34:56Z",
        "-026-01-31T12:34:56Z",
        "2026-13-01T12:34:56Z",
        "2026-00-01T12:34:56Z",
        "2026-01-00T12:34:56Z",
        "2026-02-29T12:34:56Z",
        "2026-02-30T12:34:56Z",
        "2026-04-31T12:34:56Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-01-31T12:34:60Z",
        "10000-01-01T00:00:00Z",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int64_t us = 42;
        assert_int_equal(clock_parse(wrong[i], &us), -EINVAL);
        assert_true(us == 42);
    }
}

static void times_of_every_size_fit_the_text(void **state) {
    (void)state;
    char text[CLOCK_TEXT_SIZE];
    static const int64_t extremes[] = {INT64_MIN, INT64_MAX, INT64_MIN + 1};
    for (size_t i = 0; i < sizeof extremes / sizeof *extremes; i++) {
        clock_format(extremes[i], text);
        assert_int_equal(text[strlen(text) - 1], 'Z');
    }
}

static void clocks_go_forward_and_agree(void **state) {
    (void)state;
    uint64_t first = clock_mono_ns();
    assert_true(first > 0);
    assert_true(clock_mono_ns() >= first);
    uint64_t wall = clock_wall_ns() / 1000;
    assert_true((uint64_t)clock_wall_us() - wall < 60 * 1000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_times_are_written_and_read),
        cmocka_unit_test(text_sorts_as_time),
        cmocka_unit_test(fraction_has_none_to_nine_digits),
        cmocka_unit_test(anything_else_is_refused_and_changes_nothing),
        cmocka_unit_test(times_of_every_size_fit_the_text),
        cmocka_unit_test(clocks_go_forward_and_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
