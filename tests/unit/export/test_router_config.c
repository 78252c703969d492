/* How prefixes are merged, and the table of formats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "export/formats.h"
#include "export/router_config.h"

static struct prefix prefix_of(const char *text) {
    struct prefix p;
    assert_int_equal(prefix_parse(text, &p, NULL), 0);
    return p;
}

static int compare(const void *a, const void *b) {
    return prefix_compare(a, b);
}

/* Merges what `text` names, by blanks, and says what comes of it in the same way. */
static void assert_merged(const char *text, const char *wanted) {
    struct prefix prefixes[64];
    char copy[1024], is[1024] = "", one[PREFIX_TEXT_SIZE], *rest;
    size_t count = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        prefixes[count++] = prefix_of(word);
    }
    qsort(prefixes, count, sizeof *prefixes, compare);
    count = export_allowed_merge(prefixes, count);
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(is);
        snprintf(is + size, sizeof is - size, "%s%s", i ? " " : "", prefix_format(&prefixes[i], one));
    }
    assert_string_equal(is, wanted);
}

static void neighbours_become_one_and_what_is_covered_goes(void **state) {
    (void)state;
    assert_merged("", "");
    assert_merged("10.0.0.1/32", "10.0.0.1/32");
    assert_merged("192.168.3.0/24 192.168.2.0/24", "192.168.2.0/23");
    assert_merged("192.168.1.0/24 192.168.2.0/24", "192.168.1.0/24 192.168.2.0/24"); /* neighbours, but not halves */
    assert_merged("192.168.0.0/24 192.168.1.0/24 192.168.2.0/24 192.168.3.0/25 192.168.3.128/25", "192.168.0.0/22");
    assert_merged("10.0.0.0/8 10.9.0.0/24 10.9.0.0/24 fd99::/64 10.255.255.255/32", "10.0.0.0/8 fd99::/64");
    assert_merged("fd00::/128 fd00::1/128 fd00::2/127 10.0.0.0/9", "10.0.0.0/9 fd00::/126");
    assert_merged("192.168.0.0/24 192.168.0.0/25 192.168.1.0/24", "192.168.0.0/23");
}

static void no_default_route_comes_of_it(void **state) {
    (void)state;
    assert_merged("0.0.0.0/1 128.0.0.0/1", "0.0.0.0/1 128.0.0.0/1");
    assert_merged("0.0.0.0/2 64.0.0.0/2 128.0.0.0/1 ::/1 8000::/1", "0.0.0.0/1 128.0.0.0/1 ::/1 8000::/1");
}

static void formats_are_found_by_exact_name(void **state) {
    (void)state;
    for (size_t i = 0; i < export_format_count; i++) {
        assert_ptr_equal(export_format_find(export_formats[i].name), &export_formats[i]);
    }
    assert_non_null(export_format_find("wg-quick"));
    assert_null(export_format_find("wg"));
    assert_null(export_format_find(""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_become_one_and_what_is_covered_goes),
        cmocka_unit_test(no_default_route_comes_of_it),
        cmocka_unit_test(formats_are_found_by_exact_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
